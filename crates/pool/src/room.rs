//! May a pool open one more connection, and who has to make room for it?
//!
//! A pool *wants* an opening when it has more waiters than connections that are coming anyway, no attempt under way,
//! and is below its own size. Three limits span pools: the target's budget, `max_db_connections`,
//! `max_user_connections`. Places under them are shared like this:
//!
//! * Whenever a place may have become free, all wanting pools are looked at, the one with the smallest share first
//!   (module `share`), of equal ones the one whose waiter has waited longest ([`Pools::fill`]). But a pool for which
//!   something was closed comes first.
//! * Only so many logins are in flight at a target (`connect_concurrency`): a pool that finds room but no turn is
//!   *rationed*, and looked at when one of those logins has ended.
//! * A pool that finds a limit used up, but a connection under it closing that no older waiter counts on, waits for
//!   that (it is *patient*, and holds a claim to a place under each of its limits).
//! * Else it evicts the least recently used idle connection that is in its way, of another pool, above that pool's
//!   floor, and is patient. If several limits are in the way, it evicts for all of them or not at all: half the room
//!   would be a loss for the other and no gain.
//! * A pool that finds nothing idle is *hungry*. Then every connection that comes free in another pool is looked at
//!   ([`Pools::yield_place`]), and closed for it if its pool has the larger share. Where there are fewer places than
//!   pools, they take turns.
//! * A pool with a place of its own ([`Standing::Guaranteed`]) opens its first connection whatever the limits of
//!   database and user say, and as long as it has none, all others leave it a place in the budget.
//! * A connection nobody waits for (`min_pool_size`) leaves a place to each hungry pool under its limits, and goes
//!   beyond no limit.
//!
//! So no pool starves while connections come back at all. One corner is left: a pool kept out by two limits at once,
//! whose connections are never free in the same moment, waits until they are.

use plimsoll_types::{Cause, Moment, PoolId, TargetId};

use crate::Pools;
use crate::limits::{GroupId, Groups, TARGET};
use crate::nouns::{Pick, SlotState, Standing};
use crate::pool::Pool;
use crate::share::{Right, Taker};
use crate::slots::{Shelf, Slot};

/// Limits in the way of an opening.
pub(crate) type Taken = [Option<GroupId>; 3];

/// Connections that have to go.
type Victims = [Option<u32>; 3];

/// What a pool says it will need when what is closing has closed.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) pool: PoolId,
    groups: Groups,
}

/// Whether a pool may open one more at a target.
enum Room {
    /// Yes.
    Free,
    /// When what is closing has closed.
    Soon,
    /// Yes, but as many logins are in flight there as may be.
    Busy,
    /// These limits are used up.
    Taken(Taken),
}

/// What one more connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Somebody waits for it.
    Waiter,
    /// `min_pool_size`.
    Spare,
}

/// How a pool gets one more connection.
enum Way {
    /// There is room at this target.
    Open(TargetId),
    /// Connections are closing that leave room at this target.
    Wait(TargetId),
    /// There is room at this target when these are closed.
    Evict(TargetId, Victims),
    /// There is room when a login that is in flight has ended.
    Queue,
    /// Not now.
    Closed,
}

impl Pools {
    /// A pool may want an opening, and no place has become free: the quick look.
    pub(crate) fn want(&mut self, id: PoolId, now: Moment) {
        self.make_size(id, now);
        let settled = self.is_settled(id);
        if !settled && self.find_pool(id).is_some_and(|pool| self.wants(id, pool, now)) {
            let (kept, full) = (self.kept(), self.slots.limits.full());
            self.find_way(id, now);
            self.fill_if_changed(kept, full, now);
        }
    }

    /// Pools with a place of their own and nothing in it.
    fn kept(&self) -> usize {
        self.guaranteed.iter().filter(|id| self.slots.shelf(**id).total() == 0).count()
    }

    /// A place that was kept for a pool at several targets is taken at one of them and free at the others; and a limit
    /// that is full now has connections in the way of others that were not before.
    fn fill_if_changed(&mut self, kept: usize, full: u32, now: Moment) {
        if self.kept() < kept || (self.slots.limits.full() > full && !self.hungry.is_empty()) {
            self.fill(now);
        }
    }

