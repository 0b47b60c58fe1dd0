//! A server connection as it is handed around: the socket, the session machine's half, and bytes under way.

use std::sync::Arc;
use std::task::Context;

use plimsoll_session::{Freeing, Link, Params, Tracked};
use plimsoll_types::{Cause, SlotId, WorkerId};

use crate::carry::Carry;
use crate::directory::{PoolEntry, Welcome};
use crate::entry::ServerEntry;
use crate::socket::{Stream, server_cause};
use crate::tally::Tally;

/// How far the last words of a server are looked for, bytes.
const LAST_WORDS_BYTES_MAX: usize = 64 * 1024;

/// A logged-in server connection. Exactly one place owns it at any time: a client's task, the table of parked ones, a
/// mailbox, or a task that cleans or closes it.
#[derive(Debug)]
pub(crate) struct ServerConn {
    /// Its slot in the pool.
    pub(crate) slot: SlotId,
    /// Its pool.
    pub(crate) pool: Arc<PoolEntry>,
    /// The socket.
    pub(crate) stream: Stream,
    /// Transaction state, answers outstanding, prepared statements, parameters.
    pub(crate) link: Link,
    /// Received, not dealt with: less than a message.
    pub(crate) input: Vec<u8>,
    /// Not yet taken by the kernel.
    pub(crate) output: Carry,
    /// The shared record.
    pub(crate) entry: Arc<ServerEntry>,
    /// The parameter values the console shows.
    pub(crate) shown: Option<Arc<Params>>,
    /// The worker whose runtime the socket is registered with.
    pub(crate) home: WorkerId,
    /// The hold under way.
    pub(crate) tally: Tally,
    /// Whether the log knows already why it is closed.
    pub(crate) closing: Closing,
    /// What the server said of itself when it logged us in, where that is for the client alone that it was opened for.
    pub(crate) welcome: Option<Arc<Welcome>>,
    /// What its last client was in the middle of, to be ended before anybody else gets it.
    pub(crate) unfinished: Option<Box<Freeing>>,
}

/// Whether the log knows why a server connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// Not yet, or it is not closed at all. Next: `Told`.
    Untold,
    /// It does. Next: none, the connection is closed.
    Told,
}

/// What was seen of a server connection before it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Looked {
    /// It has nothing to say and will wake the task that looked: asking again before that would only cost time.
    Quiet,
    /// Nothing that is in the way; it has to be asked again.
    Usable,
}

impl ServerConn {
    /// The connection, registered with the runtime of this worker, on which it is called. `None`: that failed, and the
    /// socket is closed.
    pub(crate) fn rehomed(self: Box<Self>, worker: WorkerId) -> Option<Box<ServerConn>> {
        if self.home == worker {
            return Some(self);
        }
        let ServerConn { stream, home: _, slot, pool, link, input, output, entry, shown, tally, .. } = *self;
        let (closing, unfinished, welcome) = (self.closing, self.unfinished, self.welcome);
        let (stream, home) = (stream.rehome().ok()?, worker);
        Some(Box::new(ServerConn {
            slot,
            pool,
            stream,
            link,
            input,
            output,
            entry,
            shown,
            home,
            tally,
            closing,
            welcome,
            unfinished,
        }))
    }

    /// Looks at a connection that was idle before it is used: one that has ended, or has said what it should not,
    /// must not be given a query. Costs no system call while nothing has come in.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn look(&mut self, cx: &mut Context<'_>, tracked: &Tracked) -> Result<Looked, Cause> {
        if !self.input.is_empty() {
            let consumed = self.link.on_idle(&self.input, tracked)?;
            self.input.drain(..consumed);
        }
        if self.stream.poll_readable(cx).is_pending() {
            return Ok(Looked::Quiet);
        }
        let mut chunk = [0; 1024];
        loop {
            match self.stream.try_read(&mut chunk) {
                None => return Ok(Looked::Usable),
                Some(Ok(0)) => return Err(self.entry.end_cause()),
                Some(Err(e)) => return Err(server_cause(&e)),
                Some(Ok(n)) => self.input.extend_from_slice(&chunk[..n]),
            }
            let consumed = self.link.on_idle(&self.input, tracked)?;
            self.input.drain(..consumed);
        }
    }

    /// Takes in what came behind the last answer: it belongs to nobody.
    ///
    /// # Errors
    /// Why the connection cannot be used again.
    pub(crate) fn take_in_rest(&mut self, tracked: &Tracked) -> Result<(), Cause> {
        if self.input.is_empty() {
            return Ok(());
        }
        let consumed = self.link.on_idle(&self.input, tracked)?;
        self.input.drain(..consumed);
        if self.input.is_empty() { Ok(()) } else { Err(Cause::ServerStateUnknown) }
    }

    /// The FATAL of a server that broke off while we were sending: it may be there, unread.
    pub(crate) fn last_words(&mut self) -> Option<Cause> {
        let mut chunk = [0; 4096];
        while self.input.len() < LAST_WORDS_BYTES_MAX
            && let Some(Ok(n)) = self.stream.try_read(&mut chunk)
            && n > 0
        {
            self.input.extend_from_slice(&chunk[..n]);
        }
        self.link.last_words(&self.input)
    }
}
