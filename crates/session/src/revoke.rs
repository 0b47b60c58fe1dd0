//! Taking a server connection away from a client that stays.
//!
//! Such a client goes on believing in what it has begun. What it has begun is rolled back; and until it has ended that
//! itself, nothing it says may run, for it would run outside the transaction that it believes in. So it hears what
//! PostgreSQL says in a transaction that has failed, from us and without a server connection:
//!
//! | the client was | it hears at once | and then |
//! |---|---|---|
//! | between statements of a transaction | nothing | 25P02 to each statement, status `E`, until it says ROLLBACK or COMMIT, which is answered `ROLLBACK` |
//! | in half a batch, answered so far | nothing | 57014 to what it says next, then nothing up to its Sync; then the same if a transaction was open, else all is as before |
//! | in COPY FROM STDIN | 57014 | its data goes nowhere; then likewise |
//! | in a session, between transactions | nothing | nothing has changed for it |
//!
//! An error that nobody has asked for is taken by libpq for a notice, which is why half a batch hears of it only when an
//! answer is owed.
//!
//! A session that would lose something with its server connection keeps it ([`Revoked::Keeps`]). [`Revoked::Busy`]: the
//! server may be working, or may have done something that the client has not been told of (a COMMIT above all), or it is
//! not certain whether the client believes in a transaction: a batch, or a text, has begun or ended one since the last
//! ReadyForQuery. Then nothing is taken.
//!
//! Source: PostgreSQL manual, "Message Flow"; postgres.c (`exec_simple_query`, `exec_parse_message`,
//! `exec_bind_message`) for what is refused in a failed transaction and when.

use plimsoll_types::{Cause, Moment, Pins, PoolMode, Side, TxState};
use plimsoll_wire::front::{self, Subject};
use plimsoll_wire::{HEADER_BYTES, WireError, encode, header};
use serde::{Deserialize, Serialize};

use crate::client::{Message, Verdict, stop};
use crate::ending::{Ends, ending_of};
use crate::expect::Expect;
use crate::image::Bytes;
use crate::link::{Batch, CopyIn, Count, Has, Link, Settling, Use};
use crate::params::Tracked;
use crate::session::{Attached, Session};
use crate::statements::{Named, Statements};
use crate::steps::{Outcome, Release, Steps, Then};

/// What a client is told of its transaction.
const ABORTED: &str = "current transaction is aborted, commands ignored until end of transaction block";

/// What a client is told of a batch or a COPY that it has not sent to its end.
const CANCELED: &str = "canceling statement: its server connection was taken back";

/// Names of statements and portals that end a transaction, of one client; more are refused like any other statement.
const EXITS_MAX: usize = 16;

/// Longest of these names, bytes.
const NAME_BYTES_MAX: usize = 256;

/// What came of [`Session::revoke`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// The connection is free of its client; what has to become of it.
    Taken(Release),
    /// It is the server's turn, or it is not certain what the client believes in: see the module.
    Busy,
    /// The session would lose what it has at the server: temporary tables, prepared statements, settings, locks.
    Keeps,
}

/// What a client still believes in whose server connection has been taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Aftermath {
    block: Block,
    skip: Skip,
    /// What it has prepared and bound since that ends a transaction.
    exits: Vec<Exit>,
    /// DETAIL of what it is told.
    why: Box<str>,
}

/// Whether the client believes in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Block {
    /// No: only the rest of its batch is in the way.
    None,
    /// Yes. Next: no aftermath any more, or `Over`.
    Failed,
    /// It has ended it with the first of several statements in one text, and the others need a server connection.
    Over,
}

/// Whether what comes is ignored up to Sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Skip {
    No,
    /// The client has not heard yet of the batch's end. Next: `ToSync`, with the error, at the next message that
    /// PostgreSQL answers.
    Due(Owed),
    ToSync,
}

/// Whether the client waits for answers of the batch that it has not asked for yet: then a Flush is such a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Owed {
    Nothing,
    Answers,
}

/// A statement or portal of the client that ends a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Exit {
    Statement(Bytes),
    Portal(Bytes),
}

/// What the client is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Middle {
    /// Nothing that anybody has to be told of.
    Nothing,
    /// A batch of the extended protocol: an error as soon as it says something more, and nothing up to Sync.
    Batch(Owed),
    /// COPY FROM STDIN in such a batch: an error now, and nothing more up to Sync.
    Copy,
    /// A batch after an error: the server waits for the client's Sync, and the client has heard of it.
    FailedBatch,
    /// Something that ends in ReadyForQuery by itself: an error, and that.
    Query,
}

