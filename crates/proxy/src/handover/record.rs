//! What is sent: one record for each thing, plain values only.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use plimsoll_auth::{ScramKeys, Stored, Verifier};
use plimsoll_session::{Bytes, LinkImage, SessionImage, SharedImage};
use plimsoll_types::Secret;
use serde::{Deserialize, Serialize};

use crate::directory::Learnt;
use crate::entry::{Peer, TargetAddr};
use crate::keeper::{GrantLimits, Proved};
use crate::replication::Kind;

/// Most records of one kind: more descriptors no process has.
pub(super) const RECORDS_MAX: u32 = 1 << 22;

/// The first word of both sides.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// `plimsoll restart`.
    pub(super) what: String,
    pub(super) version: u32,
    /// For the log.
    pub(super) program: String,
    pub(super) pid: u32,
}

/// What the old process answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// So many listening sockets follow.
    Welcome {
        hello: Hello,
        listeners: u32,
        /// Where the monotonic clock stood at moment 0, nanoseconds.
        zero_ns: u64,
    },
    /// Not now, or not with this one; why.
    Refused(String),
}

/// What the new process says when it has prepared everything, or cannot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Prepared {
    /// The process that will go on.
    Ready {
        pid: u32,
        /// Where its pid file is, if it has one.
        #[serde(default)]
        pidfile: Option<PathBuf>,
    },
    Failed(String),
}

/// What a listening socket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ListenerImage {
    /// Clients over TCP.
    Tcp(SocketAddr),
    /// Clients over a Unix socket, by the port in its name.
    Unix { path: PathBuf, port: u16 },
    /// `/metrics` and its like.
    Http(SocketAddr),
    /// Where the next process asks.
    Door(PathBuf),
}

/// What is known of all, and how much follows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) next_client: u64,
    pub(super) next_server: u64,
    pub(super) holds: u64,
    pub(super) paused: Paused,
    pub(super) disabled: Vec<String>,
    /// Host names and what they resolve to.
    pub(super) names: Vec<(String, Vec<IpAddr>)>,
    /// How many places each target was last known to have.
    pub(super) targets: Vec<(Address, Option<u32>)>,
    pub(super) caps: Vec<Cap>,
    pub(super) totals: Vec<(String, Vec<u64>)>,
    pub(super) shared: SharedImage,
    pub(super) pools: u32,
    pub(super) servers: u32,
    pub(super) clients: u32,
    pub(super) fresh: u32,
    pub(super) consoles: u32,
    pub(super) left: u32,
}

/// PAUSE.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Paused {
    pub(super) all: bool,
    pub(super) databases: Vec<String>,
}

/// A temporary cap.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cap {
    pub(super) of: CapOf,
    pub(super) max: u32,
    pub(super) until: Option<u64>,
    pub(super) by: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum CapOf {
    Application(String),
    Host(String),
    Grant(String),
}

/// One end of a connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum End {
    Tcp(SocketAddr),
    Unix { pid: u32, port: u16 },
}

impl From<&Peer> for End {
    fn from(peer: &Peer) -> End {
        match peer {
            Peer::Tcp(address) => End::Tcp(*address),
            Peer::Unix { pid, port } => End::Unix { pid: *pid, port: *port },
        }
    }
}

impl From<End> for Peer {
    fn from(end: End) -> Peer {
        match end {
            End::Tcp(address) => Peer::Tcp(address),
            End::Unix { pid, port } => Peer::Unix { pid, port },
        }
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf, u16),
}

impl From<&TargetAddr> for Address {
    fn from(address: &TargetAddr) -> Address {
        match address {
            TargetAddr::Tcp(address) => Address::Tcp(*address),
            TargetAddr::Unix(path, port) => Address::Unix(path.clone(), *port),
        }
    }
}

impl From<Address> for TargetAddr {
    fn from(address: Address) -> TargetAddr {
        match address {
            Address::Tcp(address) => TargetAddr::Tcp(address),
            Address::Unix(path, port) => TargetAddr::Unix(path, port),
        }
    }
}

/// Which pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PoolName {
    pub(super) database: String,
    pub(super) role: String,
    pub(super) purpose: What,
}

/// What a pool is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    Clients,
    AuthQuery,
    Control(Address),
    Replication,
}

/// A pool.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PoolImage {
    pub(super) name: PoolName,
    /// What new clients are told.
    pub(super) welcome: Option<(u32, Bytes)>,
    pub(super) keys: Option<(Hidden, Hidden)>,
    pub(super) secret: Option<LearntImage>,
}

