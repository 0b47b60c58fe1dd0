//! What a client is counted in, and that all of it is undone when it goes, however it goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use plimsoll_types::{Cause, ClientId, Moment, WorkerId};

use crate::directory::{DatabaseEntry, PoolEntry};
use crate::entry::{ClientEntry, Identity};
use crate::hub::{Hub, Phase};
use crate::{peers, random};

/// Everything a client is counted in. Dropped, it counts the client out.
pub(crate) struct ClientGuard {
    hub: Arc<Hub>,
    worker: WorkerId,
    stage: Stage,
}

/// How far a client has come. Each stage leads to the next, or to the end.
enum Stage {
    /// Its socket is open.
    Accepted,
    /// It has named user and database.
    Named(Box<Named>),
    /// It may be cancelled and killed: a client of a pool.
    Client(Arc<ClientEntry>, Arc<PoolEntry>),
    /// The same for a client of the console.
    Console(Arc<ClientEntry>),
    /// Counted out.
    Gone,
}

struct Named {
    user: Arc<str>,
    database: Counted,
}

/// In which database's clients one is counted.
#[derive(Clone, Debug)]
pub(crate) enum Counted {
    /// A configured one's.
    Database(Arc<DatabaseEntry>),
    /// The console's.
    Console,
    /// None's: it does not exist (yet).
    Nowhere,
}

/// Most clients; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of the database.
    pub(crate) database: u32,
    /// Of the user.
    pub(crate) user: u32,
}

impl ClientGuard {
    /// Counts a socket.
    pub(crate) fn new(hub: Arc<Hub>, worker: WorkerId) -> ClientGuard {
        hub.sockets.fetch_add(1, Ordering::AcqRel);
        hub.workers[usize::from(worker.0)].clients.fetch_add(1, Ordering::Relaxed);
        ClientGuard { hub, worker, stage: Stage::Accepted }
    }

    /// The worker the client lives on.
    pub(crate) fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Counts the client in the clients of a database and a user. Gives the name of the user as all its clients
    /// share it.
    ///
    /// # Errors
    /// One of the limits is passed; the client stays counted until the guard is dropped.
    pub(crate) fn name(&mut self, user: &str, database: Counted, limits: Limits) -> Result<Arc<str>, Cause> {
        let (user, user_clients) = count_user(&self.hub, user);
        let database_clients = database.count_in(&self.hub);
        self.stage = Stage::Named(Box::new(Named { user: user.clone(), database }));
        if limits.database > 0 && database_clients > limits.database {
            return Err(Cause::MaxDbClients);
        }
        if limits.user > 0 && user_clients > limits.user {
            return Err(Cause::MaxUserClients);
        }
        Ok(user)
    }

    /// The client is another user than it said: it is counted as that one.
    ///
    /// # Errors
    /// That user has as many clients as it may; 0 is no limit.
    pub(crate) fn rename(&mut self, user: &str, user_max: u32) -> Result<Arc<str>, Cause> {
        let Stage::Named(named) = &mut self.stage else { return Ok(user.into()) };
        let (user, clients) = count_user(&self.hub, user);
        let before = std::mem::replace(&mut named.user, user.clone());
        discount_user(&self.hub, &before);
        if user_max > 0 && clients > user_max {
            return Err(Cause::MaxUserClients);
        }
        Ok(user)
    }

    /// The database asked for has been made just now (`*` line): counts the client in its clients.
    ///
    /// # Errors
    /// As for [`ClientGuard::name`].
    pub(crate) fn found(&mut self, database: &Arc<DatabaseEntry>, database_max: u32) -> Result<(), Cause> {
        let Stage::Named(named) = &mut self.stage else { return Ok(()) };
        if let Counted::Nowhere = named.database {
            named.database = Counted::Database(database.clone());
            let clients = named.database.count_in(&self.hub);
            if database_max > 0 && clients > database_max {
                return Err(Cause::MaxDbClients);
            }
        }
        Ok(())
    }

    /// The client has proved who it is: from now on it has a cancel key. `pool` is `None` for the console.
    pub(crate) fn enter(
        &mut self,
        id: ClientId,
        identity: Identity,
        pool: Option<Arc<PoolEntry>>,
        connected: Moment,
    ) -> Arc<ClientEntry> {
        let entry = register(&self.hub, id, identity, connected);
        // The database is counted through the pool from now on, the user through the entry: what is counted stays.
        self.stage = match pool {
            Some(pool) => {
                self.hub.with_pools(|pools, now| {
                    let clients = pool.clients.fetch_add(1, Ordering::Relaxed) + 1;
                    pools.set_clients(pool.id, clients, now);
                });
                Stage::Client(entry.clone(), pool)
            }
            None => Stage::Console(entry.clone()),
        };
        entry
    }
}

