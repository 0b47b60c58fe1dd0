//! Times of day in UTC, as text (RFC 3339) and as numbers. No clock is read here.

use std::fmt;

use serde::{Deserialize, Serialize};

const SECOND_US: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;
/// From 1970 to the end of the year 9999, microseconds: what has four digits for its year.
const MAX_US: i64 = 253_402_300_800 * SECOND_US - 1;

/// A time of day: microseconds since 1970-01-01 00:00:00 UTC, leap seconds not counted; never before that, and not after
/// the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wall(i64);

impl Wall {
    /// So many microseconds after 1970; the nearest time there is.
    pub fn from_micros(micros: i64) -> Wall {
        Wall(micros.clamp(0, MAX_US))
    }

    /// Microseconds after 1970.
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Microseconds since `earlier`; negative if that is later.
    pub fn micros_since(self, earlier: Wall) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many microseconds later.
    pub fn plus(self, micros: i64) -> Wall {
        Wall::from_micros(self.0.saturating_add(micros))
    }

    /// `2026-11-21T14:02:03.123456Z`, and nothing else.
    pub fn parse(text: &str) -> Option<Wall> {
        let bytes = text.as_bytes();
        let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
        if bytes.len() != 27 || marks.iter().any(|(at, mark)| bytes.get(*at) != Some(mark)) {
            return None;
        }
        let number = |from: usize, to: usize| {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i64>().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let fits =
            year >= 1970 && (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
        if !fits || day > days_in(year, month) {
            return None;
        }
        let seconds = days_before(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        Some(Wall(seconds * SECOND_US + number(20, 26)?))
    }

    /// `2026-11-21 14:02:03 UTC`.
    pub fn to_second(self) -> String {
        let (date, time) = self.date_and_time();
        format!("{date} {time} UTC")
    }

    /// `2026-11-21` and `14:02:03`.
    fn date_and_time(self) -> (String, String) {
        let seconds = self.0 / SECOND_US;
        let (year, month, day) = date(seconds / DAY_SECONDS);
        let of_day = seconds % DAY_SECONDS;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
    }
}

/// As [`Wall::parse`] reads it.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = self.date_and_time();
        write!(f, "{date}T{time}.{:06}Z", self.0 % SECOND_US)
    }
}

impl TryFrom<String> for Wall {
    type Error = String;

    fn try_from(text: String) -> Result<Wall, String> {
        Wall::parse(&text).ok_or_else(|| "a time like 2026-11-21T14:02:03.123456Z was expected".to_string())
    }
}

impl From<Wall> for String {
    fn from(wall: Wall) -> String {
        wall.to_string()
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the first of January of a year from then on.
fn days_before_year(year: i64) -> i64 {
    // Leap days of all years before this one, less those before 1970.
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(year - 1) - leaps(1969)
}

fn days_before(year: i64, month: i64, day: i64) -> i64 {
    days_before_year(year) + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
}

/// The date so many days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // A year has 365.2425 days on average; the guess is wrong by one at most.
    let mut year = 1970 + days * 400 / 146_097;
    while days_before_year(year) > days {
        year -= 1;
    }
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut left = days - days_before_year(year);
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    (year, month, left + 1)
}
