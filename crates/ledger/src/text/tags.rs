//! Tags in the comments before and after a statement.
//!
//! Understood are sqlcommenter (`action='x',route='%2Fz'`; its specification, "Exact Algorithm"), marginalia
//! (`application:Foo,controller:bar`), `path:line` with or without `File:` before it (the tag `file`), and sqlc's
//! `name: Get :one` (the tag `name`).

use std::borrow::Cow;
use std::fmt;

use super::lexer::{Ending, Kind, Lexer, Token, is_space};
use super::show::{self, Cut, escape};
use super::trim_end;

/// Most tags of one statement.
const TAGS_MAX: usize = 16;
/// Longest key, bytes.
const KEY_BYTES_MAX: usize = 64;
/// Longest value, bytes.
const VALUE_BYTES_MAX: usize = 256;
/// How much is looked at, at each end of a statement, bytes.
const END_BYTES_MAX: usize = 4096;
/// Longest statement that is read from its beginning to find its end, bytes. Of a longer one the end is looked at
/// for itself.
const READ_BYTES_MAX: usize = 16 * 1024;

/// The tags of a statement's comments: where in an application it was written, as the application claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags(Box<[(Box<str>, Box<str>)]>);

impl Tags {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, key and value, sorted by key. Raw: to be escaped where they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Those that name a place in the code: without `traceparent` and `tracestate`, which name one request.
    pub fn for_site(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(key, _)| !matches!(*key, "traceparent" | "tracestate"))
    }

    /// The trace that the statement belongs to (W3C Trace Context), unchecked.
    pub fn traceparent(&self) -> Option<&str> {
        self.iter().find(|(key, _)| *key == "traceparent").map(|(_, value)| value)
    }
}

/// `controller=x action="y z"`, escaped.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.iter().enumerate() {
            let gap = if at == 0 { "" } else { " " };
            write!(f, "{gap}{}=", escape(key.as_bytes()))?;
            if value.bytes().any(|byte| is_space(byte) || matches!(byte, b'"' | b'\\' | b'=' | b',')) {
                write!(f, "\"{}\"", escape(value.replace('\\', "\\\\").replace('"', "\\\"").as_bytes()))?;
            } else {
                f.write_str(&escape(value.as_bytes()))?;
            }
        }
        Ok(())
    }
}

/// The tags of the comments before and after a whole statement, never of one in its middle or of what looks like one
/// in a literal.
///
/// For a text that was cut there is [`tags_of_ends`], with nothing as its end if the end is lost.
pub fn tags(text: &[u8]) -> Tags {
    let mut found = Found::default();
    let is_mark = |pair: &[u8]| pair == b"/*" || pair == b"--";
    if text.len() > READ_BYTES_MAX {
        found.leading(text, Cut::Whole);
        found.tail(text);
    } else if text.windows(2).any(is_mark) {
        found.leading(text, Cut::Whole);
        found.trailing(text);
    }
    found.sorted()
}

/// The tags of a statement of which only the beginning and the end are at hand. The two may overlap.
///
/// What `tail` begins with is not known, so that it is read backwards; of a `--` comment there only marginalia tags and
/// plain sqlcommenter tags are taken. Right for every statement that the server accepts: one that ends in the middle of
/// a literal is not.
pub fn tags_of_ends(head: &[u8], tail: &[u8]) -> Tags {
    let mut found = Found::default();
    found.leading(head, Cut::Cut);
    found.tail(tail);
    found.sorted()
}

/// Tags in the order in which they were found.
#[derive(Default)]
struct Found(Vec<(Box<str>, Box<str>)>);

impl Found {
    fn sorted(mut self) -> Tags {
        self.0.sort();
        Tags(self.0.into_boxed_slice())
    }

    /// The comments that a statement begins with.
    fn leading(&mut self, text: &[u8], cut: Cut) {
        let head = text.get(..END_BYTES_MAX).unwrap_or(text);
        let cut = if head.len() < text.len() { Cut::Cut } else { cut };
        Lexer::new(head).take_while(Token::is_comment).for_each(|token| self.comment(&token, cut));
    }

