//! Lines of an ini file, by PgBouncer's rules: leading blanks are skipped, `;` and `#` begin a comment only at the
//! beginning of a line, a value goes on to the end of its line and is not unquoted.

use std::borrow::Cow;

/// What stands on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `[name]`.
    Section(&'a str),
    /// `%include path`.
    Include(&'a str),
    /// `key = value`.
    Pair {
        /// The key, unquoted.
        key: Cow<'a, str>,
        /// The value, blanks at both ends removed.
        value: &'a str,
    },
    /// Nothing that is known; what was expected.
    Broken(&'static str),
}

/// All lines that are neither empty nor comments, with their numbers from 1.
///
/// A section header may have something behind it on its line; PgBouncer reads that as the next line.
pub(crate) fn lines(text: &str) -> Vec<(u32, Line<'_>)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let mut rest = line.trim();
        while let Some((item, behind)) = next(rest) {
            found.push((number, item));
            rest = behind.trim_start();
        }
    }
    found
}

/// What a line, without blanks at its ends, begins with, and what is left of it.
fn next(line: &str) -> Option<(Line<'_>, &str)> {
    if line.is_empty() || line.starts_with([';', '#']) {
        return None;
    }
    if line.contains('\0') {
        return Some((Line::Broken("a zero byte cannot be part of a configuration"), ""));
    }
    if let Some(header) = line.strip_prefix('[') {
        return Some(match header.split_once(']') {
            Some((name, behind)) => (Line::Section(name), behind),
            None => (Line::Broken("a section header ends in ]"), ""),
        });
    }
    if let Some(path) = line.strip_prefix("%include").filter(|path| path.starts_with([' ', '\t'])) {
        return Some((Line::Include(path.trim()), ""));
    }
    Some((pair(line), ""))
}

fn pair(line: &str) -> Line<'_> {
    let Some((key, behind)) = key(line) else {
        return Line::Broken(
            "a name of other characters than letters, digits and _.-* must stand in double quotes",
        );
    };
    if key.is_empty() {
        return Line::Broken("a name cannot be empty");
    }
    match behind.trim_start_matches([' ', '\t']).strip_prefix('=') {
        Some(value) => Line::Pair { key, value: value.trim() },
        None => Line::Broken("expected \"key = value\", a [section], %include or a comment"),
    }
}

/// The key at the beginning of a line, and what is behind it.
fn key(line: &str) -> Option<(Cow<'_, str>, &str)> {
    match line.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&line[1..], quote),
        _ => {
            let end =
                line.find(|c: char| !(c.is_ascii_alphanumeric() || "_.-*".contains(c))).unwrap_or(line.len());
            (end > 0).then(|| (Cow::Borrowed(&line[..end]), &line[end..]))
        }
    }
}

/// Text up to the closing quote; a doubled quote stands for one. `None` if it is not closed.
pub(crate) fn quoted(text: &str, quote: char) -> Option<(Cow<'_, str>, &str)> {
    let mut whole = Cow::Borrowed("");
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once(quote)?;
        if whole.is_empty() {
            whole = Cow::Borrowed(part);
        } else {
            whole.to_mut().push_str(part);
        }
        match behind.strip_prefix(quote) {
            Some(more) => {
                whole.to_mut().push(quote);
                rest = more;
            }
            None => return Some((whole, behind)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, lines};

    fn pair(number: u32, key: &'static str, value: &'static str) -> (u32, Line<'static>) {
        (number, Line::Pair { key: key.into(), value })
    }

    #[test]
    fn lines_are_read_as_pgbouncer_reads_them() {
        let text =
            "\n  ; comment\n# other\n  [databases]\np0a= port=6666\n\t* = host=x ; no comment\r\npidfile =\n";
        assert_eq!(
            lines(text),
            vec![
                (4, Line::Section("databases")),
                pair(5, "p0a", "port=6666"),
                pair(6, "*", "host=x ; no comment"),
                pair(7, "pidfile", ""),
            ]
        );
        assert_eq!(
            lines("[a] [b] k = v"),
            vec![(1, Line::Section("a")), (1, Line::Section("b")), pair(1, "k", "v")]
        );
        assert_eq!(lines("[a] ; comment"), vec![(1, Line::Section("a"))]);
        assert_eq!(lines("%include\t/etc/x y.ini "), vec![(1, Line::Include("/etc/x y.ini"))]);
    }

    #[test]
    fn keys_may_be_quoted() {
        assert_eq!(lines("\"we ird\"\"x\" = a"), vec![pair(1, "we ird\"x", "a")]);
        assert_eq!(lines("'it''s'=a"), vec![pair(1, "it's", "a")]);
        assert_eq!(lines("\"\"\"\" = a"), vec![pair(1, "\"", "a")]);
    }

    #[test]
    fn broken_lines_are_told() {
        for text in [
            "\"\" = a",
            "[databases",
            "key",
            "key value",
            "= 1",
            "\"open = 1",
            "%includex",
            "ä = 1",
            "a = \0",
        ] {
            assert!(matches!(lines(text)[..], [(1, Line::Broken(_))]), "{text:?}");
        }
    }
}