    /// Whether there is nothing to do for the waiters of a pool until a connection of others is free or gone.
    pub(crate) fn is_settled(&self, id: PoolId) -> bool {
        self.hungry.contains(&id) || self.rationed.contains(&id) || self.has_claim(id)
    }

    /// Whether a pool will have a place when what is closing has closed.
    pub(crate) fn has_claim(&self, id: PoolId) -> bool {
        self.patient.iter().any(|claim| claim.pool == id)
    }

    /// What was found out for the waiters of a pool says nothing to those who come after they are gone.
    pub(crate) fn unsettle(&mut self, id: PoolId) {
        self.hungry.retain(|hungry| *hungry != id);
        self.rationed.retain(|rationed| *rationed != id);
        self.patient.retain(|claim| claim.pool != id);
        self.promised.retain(|promised| *promised != id);
    }

    /// A login has ended: whoever waited for its turn has it, and a share has grown.
    pub(crate) fn next_in_turn(&mut self, now: Moment) {
        if !self.rationed.is_empty() || !self.hungry.is_empty() {
            self.fill(now);
        }
    }

    /// Opens what can be opened for waiters, the pool with the smallest share first.
    pub(crate) fn fill(&mut self, now: Moment) {
        let oldest =
            |pool: &Pool| self.waiters.oldest(&pool.queue).map(|waiter| self.waiters.row(waiter).turn);
        let waits = |id: PoolId, pool: &Pool| pool.is_for_replication() && self.is_short(id, pool);
        let certain = self.certain_places();
        let wanting = self.all_pools().filter(|(id, pool)| self.wants(*id, pool, now));
        let mut wanting: Vec<_> = wanting
            .map(|(id, pool)| (!self.promised.contains(&id), self.level(id, &certain), oldest(pool), id))
            .collect();
        wanting.sort_unstable();
        let closing: Vec<PoolId> = self
            .promised
            .iter()
            .copied()
            .filter(|id| self.find_pool(*id).is_some_and(|pool| waits(*id, pool)))
            .filter(|id| !wanting.iter().any(|(.., wanting)| wanting == id))
            .collect();
        // Who wants nothing any more is promised nothing; but for a replication connection something may yet be closing.
        self.promised.clear();
        self.promised.extend(closing);
        self.promised.extend(wanting.iter().filter(|(common, ..)| !common).map(|(.., id)| *id));
        self.hungry.clear();
        self.patient.clear();
        self.rationed.clear();
        let (kept, full) = (self.kept(), self.slots.limits.full());
        for (.., id) in wanting {
            // Who shares its size with another may have lost it to that one.
            if self.pool(id).beside.is_none() || self.wants(id, self.pool(id), now) {
                self.find_way(id, now);
            }
        }
        self.make_sizes(now);
        self.fill_if_changed(kept, full, now);
    }

    /// Opens a connection for a pool that wants one, or finds out what it has to wait for.
    fn find_way(&mut self, id: PoolId, now: Moment) {
        if self.pool(id).spec().targets.is_empty() {
            return self.fail_to_resolve(id, now);
        }
        match self.way(id, now) {
            Way::Open(target) => self.open(id, target, now),
            Way::Wait(target) => self.claim(id, target),
            Way::Evict(target, victims) => self.make_room(id, target, victims, now),
            Way::Queue => self.rationed.push(id),
            Way::Closed => self.hungry.push(id),
        }
    }

    /// Opens connections nobody waits for yet (`min_pool_size`). Nobody is evicted for these.
    pub(crate) fn fill_minimum(&mut self, now: Moment) {
        let wanting =
            self.all_pools().filter(|(id, pool)| self.wants_minimum(*id, pool) && pool.retry_is_due(now));
        let wanting: Vec<PoolId> = wanting.map(|(id, _)| id).collect();
        for id in wanting {
            if !self.wants_minimum(id, self.pool(id)) {
                continue;
            }
            if self.pool(id).spec().targets.is_empty() {
                self.fail_to_resolve(id, now);
            } else if let Some(target) = self.spare_target(id) {
                self.open(id, target, now);
            }
        }
    }

