//! One statement after the other, by their words.

use super::{Marks, name_number};
use crate::text::{Lexer, Token};

/// What one statement does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) adds: Marks,
    pub(super) removes: Marks,
    pub(super) kind: Kind,
    /// See [`super::Effect::setting`].
    pub(super) setting: u32,
}

/// What kind of statement it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// None: nothing but space and comments.
    #[default]
    Empty,
    /// It begins or ends a transaction, or a part of one.
    Boundary,
    /// PostgreSQL has no statement that begins like this.
    Unheard,
    /// Any other.
    Usual,
}

impl Done {
    fn nothing(kind: Kind) -> Done {
        Done { kind, ..Done::default() }
    }

    fn adding(adds: Marks) -> Done {
        Done { adds, ..Done::nothing(Kind::Usual) }
    }

    fn removing(removes: Marks) -> Done {
        Done { removes, ..Done::nothing(Kind::Usual) }
    }
}

/// What is looked for in the rest of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    /// Functions.
    Call,
    /// Functions, and tables made by INTO.
    Query,
    /// The same, and statements that are executed by name.
    Explain,
    /// Functions, and the view by which settings are changed.
    Update,
    /// Functions, temporary schemas, and statements that are executed by name.
    Create,
    /// The same for what is temporary already: whether it goes with the transaction.
    CreateTemp,
    /// Functions and WITH HOLD.
    Declare,
    /// Nothing.
    Nothing,
}

/// Functions that leave something behind.
pub(super) const FUNCTIONS: [(&[u8], Marks); 15] = [
    (b"pg_advisory_lock", Marks::LOCK),
    (b"pg_advisory_lock_shared", Marks::LOCK),
    (b"pg_try_advisory_lock", Marks::LOCK),
    (b"pg_try_advisory_lock_shared", Marks::LOCK),
    (b"setseed", Marks::FIXED),
    // pg_trgm
    (b"set_limit", Marks::SETTING),
    (b"dblink_connect", Marks::UNKNOWN),
    (b"dblink_connect_u", Marks::UNKNOWN),
    (b"pg_backup_start", Marks::UNKNOWN),
    (b"pg_start_backup", Marks::UNKNOWN),
    (b"pg_replication_origin_session_setup", Marks::UNKNOWN),
    (b"pg_create_physical_replication_slot", Marks::UNKNOWN),
    (b"pg_create_logical_replication_slot", Marks::UNKNOWN),
    (b"pg_copy_physical_replication_slot", Marks::UNKNOWN),
    (b"pg_copy_logical_replication_slot", Marks::UNKNOWN),
];

/// Settings that are replayed on every server connection, and so bind nobody to one.
const REPLAYED: [&[u8]; 5] =
    [b"client_encoding", b"datestyle", b"timezone", b"standard_conforming_strings", b"application_name"];

/// Longest first word of a statement, bytes.
const KEYWORD_BYTES_MAX: usize = 12;

