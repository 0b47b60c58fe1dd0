//! The rules: pure functions from what the configuration says and what is known of the world to findings. Each rule is
//! explained in `docs/check.md` under its id.

mod auth;
mod files;
mod identity;
mod issuers;
mod limits;
mod servers;
mod sessions;
mod silence;
mod state;
mod targets;
mod timers;
mod tls;
mod vouch;

use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_types::PoolMode;

use super::demand::Server;
use super::facts::Facts;
use super::finding::{Finding, Level, Place};
use super::places::Places;
pub(super) use files::folder_of;

/// What is judged.
#[derive(Debug)]
pub(super) struct Case<'a> {
    /// What the configuration says.
    pub(super) plan: &'a Plan,
    /// Where it says it.
    pub(super) places: &'a Places,
    /// What is known of the world.
    pub(super) facts: &'a Facts,
    /// The servers and what leads to them.
    pub(super) servers: &'a [Server<'a>],
}

/// Everything that is wrong or doubtful.
pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let rules = [
        auth::judge,
        files::judge,
        identity::judge,
        issuers::judge,
        limits::judge,
        servers::judge,
        sessions::judge,
        silence::judge,
        state::judge,
        targets::judge,
        timers::judge,
        tls::judge,
        vouch::judge,
    ];
    rules.iter().flat_map(|rule| rule(case)).collect()
}

impl Case<'_> {
    /// Whether clients can come from other machines.
    fn is_open(&self) -> bool {
        let is_local = |address: &String| {
            address.eq_ignore_ascii_case("localhost")
                || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
        };
        !self.plan.general.listen_addr.iter().all(is_local)
    }

    /// Whether any pool can be of one of these modes.
    fn has_mode(&self, modes: &[PoolMode]) -> bool {
        let of_databases = super::demand::all(self.plan)
            .map(|database| database.pool_mode.unwrap_or(self.plan.general.pool_mode));
        let of_users = self.plan.users.values().filter_map(|user| user.pool_mode);
        of_databases.chain(of_users).any(|mode| modes.contains(&mode))
    }
}

fn mistake(id: &'static str, at: Place, message: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding::new(Level::Mistake, id, at, message, todo)
}

fn warning(id: &'static str, at: Place, message: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding::new(Level::Warning, id, at, message, todo)
}

fn note(id: &'static str, at: Place, message: impl Into<String>, todo: impl Into<String>) -> Finding {
    Finding::new(Level::Note, id, at, message, todo)
}

/// Seconds as the ini file writes them.
fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// Names in a sentence: the first few of them.
fn some<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
