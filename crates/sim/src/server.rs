//! The reference model of a PostgreSQL server, as far as a pooler meets it: places, logins, backends that die or live
//! on. It knows nothing of the pool; what it sees of us is what counts.

use std::collections::BTreeMap;

use plimsoll_types::SlotId;

use crate::history::{Mood, TargetShape};

/// The number of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BackendId(u64);

/// In what condition a backend's session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The login is under way: not in `pg_stat_activity` yet, and has a place.
    LoggingIn,
    /// Nothing is left over.
    Clean,
    /// Somebody's settings, statements or locks are.
    Dirty,
    /// An answer has begun and not ended.
    Busy,
    /// Its client has closed; it has not ended yet.
    Ending,
}

/// One of our backends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) slot: SlotId,
    pub(crate) condition: Condition,
}

/// What becomes of somebody who wants to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Has a place.
    In(BackendId),
    /// 53300.
    Full,
}

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    places: u32,
    reserved: u32,
    pub(crate) mood: Mood,
    /// Sessions that are not ours.
    ordinary: u32,
    superusers: u32,
    backends: BTreeMap<BackendId, Backend>,
    started: u64,
}

impl Server {
    pub(crate) fn new(shape: &TargetShape) -> Server {
        Server {
            places: shape.places,
            reserved: shape.reserved,
            mood: shape.mood,
            ordinary: 0,
            superusers: 0,
            backends: BTreeMap::new(),
            started: 0,
        }
    }

    fn used(&self) -> u32 {
        self.ours() + self.ordinary + self.superusers
    }

    /// Our backends, those that are logging in or ending too.
    pub(crate) fn ours(&self) -> u32 {
        self.backends.len() as u32
    }

    /// One of ours wants in. The last `reserved` free places are for superusers (`InitPostgres`).
    pub(crate) fn admit(&mut self, slot: SlotId) -> Admission {
        if self.used() + self.reserved >= self.places {
            return Admission::Full;
        }
        self.started += 1;
        let id = BackendId(self.started);
        self.backends.insert(id, Backend { slot, condition: Condition::LoggingIn });
        Admission::In(id)
    }

    /// So many others want to be here; as many come as there are places for.
    pub(crate) fn host(&mut self, ordinary: u32, superusers: u32) {
        (self.ordinary, self.superusers) = (0, 0);
        self.superusers = superusers.min(self.places - self.used().min(self.places));
        let free = self.places.saturating_sub(self.used() + self.reserved);
        self.ordinary = ordinary.min(free);
    }

    /// How many of us have a place here, as long as the others stay as they are.
    pub(crate) fn room_for_us(&self) -> u32 {
        self.places.saturating_sub(self.reserved + self.ordinary + self.superusers)
    }

    pub(crate) fn backend(&self, id: BackendId) -> Option<&Backend> {
        self.backends.get(&id)
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = (BackendId, &Backend)> {
        self.backends.iter().map(|(id, backend)| (*id, backend))
    }

    /// A backend's session is in another condition; nothing happens to one that is gone.
    pub(crate) fn set(&mut self, id: BackendId, condition: Condition) {
        if let Some(backend) = self.backends.get_mut(&id) {
            backend.condition = condition;
        }
    }

    /// A backend ends; its place is free.
    pub(crate) fn end(&mut self, id: BackendId) {
        self.backends.remove(&id);
    }
}
