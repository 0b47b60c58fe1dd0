//! What may be chosen: lengths, letters, forms.

use super::StoreFault;
use crate::id::{Id, Kind};
use crate::key::{KEY_ID_CHARS, check_env, check_key_id};
use crate::model::{
    AppData, CredentialData, CredentialKind, DataSetData, GrantData, OrgData, Scope, UserData,
};

/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 200;
/// Longest name of something in PostgreSQL, in bytes (`NAMEDATALEN` less one).
const DB_NAME_BYTES_MAX: usize = 63;
/// Most scopes, most actions.
const LIST_MAX: usize = 32;
/// Longest action, in characters.
pub(crate) const ACTION_CHARS_MAX: usize = 64;
const REDIRECTS_MAX: usize = 16;
const REDIRECT_BYTES_MAX: usize = 2000;
const PUBLIC_BYTES_MAX: usize = 8192;
const PHC_BYTES_MAX: usize = 512;
/// Largest weight, as of a pool (`weight=` of a database or user line).
const WEIGHT_MAX: u32 = 1000;
const SPACE_BYTES_MAX: usize = 32;
const THING_KEY_BYTES_MAX: usize = 512;
const THING_BYTES_MAX: usize = 256 * 1024;
/// Longest address, or other note of where something came from.
const ADDRESS_CHARS_MAX: usize = 200;

type Checked = Result<(), StoreFault>;

fn invalid(field: &'static str, why: impl Into<String>) -> StoreFault {
    StoreFault::Invalid { field, why: why.into() }
}

/// A new id.
pub(super) fn new_id(kind: Kind, now_ms: i64) -> Result<Id, StoreFault> {
    let mut chance = [0; 10];
    getrandom::fill(&mut chance).map_err(|fault| StoreFault::Unusable {
        why: format!("the system gives no random numbers: {fault}"),
    })?;
    Ok(Id::new(kind, u64::try_from(now_ms).unwrap_or(0), chance))
}

pub(super) fn org(data: &OrgData) -> Checked {
    name("name", &data.name)
}

pub(super) fn dataset(data: &DataSetData) -> Checked {
    kind("org", &data.org, &[Kind::Org])?;
    name("name", &data.name)?;
    db_name("database", &data.database)?;
    data.schema.as_ref().map_or(Ok(()), |schema| db_name("schema", schema))
}

pub(super) fn user(data: &UserData) -> Checked {
    kind("org", &data.org, &[Kind::Org])?;
    name("login", &data.login)?;
    scopes(&data.scopes)
}

pub(super) fn app(data: &AppData) -> Checked {
    kind("org", &data.org, &[Kind::Org])?;
    name("name", &data.name)?;
    if data.redirect_uris.len() > REDIRECTS_MAX {
        return Err(invalid("redirect_uris", format!("at most {REDIRECTS_MAX}")));
    }
    data.redirect_uris.iter().try_for_each(|uri| redirect_uri(uri))
}

pub(super) fn grant(data: &GrantData) -> Checked {
    kind("subject", &data.subject, &[Kind::App, Kind::User])?;
    kind("dataset", &data.dataset, &[Kind::DataSet])?;
    db_name("role", &data.role)?;
    if data.actions.len() > LIST_MAX {
        return Err(invalid("actions", format!("at most {LIST_MAX}")));
    }
    for action in &data.actions {
        text("actions", action, ACTION_CHARS_MAX)?;
    }
    if data.limits.weight.is_some_and(|weight| !(1..=WEIGHT_MAX).contains(&weight)) {
        return Err(invalid("limits.weight", format!("1 to {WEIGHT_MAX}")));
    }
    expiry(data.expires_ms)
}

pub(super) fn credential(key_id: &str, data: &CredentialData, hash: Option<&[u8; 32]>) -> Checked {
    if !is_key_id(key_id) {
        return Err(invalid("key_id", format!("it is {KEY_ID_CHARS} letters and digits")));
    }
    match (data.kind, hash) {
        (CredentialKind::Key, Some(_)) => {}
        (CredentialKind::PublicKey | CredentialKind::Certificate, None) => {}
        (CredentialKind::Key, None) => return Err(invalid("secret", "a key has one")),
        (CredentialKind::PublicKey | CredentialKind::Certificate, Some(_)) => {
            return Err(invalid("secret", "only a key has one"));
        }
    }
    credential_data(data)
}

pub(super) fn credential_data(data: &CredentialData) -> Checked {
    kind("app", &data.app, &[Kind::App])?;
    check_env(&data.env).map_err(|_| invalid("env", "1 to 8 of a-z and 0-9"))?;
    if !data.name.is_empty() {
        name("name", &data.name)?;
    }
    public_part(data.kind, &data.public)?;
    scopes(&data.scopes)?;
    expiry(data.expires_ms)
}

