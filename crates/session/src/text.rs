//! The words of SQL, as far as a pooler needs them: enough to tell where a statement begins and what its words are.
//!
//! Source: PostgreSQL manual, "Lexical Structure". Where PostgreSQL itself would read on differently depending on
//! something that is not in the text (`standard_conforming_strings`, the client's encoding), the token is
//! [`Token::Doubt`] and nothing behind it means anything.

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A keyword or a name.
    Word(&'a [u8]),
    /// A name in double quotes, as it is written between them.
    Quoted(&'a [u8]),
    /// A name in double quotes whose characters may be written as numbers: `U&"…"`.
    Coded,
    /// A literal in quotes or dollars.
    Literal,
    /// Any other character; a digit stands for the whole number.
    Symbol(u8),
    /// The text ends.
    End,
    /// The text ends inside a literal, a quoted name or a comment.
    Torn,
    /// What comes here cannot be told with certainty.
    Doubt,
}

/// How a literal or comment ended.
enum Closed {
    Yes,
    Torn,
    Doubt,
}

/// Reads a text from front to back.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the token began that was read last.
    began: usize,
}

impl<'a> Lexer<'a> {
    /// A text ends where its bytes do, or at a zero.
    pub(crate) fn new(text: &'a [u8]) -> Lexer<'a> {
        Lexer { text, at: 0, began: 0 }
    }

    /// Where the token began that was read last.
    pub(crate) fn began(&self) -> usize {
        self.began
    }

    /// The next token, over white space and comments.
    pub(crate) fn next(&mut self) -> Token<'a> {
        let skipped = self.skip_space();
        self.began = self.at;
        match skipped {
            Closed::Yes => {}
            Closed::Torn => return Token::Torn,
            Closed::Doubt => return Token::Doubt,
        }
        let byte = self.peek(0);
        if is_word_start(byte) {
            return self.word();
        }
        match byte {
            0 => Token::End,
            b'\'' => self.literal(Escapes::No),
            b'"' => self.quoted(),
            b'$' => self.dollars(),
            b'0'..=b'9' => {
                self.skip_while(|b| b.is_ascii_digit());
                Token::Symbol(byte)
            }
            _ => {
                self.at += 1;
                Token::Symbol(byte)
            }
        }
    }

    /// The byte so far ahead; zero at the end.
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().position(|b| !belongs(*b)).unwrap_or(rest.len());
    }

    fn skip_space(&mut self) -> Closed {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => self.at += 1,
                (b'-', b'-') => self.skip_while(|b| !matches!(b, b'\n' | b'\r' | 0)),
                (b'/', b'*') => match self.skip_comment() {
                    Closed::Yes => {}
                    open => return open,
                },
                _ => return Closed::Yes,
            }
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Closed {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (0, _) => return Closed::Torn,
                (b'/', b'*') => {
                    depth += 1;
                    self.at += 2;
                }
                (b'*', b'/') => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Closed::Yes;
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    fn word(&mut self) -> Token<'a> {
        let from = self.at;
        self.skip_while(is_word_part);
        let word = &self.text[from..self.at];
        match (word, self.peek(0), self.peek(1)) {
            // Only as a word of its own is E a prefix: NAME'\' is a literal of one backslash.
            (b"e" | b"E", b'\'', _) => self.literal(Escapes::Yes),
            (b"u" | b"U", b'&', b'"') => {
                self.at += 1;
                match self.quoted() {
                    Token::Quoted(_) => Token::Coded,
                    other => other,
                }
            }
            _ => Token::Word(word),
        }
    }

    fn literal(&mut self, escapes: Escapes) -> Token<'a> {
        match self.skip_literal(escapes) {
            Closed::Yes => Token::Literal,
            Closed::Torn => Token::Torn,
            Closed::Doubt => Token::Doubt,
        }
    }

    /// A doubled quote ends one literal and begins the next, which comes to the same.
    fn skip_literal(&mut self, escapes: Escapes) -> Closed {
        self.at += 1;
        let mut before = 0;
        loop {
            let byte = self.peek(0);
            match (byte, escapes) {
                (0, _) => return Closed::Torn,
                (b'\\', Escapes::Yes) => {
                    // In some encodings of clients it is the second byte of a character.
                    if before >= 0x80 && matches!(self.peek(1), b'\'' | b'\\') {
                        return Closed::Doubt;
                    }
                    self.at += 1;
                    if self.peek(0) == 0 {
                        return Closed::Torn;
                    }
                }
                (b'\'', Escapes::No) if before == b'\\' => {
                    // An escape, or not, by standard_conforming_strings and by what a literal before it was.
                    return Closed::Doubt;
                }
                (b'\'', _) => {
                    self.at += 1;
                    if self.peek(0) != b'\'' {
                        return Closed::Yes;
                    }
                }
                _ => {}
            }
            before = self.peek(0);
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Token<'a> {
        let from = self.at + 1;
        loop {
            self.at += 1;
            match (self.peek(0), self.peek(1)) {
                (0, _) => return Token::Torn,
                (b'"', b'"') => self.at += 1,
                (b'"', _) => {
                    let name = &self.text[from..self.at];
                    self.at += 1;
                    return Token::Quoted(name);
                }
                _ => {}
            }
        }
    }

    /// `$tag$ … $tag$`, or the `$` of a parameter.
    fn dollars(&mut self) -> Token<'a> {
        let from = self.at;
        self.at += 1;
        if is_word_start(self.peek(0)) {
            self.skip_while(|b| b != b'$' && is_word_part(b));
        }
        if self.peek(0) != b'$' {
            self.at = from + 1;
            return Token::Symbol(b'$');
        }
        self.at += 1;
        let tag = &self.text[from..self.at];
        while self.peek(0) != 0 {
            if self.text[self.at..].starts_with(tag) {
                self.at += tag.len();
                return Token::Literal;
            }
            self.at += 1;
            self.skip_while(|b| b != b'$' && b != 0);
        }
        Token::Torn
    }
}

/// Whether a backslash in a literal is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escapes {
    No,
    Yes,
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}
