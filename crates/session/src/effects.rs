//! What a statement may leave behind in its session, by a conservative look at its text.
//!
//! The first word of each statement decides; where it says too little (CALL, DO, EXECUTE, a word nobody knows) or where
//! the text cannot be split with certainty, what is left behind is unknown. Inside SELECT and its like only functions of
//! PostgreSQL itself that are known to leave something are looked for; what a function of the user's leaves behind
//! cannot be seen, and is not claimed to be.

use plimsoll_types::{Pin, Pins};

/// How closely a text is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// At the first words of statements.
    Words,
    /// For functions, too.
    Functions,
}

/// Words of statements that leave nothing behind, by themselves.
const HARMLESS: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "WITH",
    "VALUES",
    "TABLE",
    "MERGE",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "START",
    "END",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "SHOW",
    "EXPLAIN",
    "COPY",
    "LOCK",
    "TRUNCATE",
    "FETCH",
    "MOVE",
    "CLOSE",
    "NOTIFY",
    "ALTER",
    "DROP",
    "GRANT",
    "REVOKE",
    "COMMENT",
    "VACUUM",
    "ANALYZE",
    "REINDEX",
    "CLUSTER",
    "REFRESH",
    "CHECKPOINT",
    "IMPORT",
    "SECURITY",
    "REASSIGN",
    "RESET",
    "DISCARD",
    "DEALLOCATE",
    "UNLISTEN",
];

/// Words after which functions may be called.
const CALLING: &[&str] =
    &["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "VALUES", "MERGE", "EXPLAIN", "COPY", "DECLARE"];

/// Settings that are replayed on every server connection, and so bind nobody to one.
const REPLAYED: &[&str] =
    &["CLIENT_ENCODING", "DATESTYLE", "TIMEZONE", "STANDARD_CONFORMING_STRINGS", "APPLICATION_NAME", "NAMES"];

/// Whether a text is, at a glance, one statement of the kinds of which there are many, and those leave nothing behind.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
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
        && memchr::memchr(b';', text).is_none_or(|at| at + 1 == text.len())
}

/// What the statements of `text` may leave behind. `whole`: nothing of the text is missing.
pub(crate) fn of(text: &[u8], whole: bool, look: Look) -> Pins {
    let mut words = Words { rest: text };
    let mut pins = Pins::NONE;
    loop {
        pins = pins.union(one(&mut words, look));
        match words.skip_statement() {
            Skipped::Next => {}
            Skipped::End if whole => return pins,
            Skipped::End | Skipped::Torn => return pins.with(Pin::Unknown),
        }
        if words.is_at_end() {
            return pins;
        }
    }
}

/// One statement; leaves `words` somewhere in it.
fn one(words: &mut Words<'_>, look: Look) -> Pins {
    let start = words.clone();
    let Some(word) = words.next_word() else {
        // A parenthesis begins a SELECT.
        return match words.rest.first() {
            None | Some(b';') => Pins::NONE,
            Some(b'(') if look == Look::Functions => functions(start.statement()),
            Some(b'(') => Pins::NONE,
            Some(_) => Pins::NONE.with(Pin::Unknown),
        };
    };
    let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
    if look == Look::Functions && CALLING.iter().any(|known| is(known)) {
        return functions(start.statement());
    }
    if HARMLESS.iter().any(|known| is(known)) {
        return Pins::NONE;
    }
    match () {
        () if is("SET") => set(words),
        () if is("CREATE") => create(words),
        () if is("LISTEN") => Pins::NONE.with(Pin::Listen),
        () if is("PREPARE") => match words.next_word() {
            Some(next) if next.eq_ignore_ascii_case(b"TRANSACTION") => Pins::NONE,
            _ => Pins::NONE.with(Pin::Prepare),
        },
        () if is("DECLARE") => match contains(start.statement(), b"with hold") {
            true => Pins::NONE.with(Pin::HeldCursor),
            false => Pins::NONE,
        },
        () => Pins::NONE.with(Pin::Unknown),
    }
}

fn set(words: &mut Words<'_>) -> Pins {
    let mut name = words.next_word().unwrap_or_default();
    if name.eq_ignore_ascii_case(b"SESSION") {
        name = words.next_word().unwrap_or_default();
    }
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let replayed = REPLAYED.iter().any(|known| is(known));
    let zone = is("TIME") && words.next_word().is_some_and(|next| next.eq_ignore_ascii_case(b"ZONE"));
    if replayed || zone || is("LOCAL") || is("TRANSACTION") || is("CONSTRAINTS") {
        Pins::NONE
    } else {
        Pins::NONE.with(Pin::Setting)
    }
}

fn create(words: &mut Words<'_>) -> Pins {
    // CREATE [OR REPLACE] [GLOBAL | LOCAL] TEMP …
    for _ in 0..4 {
        let Some(word) = words.next_word() else { break };
        let is = |known: &[u8]| word.eq_ignore_ascii_case(known);
        if is(b"TEMP") || is(b"TEMPORARY") {
            return Pins::NONE.with(Pin::TempTable);
        }
        if !(is(b"OR") || is(b"REPLACE") || is(b"GLOBAL") || is(b"LOCAL")) {
            // CREATE TABLE pg_temp.name
            return match contains(words.statement(), b"pg_temp") {
                true => Pins::NONE.with(Pin::TempTable),
                false => Pins::NONE,
            };
        }
    }
    Pins::NONE
}

