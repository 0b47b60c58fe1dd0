//! What a configuration says once it is understood.

mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use plimsoll_types::{PoolMode, Secret, SslMode};

use crate::credential::{CredentialSource, SessionNotAfter};
use crate::hidden::HiddenText;
use crate::issuer::IssuerLine;
use crate::leak::LeakKeys;
use crate::peer::Peer;
use crate::place::{Place, Places, Section};
use crate::target::TargetLine;

pub use own::{
    CancelOnClientLoss, Compat, Disclose, Ledger, Own, ProxyProtocol, QueueFairness, SnapshotDir, Spill,
    SpillInTransaction, Statements,
};

/// Everything the program needs to know, validated.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// `[pgbouncer]`.
    pub general: General,
    /// `[plimsoll]`.
    pub own: Own,
    /// `[databases]`, in the order of the file, without the `*` line.
    pub databases: Vec<Database>,
    /// The `*` line.
    pub auto_database: Option<Database>,
    /// `[users]`.
    pub users: BTreeMap<String, UserSettings>,
    /// Secrets of auth_file: user to secret as written.
    pub logins: BTreeMap<String, Secret>,
    /// Things worth a WARNING in the log: keys that are accepted and mean nothing here, timers longer than a
    /// balancer's 350 s, unreadable auth_file lines.
    pub warnings: Vec<String>,
    /// Every `[pgbouncer]` key with its text, in the order of `SHOW CONFIG`.
    pub shown: Vec<Shown>,
    /// Where in the files keys of `[pgbouncer]` and `[plimsoll]` are set: value and place (`file:line`).
    pub set_at: BTreeMap<&'static str, SetAt>,
    /// The keys of both that the console's SET has changed since the files were read.
    pub set_live: BTreeSet<&'static str>,
    /// The `[pgbouncer]` keys that the files really had: what [`crate::carry`] must not overwrite.
    pub explicit: BTreeSet<&'static str>,
    /// `[peers]`, by their id.
    pub peers: BTreeMap<u16, Peer>,
    /// `[targets]`, in the order of host and port.
    pub targets: Vec<TargetLine>,
    /// `[issuers]`, in the order of their names.
    pub issuers: Vec<IssuerLine>,
    /// The line of each key, database, user, target and issuer.
    pub places: Places,
}

impl Plan {
    /// Where a key of `[pgbouncer]` or `[plimsoll]` is set; `None`: nowhere, its default counts.
    pub fn place_of(&self, section: &str, key: &str) -> Option<&Place> {
        self.places.of(section, key)
    }

    /// The line that makes a database: its own, or that of `*`.
    pub fn place_of_database(&self, name: &str) -> Option<&Place> {
        let own = self.places.find(Section::Databases, name);
        own.or_else(|| self.places.find(Section::Databases, "*"))
    }

    /// The line of a user of `[users]`.
    pub fn place_of_user(&self, name: &str) -> Option<&Place> {
        self.places.find(Section::Users, name)
    }

    /// The line of a target of `[targets]`.
    pub fn place_of_target(&self, target: &TargetLine) -> Option<&Place> {
        self.places.find(Section::Targets, &target.to_string())
    }

    /// The line of an issuer of `[issuers]`.
    pub fn place_of_issuer(&self, name: &str) -> Option<&Place> {
        self.places.find(Section::Issuers, name)
    }

    /// The line of `[targets]` that names this host of a database in so many words.
    pub fn target_line(&self, host: &Host) -> Option<&TargetLine> {
        self.targets.iter().find(|line| line.names(host))
    }

    /// The weight of the pool of a database and a role: the user's word, else the database's, else 1.
    pub fn weight(&self, database: &Database, role: &str) -> u32 {
        self.users.get(role).and_then(|user| user.weight).or(database.weight).unwrap_or(1)
    }

    /// The guaranteed places of the pool of a database and a role: the user's word, else the database's, else none.
    pub fn guaranteed_pool_size(&self, database: &Database, role: &str) -> u32 {
        let own = self.users.get(role).and_then(|user| user.guaranteed_pool_size);
        own.or(database.guaranteed_pool_size).unwrap_or(0)
    }

