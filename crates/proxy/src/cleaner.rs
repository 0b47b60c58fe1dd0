//! What is done on a connection that nobody holds: what a lost client has left unfinished is ended, the reset query
//! and the check query are run.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use plimsoll_config::CancelOnClientLoss;
use plimsoll_pool::Failure;
use plimsoll_session::{Ending, FreeStep, Freeing, Round, RoundStep};
use plimsoll_types::Cause;

use crate::directory::PoolEntry;
use crate::entry::ServerEntry;
use crate::hub::Hub;
use crate::server::ServerConn;
use crate::socket::server_cause;
use crate::{cancel, closer, loss};

/// How long a reset may take where `server_connect_timeout` gives no limit.
const ROUND_TIMEOUT: Duration = Duration::from_secs(15);

/// After so long without a word a query is cancelled again: a cancel that comes before PostgreSQL has begun with what it
/// was meant for is forgotten. After twice as long once more, and so on: a server that does not move is not moved by
/// many connections either.
const CANCEL_AGAIN: Duration = Duration::from_millis(250);

/// What cleans after a lost client where there is no reset query: less than a new connection costs.
const RESET: &str = "DISCARD ALL";

/// Why a connection is not used again, and how it can be told so.
type Broken = (Cause, Ending);

/// Ends what is unfinished and runs the reset query if that is due, then tells the pool.
pub(crate) async fn clean(hub: Arc<Hub>, mut conn: Box<ServerConn>) {
    let plan = hub.plan();
    let query = plan.general.server_reset_query.clone();
    let Some(mut freeing) = conn.unfinished.take() else {
        let limit = match plan.general.server_connect_timeout {
            Duration::ZERO => ROUND_TIMEOUT,
            limit => limit,
        };
        let cleaned = tokio::time::timeout(limit, round(&hub, &mut conn, &query)).await;
        return finish(&hub, conn, in_time(cleaned)).await;
    };
    let limit = loss::cleanup_timeout(&plan);
    let cancels = loss::cancel_on_client_loss(&plan);
    let work = async {
        free(&hub, &mut conn, &mut freeing, cancels).await?;
        // Also in transaction pooling: what a rollback does not undo would stay, with nobody to clear it away.
        let query = if query.is_empty() { RESET } else { &query };
        round(&hub, &mut conn, query).await?;
        begin_again(&hub, &mut conn).await
    };
    let freed = match tokio::time::timeout(limit, work).await {
        Ok(Ok(())) => {
            if plan.general.log.disconnections {
                let (prefix, why) = (conn.entry.log_prefix(), Cause::ClientLeftBusy);
                tracing::info!("{prefix}{}: what it was doing has been ended", why.message());
            }
            Ok(())
        }
        Ok(Err(cause)) => Err((cause, Ending::Terminate)),
        // The first cancel may have ended a query behind which there was another.
        Err(_elapsed) => match (cancels, conn.link.ending()) {
            (CancelOnClientLoss::Off, Ending::Cancel) => Err((Cause::ClientLeftBusy, Ending::Terminate)),
            (CancelOnClientLoss::On | CancelOnClientLoss::Off, ending) => {
                Err((Cause::ClientLeftBusy, ending))
            }
        },
    };
    finish(&hub, conn, freed).await;
}

/// The reset has undone what `connect_query` had set, and whoever comes next counts on that: without a lost client he
/// would have it, and in PgBouncer a connection that has just been opened. So it is run again; where it fails the
/// connection is closed.
async fn begin_again(hub: &Hub, conn: &mut ServerConn) -> Result<(), Cause> {
    if conn.pool.purpose.is_control() {
        return Ok(());
    }
    let query = conn.pool.database.config().connect_query.clone();
    match query {
        Some(query) => round(hub, conn, &query).await,
        None => Ok(()),
    }
}

/// Runs the check query, then tells the pool.
pub(crate) async fn check(hub: Arc<Hub>, mut conn: Box<ServerConn>) {
    let plan = hub.plan();
    let query = plan.general.server_check_query.clone().unwrap_or_default();
    let limit = loss::server_check_timeout(&plan);
    let checked = tokio::time::timeout(limit, round(&hub, &mut conn, &query)).await;
    finish(&hub, conn, in_time(checked)).await;
}

