//! What we say we are.

use plimsoll_config::Compat;

/// The version of PgBouncer whose console and messages these are.
pub const PGBOUNCER_VERSION: &str = "1.25.2";

/// What follows the name in the answer to `--version`.
pub const COMPAT_VERSION: &str = concat!("1.25.2 (Plimsoll ", env!("CARGO_PKG_VERSION"), ")");

/// What `SHOW VERSION` and `--version` answer.
pub fn version(compat: Compat) -> String {
    match compat {
        Compat::Plimsoll => format!("plimsoll {}", env!("CARGO_PKG_VERSION")),
        // Whoever parses the number finds it where it is in PgBouncer's answer.
        Compat::Pgbouncer => {
            format!("PgBouncer {PGBOUNCER_VERSION} (Plimsoll {})", env!("CARGO_PKG_VERSION"))
        }
    }
}

/// `server_version` in the welcome of the console: drivers look at the number, tools at the word behind it, and both
/// mean which console this is.
pub(crate) fn server_version() -> String {
    format!("{PGBOUNCER_VERSION}/bouncer")
}