    /// Where the secret comes from that a role logs in at a server with: the user's word, else the database's (a
    /// `password=` is one, too), else the target's. `database` is `None` for `control_user`, who is of no database.
    pub fn credential(
        &self,
        database: Option<&Database>,
        role: &str,
        target: Option<&TargetLine>,
    ) -> CredentialSource {
        let own = self.users.get(role).and_then(|user| user.credential.as_ref());
        let of_line = database.and_then(|database| match (&database.credential, &database.password) {
            (Some(source), _) => Some(source),
            (None, Some(_)) => Some(&CredentialSource::Static),
            (None, None) => None,
        });
        let of_target = || target.and_then(|line| line.credential.as_ref());
        own.or(of_line).or_else(of_target).cloned().unwrap_or_default()
    }

    /// Where results of a database go that this login user does not read: the user's word, else the database's, else
    /// the global one.
    pub fn spill(&self, database: &Database, login: &str) -> Spill {
        let own = self.users.get(login).and_then(|user| user.spill);
        own.or(database.spill).unwrap_or(self.own.spill)
    }

    /// Whether any client's results may go into a temporary file.
    pub fn spills_to_disk(&self) -> bool {
        let databases =
            self.databases.iter().chain(&self.auto_database).filter_map(|database| database.spill);
        let users = self.users.values().filter_map(|user| user.spill);
        databases.chain(users).chain([self.own.spill]).any(|spill| spill == Spill::Disk)
    }
}

/// Where a key is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAt {
    /// The value as written; secrets are in no such key.
    pub value: String,
    /// `file:line`.
    pub place: String,
}

/// A line of `SHOW CONFIG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// Its value as text; `None` is NULL.
    pub value: Option<String>,
    /// Its default; `None` is NULL.
    pub default: Option<&'static str>,
    /// Whether RELOAD and SET change it.
    pub changeable: bool,
}

/// `auth_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthType {
    /// Anybody; needs a forced user.
    Any,
    /// Anybody listed.
    Trust,
    /// Clear text.
    Plain,
    /// MD5 (or SCRAM where the secret is one).
    #[default]
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// By the certificate the client shows.
    Cert,
    /// As auth_hba_file says.
    Hba,
    /// By an LDAP server, as `auth_ldap_options` says.
    Ldap,
    /// By PAM.
    Pam,
    /// By the key of an application, as the password (`identity_store`).
    Key,
    /// By a signed token, as the password.
    Jwt,
    /// By a signed token, over SASL OAUTHBEARER.
    OAuth,
}

impl AuthType {
    /// The word of the ini file.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthType::Any => "any",
            AuthType::Trust => "trust",
            AuthType::Plain => "plain",
            AuthType::Md5 => "md5",
            AuthType::Scram => "scram-sha-256",
            AuthType::Cert => "cert",
            AuthType::Hba => "hba",
            AuthType::Ldap => "ldap",
            AuthType::Pam => "pam",
            AuthType::Key => "key",
            AuthType::Jwt => "jwt",
            AuthType::OAuth => "oauth",
        }
    }
}

/// The `*_tls_*` keys of one side, as written; what they mean is judged where TLS is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`.
    pub mode: SslMode,
    /// `ca_file`.
    pub ca_file: Option<PathBuf>,
    /// `cert_file`.
    pub cert_file: Option<PathBuf>,
    /// `key_file`.
    pub key_file: Option<PathBuf>,
    /// `protocols`.
    pub protocols: String,
    /// `ciphers`.
    pub ciphers: String,
    /// `tls13_ciphers` (the key is written `client_tls13_ciphers`).
    pub tls13_ciphers: Option<String>,
    /// `ecdhcurve`; towards clients only.
    pub ecdhcurve: String,
    /// `dheparams`; towards clients only.
    pub dheparams: String,
}

