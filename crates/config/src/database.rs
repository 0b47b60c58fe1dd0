//! A line of `[databases]`.

use std::path::{Path, PathBuf};

use plimsoll_types::Secret;

use crate::credential::CredentialSource;
use crate::mistake::Mistake;
use crate::place::Place;
use crate::plan::{Database, Host, LoadBalance};
use crate::slot::{self, Row, Slot, WEIGHT_MAX};
use crate::table::Fault;
use crate::target::BUDGET_MAX;

/// The console's name.
pub(crate) const RESERVED: &str = "pgbouncer";
/// PostgreSQL's port.
pub(crate) const PORT: u16 = 5432;

/// A line while it is read: host and port may come in any order.
#[derive(Default)]
pub(crate) struct Draft {
    database: Database,
    ports: Vec<u16>,
}

/// The keys of a line of `[databases]`.
pub(crate) static KEYS: &[Row<Draft>] = &[
    ("dbname", Slot::Text(|d| &mut d.database.dbname)),
    ("host", Slot::Text(|d| &mut d.database.host)),
    ("port", Slot::Own(take_ports)),
    ("user", Slot::Text(|d| &mut d.database.user)),
    ("password", Slot::Own(take_password)),
    ("auth_user", Slot::Text(|d| &mut d.database.auth_user)),
    ("auth_query", Slot::Text(|d| &mut d.database.auth_query)),
    // The console's name is refused at login only, as in PgBouncer.
    ("auth_dbname", Slot::Text(|d| &mut d.database.auth_dbname)),
    ("client_encoding", Slot::Own(|d, value| take_startup(d, "client_encoding", value))),
    ("datestyle", Slot::Own(|d, value| take_startup(d, "datestyle", value))),
    ("timezone", Slot::Own(|d, value| take_startup(d, "timezone", value))),
    ("application_name", Slot::Own(|d, value| take_startup(d, "application_name", value))),
    ("pool_size", Slot::Count(|d| &mut d.database.pool_size)),
    ("min_pool_size", Slot::Count(|d| &mut d.database.min_pool_size)),
    ("reserve_pool_size", Slot::Count(|d| &mut d.database.reserve_pool_size)),
    // Its name before 1.24.
    ("reserve_pool", Slot::Count(|d| &mut d.database.reserve_pool_size)),
    ("max_db_connections", Slot::Count(|d| &mut d.database.max_db_connections)),
    ("max_db_client_connections", Slot::Count(|d| &mut d.database.max_db_client_connections)),
    ("server_lifetime", Slot::Seconds(|d| &mut d.database.server_lifetime)),
    ("query_wait_timeout", Slot::Seconds(|d| &mut d.database.query_wait_timeout)),
    ("pool_mode", Slot::PoolMode(|d| &mut d.database.pool_mode)),
    ("load_balance_hosts", Slot::Own(take_load_balance)),
    ("connect_query", Slot::Text(|d| &mut d.database.connect_query)),
    ("weight", Slot::Range(|d| &mut d.database.weight, 1, WEIGHT_MAX)),
    ("guaranteed_pool_size", Slot::Range(|d| &mut d.database.guaranteed_pool_size, 0, BUDGET_MAX)),
    ("spill", Slot::Spill(|d| &mut d.database.spill)),
    ("leak_warn_after", Slot::LeakAfter(|d| &mut d.database.leak.warn_after)),
    ("leak_cancel_after", Slot::LeakAfter(|d| &mut d.database.leak.cancel_after)),
    ("leak_close_after", Slot::LeakAfter(|d| &mut d.database.leak.close_after)),
    ("leak_act", Slot::LeakAct(|d| &mut d.database.leak.act)),
    ("credential", Slot::Credential(|d| &mut d.database.credential)),
    ("session_not_after", Slot::SessionNotAfter(|d| &mut d.database.session_not_after)),
];

