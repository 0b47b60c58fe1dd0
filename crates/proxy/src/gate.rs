//! The gate in front of the queues: temporary caps of applications and hosts, limits of grants.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use parking_lot::Mutex;
use plimsoll_pool::{CapOf, CapView, Caps, Gate, PoolCounts, Reach, Subject};
use plimsoll_types::{ClientId, Moment, PoolId};

use crate::entry::ClientEntry;
use crate::views::host_of;

/// How a client stands with the gate: what its own task tells of it, and what the gate does.
///
/// Who takes a connection says so first and looks for new caps then; who makes a cap says so first and looks for
/// connections then. So one of the two sees the other.
#[derive(Debug, Default)]
pub(crate) struct Standing(AtomicU8);

/// It has a server connection, or is about to take one that it has been granted.
const HAS: u8 = 1;
/// The gate knows of it: it has a place, or waits for one.
const KNOWN: u8 = 2;

impl Standing {
    /// The client takes a server connection; only its own task calls this.
    #[inline]
    pub(crate) fn take(&self) {
        self.0.fetch_or(HAS, Ordering::SeqCst);
    }

    /// It has none any more. True: the gate knows of it and is to hear of that.
    #[inline]
    #[must_use]
    pub(crate) fn give(&self) -> bool {
        self.0.fetch_and(!HAS, Ordering::SeqCst) & KNOWN != 0
    }

    /// Whether it has one, as far as it can be said while it may take and give.
    pub(crate) fn has(&self) -> bool {
        self.0.load(Ordering::SeqCst) & HAS != 0
    }

    /// Whether the gate knows of it.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::SeqCst) & KNOWN != 0
    }

    /// The gate counts it if it has a connection: it will hear of its end. False: it has none.
    fn count(&self) -> bool {
        let known = |now: u8| (now & HAS != 0).then_some(now | KNOWN);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, known).is_ok()
    }
}

/// See the module. As long as there is no cap it costs a few loads and marks of the client's own.
#[derive(Debug, Default)]
pub(crate) struct Gatekeeper {
    /// Whom there are caps for: see [`mark`].
    reach: AtomicU8,
    /// Counts the caps that have been made. Only changed under the lock.
    generation: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    caps: Caps,
    /// Those that wait here.
    waiting: HashMap<ClientId, Gated>,
}

/// Somebody who waits at the gate.
#[derive(Debug)]
struct Gated {
    entry: Arc<ClientEntry>,
    /// Whose queue it wants to join.
    pool: PoolId,
    since: Moment,
}

/// Those that wait at the gate, by pool: for each how many, and since when the oldest of them.
#[derive(Debug, Default)]
pub(crate) struct AtGate(HashMap<PoolId, (u32, Moment)>);

impl AtGate {
    /// What a pool counts, with those that wait for it here.
    pub(crate) fn with(&self, pool: PoolId, counts: PoolCounts, now: Moment) -> PoolCounts {
        let Some((waiting, since)) = self.0.get(&pool) else { return counts };
        PoolCounts {
            waiting: counts.waiting + waiting,
            oldest_wait: counts.oldest_wait.max(now.since(*since)),
            ..counts
        }
    }
}

impl State {
    /// They may join their queues.
    fn wake(&mut self, admitted: Vec<ClientId>) {
        for client in admitted {
            if let Some(gated) = self.waiting.remove(&client) {
                gated.entry.post(|mail| mail.admitted = true);
            }
        }
    }
}

impl Gatekeeper {
    /// Whether there are caps.
    pub(crate) fn is_on(&self) -> bool {
        self.reach.load(Ordering::Relaxed) != mark(Reach::Nobody)
    }

    /// Whether there is one that can be for a client: limits of grants cost those nothing who are not here by one.
    #[inline]
    pub(crate) fn is_for(&self, entry: &ClientEntry) -> bool {
        // In one order with the marks of `Standing`: see there.
        let reach = self.reach.load(Ordering::SeqCst);
        reach != mark(Reach::Nobody) && (reach == mark(Reach::Everybody) || entry.proved.is_some())
    }

