//! Budgets and guaranteed places: the loader's doubts, and what only the network and the servers tell.

use super::super::demand::{Bound, Server, is_of};
use super::super::facts::{Reach, Target, Watching};
use super::super::finding::{Finding, Place};
use super::{Case, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = plimsoll_config::doubts(case.plan)
        .into_iter()
        .map(|doubt| {
            let at = doubt.place.as_ref().map_or_else(|| case.places.whole(), Place::of);
            warning(doubt.id, at, doubt.message, doubt.todo)
        })
        .collect();
    found.extend(case.servers.iter().filter_map(|server| floors(case, server)));
    found.extend(case.servers.iter().filter_map(|server| watching(case, server)));
    if case.facts.reach == Reach::Online {
        for finding in unused(case).into_iter().chain(named_twice(case)) {
            // What the text tells alone is told once.
            if !found.iter().any(|known| (known.id, &known.place) == (finding.id, &finding.place)) {
                found.push(finding);
            }
        }
    }
    found
}

/// Places that are guaranteed to more pools than the server has places.
fn floors(case: &Case<'_>, server: &Server<'_>) -> Option<Finding> {
    let Bound::Asked(Some(budget)) = server.bound else { return None };
    let floors = server.databases.iter().map(|database| case.plan.guaranteed_places(database));
    let floors = floors.fold(0_u64, u64::saturating_add);
    (floors > budget).then(|| {
        let message = format!(
            "guaranteed_pool_size of the pools on {} adds up to {floors}, and the server has {budget} places for them: \
             not every pool can have what is promised",
            server.name()
        );
        let todo = "lower guaranteed_pool_size, or raise max_connections";
        warning("floors-exceed-budget", case.places.key("target_budget"), message, todo)
    })
}

/// A control user that is not let in, or does not see what it is there for.
fn watching(case: &Case<'_>, server: &Server<'_>) -> Option<Finding> {
    let user = case.plan.own.control_user.as_deref().unwrap_or_default();
    let (at, name) = (case.places.key("control_user"), server.name());
    match &server.said()?.watching {
        Watching::Nobody | Watching::Sees => None,
        Watching::Blind => {
            let message = format!(
                "control_user {user} may not see the sessions of others on {name}: they are counted by database, with \
                 parallel workers and the like among them"
            );
            Some(warning("control-user-blind", at, message, format!("GRANT pg_read_all_stats TO {user}")))
        }
        Watching::Refused(why) => {
            let message = format!(
                "control_user {user} cannot log in to {name}: {why}; sessions of other programs are not seen, and the \
                 budget follows refusals only"
            );
            let todo = "put its password into auth_file, and let it in there (pg_hba.conf, CONNECTION LIMIT)";
            Some(warning("control-user-refused", at, message, todo))
        }
    }
}

fn targets<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Target> {
    case.servers.iter().flat_map(|server| &server.targets)
}

/// Lines for targets that no database leads to, as far as all names have addresses.
fn unused(case: &Case<'_>) -> Vec<Finding> {
    let names = &case.facts.names;
    if names.values().any(Vec::is_empty) {
        return Vec::new();
    }
    let idle =
        case.plan.targets.iter().filter(|line| !targets(case).any(|target| is_of(line, target, names)));
    idle.map(|line| {
        let message = format!("no database leads to the target {line}");
        warning(
            "target-unused",
            case.places.target(line),
            message,
            "correct host and port, or remove the line",
        )
    })
    .collect()
}

/// Two lines for one target: a name and its address.
fn named_twice(case: &Case<'_>) -> Vec<Finding> {
    let names = &case.facts.names;
    let mut found = Vec::new();
    for target in targets(case) {
        let mut lines: Vec<_> = case.plan.targets.iter().filter(|line| is_of(line, target, names)).collect();
        lines.sort_by_key(|line| case.places.target(line));
        let mut lines = lines.into_iter();
        let Some(first) = lines.next() else { continue };
        found.extend(lines.map(|line| {
            let message = format!(
                "{line} and {first} are one target ({target}): each of the two lines gives it a budget"
            );
            let todo = "keep one of the two lines, and write its host the same way everywhere";
            warning("target-named-twice", case.places.target(line), message, todo)
        }));
    }
    found
}
