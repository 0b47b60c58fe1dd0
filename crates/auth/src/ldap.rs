//! LDAP: the options as `auth_ldap_options` and HBA lines write them, and the dialogue in which a server says whether a
//! password is good. No sockets here.
//!
//! | module | part |
//! |---|---|
//! | `options` | from the text of the options to [`LdapOptions`] |
//! | `url` | `ldapurl` |
//! | `filter` | `ldapsearchfilter`; a user's name is put into it after it has been understood |
//! | `escape` | bytes that are written as two digits |
//! | `name` | what a user's name becomes in a distinguished name |
//! | `request` | what is sent |
//! | `dialogue` | who says what when |
//!
//! Sources: PostgreSQL manual, "LDAP Authentication"; PgBouncer's manual, `auth_ldap_options`; RFC 4511 (protocol),
//! 4513 (binds), 4514 (names), 4515 (filters), 4516 (URLs).

use plimsoll_types::Secret;

mod dialogue;
mod escape;
mod filter;
mod name;
mod options;
mod request;
#[cfg(test)]
mod tests;
mod url;

pub use dialogue::{LDAP_MESSAGE_BYTES_MAX, LdapCheck, LdapProblem, LdapStep, ldap_message_bytes};
pub use filter::LdapFilter;
pub use options::LdapFault;

/// How LDAP servers are asked. Nothing shows the password in it.
#[derive(Clone, Debug)]
pub struct LdapOptions {
    /// Who is asked.
    pub servers: LdapServers,
    /// Whether others can read what is said.
    pub transport: LdapTransport,
    /// What is asked.
    pub mode: LdapMode,
}

/// Who is asked: the first that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LdapServers {
    /// `ldapserver` or the host of `ldapurl`.
    Named(Vec<LdapServer>),
    /// No server is named: those that DNS has for the domain of `ldapbasedn` (SRV records of `_ldap._tcp`).
    OfDomain(String),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapServer {
    /// A name, or an address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Whether others can read what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapTransport {
    /// They can.
    Plain,
    /// `ldaptls = 1`: TLS begins inside LDAP (RFC 4511, 4.14).
    StartTls,
    /// `ldapscheme = ldaps`: LDAP inside TLS.
    Ldaps,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum LdapMode {
    /// A bind as `ldapprefix`, the user's name, `ldapsuffix`.
    Bind {
        /// What comes before the name.
        prefix: String,
        /// What comes behind it.
        suffix: String,
    },
    /// A search for the user, then a bind as what was found.
    Search(LdapSearch),
}

/// How a user is searched for.
#[derive(Clone, Debug)]
pub struct LdapSearch {
    /// `ldapbasedn`: where.
    pub base: String,
    /// How far down from there.
    pub scope: LdapScope,
    /// `ldapbinddn`: who searches; empty: nobody in particular.
    pub bind_dn: String,
    /// `ldapbindpasswd`.
    pub bind_password: Secret,
    /// What must hold for the user's entry.
    pub filter: LdapFilter,
}

/// How far down a search goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LdapScope {
    /// The entry itself.
    Base,
    /// What is right below it.
    One,
    /// It and everything below it.
    Sub,
}

impl LdapServers {
    /// Whether it is certain that nobody but this machine is asked.
    pub fn are_near(&self) -> bool {
        match self {
            LdapServers::Named(servers) => servers.iter().all(LdapServer::is_near),
            LdapServers::OfDomain(_) => false,
        }
    }
}

impl LdapServer {
    fn is_near(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        address.map_or_else(
            |_| self.host.eq_ignore_ascii_case("localhost"),
            |address| address.to_canonical().is_loopback(),
        )
    }
}

impl std::fmt::Display for LdapServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Display for LdapServers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LdapServers::Named(servers) => {
                for (at, server) in servers.iter().enumerate() {
                    let space = if at == 0 { "" } else { " " };
                    write!(f, "{space}{server}")?;
                }
                Ok(())
            }
            LdapServers::OfDomain(domain) => write!(f, "_ldap._tcp.{domain}"),
        }
    }
}

impl LdapTransport {
    /// The port of a server for which none is written.
    pub fn usual_port(self) -> u16 {
        match self {
            LdapTransport::Plain | LdapTransport::StartTls => 389,
            LdapTransport::Ldaps => 636,
        }
    }

    /// Whether others cannot read what is said.
    pub fn is_private(self) -> bool {
        match self {
            LdapTransport::Plain => false,
            LdapTransport::StartTls | LdapTransport::Ldaps => true,
        }
    }
}
