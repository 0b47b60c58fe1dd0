//! What a line on the console says, before anybody asks whether it makes sense.
//!
//! The grammar is PgBouncer's, so that scripts written for it go on working:
//!
//! ```text
//! line   = call | set
//! call   = blanks WORD [ blanks WORD ] blanks [ ";" blanks ]
//! show   = blanks "show" blanks WORD blanks (WORD | STRING) blanks [ ";" blanks ]      (ours)
//! explain = blanks "explain" blanks "admission" [ blanks WORD [ blanks WORD ] ] blanks [ ";" blanks ]   (ours)
//! words  = blanks ("release" | "cap") { blanks (WORD | STRING) } blanks [ ";" blanks ]   (ours)
//! set    = blanks "set" blanks WORD [blanks] ("=" | "to") [blanks] (WORD | STRING) blanks [ ";" blanks ]
//! WORD   = '"' … '"' with "" for a quote, or letters, digits and underscores
//! STRING = "'" … "'" with '' for a quote
//! ```

use crate::failure::Failure;

/// Longest command word, bytes.
const COMMAND_BYTES_MAX: usize = 15;
/// Longest argument or key, bytes: PostgreSQL's names have at most 63.
const ARGUMENT_BYTES_MAX: usize = 63;
/// Longest value of SET, bytes.
const VALUE_BYTES_MAX: usize = 255;

/// Most words behind a command that takes several.
const WORDS_MAX: usize = 12;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A command and its argument; the argument is empty when there is none.
    Call {
        /// The command word as written.
        command: String,
        /// The argument, unquoted.
        argument: String,
    },
    /// `SHOW what of`: not PgBouncer's.
    Show {
        /// What is shown.
        what: String,
        /// Of whom, or how.
        of: String,
    },
    /// `EXPLAIN ADMISSION [database] [user]`: not PgBouncer's.
    Explain {
        /// The database a client would ask for.
        database: Option<String>,
        /// As whom.
        user: Option<String>,
    },
    /// `RELEASE …` and `CAP …`: not PgBouncer's.
    Words {
        /// The command word as written.
        command: String,
        /// What comes behind it, unquoted.
        words: Vec<String>,
    },
    /// `SET key = value`.
    Set {
        /// The key as written, unquoted.
        key: String,
        /// The value, unquoted.
        value: String,
    },
}

/// Reads a line.
///
/// # Errors
/// [`Failure::InvalidCommand`] when the line does not fit the grammar, [`Failure::BadArguments`] when a part of it
/// is longer than any word that means something here.
pub(crate) fn parse(text: &str) -> Result<Line, Failure> {
    let line = explain(text)
        .or_else(|| words(text))
        .or_else(|| call(text))
        .or_else(|| set(text))
        .or_else(|| show(text))
        .ok_or_else(|| Failure::InvalidCommand(text.to_string()))?;
    if fits(&line) { Ok(line) } else { Err(Failure::BadArguments) }
}

fn fits(line: &Line) -> bool {
    match line {
        Line::Call { command, argument } => {
            command.len() <= COMMAND_BYTES_MAX && argument.len() <= ARGUMENT_BYTES_MAX
        }
        Line::Explain { database, user } => {
            [database, user].into_iter().flatten().all(|name| name.len() <= ARGUMENT_BYTES_MAX)
        }
        Line::Words { words, .. } => words.iter().all(|word| word.len() <= VALUE_BYTES_MAX),
        Line::Show { what, of } => what.len() <= ARGUMENT_BYTES_MAX && of.len() <= ARGUMENT_BYTES_MAX,
        Line::Set { key, value } => {
            !key.is_empty() && key.len() <= ARGUMENT_BYTES_MAX && value.len() <= VALUE_BYTES_MAX
        }
    }
}

fn call(text: &str) -> Option<Line> {
    let (command, rest) = word(blanks(text))?;
    let after = blanks(rest);
    let (argument, rest) = match word(after) {
        Some(found) if after.len() < rest.len() => found,
        Some(_) | None => (String::new(), rest),
    };
    ended(rest).then_some(Line::Call { command, argument })
}

fn set(text: &str) -> Option<Line> {
    let rest = keyword(blanks(text), "set")?;
    let after = blanks(rest);
    if after.len() == rest.len() {
        return None;
    }
    let (key, rest) = word(after)?;
    let rest = blanks(rest);
    let rest = blanks(rest.strip_prefix('=').or_else(|| keyword(rest, "to"))?);
    let (value, rest) = quoted(rest, '\'').or_else(|| word(rest))?;
    ended(rest).then_some(Line::Set { key, value })
}

fn show(text: &str) -> Option<Line> {
    let rest = keyword(blanks(text), "show")?;
    let (what, rest) = word(blanks(rest))?;
    let (of, rest) = quoted(blanks(rest), '\'').or_else(|| word(blanks(rest)))?;
    let takes_two = ["holds", "snapshot", "why"].iter().any(|known| what.eq_ignore_ascii_case(known));
    (takes_two && ended(rest)).then_some(Line::Show { what, of })
}

fn words(text: &str) -> Option<Line> {
    let (command, mut rest) = word(blanks(text))?;
    if !["release", "cap"].iter().any(|known| command.eq_ignore_ascii_case(known)) {
        return None;
    }
    let mut words = Vec::new();
    while !ended(rest) && words.len() < WORDS_MAX {
        let after = blanks(rest);
        if after.len() == rest.len() {
            return None;
        }
        let (one, next) = quoted(after, '\'').or_else(|| word(after))?;
        words.push(one);
        rest = next;
    }
    ended(rest).then_some(Line::Words { command, words })
}

fn explain(text: &str) -> Option<Line> {
    let rest = keyword(blanks(text), "explain")?;
    let (what, rest) = word(blanks(rest))?;
    let (database, rest) = optional_word(rest);
    let (user, rest) = optional_word(rest);
    (what.eq_ignore_ascii_case("admission") && ended(rest)).then_some(Line::Explain { database, user })
}

fn optional_word(text: &str) -> (Option<String>, &str) {
    word(blanks(text)).map_or((None, text), |(word, rest)| (Some(word), rest))
}

/// Nothing more than one semicolon.
fn ended(text: &str) -> bool {
    let text = blanks(text);
    text.is_empty() || text.strip_prefix(';').is_some_and(|rest| blanks(rest).is_empty())
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

fn keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let head = text.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| &text[keyword.len()..])
}

fn word(text: &str) -> Option<(String, &str)> {
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_string(), &text[end..]))
}

/// A text between `quote`s, in which two of them stand for one.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text.strip_prefix(quote)?;
    loop {
        let end = rest.find(quote)?;
        out.push_str(&rest[..end]);
        rest = &rest[end + quote.len_utf8()..];
        match rest.strip_prefix(quote) {
            Some(after) => {
                out.push(quote);
                rest = after;
            }
            None => return Some((out, rest)),
        }
    }
}

#[cfg(test)]
mod tests;
