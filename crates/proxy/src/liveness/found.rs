//! How many were found dead, by what, and how soon their server connections came back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plimsoll_types::{Cause, Evidence, Side};

use super::{Seen, state};

const KINDS: usize = Evidence::ALL.len();

/// Upper ends of the classes of times, seconds; the last class has none.
const SECONDS: [u64; 10] = [1, 2, 5, 10, 20, 30, 60, 95, 150, 300];

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Found {
    clients: [AtomicU64; KINDS],
    servers: [AtomicU64; KINDS],
    /// From a client's last sign of life to the return of the server connection it held.
    returned: [AtomicU64; SECONDS.len() + 1],
    /// Server connections of dead clients that were closed.
    closed: AtomicU64,
    heartbeats: AtomicU64,
}

/// A row of `SHOW LIVENESS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundView {
    /// What is counted: `clients_found_dead`, `servers_found_dead`, `server_returned_after`, `server_not_returned`,
    /// `heartbeats`.
    pub what: &'static str,
    /// By what evidence, or within what time.
    pub by: String,
    /// How many, since the start.
    pub count: u64,
}

/// What is known of a connection: behind the columns of `SHOW SOCKETS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeView {
    /// `alive`, `idle`, `not reading`, `unreachable`, `gone`.
    pub state: &'static str,
    /// Times the oldest segment has been sent again.
    pub retransmits: u32,
    /// Probes without an answer.
    pub probes: u32,
    /// Bytes sent and not acknowledged.
    pub unacked_bytes: u64,
    /// For how long what was sent has been without an answer.
    pub unacked_for: Option<Duration>,
    /// Bytes that wait in the kernel.
    pub unsent_bytes: u64,
    /// Since the peer last acknowledged anything.
    pub last_ack: Duration,
    /// Since data last went either way.
    pub last_data: Duration,
    /// For how long, all together, the peer's window has kept us from sending.
    pub window_closed: Duration,
}

impl From<Seen> for LifeView {
    fn from(seen: Seen) -> LifeView {
        let Seen { info, owing, state } = seen;
        LifeView {
            state: state.as_str(),
            retransmits: info.retransmits.into(),
            probes: info.probes.into(),
            unacked_bytes: info.unacked_bytes,
            unacked_for: state::unanswered(&info, owing),
            unsent_bytes: info.unsent_bytes.into(),
            last_ack: info.last_ack,
            last_data: state::silence(&info),
            window_closed: info.window_limited,
        }
    }
}

impl Found {
    /// A connection is closed for this cause: counts it, if that is the other side's death.
    pub(crate) fn note(&self, cause: &Cause) {
        let Some(evidence) = cause.evidence() else { return };
        let counters = match cause.side() {
            Side::Client => &self.clients,
            Side::Server => &self.servers,
        };
        counters[evidence as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A dead client's server connection is back, so long after the client's last sign of life.
    pub(super) fn note_return(&self, after: Duration) {
        let class = SECONDS.iter().position(|end| after <= Duration::from_secs(*end));
        self.returned[class.unwrap_or(SECONDS.len())].fetch_add(1, Ordering::Relaxed);
    }

    /// A dead client's server connection has been closed.
    pub(super) fn note_closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// A heartbeat has been sent.
    pub(crate) fn note_heartbeat(&self) {
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
    }

    /// All counters.
    pub(crate) fn views(&self) -> Vec<FoundView> {
        let view = |what, by: String, count: &AtomicU64| FoundView {
            what,
            by,
            count: count.load(Ordering::Relaxed),
        };
        let dead = |what, counters: &[AtomicU64; KINDS]| {
            let pairs = Evidence::ALL.into_iter().zip(counters);
            pairs
                .map(|(evidence, count)| view(what, evidence.as_str().to_string(), count))
                .collect::<Vec<_>>()
        };
        let mut views = dead("clients_found_dead", &self.clients);
        views.extend(dead("servers_found_dead", &self.servers));
        let ends = SECONDS.iter().map(|end| format!("<= {end} s"));
        let ends = ends.chain([format!("> {} s", SECONDS[SECONDS.len() - 1])]);
        views.extend(ends.zip(&self.returned).map(|(end, count)| view("server_returned_after", end, count)));
        views.push(view("server_not_returned", "closed".to_string(), &self.closed));
        views.push(view("heartbeats", "sent".to_string(), &self.heartbeats));
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_counted_by_side_and_evidence_and_times_by_class() {
        let found = Found::default();
        found.note(&Cause::ClientGone { evidence: Evidence::Window });
        found.note(&Cause::ServerTimedOut);
        found.note(&Cause::ClientEof);
        found.note_return(Duration::from_secs(2));
        found.note_return(Duration::from_millis(2_001));
        found.note_return(Duration::from_secs(301));
        found.note_closed();
        let counted: Vec<_> = found.views().into_iter().filter(|view| view.count > 0).collect();
        let said = |what, by: &str| FoundView { what, by: by.to_string(), count: 1 };
        assert_eq!(
            counted,
            [
                said("clients_found_dead", "window"),
                said("servers_found_dead", "keepalive"),
                said("server_returned_after", "<= 2 s"),
                said("server_returned_after", "<= 5 s"),
                said("server_returned_after", "> 300 s"),
                said("server_not_returned", "closed"),
            ]
        );
    }
}
