//! When a secret ends, as providers write it: RFC 3339, or seconds since 1970, as a number or as a text. And the answer of
//! those that give a token and its seconds.

use std::time::{Duration, SystemTime};

use plimsoll_types::Secret;
use serde::Deserialize;

use crate::fetch::Failure;
use crate::lease::Fetched;

/// An access token, as Microsoft and Google answer it.
#[derive(Deserialize)]
pub(crate) struct Token {
    access_token: String,
    /// A text where Microsoft's metadata service writes it, a number elsewhere.
    expires_in: Written,
}

impl Token {
    /// What is done with it: it is a password with an end.
    pub(crate) fn fetched(self) -> Result<Fetched, Failure> {
        let life = self.expires_in.as_seconds();
        let life = life.map_err(|_| Failure("expires_in is no number".to_string()))?;
        Ok(Fetched { secret: Secret::new(self.access_token.into_bytes()), life: Some(life) })
    }
}

/// What a provider may write.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Written {
    /// Seconds, with a fraction in some of AWS' answers.
    Number(f64),
    /// Either.
    Text(String),
}

/// Somebody wrote something else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotATime;

impl Written {
    /// How long it is until then; zero if it is over.
    pub(crate) fn life_at(&self, wall: SystemTime) -> Result<Duration, NotATime> {
        let at = match self {
            Written::Number(seconds) => epoch(*seconds)?,
            Written::Text(text) => match text.trim().parse::<f64>() {
                Ok(seconds) => epoch(seconds)?,
                Err(_) => {
                    let timestamp: jiff::Timestamp = text.trim().parse().map_err(|_| NotATime)?;
                    timestamp.into()
                }
            },
        };
        Ok(at.duration_since(wall).unwrap_or_default())
    }

    /// The same for a number of seconds from now on.
    pub(crate) fn as_seconds(&self) -> Result<Duration, NotATime> {
        let seconds = match self {
            Written::Number(seconds) => *seconds,
            Written::Text(text) => text.trim().parse().map_err(|_| NotATime)?,
        };
        Duration::try_from_secs_f64(seconds).map_err(|_| NotATime)
    }
}

fn epoch(seconds: f64) -> Result<SystemTime, NotATime> {
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| NotATime)?;
    SystemTime::UNIX_EPOCH.checked_add(since).ok_or(NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(json: &str) -> Result<u64, NotATime> {
        let written: Written = serde_json::from_str(json).expect(json);
        // 2026-01-01T00:00:00Z
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        written.life_at(wall).map(|life| life.as_secs())
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        for json in [
            "\"2026-01-01T00:10:00Z\"",
            "\"2026-01-01T01:10:00+01:00\"",
            "1767226200",
            "1767226200.0",
            "\"1767226200\"",
        ] {
            assert_eq!(life(json), Ok(600), "{json}");
        }
        assert_eq!(life("\"2025-01-01T00:10:00Z\""), Ok(0));
        for json in ["\"tomorrow\"", "-1", "1e300", "\"2026-01-01\"", "\"\"", "\"NaN\"", "\"inf\""] {
            assert_eq!(life(json), Err(NotATime), "{json}");
        }
    }

    #[test]
    fn seconds_from_now_on() {
        let seconds = |json: &str| serde_json::from_str::<Written>(json).expect(json).as_seconds();
        assert_eq!(seconds("3599"), Ok(Duration::from_secs(3599)));
        assert_eq!(seconds("\"3599\""), Ok(Duration::from_secs(3599)));
        assert_eq!(seconds("-5"), Err(NotATime));
    }
}
