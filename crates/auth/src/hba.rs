//! HBA files (`auth_hba_file`): who is asked to prove himself how, by the way he came, his address, the database and
//! the user he asks for.
//!
//! Sources: PgBouncer's manual, "HBA file format"; PostgreSQL manual, "The pg_hba.conf File".

use std::net::IpAddr;
use std::sync::Arc;

use plimsoll_types::is_pam_service;

use crate::bearer::Bearer;
use crate::client_login::Method;
use crate::hba::address::Net;
use crate::hba::names::{Column, Names, NamesReader};
use crate::ident::IdentMaps;
use crate::ldap::LdapOptions;
use crate::lines::{Effect, LineFault, RULES_BYTES_MAX, Token, Tokens, numbered, shown};

mod address;
mod names;
#[cfg(test)]
mod tests;

/// Reads a file of names (`@file`). A name that is not absolute is meant from the folder of the HBA file.
pub type ReadNames<'a> = dyn FnMut(&str) -> std::io::Result<String> + 'a;

/// The lines of an HBA file that hold.
#[derive(Clone, Debug, Default)]
pub struct Hba {
    rules: Vec<Rule>,
}

/// A line that holds.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What is asked for.
    pub method: HbaMethod,
    /// The ident map of `map=`. It is looked at for [`HbaMethod::Peer`] and [`HbaMethod::Cert`] only; PgBouncer lets
    /// it be written behind other methods, too.
    pub map: Option<Box<str>>,
    /// Its place in the file, from 1.
    pub line: u32,
    way: RuleWay,
    databases: Names,
    users: Names,
}

/// What a line asks for.
#[derive(Clone, Debug)]
pub enum HbaMethod {
    /// `trust`: nothing; the user must be listed.
    Trust,
    /// `reject`: nobody gets in.
    Reject,
    /// `md5`.
    Md5,
    /// `password`, in clear text.
    Password,
    /// `peer`: the system user at the other end of the Unix socket. No TCP connection has one.
    Peer,
    /// `cert`: a certificate of the client. Only a TLS connection has one.
    Cert,
    /// `scram-sha-256`.
    Scram,
    /// `ldap`, with the options on the rest of the line. `None`: they cannot be used, and nobody gets in by this line.
    Ldap(Option<Arc<LdapOptions>>),
    /// `pam`, and the service of `pamservice=`.
    Pam(Option<Arc<str>>),
    /// `key`, `jwt`, `oauth`: what stands for an application or a person.
    Bearer(Bearer),
}

impl HbaMethod {
    /// The dialogue in which the client proves himself; `None` where there is none, or none of ours.
    pub fn dialogue(&self) -> Option<Method> {
        match self {
            HbaMethod::Trust => Some(Method::Trust),
            HbaMethod::Md5 => Some(Method::Md5),
            HbaMethod::Password => Some(Method::Plain),
            HbaMethod::Scram => Some(Method::Scram),
            HbaMethod::Reject
            | HbaMethod::Peer
            | HbaMethod::Cert
            | HbaMethod::Ldap(_)
            | HbaMethod::Pam(_)
            | HbaMethod::Bearer(_) => None,
        }
    }
}

/// For which connections a line is.
#[derive(Clone, Copy, Debug)]
enum RuleWay {
    /// `local`: Unix sockets.
    Local,
    /// `host`, `hostssl`, `hostnossl`.
    Host(RuleTls, Net),
}

#[derive(Clone, Copy, Debug)]
enum RuleTls {
    Either,
    Only(Tls),
}

/// Who asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// How he came.
    pub way: Way,
    /// The database he asked for.
    pub database: &'a str,
    /// The user he says he is.
    pub user: &'a str,
    /// Whether he wants to replicate.
    pub replication: Replication,
}

/// How a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a Unix socket.
    Local,
    /// By TCP.
    Tcp {
        /// Its address; IPv4 may be written in IPv6.
        ip: IpAddr,
        /// Whether the connection is encrypted.
        tls: Tls,
    },
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// The startup parameter `replication` (PostgreSQL manual, "Streaming Replication Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// Absent or false.
    No,
    /// A true value: no database is entered; only the keyword `replication` means it.
    Physical,
    /// `database`: as any other connection to that database.
    Logical,
}

