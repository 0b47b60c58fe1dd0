//! The answers a server connection owes, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::statements::Statement;

/// Most answers that may be outstanding. A server holds back at most 8 KiB of answers, fewer than 1,700 of them, so
/// waiting for some to come in before more is sent cannot wait for ever.
pub(crate) const EXPECT_MAX: usize = 65_536;

/// Entries a queue keeps room for after a burst.
const EXPECT_KEEP: usize = 1_024;

/// One answer.
#[derive(Clone, Debug)]
pub(crate) enum Expect {
    /// Simple query: everything up to ReadyForQuery.
    Query,
    /// Function call: likewise.
    Function,
    /// ReadyForQuery.
    Sync,
    /// ParseComplete of a statement that is not managed.
    Parse,
    /// ParseComplete of a client's named statement.
    NamedParse {
        /// What was prepared.
        statement: Arc<Statement>,
        /// Which Parse of the client.
        serial: u32,
    },
    /// ParseComplete nobody asked for: swallowed.
    InjectedParse {
        /// What was prepared.
        statement: Arc<Statement>,
    },
    /// ParseComplete the server will not send, because it has the statement.
    FakeParse {
        /// Which Parse of the client.
        serial: u32,
    },
    /// The error of a Parse under a name in use.
    DuplicateParse,
    /// BindComplete.
    Bind,
    /// RowDescription or NoData.
    Describe,
    /// CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// CloseComplete.
    Close,
    /// CloseComplete nobody asked for: swallowed.
    InjectedClose {
        /// What was closed.
        statement: Arc<Statement>,
    },
    /// CloseComplete the server will not send.
    FakeClose,
    /// No answer at all: where in the stream the client ended a COPY.
    CopyEnd,
}

impl Expect {
    /// Whether PostgreSQL ends it with ReadyForQuery.
    pub(crate) fn ends_in_ready(&self) -> bool {
        matches!(self, Expect::Query | Expect::Function | Expect::Sync)
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Expected(VecDeque<Expect>);

impl Expected {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= EXPECT_MAX
    }

    #[inline]
    pub(crate) fn push(&mut self, expect: Expect) {
        self.0.push_back(expect);
    }

    #[inline]
    pub(crate) fn head(&self) -> Option<&Expect> {
        self.0.front()
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Expect> {
        let popped = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > EXPECT_KEEP {
            self.0 = VecDeque::new();
        }
        popped
    }

    /// After an error in a batch: takes out everything before the next Sync, last first, so that what was done can be
    /// undone in the right order. True if there is a Sync.
    pub(crate) fn skip_to_sync(&mut self, mut undo: impl FnMut(Expect)) -> bool {
        let at = self.0.iter().position(|e| matches!(e, Expect::Sync));
        for expect in self.0.drain(..at.unwrap_or(self.0.len())).rev() {
            undo(expect);
        }
        at.is_some()
    }

    /// A COPY FROM STDIN has begun at the head: PostgreSQL will ignore the Syncs that come next, up to where the
    /// client ended the COPY. Returns how many that are, and whether the client's end is in the queue already.
    pub(crate) fn strip_syncs_in_copy(&mut self) -> (u32, bool) {
        let mut stripped = 0;
        while matches!(self.0.get(1), Some(Expect::Sync)) {
            self.0.remove(1);
            stripped += 1;
        }
        (stripped, matches!(self.0.get(1), Some(Expect::CopyEnd)))
    }
}
