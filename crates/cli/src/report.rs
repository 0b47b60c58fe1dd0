//! From a question to what is printed, once.

use std::io::{self, IsTerminal, Write};

use crate::args::{Ask, WhereArgs};
use crate::draw::{self, Canvas, Colours, Margin};
use crate::failure::Failure;
use crate::fleet::{Answered, Fleet, INSTANCE, Silent};
use crate::place::{self, Named, Place, World};
use crate::question::{Judge, Question, Rows, Shape, Shown, Task, Width};
use crate::sheet::{Sheet, Tint, sheet};
use crate::sys::terminal_size;
use crate::table::Table;
use crate::text::{harmless, wrap};
use crate::{act, diff, filter, group, json, snapshot, watch};

/// How it ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Well,
    /// `--check` found a leak.
    Leaks,
    /// A peer did not answer.
    Partly,
}

/// What an answer becomes before it is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A table, how many rows there are in all and how many of those are wanted.
    Sheet(Sheet, Counts),
    /// Lines under headings.
    Lines(Vec<Said>),
}

/// How many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Those the console gave.
    pub(crate) all: usize,
    /// Those the filters let through (groups: the groups).
    pub(crate) wanted: usize,
}

/// A line of an answer in lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Heading(String),
    Line(String),
}

/// Asks and prints.
///
/// # Errors
/// There is no answer.
pub(crate) fn report(ask: &Ask, world: &dyn World) -> Result<Ends, Failure> {
    match Task::of(ask) {
        Task::Ask(question) => {
            let place = find(question.place, world)?;
            match question.look.watch {
                Some(every) => watch::watch(&question, &place, every, world).map(|()| Ends::Well),
                None => once(&question, &place, world),
            }
        }
        Task::Snapshot(args) => snapshot::print_one(args, world).map(|()| Ends::Well),
        Task::Diff(args) => diff::report(args, world).map(|()| Ends::Well),
        Task::Release(question, args) => act::release(&question, args, world).map(|()| Ends::Well),
        Task::Cap(question, args) => act::cap(&question, args, world).map(|()| Ends::Well),
    }
}

/// Where the pooler is; which file told it is said.
///
/// # Errors
/// Nothing is known, or what is known cannot be read.
pub(crate) fn find(place: &WhereArgs, world: &dyn World) -> Result<Place, Failure> {
    let named = Named { config: place.config.as_deref(), url: place.url.as_deref() };
    let place = place::find(named, world)?;
    if let Some(found) = &place.found {
        // On standard error, where no script reads it as an answer; if nobody can read it, nothing is lost.
        let _ = writeln!(io::stderr(), "plimsoll: the pooler of {}", found.display());
    }
    Ok(place)
}

fn once(question: &Question<'_>, place: &Place, world: &dyn World) -> Result<Ends, Failure> {
    let Answered { table, silent } = Fleet::new(place, world).ask(question)?;
    let (table, counts) = chosen(question, table);
    let lines = if question.look.json {
        json::lines(&table, None)
    } else {
        laid_out(&made(question, &table, counts), question, canvas(question, world))
    };
    print(&lines)?;
    for Silent { id, why } in &silent {
        // With nowhere to print to there is still the exit status.
        let _ = writeln!(io::stderr(), "plimsoll: instance {}: {}", harmless(id), harmless(&why.to_string()));
    }
    Ok(match question.judge {
        Judge::Leaks if has_leak(&table) => Ends::Leaks,
        Judge::Leaks | Judge::No if silent.is_empty() => Ends::Well,
        Judge::Leaks | Judge::No => Ends::Partly,
    })
}

/// The rows that are wanted, grouped where that was asked for, not more than the limit.
pub(crate) fn chosen(question: &Question<'_>, mut table: Table) -> (Table, Counts) {
    let all = table.rows.len();
    let limit = match question.shape {
        Shape::Table(_, Rows { pick, .. }) => {
            filter::keep(&mut table, &pick.whose);
            pick.limit
        }
        Shape::Groups(by, Rows { pick, .. }) => {
            filter::keep(&mut table, &pick.whose);
            table = group::groups(&table, by);
            pick.limit
        }
        Shape::Sections | Shape::Sentences => None,
    };
    let wanted = table.rows.len();
    table.rows.truncate(limit.map_or(wanted, std::num::NonZeroUsize::get));
    (table, Counts { all, wanted })
}

/// The answer as people see it.
pub(crate) fn made(question: &Question<'_>, table: &Table, counts: Counts) -> Answer {
    let of = |columns: &[Shown], width: Width| Answer::Sheet(sheet(table, columns, width), counts);
    match question.shape {
        Shape::Table(columns, rows) => of(columns, rows.width),
        Shape::Groups(_, rows) => of(group::COLUMNS, rows.width),
        Shape::Sections => Answer::Lines(sections(table)),
        Shape::Sentences => Answer::Lines(sentences(table)),
    }
}

