//! What a statement leaves behind in its session, by a conservative look at its text.
//!
//! The first word of each statement decides; where it says too little (CALL, DO, EXECUTE, a word nobody knows) or where
//! the text cannot be split with certainty, what is left behind is unknown. Inside statements that call functions those
//! of PostgreSQL itself are looked for that are known to leave something; what a function of the user's leaves behind
//! cannot be seen, and is not claimed to be. Two that sound as if they belonged here end with their transaction:
//! `lo_open` and `pg_export_snapshot`.
//!
//! Source: PostgreSQL manual, "SQL Commands", "System Administration Functions", "DISCARD".

mod scan;

use plimsoll_types::{Pin, Pins};
use serde::{Deserialize, Serialize};

use crate::text::{Lexer, Token};

/// Kinds of what is left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const NONE: Marks = Marks(0);
    pub(crate) const TEMP: Marks = Marks(1);
    pub(crate) const LISTEN: Marks = Marks(1 << 1);
    pub(crate) const LOCK: Marks = Marks(1 << 2);
    pub(crate) const SETTING: Marks = Marks(1 << 3);
    /// A setting that RESET ALL leaves alone: role, session authorization, seed.
    pub(crate) const FIXED: Marks = Marks(1 << 4);
    /// A setting of which the name is not known.
    pub(crate) const ANY_SETTING: Marks = Marks(Marks::SETTING.0 | Marks::FIXED.0);
    pub(crate) const PREPARE: Marks = Marks(1 << 5);
    pub(crate) const CURSOR: Marks = Marks(1 << 6);
    pub(crate) const UNKNOWN: Marks = Marks(1 << 7);
    pub(crate) const ALL: Marks = Marks(u8::MAX);
    /// What is undone with the transaction in which it was done. What a statement prepares stays prepared, a lock of
    /// the session stays locked.
    pub(crate) const UNDONE: Marks =
        Marks(Marks::TEMP.0 | Marks::LISTEN.0 | Marks::SETTING.0 | Marks::FIXED.0 | Marks::CURSOR.0);

    pub(crate) const fn from_bits(bits: u8) -> Marks {
        Marks(bits)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, all: Marks) -> bool {
        self.0 & all.0 == all.0
    }

    #[must_use]
    pub(crate) fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    #[must_use]
    pub(crate) fn without(self, other: Marks) -> Marks {
        Marks(self.0 & !other.0)
    }

    #[must_use]
    pub(crate) fn only(self, other: Marks) -> Marks {
        Marks(self.0 & other.0)
    }

    /// As everybody else calls them.
    pub(crate) fn pins(self) -> Pins {
        const NAMES: [(Marks, Pin); 8] = [
            (Marks::TEMP, Pin::TempTable),
            (Marks::LISTEN, Pin::Listen),
            (Marks::LOCK, Pin::AdvisoryLock),
            (Marks::SETTING, Pin::Setting),
            (Marks::FIXED, Pin::Setting),
            (Marks::PREPARE, Pin::Prepare),
            (Marks::CURSOR, Pin::HeldCursor),
            (Marks::UNKNOWN, Pin::Unknown),
        ];
        let mut pins = Pins::NONE;
        if !self.is_empty() {
            for (mark, pin) in NAMES {
                if self.has(mark) {
                    pins = pins.with(pin);
                }
            }
        }
        pins
    }
}

/// How much of a text is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// The beginning; of the rest nothing will be known.
    Cut,
    /// The beginning; the tags of its commands will tell of the rest.
    CutAndHeeded,
}

/// What kind of text it is, for those who want to know what a failure undoes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// One statement: if it fails, all of it has.
    #[default]
    One,
    /// One statement that begins with a word PostgreSQL does not have.
    Unheard,
    /// Several, or one that begins or ends a transaction: a failure may leave parts of it.
    Several,
}

/// What the statements of a text do to the session, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// There in the end, if all goes well.
    pub(crate) adds: Marks,
    /// There at some time, if not all goes well.
    pub(crate) ever: Marks,
    /// Cleared away, if all goes well.
    pub(crate) removes: Marks,
    pub(crate) form: Form,
    /// Where the first statement is of which nobody knows what it leaves behind.
    pub(crate) unknown: Option<(usize, usize)>,
    /// The name of the setting ([`name_number`]), if there is one and nothing else; else zero.
    pub(crate) setting: u32,
}

impl Effect {
    pub(crate) fn is_nothing(&self) -> bool {
        self.ever.is_empty() && self.removes.is_empty() && self.form == Form::One
    }

    fn add(&mut self, marks: Marks) {
        self.adds = self.adds.with(marks);
        self.ever = self.ever.with(marks);
    }

