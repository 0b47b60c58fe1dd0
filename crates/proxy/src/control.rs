//! What the console and `main` may look at and do. Cheap to clone; every call takes the locks it needs for a moment.

mod figures;
mod identities;
mod ledger;
mod lives;
mod memory;
mod queue;
mod release;
mod suspend;
mod targets;
mod tidy;
mod trends;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_types::{Cause, Moment};

use crate::console::{
    ClientState, ClientView, ControlError, DatabaseView, DnsHostView, ListsView, PoolView, Reloaded,
    ServerView, Shutdown, StatsView, Until,
};
use crate::directory::{
    DatabaseEntry, Directory, Found, Purpose, database_client_limit, pool_mode, pool_size,
};
use crate::entry::ClientEntry;
use crate::handover::Stage;
use crate::hub::{Core, Hub, Phase};
use crate::peers::PeerView;
use crate::replication::Kind;
use crate::security::Security;
use crate::stats::Totals;
pub use figures::{ApplicationFigures, Figures, HoldFigures, PoolFigures, SiteFigures};
pub use queue::{QueuePart, Sharer};
pub(crate) use release::holders;
pub use release::{ReleaseAsk, ReleaseClient, ReleaseExecuting, Released};
pub(crate) use suspend::Suspension;
pub use targets::{AdmissionView, KeyView, PartView, SaidView, TargetView};
pub use trends::TrendView;

/// The database of the console.
const CONSOLE: &str = "pgbouncer";

/// All databases, without those of the `*` line that were used and have neither clients nor server connections: they
/// are only remembered until `autodb_idle_timeout` drops them.
fn shown_databases(directory: &Directory, core: &Core, plan: &Plan) -> Vec<Arc<DatabaseEntry>> {
    let mut databases = directory.databases();
    let pools = directory.pools();
    databases.retain(|database| {
        plan.databases.iter().any(|line| *line.name == *database.name)
            || database.clients.load(Ordering::Relaxed) > 0
            || core.pools.database_used(database.id) > 0
            || core.pools.is_paused(Some(database.id))
            || !pools.iter().any(|pool| pool.database.id == database.id)
    });
    databases
}

/// A handle on the running pooler.
#[derive(Clone)]
pub struct Control {
    pub(crate) hub: Arc<Hub>,
    pub(crate) averages: Arc<crate::control_thread::Averages>,
}

fn application_name(hub: &Hub, params: &parking_lot::Mutex<Option<Arc<plimsoll_session::Params>>>) -> String {
    let value = hub.tracked.index(b"application_name").and_then(|i| {
        let params = params.lock();
        params.as_ref()?.values.get(i)?.clone()
    });
    value.map(|v| v.to_string()).unwrap_or_default()
}

impl Control {
    /// The plan in force.
    pub fn plan(&self) -> Arc<Plan> {
        self.hub.plan()
    }

