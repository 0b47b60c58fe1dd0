//! The ledger's shell: the book behind its lock, the look at all open holds once a second, and what is logged of it.
//!
//! Lock order: the book, the trends and a record are never locked together, and none of them while anything is logged.

mod credentials;
mod crowd;
mod flood;
mod holders;
mod origin;
mod policy;
pub(crate) mod trend;
mod voice;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_config::{Compat, Ledger as Switch, Own, Plan, Statements};
use plimsoll_ledger::{
    Book, BookEvent, Ended, HoldCopy, How, Level, Live, Owner, Pressure, Site, SiteId, Thresholds, Trends,
    Who,
};
use plimsoll_types::{ClientId, Moment, PoolId};

use crate::directory::pool_size;
use crate::entry::{ClientEntry, ServerEntry};
use crate::gate;
use crate::hub::Hub;
use crate::server::ServerConn;
use crate::views;

pub(crate) use credentials::Credentials;
pub(crate) use crowd::Crowd;
pub(crate) use flood::Flood;
pub(crate) use holders::{HINT, Holders};
pub(crate) use origin::Origin;
pub(crate) use policy::Policies;
use trend::Sights;

/// Of each statement so many bytes are kept, unless `ledger_statement_bytes` says otherwise.
const STATEMENT_BYTES: usize = 1024;

/// First holds of clients that are heard of between two rounds, whatever they were like.
const FIRST_HOLDS_MAX: u32 = 500;

/// A hold is looked at by the book when it is older than this, microseconds.
const LOOKED_AT_US: u64 = 1_000_000;

/// See the module.
pub(crate) struct Ledger {
    on: AtomicBool,
    /// Of each statement so many bytes are kept.
    pub(crate) statement_bytes: AtomicUsize,
    pub(crate) book: Mutex<Book>,
    /// Whether held connections become more and more. Has its own lock: to judge takes longer than whoever has ended a
    /// hold should wait for.
    pub(crate) trends: Mutex<Trends>,
    /// How crowded the house is.
    pub(crate) crowd: Crowd,
    /// Who comes with credentials of its own for each connection.
    pub(crate) credentials: Credentials,
    /// First holds of clients since the last round.
    first_holds: AtomicU32,
    holders: Mutex<HashMap<PoolId, (Moment, Arc<Holders>)>>,
    /// Of clients refused at max_client_conn.
    pub(crate) refused: AtomicU64,
    pub(crate) policies: Policies,
    /// Of which process snapshots are.
    pub(crate) origin: Origin,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            on: AtomicBool::new(false),
            statement_bytes: AtomicUsize::new(STATEMENT_BYTES),
            book: Mutex::new(Book::new(Thresholds::default())),
            trends: Mutex::new(Trends::new(trend::interval_us(&Own::default()))),
            crowd: Crowd::default(),
            credentials: Credentials::default(),
            first_holds: AtomicU32::new(0),
            holders: Mutex::default(),
            refused: AtomicU64::new(0),
            policies: Policies::default(),
            origin: Origin::draw(),
        }
    }
}

pub(crate) fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn thresholds(own: &Own) -> Thresholds {
    let usual = Thresholds::default();
    Thresholds {
        idle_us: own.leak_idle_threshold.map_or(usual.idle_us, us),
        age_floor_us: own.leak_age_floor.map_or(usual.age_floor_us, us),
        unread_us: own.leak_unread_threshold.map_or(usual.unread_us, us),
        ..usual
    }
}

impl Ledger {
    /// Whether holds are recorded; one load.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Whether the first hold of a client is heard of in any case, so that its client has a site early. In a storm of
    /// new clients, each of which does one query and leaves, only some are: what is heard costs as much as a login.
    #[inline]
    pub(crate) fn hears_a_first_hold(&self) -> bool {
        self.first_holds.fetch_add(1, Ordering::Relaxed) < FIRST_HOLDS_MAX
    }

