//! A hold as it is written down: one record for each server connection, filled anew with every hold of it.

use plimsoll_types::{ClientId, HoldId, Moment, Pins, PoolId, SlotId};

use crate::site::SiteId;
use crate::text;

/// One hold in so many, on average, is heard of even if nothing about it is remarkable.
const SAMPLE: u32 = 64;

/// A hold that lasts or waits longer than this is always heard of, microseconds.
const REMARKABLE_US: u64 = 100_000;

/// Of a text that is cut, how many bytes of its end are kept: trailing comments carry tags.
const TAIL_BYTES: usize = 256;

/// Where the text of a statement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// From this statement itself.
    Here,
    /// From the Parse of a prepared statement, so many executions of it ago: a comment in it belongs to whoever
    /// prepared it.
    Parsed {
        /// Executions by this client since its Parse, this one not counted; 0 is as good as `Here`.
        executions: u32,
    },
    /// The text is not known.
    None,
}

/// What a hold is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// The server works on a statement.
    Executing,
    /// In a transaction, nothing running.
    InTransaction,
    /// In a failed transaction, nothing running.
    InFailedTransaction,
    /// Session pooling, nothing running.
    IdleInSession,
    /// The server has sent more than the client has taken.
    ClientNotReading,
    /// A batch (or COPY) was begun and its rest does not come.
    ClientNotSending,
    /// The client has gone; the connection is being cleaned.
    Cleaning,
    /// The connection is being closed.
    Draining,
}

impl HoldState {
    /// All of them.
    pub const ALL: [HoldState; 8] = [
        HoldState::Executing,
        HoldState::InTransaction,
        HoldState::InFailedTransaction,
        HoldState::IdleInSession,
        HoldState::ClientNotReading,
        HoldState::ClientNotSending,
        HoldState::Cleaning,
        HoldState::Draining,
    ];

    /// The words for it.
    pub fn as_str(self) -> &'static str {
        match self {
            HoldState::Executing => "executing",
            HoldState::InTransaction => "idle in transaction",
            HoldState::InFailedTransaction => "aborted transaction",
            HoldState::IdleInSession => "idle in session",
            HoldState::ClientNotReading => "client not reading",
            HoldState::ClientNotSending => "client not sending",
            HoldState::Cleaning => "cleaning",
            HoldState::Draining => "draining",
        }
    }
}

/// What is known when a hold begins.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Which hold.
    pub hold: HoldId,
    /// Who.
    pub client: ClientId,
    /// Of which pool.
    pub pool: PoolId,
    /// Which server connection: its place.
    pub slot: SlotId,
    /// Its number, unique for the life of the process.
    pub server: u64,
    /// Its backend process id.
    pub pid: u32,
    /// When it was opened.
    pub server_opened: Moment,
    /// When the client asked for it.
    pub asked: Moment,
    /// When it was granted.
    pub granted: Moment,
}

/// A statement as it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its text, or the beginning of it.
    pub text: &'a [u8],
    /// Bytes of the whole text.
    pub bytes: usize,
    /// Its last bytes, where `text` is only its beginning and they are known; else empty.
    pub tail: &'a [u8],
    /// Where the text is from.
    pub provenance: Provenance,
    /// What is known of it already.
    pub kind: SaidKind,
}

/// What is known of a statement without looking at it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaidKind {
    /// One SELECT, INSERT, UPDATE, DELETE or COMMIT, and nothing behind it: credentials can only be among its literals,
    /// which nobody is shown.
    Plain,
    /// Anything.
    Any,
}

/// How a hold is getting on: the caller keeps these and hands them over now and then.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it is doing.
    pub state: HoldState,
    /// Why it cannot be given back.
    pub pins: Pins,
    /// When the client or the server last said something.
    pub used: Moment,
    /// When the transaction began; zero when there is none.
    pub xact_since: Moment,
    /// Statements begun.
    pub statements: u32,
    /// Rows the server sent.
    pub rows: u64,
    /// Bytes to the server.
    pub to_server: u64,
    /// Bytes to the client.
    pub to_client: u64,
    /// When the client last took a byte.
    pub client_took: Moment,
    /// When the first byte came that it has not taken; zero when there is none.
    pub unread_since: Moment,
    /// Bytes it has not taken, as far as we hold them.
    pub unread_bytes: u64,
}

impl Progress {
    /// A hold that begins now.
    pub fn begin(now: Moment) -> Progress {
        Progress {
            state: HoldState::Executing,
            pins: Pins::NONE,
            used: now,
            xact_since: Moment(0),
            statements: 0,
            rows: 0,
            to_server: 0,
            to_client: 0,
            client_took: now,
            unread_since: Moment(0),
            unread_bytes: 0,
        }
    }
}

