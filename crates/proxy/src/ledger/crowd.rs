//! How crowded the house is: clients that are never closed fill `max_client_conn`, and then everybody is refused.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_ledger::SiteId;
use plimsoll_types::Moment;

use super::{application_of, site_text, voice};
use crate::entry::ClientEntry;
use crate::hub::Hub;

/// From this share of `max_client_conn` on there is a warning, per cent.
const WARN_PER_CENT: u64 = 80;

/// How often it is repeated, microseconds.
const WARN_INTERVAL_US: u64 = 60_000_000;

/// How often a refusal says who fills the house, microseconds.
const REFUSAL_INTERVAL_US: u64 = 10_000_000;

/// Samples of the number of clients, one in ten seconds.
const SAMPLES: usize = 60;

const SAMPLE_INTERVAL_US: u64 = 10_000_000;

/// How many of the largest groups are named.
const TOP: usize = 3;

/// See the module.
#[derive(Default)]
pub(crate) struct Crowd(Mutex<State>);

#[derive(Default)]
struct State {
    warned: Option<Moment>,
    told: Option<Moment>,
    samples: VecDeque<(Moment, u32)>,
}

/// Whether so much time has gone by; if so it begins anew.
fn is_due(last: &mut Option<Moment>, interval_us: u64, now: Moment) -> bool {
    let due = last.is_none_or(|last| now.0.saturating_sub(last.0) >= interval_us);
    if due {
        *last = Some(now);
    }
    due
}

impl Crowd {
    /// A client has come: there may be so many that somebody has to know.
    pub(crate) fn enter(&self, hub: &Hub, sockets: u32, max: u32) {
        if u64::from(sockets) * 100 < u64::from(max) * WARN_PER_CENT {
            return;
        }
        let now = hub.now();
        if is_due(&mut self.0.lock().warned, WARN_INTERVAL_US, now) {
            let line =
                format!("{sockets} of {max} client connections (max_client_conn) are open; {}", by_whom(hub));
            voice::warn(hub.plan().own.compat, &line);
        }
    }

    /// A client is refused: who fills the house?
    pub(crate) fn refuse(&self, hub: &Hub, max: u32) {
        hub.ledger.refused.fetch_add(1, Ordering::Relaxed);
        if is_due(&mut self.0.lock().told, REFUSAL_INTERVAL_US, hub.now()) {
            let line = format!("clients are refused: all {max} (max_client_conn) are open; {}", by_whom(hub));
            voice::warn(hub.plan().own.compat, &line);
        }
    }

    /// Keeps the number of clients over time.
    pub(super) fn look(&self, hub: &Hub) {
        let (now, sockets) = (hub.now(), hub.sockets.load(Ordering::Relaxed));
        let mut state = self.0.lock();
        let due = state.samples.back().is_none_or(|(at, _)| now.0.saturating_sub(at.0) >= SAMPLE_INTERVAL_US);
        if due {
            if state.samples.len() == SAMPLES {
                state.samples.pop_front();
            }
            state.samples.push_back((now, sockets));
        }
    }

    /// When `max` is reached at the rate of the last minutes, if the number rises.
    pub(crate) fn full_in(&self, max: u32) -> Option<Duration> {
        let state = self.0.lock();
        let ((then, few), (now, many)) = (*state.samples.front()?, *state.samples.back()?);
        let (seconds, more) = (now.since(then).as_secs_f64(), many.checked_sub(few)?);
        if more == 0 || seconds < 20.0 {
            return None;
        }
        let left = f64::from(max.saturating_sub(many));
        Duration::try_from_secs_f64(left * seconds / f64::from(more)).ok()
    }
}

/// The largest groups of clients, by site and by host.
fn by_whom(hub: &Hub) -> String {
    let clients: Vec<Arc<ClientEntry>> = hub.clients.lock().values().cloned().collect();
    let plan = hub.plan();
    let book = hub.ledger.book.lock();
    let site = |client: &Arc<ClientEntry>| {
        let id = SiteId(client.site.load(Ordering::Relaxed));
        match book.site(id) {
            Some(site) => site_text(site, &plan),
            None => {
                let name = plimsoll_ledger::text::escape(application_of(hub, client).as_bytes());
                let name = if name.is_empty() { "(no application_name)".to_string() } else { name };
                format!("{name} (no query yet)")
            }
        }
    };
    let sites = largest(clients.iter().map(site));
    let hosts = largest(clients.iter().map(|client| client.peer.addr()));
    format!("most of them by site: {sites}; by host: {hosts}; see: plimsoll clients --by app,host,site")
}

fn largest(names: impl Iterator<Item = String>) -> String {
    let mut counts: HashMap<String, u32> = HashMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    let named: Vec<_> = counts.iter().take(TOP).map(|(name, count)| format!("{count} {name}")).collect();
    if named.is_empty() { "nobody has logged in yet".to_string() } else { named.join(", ") }
}
