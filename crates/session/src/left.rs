//! What clients have left behind in the session of a server connection.
//!
//! A text counts from when it is sent. What it adds is taken back if it was all that was under way and the server
//! refuses it; what it clears away is believed when the server has done it, with nothing else under way. In doubt the
//! session is pinned.

use plimsoll_types::{Pin, Pins, PoolMode, TxState};
use serde::{Deserialize, Serialize};

use crate::effects::{Effect, Extent, Form, Marks, name_number};
use crate::image::Bytes;
use crate::statements::Does;

/// Of a statement that left something unknown, so many bytes are kept.
const UNKNOWN_BYTES_MAX: usize = 120;

/// See the module.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Left {
    /// Of texts that were answered.
    marks: Marks,
    /// Of texts under way.
    pending: Pending,
    /// What the unnamed statement does when it is executed.
    unnamed: Parsed,
    /// What any of the named statements may add when it is executed.
    named: Marks,
    /// What the unnamed portal clears away.
    bound: Marks,
    /// Whether the tags of commands say more than the texts did.
    heed: Heed,
    /// What a DISCARD ALL has cleared away whose transaction has not ended yet.
    discarded: Option<Marks>,
    /// Whether everything that was sent was looked at.
    seen: Seen,
    functions: Functions,
    /// The beginning of the first statement of which nobody can say what it left behind.
    unknown_by: Option<Bytes>,
}

/// Of texts under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Pending {
    adds: Marks,
    ever: Marks,
    removes: Marks,
    form: Form,
    /// See [`Effect::setting`].
    setting: u32,
}

impl Pending {
    #[inline]
    fn is_empty(&self) -> bool {
        self.ever.is_empty() && self.removes.is_empty()
    }
}

/// Of a statement that was prepared.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Parsed {
    adds: Marks,
    removes: Marks,
    /// Whether only its beginning was looked at.
    heed: Heed,
}

/// See [`Left::heed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Heed {
    #[default]
    No,
    /// A long text is under way of which only the beginning was looked at.
    Yes,
}

/// See [`Left::seen`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Seen {
    #[default]
    All,
    /// Something was sent while nothing was noted.
    NotAll,
}

/// Whether functions in plain statements, which may have taken a lock of the session, were looked for in all that was
/// sent. They are in session pooling alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Functions {
    #[default]
    LookedFor,
    NotLookedFor,
}

/// What else is under way when a text is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnderWay {
    Nothing,
    Other,
}

impl Left {
    /// What there may be.
    #[inline]
    pub(crate) fn pins(&self) -> Pins {
        let pins = self.marks.with(self.pending.ever).pins();
        match self.seen {
            Seen::All => pins,
            Seen::NotAll => pins.with(Pin::Unknown),
        }
    }

    pub(crate) fn unknown_by(&self) -> Option<&[u8]> {
        self.unknown_by.as_ref().map(|bytes| &*bytes.0)
    }

    /// A text was sent that is executed at once, or prepared.
    #[cold]
    pub(crate) fn sent(&mut self, effect: &Effect, text: &[u8], under_way: UnderWay) {
        if let Some((from, to)) = effect.unknown
            && self.unknown_by.is_none()
        {
            let statement = text.get(from..to).unwrap_or_default();
            self.unknown_by = Some(Bytes(statement[..statement.len().min(UNKNOWN_BYTES_MAX)].into()));
        }
        let alone = under_way == UnderWay::Nothing && self.pending.is_empty();
        self.pending.form = if alone { effect.form } else { Form::Several };
        self.pending.setting = if alone { effect.setting } else { 0 };
        self.pending.adds = self.pending.adds.without(effect.removes).with(effect.adds);
        self.pending.ever = self.pending.ever.with(effect.ever);
        self.pending.removes = self.pending.removes.with(effect.removes);
    }

    /// A text was prepared without a name. What it adds counts from now on.
    pub(crate) fn parsed_unnamed(
        &mut self,
        effect: &Effect,
        text: &[u8],
        extent: Extent,
        under_way: UnderWay,
    ) {
        let heed = match extent {
            Extent::CutAndHeeded => Heed::Yes,
            Extent::Whole | Extent::Cut => Heed::No,
        };
        self.unnamed = Parsed { adds: effect.adds, removes: effect.removes, heed };
        self.parsed(effect, text, under_way);
    }

