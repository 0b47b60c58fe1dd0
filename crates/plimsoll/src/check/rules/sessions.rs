//! Sessions on a server that are not this pooler's: another pooler there has a budget of its own.

use std::collections::BTreeSet;

use super::super::demand::Server;
use super::super::facts::{Looks, Origin, Said};
use super::super::finding::Finding;
use super::{Case, some, warning};

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let asked = case.servers.iter().filter_map(|server| Some((server, server.said()?)));
    asked.filter_map(|(server, said)| other_pooler(case, server, said)).collect()
}

/// Who comes from elsewhere and looks like a pooler, or has the roles of these pools, opens connections that no budget
/// here counts. It matters unless all of them together fit.
fn other_pooler(case: &Case<'_>, server: &Server<'_>, said: &Said) -> Option<Finding> {
    let mut addresses = BTreeSet::new();
    let (mut pooled, mut ours): (u64, u64) = (0, 0);
    for sessions in &said.sessions {
        let Origin::Elsewhere(address) = &sessions.from else { continue };
        match (sessions.looks, server.demand.by_role.contains_key(&sessions.role)) {
            (Looks::Pooled, _) => pooled += u64::from(sessions.count),
            (Looks::Plain, true) => ours += u64::from(sessions.count),
            (Looks::Plain, false) => continue,
        }
        addresses.insert(address.as_str());
    }
    let fits = server.cap().saturating_mul(2) <= u64::from(said.room());
    if addresses.is_empty() || fits {
        return None;
    }
    let addresses: Vec<&str> = addresses.into_iter().collect();
    let message = format!(
        "{} has sessions from other machines ({}) that look like another pooler's: {pooled} by name or by DISCARD ALL, {ours} \
         with the roles of these pools; no budget here counts them",
        server.name(),
        some(&addresses)
    );
    let todo = "give each pooler a target_budget so that they sum to less than the server has, or send these clients here";
    Some(warning(
        "other-pooler",
        case.places.first_key(&["target_budget", "default_pool_size"]),
        message,
        todo,
    ))
}
