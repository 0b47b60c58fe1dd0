//! `SHOW IDENTITIES`: who is here by a key or a token, one row for each identity and grant.

use std::collections::BTreeMap;
use std::time::SystemTime;

use jiff::Timestamp;
use plimsoll_proxy::ProvedView;

use super::Scene;
use super::holds::us;
use crate::table::{Cell, Column, Row, big, cell, int, text};

pub(super) const COLUMNS: &[Column] = &[
    text("organisation"),
    text("identity"),
    text("identity_id"),
    text("key_id"),
    text("issuer"),
    text("database"),
    text("role"),
    text("grant_id"),
    int("clients"),
    int("clients_max"),
    int("holds"),
    int("holds_max"),
    text("hosts"),
    big("oldest_us"),
    text("until"),
    int("waiting"),
    int("weight"),
];

/// Most hosts that are named.
const HOSTS_MAX: usize = 5;

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let mut groups: BTreeMap<_, Vec<ProvedView>> = BTreeMap::new();
    for view in scene.pooler.identities() {
        let proved = &view.proved;
        let key = (
            proved.organisation.clone(),
            proved.name.clone(),
            proved.key_id.clone(),
            proved.issuer.clone(),
            view.database.clone(),
            proved.grant_id.clone(),
        );
        groups.entry(key).or_default().push(view);
    }
    groups.into_values().filter_map(|views| row(&views)).collect()
}

/// A row for sessions of one identity by one grant.
fn row(views: &[ProvedView]) -> Option<Row> {
    let first = views.first()?;
    let proved = &first.proved;
    let max = |limit: Option<u32>| limit.map(|limit| limit.to_string());
    // The first of their tokens that ends.
    let until = views.iter().filter_map(|view| view.proved.until).min();
    Some(vec![
        cell(&proved.organisation),
        cell(&proved.name),
        cell(&proved.subject_id),
        proved.key_id.as_ref().map(ToString::to_string),
        proved.issuer.as_ref().map(ToString::to_string),
        cell(&first.database),
        cell(&proved.role),
        cell(&proved.grant_id),
        cell(views.len()),
        max(proved.limits.clients),
        cell(views.iter().filter(|view| view.is_holding).count()),
        max(proved.limits.holds),
        hosts(views),
        views.iter().map(|view| view.connected_for).max().and_then(us),
        until.and_then(time),
        cell(views.iter().filter(|view| view.is_waiting).count()),
        cell(first.weight),
    ])
}

fn hosts(views: &[ProvedView]) -> Cell {
    let mut hosts: Vec<&str> = views.iter().map(|view| view.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let more = hosts.len().saturating_sub(HOSTS_MAX);
    hosts.truncate(HOSTS_MAX);
    let named = hosts.join(", ");
    Some(if more > 0 { format!("{named} and {more} more") } else { named })
}

fn time(at: SystemTime) -> Cell {
    Timestamp::try_from(at).ok().map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
