//! A query of our own on a connection that nobody holds: reset, check, connect_query.

use plimsoll_types::{Cause, SqlState, TxState};
use plimsoll_wire::{back, encode, header};

use crate::link::{Count, Link};
use crate::params::Tracked;

/// Longest message of an answer to a query of our own, bytes.
const ANSWER_BYTES_MAX: u32 = 1 << 20;

/// A query of our own on a connection that nobody holds: reset, check, connect_query. Its answer is swallowed.
#[derive(Debug)]
pub struct Round {
    seen: Seen,
}

/// How far the answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Nothing that belongs to our query for certain.
    Nothing,
    /// Its CommandComplete or EmptyQueryResponse.
    Answer,
}

/// How a [`Round`] goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundStep {
    /// Read on; input from `consumed` on is kept.
    More {
        /// Bytes dealt with.
        consumed: usize,
    },
    /// Ended well: the connection is idle and everything is read.
    Done {
        /// Bytes dealt with.
        consumed: usize,
    },
    /// Ended badly; the server's message if there was one.
    Failed(Cause),
}

impl Round {
    /// Begins: appends the Query message to `out`. The answer counts from the CommandComplete or EmptyQueryResponse
    /// of this query on: a stray ReadyForQuery before it is swallowed too.
    pub fn start(query: &str, out: &mut Vec<u8>) -> Round {
        encode::query(out, query.as_bytes());
        Round { seen: Seen::Nothing }
    }

    /// Bytes from the server. Keeps `link` up to date (parameters; statements after DISCARD ALL, DEALLOCATE ALL).
    pub fn on_server(&mut self, link: &mut Link, input: &[u8], tracked: &Tracked) -> RoundStep {
        let mut at = 0;
        loop {
            let head = match header(&input[at..], ANSWER_BYTES_MAX) {
                Ok(Some(head)) => head,
                Ok(None) => return RoundStep::More { consumed: at },
                Err(_) => return RoundStep::Failed(Cause::ServerProtocol { what: "bad length" }),
            };
            let Some(message) = input.get(at..at + head.total) else {
                return RoundStep::More { consumed: at };
            };
            at += head.total;
            match head.tag {
                back::ERROR_RESPONSE => return RoundStep::Failed(error_of(message)),
                back::PARAMETER_STATUS => link.note_parameter(message, tracked),
                back::EMPTY_QUERY_RESPONSE => self.seen = Seen::Answer,
                back::COMMAND_COMPLETE => {
                    self.seen = Seen::Answer;
                    match back::command_tag(message) {
                        Ok(b"DISCARD ALL") => {
                            link.prepared.clear();
                            link.left.cleaned();
                        }
                        Ok(b"DEALLOCATE ALL") => {
                            link.prepared.clear();
                            link.left.told(b"DEALLOCATE ALL");
                        }
                        _ => {}
                    }
                }
                back::READY_FOR_QUERY if self.seen == Seen::Answer => {
                    if at != input.len() || message.get(5) != Some(&b'I') {
                        return RoundStep::Failed(Cause::ServerStateUnknown);
                    }
                    link.tx = TxState::Idle;
                    link.count = Count::Known;
                    return RoundStep::Done { consumed: at };
                }
                back::READY_FOR_QUERY
                | back::ROW_DESCRIPTION
                | back::DATA_ROW
                | back::NOTICE_RESPONSE
                | back::NOTIFICATION_RESPONSE => {}
                _ => {
                    return RoundStep::Failed(Cause::ServerProtocol { what: "answer to a query of our own" });
                }
            }
        }
    }
}

/// The cause in an ErrorResponse of the server (whole message).
pub fn error_of(message: &[u8]) -> Cause {
    let mut sqlstate = SqlState::INTERNAL;
    let mut text = String::new();
    for (field, value) in back::error_fields(message) {
        match field {
            b'C' => sqlstate = SqlState::parse(value).unwrap_or(SqlState::INTERNAL),
            b'M' => text = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }
    Cause::Server { sqlstate, message: text.into() }
}
