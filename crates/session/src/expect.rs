//! The answers a server connection owes, in order.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::image::{COUNT_MAX, ImageError, Packing, Unpacking};
use crate::statements::{Closed, Statement};

/// Most answers that may be outstanding. A server holds back at most 8 KiB of answers, fewer than 1,700 of them, so
/// waiting for some to come in before more is sent cannot wait for ever.
pub(crate) const EXPECT_MAX: usize = 65_536;

/// Entries a queue keeps room for after a burst.
const EXPECT_KEEP: usize = 1_024;

/// One answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Expect<S = Arc<Statement>> {
    /// Simple query: everything up to ReadyForQuery.
    Query,
    /// Function call: likewise.
    Function,
    /// ReadyForQuery of a simple query or function call that has been answered. Told apart only while we do not know
    /// how many ReadyForQuery are to come.
    Ending,
    /// ReadyForQuery.
    Sync,
    /// ParseComplete of a statement that is not managed.
    Parse,
    /// ParseComplete of a client's named statement.
    NamedParse {
        /// What was prepared.
        statement: S,
        /// Which Parse of the client.
        serial: u32,
    },
    /// ParseComplete nobody asked for: swallowed.
    InjectedParse {
        /// What was prepared.
        statement: S,
    },
    /// ParseComplete the server will not send, because it has the statement.
    FakeParse {
        /// Which Parse of the client.
        serial: u32,
    },
    /// The error of a Parse under a name in use.
    DuplicateParse,
    /// BindComplete.
    Bind {
        /// What is bound, if it is managed.
        statement: Option<S>,
    },
    /// RowDescription or NoData.
    Describe {
        /// What is described, if it is managed.
        statement: Option<S>,
    },
    /// CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// CloseComplete.
    Close,
    /// CloseComplete nobody asked for: swallowed.
    InjectedClose {
        /// What was closed; `None` if all statements were forgotten in the meantime.
        statement: Option<S>,
    },
    /// CloseComplete of the unnamed statement of another client: swallowed.
    UnnamedClose,
    /// CloseComplete the server will not send.
    FakeClose {
        /// The name that was taken out, if there was one.
        closed: Option<Box<Closed<S>>>,
    },
    /// No answer at all: where in the stream the client ended a COPY.
    CopyEnd,
    /// No answer at all: a Sync that COPY swallowed, or the end of a COPY that has begun.
    Nothing,
    /// EmptyQueryResponse of an empty query of our own, by which the server says that it has read everything before.
    Marker,
    /// The ReadyForQuery after it.
    MarkerEnding,
}

impl<S> Expect<S> {
    /// The same, with statements named in another way.
    fn try_map<T>(&self, mut name: impl FnMut(&S) -> Result<T, ImageError>) -> Result<Expect<T>, ImageError> {
        Ok(match self {
            Expect::Query => Expect::Query,
            Expect::Function => Expect::Function,
            Expect::Ending => Expect::Ending,
            Expect::Sync => Expect::Sync,
            Expect::Parse => Expect::Parse,
            Expect::NamedParse { statement, serial } => {
                Expect::NamedParse { statement: name(statement)?, serial: *serial }
            }
            Expect::InjectedParse { statement } => Expect::InjectedParse { statement: name(statement)? },
            Expect::FakeParse { serial } => Expect::FakeParse { serial: *serial },
            Expect::DuplicateParse => Expect::DuplicateParse,
            Expect::Bind { statement } => {
                Expect::Bind { statement: statement.as_ref().map(name).transpose()? }
            }
            Expect::Describe { statement } => {
                Expect::Describe { statement: statement.as_ref().map(name).transpose()? }
            }
            Expect::Execute => Expect::Execute,
            Expect::Close => Expect::Close,
            Expect::InjectedClose { statement } => {
                Expect::InjectedClose { statement: statement.as_ref().map(name).transpose()? }
            }
            Expect::UnnamedClose => Expect::UnnamedClose,
            Expect::FakeClose { closed: None } => Expect::FakeClose { closed: None },
            Expect::FakeClose { closed: Some(closed) } => {
                let named = closed.named.try_map(name)?;
                Expect::FakeClose { closed: Some(Box::new(Closed { name: closed.name.clone(), named })) }
            }
            Expect::CopyEnd => Expect::CopyEnd,
            Expect::Nothing => Expect::Nothing,
            Expect::Marker => Expect::Marker,
            Expect::MarkerEnding => Expect::MarkerEnding,
        })
    }
}

impl Expect {
    /// Whether PostgreSQL ends it with ReadyForQuery.
    pub(crate) fn ends_in_ready(&self) -> bool {
        matches!(self, Expect::Query | Expect::Function | Expect::Ending | Expect::Sync)
    }
}

/// The queue. Every answer has a number, counted over the life of the server connection.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    queue: VecDeque<Expect>,
    /// Number of the head.
    head_at: u64,
    /// One past the number of the last Sync that was sent and will be answered.
    synced_to: u64,
    /// One past the number of the last Close of a statement.
    closed_to: u64,
    /// One past the number of the last message that may turn out to be DEALLOCATE ALL or DISCARD ALL.
    forgets_to: u64,
    /// One past the number of the last message of those for which a Flush has been sent.
    flushed_to: u64,
    /// One past the number of the last message that the client's last Flush came after.
    asked_to: u64,
    /// Whether an entry that the server will not answer may be in the queue.
    ghosts: Ghosts,
}

