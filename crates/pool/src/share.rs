//! Whose share of what is scarce is too large.
//!
//! Shares are max-min fair over the pools that want more, by their weights, with `guaranteed_pool_size` as a floor.
//! Nobody computes them: a connection goes from one pool to another only if that makes the smaller of the two shares
//! larger, and such moves end where no other division gives the poorest more. A move never calls for the opposite one,
//! so nothing swings.

use std::time::Duration;

use plimsoll_types::{Moment, PoolId};

use crate::Pools;
use crate::limits::{GroupId, TARGET};
use crate::nouns::Standing;
use crate::room::Taken;
use crate::slots::{Shelf, Slot};

/// How long a connection serves the waiters of its own pool before those of a pool without any can have its place: with
/// fewer places than pools they take turns of this length, not of one transaction.
pub(crate) const TENURE_MIN: Duration = Duration::from_millis(100);

/// How long a connection that nobody uses stays with a pool that has less than its share: a client that comes back after
/// a moment does not have to wait for a login.
pub(crate) const IDLE_GRACE: Duration = Duration::from_secs(1);

/// Most places that are kept at a target for pools with one of their own, however many there are: one for who looks up
/// secrets, one for who looks at the server.
const KEPT_MAX: u32 = 2;

/// A pool's place in the order of those who want more: who is below its floor first, then by share.
pub(crate) type Level = (bool, u64);

impl Pools {
    /// How much a pool has of what is scarce, beside others.
    pub(crate) fn level(&self, id: PoolId) -> Level {
        let (staying, limits) = (self.slots.shelf(id).staying(), self.pool(id).limits());
        (staying >= limits.guaranteed, u64::from(staying) * SCALE / u64::from(limits.weight.max(1)))
    }

    /// Whether `rich` still has a larger share than `poor`, or the same, when one connection has gone from it to `poor`;
    /// `kept` are those that `rich` has then.
    fn is_fair(&self, poor: PoolId, rich: PoolId, kept: u32) -> bool {
        let (poor_limits, rich_limits) = (self.pool(poor).limits(), self.pool(rich).limits());
        let got = self.slots.shelf(poor).staying() + 1;
        if got <= poor_limits.guaranteed {
            return true;
        }
        u64::from(kept) * u64::from(poor_limits.weight.max(1))
            >= u64::from(got) * u64::from(rich_limits.weight.max(1))
    }

    /// Whether a pool has more than its floor.
    fn is_above_floor(&self, id: PoolId) -> bool {
        self.slots.shelf(id).staying() > self.pool(id).limits().guaranteed
    }

    /// Whether an idle connection may be closed for the sake of pool `id`. Under `max_db_connections` and
    /// `max_user_connections` the least recently used one goes at once, as in PgBouncer; in a target's budget it goes at
    /// once from a pool whose share is no smaller than what `id` will have, else after [`IDLE_GRACE`]. One that a floor
    /// keeps goes after that time to a pool without any: floors may add up to more than there is.
    pub(crate) fn may_evict(&self, id: PoolId, slot: &Slot, taken: &Taken, now: Moment) -> bool {
        let (unused, for_budget) = (now >= slot.used + IDLE_GRACE, taken[TARGET].is_some());
        if self.is_kept_free(slot, taken) {
            return false;
        }
        if !self.is_above_floor(slot.pool) {
            return unused && self.slots.shelf(id).staying() == 0;
        }
        !for_budget || unused || self.is_fair(id, slot.pool, self.slots.shelf(slot.pool).staying())
    }

    /// Whether a connection has a place in the budget that nobody else could use, and is in the way of nothing else.
    fn is_kept_free(&self, slot: &Slot, taken: &Taken) -> bool {
        let in_the_way = taken.iter().skip(TARGET + 1).flatten().any(|group| slot.groups.contains(group));
        taken[TARGET].is_some() && !in_the_way && self.has_kept_place(slot)
    }

    /// Whether a connection that is not in use has to go because a limit has been lowered. Who looks at the server has
    /// to stay, or nobody would see when there is room again.
    pub(crate) fn is_surplus(&self, slot: &Slot) -> bool {
        let limits = &self.slots.limits;
        let other = || slot.groups.iter().skip(TARGET + 1).any(|group| limits.is_over(*group));
        limits.any_over(&slot.groups) && (other() || !self.has_kept_place(slot))
    }