/// Reads statements; stands on a token.
pub(super) struct Reader<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(mut lexer: Lexer<'a>) -> Reader<'a> {
        let token = lexer.next();
        Reader { lexer, token }
    }

    /// The token at hand.
    pub(super) fn token(&self) -> Token<'a> {
        self.token
    }

    /// Where it begins.
    pub(super) fn began(&self) -> usize {
        self.lexer.began()
    }

    pub(super) fn advance(&mut self) {
        self.token = self.lexer.next();
    }

    fn is_at_end(&self) -> bool {
        matches!(self.token, Token::Symbol(b';') | Token::End | Token::Torn | Token::Doubt)
    }

    /// The word at hand; empty if it is none.
    fn word(&self) -> &'a [u8] {
        match self.token {
            Token::Word(word) => word,
            _ => b"",
        }
    }

    fn is(&self, word: &[u8]) -> bool {
        self.word().eq_ignore_ascii_case(word)
    }

    /// Passes over this word, if it is at hand.
    fn take(&mut self, word: &[u8]) -> bool {
        let taken = self.is(word);
        if taken {
            self.advance();
        }
        taken
    }

    fn take_symbol(&mut self, symbol: u8) -> bool {
        let taken = self.token == Token::Symbol(symbol);
        if taken {
            self.advance();
        }
        taken
    }

    /// Reads one statement, up to the semicolon behind it or the end of the text.
    pub(super) fn statement(&mut self) -> Done {
        // A parenthesis begins a query.
        while self.take_symbol(b'(') {}
        let mut done = match self.token {
            _ if self.is_at_end() => return Done::default(),
            Token::Word(word) => self.by_keyword(word),
            _ => Done { adds: Marks::UNKNOWN, ..Done::nothing(Kind::Unheard) },
        };
        if !self.is_at_end() {
            done.adds = done.adds.with(self.rest(Within::Nothing));
        }
        done
    }

    fn by_keyword(&mut self, word: &[u8]) -> Done {
        let mut lower = [0; KEYWORD_BYTES_MAX];
        let Some(lower) = lower.get_mut(..word.len()) else { return self.unheard() };
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        self.advance();
        match &*lower {
            b"select" => self.select(),
            b"with" => self.within(Within::Query),
            b"insert" | b"delete" | b"merge" | b"values" | b"table" | b"copy" => self.within(Within::Call),
            b"update" => self.within(Within::Update),
            b"explain" => self.within(Within::Explain),
            b"declare" => self.within(Within::Declare),
            b"create" => self.create(),
            b"set" => self.set(),
            b"reset" if self.is(b"all") => Done::removing(Marks::SETTING),
            b"listen" => Done::adding(Marks::LISTEN),
            b"unlisten" if self.token == Token::Symbol(b'*') => Done::removing(Marks::LISTEN),
            b"prepare" if self.is(b"transaction") => Done::nothing(Kind::Boundary),
            b"prepare" => Done::adding(Marks::PREPARE),
            b"deallocate" => self.deallocate(),
            b"close" if self.is(b"all") => Done::removing(Marks::CURSOR),
            b"discard" if self.is(b"all") => Done::removing(Marks::ALL),
            b"discard" if self.is(b"temp") || self.is(b"temporary") => Done::removing(Marks::TEMP),
            b"begin" | b"start" | b"commit" | b"end" | b"rollback" | b"abort" | b"savepoint" | b"release" => {
                Done::nothing(Kind::Boundary)
            }
            b"reset" | b"unlisten" | b"close" | b"discard" | b"show" | b"lock" | b"truncate" | b"fetch"
            | b"move" | b"notify" | b"alter" | b"drop" | b"grant" | b"revoke" | b"comment" | b"vacuum"
            | b"analyze" | b"analyse" | b"reindex" | b"cluster" | b"checkpoint" | b"import" | b"security"
            | b"reassign" => Done::nothing(Kind::Usual),
            b"refresh" => Done::nothing(Kind::Usual),
            b"call" | b"do" | b"execute" | b"load" => Done::adding(Marks::UNKNOWN),
            _ => self.unheard(),
        }
    }

    fn unheard(&self) -> Done {
        Done { adds: Marks::UNKNOWN, ..Done::nothing(Kind::Unheard) }
    }

    fn within(&mut self, within: Within) -> Done {
        Done::adding(self.rest(within))
    }

    fn select(&mut self) -> Done {
        // Anything more, and it may not be executed.
        let mut alone = self.lexer.clone();
        let mut token = self.token;
        if matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(b"pg_catalog")) {
            alone.next();
            token = alone.next();
        }
        let unlocks =
            matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(b"pg_advisory_unlock_all"));
        if unlocks
            && alone.next() == Token::Symbol(b'(')
            && alone.next() == Token::Symbol(b')')
            && matches!(alone.next(), Token::Symbol(b';') | Token::End)
        {
            return Done::removing(Marks::LOCK);
        }
        self.within(Within::Query)
    }

    fn create(&mut self) -> Done {
        if self.take(b"or") {
            self.take(b"replace");
        }
        let _ = self.take(b"global") || self.take(b"local");
        let temporary = self.take(b"temp") || self.take(b"temporary");
        self.within(if temporary { Within::CreateTemp } else { Within::Create })
    }

    fn deallocate(&mut self) -> Done {
        self.take(b"prepare");
        if self.is(b"all") { Done::removing(Marks::PREPARE) } else { Done::nothing(Kind::Usual) }
    }

    fn set(&mut self) -> Done {
        let nothing = Done::nothing(Kind::Usual);
        if self.is(b"local") || self.is(b"transaction") || self.is(b"constraints") {
            return nothing;
        }
        if self.take(b"session") && self.is(b"authorization") {
            return Done::adding(Marks::FIXED);
        }
        // SET SESSION SESSION AUTHORIZATION
        if self.take(b"session") {
            return Done::adding(Marks::FIXED);
        }
        let (Token::Word(name) | Token::Quoted(name)) = self.token else {
            return Done::adding(Marks::ANY_SETTING);
        };
        self.advance();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // A name may go on behind a point.
        if self.token != Token::Symbol(b'.') {
            let zone = is(b"time") && self.is(b"zone");
            if zone || is(b"names") || REPLAYED.iter().any(|known| is(known)) {
                return nothing;
            }
            if is(b"role") || is(b"seed") || is(b"session_authorization") {
                return Done::adding(Marks::FIXED);
            }
            return Done { setting: name_number(name), ..Done::adding(Marks::SETTING) };
        }
        Done::adding(Marks::SETTING)
    }

    /// Reads the rest of the statement and says what it leaves behind.
    fn rest(&mut self, within: Within) -> Marks {
        let mut marks = Marks::NONE;
        let mut goes_with_transaction = false;
        // set_config(…): at which depth of parentheses.
        let (mut depth, mut config) = (0_usize, None);
        let (mut last, mut before) = (Token::End, Token::End);
        while !self.is_at_end() {
            match self.token {
                _ if within == Within::Nothing => {}
                Token::Coded => marks = marks.with(Marks::UNKNOWN),
                Token::Word(word) | Token::Quoted(word) => {
                    if is_word(word, b"set_config") {
                        if config.is_some() {
                            marks = marks.with(Marks::ANY_SETTING);
                        }
                        config = Some(depth + 1);
                    }
                    marks = marks.with(function(word)).with(special(within, word, before, last));
                    goes_with_transaction |=
                        is_word(word, b"drop") && is(last, b"commit") && is(before, b"on");
                }
                Token::Symbol(b'(') => depth += 1,
                Token::Symbol(b')') => {
                    if config == Some(depth) {
                        // As good as SET LOCAL if its last argument says so.
                        let local = is(last, b"true") && before == Token::Symbol(b',');
                        marks = if local { marks } else { marks.with(Marks::ANY_SETTING) };
                        config = None;
                    }
                    depth = depth.saturating_sub(1);
                }
                _ => {}
            }
            (before, last) = (last, self.token);
            self.advance();
        }
        if config.is_some() {
            marks = marks.with(Marks::ANY_SETTING);
        }
        match within {
            Within::CreateTemp if !goes_with_transaction => marks.with(Marks::TEMP),
            Within::CreateTemp
            | Within::Call
            | Within::Query
            | Within::Explain
            | Within::Update
            | Within::Create
            | Within::Declare
            | Within::Nothing => marks,
        }
    }
}

