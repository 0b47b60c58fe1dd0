//! `EXPLAIN ADMISSION [database] [user]`: would a new client get a server connection now, and if not, what stops it,
//! where that is set, who uses it up, and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Place, Plan};
use plimsoll_pool::{Admission, BudgetSource, Obstacle};
use plimsoll_proxy::{AdmissionView, HoldView, Level, NeedView};
use plimsoll_types::{Cause, TargetId};

use crate::pooler::Pooler;
use crate::why::age;

/// How many holders are named.
const HOLDERS: usize = 5;

/// The answer, a sentence or two in each line.
pub(crate) fn admission(pooler: &dyn Pooler, level: Level, database: &str, user: &str) -> Vec<String> {
    let view = pooler.admission(database, user);
    let asks = Asks { pooler, level, plan: pooler.plan(), database, user };
    let mut lines = vec![asks.verdict(&view)];
    if let Some(cause) = &view.at_the_door {
        lines.extend(asks.door(cause));
        return lines;
    }
    if let Some(Admission::Waits(obstacles)) = &view.pool {
        for obstacle in obstacles {
            lines.push(asks.obstacle(obstacle, &view));
        }
        lines.extend(asks.holders(&view));
        lines.extend(asks.wait(&view));
    }
    lines
}

struct Asks<'a> {
    pooler: &'a dyn Pooler,
    level: Level,
    plan: Arc<Plan>,
    database: &'a str,
    user: &'a str,
}