    /// Whether a pool has waiters for whom nothing is coming and may begin an attempt as far as it alone is concerned.
    pub(crate) fn wants(&self, id: PoolId, pool: &Pool, now: Moment) -> bool {
        if !self.is_short(id, pool) {
            return false;
        }
        // On the way of every query that waits: who is at its size has nothing to ask of anybody.
        if self.sized(id, pool) >= pool.size_max() {
            return false;
        }
        let Some(oldest) = self.waiters.oldest(&pool.queue) else { return false };
        pool.retry_is_due(now) && self.has_size(id, pool, self.waiters.row(oldest).since, now)
    }

    /// Whether a pool has waiters for whom nothing is coming, and no attempt under way.
    pub(crate) fn is_short(&self, id: PoolId, pool: &Pool) -> bool {
        if pool.queue.is_empty() || !pool.is_serving() || self.refusing.is_some() {
            return false;
        }
        let shelf = self.slots.shelf(id);
        shelf.count(SlotState::Opening) == 0 && pool.queue.len() > shelf.coming()
    }

    /// Whether a pool has fewer connections than `min_pool_size`, and no attempt under way.
    pub(crate) fn wants_minimum(&self, id: PoolId, pool: &Pool) -> bool {
        let shelf = self.slots.shelf(id);
        let short = self.staying(id, pool) < pool.size_min()
            && self.sized(id, pool) < pool.limits().size
            && shelf.sized() < pool.limited_to();
        short && shelf.count(SlotState::Opening) == 0 && pool.is_serving() && self.refusing.is_none()
    }

    /// A target with room for a connection nobody waits for, if there is one.
    pub(crate) fn spare_target(&self, id: PoolId) -> Option<TargetId> {
        let pool = self.pool(id);
        targets(pool).find(|target| matches!(self.room(id, *target, Need::Spare), Room::Free))
    }

    /// Whether a pool's connections may count under a limit.
    pub(crate) fn is_under(&self, id: PoolId, group: GroupId) -> bool {
        self.find_pool(id).is_some_and(|pool| {
            let standing = pool.spec().standing;
            let places =
                pool.spec().targets.iter().filter_map(|target| self.slots.limits.place(*target, standing));
            places.chain([pool.database, pool.user]).any(|own| own == group)
        })
    }

    fn way(&self, id: PoolId, now: Moment) -> Way {
        let pool = self.pool(id);
        let mut way = Way::Closed;
        for target in targets(pool) {
            match (self.room(id, target, Need::Waiter), &way) {
                (Room::Free, _) => return Way::Open(target),
                (Room::Busy, _) => way = Way::Queue,
                (Room::Soon, Way::Closed | Way::Evict(..)) => way = Way::Wait(target),
                (Room::Taken(taken), Way::Closed) => {
                    if let Some(victims) = self.victims(&self.taker(id), taken, None, now) {
                        way = Way::Evict(target, victims);
                    }
                }
                (Room::Soon | Room::Taken(_), _) => {}
            }
        }
        way
    }

    /// Whether no limit but the size of its pool is in the way of one connection more as soon as that one is closed.
    pub(crate) fn could_replace(&self, id: PoolId, closed: u32) -> bool {
        let closed = self.slots.row(closed);
        targets(self.pool(id)).any(|target| match self.room(id, target, Need::Waiter) {
            Room::Free => true,
            Room::Soon | Room::Busy => false,
            Room::Taken(mut taken) => relieve(&mut taken, closed) && taken == [None; 3],
        })
    }

    /// Whether something can be done for a pool at once (for the recount).
    pub(crate) fn could_be_served(&self, id: PoolId, now: Moment) -> bool {
        match self.way(id, now) {
            Way::Open(_) | Way::Evict(..) => true,
            Way::Wait(_) | Way::Queue | Way::Closed => false,
        }
    }

    /// Whether a newcomer who finds nothing idle in its pool gets a connection as soon as it is opened, though others may
    /// have to be closed for it first.
    pub(crate) fn could_open(&self, id: PoolId, now: Moment) -> bool {
        match self.way(id, now) {
            Way::Open(_) | Way::Evict(..) | Way::Wait(_) => true,
            Way::Queue | Way::Closed => false,
        }
    }

