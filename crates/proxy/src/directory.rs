//! From names to pools: databases, roles, pools and targets, and how a plan becomes limits.

mod names;
mod spec;
pub(crate) mod targets;
mod terms;
mod times;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use plimsoll_auth::{ScramKeys, Stored};
use plimsoll_config::{Budget, Database, Host, Plan};
use plimsoll_pool::Pools;
use plimsoll_session::{Params, Settings};
use plimsoll_types::{DatabaseId, Moment, PoolId, TargetId, UserId};

pub(crate) use terms::{
    database_client_limit, globals, longest_wait, pool_mode, pool_size, queue_fairness, user_client_limit,
};
use terms::{database_limit, session_settings, user_limit};

use crate::entry::TargetAddr;
use crate::map::Map;
use crate::stats::{Block, Counter, TimeCells, Totals};

/// A configured database.
#[derive(Debug)]
pub(crate) struct DatabaseEntry {
    pub(crate) id: DatabaseId,
    pub(crate) name: Arc<str>,
    config: Mutex<Arc<Database>>,
    /// Clients that asked for it and were let in.
    pub(crate) clients: AtomicU32,
    /// DISABLEd.
    pub(crate) disabled: AtomicBool,
    /// Since when a database of the `*` line has had neither clients nor server connections.
    pub(crate) idle_since: Mutex<Option<Moment>>,
    /// What its pools counted that are gone.
    pub(crate) retired: Mutex<Totals>,
    retired_times: times::Retired,
}

impl DatabaseEntry {
    /// Its line as of the last reload.
    pub(crate) fn config(&self) -> Arc<Database> {
        self.config.lock().clone()
    }

    /// The name PostgreSQL knows.
    pub(crate) fn dbname(&self) -> String {
        self.config().dbname.clone().unwrap_or_else(|| self.name.to_string())
    }
}

/// Name and value of a ParameterStatus.
pub(crate) type Parameter = (Box<[u8]>, Box<[u8]>);

/// What a server said of itself when it logged us in: what new clients are told.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// Tracked parameters as the server started with.
    pub(crate) params: Arc<Params>,
    /// ParameterStatus messages of the others, in the server's order.
    pub(crate) untracked: Box<[u8]>,
}

/// A secret of a role that was learnt with a client's login.
#[derive(Clone, Debug)]
pub(crate) enum Learnt {
    /// auth_query gave it.
    Asked(Stored),
    /// The client gave it, and LDAP or PAM has said that it is good.
    Vouched(Stored),
}

/// A pool, as the shell sees it.
#[derive(Debug)]
pub(crate) struct PoolEntry {
    pub(crate) id: PoolId,
    pub(crate) database: Arc<DatabaseEntry>,
    /// Server login role.
    pub(crate) user: Arc<str>,
    /// What for.
    pub(crate) purpose: Purpose,
    /// Clients logged in.
    pub(crate) clients: AtomicU32,
    /// Goes up with each reload, so that clients notice.
    pub(crate) generation: AtomicU32,
    settings: Mutex<Map<Arc<str>, Arc<Settings>>>,
    welcome: Mutex<Option<Arc<Welcome>>>,
    keys: Mutex<Option<ScramKeys>>,
    secret: Mutex<Option<Learnt>>,
    stats: Box<[Block]>,
    /// How long clients kept server connections, from those the ledger heard of.
    pub(crate) uses: TimeCells,
    /// Why there is this pool, for people.
    pub(crate) why: String,
    /// Cancel requests that wait for their turn, and those under way.
    pub(crate) cancels_waiting: AtomicU32,
    /// See `cancels_waiting`.
    pub(crate) cancels_active: AtomicU32,
}

impl PoolEntry {
    /// Counts for a worker.
    #[inline]
    pub(crate) fn stats(&self, worker: usize) -> &Block {
        &self.stats[worker]
    }

    /// Sums over all workers.
    pub(crate) fn totals(&self) -> Totals {
        let mut out = Totals::default();
        for block in &self.stats {
            out.add(&block.totals());
        }
        out
    }

    /// What new clients are told, if a server has logged in since the last change.
    pub(crate) fn welcome(&self) -> Option<Arc<Welcome>> {
        self.welcome.lock().clone()
    }

    /// A server has logged in.
    pub(crate) fn set_welcome(&self, welcome: Arc<Welcome>) {
        *self.welcome.lock() = Some(welcome);
    }

