//! `SHOW CONFIG`.

use super::{Scene, yes_no};
use crate::table::{Column, Row, cell, text};

pub(super) const COLUMNS: &[Column] = &[text("key"), text("value"), text("default"), text("changeable")];

pub(super) fn rows(scene: &Scene<'_>) -> Vec<Row> {
    let row = |shown: &plimsoll_config::Shown| {
        vec![
            cell(shown.key),
            shown.value.clone(),
            shown.default.map(str::to_string),
            yes_no(shown.changeable),
        ]
    };
    scene.plan.shown.iter().map(row).collect()
}
