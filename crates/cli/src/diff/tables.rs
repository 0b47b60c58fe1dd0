//! The tables of `plimsoll diff`.

use std::collections::{BTreeMap, HashSet};

use plimsoll_ledger::snapshot::{
    Counts, Deploy, Diff, Head, Held, Left, PoolChange, Runs, SiteChange, Snapshot, Wall,
};

use crate::question::Shown;
use crate::table::{Column, Kind, Row, Table};

const fn shown(names: &'static [&'static str], head: &'static str, rank: u8) -> Shown {
    Shown { names, head, rank }
}

pub(super) const SITES: &[Shown] = &[
    shown(&["site"], "site", 4),
    shown(&["application_name"], "app", 1),
    shown(&["tags"], "tags", 2),
    shown(&["before"], "before", 0),
    shown(&["after"], "after", 0),
    shown(&["new"], "new", 0),
    shown(&["released"], "released", 1),
    shown(&["kept_used"], "kept, used", 1),
    shown(&["kept_unused"], "kept, unused", 1),
    shown(&["oldest"], "oldest", 2),
    shown(&["first_seen"], "first seen", 3),
    shown(&["statement"], "statement", 5),
];

const POOL: Shown = shown(&["database"], "database", 0);
const USER: Shown = shown(&["user"], "user", 1);
/// What all of a pool hold, whosever holds are compared.
const HELD: [Shown; 3] =
    [shown(&["held_before"], "before", 0), shown(&["held_after"], "after", 0), shown(&["size"], "of", 0)];
const NEW: Shown = shown(&["new"], "new", 1);
const RELEASED: Shown = shown(&["released"], "released", 1);
const USED: Shown = shown(&["kept_used"], "kept, used", 2);
const UNUSED: Shown = shown(&["kept_unused"], "kept, unused", 2);
const WAITED: Shown = shown(&["waiting_before"], "waited", 3);
const WAIT: Shown = shown(&["waiting_after"], "wait", 2);

pub(super) const POOLS: &[Shown] =
    &[POOL, USER, HELD[0], HELD[1], HELD[2], NEW, RELEASED, USED, UNUSED, WAITED, WAIT];

/// With what the chosen ones hold beside it.
pub(super) const POOLS_CHOSEN: &[Shown] = &[
    POOL,
    USER,
    HELD[0],
    HELD[1],
    HELD[2],
    shown(&["before"], "chosen before", 0),
    shown(&["after"], "chosen after", 0),
    NEW,
    RELEASED,
    USED,
    UNUSED,
    WAITED,
    WAIT,
];

pub(super) const LEFT: &[Shown] = &[
    shown(&["site"], "site", 4),
    shown(&["application_name"], "app", 1),
    shown(&["tags"], "tags", 2),
    shown(&["count"], "holds", 0),
    shown(&["unused"], "unused", 0),
    shown(&["oldest"], "oldest", 1),
    shown(&["states"], "state", 2),
    shown(&["first_seen"], "first seen", 3),
    shown(&["statement"], "statement", 5),
];

fn columns(texts_and_numbers: &[(&str, Kind)]) -> Vec<Column> {
    texts_and_numbers.iter().map(|(name, kind)| Column { name: (*name).to_string(), kind: *kind }).collect()
}

fn number(value: impl ToString) -> Option<String> {
    Some(value.to_string())
}

fn text(value: &str) -> Option<String> {
    Some(value.to_string())
}

const COUNTS: [(&str, Kind); 7] = [
    ("before", Kind::Number),
    ("after", Kind::Number),
    ("new", Kind::Number),
    ("released", Kind::Number),
    ("kept_used", Kind::Number),
    ("kept_unused", Kind::Number),
    ("unrecorded", Kind::Number),
];

fn counts(counts: Counts, runs: Runs) -> [Option<String>; 7] {
    let Counts { before, after, new, released, used, unused, unrecorded } = counts;
    let fates = [new, released, used, unused, unrecorded];
    let [new, released, used, unused, unrecorded] = match runs {
        Runs::Same | Runs::Restarted => fates.map(number),
        // What became of holds is known by their own pooler only.
        Runs::Strangers => [const { None }; 5],
    };
    [number(before), number(after), new, released, used, unused, unrecorded]
}

fn tags(tags: &BTreeMap<String, String>) -> Option<String> {
    let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some(tags.join(" "))
}

/// How old something is at the time of a snapshot, microseconds.
fn age(since: Option<Wall>, head: &Head) -> Option<String> {
    since.map(|since| head.taken.micros_since(since).max(0).to_string())
}

fn deploy(tags: &BTreeMap<String, String>) -> Option<String> {
    Deploy::of(tags).map(|deploy| deploy.value)
}

