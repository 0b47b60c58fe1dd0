//! `--database`, `--user`, `--app`, `--site`: snapshots as if they held nothing else.

use std::collections::HashSet;

use plimsoll_ledger::snapshot::{Caveats, Held, Scope, Snapshot, doubts, label};

use crate::args::WhoseArgs;
use crate::glob::fits;
use crate::snapshot::Named;

/// Takes away what is not wanted; what has to be said for that, and against what is left. A hold that is wanted in one
/// of the snapshots is wanted in all: what it is called may have changed.
pub(super) fn keep(named: &mut [Named], whose: &WhoseArgs) -> Caveats {
    let mut holds: HashSet<(String, u64)> = HashSet::new();
    let mut pools: HashSet<(String, String)> = HashSet::new();
    for Named { snapshot, .. } in named.iter_mut() {
        keep_sites(snapshot, whose);
        let sites: HashSet<&str> = snapshot.sites.iter().map(|site| site.site.as_str()).collect();
        for held in snapshot.holds.iter().filter(|held| is_wanted(held, &sites, whose)) {
            holds.insert((snapshot.head.instance.clone(), held.hold));
            pools.insert((held.database.clone(), held.role.clone()));
        }
        // What all hold together is no answer to what some do.
        if whose.app.is_none() && whose.site.is_none() {
            let wanted = snapshot.pools.iter().filter(|pool| {
                is(whose.database.as_ref(), &[&pool.database]) && is(whose.user.as_ref(), &[&pool.role])
            });
            pools.extend(wanted.map(|pool| (pool.database.clone(), pool.role.clone())));
        }
    }
    let is_named = |database: &str, role: &str| pools.contains(&(database.to_string(), role.to_string()));
    for Named { snapshot, .. } in named.iter_mut() {
        let instance = &snapshot.head.instance;
        snapshot.holds.retain(|held| holds.contains(&(instance.clone(), held.hold)));
        snapshot.pools.retain(|pool| is_named(&pool.database, &pool.role));
    }
    let snapshots: Vec<&Snapshot> = named.iter().map(|named| &named.snapshot).collect();
    let WhoseArgs { database: _, user, app, site } = whose;
    let scope =
        if [user, app, site].iter().any(|chosen| chosen.is_some()) { Scope::Chosen } else { Scope::All };
    Caveats { scope, doubts: doubts(&snapshots) }
}

fn is(pattern: Option<&String>, values: &[&str]) -> bool {
    pattern.is_none_or(|pattern| values.iter().any(|value| fits(pattern, value)))
}

fn keep_sites(snapshot: &mut Snapshot, whose: &WhoseArgs) {
    snapshot.sites.retain(|site| {
        let words = label(&site.application, &site.tags, site.statement.as_deref());
        let tags: Vec<String> = site.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        is(whose.app.as_ref(), &[&site.application])
            && is(whose.site.as_ref(), &[&site.site, &words, &tags.join(" ")])
    });
}

/// `sites` are those that are wanted.
fn is_wanted(held: &Held, sites: &HashSet<&str>, whose: &WhoseArgs) -> bool {
    is(whose.database.as_ref(), &[&held.database])
        && is(whose.user.as_ref(), &[&held.user, &held.role])
        && is(whose.app.as_ref(), &[&held.application])
        && (sites.contains(held.site.as_str()) || is(whose.site.as_ref(), &[&held.site]))
}
