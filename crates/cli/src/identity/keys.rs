//! What is special about keys and passwords: they are secrets.

use serde_json::{Value, json};

use super::args::{KeyMade, KeyVerb, MakeArgs, OneArgs, RotateArgs, UserVerb};
use super::choose::Choose;
use super::cut::{Assent, Cut, confirm, titled, words};
use super::desk::{Desk, id_of, path_of};
use super::fault::Fault;
use super::hidden;
use super::http::{Method, Request};
use super::noun::Noun;
use super::tend::{self, Ways, print, print_one, tell};

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
    let item = send(&mut desk, Noun::Key.path(), &body)?;
    if args.quiet {
        return quietly(&item);
    }
    tell_of(&item);
    print_one(Noun::Key, &item, &mut desk, &args.api)
}

/// Not with an Idempotency-Key: the answer would have to be kept somewhere, and there is a secret in it.
fn send(desk: &mut Desk, path: &str, body: &Value) -> Result<Value, Fault> {
    let body = Some(body.to_string());
    let request = Request { method: Method::Post, path, if_match: None, once: None, body };
    Ok(desk.send(&request)?.item)
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
    if args.overlap.is_zero() && !args.cut.yes {
        let found = desk.find(Noun::Key, &id)?;
        let words = words(&mut desk, Cut::Replace, Noun::Key, &found.item)?;
        confirm(Assent::Asked, &words)?;
    }
    let path = format!("{}/rotate", path_of(Noun::Key, &id));
    let item = send(&mut desk, &path, &json!({ "overlap_seconds": args.overlap.as_secs() }))?;
    if args.quiet {
        return quietly(&item);
    }
    tell_of(&item);
    print_one(Noun::Key, &item, &mut desk, api)
}

fn password(args: &OneArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let id = desk.id(Noun::User, &args.which)?;
    // Who it is for is known before anything is typed.
    let found = desk.find(Noun::User, &id)?;
    let title = titled(Noun::User, &found.item);
    let password = hidden::new_password(&title)?;
    let path = format!("{}/password", path_of(Noun::User, &id));
    let body = Some(json!({ "password": password.expose_text().unwrap_or_default() }).to_string());
    desk.send(&Request { method: Method::Put, path: &path, if_match: None, once: None, body })?;
    match args.api.json {
        true => print(&[json!({ "id": id, "done": "password set" }).to_string()]),
        false => print(&[format!("{title} has a new password")]),
    }
}
