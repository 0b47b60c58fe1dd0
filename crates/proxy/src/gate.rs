//! The gate in front of the queues: temporary caps of applications and hosts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use plimsoll_pool::{CapOf, CapView, Caps, Gate, Subject};
use plimsoll_types::{ClientId, HoldId, Moment};

use crate::entry::ClientEntry;

/// See the module. As long as there is no cap it costs one load.
#[derive(Debug, Default)]
pub(crate) struct Gatekeeper {
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    caps: Caps,
    /// Those that wait here.
    waiting: HashMap<ClientId, Arc<ClientEntry>>,
}

impl State {
    /// They may join their queues.
    fn wake(&mut self, admitted: Vec<ClientId>) {
        for client in admitted {
            if let Some(entry) = self.waiting.remove(&client) {
                entry.post(|mail| mail.admitted = true);
            }
        }
    }
}

impl Gatekeeper {
    /// Whether there are caps.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// A client asks to join the queue of its pool; where it may not it finds word in its mailbox when it may.
    pub(crate) fn enter(&self, entry: &Arc<ClientEntry>, application: &str, host: &str) -> Gate {
        let mut state = self.state.lock();
        let gate = state.caps.enter(Subject { client: entry.id, application, host });
        if gate == Gate::Shut {
            state.waiting.insert(entry.id, entry.clone());
        }
        gate
    }

    /// A client has nothing of the caps any more: it has given back what it held, or given up.
    pub(crate) fn leave(&self, client: ClientId) {
        let mut state = self.state.lock();
        state.waiting.remove(&client);
        let admitted = state.caps.leave(client);
        state.wake(admitted);
    }

    /// Makes a cap, or changes one. `holders` gives those that hold a connection now and that it is for.
    pub(crate) fn set(
        &self,
        of: CapOf,
        max: u32,
        until: Option<Moment>,
        by: &str,
        holders: impl Fn() -> Vec<(ClientId, HoldId)>,
    ) {
        // Who gives back from here on says so.
        self.on.store(true, Ordering::SeqCst);
        let before = holders();
        let mut state = self.state.lock();
        let admitted = state.caps.set(of, max, until, by, before);
        state.wake(admitted);
        drop(state);
        self.recount(&holders());
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

    /// `holders`: all that hold a connection.
    fn recount(&self, holders: &[(ClientId, HoldId)]) {
        let holders: HashMap<ClientId, HoldId> = holders.iter().copied().collect();
        let mut state = self.state.lock();
        let admitted = state.caps.recount(|client, hold| holders.get(&client) == Some(&hold));
        state.wake(admitted);
    }

    fn settle(&self, state: &State) {
        self.on.store(!state.caps.is_empty(), Ordering::SeqCst);
    }

    /// All caps.
    pub(crate) fn views(&self) -> Vec<CapView> {
        self.state.lock().caps.views()
    }

    /// The caps that a client waits for.
    pub(crate) fn waits_for(&self, client: ClientId) -> Vec<CapView> {
        if !self.is_on() {
            return Vec::new();
        }
        self.state.lock().caps.waits_for(client)
    }
}

/// A cap for people: `cap of application "shop": 5 of 5 places are taken`.
pub(crate) fn text(cap: &CapView) -> String {
    let escape = |name: &str| plimsoll_ledger::text::escape(name.as_bytes());
    let whose = match &cap.of {
        CapOf::Application(name) => format!("application \"{}\"", escape(name)),
        CapOf::Host(host) => format!("host {}", escape(host)),
    };
    format!("cap of {whose}: {} of {} places are taken ({})", cap.used, cap.max, cap.by)
}