impl Tls {
    /// The usual settings with this mode.
    pub fn new(mode: SslMode) -> Tls {
        Tls {
            mode,
            ca_file: None,
            cert_file: None,
            key_file: None,
            protocols: "secure".to_string(),
            ciphers: "default".to_string(),
            tls13_ciphers: None,
            ecdhcurve: "auto".to_string(),
            dheparams: "auto".to_string(),
        }
    }
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKeys {
    /// `log_connections`.
    pub connections: bool,
    /// `log_disconnections`.
    pub disconnections: bool,
    /// `log_pooler_errors`.
    pub pooler_errors: bool,
    /// `log_stats`.
    pub stats: bool,
    /// `verbose`.
    pub verbose: u32,
}

impl Default for LogKeys {
    fn default() -> LogKeys {
        LogKeys { connections: true, disconnections: true, pooler_errors: true, stats: true, verbose: 0 }
    }
}

/// Options of sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// `tcp_keepalive`.
    pub keepalive: bool,
    /// `tcp_keepcnt`; 0 is not set: see [`Tcp::keepalive_of`].
    pub keepcnt: u32,
    /// `tcp_keepidle`, seconds; 0 likewise.
    pub keepidle: u32,
    /// `tcp_keepintvl`, seconds; 0 likewise.
    pub keepintvl: u32,
    /// `tcp_user_timeout`, milliseconds; 0 leaves the system's.
    pub user_timeout: u32,
    /// `tcp_socket_buffer`, bytes; 0 leaves the system's.
    pub socket_buffer: u32,
    /// `tcp_defer_accept`, seconds; 0 is off.
    pub defer_accept: u32,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp {
            keepalive: true,
            keepcnt: 0,
            keepidle: 0,
            keepintvl: 0,
            user_timeout: 0,
            socket_buffer: 0,
            defer_accept: 1,
        }
    }
}

/// How host names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// `dns_max_ttl`.
    pub max_ttl: Duration,
    /// `dns_nxdomain_ttl`.
    pub nxdomain_ttl: Duration,
    /// `dns_zone_check_period`; zero is off.
    pub zone_check_period: Duration,
    /// `resolv_conf`; `None` is the system's.
    pub resolv_conf: Option<PathBuf>,
}

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            max_ttl: Duration::from_secs(15),
            nxdomain_ttl: Duration::from_secs(15),
            zone_check_period: Duration::ZERO,
            resolv_conf: None,
        }
    }
}

/// The system's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// `syslog`.
    pub on: bool,
    /// `syslog_facility`.
    pub facility: String,
    /// `syslog_ident`.
    pub ident: String,
}

impl Default for Syslog {
    fn default() -> Syslog {
        Syslog { on: false, facility: "daemon".to_string(), ident: "pgbouncer".to_string() }
    }
}

