//! The server connection's half of the machine.

use std::ops::Range;
use std::sync::Arc;

use plimsoll_types::{Cause, Moment, Pin, Pins, TxState};
use plimsoll_wire::{HEADER_BYTES, MESSAGE_BYTES_MAX, back, header};
use serde::{Deserialize, Serialize};

use crate::expect::Expected;
use crate::left::{Left, UnderWay};
use crate::params::{Params, Tracked, note};
use crate::round::error_of;
use crate::statements::Prepared;
use crate::steps::Ending;

/// Where the client is in a batch of the extended protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Batch {
    /// Not in one: the last message ended with ReadyForQuery to come.
    #[default]
    Closed,
    /// Messages were sent, Sync was not.
    Open,
    /// The server reported an error and ignores everything up to Sync.
    Skipping,
}

/// COPY FROM STDIN, as the client's messages see it. PostgreSQL ignores the Syncs it reads as part of it; if the COPY
/// fails, nobody can know which of them it had read by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CopyIn {
    /// None.
    #[default]
    None,
    /// The server reads CopyData.
    Active {
        /// Syncs sent that may not be answered.
        syncs: u32,
    },
    /// The client has ended it; whether it went well is not known.
    Ended {
        /// Syncs sent that may not be answered.
        syncs: u32,
    },
    /// No COPY FROM STDIN, but CopyBoth (PostgreSQL manual, "Streaming Replication Protocol"): both sides send CopyData
    /// until both have said CopyDone. What the client sends besides is the server's to refuse.
    Both,
}

/// What a server connection is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Use {
    /// Queries, of one client after the other.
    #[default]
    Queries,
    /// Replication, for one client from its login to its end.
    Replication,
}

/// Whose the unnamed statement is. It is not managed, but it stays on the server connection after its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unnamed {
    /// Perhaps another client's: the one who holds the connection has prepared none.
    #[default]
    Foreign,
    /// Its holder's, or there is none: unless the server skips what made it so.
    Own {
        /// Number of the first answer on which that depends; an error takes it away.
        first: u64,
        /// Number of the last one.
        last: u64,
    },
}

impl Unnamed {
    /// What asks for the answer `at` makes it the holder's, or makes it none.
    pub(crate) fn owned_at(self, at: u64) -> Unnamed {
        match self {
            Unnamed::Foreign => Unnamed::Own { first: at, last: at },
            Unnamed::Own { first, .. } => Unnamed::Own { first, last: at },
        }
    }

    /// The messages with these answers were skipped.
    pub(crate) fn without(self, skipped: &Range<u64>) -> Unnamed {
        match self {
            Unnamed::Foreign => Unnamed::Foreign,
            Unnamed::Own { first, last } => match (skipped.contains(&first), skipped.contains(&last)) {
                (true, true) => Unnamed::Foreign,
                (true, false) => Unnamed::Own { first: last, last },
                (false, true) => Unnamed::Own { first, last: first },
                (false, false) => self,
            },
        }
    }
}

/// Whether we know how many ReadyForQuery are to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Count {
    /// We do.
    #[default]
    Known,
    /// A COPY failed while Syncs were under way which it may or may not have swallowed.
    Unknown,
    /// Messages were lost: we will not know again.
    Lost,
}

/// The server connection's half: transaction state, answers outstanding, statements prepared, parameter values.
#[derive(Debug)]
pub struct Link {
    pub(crate) tx: TxState,
    pub(crate) batch: Batch,
    pub(crate) copy: CopyIn,
    pub(crate) count: Count,
    pub(crate) expected: Expected,
    pub(crate) prepared: Prepared,
    pub(crate) unnamed: Unnamed,
    /// The number of the client that held the connection last; 0: not known.
    pub(crate) last_holder: u64,
    pub(crate) params: Arc<Params>,
    /// Bytes of a client's message that are still to be forwarded.
    pub(crate) to_server_left: usize,
    /// Bytes of a server's message that are still to be forwarded.
    pub(crate) to_client_left: usize,
    /// A SET round is under way.
    pub(crate) settling: Settling,
    /// When the client last did something while it owed the rest of a message or of a batch; zero: it never did.
    pub(crate) half_since: Moment,
    /// The FATAL after which the server closes.
    pub(crate) farewell: Option<Box<Cause>>,
    /// What clients have left behind in the server's session.
    pub(crate) left: Left,
    /// Whether its holder has prepared statements of the protocol that are not managed.
    pub(crate) has_named: Has,
    /// Its holder's values as they were before the transaction that has changed some.
    pub(crate) params_before: Option<Arc<Params>>,
    /// What is not known of the transaction its holder believes in.
    pub(crate) doubt: Doubt,
    pub(crate) purpose: Use,
}

