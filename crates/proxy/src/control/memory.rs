//! `SHOW MEM`: what there is, by PgBouncer's names for it, and what one of each takes.

use std::mem::size_of;

use plimsoll_config::{Database, UserSettings};

use super::Control;
use crate::console::MemoryView;
use crate::directory::{DatabaseEntry, PoolEntry};
use crate::entry::{ClientEntry, ServerEntry};
use crate::relay::Relay;
use crate::server::ServerConn;
use crate::stats::Block;
use crate::worker::SCRATCH_BYTES;

impl Control {
    /// `SHOW MEM`. What lists and texts take that hang on them is not counted.
    pub fn memory(&self) -> Vec<MemoryView> {
        let (hub, plan) = (&self.hub, self.hub.plan());
        let directory = hub.directory.lock();
        // The console is among them, as in SHOW LISTS.
        let (databases, pools) = (directory.databases().len() + 1, directory.pools().len() + 1);
        drop(directory);
        let clients = hub.clients.lock().len();
        let servers = hub.core.lock().servers().count();
        let workers = hub.workers.len();
        let view = |name, size, used| MemoryView { name, size, used };
        vec![
            view("user_cache", size_of::<UserSettings>(), plan.users.len().max(plan.logins.len())),
            view("db_cache", size_of::<DatabaseEntry>() + size_of::<Database>(), databases),
            view("pool_cache", size_of::<PoolEntry>() + workers * size_of::<Block>(), pools),
            view("server_cache", size_of::<ServerEntry>() + size_of::<ServerConn>(), servers),
            view("client_cache", size_of::<ClientEntry>() + size_of::<Relay>(), clients),
            view("iobuf_cache", SCRATCH_BYTES, workers),
        ]
    }
}
