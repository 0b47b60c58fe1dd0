//! The nouns: as they are stored, and as the API shows them. What somebody may choose (`…Data`) is apart from what the
//! store knows of it ([`Meta`]).

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::whole;

/// What the store knows of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// When it was made, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was changed last.
    pub changed_ms: i64,
    /// By whom: an id, `key KEYID`, or `init`.
    pub changed_by: String,
    /// Counts its changes from 1; the ETag is made of it.
    pub version: i64,
}

/// Whether something may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It may. Leads to `Disabled`, `Revoked`.
    #[default]
    Active,
    /// Not now. Leads to `Active`, `Revoked`.
    Disabled,
    /// Never again. Nothing leads out of it.
    Revoked,
}

/// What is chosen of an organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrgData {
    /// Its name; no two have the same.
    pub name: String,
    /// Disabled: nothing of it can be used.
    #[serde(default)]
    pub state: State,
}

/// Who owns data sets, users and applications.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Organisation {
    /// Its id.
    pub id: Id,
    /// What was chosen.
    #[serde(flatten)]
    pub data: OrgData,
    /// What the store knows.
    #[serde(flatten)]
    pub meta: Meta,
}

/// What is chosen of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSetData {
    /// Whose it is; stays.
    pub org: Id,
    /// Its name; no two of an organisation have the same.
    pub name: String,
    /// The database as clients of the pooler ask for it (a name in [databases]).
    pub database: String,
    /// A schema in it. It is a note for people: a schema is no boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Disabled: nobody enters it by a grant.
    #[serde(default)]
    pub state: State,
}

/// A database of a target, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataSet {
    /// Its id.
    pub id: Id,
    /// What was chosen.
    #[serde(flatten)]
    pub data: DataSetData,
    /// What the store knows.
    #[serde(flatten)]
    pub meta: Meta,
}

/// What is chosen of a user. The password is not part of it: it goes in by itself and never comes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserData {
    /// Whose it is; stays.
    pub org: Id,
    /// What is typed at the sign-in page; no two users have the same.
    pub login: String,
    /// What may be done over the API.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// Disabled: can neither sign in nor use a token.
    #[serde(default)]
    pub state: State,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its id.
    pub id: Id,
    /// What was chosen.
    #[serde(flatten)]
    pub data: UserData,
    /// Whether there is a password.
    pub has_password: bool,
    /// What the store knows.
    #[serde(flatten)]
    pub meta: Meta,
}

/// Who made an application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The organisation itself.
    #[default]
    First,
    /// Somebody else.
    Third,
}

/// What is chosen of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppData {
    /// Whose it is; stays.
    pub org: Id,
    /// Its name; no two of an organisation have the same.
    pub name: String,
    /// Who made it.
    #[serde(default)]
    pub party: Party,
    /// Where people may be sent back to after they have signed in (RFC 6749, 3.1.2), compared whole.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Disabled: none of its credentials is good.
    #[serde(default)]
    pub state: State,
}

/// A piece of software.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Application {
    /// Its id.
    pub id: Id,
    /// What was chosen.
    #[serde(flatten)]
    pub data: AppData,
    /// What the store knows.
    #[serde(flatten)]
    pub meta: Meta,
}

/// What may be done over the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everything.
    Admin,
    /// Everything within one's own organisation.
    OrgAdmin,
    /// To ask whether others may do something, and whose a token is.
    Authorize,
}

impl Scope {
    /// All there are.
    pub const ALL: [Scope; 3] = [Scope::Admin, Scope::OrgAdmin, Scope::Authorize];

    /// The word for it, in the store, in the API and in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Admin => "admin",
            Scope::OrgAdmin => "org_admin",
            Scope::Authorize => "authorize",
        }
    }

    /// The scope that a word stands for; `None`: none of ours.
    pub fn parse(word: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// By what an application shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A key of ours: a secret that both know.
    Key,
    /// A public key (`private_key_jwt`).
    PublicKey,
    /// A client certificate.
    Certificate,
}

/// What is chosen of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialData {
    /// Whose it is; stays.
    pub app: Id,
    /// What it is; stays.
    pub kind: CredentialKind,
    /// Where it is used: a word such as `live` or `test` (1 to 8 of a-z and 0-9); part of a key. Stays.
    pub env: String,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// A public key as JWK; for a certificate, the SHA-256 of it in hexadecimal digits. Empty for a key. Stays.
    #[serde(default)]
    pub public: String,
    /// What may be done over the API.
    #[serde(default)]
    pub scopes: Vec<Scope>,
    /// When it ends, milliseconds since 1970.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// Whether it may be used.
    #[serde(default)]
    pub state: State,
}

/// A credential of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    /// The public part: 16 characters of base62.
    pub key_id: String,
    /// What was chosen.
    #[serde(flatten)]
    pub data: CredentialData,
    /// When it was used last, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ms: Option<i64>,
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_from: Option<String>,
    /// What the store knows.
    #[serde(flatten)]
    pub meta: Meta,
}

/// Limits of a grant; `None`: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Client connections at once.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub clients: Option<u32>,
    /// Server connections held at once.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub holds: Option<u32>,
    /// Weight in the queue, 1 to 1000; 1 is usual.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Longest statement, milliseconds.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub statement_ms: Option<u64>,
    /// Longest hold, milliseconds.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u64>,
}

/// Who is granted something: an application or a user.
pub type Subject = Id;

/// What is chosen of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantData {
    /// To whom: an application or a user; stays.
    pub subject: Subject,
    /// On what; stays.
    pub dataset: Id,
    /// As which login role of the database; stays.
    pub role: String,
    /// What may be done, for `POST /v1/authorize`: words of the applications' own, `*` for everything. Entering the
    /// database is `connect`.
    #[serde(default = "all_actions")]
    pub actions: Vec<String>,
    /// Limits.
    #[serde(default, deserialize_with = "limits")]
    pub limits: Limits,
    /// Whether another organisation may have the same login role on the same database. Both have to say so.
    #[serde(default)]
    pub shared: bool,
    /// When it ends, milliseconds since 1970.
    #[serde(default, deserialize_with = "whole::maybe", skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<i64>,
    /// Whether it may be used.
    #[serde(default)]
    pub state: State,
}

/// From an object only: serde would take a list of values without names as well.
fn limits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Limits, D::Error> {
    let named = serde_json::Map::deserialize(deserializer)?;
    Limits::deserialize(serde_json::Value::Object(named)).map_err(serde::de::Error::custom)
}

fn all_actions() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A right of an application or a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Its id.
    pub id: Id,
    /// What was chosen.
    #[serde(flatten)]
    pub data: GrantData,
    /// What the store knows.
    #[serde(flatten)]
    pub meta: Meta,
}

/// An entry of the audit log: it is written in the transaction of what it tells, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Its number; later ones are larger.
    pub seq: i64,
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// Who: an id, `key KEYID`, or `init`.
    pub actor: String,
    /// From which address.
    pub from: String,
    /// What: `org.create`, `key.revoke` and the like.
    pub action: String,
    /// To what: an id or a key id.
    pub object: String,
    /// The new state of what was chosen, as JSON; never a secret.
    pub detail: serde_json::Value,
}
