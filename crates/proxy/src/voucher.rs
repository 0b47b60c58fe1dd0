//! The seam to others who know whether a client's password is good: LDAP servers and PAM.

use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_auth::ldap::LdapOptions;
use plimsoll_types::{Cause, Secret};
use rustls::ClientConfig;

use crate::keeper::Refused;

/// What a client says of itself, and who is asked about it.
pub struct Claim {
    /// Who is asked.
    pub authority: Authority,
    /// Who the client says it is.
    pub user: Arc<str>,
    /// What it gave as its password. Nothing is known of it but its length, at most that of a login message, and that
    /// it is not empty.
    pub password: Secret,
    /// Where it is; `None` for a Unix socket.
    pub from: Option<IpAddr>,
    /// The longest that it may wait.
    pub time_max: Duration,
    /// Most who are asked about at once.
    pub at_once_max: u32,
}

/// Who is asked.
pub enum Authority {
    /// LDAP servers.
    Ldap {
        /// Whom and what.
        options: Arc<LdapOptions>,
        /// How TLS is done, where the options ask for it.
        tls: Option<Arc<ClientConfig>>,
        /// Instead of the system's `/etc/resolv.conf`.
        resolv_conf: Option<PathBuf>,
    },
    /// PAM.
    Pam {
        /// The name of the file in `/etc/pam.d`.
        service: Arc<str>,
    },
}

/// What comes of it.
pub type Vouching = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>>;

/// Knows whether passwords are good. Called on the workers: nothing in it may block.
pub trait Voucher: Send + Sync {
    /// Whether this one is. Ends by itself; dropped, the claim is forgotten.
    fn check(&self, claim: Claim) -> Vouching;
}

/// Knows nothing: nobody gets in by LDAP or PAM.
pub struct NoVoucher;

impl Voucher for NoVoucher {
    fn check(&self, _claim: Claim) -> Vouching {
        let log = Some("there is nobody who could be asked about passwords".to_string());
        Box::pin(std::future::ready(Err(Refused { cause: Cause::NoAuthMethod, log })))
    }
}
