//! A pool on a virtual clock: its load, what its applications do, and what its trend says.

use plimsoll_ledger::{Caps, Course, HoldState, Rise, Sight, SiteId, Subject, Trend, Trends};
use plimsoll_types::{HoldId, Moment, PoolId, TargetId};

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const MINUTE: u64 = 60 * SECOND;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const POOL: PoolId = PoolId(7);
pub(crate) const TARGET: TargetId = TargetId(3);

/// A small generator, so that every run is the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    /// How often something happens that happens `mean` times on average.
    pub(crate) fn count(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            // Twelve of them are normal enough.
            let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
            return (mean + mean.sqrt() * normal).round().max(0.0) as u64;
        }
        let (mut product, mut count) = (self.unit(), 0);
        while product > (-mean).exp() {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// From 1 - `amplitude` at four in the morning to 1 + `amplitude` at four in the afternoon; half of it on days off.
pub(crate) fn load(now: u64, amplitude: f64) -> f64 {
    let day = (now % DAY) as f64 / DAY as f64;
    let curve = 1.0 - amplitude * (std::f64::consts::TAU * (day - 1.0 / 6.0)).cos();
    if (now / DAY) % 7 >= 5 { curve / 2.0 } else { curve }
}

/// One hold that stays for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) hold: u64,
    pub(crate) site: u64,
    pub(crate) state: HoldState,
    pub(crate) used: u64,
    /// When it is given back; `u64::MAX`: never.
    pub(crate) until: u64,
    /// When it is used the next time.
    pub(crate) again: u64,
}

pub(crate) struct World {
    pub(crate) trends: Trends,
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) step: u64,
    pub(crate) cap: u32,
    pub(crate) kept: Vec<Kept>,
    pub(crate) told: Vec<(u64, Rise)>,
    next: u64,
}

impl World {
    /// At midnight of a Monday.
    pub(crate) fn new(seed: u64, cap: u32) -> World {
        World {
            trends: Trends::new(MINUTE),
            random: Random::new(seed),
            now: 7 * DAY,
            step: 20 * SECOND,
            cap,
            kept: Vec::new(),
            told: Vec::new(),
            next: 1,
        }
    }

    /// A hold that stays.
    pub(crate) fn keep(&mut self, site: u64, state: HoldState, until: u64) -> &mut Kept {
        self.next += 1;
        self.kept.push(Kept { hold: self.next, site, state, used: self.now, until, again: u64::MAX });
        self.kept.last_mut().expect("the one that was pushed")
    }

    /// A look; `busy` connections are held for less than a second each.
    pub(crate) fn look(&mut self, busy: u64) {
        let now = self.now;
        self.kept.retain(|kept| kept.until > now);
        let next = self.next;
        self.next += busy;
        let sight = |hold, site, state, used| Sight {
            hold: HoldId(hold),
            pool: POOL,
            target: Some(TARGET),
            site: SiteId(site),
            state,
            used: Moment(used),
        };
        let short = (0..busy).map(|at| sight(next + 1 + at, 0, HoldState::Executing, now - SECOND / 100));
        let long = self.kept.iter().map(|kept| sight(kept.hold, kept.site, kept.state, kept.used));
        let caps = Caps { pools: vec![(POOL, self.cap)], targets: vec![(TARGET, Some(self.cap + 10))] };
        let rises = self.trends.look(&caps, short.chain(long), Moment(now));
        self.told.extend(rises.into_iter().map(|rise| (now, rise)));
        self.now += self.step;
    }

    pub(crate) fn trend(&self) -> Trend {
        self.trends.trend(Subject::Pool(POOL), Moment(self.now)).expect("the pool is there")
    }

    /// Whoever is said to rise.
    pub(crate) fn rising(&self) -> Vec<(Subject, Trend)> {
        let mut all = self.trends.trends(Moment(self.now));
        all.retain(|(_, trend)| trend.course == Course::Rising);
        all
    }

    pub(crate) fn per_look(&self, per_hour: f64) -> f64 {
        per_hour * self.step as f64 / HOUR as f64
    }

    /// Nothing may be said to rise. To be asked once a minute: it is judged no more often.
    pub(crate) fn assert_nothing_rises(&self, what: &str) {
        if self.now % MINUTE >= self.step {
            return;
        }
        let rising = self.rising();
        let at = (self.now - 7 * DAY) as f64 / DAY as f64;
        assert!(rising.is_empty(), "{what}: day {at:.3}: {rising:#?}");
        assert!(self.told.is_empty(), "{what}: {:?}", self.told);
    }
}
