//! What all workers share: the pool core behind its mutex, the names, the clients, and how decisions are carried out.
//!
//! Lock order: directory, core, a client's mailbox. No lock is held across an await.

mod actions;
mod keys;
mod moved;
mod standing;
mod statements;
mod targets;
mod timeouts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use parking_lot::Mutex;
use plimsoll_auth::Policy;
use plimsoll_config::Plan;
use plimsoll_pool::{Action, Failure, Grant, Pools, Request, Requested, Returned};
use plimsoll_session::{Release, Tracked};
use plimsoll_types::{Cause, ClientId, Moment, PoolId, SlotId, Ticket, WorkerId};
use tokio::sync::{Notify, mpsc};

pub(crate) use keys::Clients;
pub(crate) use moved::monotonic_ns;
pub(crate) use statements::SharedStatements;

use crate::console::Console;
use crate::control::Suspension;
use crate::control_thread::ConsoleClient;
use crate::credentials::Credentials;
use crate::directory::{DatabaseEntry, Directory, PoolEntry, globals, longest_wait};
use crate::entry::{ClientEntry, ServerEntry};
use crate::gate;
use crate::handover::Stillness;
use crate::keeper::{Census, Keeper};
use crate::ledger::Ledger;
use crate::listener::Doors;
use crate::liveness::Found;
use crate::login::Entrance;
use crate::map::Map;
use crate::needed::NeededNames;
use crate::peers::Peers;
use crate::security::Security;
use crate::server::ServerConn;
use crate::spill::Store;
use crate::targets::Targets;
use crate::voucher::Voucher;
use crate::worker::Worker;

/// What the pool's mutex guards.
#[derive(Debug)]
pub(crate) struct Core {
    /// The decisions.
    pub(crate) pools: Pools,
    /// Server connections nobody is using, by slot.
    parked: Vec<Option<Box<ServerConn>>>,
    /// Records of all server connections, by slot.
    servers: Vec<Option<Arc<ServerEntry>>>,
    /// Who waits, by ticket.
    waiting: Vec<Option<Arc<ClientEntry>>>,
    /// Pools by id.
    entries: Map<PoolId, Arc<PoolEntry>>,
    /// Put by while everything stands still ([`Hub::run_put_by`]).
    put_by: Vec<Action>,
}

fn place<T>(table: &mut Vec<Option<T>>, index: u32, value: Option<T>) -> Option<T> {
    let index = index as usize;
    if table.len() <= index {
        table.resize_with(index + 1, || None);
    }
    std::mem::replace(&mut table[index], value)
}

impl Core {
    /// Whoever waits longest for this database.
    fn oldest_waiter(&self, database: &str) -> Option<&Arc<ClientEntry>> {
        let waiting = self.waiting.iter().flatten().filter(|client| *client.database == *database);
        waiting.min_by_key(|client| client.waiting_since().map_or(u64::MAX, |since| since.0))
    }

    /// Records of all server connections that are logged in.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<ServerEntry>> {
        self.servers.iter().flatten()
    }

    /// The record of a slot's server connection.
    pub(crate) fn server(&self, slot: SlotId) -> Option<&Arc<ServerEntry>> {
        self.servers.get(slot.index as usize)?.as_ref().filter(|entry| entry.slot == slot)
    }

    /// A pool by id.
    pub(crate) fn pool(&self, id: PoolId) -> Option<&Arc<PoolEntry>> {
        self.entries.get(&id)
    }

    /// Whom a connection is opened for, if for nobody else.
    fn opened_for(&self, slot: SlotId) -> Option<&Arc<ClientEntry>> {
        let ticket = self.pools.opened_for(slot)?;
        self.waiting.get(ticket.index as usize)?.as_ref()
    }

    /// Server connections nobody is using.
    pub(crate) fn parked_mut(&mut self) -> impl Iterator<Item = &mut Box<ServerConn>> {
        self.parked.iter_mut().flatten()
    }

    /// Who waits already waits by the limits of a new plan.
    fn renew_waits(&mut self, plan: &Arc<Plan>) {
        let Core { pools, waiting, entries, .. } = self;
        pools.renew_waits(|ticket, pool| {
            let (client, pool) = (waiting.get(ticket.index as usize)?.as_ref()?, entries.get(&pool)?);
            let settings = client.settings(pool, || plan.clone());
            Some(longest_wait(plan, &pool.database.config(), &client.user, settings.query_timeout))
        });
    }

    fn take(&mut self, slot: SlotId) -> Option<Box<ServerConn>> {
        let conn = self.parked.get_mut(slot.index as usize)?;
        if conn.as_ref().is_some_and(|c| c.slot == slot) { conn.take() } else { None }
    }
}

