//! Others who know whether a client's password is good: LDAP servers and PAM.
//!
//! | module | part |
//! |---|---|
//! | `gate` | how many are asked at once, and how many may wait for that |
//! | `ldap` | one check by LDAP: who is asked, the connection, TLS; the dialogue itself is `auth`'s |
//! | `pam` | one check by PAM, on a thread of its own; the library is loaded with the first one |
//!
//! Checks by LDAP run on one thread, which begins with the first of them; workers only wait for answers. Nothing here
//! knows what a pool is.

mod gate;
mod ldap;
mod outcome;
mod pam;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_auth::ldap::LdapOptions;
use plimsoll_types::{Cause, Secret};
use rustls::ClientConfig;

/// What a client says of itself.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Who it says it is.
    pub user: Arc<str>,
    /// What it gave as its password.
    pub password: Secret,
    /// Where it is; `None` for a Unix socket.
    pub from: Option<IpAddr>,
}

/// Who is asked, and how long and how often at most.
#[derive(Clone, Debug)]
pub enum Authority {
    /// LDAP servers.
    Ldap(ByLdap),
    /// PAM.
    Pam(ByPam),
}

/// See [`Authority::Ldap`].
#[derive(Clone, Debug)]
pub struct ByLdap {
    /// Whom and what.
    pub options: Arc<LdapOptions>,
    /// How TLS is done, where the options ask for it.
    pub tls: Option<Arc<ClientConfig>>,
    /// Instead of the system's `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
    /// The longest that a check may take, waiting for its turn included.
    pub time_max: Duration,
    /// Most checks at once by the same servers.
    pub at_once_max: u32,
}

/// See [`Authority::Pam`].
#[derive(Clone, Debug)]
pub struct ByPam {
    /// The name of the file in `/etc/pam.d`.
    pub service: Arc<str>,
    /// The longest that a client waits for a check, waiting for its turn included. The check itself cannot be ended.
    pub time_max: Duration,
    /// Most checks at once: each has a thread.
    pub at_once_max: u32,
}

/// Why a client is not let in.
#[derive(Clone, Debug)]
pub struct No {
    /// What it is told.
    pub cause: Cause,
    /// What the log says besides.
    pub log: String,
}

/// Asks whoever knows.
#[derive(Debug, Default)]
pub struct Vouchers {
    ldap: ldap::Desk,
    pam: pam::Desk,
}

impl Vouchers {
    /// Nothing runs before somebody asks.
    pub fn new() -> Vouchers {
        Vouchers::default()
    }

    /// Whether a password is good. Ends within the time of the authority. Cancel safe: a check by LDAP ends with it, a
    /// check by PAM goes on, keeps its place and is forgotten.
    ///
    /// # Errors
    /// It is not, or nobody can tell.
    pub async fn check(&self, authority: Authority, claim: Claim) -> Result<(), No> {
        match authority {
            Authority::Ldap(by) => self.ldap.check(by, claim).await,
            Authority::Pam(by) => self.pam.check(by, claim).await,
        }
    }
}
