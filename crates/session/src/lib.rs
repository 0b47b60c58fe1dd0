//! What to do with each message: the machine between one client and the server connection it holds.
//!
//! No I/O, no clock, no locks. [`Session`] is the client's half and small, since every idle client has one; [`Link`]
//! is the server connection's half and travels with the connection. Bytes come in as slices of the worker's buffer;
//! what is to be done goes out as [`Steps`]: ranges of that buffer which go on as they are, and messages of our own.
//!
//! Source of the rules: PostgreSQL manual, "Message Flow"; for COPY and errors in a batch also what PostgreSQL's own
//! main loop does (it ignores Sync and Flush while it reads COPY data, and everything up to Sync after an error).

mod client;
mod effects;
mod ending;
mod expect;
mod free;
mod hold;
mod image;
mod left;
mod link;
mod looks;
mod noted;
mod params;
mod prepared;
mod revoke;
mod round;
mod server;
mod session;
mod statements;
mod steps;
mod text;

pub use free::{FreeStep, Freeing};
pub use image::{
    Bytes, ImageError, LinkImage, Packing, SessionImage, SharedImage, StatementImage, Unpacking,
};
pub use link::Link;
pub use noted::{Kind, Noted, Noting, Seen, SeenText};
pub use params::{Params, Tracked};
pub use revoke::Revoked;
pub use round::{Round, RoundStep, error_of};
pub use session::Session;
pub use statements::{Statement, StatementTable, Statements};
pub use steps::{
    Attach, CleanWhen, Counts, Ending, Holding, Kept, Outcome, Release, Settings, Step, Steps, Then,
};