/// Bytes that are not shown.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Hidden(Bytes);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden(***)")
    }
}

impl From<&Secret> for Hidden {
    fn from(secret: &Secret) -> Hidden {
        Hidden(secret.expose().into())
    }
}

impl From<Hidden> for Secret {
    fn from(hidden: Hidden) -> Secret {
        Secret::new(hidden.0.0)
    }
}

/// [`Stored`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StoredImage {
    Plain(Hidden),
    Md5(Hidden),
    Scram { iterations: u32, salt: Bytes, stored_key: Hidden, server_key: Hidden },
}

impl From<&Stored> for StoredImage {
    fn from(stored: &Stored) -> StoredImage {
        match stored {
            Stored::Plain(secret) => StoredImage::Plain(secret.into()),
            Stored::Md5(secret) => StoredImage::Md5(secret.into()),
            Stored::Scram(Verifier { iterations, salt, stored_key, server_key }) => StoredImage::Scram {
                iterations: *iterations,
                salt: Bytes(salt.clone()),
                stored_key: stored_key.into(),
                server_key: server_key.into(),
            },
        }
    }
}

impl From<StoredImage> for Stored {
    fn from(image: StoredImage) -> Stored {
        match image {
            StoredImage::Plain(secret) => Stored::Plain(secret.into()),
            StoredImage::Md5(secret) => Stored::Md5(secret.into()),
            StoredImage::Scram { iterations, salt, stored_key, server_key } => Stored::Scram(Verifier {
                iterations,
                salt: salt.0,
                stored_key: stored_key.into(),
                server_key: server_key.into(),
            }),
        }
    }
}

/// [`Learnt`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum LearntImage {
    Asked(StoredImage),
    Vouched(StoredImage),
}

impl From<&Learnt> for LearntImage {
    fn from(learnt: &Learnt) -> LearntImage {
        match learnt {
            Learnt::Asked(stored) => LearntImage::Asked(stored.into()),
            Learnt::Vouched(stored) => LearntImage::Vouched(stored.into()),
        }
    }
}

impl From<LearntImage> for Learnt {
    fn from(image: LearntImage) -> Learnt {
        match image {
            LearntImage::Asked(stored) => Learnt::Asked(stored.into()),
            LearntImage::Vouched(stored) => Learnt::Vouched(stored.into()),
        }
    }
}

/// What a replication connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Replicates {
    Logical,
    Physical,
}

impl From<Kind> for Replicates {
    fn from(kind: Kind) -> Replicates {
        match kind {
            Kind::Logical => Replicates::Logical,
            Kind::Physical => Replicates::Physical,
        }
    }
}

impl From<Replicates> for Kind {
    fn from(image: Replicates) -> Kind {
        match image {
            Replicates::Logical => Kind::Logical,
            Replicates::Physical => Kind::Physical,
        }
    }
}

/// The keys of a SCRAM login.
pub(super) fn keys_of((client_key, server_key): (Hidden, Hidden)) -> ScramKeys {
    ScramKeys { client_key: client_key.into(), server_key: server_key.into() }
}

/// A server connection; its descriptor comes along.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServerImage {
    /// Which of the pools, in their order.
    pub(super) pool: u32,
    pub(super) target: Address,
    pub(super) local: End,
    /// How the console knows it.
    pub(super) serial: u64,
    pub(super) opened: u64,
    pub(super) used: u64,
    pub(super) close_needed: bool,
    pub(super) reserve: bool,
    /// Whether the old process copies its bytes.
    pub(super) carried: bool,
    /// BackendKeyData.
    pub(super) key: Bytes,
    pub(super) tls: Option<String>,
    /// Which of a provider's secrets it logged in with, and when that ends.
    pub(super) term: Option<(u64, Option<u64>)>,
    pub(super) link: LinkImage,
    pub(super) input: Bytes,
    pub(super) output: Bytes,
    pub(super) held: Option<HeldImage>,
    pub(super) replication: Option<Replicates>,
}

/// Who has a server connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeldImage {
    pub(super) client: u64,
    pub(super) hold: u64,
    pub(super) asked: u64,
    pub(super) granted: u64,
    /// How the client pools, whatever the new configuration says: until it gives the connection back.
    pub(super) rules: Rules,
    /// The first statement of the hold and the last one, for the ledger.
    pub(super) said: Vec<(Bytes, u64)>,
}