    /// The same at one target for a pool that does not exist yet, with the groups of its database and user if there are
    /// any.
    pub(crate) fn could_open_first(&self, target: TargetId, others: [Option<GroupId>; 2]) -> bool {
        let Some(place) = self.slots.limits.target(target) else { return false };
        let mut taken = [Some(place), others[0], others[1]];
        for (kind, taken) in taken.iter_mut().enumerate() {
            let claims = |group: GroupId| {
                let claimed =
                    self.patient.iter().filter(|claim| claim.groups.contains(&group)).count() as u32;
                claimed + if kind == TARGET { self.reserved_at(place) } else { 0 }
            };
            *taken = taken.filter(|group| !self.slots.limits.group(*group).will_have_room(claims(*group)));
        }
        let in_turn = self.slots.limits.group(place).opening < self.globals.connect_concurrency;
        let free = taken == [None; 3] || self.victims(&Taker::NEW, taken, None, self.clock).is_some();
        in_turn && free
    }

    /// Whether the pool may open one more at `target`; places that are spoken for count as used.
    fn room(&self, id: PoolId, target: TargetId, need: Need) -> Room {
        let pool = self.pool(id);
        // One that is lost has the place that is kept: a pool that loses all it opens must not take the whole budget.
        let first = pool.spec().standing == Standing::Guaranteed && self.slots.shelf(id).total() == 0;
        let place = self.slots.limits.place(target, pool.spec().standing);
        let Some(place) = place else { return Room::Taken([None; 3]) };
        let groups = [place, pool.database, pool.user];
        let mut taken = [None; 3];
        let mut waits = false;
        for (kind, (group, taken)) in groups.into_iter().zip(&mut taken).enumerate() {
            let limit = self.slots.limits.group(group);
            if limit.max.is_none() || (first && kind != TARGET && need == Need::Waiter) {
                continue;
            }
            let mut claimed = 0;
            if need == Need::Spare && !(first && kind == TARGET) {
                claimed += self.hungry.iter().filter(|hungry| self.is_under(**hungry, group)).count() as u32;
            }
            if !first || !self.keeps_places(place) {
                claimed += self.patient.iter().filter(|claim| claim.groups.contains(&group)).count() as u32;
            }
            if !first && kind == TARGET {
                claimed += self.reserved_at(place);
            }
            if limit.has_room(claimed) {
                continue;
            }
            if limit.will_have_room(claimed) {
                waits = true;
            } else {
                *taken = Some(group);
            }
        }
        let opening = self.slots.limits.group(place).opening;
        match (taken, waits) {
            ([None, None, None], false) if opening >= self.globals.connect_concurrency && !first => {
                Room::Busy
            }
            ([None, None, None], false) => Room::Free,
            ([None, None, None], true) => Room::Soon,
            _ => Room::Taken(taken),
        }
    }

    /// Which connections of other pools have to go for room under all the limits in `taken`: idle ones, beside
    /// `offered`, which must be of use. `None` if that does not do it.
    fn victims(&self, taker: &Taker, mut taken: Taken, offered: Option<u32>, now: Moment) -> Option<Victims> {
        let wanted = taken;
        let mut victims = [offered, None, None];
        if let Some(offered) = offered
            && !relieve(&mut taken, self.slots.row(offered))
        {
            return None;
        }
        for victim in victims.iter_mut().skip(usize::from(offered.is_some())) {
            let Some(first) = taken.iter().flatten().next().copied() else { break };
            let may = |slot: &Slot| self.may_evict(taker, slot, &wanted, now);
            let for_all =
                |slot: &Slot| taken.iter().flatten().all(|group| slot.groups.contains(group)) && may(slot);
            let for_first = |slot: &Slot| slot.groups.contains(&first) && may(slot);
            let found = self
                .idle_elsewhere(taker.pool, for_all)
                .or_else(|| self.idle_elsewhere(taker.pool, for_first))?;
            relieve(&mut taken, self.slots.row(found));
            *victim = Some(found);
        }
        (taken == [None; 3] && victims != [None; 3]).then_some(victims)
    }

