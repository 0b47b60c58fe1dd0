//! `SHOW WHY n`: one client's story in sentences.

use std::time::Duration;

use plimsoll_proxy::{HoldView, VisitorView, WaiterView, WhoView};
use plimsoll_types::Pin;

use crate::pooler::Pooler;
use crate::show::Words;

/// How many past holds are told.
const PAST: usize = 3;

/// A time for people.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// The number of a client, a `ptr` (0x…) or a backend process.
pub(crate) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The story, a sentence or two in each line.
pub(crate) fn story(pooler: &dyn Pooler, number: u64, words: Words) -> Vec<String> {
    let holds = pooler.holds();
    let is_client = |who: &WhoView| who.client == number || (number != 0 && who.ptr == number);
    let hold = holds.iter().find(|hold| is_client(&hold.who));
    let by_pid = holds.iter().find(|hold| u64::from(hold.pid) == number || hold.server == number);
    let visitors = pooler.visitors();
    let visitor = |who: &WhoView| visitors.iter().find(|visitor| visitor.who.client == who.client);
    let history = pooler.history();
    match (hold, visitors.iter().find(|visitor| is_client(&visitor.who)), by_pid) {
        (Some(hold), _, _) | (None, None, Some(hold)) => {
            let mut lines = whose(hold, visitor(&hold.who));
            lines.extend(holding(hold, words));
            lines.extend(before(&hold.who, &history));
            lines
        }
        (None, Some(visitor), _) => {
            let mut lines = vec![introduce(&visitor.who, visitor)];
            let waiter = pooler.waiters().into_iter().find(|waiter| is_client(&waiter.who));
            lines.push(resting(visitor, waiter.as_ref()));
            lines.extend(before(&visitor.who, &history));
            lines
        }
        (None, None, None) => gone(pooler, number, &history),
    }
}

fn whose(hold: &HoldView, visitor: Option<&VisitorView>) -> Vec<String> {
    match visitor {
        Some(visitor) => vec![introduce(&hold.who, visitor)],
        None => vec![format!(
            "Nobody holds server connection {:#x} (backend process {} of {}) any more: it is {}.",
            hold.server, hold.pid, hold.target, hold.state
        )],
    }
}

fn introduce(who: &WhoView, visitor: &VisitorView) -> String {
    let application = match who.application.is_empty() {
        true => "an application that gives no application_name".to_string(),
        false => format!("application {}", who.application),
    };
    format!(
        "Client {} ({:#x}) is {application}, logged in as {} on {}, from {}:{}; connected for {}, {} server \
         connections used so far.",
        who.client,
        who.ptr,
        who.user,
        who.database,
        who.host,
        who.port,
        age(visitor.connected),
        visitor.uses
    )
}

fn holding(hold: &HoldView, words: Words) -> Vec<String> {
    if hold.who.client == 0 {
        return Vec::new();
    }
    let waited = match hold.waited.as_millis() {
        0 => "at once".to_string(),
        _ => format!("after waiting {}", age(hold.waited)),
    };
    let mut lines = vec![format!(
        "It has held server connection {:#x} (backend process {} of {}, role {}) for {}, given {waited}.",
        hold.server,
        hold.pid,
        hold.target,
        hold.role,
        age(hold.age)
    )];
    let transaction = hold.transaction.map(|time| format!(", in a transaction for {}", age(time)));
    lines.push(format!(
        "State: {}{}; the last byte either way went {} ago; {} statements, {} rows so far.",
        hold.state,
        transaction.unwrap_or_default(),
        age(hold.idle),
        hold.statements,
        hold.rows
    ));
    if let Some(unread) = hold.unread_for {
        let bytes = hold.unread_bytes;
        lines.push(format!("It has not read its result for {}: {bytes} bytes wait here.", age(unread)));
    }
    for (what, view) in [("First", &hold.first), ("Last", &hold.last)] {
        let Some(view) = view else { continue };
        let text = match words {
            Words::None => "(only administrators see statements)",
            Words::Redacted | Words::Full if view.text.is_empty() => "(text not known)",
            Words::Redacted | Words::Full => &view.text,
        };
        let tags = if view.tags.is_empty() { String::new() } else { format!(" [{}]", view.tags) };
        lines.push(format!("{what} statement: {text}{tags}, text from: {}.", view.from.text()));
    }
    lines.extend(hold.pins.iter().map(|pin| pinned(pin, hold, words)));
    let verdict = &hold.verdict;
    lines.push(match verdict.rule {
        "" => format!("The ledger thinks: {}.", verdict.level.as_str()),
        rule => format!("The ledger thinks: {}, {rule}: {}.", verdict.level.as_str(), verdict.evidence),
    });
    lines.push(format!("To see all of its kind: plimsoll holds --site {:016x}", hold.site));
    lines
}

