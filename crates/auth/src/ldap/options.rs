//! From the text of the options to what they mean. Nothing of a text is repeated in a message but names of options and
//! what cannot be a password.

use std::net::IpAddr;

use plimsoll_types::Secret;

use super::filter::LdapFilter;
use super::url::LdapUrl;
use super::{LdapMode, LdapOptions, LdapScope, LdapSearch, LdapServer, LdapServers, LdapTransport};

/// Longest text of options, bytes.
pub(super) const LDAP_OPTIONS_BYTES_MAX: usize = 16 << 10;

/// Most servers of one text.
const SERVERS_MAX: usize = 16;

/// The attribute that holds a user's name, unless another is given.
const USUAL_ATTRIBUTE: &str = "uid";

/// Why a text of options is none. Never has a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LdapFault(pub(super) String);

impl LdapFault {
    pub(super) fn new(words: impl Into<String>) -> LdapFault {
        LdapFault(words.into())
    }
}

/// What has been written so far; of two that say the same thing the later one counts.
#[derive(Default)]
struct Written {
    is_ldaps: bool,
    is_tls: bool,
    hosts: Option<String>,
    port: Option<u16>,
    base: Option<String>,
    bind_dn: Option<String>,
    bind_password: Option<Secret>,
    attribute: Option<String>,
    filter: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
    scope: Option<LdapScope>,
}

impl LdapOptions {
    /// Reads the options: `name=value` with blanks or commas between them, values with blanks in double quotes.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<LdapOptions, LdapFault> {
        if text.len() > LDAP_OPTIONS_BYTES_MAX {
            return Err(LdapFault::new(format!("options are longer than {LDAP_OPTIONS_BYTES_MAX} bytes")));
        }
        let mut written = Written::default();
        let mut pairs = Pairs { rest: text, count: 0 };
        while let Some((name, value)) = pairs.next()? {
            written.take(&name, value)?;
        }
        written.judge()
    }
}

impl Written {
    fn take(&mut self, name: &str, value: String) -> Result<(), LdapFault> {
        match name {
            "ldaptls" => self.is_tls = switch(name, &value)?,
            "ldapscheme" => self.is_ldaps = scheme(&value)?,
            "ldapport" => self.port = Some(port(&value)?),
            "ldapserver" => self.hosts = Some(value),
            "ldapbasedn" => self.base = Some(value),
            "ldapbinddn" => self.bind_dn = Some(value),
            "ldapbindpasswd" => self.bind_password = Some(Secret::new(value.into_bytes())),
            "ldapsearchattribute" => self.attribute = Some(value),
            "ldapsearchfilter" => self.filter = Some(value),
            "ldapprefix" => self.prefix = Some(value),
            "ldapsuffix" => self.suffix = Some(value),
            "ldapurl" => self.take_url(LdapUrl::parse(&value)?),
            name if is_name_of_kind(name) => {
                return Err(LdapFault::new(format!("invalid LDAP key parameter: \"{name}\"")));
            }
            _ => return Err(LdapFault::new("invalid LDAP key parameter (is a value with blanks quoted?)")),
        }
        Ok(())
    }

    fn take_url(&mut self, url: LdapUrl) {
        self.is_ldaps = url.is_ldaps;
        self.port = url.port;
        self.hosts = url.host.or(self.hosts.take());
        self.base = url.base.or(self.base.take());
        self.attribute = url.attribute.or(self.attribute.take());
        self.filter = url.filter.or(self.filter.take());
        self.scope = Some(url.scope);
    }

    /// What goes together and what does not, in the words of PostgreSQL and PgBouncer.
    fn judge(self) -> Result<LdapOptions, LdapFault> {
        let nothing = || {
            LdapFault::new(
                "authentication method \"ldap\" requires argument \"ldapbasedn\", \"ldapprefix\", or \"ldapsuffix\" to be set",
            )
        };
        if self.prefix.is_none() && self.suffix.is_none() && self.base.is_none() {
            return Err(nothing());
        }
        let transport = match (self.is_ldaps, self.is_tls) {
            (true, true) => {
                return Err(LdapFault::new(
                    "cannot use ldaptls=1 together with ldapscheme=ldaps: TLS begins once",
                ));
            }
            (true, false) => LdapTransport::Ldaps,
            (false, true) => LdapTransport::StartTls,
            (false, false) => LdapTransport::Plain,
        };
        let port = self.port.unwrap_or(transport.usual_port());
        let hosts = self.hosts.unwrap_or_default();
        let servers = match hosts.split(' ').any(|host| !host.is_empty()) {
            true => LdapServers::Named(servers(&hosts, port)?),
            false => LdapServers::OfDomain(domain_of(self.base.as_deref())?),
        };
        let searches = self.base.is_some()
            || self.bind_dn.is_some()
            || self.bind_password.is_some()
            || self.attribute.is_some()
            || self.filter.is_some();
        let mode = match (self.prefix, self.suffix, self.base) {
            (None, None, None) => return Err(nothing()),
            (Some(_), _, _) | (_, Some(_), _) if searches => {
                return Err(LdapFault::new(
                    "cannot use ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter, or \
                     ldapurl together with ldapprefix",
                ));
            }
            (None, None, Some(base)) => LdapMode::Search(LdapSearch {
                base,
                scope: self.scope.unwrap_or(LdapScope::Sub),
                bind_dn: self.bind_dn.unwrap_or_default(),
                bind_password: self.bind_password.unwrap_or_default(),
                filter: filter(self.attribute, self.filter)?,
            }),
            (prefix, suffix, _) => {
                LdapMode::Bind { prefix: prefix.unwrap_or_default(), suffix: suffix.unwrap_or_default() }
            }
        };
        Ok(LdapOptions { servers, transport, mode })
    }
}