impl Hba {
    /// Reads an HBA file. Lines that cannot be read are left out, and said so in the order of the file.
    pub fn parse<'r>(text: &str, read: &'r mut ReadNames<'r>) -> (Hba, Vec<LineFault>) {
        let mut hba = Hba::default();
        let mut faults = Vec::new();
        if text.len() > RULES_BYTES_MAX {
            faults.push(fault(1, Effect::Skipped, &format!("file is longer than {RULES_BYTES_MAX} bytes")));
            return (hba, faults);
        }
        let mut names = NamesReader::new(read);
        for (line, text) in numbered(text) {
            names.begin_line();
            match rule(line, text, &mut names, &mut faults) {
                Ok(Some(rule)) => {
                    faults.extend(rule.warning());
                    hba.rules.push(rule);
                }
                Ok(None) => {}
                Err(why) => faults.push(fault(line, Effect::Skipped, &why)),
            }
        }
        (hba, faults)
    }

    /// Leaves out the lines whose `map=` is not in the ident file, as PgBouncer does when it loads both.
    pub fn retain_known_maps(&mut self, maps: &IdentMaps) -> Vec<LineFault> {
        let mut faults = Vec::new();
        self.rules.retain(|rule| match &rule.map {
            Some(map) if !maps.contains(map) => {
                let why = format!("Ident map {} is not found in ident config file", shown(map));
                faults.push(fault(rule.line, Effect::Skipped, &why));
                false
            }
            Some(_) | None => true,
        });
        faults
    }

    /// The first line that means this client. `None`: there is no such line, and nobody may enter.
    pub fn find(&self, asker: &Asker<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.means(asker))
    }

    /// The lines that hold, in their order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

impl Rule {
    /// Whether it is for clients on this machine only: by a Unix socket, or from a loopback address.
    pub fn is_near(&self) -> bool {
        match self.way {
            RuleWay::Local => true,
            RuleWay::Host(_, net) => net.is_loopback(),
        }
    }

    /// Whether it is for encrypted connections only.
    pub fn is_tls_only(&self) -> bool {
        match self.way {
            RuleWay::Host(RuleTls::Only(Tls::Yes), _) => true,
            RuleWay::Host(RuleTls::Only(Tls::No) | RuleTls::Either, _) | RuleWay::Local => false,
        }
    }

    fn means(&self, asker: &Asker<'_>) -> bool {
        if !self.way.means(asker.way) {
            return false;
        }
        let database = match asker.replication {
            Replication::Physical => self.databases.has_replication(),
            Replication::No | Replication::Logical => self.databases.has(asker.database, asker.user),
        };
        database && self.users.has(asker.user, asker.database)
    }

    /// What can be read but hardly is what was meant.
    fn warning(&self) -> Option<LineFault> {
        match self.way {
            RuleWay::Host(_, net) if net.has_bits_beyond_mask() => {
                Some(fault(self.line, Effect::Kept, &format!("address does not match mask: {net}")))
            }
            RuleWay::Host(..) | RuleWay::Local => None,
        }
    }
}

impl RuleWay {
    fn means(&self, way: Way) -> bool {
        match (self, way) {
            (RuleWay::Local, Way::Local) => true,
            (RuleWay::Host(RuleTls::Only(wanted), _), Way::Tcp { tls, .. }) if *wanted != tls => false,
            (RuleWay::Host(RuleTls::Either | RuleTls::Only(_), net), Way::Tcp { ip, .. }) => net.contains(ip),
            (RuleWay::Local, Way::Tcp { .. }) | (RuleWay::Host(..), Way::Local) => false,
        }
    }
}

fn fault(line: u32, effect: Effect, why: &str) -> LineFault {
    LineFault { line, message: format!("hba line {line}: {why}"), effect }
}

