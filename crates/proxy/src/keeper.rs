//! The seam to identities: who says whether a key or a token is good, and what is remembered of whom it is.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use plimsoll_auth::{Bearer, Discovery};
use plimsoll_pool::{Class, USUAL_WEIGHT, WEIGHT_MAX};
use plimsoll_session::Settings;
use plimsoll_types::{Cause, Secret};

use crate::map::Map;

/// What a client hands over to be let in.
pub struct Proof {
    /// What it is.
    pub bearer: Bearer,
    /// The key or token. Nothing is known of it but its length, at most that of a login message.
    pub secret: Secret,
    /// The database asked for.
    pub database: Arc<str>,
    /// The user named in the startup packet.
    pub user: Arc<str>,
    /// Where the client is; `None` for a Unix socket.
    pub from: Option<IpAddr>,
}

/// Limits of a grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GrantLimits {
    /// Client connections at once.
    pub clients: Option<u32>,
    /// Server connections held at once.
    pub holds: Option<u32>,
    /// Longest statement.
    pub statement: Option<Duration>,
    /// Longest transaction.
    pub hold: Option<Duration>,
    /// How many hand-outs of a queue it gets beside others; `None`: as many as who has no grant.
    pub weight: Option<u32>,
}

impl GrantLimits {
    /// Whether it limits how long something may last.
    pub(crate) fn is_timed(&self) -> bool {
        self.statement.is_some() || self.hold.is_some()
    }

    /// The usual settings, and no more than this allows.
    pub(crate) fn within(&self, usual: &Settings) -> Settings {
        let least = |usual: Duration, limit: Option<Duration>| match (usual, limit) {
            (usual, None) => usual,
            (Duration::ZERO, Some(limit)) => limit,
            (usual, Some(limit)) => usual.min(limit),
        };
        Settings {
            query_timeout: least(usual.query_timeout, self.statement),
            transaction_timeout: least(usual.transaction_timeout, self.hold),
            ..usual.clone()
        }
    }
}

/// Who somebody has proved to be, and by which right it is here. Nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Name of the organisation.
    pub organisation: Arc<str>,
    /// Id of the organisation.
    pub organisation_id: Arc<str>,
    /// Name of the application or login of the person.
    pub name: Arc<str>,
    /// Id of the application or person.
    pub subject_id: Arc<str>,
    /// The key that was used, or that the token was had for.
    pub key_id: Option<Arc<str>>,
    /// The number of the token (`jti`).
    pub token_id: Option<Arc<str>>,
    /// What people call the issuer of the token; `None`: it was a key, or a token of our own.
    pub issuer: Option<Arc<str>>,
    /// What the keeper wants to have at hand when it looks at this session again.
    pub kept: Option<Kept>,
    /// The application that a person's token was issued to.
    pub client_id: Option<Arc<str>>,
    /// Id of the data set.
    pub dataset_id: Arc<str>,
    /// Id of the grant.
    pub grant_id: Arc<str>,
    /// The login role at the server.
    pub role: Arc<str>,
    /// When it ends by itself.
    pub until: Option<SystemTime>,
    /// Limits of the grant.
    pub limits: GrantLimits,
}

/// Something of the keeper's own that stays with a session. Nobody else looks inside.
#[derive(Clone)]
pub struct Kept(Arc<dyn Any + Send + Sync>);

impl Kept {
    /// Keeps this.
    pub fn new<T: Any + Send + Sync>(what: Arc<T>) -> Kept {
        Kept(what)
    }

    /// What was kept, if it is of that type.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.0).downcast().ok()
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kept")
    }
}

impl PartialEq for Kept {
    /// The very same.
    fn eq(&self, other: &Kept) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Kept {}

/// Why a proof is not good.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What the client is told.
    pub cause: Cause,
    /// What the log says besides.
    pub log: Option<String>,
}

/// A certificate that a client has shown in its handshake, where it was verified.
pub struct ShownCertificate {
    /// Its SHA-256 in hexadecimal digits.
    pub sha256: String,
    /// When it ends by itself.
    pub ends: Option<SystemTime>,
    /// The database asked for.
    pub database: Arc<str>,
    /// The user named in the startup packet.
    pub user: Arc<str>,
    /// Where the client is; `None` for a Unix socket.
    pub from: Option<IpAddr>,
}

/// Why nobody gets in by a certificate: then it is asked for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotByCertificate {
    /// It is nobody's credential.
    Unknown,
    /// It is somebody's, but does not do; why is for the log.
    Refused(String),
}

