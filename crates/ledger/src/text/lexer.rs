//! The words of SQL, after PostgreSQL's own rules (manual, "Lexical Structure"; `standard_conforming_strings = on`).
//!
//! Never fails: what PostgreSQL would refuse comes out as some token, and a text that ends in the middle of anything ends
//! there quietly. Everything but white space belongs to exactly one token.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `-- …`, without the line's end.
    LineComment,
    /// `/* … */`, with what is nested in it.
    BlockComment,
    /// An identifier or keyword without quotes.
    Word,
    /// `"…"` or `U&"…"`.
    QuotedWord,
    /// A string in any notation: `'…'`, `E'…'`, `U&'…'`, `B'…'`, `X'…'`, `N'…'`, `$tag$…$tag$`; with the parts of it that
    /// follow on other lines.
    String,
    /// A number, without a sign.
    Number,
    /// `$1`.
    Parameter,
    /// One or more of `+-*/<>=~!@#%^&|` `` ` `` `?`.
    Operator,
    /// `(`, `[`.
    Open,
    /// `)`, `]`.
    Close,
    /// `,`.
    Comma,
    /// `;`.
    Semicolon,
    /// `::`.
    Cast,
    /// Any other byte.
    Other,
}

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// Where it begins, bytes.
    pub(super) start: usize,
    /// Its bytes, marks of its beginning and end included.
    pub(super) text: &'a [u8],
    /// Whether the text ended before the token did.
    pub(super) ending: Ending,
}

/// How a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Closed,
    /// The text ended in the middle of it.
    Open,
}

impl Token<'_> {
    /// Where it ends, bytes.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::LineComment | Kind::BlockComment)
    }
}

/// White space, of any version: `\v` is since 16.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

pub(super) fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(super) fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

/// Longest operator, bytes. A longer one comes out as several: PostgreSQL allows 63, nobody has one, and each byte of
/// many signs looks so far ahead.
const OPERATOR_BYTES_MAX: usize = 16;

