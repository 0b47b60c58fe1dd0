//! Queries of our own on a connection that nobody holds: the reset query and the check query.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_pool::Failure;
use plimsoll_session::{Ending, Round, RoundStep};
use plimsoll_types::Cause;

use crate::closer;
use crate::hub::Hub;
use crate::server::ServerConn;
use crate::socket::server_cause;

/// How long a reset or check may take where `server_connect_timeout` gives no limit.
const ROUND_TIMEOUT: Duration = Duration::from_secs(15);

/// Runs the reset query, then tells the pool.
pub(crate) async fn clean(hub: Arc<Hub>, conn: Box<ServerConn>) {
    let query = hub.plan().general.server_reset_query.clone();
    run(hub, conn, &query).await;
}

/// Runs the check query, then tells the pool.
pub(crate) async fn check(hub: Arc<Hub>, conn: Box<ServerConn>) {
    let query = hub.plan().general.server_check_query.clone().unwrap_or_default();
    run(hub, conn, &query).await;
}

async fn run(hub: Arc<Hub>, mut conn: Box<ServerConn>, query: &str) {
    let limit = match hub.plan().general.server_connect_timeout {
        Duration::ZERO => ROUND_TIMEOUT,
        limit => limit,
    };
    let (cause, ending) = match tokio::time::timeout(limit, round(&hub, &mut conn, query)).await {
        Ok(Ok(())) => return hub.cleaned(conn),
        Ok(Err(cause)) => (cause, Ending::Terminate),
        Err(_elapsed) => (Cause::CleaningFailed, Ending::Cancel),
    };
    tracing::warn!("{}query of our own failed: {}", conn.entry.log_prefix(), cause.message());
    let slot = conn.slot;
    let stream = closer::abandon(&hub, conn, ending, &cause).await;
    closer::give_up(&hub, slot, Some(stream), Failure::Lost(cause)).await;
}

async fn round(hub: &Hub, conn: &mut ServerConn, query: &str) -> Result<(), Cause> {
    let mut out = Vec::new();
    let mut round = Round::start(query, &mut out);
    conn.stream.write_all(&out).await.map_err(|e| server_cause(&e))?;
    let mut chunk = [0; 4096];
    loop {
        match conn.stream.read(&mut chunk).await {
            Ok(0) => return Err(conn.entry.end_cause()),
            Err(e) => return Err(server_cause(&e)),
            Ok(n) => conn.input.extend_from_slice(&chunk[..n]),
        }
        match round.on_server(&mut conn.link, &conn.input, &hub.tracked) {
            RoundStep::More { consumed } => conn.input.drain(..consumed),
            RoundStep::Done { consumed } => {
                conn.input.drain(..consumed);
                return Ok(());
            }
            RoundStep::Failed(cause) => return Err(cause),
        };
    }
}
