//! How many server connections the pools can need, server by server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use plimsoll_config::{Budget, Compat, Database, Host, Plan, TargetLine};

use super::facts::{Answer, Facts, Origin, Running, Said, Target};

/// The role of a pool whose users are not known.
const ANYBODY: &str = "";
/// Places that `auto` leaves free where `target_headroom` is not set.
const HEADROOM: u32 = 3;

/// A server with all that leads to it.
#[derive(Clone, Debug)]
pub(super) struct Server<'a> {
    /// How it is reached: more than one where they are the same server.
    pub(super) targets: Vec<Target>,
    /// The databases whose pools can be there, the `*` line included.
    pub(super) databases: Vec<&'a Database>,
    /// What it answered; `None` when it was not asked.
    pub(super) answer: Option<&'a Answer>,
    /// What these pools can need.
    pub(super) demand: Demand,
    /// What bounds all pools there together.
    pub(super) bound: Bound,
}

/// What bounds the connections of all pools on one server, all targets of it together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nothing: `off`.
    Off,
    /// `auto`, and nobody asks the server: its refusals teach the budget.
    Learned,
    /// `auto`, asked of the server: what it has less the headroom, where it told us too.
    Asked(Option<u64>),
    /// A number that is written down.
    Set(u64),
}

impl Bound {
    /// The number, as far as it is known before anything is opened.
    pub(super) fn known(self) -> Option<u64> {
        match self {
            Bound::Off | Bound::Learned => None,
            Bound::Asked(number) => number,
            Bound::Set(number) => Some(number),
        }
    }

    /// Of two targets that are one server. What is weaker counts for both.
    fn and(self, other: Bound) -> Bound {
        match (self, other) {
            (Bound::Off, _) | (_, Bound::Off) => Bound::Off,
            (Bound::Learned, _) | (_, Bound::Learned) => Bound::Learned,
            (Bound::Set(a), Bound::Set(b)) => Bound::Set(a.saturating_add(b)),
            (a, b) => Bound::Asked(a.known().zip(b.known()).map(|(a, b)| a.saturating_add(b))),
        }
    }
}

/// What pools can need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Connections, over all known databases and users.
    pub(super) most: u64,
    /// Pools.
    pub(super) pools: usize,
    /// The same by role.
    pub(super) by_role: BTreeMap<String, u64>,
    /// The same by the name PostgreSQL has for the database.
    pub(super) by_dbname: BTreeMap<String, u64>,
    /// Why there can be more.
    pub(super) open_ended: Vec<&'static str>,
}

impl Server<'_> {
    /// Its name: how it is reached.
    pub(super) fn name(&self) -> String {
        let names: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        names.join(" = ")
    }

    /// What it said, if it did.
    pub(super) fn said(&self) -> Option<&Said> {
        self.answer.and_then(|answer| answer.as_ref().ok())
    }

    /// The most connections that Plimsoll will ever open there.
    pub(super) fn cap(&self) -> u64 {
        match self.bound.known() {
            Some(budget) if self.demand.open_ended.is_empty() => budget.min(self.demand.most),
            Some(budget) => budget,
            None => self.demand.most,
        }
    }

    /// Sessions there now that are not this pooler's.
    pub(super) fn others(&self, facts: &Facts) -> u64 {
        let sessions = self.said().map(|said| said.sessions.as_slice()).unwrap_or_default();
        let is_ours = |role: &str, from: &Origin| {
            facts.running == Running::Yes && *from == Origin::Here && self.demand.by_role.contains_key(role)
        };
        let others = sessions.iter().filter(|sessions| !is_ours(&sessions.role, &sessions.from));
        others.map(|sessions| u64::from(sessions.count)).sum()
    }

    /// Whether what goes there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.targets.iter().all(Target::is_local)
    }
}

