//! On which line of which file something stands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use plimsoll_config::Plan;

use super::finding::Place;

/// Where keys, databases and users are set.
#[derive(Clone, Debug)]
pub(super) struct Places {
    whole: Place,
    keys: BTreeMap<&'static str, Place>,
    databases: BTreeMap<String, Place>,
    users: BTreeMap<String, Place>,
}

impl Places {
    /// Of a plan and the texts of the ini files it came from, in the order in which they were read.
    pub(super) fn new(main: &Path, plan: &Plan, texts: &[(PathBuf, String)]) -> Places {
        let keys = plan.set_at.iter().filter_map(|(key, at)| Some((*key, split(&at.place)?))).collect();
        let mut places = Places {
            whole: Place { file: main.to_path_buf(), line: 0 },
            keys,
            databases: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        let databases: BTreeSet<&str> =
            plan.databases.iter().chain(&plan.auto_database).map(|database| database.name.as_str()).collect();
        for (file, text) in texts {
            places.scan(file, text, &databases, plan);
        }
        places
    }

    /// Looks for the lines of names. The later line counts, as it does for the loader. An included file goes on in the
    /// section it is included from, which is not known here: then any name will do.
    fn scan(&mut self, file: &Path, text: &str, databases: &BTreeSet<&str>, plan: &Plan) {
        let mut section = None;
        for (line, text) in (1..).zip(text.split('\n')) {
            let text = text.trim();
            if let Some((name, _)) = text.strip_prefix('[').and_then(|header| header.split_once(']')) {
                section = Some(name);
                continue;
            }
            let Some(name) = name(text) else { continue };
            let place = || Place { file: file.to_path_buf(), line };
            if matches!(section, None | Some("databases")) && databases.contains(name.as_str()) {
                self.databases.insert(name, place());
            } else if matches!(section, None | Some("users")) && plan.users.contains_key(&name) {
                self.users.insert(name, place());
            }
        }
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place {
        self.whole.clone()
    }

    /// Where a key of `[pgbouncer]` or `[plimsoll]` is set; the file as a whole where it is not.
    pub(super) fn key(&self, key: &str) -> Place {
        self.keys.get(key).unwrap_or(&self.whole).clone()
    }

    /// The first of these keys that is set somewhere.
    pub(super) fn first_key(&self, keys: &[&str]) -> Place {
        keys.iter().find_map(|key| self.keys.get(*key)).unwrap_or(&self.whole).clone()
    }

    /// The line of a database.
    pub(super) fn database(&self, name: &str) -> Place {
        self.databases.get(name).unwrap_or(&self.whole).clone()
    }

    /// The line of a user of `[users]`.
    pub(super) fn user(&self, name: &str) -> Place {
        self.users.get(name).unwrap_or(&self.whole).clone()
    }
}

/// `FILE:LINE` taken apart.
fn split(place: &str) -> Option<Place> {
    let (file, line) = place.rsplit_once(':')?;
    Some(Place { file: PathBuf::from(file), line: line.parse().ok()? })
}

/// `FILE:LINE: words` taken apart; the words alone where there is no such place in front.
pub(super) fn split_message(text: &str) -> (Option<Place>, &str) {
    match text.split_once(": ") {
        Some((place, words)) => match split(place) {
            Some(place) => (Some(place), words),
            None => (None, text),
        },
        None => (None, text),
    }
}

/// The name in front of the `=`, unquoted (quotes may be single or double, and are doubled inside).
fn name(line: &str) -> Option<String> {
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''));
    let Some(quote) = quote else {
        let (name, _) = line.split_once('=')?;
        return Some(name.trim().to_string());
    };
    let mut rest = line.strip_prefix(quote)?;
    let mut name = String::new();
    loop {
        let (part, behind) = rest.split_once(quote)?;
        name.push_str(part);
        match behind.strip_prefix(quote) {
            Some(more) => {
                name.push(quote);
                rest = more;
            }
            None => return Some(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::loaded;
    use super::*;

    fn at(file: &str, line: u32) -> Place {
        Place { file: file.into(), line }
    }

    #[test]
    fn keys_databases_and_users_have_their_lines() {
        let loaded = loaded(&[
            (
                "a.ini",
                "[pgbouncer]\nlisten_addr = *\n[databases]\n%include b.ini\n\"a \"\"b\" = host=h\n[users]\napp = pool_size=3\n",
            ),
            ("b.ini", "; app\nshop = host=h\n"),
        ]);
        let places = loaded.places;
        assert_eq!(places.key("listen_addr"), at("a.ini", 2));
        assert_eq!(places.key("query_timeout"), at("a.ini", 0));
        assert_eq!(places.first_key(&["query_timeout", "listen_addr"]), at("a.ini", 2));
        assert_eq!(places.database("shop"), at("b.ini", 2));
        assert_eq!(places.database("a \"b"), at("a.ini", 5));
        assert_eq!(places.user("app"), at("a.ini", 7));
        assert_eq!(places.user("nobody"), at("a.ini", 0));
    }

    #[test]
    fn a_place_in_front_of_words_is_found() {
        assert_eq!(split_message("a:b.ini:12: words: more"), (Some(at("a:b.ini", 12)), "words: more"));
        assert_eq!(split_message("could not open x: why"), (None, "could not open x: why"));
        assert_eq!(split_message("words"), (None, "words"));
    }
}
