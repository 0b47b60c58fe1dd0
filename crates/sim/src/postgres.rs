//! One session of PostgreSQL, as far as messages go: its main loop, its transactions, its statements by name, its COPY
//! (PostgreSQL manual, "Message Flow"; for errors in a batch and Syncs in COPY what `PostgresMain` and `CopyGetData`
//! do). What the SQL does is in [`sql`].
//!
//! It shares no code with what is tested but the names of message types and their bytes. One rule is left out: Parse is
//! taken in a failed transaction too, since a Parse that a pooler answers by itself cannot be refused there.

mod sql;

use std::collections::{BTreeMap, VecDeque};

use plimsoll_types::TxState;
use plimsoll_wire::{encode, front, header};

pub(crate) use sql::{Leftovers, Sql};

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Messages,
    /// Everything up to Sync is ignored.
    Nothing,
    /// COPY data.
    Copy(By),
}

/// Whether messages of a batch have come that no Sync has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    Closed,
    Open,
}

/// How a statement is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Query,
    Execute,
}

/// A statement that was prepared.
#[derive(Clone, Debug)]
struct Prepared {
    text: String,
    /// DateStyle then: by that the dates in its text are read.
    style: String,
}

/// A bound portal.
#[derive(Clone, Debug)]
struct Portal {
    of: Prepared,
    parameter: String,
    runs: u32,
}

/// A statement that takes time.
#[derive(Clone, Debug)]
struct Sleep {
    tag: String,
    by: By,
}

/// How a statement that takes time ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// It is done.
    Done,
    /// It was cancelled (57014).
    Canceled,
}

/// What became of a statement.
pub(crate) enum Did {
    /// It is done.
    Done,
    /// It takes time.
    Sleeps(String),
    /// COPY FROM STDIN has begun.
    Reads,
}

