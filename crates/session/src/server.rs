//! Listening to the server.

use plimsoll_types::{Cause, Moment, PoolMode, Side, SqlState, TxState};
use plimsoll_wire::{HEADER_BYTES, Header, MESSAGE_BYTES_MAX, back, front, header};

use crate::client::{Message, emit_due};
use crate::expect::{CopyEnded, Expect};
use crate::link::{Batch, CopyIn, Count, Link, Settling};
use crate::params::{Tracked, note_both};
use crate::round::error_of;
use crate::session::{Attached, Session};
use crate::steps::{Outcome, Steps, Then};

/// Longest message that is looked into; a longer one of its kind is none of ours and streams through. Bytes.
const LOOK_BYTES_MAX: u32 = 32 * 1024;

/// What to do with the message at hand.
enum Verdict {
    Pass,
    Swallow,
    /// Its rest has to come first.
    Wait,
    Stop(Side, Cause),
}

fn broken(what: &'static str) -> Verdict {
    Verdict::Stop(Side::Server, Cause::ServerProtocol { what })
}

impl Session {
    /// Bytes from the server connection that is held.
    pub fn on_server(
        &mut self,
        link: &mut Link,
        input: &[u8],
        tracked: &Tracked,
        steps: &mut Steps,
        now: Moment,
    ) -> Outcome {
        steps.clear();
        if link.settling == Settling::Yes {
            return self.on_server_settling(link, input, tracked);
        }
        let mut at = link.to_client_left.min(input.len());
        steps.forward(Side::Client, 0..at);
        link.to_client_left -= at;
        emit_due(link, steps);
        // Up to here the client may see what was said.
        let mut shown = at;
        loop {
            let rest = &input[at..];
            let head = match header(rest, MESSAGE_BYTES_MAX) {
                Ok(Some(head)) => head,
                Ok(None) => break,
                Err(_) => {
                    return Outcome::close(at, Side::Server, Cause::ServerProtocol { what: "bad length" });
                }
            };
            let message = Message::new(head, rest, at);
            let end = at + message.bytes.len();
            match self.server_verdict(link, message, tracked, steps, now) {
                Verdict::Pass => {
                    steps.forward(Side::Client, at..end);
                    link.to_client_left = message.left();
                }
                Verdict::Swallow if message.left() > 0 => {
                    let cause = Cause::ServerProtocol { what: "message too long" };
                    return Outcome::close(at, Side::Server, cause);
                }
                Verdict::Swallow => {}
                Verdict::Wait => break,
                Verdict::Stop(side, cause) => {
                    if cause == Cause::TransactionInStatementMode {
                        steps.withhold_from_client(shown);
                    }
                    return Outcome::close(at, side, cause);
                }
            }
            at = end;
            emit_due(link, steps);
            if head.tag == back::READY_FOR_QUERY {
                shown = at;
                // What is behind the last answer is no answer of this client's, who will go on with another server: an
                // error there, taken for the answer to its next statement, would have that executed twice.
                if at < input.len()
                    && link.count == Count::Known
                    && let Some(then) = self.poll_release(link, steps)
                {
                    return Outcome::new(at, then);
                }
            }
        }
        let release = if at == input.len() { self.poll_release(link, steps) } else { None };
        Outcome::new(at, release.unwrap_or(Then::Continue))
    }

    fn server_verdict(
        &mut self,
        link: &mut Link,
        message: Message<'_>,
        tracked: &Tracked,
        steps: &mut Steps,
        now: Moment,
    ) -> Verdict {
        match message.head.tag {
            // Rows first: of these there are many.
            back::DATA_ROW => {
                steps.noted.rows += 1;
                Verdict::Pass
            }
            front::COPY_DATA => Verdict::Pass,
            back::ROW_DESCRIPTION | back::NO_DATA => {
                answer(link, |head| matches!(head, Expect::Describe { .. }))
            }
            back::BIND_COMPLETE => answer(link, |head| matches!(head, Expect::Bind { .. })),
            back::READY_FOR_QUERY => self.ready(link, message, steps, now),
            back::COMMAND_COMPLETE => self.command_complete(link, message),
            back::EMPTY_QUERY_RESPONSE => empty_query(link),
            back::PORTAL_SUSPENDED => answer(link, |head| matches!(head, Expect::Execute)),
            back::PARSE_COMPLETE => parse_complete(link),
            back::CLOSE_COMPLETE => close_complete(link),
            back::ERROR_RESPONSE => self.error(link, message),
            back::COPY_IN_RESPONSE => {
                let (syncs, ended) = link.expected.strip_syncs_in_copy();
                if syncs > 0 && !link.expected.is_ready_to_come() {
                    // The Sync that had ended the batch was swallowed: it goes on.
                    link.batch = Batch::Open;
                }
                link.copy = match ended {
                    CopyEnded::Yes => CopyIn::Ended { syncs },
                    CopyEnded::No => CopyIn::Active { syncs },
                };
                Verdict::Pass
            }
            back::FUNCTION_CALL_RESPONSE => {
                note_answered(link);
                Verdict::Pass
            }
            back::PARAMETER_STATUS => self.parameter_status(link, message, tracked),
            back::COPY_BOTH_RESPONSE => {
                link.copy = CopyIn::Both;
                Verdict::Pass
            }
            back::NOTICE_RESPONSE
            | back::NOTIFICATION_RESPONSE
            | back::PARAMETER_DESCRIPTION
            | front::COPY_DONE
            | back::COPY_OUT_RESPONSE => Verdict::Pass,
            _ => broken("unknown message type"),
        }
    }

