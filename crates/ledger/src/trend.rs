//! Whether held connections become more and more, how fast, and when the cap is reached.
//!
//! # What is counted
//!
//! The number of held connections follows the load, up all morning and down in the evening. A leak is another thing: a
//! connection that is held, *rests*, and is not used again. So the series that is tested is not the number held but its
//! floor of **unused** ones: holds at rest (nobody works for them at the server) of which nothing has been heard for
//! some time, and of these the smallest number at any look of a block of time. The floor of all held ones, the load (the
//! mean of those that were *not* unused) and how many unused ones *came back* (were used or ended after all) are kept
//! beside it for each block.
//!
//! # In what memory
//!
//! Four rings of [`BLOCKS`] blocks for each pool, target, and site in a pool: with the usual interval of a minute, minutes for 48
//! minutes, 8 minutes for 6.4 hours, hours for 2 days and 6 hours for 12 days. A floor of floors is a floor, so a
//! coarser block needs no finer ones. What counts as unused grows with the blocks: a minute, 8 minutes, an hour. A
//! fast leak is seen in minutes by the first ring, a slow one in hours by the third, and what a person does in a pause
//! is forgotten by the time that the third looks.
//!
//! # When it rises
//!
//! The last 8 to 48 blocks of each ring are looked at, in eleven lengths. Such a window rises if all of this is so
//! ([`Why`] names what is not):
//!
//! 1. Mann-Kendall (one-sided, with ties) finds a rise at p < 0.001, of at least three connections.
//! 2. The sign test finds more steps up than down, at p < 0.0005 in the first ring, which is asked a thousand times a week
//!    whether it happens to rise, 0.002 in the second and 0.01 in the others. Mann-Kendall takes each floor for new evidence, and
//!    floors are not: a connection that is held now is held in the next block as well, so that a single step looks like
//!    many pairs. Hamed and Rao's correction needs the autocorrelation, which 48 points do not tell, and it does not
//!    help at all against a random walk. The *steps* between floors are independent even then, and that up and down are
//!    equally likely needs no other assumption. Together with blocks that are coarser where more time is looked at, this
//!    is what keeps the first test honest. The larger of both p is the one that is shown.
//! 3. It rises in each third of the window: a replica that is added, a deploy, a pool that fills are steps.
//! 4. Not half as many connections came back as the window has risen by, and those are too few for chance.
//!    Load brings connections that rest and are used again; a leak's are not. This is what tells a morning from a leak, whatever its curve.
//! 5. Where sessions rest (session pooling), a resting connection is a client's own pool at ease, and more is asked for:
//!    the floor of all held connections rises as well (people who go home leave sessions at rest, and no new ones); the
//!    load does not rise in this window (autoscaled replicas bring connections that rest); and a window of more than six
//!    hours ends above every day of the last week at that hour, of which at least one must be known.
//!
//! # What it does not see
//!
//! A leaked connection that somebody goes on using (a heartbeat of its own), that executes (a statement that never ends),
//! in session pooling while the load rises, and one that comes back each day before it is missed. Fewer than seven
//! connections are no evidence for the sign test, so a leak of one a day is seen after a week. A rise that is not a leak
//! and yet takes a step after the other and never one back, such as a new session for each of a day's batches, all kept
//! for later, is called rising: it will reach the cap just so.

mod found;
mod judge;
mod map;
mod series;
mod statistics;
mod week;
mod window;

use std::collections::HashMap;

use plimsoll_types::{HoldId, Moment, PoolId, TargetId};

use crate::book::is_sleeping;
use crate::holds::HoldState;
use crate::site::SiteId;
pub use found::{Course, Reached, Trend, Why};
use map::{Fast, make_room};
pub use series::BLOCKS;
use series::{LEVELS, Series};
pub use statistics::Rate;

/// Most pools that have a history.
pub const POOLS_MAX: usize = 512;

/// Most targets that have one.
pub const TARGETS_MAX: usize = 128;

/// Most sites that have one, each counted once in every pool; only those that have left a connection unused get it.
pub const TREND_SITES_MAX: usize = 512;

/// So many intervals without an unused connection, and a site's history is dropped.
const QUIET_INTERVALS: u64 = 60;

/// Whose connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A physical server's.
    Target(TargetId),
    /// A pool's.
    Pool(PoolId),
    /// A site's in one pool: a pool's size says nothing about what a site holds in another one.
    Site(SiteId, PoolId),
}

/// A hold as the trend sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Which.
    pub hold: HoldId,
    /// Of which pool.
    pub pool: PoolId,
    /// At which server; `None`: not known.
    pub target: Option<TargetId>,
    /// By which site; unknown for one that is young.
    pub site: SiteId,
    /// What it is doing.
    pub state: HoldState,
    /// When something was last heard of it.
    pub used: Moment,
}

