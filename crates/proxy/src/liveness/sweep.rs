//! A slow look at all connections, on the control thread: a slice with each tick, so that it never takes long. Idle
//! clients sleep on; only who is found dead, or is due for a heartbeat, is woken.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_pool::SlotState;
use plimsoll_types::{Evidence, Moment, Side};

use super::bound;
use super::state::{Bound, State};
use crate::entry::{ClientEntry, ServerEntry};
use crate::hub::Hub;
use crate::login::CONSOLE;

/// How long a round through all clients takes at most, and one through all servers: they are few, and their bound is
/// short.
const CLIENT_ROUND_MAX: Duration = Duration::from_secs(5);
const SERVER_ROUND_MAX: Duration = Duration::from_secs(1);

/// Into how many rounds a bound is divided at least.
const ROUNDS_IN_BOUND: u32 = 12;

/// The rounds under way.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    clients: Round<ClientEntry>,
    servers: Round<ServerEntry>,
}

/// A round through all connections of one side.
#[derive(Debug)]
struct Round<T> {
    left: Vec<Arc<T>>,
    /// Ticks until the next round, this one included.
    ticks_left: u32,
}

impl<T> Default for Round<T> {
    fn default() -> Round<T> {
        Round { left: Vec::new(), ticks_left: 0 }
    }
}

impl<T> Round<T> {
    /// The next slice. A round that begins is through all there are then, in this time.
    fn slice(&mut self, all: impl FnOnce() -> Vec<Arc<T>>, time: Duration, tick: Duration) -> Vec<Arc<T>> {
        if self.ticks_left == 0 {
            self.left = all();
            let ticks = time.as_millis() / tick.as_millis().max(1);
            self.ticks_left = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
        }
        let ticks = usize::try_from(self.ticks_left).unwrap_or(1);
        self.ticks_left -= 1;
        let share = self.left.len().div_ceil(ticks);
        self.left.split_off(self.left.len() - share)
    }
}

/// What one side is judged by.
#[derive(Clone, Copy)]
struct Rule {
    /// Two rounds less than what is promised: what happens just after a look is seen by the next one, and the look after
    /// the bound would be too late.
    bound: Bound,
    round: Duration,
    now: Moment,
}

impl Rule {
    fn of(bound: Bound, shortest: Duration, round_max: Duration, now: Moment) -> Rule {
        let round = (shortest / ROUNDS_IN_BOUND).min(round_max);
        Rule { bound: Bound(bound.0.saturating_sub(round * 2)), round, now }
    }
}

impl Sweep {
    /// Looks at the next slice; `tick` is the time between two calls.
    pub(crate) fn beat(&mut self, hub: &Arc<Hub>, tick: Duration) {
        let (plan, now) = (hub.plan(), hub.now());
        let heartbeat = plan.own.client_heartbeat;
        let of_clients = bound(&plan, Side::Client);
        let shortest = of_clients.0.min(heartbeat.map_or(Duration::MAX, |every| every * 4));
        let rule = Rule::of(of_clients, shortest, CLIENT_ROUND_MAX, now);
        let heartbeat = heartbeat.map(|every| every.saturating_sub(rule.round / 2));
        let all = || hub.clients.lock().values().cloned().collect();
        for entry in self.clients.slice(all, rule.round, tick) {
            look_at_client(&entry, rule, heartbeat);
        }
        let of_servers = bound(&plan, Side::Server);
        let rule = Rule::of(of_servers, of_servers.0, SERVER_ROUND_MAX, now);
        let all = || hub.core.lock().servers().cloned().collect();
        for entry in self.servers.slice(all, rule.round, tick) {
            look_at_server(hub, &entry, rule);
        }
    }
}

fn look_at_client(entry: &ClientEntry, rule: Rule, heartbeat: Option<Duration>) {
    let Some(seen) = entry.life.look_again(rule.bound, rule.now) else { return };
    match seen.state {
        State::Gone(evidence) => {
            if entry.life.end(evidence) {
                // Its task may be waiting for something else than its socket.
                entry.post(|_| {});
            }
        }
        State::Alive | State::Idle => {
            // The console's clients are administrators, who see for themselves.
            let every = heartbeat.filter(|_| &*entry.database != CONSOLE);
            if every.is_some_and(|every| entry.heart.is_due(&seen.info, every)) {
                entry.post(|mail| mail.heartbeat = true);
            }
        }
        State::NotReading | State::Unreachable => {}
    }
}

fn look_at_server(hub: &Arc<Hub>, entry: &Arc<ServerEntry>, rule: Rule) {
    let Some(seen) = entry.life.look_again(rule.bound, rule.now) else { return };
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
