//! Cancel requests: from a client's key to the server's, without ever hitting somebody else's query.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_pool::{CancelVerdict, Pools};
use plimsoll_types::{Cause, HoldId, SlotId};
use plimsoll_wire::encode;

use crate::count::Count;
use crate::dial;
use crate::directory::PoolEntry;
use crate::entry::{ClientEntry, ServerEntry};
use crate::handover::Stage;
use crate::hub::Hub;
use crate::login::CONSOLE;
use crate::peers;
use crate::socket::Stream;

/// Sends the server's own key to the server, on a connection of its own, and waits until the server has dealt with it.
/// For what nobody holds; waits its turn among the pool's other cancels. Dropped in the middle it counts as one that
/// may still strike.
pub(crate) async fn send(hub: &Arc<Hub>, pool: &PoolEntry, server: &ServerEntry) -> std::io::Result<()> {
    let slot = server.slot;
    match wait_for_turn(hub, |pools| pools.handle_own_cancel(slot)).await {
        Turn::Go => {}
        Turn::Stale => return Err(std::io::Error::other("the connection is somebody's, or gone")),
    }
    let mut under_way = UnderWay::new(hub, slot);
    let mut stream = reach(hub, pool, server).await?;
    under_way.deliver(&mut stream, server).await
}

/// Connects as the connection that is to be cancelled was connected.
async fn reach(hub: &Arc<Hub>, pool: &PoolEntry, server: &ServerEntry) -> std::io::Result<Stream> {
    let plan = hub.plan();
    let mut stream = dial::connect(&server.target, &plan.general).await?;
    let refused = |cause: Cause| std::io::Error::other(cause.message().into_owned());
    dial::secure(hub, &mut stream, pool, &server.target).await.map_err(refused)?;
    Ok(stream)
}

/// Carries out a client's CancelRequest; the caller closes the requester's socket afterwards, for the reason given.
pub(crate) async fn handle(hub: &Arc<Hub>, key: &[u8]) -> Cause {
    let Ok(key) = peers::Key::try_from(key) else { return Cause::CancelFailed };
    let Some(client) = client(hub, key) else {
        return tokio::time::timeout(limit(hub), hub.peers.pass_on(hub, key))
            .await
            .unwrap_or(Cause::CancelUndelivered);
    };
    let Some((slot, hold)) = client.held() else {
        if &*client.database == CONSOLE {
            client.post(|mail| mail.cancelled = true);
            return Cause::CancelConsole;
        }
        return Cause::CancelIdle;
    };
    let server = {
        let core = hub.core.lock();
        let server = core.server(slot).cloned();
        server.zip(core.pools.slot(slot).and_then(|view| core.pool(view.pool).cloned()))
    };
    let Some((server, pool)) = server else { return Cause::CancelTooLate };
    let limit = limit(hub);
    let waiting = Count::one_more(&pool.cancels_waiting);
    let turn = wait_for_turn(hub, |pools| pools.handle_cancel(slot, hold));
    let go = tokio::time::timeout(limit, turn).await;
    drop(waiting);
    match go {
        Ok(Turn::Go) => {}
        Ok(Turn::Stale) => return Cause::CancelTooLate,
        Err(_elapsed) => return Cause::CancelUndelivered,
    }
    // Ends the slot's "being cancelled" also when this future is dropped.
    let under_way = UnderWay::new(hub, slot);
    let _active = Count::one_more(&pool.cancels_active);
    match tokio::time::timeout(limit, forward(hub, &client, (&pool, &server), under_way, hold)).await {
        Ok(Ok(cause)) => cause,
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("{}cancel request could not be delivered", client.log_prefix());
            Cause::CancelUndelivered
        }
    }
}

/// Whose key it is, also if a peer has passed the request on to us.
fn client(hub: &Hub, key: peers::Key) -> Option<Arc<ClientEntry>> {
    let has_peers = hub.plan().general.peer_id != 0;
    let clients = hub.clients.lock();
    let passed = || clients.get(&peers::as_given_out(key)).filter(|_| has_peers);
    clients.get(&key).or_else(passed).cloned()
}

/// How long a request may wait for its turn, and then for its end.
fn limit(hub: &Hub) -> Duration {
    match hub.plan().general.cancel_wait_timeout {
        Duration::ZERO => Duration::from_secs(3600),
        limit => limit,
    }
}

enum Turn {
    Go,
    Stale,
}

/// At most 2 x pool_size cancel connections are open for a pool; the others ask again.
async fn wait_for_turn(hub: &Arc<Hub>, ask: impl Fn(&mut Pools) -> CancelVerdict) -> Turn {
    loop {
        match hub.with_pools(|pools, _| ask(pools)) {
            CancelVerdict::Go => return Turn::Go,
            CancelVerdict::Stale => return Turn::Stale,
            CancelVerdict::Wait => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A cancel connection, as the pools count it.
struct UnderWay<'a> {
    hub: &'a Arc<Hub>,
    slot: SlotId,
    key: Key,
}

/// Where the server's key is.
enum Key {
    /// Not sent, or the server has dealt with it. Next: `OnItsWay`.
    AtRest,
    /// Sent, perhaps in part. Next: `AtRest` when the server has closed.
    OnItsWay,
}

impl<'a> UnderWay<'a> {
    fn new(hub: &'a Arc<Hub>, slot: SlotId) -> UnderWay<'a> {
        UnderWay { hub, slot, key: Key::AtRest }
    }

    /// The server closes when it has dealt with the request, so success means that it will not strike any more.
    async fn deliver(&mut self, stream: &mut Stream, server: &ServerEntry) -> std::io::Result<()> {
        let key = server.key.lock().clone();
        let mut out = Vec::new();
        encode::cancel_request(&mut out, &key);
        self.key = Key::OnItsWay;
        stream.write_all(&out).await?;
        stream.shutdown_write();
        let mut chunk = [0; 64];
        while stream.read(&mut chunk).await? > 0 {}
        self.key = Key::AtRest;
        Ok(())
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.hub.with_pools(|pools, now| match self.key {
            Key::AtRest => pools.handle_cancel_ended(self.slot, now),
            Key::OnItsWay => pools.handle_cancel_lost(self.slot, now),
        });
    }
}

/// Whether the query is another process's by now. While everything stands still nobody knows: a key that is sent then may
/// strike what is not told of it.
async fn has_moved(hub: &Hub) -> bool {
    if !hub.stillness.is_still() {
        return false;
    }
    let mut stage = hub.stillness.watch();
    // Without anybody who could change the stage nothing moves.
    stage.wait_for(|stage| *stage != Stage::Still).await.is_ok_and(|stage| *stage == Stage::Given)
}

/// Connects first and looks again: the key is sent only while the very hold it was meant for goes on.
async fn forward(
    hub: &Arc<Hub>,
    client: &ClientEntry,
    (pool, server): (&PoolEntry, &ServerEntry),
    mut under_way: UnderWay<'_>,
    hold: HoldId,
) -> std::io::Result<Cause> {
    let mut stream = reach(hub, pool, server).await?;
    tracing::info!("{}new connection to server (from {})", server.log_prefix(), {
        dial::local_peer(stream.socket(), &server.target)
    });
    let slot = under_way.slot;
    if has_moved(hub).await {
        return Ok(Cause::CancelTooLate);
    }
    if !hub.core.lock().pools.is_held(slot, hold) || client.held() != Some((slot, hold)) {
        return Ok(Cause::CancelTooLate);
    }
    under_way.deliver(&mut stream, server).await?;
    Ok(Cause::CancelSent)
}
