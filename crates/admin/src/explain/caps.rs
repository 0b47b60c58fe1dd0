//! What temporary caps mean for somebody who is not there yet: which of them is for it depends on what it calls itself and
//! where it comes from.

use std::time::Duration;

use plimsoll_ledger::text::escape;
use plimsoll_pool::{CapOf, CapView};
use plimsoll_proxy::Level;

use crate::pooler::Pooler;
use crate::why::age;

/// How many caps are told of, those that are used up first.
const CAPS_TOLD_MAX: usize = 10;

/// A line for each cap; nothing where there is none.
pub(super) fn lines(pooler: &dyn Pooler, level: Level) -> Vec<String> {
    let mut caps = pooler.caps();
    caps.sort_by_key(|(cap, _)| cap.used < cap.max);
    match level {
        _ if caps.is_empty() => Vec::new(),
        // Whom they are for is for administrators.
        Level::Stats => vec![format!(
            "Temporary caps are in force ({}): a client that one of them is for may have to wait before it comes to the \
             queue.",
            caps.len()
        )],
        Level::Admin => {
            let mut lines: Vec<String> =
                caps.iter().take(CAPS_TOLD_MAX).map(|(cap, left)| line(cap, *left)).collect();
            if caps.len() > CAPS_TOLD_MAX {
                lines.push(format!("And {} more temporary caps: CAP.", caps.len() - CAPS_TOLD_MAX));
            }
            lines
        }
    }
}

fn line(cap: &CapView, left: Option<Duration>) -> String {
    let CapView { of, max, used, waiting, by, .. } = cap;
    let (who, name) = match of {
        CapOf::Application(name) => ("that calls itself", format!("\"{}\"", escape(name.as_bytes()))),
        CapOf::Host(host) => ("from", format!("host {}", escape(host.as_bytes()))),
        CapOf::Grant(id) => ("that is here by", format!("grant {}", escape(id.as_bytes()))),
    };
    let ends = left.map_or_else(String::new, |left| format!(", ends in {}", age(left)));
    let set = format!("({}{ends})", escape(by.as_bytes()));
    let fate = match (used < max, waiting) {
        (true, _) => "it would be let through".to_string(),
        (false, 0) => "it would wait there".to_string(),
        (false, waiting) => format!("it would wait there, behind {waiting} others"),
    };
    format!(
        "A client {who} {name} comes to a temporary cap before it comes to the queue: {fate}; {used} of {max} places \
         are taken {set}."
    )
}
