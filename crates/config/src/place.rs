//! Where in the files something is set.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::mistake::Mistake;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<Path>,
    /// Line, from 1; 0 where the file as a whole is meant.
    pub line: u32,
}

impl Place {
    pub(crate) fn new(file: &Arc<Path>, line: u32) -> Place {
        Place { file: file.clone(), line }
    }

    pub(crate) fn mistake(&self, message: impl Into<String>) -> Mistake {
        Mistake { file: self.file.to_path_buf(), line: self.line, message: message.into() }
    }
}

impl fmt::Display for Place {
    /// `FILE:LINE`, as PgBouncer writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// The section a line stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    /// Before the first header.
    None,
    Pgbouncer,
    Plimsoll,
    Databases,
    Users,
    Peers,
    Targets,
    Issuers,
    /// One that nobody knows: told once, its lines are left alone.
    Unknown,
}

/// The sections by their names.
pub(crate) const SECTIONS: [(&str, Section); 7] = [
    ("pgbouncer", Section::Pgbouncer),
    ("plimsoll", Section::Plimsoll),
    ("databases", Section::Databases),
    ("users", Section::Users),
    ("peers", Section::Peers),
    ("targets", Section::Targets),
    ("issuers", Section::Issuers),
];

/// Where each name of each section was set last. It is no part of what a plan means: two plans that differ in nothing
/// else are the same.
#[derive(Clone, Debug, Default)]
pub struct Places {
    by_section: BTreeMap<Section, BTreeMap<String, Place>>,
}

impl Places {
    /// Takes a line down; gives the place where the same was set before.
    pub(crate) fn note(&mut self, section: Section, name: &str, place: Place) -> Option<Place> {
        self.by_section.entry(section).or_default().insert(name.to_string(), place)
    }

    pub(crate) fn find(&self, section: Section, name: &str) -> Option<&Place> {
        self.by_section.get(&section)?.get(name)
    }

    /// Where a name of a section is set: a key of `pgbouncer` or `plimsoll`, a name of `databases`, `users`, `peers` or `issuers`, a
    /// `HOST:PORT` of `targets`.
    pub fn of(&self, section: &str, name: &str) -> Option<&Place> {
        let (_, section) = SECTIONS.into_iter().find(|(known, _)| *known == section)?;
        self.find(section, name)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::load;

    #[test]
    fn every_name_has_the_line_that_counts() {
        let main = "[pgbouncer]\nserver_login_retry = 1\n%include b.ini\njoe = pool_size=1\n[plimsoll]\nworkers = 1\nworkers = 2\n";
        let plan = load(Path::new("a.ini"), &mut |path| {
            let included = "[databases]\nx = host=h\n* = host=h\n[users]\n".to_string();
            Ok(if path == Path::new("a.ini") { main.to_string() } else { included })
        })
        .expect("good files");
        let at = |place: Option<&super::Place>| place.map(ToString::to_string).unwrap_or_default();
        assert_eq!(at(plan.place_of("pgbouncer", "server_login_retry")), "a.ini:2");
        assert_eq!(at(plan.place_of("pgbouncer", "query_timeout")), "");
        assert_eq!(at(plan.place_of("pgbouncer", "workers")), "");
        assert_eq!(at(plan.place_of("nowhere", "workers")), "");
        assert_eq!(at(plan.place_of("plimsoll", "workers")), "a.ini:7");
        assert_eq!(at(plan.place_of_database("x")), "b.ini:2");
        assert_eq!(at(plan.place_of_database("any")), "b.ini:3");
        assert_eq!(at(plan.place_of_user("joe")), "a.ini:4");
        assert_eq!(at(plan.place_of_user("jane")), "");
    }
}