/// How the process is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Not at all.
    Running = 0,
    /// No new clients; ends with the last one.
    WaitForClients = 1,
    /// No new server connections; ends when none is in use.
    WaitForServers = 2,
}

/// The answer to a client's request for a server connection.
pub(crate) enum Answer {
    /// Here it is.
    Granted(Box<ServerConn>, Grant),
    /// It comes by mail.
    Queued(Ticket),
    /// It does not come.
    Refused(Cause),
    /// Nobody gets one while everything is being handed to another process: ask again when it is not.
    StandsStill,
}

/// See the module.
pub(crate) struct Hub {
    start: Instant,
    /// Pool core; see [`Core`].
    pub(crate) core: Mutex<Core>,
    /// Names.
    pub(crate) directory: Mutex<Directory>,
    /// Clients that have said who they are, by cancel key.
    pub(crate) clients: Mutex<Clients>,
    /// Prepared statements.
    pub(crate) statements: SharedStatements,
    /// Workers.
    pub(crate) workers: Vec<Worker>,
    plan: Mutex<Arc<Plan>>,
    security: Mutex<Arc<Security>>,
    /// Tracked parameters (not reloadable).
    pub(crate) tracked: Tracked,
    /// For mock authentication.
    pub(crate) policy: Mutex<Policy>,
    /// The console.
    pub(crate) console: Arc<dyn Console>,
    /// Whoever knows the secrets of server logins.
    pub(crate) credentials: Arc<dyn Credentials>,
    /// Takes console clients to the control thread.
    pub(crate) console_door: mpsc::UnboundedSender<ConsoleClient>,
    /// Host names that somebody is about to connect to.
    pub(crate) needed_names: NeededNames,
    /// Listening sockets.
    pub(crate) doors: Doors,
    /// What all logins share.
    pub(crate) entrance: Entrance,
    /// Who says whether a key or a token is good.
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    pub(crate) voucher: Arc<dyn Voucher>,
    /// How many clients are here by each grant.
    pub(crate) census: Census,
    /// Whether there has been a grant with limits of time.
    timed_grants: AtomicBool,
    pub(crate) targets: Targets,
    /// Sites, verdicts, history.
    pub(crate) ledger: Ledger,
    /// Who was found dead.
    pub(crate) found: Found,
    /// Results that are not read.
    pub(crate) spills: Arc<Store>,
    /// SUSPEND.
    pub(crate) suspension: Suspension,
    /// Handing everything over to another process.
    pub(crate) stillness: Stillness,
    /// Client sockets open, console and cancel requests included.
    pub(crate) sockets: AtomicU32,
    /// Bytes of messages that are kept whole.
    pub(crate) collected: AtomicUsize,
    /// Whether any timeout is configured that only a scan of the clients sees.
    pub(crate) timed: AtomicBool,
    collect_memory: AtomicUsize,
    /// Other poolers behind the same address.
    pub(crate) peers: Peers,
    /// Caps.
    pub(crate) gate: gate::Gatekeeper,
    /// Bytes of batches that are held back.
    pub(crate) held_back: AtomicUsize,
    hold_memory: AtomicUsize,
    query_wait_notify_us: AtomicU64,
    phase: AtomicU8,
    /// Rings when a client or server goes while the process is on its way out.
    pub(crate) gone: Notify,
    /// Rings when nothing more is to come.
    pub(crate) finished: Notify,
    /// Whether the process has been told to end at once.
    pub(crate) exiting: AtomicBool,
    next_client: AtomicU64,
    next_server: AtomicU64,
}

