//! The end of a client: everything it had goes back.

use std::task::Context;

use plimsoll_config::Compat;
use plimsoll_session::Release;
use plimsoll_types::{Cause, Moment, Side};

use super::note::{Last, how};
use super::{Phase, Relay};
use crate::server::Closing;
use crate::{closer, linger, loss, report};

impl Relay {
    /// Settles everything: the place in the queue, the server connection, the client's last message, the log.
    #[cold]
    pub(super) fn finish(&mut self, cx: &mut Context<'_>, side: Side, cause: &Cause) {
        let now = self.hub.now();
        let last_words = match (side, &mut self.conn) {
            (Side::Server, Some(conn)) if cause.is_crash() => conn.last_words(),
            _ => None,
        };
        let cause = last_words.as_ref().unwrap_or(cause);
        let mid_message = self.conn.as_ref().is_some_and(|conn| conn.link.is_mid_message_to_client());
        self.leave_queue(now);
        let release = self.release(side, cause);
        self.tell_of_server(release.as_ref(), cause);
        // The log first: whoever sees the effect finds the cause there.
        let farewell = match cause {
            _ if cause.is_departure() => {
                report::leaving(&self.hub, &self.entry, cause);
                None
            }
            _ => Some(report::fatal_in(&self.hub, &self.entry, &self.pool, cause)),
        };
        self.note_death(cause);
        self.let_go(release, cause, now);
        let Some(mut stream) = self.stream.take() else { return };
        if let Some(bytes) = farewell {
            if self.output.is_empty() && !mid_message {
                // A socket that does not take an error message has no reader for it.
                let _ = stream.poll_write(cx, &bytes);
            }
            linger::close(stream);
        }
    }

    pub(super) fn leave_queue(&mut self, now: Moment) {
        if let Some(ticket) = self.ticket() {
            self.hub.withdraw(ticket, self.entry.id, now);
            self.phase = Phase::Open;
        }
        let granted = self.entry.mail().grant.take();
        if let Some((conn, _)) = granted {
            self.hub.give_back(conn, Release::Clean, now);
        }
    }

    /// Gives back what there is.
    pub(super) fn let_go(&mut self, release: Option<Release>, cause: &Cause, now: Moment) {
        if let Some(release) = release {
            self.give_back(release, Last::default(), || how(cause), now);
        }
    }

    /// In what state the client leaves its server connection, if it has one.
    pub(super) fn release(&mut self, side: Side, cause: &Cause) -> Option<Release> {
        let left = self.is_left_behind(cause);
        let conn = self.conn.as_mut()?;
        Some(match self.session.detach(&mut conn.link) {
            // server_fast_close: the server connection is what is not wanted any more.
            _ if side == Side::Server || *cause == Cause::DatabaseChanged => Release::Unusable(cause.clone()),
            Release::Unfinished if loss::frees(&self.hub.plan(), cause) => Release::Unfinished,
            Release::Unfinished if left => Release::Unusable(Cause::ClientLeftBusy),
            Release::Unfinished | Release::Unusable(_) if !left => Release::Unusable(cause.clone()),
            other => other,
        })
    }

    /// Whether the server connection is just left behind, busy as it is: its own line comes after the client's and says
    /// no more than that. PgBouncer: whenever it is the client's end that is closed, and not the server's.
    fn is_left_behind(&self, cause: &Cause) -> bool {
        match cause {
            Cause::ClientClose | Cause::ClientEof | Cause::ClientGone { .. } => true,
            Cause::DatabaseRemoved
            | Cause::AdminDisconnect
            | Cause::UnknownPacket
            | Cause::BadPacket
            | Cause::BadPacketHeader { .. }
            | Cause::PacketTooLarge
            | Cause::NoSuchStatement
            | Cause::StatementExists => self.hub.plan().own.compat == Compat::Pgbouncer,
            _ => false,
        }
    }

    /// A client that is thrown out takes its server along: the server's line comes before the client's.
    pub(super) fn tell_of_server(&mut self, release: Option<&Release>, cause: &Cause) {
        let left = self.is_left_behind(cause);
        if let (false, Some(Release::Unusable(why)), Some(conn)) = (left, release, &mut self.conn) {
            closer::log_closing(&self.hub, &conn.entry, why);
            conn.closing = Closing::Told;
        }
    }
}
