//! `--database`, `--user`, `--app`, `--site`: a snapshot as if it held nothing else.

use std::collections::HashSet;

use plimsoll_ledger::snapshot::{Snapshot, label};

use crate::args::WhoseArgs;
use crate::glob::fits;

/// Takes away what is not wanted.
pub(super) fn keep(snapshot: &mut Snapshot, pick: &WhoseArgs) {
    let is = |pattern: &Option<String>, values: &[&str]| {
        pattern.as_ref().is_none_or(|pattern| values.iter().any(|value| fits(pattern, value)))
    };
    if pick.app.is_some() || pick.site.is_some() {
        snapshot.sites.retain(|site| {
            let words = label(&site.application, &site.tags, site.statement.as_deref());
            let tags: Vec<String> = site.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            is(&pick.app, &[&site.application]) && is(&pick.site, &[&site.site, &words, &tags.join(" ")])
        });
    }
    let sites: HashSet<&str> = snapshot.sites.iter().map(|site| site.site.as_str()).collect();
    snapshot.holds.retain(|held| {
        is(&pick.database, &[&held.database])
            && is(&pick.user, &[&held.user, &held.role])
            && is(&pick.app, &[&held.application])
            && (pick.site.is_none() || sites.contains(held.site.as_str()) || is(&pick.site, &[&held.site]))
    });
    snapshot.pools.retain(|pool| is(&pick.database, &[&pool.database]) && is(&pick.user, &[&pool.role]));
    if pick.app.is_some() || pick.site.is_some() {
        // What all hold together is no answer to what some do.
        let held: HashSet<(&str, &str)> =
            snapshot.holds.iter().map(|held| (held.database.as_str(), held.role.as_str())).collect();
        snapshot.pools.retain(|pool| held.contains(&(pool.database.as_str(), pool.role.as_str())));
    }
}
