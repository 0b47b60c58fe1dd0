//! What `/metrics` counts beside what the console shows: one look at all pools, holds and clients, and nothing of what
//! they say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plimsoll_ledger::{SiteId, is_sleeping};
use plimsoll_pool::PoolCounts;
use plimsoll_types::Moment;

use super::ledger::{going, judged};
use super::{CONSOLE, Control};
use crate::directory::{PoolEntry, Purpose, pool_size};
use crate::hub::Hub;
use crate::ledger::application_of;
use crate::stats::PoolTimes;
use crate::views::{VerdictLevel, escaped, tags};

/// Most characters of a name that an application has given itself or its code.
const NAME_CHARS_MAX: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// By database and role.
    pub pools: Vec<PoolFigures>,
    /// By pool, state and verdict.
    pub holds: Vec<HoldFigures>,
    /// Sites that hold something now.
    pub sites: Vec<SiteFigures>,
    /// Applications that are connected now.
    pub applications: Vec<ApplicationFigures>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolFigures {
    /// Configured database.
    pub database: Arc<str>,
    /// Server login role.
    pub role: Arc<str>,
    /// Its slots and waiters.
    pub counts: PoolCounts,
    /// `pool_size` in force.
    pub size: u32,
    /// Clients.
    pub clients: u32,
    /// Age of the oldest hold.
    pub oldest_hold: Duration,
    /// The longest time for which a hold has done nothing.
    pub oldest_idle: Duration,
    /// What it has counted.
    pub times: PoolTimes,
}

/// Holds that are alike.
#[derive(Clone, Debug)]
pub struct HoldFigures {
    /// Configured database.
    pub database: Arc<str>,
    /// Server login role.
    pub role: Arc<str>,
    /// As in `SHOW HOLDS`.
    pub state: &'static str,
    /// What the ledger thinks of them.
    pub verdict: VerdictLevel,
    /// How many.
    pub holds: u32,
}

/// A site that holds something now.
#[derive(Clone, Debug)]
pub struct SiteFigures {
    /// Its number.
    pub site: u64,
    /// Application and tags (claimed, escaped, cut); never a statement.
    pub name: String,
    /// Holds.
    pub holds: u32,
    /// Those of them that may be leaks, or are.
    pub suspected: u32,
    /// The worst verdict.
    pub worst: VerdictLevel,
}

/// An application that is connected now.
#[derive(Clone, Debug, Default)]
pub struct ApplicationFigures {
    /// Its name (claimed, escaped, cut); empty for all that gave none.
    pub name: String,
    /// Clients.
    pub clients: u32,
    /// Server connections they hold.
    pub holds: u32,
    /// Those that wait for one.
    pub waiting: u32,
}

impl Control {
    /// See [`Figures`].
    pub fn figures(&self) -> Figures {
        let (hub, now) = (&self.hub, self.hub.now());
        let mut pools = pools(hub, now);
        let mut holds = Holds::default();
        holds.look(hub, &mut pools, now);
        let sites = holds.named_sites(hub);
        Figures {
            pools: pools.into_values().collect(),
            holds: holds.by_kind.into_values().collect(),
            sites,
            applications: applications(hub),
        }
    }
}

/// Database and role: what `SHOW POOLS` calls a pool.
type Key = (Arc<str>, Arc<str>);

/// All pools. What auth_query is asked with is the same pool to those who look, as in `SHOW POOLS`.
fn pools(hub: &Hub, now: Moment) -> BTreeMap<Key, PoolFigures> {
    let (plan, all) = (hub.plan(), hub.directory.lock().pools());
    let mut out: BTreeMap<Key, PoolFigures> = BTreeMap::new();
    let gated = hub.gate.at_gate();
    let counts: Vec<PoolCounts> = {
        let core = hub.core.lock();
        all.iter().map(|pool| gated.with(pool.id, core.pools.counts(pool.id, now), now)).collect()
    };
    for (pool, counts) in all.iter().zip(counts) {
        let size = match pool.purpose {
            // It looks at one server, and has one connection there.
            Purpose::Control(_) => 1,
            // Its connections count in the size of the pool beside.
            Purpose::Replication => 0,
            Purpose::Clients | Purpose::AuthQuery => pool_size(&plan, &pool.database.config(), &pool.user),
        };
        let figures = figures_of(pool, counts, size);
        match out.get_mut(&(pool.database.name.clone(), pool.user.clone())) {
            Some(known) => {
                known.counts = known.counts.with(figures.counts);
                known.size += figures.size;
                known.clients += figures.clients;
                known.times.add(&figures.times);
            }
            None => drop(out.insert((figures.database.clone(), figures.role.clone()), figures)),
        }
    }
    out
}

