//! What the ledger shows: values for the console, the command line and the log. All text that an application has
//! claimed is escaped and bounded here; statements are as `ledger_statements` lets them be seen.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_ledger::text::{self, Tags};
use plimsoll_ledger::{Identified, Kept, Text};
use plimsoll_types::{Pins, PoolMode};

use crate::entry::Peer;

/// Where the text of a statement (and the tags in its comment) comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFrom {
    /// From the statement itself.
    Statement,
    /// From the Parse of a prepared one, so many executions ago: its comment belongs to whoever prepared it.
    Prepared {
        /// Executions since the Parse.
        executions: u32,
    },
    /// Nobody knows the text.
    Unknown,
}

impl TextFrom {
    /// As the console writes it.
    pub fn text(self) -> String {
        match self {
            TextFrom::Statement => "statement".to_string(),
            TextFrom::Prepared { executions } => format!("prepared {executions} executions ago"),
            TextFrom::Unknown => "none".to_string(),
        }
    }
}

/// A statement of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementView {
    /// Its text, redacted unless `ledger_statements = full`; empty when none is kept.
    pub text: String,
    /// The same as it was said, where that may be seen (`full`).
    pub full: Option<String>,
    /// Tags of its comments, `key=value key=value`.
    pub tags: String,
    /// The value of its `traceparent` tag.
    pub traceparent: Option<String>,
    /// Where it is from.
    pub from: TextFrom,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerdictLevel {
    /// Nothing wrong.
    #[default]
    Ok,
    /// Idle, and used now and then: a healthy pool of a client.
    Parked,
    /// Working for long.
    Slow,
    /// Perhaps a leak.
    Suspect,
    /// A leak.
    Leak,
}

impl VerdictLevel {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            VerdictLevel::Ok => "ok",
            VerdictLevel::Parked => "parked",
            VerdictLevel::Slow => "slow",
            VerdictLevel::Suspect => "suspect",
            VerdictLevel::Leak => "leak",
        }
    }
}

/// What the ledger thinks of a hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerdictView {
    /// How bad.
    pub level: VerdictLevel,
    /// By which rule; empty for `ok`.
    pub rule: &'static str,
    /// Why, with figures; empty for `ok`.
    pub evidence: String,
}

/// Who holds or held, or is just connected.
#[derive(Clone, Debug)]
pub struct WhoView {
    /// Client id (`id` of SHOW CLIENTS); 0 when the client has gone and only the connection is left.
    pub client: u64,
    /// `ptr` of the client.
    pub ptr: u64,
    /// Login user.
    pub user: Arc<str>,
    /// Database asked for.
    pub database: Arc<str>,
    /// Address without port (`unix` for a Unix socket).
    pub host: String,
    /// Port.
    pub port: u16,
    /// application_name (claimed, escaped).
    pub application: String,
    /// Process id of the peer on a Unix socket, else 0.
    pub remote_pid: u32,
    /// Subject of its TLS certificate.
    pub tls_subject: Option<String>,
    /// Who it has proved to be by a key or a token.
    pub identified: Option<Box<Identified>>,
}

/// A hold: `SHOW HOLDS`, `SHOW HISTORY`.
#[derive(Clone, Debug)]
pub struct HoldView {
    /// Unique for the life of the process.
    pub hold: u64,
    /// Who.
    pub who: WhoView,
    /// The server login role: with the database it names the pool.
    pub role: Arc<str>,
    /// `ptr` of the server connection.
    pub server: u64,
    /// Its backend process id.
    pub pid: u32,
    /// The server's address.
    pub target: String,
    /// How long the server connection has been open.
    pub server_age: Duration,
    /// `executing`, `idle in transaction`, `aborted transaction`, `idle in session`, `client not reading`,
    /// `client not sending`, `cleaning`, `draining`; in the history `closed`.
    pub state: &'static str,
    /// Since it was granted (in the history: how long it lasted).
    pub age: Duration,
    /// How long the client had waited for it.
    pub waited: Duration,
    /// Since client or server last said something.
    pub idle: Duration,
    /// Since the transaction began.
    pub transaction: Option<Duration>,
    /// Since the client last took a byte.
    pub client_took: Duration,
    /// Since the first byte came that it has not taken.
    pub unread_for: Option<Duration>,
    /// Bytes it has not taken, as far as we have them.
    pub unread_bytes: u64,
    /// Why it cannot be given back.
    pub pins: Pins,
    /// What made it `unknown` (redacted).
    pub unknown_by: Option<String>,
    /// Statements.
    pub statements: u32,
    /// Rows to the client.
    pub rows: u64,
    /// Bytes to the server.
    pub to_server: u64,
    /// Bytes to the client.
    pub to_client: u64,
    /// The first statement; `None` before any.
    pub first: Option<StatementView>,
    /// The last one.
    pub last: Option<StatementView>,
    /// The site's number.
    pub site: u64,
    /// What the ledger thinks of it.
    pub verdict: VerdictView,
    /// Whether its client is there: `alive`, `idle`, `not reading`, `unreachable`, `gone`; `None` for a Unix socket and
    /// in the history.
    pub client_life: Option<&'static str>,
    /// How it ended (history only).
    pub ended: Option<String>,
    /// How long ago it ended (history only).
    pub ended_ago: Duration,
}

