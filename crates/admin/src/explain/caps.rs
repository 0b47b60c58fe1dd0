//! What caps mean for somebody who is not there yet: which of them is for it depends on what it calls itself, where it
//! comes from, and by which grant.

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
            "Caps are in force ({}): a client that one of them is for may have to wait before it comes to the \
             queue.",
            caps.len()
        )],
        Level::Admin => {
            let mut lines: Vec<String> =
                caps.iter().take(CAPS_TOLD_MAX).map(|(cap, left)| line(cap, *left)).collect();
            if caps.len() > CAPS_TOLD_MAX {
                lines.push(format!("And {} more caps: CAP.", caps.len() - CAPS_TOLD_MAX));
            }
            lines
        }
    }
}

fn line(cap: &CapView, left: Option<Duration>) -> String {
    let CapView { of, max, used, waiting, by, .. } = cap;
    let (who, what) = match of {
        CapOf::Application(name) => {
            (format!("that calls itself \"{}\"", escape(name.as_bytes())), "a temporary cap")
        }
        CapOf::Host(host) => (format!("from host {}", escape(host.as_bytes())), "a temporary cap"),
        CapOf::Grant(id) => {
            (format!("that is here by grant {}", escape(id.as_bytes())), "the limit of that grant")
        }
    };
    let ends = left.map_or_else(String::new, |left| format!(", ends in {}", age(left)));
    let set = format!("({}{ends})", escape(by.as_bytes()));
    let fate = match (used < max, waiting) {
        (true, _) => "it would be let through".to_string(),
        (false, 0) => "it would wait there".to_string(),
        (false, waiting) => format!("it would wait there, behind {waiting} others"),
    };
    format!(
        "A client {who} comes to {what} before it comes to the queue: {fate}; {used} of {max} places \
         are taken {set}."
    )
}
