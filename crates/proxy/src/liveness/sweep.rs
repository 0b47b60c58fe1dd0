//! A slow look at all connections, on the control thread: a slice with each tick, so that it never takes long. Idle
//! clients sleep on; only who is found dead, or is due for a heartbeat, is woken.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_pool::SlotState;
use plimsoll_types::{Evidence, Moment, Side};

use super::bound;
use super::state::{Bound, State};
use crate::entry::{ClientEntry, ServerEntry};
use crate::hub::Hub;

/// How long a round through all connections takes at most.
const ROUND_MAX: Duration = Duration::from_secs(5);

/// Into how many rounds a bound is divided at least.
const ROUNDS_IN_BOUND: u32 = 6;

/// The round under way.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    clients: Vec<Arc<ClientEntry>>,
    servers: Vec<Arc<ServerEntry>>,
    /// Ticks until the next round, this one included.
    ticks_left: u32,
}

/// What a round is carried out by.
struct Rules {
    clients: Bound,
    servers: Bound,
    heartbeat: Option<Duration>,
    now: Moment,
}

impl Rules {
    /// A peer is given up one round early: the next look would be too late.
    fn of(plan: &Plan, now: Moment) -> (Rules, Duration) {
        let (clients, servers) = (bound(plan, Side::Client), bound(plan, Side::Server));
        let shortest = clients.0.min(servers.0).min(plan.own.client_heartbeat.unwrap_or(Duration::MAX));
        let round = (shortest / ROUNDS_IN_BOUND).min(ROUND_MAX);
        let early = |bound: Bound| Bound(bound.0.saturating_sub(round));
        let heartbeat = plan.own.client_heartbeat.map(|every| every.saturating_sub(round / 2));
        (Rules { clients: early(clients), servers: early(servers), heartbeat, now }, round)
    }
}

impl Sweep {
    /// Looks at the next slice; `tick` is the time between two calls.
    pub(crate) fn beat(&mut self, hub: &Arc<Hub>, tick: Duration) {
        let (rules, round) = Rules::of(&hub.plan(), hub.now());
        if self.ticks_left == 0 {
            self.clients = hub.clients.lock().values().cloned().collect();
            self.servers = hub.core.lock().servers().cloned().collect();
            let ticks = round.as_millis() / tick.as_millis().max(1);
            self.ticks_left = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        }
        let left = usize::try_from(self.ticks_left).unwrap_or(1);
        let (clients, servers) = (self.clients.len().div_ceil(left), self.servers.len().div_ceil(left));
        for entry in self.clients.drain(self.clients.len() - clients..) {
            look_at_client(&entry, &rules);
        }
        for entry in self.servers.drain(self.servers.len() - servers..) {
            look_at_server(hub, &entry, &rules);
        }
        self.ticks_left -= 1;
    }
}

fn look_at_client(entry: &ClientEntry, rules: &Rules) {
    let Some(seen) = entry.life.look_again(rules.clients, rules.now) else { return };
    match seen.state {
        State::Gone(evidence) => {
            if entry.life.end(evidence) {
                // Its task may be waiting for something else than its socket.
                entry.post(|_| {});
            }
        }
        State::Idle => {
            if rules.heartbeat.is_some_and(|every| entry.heart.is_due(&seen.info, every)) {
                entry.post(|mail| mail.heartbeat = true);
            }
        }
        State::Alive | State::NotReading | State::Unreachable => {}
    }
}

fn look_at_server(hub: &Arc<Hub>, entry: &Arc<ServerEntry>, rules: &Rules) {
    let Some(seen) = entry.life.look_again(rules.servers, rules.now) else { return };
    match seen.state {
        State::Gone(evidence) => end_server(hub, entry, evidence),
        State::Alive | State::Idle | State::NotReading | State::Unreachable => {}
    }
}

/// Ends a server connection, whoever has it: he reads its end. One that is being closed is left alone: its end is to be
/// the server's own, since that is what frees its place there.
fn end_server(hub: &Arc<Hub>, entry: &Arc<ServerEntry>, evidence: Evidence) {
    let state = hub.core.lock().pools.slot(entry.slot).map(|slot| slot.state);
    let is_in_use = match state {
        Some(
            SlotState::Idle
            | SlotState::Held
            | SlotState::BeingCanceled
            | SlotState::Cleaning
            | SlotState::Checking
            | SlotState::Opening,
        ) => true,
        Some(SlotState::Closing | SlotState::Lost) | None => false,
    };
    if !is_in_use || !entry.life.end(evidence) {
        return;
    }
    // A holder that waits for its client does not listen to the server.
    let holder = {
        let clients = hub.clients.lock();
        clients.values().find(|client| client.held().is_some_and(|(slot, _)| slot == entry.slot)).cloned()
    };
    if let Some(holder) = holder {
        holder.post(|_| {});
    }
}
