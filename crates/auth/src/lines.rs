//! Lines of an HBA file or an ident map: their tokens, and what is said of a bad one.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// Longest text of either file, bytes. Of a longer one nothing is read.
pub const RULES_BYTES_MAX: usize = 16 << 20;

/// Characters of a file that a message repeats.
const SHOWN_CHARS_MAX: usize = 64;

/// What became of a line that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is left out. PgBouncer adds `could not parse hba config line N` to the log (`ident` for a map).
    Skipped,
    /// It counts as it is written, and is probably not what was meant.
    Kept,
    /// It stands, and whom it means is refused.
    Closed,
}

/// A line that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFault {
    /// From 1.
    pub line: u32,
    /// The whole message, line included: `hba line 3: unknown type`.
    pub message: String,
    /// What became of the line.
    pub effect: Effect,
}

impl std::fmt::Display for LineFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Written without quotes: may be a keyword.
    Word(&'a str),
    /// Written in double quotes (`""` stands for one): always a name.
    Quoted(Cow<'a, str>),
    Comma,
    /// A quote that is not closed; nothing behind it is read.
    Unclosed,
    /// The end of the line, or a comment.
    End,
}

/// The tokens of one line, the first of them in sight.
pub(crate) struct Tokens<'a> {
    current: Token<'a>,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn of(line: &'a str) -> Tokens<'a> {
        let (current, rest) = next(line);
        Tokens { current, rest }
    }

    /// The token in sight.
    pub(crate) fn current(&self) -> &Token<'a> {
        &self.current
    }

    /// The token in sight, which is then passed.
    pub(crate) fn take(&mut self) -> Token<'a> {
        let (following, rest) = next(self.rest);
        self.rest = rest;
        std::mem::replace(&mut self.current, following)
    }

    /// Passes the token in sight if it is this one, and says whether it was.
    pub(crate) fn eat(&mut self, token: &Token<'_>) -> bool {
        let there = self.current == *token;
        if there {
            self.take();
        }
        there
    }

    /// The line behind the token in sight, as it is written.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }
}

/// What separates tokens and is no token itself: `isspace` of the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// The first token of a text, and what is behind it.
fn next(text: &str) -> (Token<'_>, &str) {
    let text = text.trim_start_matches(is_space);
    match text.as_bytes().first() {
        None | Some(b'#') => (Token::End, ""),
        Some(b',') => (Token::Comma, &text[1..]),
        Some(b'"') => quoted(&text[1..]),
        Some(_) => {
            let end = text.find(|c| is_space(c) || matches!(c, ',' | '#' | '"')).unwrap_or(text.len());
            (Token::Word(&text[..end]), &text[end..])
        }
    }
}

/// A token whose opening quote has been passed.
fn quoted(text: &str) -> (Token<'_>, &str) {
    let mut inside = String::new();
    let mut rest = text;
    while let Some((part, behind)) = rest.split_once('"') {
        match behind.strip_prefix('"') {
            Some(behind) => {
                inside.push_str(part);
                inside.push('"');
                rest = behind;
            }
            None if inside.is_empty() => return (Token::Quoted(Cow::Borrowed(part)), behind),
            None => {
                inside.push_str(part);
                return (Token::Quoted(Cow::Owned(inside)), behind);
            }
        }
    }
    (Token::Unclosed, "")
}

/// The lines of a text, numbered from 1. The last one may lack its newline.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..=u32::MAX).zip(text.split('\n'))
}

/// A part of a file as a message may repeat it: short, and without what a terminal would obey.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { '?' } else { c }).collect()
}
