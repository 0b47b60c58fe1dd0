//! What can be learned from the text of a statement: comment tags, shape, and what may be shown of it.
//!
//! Pure, and without trust: a text may be broken in any way, of any length, and cut anywhere, since only its first bytes
//! are kept. Nothing here fails or panics; work on the way of queries ([`shape`], [`may_carry_credentials`],
//! [`first_keyword`]) allocates nothing.
//!
//! | module | what it knows |
//! |---|---|
//! | `lexer` | the words of SQL |
//! | `tags` | tags in comments |
//! | `shape` | what two executions of the same code have in common |
//! | `show` | what may be shown, and how |
//! | `credentials` | what must never be kept |

mod credentials;
mod lexer;
mod shape;
mod show;
mod tags;
#[cfg(test)]
mod tests;

pub use credentials::{carries_credentials, may_carry_credentials};
pub use shape::{Shape, shape};
pub use show::{Cut, escape, full, redact};
pub use tags::{Tags, tags, tags_of_ends};

use lexer::{Lexer, is_space, is_word_part, is_word_start};

/// Where the first word is looked for, bytes.
const BEFORE_BYTES_MAX: usize = 4096;

/// How many parentheses may stand before the first word.
const PARENTHESES_MAX: usize = 64;

/// The first word as it is written, after comments, white space and up to 64 parentheses; empty when there is none, or
/// when the comments are longer than 4 KiB.
pub fn first_keyword(text: &[u8]) -> &[u8] {
    let mut statement = skip_to_statement(text);
    for _ in 0..PARENTHESES_MAX {
        let Some(inner) = statement.strip_prefix(b"(") else { break };
        statement = skip_to_statement(inner);
    }
    if !statement.first().is_some_and(|byte| is_word_start(*byte)) {
        return &[];
    }
    let length = statement.iter().position(|byte| !is_word_part(*byte)).unwrap_or(statement.len());
    statement.get(..length).unwrap_or_default()
}

/// The text without the white space and comments that it begins with; nothing if these are longer than 4 KiB.
fn skip_to_statement(text: &[u8]) -> &[u8] {
    if text.first().is_some_and(|byte| is_word_start(*byte)) {
        return text;
    }
    let head = text.get(..BEFORE_BYTES_MAX).unwrap_or(text);
    let first = Lexer::new(head).find(|token| !token.is_comment());
    first.and_then(|token| text.get(token.start..)).unwrap_or_default()
}

/// The text without the white space and semicolons that it ends with.
fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !is_space(*byte) && *byte != b';').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}
