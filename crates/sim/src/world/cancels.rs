//! Cancel requests: none may strike another client's query.

use plimsoll_pool::CancelVerdict;
use plimsoll_types::SlotId;

use super::{CancelModel, Doing, Event, Kept, Stage, World, broken, ensure, nth};
use crate::history::{Cancel, Course};
use crate::postgres::Woken;

/// How long after it was given up a cancel request may still strike, microseconds.
const LATE_US: u64 = 50_000;

impl World {
    /// One of those who hold asks for a cancel.
    pub(crate) fn begin_cancel(&mut self, n: u32, cancel: Cancel) -> Kept {
        let held = self.connections.iter().filter_map(|(slot, connection)| match connection.doing {
            Doing::Held(_, hold) => Some((*slot, hold)),
            _ => None,
        });
        let Some((slot, hold)) = nth(&held.collect::<Vec<_>>(), n) else { return Ok(()) };
        let pool = self.connection(slot).pool;
        let open = self.cancels_of(pool);
        let size = self.pools.get(&pool).map(|model| model.shape.limits.size.max(1));
        match self.driver.cancel(slot, hold, self.now) {
            CancelVerdict::Stale => {
                return broken("cancel: who holds can cancel", format!("{hold:?} has {slot:?}"));
            }
            CancelVerdict::Wait => {
                return ensure(
                    size.is_none_or(|size| open >= 2 * size),
                    "cancel: waits for something",
                    || format!("{open} cancels in {pool:?} of size {size:?}"),
                );
            }
            CancelVerdict::Go => {}
        }
        ensure(size.is_none_or(|size| open < 2 * size), "1: cancels are at most 2 x pool_size", || {
            format!("{open} cancels in {pool:?} of size {size:?}")
        })?;
        self.connection(slot).cancels += 1;
        let Cancel { connect_us, strike_us, course } = cancel;
        let number = self.number();
        let model = CancelModel { slot, hold, pool, stage: Stage::Connecting, strike_us, course };
        self.cancels.insert(number, model);
        self.enter(connect_us, Event::Cancel(number));
        Ok(())
    }

    /// Cancel connections open for a pool.
    pub(crate) fn cancels_of(&self, pool: plimsoll_types::PoolId) -> u32 {
        let open = |cancel: &&CancelModel| cancel.pool == pool && cancel.stage != Stage::Late;
        self.cancels.values().filter(open).count() as u32
    }

    pub(crate) fn cancel_proceeds(&mut self, number: u64) -> Kept {
        let Some(cancel) = self.cancels.get(&number).copied() else { return Ok(()) };
        let CancelModel { slot, hold, strike_us, .. } = cancel;
        let holds = self
            .connections
            .get(&slot)
            .is_some_and(|connection| matches!(connection.doing, Doing::Held(_, held) if held == hold));
        match cancel.stage {
            Stage::Connecting => {
                let thinks = self.driver.is_held(slot, hold);
                ensure(thinks == holds, "cancel: asked again", || {
                    format!("{hold:?} has {slot:?}: {holds}, the pool says {thinks}")
                })?;
                if holds {
                    self.set_stage(number, Stage::Sent);
                    self.enter(strike_us, Event::Cancel(number));
                } else {
                    self.cancels.remove(&number);
                    self.note_end(slot);
                    self.driver.cancel_ended(slot, self.now);
                }
                Ok(())
            }
            Stage::Sent if cancel.course == Course::Late => {
                self.set_stage(number, Stage::Late);
                self.enter(LATE_US, Event::Cancel(number));
                self.note_end(slot);
                self.driver.cancel_lost(slot, self.now);
                Ok(())
            }
            Stage::Sent => {
                self.cancels.remove(&number);
                self.strike(&cancel)?;
                self.note_end(slot);
                self.driver.cancel_ended(slot, self.now);
                Ok(())
            }
            Stage::Late => {
                self.cancels.remove(&number);
                self.strike(&cancel)
            }
        }
    }

    fn set_stage(&mut self, number: u64, stage: Stage) {
        if let Some(cancel) = self.cancels.get_mut(&number) {
            cancel.stage = stage;
        }
    }

    /// A cancel connection of a slot is gone.
    fn note_end(&mut self, slot: SlotId) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&slot) {
            connection.cancels = connection.cancels.saturating_sub(1);
            if connection.doing == Doing::Idle {
                connection.since = now;
            }
        }
    }

    /// The server deals with a cancel request: whatever the backend does now is interrupted.
    fn strike(&mut self, cancel: &CancelModel) -> Kept {
        self.tally.cancels += 1;
        self.digest(2, u64::from(cancel.slot.index));
        let Some(connection) = self.connections.get(&cancel.slot) else { return Ok(()) };
        match connection.doing {
            Doing::Held(client, hold) if hold == cancel.hold && self.talks.is_speaker(client) => {
                self.end_nap(cancel.slot, Woken::Canceled)
            }
            Doing::Held(client, hold) if hold == cancel.hold => {
                self.enter(0, Event::Returns(client, hold));
                Ok(())
            }
            Doing::Held(client, hold) => broken(
                "cancel: it strikes nobody else",
                format!("{:?} for {:?} struck {hold:?} of {client:?}", cancel.slot, cancel.hold),
            ),
            Doing::Cleaning | Doing::Checking => {
                broken("cancel: it strikes nobody else", format!("{:?} in {connection:?}", cancel.slot))
            }
            Doing::Opening(_) | Doing::Idle | Doing::Closing | Doing::Lost => Ok(()),
        }
    }
}
