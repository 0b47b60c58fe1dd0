//! What goes because nobody uses it any more: pools, databases made by the `*` line, and, with `server_fast_close`,
//! sessions whose server connection has to be renewed.

use std::collections::HashSet;
use std::sync::Arc;

use plimsoll_pool::SlotState;
use plimsoll_types::{Cause, Moment, SlotId};

use super::Control;
use crate::directory::{DatabaseEntry, PoolEntry, Purpose};
use crate::hub::Hub;

impl Control {
    /// Tells the pools the time, and the log which of them it was up for.
    pub(crate) fn tell_time(&self) {
        let hub = &self.hub;
        let given_up = hub.with_pools(|pools, now| {
            pools.handle_timeout(now);
            std::iter::from_fn(|| pools.poll_given_up()).collect::<Vec<_>>()
        });
        for (id, age) in given_up {
            let Some(pool) = hub.core.lock().pool(id).cloned() else { continue };
            if pool.purpose == Purpose::Replication {
                // To those who look it is the pool beside, which has its own line.
                continue;
            }
            tracing::info!(
                "cleaning up idle pool for user {} on db {} because: pool idle timeout (age= {}s)",
                pool.user,
                pool.database.name,
                age.as_secs()
            );
        }
    }

    /// Removes what nobody has used for too long.
    pub(crate) fn tidy(&self) {
        self.remove_idle_pools();
        self.remove_idle_databases();
        self.close_fast();
    }

    /// Pools that `pool_idle_timeout` has emptied. One that somebody has in hand stays until the next look.
    fn remove_idle_pools(&self) {
        let hub = &self.hub;
        let mut directory = hub.directory.lock();
        let core = hub.core.lock();
        let unused = directory.unused_pools(|pool| core.pools.is_given_up(pool.id));
        drop(core);
        if unused.is_empty() {
            return;
        }
        for pool in &unused {
            directory.remove_pool(pool);
        }
        hub.remove_pools(&unused, &Cause::PoolIdleTimeout);
    }

    /// `autodb_idle_timeout`: databases of the `*` line without clients and server connections. Paused ones stay.
    fn remove_idle_databases(&self) {
        let (hub, plan, now) = (&self.hub, self.hub.plan(), self.hub.now());
        let timeout = plan.general.autodb_idle_timeout;
        if timeout.is_zero() || plan.auto_database.is_none() {
            return;
        }
        let mut directory = hub.directory.lock();
        let automatic =
            |entry: &Arc<DatabaseEntry>| plan.databases.iter().all(|line| *line.name != *entry.name);
        for database in directory.databases().into_iter().filter(automatic) {
            let since = idle_since(hub, &database, now);
            if since.is_none_or(|since| now.since(since) < timeout) {
                continue;
            }
            tracing::warn!(
                "dropping database '{}' as it does not exist anymore or inactive auto-database",
                database.name
            );
            let pools = directory.remove_database(&database);
            hub.remove_pools(&pools, &Cause::DatabaseRemoved);
        }
    }

    /// `server_fast_close`: a session that is in no transaction ends, and with it its connection that has to be
    /// renewed. In the other modes such a connection is closed when it comes back, which is as soon. A replication
    /// connection that has to be renewed is closed whatever is going on, as in PgBouncer: it may never come to rest, and
    /// those who use one begin again where they were.
    fn close_fast(&self) {
        let hub = &self.hub;
        let fast = hub.plan().general.server_fast_close;
        let replicates = |pool: &Arc<PoolEntry>| pool.purpose == Purpose::Replication;
        if !fast && !hub.directory.lock().pools().iter().any(replicates) {
            return;
        }
        let marked = marked(hub);
        if marked.is_empty() {
            return;
        }
        for client in hub.clients.lock().values() {
            let is_marked = client.held().is_some_and(|(slot, _)| marked.contains(&slot));
            let cause = || Some(Box::new(Cause::DatabaseChanged));
            if is_marked && client.replication.is_some() {
                client.post(|mail| mail.kill = cause());
            } else if is_marked && fast {
                // The client's own task knows whether it is at rest.
                client.post(|mail| mail.quit = cause());
            }
        }
    }
}

/// Since when nobody has had anything to do with a database; it is noted when it is seen for the first time.
fn idle_since(hub: &Hub, database: &DatabaseEntry, now: Moment) -> Option<Moment> {
    let core = hub.core.lock();
    let has_clients = database.clients.load(std::sync::atomic::Ordering::Relaxed) > 0;
    let in_use = has_clients
        || core.pools.database_used(database.id) > 0
        || core.pools.is_paused(Some(database.id))
        || core.pools.is_paused(None);
    let mut since = database.idle_since.lock();
    *since = if in_use { None } else { Some(since.unwrap_or(now)) };
    *since
}

/// Server connections in use that have to be renewed.
fn marked(hub: &Hub) -> HashSet<SlotId> {
    let core = hub.core.lock();
    let marked = core.pools.slots().filter(|slot| slot.close_needed && slot.state == SlotState::Held);
    marked.map(|slot| slot.id).collect()
}
