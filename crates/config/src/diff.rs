//! From one plan to the next.

use plimsoll_types::Secret;

use crate::database;
use crate::keys::{self, KEYS};
use crate::plan::{Change, Database, Plan};
use crate::table::{Key, When};

/// What has to happen to get from one plan to the next.
///
/// Only what a running program can take is compared: see [`carry`] for what keeps its old value.
pub fn diff(old: &Plan, new: &Plan) -> Vec<Change> {
    let mut taken = new.clone();
    carry(old, &mut taken);
    let mut changes = database_changes(old, &taken);
    changes.extend(issuer_changes(old, &taken));
    if settings_differ(old, &taken) {
        changes.push(Change::Settings);
    }
    changes.extend(restarts(old, new));
    changes
}

/// Makes a freshly loaded plan one that the running program can take: keys that only a restart changes keep their
/// old value, and a value that the console SET outlives a RELOAD where the key has no default and no line (PgBouncer
/// does both).
pub fn carry(old: &Plan, new: &mut Plan) {
    for key in KEYS {
        let keeps = match key.when {
            When::Restart => true,
            // This one says which file was read.
            When::Always if key.name == "conffile" => false,
            When::Always => key.default.is_none() && !new.explicit.contains(key.name),
        };
        if keeps {
            keep(old, new, key);
        }
    }
    new.own.workers = old.own.workers;
    new.own.compat = old.own.compat;
    new.own.http_listen.clone_from(&old.own.http_listen);
    new.own.identity.store.clone_from(&old.own.identity.store);
    new.own.identity.issuer.clone_from(&old.own.identity.issuer);
    new.own.identity.audience.clone_from(&old.own.identity.audience);
    new.own.http_tls_cert_file.clone_from(&old.own.http_tls_cert_file);
    new.own.http_tls_key_file.clone_from(&old.own.http_tls_key_file);
    let dir = new.general.unix_socket_dir.clone();
    for database in new.databases.iter_mut().chain(&mut new.auto_database) {
        database::move_default_host(database, dir.as_deref());
    }
}

fn keep(old: &Plan, new: &mut Plan, key: &'static Key) {
    let Some(before) = old.shown.iter().find(|line| line.key == key.name) else {
        // A plan that shows nothing was made without any text; there is nothing to go by.
        return;
    };
    if old.set_live.contains(key.name) {
        new.set_live.insert(key.name);
    }
    // It was taken once, so it is taken again; NULL is what an empty text stands for.
    let _ = keys::assign(new, key, before.value.as_deref().unwrap_or(""));
    if let Some(line) = new.shown.iter_mut().find(|line| line.key == key.name) {
        line.value.clone_from(&before.value);
    }
}

fn database_changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let all = |plan: &Plan| plan.databases.iter().chain(&plan.auto_database).cloned().collect::<Vec<_>>();
    let (old, new) = (all(old), all(new));
    let find = |list: &[Database], name: &str| list.iter().find(|database| database.name == name).cloned();
    let removed = old.iter().filter(|before| find(&new, &before.name).is_none());
    let mut changes: Vec<Change> =
        removed.map(|before| Change::DatabaseRemoved(before.name.clone())).collect();
    for after in &new {
        let name = || after.name.clone();
        match find(&old, &after.name) {
            None => changes.push(Change::DatabaseAdded(name())),
            Some(before) if !connects_alike(&before, after) => {
                changes.push(Change::DatabaseReconnect(name()))
            }
            Some(before) if !limits_alike(&before, after) => changes.push(Change::DatabaseLimits(name())),
            Some(_) => {}
        }
    }
    changes
}

fn issuer_changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let find = |plan: &Plan, name: &str| plan.issuers.iter().find(|line| line.name == name).cloned();
    let removed = old.issuers.iter().filter(|line| find(new, &line.name).is_none());
    let mut changes: Vec<Change> = removed.map(|line| Change::IssuerRemoved(line.name.clone())).collect();
    for line in &new.issuers {
        match find(old, &line.name) {
            None => changes.push(Change::IssuerAdded(line.name.clone())),
            Some(before) if before != *line => changes.push(Change::IssuerChanged(line.name.clone())),
            Some(_) => {}
        }
    }
    changes
}

/// Whether a server connection made by one line could have been made by the other.
fn connects_alike(a: &Database, b: &Database) -> bool {
    a.hosts == b.hosts
        && a.dbname == b.dbname
        && a.user == b.user
        && a.connect_query == b.connect_query
        && a.startup == b.startup
        && a.credential == b.credential
        && match (&a.password, &b.password) {
            (Some(a), Some(b)) => same(a, b),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
}

fn limits_alike(a: &Database, b: &Database) -> bool {
    a.host == b.host
        && a.load_balance == b.load_balance
        && a.auth_user == b.auth_user
        && a.auth_query == b.auth_query
        && a.auth_dbname == b.auth_dbname
        && a.pool_mode == b.pool_mode
        && a.pool_size == b.pool_size
        && a.min_pool_size == b.min_pool_size
        && a.reserve_pool_size == b.reserve_pool_size
        && a.max_db_connections == b.max_db_connections
        && a.max_db_client_connections == b.max_db_client_connections
        && a.server_lifetime == b.server_lifetime
        && a.query_wait_timeout == b.query_wait_timeout
        && a.weight == b.weight
        && a.guaranteed_pool_size == b.guaranteed_pool_size
        && a.spill == b.spill
        && a.leak == b.leak
        && a.session_not_after == b.session_not_after
}

fn settings_differ(old: &Plan, new: &Plan) -> bool {
    let logins_alike = old.logins.len() == new.logins.len()
        && old
            .logins
            .iter()
            .all(|(user, secret)| new.logins.get(user).is_some_and(|other| same(secret, other)));
    old.general != new.general
        || old.own != new.own
        || old.users != new.users
        || old.targets != new.targets
        || old.peers != new.peers
        || old.shown != new.shown
        || !logins_alike
}

fn same(a: &Secret, b: &Secret) -> bool {
    a.matches(b.expose())
}

fn restarts(old: &Plan, new: &Plan) -> Vec<Change> {
    let value = |plan: &Plan, key: &str| {
        plan.shown.iter().find(|line| line.key == key).map(|line| line.value.clone())
    };
    let differs = |key: &&Key| match (value(old, key.name), value(new, key.name)) {
        (Some(before), Some(after)) => before != after,
        (None, _) | (_, None) => false,
    };
    let fixed = KEYS.iter().filter(|key| key.when == When::Restart);
    let mut changes: Vec<Change> = fixed.filter(differs).map(|key| Change::NeedsRestart(key.name)).collect();
    if old.own.workers != new.own.workers {
        changes.push(Change::NeedsRestart("workers"));
    }
    if old.own.compat != new.own.compat {
        changes.push(Change::NeedsRestart("compat"));
    }
    // By what is meant: a line that says the default is no change.
    if old.own.http_listen() != new.own.http_listen() && old.own.compat == new.own.compat {
        changes.push(Change::NeedsRestart("http_listen"));
    }
    let (before, after) = (&old.own, &new.own);
    for (key, differs) in [
        ("identity_store", before.identity.store != after.identity.store),
        ("identity_issuer", before.identity.issuer != after.identity.issuer),
        ("identity_audience", before.identity.audience != after.identity.audience),
        ("http_tls_cert_file", before.http_tls_cert_file != after.http_tls_cert_file),
        ("http_tls_key_file", before.http_tls_key_file != after.http_tls_key_file),
    ] {
        changes.extend(differs.then_some(Change::NeedsRestart(key)));
    }
    changes
}

#[cfg(test)]
mod tests;