    /// The least recently used idle connection of another pool that is of use.
    fn idle_elsewhere(&self, pool: Option<PoolId>, of_use: impl Fn(&Slot) -> bool) -> Option<u32> {
        let others = self.slots.shelves().filter(|(other, _)| Some(*other) != pool);
        let oldest = |shelf: &Shelf| {
            shelf.idle().iter(self.slots.table()).find(|index| of_use(self.slots.row(*index)))
        };
        others.filter_map(|(_, shelf)| oldest(shelf)).min_by_key(|index| self.slots.row(*index).used)
    }

    fn make_room(&mut self, id: PoolId, target: TargetId, victims: Victims, now: Moment) {
        for victim in victims.into_iter().flatten() {
            self.let_go(victim, Cause::Evicted, now);
        }
        if !self.promised.contains(&id) {
            self.promised.push(id);
        }
        self.claim(id, target);
    }

    /// From now on a place under each limit is spoken for.
    fn claim(&mut self, id: PoolId, target: TargetId) {
        let pool = self.pool(id);
        if let Some(place) = self.slots.limits.place(target, pool.spec().standing) {
            let groups = [place, pool.database, pool.user];
            self.patient.push(Claim { pool: id, groups });
        }
    }

    /// A connection is free: whether a hungry pool of others has the better claim to its place. If so it is being
    /// closed.
    pub(crate) fn yield_place(&mut self, index: u32, now: Moment) -> bool {
        let mut hungry = std::mem::take(&mut self.hungry);
        hungry.retain(|id| self.find_pool(*id).is_some_and(|pool| self.wants(*id, pool, now)));
        let claims = hungry.iter().enumerate().filter_map(|(at, id)| {
            let (right, target, victims) = self.better_claim(*id, index, now)?;
            Some((right, at, target, victims))
        });
        let best = claims.min_by_key(|(right, at, ..)| (*right, *at));
        let taker = best.as_ref().map(|(_, at, ..)| hungry.remove(*at));
        self.hungry = hungry;
        let (Some(id), Some((.., target, victims))) = (taker, best) else { return false };
        let loser = self.slots.row(index).pool;
        self.make_room(id, target, victims, now);
        self.serve(loser, now);
        true
    }

    /// How pool `id` can make room with the free connection `index` of another, if it may, and by what right.
    fn better_claim(&self, id: PoolId, index: u32, now: Moment) -> Option<(Right, TargetId, Victims)> {
        let slot = self.slots.row(index);
        if slot.pool == id {
            return None;
        }
        let (pool, taker) = (self.pool(id), self.taker(id));
        targets(pool).find_map(|target| match self.room(id, target, Need::Waiter) {
            Room::Free | Room::Soon | Room::Busy => None,
            Room::Taken(taken) => {
                let right = self.may_take(&taker, slot, &taken, now)?;
                Some((right, target, self.victims(&taker, taken, Some(index), now)?))
            }
        })
    }

    /// A limit has been lowered: idle connections above it go, least recently used first. Those in use go when they
    /// come back.
    pub(crate) fn squeeze(&mut self, now: Moment) {
        while self.slots.limits.over() > 0 {
            let over = |slot: &Slot| self.is_surplus(slot);
            let Some(index) = self.idle_elsewhere(None, over) else { break };
            self.let_go(index, Cause::Unneeded, now);
        }
    }
}

/// The targets a pool may use for its next connection, the first choice first. With [`Pick::UntilFailure`] there is
/// but one: that its places are taken is no failure.
pub(crate) fn targets(pool: &Pool) -> impl Iterator<Item = TargetId> {
    let listed = &pool.spec().targets;
    let tries = match pool.spec().pick {
        Pick::RoundRobin => listed.len(),
        Pick::UntilFailure => listed.len().min(1),
    };
    listed.iter().cycle().skip(pool.cursor).take(tries).copied()
}

/// Takes out of `taken` the limits under which the end of `slot` makes room; whether there was one.
fn relieve(taken: &mut Taken, slot: &Slot) -> bool {
    let before = *taken;
    for group in taken.iter_mut() {
        *group = group.filter(|group| !slot.groups.contains(group));
    }
    *taken != before
}
