//! Pools against the places that servers have (incident 1: nobody owned the server's cap).

use super::super::demand::{Bound, Server, line_of};
use super::super::facts::{Full, Rank, Reach, Said};
use super::super::finding::{Finding, Place, Section};
use super::{Case, note, some, warning};

/// One place in so many is left free beside the sessions that are there now.
const SPARE_ONE_IN: u64 = 20;

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for server in case.servers {
        match server.answer {
            Some(Ok(said)) => {
                found.extend(room(case, server, said));
                found.extend(limits(case, server, said));
                found.extend(superusers(case, server, said));
                found.push(summary(case, server, said));
            }
            Some(Err(silent)) => found.push(unasked(case, server, &silent.why, silent.full)),
            None => {}
        }
        found.extend(many_targets(case, server));
    }
    found.extend(no_budget(case));
    if case.facts.reach == Reach::Offline {
        let words = "no server was asked (--offline): whether the pools fit is not known";
        found.push(note("offline", case.places.whole(), words, ""));
    }
    found
}

/// The cap beside what the server has.
fn room(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Option<Finding> {
    let (cap, room, others) = (server.cap(), u64::from(said.room()), server.others(case.facts));
    let name = server.name();
    let places =
        format!("max_connections {} less {} kept for others is {room}", said.max_connections, said.kept);
    let too_many = || {
        let pools = server.demand.pools;
        format!(
            "the pools ({pools}) can need {cap} connections to {name}, which has room for {room}: {places}"
        )
    };
    let sizes = || case.places.first_key(&["default_pool_size", "reserve_pool_size", "max_db_connections"]);
    let finding = if cap > room {
        match server.bound {
            Bound::Set(_) => {
                let message = format!(
                    "target_budget lets {cap} connections to {name}, which has room for {room}: {places}"
                );
                warning("budget-exceeds-server", budget_at(case, server), message, "lower target_budget")
            }
            Bound::Off => {
                let todo =
                    "set [plimsoll] target_budget: then clients wait here and no login is refused there";
                warning("pools-exceed-server", sizes(), too_many(), todo)
            }
            Bound::Learned => {
                let message = format!(
                    "{}; the budget is learned from refusals only (compat = pgbouncer, no control_user), which others \
                     get as well",
                    too_many()
                );
                let todo = "set [plimsoll] control_user or target_budget: then some places are left free";
                warning("pools-exceed-server", sizes(), message, todo)
            }
            // Each of several ways to it has the whole of it: a rule of its own.
            Bound::Asked(_) => return None,
        }
    } else if cap.saturating_add(others) > room && case.plan.own.control_user.is_none() {
        let at = case.places.first_key(&["target_budget", "default_pool_size"]);
        let message = format!(
            "{cap} connections to {name} fit only without the {others} sessions that others have there now: {places}"
        );
        warning(
            "no-room-for-others",
            at,
            message,
            "set control_user, so that they are seen; or lower target_budget (or the pools), or raise max_connections",
        )
    } else {
        return None;
    };
    Some(suggest_budget(case, server, room, others, finding))
}

fn suggest_budget(case: &Case<'_>, server: &Server<'_>, room: u64, others: u64, finding: Finding) -> Finding {
    let spare = (room / SPARE_ONE_IN).max(1);
    let targets = u64::try_from(server.targets.len()).unwrap_or(1).max(1);
    let budget = (room.saturating_sub(others).saturating_sub(spare) / targets).max(1);
    let name = server.name();
    if case.plan.own.target_budget.fixed().is_some_and(|now| u64::from(now) <= budget) {
        return finding;
    }
    let why = format!("{name}: room for {room}, less {others} that others have now and {spare} to spare");
    let why = if targets > 1 { format!("{why}, for each of {targets} targets") } else { why };
    finding.with(Section::Plimsoll, "target_budget", budget, why)
}

/// Where the budget of a server is set.
fn budget_at(case: &Case<'_>, server: &Server<'_>) -> Place {
    let names = &case.facts.names;
    let lines = server.targets.iter().filter_map(|target| line_of(case.plan, target, names));
    match lines.into_iter().find(|line| line.budget.is_some()) {
        Some(line) => case.places.target(line),
        None => case.places.key("target_budget"),
    }
}

/// Limits that roles and databases have at the server.
fn limits(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Vec<Finding> {
    let mut found = Vec::new();
    let todo = "raise the limit at the server, or lower the pools below it";
    let cap = server.cap();
    for (role, need) in &server.demand.by_role {
        let limit = said.roles.get(role).and_then(|role| role.limit).map(u64::from);
        if let Some(limit) = limit.filter(|limit| *need.min(&cap) > *limit) {
            let need = need.min(&cap);
            let message = format!(
                "pools of {role} can need {need} connections to {}, where its CONNECTION LIMIT is {limit}",
                server.name()
            );
            let todo = format!("{todo}: [users] {role} = max_user_connections={limit}");
            found.push(warning("role-connection-limit", case.places.user(role), message, todo));
        }
    }
    for (dbname, need) in &server.demand.by_dbname {
        let limit = said.databases.get(dbname).copied().map(u64::from);
        if let Some(limit) = limit.filter(|limit| *need.min(&cap) > *limit) {
            let need = need.min(&cap);
            let line = server
                .databases
                .iter()
                .find(|database| database.dbname.as_ref().unwrap_or(&database.name) == dbname);
            let at =
                line.map_or_else(|| case.places.whole(), |database| case.places.database(&database.name));
            let message = format!(
                "pools of database {dbname} can need {need} connections to {}, where its CONNECTION LIMIT is {limit}",
                server.name()
            );
            let todo = format!("{todo}: max_db_connections={limit}");
            found.push(warning("database-connection-limit", at, message, todo));
        }
    }
    found
}

fn superusers(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Option<Finding> {
    let is_super = |role: &&String| said.roles.get(*role).is_some_and(|role| role.rank == Rank::Superuser);
    let roles: Vec<&String> = server.demand.by_role.keys().filter(is_super).collect();
    if roles.is_empty() {
        return None;
    }
    let forced = server
        .databases
        .iter()
        .find(|database| database.user.as_ref().is_some_and(|user| roles.contains(&user)));
    let message = format!(
        "pools can log in to {} as superuser ({}): they take the places that are kept for you on a bad night",
        server.name(),
        some(&roles)
    );
    let todo = "let applications log in as roles of their own";
    Some(match forced {
        Some(database) => warning("superuser-pool", case.places.database(&database.name), message, todo),
        // Who is in auth_file may log in, and may never do so.
        None => note("superuser-pool", case.places.key("auth_file"), message, todo),
    })
}

fn unasked(case: &Case<'_>, server: &Server<'_>, why: &str, full: Full) -> Finding {
    let need = match server.demand.open_ended.is_empty() {
        true => format!("at most {}", server.cap()),
        false => "any number of".to_string(),
    };
    let name = server.name();
    let first = server.databases.first().map(|database| database.name.as_str()).unwrap_or_default();
    let at = case.places.database(first);
    match full {
        Full::Yes => warning(
            "server-full",
            at,
            format!("{name} refuses logins now: {why}; these pools can need {need} connections"),
            "see who has its places: SELECT usename, application_name, client_addr, count(*) FROM pg_stat_activity \
             GROUP BY 1, 2, 3",
        ),
        Full::No => warning(
            "server-not-asked",
            at,
            format!(
                "{name} was not asked for its max_connections: {why}; these pools can need {need} connections"
            ),
            "check again where it can be reached, or compare by hand; --offline leaves it alone",
        ),
    }
}

fn many_targets(case: &Case<'_>, server: &Server<'_>) -> Option<Finding> {
    let together = match (server.bound, server.bound.known()) {
        (Bound::Off, _) => return None,
        (_, Some(budget)) => format!("each has a budget of its own, {budget} together"),
        (_, None) => "each learns a budget of its own".to_string(),
    };
    let targets = server.targets.len();
    (targets > 1).then(|| {
        let message = format!("{} are one server, reached as {targets} targets: {together}", server.name());
        warning(
            "one-server-many-targets",
            budget_at(case, server),
            message,
            "write its host the same way everywhere",
        )
    })
}

/// Nothing bounds what all pools take together.
fn no_budget(case: &Case<'_>) -> Option<Finding> {
    let off: Vec<&Server<'_>> = case.servers.iter().filter(|server| server.bound == Bound::Off).collect();
    let first = off.first()?;
    let open: Vec<&'static str> = off.iter().flat_map(|server| server.demand.open_ended.clone()).collect();
    let why = match (open.first(), off.iter().all(|server| server.said().is_some())) {
        (Some(reason), _) => format!("{reason}, and nothing bounds all of them together"),
        // What was asked and does not fit has a finding of its own.
        (None, true) => return None,
        (None, false) => "nothing bounds all pools of a server together".to_string(),
    };
    let todo = "set [plimsoll] target_budget to auto, or to what the server has for you: max_connections, less \
                superuser_reserved_connections and reserved_connections, less what others need";
    let message = format!("target_budget is off: {why}");
    let finding = warning("no-target-budget", budget_at(case, first), message, todo);
    let asked = off.iter().filter_map(|server| Some((server, server.said()?)));
    Some(asked.fold(finding, |finding, (server, said)| {
        suggest_budget(case, server, said.room().into(), server.others(case.facts), finding)
    }))
}

fn summary(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Finding {
    let others = server.others(case.facts);
    let budget = match (server.bound, server.bound.known()) {
        (Bound::Off, _) => "there is no budget".to_string(),
        (Bound::Learned, _) | (_, None) => "the budget is learned from refusals".to_string(),
        (Bound::Asked(_), Some(budget)) => format!("the budget is {budget} (auto)"),
        (Bound::Set(_), Some(budget)) => format!("the budget is {budget}"),
    };
    let most = match server.demand.open_ended.is_empty() {
        true => format!("can need {}", server.demand.most),
        false => format!("can need {} and more", server.demand.most),
    };
    let message = format!(
        "{} is PostgreSQL {}: max_connections {}, of which {} are kept; pools: {}, which together {most}; {budget}; others have {others} \
         sessions there now",
        server.name(),
        said.version,
        said.max_connections,
        said.kept,
        server.demand.pools,
    );
    note("server", case.places.whole(), message, "")
}