/// What is not certain of a transaction, so that it cannot be taken over from the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    /// Since the last ReadyForQuery one has begun or ended.
    boundary: Boundary,
    /// Whether values were set since then.
    params: Has,
    /// Whether some of the values that were set have been committed and others not.
    values: Has,
}

/// See [`Doubt::boundary`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Boundary {
    #[default]
    None,
    Begun,
    Committed,
    /// Or rolled back to a savepoint.
    RolledBack,
}

impl Doubt {
    pub(crate) fn is_any(self) -> bool {
        self.boundary != Boundary::None || self.values == Has::Some
    }

    /// A command has completed: its tag is that of a transaction's beginning or end, or not. CALL and DO end none of a
    /// client's.
    #[inline]
    pub(crate) fn note_tag(&mut self, message: &[u8]) {
        // SELECT is no START, and most others have another first letter.
        let letters = (message.get(HEADER_BYTES), message.get(HEADER_BYTES + 1));
        if let (Some(b'B' | b'C' | b'R' | b'P'), _) | (Some(b'S'), Some(b'T')) = letters {
            self.look_at_tag(message);
        }
    }

    #[cold]
    fn look_at_tag(&mut self, message: &[u8]) {
        self.boundary = match back::command_tag(message) {
            Ok(b"BEGIN" | b"START TRANSACTION") if self.boundary == Boundary::None => Boundary::Begun,
            Ok(b"COMMIT" | b"PREPARE TRANSACTION") => Boundary::Committed,
            Ok(b"ROLLBACK") => Boundary::RolledBack,
            Ok(_) | Err(_) => self.boundary,
        };
    }

    /// A value has been set.
    pub(crate) fn note_parameter(&mut self) {
        self.params = Has::Some;
    }
}

impl Link {
    /// The server is ready: what was doubtful of the transaction is known, but perhaps not which values it will keep.
    /// They are reported when all is done, so where one transaction has ended and another begun since the last time
    /// nobody knows which of them has set them.
    #[inline]
    pub(crate) fn note_ready(&mut self) {
        if self.doubt != Doubt::default() || self.params_before.is_some() {
            self.settle_doubt();
        }
    }

    #[cold]
    fn settle_doubt(&mut self) {
        let Doubt { boundary, params, values } = std::mem::take(&mut self.doubt);
        if self.tx == TxState::Idle {
            self.params_before = None;
            return;
        }
        self.doubt.values = values;
        match (boundary, params) {
            (Boundary::Committed, Has::None) => self.params_before = None,
            (Boundary::Begun | Boundary::Committed | Boundary::RolledBack, Has::Some) => {
                self.doubt.values = Has::Some;
            }
            (Boundary::None, _) | (Boundary::Begun | Boundary::RolledBack, Has::None) => {}
        }
    }
}

/// Whether there is something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Has {
    #[default]
    None,
    Some,
}

/// The end of a connection, as the server explains it.
fn ended(message: &[u8]) -> Cause {
    match error_of(message) {
        Cause::Server { sqlstate, message } => Cause::ServerEnded { sqlstate, message },
        other => other,
    }
}

/// See [`Link::settling`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Settling {
    /// No.
    #[default]
    No,
    /// Its ReadyForQuery is to come.
    Yes,
}

impl Link {
    /// A server connection that has just logged in, with the parameter values it reported.
    pub fn new(params: Arc<Params>) -> Link {
        Link {
            tx: TxState::Idle,
            batch: Batch::Closed,
            copy: CopyIn::None,
            count: Count::Known,
            expected: Expected::default(),
            prepared: Prepared::default(),
            unnamed: Unnamed::Foreign,
            last_holder: 0,
            params,
            to_server_left: 0,
            to_client_left: 0,
            settling: Settling::No,
            half_since: Moment(0),
            farewell: None,
            left: Left::default(),
            has_named: Has::None,
            params_before: None,
            doubt: Doubt::default(),
            purpose: Use::Queries,
        }
    }