    fn remove(&mut self, marks: Marks) {
        self.adds = self.adds.without(marks);
        self.removes = self.removes.with(marks);
    }
}

/// A number for the name of a setting, whatever its case; never zero (FNV-1a).
pub(crate) fn name_number(name: &[u8]) -> u32 {
    let number = name.iter().fold(0x811c_9dc5_u32, |number, byte| {
        (number ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193)
    });
    number | 1
}

/// Whether a text begins, at a glance, with one of the kinds of statements of which there are many, and that leave
/// nothing behind but what functions do.
#[inline]
pub(crate) fn begins_plain(text: &[u8]) -> bool {
    let Some(first) = text.first_chunk::<8>() else { return false };
    // Six letters, in lower case, as one number.
    let word = (u64::from_le_bytes(*first) & 0xffff_ffff_ffff) | 0x2020_2020_2020;
    const fn number(word: &[u8; 6]) -> u64 {
        u64::from_le_bytes([word[0], word[1], word[2], word[3], word[4], word[5], 0, 0])
    }
    const SELECT: u64 = number(b"select");
    const INSERT: u64 = number(b"insert");
    const UPDATE: u64 = number(b"update");
    const DELETE: u64 = number(b"delete");
    matches!(word, SELECT | INSERT | UPDATE | DELETE)
}

/// Whether a whole text is, at a glance, one statement of those kinds.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    begins_plain(text) && memchr::memchr(b';', text).is_none_or(|at| at + 1 == text.len())
}

/// Whether a plain text mentions none of what would have to be looked at: functions and temporary tables. Every name
/// that matters has `pg_`, `set_` or `link_` in it, `seed`, or `temp`.
pub(crate) fn mentions_nothing(text: &[u8]) -> bool {
    const ENDS: [bool; 256] = {
        let mut ends = [false; 256];
        let all = b"_&pPdD";
        let mut n = 0;
        while n < all.len() {
            ends[all[n] as usize] = true;
            n += 1;
        }
        ends
    };
    !text.iter().enumerate().any(|(at, byte)| ENDS[usize::from(*byte)] && is_mention(&text[..=at]))
}

/// Whether a text ends with a part of such a name.
fn is_mention(text: &[u8]) -> bool {
    let ends =
        |part: &[u8]| text.len() >= part.len() && text[text.len() - part.len()..].eq_ignore_ascii_case(part);
    match text.last() {
        Some(b'_') => ends(b"pg_") || ends(b"set_") || ends(b"link_"),
        Some(b'd' | b'D') => ends(b"seed"),
        Some(b'p' | b'P') => ends(b"temp"),
        _ => ends(b"u&"),
    }
}

/// Whether a whole text is one that begins or ends a transaction, in the few words that most use.
#[inline]
pub(crate) fn is_boundary(text: &[u8]) -> bool {
    let text = text.strip_suffix(b";").unwrap_or(text);
    text.len() <= 6 && {
        let is = |word: &[u8]| text.eq_ignore_ascii_case(word);
        is(b"begin") || is(b"commit") || is(b"end")
    }
}

/// What the statements of `text` do.
pub(crate) fn of(text: &[u8], extent: Extent) -> Effect {
    let mut effect = Effect::default();
    let mut reader = scan::Reader::new(Lexer::new(text));
    let mut statements = 0_u32;
    loop {
        let began = reader.began();
        let done = reader.statement();
        statements += u32::from(done.kind != scan::Kind::Empty);
        effect.remove(done.removes);
        effect.add(done.adds);
        if done.kind == scan::Kind::Unheard {
            effect.form = Form::Unheard;
        }
        if done.kind == scan::Kind::Boundary || statements > 1 {
            effect.form = Form::Several;
        }
        effect.setting = if statements == 1 { effect.setting.max(done.setting) } else { 0 };
        let unreadable = match reader.token() {
            Token::End => extent == Extent::Cut,
            Token::Torn => {
                if extent == Extent::Whole && statements <= 1 {
                    // PostgreSQL cannot read it either.
                    effect.form = Form::Unheard;
                }
                extent != Extent::CutAndHeeded
            }
            Token::Doubt => true,
            _ => false,
        };
        if unreadable {
            effect.add(Marks::UNKNOWN);
        }
        if effect.unknown.is_none() && (unreadable || done.adds.has(Marks::UNKNOWN)) {
            let end = if unreadable { text.len() } else { reader.began() };
            effect.unknown = Some((began, end));
        }
        if !matches!(reader.token(), Token::Symbol(_)) {
            return effect;
        }
        reader.advance();
    }
}

#[cfg(test)]
mod tests;