impl Session {
    /// Takes the server connection away, unless that would cut off something the server is doing or lose something the
    /// client has there. `why` is told the client as DETAIL. What the client has to hear at once is in `steps`.
    pub fn revoke(&mut self, link: &mut Link, why: &str, tracked: &Tracked, steps: &mut Steps) -> Revoked {
        steps.clear();
        let Some(middle) = self.middle(link) else { return Revoked::Busy };
        if self.would_keep(link) {
            return Revoked::Keeps;
        }
        let block = if link.tx == TxState::Idle { Block::None } else { Block::Failed };
        let skip = match middle {
            Middle::Nothing | Middle::Query => Skip::No,
            Middle::Batch(owed) => Skip::Due(owed),
            Middle::Copy | Middle::FailedBatch => Skip::ToSync,
        };
        self.take_back_names(link);
        self.drop_left += link.to_server_left;
        self.take_back_params(link, tracked, steps);
        let release = self.detach(link);
        if matches!(middle, Middle::Copy | Middle::Query) {
            error(steps, "57014", CANCELED, why);
        }
        if middle == Middle::Query {
            ready(steps, block);
        }
        if block != Block::None || skip != Skip::No {
            let aftermath = Aftermath { block, skip, exits: Vec::new(), why: why.into() };
            self.aftermath = Some(Box::new(aftermath));
        }
        Revoked::Taken(release)
    }

    /// Whether the client would lose something with its server connection, whatever it is doing.
    pub fn would_keep(&self, link: &Link) -> bool {
        link.purpose == Use::Replication || (self.settings.mode == PoolMode::Session && link.keeps_session())
    }

    /// What the client is in the middle of; `None`: it is the server's turn, or it is not certain what the client
    /// believes in.
    fn middle(&self, link: &Link) -> Option<Middle> {
        let half = link.to_server_left > 0;
        let settled = self.attached == Attached::Yes && link.settling == Settling::No;
        if !settled || link.to_client_left > 0 || link.count != Count::Known || link.doubt.is_any() {
            return None;
        }
        let by_query = matches!(link.expected.last(), Some(Expect::Query | Expect::Function));
        match link.copy {
            CopyIn::Active { .. } if link.is_awaited(usize::from(half)) => None,
            CopyIn::Active { .. } if matches!(link.expected.head(), Some(Expect::Query)) => {
                Some(Middle::Query)
            }
            CopyIn::Active { .. } => Some(Middle::Copy),
            CopyIn::Ended { .. } | CopyIn::Both => None,
            // The half message is the last one and will never run.
            CopyIn::None if link.expected.may_have_run(usize::from(half)) => None,
            CopyIn::None if link.is_waiting_for_client() => Some(match link.batch {
                _ if half && by_query => Middle::Query,
                Batch::Skipping => Middle::FailedBatch,
                Batch::Open if link.expected.is_empty() => Middle::Batch(Owed::Nothing),
                Batch::Open => Middle::Batch(Owed::Answers),
                // COPY data that nobody has asked for.
                Batch::Closed => Middle::Nothing,
            }),
            CopyIn::None => link.expected.is_empty().then_some(Middle::Nothing),
        }
    }

    /// What the rest of the batch was to do to the client's names does not happen.
    fn take_back_names(&mut self, link: &mut Link) {
        let mut void = Vec::new();
        for (_, expect) in link.expected.iter_mut() {
            match expect {
                Expect::NamedParse { serial, .. } | Expect::FakeParse { serial } => void.push(*serial),
                Expect::FakeClose { closed: Some(closed) } => {
                    self.names.insert(&closed.name, closed.named.clone());
                }
                _ => {}
            }
        }
        if !void.is_empty() {
            self.names.retain(|serial| !void.contains(&serial));
        }
    }

    /// Values that were set in the transaction are again what they were before.
    fn take_back_params(&mut self, link: &mut Link, tracked: &Tracked, steps: &mut Steps) {
        let Some(before) = link.params_before.take() else { return };
        for (name, (old, new)) in tracked.names().zip(before.values.iter().zip(&self.params.values)) {
            if let Some(value) = old.as_ref().filter(|old| Some(*old) != new.as_ref()) {
                steps.inject(Side::Client, |out| {
                    encode::parameter_status(out, name.as_bytes(), value.as_bytes());
                });
            }
        }
        self.params = before;
    }

