//! The open holds of one worker.

use plimsoll_types::{ClientId, HoldId, Moment, Pins, PoolId, SlotId};

use crate::site::SiteId;
use crate::text;

/// One hold in so many is heard of even if nothing about it is remarkable.
const SAMPLE: u32 = 16;

/// A hold that lasts or waits longer than this is always heard of, microseconds.
const REMARKABLE_US: u64 = 100_000;

/// Of a text that is cut, how many bytes of its end are kept: trailing comments carry tags.
const TAIL_BYTES: usize = 256;

/// Most records that one call of [`Holds::read`] copies.
pub const READ_MAX: usize = 64;

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
        if text::may_carry_credentials(said.text) && text::carries_credentials(said.text) {
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

/// A place in the slab; a key of a hold that has ended does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    index: u32,
    generation: u32,
}

/// Where a reader has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor(u32);

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
    /// Its place.
    pub key: Key,
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

/// How many statements a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Nothing,
    Once,
    More,
}

#[derive(Debug)]
struct Record {
    generation: u32,
    /// `None`: free.
    opening: Option<Opening>,
    progress: Progress,
    spoken: Spoken,
    first: Text,
    last: Text,
    site: SiteId,
}

/// The open holds of one worker. In the steady state nothing is allocated: the texts of a record are reused by the next
/// hold in its place.
#[derive(Debug)]
pub struct Holds {
    records: Vec<Record>,
    free: Vec<u32>,
    statement_bytes: usize,
    /// Counts down to the next sample.
    until_sample: u32,
}

impl Holds {
    /// No holds. Of each statement at most `statement_bytes` are kept; 0: no text at all.
    pub fn new(statement_bytes: usize) -> Holds {
        Holds { records: Vec::new(), free: Vec::new(), statement_bytes, until_sample: SAMPLE }
    }

    /// After a reload.
    pub fn set_statement_bytes(&mut self, statement_bytes: usize) {
        self.statement_bytes = statement_bytes;
    }

    /// Open holds.
    pub fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A hold begins.
    #[inline]
    pub fn open(&mut self, opening: Opening) -> Key {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.grow(),
        };
        let record = &mut self.records[index as usize];
        record.opening = Some(opening);
        record.progress = Progress::begin(opening.granted);
        record.spoken = Spoken::Nothing;
        record.site = SiteId::UNKNOWN;
        Key { index, generation: record.generation }
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        let index =
            u32::try_from(self.records.len()).expect("fewer holds than server connections, fewer than 2^32");
        self.records.push(Record {
            generation: 0,
            opening: None,
            progress: Progress::begin(Moment(0)),
            spoken: Spoken::Nothing,
            first: Text::empty(),
            last: Text::empty(),
            site: SiteId::UNKNOWN,
        });
        index
    }

    #[inline]
    fn record(&mut self, key: Key) -> Option<&mut Record> {
        self.records.get_mut(key.index as usize).filter(|record| record.generation == key.generation)
    }

    /// A statement goes to the server: the first one stays, the last one is replaced.
    #[inline]
    pub fn said(&mut self, key: Key, said: &Said<'_>) {
        let bytes_max = self.statement_bytes;
        let Some(record) = self.record(key) else { return };
        match record.spoken {
            Spoken::Nothing => {
                record.first.take(said, bytes_max);
                record.spoken = Spoken::Once;
            }
            Spoken::Once | Spoken::More => {
                record.last.take(said, bytes_max);
                record.spoken = Spoken::More;
            }
        }
    }

    /// How it is getting on.
    #[inline]
    pub fn progress(&mut self, key: Key, progress: &Progress) {
        if let Some(record) = self.record(key) {
            record.progress = *progress;
        }
    }

    /// Its site is known now.
    pub fn set_site(&mut self, key: Key, site: SiteId) {
        if let Some(record) = self.record(key) {
            record.site = site;
        }
    }

    /// A hold ends. Gives a copy if there is a reason to hear of it.
    #[inline]
    pub fn close(&mut self, key: Key, progress: &Progress, hear: Hear, now: Moment) -> Option<Ended> {
        self.until_sample -= 1;
        let sampled = self.until_sample == 0;
        if sampled {
            self.until_sample = SAMPLE;
        }
        let record = self.record(key)?;
        let opening = record.opening?;
        let held = now.0.saturating_sub(opening.granted.0);
        let waited = opening.granted.0.saturating_sub(opening.asked.0);
        let why = if held > REMARKABLE_US || waited > REMARKABLE_US {
            Some(WhyKept::Remarkable)
        } else if record.site != SiteId::UNKNOWN {
            Some(WhyKept::Seen)
        } else if sampled {
            Some(WhyKept::Sample)
        } else if hear == Hear::Always {
            Some(WhyKept::Asked)
        } else {
            None
        };
        record.progress = *progress;
        let ended = why.and_then(|why| {
            // One that was asked for is among those that the samples stand for.
            let weight = match why {
                WhyKept::Sample => SAMPLE,
                WhyKept::Asked => 0,
                WhyKept::Remarkable | WhyKept::Seen => 1,
            };
            Some(Ended { hold: copy(key, record)?, at: now, weight, why })
        });
        record.opening = None;
        record.generation = record.generation.wrapping_add(1);
        self.free.push(key.index);
        ended
    }

    /// Copies at most [`READ_MAX`] open holds, beginning where the cursor is; the cursor for the next call, `None` at the
    /// end. Holds that open and close in between may be missed, and none is seen twice.
    pub fn read(&self, from: Cursor, out: &mut Vec<HoldCopy>) -> Option<Cursor> {
        let start = from.0 as usize;
        let mut copied = 0;
        for (index, record) in (from.0..).zip(self.records.get(start..)?) {
            if copied == READ_MAX {
                return Some(Cursor(index));
            }
            if let Some(copy) = copy(Key { index, generation: record.generation }, record) {
                out.push(copy);
                copied += 1;
            }
        }
        None
    }
}

fn copy(key: Key, record: &Record) -> Option<HoldCopy> {
    let opening = record.opening?;
    let (first, last) = match record.spoken {
        Spoken::Nothing => (None, None),
        Spoken::Once => (Some(record.first.clone()), None),
        Spoken::More => (Some(record.first.clone()), Some(record.last.clone())),
    };
    Some(HoldCopy { key, opening, progress: record.progress, first, last, site: record.site })
}

#[cfg(test)]
mod tests;