/// Functions of PostgreSQL that leave something in the session.
fn functions(statement: &[u8]) -> Pins {
    let mut pins = Pins::NONE;
    let mut rest = statement;
    while let Some(at) = find(rest, b"advisory_") {
        rest = &rest[at + b"advisory_".len()..];
        // pg_advisory_xact_lock ends with the transaction; unlocking binds nobody.
        let lower: Vec<u8> = rest.iter().take(6).map(u8::to_ascii_lowercase).collect();
        if !lower.starts_with(b"xact") && !lower.starts_with(b"unlock") {
            pins = pins.with(Pin::AdvisoryLock);
        }
    }
    if contains(statement, b"set_config") {
        pins = pins.with(Pin::Setting);
    }
    if contains(statement, b"dblink") {
        pins = pins.with(Pin::Unknown);
    }
    if contains(statement, b"into temp") || contains(statement, b"pg_temp") {
        pins = pins.with(Pin::TempTable);
    }
    if contains(statement, b"with hold") {
        pins = pins.with(Pin::HeldCursor);
    }
    pins
}

fn contains(text: &[u8], lower: &[u8]) -> bool {
    find(text, lower).is_some()
}

/// Where `lower` (in lower case) is in the text, whatever the text's case.
fn find(text: &[u8], lower: &[u8]) -> Option<usize> {
    let (first, upper) = (lower[0], lower[0].to_ascii_uppercase());
    (0..text.len().checked_sub(lower.len())? + 1).find(|at| {
        (text[*at] == first || text[*at] == upper) && text[*at..*at + lower.len()].eq_ignore_ascii_case(lower)
    })
}

/// How the way to the next statement went.
enum Skipped {
    /// Behind a semicolon.
    Next,
    /// At the end of the text.
    End,
    /// At the end of the text, inside a literal or a comment.
    Torn,
}

/// Reads words of SQL, over white space and comments.
#[derive(Clone)]
struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The next word (letters, digits, underscores); `None` if something else comes next.
    fn next_word(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let end = self.rest.iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    /// The rest of the statement (and what follows it: erring towards more).
    fn statement(&self) -> &'a [u8] {
        self.rest
    }

    fn skip_space(&mut self) {
        loop {
            let space = self.rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0x0b).count();
            self.rest = &self.rest[space..];
            if self.rest.starts_with(b"--") {
                self.skip_line();
            } else if self.rest.starts_with(b"/*") {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    fn skip_line(&mut self) {
        let end = self.rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
    }

    /// Comments nest (PostgreSQL manual, "Lexical Structure"). False: it has no end.
    fn skip_comment(&mut self) -> bool {
        let (mut depth, mut at) = (0_usize, 0);
        while at + 1 < self.rest.len() {
            match &self.rest[at..at + 2] {
                b"/*" => (depth, at) = (depth + 1, at + 2),
                b"*/" => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                self.rest = &self.rest[at..];
                return true;
            }
        }
        self.rest = &[];
        false
    }

    /// To behind the next semicolon that ends a statement.
    fn skip_statement(&mut self) -> Skipped {
        loop {
            let Some(at) =
                self.rest.iter().position(|b| matches!(b, b';' | b'\'' | b'"' | b'$' | b'-' | b'/'))
            else {
                self.rest = &[];
                return Skipped::End;
            };
            let before = at.checked_sub(1).map(|at| self.rest[at]);
            self.rest = &self.rest[at..];
            let closed = match self.rest[0] {
                b';' => {
                    self.rest = &self.rest[1..];
                    return Skipped::Next;
                }
                b'\'' => self.skip_quoted(b'\'', matches!(before, Some(b'e' | b'E'))),
                b'"' => self.skip_quoted(b'"', false),
                b'$' => self.skip_dollars(before),
                b'-' if self.rest.starts_with(b"--") => {
                    self.skip_line();
                    true
                }
                b'/' if self.rest.starts_with(b"/*") => self.skip_comment(),
                _ => {
                    self.rest = &self.rest[1..];
                    true
                }
            };
            if !closed {
                self.rest = &[];
                return Skipped::Torn;
            }
        }
    }

    /// False: it has no end. A doubled quote ends one and begins the next, which comes to the same.
    fn skip_quoted(&mut self, quote: u8, escapes: bool) -> bool {
        let mut at = 1;
        while let Some(byte) = self.rest.get(at) {
            at += 1;
            if *byte == b'\\' && escapes {
                at += 1;
            } else if *byte == quote {
                self.rest = self.rest.get(at..).unwrap_or_default();
                return true;
            }
        }
        false
    }

    /// `$tag$ … $tag$`; a lone `$` (as in `$1`, or inside a name) is nothing.
    fn skip_dollars(&mut self, before: Option<u8>) -> bool {
        let in_name = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80);
        let tag =
            self.rest[1..].iter().position(|b| !(b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80));
        let opening = match tag {
            Some(tag) if self.rest[tag + 1] == b'$' && !in_name && !self.rest[1].is_ascii_digit() => {
                &self.rest[..tag + 2]
            }
            _ => {
                self.rest = &self.rest[1..];
                return true;
            }
        };
        let body = &self.rest[opening.len()..];
        match body.windows(opening.len()).position(|window| window == opening) {
            Some(at) => {
                self.rest = &body[at + opening.len()..];
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests;
