//! How many places a server has for us: what it says, and what its refusals teach.
//!
//! * A server that refuses a login for want of a place (53300) has taught how many it gives: as many as we have there
//!   now. That is the target's cap until one of ours closes (then there is a place again, unless somebody else takes
//!   it), a look at the server shows one ([`Pools::set_asked`]), or, while nobody looks, it is time to try one more:
//!   at doubling intervals, and after a success the next at once.
//! * A refusal for the role's or the database's own CONNECTION LIMIT teaches the same of one pool alone; a look at the
//!   server tells it beforehand ([`Pools::set_allotted`]).
//! * What was learned is forgotten after [`FORGET`] without a refusal.

use std::time::Duration;

use plimsoll_types::{Moment, PoolId, TargetId};

use crate::Pools;
use crate::limits::Learned;
use crate::nouns::Failure;
use crate::pool::doubled;

/// After this long without a refusal a server may be another, or its other clients gone.
const FORGET: Duration = Duration::from_secs(60);

impl Pools {
    /// What the server itself says it has for us, our connections included: its max_connections less what is reserved
    /// and less what others have. `None`: not known (any more).
    pub fn set_asked(&mut self, target: TargetId, places: Option<u32>, now: Moment) {
        let now = self.tick(now);
        self.slots.limits.change_target(target, |target, group| {
            (target.asked, target.presumed) = (places, None);
            // A place is seen free.
            if places.is_some_and(|places| places > group.used) {
                target.learned = None;
            }
        });
        self.squeeze(now);
        self.fill(now);
    }

    /// What counts while the server cannot be asked: a few until the first look at it, and what the last one has shown
    /// when there are no more. Until [`Pools::set_asked`] tells more, refusals are learned from as where nobody looks.
    pub fn set_presumed(&mut self, target: TargetId, places: u32, now: Moment) {
        let now = self.tick(now);
        self.slots.limits.change_target(target, |target, _| {
            (target.asked, target.presumed) = (None, Some(places));
        });
        self.squeeze(now);
        self.fill(now);
    }

    /// A pool's part of the CONNECTION LIMIT of its role or its database, as a look at the server has shown it; what is
    /// above it goes when it is free. `None`: there is no such limit, or nobody knows (any more).
    pub fn set_allotted(&mut self, pool: PoolId, places: Option<u32>, now: Moment) {
        let now = self.tick(now);
        let Some(found) = self.find_pool_mut(pool) else { return };
        if found.allotted == places {
            return;
        }
        found.allotted = places;
        self.shrink(pool, now);
        self.serve(pool, now);
        self.fill(now);
    }

    /// An attempt failed, and its slot is gone: whether that taught how many connections there can be.
    pub(crate) fn learn(&mut self, id: PoolId, target: TargetId, failure: &Failure, now: Moment) {
        match failure {
            Failure::Full(_) => {
                let (wait, next) =
                    self.next_probe(self.slots.limits.places(target).and_then(|it| it.learned), now);
                self.slots.limits.change_target(target, |row, group| {
                    // Who looks at the server sees when there is one; but who has nothing there cannot look.
                    let probe = (row.asked.is_none() || group.used == 0).then_some(next);
                    row.learned = Some(Learned { max: group.used, refused: now, probe, wait });
                });
            }
            Failure::Limited(_) => {
                let Some(pool) = self.find_pool(id) else { return };
                let (wait, next) = self.next_probe(pool.limited, now);
                let max = self.slots.shelf(id).sized();
                self.pool_mut(id).limited = Some(Learned { max, refused: now, probe: Some(next), wait });
            }
            Failure::Connect(_) | Failure::Login(_) | Failure::Lost(_) => {}
        }
    }

    /// How long to wait before one more is tried, and until when.
    fn next_probe(&mut self, known: Option<Learned>, now: Moment) -> (Duration, Moment) {
        let (min, max) = self.globals.full_backoff;
        let last = known.map_or(Duration::ZERO, |learned| learned.wait);
        let wait = doubled(last, min, max, self.jitter());
        (wait, now + wait)
    }

    /// A login succeeded: where refusals have set the cap, there may be room for another.
    pub(crate) fn note_place_given(&mut self, index: u32) {
        let slot = self.slots.row(index);
        let (id, target) = (slot.pool, slot.target);
        self.slots.limits.change_target(target, |row, group| {
            if let Some(learned) = &mut row.learned
                && group.used >= learned.max
            {
                (learned.max, learned.wait) = (group.used + 1, Duration::ZERO);
            }
        });
        let sized = self.slots.shelf(id).sized();
        if let Some(learned) = &mut self.pool_mut(id).limited
            && sized >= learned.max
        {
            (learned.max, learned.wait) = (sized + 1, Duration::ZERO);
        }
    }

    /// It is time to try one more, or to forget.
    pub(crate) fn look_again(&mut self, now: Moment) {
        let due: Vec<_> = self.slots.limits.targets().filter(|(_, row)| is_due(row.learned, now)).collect();
        let due: Vec<TargetId> = due.into_iter().map(|(target, _)| target).collect();
        for target in due {
            self.slots.limits.change_target(target, |row, group| {
                row.learned = row.learned.and_then(|learned| again(learned, group.used, now));
            });
        }
        let pools: Vec<PoolId> =
            self.all_pools().filter(|(_, pool)| is_due(pool.limited, now)).map(|(id, _)| id).collect();
        for id in pools {
            let sized = self.slots.shelf(id).sized();
            let pool = self.pool_mut(id);
            pool.limited = pool.limited.and_then(|learned| again(learned, sized, now));
        }
    }

    /// When [`Pools::look_again`] has something to do for somebody who waits.
    pub(crate) fn looks_again_at(&self) -> Option<Moment> {
        let hungry = !self.hungry.is_empty();
        let targets = self.slots.limits.targets().filter(|_| hungry).filter_map(|(_, row)| row.learned);
        let waiting = self.all_pools().filter(|(id, pool)| self.is_short(*id, pool));
        let pools = waiting.filter_map(|(_, pool)| pool.limited);
        targets.chain(pools).map(due).min()
    }

    /// A number below 1,000 that nobody foresees (xorshift, Marsaglia 2003).
    pub(crate) fn jitter(&mut self) -> u32 {
        let mut x = self.globals.seed.max(1);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.globals.seed = x;
        (x % 1_000) as u32
    }
}

/// When something is to be done about what was learned.
fn due(learned: Learned) -> Moment {
    let forget = learned.refused + FORGET;
    learned.probe.map_or(forget, |probe| probe.min(forget))
}

fn is_due(learned: Option<Learned>, now: Moment) -> bool {
    learned.is_some_and(|learned| now >= due(learned))
}

/// One more may be tried; or everything, when it was long ago.
fn again(learned: Learned, used: u32, now: Moment) -> Option<Learned> {
    let long_ago = now >= learned.refused + FORGET;
    (!long_ago).then(|| Learned { max: learned.max.max(used) + 1, probe: None, ..learned })
}