    /// The database line changed.
    pub(crate) fn clear_welcome(&self) {
        *self.welcome.lock() = None;
    }

    /// Keys captured from a client's SCRAM login as this role.
    pub(crate) fn keys(&self) -> Option<ScramKeys> {
        self.keys.lock().clone()
    }

    /// See [`PoolEntry::keys`].
    pub(crate) fn set_keys(&self, keys: ScramKeys) {
        *self.keys.lock() = Some(keys);
    }

    /// The secret of this role, as it was learnt when a client last logged in as this role.
    pub(crate) fn secret(&self) -> Option<Learnt> {
        self.secret.lock().clone()
    }

    /// See [`PoolEntry::secret`].
    pub(crate) fn set_secret(&self, secret: Learnt) {
        *self.secret.lock() = Some(secret);
    }

    /// What the pool beside knows of its role, since it is the same one.
    pub(crate) fn take_secrets_of(&self, other: &PoolEntry) {
        let (keys, secret) = (other.keys(), other.secret());
        *self.keys.lock() = keys;
        *self.secret.lock() = secret;
    }

    /// Settings for a login user, made once for each generation. `plan` gives the plan in force: it is asked under
    /// our lock, so that what a reload has cleared does not come back from an older plan.
    pub(crate) fn settings(&self, plan: impl FnOnce() -> Arc<Plan>, login: &Arc<str>) -> Arc<Settings> {
        let mut settings = self.settings.lock();
        let made = settings.entry(login.clone()).or_insert_with(|| {
            Arc::new(session_settings(&plan(), &self.database.config(), &self.user, login))
        });
        made.clone()
    }