/// What became of a statement's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Its beginning is kept, and the end of a longer one if it was known.
    Text,
    /// Nothing: it may carry credentials.
    Credentials,
    /// Nothing: the text is not known, or none is to be kept.
    Nothing,
}

/// A kept statement: the beginning of its text, raw. To be redacted before anybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The first bytes, at most the configured number.
    pub bytes: Vec<u8>,
    /// The last bytes of a text that is cut, if they were known.
    pub tail: Vec<u8>,
    /// Bytes of the whole.
    pub total: usize,
    /// Where it is from.
    pub provenance: Provenance,
    /// What became of it.
    pub kept: Kept,
}

impl Text {
    fn empty() -> Text {
        Text {
            bytes: Vec::new(),
            tail: Vec::new(),
            total: 0,
            provenance: Provenance::None,
            kept: Kept::Nothing,
        }
    }

    /// Whether the beginning is not the whole.
    pub fn is_cut(&self) -> bool {
        self.bytes.len() < self.total
    }

    #[inline]
    fn take(&mut self, said: &Said<'_>, bytes_max: usize) {
        self.bytes.clear();
        self.tail.clear();
        self.total = said.bytes;
        self.provenance = said.provenance;
        self.kept = Kept::Nothing;
        if said.provenance == Provenance::None || bytes_max == 0 {
            return;
        }
        if said.kind == SaidKind::Any
            && text::may_carry_credentials(said.text)
            && text::carries_credentials(said.text)
        {
            self.kept = Kept::Credentials;
            return;
        }
        self.kept = Kept::Text;
        let head = said.text.len().min(bytes_max);
        self.bytes.extend_from_slice(&said.text[..head]);
        if head < said.bytes {
            self.take_tail(said, head);
        }
    }

    fn take_tail(&mut self, said: &Said<'_>, head: usize) {
        let rest = if said.tail.is_empty() && said.text.len() == said.bytes {
            &said.text[head..]
        } else {
            said.tail
        };
        self.tail.extend_from_slice(&rest[rest.len().saturating_sub(TAIL_BYTES)..]);
    }
}

/// Why the caller hears of a hold that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyKept {
    /// It stands for [`Ended::weight`] holds like it.
    Sample,
    /// It was long, or was waited for long.
    Remarkable,
    /// Somebody had looked at it.
    Seen,
    /// The caller asked for it.
    Asked,
}

/// Whether the caller wants to hear of a hold however it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hear {
    /// Only if there is a reason.
    IfRemarkable,
    /// In any case.
    Always,
}

/// A hold as it was when it was looked at.
#[derive(Clone, Debug)]
pub struct HoldCopy {
    /// Who, what, since when.
    pub opening: Opening,
    /// How it is getting on.
    pub progress: Progress,
    /// The first statement.
    pub first: Option<Text>,
    /// The last one, if there was more than one.
    pub last: Option<Text>,
    /// Its site, if it has been looked at.
    pub site: SiteId,
    /// The beginning of the statement of which nobody can say what it left behind; raw.
    pub unknown_by: Option<Box<[u8]>>,
}

impl HoldCopy {
    /// The last statement, which may be the first.
    pub fn last(&self) -> Option<&Text> {
        self.last.as_ref().or(self.first.as_ref())
    }
}

/// A hold that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What it was.
    pub hold: HoldCopy,
    /// When it ended.
    pub at: Moment,
    /// How many holds it stands for.
    pub weight: u32,
    /// Why it is heard of.
    pub why: WhyKept,
}

/// How many statements a hold has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Nothing,
    Once,
    More,
}

/// The record of one server connection. In the steady state nothing is allocated: the next hold writes over the texts
/// of the last one.
#[derive(Debug)]
pub struct Record {
    open: Open,
    opening: Opening,
    /// How the hold is getting on; whoever holds the connection writes here.
    pub progress: Progress,
    spoken: Spoken,
    first: Text,
    last: Text,
    site: SiteId,
    unknown_by: Option<Box<[u8]>>,
    /// Counts down to the next sample.
    until_sample: u32,
}

/// Whether somebody holds the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    No,
    Yes,
}

