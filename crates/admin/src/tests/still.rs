//! A pooler that stands still and writes down what it is told.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use plimsoll_config::{Compat, Database, Host, Plan, Shown, UserSettings};
use plimsoll_ledger::snapshot::{Head, Reason, Recorded, SiteState, Snapshot, Wall};
use plimsoll_pool::{Admission, CapOf, CapView, Obstacle, PoolCounts, SlotState};
use plimsoll_proxy::{
    AdmissionView, ClientState, ClientView, ControlError, DatabaseView, DeedView, Figures, FoundView,
    HoldView, HouseView, KeyView, LifeView, ListsView, NeedView, PeerTraffic, PeerView, PoolView, ProvedView,
    ReleaseAsk, Released, Reloaded, ServerView, Shutdown, SiteView, SpillView, StatsView, StoreView,
    TargetView, Totals, TrendView, VisitorView, WaiterView,
};
use plimsoll_types::{Cause, PoolMode, Secret};

use crate::pooler::{Cache, DnsHost, Pooler};

/// A pooler with one database, one pool, two clients and two server connections. It writes down what it is told.
pub(crate) struct Still {
    pub(crate) plan: RefCell<Arc<Plan>>,
    pub(crate) paused: bool,
    pub(crate) suspended: bool,
    pub(crate) refusal: Option<ControlError>,
    pub(crate) admission: AdmissionView,
    pub(crate) targets: Vec<TargetView>,
    pub(crate) keys: Vec<KeyView>,
    pub(crate) holds: Vec<HoldView>,
    pub(crate) needs: Vec<NeedView>,
    pub(crate) figures: Figures,
    pub(crate) trends: Vec<TrendView>,
    pub(crate) caps: Vec<(CapView, Option<Duration>)>,
    pub(crate) told: RefCell<Vec<String>>,
}

/// A plan with one database, and `[plimsoll] compat`.
pub(crate) fn plan(compat: Compat) -> Plan {
    let mut plan = Plan::default();
    plan.own.compat = compat;
    plan.general.max_user_connections = 7;
    plan.logins.insert("ada".to_string(), Secret::from_text("x"));
    plan.users.insert(
        "bob".to_string(),
        UserSettings {
            pool_size: Some(5),
            pool_mode: Some(PoolMode::Statement),
            max_user_connections: Some(3),
            ..Default::default()
        },
    );
    plan.shown = vec![
        Shown { key: "auth_file", value: None, default: None, changeable: true },
        Shown {
            key: "listen_port",
            value: Some("6543".to_string()),
            default: Some("6432"),
            changeable: false,
        },
    ];
    plan.databases = vec![database()];
    plan
}

fn database() -> Database {
    Database {
        name: "app".to_string(),
        host: Some("10.0.0.1,10.0.0.2".to_string()),
        hosts: ["10.0.0.1", "10.0.0.2"].map(|host| Host::Tcp { host: host.to_string(), port: 5433 }).to_vec(),
        dbname: Some("app_production".to_string()),
        user: Some("forced".to_string()),
        ..Database::default()
    }
}

/// A full pool with a queue.
fn admission() -> AdmissionView {
    AdmissionView {
        role: None,
        exists: true,
        at_the_door: None,
        pool: Some(Admission::Waits(vec![Obstacle::PoolSize { max: 20, used: 20 }])),
        before: 45,
        parts: Vec::new(),
        size: 20,
        targets: Vec::new(),
    }
}

impl Still {
    pub(crate) fn new(compat: Compat) -> Still {
        Still {
            plan: RefCell::new(Arc::new(plan(compat))),
            paused: false,
            suspended: false,
            refusal: None,
            admission: admission(),
            targets: Vec::new(),
            keys: Vec::new(),
            holds: Vec::new(),
            needs: Vec::new(),
            figures: Figures::default(),
            trends: Vec::new(),
            caps: Vec::new(),
            told: RefCell::default(),
        }
    }