/// What a [`Hub`] is made of.
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) security: Security,
    pub(crate) workers: Vec<Worker>,
    pub(crate) console: Arc<dyn Console>,
    pub(crate) keeper: Option<Arc<dyn Keeper>>,
    pub(crate) voucher: Arc<dyn Voucher>,
    pub(crate) credentials: Arc<dyn Credentials>,
    pub(crate) console_door: mpsc::UnboundedSender<ConsoleClient>,
    pub(crate) policy: Policy,
    pub(crate) doors: Doors,
    /// When moment 0 was.
    pub(crate) start: Instant,
}

impl Hub {
    /// Puts the parts together.
    pub(crate) fn new(parts: Parts) -> Hub {
        let Parts { plan, security, workers, console, keeper, voucher, credentials, .. } = parts;
        let (console_door, policy, doors, start) =
            (parts.console_door, parts.policy, parts.doors, parts.start);
        let core = Core {
            pools: Pools::new(globals(&plan)),
            parked: Vec::new(),
            servers: Vec::new(),
            waiting: Vec::new(),
            entries: Map::default(),
            put_by: Vec::new(),
        };
        let hub = Hub {
            start,
            core: Mutex::new(core),
            directory: Mutex::new(Directory::new(&plan, workers.len())),
            clients: Mutex::default(),
            statements: SharedStatements::new(plan.own.compat),
            workers,
            tracked: Tracked::new(&plan.general.track_extra_parameters),
            plan: Mutex::new(Arc::new(plan)),
            security: Mutex::new(Arc::new(security)),
            policy: Mutex::new(policy),
            console,
            credentials,
            console_door,
            needed_names: NeededNames::default(),
            doors,
            entrance: Entrance::default(),
            keeper,
            voucher,
            census: Census::default(),
            timed_grants: AtomicBool::new(false),
            targets: Targets::default(),
            ledger: Ledger::default(),
            found: Found::default(),
            spills: Store::new(),
            suspension: Suspension::default(),
            stillness: Stillness::default(),
            sockets: AtomicU32::new(0),
            collected: AtomicUsize::new(0),
            timed: AtomicBool::new(false),
            collect_memory: AtomicUsize::new(0),
            peers: Peers::default(),
            gate: gate::Gatekeeper::default(),
            held_back: AtomicUsize::new(0),
            hold_memory: AtomicUsize::new(0),
            query_wait_notify_us: AtomicU64::new(0),
            phase: AtomicU8::new(Phase::Running as u8),
            gone: Notify::new(),
            finished: Notify::new(),
            exiting: AtomicBool::new(false),
            next_client: AtomicU64::new(1),
            next_server: AtomicU64::new(1),
        };
        hub.note_timeouts();
        hub.ledger.renew(&hub);
        hub.spills.renew(&hub.plan());
        hub.create_standing_pools();
        hub
    }

    /// Time now.
    #[inline]
    pub(crate) fn now(&self) -> Moment {
        let passed = self.start.elapsed();
        // In two halves: `as_micros` reckons with 128 bits.
        Moment(passed.as_secs() * 1_000_000 + u64::from(passed.subsec_micros()))
    }

