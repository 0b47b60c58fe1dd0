//! What can be done with every noun.

use std::io::{self, Write};

use serde_json::{Map, Value};

use super::args::{
    ApiArgs, CutArgs, GrantFilter, KeyFilter, ListArgs, MakeArgs, OfOrg, OneArgs, OrgFilter, SetArgs, State,
    Verb,
};
use super::choose::{Choose, subject};
use super::cut::{Assent, Cut, confirm, titled, words};
use super::desk::{Desk, Found, MakeTls, More, Query, id_of, path_of};
use super::fault::Fault;
use super::http::{Method, Request};
use super::look::{self, Column};
use super::noun::Noun;
use crate::json;
use crate::place::World;
use crate::question::Width;
use crate::report::{self, canvas_of};

/// Fields that the store knows and nobody chooses.
const KNOWN: [&str; 9] = [
    "id",
    "key_id",
    "created_ms",
    "changed_ms",
    "changed_by",
    "version",
    "has_password",
    "used_ms",
    "used_from",
];

/// What of the outside a command needs.
#[derive(Clone, Copy)]
pub(crate) struct Ways<'a> {
    pub(crate) world: &'a dyn World,
    pub(crate) tls: MakeTls,
}

impl Ways<'_> {
    /// The API.
    pub(crate) fn desk(&self, args: &ApiArgs) -> Result<Desk, Fault> {
        Desk::open(args, self.world, self.tls)
    }
}

/// Options that say which of a list are wanted.
pub(crate) trait Narrow {
    /// As the API wants to hear it.
    ///
    /// # Errors
    /// A name cannot be found.
    fn query(&self, desk: &mut Desk) -> Result<Query, Fault>;
}

fn state(state: Option<State>) -> Query {
    state.map(|state| ("state", state.word().to_string())).into_iter().collect()
}

fn named(desk: &mut Desk, field: &'static str, noun: Noun, which: Option<&str>) -> Result<Query, Fault> {
    which.map(|which| desk.id(noun, which).map(|id| (field, id))).into_iter().collect()
}

impl Narrow for OrgFilter {
    fn query(&self, _: &mut Desk) -> Result<Query, Fault> {
        Ok(state(self.state))
    }
}

impl Narrow for OfOrg {
    fn query(&self, desk: &mut Desk) -> Result<Query, Fault> {
        let mut query = named(desk, "org", Noun::Org, self.org.as_deref())?;
        query.extend(state(self.state));
        Ok(query)
    }
}

impl Narrow for KeyFilter {
    fn query(&self, desk: &mut Desk) -> Result<Query, Fault> {
        let mut query = named(desk, "app", Noun::App, self.app.as_deref())?;
        query.extend(named(desk, "org", Noun::Org, self.org.as_deref())?);
        query.extend(state(self.state));
        Ok(query)
    }
}

impl Narrow for GrantFilter {
    fn query(&self, desk: &mut Desk) -> Result<Query, Fault> {
        let mut query: Query = Vec::new();
        let subject = subject(desk, self.app.as_deref(), self.user.as_deref())?;
        query.extend(subject.map(|id| ("subject", id)));
        query.extend(named(desk, "dataset", Noun::Dataset, self.dataset.as_deref())?);
        query.extend(named(desk, "org", Noun::Org, self.org.as_deref())?);
        query.extend(state(self.state));
        Ok(query)
    }
}

