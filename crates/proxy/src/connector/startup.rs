//! What we begin with at a server: the startup packet, and what we can prove ourselves with.

use plimsoll_auth::{Credential, Stored, credential_for};
use plimsoll_config::Plan;
use plimsoll_wire::encode;

use crate::directory::PoolEntry;
use crate::replication::Wishes;

/// The startup packet of a pool's connection; `wishes`: what the one client asks for that it is opened for.
pub(super) fn packet(pool: &PoolEntry, wishes: Option<&Wishes>) -> Vec<u8> {
    let config = pool.database.config();
    let dbname = pool.database.dbname();
    let mut params: Vec<(&[u8], &[u8])> =
        vec![(b"user", pool.user.as_bytes()), (b"database", dbname.as_bytes())];
    if !pool.purpose.is_control() {
        params.extend(config.startup.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    }
    if let Some(wishes) = wishes {
        // After those of the line: of two the server takes the later one.
        params.push((b"replication", wishes.kind.value()));
        params.extend(wishes.startup.iter().map(|(name, value)| (&**name, &**value)));
    }
    let mut out = Vec::new();
    encode::startup(&mut out, &params);
    out
}

/// What we can prove ourselves with: the database line's password, else the role's secret in auth_file, else what
/// auth_query gave of it, and keys captured from a client that logged in as this role.
pub(super) fn credential(plan: &Plan, pool: &PoolEntry) -> Credential {
    let config = pool.database.config();
    // The line's password is for the line's user; control_user has its own.
    let of_line = config.password.as_ref().filter(|_| !pool.purpose.is_control());
    let written = of_line.or_else(|| plan.logins.get(&*pool.user));
    let stored = match written {
        Some(secret) => secret.expose_text().map(Stored::parse),
        None => pool.secret(),
    };
    credential_for(stored.as_ref(), pool.keys().as_ref())
}