/// See [`Expected::ghosts`]: most queues never have any, and those are not looked through after each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Ghosts {
    #[default]
    None,
    Perhaps,
}

impl Expected {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= EXPECT_MAX
    }

    /// The number of the next answer that is pushed.
    #[inline]
    pub(crate) fn next_at(&self) -> u64 {
        self.head_at + self.queue.len() as u64
    }

    #[inline]
    pub(crate) fn push(&mut self, expect: Expect) {
        self.queue.push_back(expect);
        match self.queue.back() {
            Some(Expect::Sync) => self.synced_to = self.next_at(),
            Some(Expect::Query | Expect::Execute) => self.forgets_to = self.next_at(),
            Some(Expect::InjectedClose { .. }) => self.closed_to = self.next_at(),
            Some(Expect::FakeClose { .. }) => {
                self.closed_to = self.next_at();
                self.ghosts = Ghosts::Perhaps;
            }
            Some(Expect::FakeParse { .. } | Expect::CopyEnd | Expect::Nothing) => {
                self.ghosts = Ghosts::Perhaps
            }
            _ => {}
        }
    }

    /// Whether the head may be an entry that the server will not answer.
    #[inline]
    pub(crate) fn may_have_ghosts(&self) -> bool {
        self.ghosts == Ghosts::Perhaps
    }

    #[inline]
    pub(crate) fn head(&self) -> Option<&Expect> {
        self.queue.front()
    }

    pub(crate) fn last(&self) -> Option<&Expect> {
        self.queue.back()
    }

    /// The number of the head.
    pub(crate) fn head_at(&self) -> u64 {
        self.head_at
    }

    /// All of them with their numbers.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Expect)> {
        (self.head_at..).zip(self.queue.iter_mut())
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Expect> {
        let popped = self.queue.pop_front()?;
        self.head_at += 1;
        if self.queue.is_empty() {
            self.ghosts = Ghosts::None;
            if self.queue.capacity() > EXPECT_KEEP {
                self.queue = VecDeque::new();
            }
        }
        Some(popped)
    }

    /// The head becomes another answer.
    pub(crate) fn replace_head(&mut self, expect: Expect) {
        if let Some(head) = self.queue.front_mut() {
            *head = expect;
        }
    }

    /// Whether what the message with this number does may still be taken back, and a message sent from now on would
    /// not be taken back with it: there is no answer yet, and a Sync lies between.
    pub(crate) fn is_doubtful(&self, at: u64) -> bool {
        at >= self.head_at && at < self.synced_to
    }

    /// Whether the server may forget all statements before it reads what is sent from now on.
    pub(crate) fn may_forget(&self) -> bool {
        self.forgets_to > self.head_at
    }

    /// Whether a Flush is needed for the answers of what [`Expected::may_forget`] speaks of to come in; only once.
    pub(crate) fn needs_flush(&mut self) -> bool {
        let needed = self.flushed_to < self.forgets_to;
        self.flushed_to = self.forgets_to;
        needed
    }

    /// The client has sent a Flush: it waits for the answers to what it has sent before.
    pub(crate) fn note_flush(&mut self) {
        self.asked_to = self.next_at();
    }

    /// Whether an answer is to come that the client has asked for, by something that ends in ReadyForQuery or by a
    /// Flush. The last `half` messages have not been sent to their end.
    pub(crate) fn is_awaited(&self, half: usize) -> bool {
        let whole = self.queue.len().saturating_sub(half);
        self.asked_to > self.head_at || self.queue.iter().take(whole).any(Expect::ends_in_ready)
    }

    /// The same while the head is a COPY FROM STDIN that reads: its own end is the client's to bring, and PostgreSQL
    /// ignores a Flush meanwhile. What stands behind it the server refuses, and so ends the COPY.
    pub(crate) fn is_awaited_behind_copy(&self, half: usize) -> bool {
        let whole = self.queue.len().saturating_sub(half);
        self.queue.iter().take(whole).skip(1).any(Expect::ends_in_ready)
    }

    /// Whether a cancel would strike the last thing the server has been asked to do: not more than one ReadyForQuery is
    /// to come. Else it may strike a BEGIN, and what stands behind it in the pipeline runs outside the transaction it
    /// was meant for, and stays. The last `half` messages have not been sent to their end, and will never run.
    pub(crate) fn is_last_at_work(&self, half: usize) -> bool {
        let whole = self.queue.len().saturating_sub(half);
        self.queue.iter().take(whole).filter(|expect| expect.ends_in_ready()).count() <= 1
    }

    /// Whether a ReadyForQuery is to come.
    pub(crate) fn is_ready_to_come(&self) -> bool {
        self.queue.iter().any(Expect::ends_in_ready)
    }

    /// Whether something may have been executed that nobody has been told of. The last `half` messages have not been sent
    /// to their end, and will never run.
    pub(crate) fn may_have_run(&self, half: usize) -> bool {
        let whole = self.queue.len().saturating_sub(half);
        self.queue.iter().take(whole).any(|expect| {
            matches!(expect, Expect::Query | Expect::Function | Expect::Bind { .. } | Expect::Execute)
        })
    }

    /// Whether the server may be at work: some message is to be answered that can take long.
    pub(crate) fn may_take_long(&self) -> bool {
        self.queue.iter().any(|expect| {
            matches!(expect, Expect::Query | Expect::Function | Expect::Bind { .. } | Expect::Execute)
        })
    }

    /// Whether a statement that is not there may come back, because its Close will not have happened.
    pub(crate) fn is_absence_doubtful(&self) -> bool {
        self.closed_to > self.head_at && self.synced_to > self.head_at
    }

    /// After an error in a batch: takes out everything before the next Sync, last first, so that what was done can be
    /// undone in the right order. True if there is a Sync.
    pub(crate) fn skip_to_sync(&mut self, mut undo: impl FnMut(Expect)) -> bool {
        let sync = self.queue.iter().position(|e| matches!(e, Expect::Sync));
        let skipped = sync.unwrap_or(self.queue.len());
        self.head_at += skipped as u64;
        for expect in self.queue.drain(..skipped).rev() {
            undo(expect);
        }
        sync.is_some()
    }

    /// A COPY FROM STDIN has begun at the head: PostgreSQL will ignore the Syncs that come next, up to where the
    /// client ended the COPY. Returns how many that are, and whether the client's end is in the queue already.
    pub(crate) fn strip_syncs_in_copy(&mut self) -> (u32, CopyEnded) {
        let mut stripped = 0;
        let mut ended = CopyEnded::No;
        for expect in self.queue.iter_mut().skip(1) {
            match expect {
                Expect::Nothing => {}
                Expect::Sync => stripped += 1,
                Expect::CopyEnd => ended = CopyEnded::Yes,
                _ => break,
            }
            *expect = Expect::Nothing;
            self.ghosts = Ghosts::Perhaps;
            if ended == CopyEnded::Yes {
                break;
            }
        }
        if stripped > 0 {
            let last = self.queue.iter().rposition(|e| matches!(e, Expect::Sync));
            self.synced_to = last.map_or(0, |at| self.head_at + at as u64 + 1);
        }
        (stripped, ended)
    }
}

