//! Listening to the client.

use plimsoll_types::{Cause, Moment, Side};
use plimsoll_wire::front::{self, Subject};
use plimsoll_wire::{HEADER_BYTES, Header, WireError, encode, header};

use crate::expect::Expect;
use crate::link::{Batch, CopyIn, Count, Has, Link};
use crate::session::{Attached, Session};
use crate::statements::{Statements, is_reserved};
use crate::steps::{Outcome, Steps, Then};

/// How much of a message with an impossible length is shown, as PgBouncer does.
const HEAD_SHOWN_BYTES: usize = 8;

/// What to do with the message at hand.
pub(crate) enum Verdict {
    /// It goes on as it is, in parts if need be.
    Pass,
    /// It goes nowhere.
    Drop,
    /// It has been replaced by steps; nothing of it is left to do.
    Replaced,
    /// Its first bytes have been replaced by steps; from there on it goes on as it is.
    PassFrom(usize),
    /// See [`Then`].
    Stop(Then),
}

pub(crate) fn stop(cause: Cause) -> Verdict {
    Verdict::Stop(Then::Close { side: Side::Client, cause })
}

/// A message of which the beginning is at hand.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) head: Header,
    /// From its type byte to its end or the end of the input.
    pub(crate) bytes: &'a [u8],
    /// Where in the input it begins.
    pub(crate) at: usize,
}

impl<'a> Message<'a> {
    /// `rest`: the input from the message on; `at`: where in the input that is.
    pub(crate) fn new(head: Header, rest: &'a [u8], at: usize) -> Message<'a> {
        Message { head, bytes: &rest[..head.total.min(rest.len())], at }
    }

    /// The message, if it is all there.
    pub(crate) fn whole(&self) -> Option<&'a [u8]> {
        (self.bytes.len() == self.head.total).then_some(self.bytes)
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> usize {
        self.head.total - self.bytes.len()
    }
}

impl Session {
    /// Bytes from the client, beginning at a message boundary or inside a message whose beginning was forwarded.
    /// `link` is `None` while no server connection is held.
    pub fn on_client(
        &mut self,
        link: Option<&mut Link>,
        input: &[u8],
        statements: &dyn Statements,
        steps: &mut Steps,
        now: Moment,
    ) -> Outcome {
        steps.clear();
        match self.attached {
            Attached::Settling => return Outcome::new(0, Then::Busy),
            Attached::Busy => self.attached = Attached::Yes,
            Attached::Yes | Attached::No => {}
        }
        match link {
            Some(link) => {
                let begun = match &self.aftermath {
                    None => 0,
                    Some(_) => match self.begin_after(link, input, steps, now) {
                        Ok(begun) => begun,
                        Err(outcome) => return outcome,
                    },
                };
                self.on_client_linked(link, (input, begun), statements, steps, now)
            }
            None => self.on_client_unlinked(input, statements, steps, now),
        }
    }

    /// Drops what is left of a message that goes nowhere.
    fn drop_rest(&mut self, input: &[u8]) -> usize {
        let n = self.drop_left.min(input.len());
        self.drop_left -= n;
        n
    }

    // ---- without a server connection

    fn on_client_unlinked(
        &mut self,
        input: &[u8],
        statements: &dyn Statements,
        steps: &mut Steps,
        now: Moment,
    ) -> Outcome {
        let mut at = self.drop_rest(input);
        loop {
            let rest = &input[at..];
            let head = match header(rest, self.settings.packet_bytes_max) {
                Ok(Some(head)) => head,
                Ok(None) => return Outcome::new(at, Then::Continue),
                Err(e) => return Outcome::close(at, Side::Client, cause_of(e, rest)),
            };
            let message = Message::new(head, rest, at);
            let verdict = match self.aftermath {
                None => self.unlinked_verdict(message, steps),
                Some(_) => self.verdict_after(message, statements, steps),
            };
            match verdict {
                Verdict::Stop(Then::NeedServer) => return Outcome::new(at, self.hold_back(message, rest)),
                Verdict::Stop(then) => return Outcome::new(at, then),
                Verdict::Drop | Verdict::Pass | Verdict::Replaced | Verdict::PassFrom(_) => {
                    self.drop_left = message.left();
                    self.requested = now;
                    at += message.bytes.len();
                }
            }
        }
    }

