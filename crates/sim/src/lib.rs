//! The decision crates in one thread on a virtual clock: clients that come, ask, stall, vanish and cancel; servers that
//! accept, refuse, hang, die and come back; reloads, pauses and changes of budgets. Thousands of histories, each from a
//! seed, against a reference model; the invariants of ARCHITECTURE.md after every event, and at the end that nobody was
//! forgotten.
//!
//! There are two kinds of clients. Silent ones hold a connection for a time and give it back in some state: they are
//! many, and put load on the pool. Speakers send bytes of the protocol, chopped anywhere: the session machine decides
//! what becomes of them, the pool grants, and a model of a PostgreSQL session answers. What a speaker receives must be,
//! byte by byte, what the same model answers to it on a connection of its own; each row says who asked for it, in what
//! session and where in a transaction it was answered. What speakers leave behind is known to the model of the server,
//! and compared with what the session machine believes.
//!
//! Everything chance decides is drawn beforehand into a [`History`], so a run is a function of its history alone: the
//! same seed gives the same history and the same run, bit by bit, and a history that breaks a rule can be cut down to
//! the few steps that matter ([`shrink`]).
//!
//! | module | what it is |
//! |---|---|
//! | `history`, `say` | what can happen, as data and in words |
//! | `rng`, `draw` | a history from a seed |
//! | `driver` | the one place where the pool is called, and where it can be sabotaged |
//! | `server` | PostgreSQL as a pooler meets it: places, logins, backends |
//! | `world` | the model: clients, connections, cancels; what is compared after every event |
//! | `ledger` | the hold ledger beside it |
//! | `phrase`, `postgres` | what clients say, and a session of PostgreSQL that answers |
//! | `world/speakers`, `world/wires` | the session machine between both, as the relay drives it |
//! | `drain` | the end of a history: liveness, and nothing left |
//! | `run`, `shrink`, `simpler` | running, and cutting down |

mod agenda;
mod drain;
mod draw;
mod driver;
mod history;
mod ledger;
mod phrase;
mod postgres;
mod rng;
mod run;
mod say;
mod server;
mod shrink;
mod simpler;
mod world;

pub use draw::{Cast, draw};
pub use driver::Sabotage;
pub use history::{
    Answer, Arrival, Back, Backoff, Cancel, Cleaning, Course, DatabaseLine, Ending, Farewell, GeneralLines,
    History, Leaving, Limits, Login, Minimum, Mode, Mood, Newcomers, Order, Picks, Place, PoolShape, Pooling,
    Reload, Shape, Step, Talk, TargetShape, Turns, Visit, What,
};
pub use run::{Outcome, Telling, run};
pub use shrink::{Shrunk, shrink};
pub use world::{Broken, Tally};
