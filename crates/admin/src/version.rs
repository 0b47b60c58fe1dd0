//! What we say we are.

use plimsoll_config::Compat;

/// The version of PgBouncer whose shape we keep.
pub const PGBOUNCER_VERSION: &str = "1.25.2";

/// What `SHOW VERSION` and `--version` answer.
pub fn version(compat: Compat) -> String {
    match compat {
        Compat::Plimsoll => format!("plimsoll {}", env!("CARGO_PKG_VERSION")),
        Compat::Pgbouncer => format!("PgBouncer {PGBOUNCER_VERSION}"),
    }
}

/// `server_version` in the welcome of the console. The number before the slash is what drivers read.
pub(crate) fn server_version(compat: Compat) -> String {
    match compat {
        Compat::Plimsoll => format!("{}/plimsoll", env!("CARGO_PKG_VERSION")),
        Compat::Pgbouncer => format!("{PGBOUNCER_VERSION}/bouncer"),
    }
}
