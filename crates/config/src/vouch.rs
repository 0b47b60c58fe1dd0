//! The keys of `[plimsoll]` about LDAP and PAM: how long they are asked, and how often at once.

use std::path::PathBuf;
use std::time::Duration;

use plimsoll_types::is_pam_service;

use crate::table::Fault;

/// What the name of a service looks like.
pub(crate) const SERVICE_EXPECTED: &str = "the name of a file in /etc/pam.d";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VouchKeys {
    /// `ldap_ca_file` (default: the system's): who signs the certificates of LDAP servers.
    pub ldap_ca_file: Option<PathBuf>,
    /// `ldap_timeout` (default 10 s): the longest that a check by LDAP may take.
    pub ldap_timeout: Option<Duration>,
    /// `ldap_connections` (default 16): most checks at once by the same LDAP servers.
    pub ldap_connections: Option<u32>,
    /// `pam_service` (default `pgbouncer`): the file in `/etc/pam.d`.
    pub pam_service: Option<String>,
    /// `pam_timeout` (default 15 s): the longest that a client waits for PAM.
    pub pam_timeout: Option<Duration>,
    /// `pam_threads` (default 4): most checks by PAM at once.
    pub pam_threads: Option<u32>,
}

impl VouchKeys {
    /// `ldap_timeout` in force.
    pub fn ldap_timeout(&self) -> Duration {
        self.ldap_timeout.unwrap_or(Duration::from_secs(10))
    }

    /// `ldap_connections` in force.
    pub fn ldap_connections(&self) -> u32 {
        self.ldap_connections.unwrap_or(16)
    }

    /// `pam_service` in force: PgBouncer's name, unless another is set.
    pub fn pam_service(&self) -> &str {
        self.pam_service.as_deref().unwrap_or("pgbouncer")
    }

    /// `pam_timeout` in force.
    pub fn pam_timeout(&self) -> Duration {
        self.pam_timeout.unwrap_or(Duration::from_secs(15))
    }

    /// `pam_threads` in force.
    pub fn pam_threads(&self) -> u32 {
        self.pam_threads.unwrap_or(4)
    }
}

/// A value of `pam_service`.
pub(crate) fn service(text: &str) -> Result<String, Fault> {
    if is_pam_service(text) { Ok(text.to_string()) } else { Err(Fault::Invalid(SERVICE_EXPECTED)) }
}
