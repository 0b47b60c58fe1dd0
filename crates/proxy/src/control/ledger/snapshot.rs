//! All that is held now, as a document that can be kept and compared.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use plimsoll_config::{General, Statements};
use plimsoll_ledger::snapshot::{
    Head, Held, PoolState, Reason, Recorded, SNAPSHOT_SITES_MAX, SiteState, Snapshot, Wall,
};
use plimsoll_ledger::{Site, SiteId};
use plimsoll_pool::{SlotState, SlotView};
use plimsoll_types::{Moment, Pin, PoolId};

use super::{Control, Judged, judged};
use crate::directory::{PoolEntry, pool_size};
use crate::entry::ServerEntry;
use crate::ledger::us;
use crate::views::{escaped, redacted};

/// A hold that has had no record for so long has none, microseconds.
const RECORDED_WITHIN_US: u64 = 100_000;

/// Makes times of the process times of day.
#[derive(Clone, Copy)]
struct Clock {
    started: Wall,
}

impl Clock {
    fn wall(self, at: Moment) -> Wall {
        self.started.plus(i64::try_from(at.0).unwrap_or(i64::MAX))
    }
}

/// What may be shown of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    Redacted,
    None,
}

impl Control {
    /// A snapshot, with statements as far as `ledger_statements` lets them be seen (never their literals). From any
    /// thread but a worker's: it looks at every hold.
    pub fn snapshot(&self, why: Reason) -> Snapshot {
        let (hub, now) = (&self.hub, self.hub.now());
        let clock = Clock { started: hub.ledger.origin.started(now) };
        let words = match hub.plan().own.ledger_statements {
            Statements::Off => Words::None,
            Statements::Redacted | Statements::Full => Words::Redacted,
        };
        let judged = judged(hub, now);
        let holding: HashSet<SiteId> = judged.iter().map(|one| one.site).collect();
        let holds: Vec<Held> = judged.into_iter().map(|one| held(one, clock, words)).collect();
        let (sites, sites_left_out) = self.site_states(&holding, clock, words);
        let mut snapshot = Snapshot {
            head: Head {
                instance: hub.ledger.origin.instance(),
                version: env!("CARGO_PKG_VERSION").to_string(),
                why: why.as_str().to_string(),
                taken: clock.wall(now),
                started: clock.started,
                listen: listen(&hub.plan().general),
                ledger: if hub.ledger.is_on() { Recorded::On } else { Recorded::Off },
                holds_left_out: 0,
                sites_left_out,
            },
            pools: self.pool_states(now),
            sites,
            holds,
        };
        snapshot.bound();
        snapshot
    }

    /// How many connections of each pool are held and have no record, as their clients have said nothing since the
    /// ledger was switched on. A record is opened a moment after the grant: who has just come is no riddle.
    fn unrecorded(&self, now: Moment) -> HashMap<PoolId, u32> {
        let hub = &self.hub;
        let long_held = |server: &Arc<ServerEntry>, slot: SlotView| {
            let (_, hold) = slot.holder.filter(|_| slot.state == SlotState::Held)?;
            let is_old = now.0.saturating_sub(slot.used.0) >= RECORDED_WITHIN_US;
            is_old.then(|| (server.clone(), slot.id, hold, slot.pool))
        };
        let core = hub.core.lock();
        let held: Vec<_> =
            core.servers().filter_map(|server| long_held(server, core.pools.slot(server.slot)?)).collect();
        drop(core);
        let unknown: Vec<_> =
            held.into_iter().filter(|(server, ..)| server.record.lock().copy().is_none()).collect();
        let core = hub.core.lock();
        let mut counts: HashMap<PoolId, u32> = HashMap::new();
        // Some have come back meanwhile.
        for (_, slot, hold, pool) in unknown {
            if core.pools.is_held(slot, hold) {
                *counts.entry(pool).or_default() += 1;
            }
        }
        counts
    }

