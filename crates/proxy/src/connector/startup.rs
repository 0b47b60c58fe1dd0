//! What we begin with at a server: the startup packet, and what we can prove ourselves with.

use plimsoll_auth::{Credential, Stored, credential_for};
use plimsoll_config::Plan;
use plimsoll_types::Secret;
use plimsoll_wire::encode;

use crate::directory::{Learnt, PoolEntry};
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

/// What we can prove ourselves with: the database line's password, else the one with which a client logged in as this
/// role by LDAP or PAM (auth_file is not looked at for those), else the role's secret in auth_file, else what auth_query
/// gave of it, and keys captured from a client that logged in as this role.
pub(super) fn credential(plan: &Plan, pool: &PoolEntry) -> Credential {
    let config = pool.database.config();
    // The line's password is for the line's user; control_user has its own.
    let of_line = config.password.as_ref().filter(|_| !pool.purpose.is_control());
    let written = |secret: &Secret| secret.expose_text().map(Stored::parse);
    let stored = match (of_line, pool.secret(), plan.logins.get(&*pool.user)) {
        (Some(secret), _, _) => written(secret),
        (None, Some(Learnt::Vouched(secret)), _) => Some(secret),
        (None, _, Some(secret)) => written(secret),
        (None, Some(Learnt::Asked(secret)), None) => Some(secret),
        (None, None, None) => None,
    };
    credential_for(stored.as_ref(), pool.keys().as_ref())
}