/// What comes of a certificate.
pub type Recognising = Pin<Box<dyn Future<Output = Result<Arc<Proved>, NotByCertificate>> + Send>>;

/// What comes of a proof.
pub type Proving = Pin<Box<dyn Future<Output = Result<Arc<Proved>, Refused>> + Send>>;

/// Knows identities. Called on the workers: nothing in it may block.
pub trait Keeper: Send + Sync {
    /// Whether a client may enter, and as whom.
    fn admit(&self, proof: Proof) -> Proving;

    /// Whether a client may enter by its certificate, and as whom.
    fn recognise(&self, shown: ShownCertificate) -> Recognising;

    /// Where tokens are to be had.
    fn discovery(&self) -> Option<Discovery>;
}

/// A session by a proved identity, seen from outside.
#[derive(Clone, Debug)]
pub struct ProvedView {
    /// Its client.
    pub client: u64,
    /// The database asked for.
    pub database: Arc<str>,
    /// Where it comes from.
    pub host: String,
    /// How long ago it connected.
    pub connected_for: Duration,
    /// Whether it holds a server connection.
    pub is_holding: bool,
    /// Whether it waits for one.
    pub is_waiting: bool,
    /// What its grant weighs in a queue.
    pub weight: u32,
    /// Who it is.
    pub proved: Arc<Proved>,
}

/// Who is here by each grant.
#[derive(Default)]
pub(crate) struct Census {
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    by_grant: Map<Arc<str>, Here>,
    /// How many grants have had a number.
    numbers: u64,
}

/// The clients of a grant.
struct Here {
    clients: u32,
    stake: Arc<Stake>,
}

/// What the clients of a grant have of a queue together.
#[derive(Debug)]
pub(crate) struct Stake {
    class: Class,
    /// As the grant said when somebody came by it last.
    weight: AtomicU32,
}

impl Stake {
    /// Whose turns they take, and its weight.
    pub(crate) fn read(&self) -> (Class, u32) {
        (self.class, self.weight.load(Ordering::Relaxed))
    }
}

impl Book {
    /// One more is here.
    fn count(&mut self, proved: &Proved) -> Arc<Stake> {
        let weight = proved.limits.weight.unwrap_or(USUAL_WEIGHT).clamp(USUAL_WEIGHT, WEIGHT_MAX);
        let numbers = &mut self.numbers;
        let here = self.by_grant.entry(proved.grant_id.clone()).or_insert_with(|| {
            *numbers += 1;
            let stake = Stake { class: Class::Grant(*numbers), weight: AtomicU32::new(weight) };
            Here { clients: 0, stake: Arc::new(stake) }
        });
        here.clients += 1;
        here.stake.weight.store(weight, Ordering::Relaxed);
        here.stake.clone()
    }
}

impl Census {
    /// Counts one more.
    ///
    /// # Errors
    /// There are as many as its grant allows.
    pub(crate) fn enter(&self, proved: Arc<Proved>) -> Result<Counted, Cause> {
        let mut book = self.book.lock();
        let clients = book.by_grant.get(&proved.grant_id).map_or(0, |here| here.clients);
        if let Some(max) = proved.limits.clients
            && clients >= max
        {
            return Err(Cause::GrantClients { name: proved.name.as_ref().into(), max });
        }
        let stake = book.count(&proved);
        Ok(Counted { proved, stake, book: self.book.clone() })
    }

    /// Counts one that has been let in by another process.
    pub(crate) fn enter_again(&self, proved: Arc<Proved>) -> Counted {
        let stake = self.book.lock().count(&proved);
        Counted { proved, stake, book: self.book.clone() }
    }

    /// Whether somebody is here by a grant.
    pub(crate) fn has(&self, grant: &str) -> bool {
        self.book.lock().by_grant.contains_key(grant)
    }

    /// The grants behind classes.
    pub(crate) fn classes(&self) -> BTreeMap<Class, Arc<str>> {
        let book = self.book.lock();
        book.by_grant.iter().map(|(grant, here)| (here.stake.class, grant.clone())).collect()
    }
}

/// A client that is counted; dropped, it counts itself out.
pub(crate) struct Counted {
    /// Who it is.
    pub(crate) proved: Arc<Proved>,
    /// What it has of a queue, together with all who are here by the same grant.
    pub(crate) stake: Arc<Stake>,
    book: Arc<Mutex<Book>>,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.proved.fmt(f)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut book = self.book.lock();
        if let Some(here) = book.by_grant.get_mut(&self.proved.grant_id) {
            here.clients -= 1;
            if here.clients == 0 {
                book.by_grant.remove(&self.proved.grant_id);
            }
        }
    }
}