    /// After a reload.
    pub(crate) fn renew(&self, hub: &Hub) {
        let plan = hub.plan();
        let own = &plan.own;
        let bytes = match own.ledger_statements {
            Statements::Off => 0,
            Statements::Redacted | Statements::Full => own.ledger_statement_bytes.unwrap_or(STATEMENT_BYTES),
        };
        self.statement_bytes.store(bytes, Ordering::Relaxed);
        self.book.lock().set_thresholds(thresholds(own));
        let mut trends = self.trends.lock();
        trends.set_interval(trend::interval_us(own));
        if own.ledger == Switch::Off {
            trends.clear();
        }
        drop(trends);
        self.on.store(own.ledger == Switch::On, Ordering::Relaxed);
    }

    /// A hold has ended that is worth hearing of.
    #[cold]
    pub(crate) fn ended(&self, ended: Ended, entry: &ClientEntry, conn: &ServerConn, how: &How, hub: &Hub) {
        let application = application(hub, conn.link.params());
        let who = || who_of(entry, &conn.entry, application.clone());
        let held_us = ended.at.micros_since(ended.hold.opening.granted);
        conn.pool.uses.add(held_us, ended.weight);
        let site = self.book.lock().ended(&ended, &application, how, who);
        entry.site.store(site.0, Ordering::Relaxed);
    }
}

/// Whose a hold is, for later.
pub(crate) fn who_of(entry: &ClientEntry, server: &ServerEntry, application: String) -> Who {
    Who {
        user: entry.user.to_string(),
        database: entry.database.to_string(),
        role: server.user.to_string(),
        host: entry.peer.addr(),
        port: entry.peer.port(),
        application,
        identified: entry.identified(),
        remote_pid: entry.peer.pid(),
        ptr: entry.ptr(),
        server_ptr: server.ptr(),
        target: server.target.peer().to_string(),
    }
}

