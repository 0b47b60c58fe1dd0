//! A week by hours: what was held and how much the load was, to compare with and to look ahead.

use std::collections::VecDeque;

use plimsoll_types::Moment;

/// Hours that are kept: a week, and one on either side.
const WEEK_HOURS: usize = 7 * 24 + 2;

pub(super) const HOUR_US: u64 = 3_600_000_000;

const DAY_HOURS: u64 = 24;

/// A load is taken for so many times another day's at most, and at least for this part of it.
const SCALE: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// An hour.
#[derive(Clone, Copy, Debug)]
struct Hour {
    number: u32,
    /// Fewest held.
    held: u32,
    /// Held and in use, on average.
    load: f32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Week {
    hours: VecDeque<Hour>,
    /// Looks in the hour that is under way.
    looks: u32,
}

impl Week {
    /// A look.
    pub(super) fn add(&mut self, held: u32, load: u32, now: Moment) {
        let number = u32::try_from(now.0 / HOUR_US).unwrap_or(u32::MAX);
        if self.hours.back().is_none_or(|last| last.number != number) {
            if self.hours.len() == WEEK_HOURS {
                self.hours.pop_front();
            }
            self.hours.push_back(Hour { number, held, load: 0.0 });
            self.looks = 0;
        }
        self.looks = self.looks.saturating_add(1);
        if let Some(hour) = self.hours.back_mut() {
            hour.held = hour.held.min(held);
            hour.load += (load as f32 - hour.load) / self.looks as f32;
        }
    }

    fn load_at(&self, number: u64) -> Option<f64> {
        let first = u64::from(self.hours.front()?.number);
        let guess = usize::try_from(number.checked_sub(first)?).ok()?;
        // Where the house stood still for hours, they are missing.
        let near = self.hours.iter().take(guess.saturating_add(1)).rev();
        let hour = near
            .take_while(|hour| u64::from(hour.number) >= number)
            .find(|hour| u64::from(hour.number) == number);
        hour.map(|hour| hour.load.into())
    }

    /// The most that was held at this hour of the days before, or in the hour before or after; `None` on the first day.
    pub(super) fn at_this_hour(&self, now: Moment) -> Option<u32> {
        let hour = now.0 / HOUR_US;
        let ago = |past: &Hour| hour.saturating_sub(past.number.into());
        let is_near =
            |past: &&Hour| ago(past) >= DAY_HOURS - 1 && matches!(ago(past) % DAY_HOURS, 23 | 0 | 1);
        // A day before is known when all three hours are.
        let whole = self.hours.front().is_some_and(|first| ago(first) > DAY_HOURS + 1);
        self.hours.iter().filter(is_near).map(|hour| hour.held).max().filter(|_| whole)
    }

    /// The load to expect in each hour from now on: that of the same hour a week ago, or else of the day before, so
    /// much larger or smaller as the last hours were than those of the day before. On the first day it stays as it is.
    pub(super) fn ahead(&self, now: Moment, hours: u64) -> Vec<f64> {
        let hour = now.0 / HOUR_US;
        let past = |hour: u64, days: u64| self.load_at(hour.checked_sub(days * DAY_HOURS)?);
        let recent: Vec<(u64, f64)> = (1..=3)
            .filter_map(|ago| Some((hour - ago.min(hour), self.load_at(hour.checked_sub(ago)?)?)))
            .collect();
        let current = match recent.is_empty() {
            true => self.load_at(hour).unwrap_or(0.0),
            false => recent.first().map_or(0.0, |(_, load)| *load),
        };
        let scale = |days: u64| {
            let before: f64 = recent.iter().filter_map(|(hour, _)| past(*hour, days)).sum();
            let known = recent.iter().filter(|(hour, _)| past(*hour, days).is_some());
            let lately: f64 = known.map(|(_, load)| load).sum();
            if before > 0.0 { (lately / before).clamp(*SCALE.start(), *SCALE.end()) } else { 1.0 }
        };
        let scales = [scale(1), scale(7)];
        let expected = |ahead: u64| {
            // Seven days ago, seen from there, or the last day at that hour.
            let week_ago = past(hour + ahead, 7).map(|load| load * scales[1]);
            let day_ago = past(hour + ahead % DAY_HOURS, 1).map(|load| load * scales[0]);
            week_ago.or(day_ago).unwrap_or(current)
        };
        (0..hours).map(expected).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn week(hours: std::ops::Range<u64>, load: impl Fn(u64) -> u32) -> Week {
        let mut week = Week::default();
        for hour in hours {
            for part in 0..4 {
                week.add(load(hour) + 2, load(hour), Moment(hour * HOUR_US + part * HOUR_US / 4));
            }
        }
        week
    }

    #[test]
    fn another_day_is_known_after_a_day() {
        let load = |hour: u64| u32::try_from(hour % 24).unwrap_or(0);
        let now = Moment(50 * HOUR_US);
        assert_eq!(week(26..50, load).at_this_hour(now), None);
        assert_eq!(week(24..50, load).at_this_hour(now), Some(3 + 2), "hours 1, 2 and 3 of that day");
        assert_eq!(week(0..50, load).at_this_hour(now), Some(5));
        assert_eq!(Week::default().at_this_hour(now), None);
    }

    #[test]
    fn a_day_is_expected_to_be_as_the_last_one() {
        let load = |hour: u64| u32::try_from(10 + hour % 24).unwrap_or(0);
        let ahead = week(0..50, load).ahead(Moment(50 * HOUR_US), 30);
        assert_eq!(ahead[..3], [12.0, 13.0, 14.0]);
        assert_eq!(ahead[24], 12.0);
        // Twice as much as yesterday.
        let ahead = week(0..50, |hour| if hour < 40 { load(hour) } else { 2 * load(hour) })
            .ahead(Moment(50 * HOUR_US), 3);
        assert!((ahead[0] - 24.0).abs() < 0.1, "{ahead:?}");
        // The first day.
        assert_eq!(week(3..6, load).ahead(Moment(6 * HOUR_US), 2), [15.0, 15.0]);
        assert_eq!(Week::default().ahead(Moment(0), 2), [0.0, 0.0]);
    }
}
