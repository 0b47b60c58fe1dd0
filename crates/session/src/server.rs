//! Listening to the server.

use plimsoll_types::{Cause, Moment, PoolMode, Side, TxState};
use plimsoll_wire::{Header, MESSAGE_BYTES_MAX, back, front, header};

use crate::client::Message;
use crate::expect::Expect;
use crate::link::{Batch, CopyIn, Count, Link, Settling};
use crate::params::{Tracked, note_both};
use crate::session::{Attached, Session};
use crate::steps::{Outcome, Steps, Then};

/// Longest message that is looked into; a longer one of its kind is none of ours and streams through. Bytes.
const LOOK_BYTES_MAX: usize = 64 * 1024;

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
        loop {
            let rest = &input[at..];
            let head = match header(rest, MESSAGE_BYTES_MAX) {
                Ok(Some(head)) => head,
                Ok(None) => break,
                Err(_) => {
                    return Outcome::close(at, Side::Server, Cause::ServerProtocol { what: "bad length" });
                }
            };
            let message = Message::new(head, rest);
            let end = at + message.bytes.len();
            match self.server_verdict(link, message, tracked, steps, now) {
                Verdict::Pass => {
                    steps.forward(Side::Client, at..end);
                    link.to_client_left = message.left();
                }
                Verdict::Swallow => {}
                Verdict::Wait => break,
                Verdict::Stop(side, cause) => {
                    if cause == Cause::TransactionInStatementMode {
                        steps.withhold_from_client();
                    }
                    return Outcome::close(at, side, cause);
                }
            }
            at = end;
            self.emit_due(link, steps);
        }
        if at == input.len() && self.may_release(link) {
            self.attached = Attached::No;
            return Outcome::new(at, Then::Release(self.release(link)));
        }
        Outcome::new(at, Then::Continue)
    }

    fn may_release(&self, link: &Link) -> bool {
        self.attached == Attached::Yes && self.settings.mode != PoolMode::Session && link.is_resting()
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
            back::DATA_ROW | front::COPY_DATA => Verdict::Pass,
            back::ROW_DESCRIPTION | back::NO_DATA => {
                pop_if(link, |head| matches!(head, Expect::Describe));
                Verdict::Pass
            }
            back::BIND_COMPLETE => {
                pop_if(link, |head| matches!(head, Expect::Bind));
                Verdict::Pass
            }
            back::READY_FOR_QUERY => self.ready(link, message, steps, now),
            back::COMMAND_COMPLETE => self.command_complete(link, message),
            back::EMPTY_QUERY_RESPONSE | back::PORTAL_SUSPENDED => {
                pop_if(link, |head| matches!(head, Expect::Execute));
                Verdict::Pass
            }
            back::PARSE_COMPLETE => parse_complete(link),
            back::CLOSE_COMPLETE => close_complete(link),
            back::ERROR_RESPONSE => self.error(link),
            back::COPY_IN_RESPONSE => {
                let (syncs, ended) = link.expected.strip_syncs_in_copy();
                link.copy = if ended { CopyIn::None } else { CopyIn::Active { syncs } };
                Verdict::Pass
            }
            back::PARAMETER_STATUS => self.parameter_status(link, message, tracked),
            back::NOTICE_RESPONSE
            | back::NOTIFICATION_RESPONSE
            | back::PARAMETER_DESCRIPTION
            | front::COPY_DONE
            | back::COPY_OUT_RESPONSE
            | back::COPY_BOTH_RESPONSE
            | back::FUNCTION_CALL_RESPONSE => Verdict::Pass,
            _ => broken("unknown message type"),
        }
    }

    fn parameter_status(&mut self, link: &mut Link, message: Message<'_>, tracked: &Tracked) -> Verdict {
        let Some(bytes) = message.whole() else { return wait_or_pass(message.head) };
        if let Ok((name, value)) = back::parameter_status(bytes)
            && let Some(index) = tracked.index(name)
        {
            note_both(&mut self.params, &mut link.params, index, value);
        }
        Verdict::Pass
    }

    fn command_complete(&mut self, link: &mut Link, message: Message<'_>) -> Verdict {
        let Some(bytes) = message.whole() else { return wait_or_pass(message.head) };
        if matches!(back::command_tag(bytes), Ok(b"DEALLOCATE ALL" | b"DISCARD ALL")) {
            link.prepared.clear();
            self.names.clear();
        }
        link.copy = CopyIn::None;
        pop_if(link, |head| matches!(head, Expect::Execute));
        Verdict::Pass
    }

    /// After an error in a batch PostgreSQL ignores everything up to Sync, so none of it is answered.
    fn error(&mut self, link: &mut Link) -> Verdict {
        if let CopyIn::Active { syncs } = std::mem::take(&mut link.copy)
            && syncs > 0
        {
            link.count = Count::Unknown;
        }
        match link.expected.head() {
            // Not an answer to anything: the server is about to close.
            None => return Verdict::Pass,
            Some(head) if head.ends_in_ready() => return Verdict::Pass,
            Some(Expect::DuplicateParse) => {
                link.expected.pop();
            }
            Some(_) => {}
        }
        let mut expected = std::mem::take(&mut link.expected);
        let has_sync = expected.skip_to_sync(|expect| {
            if let Some(serial) = link.undo(expect) {
                self.names.forget_serial(serial);
            }
        });
        link.expected = expected;
        if !has_sync {
            link.batch = Batch::Skipping;
        }
        Verdict::Pass
    }

    fn ready(&mut self, link: &mut Link, message: Message<'_>, steps: &mut Steps, now: Moment) -> Verdict {
        let Some(bytes) = message.whole() else { return wait_or_pass(message.head) };
        let Some(tx) = bytes.get(5).copied().and_then(TxState::from_byte).filter(|_| bytes.len() == 6) else {
            return broken("ReadyForQuery without a known status");
        };
        match link.expected.head() {
            Some(head) if head.ends_in_ready() => {
                link.expected.pop();
            }
            // A Sync that a failed COPY did not swallow after all.
            _ if link.count == Count::Unknown => link.batch = Batch::Closed,
            _ => return broken("ReadyForQuery that nobody asked for"),
        }
        link.tx = tx;
        link.copy = CopyIn::None;
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
            self.query_began = if goes_on { now } else { Moment(0) };
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
            let head = match header(&input[at..], LOOK_BYTES_MAX as u32) {
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

#[inline]
fn pop_if(link: &mut Link, fits: impl FnOnce(&Expect) -> bool) {
    if link.expected.head().is_some_and(fits) {
        link.expected.pop();
    }
}

/// A message that has to be seen whole: the rest is waited for, unless it is longer than any of its kind.
fn wait_or_pass(head: Header) -> Verdict {
    if head.total > LOOK_BYTES_MAX { Verdict::Pass } else { Verdict::Wait }
}

fn parse_complete(link: &mut Link) -> Verdict {
    match link.expected.head() {
        Some(Expect::Parse | Expect::NamedParse { .. } | Expect::DuplicateParse) => {
            link.expected.pop();
            Verdict::Pass
        }
        Some(Expect::InjectedParse { .. }) => {
            link.expected.pop();
            Verdict::Swallow
        }
        _ => broken("ParseComplete that nobody asked for"),
    }
}

fn close_complete(link: &mut Link) -> Verdict {
    match link.expected.head() {
        Some(Expect::Close) => {
            link.expected.pop();
            Verdict::Pass
        }
        Some(Expect::InjectedClose { .. }) => {
            link.expected.pop();
            Verdict::Swallow
        }
        _ => broken("CloseComplete that nobody asked for"),
    }
}