    fn tell(&self, what: String) -> Result<(), ControlError> {
        self.told.borrow_mut().push(what);
        self.refusal.clone().map_or(Ok(()), Err)
    }
}

fn client(id: u64, database: &str, state: ClientState, link: Option<u64>) -> ClientView {
    ClientView {
        tls: String::new(),
        id,
        user: "ada".into(),
        database: database.into(),
        state,
        addr: "127.0.0.1".to_string(),
        port: 40_000,
        local_addr: "127.0.0.2".to_string(),
        local_port: 6432,
        connected_for: Duration::from_secs(90),
        requested_for: Duration::from_secs(30),
        waiting_for: Duration::from_micros(2_000_345),
        ptr: 0xabc,
        link,
        link_pid: link.map(|_| 77),
        application_name: "psql".to_string(),
        prepared: 4,
        remote_pid: 0,
        replication: "none",
    }
}

fn server(id: u64, state: SlotState, check_due: bool) -> ServerView {
    ServerView {
        tls: String::new(),
        id,
        user: "forced".into(),
        database: "app".into(),
        state,
        check_due,
        addr: "10.0.0.1".to_string(),
        port: 5433,
        target: "10.0.0.1:5433".to_string(),
        local_addr: "10.0.0.9".to_string(),
        local_port: 50_000,
        connected_for: Duration::from_secs(60),
        requested_for: Duration::from_secs(1),
        close_needed: true,
        ptr: 0xdef,
        link: (state == SlotState::Held).then_some(0xabc),
        pid: 4711,
        application_name: String::new(),
        prepared: 2,
        credential_epoch: (id == 1).then_some(3),
        replication: "none",
    }
}

impl Pooler for Still {
    fn targets(&self) -> Vec<TargetView> {
        self.targets.clone()
    }

    fn trends(&self) -> Vec<TrendView> {
        self.trends.clone()
    }

    fn lives(&self) -> HashMap<u64, LifeView> {
        let seconds = Duration::from_secs;
        let life = LifeView {
            state: "not reading",
            retransmits: 2,
            probes: 1,
            unacked_bytes: 300,
            unacked_for: Some(seconds(5)),
            unsent_bytes: 70,
            last_ack: seconds(4),
            last_data: seconds(6),
            window_closed: seconds(9),
        };
        let first = self.clients().first().map(|client| client.ptr);
        first.map(|ptr| (ptr, life)).into_iter().collect()
    }

    fn found_dead(&self) -> Vec<FoundView> {
        vec![FoundView { what: "clients_found_dead", by: "keepalive".to_string(), count: 7 }]
    }

    fn pool_keys(&self) -> Vec<KeyView> {
        self.keys.clone()
    }

    fn admission(&self, database: &str, user: &str) -> AdmissionView {
        let config = self.plan();
        let line = config.databases.iter().find(|line| line.name == database);
        let role = line.and_then(|line| line.user.as_deref()).unwrap_or(user);
        let nowhere = line.is_none().then(|| Cause::NoSuchDatabase { name: database.into() });
        let admission = self.admission.clone();
        AdmissionView {
            role: Some(role.into()),
            at_the_door: admission.at_the_door.or(nowhere),
            ..self.admission.clone()
        }
    }

    fn dns_zones(&self) -> Vec<(String, u32, usize)> {
        vec![("example".to_string(), 7, 1)]
    }

    fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    fn clients(&self) -> Vec<ClientView> {
        vec![
            client(1, "app", ClientState::Active, Some(0xdef)),
            client(2, "app", ClientState::Waiting, None),
            client(3, "pgbouncer", ClientState::Active, None),
            client(4, "app", ClientState::Login, None),
        ]
    }

    fn console_clients(&self) -> usize {
        self.clients().iter().filter(|client| &*client.database == "pgbouncer").count()
    }