/// What there is, and how much it may hold.
#[derive(Clone, Debug, Default)]
pub struct Caps {
    /// Pools and their size.
    pub pools: Vec<(PoolId, u32)>,
    /// Targets and their budget.
    pub targets: Vec<(TargetId, Option<u32>)>,
}

/// A rise that is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Rise {
    /// Of what.
    pub subject: Subject,
    /// The figures.
    pub trend: Trend,
    /// The site that holds most of the unused connections, and how many.
    pub most: Option<(SiteId, u32)>,
}

/// What is remembered of an unused hold between two looks.
#[derive(Clone, Copy, Debug)]
struct Unused {
    pool: PoolId,
    target: Option<TargetId>,
    site: SiteId,
    /// For how many of the rings it was unused.
    level: usize,
    look: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Trends {
    interval_us: u64,
    look: u32,
    targets: Fast<TargetId, Series>,
    pools: Fast<PoolId, Series>,
    sites: Fast<(SiteId, PoolId), Series>,
    unused: Fast<HoldId, Unused>,
}

impl Trends {
    /// No history; blocks of the first ring are of `interval_us`.
    pub fn new(interval_us: u64) -> Trends {
        Trends {
            interval_us: interval_us.max(1),
            look: 0,
            targets: HashMap::default(),
            pools: HashMap::default(),
            sites: HashMap::default(),
            unused: HashMap::default(),
        }
    }

    /// After a reload; another interval begins a new history.
    pub fn set_interval(&mut self, interval_us: u64) {
        if interval_us.max(1) != self.interval_us {
            *self = Trends::new(interval_us);
        }
    }

    /// Forgets everything: nobody looks any more.
    pub fn clear(&mut self) {
        *self = Trends::new(self.interval_us);
    }

    /// A look at all open holds, about once a second; what is to be told of it.
    pub fn look(&mut self, caps: &Caps, holds: impl IntoIterator<Item = Sight>, now: Moment) -> Vec<Rise> {
        self.look = self.look.wrapping_add(1);
        self.enter(caps, now);
        for sight in holds {
            self.count(&sight, now);
        }
        let look = self.look;
        let (targets, pools, sites) = (&mut self.targets, &mut self.pools, &mut self.sites);
        self.unused.retain(|_, unused| {
            if unused.look != look {
                came_back(targets, pools, sites, unused, 0);
            }
            unused.look == look
        });
        self.close(now);
        self.tell(now)
    }

    /// Who is there now, with which cap; what is there no more is forgotten.
    fn enter(&mut self, caps: &Caps, now: Moment) {
        let (interval_us, look) = (self.interval_us, self.look);
        for (id, cap) in &caps.pools {
            if make_room(&mut self.pools, id, POOLS_MAX, Series::is_empty) {
                self.pools
                    .entry(*id)
                    .or_insert_with(|| Series::new(interval_us, now))
                    .begin(Some(*cap), look);
            }
        }
        for (id, cap) in &caps.targets {
            if make_room(&mut self.targets, id, TARGETS_MAX, Series::is_empty) {
                self.targets.entry(*id).or_insert_with(|| Series::new(interval_us, now)).begin(*cap, look);
            }
        }
        self.pools.retain(|_, series| series.look == look);
        self.targets.retain(|_, series| series.look == look);
        let quiet_us = interval_us.saturating_mul(QUIET_INTERVALS);
        self.sites.retain(|(_, pool), series| {
            let is_quiet = now.micros_since(series.unused_at) >= quiet_us;
            let pool = self.pools.get(pool).filter(|_| !is_quiet);
            series.begin(pool.and_then(|pool| pool.cap), look);
            pool.is_some()
        });
    }

    fn count(&mut self, sight: &Sight, now: Moment) {
        let level = self.level(sight, now);
        if let Some(series) = sight.target.and_then(|target| self.targets.get_mut(&target)) {
            series.count(sight, level, now);
        }
        if let Some(series) = self.pools.get_mut(&sight.pool) {
            series.count(sight, level, now);
            series.target = sight.target;
        }
        if sight.site != SiteId::UNKNOWN {
            self.count_of_site(sight, level, now);
        }
        let Sight { pool, target, site, .. } = *sight;
        let unused = Unused { pool, target, site, level, look: self.look };
        let before = match level {
            0 => self.unused.remove(&sight.hold),
            _ => self.unused.insert(sight.hold, unused),
        };
        if let Some(before) = before.filter(|before| before.level > level) {
            came_back(&mut self.targets, &mut self.pools, &mut self.sites, &before, level);
        }
    }

    /// For how many of the rings it is unused.
    fn level(&self, sight: &Sight, now: Moment) -> usize {
        if !is_sleeping(sight.state) {
            return 0;
        }
        let idle_us = now.micros_since(sight.used);
        LEVELS.iter().take_while(|intervals| idle_us >= self.interval_us.saturating_mul(**intervals)).count()
    }

