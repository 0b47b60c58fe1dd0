//! Where the Rust drivers connect to, and what they share.

use std::future::Future;
use std::time::Duration;

/// How many clients the crowd has; the pool has far fewer servers.
pub(crate) const CROWD: i32 = 20;

/// A pool mode; each can do what the ones before it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Statement,
    Transaction,
    Session,
}

impl Mode {
    /// Its name, which is also the name of its database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Statement => "statement",
            Mode::Transaction => "transaction",
            Mode::Session => "session",
        }
    }
}

/// Where to connect, and the pool mode there.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    pub(crate) mode: Mode,
}

impl Target {
    /// How many connections a pool of the driver may keep: in session mode each keeps a server of ours.
    pub(crate) fn driver_pool_size(&self) -> u32 {
        if self.mode == Mode::Session { 3 } else { 20 }
    }
}

/// Counts running queries with a mark in their text. It does not find itself.
pub(crate) const RUNNING_SQL: &str = "SELECT count(*) FROM pg_stat_activity \
    WHERE state = 'active' AND pid <> pg_backend_pid() AND position($1 IN query) > 0";

/// Asks until the answer is yes, for at most 20 seconds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    for _ in 0..2000 {
        if ask().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 20 s: {what}");
}

/// One case after the other, each with a bound; the name of the one that fails is in the panic message.
macro_rules! run_cases {
    ($target:expr, $($needs:ident: $case:path,)*) => {{
        let target: &$crate::target::Target = $target;
        $(
            if target.mode >= $crate::target::Mode::$needs {
                let bound = std::time::Duration::from_secs(60);
                let done = tokio::time::timeout(bound, $case(target)).await;
                assert!(done.is_ok(), "{} in {} mode: not done after a minute", stringify!($case), target.mode.name());
            }
        )*
    }};
}
pub(crate) use run_cases;