    /// Whether a connection is the first of a pool with a place of its own, and that place is kept.
    fn has_kept_place(&self, slot: &Slot) -> bool {
        self.pool(slot.pool).spec().standing == Standing::Guaranteed
            && self.slots.shelf(slot.pool).staying() <= 1
            && self.keeps_places(slot.groups[TARGET])
            && self.guaranteed_with_one(slot.groups[TARGET]) <= KEPT_MAX
    }

    /// Whether a budget is large enough to keep places for those that are to have one, and leave some to others.
    pub(crate) fn keeps_places(&self, place: GroupId) -> bool {
        let max = self.slots.limits.group(place).max;
        max.is_none_or(|max| (self.guaranteed_at(place).count() as u32).min(KEPT_MAX) < max)
    }

    /// How many pools with a place of their own have a connection at a target.
    fn guaranteed_with_one(&self, place: GroupId) -> u32 {
        self.guaranteed_at(place).filter(|id| self.slots.shelf(*id).total() > 0).count() as u32
    }

    /// Pools with a place of their own that lead to a target.
    fn guaranteed_at(&self, place: GroupId) -> impl Iterator<Item = PoolId> {
        let leads_there = move |id: &PoolId| {
            let pool = self.find_pool(*id);
            let targets = pool.map_or(&[][..], |pool| &pool.spec().targets);
            targets.iter().any(|target| self.slots.limits.target(*target) == Some(place))
        };
        self.guaranteed.iter().copied().filter(leads_there)
    }

    /// Whether the waiters of `id` come before those of the pool that the free connection belongs to.
    pub(crate) fn may_take(&self, id: PoolId, slot: &Slot, taken: &Taken, now: Moment) -> bool {
        if self.is_kept_free(slot, taken) {
            return false;
        }
        let has = self.slots.shelf(slot.pool).staying();
        let theirs = self.waiters.oldest(&self.pool(slot.pool).queue);
        let fair = self.is_above_floor(slot.pool)
            && match theirs {
                // Nobody waits for it there: it is as good as idle.
                None => taken[TARGET].is_none() || self.is_fair(id, slot.pool, has),
                Some(_) => self.is_fair(id, slot.pool, has.saturating_sub(1)),
            };
        fair || self.is_its_turn(id, slot, theirs, now)
    }

    /// Whether a pool without any connection has the next turn with one that has served its own pool for
    /// [`TENURE_MIN`].
    fn is_its_turn(&self, id: PoolId, slot: &Slot, theirs: Option<u32>, now: Moment) -> bool {
        let Some(ours) = self.waiters.oldest(&self.pool(id).queue) else { return false };
        let nothing_of_ours = self.slots.shelf(id).staying() == 0;
        let served = now >= slot.opened + TENURE_MIN;
        let turn = |waiter: u32| self.waiters.row(waiter).turn;
        nothing_of_ours && served && theirs.is_none_or(|theirs| turn(ours) < turn(theirs))
    }

    /// When an idle connection that a hungry pool could have becomes free for the taking.
    pub(crate) fn grace_ends(&self) -> Option<Moment> {
        if self.hungry.is_empty() {
            return None;
        }
        // Oldest first: those that were free for the taking at the last look have not helped.
        let end = |index: u32| self.slots.row(index).used + IDLE_GRACE;
        let next =
            |shelf: &Shelf| shelf.idle().iter(self.slots.table()).map(end).find(|end| *end > self.looked);
        self.slots.shelves().filter_map(|(_, shelf)| next(shelf)).min()
    }

    /// Places at a target that are kept for pools with a place of their own ([`Standing::Guaranteed`]).
    pub(crate) fn reserved_at(&self, place: GroupId) -> u32 {
        if self.guaranteed.is_empty() || !self.keeps_places(place) {
            return 0;
        }
        let all = self.guaranteed_at(place).count() as u32;
        all.min(KEPT_MAX).saturating_sub(self.guaranteed_with_one(place))
    }
}

/// Shares are compared in whole numbers.
const SCALE: u64 = 1_000;
