//! What can be learned from the text of a statement: comment tags, shape, and what may be shown of it.

use std::fmt;

/// Whether a text is all there is, or the beginning of something longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it.
    Whole,
    /// Only the beginning.
    Cut,
}

/// The tags of a statement's comments: where in an application it was written, as the application claims.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tags(Box<[(Box<str>, Box<str>)]>);

impl Tags {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, key and value, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Those that name a place in the code: without `traceparent` and `tracestate`, which name one request.
    pub fn for_site(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter(|(key, _)| !matches!(*key, "traceparent" | "tracestate"))
    }

    /// The trace that the statement belongs to.
    pub fn traceparent(&self) -> Option<&str> {
        self.iter().find(|(key, _)| *key == "traceparent").map(|(_, value)| value)
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(key, value)| {
            write!(f, "{}={} ", escape(key.as_bytes()), escape(value.as_bytes()))
        })
    }
}

/// The same for statements that differ only in literals, comments, white space and case. Stable over runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(pub u64);

/// The tags of the leading and the trailing comments of a whole statement.
pub fn tags(text: &[u8]) -> Tags {
    tags_of_ends(text, text)
}

/// The tags of a statement of which only the beginning and the end are at hand.
pub fn tags_of_ends(_head: &[u8], _tail: &[u8]) -> Tags {
    Tags::default()
}

/// The shape of a statement.
pub fn shape(text: &[u8]) -> Shape {
    Shape(text.len() as u64)
}

/// What an operator may see by default: no literals, no comments.
pub fn redact(_text: &[u8], _cut: Cut) -> String {
    "…".to_string()
}

/// The whole text, escaped.
pub fn full(text: &[u8]) -> String {
    escape(text)
}

/// Claimed text made safe to show.
pub fn escape(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

/// Whether a statement may carry credentials: quick, and in doubt true.
pub fn may_carry_credentials(_text: &[u8]) -> bool {
    true
}

/// Whether a statement carries credentials and must never be kept. In doubt true.
pub fn carries_credentials(_text: &[u8]) -> bool {
    true
}

/// The first word, after comments, white space and parentheses; empty when there is none.
pub fn first_keyword(_text: &[u8]) -> &[u8] {
    &[]
}
