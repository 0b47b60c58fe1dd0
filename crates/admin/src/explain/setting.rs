//! A limit, its value, and the place where that is set: `max_db_connections = 4 of database shop, a.ini:2`.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Database, Place, Plan};
use plimsoll_proxy::{Level, TargetView};
use plimsoll_types::{Cause, SqlState};

/// What may be told of the settings in force.
pub(super) struct Settings {
    pub(super) plan: Arc<Plan>,
    /// Files are for administrators.
    pub(super) level: Level,
}

impl Settings {
    /// A key of `[pgbouncer]`.
    pub(super) fn global(&self, key: &str, value: impl Display) -> String {
        format!("{key} = {value}{}", self.set_at("pgbouncer", key))
    }

    /// A key of `[plimsoll]`.
    pub(super) fn own(&self, key: &str) -> String {
        let shown = plimsoll_config::own_shown(&self.plan.own);
        let value = shown.into_iter().find(|line| line.key == key).and_then(|line| line.value);
        format!("{key} = {}{}", value.unwrap_or_default(), self.set_at("plimsoll", key))
    }

    /// A key that a database's line may have, where 0 stands for the global value.
    pub(super) fn of_database(&self, key: &str, database: &str, own: Option<u32>, global: u32) -> String {
        match own.filter(|number| *number > 0) {
            Some(number) => {
                format!("{key} = {number} of database {database}{}", self.line_of_database(database))
            }
            None => self.global(key, global),
        }
    }

    /// A key that a user's line may have, where 0 stands for the global value.
    pub(super) fn of_user(&self, key: &str, user: &str, own: Option<u32>, global: u32) -> String {
        match own.filter(|number| *number > 0) {
            Some(number) => format!("{key} = {number} of user {user}{}", self.line_of_user(user)),
            None => self.global(key, global),
        }
    }

    /// `pool_size` and the reserve: the role's word, else the database's, else the global one. 0 is a number there.
    pub(super) fn pool_size(&self, name: &str, database: Option<&Database>, role: &str) -> String {
        let (general, user) = (&self.plan.general, self.plan.users.get(role));
        let say = |key: &str, of_user: Option<u32>, of_database: Option<u32>| match (of_user, of_database) {
            (Some(number), _) => Some(format!("{key} = {number} of user {role}{}", self.line_of_user(role))),
            (None, Some(number)) => {
                Some(format!("{key} = {number} of database {name}{}", self.line_of_database(name)))
            }
            (None, None) => None,
        };
        let of_user = user.and_then(|user| user.pool_size);
        let size = say("pool_size", of_user, database.and_then(|line| line.pool_size))
            .unwrap_or_else(|| self.global("default_pool_size", general.default_pool_size));
        let of_user = user.and_then(|user| user.reserve_pool_size);
        let of_database = database.and_then(|line| line.reserve_pool_size);
        match of_user.or(of_database).unwrap_or(general.reserve_pool_size) {
            0 => size,
            number => {
                let reserve = say("reserve_pool_size", of_user, of_database)
                    .unwrap_or_else(|| self.global("reserve_pool_size", number));
                format!("{size}; {reserve}")
            }
        }
    }

    /// How long nobody connects after a failure for this cause.
    pub(super) fn backoff(&self, cause: Option<&Cause>) -> String {
        let general = &self.plan.general;
        let retry = || self.global("server_login_retry", seconds(general.server_login_retry));
        if cause.is_some_and(is_refusal) || self.plan.place_of("pgbouncer", "server_login_retry").is_some() {
            return retry();
        }
        format!("{}; {}", self.own("connect_backoff_min"), self.own("connect_backoff_max"))
    }

    /// A number of connections that a file gives a target.
    pub(super) fn budget(&self, target: &TargetView) -> String {
        match target.line.as_ref().and_then(|line| Some((line, line.budget?))) {
            Some((line, budget)) => {
                format!("budget={budget} of target {line}{}", self.place(self.plan.place_of_target(line)))
            }
            None => self.own("target_budget"),
        }
    }

    /// What `auto` leaves free at a target.
    pub(super) fn headroom(&self, target: &TargetView) -> String {
        match target.line.as_ref().and_then(|line| Some((line, line.headroom?))) {
            Some((line, headroom)) => {
                format!("headroom={headroom} of target {line}{}", self.place(self.plan.place_of_target(line)))
            }
            None => self.own("target_headroom"),
        }
    }

    /// `, file:line` of a database.
    pub(super) fn line_of_database(&self, name: &str) -> String {
        self.place(self.plan.place_of_database(name))
    }

    fn line_of_user(&self, name: &str) -> String {
        self.place(self.plan.place_of_user(name))
    }

    fn set_at(&self, section: &str, key: &str) -> String {
        if self.plan.set_live.contains(key) {
            return ", SET on the console".to_string();
        }
        match self.plan.place_of(section, key) {
            Some(place) => self.place(Some(place)),
            None => ", the default".to_string(),
        }
    }

    fn place(&self, place: Option<&Place>) -> String {
        match (self.level, place) {
            (Level::Admin, Some(place)) => format!(", {place}"),
            (Level::Admin | Level::Stats, _) => String::new(),
        }
    }
}

/// Whether the server said no to who we are: then people have to mend something, and it is not tried so soon.
fn is_refusal(cause: &Cause) -> bool {
    let again = [SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
    matches!(cause, Cause::Server { sqlstate, .. } if !again.contains(sqlstate))
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
