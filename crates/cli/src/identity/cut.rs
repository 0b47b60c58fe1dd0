//! What cuts access: said before it is done.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::Value;

use super::desk::{Desk, Query, id_of};
use super::fault::Fault;
use super::look::Names;
use super::noun::Noun;
use crate::text::harmless;

/// A way of cutting access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Disable,
    Revoke,
    Delete,
    /// Another key in its place, without overlap.
    Replace,
}

impl Cut {
    fn verb(self) -> &'static str {
        match self {
            Cut::Disable => "disables",
            Cut::Revoke => "revokes",
            Cut::Delete => "removes",
            Cut::Replace => "replaces",
        }
    }

    fn how_long(self) -> &'static str {
        match self {
            Cut::Disable => "until it is enabled again",
            Cut::Revoke | Cut::Delete => "for ever",
            Cut::Replace => "from this moment",
        }
    }
}

/// A thing with its name, for people: `application "web" (app_…)`.
pub(crate) fn titled(noun: Noun, item: &Value) -> String {
    let id = id_of(noun, item);
    let name = noun.name_field().and_then(|field| item.get(field)?.as_str()).unwrap_or_default();
    let title = match name {
        "" => format!("{} {id}", noun.one()),
        name => format!("{} {name:?} ({id})", noun.one()),
    };
    harmless(&title).into_owned()
}

/// What will happen, in a sentence.
///
/// # Errors
/// The API cannot be asked how much depends on it.
pub(crate) fn words(desk: &mut Desk, cut: Cut, noun: Noun, item: &Value) -> Result<String, Fault> {
    let what = format!("this {} {}", cut.verb(), titled(noun, item));
    let told = match noun {
        Noun::Key => key(desk, item),
        Noun::Grant => grant(desk, item),
        Noun::Org | Noun::App | Noun::User | Noun::Dataset => depends(desk, noun, item)?,
    };
    let whole = match told.as_str() {
        "" => format!("{what}: it cannot be used {}, and nothing depends on it", cut.how_long()),
        told => format!("{what}: {told} cannot be used {}; sessions by them end", cut.how_long()),
    };
    Ok(harmless(&whole).into_owned())
}

/// What is active and depends on it.
fn depends(desk: &mut Desk, noun: Noun, item: &Value) -> Result<String, Fault> {
    let by: &[(Noun, &str)] = match noun {
        Noun::Org => &[
            (Noun::App, "org"),
            (Noun::User, "org"),
            (Noun::Key, "org"),
            (Noun::Grant, "org"),
            (Noun::Dataset, "org"),
        ],
        Noun::App => &[(Noun::Key, "app"), (Noun::Grant, "subject")],
        Noun::User => &[(Noun::Grant, "subject")],
        Noun::Dataset => &[(Noun::Grant, "dataset")],
        Noun::Key | Noun::Grant => &[],
    };
    let mut parts = Vec::new();
    for (counted, field) in by {
        let query: Query = vec![(*field, id_of(noun, item)), ("state", "active".to_string())];
        parts.extend(desk.count(*counted, &query)?.words());
    }
    Ok(match parts.split_last() {
        None => String::new(),
        Some((only, [])) => format!("{only} of it"),
        Some((last, first)) => format!("{} and {last} of it", first.join(", ")),
    })
}

fn key(desk: &mut Desk, item: &Value) -> String {
    let app = item.get("app").and_then(Value::as_str).unwrap_or_default();
    let app = desk.name(app).unwrap_or_else(|| app.to_string());
    let used =
        match (item.get("used_ms").and_then(Value::as_i64), item.get("used_from").and_then(Value::as_str)) {
            (Some(at), Some(from)) => format!(", used last {} from {from},", desk.clock.minute(at)),
            (Some(at), None) => format!(", used last {},", desk.clock.minute(at)),
            (None, _) => ", of which no use is written down yet,".to_string(),
        };
    format!("this key of application {app:?}{used}")
}

fn grant(desk: &mut Desk, item: &Value) -> String {
    let field = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let mut called = |id: String| desk.name(&id).unwrap_or(id);
    let (subject, dataset) = (called(field("subject")), called(field("dataset")));
    format!("the way of {subject:?} into {dataset:?} as role {:?}", field("role"))
}

/// Whether it was said beforehand that nobody needs to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assent {
    /// `--yes`.
    Given,
    /// Somebody has to be asked.
    Asked,
}

impl Assent {
    /// Of `--yes`.
    pub(crate) fn of(yes: bool) -> Assent {
        if yes { Assent::Given } else { Assent::Asked }
    }
}

/// Asks, where that is needed.
///
/// # Errors
/// It was no yes, or there is nobody to ask.
pub(crate) fn confirm(assent: Assent, words: &str) -> Result<(), Fault> {
    match assent {
        Assent::Given => return Ok(()),
        Assent::Asked => {}
    }
    let (stdin, mut err) = (io::stdin(), io::stderr());
    if !stdin.is_terminal() || !err.is_terminal() {
        return Err(Fault::NobodyToAsk(words.to_string()));
    }
    let unreadable = |error: io::Error| Fault::Input(format!("the terminal cannot be read: {error}"));
    write!(err, "{words}\nGo on? [y/N] ").and_then(|()| err.flush()).map_err(unreadable)?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(unreadable)?;
    if is_yes(&answer) { Ok(()) } else { Err(Fault::Declined) }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].iter().any(|yes| answer.trim().eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        assert!(is_yes("y\n") && is_yes(" YES \n"));
        assert!(!is_yes("\n") && !is_yes("no\n") && !is_yes("yesterday\n") && !is_yes(""));
    }

    #[test]
    fn what_is_said_beforehand_is_not_asked() {
        assert!(confirm(Assent::of(true), "this removes all").is_ok());
    }
}
