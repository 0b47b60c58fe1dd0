//! May a pool open one more connection, and who has to make room for it?
//!
//! A pool *wants* an opening when it has more waiters than connections that are coming anyway, no attempt under way,
//! and is below its own size. Three limits span pools: the target's budget, `max_db_connections`,
//! `max_user_connections`. Places under them are shared like this:
//!
//! * Whenever a place may have become free, all wanting pools are looked at in the order of their oldest waiters
//!   ([`Pools::fill`]), so a free place goes to the pool whose waiter has waited longest among those that can use it.
//! * A pool that finds a limit used up, but a connection under it closing that no older waiter counts on, waits for
//!   that (it is *patient*, and holds a claim to a place under each of its limits).
//! * Else it evicts the least recently used idle connection that is in its way, of another pool, and is patient. If
//!   several limits are in the way, it evicts for all of them or not at all: half the room would be a loss for the
//!   other and no gain.
//! * A pool that finds nothing idle is *hungry*. Then every connection that comes free in another pool is looked at
//!   ([`Pools::yield_place`]): if nobody waits for it there, it is evicted at once, as an idle one would be. If
//!   somebody does, it stays with its pool as a rule, for a transaction that costs a login is a bad bargain. It is
//!   given up if the hungry pool's waiter is older and
//!     * the hungry pool has no connection at all (nothing will ever serve its waiters), and this one has been open
//!       for [`TENURE_MIN`]: two busy pools on a budget of one so take turns of that length, not of one transaction;
//!     * or the hungry waiter has waited [`UNFAIR_MIN`] longer than the oldest one here, and this is not the last
//!       connection here: busy pools drift towards equal waits, one connection at a time, and a pool with one
//!       connection is as small as it gets.
//!
//! * A pool with a guaranteed place ([`Standing::Guaranteed`]) opens its first connection whatever the limits of
//!   database and user say.
//!
//! So no pool starves while connections come back at all. One corner is left: a pool kept out by two limits at once,
//! whose connections are never free in the same moment, waits until they are.

use std::time::Duration;

use plimsoll_types::{Cause, Moment, PoolId, TargetId};

use crate::Pools;
use crate::limits::{GroupId, Groups};
use crate::nouns::{Pick, SlotState, Standing};
use crate::pool::{Health, Pool};
use crate::slots::{Shelf, Slot};

/// How long a connection serves the waiters of its own pool before those of a pool without any can have its place.
pub(crate) const TENURE_MIN: Duration = Duration::from_millis(100);

/// How much longer a waiter of another pool must have waited to have the place of a busy connection.
pub(crate) const UNFAIR_MIN: Duration = Duration::from_secs(1);

/// Limits in the way of an opening.
type Taken = [Option<GroupId>; 3];

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
    /// These limits are used up.
    Taken(Taken),
}

/// How a pool gets one more connection.
enum Way {
    /// There is room at this target.
    Open(TargetId),
    /// Connections are closing that leave room at this target.
    Wait(TargetId),
    /// There is room at this target when these are closed.
    Evict(TargetId, Victims),
    /// Not now.
    Closed,
}

impl Pools {
    /// A pool may want an opening, and no place has become free: the quick look.
    pub(crate) fn want(&mut self, id: PoolId, now: Moment) {
        let settled = self.is_settled(id);
        if !settled && self.find_pool(id).is_some_and(|pool| self.wants(id, pool, now)) {
            self.fill(now);
        }
    }

    /// Whether there is nothing to do for the waiters of a pool until a connection of others is free or gone.
    pub(crate) fn is_settled(&self, id: PoolId) -> bool {
        self.hungry.contains(&id) || self.patient.iter().any(|claim| claim.pool == id)
    }

    /// What was found out for the waiters of a pool says nothing to those who come after they are gone.
    pub(crate) fn unsettle(&mut self, id: PoolId) {
        self.hungry.retain(|hungry| *hungry != id);
        self.patient.retain(|claim| claim.pool != id);
    }

    /// Opens what can be opened for waiters, the pool with the oldest one first.
    pub(crate) fn fill(&mut self, now: Moment) {
        let oldest =
            |pool: &Pool| self.waiters.oldest(&pool.queue).map(|waiter| self.waiters.row(waiter).turn);
        let wanting = self.all_pools().filter(|(id, pool)| self.wants(*id, pool, now));
        let mut wanting: Vec<_> = wanting.map(|(id, pool)| (oldest(pool), id)).collect();
        wanting.sort_unstable();
        self.hungry.clear();
        self.patient.clear();
        for (_, id) in wanting {
            if self.pool(id).spec().targets.is_empty() {
                self.fail_to_resolve(id, now);
                continue;
            }
            match self.way(id, now) {
                Way::Open(target) => self.open(id, target, now),
                Way::Wait(target) => self.claim(id, target),
                Way::Evict(target, victims) => self.make_room(id, target, victims, now),
                Way::Closed => self.hungry.push(id),
            }
        }
    }