    /// `SHOW CLIENTS`, by id. Console clients are among them.
    pub fn clients(&self) -> Vec<ClientView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let mut entries: Vec<_> = hub.clients.lock().values().cloned().collect();
        entries.sort_by_key(|entry| entry.id);
        entries.iter().map(|entry| self.client_view(entry, now)).collect()
    }

    fn client_view(&self, entry: &Arc<ClientEntry>, now: Moment) -> ClientView {
        let server = entry.held().and_then(|(slot, _)| self.hub.core.lock().server(slot).cloned());
        ClientView {
            id: entry.id.0,
            user: entry.user.clone(),
            database: entry.database.clone(),
            state: entry.state(),
            addr: entry.peer.addr(),
            port: entry.peer.port(),
            local_addr: entry.local.addr(),
            local_port: entry.local.port(),
            connected_for: now.since(entry.connected),
            requested_for: now.since(entry.requested()),
            waiting_for: entry.waiting_since().map_or(Duration::ZERO, |since| now.since(since)),
            ptr: entry.ptr(),
            link: server.as_ref().map(|s| s.ptr()),
            link_pid: server.as_ref().map(|s| s.pid()),
            application_name: application_name(&self.hub, &entry.params),
            prepared: entry.prepared.load(Ordering::Relaxed),
            remote_pid: entry.peer.pid(),
            tls: entry.tls.as_ref().map_or_else(String::new, |tls| tls.text.to_string()),
            replication: Kind::shown(entry.replication.as_ref().map(|wishes| wishes.kind)),
        }
    }

    /// Clients on the console.
    pub fn console_clients(&self) -> usize {
        self.hub.clients.lock().values().filter(|entry| &*entry.database == CONSOLE).count()
    }

    /// `SHOW SERVERS`.
    pub fn servers(&self) -> Vec<ServerView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let holders: std::collections::HashMap<_, _> = {
            let clients = hub.clients.lock();
            clients.values().filter_map(|c| Some((c.held()?.0, c.ptr()))).collect()
        };
        let core = hub.core.lock();
        let mut out: Vec<_> = core
            .servers()
            .filter_map(|entry| {
                let slot = core.pools.slot(entry.slot)?;
                Some(ServerView {
                    id: entry.serial,
                    user: entry.user.clone(),
                    database: entry.database.clone(),
                    state: slot.state,
                    check_due: slot.check_due,
                    addr: entry.target.peer().addr(),
                    port: entry.target.peer().port(),
                    target: entry.target.peer().to_string(),
                    local_addr: entry.local.addr(),
                    local_port: entry.local.port(),
                    connected_for: now.since(entry.opened),
                    requested_for: now.since(slot.used),
                    close_needed: slot.close_needed,
                    ptr: entry.ptr(),
                    link: holders.get(&entry.slot).copied(),
                    pid: entry.pid(),
                    application_name: application_name(hub, &entry.params),
                    tls: entry.tls.get().map_or_else(String::new, |text| text.to_string()),
                    prepared: entry.prepared.load(Ordering::Relaxed),
                    credential_epoch: entry.term.map(|term| term.epoch),
                    replication: Kind::shown(entry.replication),
                })
            })
            .collect();
        out.sort_by_key(|server| server.id);
        out
    }

    /// `SHOW POOLS`, without the console's own.
    pub fn pools(&self) -> Vec<PoolView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let (pools, gated) = (hub.directory.lock().pools(), hub.gate.at_gate());
        let core = hub.core.lock();
        let mut views: Vec<PoolView> = Vec::new();
        for pool in pools {
            let counts = gated.with(pool.id, core.pools.counts(pool.id, now), now);
            let config = pool.database.config();
            let view = PoolView {
                database: pool.database.name.clone(),
                user: pool.user.clone(),
                clients_active: pool.clients.load(Ordering::Relaxed).saturating_sub(counts.waiting),
                clients_waiting: counts.waiting,
                cancels_active: pool.cancels_active.load(Ordering::Relaxed),
                cancels_waiting: pool.cancels_waiting.load(Ordering::Relaxed),
                counts,
                mode: pool_mode(&plan, &config, &pool.user),
                load_balance: (config.hosts.len() > 1).then_some(match config.load_balance {
                    Some(plimsoll_config::LoadBalance::Disable) => "disable",
                    Some(plimsoll_config::LoadBalance::RoundRobin) | None => "round-robin",
                }),
            };
            // What auth_query is asked with is the same pool to those who look, and so is what replicates, as in PgBouncer.
            match views.last_mut() {
                Some(last) if last.database == view.database && last.user == view.user => {
                    if pool.purpose == Purpose::Replication {
                        // Its clients are counted in the pool beside.
                        last.clients_active = last.clients_active.saturating_sub(view.clients_waiting);
                    }
                    last.clients_active += view.clients_active;
                    last.clients_waiting += view.clients_waiting;
                    last.counts = last.counts.with(view.counts);
                }
                Some(_) | None => views.push(view),
            }
        }
        views
    }

    /// `SHOW DATABASES`, without the console's own.
    pub fn databases(&self) -> Vec<DatabaseView> {
        let hub = &self.hub;
        let plan = hub.plan();
        let directory = hub.directory.lock();
        let core = hub.core.lock();
        shown_databases(&directory, &core, &plan)
            .iter()
            .map(|entry| {
                let config = entry.config();
                let role = config.user.clone().unwrap_or_default();
                DatabaseView {
                    pool_size: pool_size(&plan, &config, &role),
                    min_pool_size: config.min_pool_size.unwrap_or(plan.general.min_pool_size),
                    reserve_pool_size: config.reserve_pool_size.unwrap_or(plan.general.reserve_pool_size),
                    server_lifetime: config.server_lifetime.unwrap_or(plan.general.server_lifetime),
                    max_connections: config.max_db_connections.unwrap_or(plan.general.max_db_connections),
                    current_connections: core.pools.database_used(entry.id),
                    max_client_connections: database_client_limit(&plan, &config),
                    current_client_connections: entry.clients.load(Ordering::Relaxed),
                    paused: core.pools.is_paused(Some(entry.id)),
                    disabled: entry.disabled.load(Ordering::Relaxed),
                    config: (*config).clone(),
                }
            })
            .collect()
    }

    /// `SHOW STATS`, by database, without the console's own.
    pub fn stats(&self) -> Vec<StatsView> {
        let directory = self.hub.directory.lock();
        let (databases, pools) = (directory.databases(), directory.pools());
        drop(directory);
        let mut out: Vec<StatsView> = Vec::new();
        for database in databases {
            // Of pools that are gone, too, so that no counter ever falls.
            let mut total = *database.retired.lock();
            let mine = pools.iter().filter(|pool| pool.database.id == database.id);
            let mine: Vec<_> = mine.map(|pool| total.add(&pool.totals())).collect();
            if !mine.is_empty() || total != Totals::default() {
                let average = self.averages.of(&database.name);
                out.push(StatsView { database: database.name.clone(), total, average });
            }
        }
        out
    }

    /// `SHOW LISTS`.
    pub fn lists(&self) -> ListsView {
        let states: Vec<ClientState> = self.hub.clients.lock().values().map(|entry| entry.state()).collect();
        let login_clients = states.iter().filter(|state| **state == ClientState::Login).count() as u64;
        let directory = self.hub.directory.lock();
        let core = self.hub.core.lock();
        let plan = self.hub.plan();
        let users = directory.user_count().max(plan.logins.len());
        ListsView {
            databases: shown_databases(&directory, &core, &plan).len() as u64 + 1,
            users: users as u64,
            pools: directory.pools().len() as u64 + 1,
            used_clients: states.len() as u64 - login_clients,
            login_clients,
            used_servers: core.pools.slots().count() as u64,
            dns_names: directory.asked.len() as u64,
            dns_pending: directory.asked.values().filter(|at| at.is_none()).count() as u64,
        }
    }

    /// `SHOW PEERS` and `SHOW PEER_POOLS`, by id.
    pub fn peers(&self) -> Vec<PeerView> {
        self.hub.peers.views(&self.hub.plan())
    }

    /// `SHOW DNS_HOSTS`, by name.
    pub fn dns_hosts(&self) -> Vec<DnsHostView> {
        let (directory, now) = (self.hub.directory.lock(), self.hub.now());
        let view = |(name, again): (&String, &Option<Moment>)| DnsHostView {
            name: name.clone(),
            again_in: again.map_or(Duration::ZERO, |again| again.since(now)),
            addresses: directory.addresses_of(name).to_vec(),
        };
        let mut out: Vec<_> = directory.asked.iter().map(view).collect();
        out.sort_by(|one, other| one.name.cmp(&other.name));
        out
    }

    /// `SHOW DNS_ZONES`: each zone, its serial number (0 while it is unknown) and how many host names are in it.
    pub fn dns_zones(&self) -> Vec<(String, u32, usize)> {
        let directory = self.hub.directory.lock();
        let hosts_in = |zone: &str| {
            let rest =
                |name: &String| name.trim_end_matches('.').split_once('.').map(|(_, rest)| rest.to_string());
            directory.asked.keys().filter(|name| rest(name).as_deref() == Some(zone)).count()
        };
        let zones = directory.zones.iter();
        let mut out: Vec<_> =
            zones.map(|(zone, serial)| (zone.clone(), serial.unwrap_or(0), hosts_in(zone))).collect();
        out.sort();
        out
    }

    /// Sockets that went from one worker to another since the start.
    pub fn moves(&self) -> u64 {
        self.hub.core.lock().pools.moves()
    }

    /// Whether everything is paused.
    pub fn is_paused(&self) -> bool {
        self.hub.core.lock().pools.is_paused(None)
    }

    /// Whether what a command waits for has come true.
    pub(crate) fn has_come(&self, until: &Until) -> bool {
        match until {
            Until::Quiet(None) => self.hub.core.lock().pools.is_quiet(None),
            Until::Quiet(Some(name)) => match self.database(name) {
                Ok(database) => self.hub.core.lock().pools.is_quiet(Some(database.id)),
                Err(_) => true,
            },
            Until::Flushed => self.is_flushed(),
            Until::Released(released) => released.is_known(),
            Until::Renewed(None) => self.hub.core.lock().pools.is_renewed(None),
            Until::Renewed(Some(name)) => match self.database(name) {
                Ok(database) => self.hub.core.lock().pools.is_renewed(Some(database.id)),
                Err(_) => true,
            },
        }
    }

    /// A database by name, made by the `*` line if there is one: PgBouncer does so for most commands.
    fn database_or_auto(&self, name: &str) -> Result<Arc<DatabaseEntry>, ControlError> {
        let plan = self.hub.plan();
        let found = self.hub.directory.lock().database_or_auto(&plan, name);
        let (entry, found) = found.ok_or_else(|| ControlError::NoSuchDatabase(name.to_string()))?;
        if found == Found::Registered {
            tracing::info!("registered new auto-database: {name}");
        }
        Ok(entry)
    }

    fn auto_id(&self, name: Option<&str>) -> Result<Option<plimsoll_types::DatabaseId>, ControlError> {
        name.map(|name| Ok(self.database_or_auto(name)?.id)).transpose()
    }

    fn database(&self, name: &str) -> Result<Arc<DatabaseEntry>, ControlError> {
        let found = self.hub.directory.lock().database(name);
        found.ok_or_else(|| ControlError::NoSuchDatabase(name.to_string()))
    }

    fn database_id(&self, name: Option<&str>) -> Result<Option<plimsoll_types::DatabaseId>, ControlError> {
        name.map(|name| Ok(self.database(name)?.id)).transpose()
    }

    /// `PAUSE [db]`. The caller waits for [`Until::Quiet`].
    ///
    /// # Errors
    /// No such database, or paused already.
    pub fn pause(&self, database: Option<&str>) -> Result<(), ControlError> {
        let id = self.auto_id(database)?;
        if self.hub.phase() != Phase::Running {
            return Err(ControlError::ShuttingDown);
        }
        if id.is_none() && (self.is_paused() || self.is_suspended()) {
            return Err(ControlError::AlreadyPaused);
        }
        self.hub.with_pools(|pools, now| pools.pause(id, now));
        Ok(())
    }

    /// `RESUME [db]`: without a name it ends a pause of everything, or a suspension.
    ///
    /// # Errors
    /// No such database, or not paused.
    pub fn resume(&self, database: Option<&str>) -> Result<(), ControlError> {
        let id = self.database_id(database)?;
        if self.hub.phase() != Phase::Running {
            return Err(ControlError::ShuttingDown);
        }
        if id.is_none() && self.end_suspension() {
            return Ok(());
        }
        if !self.hub.core.lock().pools.is_paused(id) {
            return Err(match database {
                Some(name) => ControlError::NotPaused(name.to_string()),
                None => ControlError::PoolerNotPaused,
            });
        }
        self.hub.with_pools(|pools, now| pools.resume(id, now));
        Ok(())
    }

    /// `RECONNECT [db]`.
    ///
    /// # Errors
    /// No such database.
    pub fn reconnect(&self, database: Option<&str>) -> Result<(), ControlError> {
        let id = self.auto_id(database)?;
        self.clear_welcomes(id);
        self.hub.with_pools(|pools, now| pools.reconnect(id, now));
        Ok(())
    }

    /// The next client waits in its login for a server that logs us in.
    fn clear_welcomes(&self, database: Option<plimsoll_types::DatabaseId>) {
        for pool in self.hub.directory.lock().pools() {
            if database.is_none_or(|id| id == pool.database.id) {
                pool.clear_welcome();
            }
        }
    }

    /// `WAIT_CLOSE [db]`. The caller waits for [`Until::Renewed`].
    ///
    /// # Errors
    /// No such database.
    pub fn wait_close(&self, database: Option<&str>) -> Result<(), ControlError> {
        self.auto_id(database).map(drop)
    }

    /// `KILL [db]`: drops clients and servers and leaves the database paused.
    ///
    /// # Errors
    /// No such database.
    pub fn kill(&self, database: Option<&str>) -> Result<(), ControlError> {
        let id = self.auto_id(database)?;
        self.hub.with_pools(|pools, now| pools.pause(id, now));
        self.clear_welcomes(id);
        self.kill_clients_of(database, &Cause::DatabaseRemoved);
        self.hub.with_pools(|pools, now| pools.refuse_waiters(id, Cause::DatabaseRemoved, now));
        Ok(())
    }

    fn kill_clients_of(&self, database: Option<&str>, cause: &Cause) {
        let victims: Vec<_> = {
            let clients = self.hub.clients.lock();
            let all = clients.values().filter(|c| &*c.database != CONSOLE);
            all.filter(|c| database.is_none_or(|name| *c.database == *name)).cloned().collect()
        };
        for client in victims {
            client.post(|mail| mail.kill = Some(Box::new(cause.clone())));
        }
    }

    /// `KILL_CLIENT id`, by `id` or `ptr`.
    ///
    /// # Errors
    /// No such client.
    pub fn kill_client(&self, id: u64) -> Result<(), ControlError> {
        let client = {
            let clients = self.hub.clients.lock();
            clients.values().find(|c| c.id.0 == id || c.ptr() == id).cloned()
        };
        let client = client.ok_or(ControlError::ClientNotFound)?;
        client.post(|mail| mail.kill = Some(Box::new(Cause::AdminDisconnect)));
        Ok(())
    }

    /// `DISABLE db`.
    ///
    /// # Errors
    /// No such database.
    pub fn disable(&self, database: &str) -> Result<(), ControlError> {
        self.database_or_auto(database)?.disabled.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// `ENABLE db`.
    ///
    /// # Errors
    /// No such database.
    pub fn enable(&self, database: &str) -> Result<(), ControlError> {
        self.database(database)?.disabled.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until everything belongs to another process. Cancel safe.
    pub fn given_away(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stage = self.hub.stillness.watch();
        async move {
            if stage.wait_for(|stage| *stage == Stage::Given).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Whether everything belongs to another process.
    pub fn is_given_away(&self) -> bool {
        self.hub.stillness.stage() == Stage::Given
    }

    /// After a restart: databases that had clients and are not in the files any more go as after a reload.
    pub(crate) fn drop_lost_databases(&self) {
        let plan = self.hub.plan();
        let databases = self.hub.directory.lock().databases();
        let is_lost =
            |entry: &Arc<DatabaseEntry>| !plan.databases.iter().any(|line| *line.name == *entry.name);
        if plan.auto_database.is_none() && databases.iter().any(is_lost) {
            let removed = self.hub.apply(Plan::clone(&plan));
            self.drop_clients_of(removed);
        }
    }

    /// Databases are gone, and so are their clients.
    fn drop_clients_of(&self, removed: Vec<Arc<DatabaseEntry>>) {
        for database in removed {
            tracing::warn!(
                "dropping database '{}' as it does not exist anymore or inactive auto-database",
                database.name
            );
            self.kill_clients_of(Some(&database.name), &Cause::DatabaseRemoved);
            // Nobody could ever resume it.
            self.hub.with_pools(|pools, now| pools.resume(Some(database.id), now));
        }
    }

    /// Puts a new plan into force. Keys that only a restart changes keep their value.
    pub fn reload(&self, plan: Plan) -> Reloaded {
        let old = self.hub.plan();
        let changes = plimsoll_config::diff(&old, &plan);
        let mut needs_restart = Vec::new();
        let mut reconnect = Vec::new();
        for change in changes {
            match change {
                plimsoll_config::Change::NeedsRestart(key) => needs_restart.push(key),
                plimsoll_config::Change::DatabaseReconnect(name) => reconnect.push(name),
                plimsoll_config::Change::DatabaseAdded(_)
                | plimsoll_config::Change::DatabaseRemoved(_)
                | plimsoll_config::Change::DatabaseLimits(_)
                // Issuers are the keeper's.
                | plimsoll_config::Change::IssuerAdded(_)
                | plimsoll_config::Change::IssuerRemoved(_)
                | plimsoll_config::Change::IssuerChanged(_)
                | plimsoll_config::Change::Settings => {}
            }
        }
        let (security, tls_refused) = match Security::load(&plan) {
            Ok(security) => (security, Vec::new()),
            Err(reasons) => (self.hub.security().with_rules_of(&plan), reasons),
        };
        // Settings that could not be taken are a change all the same: PgBouncer closes servers then.
        let reaches_alike = security.reaches_servers_like(&self.hub.security())
            && old.general.server_tls == plan.general.server_tls;
        self.hub.set_security(security);
        let removed = self.hub.apply(plan);
        self.drop_clients_of(removed);
        if !reaches_alike {
            // There is no database whose absence could be told.
            let _ = self.reconnect(None);
        }
        for name in reconnect {
            // Only a database that left the plan in between can be missing, and then there is nothing to close.
            let _ = self.reconnect(Some(&name));
        }
        Reloaded { plan: self.hub.plan(), needs_restart, tls_refused, removed: Cause::DatabaseRemoved }
    }

    /// Ends the process; see [`Shutdown`]. A suspension ends with it: clients that nobody listens to never leave.
    pub fn shutdown(&self, how: Shutdown) {
        self.end_suspension();
        match how {
            Shutdown::WaitForClients => self.hub.set_phase(Phase::WaitForClients),
            Shutdown::WaitForServers => {
                self.hub.with_pools(|pools, now| {
                    pools.refuse_all(Cause::ServerShuttingDown, now);
                    pools.pause(None, now);
                });
                self.hub.set_phase(Phase::WaitForServers);
            }
            Shutdown::Immediate => {
                self.hub.exiting.store(true, Ordering::Release);
                self.hub.gone.notify_one();
            }
        }
    }

    /// Whether the process is on its way out.
    pub fn is_shutting_down(&self) -> bool {
        self.hub.phase() != Phase::Running
    }

    /// Waits until nothing more is to come after a shutdown.
    pub async fn finished(&self) {
        self.hub.finished.notified().await;
    }
}
