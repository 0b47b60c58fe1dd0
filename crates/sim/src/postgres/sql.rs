//! What SQL does to a session: its transaction, and what a session keeps. What is undone with a transaction is kept
//! apart from what is not (PostgreSQL manual, "PREPARE", "Advisory Locks", "SET").

use std::collections::BTreeSet;

use plimsoll_types::{Pin, Pins, TxState};

use super::Failed;

/// Parameters that are reported, and one that is not.
const NAMES: [&str; 6] = [
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
    "work_mem",
];

/// So many of them are reported.
const REPORTED: usize = 5;

/// What a session keeps and a rollback undoes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Undoable {
    values: [String; 6],
    channels: BTreeSet<String>,
    tables: BTreeSet<String>,
}

/// What a client has left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// A value that is not the session's default, of one that is reported.
    pub(crate) reported: bool,
    /// The same of one that is not.
    pub(crate) setting: bool,
    pub(crate) listens: bool,
    pub(crate) tables: bool,
    pub(crate) locks: bool,
    /// Statements of PREPARE.
    pub(crate) prepared: bool,
    /// Statements of the protocol.
    pub(crate) statements: bool,
}

impl Leftovers {
    /// The pins that stand for it.
    pub(crate) fn pins(self) -> Pins {
        let pins = [
            (self.setting, Pin::Setting),
            (self.listens, Pin::Listen),
            (self.tables, Pin::TempTable),
            (self.locks, Pin::AdvisoryLock),
            (self.prepared, Pin::Prepare),
        ];
        pins.into_iter().filter(|(is, _)| *is).fold(Pins::NONE, |pins, (_, pin)| pins.with(pin))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sql {
    tx: TxState,
    /// Statements so far in the transaction that is open.
    statements: u32,
    /// The commit will fail.
    deferred: bool,
    now: Undoable,
    /// As it was when the transaction began, if that has changed.
    before: Option<Box<Undoable>>,
    /// What SET LOCAL covers up.
    local: Vec<(usize, String)>,
    defaults: [String; 6],
    reported: [String; 6],
    locks: BTreeSet<String>,
    prepared: BTreeSet<String>,
}

impl Sql {
    /// A session with these defaults for DateStyle and application_name.
    pub(crate) fn new(style: &str, application: &str) -> Sql {
        let style = spelling(0, style);
        let values = [&*style, "UTF8", "UTC", "on", application, "4MB"].map(str::to_owned);
        Sql {
            tx: TxState::Idle,
            statements: 0,
            deferred: false,
            now: Undoable { values: values.clone(), channels: BTreeSet::new(), tables: BTreeSet::new() },
            before: None,
            local: Vec::new(),
            defaults: values.clone(),
            reported: values,
            locks: BTreeSet::new(),
            prepared: BTreeSet::new(),
        }
    }

    pub(crate) fn style(&self) -> &str {
        &self.now.values[0]
    }

    pub(crate) fn tx(&self) -> TxState {
        self.tx
    }

    /// Whether something has been done that is not committed, without BEGIN.
    pub(crate) fn is_changing(&self) -> bool {
        self.deferred || self.before.is_some()
    }

    /// What has been reported last, with the names.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (&'static str, &str)> {
        NAMES.iter().copied().zip(self.reported.iter().map(String::as_str)).take(REPORTED)
    }

    /// What has changed since it was reported, and is reported now.
    pub(crate) fn changed_reports(&mut self) -> Vec<(&'static str, String)> {
        if self.now.values == self.reported {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (at, name) in NAMES.iter().enumerate().take(REPORTED) {
            if self.now.values[at] != self.reported[at] {
                changed.push((*name, self.now.values[at].clone()));
            }
        }
        self.reported.clone_from(&self.now.values);
        changed
    }

    pub(crate) fn leftovers(&self) -> Leftovers {
        let reported = self.now.values[..REPORTED] != self.defaults[..REPORTED];
        Leftovers {
            reported,
            setting: self.now.values[REPORTED..] != self.defaults[REPORTED..],
            listens: !self.now.channels.is_empty(),
            tables: !self.now.tables.is_empty(),
            locks: !self.locks.is_empty(),
            prepared: !self.prepared.is_empty(),
            statements: false,
        }
    }

    pub(crate) fn listens_to(&self, channel: &str) -> bool {
        self.now.channels.contains(channel)
    }

    /// What a statement sees: who asked, the values that follow a client, where in a transaction it is.
    pub(crate) fn seen_from_inside(&self, tag: &str) -> String {
        let Undoable { values, channels, tables } = &self.now;
        let tx = if self.tx == TxState::Open { self.statements } else { 0 };
        let seen = format!("{tag}|{}|{}|{tx}", values[0], values[4]);
        if tag.starts_with("peek") {
            return format!("{seen}|{}|{channels:?}{tables:?}{:?}{:?}", values[5], self.locks, self.prepared);
        }
        seen
    }

    /// In a failed transaction only its end is allowed.
    pub(crate) fn allow(&self, sql: &str) -> Result<(), Failed> {
        if self.tx == TxState::Failed && !matches!(sql, "commit" | "rollback") {
            return Err(("25P02", "aborted".to_owned()));
        }
        Ok(())
    }

    pub(crate) fn begin_statement(&mut self) {
        if self.tx == TxState::Open {
            self.statements += 1;
        }
    }

    /// A statement or a batch has ended.
    pub(crate) fn end_statement(&mut self) {
        if self.tx == TxState::Idle {
            self.statements = 0;
        }
    }

    /// An error.
    pub(crate) fn fail(&mut self) {
        self.roll_back();
        if self.tx == TxState::Open {
            self.tx = TxState::Failed;
        }
    }

    fn roll_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.now = *before;
        }
        self.local.clear();
        self.deferred = false;
    }