/// A heading where the first column has another value than before, and the rest of each row as a line. Of several
/// instances each has its sections.
fn sections(table: &Table) -> Vec<Said> {
    let mut lines = Vec::new();
    let of_many = table.columns.first().is_some_and(|column| column.name == INSTANCE);
    let mut last: Option<(&str, &str)> = None;
    for row in &table.rows {
        let mut values = row.iter().map(|value| value.as_deref().unwrap_or_default());
        let instance = if of_many { values.next() } else { None };
        let section = if values.len() > 1 { values.next() } else { None };
        let head = section.map(|section| (instance.unwrap_or_default(), section));
        if head != last
            && let Some((instance, section)) = head.filter(|(_, section)| !section.is_empty())
        {
            let of = if of_many { format!("instance {}: ", harmless(instance)) } else { String::new() };
            lines.push(Said::Heading(format!("{of}{}", harmless(section))));
        }
        last = head.or(last);
        let line: Vec<_> = values.map(harmless).collect();
        lines.push(Said::Line(line.join("  ")));
    }
    lines
}

fn sentences(table: &Table) -> Vec<Said> {
    let line = |row: &Vec<Option<String>>| {
        let values: Vec<_> = row.iter().flatten().map(|value| harmless(value)).collect();
        Said::Line(values.join("  "))
    };
    table.rows.iter().map(line).collect()
}

/// The lines to print.
pub(crate) fn laid_out(answer: &Answer, question: &Question<'_>, canvas: Canvas) -> Vec<String> {
    match answer {
        Answer::Sheet(sheet, counts) if sheet.lines.is_empty() => vec![none_of(question, *counts)],
        Answer::Sheet(sheet, counts) => {
            let mut lines = draw::lines(sheet, canvas);
            if sheet.lines.len() < counts.wanted {
                lines.push(format!("… {} of {} {}", sheet.lines.len(), counts.wanted, question.noun));
            }
            lines
        }
        Answer::Lines(said) if said.is_empty() => vec!["nothing to tell".to_string()],
        Answer::Lines(said) => said.iter().flat_map(|said| said_lines(said, canvas)).collect(),
    }
}

fn none_of(question: &Question<'_>, counts: Counts) -> String {
    match counts.all {
        0 => format!("no {}", question.noun),
        all => format!("no {}: none of {all} fits the filters", question.noun),
    }
}

pub(crate) fn said_lines(said: &Said, canvas: Canvas) -> Vec<String> {
    match said {
        Said::Heading(text) => vec![canvas.bold(text)],
        Said::Line(text) => {
            let blanks = text.len() - text.trim_start().len();
            let lines = match canvas.columns {
                Some(columns) => wrap(text, columns.saturating_sub(2).max(2), blanks + 4),
                None => vec![text.clone()],
            };
            let tint = tint_of(text);
            lines.iter().map(|line| format!("  {}", canvas.tinted(line, tint))).collect()
        }
    }
}

/// Lines that name a verdict stand out like one.
fn tint_of(text: &str) -> Tint {
    let has =
        |word: &str| text.split(|c: char| !c.is_alphanumeric()).any(|part| part.eq_ignore_ascii_case(word));
    if has("leak") {
        Tint::Red
    } else if has("suspect") {
        Tint::Yellow
    } else {
        Tint::None
    }
}

/// Whether one of the rows is a leak; where the console does not say how bad a row is, each is.
fn has_leak(table: &Table) -> bool {
    match table.place(&["verdict", "level"]) {
        Some(place) => table.rows.iter().any(|row| row.get(place).and_then(Option::as_deref) == Some("leak")),
        None => !table.rows.is_empty(),
    }
}

/// What standard output is: a terminal as wide as it says, or COLUMNS says, or something without an end.
pub(crate) fn canvas(question: &Question<'_>, world: &dyn World) -> Canvas {
    canvas_of(
        match question.shape {
            Shape::Table(_, rows) | Shape::Groups(_, rows) => rows.width,
            Shape::Sections | Shape::Sentences => Width::Fitted,
        },
        world,
    )
}

/// The same for tables of this width.
pub(crate) fn canvas_of(width: Width, world: &dyn World) -> Canvas {
    let columns = world.var("COLUMNS").and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    let size = terminal_size().map(|(columns, _)| columns);
    Canvas {
        columns: match width {
            Width::Whole => None,
            Width::Fitted => size.or(columns),
        },
        colours: colours(world),
        margin: Margin::None,
    }
}

fn colours(world: &dyn World) -> Colours {
    let is_dumb = world.var("TERM").is_none_or(|term| term == "dumb");
    if io::stdout().is_terminal() && world.var("NO_COLOR").is_none() && !is_dumb {
        Colours::On
    } else {
        Colours::Off
    }
}

/// Everything at once.
pub(crate) fn print(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests;