    /// Opens connections nobody waits for yet (`min_pool_size`). Nobody is evicted for these.
    pub(crate) fn fill_minimum(&mut self, now: Moment) {
        let wanting =
            self.all_pools().filter(|(id, pool)| self.wants_minimum(*id, pool) && pool.retry_is_due(now));
        let wanting: Vec<PoolId> = wanting.map(|(id, _)| id).collect();
        for id in wanting {
            if self.pool(id).spec().targets.is_empty() {
                self.fail_to_resolve(id, now);
            } else if let Some(target) = self.open_target(id, now) {
                self.open(id, target, now);
            }
        }
    }

    /// Whether a pool has waiters for whom nothing is coming and may begin an attempt as far as it alone is concerned.
    pub(crate) fn wants(&self, id: PoolId, pool: &Pool, now: Moment) -> bool {
        if !self.is_short(id, pool) {
            return false;
        }
        // A full server has room as soon as a connection of others to it closes: that need not wait for the retry.
        let may_try = matches!(pool.health, Health::Full(_)) || pool.retry_is_due(now);
        let Some(oldest) = self.waiters.oldest(&pool.queue) else { return false };
        may_try && self.slots.shelf(id).sized() < pool.size_for(self.waiters.row(oldest).since, now)
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
        let short = shelf.staying() < pool.size_min() && shelf.sized() < pool.limits().size;
        short && shelf.count(SlotState::Opening) == 0 && pool.is_serving() && self.refusing.is_none()
    }

    /// A target with room, if there is one.
    pub(crate) fn open_target(&self, id: PoolId, now: Moment) -> Option<TargetId> {
        let pool = self.pool(id);
        targets(pool, now).find(|target| matches!(self.room(id, *target, now), Room::Free))
    }

    fn way(&self, id: PoolId, now: Moment) -> Way {
        let pool = self.pool(id);
        let mut way = Way::Closed;
        for target in targets(pool, now) {
            match (self.room(id, target, now), &way) {
                (Room::Free, _) => return Way::Open(target),
                (Room::Soon, Way::Closed | Way::Evict(..)) => way = Way::Wait(target),
                (Room::Taken(taken), Way::Closed) => {
                    if let Some(victims) = self.victims(id, taken, None) {
                        way = Way::Evict(target, victims);
                    }
                }
                (Room::Soon | Room::Taken(_), _) => {}
            }
        }
        way
    }

    /// Whether something can be done for a pool at once (for the recount).
    pub(crate) fn could_be_served(&self, id: PoolId, now: Moment) -> bool {
        match self.way(id, now) {
            Way::Open(_) | Way::Evict(..) => true,
            Way::Wait(_) | Way::Closed => false,
        }
    }

    /// Whether the pool may open one more at `target`; places that are spoken for count as used.
    fn room(&self, id: PoolId, target: TargetId, now: Moment) -> Room {
        let pool = self.pool(id);
        let first = pool.spec().standing == Standing::Guaranteed && self.slots.shelf(id).sized() == 0;
        let Some(place) = self.slots.limits.target(target) else { return Room::Taken([None; 3]) };
        let full = pool.health == Health::Full(target) && !pool.retry_is_due(now);
        let mut taken = [None; 3];
        let mut waits = false;
        for (group, taken) in [place, pool.database, pool.user].into_iter().zip(&mut taken) {
            let claimed = self.patient.iter().filter(|claim| claim.groups.contains(&group)).count() as u32;
            let full = full && group == place;
            let limit = self.slots.limits.group(group);
            if (limit.has_room(claimed) && !full) || (first && group != place) {
                continue;
            }
            if limit.will_have_room(claimed) && (!full || limit.closing > claimed) {
                waits = true;
            } else {
                *taken = Some(group);
            }
        }
        match (taken, waits) {
            ([None, None, None], false) => Room::Free,
            ([None, None, None], true) => Room::Soon,
            _ => Room::Taken(taken),
        }
    }

    /// Which connections of other pools have to go for room under all the limits in `taken`: idle ones, beside
    /// `offered`, which must be of use. `None` if that does not do it.
    fn victims(&self, id: PoolId, mut taken: Taken, offered: Option<u32>) -> Option<Victims> {
        let mut victims = [offered, None, None];
        if let Some(offered) = offered
            && !relieve(&mut taken, self.slots.row(offered))
        {
            return None;
        }
        for victim in victims.iter_mut().skip(usize::from(offered.is_some())) {
            let Some(first) = taken.iter().flatten().next().copied() else { break };
            let for_all = |slot: &Slot| taken.iter().flatten().all(|group| slot.groups.contains(group));
            let for_first = |slot: &Slot| slot.groups.contains(&first);
            let found = self.idle_elsewhere(id, for_all).or_else(|| self.idle_elsewhere(id, for_first))?;
            relieve(&mut taken, self.slots.row(found));
            *victim = Some(found);
        }
        (taken == [None; 3] && victims != [None; 3]).then_some(victims)
    }