    fn parameter_status(&mut self, link: &mut Link, message: Message<'_>, tracked: &Tracked) -> Verdict {
        let Some(bytes) = message.whole() else {
            if message.head.total > LOOK_BYTES_MAX as usize {
                // Nobody else may get a connection with a value we have not seen.
                link.count = Count::Lost;
                return Verdict::Pass;
            }
            return Verdict::Wait;
        };
        if let Ok((name, value)) = back::parameter_status(bytes)
            && let Some(index) = tracked.index(name)
        {
            link.left.replayed(name);
            link.doubt.note_parameter();
            if link.params_before.is_none() {
                link.params_before = Some(self.params.clone());
            }
            note_both(&mut self.params, &mut link.params, index, value);
        }
        Verdict::Pass
    }

    fn command_complete(&mut self, link: &mut Link, message: Message<'_>) -> Verdict {
        let Some(bytes) = message.whole() else { return wait(message.head) };
        link.copy = CopyIn::None;
        link.doubt.note_tag(bytes);
        note_answered(link);
        let verdict = answer(link, |head| matches!(head, Expect::Execute));
        // The first letter first: this is asked of every query.
        if (bytes.get(HEADER_BYTES) == Some(&b'D') || link.left.heeds_tags())
            && let Ok(tag) = back::command_tag(bytes)
        {
            if matches!(tag, b"DEALLOCATE ALL" | b"DISCARD ALL") {
                self.forget_statements(link);
            }
            link.left.told(tag);
        }
        verdict
    }

    /// After an error in a batch PostgreSQL ignores everything up to Sync, so none of it is answered.
    fn error(&mut self, link: &mut Link, message: Message<'_>) -> Verdict {
        if let Some(Expect::Bind { statement: Some(used) } | Expect::Describe { statement: Some(used) }) =
            link.expected.head()
        {
            match message.whole() {
                Some(bytes) if says_outdated(bytes) => used.mark_outdated(),
                // A function has deallocated it (DO, a procedure): the next one who needs it prepares it again.
                Some(bytes) if error_of(bytes).sqlstate() == SqlState::INVALID_STATEMENT_NAME => {
                    link.prepared.remove(used.id);
                }
                Some(_) => {}
                None if message.head.total <= LOOK_BYTES_MAX as usize => return Verdict::Wait,
                // Longer than PostgreSQL's words for it.
                None => {}
            }
        }
        link.note_farewell(message.bytes);
        if link.left.is_pending() {
            link.left.failed();
        }
        if let CopyIn::Active { syncs } | CopyIn::Ended { syncs } = std::mem::take(&mut link.copy)
            && syncs > 0
            && link.count == Count::Known
        {
            link.count = Count::Unknown;
        }
        note_answered(link);
        // Without a head it answers nothing: the server is about to close.
        let in_batch = link.expected.head().is_some_and(|head| !head.ends_in_ready());
        if in_batch && !self.skip_to_sync(link) {
            link.batch = Batch::Skipping;
        }
        Verdict::Pass
    }

    fn ready(&mut self, link: &mut Link, message: Message<'_>, steps: &mut Steps, now: Moment) -> Verdict {
        let Some(tx) = message.bytes.get(5).copied().and_then(TxState::from_byte) else {
            return if message.left() > 0 && message.head.total == 6 {
                Verdict::Wait
            } else {
                broken("ReadyForQuery without a known status")
            };
        };
        if message.head.total != 6 {
            return broken("ReadyForQuery of a wrong length");
        }
        match (link.expected.head(), link.count) {
            (Some(Expect::MarkerEnding), _) => {
                link.expected.pop();
                link.tx = tx;
                link.count = Count::Known;
                return Verdict::Swallow;
            }
            // A Sync that a failed COPY did not swallow after all: a query is answered first.
            (Some(Expect::Query | Expect::Function), Count::Unknown) => stray_ready(link),
            (Some(head), _) if head.ends_in_ready() => {
                link.expected.pop();
            }
            (_, Count::Unknown | Count::Lost) => stray_ready(link),
            (_, Count::Known) => return broken("ReadyForQuery that nobody asked for"),
        }
        link.tx = tx;
        link.copy = CopyIn::None;
        link.note_ready();
        if link.left.is_pending() {
            link.left.ready(link.under_way(), tx);
        }
        if self.settings.mode == PoolMode::Statement && tx != TxState::Idle {
            return Verdict::Stop(Side::Client, Cause::TransactionInStatementMode);
        }
        self.note_ready(link, steps, now);
        Verdict::Pass
    }