fn filter(attribute: Option<String>, filter: Option<String>) -> Result<LdapFilter, LdapFault> {
    match (attribute, filter) {
        (Some(_), Some(_)) => {
            Err(LdapFault::new("cannot use ldapsearchattribute together with ldapsearchfilter"))
        }
        (None, Some(text)) => LdapFilter::parse(&text),
        (attribute, None) => LdapFilter::user_is(attribute.as_deref().unwrap_or(USUAL_ATTRIBUTE)),
    }
}

/// PostgreSQL takes 1 for yes and everything else for no. What is neither is a mistake here: it would leave passwords
/// in the open.
fn switch(name: &str, value: &str) -> Result<bool, LdapFault> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(LdapFault::new(format!("invalid {name} value: 0 or 1 is expected"))),
    }
}

fn scheme(value: &str) -> Result<bool, LdapFault> {
    match value {
        "ldap" => Ok(false),
        "ldaps" => Ok(true),
        _ => Err(LdapFault::new("invalid ldapscheme value: ldap or ldaps is expected")),
    }
}

fn port(value: &str) -> Result<u16, LdapFault> {
    let port = value.parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| LdapFault::new("invalid LDAP port number: 1 to 65535 is expected"))
}

/// Hosts with blanks between them.
fn servers(hosts: &str, port: u16) -> Result<Vec<LdapServer>, LdapFault> {
    let mut servers = Vec::new();
    for host in hosts.split(' ').filter(|host| !host.is_empty()) {
        if servers.len() == SERVERS_MAX {
            return Err(LdapFault::new(format!("ldapserver has more than {SERVERS_MAX} servers")));
        }
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_address = inner.parse::<IpAddr>().is_ok();
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if !is_address && !host.chars().all(is_name) {
            let words = "ldapserver is a list of names and addresses with blanks between them; the port belongs into \
                         ldapport";
            return Err(LdapFault::new(words));
        }
        servers.push(LdapServer { host: inner.to_string(), port });
    }
    Ok(servers)
}

/// `ou=people,dc=example,dc=org` is of `example.org`: the last `dc` one upon another, as OpenLDAP takes them.
fn domain_of(base: Option<&str>) -> Result<String, LdapFault> {
    let base = base.ok_or_else(|| LdapFault::new("LDAP server not specified, and no ldapbasedn"))?;
    let mut labels = Vec::new();
    for part in base.rsplit(',') {
        let Some((name, label)) = part.split_once('=') else { break };
        let is_label = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let label = label.trim();
        if !name.trim().eq_ignore_ascii_case("dc") || label.is_empty() || !label.chars().all(is_label) {
            break;
        }
        labels.push(label);
    }
    if labels.is_empty() {
        return Err(LdapFault::new(
            "no ldapserver, and ldapbasedn does not end in the dc= of a domain to look up",
        ));
    }
    labels.reverse();
    Ok(labels.join("."))
}

/// Whether a name is so much like one of an option that it can be repeated in a message.
fn is_name_of_kind(name: &str) -> bool {
    name.starts_with("ldap") && name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// `name=value`, one after the other.
struct Pairs<'a> {
    rest: &'a str,
    count: usize,
}

impl Pairs<'_> {
    fn next(&mut self) -> Result<Option<(String, String)>, LdapFault> {
        let rest = self.rest.trim_start_matches(is_space);
        let rest = rest.strip_prefix(',').unwrap_or(rest).trim_start_matches(is_space);
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(None);
        }
        self.count += 1;
        let broken = |why: &str| Err(LdapFault::new(format!("option {}: {why}", self.count)));
        let (name, rest) = match rest.strip_prefix('"') {
            Some(inside) => match unquoted(inside) {
                Some(pair) => pair,
                None => return broken("quote is not closed"),
            },
            None => {
                let end = rest.find(|letter| letter == '=' || is_space(letter)).unwrap_or(rest.len());
                (rest[..end].to_string(), &rest[end..])
            }
        };
        let Some(rest) = rest.strip_prefix('=') else {
            return broken("name=value is expected; a value with blanks in it belongs into double quotes");
        };
        let (value, rest) = match rest.strip_prefix('"') {
            Some(inside) => match unquoted(inside) {
                Some(pair) => pair,
                None => return broken("quote is not closed"),
            },
            None => {
                let end = rest.find(|letter| letter == ',' || is_space(letter)).unwrap_or(rest.len());
                (rest[..end].to_string(), &rest[end..])
            }
        };
        if name.is_empty() || value.is_empty() {
            return broken(
                "name=value is expected, without blanks around the = and with something on both sides",
            );
        }
        if !(rest.is_empty() || rest.starts_with(is_space) || rest.starts_with(',')) {
            return broken("something stands right behind the closing quote");
        }
        self.rest = rest;
        Ok(Some((name, value)))
    }
}

/// What stands before the closing quote (`""` is one), and what behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut inside = String::new();
    let mut rest = text;
    loop {
        let (part, behind) = rest.split_once('"')?;
        inside.push_str(part);
        match behind.strip_prefix('"') {
            Some(behind) => {
                inside.push('"');
                rest = behind;
            }
            None => return Some((inside, behind)),
        }
    }
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}
