//! What a row of the tables of connection-string keys is made of, for `[databases]` and `[users]` alike.

use std::time::Duration;

use plimsoll_types::PoolMode;

use crate::connstr;
use crate::credential::{self, CredentialSource, SessionNotAfter};
use crate::leak::LeakAct;
use crate::mistake::Mistake;
use crate::near;
use crate::own;
use crate::place::Place;
use crate::plan::Spill;
use crate::table::{Fault, pool_mode};
use crate::value;

/// Largest `weight=`.
pub(crate) const WEIGHT_MAX: u32 = 1000;

/// Where in `T` a value lives.
type At<T, V> = fn(&mut T) -> &mut Option<V>;

/// Type and place of a value in `T`.
pub(crate) enum Slot<T> {
    Text(At<T, String>),
    Count(At<T, u32>),
    /// A key of our own: a whole number, from and to.
    Range(At<T, u32>, u32, u32),
    /// With a fraction.
    Seconds(At<T, Duration>),
    PoolMode(At<T, PoolMode>),
    /// A key of our own: `off`, `memory` or `disk`.
    Spill(At<T, Spill>),
    /// A key of our own: a time with a unit, from a second on; 0 is off.
    LeakAfter(At<T, Duration>),
    /// A key of our own: `waiting` or `always`.
    LeakAct(At<T, LeakAct>),
    /// A key of our own: where the secret of server logins comes from.
    Credential(At<T, CredentialSource>),
    /// A key of our own: `on` or `off`.
    SessionNotAfter(At<T, SessionNotAfter>),
    /// A key of our own: what this function makes of it, and what it is in words.
    Ours(fn(&mut T, &str) -> Result<(), Fault>, &'static str),
    /// Whatever this function makes of it.
    Own(fn(&mut T, &str) -> Result<(), Fault>),
}

/// One row.
pub(crate) type Row<T> = (&'static str, Slot<T>);

/// Takes all pairs of a connection string; `section` is `connection` or `user`, as PgBouncer's messages say.
pub(crate) fn take<T>(
    into: &mut T,
    rows: &[Row<T>],
    section: &str,
    text: &str,
    place: &Place,
) -> Vec<Mistake> {
    let pairs = match connstr::pairs(text) {
        Ok(pairs) => pairs,
        Err(why) => {
            return vec![
                place.mistake(format!("syntax error in connection string in configuration ({place}): {why}")),
            ];
        }
    };
    let mut mistakes = Vec::new();
    let mut before = "";
    for (key, value) in pairs {
        let behind = std::mem::replace(&mut before, key);
        let Some((_, slot)) = rows.iter().find(|(name, _)| *name == key) else {
            mistakes.push(place.mistake(unknown(key, behind, rows, section)));
            continue;
        };
        if let Err(fault) = slot.assign(into, &value) {
            mistakes.push(place.mistake(fault.message(key, &value, Some(place))));
        }
    }
    mistakes
}

/// What to say of a key that has no row. Behind `password=` it can be the rest of a password with blanks in it, and is
/// not repeated unless it is nearly a key.
fn unknown<T>(key: &str, behind: &str, rows: &[Row<T>], section: &str) -> String {
    let hint = near::hint(key, rows.iter().map(|(name, _)| *name));
    match (behind, hint.as_str()) {
        ("password", "") => format!(
            "unrecognized {section} parameter behind password=; a value with blanks must stand in single quotes"
        ),
        _ => format!("unrecognized {section} parameter: {key}{hint}"),
    }
}

impl<T> Slot<T> {
    fn assign(&self, into: &mut T, text: &str) -> Result<(), Fault> {
        match self {
            Slot::Text(at) => *at(into) = Some(text.to_string()),
            Slot::Count(at) => {
                *at(into) = Some(value::count(text).ok_or(Fault::Invalid("a whole number, 0 or more"))?);
            }
            Slot::Range(at, min, max) => {
                let number = value::count(text).filter(|number| (min..=max).contains(&number));
                *at(into) = Some(number.ok_or_else(|| Fault::Wanted(format!("{min} to {max}")))?);
            }
            Slot::Seconds(at) => {
                let wanted = Fault::Invalid("a number of seconds without a unit");
                *at(into) = Some(value::seconds(text).ok_or(wanted)?);
            }
            Slot::PoolMode(at) => {
                let wanted = || Fault::Said(format!("invalid pool mode: {text}"));
                *at(into) = Some(pool_mode(text).ok_or_else(wanted)?);
            }
            Slot::Spill(at) => *at(into) = Some(own::spill(text)?),
            Slot::LeakAfter(at) if text == "0" => *at(into) = Some(Duration::ZERO),
            Slot::LeakAfter(at) => {
                *at(into) = Some(own::time_within(text, Duration::from_secs(1), own::LEAK_MAX)?);
            }
            Slot::LeakAct(at) => *at(into) = Some(own::leak_act(text)?),
            Slot::Credential(at) => *at(into) = Some(credential::parse(text)?),
            Slot::SessionNotAfter(at) => *at(into) = Some(credential::session_not_after(text)?),
            Slot::Ours(take, _) | Slot::Own(take) => take(into, text)?,
        }
        Ok(())
    }
}

/// The rows of a table of keys, for people.
pub(crate) fn reference<T>(rows: &[Row<T>]) -> Vec<Vec<String>> {
    let here = |slot: &Slot<T>| match slot {
        Slot::Text(_) | Slot::Own(_) => "works".to_string(),
        Slot::Count(_) => "works; a whole number".to_string(),
        Slot::Range(_, min, max) => format!("ours; {min} to {max}"),
        Slot::Seconds(_) => "works; seconds".to_string(),
        Slot::PoolMode(_) => "works; session, transaction, statement".to_string(),
        Slot::Spill(_) => "ours; off, memory, disk".to_string(),
        Slot::LeakAfter(_) => {
            let (min, max) = (value::time_text(Duration::from_secs(1)), value::time_text(own::LEAK_MAX));
            format!("ours; 0, or a time, {min} to {max}")
        }
        Slot::LeakAct(_) => format!("ours; {}", own::LEAK_ACT.expected),
        Slot::Credential(_) => format!("ours; {}", credential::EXPECTED),
        Slot::Ours(_, what) => format!("ours; {what}"),
        Slot::SessionNotAfter(_) => "ours; on, off".to_string(),
    };
    rows.iter().map(|(name, slot)| vec![format!("`{name}`"), here(slot)]).collect()
}