    /// Keeps the times. What is outstanding already counts from now on.
    fn note_ready(&mut self, link: &Link, steps: &mut Steps, now: Moment) {
        let goes_on = !link.expected.is_empty();
        self.ready_at = now;
        if self.query_began != Moment(0) {
            steps.counts.query_us += now.micros_since(self.query_began);
            self.query_began = Moment(0);
            if goes_on {
                self.query_began = now;
                steps.counts.queries += 1;
            }
        }
        if link.tx == TxState::Idle && self.xact_began != Moment(0) {
            steps.counts.xact_us += now.micros_since(self.xact_began);
            self.xact_began = Moment(0);
            if goes_on {
                self.xact_began = now;
                steps.counts.xacts += 1;
            }
        }
    }

    /// The answer to our own SET: nobody else sees it.
    fn on_server_settling(&mut self, link: &mut Link, input: &[u8], tracked: &Tracked) -> Outcome {
        let mut at = 0;
        loop {
            let head = match header(&input[at..], LOOK_BYTES_MAX) {
                Ok(Some(head)) => head,
                Ok(None) => return Outcome::new(at, Then::Continue),
                Err(_) => {
                    return Outcome::close(at, Side::Server, Cause::ServerProtocol { what: "bad length" });
                }
            };
            let Some(message) = input.get(at..at + head.total) else {
                return Outcome::new(at, Then::Continue);
            };
            at += head.total;
            match head.tag {
                back::PARAMETER_STATUS => link.note_parameter(message, tracked),
                back::COMMAND_COMPLETE | back::NOTICE_RESPONSE | back::NOTIFICATION_RESPONSE => {}
                back::READY_FOR_QUERY if message.get(5) == Some(&b'I') => {
                    link.settling = Settling::No;
                    self.attached = Attached::Yes;
                    self.share_params(link);
                    return Outcome::new(at, Then::Attached);
                }
                _ => return Outcome::close(at, Side::Server, Cause::InvalidServerParameter),
            }
        }
    }
}

/// An answer: the head is done with if it fits. Queries have answers of every kind.
#[inline]
fn answer(link: &mut Link, fits: impl FnOnce(&Expect) -> bool) -> Verdict {
    match link.expected.head() {
        Some(head) if fits(head) => {
            link.expected.pop();
            Verdict::Pass
        }
        Some(Expect::Query | Expect::Function | Expect::Ending) => Verdict::Pass,
        _ if link.count == Count::Lost => Verdict::Pass,
        _ => broken("answer that nobody asked for"),
    }
}

/// Whether an ErrorResponse says that the result of a prepared statement has changed. Its text is translated, its
/// SQLSTATE stands for other things too, the name of the function that raised it is neither.
fn says_outdated(message: &[u8]) -> bool {
    let mut fields = back::error_fields(message);
    let code = fields.by_ref().any(|(field, text)| field == b'C' && text == b"0A000");
    code && fields.any(|(field, text)| field == b'R' && text == b"RevalidateCachedQuery")
}

/// A query or function call has been answered: the next ReadyForQuery is its own.
#[inline]
fn note_answered(link: &mut Link) {
    if link.count == Count::Unknown && matches!(link.expected.head(), Some(Expect::Query | Expect::Function))
    {
        link.expected.replace_head(Expect::Ending);
    }
}

/// A ReadyForQuery too many: the Sync it answers has also ended the skipping.
fn stray_ready(link: &mut Link) {
    if link.batch == Batch::Skipping {
        link.batch = Batch::Closed;
    }
}

fn empty_query(link: &mut Link) -> Verdict {
    if matches!(link.expected.head(), Some(Expect::Marker)) {
        link.expected.replace_head(Expect::MarkerEnding);
        return Verdict::Swallow;
    }
    note_answered(link);
    answer(link, |head| matches!(head, Expect::Execute))
}

/// A message that has to be seen whole.
fn wait(head: Header) -> Verdict {
    if head.total > LOOK_BYTES_MAX as usize { broken("message too long") } else { Verdict::Wait }
}

fn parse_complete(link: &mut Link) -> Verdict {
    if let Some(Expect::InjectedParse { .. }) = link.expected.head() {
        link.expected.pop();
        return Verdict::Swallow;
    }
    answer(link, |head| matches!(head, Expect::Parse | Expect::NamedParse { .. }))
}

fn close_complete(link: &mut Link) -> Verdict {
    if let Some(Expect::InjectedClose { .. } | Expect::UnnamedClose) = link.expected.head() {
        link.expected.pop();
        return Verdict::Swallow;
    }
    answer(link, |head| matches!(head, Expect::Close))
}
