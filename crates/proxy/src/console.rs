//! The seam to the console: what `admin` implements, and what it may look at and do.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Database, Plan};
use plimsoll_pool::{PoolCounts, SlotState};
use plimsoll_types::{Cause, PoolMode};

use crate::ask::ServerFacts;
use crate::control::{Control, Released};
use crate::stats::Totals;

/// What a console user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// In `admin_users`: everything.
    Admin,
    /// In `stats_users`: SHOW, except what shows secrets.
    Stats,
}

/// Who sits at the console.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// What it may do.
    pub level: Level,
    /// Its login user.
    pub user: &'a str,
    /// Where it comes from.
    pub from: &'a str,
}

/// Makes a reply of what the servers said.
pub type OfFacts = Box<dyn FnOnce(Vec<ServerFacts>) -> Vec<u8> + Send>;

/// Makes a reply when what was waited for has come true.
pub type OfThen = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// A reply that is being fetched.
pub type Fetched = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// The answer to a console command. `bytes` are whole protocol messages, ReadyForQuery included.
pub enum Reply {
    /// Send these bytes.
    Now(Vec<u8>),
    /// Send what this makes as soon as the condition holds. While it waits a cancel request ends the wait (and undoes
    /// a PAUSE).
    When(Until, OfThen),
    /// Ask the servers, and send what comes of their answers.
    Ask(OfFacts),
    /// Send what comes of this. It ends by itself, and soon.
    Fetch(Fetched),
    /// The process ends at once; no reply.
    Exit,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reply::Now(bytes) => f.debug_tuple("Now").field(bytes).finish(),
            Reply::When(until, _) => f.debug_tuple("When").field(until).finish(),
            Reply::Ask(_) => f.write_str("Ask"),
            Reply::Fetch(_) => f.write_str("Fetch"),
            Reply::Exit => f.write_str("Exit"),
        }
    }
}

/// What a console command may wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// No server connection of the database (or any) is in use.
    Quiet(Option<String>),
    /// All that came in is dealt with and sent (SUSPEND).
    Flushed,
    /// No server connection of the database (or any) is left that has to be renewed (WAIT_CLOSE).
    Renewed(Option<String>),
    /// What has come of an order is known (RELEASE).
    Released(Released),
}

/// The console. Called on the control thread only, so it may take its time without harming a query.
pub trait Console: Send + Sync {
    /// One simple query. `text` may hold anything the client sent.
    fn command(&self, control: &Control, visitor: Visitor<'_>, text: &[u8]) -> Reply;

    /// The parameters a console client is welcomed with: (name, value).
    fn welcome(&self) -> Vec<(&'static str, String)>;

    /// A client has waited in vain for a server connection, and is about to be told so. Called on any thread; returns
    /// at once.
    fn note_vain_wait(&self) {}
}

/// A client as `SHOW CLIENTS` shows it.
#[derive(Clone, Debug)]
pub struct ClientView {
    /// `id`.
    pub id: u64,
    /// Login user.
    pub user: Arc<str>,
    /// The database asked for.
    pub database: Arc<str>,
    /// What it is doing.
    pub state: ClientState,
    /// Peer address without port (`unix` for a Unix socket).
    pub addr: String,
    /// Peer port (the listening port for a Unix socket).
    pub port: u16,
    /// Our address.
    pub local_addr: String,
    /// Our port.
    pub local_port: u16,
    /// How long ago it connected.
    pub connected_for: Duration,
    /// How long ago its last request came.
    pub requested_for: Duration,
    /// How long it has been waiting; zero when it does not.
    pub waiting_for: Duration,
    /// Number that stands for it in `ptr` and log lines.
    pub ptr: u64,
    /// `ptr` of the server connection it holds.
    pub link: Option<u64>,
    /// Backend pid of that server connection.
    pub link_pid: Option<u32>,
    /// Protocol and cipher; empty without TLS.
    pub tls: String,
    /// application_name.
    pub application_name: String,
    /// Named statements.
    pub prepared: u32,
    /// Process id of the peer on a Unix socket, 0 otherwise.
    pub remote_pid: u32,
    /// `none`, `logical` or `physical`.
    pub replication: &'static str,
}

/// State of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Logging in.
    Login,
    /// Logged in and not waiting.
    Active,
    /// Waiting for a server connection.
    Waiting,
}

/// A server connection as `SHOW SERVERS` shows it.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// `id`.
    pub id: u64,
    /// Server login role.
    pub user: Arc<str>,
    /// The configured database.
    pub database: Arc<str>,
    /// Its slot's state.
    pub state: SlotState,
    /// Idle and due for a check.
    pub check_due: bool,
    /// PostgreSQL's address.
    pub addr: String,
    /// PostgreSQL's port.
    pub port: u16,
    /// Both, as `SHOW TARGETS` and `SHOW HOLDS` write them.
    pub target: String,
    /// Our end of it.
    pub local_addr: String,
    /// Our port of it.
    pub local_port: u16,
    /// How long ago it was opened.
    pub connected_for: Duration,
    /// How long ago it was used last.
    pub requested_for: Duration,
    /// Closed as soon as it comes back.
    pub close_needed: bool,
    /// Number that stands for it in `ptr` and log lines.
    pub ptr: u64,
    /// `ptr` of the client that holds it.
    pub link: Option<u64>,
    /// Backend pid.
    pub pid: u32,
    /// Protocol and cipher; empty without TLS.
    pub tls: String,
    /// application_name as last set on it.
    pub application_name: String,
    /// Named statements.
    pub prepared: u32,
    /// Which of the secrets of a provider it logged in with; `None`: a usual password.
    pub credential_epoch: Option<u64>,
    /// `none`, `logical` or `physical`.
    pub replication: &'static str,
}

