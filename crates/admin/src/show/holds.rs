//! `SHOW HOLDS`, `SHOW HISTORY`, `SHOW PINS`, `SHOW WAITERS`, `SHOW VISITORS`: who holds, held, waits, is there.

use std::time::Duration;

use plimsoll_proxy::{DeedView, HoldView, Level, StatementView, VisitorView, WaiterView, WhoView};
use plimsoll_types::Pin;

use super::Scene;
use crate::table::{Cell, Column, Row, big, cell, int, text};

/// Microseconds of a time.
pub(super) fn us(time: Duration) -> Cell {
    cell(time.as_micros())
}

/// A site's number, as everywhere.
pub(super) fn site(number: u64) -> Cell {
    (number != 0).then(|| format!("{number:016x}"))
}

fn some(text: &str) -> Cell {
    (!text.is_empty()).then(|| text.to_string())
}

const WHO: usize = 13;

/// The columns of [`who`].
pub(super) const C: [Column; WHO] = [
    big("client"),
    text("ptr"),
    text("database"),
    text("user"),
    text("application_name"),
    text("host"),
    int("port"),
    int("remote_pid"),
    text("tls_subject"),
    text("organisation"),
    text("identity"),
    text("key_id"),
    text("issuer"),
];

/// Columns of which some say who: `[those before them] those behind them`.
macro_rules! who_and {
    ([$($before:expr),*] $($after:expr),* $(,)?) => {
        &[$($before,)* C[0], C[1], C[2], C[3], C[4], C[5], C[6], C[7], C[8], C[9], C[10], C[11], C[12], $($after),*]
    };
}
pub(super) use who_and;

pub(super) fn who(who: &WhoView) -> [Cell; WHO] {
    [
        (who.client != 0).then(|| who.client.to_string()),
        (who.ptr != 0).then(|| format!("{:#x}", who.ptr)),
        cell(&who.database),
        cell(&who.user),
        cell(&who.application),
        cell(&who.host),
        cell(who.port),
        cell(who.remote_pid),
        who.tls_subject.clone(),
        who.identified.as_ref().map(|who| who.organisation.to_string()),
        who.identified.as_ref().map(|who| who.name.to_string()),
        who.identified.as_ref().and_then(|who| who.key_id.as_deref().map(str::to_string)),
        who.identified.as_ref().and_then(|who| who.issuer.as_deref().map(str::to_string)),
    ]
}

pub(super) const HOLDS: &[Column] = who_and![[big("hold")]
    text("role"),
    text("server"),
    int("pid"),
    text("target"),
    big("server_age_us"),
    text("state"),
    big("age_us"),
    big("waited_us"),
    big("idle_us"),
    big("transaction_us"),
    big("client_took_us"),
    big("unread_us"),
    big("unread_bytes"),
    text("pins"),
    text("unknown_by"),
    big("statements"),
    big("rows"),
    big("bytes_to_server"),
    big("bytes_to_client"),
    text("site"),
    text("tags"),
    text("traceparent"),
    text("first_statement"),
    text("first_from"),
    text("last_statement"),
    text("last_tags"),
    text("last_from"),
    text("verdict"),
    text("rule"),
    text("evidence"),
    text("client_life"),
];

/// Behind the columns of `SHOW HOLDS`.
const ENDED: &[Column] = &[text("ended"), big("ended_ago_us")];

/// How much of a statement is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Words {
    /// Nothing: the reader is no administrator.
    None,
    /// Without literals.
    Redacted,
    /// As it was said, where `ledger_statements` is `full`.
    Full,
}

pub(crate) fn words(level: Level) -> Words {
    match level {
        Level::Admin => Words::Redacted,
        Level::Stats => Words::None,
    }
}

pub(super) fn statement(view: Option<&StatementView>, words: Words) -> Cell {
    let view = view?;
    match words {
        Words::None => None,
        Words::Redacted => some(&view.text),
        Words::Full => view.full.clone().or_else(|| some(&view.text)),
    }
}

pub(super) fn hold_rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    scene.pooler.holds().iter().map(|hold| row(hold, words)).collect()
}

/// The rows of `SHOW HOLDS FULL`.
pub(crate) fn full_rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = match words(scene.level) {
        Words::None => Words::None,
        Words::Redacted | Words::Full => Words::Full,
    };
    scene.pooler.holds().iter().map(|hold| row(hold, words)).collect()
}