/// All servers of a plan, in the order of their names.
pub(super) fn servers<'a>(plan: &'a Plan, facts: &'a Facts) -> Vec<Server<'a>> {
    let mut groups: BTreeMap<String, Vec<Target>> = BTreeMap::new();
    for target in targets(plan, &facts.names) {
        let key = match facts.answers.get(&target) {
            Some(Ok(said)) => format!("server {}", said.identity),
            Some(Err(_)) | None => format!("target {target}"),
        };
        groups.entry(key).or_default().push(target);
    }
    let server = |targets: Vec<Target>| {
        let leads = |database: &&Database| {
            targets_of(database, &facts.names).iter().any(|target| targets.contains(target))
        };
        let databases: Vec<&Database> = all(plan).filter(leads).collect();
        let answer = targets.first().and_then(|target| facts.answers.get(target));
        let said = answer.and_then(|answer| answer.as_ref().ok());
        let bounds = targets.iter().map(|target| bound(plan, target, facts, said));
        Server {
            answer,
            demand: demand(plan, &databases),
            bound: bounds.reduce(Bound::and).unwrap_or(Bound::Off),
            databases,
            targets,
        }
    };
    let mut servers: Vec<Server<'_>> = groups.into_values().map(server).collect();
    servers.sort_by(|a, b| a.targets.cmp(&b.targets));
    servers
}

/// What bounds the pools on one target.
fn bound(plan: &Plan, target: &Target, facts: &Facts, said: Option<&Said>) -> Bound {
    let line = line_of(plan, target, &facts.names);
    let headroom = line.and_then(|line| line.headroom).or(plan.own.target_headroom).unwrap_or(HEADROOM);
    let asks = plan.own.control_user.is_some() || plan.own.compat != Compat::Pgbouncer;
    match line.and_then(|line| line.budget).unwrap_or(plan.own.target_budget) {
        Budget::Off => Bound::Off,
        Budget::Max(number) => Bound::Set(number.into()),
        Budget::Auto if asks => {
            Bound::Asked(said.map(|said| u64::from(said.room().saturating_sub(headroom).max(1))))
        }
        Budget::Auto => Bound::Learned,
    }
}

/// The line of `[targets]` for a target: one that names it, or a name of it.
pub(super) fn line_of<'a>(
    plan: &'a Plan,
    target: &Target,
    names: &BTreeMap<String, Vec<IpAddr>>,
) -> Option<&'a TargetLine> {
    plan.targets.iter().find(|line| is_of(line, target, names))
}

/// Whether a line of `[targets]` counts for a target.
pub(super) fn is_of(line: &TargetLine, target: &Target, names: &BTreeMap<String, Vec<IpAddr>>) -> bool {
    let tcp = |host: String, port| Host::Tcp { host, port };
    match target {
        Target::Unix(dir, port) => line.names(&Host::Unix { dir: dir.clone(), port: *port }),
        Target::Name(host, port) => line.names(&tcp(host.clone(), *port)),
        Target::Tcp(ip, port) => {
            let of = names.iter().filter(|(_, ips)| ips.contains(ip)).map(|(name, _)| name.clone());
            of.chain([ip.to_string()]).any(|host| line.names(&tcp(host, *port)))
        }
    }
}

/// Every line of `[databases]`.
pub(super) fn all(plan: &Plan) -> impl Iterator<Item = &Database> {
    plan.databases.iter().chain(&plan.auto_database)
}

/// Every target of a plan, once.
pub(super) fn targets(plan: &Plan, names: &BTreeMap<String, Vec<IpAddr>>) -> BTreeSet<Target> {
    all(plan).flat_map(|database| targets_of(database, names)).collect()
}

/// The targets of a database: all addresses of all its hosts.
pub(super) fn targets_of(database: &Database, names: &BTreeMap<String, Vec<IpAddr>>) -> Vec<Target> {
    let mut targets = Vec::new();
    for host in &database.hosts {
        match host {
            Host::Unix { dir, port } => targets.push(Target::Unix(dir.clone(), *port)),
            Host::Tcp { host, port } => match (host.parse::<IpAddr>(), names.get(host)) {
                (Ok(ip), _) => targets.push(Target::Tcp(ip, *port)),
                (Err(_), Some(ips)) if !ips.is_empty() => {
                    targets.extend(ips.iter().map(|ip| Target::Tcp(*ip, *port)));
                }
                (Err(_), Some(_) | None) => targets.push(Target::Name(host.clone(), *port)),
            },
        }
    }
    targets
}

