//! What tests are made of: a scripted client, a fake server, a real PostgreSQL, and the program under test.
//!
//! Blocking sockets and threads only, so that a test reads from top to bottom. The bytes are written by hand and not
//! by `plimsoll-wire`: a witness that shares its encoder with the accused would not see its mistakes. Everything that
//! waits has a bound. A helper that cannot go on panics with what it saw, at the caller's line.

mod address;
mod batch;
mod client;
mod crypto;
mod eventually;
mod failure;
mod fake_server;
mod ini;
mod login;
mod message;
mod pooler;
mod postgres;
mod process;
mod reader;
mod stream;
mod sys;
mod table;
mod temp;
mod watch;

pub use address::{Address, free_port};
pub use batch::Batch;
pub use client::{CancelKey, Client, PATIENCE};
pub use crypto::{md5_secret, scram_secret};
pub use eventually::{eventually, eventually_ok};
pub use failure::{Failure, Outcome, ServerError};
pub use fake_server::{FakePeer, FakeServer, Gate, GateKeeper, error_response};
pub use ini::Ini;
pub use login::{Login, Method};
pub use message::{Message, Packet, tags};
pub use pooler::{Plimsoll, binary_of, run_beside, start_beside};
pub use postgres::{Postgres, PostgresOptions, ServerAuth, StopMode};
pub use process::{Process, Signal, unprivileged, unprivileged_ids};
pub use table::Table;
pub use temp::TempDir;
pub use watch::Watch;
