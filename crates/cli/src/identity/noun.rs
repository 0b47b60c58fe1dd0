//! The nouns of the API: where they are, what they are called, what of them is shown.

use super::look::{Cell, Column};

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Noun {
    Org,
    App,
    Key,
    User,
    Dataset,
    Grant,
}

/// Characters of an id behind its prefix.
const ID_CHARS: usize = 26;
/// Characters of a key id.
const KEY_ID_CHARS: usize = 16;
/// What the text of a key begins with.
const KEY_PREFIX: &str = "plim_";

impl Noun {
    /// Where the API has them.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Noun::Org => "/v1/orgs",
            Noun::App => "/v1/apps",
            Noun::Key => "/v1/keys",
            Noun::User => "/v1/users",
            Noun::Dataset => "/v1/datasets",
            Noun::Grant => "/v1/grants",
        }
    }

    /// One of them.
    pub(crate) fn one(self) -> &'static str {
        match self {
            Noun::Org => "organisation",
            Noun::App => "application",
            Noun::Key => "key",
            Noun::User => "user",
            Noun::Dataset => "data set",
            Noun::Grant => "grant",
        }
    }

    /// Several of them.
    pub(crate) fn many(self) -> &'static str {
        match self {
            Noun::Org => "organisations",
            Noun::App => "applications",
            Noun::Key => "keys",
            Noun::User => "users",
            Noun::Dataset => "data sets",
            Noun::Grant => "grants",
        }
    }

    /// The field of its id.
    pub(crate) fn id_field(self) -> &'static str {
        match self {
            Noun::Key => "key_id",
            Noun::Org | Noun::App | Noun::User | Noun::Dataset | Noun::Grant => "id",
        }
    }

    /// The field people call it by, if there is one.
    pub(crate) fn name_field(self) -> Option<&'static str> {
        match self {
            Noun::Org | Noun::App | Noun::Key | Noun::Dataset => Some("name"),
            Noun::User => Some("login"),
            Noun::Grant => None,
        }
    }

    fn prefix(self) -> Option<&'static str> {
        match self {
            Noun::Org => Some("org_"),
            Noun::App => Some("app_"),
            Noun::User => Some("usr_"),
            Noun::Dataset => Some("dst_"),
            Noun::Grant => Some("grt_"),
            Noun::Key => None,
        }
    }

    /// The noun of an id; key ids have nothing that tells them.
    pub(crate) fn of_id(text: &str) -> Option<Noun> {
        let all = [Noun::Org, Noun::App, Noun::User, Noun::Dataset, Noun::Grant];
        all.into_iter().find(|noun| noun.id_in(text).is_some())
    }

    /// The id in a text, if it is one: of a key that is given whole, its public part.
    pub(crate) fn id_in(self, text: &str) -> Option<&str> {
        let (body, chars) = match self.prefix() {
            Some(prefix) => (text.strip_prefix(prefix)?, ID_CHARS),
            None => {
                let id = text.strip_prefix(KEY_PREFIX).map_or(Some(text), |parts| parts.split('_').nth(1))?;
                return is_word(id, KEY_ID_CHARS).then_some(id);
            }
        };
        is_word(body, chars).then_some(text)
    }

    /// What a table of them shows.
    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Noun::Org => ORGS,
            Noun::App => APPS,
            Noun::Key => KEYS,
            Noun::User => USERS,
            Noun::Dataset => DATASETS,
            Noun::Grant => GRANTS,
        }
    }
}

fn is_word(text: &str, chars: usize) -> bool {
    text.len() == chars && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

const fn column(field: &'static str, head: &'static str, rank: u8, cell: Cell) -> Column {
    Column { field, head, rank, cell }
}

const ID: Column = column("id", "id", 1, Cell::Text);
const NAME: Column = column("name", "name", 0, Cell::Text);
const ORG: Column = column("org", "org", 3, Cell::Ref);
const STATE: Column = column("state", "state", 2, Cell::State);
const SCOPES: Column = column("scopes", "scopes", 4, Cell::Words);
const CREATED: Column = column("created_ms", "created", 7, Cell::Time);
const EXPIRES: Column = column("expires_ms", "expires", 4, Cell::Time);

const ORGS: &[Column] = &[ID, NAME, STATE, CREATED];
const APPS: &[Column] = &[
    ID,
    NAME,
    ORG,
    column("party", "party", 5, Cell::Text),
    STATE,
    CREATED,
    column("redirect_uris", "redirects to", 8, Cell::Words),
];
const USERS: &[Column] = &[
    ID,
    column("login", "login", 0, Cell::Text),
    ORG,
    SCOPES,
    column("has_password", "password", 5, Cell::YesNo),
    STATE,
    CREATED,
];
const DATASETS: &[Column] = &[
    ID,
    NAME,
    ORG,
    column("database", "database", 2, Cell::Text),
    column("schema", "schema", 6, Cell::Text),
    STATE,
    CREATED,
];
const GRANTS: &[Column] = &[
    ID,
    column("subject", "to", 0, Cell::Ref),
    column("dataset", "data set", 0, Cell::Ref),
    column("role", "role", 1, Cell::Text),
    column("actions", "actions", 5, Cell::Words),
    column("limits", "limits", 4, Cell::Limits),
    column("shared", "shared", 6, Cell::YesNo),
    EXPIRES,
    STATE,
];
const KEYS: &[Column] = &[
    column("key_id", "key id", 0, Cell::Text),
    column("app", "app", 0, Cell::Ref),
    NAME,
    column("env", "env", 5, Cell::Text),
    column("kind", "kind", 7, Cell::Text),
    SCOPES,
    EXPIRES,
    column("used_ms", "last used", 3, Cell::Time),
    column("used_from", "from", 6, Cell::Text),
    STATE,
];

/// What the audit log shows.
pub(crate) const AUDIT: &[Column] = &[
    column("at_ms", "at", 0, Cell::Moment),
    column("actor", "who", 0, Cell::Text),
    column("from", "from", 4, Cell::Text),
    column("action", "did", 1, Cell::Text),
    column("object", "to", 1, Cell::Text),
];
/// The same with what was changed.
pub(crate) const AUDIT_WIDE: &[Column] = &[
    column("seq", "seq", 5, Cell::Text),
    column("at_ms", "at", 0, Cell::Moment),
    column("actor", "who", 0, Cell::Text),
    column("from", "from", 4, Cell::Text),
    column("action", "did", 1, Cell::Text),
    column("object", "to", 1, Cell::Text),
    column("detail", "became", 6, Cell::Text),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_names() {
        let id = "app_00000000z8zzzzzzzzzzzzzzzz";
        assert_eq!(
            (Noun::App.id_in(id), Noun::Org.id_in(id), Noun::of_id(id)),
            (Some(id), None, Some(Noun::App))
        );
        assert_eq!((Noun::App.id_in("app_"), Noun::App.id_in("web"), Noun::of_id("web")), (None, None, None));
        assert_eq!(Noun::App.id_in("app_../../../../../../etc/pass"), None);
        assert_eq!(Noun::Key.id_in("0a1B2c3D4e5F6g7H"), Some("0a1B2c3D4e5F6g7H"));
        assert_eq!(Noun::Key.id_in("plim_live_0a1B2c3D4e5F6g7H_secret"), Some("0a1B2c3D4e5F6g7H"));
        assert_eq!((Noun::Key.id_in("plim_live"), Noun::Key.id_in("nightly")), (None, None));
    }
}
