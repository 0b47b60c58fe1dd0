//! What log and client are told when a client goes: always the log first, so that whoever has seen the error finds the
//! reason in the log.

use std::borrow::Cow;
use std::time::Duration;

use plimsoll_config::{Compat, Plan};
use plimsoll_types::{Cause, Severity};
use plimsoll_wire::encode::{self, Fields};

use crate::entry::ClientEntry;
use crate::hub::Hub;

/// Longest reason PgBouncer can say, in bytes: it keeps reasons in a `char[128]`.
const COMPAT_REASON_BYTES_MAX: usize = 127;

/// A client is thrown out: logs why and gives the ErrorResponse that it is to be sent.
pub(crate) fn fatal(hub: &Hub, entry: &ClientEntry, cause: &Cause) -> Vec<u8> {
    let age = hub.now().since(entry.connected);
    fatal_to(&hub.plan(), &entry.log_prefix(), age, cause)
}

/// A client left by itself: only the log hears of it.
pub(crate) fn leaving(hub: &Hub, entry: &ClientEntry, cause: &Cause) {
    let age = hub.now().since(entry.connected);
    log_closing(&hub.plan(), &entry.log_prefix(), age, cause);
}

/// [`fatal`] for a client that has no entry yet; `prefix` begins its log lines, `age` is how long it has been here.
pub(crate) fn fatal_to(plan: &Plan, prefix: &str, age: Duration, cause: &Cause) -> Vec<u8> {
    log_closing(plan, prefix, age, cause);
    if plan.general.log_pooler_errors {
        tracing::warn!("{prefix}pooler error: {}", reason(cause, plan.own.compat));
    }
    error_response(cause, Severity::Fatal, plan.own.compat)
}

/// `closing because`, if such lines are wanted.
pub(crate) fn log_closing(plan: &Plan, prefix: &str, age: Duration, cause: &Cause) {
    if plan.general.log_disconnections {
        let why = match plan.own.compat {
            Compat::Plimsoll => cause.message(),
            Compat::Pgbouncer => cause.compat_message(),
        };
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
