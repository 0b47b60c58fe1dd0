//! Pools against the places that servers have (incident 1: nobody owned the server's cap).

use super::super::demand::Server;
use super::super::facts::{Full, Rank, Reach, Said};
use super::super::finding::{Finding, Section};
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
    let finding = if cap > room && server.budget.is_some() {
        let message =
            format!("target_budget lets {cap} connections to {name}, which has room for {room}: {places}");
        warning("budget-exceeds-server", case.places.key("target_budget"), message, "lower target_budget")
    } else if cap > room {
        let at = case.places.first_key(&["default_pool_size", "reserve_pool_size", "max_db_connections"]);
        let pools = server.demand.pools;
        let message = format!(
            "the pools ({pools}) can need {cap} connections to {name}, which has room for {room}: {places}"
        );
        let todo = "set [plimsoll] target_budget: then clients wait here and no login is refused there";
        warning("pools-exceed-server", at, message, todo)
    } else if cap.saturating_add(others) > room {
        let at = case.places.first_key(&["target_budget", "default_pool_size"]);
        let message = format!(
            "{cap} connections to {name} fit only without the {others} sessions that others have there now: {places}"
        );
        warning(
            "no-room-for-others",
            at,
            message,
            "lower target_budget (or the pools), or raise max_connections",
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
    if case.plan.own.target_budget.is_some_and(|now| u64::from(now) <= budget) {
        return finding;
    }
    let why = format!("{name}: room for {room}, less {others} that others have now and {spare} to spare");
    let why = if targets > 1 { format!("{why}, for each of {targets} targets") } else { why };
    finding.with(Section::Plimsoll, "target_budget", budget, why)
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
    let budget = case.plan.own.target_budget?;
    let targets = server.targets.len();
    (targets > 1).then(|| {
        let message = format!(
            "{} are one server, reached as {targets} targets: each has a target_budget of {budget}",
            server.name()
        );
        warning(
            "one-server-many-targets",
            case.places.key("target_budget"),
            message,
            "write its host the same way everywhere",
        )
    })
}

/// Nothing bounds what all pools take together.
fn no_budget(case: &Case<'_>) -> Option<Finding> {
    if case.plan.own.target_budget.is_some() || case.servers.is_empty() {
        return None;
    }
    let open: Vec<&'static str> =
        case.servers.iter().flat_map(|server| server.demand.open_ended.clone()).collect();
    let is_known = |server: &Server<'_>| server.said().is_some();
    let why = match (open.first(), case.servers.iter().all(is_known)) {
        (Some(reason), _) => format!("{reason}, and nothing bounds all of them together"),
        // What was asked and does not fit has a finding of its own.
        (None, true) => return None,
        (None, false) => "nothing bounds all pools of a server together".to_string(),
    };
    let todo = "set [plimsoll] target_budget to what the server has for you: max_connections, less \
                superuser_reserved_connections and reserved_connections, less what others need";
    let finding =
        warning("no-target-budget", case.places.whole(), format!("target_budget is off: {why}"), todo);
    let asked = case.servers.iter().filter_map(|server| Some((server, server.said()?)));
    Some(asked.fold(finding, |finding, (server, said)| {
        suggest_budget(case, server, said.room().into(), server.others(case.facts), finding)
    }))
}

fn summary(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Finding {
    let others = server.others(case.facts);
    let budget = match server.budget {
        Some(budget) => format!("the budget is {budget}"),
        None => "there is no budget".to_string(),
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
