//! The tests that one window of a ring has to pass.

use super::found::Why;
use super::series::{Block, SCALES};
use super::statistics::{Kendall, Rate, mann_kendall, sign_test, theil_sen};

/// Mann-Kendall must be as sure as this.
const TREND_P: f64 = 0.001;

/// The sign tests as sure as this, by ring: the first one is asked a thousand times a week whether it happens to rise,
/// the last one twice.
const STEP_P: [f64; SCALES.len()] = [0.0005, 0.002, 0.01, 0.01];

/// The floor of all held ones must rise as surely as this where sessions rest.
const HELD_P: f64 = 0.01;

/// A load that rises at this p is a load that rises: here a doubt is enough.
const LOAD_P: f64 = 0.05;

/// Fewer connections are no rise.
const RISE_MIN: u32 = 3;

/// Each third has to have this part of the rise.
const THIRD_PART: f64 = 0.15;

/// What a window says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) why: Why,
    /// The larger of Mann-Kendall's and the sign test's.
    pub(super) p: f64,
    pub(super) rise: u32,
    pub(super) returned: u32,
}

/// What a rise goes with: a leak of one request in so many follows the load, one of a timer the clock.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// Time: the rate is per hour.
    Time,
    /// The load: so many for each hour of a connection in use.
    Load(Rate),
}

/// A window of blocks, the oldest first.
pub(super) struct Window<'a> {
    pub(super) blocks: &'a [Block],
    /// The one behind them, which is not complete: what has come back in it has come back.
    pub(super) open: Option<Block>,
    /// Of which ring.
    pub(super) scale: usize,
    pub(super) block_hours: f64,
}

impl Window<'_> {
    fn first(&self) -> u32 {
        self.blocks.first().map_or(0, |block| block.unused)
    }

    fn last(&self) -> u32 {
        self.blocks.last().map_or(0, |block| block.unused)
    }

    fn of(&self, value: impl Fn(&Block) -> f64) -> Vec<f64> {
        self.blocks.iter().map(value).collect()
    }

    /// The tests that hold for all.
    pub(super) fn say(&self) -> Said {
        let rise = self.last().saturating_sub(self.first());
        let since = self.blocks.iter().skip(1).chain(&self.open);
        let returned = since.map(|block| block.returned).fold(0, u32::saturating_add);
        let silent = Said { why: Why::NoMore, p: 1.0, rise, returned };
        if rise < RISE_MIN {
            return silent;
        }
        let kendall = mann_kendall(&self.of(|block| block.unused.into()));
        let steps = |is_step: fn(u32, u32) -> bool| {
            let steps = self.blocks.windows(2).filter(|pair| is_step(pair[0].unused, pair[1].unused));
            u32::try_from(steps.count()).unwrap_or(u32::MAX)
        };
        let by_steps = sign_test(steps(|one, next| one < next), steps(|one, next| one > next));
        let by_connections = sign_test(rise.saturating_add(returned), returned);
        let why = if kendall.p >= TREND_P {
            Why::Chance
        } else if by_steps >= STEP_P[self.scale] {
            Why::FewSteps
        } else if !self.rises_in_each_third(rise) {
            Why::Step
        } else if returned > rise / 2 || self.has_fallen(rise) || by_connections >= STEP_P[self.scale] {
            Why::ComeBack
        } else {
            Why::Rises
        };
        let p = kendall.p.max(by_steps).max(by_connections);
        Said { why, p, ..silent }
    }

    /// Whether half of the rise has been undone since the last complete block, which may be hours ago.
    fn has_fallen(&self, rise: u32) -> bool {
        self.open.is_some_and(|open| open.unused < self.last().saturating_sub(rise / 2))
    }

    fn rises_in_each_third(&self, rise: u32) -> bool {
        let last = self.blocks.len() - 1;
        let at = [0, last / 3, last * 2 / 3, last].map(|at| self.blocks[at].unused);
        let least = (f64::from(rise) * THIRD_PART).floor().max(1.0);
        at.windows(2).all(|pair| f64::from(pair[1].saturating_sub(pair[0])) >= least)
    }

    /// Connections per hour, and what they go with: what fits better, where the load is not always the same.
    pub(super) fn rate_and_pace(&self, rise: u32) -> (Rate, Pace) {
        let kendall = mann_kendall(&self.of(|block| block.unused.into()));
        let by_time = self.blocks.iter().map(|block| (block.number as f64 * self.block_hours, block));
        let by_time: Vec<_> = by_time.map(|(at, block)| (at, f64::from(block.unused))).collect();
        let mut sum = 0.0;
        // What is unused in a block was left so before it.
        let by_load = self.blocks.iter().map(|block| {
            let before = sum;
            sum += f64::from(block.load) * self.block_hours;
            (before, f64::from(block.unused))
        });
        let by_load: Vec<_> = by_load.collect();
        let rate = rate(&by_time, &kendall, rise);
        let of_load = rate_of_load(&by_load, &kendall, rise);
        match of_load {
            Some(load) if misfit(&by_load, load.likely) < misfit(&by_time, rate.likely) => {
                (rate, Pace::Load(load))
            }
            Some(_) | None => (rate, Pace::Time),
        }
    }

    /// What is asked for in addition where sessions rest; `highest`: most that were held at this hour of another day,
    /// and whether the window is so long that it has to be compared with.
    pub(super) fn say_of_sessions(&self, rise: u32, other_days: OtherDays) -> Why {
        let held = |block: Option<&Block>| block.map_or(0, |block| block.held);
        let more = held(self.blocks.last()).saturating_sub(held(self.blocks.first()));
        if more < rise.div_ceil(2) || mann_kendall(&self.of(|block| block.held.into())).p >= HELD_P {
            return Why::NotMoreSessions;
        }
        if mann_kendall(&self.of(|block| block.load.into())).p < LOAD_P {
            return Why::WithLoad;
        }
        match other_days {
            OtherDays::TooShortToMatter => Why::Rises,
            OtherDays::Unknown => Why::NoDay,
            OtherDays::Highest(highest) => {
                let hours = self.block_hours * self.blocks.len() as f64;
                let of_a_day = f64::from(rise) * (24.0 / hours).min(1.0);
                let above = f64::from(held(self.blocks.last())) - f64::from(highest);
                if above >= (of_a_day / 2.0).max(2.0) { Why::Rises } else { Why::AsOtherDays }
            }
        }
    }
}

