//! Connections that another process has opened and handed over, before anything else is known of their pools.

use plimsoll_types::{Cause, ClientId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, WorkerId};

use crate::Pools;
use crate::nouns::{SlotState, Standing};
use crate::pool::Welcome;
use crate::slots::{Fate, Origin, Slot};

/// No waiter's: whom it was opened for has it already.
const NOBODY: Ticket = Ticket { index: u32::MAX, generation: u32::MAX };

/// A connection that is handed over.
#[derive(Clone, Copy, Debug)]
pub struct Adopted {
    /// What it is doing.
    pub state: AdoptedState,
    /// The worker on which its socket is registered.
    pub home: WorkerId,
    /// When it was opened.
    pub opened: Moment,
    /// When it was granted or came back last.
    pub used: Moment,
    /// Whether it may serve anybody else.
    pub future: Future,
    /// Whether it was opened out of the reserve.
    pub reserve: bool,
}

/// What an adopted connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptedState {
    /// Nothing.
    Idle,
    /// A client has it, by this hold.
    Held(ClientId, HoldId),
    /// It stays where it was, and ends there: it takes a place until [`Pools::handle_closed`].
    Left,
}

/// Whether an adopted connection may serve anybody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Future {
    /// It may.
    Reuse,
    /// It is closed as soon as nobody holds it.
    Close,
}

impl Pools {
    /// Takes a connection over. To be called before anybody asks for one; idle ones in the order of `used`. Limits are
    /// not looked at: what is there is there. `None`: there is no such pool or target.
    pub fn adopt(
        &mut self,
        pool: PoolId,
        target: TargetId,
        adopted: &Adopted,
        now: Moment,
    ) -> Option<SlotId> {
        let now = self.tick(now);
        let standing = self.find_pool(pool)?.spec().standing;
        let place = self.slots.limits.place(target, standing)?;
        let known = self.find_pool_mut(pool)?;
        let groups = [place, known.database, known.user];
        if adopted.state != AdoptedState::Left {
            known.welcome = Welcome::Known;
        }
        let is_listed = known.spec().targets.contains(&target);
        self.workers.note(adopted.home);
        let mut slot = Slot::opening(pool, target, groups, adopted.home, adopted.opened);
        slot.origin = if adopted.reserve { Origin::Reserve } else { Origin::Size };
        slot.fate = match adopted.future {
            Future::Reuse if is_listed => Fate::Reuse,
            Future::Reuse | Future::Close => Fate::CloseNeeded,
        };
        // One for replication is closed after its client, whoever that was.
        slot.own = matches!(standing, Standing::Replication { .. }).then_some(NOBODY);
        let fate = slot.fate;
        let id = self.slots.insert(slot);
        match adopted.state {
            AdoptedState::Held(client, hold) => {
                self.holds = self.holds.max(hold.0);
                self.slots.give(id.index, (client, hold), adopted.home, now);
            }
            AdoptedState::Idle => self.slots.change(id.index, SlotState::Idle, now),
            AdoptedState::Left => self.slots.change(id.index, SlotState::Lost, now),
        }
        self.slots.row_mut(id.index).used = adopted.used.min(now);
        if adopted.state == AdoptedState::Idle && fate != Fate::Reuse {
            self.let_go(id.index, Cause::CloseNeeded, now);
        }
        Some(id)
    }

    /// A client that has just been queued has waited since then, in another process. To be called in the order in which
    /// they have come.
    pub fn has_waited_since(&mut self, ticket: Ticket, since: Moment) {
        self.waiters.set_since(ticket, since);
    }

    /// Holds are counted on from here: no two of them, in one process or the other, have one number.
    pub fn count_holds_from(&mut self, holds: u64) {
        self.holds = self.holds.max(holds);
    }

    /// How many holds there have been.
    pub fn holds(&self) -> u64 {
        self.holds
    }
}
