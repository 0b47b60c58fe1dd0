//! Values of options.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::args::lasting;
use crate::identity::fault::Fault;

/// When something ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expires {
    /// It does not.
    Never,
    /// So long from now.
    In(Duration),
    /// At a time without a zone, that of this machine.
    Local(DateTime),
    /// At a moment.
    At(Timestamp),
}

impl Expires {
    /// Milliseconds since 1970, or null.
    ///
    /// # Errors
    /// It is over already.
    pub(crate) fn value(&self, now: Timestamp, zone: &TimeZone) -> Result<Value, Fault> {
        let late = |_| Fault::Usage("--expires: that is too far away".to_string());
        let at = match self {
            Expires::Never => return Ok(Value::Null),
            Expires::In(time) => now.checked_add(*time).map_err(late)?,
            Expires::Local(time) => zone.to_timestamp(*time).map_err(late)?,
            Expires::At(at) => *at,
        };
        match at > now {
            true => Ok(Value::from(at.as_millisecond())),
            false => Err(Fault::Usage(
                "--expires: that is over already; revoke or disable ends something now".to_string(),
            )),
        }
    }
}

/// Reads `90d`, `2026-12-31`, `2026-12-31T18:00`, `2026-12-31T18:00:00Z` or `never`.
pub(crate) fn parse_expires(text: &str) -> Result<Expires, String> {
    if text == "never" {
        return Ok(Expires::Never);
    }
    if let Ok(date) = text.parse::<Date>()
        && text.len() == "2026-12-31".len()
    {
        return Ok(Expires::Local(date.to_datetime(jiff::civil::Time::midnight())));
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Expires::At(at));
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Ok(Expires::Local(time));
    }
    lasting(text).map(Expires::In).map_err(|_| {
        "90d, 12h, a day like 2026-12-31 (it ends as the day begins), a time like 2026-12-31T18:00, or never"
            .to_string()
    })
}

/// A time of zero or more.
pub(super) fn overlap(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { lasting(text).map_err(|why| format!("0, or {why}")) }
}

/// A number of at least 1, or `none`: what a limit can be.
pub(super) fn count(text: &str) -> Result<Value, String> {
    let number = || text.parse::<u32>().ok().filter(|number| *number > 0);
    match text {
        "none" => Ok(Value::Null),
        _ => number().map(Value::from).ok_or_else(|| "a whole number of 1 or more, or none".to_string()),
    }
}

/// A time in milliseconds, or `none`.
pub(super) fn time_ms(text: &str) -> Result<Value, String> {
    if text == "none" {
        return Ok(Value::Null);
    }
    let fault = || "a time like 500ms, 30s, 5min or 1h, or none".to_string();
    if let Some(number) = text.strip_suffix("ms") {
        let number = number.parse::<u64>().ok().filter(|number| *number > 0);
        return number.map(Value::from).ok_or_else(fault);
    }
    let time = lasting(text).map_err(|_| fault())?;
    u64::try_from(time.as_millis()).map(Value::from).map_err(|_| fault())
}
