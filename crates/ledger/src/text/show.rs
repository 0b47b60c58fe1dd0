//! What may be shown of a text: redacted, or whole; always escaped.

use std::fmt::Write;

use super::lexer::{Kind, Lexer};

/// Longest claimed text that is shown, bytes, before escaping.
const CLAIMED_BYTES_MAX: usize = 1024;

/// Whether a text is all there is, or the beginning of something longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it.
    Whole,
    /// Only the beginning.
    Cut,
}

/// What an operator may see by default: `?` for each literal (also for one that was cut), parameters as they are, no
/// comments, white space squeezed, the rest escaped as by [`escape`]; `…` at the end of what was cut.
///
/// Strings are told as the server tells them with `standard_conforming_strings = on`, its default.
pub fn redact(text: &[u8], cut: Cut) -> String {
    let mut shown = String::with_capacity(text.len().min(CLAIMED_BYTES_MAX));
    let mut end = 0;
    for token in Lexer::new(text).filter(|token| !token.is_comment()) {
        if token.start > end && !shown.is_empty() {
            shown.push(' ');
        }
        end = token.end();
        match token.kind {
            Kind::String | Kind::Number => shown.push('?'),
            Kind::LineComment
            | Kind::BlockComment
            | Kind::Word
            | Kind::QuotedWord
            | Kind::Parameter
            | Kind::Operator
            | Kind::Open
            | Kind::Close
            | Kind::Comma
            | Kind::Semicolon
            | Kind::Cast
            | Kind::Other => push_escaped(&mut shown, token.text),
        }
    }
    if cut == Cut::Cut {
        shown.push('…');
    }
    shown
}

/// The whole text, escaped as by [`escape`] but as long as it is.
pub fn full(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len());
    push_escaped(&mut shown, text);
    shown
}

/// Claimed text (a name, a tag) made safe to show on a terminal and in a log: control bytes, broken UTF-8, bidirectional
/// controls and everything else that Unicode has of invisible characters become `\n`, `\xNN` or `\u{NNNN}`. Of a long one
/// the first 1,024 bytes, and `…`.
///
/// For eyes only: a backslash stays one, so that it cannot be read back.
pub fn escape(text: &[u8]) -> String {
    let Some(start) = text.get(..CLAIMED_BYTES_MAX).filter(|start| start.len() < text.len()) else {
        return full(text);
    };
    // A character cut in two is not broken UTF-8.
    let partial = start.utf8_chunks().last().map_or(0, |chunk| chunk.invalid().len());
    let mut shown = full(start.get(..start.len() - partial).unwrap_or_default());
    shown.push('…');
    shown
}

fn push_escaped(shown: &mut String, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let mut plain = 0;
        for (at, char) in chunk.valid().char_indices().filter(|(_, char)| is_invisible(*char)) {
            shown.push_str(chunk.valid().get(plain..at).unwrap_or_default());
            plain = at + char.len_utf8();
            push_visible(shown, char);
        }
        shown.push_str(chunk.valid().get(plain..).unwrap_or_default());
        for byte in chunk.invalid() {
            push_byte(shown, *byte);
        }
    }
}

fn push_visible(shown: &mut String, char: char) {
    match char {
        '\n' => shown.push_str("\\n"),
        '\r' => shown.push_str("\\r"),
        '\t' => shown.push_str("\\t"),
        '\0'..='\x7f' => push_byte(shown, char as u8),
        _ => {
            // Writing into a String does not fail.
            let _ = write!(shown, "\\u{{{:04x}}}", u32::from(char));
        }
    }
}

fn push_byte(shown: &mut String, byte: u8) {
    let _ = write!(shown, "\\x{byte:02x}");
}

/// Control characters, and those that are not seen or that move others: Unicode 16's general categories Cf, Zl, Zp, and
/// the default ignorable code points (DerivedCoreProperties).
fn is_invisible(char: char) -> bool {
    char.is_control()
        || (char >= '\u{ad}'
            && matches!(
                char,
                '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
                    | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
                    | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                    | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
                    | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
            ))
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn hex_pair(digits: [u8; 2]) -> Option<u8> {
    let [high, low] =
        digits.map(|digit| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()));
    Some(high? << 4 | low?)
}
