//! Who may use what: organisations, their data sets and users, applications with their keys, and grants, which say as
//! which login role an application or a user enters a data set. One place that knows them all, asked over HTTP, from
//! the command line and at the pooler's door.
//!
//! | module | part |
//! |---|---|
//! | `model` | the nouns, as they are stored and as the API shows them |
//! | `id` | their names: a prefix, a time, chance |
//! | `door` | what the pooler asks: who may come in, and whose right has ended |
//! | `http` | the API: a router of all that, with its description |
//! | `rules` | who may do what, and which organisations may have the same login role |
//! | `service` | all of it at work in one process |
//! | `store` | where it is kept, with its audit log: SQLite or PostgreSQL |
//! | `key` | the text of keys: minted, read, compared |
//! | `password` | passwords of people |
//! | `signer` | our signing keys at work |
//! | `whole` | whole numbers, as JSON Schema has them |
//! | `token` | tokens of our own and of others: signed, verified, revoked; what OAuth has around them |
//!
//! What decides (`model`, `id`, `rules`) reads no clock and draws no number: both come in as arguments.

mod base62;
#[cfg(feature = "service")]
mod door;
#[cfg(feature = "service")]
pub mod http;
mod id;
pub mod key;
mod model;
pub mod password;
#[cfg(feature = "service")]
mod rules;
#[cfg(feature = "service")]
mod service;
#[cfg(feature = "service")]
mod signer;
#[cfg(feature = "service")]
mod store;
pub mod token;
mod whole;

#[cfg(feature = "service")]
pub use door::{
    Bearing, Certificate, Door, DoorOptions, Evidence, Followed, Live, Refusal, USED_EVERY_MS, Visitor,
    Welcome,
};
pub use id::{Id, IdFault, Kind};
pub use key::{Key, KeyFault, ParsedKey};
pub use model::{
    AppData, Application, Audit, Credential, CredentialData, CredentialKind, DataSet, DataSetData, Grant,
    GrantData, Limits, Meta, OrgData, Organisation, Party, Scope, State, Subject, User, UserData,
};
#[cfg(feature = "service")]
pub use rules::{
    Allowed, Ask, Decision, Reason, RoleConflict, RoleUse, Unusable, credential_good, decide, grant_good,
    role_conflict, subject_good,
};
#[cfg(feature = "service")]
pub use service::{Service, ServiceFault, ServiceSetup};
#[cfg(feature = "service")]
pub use signer::{Signer, SignerFault};
#[cfg(feature = "service")]
pub use store::{
    AppFilter, AuditFilter, CertificateAsk, CertificateKeys, Create, CredentialFilter, DataSetFilter,
    GrantFact, GrantFilter, Holder, KeyFacts, Listed, OrgFilter, Page, Put, RevokedToken, Rotated, Rotation,
    Store, StoreFault, StoreOptions, SubjectFacts, Thing, UserFilter, Who,
};