fn row(hold: &HoldView, words: Words) -> Row {
    let (first, last) = (hold.first.as_ref(), hold.last.as_ref());
    let pins: Vec<_> = hold.pins.iter().map(Pin::as_str).collect();
    let tags = |view: Option<&StatementView>| view.and_then(|view| some(&view.tags));
    let mut row = vec![(hold.hold != 0).then(|| hold.hold.to_string())];
    row.extend(who(&hold.who));
    row.extend([
        cell(&hold.role),
        cell(format!("{:#x}", hold.server)),
        cell(hold.pid),
        cell(&hold.target),
        us(hold.server_age),
        cell(hold.state),
        us(hold.age),
        us(hold.waited),
        us(hold.idle),
        hold.transaction.and_then(us),
        us(hold.client_took),
        hold.unread_for.and_then(us),
        cell(hold.unread_bytes),
        cell(pins.join(", ")),
        hold.unknown_by.clone().filter(|_| words != Words::None),
        cell(hold.statements),
        cell(hold.rows),
        cell(hold.to_server),
        cell(hold.to_client),
        site(hold.site),
        tags(first),
        first.and_then(|view| view.traceparent.clone()),
        statement(first, words),
        first.map(|view| view.from.text()),
        statement(last, words),
        tags(last),
        last.map(|view| view.from.text()),
        cell(hold.verdict.level.as_str()),
        some(hold.verdict.rule),
        some(&hold.verdict.evidence),
        hold.client_life.and_then(some),
    ]);
    row
}

/// `SHOW HISTORY` has the columns of `SHOW HOLDS` and how each hold ended.
pub(super) const HISTORY: &[Column] = &{
    let mut all = [HOLDS[0]; HOLDS.len() + ENDED.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < ENDED.len() { ENDED[at] } else { HOLDS[at - ENDED.len()] };
        at += 1;
    }
    all
};

pub(super) fn history_rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    let past = |hold: &HoldView| {
        let mut cells = vec![hold.ended.clone(), us(hold.ended_ago)];
        cells.extend(row(hold, words));
        cells
    };
    scene.pooler.history().iter().map(past).collect()
}

pub(super) const ACTIONS: &[Column] = &[
    big("ago_us"),
    text("what"),
    text("by"),
    big("hold"),
    C[1],
    C[2],
    C[3],
    C[4],
    C[5],
    text("state"),
    big("idle_us"),
    text("site"),
];

pub(super) fn action_rows(scene: &Scene<'_>) -> Vec<Row> {
    let row = |deed: &DeedView| {
        vec![
            us(deed.ago),
            cell(deed.what),
            cell(&deed.by),
            cell(deed.hold),
            cell(format!("{:#x}", deed.client)),
            cell(&deed.database),
            cell(&deed.user),
            cell(&deed.application),
            cell(&deed.host),
            cell(deed.state),
            us(deed.unused),
            site(deed.site),
        ]
    };
    scene.pooler.actions().iter().map(row).collect()
}

pub(super) const PINS: &[Column] = &[
    big("hold"),
    C[0],
    C[2],
    C[3],
    C[4],
    C[5],
    int("pid"),
    text("state"),
    big("age_us"),
    big("idle_us"),
    text("pin"),
    text("unknown_by"),
];

/// A row for each hold and pin: why could this connection not be shared?
pub(super) fn pin_rows(scene: &Scene<'_>) -> Vec<Row> {
    let words = words(scene.level);
    let mut rows = Vec::new();
    for hold in scene.pooler.holds() {
        for pin in hold.pins.iter() {
            let by = hold.unknown_by.clone().filter(|_| words != Words::None && pin == Pin::Unknown);
            let [client, _, database, user, application, host, ..] = who(&hold.who);
            rows.push(vec![
                cell(hold.hold),
                client,
                database,
                user,
                application,
                host,
                cell(hold.pid),
                cell(hold.state),
                us(hold.age),
                us(hold.idle),
                cell(pin.as_str()),
                by,
            ]);
        }
    }
    rows
}

pub(super) const WAITERS: &[Column] = who_and![[]
    text("role"),
    int("place"),
    big("waiting_us"),
    text("why"),
];

pub(super) fn waiter_rows(scene: &Scene<'_>) -> Vec<Row> {
    let row = |waiter: &WaiterView| {
        let mut row = who(&waiter.who).to_vec();
        row.extend([cell(&waiter.role), cell(waiter.place), us(waiter.waiting), cell(&waiter.why)]);
        row
    };
    scene.pooler.waiters().iter().map(row).collect()
}

pub(super) const VISITORS: &[Column] = who_and![[]
    big("connected_us"),
    big("idle_us"),
    int("holds"),
    int("waits"),
    big("uses"),
    text("site"),
    text("site_text"),
];

pub(super) fn visitor_rows(scene: &Scene<'_>) -> Vec<Row> {
    let row = |visitor: &VisitorView| {
        let mut row = who(&visitor.who).to_vec();
        row.extend([
            us(visitor.connected),
            us(visitor.idle),
            cell(u8::from(visitor.holds)),
            cell(u8::from(visitor.waits)),
            cell(visitor.uses),
            site(visitor.site),
            some(&visitor.site_text),
        ]);
        row
    };
    scene.pooler.visitors().iter().map(row).collect()
}
