//! `[plimsoll]`: what the keys of our own mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::http::HttpListen;
use crate::http::hosts::HttpHosts;
use crate::identity::IdentityKeys;
use crate::leak::LeakKeys;
use crate::listeners::ProxyListeners;
use crate::network::Network;
use crate::target::Budget;
use crate::vouch::VouchKeys;

/// Whose shape everything visible has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// True SQLSTATEs, HINT, appended columns.
    #[default]
    Plimsoll,
    /// PgBouncer's: 08P01, no appended columns, its version.
    Pgbouncer,
}

/// `[plimsoll]`: keys of our own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// `workers`; `None`: the number of cores, at most 4.
    pub workers: Option<u16>,
    /// `target_budget`: most server connections on one physical server.
    pub target_budget: Budget,
    /// `target_headroom` (default 3): places of the server that `auto` leaves free.
    pub target_headroom: Option<u32>,
    /// `control_user`: who watches the servers; its secret is in auth_file.
    pub control_user: Option<String>,
    /// `control_interval` (default 5 s): how often the control connection looks.
    pub control_interval: Option<Duration>,
    /// `connect_concurrency` (default 4): most logins in flight on one physical server.
    pub connect_concurrency: Option<u32>,
    /// `connect_backoff_min` (default 100 ms): how long nothing is opened after a first failure.
    pub connect_backoff_min: Option<Duration>,
    /// `connect_backoff_max` (default 2 s): how long at most, after one failure upon another.
    pub connect_backoff_max: Option<Duration>,
    /// `queue_fairness`.
    pub queue_fairness: QueueFairness,
    /// `compat`.
    pub compat: Compat,
    /// `fairness_slack` (default 5 ms): how much older another worker's waiter must be to be served first.
    pub fairness_slack: Option<Duration>,
    /// `close_timeout` (default 5 s): how long a server that we let go may take to close.
    pub close_timeout: Option<Duration>,
    /// `restart_tls_timeout` (default 60 s): how long clients under TLS are served after an online restart.
    pub restart_tls_timeout: Option<Duration>,
    /// `lost_max` (default 10 min): how long a server that did not close stays counted.
    pub lost_max: Option<Duration>,
    /// `cancel_on_client_loss` (default on; off with `compat = pgbouncer`): whether a query is cancelled whose client is
    /// lost.
    pub cancel_on_client_loss: Option<CancelOnClientLoss>,
    /// `cleanup_timeout` (default 5 s; 0 with `compat = pgbouncer`): how long it may take to make a server connection
    /// usable again whose client was lost in the middle of something; zero: it is closed at once.
    pub cleanup_timeout: Option<Duration>,
    /// `client_stall_timeout` (default 60 s; 0 with `compat = pgbouncer`): how long a client may stop in the middle of
    /// a message or a batch while it holds a server connection; zero is off.
    pub client_stall_timeout: Option<Duration>,
    /// `batch_hold_bytes` (default 64 KiB): so much of a batch is kept until it is complete before it takes a server
    /// connection; zero is off.
    pub batch_hold_bytes: Option<usize>,
    /// `batch_hold_memory` (default 64 MiB): all such batches together, bytes.
    pub batch_hold_memory: Option<usize>,
    /// `server_check_timeout` (default 5 s): how long a server may take to answer `server_check_query`, or to set the
    /// parameters of a client.
    pub server_check_timeout: Option<Duration>,
    /// `collect_max` (default 1 MiB): longest message that is kept whole (named Parse), bytes.
    pub collect_max: Option<usize>,
    /// `collect_memory` (default 64 MiB): all such messages together, bytes.
    pub collect_memory: Option<usize>,
    /// `ledger`.
    pub ledger: Ledger,
    /// `ledger_statement_bytes` (default 1 KiB): how much of a statement's text is kept, bytes.
    pub ledger_statement_bytes: Option<usize>,
    /// `ledger_statements`.
    pub ledger_statements: Statements,
    /// `leak_idle_threshold` (default 10 s): how long a hold may be idle while others wait.
    pub leak_idle_threshold: Option<Duration>,
    /// `leak_age_floor` (default 30 s): a hold younger than this is never beyond its site's habit.
    pub leak_age_floor: Option<Duration>,
    /// `leak_unread_threshold` (default 30 s): how long a result may wait for its reader.
    pub leak_unread_threshold: Option<Duration>,
    /// `leak_warn_after` and the others (default: off).
    pub leak: LeakKeys,
    /// `trend_interval` (default 1 min): how long the shortest blocks are of which the history of held connections is
    /// made.
    pub trend_interval: Option<Duration>,
    /// `disclose_holders`.
    pub disclose_holders: Disclose,
    /// `client_heartbeat`: after how long a client that says nothing and is told nothing gets a message which it must
    /// ignore; `None` is never.
    pub client_heartbeat: Option<Duration>,
    /// `proxy_protocol`: who listens for which header.
    pub proxy_protocol: ProxyListeners,
    /// `proxy_protocol_from`: who must say on whose behalf it connects.
    pub proxy_protocol_from: Vec<Network>,
    /// `spill`: where results go that their clients do not read, unless a database or user has a word of its own.
    pub spill: Spill,
    /// `spill_after` (default 20 ms): how long a client's socket must have refused bytes before that begins.
    pub spill_after: Option<Duration>,
    /// `spill_memory` (default 64 MiB): memory of all spills together, bytes.
    pub spill_memory: Option<usize>,
    /// `spill_dir` (default `/var/tmp`): where the temporary files are.
    pub spill_dir: Option<PathBuf>,
    /// `spill_disk` (default 1 GiB): temporary files of all spills together, bytes.
    pub spill_disk: Option<usize>,
    /// `spill_per_client` (default 64 MiB): one spill, in memory and in its file, bytes.
    pub spill_per_client: Option<usize>,
    /// `spill_in_transaction`: whether a statement inside an open transaction may spill, too.
    pub spill_in_transaction: SpillInTransaction,
    /// `snapshot_dir`: where the black box keeps its snapshots.
    pub snapshot_dir: SnapshotDir,
    /// `snapshot_interval` (default 15 min): how often it takes one.
    pub snapshot_interval: Option<Duration>,
    /// `snapshot_keep` (default 96): how many of these it keeps.
    pub snapshot_keep: Option<u32>,
    /// `log_spill_over` (default 16 MiB; 0: never): a spill of more bytes is logged.
    pub log_spill_over: Option<usize>,
    /// `identity_…`, `revoke_grace`.
    pub identity: IdentityKeys,
    /// `ldap_…`, `pam_…`.
    pub vouch: VouchKeys,
    /// `http_listen` (default 127.0.0.1:6433; off with `compat = pgbouncer`): where `/metrics` is answered.
    pub http_listen: Option<HttpListen>,
    /// `http_hosts`: names by which HTTP may be asked for, beside addresses and `localhost`.
    pub http_hosts: HttpHosts,
    /// `http_tls_cert_file`: the certificate of the HTTP listener, with those that are sent with it; TLS if it is set.
    pub http_tls_cert_file: Option<PathBuf>,
    /// `http_tls_key_file`: its private key.
    pub http_tls_key_file: Option<PathBuf>,
    /// `metrics_applications_max` (default 100): so many applications, and so many sites, have series of their own.
    pub metrics_applications_max: Option<u32>,
}