    /// A text was prepared under a name that is the server's own.
    #[cold]
    pub(crate) fn parsed_named(&mut self, effect: &Effect, text: &[u8], under_way: UnderWay) {
        self.named = self.named.with(effect.adds);
        self.parsed(effect, text, under_way);
    }

    #[cold]
    fn parsed(&mut self, effect: &Effect, text: &[u8], under_way: UnderWay) {
        // What it clears away is still there until it is executed.
        let until = Effect { removes: Marks::NONE, ..effect.clone() };
        if !until.is_nothing() {
            self.sent(&until, text, under_way);
        }
    }

    /// The unnamed statement leaves nothing behind any more, whatever it was.
    #[inline]
    pub(crate) fn parsed_plain(&mut self) {
        self.unnamed = Parsed::default();
    }

    /// The unnamed statement was bound to the unnamed portal.
    #[inline]
    pub(crate) fn bound_unnamed(&mut self) {
        self.bound = self.unnamed.removes;
        if self.unnamed.heed == Heed::Yes {
            self.heed = Heed::Yes;
        }
        self.again(self.unnamed.adds);
    }

    /// A statement was bound of which it is known what it does.
    #[cold]
    pub(crate) fn bound_known(&mut self, does: Does, portal: Portal, text: &[u8], under_way: UnderWay) {
        self.bound = match portal {
            Portal::Unnamed => does.removes(),
            Portal::Other => Marks::NONE,
        };
        let (adds, form) = (does.adds(), does.form());
        let unknown = adds.has(Marks::UNKNOWN).then_some((0, text.len()));
        self.sent(&Effect { adds, ever: adds, form, unknown, ..Effect::default() }, text, under_way);
    }

    /// Some statement was bound.
    #[inline]
    pub(crate) fn bound_any(&mut self) {
        self.bound = Marks::NONE;
        self.again(self.unnamed.adds.with(self.named));
        // It may begin or end a transaction.
        self.note_boundary();
    }

    /// What was bound leaves nothing behind.
    #[inline]
    pub(crate) fn bound_plain(&mut self) {
        self.bound = Marks::NONE;
    }

    /// What was prepared before may be executed again.
    #[inline]
    fn again(&mut self, adds: Marks) {
        if !self.pending.adds.has(adds) {
            self.pending.form = Form::Several;
            self.pending.adds = self.pending.adds.with(adds);
            self.pending.ever = self.pending.ever.with(adds);
        }
    }

    /// Whether [`Left::executed`] has anything to do.
    #[inline]
    pub(crate) fn has_bound(&self) -> bool {
        !self.bound.is_empty()
    }

    /// A portal is executed.
    #[cold]
    pub(crate) fn executed(&mut self, portal: Portal) {
        if portal == Portal::Unnamed {
            self.pending.adds = self.pending.adds.without(self.bound);
            self.pending.removes = self.pending.removes.with(self.bound);
        }
    }

    /// A transaction was begun or ended: what is under way does not stand and fall together.
    #[inline]
    pub(crate) fn note_boundary(&mut self) {
        if !self.pending.is_empty() {
            self.pending.form = Form::Several;
        }
    }

    /// A function was called by its number.
    pub(crate) fn called(&mut self, under_way: UnderWay) {
        let (adds, what) = (Marks::UNKNOWN, b"(function call)");
        let unknown = Some((0, what.len()));
        let effect = Effect { adds, ever: adds, unknown, ..Effect::default() };
        self.sent(&effect, what, under_way);
    }

    /// A long text was sent of which only the beginning was looked at.
    pub(crate) fn heed_tags(&mut self) {
        self.heed = Heed::Yes;
    }

    /// A client of this mode of pooling begins to use the connection. The mode may have changed since the last one.
    #[inline]
    pub(crate) fn serve(&mut self, mode: PoolMode) {
        match (mode, self.functions) {
            (PoolMode::Transaction | PoolMode::Statement, _) => self.functions = Functions::NotLookedFor,
            (PoolMode::Session, Functions::NotLookedFor) => self.seen = Seen::NotAll,
            (PoolMode::Session, Functions::LookedFor) => {}
        }
    }

    /// Something was sent that nobody looked at.
    #[inline]
    pub(crate) fn note_unseen(&mut self) {
        self.seen = Seen::NotAll;
    }

