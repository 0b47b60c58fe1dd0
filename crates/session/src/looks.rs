//! Looking at what clients send: for the ledger, and for what it leaves behind at the server.
//!
//! Plain statements ([`effects::is_plain`]) are not looked into in transaction and statement pooling: a look costs as
//! much as the rest of a transaction. Named statements of the protocol are looked into once, whatever they are.

use plimsoll_types::PoolMode;
use plimsoll_wire::{HEADER_BYTES, front};

use crate::client::Message;
use crate::effects::{self, Effect, Extent};
use crate::left::Portal;
use crate::link::Link;
use crate::noted::{Kind, Noting, SeenText};
use crate::session::Session;
use crate::statements::Statement;
use crate::steps::Steps;

/// So much of a message is looked at, bytes. A message of which less has come is kept until so much is there.
const LOOK_BYTES_MAX: usize = 8 * 1024;

/// PostgreSQL's own functions for large objects, which libpq calls by number: they leave nothing behind.
const LARGE_OBJECT: [u32; 15] =
    [715, 764, 765, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172];

/// What a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// It is executed at once.
    Query,
    /// It is prepared without a name.
    Unnamed,
    /// It is prepared under a name that is the server's own.
    Named,
}

/// A text as far as it is there.
struct Piece<'a> {
    text: &'a [u8],
    /// Where in the message it begins.
    from: usize,
    whole: bool,
}

impl<'a> Piece<'a> {
    /// The text of a Query.
    #[inline]
    fn of_query(message: Message<'a>) -> Piece<'a> {
        // Nothing but the text, and the zero at its end.
        let bytes = message.head.total.saturating_sub(HEADER_BYTES + 1);
        let text = message.bytes.get(HEADER_BYTES..).unwrap_or_default();
        Piece { text: &text[..text.len().min(bytes)], from: HEADER_BYTES, whole: text.len() >= bytes }
    }

    /// The text of a Parse, and what it is for; `None` if not all of its name is there.
    #[inline]
    fn of_parse(message: Message<'a>) -> Option<(Piece<'a>, Use)> {
        let body = message.bytes.get(HEADER_BYTES..)?;
        // Mostly there is no name.
        let (name, purpose) = match body.first()? {
            0 => (0, Use::Unnamed),
            _ => (memchr::memchr(0, body)?, Use::Named),
        };
        let text = &body[name + 1..];
        let end = memchr::memchr(0, text);
        let piece = Piece {
            text: &text[..end.unwrap_or(text.len())],
            from: HEADER_BYTES + name + 1,
            whole: end.is_some(),
        };
        Some((piece, purpose))
    }
}

impl Session {
    /// How many bytes of a message are needed for a look at its text, if they are not there.
    #[inline]
    pub(crate) fn wants_text(&self, message: Message<'_>) -> Option<usize> {
        // Mostly all of it is there.
        if message.left() == 0 || self.noting == Noting::Off {
            return None;
        }
        self.wants(message)
    }

    #[cold]
    fn wants(&self, message: Message<'_>) -> Option<usize> {
        let piece = match message.head.tag {
            front::QUERY => Some(Piece::of_query(message)),
            _ => Piece::of_parse(message).map(|(piece, _)| piece),
        };
        match piece {
            Some(piece) if piece.whole || self.passes_by(piece.text) => None,
            Some(_) | None => {
                let bytes = message.head.total.min(LOOK_BYTES_MAX).min(self.settings.collect_bytes_max);
                (message.bytes.len() < bytes).then_some(bytes)
            }
        }
    }

    /// How many bytes of a text are looked at that begins here in its message.
    fn seen_bytes(&self, from: usize) -> usize {
        LOOK_BYTES_MAX.min(self.settings.collect_bytes_max).saturating_sub(from)
    }

    /// Whether a text that begins like this is not looked into.
    fn passes_by(&self, text: &[u8]) -> bool {
        self.settings.mode != PoolMode::Session && effects::begins_plain(text)
    }

    /// A Query. Says how much of it is needed, if more is.
    #[inline]
    pub(crate) fn note_query(
        &self,
        link: &mut Link,
        message: Message<'_>,
        steps: &mut Steps,
    ) -> Option<usize> {
        if self.noting == Noting::Off {
            link.left.note_unseen();
            return None;
        }
        let wanted = self.note_text(link, message, &Piece::of_query(message), Use::Query, steps);
        steps.noted.statements += u32::from(wanted.is_none());
        wanted
    }

    /// A Parse that goes on as it is. Says how much of it is needed, if more is.
    pub(crate) fn note_parse(
        &self,
        link: &mut Link,
        message: Message<'_>,
        steps: &mut Steps,
    ) -> Option<usize> {
        if self.noting == Noting::Off {
            link.left.note_unseen();
            return None;
        }
        match Piece::of_parse(message) {
            Some((piece, purpose)) => self.note_text(link, message, &piece, purpose, steps),
            None => match self.wants_text(message) {
                Some(bytes) => Some(bytes),
                None => {
                    // A name without end: the server will refuse it, or nobody knows what it is.
                    link.left.note_unseen();
                    None
                }
            },
        }
    }