    /// The end of a transaction that goes well, unless it does not.
    pub(crate) fn commit(&mut self) -> Result<(), Failed> {
        if std::mem::take(&mut self.deferred) {
            self.roll_back();
            return Err(("23503", "deferred".to_owned()));
        }
        for (at, value) in std::mem::take(&mut self.local).into_iter().rev() {
            self.now.values[at] = value;
        }
        self.before = None;
        Ok(())
    }

    fn change(&mut self) -> &mut Undoable {
        if self.before.is_none() {
            self.before = Some(Box::new(self.now.clone()));
        }
        &mut self.now
    }

    /// A function with an effect of its own.
    pub(crate) fn call(&mut self, sql: &str) {
        if sql.starts_with("select defer") {
            self.deferred = true;
        } else if sql.starts_with("select pg_advisory_lock") {
            self.locks.insert(sql.to_owned());
        } else if sql.starts_with("select pg_advisory_unlock_all") {
            self.locks.clear();
        }
    }

    /// Anything but SELECT and COPY; its tag.
    pub(crate) fn execute(&mut self, sql: &str) -> Result<&'static str, Failed> {
        let mut words = sql.split(' ');
        let first = words.next().unwrap_or_default().to_ascii_lowercase();
        let second = words.next().unwrap_or_default().to_owned();
        Ok(match &*first {
            "begin" => {
                // A second BEGIN is a warning only, and one behind other statements makes them part of it.
                self.tx = TxState::Open;
                "BEGIN"
            }
            "commit" | "rollback" => return self.end(&first),
            "set" => self.set(sql),
            "reset" => {
                let defaults = self.defaults.clone();
                self.change().values = defaults;
                self.local.clear();
                "RESET"
            }
            "discard" => {
                if self.tx == TxState::Open {
                    return Err(("25001", "DISCARD ALL cannot run inside a transaction block".to_owned()));
                }
                self.now.values.clone_from(&self.defaults);
                self.now.channels.clear();
                self.now.tables.clear();
                self.locks.clear();
                self.prepared.clear();
                "DISCARD ALL"
            }
            "deallocate" => {
                self.prepared.clear();
                "DEALLOCATE ALL"
            }
            "listen" => {
                self.change().channels.insert(second);
                "LISTEN"
            }
            "unlisten" => {
                self.change().channels.clear();
                "UNLISTEN"
            }
            "create" => {
                let table = words.nth(1).unwrap_or_default().to_owned();
                // Whoever creates one gives it a name that nobody else has.
                self.change().tables.insert(table);
                "CREATE TABLE"
            }
            "prepare" => {
                self.prepared.insert(second);
                "PREPARE"
            }
            _ => return Err(("42601", "syntax error".to_owned())),
        })
    }

    fn end(&mut self, how: &str) -> Result<&'static str, Failed> {
        let failed = self.tx == TxState::Failed;
        self.tx = TxState::Idle;
        if failed || how == "rollback" {
            self.roll_back();
            return Ok("ROLLBACK");
        }
        self.commit()?;
        Ok("COMMIT")
    }

    /// `set NAME = 'VALUE'`, `set local NAME = 'VALUE'`, with or without blanks around the `=`.
    fn set(&mut self, sql: &str) -> &'static str {
        let rest = sql.get(4..).unwrap_or_default();
        let (local, rest) = match rest.strip_prefix("local ") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let Some((name, value)) = rest.split_once('=') else { return "SET" };
        let Some(at) = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name.trim())) else {
            return "SET";
        };
        let value = spelling(at, value.trim().trim_matches('\''));
        let open = self.tx == TxState::Open;
        let covered = std::mem::replace(&mut self.change().values[at], value);
        if local && open {
            self.local.push((at, covered));
        } else if local {
            // Without a transaction it has no effect.
            self.now.values[at] = covered;
        } else {
            self.local.retain(|(covered, _)| *covered != at);
        }
        "SET"
    }
}

/// Whether it is no SQL at all.
pub(super) fn is_wrong(sql: &str) -> bool {
    sql.starts_with("selec ")
}

/// How PostgreSQL spells a value of a parameter.
fn spelling(at: usize, value: &str) -> String {
    match (at, value.to_ascii_lowercase().as_str()) {
        (0, "german" | "german, dmy") => "German, DMY".to_owned(),
        (0, "iso" | "iso, mdy") => "ISO, MDY".to_owned(),
        _ => value.to_owned(),
    }
}
