//! A connection URL (PostgreSQL manual, "Connection URIs") as a whole plan.
//!
//! No message repeats a part of the URL: a password with an unquoted `@`, `/` or `?` in it can end up anywhere.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use plimsoll_types::Secret;

use crate::database::{self, PORT};
use crate::keys;
use crate::mistake::Mistake;
use crate::plan::{Database, Host, Plan};

const QUOTING: &str = "characters such as @ : / ? # % in a user, password or name must be percent-encoded";
const PARAMETERS: &str = "sslmode, sslrootcert, sslcert, sslkey, host, port, user, password, dbname, application_name, client_encoding, \
                          connect_timeout, target_session_attrs=any, gssencmode=disable";

const SSL_MODE: &str = "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full";

/// What a URL says.
#[derive(Default)]
struct Parts {
    user: Option<String>,
    password: Option<String>,
    /// As `host=` writes them; `None` until there is one.
    hosts: Vec<String>,
    /// One for each host, `None` where the URL has none.
    ports: Vec<Option<u16>>,
    dbname: Option<String>,
    startup: Vec<(String, String)>,
    connect_timeout: Option<Duration>,
    /// What is said of TLS, in libpq's words.
    tls: Vec<(String, String)>,
}

/// A plan for one database given as a URL, without any file (`plimsoll run postgres://user:secret@host:port/db`):
/// loopback, transaction pooling, scram-sha-256 at the door with the same user and secret (trust if there is none).
///
/// # Errors
/// What is wrong with the URL; the secret is never repeated in it.
pub fn from_url(url: &str) -> Result<Plan, Mistake> {
    let mistake = |message: String| Mistake { file: PathBuf::new(), line: 0, message };
    let parts = split(url).map_err(mistake)?;
    plan(parts).map_err(mistake)
}

fn split(url: &str) -> Result<Parts, String> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or("the URL does not begin with postgres:// or postgresql://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut parts = Parts::default();
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    parts.user = text(user)?;
    parts.password = password.map(text).transpose()?.flatten();
    parts.dbname = text(path)?;
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (host, port) = host_and_port(host)?;
        parts.hosts.push(host);
        parts.ports.push(port);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| format!("a URL parameter without =; {QUOTING}"))?;
        parameter(&mut parts, key, &text(value)?.unwrap_or_default())?;
    }
    Ok(parts)
}

fn host_and_port(text_encoded: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match text_encoded.strip_prefix('[') {
        Some(inside) => {
            let (host, behind) = inside.split_once(']').ok_or("the [ of an IPv6 address is not closed")?;
            (host, behind.strip_prefix(':').or(behind.is_empty().then_some("")))
        }
        None => match text_encoded.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text_encoded, Some("")),
        },
    };
    let port = match port {
        Some("") => None,
        Some(port) => Some(one_port(port)?),
        None => return Err(bad_port()),
    };
    let host = text(host)?.ok_or("a host in the URL is empty")?;
    Ok((host, port))
}

fn one_port(text: &str) -> Result<u16, String> {
    text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(bad_port)
}

fn bad_port() -> String {
    format!("the port in the URL is not a number from 1 to 65535 ({QUOTING})")
}

/// Percent-decoded text; `None` if it is empty.
fn text(encoded: &str) -> Result<Option<String>, String> {
    let mut parts = encoded.split('%');
    parts.next();
    let hex = |part: &str| part.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if !parts.all(hex) {
        return Err(format!("a % in the URL is not followed by two hexadecimal digits ({QUOTING})"));
    }
    let decoded: Cow<'_, str> =
        percent_decode_str(encoded).decode_utf8().map_err(|_| "the URL does not decode to UTF-8")?;
    if decoded.contains('\0') {
        return Err("the URL has a zero byte in it".to_string());
    }
    Ok((!decoded.is_empty()).then(|| decoded.into_owned()))
}

