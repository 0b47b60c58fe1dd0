//! A queue that grants share by their weights: whose turns it has, and how many come before a client without a grant.

use std::collections::HashMap;
use std::sync::Arc;

use plimsoll_ledger::text::escape;
use plimsoll_proxy::{AdmissionView, Level, QueuePart, Sharer};

use crate::pooler::Pooler;

/// The weight of who has no grant.
const USUAL: u32 = 1;

/// How many parts are told of, the heaviest first.
const PARTS_TOLD_MAX: usize = 10;

/// Whether it is more than who came first, or applications in turn.
pub(super) fn is_shared(view: &AdmissionView) -> bool {
    view.parts.iter().any(|part| part.weight != USUAL)
}

/// How many are served before a client that comes now, without a grant if the queue is shared.
pub(super) fn before(view: &AdmissionView) -> u32 {
    if !is_shared(view) {
        return view.before;
    }
    let everybody = view.parts.iter().find(|part| part.who == Sharer::Everybody);
    let behind = everybody.map_or(0, |part| part.waiting);
    let others = view.parts.iter().filter(|part| part.who != Sharer::Everybody);
    // Of each other as many as it weighs for each of its own; and no more than there are.
    let between = others.map(|part| part.waiting.min(part.weight.saturating_mul(behind + 1)));
    between.fold(behind, u32::saturating_add).min(view.before)
}

/// The line; `None`: it is not shared.
pub(super) fn line(pooler: &dyn Pooler, level: Level, view: &AdmissionView) -> Option<String> {
    if !is_shared(view) {
        return None;
    }
    // Who they are is for administrators.
    let told = match level {
        Level::Stats => String::new(),
        Level::Admin => format!(": {}", parts(pooler, &view.parts)),
    };
    Some(format!(
        "Grants share the queue by their weights (limits of a grant; without one it is {USUAL}){told}."
    ))
}

fn parts(pooler: &dyn Pooler, parts: &[QueuePart]) -> String {
    let names: HashMap<Arc<str>, String> = pooler
        .identities()
        .into_iter()
        .map(|view| {
            let name = format!("{}/{}", view.proved.organisation, view.proved.name);
            (view.proved.grant_id.clone(), escape(name.as_bytes()))
        })
        .collect();
    let part = |part: &QueuePart| {
        let who = match &part.who {
            Sharer::Grant(id) => match names.get(id) {
                Some(name) => format!("{name} by grant {id}"),
                None => format!("grant {id}"),
            },
            Sharer::Application => "an application without a grant".to_string(),
            Sharer::Everybody => "clients without a grant".to_string(),
        };
        format!("{who}, weight {}, {} waiting", part.weight, part.waiting)
    };
    let mut told: Vec<String> = parts.iter().take(PARTS_TOLD_MAX).map(part).collect();
    if parts.len() > PARTS_TOLD_MAX {
        told.push(format!("and {} more", parts.len() - PARTS_TOLD_MAX));
    }
    told.join("; ")
}
