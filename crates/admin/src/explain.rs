//! `EXPLAIN ADMISSION [database] [user]`: would a new client get a server connection now, and if not, what stops it,
//! where that is set, who uses it up, and how long it may take.

mod caps;
mod holders;
mod parts;
mod setting;
mod wait;

use std::collections::BTreeSet;
use std::sync::Arc;

use plimsoll_config::{Database, Plan};
use plimsoll_pool::{Admission, BudgetSource, Obstacle};
use plimsoll_proxy::{AdmissionView, Level, TargetView, Visitor};
use plimsoll_types::{Cause, TargetId};

use crate::failure::Failure;
use crate::pooler::Pooler;
use crate::why::age;
use holders::Scope;
use setting::Settings;

/// Most answers to a question about everybody.
const ANSWERS_MAX: usize = 1000;
/// Most users that are named where nobody has a pool.
const USERS_NAMED_MAX: usize = 10;

/// The answer, a sentence or two in each line.
///
/// # Errors
/// [`Failure::AdminNeeded`]: who is no administrator may ask about itself alone.
pub(crate) fn answer(
    pooler: &dyn Pooler,
    visitor: Visitor<'_>,
    database: Option<&str>,
    user: Option<&str>,
) -> Result<Vec<String>, Failure> {
    let level = visitor.level;
    let mut lines = match (level, database, user) {
        (Level::Admin, Some(database), Some(user)) => admission(pooler, level, database, user),
        (Level::Admin, Some(database), None) => of_database(pooler, visitor, database),
        (Level::Admin, None, _) => of_all_pools(pooler, level),
        (Level::Stats, _, Some(user)) if user != visitor.user => return Err(Failure::AdminNeeded),
        (Level::Stats, Some(database), _) => admission(pooler, level, database, visitor.user),
        (Level::Stats, None, _) => of_itself(pooler, visitor.user),
    };
    // They are for some clients of all pools, and come before everything that has been told so far.
    lines.extend(caps::lines(pooler, level));
    Ok(lines)
}

/// One user of one database, with all there is to say.
fn admission(pooler: &dyn Pooler, level: Level, database: &str, user: &str) -> Vec<String> {
    let asks = Asks::new(pooler, level, database, user);
    let view = pooler.admission(database, user);
    let mut lines = vec![asks.verdict(&view)];
    if let Some(cause) = &view.at_the_door {
        lines.extend(asks.door(cause));
        return lines;
    }
    if let Some(Admission::Waits(obstacles)) = &view.pool {
        let mut told: BTreeSet<Scope> = BTreeSet::new();
        for obstacle in obstacles {
            lines.push(asks.obstacle(obstacle, &view));
            if let Some(scope) = asks.scope(obstacle, &view)
                && told.insert(scope.clone())
            {
                lines.extend(holders::lines(pooler, &scope));
            }
        }
        lines.extend(parts::line(pooler, level, &view));
        lines.extend(wait::line(pooler, database, asks.role(&view), &view));
    }
    lines
}

/// All that have a pool of a database.
fn of_database(pooler: &dyn Pooler, visitor: Visitor<'_>, database: &str) -> Vec<String> {
    let pools = pooler.pool_keys();
    let of_it = |key: &&plimsoll_proxy::KeyView| key.purpose == "clients" && &*key.database == database;
    let users: BTreeSet<Arc<str>> = pools.iter().filter(of_it).map(|key| key.role.clone()).collect();
    if !users.is_empty() {
        let answers = users.iter().take(ANSWERS_MAX);
        return answers.flat_map(|user| admission(pooler, visitor.level, database, user)).collect();
    }
    let plan = pooler.plan();
    if let Some(forced) = find_database(&plan, database).and_then(|line| line.user.as_deref()) {
        return admission(pooler, visitor.level, database, forced);
    }
    if let Some(cause @ Cause::NoSuchDatabase { .. }) = pooler.admission(database, visitor.user).at_the_door {
        return vec![format!("A new client of database {database} would be refused: {}", cause.message())];
    }
    let known: Vec<&str> = plan.logins.keys().take(USERS_NAMED_MAX).map(String::as_str).collect();
    let more = plan.logins.len().saturating_sub(known.len());
    let users = match (known.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!(" (auth_file has {})", known.join(", ")),
        (false, more) => format!(" (auth_file has {} and {more} others)", known.join(", ")),
    };
    vec![format!(
        "Nobody has a pool of database {database} yet: EXPLAIN ADMISSION {database} USER tells what would become of a \
         user{users}."
    )]
}

