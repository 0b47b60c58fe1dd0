//! What a row of the table of `[pgbouncer]` keys is made of: where the value goes, how its text is read and shown,
//! and how far we honour it.

use std::path::PathBuf;
use std::time::Duration;

use plimsoll_types::{PoolMode, SslMode};

use crate::hidden::HiddenText;
use crate::peer;
use crate::place::Place;
use crate::plan::{AuthType, General};
use crate::value;

/// Where in `General` a value lives.
pub(crate) type At<T> = fn(&mut General) -> &mut T;

/// Type and place of a value.
pub(crate) enum Field {
    Text(At<String>),
    /// It may hold a password; empty is none.
    Hidden(At<Option<HiddenText>>),
    /// Empty is none.
    OptionalText(At<Option<String>>),
    /// Empty is none.
    Path(At<Option<PathBuf>>),
    /// A list with commas.
    Names(At<Vec<String>>),
    Switch(At<bool>),
    Count(At<u32>),
    Port(At<u16>),
    /// 0 is none.
    PeerId(At<u16>),
    /// With a fraction.
    Seconds(At<Duration>),
    WholeSeconds(At<Duration>),
    /// Whole seconds, never zero.
    Period(At<Duration>),
    /// Permission bits of a file.
    FileMode(At<u32>),
    PoolMode(At<PoolMode>),
    AuthType(At<AuthType>),
    /// Not the console's name; empty is none.
    AuthDbname(At<Option<String>>),
    SslMode(At<SslMode>),
    /// Where syslog files a line.
    Facility(At<String>),
    /// `<empty>` is none.
    CheckQuery(At<Option<String>>),
    /// Checked and shown, but nothing in `General` depends on it.
    Kept(Kind),
}

/// Types of the values that are only kept.
pub(crate) enum Kind {
    Text,
    Int,
}

/// How far we honour a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// It does what PgBouncer's does.
    Works,
    /// It has no effect, and that changes nothing for anybody: why.
    Harmless(&'static str),
    /// It has no effect; a value other than the default earns a warning: why.
    Warned(&'static str),
}

/// What PgBouncer does with a key after start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// RELOAD and SET change it.
    Always,
    /// Only a restart does.
    Restart,
}

/// One row.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// As the reference writes it; `None` is NULL.
    pub(crate) default: Option<&'static str>,
    pub(crate) field: Field,
    pub(crate) when: When,
    pub(crate) support: Support,
}

/// A value that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// As `SHOW CONFIG` writes it.
    pub(crate) shown: String,
    /// Why it is worth a warning, when somebody wrote it.
    pub(crate) warning: Option<&'static str>,
}

/// A value that was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is none; what would be.
    Invalid(&'static str),
    /// It is out of range; what would be in it.
    Wanted(String),
    /// PgBouncer has its own words for it.
    Said(String),
}

impl Fault {
    /// The message, with PgBouncer's words first; `place` is the line of a file, if it came from one.
    pub(crate) fn message(&self, key: &str, text: &str, place: Option<&Place>) -> String {
        let place = place.map(|place| format!(" in configuration ({place})")).unwrap_or_default();
        let invalid = |expected: &str| {
            format!("invalid value \"{text}\" for parameter {key}{place}: expected {expected}")
        };
        match self {
            Fault::Invalid(expected) => invalid(expected),
            Fault::Wanted(expected) => invalid(expected),
            Fault::Said(words) => format!("{words}{place}"),
        }
    }
}

const WANTS_COUNT: &str = "a whole number, 0 or more";
const WANTS_SECONDS: &str = "a number of seconds without a unit, such as 30 or 0.5";
const WANTS_PERIOD: &str = "a whole number of seconds, 1 or more";
const WANTS_FILE_MODE: &str = "an octal file mode with a leading 0, such as 0770";
const WANTS_SWITCH: &str = "0 or 1";
const WANTS_PORT: &str = "a port, 0 to 65535";
const WANTS_PEER_ID: &str = "a peer id, 1 to 16383, or 0";
const WANTS_POOL_MODE: &str = "session, transaction or statement";
const WANTS_AUTH: &str = "any, trust, plain, md5, scram-sha-256, cert, hba, key, jwt, oauth, ldap or pam";
const WANTS_SSL_MODE: &str = "disable, allow, prefer, require, verify-ca or verify-full";

const WANTS_FACILITY: &str = "auth, authpriv, cron, daemon, user or local0 to local7";
const FACILITIES: [&str; 13] = [
    "auth", "authpriv", "cron", "daemon", "user", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7",
];
const POOL_MODES: [PoolMode; 3] = [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement];
const AUTH_TYPES: [AuthType; 12] = [
    AuthType::Any,
    AuthType::Trust,
    AuthType::Plain,
    AuthType::Md5,
    AuthType::Scram,
    AuthType::Cert,
    AuthType::Hba,
    AuthType::Ldap,
    AuthType::Pam,
    AuthType::Key,
    AuthType::Jwt,
    AuthType::OAuth,
];

impl Key {
    /// Reads a value and puts it in its place.
    pub(crate) fn assign(&self, general: &mut General, text: &str) -> Result<Taken, Fault> {
        let taken = self.field.assign(general, text)?;
        // An empty text means "not set" where PgBouncer's default is NULL.
        let is_default = taken.shown == self.default.unwrap_or("");
        match self.support {
            Support::Warned(why) if !is_default => Ok(Taken { warning: Some(why), ..taken }),
            Support::Works | Support::Harmless(_) | Support::Warned(_) => Ok(taken),
        }
    }
}