/// The tokens of a text.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Begins at `at` instead.
    pub(super) fn starting_at(text: &'a [u8], at: usize) -> Self {
        Self { text, at: at.min(text.len()) }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&belongs) {
            self.at += 1;
        }
    }

    /// Takes a token that begins with `first`, the byte at `at`.
    fn take(&mut self, first: u8) -> (Kind, Ending) {
        let second = self.peek(1);
        match first {
            b'-' if second == Some(b'-') => self.line_comment(),
            b'/' if second == Some(b'*') => self.block_comment(),
            b'\'' => self.string(1, Escapes::None),
            b'"' => self.quoted_word(1),
            b'e' | b'E' if second == Some(b'\'') => self.string(2, Escapes::Backslash),
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if second == Some(b'\'') => self.string(2, Escapes::None),
            b'u' | b'U' if second == Some(b'&') && self.peek(2) == Some(b'\'') => {
                self.string(3, Escapes::None)
            }
            b'u' | b'U' if second == Some(b'&') && self.peek(2) == Some(b'"') => self.quoted_word(3),
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            b'.' if second == Some(b'.') => self.plain(2, Kind::Other),
            b'.' if second.is_some_and(|byte| byte.is_ascii_digit()) => self.number(),
            b':' if second == Some(b':') => self.plain(2, Kind::Cast),
            b'(' | b'[' => self.plain(1, Kind::Open),
            b')' | b']' => self.plain(1, Kind::Close),
            b',' => self.plain(1, Kind::Comma),
            b';' => self.plain(1, Kind::Semicolon),
            _ if is_word_start(first) => {
                self.skip_while(is_word_part);
                (Kind::Word, Ending::Closed)
            }
            _ if is_operator(first) => self.operator(),
            _ => self.plain(1, Kind::Other),
        }
    }

    fn plain(&mut self, bytes: usize, kind: Kind) -> (Kind, Ending) {
        self.at += bytes;
        (kind, Ending::Closed)
    }

    fn line_comment(&mut self) -> (Kind, Ending) {
        self.skip_while(|byte| byte != b'\n' && byte != b'\r');
        let ending = if self.at < self.text.len() { Ending::Closed } else { Ending::Open };
        (Kind::LineComment, ending)
    }

    fn block_comment(&mut self) -> (Kind, Ending) {
        self.at += 2;
        let mut depth = 1_usize;
        while let Some(byte) = self.peek(0) {
            match (byte, self.peek(1)) {
                (b'/', Some(b'*')) => {
                    self.at += 2;
                    depth += 1;
                }
                (b'*', Some(b'/')) => {
                    self.at += 2;
                    depth -= 1;
                    if depth == 0 {
                        return (Kind::BlockComment, Ending::Closed);
                    }
                }
                _ => self.at += 1,
            }
        }
        (Kind::BlockComment, Ending::Open)
    }

    /// `prefix`: bytes up to and including the first quote.
    fn string(&mut self, prefix: usize, escapes: Escapes) -> (Kind, Ending) {
        self.at += prefix;
        loop {
            if self.quoted(b'\'', escapes) == Ending::Open {
                return (Kind::String, Ending::Open);
            }
            // The rest of it may stand on another line; it follows the same rules.
            match self.continuation() {
                Some(bytes) => self.at += bytes,
                None => return (Kind::String, Ending::Closed),
            }
        }
    }

    fn quoted_word(&mut self, prefix: usize) -> (Kind, Ending) {
        self.at += prefix;
        (Kind::QuotedWord, self.quoted(b'"', Escapes::None))
    }

    /// What stands between quotes, from after the first one to after the last one.
    fn quoted(&mut self, quote: u8, escapes: Escapes) -> Ending {
        while let Some(byte) = self.peek(0) {
            self.at += 1;
            if byte == quote {
                if self.peek(0) != Some(quote) {
                    return Ending::Closed;
                }
                self.at += 1;
            } else if byte == b'\\' && escapes == Escapes::Backslash {
                self.at = (self.at + 1).min(self.text.len());
            }
        }
        Ending::Open
    }

    /// Bytes up to and including the quote that continues a string: white space with a line's end in it, where
    /// `--` comments count as white space.
    fn continuation(&self) -> Option<usize> {
        let mut ahead = 0;
        let mut lines = 0;
        loop {
            match (self.peek(ahead)?, self.peek(ahead + 1)) {
                (b'\n' | b'\r', _) => lines += 1,
                (b'\'', _) => return (lines > 0).then_some(ahead + 1),
                (b'-', Some(b'-')) => {
                    let rest = self.text.get(self.at + ahead..)?;
                    ahead += rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
                    continue;
                }
                (byte, _) if is_space(byte) => {}
                _ => return None,
            }
            ahead += 1;
        }
    }

    /// `$1`, `$tag$…$tag$`, or just `$`.
    fn dollar(&mut self) -> (Kind, Ending) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digits = rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            return self.plain(1 + digits, Kind::Parameter);
        }
        let tag = rest.iter().skip(1).take_while(|byte| is_word_part(**byte) && **byte != b'$').count();
        let Some(mark) = rest.get(..tag + 2).filter(|mark| mark.ends_with(b"$")) else {
            return self.plain(1, Kind::Other);
        };
        self.at += mark.len();
        while let Some(rest) = self.text.get(self.at..) {
            let Some(dollar) = rest.iter().position(|byte| *byte == b'$') else { break };
            if rest.get(dollar..).is_some_and(|rest| rest.starts_with(mark)) {
                self.at += dollar + mark.len();
                return (Kind::String, Ending::Closed);
            }
            self.at += dollar + 1;
        }
        self.at = self.text.len();
        (Kind::String, Ending::Open)
    }

    /// Numbers as of version 16: `1`, `.5`, `1.5e10`, `0x1F`, `0o7`, `0b1`, `1_000`.
    fn number(&mut self) -> (Kind, Ending) {
        let based = match (self.peek(0), self.peek(1)) {
            (Some(b'0'), Some(b'x' | b'X')) => self.digits(2, |byte| byte.is_ascii_hexdigit()),
            (Some(b'0'), Some(b'o' | b'O')) => self.digits(2, |byte| matches!(byte, b'0'..=b'7')),
            (Some(b'0'), Some(b'b' | b'B')) => self.digits(2, |byte| matches!(byte, b'0' | b'1')),
            _ => 0,
        };
        if based > 0 {
            return self.plain(2 + based, Kind::Number);
        }
        let digit = |byte: u8| byte.is_ascii_digit();
        self.at += self.digits(0, digit);
        // `1..10` is a range of PL/pgSQL: the dots are not the number's.
        if self.peek(0) == Some(b'.') && self.peek(1) != Some(b'.') {
            self.at += 1 + self.digits(1, digit);
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            let exponent = self.digits(1 + sign, digit);
            self.at += if exponent > 0 { 1 + sign + exponent } else { 0 };
        }
        (Kind::Number, Ending::Closed)
    }

    /// How many bytes from `ahead` on are digits, each with one `_` between them at most.
    fn digits(&self, ahead: usize, is_digit: impl Fn(u8) -> bool) -> usize {
        let mut bytes = 0;
        loop {
            let underscore = usize::from(self.peek(ahead + bytes) == Some(b'_') && (bytes > 0 || ahead == 2));
            if !self.peek(ahead + bytes + underscore).is_some_and(&is_digit) {
                return bytes;
            }
            bytes += underscore + 1;
        }
    }

    /// An operator ends where a comment begins. It does not end in `+` or `-` unless it has a character that no operator
    /// of the SQL standard has: `=-1` is two of them.
    fn operator(&mut self) -> (Kind, Ending) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut bytes = rest.iter().take(OPERATOR_BYTES_MAX).take_while(|byte| is_operator(**byte)).count();
        let comment = |pair: &[u8]| pair == b"--" || pair == b"/*";
        let marks = rest.get(..bytes + 1).unwrap_or(rest);
        bytes = marks.windows(2).position(comment).unwrap_or(bytes).clamp(1, bytes.max(1));
        let marks = rest.get(..bytes).unwrap_or_default();
        let special =
            |byte: &u8| matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%');
        if !marks.iter().any(special) {
            let signs = marks.iter().rev().take_while(|byte| matches!(byte, b'+' | b'-')).count();
            bytes = (bytes - signs).max(1);
        }
        self.plain(bytes, Kind::Operator)
    }
}

/// What a backslash means in a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// Nothing.
    None,
    /// That the next byte is not the end.
    Backslash,
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_while(is_space);
        let start = self.at;
        let first = self.peek(0)?;
        let (kind, ending) = self.take(first);
        let text = self.text.get(start..self.at)?;
        Some(Token { kind, start, text, ending })
    }
}