/// How many holds on the next one is heard of: 1 to 127, `SAMPLE` on average. Were it always the same number, of
/// statements that come in turn only one would ever be heard of.
fn to_next_sample(seed: u64) -> u32 {
    // The finalizer of SplitMix64: neighbouring numbers give unlike ones.
    let mixed = (seed ^ (seed >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let spread = (mixed ^ (mixed >> 31)) % u64::from(2 * SAMPLE - 1);
    1 + u32::try_from(spread).unwrap_or(SAMPLE - 1)
}

impl Record {
    /// Of a server connection that nobody has held yet: its number, backend and age.
    pub fn new(slot: SlotId, server: u64, pid: u32, server_opened: Moment) -> Record {
        let never = Moment(0);
        Record {
            open: Open::No,
            opening: Opening {
                hold: HoldId(0),
                client: ClientId(0),
                pool: PoolId(0),
                slot,
                server,
                pid,
                server_opened,
                asked: never,
                granted: never,
            },
            progress: Progress::begin(never),
            spoken: Spoken::Nothing,
            first: Text::empty(),
            last: Text::empty(),
            site: SiteId::UNKNOWN,
            unknown_by: None,
            until_sample: to_next_sample(server),
        }
    }

    /// Whether somebody holds the connection.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open == Open::Yes
    }

    /// The backend process is known now.
    pub fn set_pid(&mut self, pid: u32) {
        self.opening.pid = pid;
    }

    /// A hold begins.
    #[inline]
    pub fn begin(&mut self, hold: HoldId, client: ClientId, pool: PoolId, asked: Moment, granted: Moment) {
        self.open = Open::Yes;
        self.opening.hold = hold;
        self.opening.client = client;
        self.opening.pool = pool;
        self.opening.asked = asked;
        self.opening.granted = granted;
        self.progress = Progress::begin(granted);
        self.spoken = Spoken::Nothing;
        self.site = SiteId::UNKNOWN;
    }

    /// A statement goes to the server: the first one stays, the last one is replaced. At most `bytes_max` of its text
    /// are kept; 0: nothing.
    #[inline]
    pub fn say(&mut self, said: &Said<'_>, bytes_max: usize) {
        if self.spoken == Spoken::Nothing {
            self.spoken = Spoken::Once;
            self.first.take(said, bytes_max);
        } else {
            self.spoken = Spoken::More;
            self.last.take(said, bytes_max);
        }
    }

    /// A statement has left something behind of which nobody can say what it is. It stays with the connection.
    pub fn note_unknown(&mut self, text: Option<&[u8]>) {
        if self.unknown_by.as_deref() != text {
            self.unknown_by = text.map(Into::into);
        }
    }

    /// The site of this hold is known now.
    pub fn set_site(&mut self, hold: HoldId, site: SiteId) {
        if self.opening.hold == hold {
            self.site = site;
        }
    }

    /// The hold ends. Gives a copy if there is a reason to hear of it.
    #[inline]
    pub fn end(&mut self, hear: Hear, now: Moment) -> Option<Box<Ended>> {
        if self.open == Open::No {
            return None;
        }
        self.until_sample -= 1;
        let held = now.0.saturating_sub(self.opening.granted.0);
        let waited = self.opening.granted.0.saturating_sub(self.opening.asked.0);
        let remarkable = held > REMARKABLE_US || waited > REMARKABLE_US;
        let plain = !remarkable && self.site == SiteId::UNKNOWN && hear == Hear::IfRemarkable;
        if plain && self.until_sample > 0 {
            self.open = Open::No;
            return None;
        }
        self.ended(remarkable, now)
    }

    #[cold]
    fn ended(&mut self, remarkable: bool, now: Moment) -> Option<Box<Ended>> {
        let sampled = self.until_sample == 0;
        if sampled {
            self.until_sample = to_next_sample(self.opening.hold.0 ^ self.opening.server.rotate_left(32));
        }
        // One that was asked for is among those that the samples stand for.
        let (why, weight) = if remarkable {
            (WhyKept::Remarkable, 1)
        } else if self.site != SiteId::UNKNOWN {
            (WhyKept::Seen, 1)
        } else if sampled {
            (WhyKept::Sample, SAMPLE)
        } else {
            (WhyKept::Asked, 0)
        };
        let hold = self.copy()?;
        self.open = Open::No;
        Some(Box::new(Ended { hold, at: now, weight, why }))
    }

    /// The hold as it is now.
    pub fn copy(&self) -> Option<HoldCopy> {
        let (first, last) = match (self.open, self.spoken) {
            (Open::No, _) => return None,
            (Open::Yes, Spoken::Nothing) => (None, None),
            (Open::Yes, Spoken::Once) => (Some(self.first.clone()), None),
            (Open::Yes, Spoken::More) => (Some(self.first.clone()), Some(self.last.clone())),
        };
        let Record { opening, progress, site, .. } = *self;
        Some(HoldCopy { opening, progress, first, last, site, unknown_by: self.unknown_by.clone() })
    }
}

#[cfg(test)]
mod tests;
