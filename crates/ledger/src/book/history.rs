//! Holds that have ended and are worth remembering, in fixed memory.

use std::collections::VecDeque;

use plimsoll_types::Moment;

use super::Level;
use crate::holds::HoldCopy;
use crate::site::SiteId;

/// How many are remembered.
pub const HISTORY_MAX: usize = 1000;

/// A hold longer than this is remembered, microseconds.
const LONG_US: u64 = 10_000_000;

/// One that was waited for longer than this too.
const WAITED_US: u64 = 1_000_000;

/// How a hold ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It was given back as it should be.
    Returned,
    /// Its client left.
    ClientLeft,
    /// Otherwise: a limit, an administrator, the server; in words.
    Cut(String),
}

impl How {
    /// In words.
    pub fn text(&self) -> &str {
        match self {
            How::Returned => "returned",
            How::ClientLeft => "client left",
            How::Cut(why) => why,
        }
    }
}

/// Who somebody has proved to be by a key or a token: not claimed, like an application's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identified {
    /// Name of the organisation.
    pub organisation: Box<str>,
    /// Name of the application, or login of the person.
    pub name: Box<str>,
    /// Which of its keys; `None`: by a token that was had without one.
    pub key_id: Option<Box<str>>,
    /// Whose token it was; `None`: a key, or a token of our own.
    pub issuer: Option<Box<str>>,
}

/// Who held it, for later: the client may be gone. Filled in by the caller, who knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Login user.
    pub user: String,
    /// Database asked for.
    pub database: String,
    /// Server login role.
    pub role: String,
    /// Address without port.
    pub host: String,
    /// Port.
    pub port: u16,
    /// application_name, as claimed.
    pub application: String,
    /// Who it has proved to be.
    pub identified: Option<Box<Identified>>,
    /// Process id of the peer, 0 when it is not known.
    pub remote_pid: u32,
    /// Number that stands for the client in log lines.
    pub ptr: u64,
    /// The same for the server connection.
    pub server_ptr: u64,
    /// The server's address.
    pub target: String,
}

/// A hold that has ended.
#[derive(Clone, Debug)]
pub struct Past {
    /// What it was.
    pub hold: HoldCopy,
    /// When it ended.
    pub at: Moment,
    /// Its site.
    pub site: SiteId,
    /// Whose it was.
    pub who: Who,
    /// How it ended.
    pub how: How,
    /// What was thought of it last.
    pub level: Level,
}

/// Whether it is remembered though it ended as it should.
pub(super) fn is_memorable(held_us: u64, waited_us: u64) -> bool {
    held_us > LONG_US || waited_us > WAITED_US
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Past>);

impl History {
    pub(super) fn push(&mut self, past: Past) {
        if self.0.len() >= HISTORY_MAX {
            self.0.pop_front();
        }
        self.0.push_back(past);
    }

    /// The newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Past> {
        self.0.iter().rev()
    }
}