    /// The comments that a statement ends with, read from its beginning.
    fn trailing(&mut self, text: &[u8]) {
        let mut after = None;
        for token in Lexer::new(text) {
            if !token.is_comment() && token.kind != Kind::Semicolon {
                after = Some(token.end());
            }
        }
        // Nothing but comments: they were leading ones.
        let Some(after) = after else { return };
        let limit = text.len().saturating_sub(END_BYTES_MAX);
        let comments = Lexer::starting_at(text, after).filter(Token::is_comment);
        comments.filter(|token| token.start >= limit).for_each(|token| self.comment(&token, Cut::Whole));
    }

    /// The comments that a statement ends with, of which only the end is at hand.
    fn tail(&mut self, text: &[u8]) {
        let tail = text.get(text.len().saturating_sub(END_BYTES_MAX)..).unwrap_or(text);
        if let Some(content) = last_line_comment(tail) {
            return self.content(content);
        }
        let mut rest = trim_end(tail);
        let mut comments: [&[u8]; TAGS_MAX] = [&[]; TAGS_MAX];
        let mut count = 0;
        while let Some((before, content)) = last_block_comment(rest) {
            let Some(place) = comments.get_mut(count) else { break };
            (*place, rest, count) = (content, trim_end(before), count + 1);
        }
        comments.iter().take(count).rev().for_each(|content| self.content(content));
    }

    /// A comment of a text. One that goes on behind what is at hand is ignored: its last value would be wrong.
    fn comment(&mut self, token: &Token<'_>, cut: Cut) {
        let content = match (token.kind, token.ending, cut) {
            (Kind::LineComment, Ending::Closed, _) | (Kind::LineComment, Ending::Open, Cut::Whole) => {
                token.text.strip_prefix(b"--")
            }
            (Kind::BlockComment, Ending::Closed, _) => {
                token.text.strip_prefix(b"/*").and_then(|rest| rest.strip_suffix(b"*/"))
            }
            _ => None,
        };
        self.content(content.unwrap_or_default());
    }

    /// What stands in a comment.
    fn content(&mut self, content: &[u8]) {
        let content = content.trim_ascii();
        if let Some(place) = file_and_line(content) {
            self.add(Cow::Borrowed(b"file"), Cow::Borrowed(place));
        } else if let Some(name) = name_of_query(content) {
            self.add(Cow::Borrowed(b"name"), Cow::Borrowed(name));
        } else if content.windows(2).any(|pair| pair == b"='")
            || content.windows(3).any(|part| part == b"= '")
        {
            self.sqlcommenter(content);
        } else {
            content.split(|byte| *byte == b',').for_each(|pair| self.marginalia(pair));
        }
    }

    /// `key='value',key='value'`, both url-encoded; a quote in a value has a backslash before it. What follows a mistake
    /// is not read.
    fn sqlcommenter(&mut self, content: &[u8]) {
        let mut rest = content;
        while let Some(equals) = rest.iter().position(|byte| *byte == b'=') {
            let (key, after) = rest.split_at(equals);
            let after = after.get(1..).unwrap_or_default().trim_ascii_start();
            let Some(quoted) = after.strip_prefix(b"'") else { return };
            let Some(length) = closing_quote(quoted) else { return };
            let (value, after) = quoted.split_at(length);
            self.add(url_decoded(unescaped(key.trim_ascii())), url_decoded(unescaped(value)));
            match after.get(1..).unwrap_or_default().trim_ascii_start().strip_prefix(b",") {
                Some(next) => rest = next,
                None => return,
            }
        }
    }

    /// `key:value`.
    fn marginalia(&mut self, pair: &[u8]) {
        let pair = pair.trim_ascii();
        let Some(colon) = pair.iter().position(|byte| *byte == b':') else { return };
        let (key, value) = pair.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        // `note: see http://…` is prose.
        let starts_a_word = key.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
        if starts_a_word && !value.starts_with(b"//") && !value.first().is_some_and(|byte| is_space(*byte)) {
            self.add(Cow::Borrowed(key), Cow::Borrowed(value));
        }
    }

