//! Attempts to connect: one at a time for each pool, their failures and retries; and what became of cleaning and
//! checking.

use std::time::Duration;

use plimsoll_types::{Cause, Moment, PoolId, SlotId, TargetId, WorkerId};

use crate::Pools;
use crate::hand::Arrival;
use crate::nouns::{Action, Failure, Pick, SlotState, Standing, Unreachable};
use crate::pool::{Health, Trouble, Welcome};
use crate::slots::{Fate, Origin, Slot};

/// Whether the server has been seen to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Seen,
    Unseen,
}

impl Pools {
    /// Opening succeeded; the connection lives on `worker`.
    pub fn handle_opened(&mut self, slot: SlotId, worker: WorkerId, now: Moment) {
        let now = self.tick(now);
        let Some(index) = self.slots.in_state(slot, SlotState::Opening) else { return };
        let id = self.slots.row(index).pool;
        let pool = self.pool_mut(id);
        pool.health = Health::Well;
        (pool.failed_in_row, pool.retry_wait, pool.failure) = (0, Duration::ZERO, None);
        pool.welcome = Welcome::Known;
        self.workers.note(worker);
        self.note_place_given(index);
        self.slots.settle_on(index, worker);
        self.settle(index, Arrival::Opened, now);
        self.want(id, now);
        self.next_in_turn(now);
    }

    /// Cleaning or checking succeeded.
    pub fn handle_cleaned(&mut self, slot: SlotId, now: Moment) {
        let now = self.tick(now);
        if let Some(index) = self.slots.in_state(slot, SlotState::Checking) {
            self.settle(index, Arrival::Checked, now);
        } else if let Some(index) = self.slots.in_state(slot, SlotState::Cleaning) {
            self.settle(index, Arrival::Cleaned, now);
        }
    }

    /// Opening, cleaning or checking failed; the socket is closed and nothing of it is left at the server.
    pub fn handle_failed(&mut self, slot: SlotId, failure: Failure, now: Moment) {
        self.fail(slot, failure, End::Seen, now);
    }

    /// The same, but the server has not been seen to end: the slot is lost until [`Pools::handle_closed`].
    pub fn handle_failed_unseen(&mut self, slot: SlotId, failure: Failure, now: Moment) {
        self.fail(slot, failure, End::Unseen, now);
    }

    fn fail(&mut self, slot: SlotId, failure: Failure, end: End, now: Moment) {
        let now = self.tick(now);
        let Some(found) = self.slots.find(slot) else { return };
        let (state, id, target, began) = (found.state(), found.pool, found.target, found.opened);
        let alone = found.own.filter(|_| self.is_refused_alone(found, &failure));
        match state {
            // What failed was another place: the name of the server leads elsewhere by now.
            SlotState::Opening if self.is_elsewhere(id, target) => {}
            SlotState::Opening if let Some(ticket) = alone => self.refuse_alone(id, ticket, &failure),
            SlotState::Opening => self.note_failure(id, target, &failure),
            SlotState::Cleaning | SlotState::Checking => {}
            SlotState::Idle
            | SlotState::Held
            | SlotState::BeingCanceled
            | SlotState::Closing
            | SlotState::Lost => return,
        }
        match end {
            End::Seen => self.remove(slot.index),
            End::Unseen => self.slots.change(slot.index, SlotState::Lost, now),
        }
        if state == SlotState::Opening && alone.is_none() {
            self.learn(id, target, &failure, began, now);
        }
        if self.find_pool(id).is_some() {
            self.serve(id, now);
        }
        self.fill(now);
    }

    /// Whether a pool has come to use other targets than this one.
    fn is_elsewhere(&self, id: PoolId, target: TargetId) -> bool {
        self.find_pool(id).is_some_and(|pool| !pool.spec().targets.contains(&target))
    }

    /// An attempt failed: who is told, and where the next one goes.
    fn note_failure(&mut self, id: PoolId, target: TargetId, failure: &Failure) {
        let (Failure::Connect(cause) | Failure::Lost(cause) | Failure::Login(cause)) = failure else {
            let (Failure::Full(cause) | Failure::Limited(cause)) = failure else { return };
            let pool = self.pool_mut(id);
            // It answered: what is in the way now is a place, and that can be made.
            (pool.health, pool.failed_in_row, pool.retry_wait) = (Health::Well, 0, Duration::ZERO);
            pool.failure = Some(cause.clone());
            return;
        };
        let jitter = self.jitter();
        let pool = self.pool_mut(id);
        pool.failure = Some(cause.clone());
        match failure {
            Failure::Login(_) => {
                pool.wait_after(Trouble::Refused, jitter);
                pool.health = Health::Refusing { reason: cause.message().into() };
                pool.failed_in_row = 0;
                if !self.has_usable(id) {
                    self.refuse_queue(id, cause);
                }
            }
            Failure::Connect(_) | Failure::Lost(_) | Failure::Full(_) | Failure::Limited(_) => {
                pool.wait_after(Trouble::Unreachable, jitter);
                self.note_unreachable(id, cause);
                self.avoid(id, target);
            }
        }
    }

