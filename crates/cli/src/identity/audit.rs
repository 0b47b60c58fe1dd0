//! `plimsoll audit`: who did what, the newest last.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::args::{AuditArgs, AuditFilter};
use super::desk::{Desk, More, Query};
use super::fault::Fault;
use super::noun::{AUDIT, AUDIT_WIDE, Noun};
use super::tend::{Narrow, Ways, objects, print, table, tell};
use crate::question::Width;
use crate::text::harmless;

/// Where the API has it.
const PATH: &str = "/v1/audit";
/// How often `--follow` looks.
const LOOK: Duration = Duration::from_secs(2);
/// So many are asked for at once.
const PAGE_ITEMS: usize = 200;

/// Prints, and goes on if that is wanted.
///
/// # Errors
/// The API cannot be asked at first, or nothing can be written.
pub(crate) fn audit(args: &AuditArgs, ways: Ways<'_>) -> Result<(), Fault> {
    let list = &args.list;
    let mut desk = ways.desk(&list.api)?;
    let query = list.filter.query(&mut desk)?;
    let limit = if list.all { None } else { Some(list.limit) };
    // Asked before: what comes while the list is read is told then, and again by nobody.
    let last = if args.follow { newest(&desk.page(PATH, &Query::new(), None, 1)?.0) } else { None };
    // The API has the newest first.
    let mut listed = desk.list(PATH, &query, limit)?;
    listed.items.reverse();
    let last = newest(&listed.items).max(last).unwrap_or(0);
    if listed.more == More::Yes && !list.api.json {
        tell("plimsoll: there is more before; --all shows all of it, --limit N that much");
    }
    match (listed.items.is_empty(), args.follow) {
        (true, false) if list.api.json => Ok(()),
        (true, false) => print(&["nothing in the audit log fits".to_string()]),
        (false, false) => print(&shown(&listed.items, args, &mut desk, ways, Head::With)),
        (true, true) => follow(&mut desk, args, ways, last),
        (false, true) => {
            print(&shown(&listed.items, args, &mut desk, ways, Head::With))?;
            follow(&mut desk, args, ways, last)
        }
    }
}

impl Narrow for AuditFilter {
    fn query(&self, desk: &mut Desk) -> Result<Query, Fault> {
        let mut query = self.who_and_what();
        if let Some(since) = self.since {
            let from = desk.now.checked_sub(since);
            let from = from.map_err(|_| Fault::Usage("--since: too long ago".to_string()))?;
            query.push(("since_ms", from.as_millisecond().max(0).to_string()));
        }
        Ok(query)
    }
}

impl AuditFilter {
    /// What stays the same while the log is followed.
    fn who_and_what(&self) -> Query {
        let object = self.object.as_deref().map(|object| {
            // Of a key that is given whole, its public part.
            Noun::Key.id_in(object).unwrap_or(object).to_string()
        });
        let object = object.map(|object| ("object", object));
        object.into_iter().chain(self.actor.clone().map(|actor| ("actor", actor))).collect()
    }
}

/// Whether the columns are named above them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    With,
    Without,
}

fn shown(items: &[Value], args: &AuditArgs, desk: &mut Desk, ways: Ways<'_>, head: Head) -> Vec<String> {
    if args.list.api.json {
        return objects(items);
    }
    let (columns, width) = if args.list.wide { (AUDIT_WIDE, Width::Whole) } else { (AUDIT, Width::Fitted) };
    let mut lines = table(items, columns, desk, width, ways);
    match head {
        Head::With => {}
        Head::Without => drop(lines.remove(0)),
    }
    lines
}

fn newest(items: &[Value]) -> Option<i64> {
    items.iter().filter_map(seq).max()
}

fn seq(item: &Value) -> Option<i64> {
    item.get("seq").and_then(Value::as_i64)
}

fn follow(desk: &mut Desk, args: &AuditArgs, ways: Ways<'_>, mut last: i64) -> Result<(), Fault> {
    let query = args.list.filter.who_and_what();
    let mut away = false;
    loop {
        thread::sleep(LOOK);
        match since(desk, &query, last) {
            Ok(items) => {
                away = false;
                last = newest(&items).unwrap_or(last);
                if !items.is_empty() {
                    print(&shown(&items, args, desk, ways, Head::Without))?;
                }
            }
            // An API that is away for a moment is waited for.
            Err(fault @ (Fault::Unreachable { .. } | Fault::Broken { .. } | Fault::NoApi { .. }))
                if !away =>
            {
                away = true;
                tell(&format!("plimsoll: {}; going on when it is back", harmless(&fault.to_string())));
            }
            Err(Fault::Unreachable { .. } | Fault::Broken { .. } | Fault::NoApi { .. }) => {}
            Err(Fault::Problem(problem)) if matches!(problem.status, 429 | 503) => {}
            Err(fault) => return Err(fault),
        }
    }
}

/// What came after a number, the oldest first.
fn since(desk: &mut Desk, query: &Query, last: i64) -> Result<Vec<Value>, Fault> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (items, next) = desk.page(PATH, query, after.as_deref(), PAGE_ITEMS)?;
        let known = items.iter().any(|item| seq(item).is_none_or(|seq| seq <= last));
        found.extend(items.into_iter().filter(|item| seq(item).is_some_and(|seq| seq > last)));
        match next {
            Some(next) if !known => after = Some(next),
            Some(_) | None => {
                found.reverse();
                return Ok(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::args::ApiArgs;
    use crate::identity::tests::api::{Api, Given, key_world, no_tls};

    fn entries(seqs: &[i64], next: Option<&str>) -> Given {
        let items: Vec<Value> = seqs.iter().map(|seq| json!({ "seq": seq })).collect();
        Given::ok(json!({ "items": items, "next": next }))
    }

    #[test]
    fn what_came_since_is_told_once_in_its_order_over_all_pages() {
        let api = Api::with(vec![
            ("GET /v1/audit?limit=200&actor=init", entries(&[9, 8], Some("8"))),
            ("GET /v1/audit?limit=200&actor=init&after=8", entries(&[7, 6, 5], Some("5"))),
        ]);
        let args = ApiArgs { api: Some(api.url()), ..ApiArgs::default() };
        let mut desk = Ways { world: &key_world(), tls: no_tls }.desk(&args).expect("a desk");
        let query: Query = vec![("actor", "init".to_string())];
        let came = since(&mut desk, &query, 6).expect("entries");
        assert_eq!(came.iter().filter_map(seq).collect::<Vec<_>>(), [7, 8, 9]);
        assert_eq!(newest(&came), Some(9));
        assert!(!api.was_asked("GET /v1/audit?limit=200&actor=init&after=5"), "it reads on for no reason");
    }
}