/// See [`HeldImage::rules`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Rules {
    pub(super) mode: Mode,
    pub(super) prepared_max: u32,
    pub(super) clean: Clean,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Mode {
    Session,
    Transaction,
    Statement,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Clean {
    Always,
    AfterSession,
    Never,
}

/// A client; its descriptor comes along.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClientImage {
    pub(super) id: u64,
    pub(super) key: Bytes,
    pub(super) user: String,
    pub(super) database: String,
    /// Which of the pools, in their order.
    pub(super) pool: u32,
    pub(super) peer: End,
    pub(super) local: End,
    pub(super) tls: Option<(String, Option<String>)>,
    pub(super) carried: bool,
    pub(super) credential: u64,
    pub(super) proved: Option<ProvedImage>,
    pub(super) connected: u64,
    pub(super) requested: u64,
    pub(super) uses: u64,
    pub(super) doing: Doing,
    pub(super) session: SessionImage,
    /// Bytes of the client that are kept.
    pub(super) input: Bytes,
    pub(super) wanted: u64,
    /// Bytes for the client that its socket has not taken.
    pub(super) output: Bytes,
    pub(super) replication: Option<Replicates>,
    /// It was told to go and has not heard of it.
    #[serde(default)]
    pub(super) killed: bool,
}

/// What a client's bytes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Doing {
    Open,
    Waiting { since: u64, told: bool },
    Settling,
    Busy,
}

/// A socket that has been accepted and of which nothing is known; its descriptor comes along.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FreshImage {
    pub(super) id: u64,
    pub(super) peer: End,
    pub(super) peer_uid: Option<u32>,
    pub(super) local: End,
    pub(super) at: u64,
    /// What it has said.
    pub(super) heard: Bytes,
}

/// A client of the console; its descriptor comes along.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConsoleImage {
    pub(super) id: u64,
    pub(super) key: Bytes,
    pub(super) user: String,
    pub(super) peer: End,
    pub(super) local: End,
    pub(super) admin: bool,
    pub(super) connected: u64,
    pub(super) input: Bytes,
}

/// A server connection that the old process ends.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LeftImage {
    pub(super) pool: u32,
    pub(super) target: Address,
    pub(super) opened: u64,
}

/// What the old process says when everything has been taken from it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Afterwards {
    /// Server connection number so, of those that were left, has ended.
    Ended(u32),
}

/// [`Proved`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProvedImage {
    organisation: String,
    organisation_id: String,
    name: String,
    subject_id: String,
    key_id: Option<String>,
    token_id: Option<String>,
    issuer: Option<String>,
    client_id: Option<String>,
    dataset_id: String,
    grant_id: String,
    role: String,
    until: Option<SystemTime>,
    clients: Option<u32>,
    holds: Option<u32>,
    statement: Option<Duration>,
    hold: Option<Duration>,
    weight: Option<u32>,
}

impl From<&Proved> for ProvedImage {
    fn from(proved: &Proved) -> ProvedImage {
        let text = |text: &std::sync::Arc<str>| text.to_string();
        let maybe = |text: &Option<std::sync::Arc<str>>| text.as_ref().map(|text| text.to_string());
        let GrantLimits { clients, holds, statement, hold, weight } = proved.limits;
        ProvedImage {
            organisation: text(&proved.organisation),
            organisation_id: text(&proved.organisation_id),
            name: text(&proved.name),
            subject_id: text(&proved.subject_id),
            key_id: maybe(&proved.key_id),
            token_id: maybe(&proved.token_id),
            issuer: maybe(&proved.issuer),
            client_id: maybe(&proved.client_id),
            dataset_id: text(&proved.dataset_id),
            grant_id: text(&proved.grant_id),
            role: text(&proved.role),
            until: proved.until,
            clients,
            holds,
            statement,
            hold,
            weight,
        }
    }
}

impl From<ProvedImage> for Proved {
    fn from(image: ProvedImage) -> Proved {
        let ProvedImage { clients, holds, statement, hold, weight, .. } = image;
        Proved {
            organisation: image.organisation.into(),
            organisation_id: image.organisation_id.into(),
            name: image.name.into(),
            subject_id: image.subject_id.into(),
            key_id: image.key_id.map(Into::into),
            token_id: image.token_id.map(Into::into),
            issuer: image.issuer.map(Into::into),
            // What a token said is not handed over: see `plimsoll_admin::Identities`.
            kept: None,
            client_id: image.client_id.map(Into::into),
            dataset_id: image.dataset_id.into(),
            grant_id: image.grant_id.into(),
            role: image.role.into(),
            until: image.until,
            limits: GrantLimits { clients, holds, statement, hold, weight },
        }
    }
}
