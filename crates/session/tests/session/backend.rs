//! A small PostgreSQL: its main loop, its transactions, its statements by name, and nothing behind them.
//!
//! Texts: `begin`, `commit`, `rollback`, `bad` (does not parse), `fail` (fails when executed), `defer` (the commit
//! fails), `note`, `many` (suspended once), `copy`, `copybad` (fails once it has begun), `copyout`, `deall`
//! (DEALLOCATE ALL), `app1` (sets application_name), the empty one; anything else is a row. A simple query may be
//! several of them, with `;` between.
//!
//! One rule is left out: Parse is taken in a failed transaction too. A Parse that the pooler answers by itself
//! cannot be refused there, and PgBouncer does not either.

use std::collections::{HashMap, VecDeque};

use plimsoll_types::Side;
use plimsoll_wire::{front, header};

use crate::notation::bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tx {
    Idle,
    Open,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Messages,
    /// Up to Sync.
    Nothing,
    /// COPY data; how the COPY was begun.
    Copy(By),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Query,
    Execute,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Backend {
    tx: Tx,
    reading: Reading,
    deferred: bool,
    statements: HashMap<String, String>,
    /// Text, and how often it was executed.
    portals: HashMap<String, (String, u32)>,
    /// What is left of a simple query.
    simple: VecDeque<String>,
    application: String,
    reported: String,
    input: Vec<u8>,
    /// Written, not sent.
    buffered: Vec<u8>,
    /// Sent.
    pub(crate) sent: Vec<u8>,
    /// Executed since the last Sync, outside of a transaction.
    worked: bool,
    /// Syncs that have committed what was executed before them.
    pub(crate) commits: u32,
}

type Failed = &'static str;

impl Backend {
    pub(crate) fn new() -> Backend {
        Backend {
            tx: Tx::Idle,
            reading: Reading::Messages,
            deferred: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
            simple: VecDeque::new(),
            application: String::new(),
            reported: String::new(),
            input: Vec::new(),
            buffered: Vec::new(),
            sent: Vec::new(),
            worked: false,
            commits: 0,
        }
    }

    /// Whether anybody else could be served next.
    pub(crate) fn is_idle(&self) -> bool {
        self.tx == Tx::Idle
            && self.reading == Reading::Messages
            && !self.deferred
            && self.input.is_empty()
            && self.buffered.is_empty()
            && self.sent.is_empty()
    }

    /// How many named statements there are.
    pub(crate) fn named(&self) -> usize {
        self.statements.keys().filter(|name| !name.is_empty()).count()
    }

    pub(crate) fn feed(&mut self, input: &[u8]) {
        self.input.extend_from_slice(input);
        while let Ok(Some(head)) = header(&self.input, u32::MAX) {
            if self.input.len() < head.total {
                return;
            }
            let rest = self.input.split_off(head.total);
            let message = std::mem::replace(&mut self.input, rest);
            self.message(head.tag, &message);
        }
    }

    fn say(&mut self, words: &str) {
        self.buffered.extend_from_slice(&bytes(Side::Server, words));
    }

    fn flush(&mut self) {
        self.sent.append(&mut self.buffered);
    }

    fn ready(&mut self) {
        if self.application != self.reported {
            self.reported.clone_from(&self.application);
            self.say(&format!("K:application_name={}", self.application.clone()));
        }
        if self.tx == Tx::Idle {
            self.portals.clear();
        }
        self.say(match self.tx {
            Tx::Idle => "Z:I",
            Tx::Open => "Z:T",
            Tx::Failed => "Z:E",
        });
        self.flush();
    }

    fn error(&mut self, what: Failed) {
        self.say(&format!("E:{}", what.replace(' ', "_")));
        self.flush();
        self.deferred = false;
        self.worked = false;
        self.portals.clear();
        if self.tx == Tx::Open {
            self.tx = Tx::Failed;
        }
    }

    fn message(&mut self, tag: u8, message: &[u8]) {
        match self.reading {
            Reading::Copy(by) => return self.copy_data(by, tag, message),
            Reading::Nothing if tag != front::SYNC => return,
            Reading::Nothing => self.reading = Reading::Messages,
            Reading::Messages => {}
        }
        match tag {
            front::QUERY => {
                let text = String::from_utf8_lossy(front::query(message).expect("a query")).into_owned();
                self.statements.remove("");
                self.portals.remove("");
                self.simple =
                    text.replace("ROLLBACK", "rollback").split_terminator(';').map(str::to_owned).collect();
                if self.simple.is_empty() {
                    self.say("I");
                }
                self.run_simple();
            }
            front::SYNC => {
                self.commits += u32::from(std::mem::take(&mut self.worked));
                self.commit();
                self.ready();
            }
            front::FUNCTION_CALL => {
                if self.tx == Tx::Failed {
                    self.error("aborted");
                } else {
                    self.say("V");
                    self.commit();
                }
                self.ready();
            }
            front::FLUSH => self.flush(),
            front::COPY_DATA | front::COPY_DONE | front::COPY_FAIL => {}
            _ => {
                if let Err(what) = self.extended(tag, message) {
                    self.reading = Reading::Nothing;
                    self.error(what);
                }
            }
        }
    }

    /// Executes what is left of a simple query.
    fn run_simple(&mut self) {
        while let Some(text) = self.simple.pop_front() {
            let outcome = if text == "bad" { Err("syntax") } else { self.execute(&text, By::Query) };
            if let Err(what) = outcome {
                self.reading = Reading::Messages;
                self.simple.clear();
                self.error(what);
                break;
            }
            if self.reading != Reading::Messages {
                return;
            }
        }
        self.commit();
        self.ready();
    }

    /// The end of a transaction without BEGIN.
    fn commit(&mut self) {
        if self.tx == Tx::Idle && self.deferred {
            self.error("deferred");
        }
    }

    fn extended(&mut self, tag: u8, message: &[u8]) -> Result<(), Failed> {
        match tag {
            front::PARSE => {
                let parse = front::parse(message).expect("a Parse");
                let name = String::from_utf8_lossy(parse.name).into_owned();
                let text = parse.text_and_types.split(|byte| *byte == 0).next().expect("a text");
                let text = String::from_utf8_lossy(text).into_owned();
                if name.is_empty() {
                    self.statements.remove("");
                }
                if text == "bad" {
                    return Err("syntax");
                }
                if self.statements.contains_key(&name) {
                    return Err("exists");
                }
                self.statements.insert(name, text);
                self.say("1");
            }
            front::BIND => {
                let names = front::bind_names(message, message.len()).expect("a Bind").expect("its names");
                let (portal, name) =
                    (String::from_utf8_lossy(names.portal), String::from_utf8_lossy(names.statement));
                let text = self.statements.get(&*name).ok_or("no such statement")?.clone();
                self.allow(&text)?;
                if !portal.is_empty() && self.portals.contains_key(&*portal) {
                    return Err("portal exists");
                }
                self.portals.insert(portal.into_owned(), (text, 0));
                self.say("2");
            }
            front::EXECUTE => {
                let name = String::from_utf8_lossy(&message[5..message.len() - 5]).into_owned();
                let (text, times) = self.portals.get_mut(&name).ok_or("no such portal")?;
                *times += 1;
                let (text, times) = (text.clone(), *times);
                self.allow(&text)?;
                if text == "many" && times == 1 {
                    self.say("R:many s");
                    return Ok(());
                }
                self.execute(&text, By::Execute)?;
            }
            front::DESCRIBE | front::CLOSE => self.subject(tag, message)?,
            _ => return Err("unknown message"),
        }
        Ok(())
    }

    fn subject(&mut self, tag: u8, message: &[u8]) -> Result<(), Failed> {
        let (name, text) = match front::subject(message).expect("a subject") {
            front::Subject::Statement(name) => {
                let name = String::from_utf8_lossy(name).into_owned();
                let text = self.statements.get(&name).cloned();
                if tag == front::CLOSE {
                    self.statements.remove(&name);
                }
                (front::DESCRIBE, text)
            }
            front::Subject::Portal(name) => {
                let name = String::from_utf8_lossy(name).into_owned();
                let text = self.portals.get(&name).map(|(text, _)| text.clone());
                if tag == front::CLOSE {
                    self.portals.remove(&name);
                }
                (front::CLOSE, text)
            }
        };
        if tag == front::CLOSE {
            self.say("3");
            return Ok(());
        }
        let text = text.ok_or("nothing to describe")?;
        self.allow(&text)?;
        if name == front::DESCRIBE {
            self.say("t");
        }
        self.say(if text.starts_with('s') || text == "many" { "T" } else { "n" });
        Ok(())
    }

    fn allow(&self, text: &str) -> Result<(), Failed> {
        if self.tx == Tx::Failed && text != "commit" && text != "rollback" { Err("aborted") } else { Ok(()) }
    }

    fn execute(&mut self, text: &str, by: By) -> Result<(), Failed> {
        self.allow(text)?;
        match text {
            "begin" => {
                self.tx = Tx::Open;
                self.say("C:BEGIN");
            }
            "commit" | "rollback" => {
                let failed = self.tx == Tx::Failed;
                self.tx = Tx::Idle;
                self.portals.clear();
                if std::mem::take(&mut self.deferred) && text == "commit" {
                    return Err("deferred");
                }
                self.say(if failed || text == "rollback" { "C:ROLLBACK" } else { "C:COMMIT" });
            }
            "fail" => return Err("failed"),
            "defer" => {
                self.deferred = true;
                self.say("C:SELECT");
            }
            "note" => self.say("N:note C:SELECT"),
            "deall" => {
                self.statements.clear();
                self.say("C:DEALLOCATE_ALL");
            }
            "" => self.say("I"),
            "copyout" => self.say("H d:1 d:2 c C:COPY"),
            "copy" | "copybad" => {
                self.say("G");
                self.flush();
                if text == "copybad" {
                    return Err("trigger");
                }
                self.reading = Reading::Copy(by);
            }
            _ if text.starts_with("SET ") || text.starts_with("app") => {
                if self.tx == Tx::Idle && by == By::Query {
                    let value = text.trim_start_matches("SET application_name=").trim_start_matches("app");
                    value.trim_matches('\'').clone_into(&mut self.application);
                }
                self.say("C:SET");
            }
            row => {
                self.worked |= by == By::Execute && self.tx == Tx::Idle;
                self.say(if by == By::Query { "T" } else { "" });
                self.say(&format!("R:{row} C:SELECT"));
            }
        }
        Ok(())
    }

    fn copy_data(&mut self, by: By, tag: u8, message: &[u8]) {
        let outcome = match tag {
            front::COPY_DATA if message.ends_with(b"bad") => Err("bad data"),
            front::COPY_DATA | front::SYNC | front::FLUSH => return,
            front::COPY_DONE => Ok(()),
            front::COPY_FAIL => Err("COPY failed"),
            _ => Err("unexpected message"),
        };
        self.reading = Reading::Messages;
        match (outcome, by) {
            (Ok(()), _) => self.say("C:COPY"),
            (Err(what), By::Execute) => {
                self.reading = Reading::Nothing;
                return self.error(what);
            }
            (Err(what), By::Query) => {
                self.simple.clear();
                self.error(what);
            }
        }
        if by == By::Query {
            self.run_simple();
        }
    }
}