impl Asks<'_> {
    fn verdict(&self, view: &AdmissionView) -> String {
        let Asks { database, user, .. } = self;
        let who = format!("A new client of database {database} as user {user}");
        match (&view.at_the_door, &view.pool) {
            (Some(cause), _) => format!("{who} would be refused: {}", cause.message()),
            (None, Some(Admission::Opens)) if !view.exists => {
                format!("{who} would make a new pool, and a connection is opened for it.")
            }
            (None, Some(Admission::Waits(_))) if !view.exists => {
                format!("{who} would make a new pool, and wait.")
            }
            (None, None) => format!("{who} would make a new database and a new pool."),
            (None, Some(Admission::AtOnce)) => format!("{who} would get a server connection at once."),
            (None, Some(Admission::Opens)) => {
                format!("{who} would get one as soon as it is opened; nothing is in the way.")
            }
            (None, Some(Admission::Refused(cause))) => format!("{who} would be refused: {}", cause.message()),
            (None, Some(Admission::Waits(_))) => match view.before {
                0 => format!("{who} would wait; nobody is before it."),
                before => format!("{who} would wait behind {before} others."),
            },
        }
    }

    /// Where a limit of clients is set.
    fn door(&self, cause: &Cause) -> Option<String> {
        let general = &self.plan.general;
        let (key, value) = match cause {
            Cause::MaxClientConn => ("max_client_conn", general.max_client_conn),
            Cause::MaxDbClients => ("max_db_client_connections", general.max_db_client_connections),
            Cause::MaxUserClients => ("max_user_client_connections", general.max_user_client_connections),
            _ => return None,
        };
        Some(format!("{key} = {value}{}", self.set_at(key)))
    }

    fn obstacle(&self, obstacle: &Obstacle, view: &AdmissionView) -> String {
        let address = |id: &TargetId| {
            view.targets.iter().find(|(known, _)| known == id).map_or("the server", |(_, address)| address)
        };
        match obstacle {
            Obstacle::Paused => "The database is paused: RESUME lets it go on.".to_string(),
            Obstacle::PoolSize { max, used } => {
                format!("The pool is full: {used} of {max} server connections{}.", self.size_set_at())
            }
            Obstacle::RoleLimit { max } => format!(
                "The CONNECTION LIMIT of the role or of the database in PostgreSQL leaves this pool {max} connections; \
                 ALTER ROLE or ALTER DATABASE raises it."
            ),
            Obstacle::Blocked { again_in, cause } => {
                let why = cause.as_ref().map_or_else(String::new, |cause| format!(" ({})", cause.message()));
                format!("Connecting has failed{why}; tried again in {}.", age(*again_in))
            }
            Obstacle::Opening => "A connection is being opened; each pool opens one at a time.".to_string(),
            Obstacle::NoTarget => "The name of the server cannot be resolved.".to_string(),
            Obstacle::Budget { target, max, used, reserved } => {
                let kept = match reserved {
                    0 => String::new(),
                    reserved => format!(", {reserved} kept for auth_query or control_user"),
                };
                format!(
                    "The budget of {} is used up: {used} of {max} connections, of all pools together{kept}{}.",
                    address(target),
                    self.budget_from(address(target))
                )
            }
            Obstacle::Database { max, used } => format!(
                "max_db_connections is used up: {used} of {max} connections{}.",
                self.set_at("max_db_connections")
            ),
            Obstacle::User { max, used } => format!(
                "max_user_connections is used up: {used} of {max} connections{}.",
                self.set_at("max_user_connections")
            ),
            Obstacle::Concurrency { target, opening } => {
                format!("{opening} logins are in flight at {}; that is connect_concurrency.", address(target))
            }
        }
    }

    /// Who holds what a client waits for, in groups, the largest first.
    fn holders(&self, view: &AdmissionView) -> Vec<String> {
        let role = view.role.as_deref().unwrap_or(self.user);
        let mine = |hold: &&HoldView| &*hold.who.database == self.database && &*hold.role == role;
        let holds = self.pooler.holds();
        let held: Vec<&HoldView> = holds.iter().filter(mine).collect();
        let held = if held.is_empty() { holds.iter().collect() } else { held };
        let mut groups: std::collections::BTreeMap<String, (u32, Duration)> =
            std::collections::BTreeMap::new();
        for hold in &held {
            let application =
                if hold.who.application.is_empty() { "(no name)" } else { &hold.who.application };
            let group = groups.entry(format!("{application}, {}", hold.state)).or_default();
            *group = (group.0 + 1, group.1.max(hold.age));
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(_, a), (_, b)| b.cmp(a));
        let told = groups.into_iter().take(HOLDERS);
        told.map(|(who, (count, oldest))| format!("Held: {count} by {who}, the oldest for {}.", age(oldest)))
            .collect()
    }

    /// How long it may take, by the holds of the last minutes.
    fn wait(&self, view: &AdmissionView) -> Option<String> {
        let role = view.role.as_deref().unwrap_or(self.user);
        let house = self.pooler.house();
        let mine = |pool: &&NeedView| &*pool.database == self.database && &*pool.role == role;
        let need = house.pools.iter().find(mine).filter(|pool| !pool.hold_mean.is_zero())?;
        let turns = view.before / need.size.max(1) + 1;
        Some(format!(
            "By the holds of the last minutes ({} on average) it would take about {}.",
            age(need.hold_mean),
            age(need.hold_mean.saturating_mul(turns))
        ))
    }

    fn budget_from(&self, address: &str) -> String {
        let targets = self.pooler.targets();
        let Some(target) = targets.iter().find(|target| target.address == address) else {
            return String::new();
        };
        match target.source {
            BudgetSource::Configured => format!(" (target_budget{})", self.set_at("target_budget")),
            BudgetSource::Asked => {
                let said = target.said.as_ref().map_or_else(String::new, |said| {
                    let foreign = said
                        .foreign
                        .map_or_else(String::new, |foreign| format!(", {foreign} sessions of others"));
                    format!(": max_connections {}, {} reserved{foreign}", said.max_connections, said.reserved)
                });
                format!(" (by what the server says{said}, less target_headroom)")
            }
            BudgetSource::Presumed => " (the control user cannot look at the server now)".to_string(),
            BudgetSource::Refused => " (the server refused more; one more is tried by and by)".to_string(),
            BudgetSource::Unlimited => String::new(),
        }
    }

    /// File and line of a key, for whoever may see that.
    fn set_at(&self, key: &str) -> String {
        if self.level != Level::Admin {
            return String::new();
        }
        let place = self.plan.place_of("pgbouncer", key).or_else(|| self.plan.place_of("plimsoll", key));
        self.place(place).unwrap_or_else(|| ", the default".to_string())
    }

    fn size_set_at(&self) -> String {
        let database = self.plan.databases.iter().find(|line| line.name == self.database);
        let own = database.is_some_and(|line| line.pool_size.is_some());
        let of_user = self.plan.users.get(self.user).is_some_and(|user| user.pool_size.is_some());
        let place = match (of_user, own) {
            (true, _) => self.place(self.plan.place_of_user(self.user)),
            (false, true) => self.place(self.plan.place_of_database(self.database)),
            (false, false) => return format!(" (default_pool_size{})", self.set_at("default_pool_size")),
        };
        format!(" (pool_size{})", place.unwrap_or_default())
    }

    fn place(&self, place: Option<&Place>) -> Option<String> {
        let may_know = self.level == Level::Admin;
        place.filter(|_| may_know).map(|place| format!(", {}:{}", place.file.display(), place.line))
    }
}