/// Each pool there is, in one line.
fn of_all_pools(pooler: &dyn Pooler, level: Level) -> Vec<String> {
    let pools: Vec<_> = pooler.pool_keys().into_iter().filter(|key| key.purpose == "clients").collect();
    let asked = pools.iter().take(ANSWERS_MAX);
    let mut lines: Vec<String> = asked.map(|key| in_brief(pooler, level, &key.database, &key.role)).collect();
    if lines.is_empty() {
        lines.push(
            "There is no pool yet: EXPLAIN ADMISSION DATABASE USER tells what would become of a first client."
                .to_string(),
        );
    }
    if pools.len() > ANSWERS_MAX {
        lines.push(format!("And {} more pools.", pools.len() - ANSWERS_MAX));
    }
    lines
}

/// What would become of one who is no administrator, in each database that the file names.
fn of_itself(pooler: &dyn Pooler, user: &str) -> Vec<String> {
    let plan = pooler.plan();
    let names = plan.databases.iter().map(|database| database.name.as_str()).take(ANSWERS_MAX);
    let lines: Vec<String> = names.map(|name| in_brief(pooler, Level::Stats, name, user)).collect();
    match lines.is_empty() {
        true => vec!["The file names no database: EXPLAIN ADMISSION DATABASE asks about one.".to_string()],
        false => lines,
    }
}

/// The verdict, and the first thing that stands in the way.
fn in_brief(pooler: &dyn Pooler, level: Level, database: &str, user: &str) -> String {
    let asks = Asks::new(pooler, level, database, user);
    let view = pooler.admission(database, user);
    let verdict = asks.verdict(&view);
    let why = match (&view.at_the_door, &view.pool) {
        (Some(cause), _) => asks.door(cause).map(|limit| format!(" ({limit})")),
        (None, Some(Admission::Waits(obstacles))) => {
            obstacles.first().map(|obstacle| format!(" {}", asks.obstacle(obstacle, &view)))
        }
        (None, _) => None,
    };
    verdict + &why.unwrap_or_default()
}

/// The line of a database: its own, or that of `*`.
fn find_database<'a>(plan: &'a Plan, name: &str) -> Option<&'a Database> {
    plan.databases.iter().find(|line| line.name == name).or(plan.auto_database.as_ref())
}

struct Asks<'a> {
    pooler: &'a dyn Pooler,
    settings: Settings,
    database: &'a str,
    user: &'a str,
}