pub(super) fn phc(phc: Option<&str>) -> Checked {
    match phc {
        Some(text) if text.len() > PHC_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(invalid("password", "it is not a PHC string"))
        }
        Some(text) if !text.starts_with('$') => Err(invalid("password", "it is not a PHC string")),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn thing(space: &str, key: &str, value: &str) -> Checked {
    let whole = |field, text: &str, bytes_max| {
        if text.len() > bytes_max || text.contains('\0') {
            Err(invalid(field, format!("at most {bytes_max} bytes, none of them zero")))
        } else {
            Ok(())
        }
    };
    whole("space", space, SPACE_BYTES_MAX)?;
    whole("key", key, THING_KEY_BYTES_MAX)?;
    whole("value", value, THING_BYTES_MAX)
}

/// The public part of a key.
pub(super) fn is_key_id(text: &str) -> bool {
    check_key_id(text).is_ok()
}

pub(super) fn is_name(text: &str) -> Checked {
    name("name", text)
}

pub(super) fn is_db_name(text: &str) -> Checked {
    db_name("role", text)
}

/// Text from outside in a form that every database takes and no terminal is upset by.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(ADDRESS_CHARS_MAX).collect()
}

fn name(field: &'static str, value: &str) -> Checked {
    text(field, value, NAME_CHARS_MAX)
}

fn text(field: &'static str, value: &str, chars_max: usize) -> Checked {
    // Counting ends early: what comes in may be long.
    let chars = value.chars().take(chars_max + 1).count();
    if chars == 0 || chars > chars_max {
        return Err(invalid(field, format!("it has 1 to {chars_max} characters")));
    }
    if value.chars().any(char::is_control) {
        return Err(invalid(field, "no control characters"));
    }
    Ok(())
}

fn db_name(field: &'static str, value: &str) -> Checked {
    if value.len() > DB_NAME_BYTES_MAX {
        return Err(invalid(field, format!("it has 1 to {DB_NAME_BYTES_MAX} bytes")));
    }
    text(field, value, DB_NAME_BYTES_MAX)
}

fn kind(field: &'static str, id: &Id, kinds: &[Kind]) -> Checked {
    if kinds.contains(&id.kind()) {
        return Ok(());
    }
    let prefixes: Vec<&str> = kinds.iter().map(|kind| kind.prefix()).collect();
    Err(invalid(field, format!("its id begins with {}", prefixes.join(" or "))))
}

fn scopes(scopes: &[Scope]) -> Checked {
    if scopes.len() > LIST_MAX { Err(invalid("scopes", format!("at most {LIST_MAX}"))) } else { Ok(()) }
}

fn expiry(expires_ms: Option<i64>) -> Checked {
    match expires_ms {
        Some(ms) if ms < 0 => Err(invalid("expires_ms", "it is in milliseconds since 1970")),
        Some(_) | None => Ok(()),
    }
}

/// A public key as JWK (RFC 7517), or the SHA-256 of a certificate. Whether a JWK is of use is seen by who uses it;
/// here it is made sure that nothing private is kept.
fn public_part(kind: CredentialKind, public: &str) -> Checked {
    match kind {
        CredentialKind::Key if public.is_empty() => Ok(()),
        CredentialKind::Key => Err(invalid("public", "a key has no public part")),
        CredentialKind::Certificate => {
            let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            if public.len() == 64 && public.bytes().all(digit) {
                Ok(())
            } else {
                Err(invalid("public", "the SHA-256 of the certificate: 64 digits of 0-9 and a-f"))
            }
        }
        CredentialKind::PublicKey if public.len() > PUBLIC_BYTES_MAX => {
            Err(invalid("public", format!("at most {PUBLIC_BYTES_MAX} bytes")))
        }
        CredentialKind::PublicKey => jwk(public),
    }
}

/// Parameters of a JWK that are secret (RFC 7518, 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

fn jwk(text: &str) -> Checked {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) else {
        return Err(invalid("public", "it is not a JWK: a JSON object"));
    };
    if PRIVATE.iter().any(|name| members.contains_key(*name)) {
        return Err(invalid("public", "it holds a private key: give the public one, and make a new pair"));
    }
    match members.get("kty").and_then(serde_json::Value::as_str) {
        Some("EC" | "RSA" | "OKP") => Ok(()),
        Some(_) | None => Err(invalid("public", "`kty` of the JWK is EC, RSA or OKP")),
    }
}

/// `https`, or `http` to the machine itself (RFC 8252, 7.3), without a user, a fragment (RFC 6749, 3.1.2) or anything
/// that readers of URIs disagree about.
fn redirect_uri(uri: &str) -> Checked {
    let fault = |why: &str| Err(invalid("redirect_uris", why));
    if uri.len() > REDIRECT_BYTES_MAX {
        return fault("one of them is longer than 2000 bytes");
    }
    if !uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"#\\\"<>^`{|}*".contains(&byte)) {
        return fault("one of them holds what does not belong into a redirect URI");
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return fault("one of them is not a whole URI");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some(host) = host_of(authority) else {
        return fault("one of them names no host, or more than a host");
    };
    match (scheme, host) {
        ("https", _) | ("http", "localhost" | "127.0.0.1" | "[::1]") => Ok(()),
        _ => fault("https, or http to localhost, 127.0.0.1 or [::1]"),
    }
}

/// The host of `HOST` or `HOST:PORT`.
fn host_of(authority: &str) -> Option<&str> {
    let colon = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
    let host = match colon {
        Some(at) => {
            let port: u16 = authority.get(at + 1..)?.parse().ok()?;
            authority.get(..at).filter(|_| port > 0)?
        }
        None => authority,
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fits = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        }
    };
    fits.then_some(host)
}

#[cfg(test)]
mod tests;
