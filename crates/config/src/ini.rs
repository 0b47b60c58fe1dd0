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

/// How the names of a section are written where they stand without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Letters, digits and `_.-*`, as PgBouncer has it.
    Names,
    /// `HOST:PORT` as well: with `:`, `/`, `@`, and an address in brackets.
    Targets,
}

impl Keys {
    /// What to say of a name that has other characters.
    fn unquoted(self) -> &'static str {
        match self {
            Keys::Names => {
                "a name of other characters than letters, digits and _.-* must stand in double quotes"
            }
            Keys::Targets => {
                "HOST:PORT with other characters than letters, digits and _.-*:/@ (and an IPv6 address in brackets) \
                 must stand in double quotes"
            }
        }
    }
}

/// All lines that are neither empty nor comments, with their numbers from 1.
///
/// A section header may have something behind it on its line; PgBouncer reads that as the next line.
pub(crate) struct Lines<'a> {
    lines: std::str::Split<'a, char>,
    /// Of the line that `rest` is of.
    number: u32,
    rest: &'a str,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Lines<'a> {
        Lines { lines: text.split('\n'), number: 0, rest: "" }
    }

    /// The next line; what its key may look like depends on the section that the lines before it have opened.
    pub(crate) fn next(&mut self, keys: Keys) -> Option<(u32, Line<'a>)> {
        loop {
            if let Some((line, behind)) = next(self.rest, keys) {
                self.rest = behind.trim_start();
                return Some((self.number, line));
            }
            self.rest = self.lines.next()?.trim();
            self.number = self.number.saturating_add(1);
        }
    }
}

/// What a line, without blanks at its ends, begins with, and what is left of it.
fn next(line: &str, keys: Keys) -> Option<(Line<'_>, &str)> {
    if line.is_empty() || line.starts_with([';', '#']) {
        return None;
    }
    if line.contains('\0') {
        return Some((Line::Broken("a zero byte cannot be part of a configuration"), ""));
    }
    let in_brackets = match keys {
        Keys::Names => None,
        Keys::Targets => address_in_brackets(line),
    };
    if let (Some(header), None) = (line.strip_prefix('['), in_brackets) {
        return Some(match header.split_once(']') {
            Some((name, behind)) => (Line::Section(name), behind),
            None => (Line::Broken("a section header ends in ]"), ""),
        });
    }
    if let Some(path) = line.strip_prefix("%include").filter(|path| path.starts_with([' ', '\t'])) {
        return Some((Line::Include(path.trim()), ""));
    }
    Some((pair(line, keys), ""))
}

/// How long the `[ADDRESS]` at the beginning of a line is, bytes; `None` if it is none. No section has such a name.
fn address_in_brackets(line: &str) -> Option<usize> {
    let (address, _) = line.strip_prefix('[')?.split_once(']')?;
    address.contains(':').then_some(address.len() + 2)
}

fn pair(line: &str, keys: Keys) -> Line<'_> {
    let Some((key, behind)) = key(line, keys) else { return Line::Broken(keys.unquoted()) };
    if key.is_empty() {
        return Line::Broken("a name cannot be empty");
    }
    match behind.trim_start_matches([' ', '\t']).strip_prefix('=') {
        Some(value) => Line::Pair { key, value: value.trim() },
        // The name goes on with what it may not have.
        None if keys == Keys::Targets && !behind.starts_with([' ', '\t']) && !behind.is_empty() => {
            Line::Broken(keys.unquoted())
        }
        None => Line::Broken("expected \"key = value\", a [section], %include or a comment"),
    }
}

/// The key at the beginning of a line, and what is behind it.
fn key(line: &str, keys: Keys) -> Option<(Cow<'_, str>, &str)> {
    match line.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&line[1..], quote),
        _ => {
            let (skip, others) = match keys {
                Keys::Names => (0, "_.-*"),
                Keys::Targets => (address_in_brackets(line).unwrap_or(0), "_.-*:/@"),
            };
            let is_other = |c: char| !(c.is_ascii_alphanumeric() || others.contains(c));
            let end = line[skip..].find(is_other).map_or(line.len(), |end| skip + end);
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
    use super::{Keys, Line, Lines};

    fn lines_of(text: &str, keys: Keys) -> Vec<(u32, Line<'_>)> {
        let mut lines = Lines::new(text);
        std::iter::from_fn(|| lines.next(keys)).collect()
    }

    fn lines(text: &str) -> Vec<(u32, Line<'_>)> {
        lines_of(text, Keys::Names)
    }

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
    fn targets_have_colons_and_brackets() {
        for key in ["10.0.0.5:5432", "[::1]:5432", "[fe80::1%eth0]:1", "/tmp:5432", "@x:1", "db-1.a_b:1"] {
            assert_eq!(
                lines_of(&format!("{key} = a"), Keys::Targets),
                vec![(1, Line::Pair { key: key.into(), value: "a" })]
            );
            assert!(!matches!(lines(&format!("{key} = a"))[..], [(1, Line::Pair { .. })]), "{key}");
        }
        assert_eq!(lines_of("[users]", Keys::Targets), vec![(1, Line::Section("users"))]);
        assert!(matches!(lines_of("[::1", Keys::Targets)[..], [(1, Line::Broken(_))]));
        assert!(matches!(lines_of("a b:1 = x", Keys::Targets)[..], [(1, Line::Broken(_))]));
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
