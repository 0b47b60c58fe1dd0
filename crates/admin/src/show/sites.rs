//! `SHOW SITES` and `SHOW LEAKS`: where in applications connections are used, and which of them do not come back.

use plimsoll_proxy::{SiteView, VerdictLevel};

use super::Scene;
use super::holds::{Words, site, us, words};
use crate::table::{Column, Row, big, cell, int, numeric, text};

pub(super) const SITES: &[Column] = &[
    text("site"),
    text("application_name"),
    text("tags"),
    text("statement"),
    text("last_statement"),
    text("pools"),
    int("held"),
    int("pool_size"),
    numeric("share_percent"),
    big("oldest_us"),
    big("idle_us"),
    int("clients"),
    text("hosts"),
    big("holds"),
    numeric("held_seconds"),
    big("p50_us"),
    big("p99_us"),
    big("p999_us"),
    text("floors"),
    int("unleaked"),
    text("verdict"),
    text("rule"),
    text("evidence"),
];

pub(super) fn site_rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    scene.pooler.sites().iter().map(|view| row(view, words)).collect()
}

/// Tags, or why there are none.
pub(crate) fn tags(view: &SiteView) -> String {
    match (view.tags.is_empty(), view.tags_from_prepare) {
        (true, true) => "(those of whoever prepared its statements)".to_string(),
        _ => view.tags.clone(),
    }
}

fn share(view: &SiteView) -> f64 {
    100.0 * f64::from(view.held) / f64::from(view.pool_size.max(1))
}

fn shown(text: &str, words: Words) -> Option<String> {
    (words != Words::None && !text.is_empty()).then(|| text.to_string())
}

/// Hosts and how many connections each has.
pub(crate) fn hosts(view: &SiteView) -> String {
    let hosts: Vec<_> = view.hosts.iter().map(|(host, count)| format!("{host} ({count})")).collect();
    hosts.join(", ")
}

fn row(view: &SiteView, words: Words) -> Row {
    let floors: Vec<_> = view.floors.iter().map(u32::to_string).collect();
    vec![
        site(view.site),
        cell(&view.application),
        cell(tags(view)),
        shown(&view.statement, words),
        shown(&view.last_statement, words),
        cell(view.pools.join(", ")),
        cell(view.held),
        cell(view.pool_size),
        cell(format!("{:.0}", share(view))),
        us(view.oldest),
        us(view.idle),
        cell(view.clients),
        cell(hosts(view)),
        cell(view.holds),
        cell(format!("{:.3}", view.held_seconds)),
        us(view.p50),
        us(view.p99),
        us(view.p999),
        cell(floors.join(" ")),
        cell(view.unleaked),
        cell(view.verdict.level.as_str()),
        cell(view.verdict.rule),
        cell(&view.verdict.evidence),
    ]
}

pub(super) const LEAKS: &[Column] = &[
    text("verdict"),
    text("rule"),
    text("application_name"),
    text("tags"),
    text("held"),
    text("pools"),
    big("oldest_us"),
    big("idle_us"),
    text("hosts"),
    text("last_statement"),
    text("site"),
    text("evidence"),
    text("next"),
];

/// Sites with suspects and leaks, the worst first.
pub(super) fn leak_rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    let mut sites = scene.pooler.sites();
    sites.retain(|view| view.verdict.level >= VerdictLevel::Suspect);
    sites.sort_by_key(|view| std::cmp::Reverse((view.verdict.level, view.held)));
    sites.iter().map(|view| leak(view, words)).collect()
}

fn leak(view: &SiteView, words: Words) -> Row {
    let statement = if view.last_statement.is_empty() { &view.statement } else { &view.last_statement };
    vec![
        cell(view.verdict.level.as_str()),
        cell(view.verdict.rule),
        cell(&view.application),
        cell(tags(view)),
        cell(format!("{} of {}", view.held, view.pool_size)),
        cell(view.pools.join(", ")),
        us(view.oldest),
        us(view.idle),
        cell(hosts(view)),
        shown(statement, words),
        site(view.site),
        cell(&view.verdict.evidence),
        cell(format!("plimsoll holds --site {:016x}", view.site)),
    ]
}