/// What was done about a hold: `SHOW ACTIONS`.
#[derive(Clone, Debug)]
pub struct DeedView {
    /// How long ago.
    pub ago: Duration,
    /// Which hold.
    pub hold: u64,
    /// `ptr` of its client.
    pub client: u64,
    /// Login user.
    pub user: String,
    /// Database asked for.
    pub database: String,
    /// application_name (claimed, escaped).
    pub application: String,
    /// Address of the client.
    pub host: String,
    /// The site's number.
    pub site: u64,
    /// What it was doing.
    pub state: &'static str,
    /// For how long it had not been used.
    pub unused: Duration,
    /// Which policy, or who.
    pub by: String,
    /// What came of it.
    pub what: &'static str,
}

/// A result that is off its server and that its client has not read: `SHOW SPILLS`.
#[derive(Clone, Debug)]
pub struct SpillView {
    /// Whose it is.
    pub who: WhoView,
    /// The statement, if the ledger knows it.
    pub statement: Option<StatementView>,
    /// `filling`: the server goes on sending; `draining`: the server has been given back; `full: …` and
    /// `waiting: …`: the server waits for the reader.
    pub state: &'static str,
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes in the temporary file only.
    pub disk: u64,
    /// Bytes that have gone into the spill so far.
    pub total: u64,
    /// Bytes the client has taken out of it.
    pub taken: u64,
    /// The same per second.
    pub per_second: u64,
    /// Since it began.
    pub age: Duration,
}

/// A client that waits: `SHOW WAITERS`.
#[derive(Clone, Debug)]
pub struct WaiterView {
    /// Who.
    pub who: WhoView,
    /// The server login role of the pool.
    pub role: Arc<str>,
    /// How long it has waited.
    pub waiting: Duration,
    /// Its place in the pool's queue, from 1.
    pub place: u32,
    /// Why it waits: `all N connections in use`, `paused`, `no server`, …
    pub why: String,
}

/// A site: `SHOW SITES`.
#[derive(Clone, Debug)]
pub struct SiteView {
    /// Its number; 0 for all that had no room in the table.
    pub site: u64,
    /// Application (claimed, escaped).
    pub application: String,
    /// Tags, `key=value key=value`.
    pub tags: String,
    /// Whether the shape alone names it, since its statements were prepared by somebody else's code path.
    pub tags_from_prepare: bool,
    /// Its first statement, redacted.
    pub statement: String,
    /// The last statement of its oldest hold, redacted.
    pub last_statement: String,
    /// Databases and roles it holds connections of now, `db/role`.
    pub pools: Vec<String>,
    /// Hosts that hold now, most first: (host, count), at most 5.
    pub hosts: Vec<(String, u32)>,
    /// Clients connected whose last hold was of this site.
    pub clients: u32,
    /// Connections held now.
    pub held: u32,
    /// Size of the pools they are of.
    pub pool_size: u32,
    /// Age of the oldest hold.
    pub oldest: Duration,
    /// Idle time of all holds together.
    pub idle: Duration,
    /// Connection-seconds held, those held now included.
    pub held_seconds: f64,
    /// Holds that have ended (estimated from a sample).
    pub holds: u64,
    /// Median, 99th and 99.9th percentile of how long they lasted.
    pub p50: Duration,
    /// See `p50`.
    pub p99: Duration,
    /// See `p50`.
    pub p999: Duration,
    /// Smallest number held in each of the last minutes, oldest first.
    pub floors: Vec<u32>,
    /// How often a suspect of this site came back.
    pub unleaked: u32,
    /// The worst verdict of its holds now.
    pub verdict: VerdictView,
}