    fn unlinked_verdict(&mut self, message: Message<'_>, steps: &mut Steps) -> Verdict {
        match message.head.tag {
            // Nothing is outstanding and no transaction is open: what PostgreSQL would answer is known.
            front::SYNC => {
                steps.inject(Side::Client, |out| encode::ready_for_query(out, b'I'));
                Verdict::Replaced
            }
            front::FLUSH | front::COPY_DATA | front::COPY_DONE | front::COPY_FAIL => Verdict::Drop,
            front::CLOSE if self.manages_statements() => match self.whole(message) {
                Err(verdict) => verdict,
                Ok(bytes) => match front::subject(bytes) {
                    Ok(Subject::Statement(name)) => {
                        self.names.remove(name);
                        steps.inject(Side::Client, encode::close_complete);
                        Verdict::Replaced
                    }
                    Ok(Subject::Portal(_)) => Verdict::Stop(Then::NeedServer),
                    Err(_) => stop(Cause::BadPacket),
                },
            },
            // What has to be collected is collected before it takes a server connection.
            front::DESCRIBE if self.manages_statements() => match self.whole(message) {
                Err(verdict) => verdict,
                Ok(_) => Verdict::Stop(Then::NeedServer),
            },
            front::BIND if self.manages_statements() => match self.bind_names(message) {
                Err(verdict) => verdict,
                Ok(_) => Verdict::Stop(Then::NeedServer),
            },
            front::PARSE if self.manages_statements() => match message.bytes.get(HEADER_BYTES) {
                None => self.collect(message, HEADER_BYTES + 1),
                Some(0) => self.need_server_for(message),
                Some(_) => match self.whole(message) {
                    Err(verdict) => verdict,
                    Ok(_) => Verdict::Stop(Then::NeedServer),
                },
            },
            front::TERMINATE => stop(Cause::ClientClose),
            front::QUERY | front::PARSE => self.need_server_for(message),
            front::BIND | front::DESCRIBE | front::EXECUTE | front::CLOSE | front::FUNCTION_CALL => {
                Verdict::Stop(Then::NeedServer)
            }
            _ => stop(Cause::UnknownPacket),
        }
    }

    /// A message with a text: a server connection is taken when as much of it is there as is looked at.
    fn need_server_for(&self, message: Message<'_>) -> Verdict {
        match self.wants_text(message) {
            None => Verdict::Stop(Then::NeedServer),
            Some(bytes) => self.collect(message, bytes),
        }
    }

