//! How many places a server has for us: what it says, and what its refusals teach.
//!
//! * A server that refuses a login for want of a place (53300) has taught how many it gives: as many as we have there
//!   now. That is the target's cap until one of ours closes (then there is a place again, unless somebody else takes
//!   it), a look at the server shows one ([`Pools::set_asked`]), or, while nobody looks, it is time to try one more:
//!   at doubling intervals. Only a login that succeeds beyond what the server has given so far says that there is more:
//!   then the next is tried at once, and the intervals begin anew. To fill a place of ours again says nothing.
//! * A refusal for the role's or the database's own CONNECTION LIMIT teaches the same of one pool alone; a look at the
//!   server tells it beforehand ([`Pools::set_allotted`]).
//! * What was learned is forgotten after [`FORGET`] without a refusal.

use std::time::Duration;

use plimsoll_types::{Moment, PoolId, TargetId};

use crate::Pools;
use crate::limits::{Learned, Said};
use crate::nouns::Failure;
use crate::pool::doubled;

/// After this long without a refusal a server may be another, or its other clients gone.
const FORGET: Duration = Duration::from_secs(60);

impl Pools {
    /// What the server itself says it has for us, our connections included: its max_connections less what is reserved
    /// and less what others have. `None`: not known (any more).
    pub fn set_asked(&mut self, target: TargetId, places: Option<u32>, now: Moment) {
        self.note_said(target, places.map_or(Said::Nothing, Said::Seen), now);
    }

    /// The same by the server's limits alone, where nobody sees the sessions of others: they may have all of these
    /// places, and refusals are learned from as where nobody looks.
    pub fn set_limit(&mut self, target: TargetId, places: Option<u32>, now: Moment) {
        self.note_said(target, places.map_or(Said::Nothing, Said::Limit), now);
    }

    /// What counts while the server cannot be asked: a few until the first look at it, and what the last one has shown
    /// when there are no more. Until [`Pools::set_asked`] tells more, refusals are learned from as where nobody looks.
    pub fn set_presumed(&mut self, target: TargetId, places: u32, now: Moment) {
        self.note_said(target, Said::Presumed(places), now);
    }

    fn note_said(&mut self, target: TargetId, said: Said, now: Moment) {
        let now = self.tick(now);
        self.slots.limits.change_target(target, |target, group| {
            target.said = said;
            match said {
                // A place is seen free.
                Said::Seen(places) if places > group.used => target.learned = None,
                Said::Seen(_) => {}
                Said::Nothing | Said::Presumed(_) | Said::Limit(_) => {
                    target.learned = target.learned.map(|learned| unseen(learned, now));
                }
            }
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

    /// An attempt that began at `began` failed, and its slot is gone: whether that taught how many connections there can
    /// be.
    pub(crate) fn learn(
        &mut self,
        id: PoolId,
        target: TargetId,
        failure: &Failure,
        began: Moment,
        now: Moment,
    ) {
        match failure {
            Failure::Full(_) => {
                let known = self.slots.limits.places(target).and_then(|it| it.learned);
                let wait = self.next_wait(known, began);
                self.slots.limits.change_target(target, |row, group| {
                    // Who looks at the server sees when there is one; but who has nothing there cannot look.
                    let is_seen = matches!(row.said, Said::Seen(_)) && group.used > 0;
                    let probe = (!is_seen).then_some(now + wait);
                    row.learned =
                        Some(Learned { given: group.used, max: group.used, refused: now, probe, wait });
                });
            }
            Failure::Limited(_) => {
                let Some(pool) = self.find_pool(id) else { return };
                let wait = self.next_wait(pool.limited, began);
                let (given, probe) = (self.slots.shelf(id).sized(), Some(now + wait));
                self.pool_mut(id).limited = Some(Learned { given, max: given, refused: now, probe, wait });
            }
            Failure::Connect(_) | Failure::Login(_) | Failure::Lost(_) => {}
        }
    }

    /// How long to wait before one more is tried. An attempt that was under way at the last refusal says nothing new.
    fn next_wait(&mut self, known: Option<Learned>, began: Moment) -> Duration {
        if let Some(known) = known.filter(|known| began <= known.refused && !known.wait.is_zero()) {
            return known.wait;
        }
        let (min, max) = self.globals.full_backoff;
        let last = known.map_or(Duration::ZERO, |learned| learned.wait);
        doubled(last, min, max, self.jitter())
    }

    /// A login succeeded: where refusals have set the cap and this is more than the server has given so far, there may
    /// be room for another.
    pub(crate) fn note_place_given(&mut self, index: u32) {
        let slot = self.slots.row(index);
        let (id, target) = (slot.pool, slot.target);
        if self.is_in_budget(slot) {
            self.slots.limits.change_target(target, |row, group| {
                // Those that log in may yet be refused, and the place of one that closes may be what this one got.
                let given = group.used - group.opening - group.closing + 1;
                row.learned = row.learned.map(|learned| more(learned, given));
            });
        }
        let given = self.slots.shelf(id).connected() + 1;
        let pool = self.pool_mut(id);
        pool.limited = pool.limited.map(|learned| more(learned, given));
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

/// The server has given that many; if it never did before, the next is tried at once.
fn more(learned: Learned, given: u32) -> Learned {
    if given <= learned.given {
        return learned;
    }
    Learned { given, max: given + 1, probe: None, wait: Duration::ZERO, ..learned }
}

/// Nobody sees any more when there is a place: one more is tried when it is time.
fn unseen(learned: Learned, now: Moment) -> Learned {
    let is_full = learned.max == learned.given;
    Learned { probe: learned.probe.or(is_full.then(|| now + learned.wait)), ..learned }
}

/// One more may be tried; or everything, when it was long ago.
fn again(learned: Learned, used: u32, now: Moment) -> Option<Learned> {
    let long_ago = now >= learned.refused + FORGET;
    (!long_ago).then(|| Learned { max: learned.given.max(used) + 1, probe: None, ..learned })
}