/// SQLSTATE and message.
pub(crate) type Failed = (&'static str, String);

/// See the module.
#[derive(Debug)]
pub(crate) struct Postgres {
    sql: Sql,
    reading: Reading,
    batch: Batch,
    statements: BTreeMap<String, Prepared>,
    portals: BTreeMap<String, Portal>,
    /// What is left of a simple query.
    simple: VecDeque<String>,
    sleeping: Option<Sleep>,
    input: Vec<u8>,
    /// Written, and not sent.
    buffered: Vec<u8>,
    /// Sent, and not taken.
    pub(crate) sent: Vec<u8>,
}

impl Postgres {
    /// A session that has just begun; what its client asked for is its default.
    pub(crate) fn new(sql: Sql) -> Postgres {
        Postgres {
            sql,
            reading: Reading::Messages,
            batch: Batch::Closed,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            simple: VecDeque::new(),
            sleeping: None,
            input: Vec::new(),
            buffered: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// What its session is like.
    pub(crate) fn sql(&self) -> &Sql {
        &self.sql
    }

    /// Why nobody else could be served next; `None`: anybody could.
    pub(crate) fn unfinished(&self) -> Option<&'static str> {
        let reasons = [
            (self.sql.tx() != TxState::Idle, "a transaction is open"),
            (self.reading != Reading::Messages, "it skips, or reads COPY data"),
            (self.sql.is_changing(), "a transaction without BEGIN is open"),
            (self.sleeping.is_some(), "it works"),
            (self.batch == Batch::Open, "a batch is open"),
            (!self.input.is_empty(), "a message is half sent"),
            (!self.buffered.is_empty(), "an answer is not flushed"),
            (self.has_answers(), "an answer is unread"),
        ];
        reasons.into_iter().find(|(is, _)| *is).map(|(_, what)| what)
    }

    /// Whether something is sent that nobody has read and somebody asked for.
    fn has_answers(&self) -> bool {
        let mut rest = &self.sent[..];
        while let Ok(Some(head)) = header(rest, u32::MAX) {
            if head.tag != b'A' || rest.len() < head.total {
                return true;
            }
            rest = &rest[head.total..];
        }
        !rest.is_empty()
    }

    /// What a client has left behind: for another one, nothing of it may be there.
    pub(crate) fn leftovers(&self) -> Leftovers {
        Leftovers { statements: self.statements_named() > 0, ..self.sql.leftovers() }
    }

    /// How many named statements of the protocol there are.
    pub(crate) fn statements_named(&self) -> usize {
        self.statements.keys().filter(|name| !name.is_empty()).count()
    }

    /// What takes time at the moment, by its tag.
    pub(crate) fn sleeps(&self) -> Option<&str> {
        self.sleeping.as_ref().map(|sleep| &*sleep.tag)
    }

    /// Everything written so far, and how much of it is flushed.
    pub(crate) fn take_written(&mut self) -> (Vec<u8>, usize) {
        let flushed = self.sent.len();
        self.sent.append(&mut self.buffered);
        (std::mem::take(&mut self.sent), flushed)
    }

    pub(crate) fn feed(&mut self, input: &[u8]) {
        self.input.extend_from_slice(input);
        self.go_on();
    }

    /// Somebody notifies a channel; it is told when nothing is under way.
    pub(crate) fn notify(&mut self, channel: &str) {
        let resting =
            self.sql.tx() == TxState::Idle && self.sleeping.is_none() && self.reading == Reading::Messages;
        if resting && self.buffered.is_empty() && self.sql.listens_to(channel) {
            encode::message(&mut self.sent, b'A', |out| {
                out.extend_from_slice(&[0, 0, 0, 1]);
                encode::cstr(out, channel.as_bytes());
                encode::cstr(out, b"");
            });
        }
    }

    /// What took time ends.
    pub(crate) fn wake(&mut self, woken: Woken) {
        let Some(sleep) = self.sleeping.take() else { return };
        match (woken, sleep.by) {
            (Woken::Done, _) => {
                self.row(&sleep.tag, sleep.by);
                encode::command_complete(&mut self.buffered, "SELECT 1");
            }
            (Woken::Canceled, by) => {
                self.error(&("57014", format!("canceled {}", sleep.tag)));
                self.simple.clear();
                if by == By::Execute {
                    self.reading = Reading::Nothing;
                }
                if by == By::Query {
                    self.ready();
                    return self.go_on();
                }
            }
        }
        if sleep.by == By::Query {
            self.run_simple();
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while self.sleeping.is_none()
            && let Ok(Some(head)) = header(&input[at..], u32::MAX)
            && let Some(message) = input.get(at..at + head.total)
        {
            at += head.total;
            self.message(head.tag, message);
        }
        self.input = input[at..].to_vec();
    }

    fn flush(&mut self) {
        self.sent.append(&mut self.buffered);
    }

    fn ready(&mut self) {
        self.batch = Batch::Closed;
        self.sql.end_statement();
        for (name, value) in self.sql.changed_reports() {
            encode::parameter_status(&mut self.buffered, name.as_bytes(), value.as_bytes());
        }
        if self.sql.tx() == TxState::Idle {
            self.portals.clear();
        }
        let status = match self.sql.tx() {
            TxState::Idle => b'I',
            TxState::Open => b'T',
            TxState::Failed => b'E',
        };
        encode::ready_for_query(&mut self.buffered, status);
        self.flush();
    }

    fn error(&mut self, (sqlstate, message): &Failed) {
        let fields = encode::Fields { severity: "ERROR", sqlstate, message, detail: None, hint: None };
        encode::error_response(&mut self.buffered, &fields);
        self.flush();
        self.portals.clear();
        self.sql.fail();
    }

    fn message(&mut self, tag: u8, message: &[u8]) {
        match self.reading {
            Reading::Copy(by) => return self.copy_data(by, tag, message),
            Reading::Nothing if tag != front::SYNC => return,
            Reading::Nothing | Reading::Messages => self.reading = Reading::Messages,
        }
        match tag {
            front::QUERY => self.query(message),
            front::SYNC => {
                self.commit();
                self.ready();
            }
            front::FUNCTION_CALL => {
                match self.sql.allow("function call") {
                    Err(failed) => self.error(&failed),
                    Ok(()) => {
                        encode::message(&mut self.buffered, b'V', |out| out.extend_from_slice(&[0xff; 4]));
                        self.commit();
                    }
                }
                self.ready();
            }
            front::FLUSH => self.flush(),
            front::COPY_DATA | front::COPY_DONE | front::COPY_FAIL | front::TERMINATE => {}
            _ => {
                self.batch = Batch::Open;
                if let Err(failed) = self.extended(tag, message) {
                    self.reading = Reading::Nothing;
                    self.error(&failed);
                }
            }
        }
    }

    fn query(&mut self, message: &[u8]) {
        let text = text(&message[5..message.len() - 1]);
        self.statements.remove("");
        self.portals.remove("");
        self.simple = text.split_terminator(';').map(|one| one.trim().to_owned()).collect();
        if self.simple.is_empty() {
            encode::empty_query_response(&mut self.buffered);
        }
        // PostgreSQL parses all of it before it executes any.
        if self.simple.iter().any(|one| sql::is_wrong(one)) {
            self.simple.clear();
            self.error(&("42601", "syntax error".to_owned()));
            return self.ready();
        }
        self.run_simple();
    }

    /// Executes what is left of a simple query.
    fn run_simple(&mut self) {
        while let Some(text) = self.simple.pop_front() {
            match self.execute(&text, "", By::Query) {
                Ok(Did::Done) => {}
                Ok(Did::Sleeps(tag)) => {
                    self.sleeping = Some(Sleep { tag, by: By::Query });
                    return;
                }
                Ok(Did::Reads) => {
                    self.reading = Reading::Copy(By::Query);
                    return;
                }
                Err(failed) => {
                    self.simple.clear();
                    self.error(&failed);
                    return self.ready();
                }
            }
        }
        self.commit();
        self.ready();
    }

    /// The end of a transaction without BEGIN.
    fn commit(&mut self) {
        if self.sql.tx() == TxState::Idle
            && let Err(failed) = self.sql.commit()
        {
            self.error(&failed);
        }
    }

    fn extended(&mut self, tag: u8, message: &[u8]) -> Result<(), Failed> {
        match tag {
            front::PARSE => self.parse(message),
            front::BIND => self.bind(message),
            front::EXECUTE => {
                let name = text(&message[5..message.len() - 5]);
                let no_portal = || ("34000", "no such portal".to_owned());
                let portal = self.portals.get_mut(&name).ok_or_else(no_portal)?;
                portal.runs += 1;
                let Portal { of: Prepared { text, style }, parameter, runs } = portal.clone();
                self.sql.allow(&text)?;
                if text.starts_with("select many") && runs == 1 {
                    self.row(&parameter, By::Execute);
                    encode::message(&mut self.buffered, b's', |_| ());
                    return Ok(());
                }
                let reads = text.starts_with("select 's");
                let parameter = if reads { format!("{parameter}, read by {style}") } else { parameter };
                match self.execute(&text, &parameter, By::Execute)? {
                    Did::Done => {}
                    Did::Sleeps(tag) => self.sleeping = Some(Sleep { tag, by: By::Execute }),
                    Did::Reads => self.reading = Reading::Copy(By::Execute),
                }
                Ok(())
            }
            front::DESCRIBE | front::CLOSE => self.subject(tag, message),
            _ => Err(("08P01", "unknown message".to_owned())),
        }
    }

    fn parse(&mut self, message: &[u8]) -> Result<(), Failed> {
        let mut parts = message[5..].split(|byte| *byte == 0).map(text);
        let (name, sql) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if name.is_empty() {
            self.statements.remove("");
        }
        if sql::is_wrong(&sql) {
            return Err(("42601", "syntax error".to_owned()));
        }
        if self.statements.contains_key(&name) {
            return Err(("42P05", "prepared statement exists".to_owned()));
        }
        let style = self.sql.style().to_owned();
        self.statements.insert(name, Prepared { text: sql, style });
        encode::parse_complete(&mut self.buffered);
        Ok(())
    }

    fn bind(&mut self, message: &[u8]) -> Result<(), Failed> {
        let mut parts = message[5..].splitn(3, |byte| *byte == 0);
        let (portal, name) = (text(parts.next().unwrap_or_default()), text(parts.next().unwrap_or_default()));
        let no_statement = || ("26000", "no such statement".to_owned());
        let of = self.statements.get(&name).ok_or_else(no_statement)?.clone();
        self.sql.allow(&of.text)?;
        if !portal.is_empty() && self.portals.contains_key(&portal) {
            return Err(("42P03", "portal exists".to_owned()));
        }
        // No formats, one value, no formats of the result: the words of `phrase`.
        let tail = parts.next().unwrap_or_default();
        let parameter = text(tail.get(8..tail.len().saturating_sub(2)).unwrap_or_default());
        self.portals.insert(portal, Portal { of, parameter, runs: 0 });
        encode::bind_complete(&mut self.buffered);
        Ok(())
    }

    fn subject(&mut self, tag: u8, message: &[u8]) -> Result<(), Failed> {
        let name = text(&message[6..message.len() - 1]);
        let of_statement = message[5] == b'S';
        if tag == front::CLOSE {
            if of_statement {
                self.statements.remove(&name);
            } else {
                self.portals.remove(&name);
            }
            encode::close_complete(&mut self.buffered);
            return Ok(());
        }
        let found = if of_statement {
            self.statements.get(&name).map(|prepared| prepared.text.clone())
        } else {
            self.portals.get(&name).map(|portal| portal.of.text.clone())
        };
        let sql = found.ok_or_else(|| ("26000", "nothing to describe".to_owned()))?;
        self.sql.allow(&sql)?;
        if of_statement {
            encode::parameter_description_empty(&mut self.buffered);
        }
        if sql.starts_with("select") {
            self.describe_row();
        } else {
            encode::no_data(&mut self.buffered);
        }
        Ok(())
    }

    fn describe_row(&mut self) {
        encode::row_description(&mut self.buffered, &[encode::Column { name: "v", type_oid: 25 }]);
    }

    /// A row that says who asked, and in what session and transaction it was answered.
    fn row(&mut self, tag: &str, by: By) {
        if by == By::Query {
            self.describe_row();
        }
        let value = self.sql.seen_from_inside(tag);
        encode::data_row(&mut self.buffered, &[Some(value.as_bytes())]);
    }

    fn execute(&mut self, sql: &str, parameter: &str, by: By) -> Result<Did, Failed> {
        self.sql.allow(sql)?;
        self.sql.begin_statement();
        let quoted = sql.split('\'').nth(1).unwrap_or_default();
        let tag = format!("{quoted}{parameter}");
        if sql.is_empty() {
            encode::empty_query_response(&mut self.buffered);
        } else if sql.starts_with("copy") {
            return self.copy(sql);
        } else if sql.starts_with("select pg_sleep") {
            return Ok(Did::Sleeps(tag));
        } else if sql.starts_with("select") {
            self.select(sql, &tag, by)?;
        } else {
            let done = self.sql.execute(sql)?;
            if matches!(done, "DEALLOCATE ALL" | "DISCARD ALL") {
                self.statements.retain(|name, _| name.is_empty());
            }
            if matches!(done, "COMMIT" | "ROLLBACK") {
                self.portals.clear();
            }
            encode::command_complete(&mut self.buffered, done);
        }
        Ok(Did::Done)
    }

    fn select(&mut self, sql: &str, tag: &str, by: By) -> Result<(), Failed> {
        if sql.starts_with("select fail") {
            return Err(("P0001", format!("failed {tag}")));
        }
        if sql.starts_with("select notice") {
            let message = &format!("notice {tag}");
            let fields =
                encode::Fields { severity: "NOTICE", sqlstate: "00000", message, detail: None, hint: None };
            encode::notice_response(&mut self.buffered, &fields);
        }
        self.sql.call(sql);
        self.row(tag, by);
        encode::command_complete(&mut self.buffered, "SELECT 1");
        Ok(())
    }

    fn copy(&mut self, sql: &str) -> Result<Did, Failed> {
        if sql.ends_with("to stdout") {
            encode::message(&mut self.buffered, b'H', |out| out.extend_from_slice(&[0, 0, 0]));
            for row in [&b"1\n"[..], b"2\n"] {
                encode::message(&mut self.buffered, b'd', |out| out.extend_from_slice(row));
            }
            encode::message(&mut self.buffered, b'c', |_| ());
            encode::command_complete(&mut self.buffered, "COPY 2");
            return Ok(Did::Done);
        }
        encode::message(&mut self.buffered, b'G', |out| out.extend_from_slice(&[0, 0, 0]));
        self.flush();
        if sql.contains("bad") { Err(("P0001", "trigger".to_owned())) } else { Ok(Did::Reads) }
    }

    fn copy_data(&mut self, by: By, tag: u8, message: &[u8]) {
        let outcome = match tag {
            front::COPY_DATA if message.ends_with(b"bad") => Err(("22P02", "bad data".to_owned())),
            front::COPY_DATA | front::SYNC | front::FLUSH => return,
            front::COPY_DONE => Ok(()),
            front::COPY_FAIL => Err(("57014", "COPY failed".to_owned())),
            _ => Err(("08P01", "unexpected message during COPY".to_owned())),
        };
        self.reading = Reading::Messages;
        match (outcome, by) {
            (Ok(()), _) => encode::command_complete(&mut self.buffered, "COPY 1"),
            (Err(failed), By::Execute) => {
                self.reading = Reading::Nothing;
                return self.error(&failed);
            }
            (Err(failed), By::Query) => {
                self.simple.clear();
                self.error(&failed);
                return self.ready();
            }
        }
        if by == By::Query {
            self.run_simple();
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