/// The roles that a database's pools can have.
pub(super) fn roles<'a>(plan: &'a Plan, database: &'a Database) -> Vec<&'a str> {
    match &database.user {
        Some(user) => vec![user],
        None if plan.logins.is_empty() => vec![ANYBODY],
        None => plan.logins.keys().map(String::as_str).collect(),
    }
}

/// What the pools of these databases can need: the smaller of the sums by database and by role, each with its limit.
fn demand(plan: &Plan, databases: &[&Database]) -> Demand {
    let mut demand = Demand::default();
    let mut by_databases: u64 = 0;
    for database in databases {
        let mut sum: u64 = 0;
        for role in roles(plan, database) {
            let pool = pool_max(plan, database, role);
            sum = sum.saturating_add(pool);
            demand.pools += 1;
            let of_role = demand.by_role.entry(role.to_string()).or_default();
            *of_role = of_role.saturating_add(pool);
        }
        let limit = database.max_db_connections.unwrap_or(plan.general.max_db_connections);
        let sum = limited(sum, limit);
        by_databases = by_databases.saturating_add(sum);
        let dbname = database.dbname.as_ref().unwrap_or(&database.name);
        let of_dbname = demand.by_dbname.entry(dbname.clone()).or_default();
        *of_dbname = of_dbname.saturating_add(sum);
    }
    for (role, sum) in &mut demand.by_role {
        let own = plan.users.get(role).and_then(|user| user.max_user_connections);
        *sum = limited(*sum, own.unwrap_or(plan.general.max_user_connections));
    }
    let by_roles = demand.by_role.values().fold(0_u64, |all, sum| all.saturating_add(*sum));
    demand.most = by_databases.min(by_roles);
    demand.open_ended = open_ended(plan, databases);
    demand
}

/// Zero is no limit.
fn limited(sum: u64, limit: u32) -> u64 {
    match limit {
        0 => sum,
        limit => sum.min(limit.into()),
    }
}

/// Pool and reserve of one database and role.
fn pool_max(plan: &Plan, database: &Database, role: &str) -> u64 {
    let (general, user) = (&plan.general, plan.users.get(role));
    let size =
        user.and_then(|user| user.pool_size).or(database.pool_size).unwrap_or(general.default_pool_size);
    u64::from(size) + u64::from(reserve(plan, database, role))
}

/// The reserve of one database and role; a `reserve_pool_timeout` of zero turns it off.
pub(super) fn reserve(plan: &Plan, database: &Database, role: &str) -> u32 {
    let own = plan.users.get(role).and_then(|user| user.reserve_pool_size).or(database.reserve_pool_size);
    match plan.general.reserve_pool_timeout.is_zero() {
        true => 0,
        false => own.unwrap_or(plan.general.reserve_pool_size),
    }
}

fn open_ended(plan: &Plan, databases: &[&Database]) -> Vec<&'static str> {
    let general = &plan.general;
    let by_login: Vec<&&Database> = databases.iter().filter(|database| database.user.is_none()).collect();
    let asks = |database: &&&Database| database.auth_user.is_some() || general.auth_user.is_some();
    let mut reasons = Vec::new();
    if databases.iter().any(|database| database.name == "*") {
        reasons.push("the * line makes pools for any database");
    }
    if by_login.iter().any(asks) {
        reasons.push("auth_query finds users that auth_file does not have");
    } else if plan.logins.is_empty() && !by_login.is_empty() {
        reasons.push("the users are not in auth_file");
    }
    reasons
}

#[cfg(test)]
pub(super) mod tests;