    /// The message if it is whole; else a verdict that asks for the rest, or refuses one that is too large to keep.
    pub(crate) fn whole<'a>(&self, message: Message<'a>) -> Result<&'a [u8], Verdict> {
        // One that is too large is refused even if it comes in one piece.
        match message.whole() {
            Some(bytes) if bytes.len() <= self.settings.collect_bytes_max => Ok(bytes),
            _ => Err(self.collect(message, message.head.total)),
        }
    }

    /// Asks for so many bytes of the message.
    #[cold]
    pub(crate) fn collect(&self, message: Message<'_>, bytes: usize) -> Verdict {
        let bytes_max = self.settings.collect_bytes_max;
        if bytes > message.head.total {
            return stop(Cause::BadPacket);
        }
        if bytes > bytes_max {
            stop(Cause::CollectTooLarge { bytes_max })
        } else {
            Verdict::Stop(Then::Collect { bytes })
        }
    }

    // ---- with a server connection

    fn on_client_linked(
        &mut self,
        link: &mut Link,
        (input, begun): (&[u8], usize),
        statements: &dyn Statements,
        steps: &mut Steps,
        now: Moment,
    ) -> Outcome {
        let mut at = begun + self.drop_rest(&input[begun..]);
        if link.to_server_left > 0 {
            let n = link.to_server_left.min(input.len() - at);
            steps.forward(Side::Server, at..at + n);
            link.to_server_left -= n;
            at += n;
        }
        loop {
            let rest = &input[at..];
            let head = match header(rest, self.settings.packet_bytes_max) {
                Ok(Some(head)) => head,
                Ok(None) => {
                    // The server may have been done while a message to it was half sent. A connection that has just
                    // been granted is for a message to come.
                    let release = if at > 0 { self.poll_release(link, steps) } else { None };
                    return Outcome::new(at, release.unwrap_or(Then::Continue));
                }
                Err(e) => return Outcome::close(at, Side::Client, cause_of(e, rest)),
            };
            // What asks for no answer goes on: the server may wait for it.
            let asks = !matches!(head.tag, front::COPY_DATA | front::FLUSH | front::TERMINATE);
            if asks && link.expected.is_full() {
                self.attached = Attached::Busy;
                return Outcome::new(at, Then::Busy);
            }
            let message = Message::new(head, rest, at);
            let end = at + message.bytes.len();
            match self.linked_verdict(link, message, statements, steps, now) {
                Verdict::Pass => {
                    steps.forward(Side::Server, at..end);
                    link.to_server_left = message.left();
                }
                Verdict::PassFrom(from) => {
                    steps.forward(Side::Server, at + from..end);
                    link.to_server_left = message.left();
                }
                Verdict::Drop => self.drop_left = message.left(),
                Verdict::Replaced => {}
                Verdict::Stop(then) => {
                    if then == Then::Busy {
                        self.attached = Attached::Busy;
                    }
                    return Outcome::new(at, then);
                }
            }
            at = end;
        }
    }

    fn linked_verdict(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
        now: Moment,
    ) -> Verdict {
        let tag = message.head.tag;
        if link.batch == Batch::Skipping && !matches!(tag, front::SYNC | front::TERMINATE) {
            // The server ignores everything up to Sync, a simple Query too.
            return Verdict::Drop;
        }
        if let CopyIn::Active { syncs } = link.copy
            && let Some(verdict) = in_copy(link, syncs, tag)
        {
            return verdict;
        }
        match tag {
            front::QUERY => {
                if let Some(bytes) = self.note_query(link, message, steps) {
                    return self.collect(message, bytes);
                }
                self.ends_in_ready(link, Expect::Query, steps, now);
                Verdict::Pass
            }
            front::SYNC => {
                self.ends_in_ready(link, Expect::Sync, steps, now);
                Verdict::Pass
            }
            front::FUNCTION_CALL => {
                if let Some(bytes) = self.note_call(link, message, steps) {
                    return self.collect(message, bytes);
                }
                self.ends_in_ready(link, Expect::Function, steps, now);
                Verdict::Pass
            }
            front::PARSE | front::BIND | front::DESCRIBE | front::EXECUTE | front::CLOSE => {
                self.extended(link, message, statements, steps, now)
            }
            front::COPY_DONE | front::COPY_FAIL if link.is_copy_both() => Verdict::Pass,
            front::COPY_DONE | front::COPY_FAIL => {
                // The COPY it ends may not have begun yet: its place in the stream counts.
                if !link.expected.is_empty() {
                    link.expected.push(Expect::CopyEnd);
                }
                Verdict::Pass
            }
            front::COPY_DATA => Verdict::Pass,
            front::FLUSH => {
                link.expected.note_flush();
                Verdict::Pass
            }
            front::TERMINATE => stop(Cause::ClientClose),
            _ => stop(Cause::UnknownPacket),
        }
    }

    #[inline]
    fn ends_in_ready(&mut self, link: &mut Link, expect: Expect, steps: &mut Steps, now: Moment) {
        self.note_request(link, steps, now);
        link.expected.push(expect);
        link.batch = Batch::Closed;
    }

    fn extended(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        statements: &dyn Statements,
        steps: &mut Steps,
        now: Moment,
    ) -> Verdict {
        let tag = message.head.tag;
        let verdict = match tag {
            front::PARSE if self.manages_statements() => self.parse(link, message, statements, steps),
            front::BIND if self.manages_statements() => self.bind(link, message, statements, steps),
            front::DESCRIBE | front::CLOSE if self.manages_statements() => {
                self.subject(link, message, statements, steps)
            }
            front::PARSE => match self.note_parse(link, message, steps) {
                None => {
                    if message.bytes.get(HEADER_BYTES).is_some_and(|first| *first != 0) {
                        link.has_named = Has::Some;
                    }
                    push(link, Expect::Parse)
                }
                Some(bytes) => self.collect(message, bytes),
            },
            front::BIND => match self.note_bind_unmanaged(link, message) {
                None => push(link, Expect::Bind { statement: None }),
                Some(bytes) => self.collect(message, bytes),
            },
            front::DESCRIBE => push(link, Expect::Describe { statement: None }),
            front::CLOSE => push(link, Expect::Close),
            _ => match self.note_execute(link, message, steps) {
                None => push(link, Expect::Execute),
                Some(bytes) => self.collect(message, bytes),
            },
        };
        match (tag, &verdict) {
            // A Close that we answer by ourselves begins no batch at the server.
            (_, Verdict::Stop(_) | Verdict::Drop) | (front::CLOSE, Verdict::Replaced) => {}
            (_, Verdict::Pass | Verdict::PassFrom(_) | Verdict::Replaced) => {
                self.note_request(link, steps, now);
                link.batch = Batch::Open;
            }
        }
        emit_due(link, steps);
        verdict
    }
}

