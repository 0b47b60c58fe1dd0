//! `SHOW CONFIG`.

use plimsoll_config::{Compat, Shown};

use super::{Scene, yes_no};
use crate::table::{Column, Row, cell, text};

pub(super) const COLUMNS: &[Column] = &[text("key"), text("value"), text("default"), text("changeable")];

/// PgBouncer's keys, and ours behind them where the shape is ours.
pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let plan = &scene.plan;
    let own = match plan.own.compat {
        Compat::Plimsoll => plimsoll_config::own_shown(&plan.own),
        Compat::Pgbouncer => Vec::new(),
    };
    plan.shown.iter().chain(&own).map(row).collect()
}

fn row(shown: &Shown) -> Row {
    vec![cell(shown.key), shown.value.clone(), shown.default.map(str::to_string), yes_no(shown.changeable)]
}
