//! What was held at one moment, as a document that can be kept, read again and compared.
//!
//! A snapshot is text: JSON with one pool, site or hold on a line, so that two of them can be compared by eye. It never
//! has literals of statements or secrets in it; what applications claim is escaped and bounded. Reading one trusts
//! nothing: a file may be cut off, of another kind or made up.
//!
//! | module | what it knows |
//! |---|---|
//! | `wall` | times of day, as text and as numbers |
//! | `read` | from text to a snapshot |
//! | `diff` | what two or three of them have in common |
//! | `place` | sites as people know them, and which deploy they are of |
//! | `doubt` | what makes the difference say less than it seems to |
//! | `words` | the difference in sentences |

mod diff;
mod doubt;
mod place;
mod read;
#[cfg(test)]
mod tests;
mod wall;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::holds::HoldState;
use crate::is_sleeping;

pub use diff::{Counts, Diff, Left, Leftovers, PoolChange, Runs, SiteChange, diff, leftovers};
pub use doubt::doubts;
pub use place::{Deploy, label};
pub use read::{Unreadable, read};
pub use wall::Wall;
pub use words::{Caveats, Scope, leftover_sentences, sentences, span};

/// The number of the format; another one is not understood.
pub const FORMAT: u64 = 1;

/// Most holds of a snapshot: the oldest.
pub const SNAPSHOT_HOLDS_MAX: usize = 20_000;

/// Most sites of a snapshot: those that hold, then those that have held most.
pub const SNAPSHOT_SITES_MAX: usize = 2_000;

/// Most pools of a snapshot.
pub const SNAPSHOT_POOLS_MAX: usize = 10_000;

/// Longest document that is read, bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 64 << 20;

/// Longest document that is written, bytes: what goes beyond is left out, and counted.
const WRITTEN_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX - (1 << 20);

/// Longest text in a field, bytes.
pub const TEXT_BYTES_MAX: usize = 512;

/// Most tags of a site.
const TAGS_MAX: usize = 16;

/// Most places where a pooler listens.
const LISTEN_MAX: usize = 16;

/// Why a snapshot was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Somebody asked for it.
    Asked,
    /// The time had come.
    Interval,
    /// A client had waited in vain for a server connection.
    QueueTimeout,
    /// A thread panicked.
    Panic,
    /// The process is told to end.
    Shutdown,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 5] =
        [Reason::Asked, Reason::Interval, Reason::QueueTimeout, Reason::Panic, Reason::Shutdown];

    /// The word for it; letters and underscores.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Asked => "asked",
            Reason::Interval => "interval",
            Reason::QueueTimeout => "queue_timeout",
            Reason::Panic => "panic",
            Reason::Shutdown => "shutdown",
        }
    }
}

/// What was held at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Of which pooler, when, why.
    pub head: Head,
    /// Its pools.
    pub pools: Vec<PoolState>,
    /// Its sites.
    pub sites: Vec<SiteState>,
    /// Its open holds, the oldest first.
    pub holds: Vec<Held>,
}

/// Of which pooler, when, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Drawn at the start of the process: holds of two runs are never the same.
    pub instance: String,
    /// Version of the pooler.
    pub version: String,
    /// [`Reason::as_str`] of why it was taken.
    pub why: String,
    /// When.
    pub taken: Wall,
    /// When the process started. All times of the document are this one and a time of the process's own clock, so
    /// that the difference of two of them does not depend on who set the system's clock in between.
    pub started: Wall,
    /// Where it listens: `host:port`, `unix:socket`. Empty where that is not known.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Whether holds are recorded at all (`ledger`).
    #[serde(default)]
    pub ledger: Recorded,
    /// Holds that had no room.
    #[serde(default)]
    pub holds_left_out: u64,
    /// Sites that had no room.
    #[serde(default)]
    pub sites_left_out: u64,
}

impl Head {
    /// A time of the document on the clock of its process, microseconds since its start.
    pub fn own_us(&self, time: Wall) -> i64 {
        time.micros_since(self.started)
    }
}

/// Whether holds are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recorded {
    /// They are.
    #[default]
    On,
    /// They are not: that there are none says nothing.
    Off,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolState {
    /// Configured database.
    pub database: String,
    /// Server login role.
    pub role: String,
    /// Its size.
    pub size: u32,
    /// Server connections held, whether or not the document has their holds.
    pub held: u32,
    /// Those of them whose holds the ledger does not know.
    #[serde(default)]
    pub unrecorded: u32,
    /// Free ones.
    pub idle: u32,
    /// Clients that wait.
    pub waiting: u32,
    /// How long the oldest of them has waited, microseconds.
    pub oldest_wait_us: u64,
}

/// A site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteState {
    /// Its number, 16 hexadecimal digits, the same in every run.
    pub site: String,
    /// Application, as claimed.
    pub application: String,
    /// Comment tags that name the place in its code.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Its first statement without literals, where it may be seen.
    #[serde(default)]
    pub statement: Option<String>,
    /// When its first hold was seen, in this run of the pooler.
    pub first_seen: Wall,
    /// When its last hold was seen.
    pub last_seen: Wall,
    /// Holds that have ended (estimated from a sample).
    #[serde(default)]
    pub holds: u64,
    /// Connection-seconds held.
    #[serde(default)]
    pub held_seconds: u64,
}

