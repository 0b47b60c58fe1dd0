//! What is between us and a server, and who ends a silent connection first (incident 5).

use std::net::IpAddr;

use plimsoll_config::Host;

use super::super::demand::{self, Server};
use super::super::facts::{Said, Target};
use super::super::finding::Finding;
use super::{Case, note, seconds, some, warning};

/// Parts of names, the dot at their end included, that clouds give to load balancers and to poolers of their own.
const BALANCERS: [&str; 6] = [
    // A region may stand on either side.
    ".elb.",
    ".vpce.amazonaws.com.",
    ".cloudapp.azure.com.",
    ".lb.",
    ".pooler.",
    ".svc.cluster.local.",
];

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let asked = case.servers.iter().filter_map(|server| Some((server, server.said()?)));
    asked
        .filter_map(|(server, said)| ended_by_server(case, server, said))
        .chain(behind_balancer(case))
        .collect()
}

/// A server with `idle_session_timeout` ends our idle connections itself: each is noticed by a client, or opened anew for
/// nothing.
fn ended_by_server(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Option<Finding> {
    let theirs = said.idle_session_timeout.filter(|time| !time.is_zero())?;
    let ours = case.plan.general.server_idle_timeout;
    if !ours.is_zero() && ours < theirs {
        return None;
    }
    let ours = if ours.is_zero() { "off".to_string() } else { seconds(ours) };
    let message = format!(
        "idle_session_timeout of {} is {}, and server_idle_timeout is {ours}: the server ends idle connections first, and a \
         session that is silent for so long with its client",
        server.name(),
        seconds(theirs),
    );
    let todo = "set server_idle_timeout below it, or ALTER ROLE … SET idle_session_timeout = 0 for the roles of the pools";
    Some(warning("server-ends-idle", case.places.key("server_idle_timeout"), message, todo))
}

/// Names that look like a balancer's: by what they are called, or since several of their addresses are one server.
fn behind_balancer(case: &Case<'_>) -> Vec<Finding> {
    let hosts = demand::all(case.plan).flat_map(|database| &database.hosts);
    let mut names: Vec<(&String, u16)> = hosts
        .filter_map(|host| match host {
            Host::Tcp { host, port } if host.parse::<IpAddr>().is_err() => Some((host, *port)),
            Host::Tcp { .. } | Host::Unix { .. } => None,
        })
        .collect();
    names.sort();
    names.dedup();
    names.into_iter().filter_map(|(name, port)| balancer(case, name, port)).collect()
}

fn balancer(case: &Case<'_>, name: &str, port: u16) -> Option<Finding> {
    let lower = format!("{}.", name.trim_end_matches('.').to_ascii_lowercase());
    let called = BALANCERS.iter().any(|part| lower.contains(part));
    let addresses = case.facts.names.get(name).map(Vec::as_slice).unwrap_or_default();
    let identity = |ip: &IpAddr| {
        let answer = case.facts.answers.get(&Target::Tcp(*ip, port))?.as_ref().ok()?;
        Some((answer.identity.as_str(), *ip))
    };
    let told: Vec<(&str, IpAddr)> = addresses.iter().filter_map(identity).collect();
    // IPv4 and IPv6 of one machine are no balancer.
    let twins = |(at, one): (usize, &(&str, IpAddr))| {
        told[..at].iter().any(|other| other.0 == one.0 && other.1.is_ipv4() == one.1.is_ipv4())
    };
    let one_server = told.iter().enumerate().any(twins);
    let why = match (called, one_server) {
        (false, false) => return None,
        (true, _) => "is called like a load balancer".to_string(),
        (false, true) => {
            let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            format!("has several addresses that lead to one server ({}), as a load balancer's", some(&texts))
        }
    };
    let message = format!(
        "{name} {why}: it forgets a flow after some minutes of silence, and its own timeout ends connections that \
         server_idle_timeout ({}) leaves open",
        seconds(case.plan.general.server_idle_timeout)
    );
    let todo = "leave TCP keepalive as it is (15 s without a word in the file), and keep server_idle_timeout below the \
                balancer's idle timeout where it counts keepalive as silence";
    Some(note("server-behind-balancer", case.places.key("server_idle_timeout"), message, todo))
}