fn figures_of(pool: &PoolEntry, counts: PoolCounts, size: u32) -> PoolFigures {
    PoolFigures {
        database: pool.database.name.clone(),
        role: pool.user.clone(),
        counts,
        size,
        clients: pool.clients.load(Ordering::Relaxed),
        oldest_hold: Duration::ZERO,
        oldest_idle: Duration::ZERO,
        times: pool.times(),
    }
}

/// What is found out about holds.
#[derive(Default)]
struct Holds {
    by_kind: BTreeMap<(Key, &'static str, VerdictLevel), HoldFigures>,
    sites: HashMap<SiteId, SiteFigures>,
}

impl Holds {
    fn look(&mut self, hub: &Hub, pools: &mut BTreeMap<Key, PoolFigures>, now: Moment) {
        for one in judged(hub, now) {
            let key = (one.server.database.clone(), one.server.user.clone());
            let (hold, verdict) = (&one.live.hold, one.verdict.level);
            if let Some(pool) = pools.get_mut(&key) {
                pool.oldest_hold = pool.oldest_hold.max(now.since(hold.opening.granted));
                if is_sleeping(hold.progress.state) {
                    pool.oldest_idle = pool.oldest_idle.max(now.since(hold.progress.used));
                }
            }
            self.count(key, hold.progress.state.as_str(), verdict);
            self.count_site(one.site, verdict);
        }
        for (server, state) in going(hub) {
            self.count((server.database.clone(), server.user.clone()), state, VerdictLevel::Ok);
        }
    }

    fn count(&mut self, key: Key, state: &'static str, verdict: VerdictLevel) {
        let (database, role) = key.clone();
        let none = HoldFigures { database, role, state, verdict, holds: 0 };
        self.by_kind.entry((key, state, verdict)).or_insert(none).holds += 1;
    }

    fn count_site(&mut self, id: SiteId, verdict: VerdictLevel) {
        let worst = VerdictLevel::Ok;
        let none = SiteFigures { site: id.0, name: String::new(), holds: 0, suspected: 0, worst };
        let site = self.sites.entry(id).or_insert(none);
        site.holds += 1;
        site.suspected += u32::from(verdict >= VerdictLevel::Suspect);
        site.worst = site.worst.max(verdict);
    }

    /// The sites with their names.
    fn named_sites(&mut self, hub: &Hub) -> Vec<SiteFigures> {
        let mut out: Vec<SiteFigures> = std::mem::take(&mut self.sites).into_values().collect();
        let book = hub.ledger.book.lock();
        for figures in &mut out {
            let Some(site) = book.site(SiteId(figures.site)) else { continue };
            let tags = tags(&site.tags);
            let name = format!("{} {tags}", escaped(&site.application));
            figures.name = cut(name.trim());
        }
        drop(book);
        out.sort_by_key(|figures| figures.site);
        out
    }
}

/// Everybody who is connected, by application.
fn applications(hub: &Hub) -> Vec<ApplicationFigures> {
    let mut clients: Vec<_> = hub.clients.lock().values().cloned().collect();
    clients.retain(|client| &*client.database != CONSOLE);
    let mut by_claim: HashMap<String, ApplicationFigures> = HashMap::new();
    for client in clients {
        let figures = by_claim.entry(application_of(hub, &client)).or_default();
        figures.clients += 1;
        figures.holds += u32::from(client.held().is_some());
        figures.waiting += u32::from(client.waiting_since().is_some());
    }
    // Names that differ only behind the cut are one.
    let mut by_name: BTreeMap<String, ApplicationFigures> = BTreeMap::new();
    for (claim, figures) in by_claim {
        let name = cut(&escaped(&claim));
        let known = by_name.entry(name.clone()).or_insert(ApplicationFigures { name, ..Default::default() });
        known.clients += figures.clients;
        known.holds += figures.holds;
        known.waiting += figures.waiting;
    }
    by_name.into_values().collect()
}

/// At most so many characters.
fn cut(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut("shop"), "shop");
        let long = "ü".repeat(65);
        assert_eq!(cut(&long).chars().count(), 65);
        assert!(cut(&long).ends_with("ü…"));
        assert_eq!(cut(&"x".repeat(64)), "x".repeat(64));
    }
}