    /// Whether [`Left::ready`] has anything to do.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty() || self.heed == Heed::Yes || self.discarded.is_some()
    }

    /// ReadyForQuery.
    #[cold]
    pub(crate) fn ready(&mut self, under_way: UnderWay, tx: TxState) {
        let pending = std::mem::take(&mut self.pending);
        let discarded = self.discarded.take().filter(|_| tx == TxState::Idle);
        self.marks = self.marks.without(discarded.unwrap_or(Marks::NONE));
        match under_way {
            UnderWay::Nothing => {
                self.heed = Heed::No;
                // A rollback may yet bring back what was cleared away in a transaction.
                let sure = if tx == TxState::Idle { Marks::ALL } else { Marks::ALL.without(Marks::UNDONE) };
                self.marks = self.marks.without(pending.removes.only(sure)).with(pending.adds);
                if discarded.is_some() || pending.removes.only(sure).has(Marks::ALL) {
                    self.seen = Seen::All;
                }
            }
            UnderWay::Other => self.marks = self.marks.with(pending.ever),
        }
        self.forget_unknown();
    }

    /// ErrorResponse.
    #[cold]
    pub(crate) fn failed(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.discarded = None;
        let stays = match pending.form {
            Form::One => pending.ever.without(Marks::UNDONE),
            Form::Unheard => Marks::NONE,
            Form::Several => pending.ever,
        };
        self.marks = self.marks.with(stays);
        self.forget_unknown();
    }

    /// Whether [`Left::told`] has anything to do with tags other than those of DISCARD and DEALLOCATE.
    #[inline]
    pub(crate) fn heeds_tags(&self) -> bool {
        self.heed == Heed::Yes || !self.pending.removes.is_empty()
    }

    /// The tag of a command that has succeeded.
    #[cold]
    pub(crate) fn told(&mut self, tag: &[u8]) {
        match tag {
            b"DISCARD ALL" => {
                // Its transaction may yet fail to commit, and brings back what a rollback brings back.
                self.marks = self.marks.only(Marks::UNDONE);
                self.discarded = Some(self.marks);
                self.named = Marks::NONE;
                self.unnamed = Parsed::default();
            }
            b"DEALLOCATE ALL" => {
                self.marks = self.marks.without(Marks::PREPARE);
                self.named = Marks::NONE;
            }
            b"ROLLBACK" => self.pending.removes = self.pending.removes.without(Marks::UNDONE),
            _ if self.heed == Heed::Yes => self.heeded(tag),
            _ => {}
        }
        self.forget_unknown();
    }

    fn heeded(&mut self, tag: &[u8]) {
        let marks = match tag {
            b"SET" => Marks::ANY_SETTING,
            b"LISTEN" => Marks::LISTEN,
            b"PREPARE" => Marks::PREPARE,
            b"DECLARE CURSOR" => Marks::CURSOR,
            b"CREATE TABLE" | b"CREATE TABLE AS" | b"CREATE VIEW" | b"CREATE SEQUENCE" => Marks::TEMP,
            b"DO" | b"CALL" | b"LOAD" => Marks::UNKNOWN,
            _ => Marks::NONE,
        };
        self.marks = self.marks.with(marks);
        self.discarded = self.discarded.map(|discarded| discarded.without(marks));
        if marks.has(Marks::UNKNOWN) && self.unknown_by.is_none() {
            self.unknown_by = Some(Bytes(tag.into()));
        }
    }

    /// The server reports another value of a setting that is replayed: a SET of it binds nobody.
    #[cold]
    pub(crate) fn replayed(&mut self, name: &[u8]) {
        if self.pending.setting != 0 && self.pending.setting == name_number(name) {
            self.pending.adds = self.pending.adds.without(Marks::SETTING);
            self.pending.ever = self.pending.ever.without(Marks::SETTING);
        }
    }

    /// The connection was cleaned.
    pub(crate) fn cleaned(&mut self) {
        *self = Left::default();
    }

    fn forget_unknown(&mut self) {
        if !self.marks.with(self.pending.ever).has(Marks::UNKNOWN) {
            self.unknown_by = None;
        }
    }
}

/// Which portal is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Portal {
    Unnamed,
    Other,
}
