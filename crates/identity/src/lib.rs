//! Who may use what: organisations, their data sets and users, applications with their keys, and grants, which say as
//! which login role an application or a user enters a data set. One place that knows them all, asked over HTTP, from
//! the command line and at the pooler's door.
//!
//! | module | part |
//! |---|---|
//! | `model` | the nouns, as they are stored and as the API shows them |
//! | `id` | their names: a prefix, a time, chance |
//! | `key` | the text of keys: minted, read, compared |
//! | `password` | passwords of people |
//! | `token` | tokens of our own and of others: signed, verified, revoked; what OAuth has around them |
//!
//! What decides (`model`, `id`) reads no clock and draws no number: both come in as arguments.

mod base62;
mod id;
pub mod key;
mod model;
pub mod password;
pub mod token;

pub use id::{Id, IdFault, Kind};
pub use key::{Key, KeyFault, ParsedKey};
pub use model::{
    AppData, Application, Audit, Credential, CredentialData, CredentialKind, DataSet, DataSetData, Grant,
    GrantData, Limits, Meta, OrgData, Organisation, Party, Scope, State, Subject, User, UserData,
};
