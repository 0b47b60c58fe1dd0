//! `SHOW USERS`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plimsoll_config::Plan;

use super::{CONSOLE, Scene};
use crate::table::{Column, Row, cell, int, text};

pub(super) const COLUMNS: &[Column] = &[
    text("name"),
    text("pool_size"),
    text("reserve_pool_size"),
    text("pool_mode"),
    int("max_user_connections"),
    int("current_connections"),
    int("max_user_client_connections"),
    int("current_client_connections"),
];

/// Everybody the configuration names, in order; somebody who merely tried to log in is not among them.
pub(super) fn names(plan: &Plan) -> BTreeSet<&str> {
    let forced =
        plan.databases.iter().chain(&plan.auto_database).filter_map(|database| database.user.as_deref());
    let known = plan.logins.keys().chain(plan.users.keys()).map(String::as_str);
    known.chain(forced).chain([CONSOLE]).collect()
}

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let servers = tally(scene.pooler.servers().into_iter().map(|server| server.user));
    let clients = tally(scene.pooler.clients().into_iter().map(|client| client.user));
    let names = names(&scene.plan).into_iter();
    names.map(|name| row(scene, name, count(&servers, name), count(&clients, name))).collect()
}

fn tally(users: impl Iterator<Item = Arc<str>>) -> HashMap<Arc<str>, u32> {
    let mut out = HashMap::new();
    for user in users {
        *out.entry(user).or_default() += 1;
    }
    out
}

fn count(tally: &HashMap<Arc<str>, u32>, name: &str) -> u32 {
    tally.get(name).copied().unwrap_or(0)
}

fn row(scene: &Scene<'_>, name: &str, servers: u32, clients: u32) -> Row {
    let general = &scene.plan.general;
    let settings = scene.plan.users.get(name).cloned().unwrap_or_default();
    vec![
        cell(name),
        cell(size(settings.pool_size)),
        cell(size(settings.reserve_pool_size)),
        settings.pool_mode.map(|mode| mode.as_str().to_string()),
        cell(settings.max_user_connections.unwrap_or(general.max_user_connections)),
        cell(servers),
        cell(settings.max_user_client_connections.unwrap_or(general.max_user_client_connections)),
        cell(clients),
    ]
}

/// As PgBouncer writes it: a text of nine places, empty where nothing is set.
fn size(size: Option<u32>) -> String {
    size.map(|size| format!("{size:>9}")).unwrap_or_default()
}
