//! A line of `[targets]`: what counts for one physical server.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use crate::connstr;
use crate::credential::CredentialSource;
use crate::mistake::Mistake;
use crate::place::Place;
use crate::plan::Host;
use crate::slot::{self, Row, Slot};
use crate::table::Fault;

/// Largest budget that can be written.
pub(crate) const BUDGET_MAX: u32 = 1_000_000;
/// Largest headroom that can be written.
pub(crate) const HEADROOM_MAX: u32 = 1000;
/// What [`budget`] takes, for messages.
const BUDGET_EXPECTED: &str = "auto, off, or the most server connections on one server, 1 to 1000000";

/// How many server connections there may be on one physical server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Budget {
    /// As many as the pools allow.
    Off,
    /// As many as the server has for us: learned from its refusals, and asked of it.
    #[default]
    Auto,
    /// This many.
    Max(u32),
}

impl Budget {
    /// The number, where it is written as one.
    pub fn fixed(self) -> Option<u32> {
        match self {
            Budget::Max(number) => Some(number),
            Budget::Off | Budget::Auto => None,
        }
    }
}

impl fmt::Display for Budget {
    /// As the ini file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::Off => f.write_str("off"),
            Budget::Auto => f.write_str("auto"),
            Budget::Max(number) => number.fmt(f),
        }
    }
}

/// Reads a budget.
pub(crate) fn budget(text: &str) -> Result<Budget, Fault> {
    match text {
        "off" => Ok(Budget::Off),
        "auto" => Ok(Budget::Auto),
        number => {
            let number = number.parse::<u32>().ok().filter(|n| (1..=BUDGET_MAX).contains(n));
            number.map(Budget::Max).ok_or(Fault::Invalid(BUDGET_EXPECTED))
        }
    }
}

/// A line of `[targets]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetLine {
    /// An address in its usual form and without brackets, a host name, or the folder of a Unix socket (begins with `/`
    /// or `@`).
    pub host: String,
    /// Port.
    pub port: u16,
    /// `budget=`; `None`: `target_budget` counts.
    pub budget: Option<Budget>,
    /// `headroom=`; `None`: `target_headroom` counts.
    pub headroom: Option<u32>,
    /// `credential=`: for every login there that has no word of its own.
    pub credential: Option<CredentialSource>,
}

impl TargetLine {
    /// Whether this line names a host of a database in so many words. A name and an address can be one server all the
    /// same: only a look-up tells.
    pub fn names(&self, host: &Host) -> bool {
        match host {
            Host::Unix { dir, port } => {
                self.is_unix() && *port == self.port && Path::new(&self.host) == dir.as_path()
            }
            Host::Tcp { host, port } => *port == self.port && !self.is_unix() && same_host(&self.host, host),
        }
    }

    /// Whether the host is the folder of a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with(['/', '@'])
    }
}

impl fmt::Display for TargetLine {
    /// `HOST:PORT`, an IPv6 address in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => write!(f, "[{ip}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn same_host(a: &str, b: &str) -> bool {
    match (a.parse::<IpAddr>(), b.parse::<IpAddr>()) {
        (Ok(a), Ok(b)) => a == b,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        (Err(_), Err(_)) => a.eq_ignore_ascii_case(b),
    }
}

/// The keys of a line of `[targets]`.
pub(crate) static KEYS: &[Row<TargetLine>] = &[
    ("budget", Slot::Own(take_budget)),
    ("headroom", Slot::Range(|line| &mut line.headroom, 0, HEADROOM_MAX)),
    ("credential", Slot::Credential(|line| &mut line.credential)),
];

fn take_budget(line: &mut TargetLine, text: &str) -> Result<(), Fault> {
    line.budget = Some(budget(text)?);
    Ok(())
}

/// Reads a line: `HOST:PORT`, and what stands behind its `=`.
pub(crate) fn parse(name: &str, text: &str, place: &Place) -> Result<TargetLine, Vec<Mistake>> {
    let mut line = TargetLine::default();
    let mut mistakes = slot::take(&mut line, KEYS, "target", text, place);
    mistakes.extend(unclear(name, text).map(|why| place.mistake(why)));
    match host_and_port(name) {
        Some((host, port)) => (line.host, line.port) = (host, port),
        None => {
            let wanted = "HOST:PORT, an IPv6 address in brackets, a Unix socket as /FOLDER:PORT";
            let message = Fault::Invalid(wanted).message("target", name, Some(place));
            mistakes.push(place.mistake(message));
        }
    }
    if mistakes.is_empty() { Ok(line) } else { Err(mistakes) }
}

/// What is wrong with a line that says nothing, or the same twice: which of two numbers is meant is not ours to guess.
fn unclear(name: &str, text: &str) -> Option<String> {
    let pairs = connstr::pairs(text).ok()?;
    if pairs.is_empty() {
        return Some(format!("target {name} says nothing: expected budget=, headroom= or credential="));
    }
    let mut said = BTreeSet::new();
    let (twice, _) = pairs.iter().find(|(key, _)| !said.insert(*key))?;
    Some(format!("target {name} has {twice}= twice: once on each line"))
}

/// Names keep their letters, in lower case as names of hosts do not tell them apart.
fn host_and_port(name: &str) -> Option<(String, u16)> {
    let (host, port) = name.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.to_string(),
        None if host.starts_with(['/', '@']) => host.to_string(),
        None if host.is_empty() || host.contains([':', '/', ' ', '[', ']']) => return None,
        None => host.to_ascii_lowercase(),
    };
    Some((host, port))
}

#[cfg(test)]
mod tests;
