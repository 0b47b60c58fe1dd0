//! What is left of a statement when all is gone in which two executions of the same code can differ.

use std::fmt;

use super::lexer::{Kind, Lexer, Token, is_word_part};
use super::skip_to_statement;

/// How much of a statement counts, bytes, after everything that does not count has been taken away.
const SHAPE_BYTES_MAX: usize = 256;
/// How much of its text is looked at for that, bytes, after leading comments.
const READ_BYTES_MAX: usize = 2048;
/// How deep parentheses are told apart.
const DEPTH_MAX: usize = 16;
/// What stands for a literal.
const LITERAL: u8 = 1;

/// The same for statements that differ only in literals, comments, white space and case. Stable over runs and hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(pub u64);

/// Sixteen hexadecimal digits.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The shape of a statement: a hash of its words and operators.
///
/// Literals, parameters, NULL, TRUE and FALSE are all the same; a sign before a literal and a cast `::name` after it
/// belong to it; a list of literals is like one literal, several equal groups in parentheses (the rows of VALUES) are like one. Names
/// outside quotes are folded in ASCII. What counts is the first 256 bytes of what is left, found in the first 2,048 bytes
/// after leading comments.
pub fn shape(text: &[u8]) -> Shape {
    let statement = skip_to_statement(text);
    let read = statement.get(..READ_BYTES_MAX).unwrap_or(statement);
    let mut left = Left::new();
    for token in Lexer::new(read) {
        // Half a name is no name; half a literal is a literal.
        let is_name = matches!(token.kind, Kind::Word | Kind::QuotedWord | Kind::Operator);
        let is_cut = is_name && token.end() == read.len() && read.len() < statement.len();
        if is_cut || left.push(&token) == Room::Full {
            break;
        }
    }
    Shape(hash(left.without_end()))
}

/// Whether there is room for more.
#[derive(PartialEq, Eq)]
enum Room {
    Left,
    Full,
}

/// What a following byte sequence has to be kept apart from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The beginning, or something that begins an expression.
    Begin,
    Word,
    Operator,
    Literal,
    /// A cast after a literal, whose type is to come.
    Cast,
    /// The end of an expression that is neither word nor literal.
    End,
}

/// What is left of the text so far.
struct Left {
    bytes: [u8; SHAPE_BYTES_MAX],
    length: usize,
    last: Last,
    /// How long it was before what may be the sign of a literal.
    sign: Option<usize>,
    /// Where the open groups begin.
    groups: [usize; DEPTH_MAX],
    depth: usize,
}

impl Left {
    fn new() -> Self {
        Self {
            bytes: [0; SHAPE_BYTES_MAX],
            length: 0,
            last: Last::Begin,
            sign: None,
            groups: [0; DEPTH_MAX],
            depth: 0,
        }
    }

    fn so_far(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Without the semicolon at the end.
    fn without_end(&self) -> &[u8] {
        let end = self.so_far().iter().rposition(|byte| *byte != b';').map_or(0, |last| last + 1);
        self.so_far().get(..end).unwrap_or_default()
    }

    fn push(&mut self, token: &Token<'_>) -> Room {
        match token.kind {
            Kind::LineComment | Kind::BlockComment => Room::Left,
            Kind::Word => self.word(token.text),
            Kind::QuotedWord => self.name(token.text),
            Kind::String | Kind::Number | Kind::Parameter => self.literal(),
            Kind::Operator => self.operator(token.text),
            Kind::Cast if self.last == Last::Literal => {
                self.last = Last::Cast;
                Room::Left
            }
            Kind::Cast | Kind::Comma | Kind::Semicolon | Kind::Other => self.mark(token.text, Last::Begin),
            Kind::Open => {
                if let Some(group) = self.groups.get_mut(self.depth) {
                    *group = self.length;
                }
                self.depth += 1;
                self.mark(token.text, Last::Begin)
            }
            Kind::Close => {
                let room = self.mark(token.text, Last::End);
                self.close_group();
                room
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Room {
        let is_value = |value: &str| word.eq_ignore_ascii_case(value.as_bytes());
        if matches!(word.len(), 4 | 5) && (is_value("null") || is_value("true") || is_value("false")) {
            return self.literal();
        }
        self.name(word)
    }

    fn name(&mut self, name: &[u8]) -> Room {
        if self.last == Last::Cast {
            self.last = Last::Literal;
            return Room::Left;
        }
        let start = self.length;
        if self.last == Last::Word {
            self.append(b" ");
        }
        let room = self.append(name);
        if room == Room::Left && !name.ends_with(b"\"") {
            self.bytes.get_mut(start..self.length).unwrap_or_default().make_ascii_lowercase();
        }
        self.last = Last::Word;
        room
    }

    fn literal(&mut self) -> Room {
        if self.last == Last::Literal {
            return Room::Left;
        }
        if let (Last::Operator, Some(before)) = (self.last, self.sign) {
            self.length = before;
        }
        self.last = Last::Literal;
        if self.so_far().ends_with(&[LITERAL, b',']) {
            self.length -= 1;
            return Room::Left;
        }
        self.append(&[LITERAL])
    }

    fn operator(&mut self, operator: &[u8]) -> Room {
        self.sign = (matches!(operator, b"-" | b"+") && self.begins_expression()).then_some(self.length);
        if self.last == Last::Operator && self.append(b" ") == Room::Full {
            return Room::Full;
        }
        self.last = Last::Operator;
        self.append(operator)
    }

    /// Whether an operand has to come now, as far as this can be told from the last token.
    fn begins_expression(&self) -> bool {
        match self.last {
            Last::Begin | Last::Operator => true,
            Last::Word => {
                let word = self.so_far().rsplit(|byte| !is_word_part(*byte)).next().unwrap_or_default();
                matches!(
                    word,
                    b"select"
                        | b"and"
                        | b"or"
                        | b"not"
                        | b"between"
                        | b"then"
                        | b"else"
                        | b"when"
                        | b"limit"
                        | b"offset"
                        | b"like"
                        | b"by"
                        | b"set"
                        | b"default"
                        | b"return"
                )
            }
            Last::Literal | Last::Cast | Last::End => false,
        }
    }

    fn mark(&mut self, mark: &[u8], last: Last) -> Room {
        self.last = last;
        self.append(mark)
    }

    /// A group that is like the one before it in a list is taken away.
    fn close_group(&mut self) {
        let Some(depth) = self.depth.checked_sub(1) else { return };
        self.depth = depth;
        let Some(start) = self.groups.get(depth).copied() else { return };
        let Some((before, group)) = self.so_far().split_at_checked(start) else { return };
        if before.strip_suffix(b",").is_some_and(|before| before.ends_with(group)) {
            self.length = start.saturating_sub(1);
        }
    }

    /// All of it or nothing.
    fn append(&mut self, bytes: &[u8]) -> Room {
        let end = self.length + bytes.len();
        let Some(place) = self.bytes.get_mut(self.length..end) else { return Room::Full };
        place.copy_from_slice(bytes);
        self.length = end;
        Room::Left
    }
}

/// Multiplies and folds eight bytes at a time. Not for anything that an attacker gains from guessing.
fn hash(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    // The high bits come back down: those of a product do not reach its low bits.
    let mix = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(FACTOR);
        product ^ (product >> 29)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    let whole = words.iter().fold(FACTOR, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(whole, u64::from_le_bytes(last)), FACTOR)
}
