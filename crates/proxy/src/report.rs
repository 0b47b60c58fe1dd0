//! What log and client are told when a client goes: always the log first, so that whoever has seen the error finds the
//! reason in the log.

use std::borrow::Cow;
use std::time::Duration;

use plimsoll_config::{Compat, Plan};
use plimsoll_types::{Cause, Severity};
use plimsoll_wire::encode::{self, Fields};

use crate::directory::PoolEntry;
use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::{gate, ledger};

/// Longest reason PgBouncer can say, in bytes: it keeps reasons in a `char[128]`.
const COMPAT_REASON_BYTES_MAX: usize = 127;

/// A client is thrown out: logs why and gives the ErrorResponse that it is to be sent.
pub(crate) fn fatal(hub: &Hub, entry: &ClientEntry, cause: &Cause) -> Vec<u8> {
    let age = hub.now().since(entry.connected);
    fatal_to(&hub.plan(), &entry.log_prefix(), age, cause)
}

/// The same for a client of a pool: if it has waited in vain it is told who holds what it waited for.
pub(crate) fn fatal_in(hub: &Hub, entry: &ClientEntry, pool: &PoolEntry, cause: &Cause) -> Vec<u8> {
    if is_vain_wait(cause) {
        hub.console.note_vain_wait();
    }
    let plan = hub.plan();
    let Some(detail) = detail_of_wait(hub, &plan, entry, pool, cause) else {
        return fatal(hub, entry, cause);
    };
    let (age, prefix) = (hub.now().since(entry.connected), entry.log_prefix());
    log_closing(&plan, &prefix, age, cause);
    if plan.general.log.pooler_errors {
        tracing::warn!("{prefix}pooler error: {}; {detail}", reason(cause, plan.own.compat));
    }
    let mut out = Vec::new();
    encode::error_response(
        &mut out,
        &Fields {
            severity: Severity::Fatal.as_str(),
            sqlstate: cause.sqlstate().as_str(),
            message: &reason(cause, plan.own.compat),
            detail: Some(&detail),
            hint: Some(ledger::HINT),
        },
    );
    out
}

/// Who holds what a client waits or has waited for; PgBouncer says nothing of it.
pub(crate) fn detail_of_wait(
    hub: &Hub,
    plan: &Plan,
    entry: &ClientEntry,
    pool: &PoolEntry,
    cause: &Cause,
) -> Option<String> {
    if !is_vain_wait(cause) || plan.own.compat == Compat::Pgbouncer || !hub.ledger.is_on() {
        return None;
    }
    let caps: Vec<String> = hub.gate.waits_for(entry.id).iter().map(gate::text).collect();
    if !caps.is_empty() {
        return Some(caps.join("; "));
    }
    Some(hub.ledger.holders(hub, pool).detail(plan, entry))
}

/// Whether a client goes because it has waited for too long.
fn is_vain_wait(cause: &Cause) -> bool {
    matches!(cause, Cause::QueryWaitTimeout | Cause::QueryTimeoutWaiting)
}

/// A client left by itself: only the log hears of it.
pub(crate) fn leaving(hub: &Hub, entry: &ClientEntry, cause: &Cause) {
    let plan = hub.plan();
    if plan.general.log.disconnections {
        log_closing(&plan, &entry.log_prefix(), hub.now().since(entry.connected), cause);
    }
}

/// [`fatal`] for a client that has no entry yet; `prefix` begins its log lines, `age` is how long it has been here.
pub(crate) fn fatal_to(plan: &Plan, prefix: &str, age: Duration, cause: &Cause) -> Vec<u8> {
    log_closing(plan, prefix, age, cause);
    if plan.general.log.pooler_errors {
        tracing::warn!("{prefix}pooler error: {}", reason(cause, plan.own.compat));
    }
    error_response(cause, Severity::Fatal, plan.own.compat)
}

/// `closing because`, if such lines are wanted.
pub(crate) fn log_closing(plan: &Plan, prefix: &str, age: Duration, cause: &Cause) {
    let why = match plan.own.compat {
        Compat::Plimsoll => cause.message(),
        Compat::Pgbouncer => cause.compat_message(),
    };
    log_closing_for(plan, prefix, age, &why);
}

/// The same for a server connection that was refused. PgBouncer tells the server's reason in a line before it.
pub(crate) fn log_login_failed(plan: &Plan, prefix: &str, age: Duration, cause: &Cause) {
    match (plan.own.compat, cause) {
        (Compat::Pgbouncer, Cause::Server { .. }) => log_closing_for(plan, prefix, age, "login failed"),
        (Compat::Pgbouncer, Cause::WrongPasswordType) => {
            log_closing_for(plan, prefix, age, "failed to answer authreq");
        }
        (Compat::Pgbouncer | Compat::Plimsoll, _) => log_closing(plan, prefix, age, cause),
    }
}

fn log_closing_for(plan: &Plan, prefix: &str, age: Duration, why: &str) {
    if plan.general.log.disconnections {
        tracing::info!("{prefix}closing because: {why} (age={}s)", age.as_secs());
    }
}

/// The ErrorResponse of a cause.
pub(crate) fn error_response(cause: &Cause, severity: Severity, compat: Compat) -> Vec<u8> {
    let view = cause.view(compat == Compat::Pgbouncer);
    let mut out = Vec::new();
    encode::error_response(
        &mut out,
        &Fields {
            severity: severity.as_str(),
            sqlstate: view.sqlstate.as_str(),
            message: &reason(cause, compat),
            detail: view.detail.as_deref(),
            hint: view.hint,
        },
    );
    out
}

/// The message, cut where PgBouncer would cut it. What a server said is passed on whole.
fn reason(cause: &Cause, compat: Compat) -> Cow<'_, str> {
    match (compat, cause) {
        (Compat::Plimsoll, _) | (Compat::Pgbouncer, Cause::Server { .. }) => cause.message(),
        (Compat::Pgbouncer, _) => {
            let message = cause.compat_message();
            let end = message.floor_char_boundary(COMPAT_REASON_BYTES_MAX);
            match message {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(mut text) => {
                    text.truncate(end);
                    Cow::Owned(text)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