    fn count_of_site(&mut self, sight: &Sight, level: usize, now: Moment) {
        let key = (sight.site, sight.pool);
        if let Some(series) = self.sites.get_mut(&key) {
            series.count(sight, level, now);
        } else if level > 0
            && let Some(pool) = self.pools.get(&sight.pool)
            && make_room(&mut self.sites, &key, TREND_SITES_MAX, Series::is_empty)
        {
            let mut series = Series::new(self.interval_us, now);
            series.begin(pool.cap, self.look);
            series.count(sight, level, now);
            self.sites.insert(key, series);
        }
    }

    /// The look is complete.
    fn close(&mut self, now: Moment) {
        for ((_, pool), site) in &mut self.sites {
            if let Some(pool) = self.pools.get(pool) {
                site.set_load(pool.load());
            }
        }
        let all = self.targets.values_mut().chain(self.pools.values_mut()).chain(self.sites.values_mut());
        for series in all {
            if series.end(now) {
                series.judge(now);
            }
        }
    }

    /// What is to be told. One leak is told once: of its pool, or of its site there where the pool's noise hides it, or
    /// of the target as long as it is seen in no pool of it.
    fn tell(&mut self, now: Moment) -> Vec<Rise> {
        let mut out = Vec::new();
        let mut add = |subject, series: &Series| {
            out.push(Rise { subject, trend: series.trend(now), most: None });
        };
        for (id, series) in &mut self.pools {
            if series.is_to_be_told() {
                add(Subject::Pool(*id), series);
            }
        }
        for ((site, pool), series) in &mut self.sites {
            if series.is_to_be_told()
                && self.pools.get_mut(pool).is_none_or(|pool| pool.take_for_told(series))
            {
                add(Subject::Site(*site, *pool), series);
            }
        }
        for (id, series) in &mut self.targets {
            let is_there = |pool: &Series| pool.target == Some(*id);
            let pools_are_told = self.pools.values().any(|pool| is_there(pool) && pool.is_told());
            let is_site_there = |pool: &PoolId| self.pools.get(pool).is_some_and(is_there);
            let mut sites = self.sites.iter();
            let sites_are_told = sites.any(|((_, pool), site)| site.is_told() && is_site_there(pool));
            if series.is_to_be_told() && !pools_are_told && !sites_are_told {
                add(Subject::Target(*id), series);
            }
        }
        out.sort_by_key(|rise| rise.subject);
        for rise in &mut out {
            rise.most = self.most_of(rise.subject);
        }
        out
    }

    /// The site with most of the unused connections of a subject.
    fn most_of(&self, subject: Subject) -> Option<(SiteId, u32)> {
        let mut by: HashMap<SiteId, u32> = HashMap::new();
        for unused in self.unused.values() {
            let is_of = match subject {
                Subject::Pool(pool) => unused.pool == pool,
                Subject::Target(target) => unused.target == Some(target),
                Subject::Site(site, pool) => (unused.site, unused.pool) == (site, pool),
            };
            if is_of && unused.site != SiteId::UNKNOWN {
                *by.entry(unused.site).or_default() += 1;
            }
        }
        by.into_iter().max_by_key(|(site, count)| (*count, *site))
    }

    /// All there is: targets, pools, sites in their pools.
    pub fn trends(&self, now: Moment) -> Vec<(Subject, Trend)> {
        let targets = self.targets.iter().map(|(id, series)| (Subject::Target(*id), series));
        let pools = self.pools.iter().map(|(id, series)| (Subject::Pool(*id), series));
        let sites = self.sites.iter().map(|(id, series)| (Subject::Site(id.0, id.1), series));
        let all = targets.chain(pools).chain(sites);
        let mut out: Vec<_> = all.map(|(subject, series)| (subject, series.trend(now))).collect();
        out.sort_by_key(|(subject, _)| *subject);
        out
    }

    /// The trend of one.
    pub fn trend(&self, subject: Subject, now: Moment) -> Option<Trend> {
        let series = match subject {
            Subject::Target(id) => self.targets.get(&id),
            Subject::Pool(id) => self.pools.get(&id),
            Subject::Site(site, pool) => self.sites.get(&(site, pool)),
        };
        series.map(|series| series.trend(now))
    }

    /// Where the last hold of a pool was.
    pub fn target_of(&self, pool: PoolId) -> Option<TargetId> {
        self.pools.get(&pool)?.target
    }
}

/// An unused connection was used again, or given back: it counts as unused for `level` rings now.
fn came_back(
    targets: &mut Fast<TargetId, Series>,
    pools: &mut Fast<PoolId, Series>,
    sites: &mut Fast<(SiteId, PoolId), Series>,
    unused: &Unused,
    level: usize,
) {
    let target = unused.target.and_then(|id| targets.get_mut(&id));
    let all = [target, pools.get_mut(&unused.pool), sites.get_mut(&(unused.site, unused.pool))];
    for series in all.into_iter().flatten() {
        series.came_back(level..unused.level);
    }
}

#[cfg(test)]
mod tests;