/// Sends the fakes that have come to the head of the queue; not into the middle of another message.
#[inline]
pub(crate) fn emit_due(link: &mut Link, steps: &mut Steps) {
    if link.expected.may_have_ghosts() {
        emit_ghosts(link, steps);
    }
}

fn emit_ghosts(link: &mut Link, steps: &mut Steps) {
    while link.to_client_left == 0 {
        match link.expected.head() {
            Some(Expect::FakeParse { .. }) => steps.inject(Side::Client, encode::parse_complete),
            Some(Expect::FakeClose { .. }) => steps.inject(Side::Client, encode::close_complete),
            Some(Expect::CopyEnd | Expect::Nothing) => {}
            _ => return,
        }
        link.expected.pop();
    }
}

pub(crate) fn push(link: &mut Link, expect: Expect) -> Verdict {
    link.expected.push(expect);
    Verdict::Pass
}

/// What is different while the server reads COPY data and `syncs` Syncs are on their way to it. `None`: nothing.
fn in_copy(link: &mut Link, syncs: u32, tag: u8) -> Option<Verdict> {
    match tag {
        front::COPY_DATA | front::FLUSH => Some(Verdict::Pass),
        front::SYNC => {
            // PostgreSQL ignores it, unless the COPY has failed by then.
            link.copy = CopyIn::Active { syncs: syncs.saturating_add(1) };
            Some(Verdict::Pass)
        }
        front::COPY_DONE | front::COPY_FAIL => {
            link.copy = CopyIn::Ended { syncs };
            Some(Verdict::Pass)
        }
        front::QUERY
        | front::FUNCTION_CALL
        | front::PARSE
        | front::BIND
        | front::DESCRIBE
        | front::EXECUTE
        | front::CLOSE => {
            // The COPY fails of it and the message is lost, or the server ends: what comes back cannot be foretold.
            link.count = Count::Lost;
            Some(Verdict::Pass)
        }
        _ => None,
    }
}

/// Why a message that begins like this cannot be taken.
fn cause_of(error: WireError, input: &[u8]) -> Cause {
    match error {
        WireError::TooLong => Cause::PacketTooLarge,
        WireError::BadLength => {
            let head = &input[..input.len().min(HEAD_SHOWN_BYTES)];
            let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            Cause::BadPacketHeader { hex: hex.into() }
        }
        WireError::BadBody => Cause::BadPacket,
    }
}

/// Whether an unknown name may be left for the server to refuse.
pub(crate) fn may_pass_unknown(session: &Session, name: &[u8]) -> bool {
    !session.settings.compat && !is_reserved(name)
}
