//! A line of `[issuers]`: somebody outside whose tokens are taken at the door, and for whom they speak.
//!
//! Nothing is let in that a line does not say: the audience and at least one rule have to be there, what a claim may name
//! freely is bound to one organisation, and keys never come over a connection that somebody could change.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::connstr;
use crate::mistake::Mistake;
use crate::place::Place;
use crate::slot::{self, Row, Slot};
use crate::table::Fault;

/// Most lines.
pub(crate) const ISSUERS_MAX: usize = 32;
/// Most rules of one line.
const RULES_MAX: usize = 256;
/// Longest name of a claim, bytes.
const CLAIM_BYTES_MAX: usize = 200;
/// Characters of an id of the identity store behind its prefix: Crockford's base32 in small letters.
const ID_CHARS: usize = 26;
const ID_ALPHABET: &str = "0123456789abcdefghjkmnpqrstvwxyz";

/// Algorithms that can be allowed: signatures only, none with a secret that both sides know.
const ALGORITHMS: [&str; 5] = ["ES256", "ES384", "RS256", "PS256", "EdDSA"];
/// Those that are where a line says nothing: what nearly everybody signs with.
const ALGORITHMS_DEFAULT: [&str; 2] = ["ES256", "RS256"];
/// Types (`typ`) that can be allowed.
const TYPES: [(&str, TokenType); 3] =
    [("at+jwt", TokenType::AtJwt), ("jwt", TokenType::Jwt), ("none", TokenType::Missing)];
/// Keys that may stand on a line more than once.
const REPEATABLE: [&str; 1] = ["map"];

const WANTS_URL: &str =
    "https://HOST or https://HOST/PATH, exactly as in the claim iss (http:// on this machine only)";
const WANTS_JWKS: &str =
    "https://HOST/PATH, where the issuer publishes its keys (http:// on this machine only)";
const WANTS_ALGORITHMS: &str = "some of ES256, ES384, RS256, PS256, EdDSA with commas";
const WANTS_TYPES: &str = "some of at+jwt, jwt, none with commas";
const WANTS_RULE: &str = "'CLAIM=VALUE -> ID' with the id of an application (app_…) or a user (usr_…)";
const WANTS_CLAIM: &str = "the name of a claim";
const WANTS_ORG: &str = "the id of an organisation (org_…)";
const WANTS_DISCOVERY: &str = "openid or oauth";

/// A line of `[issuers]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerLine {
    /// What people call it: the name before the `=`.
    pub name: String,
    /// `url=`: its own name, exactly as in `iss`.
    pub url: String,
    /// `audience=`: for whom its tokens have to be.
    pub audience: String,
    /// `jwks=`: where its keys are.
    pub jwks: String,
    /// `ca_file=`: who may certify that address; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// `algorithms=`, as RFC 7518 writes them.
    pub algorithms: Vec<&'static str>,
    /// `types=`: which `typ` its tokens may have.
    pub types: Vec<TokenType>,
    /// `map=`, `subject=`, `user=`: for whom its tokens speak; the first that fits counts.
    pub rules: Vec<IssuerRule>,
    /// `org=`: the organisation whose applications and users it may speak for; `None`: those that `map=` names.
    pub org: Option<String>,
    /// `discovery=`: whether clients over OAUTHBEARER are sent to it, and how its metadata is found.
    pub discovery: Option<IssuerDiscovery>,
    /// `scope=`: what they are told to ask it for.
    pub scope: Option<String>,
}

/// The type a token says it is of (`typ`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068).
    AtJwt,
    /// `JWT`.
    Jwt,
    /// None at all.
    Missing,
}

/// For whom a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerRule {
    /// `map=`: a claim with this value stands for this application or user.
    Map {
        /// The claim; one inside another with dots between.
        claim: String,
        /// Its value, exactly.
        value: String,
        /// The id of an application or a user.
        subject: String,
    },
    /// `subject=`: this claim has the id of an application or a user.
    Subject {
        /// The claim.
        claim: String,
    },
    /// `user=`: this claim has the login of a user.
    User {
        /// The claim.
        claim: String,
    },
}