/// Carries out a verb.
///
/// # Errors
/// It cannot be done.
pub(crate) fn tend<L, C, S>(noun: Noun, verb: &Verb<L, C, S>, ways: Ways<'_>) -> Result<(), Fault>
where
    L: Narrow + clap::Args,
    C: Choose + clap::Args,
    S: Choose + clap::Args,
{
    match verb {
        Verb::List(args) => list(noun, args, ways),
        Verb::Show(args) => show(noun, args, ways),
        Verb::Create(args) => create(noun, args, ways),
        Verb::Set(args) => set(noun, args, ways),
        Verb::Disable(args) => cut(noun, args, Cut::Disable, ways),
        Verb::Enable(args) => enable(noun, args, ways),
        Verb::Revoke(args) => cut(noun, args, Cut::Revoke, ways),
        Verb::Delete(args) => cut(noun, args, Cut::Delete, ways),
    }
}

/// `list`.
pub(crate) fn list<L: Narrow + clap::Args>(
    noun: Noun,
    args: &ListArgs<L>,
    ways: Ways<'_>,
) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let query = args.filter.query(&mut desk)?;
    let limit = if args.all { None } else { Some(args.limit) };
    let listed = desk.list(noun.path(), &query, limit)?;
    if args.api.json {
        return print(&objects(&listed.items));
    }
    if listed.items.is_empty() {
        let none = if query.is_empty() { "no" } else { "none of the" };
        return print(&[format!("{none} {}{}", noun.many(), if query.is_empty() { "" } else { " fits" })]);
    }
    let width = if args.wide { Width::Whole } else { Width::Fitted };
    let mut lines = table(&listed.items, noun.columns(), &mut desk, width, ways);
    if listed.more == More::Yes {
        lines.push(format!("… there are more {}: --all lists all of them", noun.many()));
    }
    print(&lines)
}

/// The lines of a table.
pub(crate) fn table(
    items: &[Value],
    columns: &[Column],
    desk: &mut Desk,
    width: Width,
    ways: Ways<'_>,
) -> Vec<String> {
    let clock = desk.clock.clone();
    look::lines(&look::sheet(items, columns, desk, &clock), canvas_of(width, ways.world))
}

/// One JSON object a line.
pub(crate) fn objects(items: &[Value]) -> Vec<String> {
    items.iter().map(json::value).collect()
}

/// Everything at once.
pub(crate) fn print(lines: &[String]) -> Result<(), Fault> {
    Ok(report::print(lines)?)
}

/// On standard error, where no script reads it as an answer; if nobody can read it, nothing is lost.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A thing as the command line wants it shown.
pub(crate) fn print_one(noun: Noun, item: &Value, desk: &mut Desk, args: &ApiArgs) -> Result<(), Fault> {
    let lines = match args.json {
        true => objects(std::slice::from_ref(item)),
        false => {
            let clock = desk.clock.clone();
            look::card(item, noun.columns(), desk, &clock)
        }
    };
    print(&lines)
}

/// `show`.
pub(crate) fn show(noun: Noun, args: &OneArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let id = desk.id(noun, &args.which)?;
    let found = desk.find(noun, &id)?;
    print_one(noun, &found.item, &mut desk, &args.api)
}

fn create<C: Choose + clap::Args>(noun: Noun, args: &MakeArgs<C>, ways: Ways<'_>) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let body = Value::Object(args.fields.chosen(&mut desk)?);
    let item = desk.post(noun.path(), &body)?;
    if args.quiet {
        return print(&[id_of(noun, &item)]);
    }
    print_one(noun, &item, &mut desk, &args.api)
}

/// `set`.
pub(crate) fn set<S: Choose + clap::Args>(
    noun: Noun,
    args: &SetArgs<S>,
    ways: Ways<'_>,
) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.one.api)?;
    let chosen = args.fields.chosen(&mut desk)?;
    if chosen.is_empty() {
        return Err(Fault::Usage(format!(
            "name what is to be changed of the {} (--help lists what can be)",
            noun.one()
        )));
    }
    let id = desk.id(noun, &args.one.which)?;
    let found = desk.find(noun, &id)?;
    let item = change(&mut desk, noun, found, &chosen)?;
    print_one(noun, &item, &mut desk, &args.one.api)
}

/// Changes some fields and leaves the rest. What somebody else has changed meanwhile is read again, once.
fn change(desk: &mut Desk, noun: Noun, found: Found, chosen: &Map<String, Value>) -> Result<Value, Fault> {
    let id = id_of(noun, &found.item);
    match replace(desk, noun, &id, &found, chosen) {
        Err(Fault::Problem(problem)) if problem.status == 412 => {
            let again = desk.find(noun, &id)?;
            replace(desk, noun, &id, &again, chosen)
        }
        other => other,
    }
}