fn in_time(ran: Result<Result<(), Cause>, tokio::time::error::Elapsed>) -> Result<(), Broken> {
    match ran {
        Ok(Ok(())) => Ok(()),
        Ok(Err(cause)) => Err((cause, Ending::Terminate)),
        Err(_elapsed) => Err((Cause::CleaningFailed, Ending::Cancel)),
    }
}

async fn finish(hub: &Arc<Hub>, mut conn: Box<ServerConn>, ran: Result<(), Broken>) {
    let Err((cause, ending)) = ran else {
        conn.tally.note_returned();
        return hub.cleaned(conn);
    };
    if cause != Cause::ClientLeftBusy {
        tracing::warn!("{}query of our own failed: {}", conn.entry.log_prefix(), cause.message());
    }
    let slot = conn.slot;
    let stream = closer::abandon(hub, conn, ending, &cause).await;
    closer::give_up(hub, slot, Some(stream), Failure::Lost(cause)).await;
}

/// Ends what a lost client has left unfinished. Where something is cancelled, nothing is said before the server has
/// dealt with it: it must not strike what we say ourselves.
async fn free(
    hub: &Arc<Hub>,
    conn: &mut ServerConn,
    freeing: &mut Freeing,
    cancels: CancelOnClientLoss,
) -> Result<(), Cause> {
    let mut out = Vec::new();
    let mut step = go(hub, conn, freeing, &mut out);
    let mut chunk = [0; 4096];
    let mut cancelled = Cancelled::No;
    let mut again = CANCEL_AGAIN;
    loop {
        match step {
            FreeStep::Done => {
                conn.input.clear();
                return Ok(());
            }
            FreeStep::Failed(cause) => return Err(cause),
            FreeStep::More { consumed } => drop(conn.input.drain(..consumed)),
            FreeStep::Cancel { consumed } => {
                conn.input.drain(..consumed);
                if cancels == CancelOnClientLoss::On {
                    strike(hub, &conn.pool, &conn.entry).await?;
                    cancelled = Cancelled::Yes;
                }
                step = go(hub, conn, freeing, &mut out);
                continue;
            }
        }
        if !out.is_empty() {
            // From here on a cancel would strike what we say.
            cancelled = Cancelled::No;
        }
        conn.output.push(&out);
        out.clear();
        let patience = match cancelled {
            Cancelled::Yes => again,
            // `cleanup_timeout` ends it.
            Cancelled::No => Duration::MAX,
        };
        let Ok(read) = tokio::time::timeout(patience, exchange(conn, &mut chunk)).await else {
            again *= 2;
            strike(hub, &conn.pool, &conn.entry).await?;
            step = FreeStep::More { consumed: 0 };
            continue;
        };
        match read? {
            0 => return Err(conn.link.farewell().unwrap_or_else(|| conn.entry.end_cause())),
            n => conn.input.extend_from_slice(&chunk[..n]),
        }
        step = freeing.on_server(&mut conn.link, &conn.input, &hub.tracked, &mut out);
    }
}

/// Whether a query was cancelled, and nothing has been said since.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cancelled {
    No,
    Yes,
}

/// Cancels what the server works at.
async fn strike(hub: &Arc<Hub>, pool: &Arc<PoolEntry>, entry: &Arc<ServerEntry>) -> Result<(), Cause> {
    // Whoever has not seen the end of it cannot know when it strikes.
    cancel::send(hub, pool, entry).await.map(drop).map_err(|_| Cause::ClientLeftBusy)
}

/// Says what can be said, and takes in what has come before.
fn go(hub: &Hub, conn: &mut ServerConn, freeing: &mut Freeing, out: &mut Vec<u8>) -> FreeStep {
    match freeing.go(&mut conn.link, out) {
        FreeStep::More { .. } if !conn.input.is_empty() => {
            freeing.on_server(&mut conn.link, &conn.input, &hub.tracked, out)
        }
        step => step,
    }
}

/// Reads what comes, and goes on sending meanwhile: a server that is stuck in its answer reads nothing before that has
/// been taken. Cancel safe.
async fn exchange(conn: &mut ServerConn, chunk: &mut [u8]) -> Result<usize, Cause> {
    let read = std::future::poll_fn(|cx| {
        if !conn.output.is_empty() {
            match conn.stream.poll_write(cx, conn.output.pending()) {
                Ok(sent) => conn.output.advance(sent),
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        conn.stream.poll_read(cx, chunk)
    });
    read.await.map_err(|e| server_cause(&e))
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