/// Which headers of the PROXY protocol are understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None.
    #[default]
    Off,
    /// The binary one.
    V2,
    /// The binary one and the line of text.
    Any,
}

/// Whether a query whose client is lost is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOnClientLoss {
    /// At once.
    On,
    /// It runs to its end, as in PgBouncer.
    Off,
}

impl Own {
    /// `http_listen` in force.
    pub fn http_listen(&self) -> HttpListen {
        match (&self.http_listen, self.compat) {
            (Some(listen), _) => listen.clone(),
            (None, Compat::Plimsoll) => HttpListen::default(),
            (None, Compat::Pgbouncer) => HttpListen::Off,
        }
    }

    /// `metrics_applications_max` in force.
    pub fn metrics_applications_max(&self) -> u32 {
        self.metrics_applications_max.unwrap_or(100)
    }

    /// `spill_memory` in force, bytes.
    pub fn spill_memory(&self) -> usize {
        self.spill_memory.unwrap_or(64 << 20)
    }

    /// `spill_disk` in force, bytes.
    pub fn spill_disk(&self) -> usize {
        self.spill_disk.unwrap_or(1 << 30)
    }

    /// `spill_per_client` in force, bytes.
    pub fn spill_per_client(&self) -> usize {
        self.spill_per_client.unwrap_or(64 << 20)
    }

    /// `snapshot_interval` in force.
    pub fn snapshot_interval(&self) -> Duration {
        self.snapshot_interval.unwrap_or(Duration::from_secs(900))
    }

    /// `snapshot_keep` in force.
    pub fn snapshot_keep(&self) -> u32 {
        self.snapshot_keep.unwrap_or(96)
    }

    /// `spill_dir` in force.
    pub fn spill_dir(&self) -> &Path {
        self.spill_dir.as_deref().unwrap_or(Path::new("/var/tmp"))
    }
}

/// Where the black box keeps its snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SnapshotDir {
    /// The folder the system gives us for what is to outlive the process (systemd's `StateDirectory=`), else
    /// `/var/lib/plimsoll` where that is ours; else nowhere.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// There.
    Folder(PathBuf),
}

/// Where a result goes that its client does not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spill {
    /// Nowhere: the server connection waits for the reader.
    Off,
    /// Into memory.
    Memory,
    /// Into memory, and into a temporary file when that is used up.
    #[default]
    Disk,
}

/// `spill_in_transaction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpillInTransaction {
    /// A spill there would free nothing, and there is none.
    #[default]
    Off,
    /// So that the statement comes to its end.
    On,
}

/// Whether holds are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ledger {
    /// They are.
    #[default]
    On,
    /// They are not.
    Off,
}

/// What an administrator may see of statements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statements {
    /// Their text without literals.
    #[default]
    Redacted,
    /// Their text, on request.
    Full,
    /// Nothing: no text is kept.
    Off,
}

/// Who is told who holds the connections that a client waited for in vain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disclose {
    /// Nobody.
    None,
    /// Clients of the same database and login user; all others are counted only.
    #[default]
    SamePool,
    /// Every client that has logged in.
    All,
}

/// Who comes next among the clients that wait for one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueFairness {
    /// Who has waited longest.
    #[default]
    Fifo,
    /// The applications take turns; inside one, who has waited longest.
    Application,
}