    /// The same that has logged in for replication: it has one client, and is closed after it.
    pub fn for_replication(params: Arc<Params>) -> Link {
        Link { purpose: Use::Replication, ..Link::new(params) }
    }

    /// Whether both sides send what they like, so that neither waits for the other: whoever carries the bytes must not
    /// let one direction wait for the other either.
    #[inline]
    pub fn is_copy_both(&self) -> bool {
        self.copy == CopyIn::Both
    }

    /// Why a session has to keep this connection: what is going on, and what statements may have left behind. The
    /// latter is known only as far as sessions were noting ([`Session::set_noting`](crate::Session::set_noting)); what
    /// went by otherwise makes it unknown.
    pub fn pins(&self) -> Pins {
        let mut pins = match self.purpose {
            Use::Queries => self.left.pins(),
            // What statements leave behind does not matter: nobody else gets it.
            Use::Replication => Pins::NONE.with(Pin::Replication),
        };
        if self.tx != TxState::Idle {
            pins = pins.with(Pin::Transaction);
        }
        if self.batch != Batch::Closed {
            pins = pins.with(Pin::Portal);
        }
        match (self.copy, self.purpose) {
            (CopyIn::None, _) | (CopyIn::Both, Use::Replication) => pins,
            (CopyIn::Active { .. } | CopyIn::Ended { .. }, _) | (CopyIn::Both, Use::Queries) => {
                pins.with(Pin::Copy)
            }
        }
    }

    /// The beginning of the first statement of which nobody can say what it left behind; raw.
    pub fn unknown_by(&self) -> Option<&[u8]> {
        self.left.unknown_by()
    }

    /// The connection was cleaned by something else than DISCARD ALL, which is noticed: nothing is left behind.
    pub fn note_cleaned(&mut self) {
        self.left.cleaned();
    }

    /// Whether anything is under way besides what is sent next.
    pub(crate) fn under_way(&self) -> UnderWay {
        if self.expected.is_empty() && self.batch == Batch::Closed {
            UnderWay::Nothing
        } else {
            UnderWay::Other
        }
    }

    /// Transaction state as of the last ReadyForQuery.
    pub fn tx(&self) -> TxState {
        self.tx
    }

    /// The server's parameter values.
    pub fn params(&self) -> &Arc<Params> {
        &self.params
    }

    /// Whether a message to the client is sent in part only: nothing else can be said to it then.
    pub fn is_mid_message_to_client(&self) -> bool {
        self.to_client_left > 0
    }

    /// Whether nothing at all is under way: no transaction, no answer, no batch, no COPY, no message half sent.
    #[inline]
    pub(crate) fn is_resting(&self) -> bool {
        self.tx == TxState::Idle
            && self.expected.is_empty()
            && self.batch == Batch::Closed
            && self.copy == CopyIn::None
            && self.settling == Settling::No
            && self.to_server_left == 0
            && self.to_client_left == 0
    }

    /// Whether the client owes the rest of a message or of a batch.
    #[inline]
    pub fn is_half_way(&self) -> bool {
        self.batch != Batch::Closed || self.to_server_left > 0
    }

    /// The client has sent something or has been told something, and the rest is still to come.
    pub fn note_half_way(&mut self, now: Moment) {
        self.half_since = now;
    }

    /// Whether the server waits for the rest of a message or of a batch that the client owes, and nothing that the
    /// client waits for is on its way. In COPY FROM STDIN whole messages are not half of anything: PostgreSQL gives a
    /// client all the time it wants between two rows.
    pub(crate) fn is_waiting_for_client(&self) -> bool {
        let half = self.to_server_left > 0;
        (half || (self.batch != Batch::Closed && !matches!(self.copy, CopyIn::Active { .. })))
            && !self.is_awaited(usize::from(half))
    }

    /// Whether an answer is on its way that the client has asked for. The last `half` messages have not been sent to
    /// their end.
    pub(crate) fn is_awaited(&self, half: usize) -> bool {
        match self.copy {
            CopyIn::Active { .. } => self.expected.is_awaited_behind_copy(half),
            CopyIn::None | CopyIn::Ended { .. } | CopyIn::Both => self.expected.is_awaited(half),
        }
    }

