//! What the ledger shows, put together from the records, the book, the pools and the clients.

mod snapshot;
mod spills;
mod views;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plimsoll_ledger::{HoldCopy, Level, Live, SiteId, is_sleeping};
use plimsoll_pool::{SlotState, USUAL_WEIGHT};
use plimsoll_types::{Moment, PoolId, Side};

use super::{CONSOLE, Control};
use crate::directory::{PoolEntry, Purpose, pool_mode, pool_size};
use crate::entry::{ClientEntry, ServerEntry};
use crate::hub::Hub;
use crate::ledger::{clients_by_id, live, open_holds, site_text};
use crate::views::{
    HoldView, HouseView, NeedView, SiteView, VerdictView, VisitorView, WaiterView, escaped, host_of,
};
use crate::{gate, liveness};
use views::{Gathered, hold_view, letting_go, past_view, site_view, verdict_view, who};

impl Control {
    /// `SHOW HOLDS`: the oldest first; then what is being cleaned or closed.
    pub fn holds(&self) -> Vec<HoldView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let mut judged = judged(hub, now);
        judged.sort_by_key(|one| one.live.hold.opening.granted);
        let mut out: Vec<HoldView> = judged.iter().map(|one| hold_view(one, &plan, now)).collect();
        out.extend(going(hub).iter().map(|(server, state)| letting_go(server, state, now)));
        out
    }

    /// `SHOW WAITERS`: by pool, in the order of their queue.
    pub fn waiters(&self) -> Vec<WaiterView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let pools = hub.directory.lock().pools();
        let clients: Vec<_> = hub.clients.lock().values().cloned().collect();
        let mut out = Vec::new();
        for pool in pools {
            let replicates = match pool.purpose {
                Purpose::Clients => false,
                Purpose::Replication => true,
                Purpose::AuthQuery | Purpose::Control(_) => continue,
            };
            let config = pool.database.config();
            let of_pool = |client: &&Arc<ClientEntry>| {
                let role = config.user.as_deref().unwrap_or(&client.user);
                *client.database == *pool.database.name
                    && *role == *pool.user
                    && client.replication.is_some() == replicates
            };
            let waiting = |client: &Arc<ClientEntry>| Some((client.waiting_since()?, client.clone()));
            let mut waiters: Vec<_> = clients.iter().filter(of_pool).filter_map(waiting).collect();
            // Who is not in the queue yet, but at a cap, comes after all who are.
            let ranks = self.ranks(pool.id);
            let rank = |client: &ClientEntry| ranks.get(&client.id);
            let is_weighed = ranks.values().any(|rank| rank.weight != USUAL_WEIGHT);
            let place = |client: &ClientEntry| rank(client).map_or(usize::MAX, |rank| rank.place);
            waiters.sort_by_key(|(since, client)| (place(client), *since, client.id));
            let why = self.why_waiting(&pool, pool_size(&plan, &config, &pool.user), now);
            let why = |client: &ClientEntry| match (hub.gate.waits_for(client.id).first(), rank(client)) {
                (Some(cap), _) => gate::text(cap),
                (None, Some(rank)) if is_weighed => format!("{why}; its turns have weight {}", rank.weight),
                (None, _) => why.clone(),
            };
            out.extend((1..).zip(waiters).map(|(place, (since, client))| WaiterView {
                who: who(hub, &client),
                role: pool.user.clone(),
                waiting: now.since(since),
                place,
                why: why(&client),
            }));
        }
        out
    }

    fn why_waiting(&self, pool: &PoolEntry, size: u32, now: Moment) -> String {
        let core = self.hub.core.lock();
        if core.pools.is_paused(None) {
            return "everything is paused".to_string();
        }
        if core.pools.is_paused(Some(pool.database.id)) {
            return "the database is paused".to_string();
        }
        let counts = core.pools.counts(pool.id, now);
        if counts.held > 0 && counts.held + counts.tested >= size {
            format!("all {size} connections are in use")
        } else if counts.opening > 0 {
            "a connection is being opened".to_string()
        } else {
            let held = counts.held;
            format!("no connection can be had: {held} of {size} in use; see the log and SHOW SERVERS")
        }
    }

    /// `SHOW SITES`: most connection-seconds first.
    pub fn sites(&self) -> Vec<SiteView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let mut sites: HashMap<SiteId, Gathered> = HashMap::new();
        for one in judged(hub, now) {
            sites.entry(one.site).or_default().add(one, now);
        }
        for client in hub.clients.lock().values() {
            let id = SiteId(client.site.load(Ordering::Relaxed));
            if id != SiteId::UNKNOWN {
                sites.entry(id).or_default().clients += 1;
            }
        }
        let sizes = self.pool_sizes();
        let book = hub.ledger.book.lock();
        let known = book.sites().map(|(id, site)| (id, site.clone())).collect::<Vec<_>>();
        drop(book);
        let mut out: Vec<SiteView> = known
            .into_iter()
            .map(|(id, site)| site_view(id, &site, sites.get(&id), &sizes, &plan, now))
            .collect();
        out.sort_by(|one, other| other.held_seconds.total_cmp(&one.held_seconds));
        out
    }

    fn pool_sizes(&self) -> HashMap<PoolId, u32> {
        let plan = self.hub.plan();
        let pools = self.hub.directory.lock().pools();
        pools.iter().map(|pool| (pool.id, pool_size(&plan, &pool.database.config(), &pool.user))).collect()
    }

    /// `SHOW HISTORY`: the newest first.
    pub fn history(&self) -> Vec<HoldView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let past: Vec<_> = hub.ledger.book.lock().history().cloned().collect();
        past.iter().map(|past| past_view(past, &plan, now)).collect()
    }

    /// Every client connection of a pool, held or not, by id.
    pub fn visitors(&self) -> Vec<VisitorView> {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let mut clients: Vec<_> = hub.clients.lock().values().cloned().collect();
        clients.retain(|client| &*client.database != CONSOLE);
        clients.sort_by_key(|client| client.id);
        let mut names: HashMap<u64, String> = HashMap::new();
        let mut out = Vec::new();
        for client in clients {
            let site = client.site.load(Ordering::Relaxed);
            let site_text = names.entry(site).or_insert_with(|| {
                let book = hub.ledger.book.lock();
                book.site(SiteId(site)).map(|site| site_text(site, &plan)).unwrap_or_default()
            });
            out.push(VisitorView {
                who: who(hub, &client),
                site,
                site_text: site_text.clone(),
                connected: now.since(client.connected),
                idle: now.since(client.requested()),
                holds: client.held().is_some(),
                waits: client.waiting_since().is_some(),
                uses: client.uses(),
            });
        }
        out
    }

    /// How full the house is.
    pub fn house(&self) -> HouseView {
        let (hub, now) = (&self.hub, self.hub.now());
        let plan = hub.plan();
        let clients_max = plan.general.max_client_conn;
        let pools = hub.directory.lock().pools();
        let mut sleeping: HashMap<PoolId, u32> = HashMap::new();
        let mut targets: HashMap<PoolId, String> = HashMap::new();
        for (hold, server) in open_holds(hub) {
            *sleeping.entry(hold.opening.pool).or_default() += u32::from(is_sleeping(hold.progress.state));
            targets.entry(hold.opening.pool).or_insert_with(|| server.target.peer().to_string());
        }
        {
            let core = hub.core.lock();
            for server in core.servers() {
                if let Some(slot) = core.pools.slot(server.slot) {
                    targets.entry(slot.pool).or_insert_with(|| server.target.peer().to_string());
                }
            }
        }
        let logged_in = hub.clients.lock().values().filter(|client| &*client.database != CONSOLE).count();
        let need = |pool: &Arc<PoolEntry>| {
            let config = pool.database.config();
            let counts = hub.core.lock().pools.counts(pool.id, now);
            let need = hub.ledger.book.lock().need(pool.id, now);
            NeedView {
                database: pool.database.name.clone(),
                role: pool.user.clone(),
                target: targets.get(&pool.id).cloned().unwrap_or_default(),
                mode: pool_mode(&plan, &config, &pool.user),
                size: match pool.purpose {
                    // It looks at one server, and has one connection there.
                    Purpose::Control(_) => 1,
                    // Its connections count in the size of the pool beside.
                    Purpose::Replication => 0,
                    Purpose::Clients | Purpose::AuthQuery => pool_size(&plan, &config, &pool.user),
                },
                held: counts.held,
                idle: counts.idle + counts.used,
                other: counts.opening + counts.tested + counts.closing + counts.lost + counts.being_canceled,
                waiting: counts.waiting,
                oldest_wait: counts.oldest_wait,
                clients: pool.clients.load(Ordering::Relaxed),
                holds_per_second: need.holds_per_second,
                hold_mean: Duration::from_micros(need.hold_mean_us as u64),
                needed: need.connections(),
                sleeping: sleeping.get(&pool.id).copied().unwrap_or(0),
                why: pool.why.clone(),
            }
        };
        HouseView {
            clients: hub.sockets.load(Ordering::Relaxed),
            clients_max,
            clients_full_in: hub.ledger.crowd.full_in(clients_max),
            clients_refused: hub.ledger.refused.load(Ordering::Relaxed),
            uptime: now.since(Moment(0)),
            paused: self.is_paused(),
            ledger: hub.ledger.is_on(),
            descriptors: descriptors(),
            pools: pools.iter().map(need).collect(),
            logins: vec![(
                plan.general.auth_type.as_str().to_string(),
                u32::try_from(logged_in).unwrap_or(u32::MAX),
            )],
        }
    }
}