    /// After a reload.
    pub(crate) fn renew(&self) {
        self.settings.lock().clear();
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// All names.
#[derive(Debug)]
pub(crate) struct Directory {
    databases: Map<Arc<str>, Arc<DatabaseEntry>>,
    pools: Map<(DatabaseId, Purpose, Arc<str>), Arc<PoolEntry>>,
    users: Map<Arc<str>, UserId>,
    targets: Map<TargetAddr, TargetId>,
    addrs: Vec<TargetAddr>,
    /// Host names and what they resolve to.
    names: Map<String, Vec<IpAddr>>,
    /// Until when what is known of each of them is fresh; `None` while it is looked up.
    pub(crate) asked: Map<String, Option<Moment>>,
    /// Zones that are watched, with their serial numbers.
    pub(crate) zones: Map<String, Option<u32>>,
    /// Clients by login user.
    pub(crate) user_clients: Map<Arc<str>, u32>,
    /// Host names of `[targets]`.
    target_names: Vec<String>,
    next_database: u32,
    workers: usize,
}

impl Directory {
    /// The databases of a plan; pools come when somebody asks for them.
    pub(crate) fn new(plan: &Plan, workers: usize) -> Directory {
        let mut directory = Directory {
            databases: Map::default(),
            pools: Map::default(),
            users: Map::default(),
            targets: Map::default(),
            addrs: Vec::new(),
            names: Map::default(),
            asked: Map::default(),
            zones: Map::default(),
            user_clients: Map::default(),
            target_names: targets::names_of(plan),
            next_database: 0,
            workers,
        };
        for database in &plan.databases {
            directory.add_database(database.clone());
        }
        directory
    }

    pub(crate) fn add_database(&mut self, config: Database) -> Arc<DatabaseEntry> {
        let name: Arc<str> = config.name.as_str().into();
        let id = DatabaseId(self.next_database);
        self.next_database += 1;
        let entry = Arc::new(DatabaseEntry {
            id,
            name: name.clone(),
            config: Mutex::new(Arc::new(config)),
            clients: AtomicU32::new(0),
            disabled: AtomicBool::new(false),
            idle_since: Mutex::new(None),
            retired: Mutex::default(),
            retired_times: times::Retired::default(),
        });
        self.databases.insert(name, entry.clone());
        entry
    }

    /// All databases, by name.
    pub(crate) fn databases(&self) -> Vec<Arc<DatabaseEntry>> {
        let mut all: Vec<_> = self.databases.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// A database by name.
    pub(crate) fn database(&self, name: &str) -> Option<Arc<DatabaseEntry>> {
        self.databases.get(name).cloned()
    }

    /// A database by name; the `*` line makes one for any name. The flag tells whether it was made now.
    pub(crate) fn database_or_auto(
        &mut self,
        plan: &Plan,
        name: &str,
    ) -> Option<(Arc<DatabaseEntry>, Found)> {
        if let Some(entry) = self.databases.get(name) {
            return Some((entry.clone(), Found::Known));
        }
        let mut config = plan.auto_database.clone()?;
        config.name = name.to_string();
        Some((self.add_database(config), Found::Registered))
    }

    /// All pools.
    pub(crate) fn pools(&self) -> Vec<Arc<PoolEntry>> {
        let mut all: Vec<_> = self.pools.values().cloned().collect();
        all.sort_by(|a, b| {
            (&a.database.name, &a.user, a.purpose).cmp(&(&b.database.name, &b.user, b.purpose))
        });
        all
    }

    /// The pool of a role for clients, if there is one.
    pub(crate) fn find_pool(&self, database: DatabaseId, role: &Arc<str>) -> Option<Arc<PoolEntry>> {
        self.pools.get(&(database, Purpose::Clients, role.clone())).cloned()
    }

    /// The number of a role, if a pool has it.
    pub(crate) fn known_user(&self, role: &str) -> Option<UserId> {
        self.users.get(role).copied()
    }

    /// Users known from the pools.
    pub(crate) fn user_count(&self) -> usize {
        self.users.len()
    }

    fn user_id(&mut self, pools: &mut Pools, plan: &Plan, role: &Arc<str>, now: Moment) -> UserId {
        if let Some(id) = self.users.get(role) {
            return *id;
        }
        let id = UserId(u32::try_from(self.users.len()).unwrap_or(u32::MAX));
        self.users.insert(role.clone(), id);
        pools.set_user_limit(id, user_limit(plan, role), now);
        id
    }

    /// The pool of a role on a database, made on first use. Never depends on a secret.
    pub(crate) fn pool(
        &mut self,
        pools: &mut Pools,
        plan: &Plan,
        database: &Arc<DatabaseEntry>,
        role: &Role<'_>,
        now: Moment,
    ) -> Arc<PoolEntry> {
        let config = database.config();
        let (role_name, purpose) = match role {
            Role::Login(login) => (config.user.as_deref().unwrap_or(login), Purpose::Clients),
            Role::AuthUser(user) => (*user, Purpose::AuthQuery),
            Role::Control(user, target) => (*user, Purpose::Control(*target)),
            Role::Replication(user) => (*user, Purpose::Replication),
            Role::Kept(user) => (*user, Purpose::Clients),
        };
        let why = match role {
            Role::Login(_) if config.user.is_some() => {
                "every login of this database shares the user of its line".to_string()
            }
            Role::Login(login) => format!("somebody logged in as {login}"),
            Role::AuthUser(_) => "auth_query is asked here".to_string(),
            Role::Control(..) => "control_user looks at the server from here".to_string(),
            Role::Replication(user) => format!("somebody asked for replication as {user}"),
            Role::Kept(user) => format!("somebody had logged in as {user} before the restart"),
        };
        let role: Arc<str> = role_name.into();
        if let Some(pool) = self.pools.get(&(database.id, purpose, role.clone())) {
            return pool.clone();
        }
        pools.set_database_limit(database.id, database_limit(plan, &config), now);
        let spec = self.spec(pools, plan, database, (&role, purpose), now);
        let id = pools.add_pool(spec, now);
        let entry = Arc::new(PoolEntry {
            id,
            database: database.clone(),
            user: role.clone(),
            purpose,
            clients: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            settings: Mutex::default(),
            welcome: Mutex::new(None),
            keys: Mutex::new(None),
            secret: Mutex::new(None),
            stats: (0..self.workers).map(|_| Block::default()).collect(),
            uses: TimeCells::default(),
            cancels_waiting: AtomicU32::new(0),
            cancels_active: AtomicU32::new(0),
            why,
        });
        self.pools.insert((database.id, purpose, role.clone()), entry.clone());
        if let (Purpose::Clients, Some(stream)) =
            (purpose, self.pools.get(&(database.id, Purpose::Replication, role)).cloned())
        {
            // It has come back beside the one for replication.
            let spec = self.spec(pools, plan, database, (&stream.user, stream.purpose), now);
            pools.set_pool(stream.id, spec, now);
        }
        entry
    }

    fn addresses(&self, config: &Database) -> Vec<TargetAddr> {
        let mut out = Vec::new();
        for host in &config.hosts {
            match host {
                Host::Unix { dir, port } => {
                    out.push(TargetAddr::unix(dir, *port));
                }
                Host::Tcp { host, port } => match host.parse::<IpAddr>() {
                    Ok(ip) => out.push(TargetAddr::Tcp(SocketAddr::new(ip, *port))),
                    Err(_) => {
                        let ips = self.addresses_of(host);
                        out.extend(ips.iter().map(|ip| TargetAddr::Tcp(SocketAddr::new(*ip, *port))));
                    }
                },
            }
        }
        out
    }

    /// The host that a line of the file names for an address, for the certificate of the server to be held against.
    pub(crate) fn host_of(&self, config: &Database, addr: &TargetAddr) -> Option<String> {
        let TargetAddr::Tcp(wanted) = addr else { return None };
        let leads_there = |host: &&Host| match host {
            Host::Unix { .. } => false,
            Host::Tcp { host, port } => {
                let resolved = self.addresses_of(host);
                *port == wanted.port()
                    && match host.parse::<IpAddr>() {
                        Ok(ip) => ip == wanted.ip(),
                        Err(_) => resolved.contains(&wanted.ip()),
                    }
            }
        };
        match config.hosts.iter().find(leads_there)? {
            Host::Tcp { host, .. } => Some(host.clone()),
            Host::Unix { .. } => None,
        }
    }

    pub(crate) fn target(
        &mut self,
        pools: &mut Pools,
        plan: &Plan,
        addr: TargetAddr,
        now: Moment,
    ) -> TargetId {
        if let Some(id) = self.targets.get(&addr) {
            return *id;
        }
        let rule = self.rule_of(plan, &addr);
        let id = pools.add_target(rule.cap());
        if plan.own.control_user.is_some() && rule.budget != Budget::Off {
            // A few, until the first look has told how many there are.
            pools.set_presumed(id, globals(plan).connect_concurrency, now);
        }
        let index = id.0 as usize;
        if self.addrs.len() <= index {
            self.addrs.resize(index + 1, addr.clone());
        }
        self.addrs[index] = addr.clone();
        self.targets.insert(addr, id);
        id
    }

    /// The address of a target.
    pub(crate) fn target_addr(&self, target: TargetId) -> Option<TargetAddr> {
        self.addrs.get(target.0 as usize).cloned()
    }

    /// All host names that have been resolved.
    pub(crate) fn known_names(&self) -> Vec<(String, Vec<IpAddr>)> {
        self.names.iter().map(|(name, ips)| (name.clone(), ips.clone())).collect()
    }

    /// What a host name resolved to last.
    pub(crate) fn addresses_of(&self, name: &str) -> &[IpAddr] {
        self.names.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Pools that are `unused` and that nobody has in hand: only this table and the one of the core know them.
    pub(crate) fn unused_pools(&self, unused: impl Fn(&PoolEntry) -> bool) -> Vec<Arc<PoolEntry>> {
        let all = self.pools.values();
        all.filter(|pool| Arc::strong_count(pool) <= 2 && unused(pool)).cloned().collect()
    }

    /// Forgets a pool, except for what it has counted.
    pub(crate) fn remove_pool(&mut self, pool: &PoolEntry) {
        self.pools.remove(&(pool.database.id, pool.purpose, pool.user.clone()));
        pool.database.retired.lock().add(&pool.totals());
        pool.retire_times();
    }

    /// Forgets a database; its pools.
    pub(crate) fn remove_database(&mut self, database: &DatabaseEntry) -> Vec<Arc<PoolEntry>> {
        self.databases.remove(&database.name);
        let of_it = |pool: &Arc<PoolEntry>| pool.database.id == database.id;
        let pools: Vec<_> = self.pools.values().filter(|pool| of_it(pool)).cloned().collect();
        self.pools.retain(|_, pool| !of_it(pool));
        pools
    }

    /// Host names that need resolving.
    pub(crate) fn host_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .databases
            .values()
            .flat_map(|database| {
                let config = database.config();
                config
                    .hosts
                    .iter()
                    .filter_map(|host| match host {
                        Host::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.clone()),
                        Host::Tcp { .. } | Host::Unix { .. } => None,
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        names.extend(self.target_names.iter().cloned());
        names.sort();
        names.dedup();
        names
    }

    /// A name resolved; pools whose targets change get new ones.
    pub(crate) fn set_addresses(
        &mut self,
        pools: &mut Pools,
        plan: &Plan,
        name: &str,
        ips: Vec<IpAddr>,
        now: Moment,
    ) {
        if self.names.get(name) == Some(&ips) {
            return;
        }
        self.names.insert(name.to_string(), ips);
        let uses = |host: &Host| matches!(host, Host::Tcp { host, .. } if host == name);
        for pool in self.pools() {
            if pool.database.config().hosts.iter().any(uses) {
                let spec = self.spec(pools, plan, &pool.database, (&pool.user, pool.purpose), now);
                pools.set_pool(pool.id, spec, now);
            }
        }
        // A line of [targets] may name it.
        self.set_budgets(pools, plan, now);
    }

    /// Puts a new plan into force for limits, databases and pools. Returns the databases that are gone.
    pub(crate) fn apply(&mut self, pools: &mut Pools, plan: &Plan, now: Moment) -> Vec<Arc<DatabaseEntry>> {
        let mut removed = Vec::new();
        for entry in self.databases() {
            let line = plan.databases.iter().find(|d| *d.name == *entry.name).cloned().or_else(|| {
                let mut auto = plan.auto_database.clone()?;
                auto.name = entry.name.to_string();
                Some(auto)
            });
            match line {
                Some(line) => *entry.config.lock() = Arc::new(line),
                None => {
                    self.databases.remove(&entry.name);
                    removed.push(entry);
                }
            }
        }
        for database in &plan.databases {
            if !self.databases.contains_key(database.name.as_str()) {
                self.add_database(database.clone());
            }
        }
        self.target_names = targets::names_of(plan);
        self.set_budgets(pools, plan, now);
        for (role, id) in &self.users {
            pools.set_user_limit(*id, user_limit(plan, role), now);
        }
        for pool in self.pools() {
            if removed.iter().any(|d| d.id == pool.database.id) {
                self.pools.remove(&(pool.database.id, pool.purpose, pool.user.clone()));
                continue;
            }
            pools.set_database_limit(pool.database.id, database_limit(plan, &pool.database.config()), now);
            let spec = self.spec(pools, plan, &pool.database, (&pool.user, pool.purpose), now);
            pools.set_pool(pool.id, spec, now);
            pool.renew();
        }
        removed
    }
}

/// What a pool is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Purpose {
    /// Clients' queries.
    Clients,
    /// Looking up secrets: clients who are in must not be able to keep others from it.
    AuthQuery,
    /// Looking at one target.
    Control(TargetId),
    /// Replication: each connection is one client's alone.
    Replication,
}

impl Purpose {
    /// Whether it is our own connection to a server, with nothing of its database but the name.
    pub(crate) fn is_control(self) -> bool {
        matches!(self, Purpose::Control(_))
    }
}

/// As whom a pool's connections log in.
pub(crate) enum Role<'a> {
    /// As the line of the database says, else as the client.
    Login(&'a str),
    /// As the one who may look up secrets.
    AuthUser(&'a str),
    /// As `control_user`, to one target.
    Control(&'a str, TargetId),
    /// For replication, as this role of a pool for clients.
    Replication(&'a str),
    /// As this one, whatever the line of the database says: another process had this pool.
    Kept(&'a str),
}

/// Whether a database was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was.
    Known,
    /// The `*` line made it.
    Registered,
}

/// Adds what a call of the session machine counted.
#[inline]
pub(crate) fn add_counts(stats: &Block, counts: plimsoll_session::Counts) {
    if counts == plimsoll_session::Counts::default() {
        return;
    }
    let plimsoll_session::Counts { queries, xacts, query_us, xact_us, client_parses, server_parses, binds } =
        counts;
    for (counter, n) in [
        (Counter::Queries, u64::from(queries)),
        (Counter::Xacts, u64::from(xacts)),
        (Counter::QueryTime, query_us),
        (Counter::XactTime, xact_us),
        (Counter::ClientParses, u64::from(client_parses)),
        (Counter::ServerParses, u64::from(server_parses)),
        (Counter::Binds, u64::from(binds)),
    ] {
        if n > 0 {
            stats.add(counter, n);
        }
    }
}