    /// Whether the server is in the middle of something (then it is cancelled before it is let go), waits for COPY
    /// data (then a CopyFail), or reads messages.
    pub fn ending(&self) -> Ending {
        let works = !self.expected.is_empty() || self.to_client_left > 0 || self.settling == Settling::Yes;
        if self.to_server_left > 0 {
            self.cut()
        } else if matches!(self.copy, CopyIn::Active { .. }) {
            Ending::CopyFail
        } else if self.copy == CopyIn::Both {
            // A walsender reads while it streams, and knows no CopyFail.
            Ending::Terminate
        } else if works && self.may_cancel() {
            Ending::Cancel
        } else {
            Ending::Terminate
        }
    }

    /// The same where nothing can be said, because a message is half sent or waits to be sent.
    pub fn cut(&self) -> Ending {
        if self.may_cancel() { Ending::Cut } else { Ending::HangUp }
    }

    /// Whether a cancel can do no harm ([`Expected::is_last_at_work`]).
    pub(crate) fn may_cancel(&self) -> bool {
        self.expected.is_last_at_work(usize::from(self.to_server_left > 0))
    }

    /// Bytes from a server connection that nobody holds: ParameterStatus and notices are taken in, notifications
    /// dropped, anything else is a cause to close it. Returns the bytes dealt with.
    ///
    /// # Errors
    /// Why it has to be closed.
    pub fn on_idle(&mut self, input: &[u8], tracked: &Tracked) -> Result<usize, Cause> {
        let mut at = 0;
        loop {
            let head = header(&input[at..], MESSAGE_BYTES_MAX);
            let head = head.map_err(|_| Cause::ServerProtocol { what: "bad length" })?;
            let Some(head) = head else { return Ok(at) };
            match head.tag {
                back::NOTICE_RESPONSE | back::NOTIFICATION_RESPONSE | back::PARAMETER_STATUS => {
                    let Some(message) = input.get(at..at + head.total) else { return Ok(at) };
                    if head.tag == back::PARAMETER_STATUS {
                        self.note_parameter(message, tracked);
                    }
                    at += head.total;
                }
                // Nobody asked for anything, so it speaks of the connection, and the server is about to close it.
                back::ERROR_RESPONSE => {
                    let Some(message) = input.get(at..at + head.total) else { return Ok(at) };
                    return Err(ended(message));
                }
                _ => return Err(Cause::ServerProtocol { what: "message while idle" }),
            }
        }
    }

    /// The FATAL with which the server has ended the connection, if it has.
    pub fn farewell(&self) -> Option<Cause> {
        self.farewell.as_deref().cloned()
    }

    /// The same, with what has been received and not been dealt with.
    pub fn last_words(&mut self, input: &[u8]) -> Option<Cause> {
        let mut at = self.to_client_left.min(input.len());
        while let Ok(Some(head)) = header(&input[at..], MESSAGE_BYTES_MAX)
            && let Some(message) = input.get(at..at + head.total)
        {
            if head.tag == back::ERROR_RESPONSE {
                self.note_farewell(message);
            }
            at += head.total;
        }
        self.farewell()
    }

    /// An ErrorResponse went by (its beginning): one that ends the connection is the last that is heard of it.
    pub(crate) fn note_farewell(&mut self, message: &[u8]) {
        // V is never translated; servers before 9.6 have S only.
        let mut fields = back::error_fields(message).filter(|(field, _)| matches!(field, b'V' | b'S'));
        if fields.any(|(_, text)| matches!(text, b"FATAL" | b"PANIC")) {
            self.farewell = Some(Box::new(ended(message)));
        }
    }

    /// Takes a ParameterStatus in.
    pub(crate) fn note_parameter(&mut self, message: &[u8], tracked: &Tracked) {
        if let Ok((name, value)) = back::parameter_status(message)
            && let Some(index) = tracked.index(name)
        {
            note(&mut self.params, index, value);
        }
    }

    /// Named statements prepared on it.
    pub fn prepared_count(&self) -> usize {
        self.prepared.len()
    }
}