/// A client connection, held or not: `plimsoll clients --by app,host,site`.
#[derive(Clone, Debug)]
pub struct VisitorView {
    /// Who.
    pub who: WhoView,
    /// Site of its last hold; 0 for none yet.
    pub site: u64,
    /// Tags and application of that site, for people.
    pub site_text: String,
    /// Since it connected.
    pub connected: Duration,
    /// Since it last asked for something.
    pub idle: Duration,
    /// Whether it holds a server connection now.
    pub holds: bool,
    /// Whether it waits for one.
    pub waits: bool,
    /// Requests for a server connection so far.
    pub uses: u64,
}

/// How full the house is: the head of `plimsoll doctor`.
#[derive(Clone, Debug)]
pub struct HouseView {
    /// Client sockets open.
    pub clients: u32,
    /// `max_client_conn`.
    pub clients_max: u32,
    /// When `clients_max` is reached at the rate of the last minutes; `None`: the number does not rise.
    pub clients_full_in: Option<Duration>,
    /// Clients refused at `max_client_conn` since the start.
    pub clients_refused: u64,
    /// Since the start of the process.
    pub uptime: Duration,
    /// Whether everything is paused.
    pub paused: bool,
    /// Whether the ledger is on.
    pub ledger: bool,
    /// File descriptors open, and the limit.
    pub descriptors: (u64, u64),
    /// The pools.
    pub pools: Vec<NeedView>,
    /// How clients prove who they are: (`auth_type` in force or method, clients).
    pub logins: Vec<(String, u32)>,
}

/// A pool and what it needs.
#[derive(Clone, Debug)]
pub struct NeedView {
    /// Configured database.
    pub database: Arc<str>,
    /// Server login role.
    pub role: Arc<str>,
    /// The server's addresses, `host:port`.
    pub target: String,
    /// Mode.
    pub mode: PoolMode,
    /// Its size.
    pub size: u32,
    /// Server connections by what they do.
    pub held: u32,
    /// Free ones.
    pub idle: u32,
    /// Opening, cleaning, closing, lost.
    pub other: u32,
    /// Clients in its queue: who waits for a place under a cap has no need of a connection yet.
    pub waiting: u32,
    /// Oldest wait in it.
    pub oldest_wait: Duration,
    /// Clients of the pool.
    pub clients: u32,
    /// Holds per second over the last minutes.
    pub holds_per_second: f64,
    /// Mean time of a hold.
    pub hold_mean: Duration,
    /// Connections needed: holds per second x mean time.
    pub needed: f64,
    /// Held without being used (idle in transaction, idle in session, not reading, not sending).
    pub sleeping: u32,
    /// Why the pool exists: who asked for it first and when, or `min_pool_size`.
    pub why: String,
}

/// A time for people.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Tags that name a place in the code, for people.
pub(crate) fn tags(tags: &Tags) -> String {
    let mut out = String::new();
    for (key, value) in tags.for_site() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&text::escape(key.as_bytes()));
        out.push('=');
        out.push_str(&text::escape(value.as_bytes()));
    }
    out
}

/// A kept statement without its literals; empty if there is none.
pub(crate) fn redacted(kept: &Text) -> String {
    match kept.kept {
        Kept::Text => {
            let cut = if kept.is_cut() { text::Cut::Cut } else { text::Cut::Whole };
            text::redact(&kept.bytes, cut)
        }
        Kept::Credentials => "(not kept: it may carry credentials)".to_string(),
        Kept::Nothing => String::new(),
    }
}

/// Claimed text made safe to show.
pub(crate) fn escaped(claimed: &str) -> String {
    text::escape(claimed.as_bytes())
}

/// The address of a peer without its port.
pub(crate) fn host_of(peer: &Peer) -> String {
    peer.addr()
}