    fn pool_states(&self, now: Moment) -> Vec<PoolState> {
        let hub = &self.hub;
        let plan = hub.plan();
        let unrecorded = self.unrecorded(now);
        let pools = hub.directory.lock().pools();
        let core = hub.core.lock();
        let state = |pool: &Arc<PoolEntry>| {
            let counts = core.pools.counts(pool.id, now);
            PoolState {
                database: pool.database.name.to_string(),
                role: pool.user.to_string(),
                size: pool_size(&plan, &pool.database.config(), &pool.user),
                held: counts.held,
                unrecorded: unrecorded.get(&pool.id).copied().unwrap_or_default(),
                idle: counts.idle + counts.used,
                waiting: counts.waiting,
                oldest_wait_us: us(counts.oldest_wait),
            }
        };
        pools.iter().map(state).collect()
    }

    /// Those that hold, and of the others those that have held most; how many are left out.
    fn site_states(&self, holding: &HashSet<SiteId>, clock: Clock, words: Words) -> (Vec<SiteState>, u64) {
        let book = self.hub.ledger.book.lock();
        let mut known: Vec<(SiteId, &Site)> = book.sites().collect();
        known.sort_by_key(|(id, site)| std::cmp::Reverse((holding.contains(id), site.held_us, *id)));
        let left_out = known.len().saturating_sub(SNAPSHOT_SITES_MAX) as u64;
        let known: Vec<(SiteId, Site)> =
            known.into_iter().take(SNAPSHOT_SITES_MAX).map(|(id, site)| (id, site.clone())).collect();
        drop(book);
        (known.iter().map(|(id, site)| site_state(*id, site, clock, words)).collect(), left_out)
    }
}

/// Where clients come in.
fn listen(general: &General) -> Vec<String> {
    let port = general.listen_port;
    let tcp = general.listen_addr.iter().map(|address| match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    });
    // The socket's name has the port in it as well.
    let unix = general.unix_socket_dir.iter().map(|dir| format!("unix:{}/.s.PGSQL.{port}", dir.display()));
    tcp.chain(unix).map(|place| escaped(&place)).collect()
}

fn number(site: SiteId) -> String {
    format!("{:016x}", site.0)
}

fn site_state(id: SiteId, site: &Site, clock: Clock, words: Words) -> SiteState {
    let statement = site.statement.as_ref().map(redacted).filter(|text| !text.is_empty());
    SiteState {
        site: number(id),
        application: escaped(&site.application),
        tags: site.tags.for_site().map(|(key, value)| (escaped(key), escaped(value))).collect(),
        statement: statement.filter(|_| words == Words::Redacted),
        first_seen: clock.wall(site.entered),
        last_seen: clock.wall(site.seen),
        holds: site.holds,
        held_seconds: site.held_us / 1_000_000,
    }
}

fn held(one: Judged, clock: Clock, words: Words) -> Held {
    let Judged { live, server, client, site, verdict, .. } = one;
    let (opening, progress) = (&live.hold.opening, &live.hold.progress);
    let client = client.map(|client| client.view);
    let statement = live.hold.last().map(redacted).filter(|text| !text.is_empty());
    Held {
        hold: opening.hold.0,
        server: opening.server,
        pid: opening.pid,
        database: server.database.to_string(),
        role: server.user.to_string(),
        user: client.as_ref().map_or_else(|| server.user.to_string(), |client| client.user.to_string()),
        application: client.as_ref().map_or_else(String::new, |client| client.application.clone()),
        host: client.as_ref().map_or_else(String::new, |client| client.host.clone()),
        port: client.as_ref().map_or(0, |client| client.port),
        client: opening.client.0,
        state: progress.state.as_str().to_string(),
        pins: progress.pins.iter().map(Pin::as_str).map(str::to_string).collect(),
        granted: clock.wall(opening.granted),
        used: clock.wall(progress.used),
        statements: progress.statements.into(),
        site: number(site),
        verdict: verdict.level.as_str().to_string(),
        rule: verdict.rule.to_string(),
        statement: statement.filter(|_| words == Words::Redacted),
    }
}
