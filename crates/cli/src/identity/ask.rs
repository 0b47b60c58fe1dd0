//! Questions: `plimsoll authorize` and `plimsoll identity status`.

use serde_json::{Map, Value};

use super::args::{AuthorizeArgs, StatusArgs};
use super::desk::{Desk, Query};
use super::fault::Fault;
use super::look::Names;
use super::noun::Noun;
use super::tend::{Ways, objects, print};
use crate::text::harmless;

/// What the API decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Denied,
}

/// `plimsoll authorize`.
///
/// # Errors
/// There is no decision.
pub(crate) fn authorize(args: &AuthorizeArgs, ways: Ways<'_>) -> Result<Verdict, Fault> {
    let mut desk = ways.desk(&args.api)?;
    let mut body = Map::new();
    for (field, noun, which) in [
        ("application", Noun::App, args.app.as_ref()),
        ("user", Noun::User, args.user.as_ref()),
        ("dataset", Noun::Dataset, Some(&args.dataset)),
    ] {
        if let Some(which) = which {
            body.insert(field.to_string(), Value::from(desk.id(noun, which)?));
        }
    }
    body.insert("action".to_string(), Value::from(args.action.as_str()));
    let answer = desk.post("/v1/authorize", &Value::Object(body))?;
    let verdict = match answer.get("decision").and_then(Value::as_str) {
        Some("allow") => Verdict::Allowed,
        Some(_) => Verdict::Denied,
        None => return Err(Fault::NoApi { url: desk.url(), status: 200 }),
    };
    match args.api.json {
        true => print(&objects(&[answer]))?,
        false => print(&[sentence(&answer, verdict)])?,
    }
    Ok(verdict)
}

fn sentence(answer: &Value, verdict: Verdict) -> String {
    let part = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut words = match verdict {
        Verdict::Allowed => "allowed".to_string(),
        Verdict::Denied => "not allowed".to_string(),
    };
    if let Some(role) = part("role") {
        words.push_str(&format!(" as role {role}"));
    }
    if let Some(grant) = part("grant") {
        words.push_str(&format!(" by grant {grant}"));
    }
    if let Some(reason) = part("reason") {
        words.push_str(&format!(": {reason}"));
    }
    harmless(&words).into_owned()
}

/// `plimsoll identity status`.
///
/// # Errors
/// The API cannot be asked.
pub(crate) fn status(args: &StatusArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let nouns = [Noun::Org, Noun::Dataset, Noun::User, Noun::App, Noun::Key, Noun::Grant];
    let mut counts = Vec::new();
    for noun in nouns {
        counts.extend(allowed(desk.count(noun, &Query::new()))?.map(|count| (noun, count)));
    }
    let newest = allowed(desk.page("/v1/audit", &Query::new(), None, 1))?;
    let newest = newest.map(|(items, _)| items).unwrap_or_default();
    if args.api.json {
        let mut status = Map::from_iter([("api".to_string(), Value::from(desk.url()))]);
        for (noun, count) in &counts {
            status.insert(noun.many().replace(' ', "_"), count.json());
        }
        status.insert("last_change".to_string(), newest.into_iter().next().unwrap_or(Value::Null));
        return print(&objects(&[Value::Object(status)]));
    }
    let counts: Vec<String> = counts.into_iter().filter_map(|(_, count)| count.words()).collect();
    let mut lines = vec![format!("identity API: {} (the key is good)", desk.url())];
    lines.push(match counts.is_empty() {
        true => "it knows nothing yet".to_string(),
        false => format!("it knows {}", counts.join(", ")),
    });
    lines.extend(newest.first().map(|entry| last_change(entry, &mut desk)));
    print(&lines)
}

/// What an administrator of one organisation may not see is left out.
fn allowed<T>(result: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Fault::Problem(problem)) if problem.status == 403 => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn last_change(entry: &Value, desk: &mut Desk) -> String {
    let part = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or("-");
    let at = entry.get("at_ms").and_then(Value::as_i64).map(|at| desk.clock.minute(at)).unwrap_or_default();
    let object = part("object");
    let called = desk.name(object).map(|name| format!("{name:?} ")).unwrap_or_default();
    let line = format!(
        "last change {at}: {} by {} from {}, {called}{object}",
        part("action"),
        part("actor"),
        part("from")
    );
    harmless(&line).into_owned()
}