    /// A message of a client that believes in what is no more.
    pub(crate) fn verdict_after(
        &mut self,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Verdict {
        let Some(mut aftermath) = self.aftermath.take() else { return Verdict::Drop };
        let (verdict, goes_on) = self.hear_after(&mut aftermath, message, statements, steps);
        if goes_on == GoesOn::Yes {
            self.aftermath = Some(aftermath);
        }
        verdict
    }

    fn hear_after(
        &mut self,
        aftermath: &mut Aftermath,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> (Verdict, GoesOn) {
        let tag = message.head.tag;
        match tag {
            front::TERMINATE => return (stop(Cause::ClientClose), GoesOn::Yes),
            front::SYNC => {
                if let Skip::Due(_) = aftermath.skip {
                    error(steps, "57014", CANCELED, &aftermath.why);
                }
                aftermath.skip = Skip::No;
                ready(steps, aftermath.block);
                let goes_on = if aftermath.block == Block::None { GoesOn::No } else { GoesOn::Yes };
                return (Verdict::Replaced, goes_on);
            }
            _ if aftermath.skip == Skip::ToSync => return (Verdict::Drop, GoesOn::Yes),
            front::PARSE | front::BIND | front::DESCRIBE | front::EXECUTE | front::CLOSE
                if aftermath.skip != Skip::No =>
            {
                return (aftermath.end_batch(steps), GoesOn::Yes);
            }
            front::FLUSH if aftermath.skip == Skip::Due(Owed::Answers) => {
                return (aftermath.end_batch(steps), GoesOn::Yes);
            }
            // PostgreSQL takes these in the middle of a batch, and says that they are ready.
            front::QUERY | front::FUNCTION_CALL if aftermath.skip != Skip::No => {
                error(steps, "57014", CANCELED, &aftermath.why);
                aftermath.skip = Skip::No;
                ready(steps, aftermath.block);
                let goes_on = if aftermath.block == Block::None { GoesOn::No } else { GoesOn::Yes };
                return (Verdict::Drop, goes_on);
            }
            front::FLUSH | front::COPY_DATA | front::COPY_DONE | front::COPY_FAIL => {
                return (Verdict::Drop, GoesOn::Yes);
            }
            _ => {}
        }
        let bytes = match self.kept_whole(message) {
            Whole::Here(bytes) => bytes,
            Whole::Later(verdict) => return (verdict, GoesOn::Yes),
            // Nothing of that length ends a transaction.
            Whole::Never => return (aftermath.refuse(tag, steps), GoesOn::Yes),
        };
        let heard = match tag {
            front::QUERY => aftermath.query(bytes, steps),
            front::PARSE => self.parse_after(aftermath, bytes, statements, steps),
            front::BIND => self.bind_after(aftermath, bytes, steps),
            front::DESCRIBE => self.describe_after(aftermath, bytes, steps),
            front::EXECUTE => aftermath.execute(bytes, steps),
            front::CLOSE => self.close_after(aftermath, bytes, steps),
            front::FUNCTION_CALL => Ok(Heard::Other),
            _ => return (stop(Cause::UnknownPacket), GoesOn::Yes),
        };
        match heard {
            Ok(Heard::Answered) => (Verdict::Replaced, GoesOn::Yes),
            Ok(Heard::Ended) => (Verdict::Replaced, GoesOn::No),
            Ok(Heard::Needs) => (Verdict::Stop(Then::NeedServer), GoesOn::Yes),
            Ok(Heard::Other) => (aftermath.refuse(tag, steps), GoesOn::Yes),
            Err(_) => (stop(Cause::BadPacket), GoesOn::Yes),
        }
    }

    fn kept_whole<'a>(&self, message: Message<'a>) -> Whole<'a> {
        let total = message.head.total;
        match message.whole() {
            Some(bytes) => Whole::Here(bytes),
            None if total <= self.settings.collect_bytes_max => {
                Whole::Later(Verdict::Stop(Then::Collect { bytes: total }))
            }
            None => Whole::Never,
        }
    }

