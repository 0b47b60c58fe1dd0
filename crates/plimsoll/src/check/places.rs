//! On which line of which file something stands.

use std::path::{Path, PathBuf};

use plimsoll_config::{Plan, TargetLine};

use super::finding::Place;

/// Where keys, databases and users are set.
#[derive(Clone, Debug)]
pub(super) struct Places {
    whole: Place,
    plan: Option<plimsoll_config::Places>,
}

impl Places {
    /// Of a plan, if something could be made of the file.
    pub(super) fn new(main: &Path, plan: Option<&Plan>) -> Places {
        let whole = Place { file: main.to_path_buf(), line: 0 };
        Places { whole, plan: plan.map(|plan| plan.places.clone()) }
    }

    fn find(&self, section: &str, name: &str) -> Option<Place> {
        self.plan.as_ref()?.of(section, name).map(Place::of)
    }

    fn find_key(&self, key: &str) -> Option<Place> {
        self.find("pgbouncer", key).or_else(|| self.find("plimsoll", key))
    }

    /// The file as a whole.
    pub(super) fn whole(&self) -> Place {
        self.whole.clone()
    }

    /// Where a key of `[pgbouncer]` or `[plimsoll]` is set; the file as a whole where it is not.
    pub(super) fn key(&self, key: &str) -> Place {
        self.find_key(key).unwrap_or_else(|| self.whole())
    }

    /// The first of these keys that is set somewhere.
    pub(super) fn first_key(&self, keys: &[&str]) -> Place {
        keys.iter().find_map(|key| self.find_key(key)).unwrap_or_else(|| self.whole())
    }

    /// The line of a database.
    pub(super) fn database(&self, name: &str) -> Place {
        self.find("databases", name).unwrap_or_else(|| self.whole())
    }

    /// The line of a user of `[users]`.
    pub(super) fn user(&self, name: &str) -> Place {
        self.find("users", name).unwrap_or_else(|| self.whole())
    }

    /// The line of an issuer of `[issuers]`.
    pub(super) fn issuer(&self, name: &str) -> Place {
        self.find("issuers", name).unwrap_or_else(|| self.whole())
    }

    /// A line of `[targets]`.
    pub(super) fn target(&self, line: &TargetLine) -> Place {
        self.find("targets", &line.to_string()).unwrap_or_else(|| self.whole())
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
