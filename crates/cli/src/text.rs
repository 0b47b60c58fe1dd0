//! Text that somebody else wrote, on its way to a terminal: made harmless, measured, cut, wrapped.
//!
//! What an application claims is hostile. A sane console has escaped it; an old one may not have, and a terminal obeys
//! what it is sent. So it is done again here, for everything that comes from outside.

use std::borrow::Cow;

#[cfg(test)]
mod tests;

/// What stands for the part that was cut off.
const CUT: char = '…';

/// The text with everything that a terminal would obey, or that would change the order or the place of what is shown
/// beside it, written out: control characters (C0, DEL, C1), line and paragraph separators, and the marks that turn
/// the direction of writing (Unicode Standard Annex #9).
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_harmful(c) && u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if is_harmful(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a character must not reach a terminal.
pub(crate) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Columns of a terminal that a text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char_width).sum() }
}

/// Ranges of characters that take no column: combining marks, joiners, variation selectors (Unicode's general
/// categories Mn and Me, the common blocks of them).
const NONE: [(u32, u32); 22] = [
    (0x300, 0x36f),
    (0x483, 0x489),
    (0x591, 0x5bd),
    (0x610, 0x61a),
    (0x64b, 0x65f),
    (0x6d6, 0x6dc),
    (0x730, 0x74a),
    (0x900, 0x902),
    (0x93c, 0x93c),
    (0x941, 0x948),
    (0x94d, 0x94d),
    (0xe31, 0xe31),
    (0xe34, 0xe3a),
    (0xe47, 0xe4e),
    (0x1ab0, 0x1aff),
    (0x1dc0, 0x1dff),
    (0x200b, 0x200d),
    (0x2060, 0x2064),
    (0x20d0, 0x20f0),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xe0100, 0xe01ef),
];

/// Ranges of characters that take two columns (Unicode Standard Annex #11, East Asian Wide and Fullwidth, and emoji
/// that are shown as pictures by default).
const TWO: [(u32, u32); 27] = [
    (0x1100, 0x115f),
    (0x231a, 0x231b),
    (0x2329, 0x232a),
    (0x23e9, 0x23ec),
    (0x25fd, 0x25fe),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x26a1, 0x26a1),
    (0x26bd, 0x26be),
    (0x26d4, 0x26d4),
    (0x2705, 0x2705),
    (0x270a, 0x270b),
    (0x2728, 0x2728),
    (0x274c, 0x274c),
    (0x2753, 0x2755),
    (0x2795, 0x2797),
    (0x2e80, 0x303e),
    (0x3041, 0x4dbf),
    (0x4e00, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff00, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1faff),
    (0x20000, 0x3fffd),
];

fn char_width(c: char) -> usize {
    let code = u32::from(c);
    let is_in = |ranges: &[(u32, u32)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&code));
    if code < 0x300 {
        1
    } else if is_in(&NONE) {
        0
    } else if is_in(&TWO) {
        2
    } else {
        1
    }
}

/// The text in at most so many columns; what is cut off is shown by `…`.
pub(crate) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let (head, _) = split_at_width(text, columns.saturating_sub(1));
    let mut out = head.to_string();
    if columns > 0 {
        out.push(CUT);
    }
    Cow::Owned(out)
}

/// The beginning that fits into so many columns, and the rest.
fn split_at_width(text: &str, columns: usize) -> (&str, &str) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        taken += char_width(c);
        if taken > columns {
            return text.split_at(at);
        }
    }
    (text, "")
}

/// The text in lines of at most so many columns, broken at blanks where there are any; lines after the first begin
/// with `indent` blanks.
pub(crate) fn wrap(text: &str, columns: usize, indent: usize) -> Vec<String> {
    let indent = if indent * 2 < columns { indent } else { 0 };
    let mut lines = Vec::new();
    let mut rest = text;
    loop {
        let margin = if lines.is_empty() { 0 } else { indent };
        let (head, _) = split_at_width(rest, columns.saturating_sub(margin).max(2));
        if head.len() == rest.len() {
            lines.push(format!("{:margin$}{rest}", ""));
            return lines;
        }
        // A blank right behind the last column is a good place, too.
        let end = match rest.as_bytes().get(head.len()) {
            Some(b' ') => head.len(),
            Some(_) | None => {
                head.rfind(' ').filter(|at| !head[..*at].trim().is_empty()).unwrap_or(head.len())
            }
        };
        lines.push(format!("{:margin$}{}", "", rest[..end].trim_end()));
        rest = rest[end..].trim_start();
        if rest.is_empty() {
            return lines;
        }
    }
}
