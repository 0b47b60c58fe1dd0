//! What the ledger hears of a hold. On every query's way: the record's lock once when its statement goes out and once
//! when it is over, and nothing is parsed here.

use std::sync::atomic::Ordering;

use plimsoll_ledger::{Hear, HoldState, How, Progress, Provenance, Said, SaidKind};
use plimsoll_session::{Holding, Kind, Noted, Noting, Seen, SeenText, Session};
use plimsoll_types::{Cause, Moment, Pin};

use super::Relay;
use crate::server::ServerConn;

impl Relay {
    /// Whether this client's holds are recorded.
    pub(super) fn renew_noting(&mut self) {
        self.session.set_noting(if self.hub.ledger.is_on() { Noting::On } else { Noting::Off });
    }

    /// Bytes of the client have gone to the server: `input` is what `noted` speaks of.
    #[inline]
    pub(super) fn note_said(&mut self, noted: &mut Noted, input: &[u8], sent: usize, now: Moment) {
        let Some(conn) = &mut self.conn else { return };
        if !self.hub.ledger.is_on() {
            return;
        }
        let mut record = conn.entry.record.lock();
        if !record.is_open() {
            let tally = &conn.tally;
            record.begin(tally.hold, self.entry.id, self.pool.id, tally.asked, tally.granted);
        }
        let progress = &mut record.progress;
        progress.used = now;
        progress.statements += std::mem::take(&mut noted.statements);
        progress.to_server += sent as u64;
        look(&self.session, &conn.link, progress);
        if record.progress.pins.has(Pin::Unknown) {
            record.note_unknown(conn.link.unknown_by());
        }
        if let Some(first) = &noted.first {
            let bytes_max = self.hub.ledger.statement_bytes.load(Ordering::Relaxed);
            record.say(&said(first, input), bytes_max);
            if let Some(last) = &noted.last {
                record.say(&said(last, input), bytes_max);
            }
        }
    }

    /// Bytes of the server have come, and the hold goes on.
    #[inline]
    pub(super) fn note_heard(&mut self, noted: &mut Noted, received: usize, now: Moment) {
        let rows = std::mem::take(&mut noted.rows);
        let Some(conn) = &mut self.conn else { return };
        if !self.hub.ledger.is_on() {
            return;
        }
        let mut record = conn.entry.record.lock();
        let progress = &mut record.progress;
        count(progress, rows, received, now);
        look(&self.session, &conn.link, progress);
    }

    /// The client has taken so many bytes, or none.
    pub(super) fn note_unread(&mut self, taken: usize, now: Moment) {
        let Some(conn) = &mut self.conn else { return };
        let left = match self.session.holding(&conn.link) {
            // The server has said everything: it waits for a client that has yet to read it.
            Holding::HalfBatch => self.output.len(),
            Holding::Nothing
            | Holding::Executing
            | Holding::Settling
            | Holding::InTransaction
            | Holding::InFailedTransaction
            | Holding::CopyIn
            | Holding::Replicating
            | Holding::Session => self.output.unread(),
        };
        let mut record = conn.entry.record.lock();
        let progress = &mut record.progress;
        progress.unread_bytes = left as u64;
        if taken > 0 {
            progress.client_took = now;
        }
        if left == 0 {
            progress.unread_since = Moment(0);
        } else if progress.unread_since == Moment(0) {
            progress.unread_since = now;
        }
        look(&self.session, &conn.link, progress);
    }

    /// The hold is over; these are the last bytes that came for it.
    #[inline]
    pub(super) fn note_end(&mut self, conn: &ServerConn, last: Last, how: impl FnOnce() -> How, now: Moment) {
        let uses = self.entry.note_use();
        if !self.hub.ledger.is_on() {
            return;
        }
        let hear = match uses == 1 && self.hub.ledger.hears_a_first_hold() {
            true => Hear::Always,
            false => Hear::IfRemarkable,
        };
        let ended = {
            let mut record = conn.entry.record.lock();
            count(&mut record.progress, last.rows, last.received, now);
            record.end(hear, now)
        };
        if let Some(ended) = ended {
            self.hub.ledger.ended(*ended, &self.entry, conn, &how(), &self.hub);
        }
    }
}

/// What came last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Last {
    /// Rows.
    pub(super) rows: u32,
    /// Bytes.
    pub(super) received: usize,
}

#[inline]
fn count(progress: &mut Progress, rows: u32, received: usize, now: Moment) {
    progress.used = now;
    progress.rows += u64::from(rows);
    progress.to_client += received as u64;
}

/// What the hold is doing now, and why it is kept.
#[inline]
fn look(session: &Session, link: &plimsoll_session::Link, progress: &mut Progress) {
    progress.pins = session.pins(link);
    progress.xact_since = session.xact_since();
    progress.state = if progress.unread_bytes > 0 {
        HoldState::ClientNotReading
    } else {
        match session.holding(link) {
            Holding::Executing | Holding::Replicating | Holding::Settling | Holding::Nothing => {
                HoldState::Executing
            }
            Holding::InTransaction => HoldState::InTransaction,
            Holding::InFailedTransaction => HoldState::InFailedTransaction,
            Holding::HalfBatch | Holding::CopyIn => HoldState::ClientNotSending,
            Holding::Session => HoldState::IdleInSession,
        }
    };
}

#[inline]
fn said<'a>(seen: &'a Seen, input: &'a [u8]) -> Said<'a> {
    let kind = match seen.kind {
        Kind::Plain => SaidKind::Plain,
        Kind::Any => SaidKind::Any,
    };
    match &seen.text {
        SeenText::Input { range, bytes } => {
            let text = input.get(range.clone()).unwrap_or_default();
            Said { text, bytes: *bytes, tail: &[], provenance: Provenance::Here, kind }
        }
        SeenText::Prepared(statement) => {
            let text = statement.text();
            let provenance = Provenance::Parsed { executions: seen.executions };
            Said { text, bytes: text.len(), tail: &[], provenance, kind }
        }
        SeenText::Unknown => Said { text: &[], bytes: 0, tail: &[], provenance: Provenance::None, kind },
    }
}

/// How a hold ends that ends with its client.
pub(super) fn how(cause: &Cause) -> How {
    match cause {
        Cause::ClientClose | Cause::ClientEof => How::ClientLeft,
        other => How::Cut(other.message().into_owned()),
    }
}
