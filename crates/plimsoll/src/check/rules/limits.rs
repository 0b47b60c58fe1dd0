//! Limits of the system: file descriptors, and keepalive (incident 5: a balancer forgets a flow, nobody notices).

use std::time::Duration;

use plimsoll_config::Host;

use super::super::finding::Finding;
use super::{Case, note, seconds, warning};

/// After how much silence the usual network load balancer forgets a flow.
const BALANCER: Duration = Duration::from_secs(350);
/// Descriptors that are no connection: listeners, log, event loops of up to four workers.
const SPARE: u64 = 26;

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    [files(case), keepalive(case), clients(case)].into_iter().flatten().collect()
}

fn files(case: &Case<'_>) -> Option<Finding> {
    let limit = case.facts.files_max?;
    let clients = u64::from(case.plan.general.max_client_conn);
    let servers = case.servers.iter().fold(0_u64, |all, server| all.saturating_add(server.cap()));
    let need = clients.saturating_add(servers).saturating_add(SPARE);
    let at = case.places.key("max_client_conn");
    let todo = "raise the limit where the pooler is started (LimitNOFILE of its unit, ulimit -Hn), or lower max_client_conn";
    (need > limit).then(|| {
        let message = format!(
            "the limit of file descriptors is {limit} here; {clients} clients (max_client_conn), {servers} server \
             connections and {SPARE} others need {need}"
        );
        warning("file-limit", at, message, todo)
    })
}

/// What the loader does not see: without `tcp_keepidle` the system's time counts.
fn keepalive(case: &Case<'_>) -> Option<Finding> {
    let general = &case.plan.general;
    let system = case.facts.system_keepalive?;
    let is_remote = case.is_open()
        || super::super::demand::all(case.plan)
            .any(|database| database.hosts.iter().any(|host| matches!(host, Host::Tcp { .. })))
            && case.servers.iter().any(|server| !server.is_local());
    let counts = general.tcp.keepalive && general.tcp.keepidle == Some(0) && system > BALANCER;
    (counts && is_remote).then(|| {
        let message = format!(
            "tcp_keepidle is not set: the system's {} of silence count; a network load balancer usually forgets a \
             connection after {}, and nobody notices",
            seconds(system),
            seconds(BALANCER)
        );
        let at = case.places.first_key(&["tcp_keepidle", "tcp_keepalive"]);
        warning("keepalive-too-long", at, message, "set tcp_keepidle = 60, tcp_keepintvl = 10, tcp_keepcnt = 6")
            .suggesting("tcp_keepidle", 60, "below the 350 s after which a balancer forgets a silent flow")
            .suggesting("tcp_keepintvl", 10, "a dead peer is noticed a minute after its first missing answer")
            .suggesting("tcp_keepcnt", 6, "with tcp_keepintvl: a minute")
    })
}

fn clients(case: &Case<'_>) -> Option<Finding> {
    let clients = case.plan.general.max_client_conn;
    if case.plan.explicit.contains("max_client_conn") {
        return None;
    }
    let message =
        format!("max_client_conn is not set: the {clients}th client is the last one that is let in");
    Some(note(
        "max-client-conn-default",
        case.places.whole(),
        message,
        "set it to what your applications can open",
    ))
}
