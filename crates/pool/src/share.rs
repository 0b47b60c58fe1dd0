//! Whose share of what is scarce is too large.
//!
//! Shares are max-min fair over the pools that want more, by their weights, with `guaranteed_pool_size` as a floor.
//! Nobody computes them: a connection goes from one pool to another only if that makes the smaller of the two shares
//! larger, and such moves end where no other division gives the poorest more. A move never calls for the opposite one,
//! so nothing swings.
//!
//! * A connection is *certain* as long as its pool has no more than its floor, else *common*. A pool below its floor
//!   takes common ones whatever the shares; nobody takes a certain one for more than a floor. Where floors add up to
//!   more than there is, pools below theirs share it like everybody else: by weight, max-min fair.
//! * A pool *without any* connection has a *turn*: where nothing else helps, it takes one that has served its own pool
//!   for [`TENURE_MIN`] and whose pool has no older waiter; of several such pools the one whose waiter is the oldest
//!   comes first. It takes a common one; a certain one only for a floor of its own, or where floors have left nothing
//!   common under the limit that is in its way. Then one place has become common, and the pools without any take turns
//!   at that one: the last common connection is not taken back for a floor as long as it is its pool's only one and in
//!   use. So floors never fill a limit: one place is left to those who have none, when they want it, and nobody starves
//!   beside floors.
//! * What was closed for a pool is *promised* to it: it has the place before all others, else a pool below its floor would
//!   have it back at once, and both would log in for ever.
//! * Only those that are logged in count as a pool's wealth: a login that is still in flight may be refused, and nobody
//!   should lose a connection, nor free a place, because of it.

use std::time::Duration;

use plimsoll_types::{Moment, PoolId};

use crate::Pools;
use crate::limits::{GroupId, TARGET};
use crate::nouns::Standing;
use crate::room::{Taken, targets};
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

/// Who wants one connection more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    /// `None`: a pool that does not exist yet.
    pub(crate) pool: Option<PoolId>,
    /// Connections it has.
    has: u32,
    floor: u32,
    weight: u32,
}

impl Taker {
    /// A pool that does not exist yet.
    pub(crate) const NEW: Taker = Taker { pool: None, has: 0, floor: 0, weight: 1 };

    /// Whether one more is still within its floor.
    fn is_below_floor(&self) -> bool {
        self.has < self.floor
    }

    fn rank(&self) -> Rank {
        if self.is_below_floor() { Rank::BelowFloor } else { Rank::Common }
    }

    /// How much it has, in thousandths of its weight.
    fn share(&self) -> u64 {
        u64::from(self.has) * SCALE / u64::from(self.weight)
    }
}

/// By what right a pool takes a connection; of several the smallest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// Its share is smaller, or nobody misses it.
    Share,
    /// It has none; with the turn of its oldest waiter.
    Turn(u64),
}

/// Whether anybody waits for a connection in its own pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Waiters,
    None,
}

/// A pool's place in the order of those who want more: its rank first, then its share.
pub(crate) type Level = (Rank, u64);

/// Who comes before whose share is smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// Without any connection, where floors have left nothing common.
    LeftOut,
    /// Below its floor.
    BelowFloor,
    /// The others.
    Common,
}

impl Pools {
    /// How much a pool has of what is scarce, beside others; `certain` are the targets at which nothing is common.
    pub(crate) fn level(&self, id: PoolId, certain: &[GroupId]) -> Level {
        let taker = self.taker(id);
        let (pool, limits) = (self.pool(id), &self.slots.limits);
        let places = || targets(pool).map(|target| limits.place(target, pool.spec().standing));
        let certain = |place: Option<GroupId>| place.is_none_or(|place| certain.contains(&place));
        let left_out = taker.has == 0 && places().all(certain);
        (if left_out { Rank::LeftOut } else { taker.rank() }, taker.share())
    }

    /// The targets at which floors have left nothing common, what is promised counted in.
    pub(crate) fn certain_places(&self) -> Vec<GroupId> {
        let floors = self.all_pools().filter(|(_, pool)| pool.limits().guaranteed > 0);
        let targets = floors.flat_map(|(_, pool)| &pool.spec().targets);
        let places = targets.filter_map(|target| self.slots.limits.target(*target));
        let mut places: Vec<GroupId> =
            places.filter(|place| self.slots.limits.group(*place).max.is_some()).collect();
        places.sort_unstable();
        places.dedup();
        places.retain(|place| self.common_to_come(*place, self.promised.iter().copied()) == 0);
        places
    }

    /// A pool as one who wants a connection more.
    pub(crate) fn taker(&self, id: PoolId) -> Taker {
        let limits = self.pool(id).limits();
        let (pool, has) = (Some(id), self.slots.shelf(id).staying());
        Taker { pool, has, floor: limits.guaranteed, weight: limits.weight.max(1) }
    }

    /// Whether a pool of which `kept` are left still has a larger share than `taker` with one more, or the same.
    fn is_even(&self, taker: &Taker, rich: PoolId, kept: u32) -> bool {
        let weight = self.pool(rich).limits().weight.max(1);
        u64::from(kept) * u64::from(taker.weight) >= (u64::from(taker.has) + 1) * u64::from(weight)
    }

    /// Whether a pool has more than its floor.
    fn is_above_floor(&self, id: PoolId) -> bool {
        self.slots.shelf(id).connected() > self.pool(id).limits().guaranteed
    }