fn replace(
    desk: &mut Desk,
    noun: Noun,
    id: &str,
    found: &Found,
    chosen: &Map<String, Value>,
) -> Result<Value, Fault> {
    let mut body = found.item.as_object().cloned().unwrap_or_default();
    body.retain(|name, _| !KNOWN.contains(&name.as_str()));
    merge(&mut body, chosen);
    let etag = etag(found);
    let body = Some(Value::Object(body).to_string());
    let path = path_of(noun, id);
    let request = Request { method: Method::Put, path: &path, if_match: etag.as_deref(), once: None, body };
    Ok(desk.send(&request)?.item)
}

/// Fields of objects are changed one by one, everything else is replaced.
fn merge(body: &mut Map<String, Value>, chosen: &Map<String, Value>) {
    for (name, value) in chosen {
        match (body.get_mut(name), value) {
            (Some(Value::Object(inner)), Value::Object(chosen)) => merge(inner, chosen),
            _ => drop(body.insert(name.clone(), value.clone())),
        }
    }
}

/// The version of what was found, as `If-Match` wants it.
fn etag(found: &Found) -> Option<String> {
    let of_version =
        || found.item.get("version").and_then(Value::as_i64).map(|version| format!("\"{version}\""));
    found.etag.clone().or_else(of_version)
}

/// `enable`.
pub(crate) fn enable(noun: Noun, args: &OneArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let mut desk = ways.desk(&args.api)?;
    let id = desk.id(noun, &args.which)?;
    let found = desk.find(noun, &id)?;
    become_state(&mut desk, noun, found, State::Active, &args.api)
}

fn become_state(
    desk: &mut Desk,
    noun: Noun,
    found: Found,
    state: State,
    args: &ApiArgs,
) -> Result<(), Fault> {
    let is_already = found.item.get("state").and_then(Value::as_str) == Some(state.word());
    let item = match is_already {
        true => found.item,
        false => {
            let chosen = Map::from_iter([("state".to_string(), Value::from(state.word()))]);
            change(desk, noun, found, &chosen)?
        }
    };
    if args.json {
        return print(&objects(std::slice::from_ref(&item)));
    }
    let already = if is_already { "already " } else { "" };
    print(&[format!("{} is {already}{}", titled(noun, &item), state.word())])
}

/// `disable`, `revoke`, `delete`.
pub(crate) fn cut(noun: Noun, args: &CutArgs, cut: Cut, ways: Ways<'_>) -> Result<(), Fault> {
    let api = &args.one.api;
    let mut desk = ways.desk(api)?;
    let id = desk.id(noun, &args.one.which)?;
    let found = desk.find(noun, &id)?;
    let assent = Assent::of(args.yes);
    if assent == Assent::Asked {
        let words = words(&mut desk, cut, noun, &found.item)?;
        confirm(assent, &words)?;
    }
    match (cut, noun) {
        (Cut::Disable, _) => become_state(&mut desk, noun, found, State::Disabled, api),
        // The API's own verb for it, which has no race to lose.
        (Cut::Revoke, Noun::Key) => remove(&mut desk, noun, &found, None, "is revoked", api),
        (Cut::Revoke, _) => become_state(&mut desk, noun, found, State::Revoked, api),
        (Cut::Delete | Cut::Replace, _) => {
            let etag = etag(&found);
            remove(&mut desk, noun, &found, etag.as_deref(), "is removed", api)
        }
    }
}

fn remove(
    desk: &mut Desk,
    noun: Noun,
    found: &Found,
    if_match: Option<&str>,
    told: &str,
    args: &ApiArgs,
) -> Result<(), Fault> {
    let id = id_of(noun, &found.item);
    let path = path_of(noun, &id);
    desk.send(&Request { method: Method::Delete, path: &path, if_match, once: None, body: None })?;
    if args.json {
        let done = Map::from_iter([
            (noun.id_field().to_string(), Value::from(id)),
            ("done".to_string(), Value::from(told.trim_start_matches("is "))),
        ]);
        return print(&objects(&[Value::Object(done)]));
    }
    print(&[format!("{} {told}", titled(noun, &found.item))])
}