impl IssuerRule {
    /// The claim it looks at.
    pub fn claim(&self) -> &str {
        match self {
            IssuerRule::Map { claim, .. } | IssuerRule::Subject { claim } | IssuerRule::User { claim } => {
                claim
            }
        }
    }
}

impl fmt::Display for IssuerRule {
    /// As the ini file writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IssuerRule::Map { claim, value, subject } => write!(f, "map='{claim}={value} -> {subject}'"),
            IssuerRule::Subject { claim } => write!(f, "subject={claim}"),
            IssuerRule::User { claim } => write!(f, "user={claim}"),
        }
    }
}

/// How the metadata of an issuer is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerDiscovery {
    /// `openid`: `URL/.well-known/openid-configuration` (OpenID Connect Discovery 1.0, 4.1).
    OpenId,
    /// `oauth`: `/.well-known/oauth-authorization-server` between host and path (RFC 8414, 3.1).
    OAuth,
}

impl IssuerLine {
    /// Where clients find its metadata, if they are sent there.
    pub fn discovery_url(&self) -> Option<String> {
        let url = self.url.trim_end_matches('/');
        Some(match self.discovery? {
            IssuerDiscovery::OpenId => format!("{url}/.well-known/openid-configuration"),
            IssuerDiscovery::OAuth => {
                let host = url.find("://").map_or(0, |scheme| scheme + 3);
                let end = url[host..].find('/').map_or(url.len(), |path| host + path);
                let (authority, path) = url.split_at(end);
                format!("{authority}/.well-known/oauth-authorization-server{path}")
            }
        })
    }
}

/// The keys of a line of `[issuers]`.
pub(crate) static KEYS: &[Row<IssuerLine>] = &[
    ("url", Slot::Ours(take_url, "its name in tokens, https://…")),
    ("audience", Slot::Ours(take_audience, "for whom its tokens have to be")),
    ("jwks", Slot::Ours(take_jwks, "where its keys are, https://…")),
    ("ca_file", Slot::Ours(take_ca_file, "an absolute path; without it whom the system trusts")),
    ("algorithms", Slot::Ours(take_algorithms, "ES256, ES384, RS256, PS256, EdDSA; without it ES256,RS256")),
    ("types", Slot::Ours(take_types, "at+jwt, jwt, none; without it at+jwt,jwt")),
    ("map", Slot::Ours(take_map, "'CLAIM=VALUE -> ID of an application or user', once for each rule")),
    ("subject", Slot::Ours(take_subject, "the claim that has the id of an application or user; needs org=")),
    ("user", Slot::Ours(take_user, "the claim that has the login of a user; needs org=")),
    ("org", Slot::Ours(take_org, "the only organisation it may speak for")),
    ("discovery", Slot::Ours(take_discovery, "openid, oauth: clients over OAUTHBEARER are sent to it")),
    ("scope", Slot::Ours(take_scope, "what they are told to ask it for")),
];

/// Reads what stands behind `name =`.
pub(crate) fn parse(name: &str, text: &str, place: &Place) -> Result<IssuerLine, Vec<Mistake>> {
    let mut line = IssuerLine { name: name.to_string(), ..IssuerLine::default() };
    let mut mistakes = slot::take(&mut line, KEYS, "issuer", text, place);
    // What is missing is told when what is there can be read.
    if mistakes.is_empty() {
        let wrong = said_twice(text).into_iter().chain(unclear(&line));
        mistakes.extend(wrong.map(|why| place.mistake(format!("issuer {name}: {why}"))));
    }
    if line.algorithms.is_empty() {
        line.algorithms = ALGORITHMS_DEFAULT.to_vec();
    }
    if line.types.is_empty() {
        line.types = vec![TokenType::AtJwt, TokenType::Jwt];
    }
    if mistakes.is_empty() { Ok(line) } else { Err(mistakes) }
}

