//! What becomes of drivers that read lazily, and what the ledger calls it: the table of docs/spill.md.

#![allow(clippy::unwrap_used)]

mod common;
mod spill_house;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{SOON, drivers, house};
use plimsoll_testkit::{Ini, Plimsoll, eventually_ok};
use spill_house::{small, wait_for_draining, wait_for_nothing};

/// A driver that has read a row of many, and reads on when it is told.
struct Reader {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Reader {
    /// Starts a script of `tests/drivers`; `None` if its driver is not there.
    fn start(runner: Option<Command>, plimsoll: &Plimsoll, case: &str) -> Option<Reader> {
        let Some(mut command) = runner else {
            drivers::pass_over("a driver");
            return None;
        };
        command.args(["127.0.0.1", &plimsoll.port().to_string(), "p0", "app", "app-secret", case]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut reader = Reader { child, said };
        assert_eq!(reader.line(), "reading", "{command:?}");
        Some(reader)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn read_on(mut self) {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert_eq!(self.line(), "rows 30");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Nothing to end, if all went well.
        drop(self.child.kill());
    }
}

fn python() -> Option<Command> {
    drivers::python("lazy_stream.py")
}

/// As the drivers need it.
fn lazy(ini: Ini) -> Ini {
    small(ini).set("ignore_startup_parameters", "extra_float_digits")
}

/// The reader keeps its server, which the ledger calls so; nothing is spilled.
#[track_caller]
fn holds(plimsoll: &Plimsoll, state: &str) {
    eventually_ok(&format!("a hold that is {state:?}"), SOON, || {
        let holds = plimsoll.show("HOLDS");
        let states: Vec<&str> = (0..holds.rows.len()).map(|row| holds.cell(row, "state")).collect();
        if states == [state] { Ok(()) } else { Err(format!("{states:?}")) }
    });
    assert!(plimsoll.show("SPILLS").rows.is_empty());
}

#[test]
fn psycopg_stream_spills_outside_a_transaction() {
    let (_postgres, plimsoll) = house(lazy);
    let Some(reader) = Reader::start(python(), &plimsoll, "stream") else { return };
    let spills = wait_for_draining(&plimsoll, 1);
    assert_eq!(spills.cell(0, "statement"), "SELECT i, repeat(md5(i::text), ?) FROM generate_series(?, ?) i");
    assert!(plimsoll.show("HOLDS").rows.is_empty());
    reader.read_on();
    wait_for_nothing(&plimsoll);
}

#[test]
fn psycopg_stream_in_its_transaction_keeps_its_server() {
    let (_postgres, plimsoll) = house(lazy);
    let Some(reader) = Reader::start(python(), &plimsoll, "stream_in_transaction") else { return };
    holds(&plimsoll, "client not reading");
    reader.read_on();
    // Unless it is asked for.
    let (_postgres, plimsoll) = house(|ini| lazy(ini).own("spill_in_transaction", "on"));
    let Some(reader) = Reader::start(python(), &plimsoll, "stream_in_transaction") else { return };
    eventually_ok("a statement that is over", SOON, || {
        let holds = plimsoll.show("HOLDS");
        let is_over = holds.rows.len() == 1 && holds.cell(0, "state") == "idle in transaction";
        if is_over { Ok(()) } else { Err(format!("{:?}", holds.rows)) }
    });
    assert_eq!(plimsoll.show("SPILLS").rows.len(), 1);
    reader.read_on();
    wait_for_nothing(&plimsoll);
}

#[test]
fn a_server_side_cursor_of_psycopg_keeps_its_server() {
    let (_postgres, plimsoll) = house(lazy);
    let Some(reader) = Reader::start(python(), &plimsoll, "server_side_cursor") else { return };
    holds(&plimsoll, "idle in transaction");
    reader.read_on();
}

#[test]
fn pg_query_stream_of_node_keeps_its_server_as_a_portal_is_open() {
    let (_postgres, plimsoll) = house(lazy);
    let Some(reader) = Reader::start(drivers::node("lazy_stream.js", "pg-query-stream"), &plimsoll, "stream")
    else {
        return;
    };
    holds(&plimsoll, "client not sending");
    reader.read_on();
}

#[test]
fn a_fetch_size_of_jdbc_keeps_its_server() {
    let (_postgres, plimsoll) = house(lazy);
    let Some(reader) = Reader::start(drivers::java("LazyFetch.java"), &plimsoll, "fetch_size") else {
        return;
    };
    holds(&plimsoll, "idle in transaction");
    reader.read_on();
}
