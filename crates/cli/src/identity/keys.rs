//! What is special about keys and passwords: they are secrets.

use serde_json::{Value, json};

use super::args::{KeyMade, KeyVerb, MakeArgs, PasswordArgs, RotateArgs, UserVerb};
use super::choose::Choose;
use super::cut::{Assent, Cut, confirm, titled, words};
use super::desk::{id_of, path_of};
use super::fault::Fault;
use super::hidden;
use super::http::{Method, Request};
use super::noun::Noun;
use super::tend::{self, Ways, objects, print, print_one, tell};

/// The field of a key's whole text, in the one answer that has it.
const WHOLE: &str = "key";

/// `plimsoll key …`.
///
/// # Errors
/// It cannot be done.
pub(crate) fn tend_keys(verb: &KeyVerb, ways: Ways<'_>) -> Result<(), Fault> {
    match verb {
        KeyVerb::List(args) => tend::list(Noun::Key, args, ways),
        KeyVerb::Show(args) => tend::show(Noun::Key, args, ways),
        KeyVerb::Create(args) => create(args, ways),
        KeyVerb::Rotate(args) => rotate(args, ways),
        KeyVerb::Set(args) => tend::set(Noun::Key, args, ways),
        KeyVerb::Disable(args) => tend::cut(Noun::Key, args, Cut::Disable, ways),
        KeyVerb::Enable(args) => tend::enable(Noun::Key, args, ways),
        KeyVerb::Revoke(args) => tend::cut(Noun::Key, args, Cut::Revoke, ways),
    }
}

/// `plimsoll user …`.
///
/// # Errors
/// It cannot be done.
pub(crate) fn tend_users(verb: &UserVerb, ways: Ways<'_>) -> Result<(), Fault> {
    match verb {
        UserVerb::Common(verb) => tend::tend(Noun::User, verb, ways),
        UserVerb::Password(args) => password(args, ways),
    }
}

fn create(args: &MakeArgs<KeyMade>, ways: Ways<'_>) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let body = Value::Object(args.fields.chosen(&mut desk)?);
    let item = desk.post(Noun::Key.path(), &body)?;
    if args.quiet {
        return quietly(&item);
    }
    tell_of(&item);
    print_one(Noun::Key, &item, &mut desk, &args.api)
}

/// The key alone; of a credential without a secret of ours, its id.
fn quietly(item: &Value) -> Result<(), Fault> {
    match item.get(WHOLE).and_then(Value::as_str) {
        Some(key) => {
            tell_of(item);
            print(&[key.to_string()])
        }
        None => print(&[id_of(Noun::Key, item)]),
    }
}

fn tell_of(item: &Value) {
    if item.get(WHOLE).is_some() {
        tell(&format!(
            "plimsoll: key {} is shown this once; the store keeps only a hash of it",
            id_of(Noun::Key, item)
        ));
    }
}

fn rotate(args: &RotateArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let api = &args.cut.one.api;
    let mut desk = ways.desk(api)?;
    let id = desk.id(Noun::Key, &args.cut.one.which)?;
    let found = desk.find(Noun::Key, &id)?;
    if args.overlap.is_zero() && !args.cut.yes {
        let words = words(&mut desk, Cut::Replace, Noun::Key, &found.item)?;
        confirm(Assent::Asked, &words)?;
    }
    let path = format!("{}/rotate", path_of(Noun::Key, &id));
    let expires = match &args.expires {
        Some(expires) => expires.value(desk.now, &desk.clock.zone)?,
        None => as_long(&found.item, desk.now.as_millisecond()),
    };
    let body = json!({ "overlap_seconds": args.overlap.as_secs(), "expires_ms": expires });
    let item = desk.post(&path, &body)?;
    if args.quiet {
        return quietly(&item);
    }
    tell_of(&item);
    print_one(Noun::Key, &item, &mut desk, api)
}

/// The end of a key that lives as long as an old one was to live; a key without end has one without end after it.
fn as_long(old: &Value, now_ms: i64) -> Value {
    let time = |name: &str| old.get(name).and_then(Value::as_i64);
    match (time("created_ms"), time("expires_ms")) {
        (Some(created), Some(expires)) => Value::from(now_ms.saturating_add(expires.saturating_sub(created))),
        _ => Value::Null,
    }
}

fn password(args: &PasswordArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let api = &args.cut.one.api;
    let mut desk = ways.desk(api)?;
    let id = desk.id(Noun::User, &args.cut.one.which)?;
    // Who it is for is known before anything is typed.
    let found = desk.find(Noun::User, &id)?;
    let title = titled(Noun::User, &found.item);
    let path = format!("{}/password", path_of(Noun::User, &id));
    let (method, body, told) = match args.remove {
        true => {
            let words = format!("this takes the password of {title} away: nobody can sign in as this user");
            confirm(Assent::of(args.cut.yes), &words)?;
            (Method::Delete, None, "has no password any more")
        }
        false => {
            let password = hidden::new_password(&title)?;
            let body = json!({ "password": password.expose_text().unwrap_or_default() }).to_string();
            (Method::Put, Some(body), "has a new password")
        }
    };
    desk.send(&Request { method, path: &path, if_match: None, once: None, body })?;
    match api.json {
        true => print(&objects(&[json!({ "id": id, "done": told })])),
        false => print(&[format!("{title} {told}")]),
    }
}
