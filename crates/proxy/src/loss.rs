//! What the plan says of peers that are lost: clients that vanish or stop in the middle, servers that do not answer.

use std::time::Duration;

use plimsoll_config::{CancelOnClientLoss, Compat, Plan};
use plimsoll_types::Cause;

use crate::server::ServerConn;

/// How long freeing and cleaning may take, unless `cleanup_timeout` says otherwise.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a query is cancelled whose client is lost. PostgreSQL itself, and PgBouncer in front of it, let it run to its
/// end.
pub(crate) fn cancel_on_client_loss(plan: &Plan) -> CancelOnClientLoss {
    plan.own.cancel_on_client_loss.unwrap_or(match plan.own.compat {
        Compat::Plimsoll => CancelOnClientLoss::On,
        Compat::Pgbouncer => CancelOnClientLoss::Off,
    })
}

/// How long a client may stop in the middle, unless `client_stall_timeout` says otherwise.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to answer the check query, unless `server_check_timeout` says otherwise.
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// So much of a batch is held back, unless `batch_hold_bytes` says otherwise.
pub(crate) const BATCH_HOLD_BYTES: usize = 64 << 10;

/// All that is held back, unless `batch_hold_memory` says otherwise.
pub(crate) const BATCH_HOLD_MEMORY: usize = 64 << 20;

/// How long it may take to make a server connection usable again whose client was lost in the middle of something.
/// Zero: it is closed at once, which is PgBouncer's way.
pub(crate) fn cleanup_timeout(plan: &Plan) -> Duration {
    plan.own.cleanup_timeout.unwrap_or(match plan.own.compat {
        Compat::Plimsoll => CLEANUP_TIMEOUT,
        Compat::Pgbouncer => Duration::ZERO,
    })
}

/// How long a client may stop in the middle of a message or a batch; zero is off. PgBouncer knows no such limit.
pub(crate) fn client_stall_timeout(plan: &Plan) -> Duration {
    plan.own.client_stall_timeout.unwrap_or(match plan.own.compat {
        Compat::Plimsoll => STALL_TIMEOUT,
        Compat::Pgbouncer => Duration::ZERO,
    })
}

/// How long a server may take to answer a query of our own that asks for next to nothing.
pub(crate) fn server_check_timeout(plan: &Plan) -> Duration {
    plan.own.server_check_timeout.unwrap_or(CHECK_TIMEOUT)
}

/// Whether the server connection of a client that ends for this cause is freed: the client is gone, or as good as gone.
/// Whoever is thrown out takes the connection along, as in PgBouncer.
pub(crate) fn frees(plan: &Plan, cause: &Cause) -> bool {
    let revoked = matches!(cause, Cause::TransactionRevoked { .. } | Cause::SessionRevoked { .. });
    let lost = cause.is_departure() || *cause == Cause::ClientStalled || revoked;
    lost && !cleanup_timeout(plan).is_zero()
}

/// Whether what a server connection works at is not cancelled when it is closed for this cause: its client was lost, and
/// the plan wants it to run on.
pub(crate) fn runs_on(plan: &Plan, conn: &ServerConn, cause: &Cause) -> bool {
    match cancel_on_client_loss(plan) {
        CancelOnClientLoss::On => false,
        CancelOnClientLoss::Off => conn.unfinished.is_some() || *cause == Cause::ClientLeftBusy,
    }
}