impl<'a> Asks<'a> {
    fn new(pooler: &'a dyn Pooler, level: Level, database: &'a str, user: &'a str) -> Asks<'a> {
        Asks { pooler, settings: Settings { plan: pooler.plan(), level }, database, user }
    }

    /// The pool's role.
    fn role<'v>(&'v self, view: &'v AdmissionView) -> &'v str {
        view.role.as_deref().unwrap_or(self.user)
    }

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
                before if parts::is_shared(view) => {
                    format!("{who} would wait with {before} others, who are served by weight.")
                }
                before => format!("{who} would wait behind {before} others."),
            },
        }
    }

    /// Where a limit of clients is set.
    fn door(&self, cause: &Cause) -> Option<String> {
        let (settings, line) = (&self.settings, find_database(&self.settings.plan, self.database));
        let general = &settings.plan.general;
        match cause {
            Cause::MaxClientConn => Some(settings.global("max_client_conn", general.max_client_conn)),
            Cause::MaxDbClients => Some(settings.of_database(
                "max_db_client_connections",
                self.database,
                line.and_then(|line| line.max_db_client_connections),
                general.max_db_client_connections,
            )),
            Cause::MaxUserClients => {
                let user = settings.plan.users.get(self.user);
                Some(settings.of_user(
                    "max_user_client_connections",
                    self.user,
                    user.and_then(|user| user.max_user_client_connections),
                    general.max_user_client_connections,
                ))
            }
            _ => None,
        }
    }

    fn obstacle(&self, obstacle: &Obstacle, view: &AdmissionView) -> String {
        let (settings, role) = (&self.settings, self.role(view));
        let line = find_database(&settings.plan, self.database);
        match obstacle {
            Obstacle::Paused if self.pooler.is_paused() => {
                "Everything is paused: RESUME lets it go on.".to_string()
            }
            Obstacle::Paused => format!("The database is paused: RESUME {} lets it go on.", self.database),
            Obstacle::PoolSize { max, used } => {
                let size = self.settings.pool_size(self.database, line, role);
                let streams = self.replicating(role);
                format!("The pool is full: {used} of {max} server connections{streams} ({size}).")
            }
            Obstacle::RoleLimit { max } => {
                let server = line.and_then(|line| line.dbname.as_deref()).unwrap_or(self.database);
                format!(
                    "The CONNECTION LIMIT of the role or of the database in PostgreSQL leaves this pool {max} connections; \
                     ALTER ROLE {role} or ALTER DATABASE {server} raises it, no key of a file does."
                )
            }
            Obstacle::Blocked { again_in, cause } => {
                let why = cause.as_ref().map_or_else(String::new, |cause| format!(" ({})", cause.message()));
                let keys = self.settings.backoff(cause.as_ref());
                format!("Connecting has failed{why}; tried again in {} ({keys}).", age(*again_in))
            }
            Obstacle::Opening => {
                "A connection is being opened; each pool opens one at a time, whatever is set.".to_string()
            }
            Obstacle::NoTarget => {
                let host = line.and_then(|line| line.host.as_deref()).unwrap_or("the server");
                format!("{host} cannot be resolved{}.", settings.line_of_database(self.database))
            }
            Obstacle::Budget { target, max, used, reserved } => {
                let kept = match reserved {
                    0 => String::new(),
                    reserved => format!(", {reserved} kept for auth_query or control_user"),
                };
                format!(
                    "The budget of {} is used up: {used} of {max} connections, of all pools together{kept}{}.",
                    address(view, *target),
                    self.budget_from(address(view, *target))
                )
            }
            Obstacle::Database { max, used } => {
                let set = settings.of_database(
                    "max_db_connections",
                    self.database,
                    line.and_then(|line| line.max_db_connections),
                    settings.plan.general.max_db_connections,
                );
                format!("max_db_connections is used up: {used} of {max} connections ({set}).")
            }
            Obstacle::User { max, used } => {
                let set = settings.of_user(
                    "max_user_connections",
                    role,
                    settings.plan.users.get(role).and_then(|user| user.max_user_connections),
                    settings.plan.general.max_user_connections,
                );
                format!("max_user_connections is used up: {used} of {max} connections ({set}).")
            }
            Obstacle::Concurrency { target, opening } => format!(
                "{opening} logins are in flight at {}, as many as may be ({}).",
                address(view, *target),
                settings.own("connect_concurrency")
            ),
        }
    }

    /// How many of a role's pool are for replication, in words; nothing if none are.
    fn replicating(&self, role: &str) -> String {
        let keys = self.pooler.pool_keys();
        let is_it = |key: &&plimsoll_proxy::KeyView| {
            key.purpose == "replication" && &*key.database == self.database && &*key.role == role
        };
        let counts = keys.iter().filter(is_it).map(|key| &key.counts);
        match counts.map(|counts| counts.opening + counts.held + counts.closing).sum::<u32>() {
            0 => String::new(),
            streams => format!(", {streams} of them for replication"),
        }
    }

    /// Whose connections use a limit up; `None` where it is nobody's.
    fn scope(&self, obstacle: &Obstacle, view: &AdmissionView) -> Option<Scope> {
        let role = self.role(view).to_string();
        match obstacle {
            Obstacle::PoolSize { .. } | Obstacle::RoleLimit { .. } => {
                Some(Scope::Pool(self.database.to_string(), role))
            }
            Obstacle::Budget { target, .. } => Some(Scope::Target(address(view, *target).to_string())),
            Obstacle::Database { .. } => Some(Scope::Database(self.database.to_string())),
            Obstacle::User { .. } => Some(Scope::Role(role)),
            Obstacle::Paused | Obstacle::Blocked { .. } | Obstacle::Opening | Obstacle::NoTarget => None,
            Obstacle::Concurrency { .. } => None,
        }
    }

    /// Where the number of a target comes from.
    fn budget_from(&self, address: &str) -> String {
        let targets = self.pooler.targets();
        let Some(target) = targets.iter().find(|target| target.address == address) else {
            return String::new();
        };
        match target.source {
            BudgetSource::Configured => format!(" ({})", self.settings.budget(target)),
            BudgetSource::Asked => self.said(target),
            BudgetSource::Presumed => " (the control user cannot look at the server now)".to_string(),
            BudgetSource::Refused => " (the server refused more; one more is tried by and by)".to_string(),
            BudgetSource::Unlimited => String::new(),
        }
    }

    fn said(&self, target: &TargetView) -> String {
        let said = target.said.as_ref().map_or_else(String::new, |said| {
            let foreign =
                said.foreign.map_or_else(String::new, |foreign| format!(", {foreign} sessions of others"));
            format!(": max_connections {}, {} reserved{foreign}", said.max_connections, said.reserved)
        });
        format!(" (by what the server says{said}; less {})", self.settings.headroom(target))
    }
}

fn address(view: &AdmissionView, target: TargetId) -> &str {
    view.targets.iter().find(|(known, _)| *known == target).map_or("the server", |(_, address)| address)
}

#[cfg(test)]
mod tests;