/// One line; `None` if there is nothing on it.
fn rule(
    line: u32,
    text: &str,
    names: &mut NamesReader<'_>,
    faults: &mut Vec<LineFault>,
) -> Result<Option<Rule>, String> {
    let mut tokens = Tokens::of(text);
    let tls = match *tokens.current() {
        Token::End => return Ok(None),
        Token::Word("local") => None,
        Token::Word("host") => Some(RuleTls::Either),
        Token::Word("hostssl") => Some(RuleTls::Only(Tls::Yes)),
        Token::Word("hostnossl") => Some(RuleTls::Only(Tls::No)),
        Token::Word(_) | Token::Quoted(_) | Token::Comma | Token::Unclosed => {
            return Err("unknown type".to_owned());
        }
    };
    tokens.take();
    let databases = names.column(&mut tokens, Column::Database)?;
    let users = names.column(&mut tokens, Column::User)?;
    let way = match tls {
        None => RuleWay::Local,
        Some(tls) => RuleWay::Host(tls, Net::read(&mut tokens)?),
    };
    let mut method = method(&mut tokens)?;
    let map = match &mut method {
        HbaMethod::Ldap(options) => {
            // The rest of the line has a grammar of its own. A line that says how to ask and cannot be understood still
            // says whom it is for: were it left out, a later line would let them in.
            *options = match LdapOptions::parse(tokens.rest()) {
                Ok(options) => Some(Arc::new(options)),
                Err(why) => {
                    faults.push(fault(line, Effect::Closed, &why.to_string()));
                    None
                }
            };
            None
        }
        HbaMethod::Pam(_) => {
            // Closed for the same reason. PgBouncer has no such method here that lines would have to be left out for.
            let (pam, map) = pam_options(&mut tokens).unwrap_or_else(|why| {
                faults.push(fault(line, Effect::Closed, &why));
                (HbaMethod::Reject, None)
            });
            method = pam;
            map
        }
        HbaMethod::Trust
        | HbaMethod::Reject
        | HbaMethod::Md5
        | HbaMethod::Password
        | HbaMethod::Peer
        | HbaMethod::Cert
        | HbaMethod::Scram
        | HbaMethod::Bearer(_) => option(&mut tokens)?,
    };
    Ok(Some(Rule { method, map, line, way, databases, users }))
}

fn method(tokens: &mut Tokens<'_>) -> Result<HbaMethod, String> {
    let method = match tokens.current() {
        Token::Word("trust") => HbaMethod::Trust,
        Token::Word("reject") => HbaMethod::Reject,
        Token::Word("md5") => HbaMethod::Md5,
        Token::Word("password") => HbaMethod::Password,
        Token::Word("peer") => HbaMethod::Peer,
        Token::Word("cert") => HbaMethod::Cert,
        Token::Word("scram-sha-256") => HbaMethod::Scram,
        // Its options are read by whoever reads the rest of the line.
        Token::Word("ldap") => return Ok(HbaMethod::Ldap(None)),
        Token::Word("pam") => HbaMethod::Pam(None),
        Token::Word("key") => HbaMethod::Bearer(Bearer::Key),
        Token::Word("jwt") => HbaMethod::Bearer(Bearer::Jwt),
        Token::Word("oauth") => HbaMethod::Bearer(Bearer::OAuth),
        Token::Word(other) => return Err(format!("unsupported method: buf={}", shown(other))),
        Token::Quoted(other) => return Err(format!("unsupported method: buf={}", shown(other))),
        Token::Comma | Token::Unclosed | Token::End => return Err("unsupported method: buf=".to_owned()),
    };
    tokens.take();
    Ok(method)
}

/// What may stand behind `pam`: `pamservice=name`, then `map=name`.
fn pam_options(tokens: &mut Tokens<'_>) -> Result<(HbaMethod, Option<Box<str>>), String> {
    Ok((HbaMethod::Pam(pam_service(tokens)?), option(tokens)?))
}

/// `pamservice=name`, if it stands there.
fn pam_service(tokens: &mut Tokens<'_>) -> Result<Option<Arc<str>>, String> {
    let Token::Word(word) = *tokens.current() else { return Ok(None) };
    let Some(service) = word.strip_prefix("pamservice=") else { return Ok(None) };
    if !is_pam_service(service) {
        return Err(format!("pamservice is the name of a file in /etc/pam.d, not {}", shown(service)));
    }
    tokens.take();
    Ok(Some(service.into()))
}

/// What may stand behind a method: `map=name`, and nothing behind that.
fn option(tokens: &mut Tokens<'_>) -> Result<Option<Box<str>>, String> {
    let map = match *tokens.current() {
        Token::End => return Ok(None),
        Token::Word(word) => match word.strip_prefix("map=") {
            Some(map) if !map.is_empty() => map,
            Some(_) | None => {
                let word = shown(word);
                return Err(format!("Ident map {word} is malformed. It is not in map=value format."));
            }
        },
        Token::Quoted(_) | Token::Comma | Token::Unclosed => return Err("unsupported parameters".to_owned()),
    };
    tokens.take();
    match tokens.current() {
        Token::End => Ok(Some(map.into())),
        Token::Word(_) | Token::Quoted(_) | Token::Comma | Token::Unclosed => {
            Err("unsupported parameters".to_owned())
        }
    }
}
