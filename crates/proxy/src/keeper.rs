//! The seam to identities: who says whether a key or a token is good, and what is remembered of whom it is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use plimsoll_auth::Bearer;
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

/// Why a proof is not good.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What the client is told.
    pub cause: Cause,
    /// What the log says besides.
    pub log: Option<String>,
}

/// What comes of a proof.
pub type Proving = Pin<Box<dyn Future<Output = Result<Arc<Proved>, Refused>> + Send>>;

/// Knows identities. Called on the workers: nothing in it may block.
pub trait Keeper: Send + Sync {
    /// Whether a client may enter, and as whom.
    fn admit(&self, proof: Proof) -> Proving;

    /// Where tokens are to be had: the URL of the issuer's metadata.
    fn discovery(&self) -> Option<String>;
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
    /// Who it is.
    pub proved: Arc<Proved>,
}

/// How many clients are here by each grant.
#[derive(Default)]
pub(crate) struct Census {
    by_grant: Arc<Mutex<Map<Arc<str>, u32>>>,
}

impl Census {
    /// Counts one more.
    ///
    /// # Errors
    /// There are as many as its grant allows.
    pub(crate) fn enter(&self, proved: Arc<Proved>) -> Result<Counted, Cause> {
        let mut by_grant = self.by_grant.lock();
        let clients = by_grant.get(&proved.grant_id).copied().unwrap_or(0);
        if let Some(max) = proved.limits.clients
            && clients >= max
        {
            return Err(Cause::GrantClients { name: proved.name.as_ref().into(), max });
        }
        by_grant.insert(proved.grant_id.clone(), clients + 1);
        drop(by_grant);
        Ok(Counted { proved, by_grant: self.by_grant.clone() })
    }

    /// Counts one that has been let in by another process.
    pub(crate) fn enter_again(&self, proved: Arc<Proved>) -> Counted {
        *self.by_grant.lock().entry(proved.grant_id.clone()).or_insert(0) += 1;
        Counted { proved, by_grant: self.by_grant.clone() }
    }

    /// How many there are, by grant.
    pub(crate) fn counts(&self) -> HashMap<Arc<str>, u32> {
        self.by_grant.lock().iter().map(|(grant, clients)| (grant.clone(), *clients)).collect()
    }
}

/// A client that is counted; dropped, it counts itself out.
pub(crate) struct Counted {
    /// Who it is.
    pub(crate) proved: Arc<Proved>,
    by_grant: Arc<Mutex<Map<Arc<str>, u32>>>,
}

impl std::fmt::Debug for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.proved.fmt(f)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut by_grant = self.by_grant.lock();
        if let Some(clients) = by_grant.get_mut(&self.proved.grant_id) {
            *clients -= 1;
            if *clients == 0 {
                by_grant.remove(&self.proved.grant_id);
            }
        }
    }
}