/// [`Expected`] as plain values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExpectedImage {
    queue: Vec<Expect<u64>>,
    head_at: u64,
    synced_to: u64,
    closed_to: u64,
    forgets_to: u64,
    flushed_to: u64,
    asked_to: u64,
    ghosts: Ghosts,
}

impl Expected {
    /// As plain values.
    pub(crate) fn image(&self, packing: &mut Packing) -> ExpectedImage {
        let mut one = |expect: &Expect| expect.try_map(|statement| Ok(packing.statement(statement)));
        ExpectedImage {
            // Naming a statement cannot fail on this way.
            queue: self.queue.iter().flat_map(&mut one).collect(),
            head_at: self.head_at,
            synced_to: self.synced_to,
            closed_to: self.closed_to,
            forgets_to: self.forgets_to,
            flushed_to: self.flushed_to,
            asked_to: self.asked_to,
            ghosts: self.ghosts,
        }
    }
}

impl ExpectedImage {
    /// The queue again.
    pub(crate) fn unpack(self, unpacking: &Unpacking) -> Result<Expected, ImageError> {
        let numbers =
            [self.head_at, self.synced_to, self.closed_to, self.forgets_to, self.flushed_to, self.asked_to];
        // A few more than may be outstanding: what is injected beside a message.
        if numbers.iter().any(|number| *number >= COUNT_MAX) || self.queue.len() > 4 * EXPECT_MAX {
            return Err(ImageError("more answers to come than there can be"));
        }
        let one = |expect: &Expect<u64>| expect.try_map(|id| unpacking.statement(*id));
        Ok(Expected {
            queue: self.queue.iter().map(one).collect::<Result<_, _>>()?,
            head_at: self.head_at,
            synced_to: self.synced_to,
            closed_to: self.closed_to,
            forgets_to: self.forgets_to,
            flushed_to: self.flushed_to,
            asked_to: self.asked_to,
            ghosts: self.ghosts,
        })
    }
}

/// Whether the client has ended a COPY that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyEnded {
    No,
    Yes,
}

/// The serials of Parses that belong together: those in one stretch of the queue follow one another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serials(Option<Range<u32>>);

impl Serials {
    /// Adds one, next to those that are there.
    pub(crate) fn add(&mut self, serial: u32) {
        let after = serial.wrapping_add(1);
        self.0 = Some(match self.0.take() {
            None => serial..after,
            Some(range) if range.end == serial => range.start..after,
            Some(range) => serial..range.end,
        });
    }

    pub(crate) fn contains(&self, serial: u32) -> bool {
        // The counter may have wrapped in between.
        self.0
            .as_ref()
            .is_some_and(|range| serial.wrapping_sub(range.start) < range.end.wrapping_sub(range.start))
    }
}