/// An open hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number, unique for the life of the process.
    pub hold: u64,
    /// Number of the server connection, unique for the life of the process.
    pub server: u64,
    /// Its backend process id.
    pub pid: u32,
    /// Configured database: with the role it names the pool.
    pub database: String,
    /// Server login role.
    pub role: String,
    /// Login user of the client.
    pub user: String,
    /// Its application_name, as claimed.
    pub application: String,
    /// Its address without port (`unix` for a Unix socket).
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its id.
    pub client: u64,
    /// What the hold is doing: the words of `SHOW HOLDS`.
    pub state: String,
    /// Why it cannot be given back.
    #[serde(default)]
    pub pins: Vec<String>,
    /// When it was granted.
    pub granted: Wall,
    /// When client or server last said something.
    pub used: Wall,
    /// Statements so far.
    #[serde(default)]
    pub statements: u64,
    /// Its site.
    pub site: String,
    /// What is thought of it: `ok`, `parked`, `slow`, `suspect`, `leak`.
    #[serde(default)]
    pub verdict: String,
    /// By which rule; empty where there is none.
    #[serde(default)]
    pub rule: String,
    /// Its last statement without literals, where it may be seen.
    #[serde(default)]
    pub statement: Option<String>,
}

impl Held {
    /// The pool's name: `database/role`.
    pub fn pool(&self) -> String {
        format!("{}/{}", self.database, self.role)
    }

    /// Whether nobody works for it at the server.
    pub fn is_resting(&self) -> bool {
        HoldState::ALL.into_iter().any(|state| is_sleeping(state) && state.as_str() == self.state)
    }
}

impl Snapshot {
    /// Keeps it within its limits: the oldest holds, the sites in their order; what is left out is counted.
    pub fn bound(&mut self) {
        self.holds.sort_by_key(|held| (held.granted, held.hold));
        self.leave_out_holds(SNAPSHOT_HOLDS_MAX);
        let surplus = self.sites.len().saturating_sub(SNAPSHOT_SITES_MAX);
        self.head.sites_left_out = self.head.sites_left_out.saturating_add(surplus as u64);
        self.sites.truncate(SNAPSHOT_SITES_MAX);
        self.pools.truncate(SNAPSHOT_POOLS_MAX);
        self.for_each_text(bounded);
    }

    fn leave_out_holds(&mut self, max: usize) {
        let surplus = self.holds.len().saturating_sub(max);
        self.head.holds_left_out = self.head.holds_left_out.saturating_add(surplus as u64);
        self.holds.truncate(max);
    }

    /// For readers who may not see statements.
    pub fn without_statements(mut self) -> Snapshot {
        self.sites.iter_mut().for_each(|site| site.statement = None);
        self.holds.iter_mut().for_each(|held| held.statement = None);
        self
    }

    /// The document, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{{\"plimsoll_snapshot\":{FORMAT},\"head\":{},", json(&self.head))];
        section(&mut lines, "pools", &self.pools, "],");
        section(&mut lines, "sites", &self.sites, "],");
        section(&mut lines, "holds", &self.holds, "]}");
        lines
    }

    /// The document. One that would be too long to be read again has fewer holds.
    pub fn text(&self) -> String {
        let text = joined(&self.lines());
        if text.len() <= WRITTEN_BYTES_MAX {
            return text;
        }
        let mut less = self.clone();
        let (all, room) = (text.len(), WRITTEN_BYTES_MAX);
        drop(text);
        // Holds take nearly all of it, and none takes twice what another does on average.
        less.leave_out_holds(self.holds.len().saturating_mul(room / 2) / all.max(1));
        joined(&less.lines())
    }

    /// Applies `change` to every text that somebody outside may have chosen.
    fn for_each_text(&mut self, change: impl Fn(&mut String)) {
        let head = &mut self.head;
        [&mut head.instance, &mut head.version, &mut head.why].into_iter().for_each(&change);
        head.listen.truncate(LISTEN_MAX);
        head.listen.iter_mut().for_each(&change);
        for pool in &mut self.pools {
            [&mut pool.database, &mut pool.role].into_iter().for_each(&change);
        }
        for site in &mut self.sites {
            [&mut site.site, &mut site.application].into_iter().for_each(&change);
            site.statement.iter_mut().for_each(&change);
            let tags = std::mem::take(&mut site.tags).into_iter().take(TAGS_MAX);
            site.tags = tags
                .map(|(mut key, mut value)| {
                    change(&mut key);
                    change(&mut value);
                    (key, value)
                })
                .collect();
        }
        for held in &mut self.holds {
            let Held { database, role, user, application, host, state, site, verdict, rule, .. } = held;
            let texts = [database, role, user, application, host, state, site, verdict, rule];
            texts.into_iter().for_each(&change);
            held.statement.iter_mut().for_each(&change);
            held.pins.truncate(TAGS_MAX);
            held.pins.iter_mut().for_each(&change);
        }
    }
}

fn joined(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

fn section<T: Serialize>(lines: &mut Vec<String>, name: &str, all: &[T], end: &str) {
    lines.push(format!("\"{name}\":["));
    for (at, one) in all.iter().enumerate() {
        let comma = if at + 1 < all.len() { "," } else { "" };
        lines.push(format!("{}{comma}", json(one)));
    }
    lines.push(end.to_string());
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and texts under names that are texts have a form in JSON")
}

/// Cuts a text that is too long for a field.
fn bounded(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX - '…'.len_utf8()));
        text.push('…');
    }
}
