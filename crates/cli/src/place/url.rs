//! `--url postgres://user@host:port/pgbouncer` (PostgreSQL manual, "Connection URIs"), without a password: a command
//! line can be read by everybody on the machine.

use percent_encoding::percent_decode_str;

use super::world::World;
use super::{Door, PORT, SOCKET_DIR, door};
use crate::failure::Failure;

const SHAPE: &str = "it looks like postgres://USER@HOST:PORT/pgbouncer";
/// The console's database.
const DATABASE: &str = "pgbouncer";

/// Takes it apart. Nothing of it is repeated in a mistake: it may hold a password after all.
pub(super) fn parse(url: &str, world: &dyn World) -> Result<Door, Failure> {
    split(url, world).map_err(Failure::Url)
}

fn split(url: &str, world: &dyn World) -> Result<Door, String> {
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    let rest = rest.ok_or(SHAPE)?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, DATABASE));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') || query.split('&').any(|pair| pair.starts_with("password=")) {
        return Err(
            "no password here, where everybody on this machine can read it: use PGPASSWORD or ~/.pgpass"
                .to_string(),
        );
    }
    if !matches!(decoded(path)?.as_str(), DATABASE | "") {
        return Err(format!("the console is the database pgbouncer: {SHAPE}"));
    }
    let (mut host, mut port) = host_and_port(host)?;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("host", value)) => host = decoded(value)?,
            Some(("port", value)) => port = number(value)?,
            Some(("sslmode", "disable" | "allow" | "prefer")) => {}
            Some(("sslmode", _)) => {
                return Err(
                    "the console is asked without TLS: sslmode is disable, allow or prefer".to_string()
                );
            }
            _ => return Err("of parameters only host, port and sslmode mean something here".to_string()),
        }
    }
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    let host = if host.is_empty() { SOCKET_DIR } else { host.as_str() };
    Ok(door(host, port, user, world))
}

fn host_and_port(text: &str) -> Result<(String, u16), String> {
    if let Some(inside) = text.strip_prefix('[') {
        let (host, behind) = inside.split_once(']').ok_or("the [ of an IPv6 address is not closed")?;
        return match behind.strip_prefix(':') {
            Some(port) => Ok((host.to_string(), number(port)?)),
            None if behind.is_empty() => Ok((host.to_string(), PORT)),
            None => Err(SHAPE.to_string()),
        };
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((decoded(host)?, number(port)?)),
        None => Ok((decoded(text)?, PORT)),
    }
}

fn number(text: &str) -> Result<u16, String> {
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("the port is not a number from 1 to 65535: {SHAPE}"))
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "it does not decode to UTF-8")?;
    match text.contains('\0') {
        true => Err("it has a zero byte in it".to_string()),
        false => Ok(text.into_owned()),
    }
}