/// What one line says and another must not: why.
pub(crate) fn conflict(line: &IssuerLine, others: &[IssuerLine]) -> Option<String> {
    let name = &line.name;
    if others.len() >= ISSUERS_MAX {
        return Some(format!("issuer {name}: there are at most {ISSUERS_MAX}"));
    }
    if let Some(other) = others.iter().find(|other| other.url == line.url) {
        return Some(format!("issuer {name}: {} has the same url=: one line for each", other.name));
    }
    let other = others.iter().find(|other| line.discovery.is_some() && other.discovery.is_some())?;
    Some(format!(
        "issuer {name}: clients are sent to {} already: discovery= stands on one line only",
        other.name
    ))
}

/// Keys that stand there twice: which of them is meant is not ours to guess.
fn said_twice(text: &str) -> Vec<String> {
    let pairs = connstr::pairs(text).unwrap_or_default();
    let mut said = BTreeSet::new();
    let twice = pairs.iter().filter(|(key, _)| !said.insert(*key) && !REPEATABLE.contains(key));
    let twice: BTreeSet<&str> = twice.map(|(key, _)| *key).collect();
    twice.into_iter().map(|key| format!("{key}= stands there twice")).collect()
}

/// What is missing, or does not go together.
fn unclear(line: &IssuerLine) -> Vec<String> {
    let mut found = Vec::new();
    for (key, value, what) in [
        ("url", &line.url, "its name, exactly as in the claim iss of its tokens"),
        (
            "audience",
            &line.audience,
            "for whom its tokens have to be (aud); without it tokens for others would do",
        ),
        ("jwks", &line.jwks, "where its keys are: jwks_uri of its metadata"),
    ] {
        if value.is_empty() {
            found.push(format!("{key}= is missing: {what}"));
        }
    }
    if line.rules.is_empty() {
        found.push("no rule says for whom its tokens speak: map=, subject= or user=".to_string());
    }
    if line.rules.len() > RULES_MAX {
        found.push(format!("there are at most {RULES_MAX} rules"));
    }
    let is_open = |rule: &IssuerRule| matches!(rule, IssuerRule::Subject { .. } | IssuerRule::User { .. });
    if line.org.is_none() && line.rules.iter().any(is_open) {
        let why = "subject= and user= let it name anybody: org= has to say of which organisation";
        found.push(why.to_string());
    }
    if line.scope.is_some() && line.discovery.is_none() {
        found.push("scope= is told to clients that are sent there, and discovery= is missing".to_string());
    }
    let mut known = BTreeSet::new();
    for rule in &line.rules {
        if let IssuerRule::Map { claim, value, .. } = rule
            && !known.insert((claim, value))
        {
            found.push(format!("map='{claim}={value} -> …' stands there twice: the second never counts"));
        }
    }
    found
}

fn take_url(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    if !is_url(text) || text.contains('?') {
        return Err(Fault::Invalid(WANTS_URL));
    }
    line.url = text.to_string();
    Ok(())
}

fn take_jwks(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    if !is_url(text) {
        return Err(Fault::Invalid(WANTS_JWKS));
    }
    line.jwks = text.to_string();
    Ok(())
}

fn take_audience(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    line.audience = text.to_string();
    Ok(())
}

fn take_ca_file(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    if !Path::new(text).is_absolute() {
        return Err(Fault::Invalid("an absolute path"));
    }
    line.ca_file = Some(PathBuf::from(text));
    Ok(())
}

