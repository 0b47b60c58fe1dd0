//! The password file (PostgreSQL manual, "The Password File"): `host:port:database:user:password`, one a line, `*` for
//! any, `\` before a `:` or `\` that is meant.

use std::path::Path;

use plimsoll_types::Secret;

use super::world::{World, pgpass_path};
use crate::link::Address;

/// The console's database.
const DATABASE: &str = "pgbouncer";

/// The password of the first line that fits. A file that others may read does not count, as in libpq.
pub(super) fn find(user: &str, address: &Address, world: &dyn World) -> Option<Secret> {
    let path = pgpass_path(world)?;
    let text = world.is_private(&path).then(|| world.read(&path).ok())??;
    let (hosts, port) = match address {
        Address::Tcp(host, port) => (vec![host.clone()], port.to_string()),
        Address::Unix(path) => (unix_hosts(path), unix_port(path)),
    };
    text.lines().find_map(|line| {
        let fields = fields(line)?;
        let [host, line_port, database, line_user, password] = fields.as_slice() else { return None };
        let is = |field: &str, value: &str| field == "*" || field == value;
        let fits = (host == "*" || hosts.contains(host))
            && is(line_port, &port)
            && is(database, DATABASE)
            && is(line_user, user);
        fits.then(|| Secret::from_text(password))
    })
}

/// A Unix socket stands as `localhost` (in the default folder) or as its folder.
fn unix_hosts(path: &Path) -> Vec<String> {
    let dir = path.parent().map(|dir| dir.display().to_string());
    dir.into_iter().chain(["localhost".to_string()]).collect()
}

fn unix_port(path: &Path) -> String {
    path.extension().map(|port| port.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The five fields of a line, unescaped; `None` for a comment. A colon in the password need not be escaped.
fn fields(line: &str) -> Option<Vec<String>> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let is_last = fields.len() == 5;
        let field = fields.last_mut()?;
        match c {
            ':' if !is_last => fields.push(String::new()),
            '\\' => field.extend(chars.next()),
            c => field.push(c),
        }
    }
    Some(fields)
}