/// The rate over an axis. So many connections tell a rate no better than their number, counted by chance, does: two
/// deviations of it are the least width of the range.
fn rate(points: &[(f64, f64)], kendall: &Kendall, rise: u32) -> Rate {
    let mut rate = theil_sen(points, kendall);
    if rate.likely <= 0.0 {
        // Most pairs are ties.
        let length = points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
        rate.likely = if length > 0.0 { f64::from(rise) / length } else { 0.0 };
    }
    let doubt = 2.0 / f64::from(rise.max(1)).sqrt();
    rate.least = rate.least.min(rate.likely * (1.0 - doubt)).max(0.0);
    rate.most = rate.most.max(rate.likely * (1.0 + doubt));
    rate
}

/// The same for the load, if there was any.
fn rate_of_load(points: &[(f64, f64)], kendall: &Kendall, rise: u32) -> Option<Rate> {
    let is_some = points.first().zip(points.last()).is_some_and(|(first, last)| first.0 < last.0);
    is_some.then(|| rate(points, kendall, rise))
}

/// How far the points are from a line of this slope, on average.
fn misfit(points: &[(f64, f64)], slope: f64) -> f64 {
    let mut rests: Vec<f64> = points.iter().map(|(at, value)| value - slope * at).collect();
    rests.sort_by(f64::total_cmp);
    let middle = rests.get(rests.len() / 2).copied().unwrap_or(0.0);
    rests.iter().map(|rest| (rest - middle).abs()).sum()
}

/// How it was at this hour of the days before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherDays {
    /// The window is short: what it shows is no day's curve.
    TooShortToMatter,
    /// This is the first day.
    Unknown,
    /// So many were held at most.
    Highest(u32),
}