    /// Keeps a tag if it is a valid one, there is room, and its key is new.
    fn add(&mut self, key: Cow<'_, [u8]>, value: Cow<'_, [u8]>) {
        let fits = (1..=KEY_BYTES_MAX).contains(&key.len()) && (1..=VALUE_BYTES_MAX).contains(&value.len());
        let (Ok(key), Ok(value)) = (str::from_utf8(&key), str::from_utf8(&value)) else { return };
        let plain = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.');
        if fits
            && key.chars().all(plain)
            && self.0.len() < TAGS_MAX
            && !self.0.iter().any(|(known, _)| **known == *key)
        {
            self.0.push((key.into(), value.into()));
        }
    }
}

/// The content of the block comment that a text ends with, and what stands before it.
fn last_block_comment(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = text.strip_suffix(b"*/")?.len().checked_sub(1)?;
    let mut depth = 1_usize;
    while depth > 0 {
        end = end.checked_sub(1)?;
        match text.get(end..)?.first_chunk::<2>()? {
            b"/*" => depth -= 1,
            b"*/" => depth += 1,
            _ => continue,
        }
        // The two bytes of a mark are not part of another one.
        end = if depth > 0 { end.checked_sub(1)? } else { end };
    }
    let (before, comment) = text.split_at(end);
    let content = comment.get(2..)?.strip_suffix(b"*/")?;
    // `'/* a' -- */` ends with a `--` comment.
    let last_line = content.rsplit(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    (!last_line.windows(2).any(|pair| pair == b"--")).then_some((before, content))
}

/// The content of the `--` comment that a text ends with, if that can be told without having read what is before.
///
/// Were the `--` in a string, the string would end after it; with an even number of quotes there the text would then end in
/// a string, and no server accepts that. Other notations are not decided.
fn last_line_comment(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_end();
    let line = text.rsplit(|byte| matches!(byte, b'\n' | b'\r')).next()?;
    let start = line.windows(2).rposition(|pair| pair == b"--")?;
    let content = line.get(start + 2..)?;
    let quotes = content.iter().filter(|byte| **byte == b'\'').count();
    let undecided = content.iter().any(|byte| matches!(byte, b'"' | b'$' | b'\\'))
        || content.windows(2).any(|pair| pair == b"*/");
    (quotes % 2 == 0 && !undecided).then_some(content)
}

/// `path:digits`, with or without `File:` before it.
fn file_and_line(content: &[u8]) -> Option<&[u8]> {
    let named = content.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"file:"));
    let place = if named { content.get(5..)?.trim_ascii_start() } else { content };
    let colon = place.iter().rposition(|byte| *byte == b':')?;
    let (path, line) = place.split_at(colon);
    let digits = line.get(1..)?;
    let numbered = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let is_path = path.iter().any(|byte| matches!(byte, b'/' | b'\\' | b'.'))
        && !path.iter().any(|byte| matches!(byte, b',' | b'\'') || (is_space(*byte) && !named));
    // `controller:a.b,line:3` and `route:/z:3` are pairs; a drive has one letter.
    let pair = path.iter().position(|byte| *byte == b':').is_some_and(|colon| colon != 1);
    (numbered && is_path && !pair).then_some(place)
}

/// `name: GetAuthor :one`, as sqlc writes it.
fn name_of_query(content: &[u8]) -> Option<&[u8]> {
    let mut words =
        content.strip_prefix(b"name: ")?.split(|byte| is_space(*byte)).filter(|word| !word.is_empty());
    let name = words.next()?;
    (words.next()?.starts_with(b":") && words.next().is_none()).then_some(name)
}

/// Where the quote is that ends a value.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let ends = *byte == b'\'' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
}

/// Without the backslashes before quotes.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.windows(2).any(|pair| pair == b"\\'") {
        return Cow::Borrowed(text);
    }
    let next = text.iter().skip(1).copied().chain([0]);
    let kept = text.iter().copied().zip(next).filter(|pair| *pair != (b'\\', b'\''));
    Cow::Owned(kept.map(|(byte, _)| byte).collect())
}

/// With `%2F` made `/`; a `%` without two digits stays as it is.
fn url_decoded(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return text;
    }
    let mut decoded = Vec::with_capacity(text.len().min(VALUE_BYTES_MAX));
    let mut rest = &*text;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(|pair| show::hex_pair(*pair));
        decoded.push(digits.unwrap_or(byte));
        rest = if digits.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    Cow::Owned(decoded)
}