/// Reads what stands behind `name =`.
///
/// Without `host=` the one host is a Unix socket in the folder "", which [`fill_host`] replaces.
pub(crate) fn parse(name: &str, text: &str, place: &Place) -> Result<Database, Vec<Mistake>> {
    let mut draft = Draft::default();
    let mut mistakes = slot::take(&mut draft, KEYS, "connection", text, place);
    if name == RESERVED {
        mistakes.push(place.mistake(format!("database name \"{RESERVED}\" is reserved")));
    }
    let Draft { mut database, ports } = draft;
    let written = database.credential.as_ref().is_some_and(|source| *source != CredentialSource::Static);
    if written && database.password.is_some() {
        mistakes.push(place.mistake("credential= and password= in one line: which of them counts?"));
    }
    match hosts(database.host.as_deref(), &ports) {
        Ok(hosts) => database.hosts = hosts,
        Err(why) => mistakes.push(place.mistake(format!("{why} in configuration ({place})"))),
    }
    database.name = name.to_string();
    if mistakes.is_empty() { Ok(database) } else { Err(mistakes) }
}

/// Gives a database without `host=` the folder of `unix_socket_dir`; false if it needs one and there is none.
pub(crate) fn fill_host(database: &mut Database, unix_socket_dir: Option<&Path>) -> bool {
    for host in &mut database.hosts {
        if let Host::Unix { dir, .. } = host
            && dir.as_os_str().is_empty()
        {
            match unix_socket_dir {
                Some(folder) => *dir = folder.to_path_buf(),
                None => return false,
            }
        }
    }
    true
}

/// Follows `unix_socket_dir` with a database that has no `host=`.
pub(crate) fn move_default_host(database: &mut Database, unix_socket_dir: Option<&Path>) {
    if database.host.is_some() {
        return;
    }
    for host in &mut database.hosts {
        if let (Host::Unix { dir, .. }, Some(folder)) = (host, unix_socket_dir) {
            *dir = folder.to_path_buf();
        }
    }
}

/// Joins `host=` and `port=`: one port for all hosts or one for each.
pub(crate) fn hosts(host: Option<&str>, ports: &[u16]) -> Result<Vec<Host>, String> {
    let names: Vec<&str> = host.unwrap_or_default().split(',').map(str::trim).collect();
    if host.is_some() && names.contains(&"") {
        return Err(format!("invalid host list: {}", host.unwrap_or_default()));
    }
    if ports.len() > 1 && ports.len() != names.len() {
        return Err(format!("invalid port list: {} ports for {} hosts", ports.len(), names.len()));
    }
    let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(PORT);
    Ok(names.iter().enumerate().map(|(i, name)| one_host(name, port(i))).collect())
}

pub(crate) fn one_host(name: &str, port: u16) -> Host {
    if name.is_empty() || name.starts_with(['/', '@']) {
        return Host::Unix { dir: PathBuf::from(name), port };
    }
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    Host::Tcp { host: bare.to_string(), port }
}

fn take_ports(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let ports: Option<Vec<u16>> = text.split(',').map(port).collect();
    draft.ports = ports.ok_or_else(|| Fault::Said(format!("invalid port: {text}")))?;
    Ok(())
}

fn take_password(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    draft.database.password = Some(Secret::from_text(text));
    Ok(())
}

fn take_startup(draft: &mut Draft, name: &str, text: &str) -> Result<(), Fault> {
    let startup = &mut draft.database.startup;
    startup.retain(|(known, _)| known != name);
    startup.push((name.to_string(), text.to_string()));
    Ok(())
}

fn take_load_balance(draft: &mut Draft, text: &str) -> Result<(), Fault> {
    let mode = if text.eq_ignore_ascii_case("round-robin") {
        LoadBalance::RoundRobin
    } else if text.eq_ignore_ascii_case("disable") {
        LoadBalance::Disable
    } else {
        return Err(Fault::Said(format!("invalid load_balance_hosts mode: {text}")));
    };
    draft.database.load_balance = Some(mode);
    Ok(())
}
