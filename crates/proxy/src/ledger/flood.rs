//! Prepared statements that differ only in what should not be in their text: each is prepared anew on every server
//! connection and pushes out those that are of use.

use std::collections::HashMap;

use parking_lot::Mutex;
use plimsoll_config::Compat;
use plimsoll_ledger::text::{self, Cut, Shape};

use super::voice;

/// So many texts of one shape are a flood; ten times as many are told again.
const FLOOD: u32 = 100;

/// Shapes that are counted.
const SHAPES_MAX: usize = 4096;

/// See the module.
#[derive(Debug)]
pub(crate) struct Flood {
    compat: Compat,
    shapes: Mutex<HashMap<Shape, u32>>,
}

impl Flood {
    /// Nothing seen yet.
    pub(crate) fn new(compat: Compat) -> Flood {
        Flood { compat, shapes: Mutex::default() }
    }

    /// A text has been prepared that nobody had before.
    pub(crate) fn handle_new(&self, statement: &[u8]) {
        let shape = text::shape(statement);
        let count = {
            let mut shapes = self.shapes.lock();
            if shapes.len() >= SHAPES_MAX && !shapes.contains_key(&shape) {
                shapes.clear();
            }
            let count = shapes.entry(shape).or_default();
            *count = count.saturating_add(1);
            *count
        };
        if is_told(count) {
            let has_trace = text::tags(statement).traceparent().is_some();
            let why = if has_trace { "a traceparent in each" } else { "only comments or literals differ" };
            let (example, cut) = (&statement[..statement.len().min(256)], Cut::Cut);
            let line = format!(
                "{count} prepared statements have the same shape ({why}): \"{}\"; each is prepared on every server \
                 connection and pushes out others (max_prepared_statements); keep what is unique out of the text",
                text::redact(example, cut)
            );
            voice::warn(self.compat, &line);
        }
    }
}

/// At 100, 1,000, 10,000, …
fn is_told(count: u32) -> bool {
    let mut at = FLOOD;
    while at < count {
        at = at.saturating_mul(10);
    }
    at == count
}