    /// Nothing answered. Waiters go on waiting; newcomers are told at once if that is wanted and the pool has had a
    /// server before, that is if clients have been welcomed: PgBouncer lets clients that are still in their login wait.
    fn note_unreachable(&mut self, id: PoolId, cause: &Cause) {
        let pool = self.pool_mut(id);
        pool.health = match (pool.welcome, pool.limits().unreachable) {
            (Welcome::Known, Unreachable::Refuse) => Health::Refusing { reason: cause.message().into() },
            (Welcome::Unknown, _) | (_, Unreachable::Wait) => Health::Failing,
        };
    }

    /// `load_balance_hosts = disable`, or a name with several addresses: the same target until it fails, then the
    /// next one, at once as long as there is one that has not failed.
    fn avoid(&mut self, id: PoolId, target: TargetId) {
        let pool = self.pool_mut(id);
        let failed = pool.spec().targets.get(pool.cursor) == Some(&target);
        match pool.spec().pick {
            Pick::UntilFailure if failed => {
                pool.cursor = (pool.cursor + 1) % pool.spec().targets.len();
                pool.failed_in_row = pool.failed_in_row.wrapping_add(1);
            }
            Pick::UntilFailure | Pick::RoundRobin => {}
        }
    }

    /// Whether the pool has a connection that a waiter can still get: PgBouncer's "no connected server is left or
    /// the pool was marked dirty".
    fn has_usable(&self, id: PoolId) -> bool {
        let usable = |slot: &Slot| match slot.state() {
            SlotState::Opening | SlotState::Closing | SlotState::Lost => false,
            SlotState::Idle
            | SlotState::Held
            | SlotState::BeingCanceled
            | SlotState::Cleaning
            | SlotState::Checking => slot.pool == id && slot.fate == Fate::Reuse,
        };
        self.slots.table().iter().any(|(_, slot)| usable(slot))
    }

    /// Begins an attempt; room has been found at `target`.
    pub(crate) fn open(&mut self, id: PoolId, target: TargetId, now: Moment) {
        let pool = self.pool(id);
        let Some(place) = self.slots.limits.place(target, pool.spec().standing) else { return };
        let groups = [place, pool.database, pool.user];
        let guaranteed = pool.spec().standing == Standing::Guaranteed;
        debug_assert!(
            guaranteed || groups.iter().all(|group| self.slots.limits.group(*group).has_room(0)),
            "no room to open"
        );
        let (alone, oldest) = (pool.is_for_replication(), self.waiters.oldest(&pool.queue));
        let worker = match oldest {
            Some(waiter) => self.waiters.row(waiter).worker,
            None => self.workers.in_turn(),
        };
        let mut slot = Slot::opening(id, target, groups, worker, now);
        slot.own = oldest.filter(|_| alone).map(|waiter| self.waiters.ticket(waiter));
        self.promised.retain(|promised| *promised != id);
        let pool = self.pool_mut(id);
        pool.attempt = Some(now);
        let position = pool.spec().targets.iter().position(|listed| *listed == target).unwrap_or(0);
        pool.cursor = match pool.spec().pick {
            Pick::RoundRobin => (position + 1) % pool.spec().targets.len().max(1),
            Pick::UntilFailure => position,
        };
        let pool = self.pool(id);
        if self.sized(id, pool) >= pool.limits().size {
            slot.origin = Origin::Reserve;
        }
        let slot = self.slots.insert(slot);
        if guaranteed {
            // It may have passed a limit: what is idle under that goes.
            self.squeeze(now);
        }
        self.actions.push_back(Action::Open { slot, pool: id, target, worker });
    }

    /// The name of the server does not resolve: an attempt that fails at once, without a slot.
    pub(crate) fn fail_to_resolve(&mut self, id: PoolId, now: Moment) {
        let jitter = self.jitter();
        let pool = self.pool_mut(id);
        (pool.attempt, pool.failure) = (Some(now), Some(Cause::DnsFailed));
        pool.wait_after(Trouble::Unreachable, jitter);
        self.note_unreachable(id, &Cause::DnsFailed);
    }
}
