//! `identity_store`: where identities are kept.

use std::fmt;
use std::path::{Path, PathBuf};

use plimsoll_types::Secret;

use crate::table::Fault;

/// What its value looks like.
pub(crate) const EXPECTED: &str =
    "off, sqlite:PATH with an absolute path, or postgres://user:secret@host:port/name";

/// The keys of `[plimsoll]` about identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityKeys {
    /// `identity_store` (default off).
    pub store: IdentityStore,
    /// `identity_stale` (default 5 min): how long known identities go on while the store cannot be asked.
    pub stale: Option<std::time::Duration>,
    /// `revoke_grace` (default 2 s): how long a transaction may go on whose authorisation has ended.
    pub revoke_grace: Option<std::time::Duration>,
    /// `identity_issuer`: our name in tokens, a URL.
    pub issuer: Option<String>,
    /// `identity_audience` (default `plimsoll`): what tokens for the pooler's door must be for.
    pub audience: Option<String>,
}

impl IdentityKeys {
    /// `identity_stale` in force.
    pub fn stale(&self) -> std::time::Duration {
        self.stale.unwrap_or(std::time::Duration::from_secs(300))
    }

    /// `revoke_grace` in force.
    pub fn revoke_grace(&self) -> std::time::Duration {
        self.revoke_grace.unwrap_or(std::time::Duration::from_secs(2))
    }

    /// `identity_audience` in force.
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or("plimsoll")
    }
}

/// Where identities are kept.
#[derive(Clone, Default)]
pub enum IdentityStore {
    /// Nowhere: nobody gets in by a key or a token, and there is no API.
    #[default]
    Off,
    /// In a file of SQLite.
    Sqlite(PathBuf),
    /// In a PostgreSQL, which several instances may share. The URL may hold a password.
    Postgres(Secret),
}

impl IdentityStore {
    /// Reads a value.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn parse(text: &str) -> Result<IdentityStore, Fault> {
        IdentityStore::read(text).ok_or(Fault::Invalid(EXPECTED))
    }

    /// The same outside a file; `None`: it is none.
    pub fn read(text: &str) -> Option<IdentityStore> {
        if text == "off" {
            return Some(IdentityStore::Off);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = Path::new(path);
            return path.is_absolute().then(|| IdentityStore::Sqlite(path.to_path_buf()));
        }
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        is_url.then(|| IdentityStore::Postgres(Secret::from_text(text)))
    }

    /// As the store is opened; it may hold a password.
    pub fn url(&self) -> Option<Secret> {
        match self {
            IdentityStore::Off => None,
            IdentityStore::Sqlite(path) => Some(Secret::from_text(&format!("sqlite:{}", path.display()))),
            IdentityStore::Postgres(url) => Some(url.clone()),
        }
    }
}

impl fmt::Display for IdentityStore {
    /// As a file would say it, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityStore::Off => f.write_str("off"),
            IdentityStore::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            IdentityStore::Postgres(url) => {
                let text = url.expose_text().unwrap_or_default();
                let place = text.split_once("://").map_or("", |(_, rest)| rest);
                let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
                // Parameters may hold a password as well.
                write!(f, "postgres://***@{}", place.split('?').next().unwrap_or_default())
            }
        }
    }
}

impl fmt::Debug for IdentityStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for IdentityStore {
    fn eq(&self, other: &IdentityStore) -> bool {
        match (self.url(), other.url()) {
            (Some(one), Some(other)) => one.matches(other.expose()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Eq for IdentityStore {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_shown_without_what_is_secret() {
        for (text, shown) in [
            ("off", "off"),
            ("sqlite:/var/lib/plimsoll/identity.db", "sqlite:/var/lib/plimsoll/identity.db"),
            ("postgres://me:secret@db:5432/id", "postgres://***@db:5432/id"),
            ("postgresql://db/id?password=secret", "postgres://***@db/id"),
            ("postgres://a:b@c@db/id", "postgres://***@db/id"),
        ] {
            let store = IdentityStore::parse(text).expect("a good value");
            assert_eq!((store.to_string(), format!("{store:?}")), (shown.to_string(), shown.to_string()));
            assert_eq!(store, IdentityStore::parse(text).expect("a good value"));
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "on", "sqlite:", "sqlite:relative.db", "mysql://x", "/a/path"] {
            assert_eq!(IdentityStore::parse(text), Err(Fault::Invalid(EXPECTED)), "{text}");
        }
    }
}