    #[inline]
    fn note_text(
        &self,
        link: &mut Link,
        message: Message<'_>,
        piece: &Piece<'_>,
        purpose: Use,
        steps: &mut Steps,
    ) -> Option<usize> {
        let Piece { text, from, whole } = *piece;
        let kind = if whole && effects::is_plain(text) { Kind::Plain } else { Kind::Any };
        let passes = kind == Kind::Plain
            && match self.settings.mode {
                PoolMode::Transaction | PoolMode::Statement => true,
                PoolMode::Session => text.len() <= self.seen_bytes(from) && effects::mentions_nothing(text),
            };
        if !passes {
            if let Some(bytes) = self.look(link, message, piece, purpose) {
                return Some(bytes);
            }
        } else if purpose == Use::Unnamed {
            link.left.parsed_plain();
        }
        let start = message.at + from;
        let bytes = if whole { text.len() } else { message.head.total.saturating_sub(from + 1) };
        steps.noted.see(SeenText::Input { range: start..start + text.len(), bytes }, 0, kind);
        None
    }

    /// What a text does to the session.
    #[cold]
    fn look(&self, link: &mut Link, message: Message<'_>, piece: &Piece<'_>, purpose: Use) -> Option<usize> {
        if piece.whole && purpose == Use::Query && effects::is_boundary(piece.text) {
            link.left.note_boundary();
            return None;
        }
        if let Some(bytes) = self.wants_text(message) {
            return Some(bytes);
        }
        // However much has come, no more than this is looked at, so that it makes no difference how it comes.
        let seen = self.seen_bytes(piece.from);
        let whole = piece.whole && piece.text.len() <= seen;
        let text = &piece.text[..piece.text.len().min(seen)];
        let extent = match (whole, self.settings.mode, purpose) {
            (true, _, _) => Extent::Whole,
            (false, PoolMode::Transaction | PoolMode::Statement, Use::Query | Use::Unnamed) => {
                Extent::CutAndHeeded
            }
            (false, _, _) => Extent::Cut,
        };
        let effect =
            if !whole && self.passes_by(text) { Effect::default() } else { effects::of(text, extent) };
        if extent == Extent::CutAndHeeded {
            link.left.heed_tags();
        }
        let under_way = link.under_way();
        match purpose {
            Use::Query if effect.is_nothing() => {}
            Use::Query => link.left.sent(&effect, piece.text, under_way),
            Use::Unnamed => link.left.parsed_unnamed(&effect, piece.text, extent, under_way),
            Use::Named => link.left.parsed_named(&effect, piece.text, under_way),
        }
        None
    }

    /// A named statement of the protocol is bound to a portal; what it does was looked at once.
    #[inline]
    pub(crate) fn note_bind(&self, link: &mut Link, statement: &Statement, portal: Portal) {
        if self.noting == Noting::Off {
            return link.left.note_unseen();
        }
        let does = statement.effect();
        if does.is_nothing() {
            link.left.bound_plain();
        } else {
            let under_way = link.under_way();
            link.left.bound_known(does, portal, statement.text(), under_way);
        }
    }

    /// A statement is bound that nobody manages.
    #[inline]
    pub(crate) fn note_bind_unmanaged(&self, link: &mut Link, message: Message<'_>) -> Option<usize> {
        if self.noting == Noting::Off {
            link.left.note_unseen();
            return None;
        }
        // Neither of its two names has a letter.
        match message.bytes.get(HEADER_BYTES..HEADER_BYTES + 2) {
            None if message.left() > 0 => return Some(HEADER_BYTES + 2),
            Some([0, 0]) => link.left.bound_unnamed(),
            Some(_) | None => link.left.bound_any(),
        }
        None
    }

    /// The unnamed statement is bound.
    #[inline]
    pub(crate) fn note_bind_unnamed(&self, link: &mut Link, portal: Portal) {
        match (self.noting, portal) {
            (Noting::Off, _) => link.left.note_unseen(),
            (Noting::On, Portal::Unnamed) => link.left.bound_unnamed(),
            (Noting::On, Portal::Other) => link.left.bound_any(),
        }
    }

    /// A portal is executed.
    #[inline]
    pub(crate) fn note_execute(
        &self,
        link: &mut Link,
        message: Message<'_>,
        steps: &mut Steps,
    ) -> Option<usize> {
        if self.noting == Noting::Off {
            return None;
        }
        if link.left.has_bound()
            && let Some(bytes) = execute_bound(link, message)
        {
            return Some(bytes);
        }
        steps.noted.begin();
        None
    }

    /// A function is called by its number.
    pub(crate) fn note_call(
        &self,
        link: &mut Link,
        message: Message<'_>,
        steps: &mut Steps,
    ) -> Option<usize> {
        if self.noting == Noting::Off {
            link.left.note_unseen();
            return None;
        }
        let number = message.bytes.get(HEADER_BYTES..).and_then(|body| body.first_chunk::<4>());
        match number.map(|number| u32::from_be_bytes(*number)) {
            None if message.left() > 0 => {
                return Some(message.head.total.min(HEADER_BYTES + 4));
            }
            Some(number) if LARGE_OBJECT.contains(&number) => {}
            Some(_) | None => link.left.called(link.under_way()),
        }
        steps.noted.begin();
        None
    }
}

/// A portal is executed of which it is known that it clears something away, if it is the one it should be.
#[cold]
fn execute_bound(link: &mut Link, message: Message<'_>) -> Option<usize> {
    let portal = match message.bytes.get(HEADER_BYTES) {
        None if message.left() > 0 => return Some(HEADER_BYTES + 1),
        Some(0) => Portal::Unnamed,
        Some(_) | None => Portal::Other,
    };
    link.left.executed(portal);
    None
}
