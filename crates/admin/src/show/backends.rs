//! `SHOW BACKENDS` and `SHOW HOLDS JOIN`: what the servers say of their sessions.

use std::collections::HashMap;

use plimsoll_proxy::{Backend, HoldView, ServerFacts};

use super::holds::us;
use crate::table::{Cell, Column, Row, Table, big, cell, int, text};

const BACKENDS: &[Column] = &[
    text("target"),
    int("pid"),
    text("ours"),
    text("database"),
    text("user"),
    text("application_name"),
    text("host"),
    text("state"),
    big("state_age_us"),
    text("wait_event"),
    text("blocked_by"),
    int("locks"),
    big("hold"),
    big("client"),
    text("not_asked"),
];

/// All sessions of all servers that could be asked; one row for each that could not.
pub(crate) fn backends(facts: &[ServerFacts], holds: &[HoldView]) -> Table {
    let by_pid: HashMap<(&str, u32), &HoldView> =
        holds.iter().map(|hold| ((&*hold.target, hold.pid), hold)).collect();
    let mut rows = Vec::new();
    for server in facts {
        match &server.said {
            Ok(said) => rows.extend(said.backends.iter().map(|backend| {
                let hold = by_pid.get(&(&*server.target, backend.pid));
                let hold = hold.filter(|_| backend.ours);
                row(&server.target, backend, hold.copied())
            })),
            Err(why) => {
                let mut row: Row = vec![None; BACKENDS.len()];
                row[0] = cell(&server.target);
                row[BACKENDS.len() - 1] = cell(why);
                rows.push(row);
            }
        }
    }
    Table { columns: BACKENDS.to_vec(), rows }
}

fn some(text: &str) -> Cell {
    // A server's session may claim anything as its application_name.
    (!text.is_empty()).then(|| text.chars().filter(|c| !c.is_control()).collect())
}

fn row(target: &str, backend: &Backend, hold: Option<&HoldView>) -> Row {
    vec![
        cell(target),
        cell(backend.pid),
        cell(if backend.ours { "yes" } else { "no" }),
        some(&backend.database),
        some(&backend.user),
        some(&backend.application),
        some(&backend.address),
        some(&backend.state),
        us(backend.state_for),
        some(&backend.wait),
        some(&backend.blocked_by),
        cell(backend.locks),
        hold.filter(|hold| hold.hold != 0).and_then(|hold| cell(hold.hold)),
        hold.filter(|hold| hold.who.client != 0).and_then(|hold| cell(hold.who.client)),
        None,
    ]
}

const JOINED: &[Column] = &[
    big("hold"),
    big("client"),
    text("database"),
    text("user"),
    text("application_name"),
    text("target"),
    int("pid"),
    text("state"),
    big("age_us"),
    big("idle_us"),
    text("verdict"),
    text("server_state"),
    big("server_state_us"),
    text("wait_event"),
    text("blocked_by"),
    int("locks"),
    text("not_asked"),
];

/// Each hold, and what its server says of that process.
pub(crate) fn joined(facts: &[ServerFacts], holds: &[HoldView]) -> Table {
    let row = |hold: &HoldView| {
        let server = facts.iter().find(|server| server.target == hold.target);
        let (backend, not_asked) = match server.map(|server| &server.said) {
            Some(Ok(said)) => (said.backends.iter().find(|backend| backend.pid == hold.pid), None),
            Some(Err(why)) => (None, cell(why)),
            None => (None, cell("not asked")),
        };
        let of = |read: fn(&Backend) -> Cell| backend.and_then(read);
        vec![
            (hold.hold != 0).then(|| hold.hold.to_string()),
            (hold.who.client != 0).then(|| hold.who.client.to_string()),
            cell(&hold.who.database),
            cell(&hold.who.user),
            cell(&hold.who.application),
            cell(&hold.target),
            cell(hold.pid),
            cell(hold.state),
            us(hold.age),
            us(hold.idle),
            cell(hold.verdict.level.as_str()),
            of(|backend| some(&backend.state)),
            of(|backend| us(backend.state_for)),
            of(|backend| some(&backend.wait)),
            of(|backend| some(&backend.blocked_by)),
            of(|backend| cell(backend.locks)),
            not_asked,
        ]
    };
    Table { columns: JOINED.to_vec(), rows: holds.iter().map(row).collect() }
}