/// `[pgbouncer]`, typed. Durations of zero mean "off" as in PgBouncer, unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct General {
    /// `listen_addr`, split at commas; `*` stands for all. Empty: no TCP.
    pub listen_addr: Vec<String>,
    /// `listen_port`.
    pub listen_port: u16,
    /// `listen_backlog`.
    pub listen_backlog: u32,
    /// `so_reuseport`.
    pub so_reuseport: bool,
    /// `peer_id`: which of the poolers behind one address we are; 0: there is one.
    pub peer_id: u16,
    /// `unix_socket_dir`; `None` when empty.
    pub unix_socket_dir: Option<PathBuf>,
    /// `unix_socket_mode`.
    pub unix_socket_mode: u32,
    /// `unix_socket_group`.
    pub unix_socket_group: String,
    /// `logfile`.
    pub logfile: Option<PathBuf>,
    /// `pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `user` to switch to after start as root.
    pub user: Option<String>,
    /// `auth_type`.
    pub auth_type: AuthType,
    /// `auth_file`.
    pub auth_file: Option<PathBuf>,
    /// `auth_hba_file`.
    pub auth_hba_file: Option<PathBuf>,
    /// `auth_ident_file`.
    pub auth_ident_file: Option<PathBuf>,
    /// `auth_ldap_options`: how LDAP servers are asked with `auth_type = ldap`.
    pub auth_ldap_options: Option<HiddenText>,
    /// `auth_query`.
    pub auth_query: String,
    /// `auth_user`.
    pub auth_user: Option<String>,
    /// `auth_dbname`.
    pub auth_dbname: Option<String>,
    /// `client_tls_*`.
    pub client_tls: Tls,
    /// `server_tls_*`.
    pub server_tls: Tls,
    /// `admin_users`.
    pub admin_users: Vec<String>,
    /// `stats_users`.
    pub stats_users: Vec<String>,
    /// `pool_mode`.
    pub pool_mode: PoolMode,
    /// `max_client_conn`.
    pub max_client_conn: u32,
    /// `default_pool_size`.
    pub default_pool_size: u32,
    /// `min_pool_size`.
    pub min_pool_size: u32,
    /// `reserve_pool_size`.
    pub reserve_pool_size: u32,
    /// `reserve_pool_timeout`.
    pub reserve_pool_timeout: Duration,
    /// `max_db_connections`; 0 is no limit.
    pub max_db_connections: u32,
    /// `max_user_connections`; 0 is no limit.
    pub max_user_connections: u32,
    /// `max_db_client_connections`; 0 is no limit.
    pub max_db_client_connections: u32,
    /// `max_user_client_connections`; 0 is no limit.
    pub max_user_client_connections: u32,
    /// `server_round_robin`.
    pub server_round_robin: bool,
    /// `track_extra_parameters`, names as written.
    pub track_extra_parameters: Vec<String>,
    /// `ignore_startup_parameters`.
    pub ignore_startup_parameters: Vec<String>,
    /// `application_name_add_host`.
    pub application_name_add_host: bool,
    /// `max_prepared_statements`; 0 switches the tracking off.
    pub max_prepared_statements: u32,
    /// `max_packet_size`, bytes.
    pub max_packet_size: u32,
    /// `scram_iterations`.
    pub scram_iterations: u32,
    /// `server_reset_query`; empty is none.
    pub server_reset_query: String,
    /// `server_reset_query_always`.
    pub server_reset_query_always: bool,
    /// `server_check_query`; `None` (`<empty>`) is a Query with an empty text, `Some("")` is no check at all.
    pub server_check_query: Option<String>,
    /// `server_check_delay`; zero checks before every hand-out.
    pub server_check_delay: Duration,
    /// `server_lifetime`; zero closes on release.
    pub server_lifetime: Duration,
    /// `server_idle_timeout`.
    pub server_idle_timeout: Duration,
    /// `server_connect_timeout`.
    pub server_connect_timeout: Duration,
    /// `server_login_retry`.
    pub server_login_retry: Duration,
    /// `server_fast_close`.
    pub server_fast_close: bool,
    /// `client_login_timeout`.
    pub client_login_timeout: Duration,
    /// `client_idle_timeout`.
    pub client_idle_timeout: Duration,
    /// `query_timeout`.
    pub query_timeout: Duration,
    /// `query_wait_timeout`.
    pub query_wait_timeout: Duration,
    /// `query_wait_notify`, seconds.
    pub query_wait_notify: Duration,
    /// `cancel_wait_timeout`.
    pub cancel_wait_timeout: Duration,
    /// `idle_transaction_timeout`.
    pub idle_transaction_timeout: Duration,
    /// `transaction_timeout`.
    pub transaction_timeout: Duration,
    /// `pool_idle_timeout`.
    pub pool_idle_timeout: Duration,
    /// `autodb_idle_timeout`.
    pub autodb_idle_timeout: Duration,
    /// `suspend_timeout`.
    pub suspend_timeout: Duration,
    /// `stats_period`.
    pub stats_period: Duration,
    /// `log_*`.
    pub log: LogKeys,
    /// `tcp_*`.
    pub tcp: Tcp,
    /// `dns_*`, `resolv_conf`.
    pub dns: Dns,
    /// `syslog`, `syslog_*`.
    pub syslog: Syslog,
    /// `login_notify_message`.
    pub login_notify_message: String,
}

