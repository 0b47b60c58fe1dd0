//! Letting go of a server connection so that nothing of it is left at the server when its slot is free again.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_pool::{Failure, Returned};
use plimsoll_session::Ending;
use plimsoll_types::{Cause, SlotId};
use plimsoll_wire::encode;

use crate::entry::ServerEntry;
use crate::hub::Hub;
use crate::server::{Closing, ServerConn};
use crate::socket::Stream;
use crate::targets::Lost;
use crate::{cancel, loss, report};

/// How long a server that we let go may take to close, unless `close_timeout` says otherwise.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server that did not close stays counted, unless `lost_max` says otherwise.
pub(crate) const LOST_MAX: Duration = Duration::from_secs(600);

/// Reads and throws away until the peer has closed.
pub(crate) async fn read_to_end(stream: &mut Stream) {
    let mut chunk = [0; 4096];
    while let Ok(n) = stream.read(&mut chunk).await
        && n > 0
    {}
}

/// Logs why, ends the server's work, and waits for its end; then tells the pool. PostgreSQL closes its socket when
/// the process is gone, so end of file means that the place at the server is free.
pub(crate) async fn close(hub: Arc<Hub>, conn: Box<ServerConn>, cause: Cause) {
    let slot = conn.slot;
    let plan = hub.plan();
    match conn.closing {
        Closing::Untold => log_closing(&hub, &conn.entry, &cause),
        Closing::Told => {}
    }
    let ending = if conn.output.is_empty() { conn.link.ending() } else { conn.link.cut() };
    let ending = match ending {
        Ending::Cancel if loss::runs_on(&plan, &conn, &cause) => Ending::Terminate,
        other => other,
    };
    let pid = conn.entry.pid();
    let mut stream = end(&hub, conn, ending).await;
    let limit = plan.own.close_timeout.unwrap_or(CLOSE_TIMEOUT);
    if tokio::time::timeout(limit, read_to_end(&mut stream)).await.is_err() {
        hub.lost(slot);
        wait_for_end(&hub, slot, pid, read_to_end(&mut stream)).await;
    }
    drop(stream);
    hub.closed(slot);
}

/// Begins to end a connection that is of no use with a query of our own on it: `ending` is [`Ending::Cancel`] while
/// that still runs. [`give_up`] does the rest.
pub(crate) async fn abandon(hub: &Arc<Hub>, conn: Box<ServerConn>, ending: Ending, cause: &Cause) -> Stream {
    log_closing(hub, &conn.entry, cause);
    end(hub, conn, ending).await
}

/// Waits until a lost one has ended: its socket says so, whoever looks at the server sees it, or `lost_max` has passed.
async fn wait_for_end(hub: &Arc<Hub>, slot: SlotId, pid: u32, ended: impl Future<Output = ()>) {
    let Some(view) = ({ hub.core.lock().pools.slot(slot) }) else { return };
    let longest = hub.plan().own.lost_max.unwrap_or(LOST_MAX);
    let lost = Lost { slot, target: view.target, pid, opened: view.opened };
    // Somebody may see that it is gone already.
    hub.targets.wake.notify_one();
    hub.targets.lost.wait(lost, ended, longest).await;
}

/// Cleaning or checking has failed: waits for the server's end and tells the pool how it went. A server that does not
/// end in time keeps its place as a lost one.
pub(crate) async fn give_up(hub: &Arc<Hub>, slot: SlotId, stream: Option<Stream>, failure: Failure) {
    let pid = { hub.core.lock().server(slot).map_or(0, |entry| entry.pid()) };
    give_up_process(hub, slot, pid, stream, failure).await;
}

/// The same for opening: only who opens knows the server's process, if anybody (0).
pub(crate) async fn give_up_process(
    hub: &Arc<Hub>,
    slot: SlotId,
    pid: u32,
    stream: Option<Stream>,
    failure: Failure,
) {
    let Some(mut stream) = stream else { return hub.failed(slot, failure) };
    stream.shutdown_write();
    let plan = hub.plan();
    let limit = plan.own.close_timeout.unwrap_or(CLOSE_TIMEOUT);
    if tokio::time::timeout(limit, read_to_end(&mut stream)).await.is_ok() {
        drop(stream);
        return hub.failed(slot, failure);
    }
    hub.failed_unseen(slot, failure);
    wait_for_end(hub, slot, pid, read_to_end(&mut stream)).await;
    drop(stream);
    hub.closed(slot);
}

/// A connection that was held is closed already, so only who looks at the server can see its end: it is lost until
/// then. Must be called on a worker.
pub(crate) fn cut_off(hub: &Arc<Hub>, slot: SlotId, entry: &ServerEntry, cause: &Cause) {
    log_closing(hub, entry, cause);
    hub.with_pools(|pools, now| {
        pools.handle_returned(slot, Returned::Unusable(cause.clone()), now);
        pools.handle_lost(slot, now);
    });
    let (hub, pid) = (hub.clone(), entry.pid());
    tokio::spawn(async move {
        wait_for_end(&hub, slot, pid, std::future::pending()).await;
        hub.closed(slot);
    });
}

/// `closing because`, if such lines are wanted.
pub(crate) fn log_closing(hub: &Hub, entry: &ServerEntry, cause: &Cause) {
    hub.found.note(cause);
    report::log_closing(&hub.plan(), &entry.log_prefix(), hub.now().since(entry.opened), cause);
}

/// Says goodbye in the way the server can hear: a busy one is cancelled first, one that waits for COPY data gets a
/// CopyFail, and one that is owed the rest of a message cannot be told anything.
async fn end(hub: &Arc<Hub>, conn: Box<ServerConn>, ending: Ending) -> Stream {
    let mut goodbye = Vec::new();
    match ending {
        Ending::Terminate | Ending::Cancel => encode::terminate(&mut goodbye),
        Ending::CopyFail => {
            encode::copy_fail(&mut goodbye, "connection is being closed by the pooler");
            encode::sync(&mut goodbye);
            encode::terminate(&mut goodbye);
        }
        Ending::Cut | Ending::HangUp => {}
    }
    let ServerConn { mut stream, entry, pool, .. } = *conn;
    if matches!(ending, Ending::Cancel | Ending::Cut) && !stream.is_gone_now() {
        // Should it fail, the server still ends when it next writes or reads.
        let limit = hub.plan().own.close_timeout.unwrap_or(CLOSE_TIMEOUT);
        let _ = tokio::time::timeout(limit, cancel::send(hub, &pool, &entry)).await;
    }
    // A few bytes: they fit the socket's buffer or the server reads nothing anyway.
    let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(stream.poll_write(cx, &goodbye))).await;
    stream.shutdown_write();
    stream
}