impl Field {
    fn assign(&self, general: &mut General, text: &str) -> Result<Taken, Fault> {
        let shown = match self {
            Field::Text(at) => put(at(general), text.to_string(), text),
            Field::OptionalText(at) => put(at(general), some_text(text), text),
            Field::Hidden(at) => hide(at(general), text),
            Field::Path(at) => put(at(general), some_text(text).map(PathBuf::from), text),
            Field::Names(at) => put(at(general), value::names(text), text),
            Field::CheckQuery(at) => put(at(general), (text != "<empty>").then(|| text.to_string()), text),
            Field::Switch(at) => {
                let number = value::int(text).ok_or(Fault::Invalid(WANTS_SWITCH))?;
                put(at(general), number != 0, number)
            }
            Field::Count(at) => {
                let number = value::count(text).ok_or(Fault::Invalid(WANTS_COUNT))?;
                put(at(general), number, number)
            }
            Field::Port(at) => {
                let number = value::int(text).and_then(|n| u16::try_from(n).ok());
                let number = number.ok_or(Fault::Invalid(WANTS_PORT))?;
                put(at(general), number, number)
            }
            Field::PeerId(at) => {
                let number =
                    value::count(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n <= peer::ID_MAX);
                let number = number.ok_or(Fault::Invalid(WANTS_PEER_ID))?;
                put(at(general), number, number)
            }
            Field::Seconds(at) => {
                let time = value::seconds(text).ok_or(Fault::Invalid(WANTS_SECONDS))?;
                put(at(general), time, value::seconds_text(time))
            }
            Field::WholeSeconds(at) => {
                let number = value::count(text).ok_or(Fault::Invalid(WANTS_COUNT))?;
                put(at(general), Duration::from_secs(number.into()), number)
            }
            Field::Period(at) => {
                let number = value::count(text).filter(|n| *n > 0).ok_or(Fault::Invalid(WANTS_PERIOD))?;
                put(at(general), Duration::from_secs(number.into()), number)
            }
            Field::FileMode(at) => {
                let mode =
                    value::count(text).filter(|n| *n <= 0o7777).ok_or(Fault::Invalid(WANTS_FILE_MODE))?;
                put(at(general), mode, mode)
            }
            Field::PoolMode(at) => {
                let mode = pool_mode(text).ok_or(Fault::Invalid(WANTS_POOL_MODE))?;
                put(at(general), mode, mode.as_str())
            }
            Field::AuthType(at) => {
                let auth_type = auth_type(text)?;
                put(at(general), auth_type, auth_type.as_str())
            }
            Field::AuthDbname(at) => {
                not_the_console(text)?;
                put(at(general), some_text(text), text)
            }
            Field::SslMode(at) => {
                let mode = SslMode::parse(text).ok_or(Fault::Invalid(WANTS_SSL_MODE))?;
                put(at(general), mode, mode.as_str())
            }
            Field::Facility(at) => {
                let word = FACILITIES.into_iter().find(|word| word.eq_ignore_ascii_case(text));
                let word = word.ok_or(Fault::Invalid(WANTS_FACILITY))?;
                put(at(general), word.to_string(), word)
            }
            Field::Kept(kind) => return kind.check(text),
        };
        Ok(Taken { shown, warning: None })
    }

    /// The type, for people.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Field::Text(_) | Field::OptionalText(_) | Field::Hidden(_) | Field::CheckQuery(_) => "text",
            Field::Path(_) => "path",
            Field::Names(_) => "names, commas",
            Field::Switch(_) => "0, 1",
            Field::Count(_) | Field::Port(_) | Field::PeerId(_) => "whole number",
            Field::Seconds(_) => "seconds",
            Field::WholeSeconds(_) => "whole seconds",
            Field::Period(_) => "whole seconds, 1 or more",
            Field::FileMode(_) => "file mode, octal",
            Field::PoolMode(_) => "session, transaction, statement",
            Field::AuthType(_) => WANTS_AUTH,
            Field::AuthDbname(_) => "text",
            Field::SslMode(_) => WANTS_SSL_MODE,
            Field::Facility(_) => WANTS_FACILITY,
            Field::Kept(Kind::Text) => "text",
            Field::Kept(Kind::Int) => "whole number",
        }
    }
}

/// Puts a value in its place; its text as `SHOW CONFIG` writes it.
fn put<T>(place: &mut T, value: T, shown: impl ToString) -> String {
    *place = value;
    shown.to_string()
}

/// The same with what may hold a password.
fn hide(place: &mut Option<HiddenText>, text: &str) -> String {
    *place = (!text.is_empty()).then(|| HiddenText::new(text));
    place.as_ref().map_or("", HiddenText::shown).to_string()
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

impl Kind {
    fn check(&self, text: &str) -> Result<Taken, Fault> {
        let shown = match self {
            Kind::Text => text.to_string(),
            Kind::Int => value::int(text).ok_or(Fault::Invalid("a whole number"))?.to_string(),
        };
        Ok(Taken { shown, warning: None })
    }
}

/// The console has no users to be asked for.
pub(crate) fn not_the_console(name: &str) -> Result<(), Fault> {
    match name {
        "pgbouncer" => {
            let words = "cannot use the reserved \"pgbouncer\" database as an auth_dbname";
            Err(Fault::Said(words.to_string()))
        }
        _ => Ok(()),
    }
}

/// A word of `pool_mode`, in any case.
pub(crate) fn pool_mode(text: &str) -> Option<PoolMode> {
    POOL_MODES.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text))
}

fn auth_type(text: &str) -> Result<AuthType, Fault> {
    let found = AUTH_TYPES.into_iter().find(|auth_type| auth_type.as_str().eq_ignore_ascii_case(text));
    found.ok_or(Fault::Invalid(WANTS_AUTH))
}
