//! Who may enter, in both directions: dialogues as state machines, no sockets, no clock, no randomness of their own.
//!
//! [`ClientLogin`] is the pooler's side towards a client, [`ServerLogin`] its side towards PostgreSQL. Hashing that
//! costs milliseconds (PBKDF2) is handed back as a [`Job`], to be run wherever the caller likes.
//!
//! [`ldap`] is the dialogue with an LDAP server that knows a user's password.
//!
//! [`hba`] and [`ident`] say which dialogue a client has to go through, if any.
//!
//! A user that does not exist goes through the same exchange as one that does, and every refusal of a password has
//! cost the same hashing: neither the messages nor the time tell who is listed.
//!
//! Sources: PostgreSQL manual, "SASL Authentication" and "Message Flow / Start-up"; RFC 5802, RFC 7677.

mod bearer;
mod client_login;
pub mod hba;
pub mod ident;
mod job;
pub mod ldap;
mod lines;
mod md5;
mod policy;
mod scram;
mod server_login;
mod stored;

pub use bearer::{Bearer, BearerAsk, BearerLogin, BearerReply, Discovery};
pub use client_login::{Ask, CLIENT_MESSAGE_BYTES_MAX, ClientLogin, ClientReply, Method, cleartext_password};
pub use job::{Done, Job};
pub use lines::{Effect, LineFault, RULES_BYTES_MAX};
pub use policy::{Policy, Random};
pub use scram::ITERATIONS_MAX;
pub use server_login::{Challenge, Credential, ServerLogin, ServerReply, credential_for};
pub use stored::{ScramKeys, Stored, Verifier, scram_verifier};
