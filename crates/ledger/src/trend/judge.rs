//! From the rings of a series to a judgement: every window of every ring is asked.

use plimsoll_types::Moment;

use super::found::{Course, Found, Reached, Why};
use super::series::{BLOCKS, Block, SCALES, Series};
use super::statistics::Rate;
use super::week::HOUR_US;
use super::window::{OtherDays, Pace, Said, Window};

/// With fewer blocks nothing can be told: seven steps up are the least that is no coin's chance.
pub(super) const BLOCKS_MIN: usize = 8;

/// How many of the last blocks are looked at.
const WINDOWS: [usize; 11] = [BLOCKS_MIN, 10, 12, 14, 16, 20, 24, 28, 32, 40, BLOCKS];

/// A longer window has to be compared with other days where sessions rest, microseconds.
const DAY_MATTERS_US: u64 = 6 * 3_600_000_000;

/// A window is not preferred that is more than so many times as long as the time it foretells.
const WINDOW_TIMES_MAX: u64 = 4;

/// So many hours are looked ahead by the load to expect; what is beyond goes on as they were on average.
const AHEAD_HOURS: u64 = 14 * 24;

/// What a series says now.
pub(super) fn judge(series: &Series, now: Moment) -> Found {
    let mut best = Found::too_short(series.rings[0].blocks.len());
    if series.rings[0].blocks.len() < BLOCKS_MIN {
        return best;
    }
    best.course = Course::Flat;
    best.why = Why::NoMore;
    let mut ahead = None;
    for scale in 0..SCALES.len() {
        let blocks: Vec<Block> = series.rings[scale].blocks.iter().copied().collect();
        for length in WINDOWS.into_iter().filter(|length| *length <= blocks.len()) {
            let window = Window {
                blocks: &blocks[blocks.len() - length..],
                open: series.rings[scale].open(),
                scale,
                block_hours: series.block_us(scale) as f64 / HOUR_US as f64,
            };
            let mut found = look(series, &window, now);
            if found.course == Course::Rising {
                let ahead = ahead.get_or_insert_with(|| series.week.ahead(now, AHEAD_HOURS));
                let (rate, pace) = window.rate_and_pace(found.rise);
                found.rate = rate;
                found.reached = reached(&found, pace, ahead, series);
            }
            if is_better(&found, &best) {
                best = found;
            }
        }
    }
    best
}

/// A rise is better than none, and of two rises the one of more connections, which tell a rate better; but not one of a
/// window much longer than the time it foretells: what is to come in an hour is not told by days.
fn is_better(found: &Found, best: &Found) -> bool {
    match (found.course, best.course) {
        (Course::Rising, Course::Rising) => {
            let worth = |found: &Found| (is_timely(found), found.rise, found.window_us);
            worth(found) > worth(best)
        }
        (Course::Rising, _) => true,
        (_, Course::Rising) => false,
        _ => (found.why, found.window_us) > (best.why, best.window_us),
    }
}

/// Whether the time that was looked at is not much longer than the time that is foretold.
fn is_timely(found: &Found) -> bool {
    let likely_us = found.reached.map_or(u64::MAX, |reached| reached.likely_us);
    found.window_us <= likely_us.saturating_mul(WINDOW_TIMES_MAX)
}

fn look(series: &Series, window: &Window<'_>, now: Moment) -> Found {
    let window_us = series.block_us(window.scale).saturating_mul(window.blocks.len() as u64);
    let Said { mut why, p, rise, returned } = window.say();
    if why == Why::Rises && series.has_sessions(window_us, now) {
        let other_days = match window_us <= DAY_MATTERS_US {
            true => OtherDays::TooShortToMatter,
            false => series.week.at_this_hour(now).map_or(OtherDays::Unknown, OtherDays::Highest),
        };
        why = window.say_of_sessions(rise, other_days);
    }
    let is_rising = why == Why::Rises;
    Found {
        course: if is_rising { Course::Rising } else { Course::Flat },
        why,
        p,
        window_us,
        unused_us: series.unused_us(window.scale),
        rise,
        returned,
        rate: Rate::default(),
        reached: None,
        began: is_rising.then(|| Moment(now.0.saturating_sub(window_us))),
    }
}

/// When the floor of held connections reaches the cap. `ahead`: the load to expect in each hour.
fn reached(found: &Found, pace: Pace, ahead: &[f64], series: &Series) -> Option<Reached> {
    let left = f64::from(series.cap?.saturating_sub(series.floor()?));
    let steady = [1.0];
    let (rate, ahead) = match pace {
        Pace::Time => (found.rate, &steady[..]),
        Pace::Load(rate) => (rate, ahead),
    };
    // A float that is too large becomes the largest integer, and that is as good as never.
    let after = |rate: f64| (rate > 0.0).then(|| (hours_to(left / rate, ahead) * HOUR_US as f64) as u64);
    Some(Reached {
        earliest_us: after(rate.most)?,
        likely_us: after(rate.likely)?,
        latest_us: after(rate.least),
    })
}

/// Hours until the loads add up to so much.
fn hours_to(mut wanted: f64, ahead: &[f64]) -> f64 {
    for (hour, load) in ahead.iter().enumerate() {
        if *load >= wanted {
            return hour as f64 + if *load > 0.0 { wanted / load } else { 0.0 };
        }
        wanted -= load;
    }
    let mean = ahead.iter().sum::<f64>() / ahead.len().max(1) as f64;
    ahead.len() as f64 + if mean > 0.0 { wanted / mean } else { f64::INFINITY }
}
