//! PAUSE, RESUME, RECONNECT, KILL, shutdown.

use plimsoll_types::{Cause, DatabaseId, Moment, PoolId, SlotId};

use crate::Pools;
use crate::nouns::SlotState;
use crate::pool::{Clients, Service};
use crate::slots::{Fate, Slot};

impl Pools {
    /// Grants stop, idle servers are closed; held ones are closed when they come back. `None` pauses everything,
    /// databases added later too, and is undone by `resume(None)` only, as in PgBouncer.
    pub fn pause(&mut self, database: Option<DatabaseId>, now: Moment) {
        match database {
            None => self.paused.all = true,
            Some(database) => {
                self.paused.databases.insert(database);
            }
        }
        self.apply_pauses(database, now);
    }

    /// Grants go on, unless the other kind of pause is still in force.
    pub fn resume(&mut self, database: Option<DatabaseId>, now: Moment) {
        match database {
            None => self.paused.all = false,
            Some(database) => {
                self.paused.databases.remove(&database);
            }
        }
        self.apply_pauses(database, now);
    }

    fn apply_pauses(&mut self, database: Option<DatabaseId>, now: Moment) {
        let now = self.tick(now);
        for id in self.pools_of(database) {
            let service = self.service_of(self.pool(id).spec().database);
            let pool = self.pool_mut(id);
            match pool.service {
                Service::Removed(_) => continue,
                Service::Serving | Service::Paused => pool.service = service.clone(),
            }
            if service == Service::Paused {
                self.close_idle(id, &Cause::PauseMode, now);
            }
        }
        self.fill(now);
    }

    /// Whether a database was paused by its name or, for `None`, everything was.
    pub fn is_paused(&self, database: Option<DatabaseId>) -> bool {
        database.map_or(self.paused.all, |database| self.paused.databases.contains(&database))
    }

    /// Whether no server connection is in use any more (opening, held, cleaning, checking, idle): what PAUSE waits for.
    pub fn is_quiet(&self, database: Option<DatabaseId>) -> bool {
        self.pools_of(database).into_iter().all(|id| self.slots.shelf(id).staying() == 0)
    }

    /// Whether a database is paused by its name: SUSPEND is not possible then.
    pub fn any_paused(&self) -> bool {
        !self.paused.databases.is_empty()
    }

    /// Whether everything that had to be closed (RECONNECT, a changed connection string) is gone: what WAIT_CLOSE waits
    /// for. Lost connections are not waited for.
    pub fn is_renewed(&self, database: Option<DatabaseId>) -> bool {
        let in_scope = |slot: &Slot| database.is_none_or(|id| self.pool(slot.pool).spec().database == id);
        let mut slots = self.slots.table().iter().map(|(_, slot)| slot);
        !slots.any(|slot| slot.fate == Fate::CloseNeeded && slot.state() != SlotState::Lost && in_scope(slot))
    }

    /// Whether `pool_idle_timeout` has emptied the pool and nothing is left of it, so that it may be removed.
    pub fn is_given_up(&self, pool: PoolId) -> bool {
        let emptied = self.find_pool(pool).is_some_and(|pool| pool.clients == Clients::GivenUp);
        emptied && self.slots.shelf(pool).total() == 0
    }

    /// Every server connection is closed when it comes back, idle ones now.
    pub fn reconnect(&mut self, database: Option<DatabaseId>, now: Moment) {
        let now = self.tick(now);
        for id in self.pools_of(database) {
            let slots = self.slots.table().iter().filter(|(_, slot)| slot.pool == id).map(|(index, _)| index);
            for index in slots.collect::<Vec<u32>>() {
                self.slots.row_mut(index).fate = Fate::CloseNeeded;
            }
            self.shrink(id, now);
        }
        self.fill(now);
    }

    /// What these server connections logged in with has ended: they are closed when they come back, idle ones now.
    pub fn retire(&mut self, slots: &[SlotId], now: Moment) {
        let now = self.tick(now);
        for slot in slots {
            let Some(found) = self.slots.find(*slot) else { continue };
            match found.fate {
                Fate::Reuse => self.slots.row_mut(slot.index).fate = Fate::Retired,
                Fate::CloseNeeded | Fate::Retired => {}
            }
            if let Some(index) = self.slots.in_state(*slot, SlotState::Idle) {
                self.let_go(index, Cause::CredentialEnded, now);
            }
        }
        self.fill(now);
    }

    /// Refuses all waiters of the database with `cause` (KILL).
    pub fn refuse_waiters(&mut self, database: Option<DatabaseId>, cause: Cause, now: Moment) {
        self.tick(now);
        for id in self.pools_of(database) {
            self.refuse_queue(id, &cause);
        }
    }

    /// From now on whoever would have to wait, or waits now, is refused with `cause` (shutdown waiting for servers),
    /// and nothing is opened any more.
    pub fn refuse_all(&mut self, cause: Cause, now: Moment) {
        self.refuse_waiters(None, cause.clone(), now);
        self.refusing = Some(cause);
    }
}
