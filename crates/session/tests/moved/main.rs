//! The dialogues of `tests/session` once more, with everything moved to another process between any two calls, as bytes:
//! what follows must be the same.

#[path = "../session/backend.rs"]
mod backend;
#[path = "../session/copy.rs"]
mod copy;
#[path = "../session/free.rs"]
mod free;
#[path = "../session/hold.rs"]
mod hold;
#[path = "../session/limits.rs"]
mod limits;
#[path = "../session/model.rs"]
mod model;
#[path = "../session/notation.rs"]
mod notation;
#[path = "../session/noted.rs"]
mod noted;
#[path = "../session/pins.rs"]
mod pins;
#[path = "../session/prepared.rs"]
mod prepared;
#[path = "../session/revoke.rs"]
mod revoke;
#[path = "../session/simple.rs"]
mod simple;
#[path = "../session/splits.rs"]
mod splits;
#[path = "../session/talk.rs"]
mod talk;

/// See the module.
const MOVING: bool = true;
