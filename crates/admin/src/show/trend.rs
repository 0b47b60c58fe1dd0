//! `SHOW TREND`: whether held connections become more and more, how fast, and when the cap is reached.

use std::time::Duration;

use plimsoll_proxy::TrendView;

use super::Scene;
use super::holds::{Words, site, us, words};
use crate::table::{Cell, Column, Row, big, cell, int, numeric, text};

pub(super) const TREND: &[Column] = &[
    text("what"),
    text("name"),
    text("site"),
    text("application_name"),
    text("pools"),
    text("verdict"),
    int("held"),
    int("unused"),
    int("floor"),
    int("cap"),
    numeric("per_hour"),
    numeric("per_hour_least"),
    numeric("per_hour_most"),
    numeric("p"),
    big("window_us"),
    big("reached_in_us"),
    big("reached_earliest_us"),
    big("reached_latest_us"),
    big("since_us"),
    text("why"),
];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    scene.pooler.trends().iter().map(|view| row(view, words)).collect()
}

/// What it is about, for people.
pub(crate) fn name(view: &TrendView, words: Words) -> String {
    if view.site == 0 {
        return view.name.clone();
    }
    let application = if view.application.is_empty() { "(no application_name)" } else { &view.application };
    match words {
        _ if !view.tags.is_empty() => format!("{application} {}", view.tags),
        Words::Redacted | Words::Full if !view.statement.is_empty() => {
            format!("{application} \"{}\"", view.statement)
        }
        Words::None | Words::Redacted | Words::Full => application.to_string(),
    }
}

fn time(time: Option<Duration>) -> Cell {
    time.and_then(us)
}

fn rate(rate: Option<f64>) -> Cell {
    cell(format!("{:.3}", rate?))
}

fn row(view: &TrendView, words: Words) -> Row {
    let application = (view.site != 0).then(|| view.application.clone());
    vec![
        cell(view.what),
        cell(name(view, words)),
        site(view.site),
        application,
        cell(view.pools.join(", ")),
        cell(view.course),
        cell(view.held),
        cell(view.unused),
        view.floor.and_then(cell),
        view.cap.and_then(cell),
        rate(view.rate.map(|rate| rate.likely)),
        rate(view.rate.map(|rate| rate.least)),
        rate(view.rate.map(|rate| rate.most)),
        view.p.and_then(|p| cell(format!("{p:.6}"))),
        time(view.window),
        time(view.reached.map(|reached| reached.1)),
        time(view.reached.map(|reached| reached.0)),
        time(view.reached.and_then(|reached| reached.2)),
        time(view.since),
        cell(&view.why),
    ]
}
