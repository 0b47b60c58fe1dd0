//! `plimsoll release` and `plimsoll cap`: what acts on clients. Without `--yes` they only tell what they would do.

use std::io::{self, Write};

use crate::age::age;
use crate::args::{CapArgs, CapNumber, ReleaseArgs};
use crate::failure::Failure;
use crate::filter;
use crate::glob::fits;
use crate::json;
use crate::link::Link;
use crate::place::{self, Named, World};
use crate::question::Question;
use crate::report::{self, Counts};
use crate::table::{Column, Kind, Row, Table};

/// What a column is called that says what is, or would be, done.
const RESULT: &str = "result";

fn open(place: &crate::args::WhereArgs, world: &dyn World) -> Result<Link, Failure> {
    let named = Named { config: place.config.as_deref(), url: place.url.as_deref() };
    let place = place::find(named, world)?;
    if let Some(found) = &place.found {
        tell(&format!("plimsoll: the pooler of {}", found.display()));
    }
    place.open()
}

/// On standard error, where no script reads it as an answer; if nobody can read it, nothing is lost.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A name as the console reads it.
fn quoted(name: &str) -> String {
    format!("'{}'", name.replace('\'', "''"))
}

/// `plimsoll release …`.
///
/// # Errors
/// The console cannot be asked.
pub(crate) fn release(question: &Question<'_>, args: &ReleaseArgs, world: &dyn World) -> Result<(), Failure> {
    let mut link = open(&args.place, world)?;
    let mut table = link.ask("SHOW HOLDS")?;
    let all = table.rows.len();
    keep(&mut table, args);
    let mut results = Vec::new();
    for row in &table.rows {
        results.push(match args.yes {
            true => carry_out(&mut link, &table, row, args)?,
            false => would(&table, row, args).to_string(),
        });
    }
    let nothing = table.rows.is_empty();
    append(&mut table, results);
    show(question, table, all, args.json, world)?;
    if !args.yes && !nothing {
        tell("nothing was done; with --yes it is");
    }
    Ok(())
}

/// The rows that are meant. What nobody holds any more cannot be given back.
fn keep(table: &mut Table, args: &ReleaseArgs) {
    filter::keep(table, &args.whose);
    let (hold, host, idle) = (table.place(&["hold"]), table.place(&["host"]), table.place(&["idle"]));
    let columns = table.columns.clone();
    let shell = Table { columns, rows: Vec::new() };
    let value = |row: &Row, place: Option<usize>| place.and_then(|place| row.get(place)?.clone());
    table.rows.retain(|row| {
        let Some(number) = value(row, hold) else { return false };
        let rested = || {
            let text = value(row, idle)?;
            shell.time(idle?, &text)
        };
        args.hold.is_none_or(|wanted| number == wanted.to_string())
            && args.host.as_ref().is_none_or(|host_| fits(host_, &value(row, host).unwrap_or_default()))
            && args.idle_over.is_none_or(|least| rested().is_some_and(|rested| rested >= least))
    });
}

fn cell<'a>(table: &Table, row: &'a Row, name: &str) -> &'a str {
    table.place(&[name]).and_then(|place| row.get(place)?.as_deref()).unwrap_or_default()
}

/// What would be done, by what is known of the hold now.
fn would(table: &Table, row: &Row, args: &ReleaseArgs) -> &'static str {
    match (cell(table, row, "state"), args.close, args.force) {
        ("executing", _, false) => "nothing: it is executing (--force cancels it)",
        ("executing", false, true) => "would cancel the statement, roll back and take the connection",
        (_, true, _) => "would close the client",
        ("idle in session", ..) if cell(table, row, "pins").is_empty() => {
            "would take the connection, unless the session would lose something"
        }
        ("idle in session", ..) => "nothing: the session would lose its pins (--close closes the client)",
        ("client not reading", ..) => {
            "would take the connection; in the middle of an answer, close the client"
        }
        _ => "would roll back and take the connection",
    }
}

fn carry_out(link: &mut Link, table: &Table, row: &Row, args: &ReleaseArgs) -> Result<String, Failure> {
    let mut command = format!("RELEASE HOLD {}", cell(table, row, "hold"));
    if let Some(least) = args.idle_over {
        command.push_str(&format!(" IDLE {}", least.as_secs()));
    }
    if args.close {
        command.push_str(" CLOSE");
    }
    if args.force {
        command.push_str(" FORCE");
    }
    match link.ask(&command) {
        Ok(answer) => {
            Ok(answer.rows.first().map_or_else(String::new, |row| cell(&answer, row, RESULT).to_string()))
        }
        // It came back by itself in the meantime.
        Err(Failure::Refused { said, .. }) if said.message.starts_with("no such hold") => {
            Ok("nothing: it was given back meanwhile".to_string())
        }
        Err(failure) => Err(failure),
    }
}

