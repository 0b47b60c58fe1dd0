//! How loud a line of the log is that PgBouncer does not have and nobody has asked for: whoever watches the log of a drop-in
//! replacement for WARNING is not to be woken by something new. What a key of the file or an administrator has asked for
//! (policies, caps) is said in both shapes.

use plimsoll_config::Compat;

/// A warning; in PgBouncer's shape it is there at debug level.
pub(crate) fn warn(compat: Compat, text: &str) {
    match compat {
        Compat::Plimsoll => tracing::warn!("{text}"),
        Compat::Pgbouncer => tracing::debug!("{text}"),
    }
}

/// Something worth knowing; in PgBouncer's shape it is there at debug level.
pub(crate) fn info(compat: Compat, text: &str) {
    match compat {
        Compat::Plimsoll => tracing::info!("{text}"),
        Compat::Pgbouncer => tracing::debug!("{text}"),
    }
}