fn take_algorithms(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    for word in text.split(',').map(str::trim) {
        let found = ALGORITHMS.into_iter().find(|known| *known == word);
        let Some(found) = found else {
            let words = match word {
                "HS256" | "HS384" | "HS512" => format!(
                    "algorithms={word} is a secret that both sides know, and the keys of an issuer are public: whoever \
                     has them could make tokens; expected {WANTS_ALGORITHMS}"
                ),
                "none" => format!("algorithms=none is no signature at all; expected {WANTS_ALGORITHMS}"),
                _ => return Err(Fault::Invalid(WANTS_ALGORITHMS)),
            };
            return Err(Fault::Said(words));
        };
        if !line.algorithms.contains(&found) {
            line.algorithms.push(found);
        }
    }
    Ok(())
}

fn take_types(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    for word in text.split(',').map(str::trim) {
        let found = TYPES.into_iter().find(|(known, _)| word.eq_ignore_ascii_case(known));
        let (_, found) = found.ok_or(Fault::Invalid(WANTS_TYPES))?;
        if !line.types.contains(&found) {
            line.types.push(found);
        }
    }
    Ok(())
}

fn take_map(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    let rule = rule(text).ok_or(Fault::Invalid(WANTS_RULE))?;
    line.rules.push(rule);
    Ok(())
}

fn rule(text: &str) -> Option<IssuerRule> {
    let (says, subject) = text.rsplit_once("->")?;
    let (claim, value) = says.split_once('=')?;
    let (claim, value, subject) = (claim.trim(), value.trim(), subject.trim());
    let good = is_claim(claim) && !value.is_empty() && (is_id("app_", subject) || is_id("usr_", subject));
    good.then(|| IssuerRule::Map {
        claim: claim.to_string(),
        value: value.to_string(),
        subject: subject.to_string(),
    })
}

fn take_subject(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    let claim = claim(text)?;
    line.rules.push(IssuerRule::Subject { claim });
    Ok(())
}

fn take_user(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    let claim = claim(text)?;
    line.rules.push(IssuerRule::User { claim });
    Ok(())
}

fn claim(text: &str) -> Result<String, Fault> {
    if is_claim(text) { Ok(text.to_string()) } else { Err(Fault::Invalid(WANTS_CLAIM)) }
}

fn is_claim(text: &str) -> bool {
    (1..=CLAIM_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn take_org(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    if !is_id("org_", text) {
        return Err(Fault::Invalid(WANTS_ORG));
    }
    line.org = Some(text.to_string());
    Ok(())
}

/// Whether a text is an id of the identity store with this prefix.
fn is_id(prefix: &str, text: &str) -> bool {
    let body = text.strip_prefix(prefix).unwrap_or_default();
    body.len() == ID_CHARS && body.chars().all(|letter| ID_ALPHABET.contains(letter))
}

fn take_discovery(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    line.discovery = Some(match text {
        "openid" => IssuerDiscovery::OpenId,
        "oauth" => IssuerDiscovery::OAuth,
        _ => return Err(Fault::Invalid(WANTS_DISCOVERY)),
    });
    Ok(())
}

fn take_scope(line: &mut IssuerLine, text: &str) -> Result<(), Fault> {
    line.scope = Some(text.to_string());
    Ok(())
}

/// Whether a text is an address that keys can be fetched from safely: https, or http to this machine. No user, no
/// fragment, nothing that has to be encoded (RFC 3986).
fn is_url(text: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte);
    let (rest, is_plain) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return false,
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some(host) = host(authority) else { return false };
    let path_is_good = path.bytes().all(is_known) && !path.contains(['[', ']']);
    path_is_good && (!is_plain || is_here(host))
}

/// Whether what is fetched from there can be read and changed on its way.
pub(crate) fn is_plain(url: &str) -> bool {
    url.starts_with("http://")
}

/// Whether a host is this machine itself, by its text.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of `HOST` or `HOST:PORT`, an IPv6 address without its brackets.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (host, behind) = inside.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            };
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            (!host.is_empty() && host.bytes().all(is_good)).then_some((host, port))?
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    port.is_none_or(is_port).then_some(host)
}