    /// Whether a connection that is free goes to `taker` because its share is smaller.
    fn is_due_to(&self, taker: &Taker, slot: &Slot, taken: &Taken, demand: Demand) -> bool {
        // It counts as missed even where nobody waits now, or two pools of one size would log in for each other in turn;
        // but not beside one without any.
        let kept = self.slots.shelf(slot.pool).connected().saturating_sub(1);
        let for_nothing = demand == Demand::None && taker.has == 0;
        match (taker.is_below_floor(), self.is_above_floor(slot.pool)) {
            (true, true) => for_nothing || kept > 0 || !self.is_last_common(slot, taken),
            (true, false) => self.is_even(taker, slot.pool, kept) && self.is_all_certain(slot, taken, 1),
            (false, true) => for_nothing || self.is_even(taker, slot.pool, kept),
            (false, false) => false,
        }
    }

    /// Whether an idle connection may be closed for the sake of `taker`. Under `max_db_connections` and
    /// `max_user_connections` the least recently used one goes at once, as in PgBouncer; in a target's budget it goes at
    /// once if that is fair, else after [`IDLE_GRACE`]. One that a floor keeps goes after that time to a pool without any.
    pub(crate) fn may_evict(&self, taker: &Taker, slot: &Slot, taken: &Taken, now: Moment) -> bool {
        if self.is_kept_free(slot, taken) {
            return false;
        }
        let (unused, for_budget) = (now >= slot.used + IDLE_GRACE, taken[TARGET].is_some());
        let given_up =
            if self.is_above_floor(slot.pool) { !for_budget || unused } else { unused && taker.has == 0 };
        given_up || self.is_due_to(taker, slot, taken, Demand::None)
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
        self.slots.shelf(slot.pool).staying() <= 1 && self.keeps_first(slot.pool, slot.groups[TARGET])
    }

    /// Whether the first connection of a pool at a target has a place that is kept for it.
    fn keeps_first(&self, id: PoolId, place: GroupId) -> bool {
        self.pool(id).spec().standing == Standing::Guaranteed
            && self.keeps_places(place)
            && self.guaranteed_with_one(place) <= KEPT_MAX
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

    /// By what right the waiters of `taker` come before those of the pool that the free connection belongs to.
    pub(crate) fn may_take(&self, taker: &Taker, slot: &Slot, taken: &Taken, now: Moment) -> Option<Right> {
        if self.is_kept_free(slot, taken) {
            return None;
        }
        let theirs = self.waiters.oldest(&self.pool(slot.pool).queue);
        let demand = if theirs.is_some() { Demand::Waiters } else { Demand::None };
        let given_up = demand == Demand::None && taken[TARGET].is_none() && self.is_above_floor(slot.pool);
        if given_up || self.is_due_to(taker, slot, taken, demand) {
            return Some(Right::Share);
        }
        self.its_turn(taker, slot, taken, theirs, now)
    }

    /// Whether a pool without any connection has the next turn with one that has served its own pool for
    /// [`TENURE_MIN`].
    fn its_turn(
        &self,
        taker: &Taker,
        slot: &Slot,
        taken: &Taken,
        theirs: Option<u32>,
        now: Moment,
    ) -> Option<Right> {
        if taker.has > 0 || now < slot.opened + TENURE_MIN {
            return None;
        }
        let turn = |waiter: u32| self.waiters.row(waiter).turn;
        let ours = turn(self.waiters.oldest(&self.pool(taker.pool?).queue)?);
        let is_older = theirs.is_none_or(|theirs| ours < turn(theirs));
        let free = taker.floor > 0 || self.is_above_floor(slot.pool);
        (is_older && (free || self.is_all_certain(slot, taken, 0))).then_some(Right::Turn(ours))
    }

    /// Whether floors keep all but `common` connections under one of the limits in the way that a connection makes room
    /// under.
    fn is_all_certain(&self, slot: &Slot, taken: &Taken, common: u32) -> bool {
        let coming = || self.patient.iter().map(|claim| claim.pool).chain(self.rationed.iter().copied());
        let relieved = taken.iter().flatten().filter(|group| slot.groups.contains(group));
        relieved.copied().any(|group| self.common_to_come(group, coming()) <= common)
    }

    /// Connections under a limit that no floor keeps, those counted in that the pools of `coming` are about to open.
    fn common_to_come(&self, group: GroupId, coming: impl Iterator<Item = PoolId>) -> u32 {
        let coming = coming.filter(|id| self.is_under(*id, group) && !self.taker(*id).is_below_floor());
        self.common(group, Shelf::staying) + coming.count() as u32
    }

    /// Whether a pool's only connection is the last common one under one of the limits in the way.
    fn is_last_common(&self, slot: &Slot, taken: &Taken) -> bool {
        let relieved = taken.iter().flatten().filter(|group| slot.groups.contains(group));
        relieved.copied().any(|group| self.common(group, Shelf::connected) <= 1)
    }

    /// Connections under a limit that no floor keeps; `of` tells which of a pool's count.
    fn common(&self, group: GroupId, of: impl Fn(&Shelf) -> u32) -> u32 {
        let common = |(id, shelf): (PoolId, &Shelf)| {
            let here = shelf.staying_in(group);
            // For most pools that is all there is to it.
            if here == 0 {
                return 0;
            }
            let kept = u32::from(self.keeps_first(id, group));
            of(shelf).saturating_sub(self.pool(id).limits().guaranteed.max(kept)).min(here)
        };
        self.slots.shelves().map(common).sum()
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
