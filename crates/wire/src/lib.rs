//! PostgreSQL protocol 3.0 as bytes: where a message ends, what is in it, how one is written.
//!
//! Source of every fact here: PostgreSQL manual, chapter "Frontend/Backend Protocol" ("Message Formats", "Error and
//! Notice Message Fields", "Message Flow"). Nothing allocates while scanning; everything read is borrowed from the
//! caller's buffer; no length is used before it is bounded; nothing panics on any input.

pub mod back;
pub mod encode;
pub mod front;
mod header;
mod reader;
pub mod startup;

pub use header::{HEADER_BYTES, Header, MESSAGE_BYTES_MAX, header};
pub use reader::WireError;
