//! The extended protocol on the console, for drivers that know no other: a statement without parameters is a command.
//!
//! What a command gives is known only by carrying it out, so describing carries out what only looks (SHOW, SELECT) and
//! says "no rows" of everything else.

use std::collections::HashMap;

use plimsoll_config::Compat;
use plimsoll_types::{Cause, Severity, SqlState};
use plimsoll_wire::encode::{self, Fields};
use plimsoll_wire::front::{self, Subject};
use plimsoll_wire::{WireError, back, header};

/// Most statements and portals a client may have.
const NAMES_MAX: usize = 64;

/// Longest answer of the console that is looked into, bytes.
const REPLY_BYTES_MAX: u32 = u32::MAX;

/// What a message asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// These bytes are the answer.
    Send(Vec<u8>),
    /// Carry this command out, and send [`Extended::take`] of its answer.
    Run { text: Vec<u8>, part: Part },
}

/// Which part of a command's answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The columns, of a portal.
    Columns,
    /// The same of a statement: after its parameters, of which there are none.
    Statement,
    /// All but the columns.
    Rows,
}

/// Statements and portals of a client, and how its batch stands.
#[derive(Debug, Default)]
pub(super) struct Extended {
    statements: HashMap<Vec<u8>, Vec<u8>>,
    portals: HashMap<Vec<u8>, Vec<u8>>,
    batch: Batch,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Batch {
    /// Messages are dealt with.
    #[default]
    Going,
    /// One failed: nothing counts until Sync.
    Failed,
}

impl Extended {
    /// Whether nothing is remembered of the client.
    pub(super) fn is_idle(&self) -> bool {
        self.statements.is_empty() && self.portals.is_empty() && self.batch == Batch::Going
    }

    /// Deals with a whole message.
    ///
    /// # Errors
    /// The message does not fit its type.
    pub(super) fn handle(&mut self, tag: u8, message: &[u8]) -> Result<Step, WireError> {
        if tag == front::SYNC {
            self.batch = Batch::Going;
            self.portals.clear();
            let mut out = Vec::new();
            encode::ready_for_query(&mut out, b'I');
            return Ok(Step::Send(out));
        }
        if self.batch == Batch::Failed {
            return Ok(Step::Send(Vec::new()));
        }
        match tag {
            front::PARSE => self.parse(message),
            front::BIND => self.bind(message),
            front::DESCRIBE => self.describe(message),
            front::EXECUTE => self.execute(message),
            front::CLOSE => self.close(message),
            // Flush: nothing is ever held back.
            _ => Ok(Step::Send(Vec::new())),
        }
    }

    /// The wanted part of a command's answer.
    pub(super) fn take(&mut self, part: Part, reply: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if part == Part::Statement {
            encode::parameter_description_empty(&mut out);
        }
        let before = out.len();
        let mut rest = reply;
        while let Ok(Some(head)) = header(rest, REPLY_BYTES_MAX)
            && let Some((message, after)) = rest.split_at_checked(head.total)
        {
            let wanted = match (head.tag, part) {
                (back::READY_FOR_QUERY, _) => false,
                (back::ERROR_RESPONSE, _) => {
                    self.batch = Batch::Failed;
                    true
                }
                (back::ROW_DESCRIPTION, part) => part != Part::Rows,
                (_, part) => part == Part::Rows,
            };
            if wanted {
                out.extend_from_slice(message);
            }
            rest = after;
        }
        if out.len() == before && part != Part::Rows {
            encode::no_data(&mut out);
        }
        out
    }

    fn parse(&mut self, message: &[u8]) -> Result<Step, WireError> {
        let parse = front::parse(message)?;
        let text = parse.text_and_types.split(|byte| *byte == 0).next().unwrap_or_default();
        if self.statements.len() >= NAMES_MAX {
            return Ok(self.fail(SqlState::PROGRAM_LIMIT, "too many prepared statements"));
        }
        self.statements.insert(parse.name.to_vec(), text.to_vec());
        Ok(sent(encode::parse_complete))
    }

