//! Finds functions and test modules in masked text.

use super::{code_lines, find_word, is_word, line_of};

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// Lines of code from its signature to its closing brace, both included; comments and blanks do not count.
    pub(crate) code_lines: usize,
}

/// The functions of a masked text, in order; one inside another is counted in both.
pub(crate) fn functions(masked: &str) -> Vec<Function> {
    find_word(masked, "fn").filter_map(|at| function_at(masked, at)).collect()
}

fn function_at(masked: &str, at: usize) -> Option<Function> {
    let rest = masked.get(at + 2..)?;
    let name: String = rest.trim_start().chars().take_while(|letter| is_word(*letter)).collect();
    // `fn(u32) -> u32` is a type.
    if name.is_empty() {
        return None;
    }
    let open = at + body_start(masked.get(at..)?)?;
    let end = closing_brace(masked, open)?;
    let whole = masked.get(at..=end)?;
    Some(Function { name, line: line_of(masked, at), code_lines: code_lines(whole) })
}

/// The `{` of the body; `None` for a declaration, which ends in `;` (but `[u8; 4]` has one inside brackets).
fn body_start(signature: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The `}` that belongs to the `{` at `open`.
fn closing_brace(masked: &str, open: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in masked.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => continue,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The text with everything under `#[cfg(test)]` blanked out.
pub(crate) fn without_tests(masked: &str) -> String {
    const GATE: &str = "#[cfg(test)]";
    let mut out = masked.to_owned();
    while let Some(start) = out.find(GATE) {
        let end = item_end(&out, start + GATE.len()).unwrap_or(out.len() - 1);
        let blank: String =
            out[start..=end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..=end, &blank);
    }
    out
}

/// The last byte of the item that begins at `from`: its closing brace or its semicolon.
fn item_end(masked: &str, from: usize) -> Option<usize> {
    let item = masked.get(from..)?;
    match body_start(item) {
        Some(open) => closing_brace(masked, from + open),
        None => item.find(';').map(|at| from + at),
    }
}