    fn servers(&self) -> Vec<ServerView> {
        vec![
            server(1, SlotState::Held, false),
            server(2, SlotState::Idle, true),
            server(3, SlotState::Idle, false),
            server(4, SlotState::Lost, false),
            server(5, SlotState::Checking, false),
        ]
    }

    fn pools(&self) -> Vec<PoolView> {
        let pool = |database: &str| PoolView {
            database: database.into(),
            user: "forced".into(),
            clients_active: 1,
            clients_waiting: 2,
            cancels_active: 3,
            cancels_waiting: 4,
            counts: PoolCounts {
                waiting: 2,
                opening: 10,
                idle: 11,
                used: 12,
                held: 13,
                being_canceled: 14,
                tested: 15,
                closing: 16,
                lost: 17,
                cancels: 18,
                oldest_wait: Duration::from_micros(3_000_004),
            },
            mode: PoolMode::Transaction,
            load_balance: Some("round-robin"),
        };
        vec![pool("zeta"), pool("app")]
    }

    fn databases(&self) -> Vec<DatabaseView> {
        vec![DatabaseView {
            config: database(),
            pool_size: 20,
            min_pool_size: 1,
            reserve_pool_size: 2,
            server_lifetime: Duration::from_secs(3600),
            max_connections: 50,
            current_connections: 5,
            max_client_connections: 100,
            current_client_connections: 3,
            paused: true,
            disabled: false,
        }]
    }

    fn stats(&self) -> Vec<StatsView> {
        let view = |database: &str, first: u64| StatsView {
            database: database.into(),
            total: Totals(std::array::from_fn(|i| first + i as u64)),
            average: Totals(std::array::from_fn(|i| first * 10 + i as u64)),
        };
        vec![view("zeta", 200), view("app", 100)]
    }

    fn lists(&self) -> ListsView {
        ListsView {
            databases: 2,
            users: 3,
            pools: 4,
            used_clients: 5,
            login_clients: 6,
            used_servers: 8,
            dns_names: 9,
            dns_pending: 1,
        }
    }

    fn peers(&self) -> Vec<PeerView> {
        let peer =
            |id, traffic| PeerView { id, host: format!("/run/p{id}"), port: 6432, pool_size: 20, traffic };
        vec![peer(1, None), peer(2, Some(PeerTraffic { active: 3, waiting: 4 }))]
    }

    fn identities(&self) -> Vec<ProvedView> {
        Vec::new()
    }

    fn spills(&self) -> Vec<SpillView> {
        Vec::new()
    }

    fn spill_store(&self) -> StoreView {
        StoreView { memory: (3, 5), disk: (7, 11), client_max: 13, spills: 2, full: 1, trouble: None }
    }

    fn moves(&self) -> u64 {
        99
    }

    fn holds(&self) -> Vec<HoldView> {
        self.holds.clone()
    }

    fn waiters(&self) -> Vec<WaiterView> {
        Vec::new()
    }

    fn sites(&self) -> Vec<SiteView> {
        Vec::new()
    }

    fn history(&self) -> Vec<HoldView> {
        Vec::new()
    }

    fn snapshot(&self, why: Reason) -> Snapshot {
        let time = Wall::from_micros(0);
        Snapshot {
            head: Head {
                instance: "aa".to_string(),
                version: "0".to_string(),
                why: why.as_str().to_string(),
                taken: time,
                started: time,
                listen: Vec::new(),
                ledger: Recorded::On,
                holds_left_out: 0,
                sites_left_out: 0,
            },
            pools: Vec::new(),
            sites: vec![SiteState {
                site: "0000000000000007".to_string(),
                application: "shop".to_string(),
                tags: BTreeMap::new(),
                statement: Some("SELECT ?".to_string()),
                first_seen: time,
                last_seen: time,
                holds: 1,
                held_seconds: 1,
            }],
            holds: Vec::new(),
        }
    }

