//! The machine without sockets: dialogues for every rule, and properties against a model of PostgreSQL.

mod backend;
mod copy;
mod free;
mod hold;
mod limits;
mod model;
mod notation;
mod noted;
mod pins;
mod prepared;
mod replication;
mod revoke;
mod simple;
mod splits;
mod talk;

/// Whether everything goes to another process between any two calls: see `tests/moved`.
const MOVING: bool = false;
