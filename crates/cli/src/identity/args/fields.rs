//! What can be chosen of each noun: all of it when one is made (`…Made`), parts of it when one is changed (`…Fields`).

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::values::{Expires, count, parse_expires, time_ms};

fn words() -> NonEmptyStringValueParser {
    NonEmptyStringValueParser::new()
}

/// What may be done over the API.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything
    Admin,
    /// Everything within its own organisation
    OrgAdmin,
    /// To ask whether others may do something
    Authorize,
}

impl Scope {
    /// As the API calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Scope::Admin => "admin",
            Scope::OrgAdmin => "org_admin",
            Scope::Authorize => "authorize",
        }
    }
}

/// Who made an application.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// The organisation itself
    First,
    /// Somebody else
    Third,
}

/// Of an organisation that is made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct OrgMade {
    /// Its name; no two have the same
    #[arg(long, value_parser = words())]
    pub(crate) name: String,
}

/// Of an organisation.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct OrgFields {
    /// Its name; no two have the same
    #[arg(long, value_parser = words())]
    pub(crate) name: Option<String>,
}

/// Of a data set that is made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DatasetMade {
    /// Whose it is
    #[arg(long)]
    pub(crate) org: String,
    /// Its name; no two of an organisation have the same
    #[arg(long, value_parser = words())]
    pub(crate) name: String,
    /// The database, as clients of the pooler ask for it
    #[arg(long, value_parser = words())]
    pub(crate) database: String,
    /// A schema in it: a note for people, no boundary
    #[arg(long, value_parser = words())]
    pub(crate) schema: Option<String>,
}

/// Of a data set.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetFields {
    /// Its name; no two of an organisation have the same
    #[arg(long, value_parser = words())]
    pub(crate) name: Option<String>,
    /// The database, as clients of the pooler ask for it
    #[arg(long, value_parser = words())]
    pub(crate) database: Option<String>,
    /// A schema in it: a note for people, no boundary
    #[arg(long, value_parser = words())]
    pub(crate) schema: Option<String>,
    /// No schema
    #[arg(long, conflicts_with = "schema")]
    pub(crate) no_schema: bool,
}

/// Of a user who is made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct UserMade {
    /// Whose it is
    #[arg(long)]
    pub(crate) org: String,
    /// What is typed at the sign-in page; no two users have the same
    #[arg(long, value_parser = words())]
    pub(crate) login: String,
    /// What may be done over the API; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub(crate) scopes: Vec<Scope>,
}

/// Of a user.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct UserFields {
    /// What is typed at the sign-in page; no two users have the same
    #[arg(long, value_parser = words())]
    pub(crate) login: Option<String>,
    /// What may be done over the API, in place of what was; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub(crate) scopes: Vec<Scope>,
    /// Nothing may be done over the API
    #[arg(long, conflicts_with = "scopes")]
    pub(crate) no_scopes: bool,
}

/// Of an application that is made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct AppMade {
    /// Whose it is
    #[arg(long)]
    pub(crate) org: String,
    /// Its name; no two of an organisation have the same
    #[arg(long, value_parser = words())]
    pub(crate) name: String,
    /// Somebody else made it
    #[arg(long)]
    pub(crate) third_party: bool,
    /// Where people may be sent back to after they have signed in; may be given several times
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub(crate) redirect_uris: Vec<String>,
}

/// Of an application.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct AppFields {
    /// Its name; no two of an organisation have the same
    #[arg(long, value_parser = words())]
    pub(crate) name: Option<String>,
    /// Who made it
    #[arg(long)]
    pub(crate) party: Option<Party>,
    /// Where people may be sent back to, in place of what was; may be given several times
    #[arg(long = "redirect-uri", value_name = "URI")]
    pub(crate) redirect_uris: Vec<String>,
    /// Nobody is sent back
    #[arg(long, conflicts_with = "redirect_uris")]
    pub(crate) no_redirect_uris: bool,
}

/// Limits of a grant.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitFields {
    /// Client connections at once, or none
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) clients: Option<Value>,
    /// Server connections held at once, or none
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) holds: Option<Value>,
    /// Weight in the queue, 1 to 1000 (1 is usual), or none
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) weight: Option<Value>,
    /// Longest statement (500ms, 30s, 5min), or none
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    pub(crate) statement: Option<Value>,
    /// Longest hold of a server connection (30s, 5min, 1h), or none
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    pub(crate) hold: Option<Value>,
}

/// Of a grant that is made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct GrantMade {
    /// To whom: an application
    #[arg(long, value_name = "APP", group = "whom", required_unless_present = "user")]
    pub(crate) app: Option<String>,
    /// To whom: a user
    #[arg(long, value_name = "USER", group = "whom")]
    pub(crate) user: Option<String>,
    /// On which data set
    #[arg(long)]
    pub(crate) dataset: String,
    /// As which login role of the database
    #[arg(long, value_parser = words())]
    pub(crate) role: String,
    /// What may be done [default: everything]; connect is to enter; may be given several times
    #[arg(long = "action", value_name = "ACTION", value_delimiter = ',', value_parser = words())]
    pub(crate) actions: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: LimitFields,
    /// Another organisation may have the same login role on the same database; both grants must say so
    #[arg(long)]
    pub(crate) shared: bool,
    /// When it ends: 90d, 2026-12-31, never
    #[arg(long, value_name = "WHEN", value_parser = parse_expires)]
    pub(crate) expires: Option<Expires>,
}

/// Of a grant. To whom it is, on what and as which role stays.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantFields {
    /// What may be done, in place of what was (* is everything); may be given several times
    #[arg(long = "action", value_name = "ACTION", value_delimiter = ',', value_parser = words())]
    pub(crate) actions: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: LimitFields,
    /// Whether another organisation may have the same login role on the same database
    #[arg(long, value_name = "yes|no")]
    pub(crate) shared: Option<YesNo>,
    /// When it ends: 90d, 2026-12-31, never
    #[arg(long, value_name = "WHEN", value_parser = parse_expires)]
    pub(crate) expires: Option<Expires>,
}

/// Yes or no.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum YesNo {
    Yes,
    No,
}

/// Of a key that is made.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct KeyMade {
    /// Whose it is
    #[arg(long)]
    pub(crate) app: String,
    /// Where it is used, a word that is part of the key: 1 to 8 of a-z and 0-9
    #[arg(long, default_value = "live")]
    pub(crate) env: String,
    /// What people call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What may be done over the API; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub(crate) scopes: Vec<Scope>,
    /// When it ends: 90d, 2026-12-31, never
    #[arg(long, value_name = "WHEN", value_parser = parse_expires)]
    pub(crate) expires: Option<Expires>,
    /// No secret of ours, but the application's own public key (a JWK), for private_key_jwt
    #[arg(long, value_name = "FILE.jwk", conflicts_with = "certificate")]
    pub(crate) public_key: Option<PathBuf>,
    /// No secret of ours, but a client certificate: the SHA-256 of it, 64 hexadecimal digits
    #[arg(long, value_name = "SHA256", value_parser = words())]
    pub(crate) certificate: Option<String>,
}

/// Of a key.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFields {
    /// What people call it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// What may be done over the API, in place of what was; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    pub(crate) scopes: Vec<Scope>,
    /// Nothing may be done over the API
    #[arg(long, conflicts_with = "scopes")]
    pub(crate) no_scopes: bool,
    /// When it ends: 90d, 2026-12-31, never
    #[arg(long, value_name = "WHEN", value_parser = parse_expires)]
    pub(crate) expires: Option<Expires>,
}