    fn visitors(&self) -> Vec<VisitorView> {
        Vec::new()
    }

    fn house(&self) -> HouseView {
        HouseView {
            clients: 4,
            clients_max: 100,
            clients_full_in: None,
            clients_refused: 0,
            uptime: Duration::from_secs(60),
            paused: self.paused,
            ledger: true,
            descriptors: (20, 1024),
            pools: self.needs.clone(),
            logins: vec![("md5".to_string(), 3)],
        }
    }

    fn figures(&self) -> Figures {
        self.figures.clone()
    }

    fn is_paused(&self) -> bool {
        self.paused
    }

    fn is_suspended(&self) -> bool {
        self.suspended
    }

    fn suspend(&self) -> Result<(), ControlError> {
        self.tell("suspend".to_string())
    }

    fn wait_close(&self, database: Option<&str>) -> Result<(), ControlError> {
        self.tell(format!("wait_close {database:?}"))
    }

    fn dns_hosts(&self) -> Vec<DnsHost> {
        let addresses = ["10.0.0.1", "::1"].map(|ip| ip.parse().expect("an address")).to_vec();
        vec![DnsHost { name: "db.example".to_string(), again_in: Duration::from_millis(14_900), addresses }]
    }

    fn memory(&self) -> Vec<Cache> {
        vec![
            Cache { name: "client_cache", size: 600, used: 3 },
            Cache { name: "iobuf_cache", size: 1 << 20, used: 1 << 12 },
        ]
    }

    fn pause(&self, database: Option<&str>) -> Result<(), ControlError> {
        self.tell(format!("pause {database:?}"))
    }

    fn resume(&self, database: Option<&str>) -> Result<(), ControlError> {
        self.tell(format!("resume {database:?}"))
    }

    fn reconnect(&self, database: Option<&str>) -> Result<(), ControlError> {
        self.tell(format!("reconnect {database:?}"))
    }

    fn kill(&self, database: &str) -> Result<(), ControlError> {
        self.tell(format!("kill {database}"))
    }

    fn actions(&self) -> Vec<DeedView> {
        Vec::new()
    }

    fn action_counts(&self) -> Vec<(&'static str, u64)> {
        vec![("warned", 3), ("taken", 1)]
    }

    fn release(&self, ask: ReleaseAsk, by: &str) -> Result<Released, ControlError> {
        self.tell(format!("release {} {by}", ask.hold))?;
        Err(ControlError::NoSuchHold(ask.hold))
    }

    fn set_cap(&self, of: CapOf, max: u32, lasting: Option<Duration>, by: &str) {
        self.told.borrow_mut().push(format!("cap {of:?} {max} {lasting:?} {by}"));
    }

    fn remove_cap(&self, of: &CapOf, by: &str) -> bool {
        self.told.borrow_mut().push(format!("uncap {of:?} {by}"));
        *of == CapOf::Host("known".to_string())
    }

    fn caps(&self) -> Vec<(CapView, Option<Duration>)> {
        self.caps.clone()
    }

    fn kill_client(&self, id: u64) -> Result<(), ControlError> {
        self.tell(format!("kill_client {id}"))
    }

    fn disable(&self, database: &str) -> Result<(), ControlError> {
        self.tell(format!("disable {database}"))
    }

    fn enable(&self, database: &str) -> Result<(), ControlError> {
        self.tell(format!("enable {database}"))
    }

    fn reload(&self, plan: Plan) -> Reloaded {
        *self.plan.borrow_mut() = Arc::new(plan);
        self.told.borrow_mut().push("reload".to_string());
        Reloaded {
            plan: self.plan(),
            needs_restart: Vec::new(),
            tls_refused: Vec::new(),
            removed: Cause::DatabaseRemoved,
        }
    }

    fn shutdown(&self, how: Shutdown) {
        self.told.borrow_mut().push(format!("shutdown {how:?}"));
    }
}