/// A host of a `host=` list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, with its port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The folder of a Unix socket, with its port (`.s.PGSQL.PORT`).
    Unix {
        /// The folder.
        dir: PathBuf,
        /// Port.
        port: u16,
    },
}

/// `load_balance_hosts`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalance {
    /// Each new connection goes to the next host.
    #[default]
    RoundRobin,
    /// Stay on one host until it fails.
    Disable,
}

/// A line of `[databases]`.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// The name clients ask for; `*` for the auto-database.
    pub name: String,
    /// `host=` as written, for `SHOW DATABASES`; `None` when the line has none.
    pub host: Option<String>,
    /// `host=` with `port=`, never empty in a loaded plan: without `host=` it is the folder of `unix_socket_dir`.
    pub hosts: Vec<Host>,
    /// `load_balance_hosts`.
    pub load_balance: Option<LoadBalance>,
    /// `dbname=`; `None`: the name itself.
    pub dbname: Option<String>,
    /// `user=`: the forced user.
    pub user: Option<String>,
    /// `password=`.
    pub password: Option<Secret>,
    /// `auth_user=`.
    pub auth_user: Option<String>,
    /// `auth_query=`.
    pub auth_query: Option<String>,
    /// `auth_dbname=`.
    pub auth_dbname: Option<String>,
    /// `pool_mode=`.
    pub pool_mode: Option<PoolMode>,
    /// `pool_size=`.
    pub pool_size: Option<u32>,
    /// `min_pool_size=`.
    pub min_pool_size: Option<u32>,
    /// `reserve_pool_size=`.
    pub reserve_pool_size: Option<u32>,
    /// `max_db_connections=`.
    pub max_db_connections: Option<u32>,
    /// `max_db_client_connections=`.
    pub max_db_client_connections: Option<u32>,
    /// `server_lifetime=`.
    pub server_lifetime: Option<Duration>,
    /// `query_wait_timeout=`.
    pub query_wait_timeout: Option<Duration>,
    /// `connect_query=`.
    pub connect_query: Option<String>,
    /// `weight=` (default 1): the share of a server's budget, beside other pools.
    pub weight: Option<u32>,
    /// `guaranteed_pool_size=` (default 0): places that no other pool takes away.
    pub guaranteed_pool_size: Option<u32>,
    /// `spill=`: where results go that their clients do not read.
    pub spill: Option<Spill>,
    /// `leak_warn_after=` and the others: what is done about connections that are kept and not used.
    pub leak: LeakKeys,
    /// `credential=`: where the secret of server logins comes from.
    pub credential: Option<CredentialSource>,
    /// `session_not_after=`: whether a server connection ends with its credential.
    pub session_not_after: Option<SessionNotAfter>,
    /// `client_encoding=`, `datestyle=`, `timezone=`, `application_name=` to start with: (name, value).
    pub startup: Vec<(String, String)>,
}

/// A line of `[users]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSettings {
    /// `pool_mode=`.
    pub pool_mode: Option<PoolMode>,
    /// `pool_size=`.
    pub pool_size: Option<u32>,
    /// `reserve_pool_size=`.
    pub reserve_pool_size: Option<u32>,
    /// `max_user_connections=`.
    pub max_user_connections: Option<u32>,
    /// `max_user_client_connections=`.
    pub max_user_client_connections: Option<u32>,
    /// `query_timeout=`.
    pub query_timeout: Option<Duration>,
    /// `query_wait_timeout=`.
    pub query_wait_timeout: Option<Duration>,
    /// `idle_transaction_timeout=`.
    pub idle_transaction_timeout: Option<Duration>,
    /// `transaction_timeout=`.
    pub transaction_timeout: Option<Duration>,
    /// `client_idle_timeout=`.
    pub client_idle_timeout: Option<Duration>,
    /// `weight=`: as a database's, and before it.
    pub weight: Option<u32>,
    /// `guaranteed_pool_size=`: as a database's, and before it.
    pub guaranteed_pool_size: Option<u32>,
    /// `spill=`: as a database's, and before it.
    pub spill: Option<Spill>,
    /// `leak_warn_after=` and the others: as a database's, and before it, key by key.
    pub leak: LeakKeys,
    /// `credential=`: as a database's, and before it, for server logins as this role.
    pub credential: Option<CredentialSource>,
}

