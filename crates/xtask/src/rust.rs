//! Looks at Rust without a compiler: what is code and what is comment or literal, and where functions begin and end.

mod functions;
mod mask;
#[cfg(test)]
mod tests;

pub(crate) use functions::{functions, without_tests};
pub(crate) use mask::mask;

/// How many lines of masked text hold code.
pub(crate) fn code_lines(masked: &str) -> usize {
    masked.lines().filter(|line| !line.trim().is_empty()).count()
}

/// The line of a byte of the text, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Where `word` stands in masked text as a word or path of its own: not inside a longer name.
pub(crate) fn find_word<'a>(masked: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    masked.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = masked[..*at].chars().next_back();
        let after = masked[at + word.len()..].chars().next();
        let inside_after = word.ends_with(is_word) && after.is_some_and(is_word);
        !before.is_some_and(is_word) && !inside_after
    })
}

/// Part of a name.
pub(crate) fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}