    /// The least recently used idle connection of another pool that is of use.
    fn idle_elsewhere(&self, id: PoolId, of_use: impl Fn(&Slot) -> bool) -> Option<u32> {
        let others = self.slots.shelves().filter(|(other, _)| *other != id);
        let oldest = |shelf: &Shelf| {
            shelf.idle().iter(self.slots.table()).find(|index| of_use(self.slots.row(*index)))
        };
        others.filter_map(|(_, shelf)| oldest(shelf)).min_by_key(|index| self.slots.row(*index).used)
    }

    fn make_room(&mut self, id: PoolId, target: TargetId, victims: Victims, now: Moment) {
        for victim in victims.into_iter().flatten() {
            self.let_go(victim, Cause::Evicted, now);
        }
        self.claim(id, target);
    }

    /// From now on a place under each limit is spoken for.
    fn claim(&mut self, id: PoolId, target: TargetId) {
        let pool = self.pool(id);
        if let Some(place) = self.slots.limits.target(target) {
            let groups = [place, pool.database, pool.user];
            self.patient.push(Claim { pool: id, groups });
        }
    }

    /// A connection is free: whether a hungry pool of others has the better claim to its place. If so it is being
    /// closed.
    pub(crate) fn yield_place(&mut self, index: u32, now: Moment) -> bool {
        let mut hungry = std::mem::take(&mut self.hungry);
        hungry.retain(|id| self.find_pool(*id).is_some_and(|pool| self.wants(*id, pool, now)));
        let better =
            hungry.iter().enumerate().find_map(|(at, id)| Some((at, self.better_claim(*id, index, now)?)));
        let taker = better.as_ref().map(|(at, _)| hungry.remove(*at));
        self.hungry = hungry;
        let (Some(id), Some((_, (target, victims)))) = (taker, better) else { return false };
        let loser = self.slots.row(index).pool;
        self.make_room(id, target, victims, now);
        self.serve(loser, now);
        true
    }

    /// How pool `id` can make room with the free connection `index` of another, if it may.
    fn better_claim(&self, id: PoolId, index: u32, now: Moment) -> Option<(TargetId, Victims)> {
        let slot = self.slots.row(index);
        if slot.pool == id || !self.may_take(id, slot, now) {
            return None;
        }
        let pool = self.pool(id);
        targets(pool, now).find_map(|target| match self.room(id, target, now) {
            Room::Free | Room::Soon => None,
            Room::Taken(taken) => Some((target, self.victims(id, taken, Some(index))?)),
        })
    }

    /// Whether the waiters of `id` come before those of the pool the free connection belongs to.
    fn may_take(&self, id: PoolId, slot: &Slot, now: Moment) -> bool {
        let Some(theirs) = self.waiters.oldest(&self.pool(slot.pool).queue) else { return true };
        let Some(ours) = self.waiters.oldest(&self.pool(id).queue) else { return false };
        let (ours, theirs) = (self.waiters.row(ours), self.waiters.row(theirs));
        let nothing_of_ours = self.slots.shelf(id).staying() == 0;
        let served = now >= slot.opened + TENURE_MIN;
        let spare = self.slots.shelf(slot.pool).staying() > 1;
        let unfair = theirs.since > ours.since + UNFAIR_MIN;
        ours.turn < theirs.turn && ((spare && unfair) || (nothing_of_ours && served))
    }

    /// A limit has been lowered: idle connections above it go, least recently used first. Those in use go when they
    /// come back.
    pub(crate) fn squeeze(&mut self, now: Moment) {
        while self.slots.limits.over() > 0 {
            let over = |slot: &Slot| self.slots.limits.any_over(&slot.groups);
            let nobody = PoolId(u32::MAX);
            let Some(index) = self.idle_elsewhere(nobody, over) else { break };
            self.let_go(index, Cause::Unneeded, now);
        }
    }
}

/// The targets a pool may use for its next connection, the first choice first. With [`Pick::UntilFailure`] there is
/// but one: that its places are taken is no failure. A pool that has just found a server full does not go round the
/// others until the retry is due: as like as not they are one and the same.
fn targets(pool: &Pool, now: Moment) -> impl Iterator<Item = TargetId> {
    let listed = &pool.spec().targets;
    let full = match pool.health {
        Health::Full(target) if !pool.retry_is_due(now) => Some(target),
        Health::Full(_) | Health::Well | Health::Failing | Health::Refusing { .. } => None,
    };
    let tries = match pool.spec().pick {
        Pick::RoundRobin => listed.len(),
        Pick::UntilFailure => listed.len().min(1),
    };
    let in_turn = listed.iter().cycle().skip(pool.cursor).take(if full.is_some() { 0 } else { tries });
    full.into_iter().chain(in_turn.copied())
}

/// Takes out of `taken` the limits under which the end of `slot` makes room; whether there was one.
fn relieve(taken: &mut Taken, slot: &Slot) -> bool {
    let before = *taken;
    for group in taken.iter_mut() {
        *group = group.filter(|group| !slot.groups.contains(group));
    }
    *taken != before
}