/// Why the connection is kept.
fn pinned(pin: Pin, hold: &HoldView, words: Words) -> String {
    let why = match pin {
        Pin::Transaction => "a transaction is open: COMMIT or ROLLBACK gives it back",
        Pin::Portal => "a batch was begun and not ended by Sync",
        Pin::Copy => "a COPY is under way",
        Pin::TempTable => "temporary objects exist in this session",
        Pin::Listen => "it listens for notifications",
        Pin::AdvisoryLock => "a session-level advisory lock may be held",
        Pin::Setting => "a setting was changed that is not replayed elsewhere",
        Pin::Prepare => "a statement was prepared by SQL",
        Pin::HeldCursor => "a cursor WITH HOLD exists",
        Pin::Replication => "it is a replication connection",
        Pin::Unknown => "a statement may have left something behind",
    };
    let by = hold.unknown_by.as_ref().filter(|_| pin == Pin::Unknown && words != Words::None);
    let by = by.map(|text| format!(" ({text})")).unwrap_or_default();
    format!("Kept because {why}{by}.")
}

fn resting(visitor: &VisitorView, waiter: Option<&WaiterView>) -> String {
    match waiter {
        Some(waiter) => format!(
            "It has waited for a server connection for {}, as number {} of the queue: {}. See who holds them: \
             plimsoll leaks, plimsoll holds.",
            age(waiter.waiting),
            waiter.place,
            waiter.why
        ),
        None => {
            let site = match visitor.site_text.is_empty() {
                true => String::new(),
                false => format!(" It was last seen at {}.", visitor.site_text),
            };
            format!(
                "It holds nothing and waits for nothing; it last asked for something {} ago.{site}",
                age(visitor.idle)
            )
        }
    }
}

fn before(who: &WhoView, history: &[HoldView]) -> Vec<String> {
    let mine = history.iter().filter(|past| who.client != 0 && past.who.client == who.client);
    mine.take(PAST).map(past).collect()
}

fn past(past: &HoldView) -> String {
    format!(
        "Before: {} ago it ended a hold of {} (waited {}): {}.",
        age(past.ended_ago),
        age(past.age),
        age(past.waited),
        past.ended.as_deref().unwrap_or("returned")
    )
}

/// No client, no holder: perhaps somebody of the past, or a connection that nobody holds.
fn gone(pooler: &dyn Pooler, number: u64, history: &[HoldView]) -> Vec<String> {
    let server =
        pooler.servers().into_iter().find(|server| u64::from(server.pid) == number || server.ptr == number);
    if let Some(server) = server {
        return vec![format!(
            "Backend process {} is server connection {:#x} of {}/{}: open for {}, nobody holds it now, last used {} ago.",
            server.pid,
            server.ptr,
            server.database,
            server.user,
            age(server.connected_for),
            age(server.requested_for)
        )];
    }
    let known = |hold: &&HoldView| {
        hold.who.client == number || hold.who.ptr == number || u64::from(hold.pid) == number
    };
    let told: Vec<_> = history.iter().filter(known).take(PAST).map(past).collect();
    if told.is_empty() {
        return vec![
            format!("{number} is no client of this pooler (id or ptr) and none of its backend processes."),
            "A process of pg_stat_activity that is not ours: SHOW BACKENDS tells what the server says of it."
                .to_string(),
        ];
    }
    let mut lines = vec![format!("{number} is not here any more.")];
    lines.extend(told);
    lines
}