/// A pool as `SHOW POOLS` shows it.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// The configured database.
    pub database: Arc<str>,
    /// Server login role.
    pub user: Arc<str>,
    /// Clients linked to a server or idle.
    pub clients_active: u32,
    /// Clients waiting for a server connection.
    pub clients_waiting: u32,
    /// Cancel requests being carried out.
    pub cancels_active: u32,
    /// Cancel requests waiting.
    pub cancels_waiting: u32,
    /// Counts of the pool.
    pub counts: PoolCounts,
    /// Mode in force.
    pub mode: PoolMode,
    /// `load_balance_hosts`, if the database has several hosts.
    pub load_balance: Option<&'static str>,
}

/// A database as `SHOW DATABASES` shows it.
#[derive(Clone, Debug)]
pub struct DatabaseView {
    /// Its line, after merging nothing.
    pub config: Database,
    /// Limits in force.
    pub pool_size: u32,
    /// `min_pool_size` in force.
    pub min_pool_size: u32,
    /// `reserve_pool_size` in force.
    pub reserve_pool_size: u32,
    /// `server_lifetime` in force.
    pub server_lifetime: Duration,
    /// `max_db_connections` in force.
    pub max_connections: u32,
    /// Server connections.
    pub current_connections: u32,
    /// `max_db_client_connections` in force.
    pub max_client_connections: u32,
    /// Clients.
    pub current_client_connections: u32,
    /// PAUSEd.
    pub paused: bool,
    /// DISABLEd.
    pub disabled: bool,
}

/// Statistics of a database as `SHOW STATS` shows them.
#[derive(Clone, Debug)]
pub struct StatsView {
    /// The configured database.
    pub database: Arc<str>,
    /// Since the start.
    pub total: Totals,
    /// Per second (times: per item) over the last `stats_period`.
    pub average: Totals,
}

/// `SHOW LISTS`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListsView {
    /// Databases, the console included.
    pub databases: u64,
    /// Users known.
    pub users: u64,
    /// Pools, the console's included.
    pub pools: u64,
    /// Clients logged in.
    pub used_clients: u64,
    /// Clients logging in.
    pub login_clients: u64,
    /// Server connections, idle ones included.
    pub used_servers: u64,
    /// Host names of servers that are looked up.
    pub dns_names: u64,
    /// Those that are being looked up right now.
    pub dns_pending: u64,
}

/// A host name as `SHOW DNS_HOSTS` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsHostView {
    /// `hostname`.
    pub name: String,
    /// When it is looked up again.
    pub again_in: Duration,
    /// What it resolves to.
    pub addresses: Vec<IpAddr>,
}

/// What something takes in memory, as `SHOW MEM` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryView {
    /// PgBouncer's name for it.
    pub name: &'static str,
    /// Bytes of one.
    pub size: usize,
    /// How many there are.
    pub used: usize,
}

/// Why an administrative command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// `no such database: <db>`.
    NoSuchDatabase(String),
    /// `database <db> is not paused`.
    NotPaused(String),
    /// `pooler is not paused/suspended`.
    PoolerNotPaused,
    /// `already suspended/paused`.
    AlreadyPaused,
    /// `cannot suspend with paused databases`.
    DatabasesPaused,
    /// `pooler is shutting down`.
    ShuttingDown,
    /// `client not found`.
    ClientNotFound,
    /// RELEASE of a hold that is not there (any more).
    NoSuchHold(u64),
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// When the last client is gone.
    WaitForClients,
    /// When no server connection is in use any more.
    WaitForServers,
    /// At once.
    Immediate,
}

/// The plan in force and a cause, handed around by reload.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What is in force now.
    pub plan: Arc<Plan>,
    /// Keys that keep their old value until a restart.
    pub needs_restart: Vec<&'static str>,
    /// Why TLS goes on as it was, if it does: each reason with the place of its key.
    pub tls_refused: Vec<String>,
    /// The cause clients of removed databases are told.
    pub removed: Cause,
}