    /// How often a cap has been made: who was let through before the last one has to ask again.
    #[inline]
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::SeqCst)
    }

    /// A client asks to join the queue of this pool, its own, or to take what it has been granted there; where it may not it finds
    /// word in its mailbox when it may join. It has waited since `since`. Also gives the generation of the caps that it
    /// has been let through.
    pub(crate) fn enter(
        &self,
        entry: &Arc<ClientEntry>,
        pool: PoolId,
        application: &str,
        since: Moment,
    ) -> (Gate, u32) {
        let host = host_of(&entry.peer);
        let mut state = self.state.lock();
        let (gate, admitted) = state.caps.enter(subject(entry, application, &host, since));
        match gate {
            Gate::Free => {}
            Gate::Admitted => {
                entry.standing.0.fetch_or(KNOWN, Ordering::SeqCst);
            }
            Gate::Shut => {
                entry.standing.0.store(KNOWN, Ordering::SeqCst);
                state.waiting.insert(entry.id, Gated { entry: entry.clone(), pool, since });
            }
        }
        state.wake(admitted);
        (gate, self.generation())
    }

    /// A client takes a connection that no cap keeps it from, for replication: it counts all the same.
    #[cold]
    pub(crate) fn hold(&self, entry: &ClientEntry, application: &str, since: Moment) {
        let host = host_of(&entry.peer);
        let mut state = self.state.lock();
        if state.caps.hold(subject(entry, application, &host, since)) {
            entry.standing.0.fetch_or(KNOWN, Ordering::SeqCst);
        }
    }

    /// A client has nothing of the caps any more: it has given back what it held, or given up.
    #[cold]
    pub(crate) fn leave(&self, entry: &ClientEntry) {
        let mut state = self.state.lock();
        entry.standing.0.fetch_and(!KNOWN, Ordering::SeqCst);
        state.waiting.remove(&entry.id);
        let admitted = state.caps.leave(entry.id);
        state.wake(admitted);
    }

    /// A grant has this limit from here on, or none; `by` says which.
    pub(crate) fn limit(
        &self,
        grant: &str,
        max: Option<u32>,
        by: &str,
        holders: impl FnOnce(&CapOf) -> Vec<Arc<ClientEntry>>,
    ) {
        let of = CapOf::Grant(grant.to_string());
        let now = self.state.lock().caps.max_of(&of);
        match max {
            _ if now == max => {}
            Some(max) => self.set(of.clone(), max, None, by, || holders(&of)),
            None => {
                self.remove(&of);
            }
        }
    }

    /// Makes a cap, or changes one. `holders` gives those that have a connection now and that it is for.
    pub(crate) fn set(
        &self,
        of: CapOf,
        max: u32,
        until: Option<Moment>,
        by: &str,
        holders: impl FnOnce() -> Vec<Arc<ClientEntry>>,
    ) {
        let mut state = self.state.lock();
        // Who takes a connection from here on comes to us, and waits until we are done.
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.reach.fetch_max(mark(of.reach()), Ordering::SeqCst);
        let holders: Vec<ClientId> =
            holders().iter().filter(|entry| entry.standing.count()).map(|entry| entry.id).collect();
        let admitted = state.caps.set(of, max, until, by, holders);
        state.wake(admitted);
    }

    /// Takes a cap away. False: there is none.
    pub(crate) fn remove(&self, of: &CapOf) -> bool {
        let mut state = self.state.lock();
        let admitted = state.caps.remove(of);
        let is_known = admitted.is_some();
        state.wake(admitted.unwrap_or_default());
        self.settle(&state);
        is_known
    }

    /// Takes those away whose time is over, and gives them.
    pub(crate) fn expire(&self, now: Moment) -> Vec<CapOf> {
        let mut state = self.state.lock();
        let (over, admitted) = state.caps.expire(now);
        state.wake(admitted);
        self.settle(&state);
        over
    }

    fn settle(&self, state: &State) {
        self.reach.store(mark(state.caps.reach()), Ordering::SeqCst);
    }

    /// Forgets the limits of grants that nobody is here by.
    pub(crate) fn forget_grants(&self, is_here: impl Fn(&str) -> bool) {
        let mut state = self.state.lock();
        // Who comes in counts as here before it asks for its limit to be made, so either we see it or it makes it anew.
        let gone: Vec<_> = state.caps.grants().filter(|id| !is_here(id)).map(str::to_owned).collect();
        for id in gone {
            let admitted = state.caps.remove(&CapOf::Grant(id));
            state.wake(admitted.unwrap_or_default());
        }
        self.settle(&state);
    }

    /// All caps.
    pub(crate) fn views(&self) -> Vec<CapView> {
        self.state.lock().caps.views()
    }

    /// Who waits here, by pool.
    pub(crate) fn at_gate(&self) -> AtGate {
        let mut there = AtGate::default();
        if self.is_on() {
            for gated in self.state.lock().waiting.values() {
                let (waiting, since) = there.0.entry(gated.pool).or_insert((0, gated.since));
                (*waiting, *since) = (*waiting + 1, (*since).min(gated.since));
            }
        }
        there
    }

    /// The caps that a client waits for.
    pub(crate) fn waits_for(&self, client: ClientId) -> Vec<CapView> {
        if !self.is_on() {
            return Vec::new();
        }
        self.state.lock().caps.waits_for(client)
    }
}

/// A client as one who asks.
fn subject<'a>(entry: &'a ClientEntry, application: &'a str, host: &'a str, since: Moment) -> Subject<'a> {
    Subject { client: entry.id, application, host, grant: entry.grant_id(), since }
}

/// A reach as a number that grows with it.
const fn mark(reach: Reach) -> u8 {
    match reach {
        Reach::Nobody => 0,
        Reach::Grants => 1,
        Reach::Everybody => 2,
    }
}

/// Whom a cap is for, for people: `application "shop"`.
pub(crate) fn whose(of: &CapOf) -> String {
    let escape = |name: &str| plimsoll_ledger::text::escape(name.as_bytes());
    match of {
        CapOf::Application(name) => format!("application \"{}\"", escape(name)),
        CapOf::Host(host) => format!("host {}", escape(host)),
        CapOf::Grant(id) => format!("grant {}", escape(id)),
    }
}

/// A cap for people: `cap of application "shop": 5 of 5 places are taken`.
pub(crate) fn text(cap: &CapView) -> String {
    format!("cap of {}: {} of {} places are taken ({})", whose(&cap.of), cap.used, cap.max, cap.by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_known_to_the_gate_has_to_tell_it_of_its_end() {
        let standing = Standing::default();
        assert!(!standing.count(), "it has nothing that could be counted");
        standing.take();
        assert!(standing.has() && !standing.give(), "nobody is told");
        standing.take();
        // A cap is made while it holds: it learns that from the mark, and from nothing else.
        assert!(standing.count() && standing.is_known());
        assert!(standing.give() && !standing.has());
        assert!(!standing.count());
    }
}