fn append(table: &mut Table, results: Vec<String>) {
    table.columns.insert(0, Column { name: RESULT.to_string(), kind: Kind::Text });
    for (row, result) in table.rows.iter_mut().zip(results) {
        row.insert(0, Some(result));
    }
}

fn show(
    question: &Question<'_>,
    table: Table,
    all: usize,
    as_json: bool,
    world: &dyn World,
) -> Result<(), Failure> {
    let lines = match as_json {
        true => json::lines(&table, None),
        false => {
            let counts = Counts { all, wanted: table.rows.len() };
            let canvas = report::canvas(question, world);
            report::laid_out(&report::made(question, &table, counts), question, canvas)
        }
    };
    Ok(report::print(&lines)?)
}

/// `plimsoll cap …`.
///
/// # Errors
/// The console cannot be asked.
pub(crate) fn cap(question: &Question<'_>, args: &CapArgs, world: &dyn World) -> Result<(), Failure> {
    let mut link = open(&args.place, world)?;
    let (kind, name, column) = match (&args.app, &args.host) {
        (Some(name), _) => ("APP", name, "application_name"),
        (None, Some(host)) => ("HOST", host, "host"),
        (None, None) => {
            let table = link.ask("CAP")?;
            let all = table.rows.len();
            return show(question, table, all, args.json, world);
        }
    };
    let (verb, told) = match &args.number {
        Some(CapNumber::Off) => ("OFF".to_string(), "would not be capped any more".to_string()),
        Some(CapNumber::Max(max)) => {
            let (lasting, told) = match args.lasting {
                Some(lasting) => {
                    (format!(" FOR {}", lasting.as_secs().max(1)), format!(" for {}", age(lasting)))
                }
                None => (String::new(), " until the pooler ends or the cap is taken off".to_string()),
            };
            (format!("{max}{lasting}"), format!("would be capped at {max} server connections{told}"))
        }
        None => ("OFF".to_string(), String::new()),
    };
    if args.yes {
        let table = link.ask(&format!("CAP {kind} {} {verb}", quoted(name)))?;
        let all = table.rows.len();
        return show(question, table, all, args.json, world);
    }
    let holds = link.ask("SHOW HOLDS")?;
    let held = holds.rows.iter().filter(|row| cell(&holds, row, column) == name).count();
    let whose = if kind == "APP" { "application" } else { "host" };
    report::print(&[format!("{whose} {name:?} {told}; it holds {held} now")])?;
    tell("nothing was done; with --yes it is");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::table::made;

    fn holds() -> Table {
        made(
            &[
                ("hold", 20),
                ("database", 25),
                ("user", 25),
                ("application_name", 25),
                ("host", 25),
                ("state", 25),
                ("idle_us", 20),
                ("pins", 25),
                ("site", 25),
            ],
            &[
                "1|shop|app|web|10.0.0.1|idle in transaction|90000000|transaction|00aa",
                "2|shop|app|web|10.0.0.2|executing|0|transaction|00aa",
                "3|shop|ops|job|10.0.0.2|idle in session|30000000|-|00bb",
                "-|shop|ops|job|10.0.0.2|cleaning|0|-|00bb",
            ],
        )
    }

    fn kept(change: impl FnOnce(&mut ReleaseArgs)) -> Vec<String> {
        let (mut table, mut args) = (holds(), ReleaseArgs::default());
        change(&mut args);
        keep(&mut table, &args);
        table.rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect()
    }

    #[test]
    fn only_those_that_are_meant_and_that_somebody_holds() {
        let some = |text: &str| Some(text.to_string());
        assert_eq!(kept(|_| ()), ["1", "2", "3"]);
        assert_eq!(kept(|args| args.hold = Some(2)), ["2"]);
        assert_eq!(kept(|args| args.whose.app = some("web")), ["1", "2"]);
        assert_eq!(kept(|args| args.host = some("10.0.0.2")), ["2", "3"]);
        assert_eq!(kept(|args| args.whose.site = some("00bb")), ["3"]);
        assert_eq!(kept(|args| args.idle_over = Some(Duration::from_secs(60))), ["1"]);
        assert_eq!(kept(|args| args.hold = Some(9)), [""; 0]);
    }

    #[test]
    fn a_dry_run_says_what_would_be_done() {
        let (table, args) = (holds(), ReleaseArgs::default());
        let told: Vec<_> = table.rows.iter().map(|row| would(&table, row, &args)).collect();
        assert_eq!(told[0], "would roll back and take the connection");
        assert!(told[1].starts_with("nothing: it is executing"), "{}", told[1]);
        assert!(told[2].starts_with("would take the connection, unless"), "{}", told[2]);
        let close = ReleaseArgs { close: true, ..ReleaseArgs::default() };
        assert_eq!(would(&table, &table.rows[0], &close), "would close the client");
        assert!(would(&table, &table.rows[1], &close).starts_with("nothing"));
    }
}