/// What a reload has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new database.
    DatabaseAdded(String),
    /// A database left the file: its clients and servers go.
    DatabaseRemoved(String),
    /// Where or as whom a database connects changed: its servers are closed when they come back.
    DatabaseReconnect(String),
    /// Only limits or modes of a database changed.
    DatabaseLimits(String),
    /// A new issuer: its tokens are taken from now on.
    IssuerAdded(String),
    /// An issuer left the file: its tokens are taken no more, and who came by them goes.
    IssuerRemoved(String),
    /// What an issuer's tokens have to be, or for whom they speak, changed.
    IssuerChanged(String),
    /// Settings, users or secrets changed.
    Settings,
    /// Keys that only a restart changes; they keep their old value.
    NeedsRestart(&'static str),
}

impl Default for General {
    /// PgBouncer's defaults; the same as in the table of keys, which a test compares.
    fn default() -> General {
        General {
            listen_addr: Vec::new(),
            listen_port: 6432,
            listen_backlog: 128,
            so_reuseport: false,
            peer_id: 0,
            unix_socket_dir: Some(PathBuf::from("/tmp")),
            unix_socket_mode: 0o777,
            unix_socket_group: String::new(),
            logfile: None,
            pidfile: None,
            user: None,
            auth_type: AuthType::Md5,
            auth_file: None,
            auth_hba_file: None,
            auth_ident_file: None,
            auth_ldap_options: None,
            auth_query: crate::keys::AUTH_QUERY.to_string(),
            auth_user: None,
            auth_dbname: None,
            client_tls: Tls::new(SslMode::Disable),
            server_tls: Tls::new(SslMode::Prefer),
            admin_users: Vec::new(),
            stats_users: Vec::new(),
            pool_mode: PoolMode::Session,
            max_client_conn: 100,
            default_pool_size: 20,
            min_pool_size: 0,
            reserve_pool_size: 0,
            reserve_pool_timeout: Duration::from_secs(5),
            max_db_connections: 0,
            max_user_connections: 0,
            max_db_client_connections: 0,
            max_user_client_connections: 0,
            server_round_robin: false,
            track_extra_parameters: vec!["IntervalStyle".to_string()],
            ignore_startup_parameters: Vec::new(),
            application_name_add_host: false,
            max_prepared_statements: 200,
            max_packet_size: 2_147_483_647,
            scram_iterations: 4096,
            server_reset_query: "DISCARD ALL".to_string(),
            server_reset_query_always: false,
            server_check_query: None,
            server_check_delay: Duration::from_secs(30),
            server_lifetime: Duration::from_secs(3600),
            server_idle_timeout: Duration::from_secs(600),
            server_connect_timeout: Duration::from_secs(15),
            server_login_retry: Duration::from_secs(15),
            server_fast_close: false,
            client_login_timeout: Duration::from_secs(60),
            client_idle_timeout: Duration::ZERO,
            query_timeout: Duration::ZERO,
            query_wait_timeout: Duration::from_secs(120),
            query_wait_notify: Duration::from_secs(5),
            cancel_wait_timeout: Duration::from_secs(10),
            idle_transaction_timeout: Duration::ZERO,
            transaction_timeout: Duration::ZERO,
            pool_idle_timeout: Duration::ZERO,
            autodb_idle_timeout: Duration::from_secs(3600),
            suspend_timeout: Duration::from_secs(10),
            stats_period: Duration::from_secs(60),
            log: LogKeys::default(),
            tcp: Tcp::default(),
            dns: Dns::default(),
            syslog: Syslog::default(),
            login_notify_message: String::new(),
        }
    }
}
