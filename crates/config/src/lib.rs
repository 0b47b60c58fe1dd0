//! Text to a validated [`Plan`] to a list of [`Change`]s; every mistake with file and line, all of them at once.
//!
//! No environment, no network, no file system: files are read through a closure of the caller's, so that `%include`
//! works and tests need no disk. What each key means is in `docs/configuration.md`.

mod connstr;
mod credential;
mod database;
mod diff;
mod doubts;
mod hidden;
mod http;
mod identity;
mod ini;
mod issuer;
mod keepalive;
mod keys;
mod leak;
mod listeners;
mod load;
mod mistake;
mod near;
mod network;
mod own;
mod peer;
mod place;
mod plan;
mod reference;
mod slot;
mod table;
mod target;
mod url;
mod user;
mod userlist;
mod value;
mod vouch;

pub use credential::{AwsRdsIam, AzureEntra, CredentialSource, GoogleMetadata, SessionNotAfter};
pub use diff::{carry, diff};
pub use doubts::{Doubt, doubts};
pub use hidden::HiddenText;
pub use http::HttpListen;
pub use http::hosts::HttpHosts;
pub use identity::{IdentityKeys, IdentityStore};
pub use issuer::{IssuerDiscovery, IssuerLine, IssuerRule, TokenType};
pub use keepalive::Keepalive;
pub use keys::set;
pub use leak::{LeakAct, LeakKeys, LeakLimit, LeakPolicy};
pub use listeners::ProxyListeners;
pub use load::{ReadFile, load};
pub use mistake::Mistake;
pub use network::Network;
pub use own::shown as own_shown;
pub use peer::Peer;
pub use place::{Place, Places};
pub use plan::{
    AuthType, CancelOnClientLoss, Change, Compat, Database, Disclose, Dns, General, Host, Ledger,
    LoadBalance, LogKeys, Own, Plan, ProxyProtocol, QueueFairness, SetAt, Shown, SnapshotDir, Spill,
    SpillInTransaction, Statements, Syslog, Tcp, Tls, UserSettings,
};
pub use plimsoll_types::SslMode;
pub use reference::{KeyTable, key_tables, reference};
pub use target::{Budget, TargetLine};
pub use url::from_url;
pub use vouch::VouchKeys;
