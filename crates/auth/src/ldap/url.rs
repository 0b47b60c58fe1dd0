//! `ldapurl`: `ldap[s]://host[:port]/basedn[?attributes[?scope[?filter[?extensions]]]]` (RFC 4516).

use std::net::Ipv6Addr;

use super::LdapScope;
use super::escape::unescaped;
use super::options::LdapFault;

/// What a URL says; what it does not say is `None`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LdapUrl {
    pub(super) is_ldaps: bool,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) base: Option<String>,
    /// The first one; more are of no use.
    pub(super) attribute: Option<String>,
    pub(super) scope: LdapScope,
    pub(super) filter: Option<String>,
}

impl LdapUrl {
    pub(super) fn parse(text: &str) -> Result<LdapUrl, LdapFault> {
        let fault = |why: &str| LdapFault::new(format!("could not parse LDAP URL: {why}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault("ldap:// is expected"))?;
        let is_ldaps = match scheme.to_ascii_lowercase().as_str() {
            "ldap" => false,
            "ldaps" => true,
            _ => return Err(LdapFault::new("unsupported LDAP URL scheme: ldap or ldaps is expected")),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => (&rest[..at], rest[at..].strip_prefix('/').unwrap_or(&rest[at..])),
            None => (rest, ""),
        };
        let (host, port) = authority_of(authority).map_err(&fault)?;
        let mut parts = path.splitn(5, '?');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let text_of = |part: Option<&str>| part.map(decoded).transpose().map_err(&fault);
        let base = text_of(part())?;
        let attribute = text_of(part().and_then(|names| names.split(',').next()))?;
        let scope = match part().map(str::to_ascii_lowercase).as_deref() {
            // As PostgreSQL and PgBouncer have it: base unless the URL says more.
            None | Some("base") => LdapScope::Base,
            Some("one" | "onelevel") => LdapScope::One,
            Some("sub" | "subtree") => LdapScope::Sub,
            Some(_) => return Err(fault("the scope is base, one or sub")),
        };
        let filter = text_of(part())?;
        if part().is_some_and(|extensions| extensions.split(',').any(|one| one.starts_with('!'))) {
            return Err(fault("it has a critical extension, and there is none that is known"));
        }
        let attribute = attribute.filter(|name| !name.is_empty());
        Ok(LdapUrl { is_ldaps, host, port, base, attribute, scope, filter })
    }
}

/// Host and port; an address of IPv6 stands in brackets.
fn authority_of(text: &str) -> Result<(Option<String>, Option<u16>), &'static str> {
    if text.contains('@') {
        return Err("an LDAP URL has no user: use ldapbinddn and ldapbindpasswd");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (address, behind) =
                inside.split_once(']').ok_or("the bracket of the address is not closed")?;
            address.parse::<Ipv6Addr>().map_err(|_| "no address stands in the brackets")?;
            let port = match behind {
                "" => None,
                behind => Some(behind.strip_prefix(':').ok_or("only a port stands behind an address")?),
            };
            (address.to_string(), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (decoded(host)?, Some(port)),
            None => (decoded(text)?, None),
        },
    };
    let port = match port.filter(|port| !port.is_empty()) {
        None => None,
        Some(port) => {
            let port = port.parse::<u16>().ok().filter(|port| *port != 0);
            Some(port.ok_or("the port is 1 to 65535")?)
        }
    };
    Ok((Some(host).filter(|host| !host.is_empty()), port))
}

/// Without percent signs.
fn decoded(text: &str) -> Result<String, &'static str> {
    let bytes = unescaped(text, '%').ok_or("two hexadecimal digits belong behind a %")?;
    if bytes.contains(&0) {
        return Err("it has a zero byte in it");
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8")
}
