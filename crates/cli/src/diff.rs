//! `plimsoll diff`: sentences first, then tables.

mod pick;
mod tables;

use plimsoll_ledger::snapshot::{Caveats, Scope, Snapshot, diff, leftover_sentences, leftovers, sentences};

use crate::args::DiffArgs;
use crate::draw::{self, Canvas};
use crate::failure::Failure;
use crate::json;
use crate::place::World;
use crate::question::{Shown, Width};
use crate::report::{Said, canvas_of, find, print, said_lines};
use crate::sheet::sheet;
use crate::snapshot::{Named, now, of_file, since};
use crate::table::Table;
use crate::text::harmless;

/// A table of the answer.
struct Part {
    /// What its rows are called in JSON.
    kind: &'static str,
    /// What stands above it.
    head: &'static str,
    table: Table,
    columns: &'static [Shown],
    look: Look,
}

/// Who sees a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Everybody.
    Always,
    /// Programs: for people it is too long.
    Json,
}

/// Compares and prints.
///
/// # Errors
/// There is nothing to compare, or it cannot be printed.
pub(crate) fn report(args: &DiffArgs, world: &dyn World) -> Result<(), Failure> {
    let (mut named, mut said) = gathered(args, world)?;
    if let Some(note) = sorted(&mut named) {
        said.push(note);
    }
    let caveats = pick::keep(&mut named, &args.pick.whose);
    let snapshots: Vec<&Snapshot> = named.iter().map(|named| &named.snapshot).collect();
    let parts = match snapshots.as_slice() {
        [before, after] => two_of(before, after, &caveats, &mut said),
        [first, second, third] => three_of([first, second, third], &caveats, &mut said),
        // There are two or three: the command line says so.
        _ => Vec::new(),
    };
    let lines = match args.json {
        true => objects(&said, &parts),
        false => {
            let width = if args.wide { Width::Whole } else { Width::Fitted };
            let limit = args.pick.limit.map_or(usize::MAX, std::num::NonZeroUsize::get);
            drawn(&said, &parts, canvas_of(width, world), (width, limit))
        }
    };
    Ok(print(&lines)?)
}

/// The snapshots, and what is to be said of where they come from.
fn gathered(args: &DiffArgs, world: &dyn World) -> Result<(Vec<Named>, Vec<String>), Failure> {
    if let Some(ago) = args.since {
        let mut link = find(&args.place, world)?.open()?;
        let (then, told) = since(&mut link, ago)?;
        return Ok((vec![then, now(&mut link)?], told.into_iter().collect()));
    }
    let mut named = args.files.iter().map(|path| of_file(path)).collect::<Result<Vec<_>, _>>()?;
    if named.len() == 1 {
        let mut link = find(&args.place, world)?.open()?;
        named.push(now(&mut link)?);
    }
    Ok((named, Vec::new()))
}

/// Puts them in the order of their times; what is to be said if that was another one.
fn sorted(named: &mut [Named]) -> Option<String> {
    if named.is_sorted_by_key(|named| named.snapshot.head.taken) {
        return None;
    }
    named.sort_by_key(|named| named.snapshot.head.taken);
    let names: Vec<&str> = named.iter().map(|named| named.name.as_str()).collect();
    Some(format!("The files are not in the order of their times; compared is from {}.", names.join(" to ")))
}

fn two_of(before: &Snapshot, after: &Snapshot, caveats: &Caveats, said: &mut Vec<String>) -> Vec<Part> {
    let diff = diff(before, after);
    said.extend(sentences(before, after, &diff, caveats));
    vec![
        Part {
            kind: "site",
            head: "Sites",
            table: tables::sites(&diff, &after.head),
            columns: tables::SITES,
            look: Look::Always,
        },
        Part {
            kind: "pool",
            head: "Pools",
            table: tables::pools(&diff),
            columns: pool_columns(caveats.scope),
            look: Look::Always,
        },
    ]
}

fn three_of(snapshots: [&Snapshot; 3], caveats: &Caveats, said: &mut Vec<String>) -> Vec<Part> {
    let [first, _, third] = snapshots;
    let all = diff(first, third);
    said.extend(sentences(first, third, &all, caveats));
    let left = leftovers(first, snapshots[1], third);
    said.extend(leftover_sentences(snapshots, &left));
    vec![
        Part {
            kind: "leftover",
            head: "Came after the first, and in the second and in the third",
            table: tables::left(&left.sites, &third.head),
            columns: tables::LEFT,
            look: Look::Always,
        },
        Part {
            kind: "leftover_hold",
            head: "Holds",
            table: tables::left_holds(&left.sites, third),
            columns: &[],
            look: Look::Json,
        },
        Part {
            kind: "pool",
            head: "Pools, from the first to the third",
            table: tables::pools(&all),
            columns: pool_columns(caveats.scope),
            look: Look::Always,
        },
    ]
}

fn pool_columns(scope: Scope) -> &'static [Shown] {
    match scope {
        Scope::All => tables::POOLS,
        Scope::Chosen => tables::POOLS_CHOSEN,
    }
}

fn objects(said: &[String], parts: &[Part]) -> Vec<String> {
    let mut lines = json::lines(&tables::said(said), Some(("kind", "sentence")));
    for part in parts {
        lines.extend(json::lines(&part.table, Some(("kind", part.kind))));
    }
    lines
}

fn drawn(said: &[String], parts: &[Part], canvas: Canvas, (width, limit): (Width, usize)) -> Vec<String> {
    let said = said.iter().map(|line| Said::Line(harmless(line).into_owned()));
    let mut lines: Vec<String> = said.flat_map(|line| said_lines(&line, canvas)).collect();
    for part in parts.iter().filter(|part| part.look == Look::Always && !part.table.rows.is_empty()) {
        let mut table = part.table.clone();
        let all = table.rows.len();
        table.rows.truncate(limit);
        lines.push(String::new());
        lines.push(canvas.bold(part.head));
        let rows = draw::lines(&sheet(&table, part.columns, width), canvas);
        lines.extend(rows.iter().map(|row| format!("  {row}")));
        if limit < all {
            lines.push(format!("  … {limit} of {all}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests;
