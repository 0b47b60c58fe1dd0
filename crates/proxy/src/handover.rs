//! Online restart: everything one process has goes to the next in one moment (`docs/adr/0009-online-restart.md`).
//!
//! | module | part |
//! |---|---|
//! | `stage` | standing still: clients' tasks leave what they are here, and get it back or not |
//! | `door` | the Unix socket where the next process asks, and what the old one does then |
//! | `give` | everything written down, and let go of |
//! | `take` | asked for, and read |
//! | `adopt` | made again |
//! | `carry` | what cannot be moved: bytes copied between its socket and the new process |
//! | `farewell` | clients that are carried leave when they are idle |
//! | `record` | what is sent |
//! | `rules` | the rules by which a hold goes on |
//! | `frames` | how: frames, descriptors, limits |

mod adopt;
mod carry;
mod door;
mod farewell;
mod frames;
mod give;
mod record;
mod rules;
mod stage;
mod take;

use std::time::Duration;

pub(crate) use adopt::adopt;
pub(crate) use carry::Carrier;
pub use door::Successor;
pub(crate) use door::{Door, Goods, open};
pub(crate) use farewell::see_off;
pub use frames::FrameError;
pub(crate) use record::ListenerImage;
pub(crate) use stage::{Count, Fate, Seat, Stage, Stillness};
pub use take::{AskError, Offer, ask};

/// The format of what is handed over. Fields may be added with a default; anything else is a new version.
const VERSION: u32 = 1;

/// How long each side waits for a word of the other while nothing stands still. The new process reads its files,
/// resolves names and makes threads meanwhile.
const PREPARE_MAX: Duration = Duration::from_secs(30);

/// How long logins may take to end, before the rest of them is moved or told to come again.
const LOGINS_MAX: Duration = Duration::from_secs(1);

/// How long connections may take that are being opened, cleaned or closed.
const TASKS_MAX: Duration = Duration::from_secs(1);

/// How long clients' tasks may take to stand still.
const STILL_MAX: Duration = Duration::from_secs(2);

/// How long the old process stays for what it carries, beyond the time its clients have.
const CARRY_GRACE: Duration = Duration::from_secs(5);