fn is_word(word: &[u8], known: &[u8]) -> bool {
    word.eq_ignore_ascii_case(known)
}

fn is(token: Token<'_>, known: &[u8]) -> bool {
    matches!(token, Token::Word(word) if is_word(word, known))
}

/// What a function of this name leaves behind.
fn function(word: &[u8]) -> Marks {
    // Of all words, few begin like this and are as long.
    if word.len() < 7 || !matches!(word[0] | 0x20, b'p' | b's' | b'd') {
        return Marks::NONE;
    }
    FUNCTIONS.iter().find(|(name, _)| is_word(word, name)).map_or(Marks::NONE, |(_, marks)| *marks)
}

/// What a word leaves behind in a statement of this kind; the two tokens before it.
fn special(within: Within, word: &[u8], before: Token<'_>, last: Token<'_>) -> Marks {
    let temporary = |word| is_word(word, b"temp") || is_word(word, b"temporary");
    let in_temp_schema = word.len() >= 7 && is_word(&word[..7], b"pg_temp");
    match within {
        Within::Query | Within::Explain if is(last, b"into") && (temporary(word) || in_temp_schema) => {
            Marks::TEMP
        }
        Within::Query | Within::Explain
            if is(before, b"into") && (is(last, b"local") || is(last, b"global")) && temporary(word) =>
        {
            Marks::TEMP
        }
        Within::Explain if is_word(word, b"execute") => Marks::UNKNOWN,
        Within::Explain if temporary(word) && (is(last, b"create") || is(before, b"create")) => Marks::TEMP,
        Within::Create if in_temp_schema => Marks::TEMP,
        Within::Create | Within::CreateTemp if is_word(word, b"execute") && is(last, b"as") => Marks::UNKNOWN,
        Within::Update if is_word(word, b"pg_settings") => Marks::ANY_SETTING,
        Within::Declare if is_word(word, b"hold") && is(last, b"with") => Marks::CURSOR,
        Within::Call
        | Within::Query
        | Within::Explain
        | Within::Update
        | Within::Create
        | Within::CreateTemp
        | Within::Declare
        | Within::Nothing => Marks::NONE,
    }
}
