//! What was found: how bad, which rule, where, and what to do.

use std::cmp::Ordering;
use std::path::PathBuf;

/// How bad it is. The order is that of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It does not work.
    Mistake,
    /// It works, and somebody will be sorry.
    Warning,
    /// Good to know; does not count for the exit status.
    Note,
}

impl Level {
    /// The word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Mistake => "mistake",
            Level::Warning => "warning",
            Level::Note => "note",
        }
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The file.
    pub(super) file: PathBuf,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub(super) line: u32,
}

impl Place {
    /// The loader's place.
    pub(super) fn of(place: &plimsoll_config::Place) -> Place {
        Place { file: place.file.to_path_buf(), line: place.line }
    }
}

/// A section of the ini file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// PgBouncer's.
    Pgbouncer,
    /// Ours.
    Plimsoll,
}

impl Section {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Section::Pgbouncer => "pgbouncer",
            Section::Plimsoll => "plimsoll",
        }
    }
}

/// A line that would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suggestion {
    /// Where it belongs.
    pub(super) section: Section,
    /// The key.
    pub(super) key: &'static str,
    /// Its value.
    pub(super) value: String,
    /// Why, in one line.
    pub(super) why: String,
}

/// One finding. No secret is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// How bad.
    pub(super) level: Level,
    /// The rule: kebab-case, stable, explained in `docs/check.md`.
    pub(super) id: &'static str,
    /// Where.
    pub(super) place: Place,
    /// What is wrong.
    pub(super) message: String,
    /// What to do; empty where the message says it.
    pub(super) todo: String,
    /// Lines that would help.
    pub(super) suggestions: Vec<Suggestion>,
}

impl Finding {
    /// A finding with nothing to suggest.
    pub(super) fn new(
        level: Level,
        id: &'static str,
        place: Place,
        message: impl Into<String>,
        todo: impl Into<String>,
    ) -> Finding {
        let (message, todo) = (message.into(), todo.into());
        Finding { level, id, place, message, todo, suggestions: Vec::new() }
    }

    /// The same with a line of `[pgbouncer]` that would help.
    pub(super) fn suggesting(
        self,
        key: &'static str,
        value: impl ToString,
        why: impl Into<String>,
    ) -> Finding {
        self.with(Section::Pgbouncer, key, value, why)
    }

    /// The same with a line of a section that would help.
    pub(super) fn with(
        mut self,
        section: Section,
        key: &'static str,
        value: impl ToString,
        why: impl Into<String>,
    ) -> Finding {
        self.suggestions.push(Suggestion { section, key, value: value.to_string(), why: why.into() });
        self
    }

    /// Mistakes first, then warnings, then notes; each by file and line.
    pub(super) fn in_order(a: &Finding, b: &Finding) -> Ordering {
        (a.level, &a.place, a.id, &a.message).cmp(&(b.level, &b.place, b.id, &b.message))
    }
}