/// An open hold, and what is thought of it.
pub(super) struct Judged {
    pub(super) live: Live,
    pub(super) server: Arc<ServerEntry>,
    pub(super) client: Option<WhoOf>,
    pub(super) site: SiteId,
    pub(super) verdict: VerdictView,
    pub(super) level: Level,
}

/// A client and what is shown of it.
pub(super) struct WhoOf {
    pub(super) view: crate::views::WhoView,
    pub(super) life: Option<&'static str>,
}

/// All open holds with their site and verdict.
pub(super) fn judged(hub: &Hub, now: Moment) -> Vec<Judged> {
    let holds: Vec<(HoldCopy, Arc<ServerEntry>)> = open_holds(hub);
    let bound = liveness::bound(&hub.plan(), Side::Client);
    let clients = if holds.is_empty() { HashMap::new() } else { clients_by_id(hub) };
    let judge = |(hold, server): (HoldCopy, Arc<ServerEntry>)| {
        let client = clients.get(&hold.opening.client).map(|client| WhoOf {
            view: who(hub, client),
            life: client.life.look(bound, now).map(|seen| seen.state.as_str()),
        });
        let live = live(hub, &clients, hold);
        let mut book = hub.ledger.book.lock();
        let site = match live.hold.site {
            SiteId::UNKNOWN => book.site_of(&live.application, live.hold.first.as_ref(), now),
            known => known,
        };
        let verdict = book.judge(&live, site, now);
        let level = verdict.level;
        Judged { live, server, client, site, verdict: verdict_view(&verdict), level }
    };
    holds.into_iter().map(judge).collect()
}

/// Server connections that nobody holds any more and that are not free yet.
pub(super) fn going(hub: &Hub) -> Vec<(Arc<ServerEntry>, &'static str)> {
    let core = hub.core.lock();
    let state = |server: &Arc<ServerEntry>| {
        let state = match core.pools.slot(server.slot)?.state {
            SlotState::Cleaning | SlotState::Checking => "cleaning",
            SlotState::Closing | SlotState::Lost => "draining",
            SlotState::Opening | SlotState::Idle | SlotState::Held | SlotState::BeingCanceled => return None,
        };
        Some((server.clone(), state))
    };
    core.servers().filter_map(state).collect()
}

/// Open file descriptors and how many there may be.
fn descriptors() -> (u64, u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let limit = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0);
    // When none is left the folder cannot be opened.
    let open = std::fs::read_dir("/proc/self/fd").map_or(limit, |folder| folder.count() as u64);
    (open, limit)
}
