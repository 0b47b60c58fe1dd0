//! The list of what is too long today.

use std::collections::BTreeMap;

/// Where it is.
pub(super) const PATH: &str = "crates/xtask/ratchet.txt";

const HEAD: &str = "\
# Functions and files that are longer than the rule allows, with their lines of code. A figure may only go down:
# `cargo xtask` fails when one grows, and `cargo xtask tighten` lowers them. Do not add a line; split the code.
";

/// What may be longer than the limit, and how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ratchet(BTreeMap<String, usize>);

impl Ratchet {
    /// Reads lines of `LINES WHAT`; a mistake comes back with its line, from 1.
    pub(super) fn parse(text: &str) -> Result<Ratchet, (usize, String)> {
        let mut entries = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mistake = || (index + 1, format!("expected `LINES WHAT`, found `{line}`"));
            let (lines, what) = line.split_once(' ').ok_or_else(mistake)?;
            let lines = lines.parse().map_err(|_| mistake())?;
            entries.insert(what.trim().to_owned(), lines);
        }
        Ok(Ratchet(entries))
    }

    /// How long this one may be, if it is an exception.
    pub(super) fn allowed(&self, what: &str) -> Option<usize> {
        self.0.get(what).copied()
    }

    /// All exceptions.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(what, lines)| (what.as_str(), *lines))
    }

    /// The same, no figure higher than `now` says; what is no longer too long (`None`) leaves the list.
    pub(super) fn lowered(&self, now: impl Fn(&str) -> Option<usize>) -> Ratchet {
        let entries = self.0.iter().filter_map(|(what, lines)| Some((what.clone(), now(what)?.min(*lines))));
        Ratchet(entries.collect())
    }

    /// As a file.
    pub(super) fn to_text(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(what, lines)| format!("{lines} {what}\n")).collect();
        format!("{HEAD}{}", lines.concat())
    }
}