/// Sentences.
pub(super) fn said(lines: &[String]) -> Table {
    let rows = lines.iter().map(|line| vec![text(line)]).collect();
    Table { columns: columns(&[("text", Kind::Text)]), rows }
}

pub(super) fn sites(diff: &Diff, head: &Head) -> Table {
    let first = [
        ("site", Kind::Text),
        ("application_name", Kind::Text),
        ("tags", Kind::Text),
        ("deploy", Kind::Text),
    ];
    let last = [("oldest_us", Kind::Number), ("first_seen", Kind::Text), ("statement", Kind::Text)];
    let row = |site: &SiteChange| -> Row {
        let mut row = vec![text(&site.site), text(&site.application), tags(&site.tags), deploy(&site.tags)];
        row.extend(counts(site.counts, diff.runs));
        row.extend([age(site.oldest, head), site.first_seen.map(Wall::to_second), site.statement.clone()]);
        row
    };
    Table {
        columns: columns(&[first.as_slice(), &COUNTS, &last].concat()),
        rows: diff.sites.iter().map(row).collect(),
    }
}

pub(super) fn pools(diff: &Diff) -> Table {
    let first = [
        ("database", Kind::Text),
        ("user", Kind::Text),
        ("size", Kind::Number),
        ("held_before", Kind::Number),
        ("held_after", Kind::Number),
    ];
    let last = ["idle_before", "idle_after", "waiting_before", "waiting_after", "oldest_wait_us"];
    let last = last.map(|name| (name, Kind::Number));
    let row = |pool: &PoolChange| -> Row {
        let mut row = vec![text(&pool.database), text(&pool.role), number(pool.size)];
        row.extend([pool.held.0, pool.held.1].map(number));
        row.extend(counts(pool.counts, diff.runs));
        row.extend([pool.idle.0, pool.idle.1, pool.waiting.0, pool.waiting.1].map(number));
        row.push(number(pool.oldest_wait_us));
        row
    };
    Table {
        columns: columns(&[first.as_slice(), &COUNTS, &last].concat()),
        rows: diff.pools.iter().map(row).collect(),
    }
}

pub(super) fn left(all: &[Left], head: &Head) -> Table {
    let names = [
        ("site", Kind::Text),
        ("application_name", Kind::Text),
        ("tags", Kind::Text),
        ("deploy", Kind::Text),
        ("count", Kind::Number),
        ("used", Kind::Number),
        ("unused", Kind::Number),
        ("oldest_us", Kind::Number),
        ("states", Kind::Text),
        ("first_seen", Kind::Text),
        ("statement", Kind::Text),
    ];
    let row = |left: &Left| -> Row {
        let site = &left.site;
        let count = u32::try_from(left.holds.len()).unwrap_or(u32::MAX);
        let states: Vec<String> = match left.states.as_slice() {
            [(state, _)] => vec![state.clone()],
            many => many.iter().map(|(state, count)| format!("{state} ({count})")).collect(),
        };
        vec![
            text(&site.site),
            text(&site.application),
            tags(&site.tags),
            deploy(&site.tags),
            number(count),
            number(left.used),
            number(count.saturating_sub(left.used)),
            age(site.oldest, head),
            Some(states.join(", ")),
            site.first_seen.map(Wall::to_second),
            site.statement.clone(),
        ]
    };
    Table { columns: columns(&names), rows: all.iter().map(row).collect() }
}

/// The holds themselves.
pub(super) fn left_holds(all: &[Left], third: &Snapshot) -> Table {
    let names = [
        ("hold", Kind::Number),
        ("pid", Kind::Number),
        ("database", Kind::Text),
        ("role", Kind::Text),
        ("user", Kind::Text),
        ("application_name", Kind::Text),
        ("host", Kind::Text),
        ("port", Kind::Number),
        ("client", Kind::Number),
        ("state", Kind::Text),
        ("age_us", Kind::Number),
        ("idle_us", Kind::Number),
        ("site", Kind::Text),
        ("verdict", Kind::Text),
        ("statement", Kind::Text),
    ];
    let wanted: HashSet<u64> = all.iter().flat_map(|left| left.holds.iter().copied()).collect();
    let row = |held: &Held| -> Row {
        vec![
            number(held.hold),
            number(held.pid),
            text(&held.database),
            text(&held.role),
            text(&held.user),
            text(&held.application),
            text(&held.host),
            number(held.port),
            number(held.client),
            text(&held.state),
            age(Some(held.granted), &third.head),
            age(Some(held.used), &third.head),
            text(&held.site),
            text(&held.verdict),
            held.statement.clone(),
        ]
    };
    let holds = third.holds.iter().filter(|held| wanted.contains(&held.hold));
    Table { columns: columns(&names), rows: holds.map(row).collect() }
}
