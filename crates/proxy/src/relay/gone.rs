//! A peer that is gone without a word, and the message an idle client gets so that this is noticed.

use std::io;
use std::task::Context;
use std::time::Duration;

use plimsoll_session::Holding;
use plimsoll_types::{Cause, Evidence, Side};

use super::{Ended, Relay, Turn};
use crate::entry::ClientEntry;
use crate::liveness::{self, Bequest};

/// What an error of a client's socket says of its end.
pub(super) fn client_gone(entry: &ClientEntry, error: &io::Error) -> Ended {
    let evidence = match error.raw_os_error() {
        Some(libc::ETIMEDOUT) => Some(Evidence::Keepalive),
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
            Some(Evidence::Unreachable)
        }
        Some(libc::ECONNRESET | libc::EPIPE) if entry.life.owed_a_sign(&entry.heart) => Some(Evidence::Reset),
        _ => entry.life.gone(),
    };
    (Side::Client, evidence.map_or(Cause::ClientEof, |evidence| Cause::ClientGone { evidence }))
}

impl Relay {
    /// The client's socket has come to its end: by the client's will, or since it was found dead.
    #[cold]
    pub(super) fn client_ended(&self) -> Ended {
        let pending = self.stream.as_ref().and_then(|stream| stream.socket().take_error().ok().flatten());
        match (self.entry.life.gone(), pending) {
            (Some(evidence), _) => (Side::Client, Cause::ClientGone { evidence }),
            (None, Some(error)) => client_gone(&self.entry, &error),
            (None, None) => (Side::Client, Cause::ClientEof),
        }
    }

    /// The server is not listened to now; that it has been found dead is seen all the same.
    pub(super) fn look_at_unheard_server(&self) -> Result<Turn, Ended> {
        match self.conn.as_ref().and_then(|conn| conn.entry.life.gone()) {
            Some(evidence) => Err((Side::Server, Cause::ServerGone { evidence })),
            None => Ok(Turn::Wait),
        }
    }

    /// Counts a client that was found dead; what becomes of its server connection will be counted, too.
    pub(super) fn note_death(&mut self, cause: &Cause) {
        if let Cause::ClientGone { .. } = cause {
            self.hub.found.note(cause);
            let silent = self.stream.as_ref().and_then(|stream| liveness::last_heard(stream.socket()));
            if let Some(conn) = &mut self.conn {
                let bequest = Bequest::new(&self.hub, silent.unwrap_or(Duration::ZERO));
                conn.tally.bequest = Some(Box::new(bequest));
            }
        }
    }

    /// Sends a heartbeat, unless something is under way: then there is no need for one.
    pub(super) fn beat(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        let holding = self.conn.as_ref().map_or(Holding::Nothing, |conn| self.session.holding(&conn.link));
        let between_answers = match holding {
            Holding::Nothing | Holding::Session | Holding::InTransaction | Holding::InFailedTransaction => {
                true
            }
            Holding::Executing
            | Holding::HalfBatch
            | Holding::CopyIn
            | Holding::Replicating
            | Holding::Settling => false,
        };
        let mid_message = self.conn.as_ref().is_some_and(|conn| conn.link.is_mid_message_to_client());
        if !between_answers || mid_message || !self.is_at_rest() {
            return Ok(());
        }
        let Some(bytes) = liveness::message(&self.hub.tracked, self.session.params()) else { return Ok(()) };
        let record = if self.entry.tls.is_some() { TLS_RECORD_BYTES } else { 0 };
        self.entry.heart.note(bytes.len() + record);
        self.hub.found.note_heartbeat();
        self.send_client(cx, &bytes)
    }
}

/// What a record of TLS adds to what is in it, at most as our ciphers go; bytes.
const TLS_RECORD_BYTES: usize = 40;