    fn parse_after(
        &mut self,
        aftermath: &mut Aftermath,
        bytes: &[u8],
        statements: &dyn Statements,
        steps: &mut Steps,
    ) -> Result<Heard, WireError> {
        let parse = front::parse(bytes)?;
        let text = parse.text_and_types.split(|byte| *byte == 0).next().unwrap_or_default();
        let is_new = parse.name.is_empty() || self.names.find(parse.name).is_none();
        // A name that is not managed would be the server's.
        let is_kept = self.manages_statements() || parse.name.is_empty();
        if ending_of(text) != Ends::Alone
            || !is_new
            || !is_kept
            || !aftermath.note(Exit::Statement(parse.name.into()))
        {
            return Ok(Heard::Other);
        }
        if self.manages_statements() && !parse.name.is_empty() {
            let statement = statements.intern(parse.text_and_types, &self.params.reading());
            self.serial = self.serial.wrapping_add(1);
            let named = Named { statement, serial: self.serial, executions: 0.into() };
            self.names.insert(parse.name, named);
        }
        steps.inject(Side::Client, encode::parse_complete);
        Ok(Heard::Answered)
    }

    /// Whether a statement of the client ends a transaction.
    fn is_exit(&self, aftermath: &Aftermath, name: &[u8]) -> bool {
        aftermath.exits.iter().any(|exit| matches!(exit, Exit::Statement(known) if **known == *name))
            || self.names.find(name).is_some_and(|known| ending_of(known.statement.text()) == Ends::Alone)
    }

    fn bind_after(
        &self,
        aftermath: &mut Aftermath,
        bytes: &[u8],
        steps: &mut Steps,
    ) -> Result<Heard, WireError> {
        let Some(names) = front::bind_names(bytes, bytes.len())? else { return Ok(Heard::Other) };
        if names.portal.is_empty() {
            aftermath.forget(|exit| matches!(exit, Exit::Portal(name) if name.is_empty()));
        }
        if aftermath.has_portal(names.portal)
            || !self.is_exit(aftermath, names.statement)
            || !aftermath.note(Exit::Portal(names.portal.into()))
        {
            return Ok(Heard::Other);
        }
        steps.inject(Side::Client, encode::bind_complete);
        Ok(Heard::Answered)
    }

    fn describe_after(
        &self,
        aftermath: &Aftermath,
        bytes: &[u8],
        steps: &mut Steps,
    ) -> Result<Heard, WireError> {
        match front::subject(bytes)? {
            Subject::Statement(name) if self.is_exit(aftermath, name) => {
                steps.inject(Side::Client, encode::parameter_description_empty);
            }
            Subject::Portal(name) if aftermath.has_portal(name) => {}
            Subject::Statement(_) | Subject::Portal(_) => return Ok(Heard::Other),
        }
        steps.inject(Side::Client, encode::no_data);
        Ok(Heard::Answered)
    }

    fn close_after(
        &mut self,
        aftermath: &mut Aftermath,
        bytes: &[u8],
        steps: &mut Steps,
    ) -> Result<Heard, WireError> {
        let closed = match front::subject(bytes)? {
            Subject::Statement(name) => {
                self.names.remove(name);
                Exit::Statement(name.into())
            }
            Subject::Portal(name) => Exit::Portal(name.into()),
        };
        aftermath.forget(|exit| *exit == closed);
        steps.inject(Side::Client, encode::close_complete);
        Ok(Heard::Answered)
    }

    /// A server connection has come for the statements behind the one that has ended the transaction: that one is
    /// answered, the others are a query of their own. What is dealt with of the input.
    #[cold]
    pub(crate) fn begin_after(
        &mut self,
        link: &mut Link,
        input: &[u8],
        steps: &mut Steps,
        now: Moment,
    ) -> Result<usize, Outcome> {
        let broken = || Outcome::close(0, Side::Client, Cause::BadPacket);
        let block = self.aftermath.take().map(|aftermath| aftermath.block);
        let Ok(Some(head)) = header(input, self.settings.packet_bytes_max) else { return Err(broken()) };
        let message = Message::new(head, input, 0);
        let text = message.whole().and_then(|bytes| bytes.get(HEADER_BYTES..)).unwrap_or_default();
        let (Some(Block::Over), Ends::Then(at), front::QUERY) = (block, ending_of(text), head.tag) else {
            return Err(broken());
        };
        steps.inject(Side::Client, |out| encode::command_complete(out, "ROLLBACK"));
        // It is all there, so no more of it is asked for.
        let _ = self.note_query(link, message, steps);
        self.note_request(link, steps, now);
        let rest = text[at..].strip_suffix(&[0]).unwrap_or(&text[at..]);
        steps.inject(Side::Server, |out| encode::query(out, rest));
        link.expected.push(Expect::Query);
        link.batch = Batch::Closed;
        Ok(head.total)
    }
}