impl ClientGuard {
    /// Counts a client of a pool that comes from another process, where it was within all limits.
    pub(crate) fn adopt(
        hub: Arc<Hub>,
        worker: WorkerId,
        entry: &Arc<ClientEntry>,
        pool: &Arc<PoolEntry>,
    ) -> ClientGuard {
        let mut guard = ClientGuard::new(hub, worker);
        count_user(&guard.hub, &entry.user);
        Counted::Database(pool.database.clone()).count_in(&guard.hub);
        guard.hub.clients.lock().insert(entry.key, entry.clone());
        guard.hub.with_pools(|pools, now| {
            let clients = pool.clients.fetch_add(1, Ordering::Relaxed) + 1;
            pools.set_clients(pool.id, clients, now);
        });
        guard.stage = Stage::Client(entry.clone(), pool.clone());
        guard
    }

    /// The same for a client of the console.
    pub(crate) fn adopt_console(hub: Arc<Hub>, worker: WorkerId, entry: &Arc<ClientEntry>) -> ClientGuard {
        let mut guard = ClientGuard::new(hub, worker);
        count_user(&guard.hub, &entry.user);
        Counted::Console.count_in(&guard.hub);
        guard.hub.clients.lock().insert(entry.key, entry.clone());
        guard.stage = Stage::Console(entry.clone());
        guard
    }
}

impl Drop for ClientGuard {
    fn drop(&mut self) {
        let hub = &self.hub;
        match std::mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Accepted | Stage::Gone => {}
            Stage::Named(named) => {
                named.database.count_out(hub);
                discount_user(hub, &named.user);
            }
            Stage::Client(entry, pool) => {
                hub.clients.lock().remove(&entry.key);
                Counted::Database(pool.database.clone()).count_out(hub);
                discount_user(hub, &entry.user);
                hub.with_pools(|pools, now| {
                    let clients = pool.clients.fetch_sub(1, Ordering::Relaxed) - 1;
                    pools.set_clients(pool.id, clients, now);
                });
            }
            Stage::Console(entry) => {
                hub.clients.lock().remove(&entry.key);
                Counted::Console.count_out(hub);
                discount_user(hub, &entry.user);
            }
        }
        hub.workers[usize::from(self.worker.0)].clients.fetch_sub(1, Ordering::Relaxed);
        hub.sockets.fetch_sub(1, Ordering::AcqRel);
        if hub.phase() != Phase::Running {
            hub.gone.notify_one();
        }
    }
}

impl Counted {
    /// Counts one more and tells how many they are now.
    fn count_in(&self, hub: &Hub) -> u32 {
        match self {
            Counted::Database(entry) => entry.clients.fetch_add(1, Ordering::Relaxed) + 1,
            Counted::Console => hub.entrance.console_clients.fetch_add(1, Ordering::Relaxed) + 1,
            Counted::Nowhere => 0,
        }
    }

    fn count_out(&self, hub: &Hub) {
        match self {
            Counted::Database(entry) => entry.clients.fetch_sub(1, Ordering::Relaxed),
            Counted::Console => hub.entrance.console_clients.fetch_sub(1, Ordering::Relaxed),
            Counted::Nowhere => 0,
        };
    }
}

/// Counts one more client of a user: its name as all of them share it, and how many they are now.
fn count_user(hub: &Hub, user: &str) -> (Arc<str>, u32) {
    let mut directory = hub.directory.lock();
    let name = match directory.user_clients.get_key_value(user) {
        Some((name, _)) => name.clone(),
        None => Arc::from(user),
    };
    let clients = directory.user_clients.entry(name.clone()).or_default();
    *clients += 1;
    (name, *clients)
}

fn discount_user(hub: &Hub, user: &Arc<str>) {
    let mut directory = hub.directory.lock();
    if let Some(clients) = directory.user_clients.get_mut(user) {
        *clients -= 1;
        if *clients == 0 {
            directory.user_clients.remove(user);
        }
    }
}

/// Puts a client among those who can be cancelled, under a key that nobody else has.
fn register(hub: &Hub, id: ClientId, identity: Identity, connected: Moment) -> Arc<ClientEntry> {
    let own = hub.plan().general.peer_id;
    let mut clients = hub.clients.lock();
    let key = loop {
        let key = new_key(own);
        if !clients.contains_key(&key) {
            break key;
        }
    };
    let entry = Arc::new(ClientEntry::new(id, key, identity, connected));
    clients.insert(key, entry.clone());
    entry
}

/// Random, but with a process id that is positive for clients that read it as a signed number, and with our own
/// `peer_id`.
fn new_key(own: u16) -> peers::Key {
    let mut key = random::bytes::<8>();
    key[0] &= 0x7f;
    peers::marked(key, own)
}