/// application_name among these values.
pub(crate) fn application(hub: &Hub, params: &plimsoll_session::Params) -> String {
    let value = hub.tracked.index(b"application_name").and_then(|i| params.values.get(i)?.clone());
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// application_name of a client.
pub(crate) fn application_of(hub: &Hub, entry: &ClientEntry) -> String {
    let params = entry.params.lock().clone();
    params.map(|params| application(hub, &params)).unwrap_or_default()
}

/// All open holds, each copied under its own lock.
pub(crate) fn open_holds(hub: &Hub) -> Vec<(HoldCopy, Arc<ServerEntry>)> {
    let servers: Vec<Arc<ServerEntry>> = hub.core.lock().servers().cloned().collect();
    let copy = |server: Arc<ServerEntry>| {
        let copy = server.record.lock().copy();
        copy.map(|copy| (copy, server))
    };
    servers.into_iter().filter_map(copy).collect()
}

/// Clients by number, for those who have some holds in hand.
pub(crate) fn clients_by_id(hub: &Hub) -> HashMap<ClientId, Arc<ClientEntry>> {
    hub.clients.lock().values().map(|entry| (entry.id, entry.clone())).collect()
}

/// How each pool is doing.
pub(crate) fn pressures(hub: &Hub, plan: &Plan, now: Moment) -> Vec<(PoolId, Pressure)> {
    let pools = hub.directory.lock().pools();
    let core = hub.core.lock();
    let pressure = |pool: &Arc<crate::directory::PoolEntry>| {
        let counts = core.pools.counts(pool.id, now);
        let size = pool_size(plan, &pool.database.config(), &pool.user);
        let (held, waiting) = (counts.held, counts.waiting);
        (pool.id, Pressure { size, held, waiting, oldest_wait_us: us(counts.oldest_wait) })
    };
    pools.iter().map(pressure).collect()
}

/// Looks at all open holds that are not young. Once a second, on the control thread.
pub(crate) fn observe(hub: &Hub) {
    hub.ledger.crowd.look(hub);
    hub.ledger.credentials.look(hub);
    if hub.gate.is_on() {
        let over = hub.gate.expire(hub.now());
        over.iter().for_each(|of| tracing::info!("the cap of {} is over", gate::whose(of)));
        hub.gate.forget_grants(|grant| hub.census.has(grant));
    }
    if !hub.ledger.is_on() {
        return;
    }
    hub.ledger.first_holds.store(0, Ordering::Relaxed);
    let (plan, now) = (hub.plan(), hub.now());
    let pressures = pressures(hub, &plan, now);
    hub.ledger.book.lock().begin_round(pressures, now);
    let mut sights = Sights::new(hub);
    let is_old = |(hold, _): &(HoldCopy, _)| now.0.saturating_sub(hold.opening.granted.0) > LOOKED_AT_US;
    let open = open_holds(hub);
    let (holds, young): (Vec<_>, Vec<_>) = open.into_iter().partition(is_old);
    young.iter().for_each(|(hold, server)| sights.add(hold, server, SiteId::UNKNOWN));
    let clients = if holds.is_empty() { HashMap::new() } else { clients_by_id(hub) };
    policy::enforce(hub, &plan, &holds, &clients, now);
    for (hold, server) in holds {
        let live = live(hub, &clients, hold);
        let site = hub.ledger.book.lock().look(&live, now);
        sights.add(&live.hold, &server, site);
        let opening = &live.hold.opening;
        if live.hold.site == SiteId::UNKNOWN {
            server.record.lock().set_site(opening.hold, site);
            if let Some(entry) = clients.get(&opening.client) {
                entry.site.store(site.0, Ordering::Relaxed);
            }
        }
    }
    let mut book = hub.ledger.book.lock();
    book.end_round(now);
    let events = book.take_events();
    let lines: Vec<_> = events.iter().filter_map(|event| line(&book, event, &plan)).collect();
    drop(book);
    lines.iter().for_each(|line| line.log(plan.own.compat));
    sights.look(hub, &plan, now);
}

/// A hold with what its client says of itself.
pub(crate) fn live(hub: &Hub, clients: &HashMap<ClientId, Arc<ClientEntry>>, hold: HoldCopy) -> Live {
    let entry = clients.get(&hold.opening.client);
    let application = entry.map(|entry| application_of(hub, entry)).unwrap_or_default();
    Live { hold, application, owner: Owner::Alive }
}

/// A line of the log.
enum Line {
    Warning(String),
    Info(String),
}

impl Line {
    fn log(&self, compat: Compat) {
        match self {
            Line::Warning(text) => voice::warn(compat, text),
            Line::Info(text) => voice::info(compat, text),
        }
    }
}

fn line(book: &Book, event: &BookEvent, plan: &Plan) -> Option<Line> {
    match event {
        BookEvent::Suspected { site, holds, verdict } => {
            let what = match verdict.level {
                Level::Leak => "leak",
                _ => "suspected leak",
            };
            let (name, evidence) = (site_text(book.site(*site)?, plan), &verdict.evidence);
            let rule = verdict.rule.as_str();
            Some(Line::Warning(format!(
                "{what}: {holds} connections held by {name}: {rule} ({evidence}); see: plimsoll leaks"
            )))
        }
        BookEvent::Unleaked { site, held_us } => {
            let name = site_text(book.site(*site)?, plan);
            let held = views::age(Duration::from_micros(*held_us));
            Some(Line::Info(format!("unleaked: a suspect of {name} came back after {held}")))
        }
    }
}

/// A site for people: application, tags or statement.
pub(crate) fn site_text(site: &Site, plan: &Plan) -> String {
    let application = plimsoll_ledger::text::escape(site.application.as_bytes());
    let application = if application.is_empty() { "(no application_name)" } else { &application };
    if !site.tags.is_empty() {
        return format!("{application} {}", views::tags(&site.tags));
    }
    match (&site.statement, plan.own.ledger_statements) {
        (Some(text), Statements::Redacted | Statements::Full) => {
            let statement = views::redacted(text);
            if statement.is_empty() {
                application.to_string()
            } else {
                format!("{application} \"{statement}\"")
            }
        }
        (None, _) | (_, Statements::Off) => application.to_string(),
    }
}