fn parameter(parts: &mut Parts, key: &str, value: &str) -> Result<(), String> {
    match (key, value) {
        ("sslmode" | "sslrootcert" | "sslcert" | "sslkey", _) => {
            parts.tls.push((key.to_string(), value.to_string()));
        }
        ("target_session_attrs", "any") | ("gssencmode", "disable" | "prefer") => {}
        ("channel_binding", "disable" | "prefer") => {}
        ("host", _) => {
            parts.hosts = value.split(',').map(str::to_string).collect();
            parts.ports.resize(parts.hosts.len(), None);
        }
        ("port", _) => {
            parts.ports = value.split(',').map(one_port).map(|p| p.map(Some)).collect::<Result<_, _>>()?
        }
        ("user", _) => parts.user = Some(value.to_string()),
        ("password", _) => parts.password = Some(value.to_string()),
        ("dbname", _) => parts.dbname = Some(value.to_string()),
        ("application_name" | "client_encoding", _) => {
            parts.startup.push((key.to_string(), value.to_string()))
        }
        ("connect_timeout", _) => {
            let seconds: u32 = value.parse().map_err(|_| "connect_timeout is a number of seconds")?;
            // Zero waits for ever in libpq; here the default stays, because nothing waits for ever.
            parts.connect_timeout = (seconds > 0).then(|| Duration::from_secs(seconds.into()));
        }
        _ => {
            return Err(format!(
                "a parameter of the URL is not known here; known are {PARAMETERS} ({QUOTING})"
            ));
        }
    }
    Ok(())
}

fn plan(parts: Parts) -> Result<Plan, String> {
    let hosts = hosts(&parts)?;
    let user =
        parts.user.filter(|user| !user.is_empty()).ok_or("the URL names no user: postgres://USER@host/db")?;
    let password = parts.password.filter(|password| !password.is_empty());
    // As libpq does.
    let dbname = parts.dbname.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    if dbname == database::RESERVED {
        return Err(format!("database name \"{dbname}\" is reserved"));
    }
    let mut plan = Plan { shown: keys::shown_defaults(), ..Plan::default() };
    let auth_type = if password.is_some() { "scram-sha-256" } else { "trust" };
    let settings = [
        ("listen_addr", "127.0.0.1"),
        ("unix_socket_dir", ""),
        ("pool_mode", "transaction"),
        ("auth_type", auth_type),
        ("admin_users", user.as_str()),
    ];
    for (name, value) in settings {
        let key = keys::find(name).ok_or_else(|| keys::unknown(name))?;
        keys::assign(&mut plan, key, value).map_err(|fault| fault.message(name, value, None))?;
        plan.explicit.insert(key.name);
    }
    // A name with a comma in it is one name here.
    plan.general.admin_users = vec![user.clone()];
    for (name, value) in &parts.tls {
        let key = match name.as_str() {
            "sslmode" => "server_tls_sslmode",
            "sslrootcert" => "server_tls_ca_file",
            "sslcert" => "server_tls_cert_file",
            _ => "server_tls_key_file",
        };
        let row = keys::find(key).ok_or_else(|| keys::unknown(key))?;
        // The value could be a part of a password that was not encoded.
        keys::assign(&mut plan, row, value).map_err(|_| SSL_MODE)?;
        plan.explicit.insert(row.name);
    }
    if let Some(time) = parts.connect_timeout {
        plan.general.server_connect_timeout = time;
    }
    plan.logins.insert(user.clone(), Secret::from_text(password.as_deref().unwrap_or_default()));
    plan.databases.push(Database {
        name: dbname.clone(),
        host: Some(parts.hosts.join(",")),
        hosts,
        dbname: Some(dbname),
        user: Some(user),
        password: password.as_deref().map(Secret::from_text),
        startup: parts.startup,
        ..Database::default()
    });
    Ok(plan)
}

fn hosts(parts: &Parts) -> Result<Vec<Host>, String> {
    let counts_fit = parts.ports.len() == parts.hosts.len() || parts.ports.len() == 1;
    if parts.hosts.iter().any(String::is_empty) || parts.hosts.is_empty() {
        return Err("the URL names no host: postgres://user@HOST/db".to_string());
    }
    if !counts_fit {
        return Err("the URL has several ports, but not one for each host".to_string());
    }
    let port = |i: usize| parts.ports.get(i).or(parts.ports.first()).copied().flatten().unwrap_or(PORT);
    Ok(parts.hosts.iter().enumerate().map(|(i, host)| database::one_host(host, port(i))).collect())
}

#[cfg(test)]
mod tests;