/// A message that must be there to its end.
enum Whole<'a> {
    Here(&'a [u8]),
    /// As soon as it is.
    Later(Verdict),
    /// It is too long to be kept.
    Never,
}

/// Whether the client believes in what is no more, still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoesOn {
    Yes,
    No,
}

/// What a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// It was answered.
    Answered,
    /// It was answered, and the transaction is over.
    Ended,
    /// The transaction is over, and the rest of it needs a server connection.
    Needs,
    /// It is refused.
    Other,
}

impl Aftermath {
    fn query(&mut self, bytes: &[u8], steps: &mut Steps) -> Result<Heard, WireError> {
        let text = front::query(bytes)?;
        // A Query takes the unnamed ones away.
        self.forget(|exit| match exit {
            Exit::Statement(name) | Exit::Portal(name) => name.is_empty(),
        });
        Ok(match ending_of(text) {
            Ends::Empty => {
                steps.inject(Side::Client, encode::empty_query_response);
                ready(steps, self.block);
                Heard::Answered
            }
            Ends::Alone => {
                steps.inject(Side::Client, |out| encode::command_complete(out, "ROLLBACK"));
                ready(steps, Block::None);
                Heard::Ended
            }
            Ends::Then(_) => {
                self.block = Block::Over;
                Heard::Needs
            }
            Ends::No => Heard::Other,
        })
    }

    fn execute(&mut self, bytes: &[u8], steps: &mut Steps) -> Result<Heard, WireError> {
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let Some(end) = memchr::memchr(0, body) else { return Err(WireError::BadBody) };
        if !self.has_portal(&body[..end]) {
            return Ok(Heard::Other);
        }
        // Its Sync is answered as that of anybody who has no transaction.
        steps.inject(Side::Client, |out| encode::command_complete(out, "ROLLBACK"));
        Ok(Heard::Ended)
    }

    fn has_portal(&self, name: &[u8]) -> bool {
        self.exits.iter().any(|exit| matches!(exit, Exit::Portal(known) if **known == *name))
    }

    fn forget(&mut self, is_gone: impl Fn(&Exit) -> bool) {
        self.exits.retain(|exit| !is_gone(exit));
    }

    /// False: there are too many, or its name is too long to be remembered.
    fn note(&mut self, exit: Exit) -> bool {
        let (Exit::Statement(name) | Exit::Portal(name)) = &exit;
        if name.len() > NAME_BYTES_MAX {
            return false;
        }
        if self.exits.contains(&exit) {
            return true;
        }
        let has_room = self.exits.len() < EXITS_MAX;
        if has_room {
            self.exits.push(exit);
        }
        has_room
    }

    /// The client is told that its batch has come to nothing.
    fn end_batch(&mut self, steps: &mut Steps) -> Verdict {
        error(steps, "57014", CANCELED, &self.why);
        self.skip = Skip::ToSync;
        Verdict::Drop
    }

    /// The client is told that its transaction has failed.
    fn refuse(&mut self, tag: u8, steps: &mut Steps) -> Verdict {
        error(steps, "25P02", ABORTED, &self.why);
        self.forget(|exit| matches!(exit, Exit::Portal(_)));
        match tag {
            front::QUERY | front::FUNCTION_CALL => ready(steps, self.block),
            _ => self.skip = Skip::ToSync,
        }
        Verdict::Drop
    }
}

fn error(steps: &mut Steps, sqlstate: &str, message: &str, why: &str) {
    let hint = "End the transaction (ROLLBACK), then do it again from its beginning.";
    steps.inject(Side::Client, |out| {
        let fields =
            encode::Fields { severity: "ERROR", sqlstate, message, detail: Some(why), hint: Some(hint) };
        encode::error_response(out, &fields);
    });
}

fn ready(steps: &mut Steps, block: Block) {
    let status = match block {
        Block::None | Block::Over => b'I',
        Block::Failed => b'E',
    };
    steps.inject(Side::Client, |out| encode::ready_for_query(out, status));
}

impl Link {
    /// Whether a session would lose something with this connection. An unnamed statement does not count: who uses one
    /// prepares it first.
    fn keeps_session(&self) -> bool {
        self.left.pins() != Pins::NONE || self.has_named == Has::Some
    }
}