    fn bind(&mut self, message: &[u8]) -> Result<Step, WireError> {
        let names = front::bind_names(message, message.len())?.ok_or(WireError::BadBody)?;
        let mut values = Words(&message[names.end..]);
        let parameter_formats = values.word()?;
        values.skip(usize::from(parameter_formats))?;
        if values.word()? > 0 {
            return Ok(self.fail(SqlState::FEATURE_NOT_SUPPORTED, "console commands take no parameters"));
        }
        for _ in 0..values.word()? {
            if values.word()? != 0 {
                return Ok(
                    self.fail(SqlState::FEATURE_NOT_SUPPORTED, "the console answers in text format only")
                );
            }
        }
        let Some(text) = self.statements.get(names.statement) else { return Ok(self.missing()) };
        let text = text.clone();
        if self.portals.len() >= NAMES_MAX {
            return Ok(self.fail(SqlState::PROGRAM_LIMIT, "too many portals"));
        }
        self.portals.insert(names.portal.to_vec(), text);
        Ok(sent(encode::bind_complete))
    }

    fn describe(&mut self, message: &[u8]) -> Result<Step, WireError> {
        let subject = front::subject(message)?;
        let text = match subject {
            Subject::Statement(name) => self.statements.get(name),
            Subject::Portal(name) => self.portals.get(name),
        };
        let Some(text) = text.cloned() else { return Ok(self.missing()) };
        let part = match subject {
            Subject::Statement(_) => Part::Statement,
            Subject::Portal(_) => Part::Columns,
        };
        if only_looks(&text) {
            return Ok(Step::Run { text, part });
        }
        Ok(Step::Send(self.take(part, &[])))
    }

    fn execute(&mut self, message: &[u8]) -> Result<Step, WireError> {
        // The portal's name and the row limit, which nothing here is long enough for.
        let body = message.get(plimsoll_wire::HEADER_BYTES..).ok_or(WireError::BadBody)?;
        let end = body.iter().position(|byte| *byte == 0).ok_or(WireError::BadBody)?;
        match self.portals.get(&body[..end]) {
            Some(text) => Ok(Step::Run { text: text.clone(), part: Part::Rows }),
            None => Ok(self.missing()),
        }
    }

    fn close(&mut self, message: &[u8]) -> Result<Step, WireError> {
        match front::subject(message)? {
            Subject::Statement(name) => self.statements.remove(name),
            Subject::Portal(name) => self.portals.remove(name),
        };
        Ok(sent(encode::close_complete))
    }

    fn missing(&mut self) -> Step {
        self.batch = Batch::Failed;
        Step::Send(crate::report::error_response(&Cause::NoSuchStatement, Severity::Error, Compat::Plimsoll))
    }

    fn fail(&mut self, sqlstate: SqlState, message: &str) -> Step {
        self.batch = Batch::Failed;
        let severity = Severity::Error.as_str();
        let fields = Fields { severity, sqlstate: sqlstate.as_str(), message, detail: None, hint: None };
        sent(|out| encode::error_response(out, &fields))
    }
}

fn sent(write: impl FnOnce(&mut Vec<u8>)) -> Step {
    let mut out = Vec::new();
    write(&mut out);
    Step::Send(out)
}

/// Whether a command changes nothing.
fn only_looks(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let begins = |word: &[u8]| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    begins(b"show") || begins(b"select")
}

/// The numbers in a Bind.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn word(&mut self) -> Result<u16, WireError> {
        let (word, rest) = self.0.split_first_chunk().ok_or(WireError::BadBody)?;
        self.0 = rest;
        Ok(u16::from_be_bytes(*word))
    }

    fn skip(&mut self, words: usize) -> Result<(), WireError> {
        self.0 = self.0.get(words * 2..).ok_or(WireError::BadBody)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