    /// The plan in force.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.lock().clone()
    }

    /// Who may enter how, and TLS.
    pub(crate) fn security(&self) -> Arc<Security> {
        self.security.lock().clone()
    }

    /// Replaces [`Hub::security`].
    pub(crate) fn set_security(&self, security: Security) {
        *self.security.lock() = Arc::new(security);
    }

    /// A new client's number.
    pub(crate) fn next_client(&self) -> ClientId {
        ClientId(self.next_client.fetch_add(1, Ordering::Relaxed))
    }

    /// A new server connection's number.
    pub(crate) fn next_server(&self) -> u64 {
        self.next_server.fetch_add(1, Ordering::Relaxed)
    }

    /// Most bytes of messages kept whole, over all clients.
    pub(crate) fn collect_memory(&self) -> usize {
        self.collect_memory.load(Ordering::Relaxed)
    }

    /// Most bytes of batches held back, over all clients.
    pub(crate) fn hold_memory(&self) -> usize {
        self.hold_memory.load(Ordering::Relaxed)
    }

    /// After what wait a client gets its notice; zero for never.
    pub(crate) fn query_wait_notify(&self) -> std::time::Duration {
        std::time::Duration::from_micros(self.query_wait_notify_us.load(Ordering::Relaxed))
    }

    /// How the process is on its way out.
    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::WaitForClients,
            _ => Phase::WaitForServers,
        }
    }

    /// See [`Hub::phase`].
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        if phase != Phase::Running {
            self.doors.close_tcp();
        }
        self.gone.notify_one();
    }

    /// Runs on a worker's thread; from any thread.
    pub(crate) fn spawn_on(&self, worker: WorkerId, task: impl Future<Output = ()> + Send + 'static) {
        self.workers[usize::from(worker.0)].handle.spawn(task);
    }
    /// Replaces the plan. Returns the databases that are gone.
    pub(crate) fn apply(self: &Arc<Self>, plan: Plan) -> Vec<Arc<DatabaseEntry>> {
        let (plan, now) = (Arc::new(plan), self.now());
        *self.plan.lock() = plan.clone();
        self.policy.lock().scram_iterations = plan.general.scram_iterations;
        let mut directory = self.directory.lock();
        let mut core = self.core.lock();
        core.pools.set_globals(globals(&plan));
        let pools_before: Vec<_> = core.entries.values().cloned().collect();
        let removed = directory.apply(&mut core.pools, &plan, now);
        for pool in pools_before {
            if removed.iter().any(|d| d.id == pool.database.id) {
                core.pools.remove_pool(pool.id, Cause::DatabaseRemoved, now);
                core.entries.remove(&pool.id);
            }
        }
        targets::forget_watchers(&mut directory, &mut core, &plan, now);
        core.renew_waits(&plan);
        self.run_actions(&mut core, now);
        drop(core);
        drop(directory);
        self.note_timeouts();
        self.ledger.renew(self);
        self.spills.renew(&plan);
        self.targets.wake.notify_one();
        self.create_standing_pools();
        // Clients that do nothing look at their limits, too.
        self.clients.lock().values().for_each(|client| client.post(|_| {}));
        removed
    }

    /// Pools nobody can find any more: their waiters are refused and their connections go.
    pub(crate) fn remove_pools(self: &Arc<Self>, pools: &[Arc<PoolEntry>], cause: &Cause) {
        let now = self.now();
        let mut core = self.core.lock();
        for pool in pools {
            core.pools.remove_pool(pool.id, cause.clone(), now);
            core.entries.remove(&pool.id);
        }
        self.run_actions(&mut core, now);
    }

    // ---- clients and server connections

    /// A client asks for a server connection.
    pub(crate) fn request(
        self: &Arc<Self>,
        request: Request,
        entry: &Arc<ClientEntry>,
        now: Moment,
    ) -> Answer {
        let mut core = self.core.lock();
        if self.stillness.is_still() {
            return Answer::StandsStill;
        }
        let answer = match core.pools.handle_request(request, now) {
            Requested::Granted(grant) => match core.take(grant.slot) {
                Some(conn) => Answer::Granted(conn, grant),
                None => {
                    debug_assert!(false, "an idle slot has its connection parked");
                    core.pools.handle_returned(
                        grant.slot,
                        Returned::Unusable(Cause::ServerStateUnknown),
                        now,
                    );
                    core.pools.handle_closed(grant.slot, now);
                    Answer::Refused(Cause::ServerStateUnknown)
                }
            },
            Requested::Queued(ticket) => {
                place(&mut core.waiting, ticket.index, Some(entry.clone()));
                Answer::Queued(ticket)
            }
            Requested::Refused(cause) => Answer::Refused(cause),
        };
        self.run_actions(&mut core, now);
        answer
    }

    /// A waiting client no longer wants one. What was granted meanwhile is in its mailbox.
    pub(crate) fn withdraw(self: &Arc<Self>, ticket: Ticket, client: ClientId, now: Moment) {
        let mut core = self.core.lock();
        core.pools.handle_withdrawn(ticket, now);
        // Its place may be somebody else's by now.
        if let Some(waiting) = core.waiting.get_mut(ticket.index as usize) {
            waiting.take_if(|entry| entry.id == client);
        }
        self.run_actions(&mut core, now);
    }

    /// A client gives its server connection back.
    pub(crate) fn give_back(self: &Arc<Self>, conn: Box<ServerConn>, release: Release, now: Moment) {
        if self.is_too_late() {
            return self.end_late(conn);
        }
        let slot = conn.slot;
        let returned = match release {
            Release::Clean => Returned::Clean,
            // The cleaner ends what is unfinished before it cleans.
            Release::Dirty | Release::Unfinished => Returned::Dirty,
            Release::Unusable(cause) => Returned::Unusable(cause),
        };
        let mut core = self.core.lock();
        place(&mut core.parked, slot.index, Some(conn));
        core.pools.handle_returned(slot, returned, now);
        self.run_actions(&mut core, now);
        self.watch_parked(&mut core, slot);
    }

    /// A server has logged us in.
    pub(crate) fn opened(self: &Arc<Self>, conn: Box<ServerConn>) {
        if self.is_too_late() {
            return self.end_late(conn);
        }
        let (slot, home, now) = (conn.slot, conn.home, self.now());
        let mut core = self.core.lock();
        place(&mut core.servers, slot.index, Some(conn.entry.clone()));
        place(&mut core.parked, slot.index, Some(conn));
        core.pools.handle_opened(slot, home, now);
        self.run_actions(&mut core, now);
        self.watch_parked(&mut core, slot);
    }

    /// Reset or check went well.
    pub(crate) fn cleaned(self: &Arc<Self>, conn: Box<ServerConn>) {
        if self.is_too_late() {
            return self.end_late(conn);
        }
        let (slot, now) = (conn.slot, self.now());
        let mut core = self.core.lock();
        place(&mut core.parked, slot.index, Some(conn));
        core.pools.handle_cleaned(slot, now);
        self.run_actions(&mut core, now);
        self.watch_parked(&mut core, slot);
    }

    /// Opening, cleaning or checking failed and nothing is left of it.
    pub(crate) fn failed(self: &Arc<Self>, slot: SlotId, failure: Failure) {
        let now = self.now();
        self.note_refusal(&failure);
        let mut core = self.core.lock();
        place(&mut core.servers, slot.index, None);
        core.pools.handle_failed(slot, failure, now);
        self.run_actions(&mut core, now);
        self.gone.notify_one();
    }

    /// The same, but the server has not been seen to end.
    pub(crate) fn failed_unseen(self: &Arc<Self>, slot: SlotId, failure: Failure) {
        self.note_refusal(&failure);
        self.with_pools(|pools, now| pools.handle_failed_unseen(slot, failure, now));
        self.gone.notify_one();
    }

    /// The task that had a server connection broke down, and the connection with it: whatever the task owed the pool.
    pub(crate) fn broke_down(self: &Arc<Self>, slot: SlotId) {
        tracing::error!("a task of a server connection broke down");
        self.failed(slot, Failure::Lost(Cause::ServerStateUnknown));
        self.closed(slot);
    }

    /// A server that we let go has ended.
    pub(crate) fn closed(self: &Arc<Self>, slot: SlotId) {
        let now = self.now();
        let mut core = self.core.lock();
        place(&mut core.servers, slot.index, None);
        core.pools.handle_closed(slot, now);
        self.run_actions(&mut core, now);
        self.gone.notify_one();
    }

    /// A server that we let go has not been seen to end in time.
    pub(crate) fn lost(self: &Arc<Self>, slot: SlotId) {
        let now = self.now();
        let mut core = self.core.lock();
        core.pools.handle_lost(slot, now);
        self.run_actions(&mut core, now);
    }

    /// Something that only changes the pools: pause, timeouts, cancel.
    pub(crate) fn with_pools<T>(self: &Arc<Self>, change: impl FnOnce(&mut Pools, Moment) -> T) -> T {
        let now = self.now();
        let mut core = self.core.lock();
        let out = change(&mut core.pools, now);
        self.run_actions(&mut core, now);
        out
    }

    /// If the connection was not given to somebody at once, its worker watches it for an end.
    fn watch_parked(&self, core: &mut Core, slot: SlotId) {
        if let Some(Some(conn)) = core.parked.get_mut(slot.index as usize) {
            let waker = &self.workers[usize::from(conn.home.0)].idle_waker;
            let ready = conn.stream.poll_readable(&mut Context::from_waker(waker));
            if ready.is_ready() {
                Waker::wake_by_ref(waker);
            }
        }
    }
}
