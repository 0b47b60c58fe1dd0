//! The shell of trends: what is looked at, and what is logged when more and more connections are left unused.

use std::collections::HashMap;
use std::time::Duration;

use plimsoll_config::{Own, Plan};
use plimsoll_ledger::{Caps, HoldCopy, Rise, Sight, SiteId, Subject, Trend};
use plimsoll_types::{Moment, PoolId, TargetId};

use super::{site_text, voice};
use crate::directory::{Purpose, pool_size};
use crate::entry::{ServerEntry, TargetAddr};
use crate::hub::Hub;
use crate::views::age;

/// The shortest block of the history, unless `trend_interval` says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);

/// `trend_interval` in force, microseconds.
pub(super) fn interval_us(own: &Own) -> u64 {
    super::us(own.trend_interval.unwrap_or(INTERVAL))
}

/// Open holds as they are seen in one look.
pub(super) struct Sights {
    targets: HashMap<TargetAddr, TargetId>,
    all: Vec<Sight>,
}

impl Sights {
    pub(super) fn new(hub: &Hub) -> Sights {
        let targets = hub.directory.lock().targets().into_iter().map(|(id, addr)| (addr, id)).collect();
        Sights { targets, all: Vec::new() }
    }

    /// One of them.
    pub(super) fn add(&mut self, hold: &HoldCopy, server: &ServerEntry, site: SiteId) {
        self.all.push(Sight {
            hold: hold.opening.hold,
            pool: hold.opening.pool,
            target: self.targets.get(&server.target).copied(),
            site,
            state: hold.progress.state,
            used: hold.progress.used,
        });
    }

    /// The look is complete: counts them, and warns where there are more and more that nobody uses.
    pub(super) fn look(self, hub: &Hub, plan: &Plan, now: Moment) {
        let caps = caps(hub, plan);
        let rises = hub.ledger.trends.lock().look(&caps, self.all, now);
        for rise in rises {
            voice::warn(plan.own.compat, &warning(hub, plan, &rise));
        }
    }
}

fn caps(hub: &Hub, plan: &Plan) -> Caps {
    let (mut pools, targets) = {
        let directory = hub.directory.lock();
        (directory.pools(), directory.targets())
    };
    pools.retain(|pool| matches!(pool.purpose, Purpose::Clients));
    let core = hub.core.lock();
    let budget = |id| core.pools.target_view(id).and_then(|view| view.budget);
    Caps {
        pools: pools
            .iter()
            .map(|pool| (pool.id, pool_size(plan, &pool.database.config(), &pool.user)))
            .collect(),
        targets: targets.iter().map(|(id, _)| (*id, budget(*id))).collect(),
    }
}

fn warning(hub: &Hub, plan: &Plan, rise: &Rise) -> String {
    let name = match rise.subject {
        Subject::Target(target) => {
            let found = hub.directory.lock().targets().into_iter().find(|(id, _)| *id == target);
            format!("server {}", found.map(|(_, addr)| addr.peer().to_string()).unwrap_or_default())
        }
        Subject::Pool(pool) => format!("pool {}", pool_name(hub, pool)),
        Subject::Site(site, pool) => {
            format!("site {} in pool {}", site_name(hub, plan, site), pool_name(hub, pool))
        }
    };
    let most = match (rise.subject, rise.most) {
        (Subject::Target(_) | Subject::Pool(_), Some((site, count))) => {
            format!("; {count} unused ones are held by {}", site_name(hub, plan, site))
        }
        (Subject::Site(..), _) | (_, None) => String::new(),
    };
    let trend = &rise.trend;
    format!(
        "rising: {name}: {}{}{most}; see: plimsoll diff --since 1h, plimsoll leaks, plimsoll trend",
        figures(trend),
        reached(trend).map(|text| format!("; {text}")).unwrap_or_default()
    )
}

fn pool_name(hub: &Hub, pool: PoolId) -> String {
    let found = hub.directory.lock().pools().into_iter().find(|known| known.id == pool);
    found.map(|pool| format!("{}/{}", pool.database.name, pool.user)).unwrap_or_default()
}

fn site_name(hub: &Hub, plan: &Plan, site: SiteId) -> String {
    let book = hub.ledger.book.lock();
    book.site(site).map_or_else(|| format!("{:016x}", site.0), |site| site_text(site, plan))
}

fn us(us: u64) -> String {
    age(Duration::from_micros(us))
}

/// What was counted, in words.
pub(crate) fn figures(trend: &Trend) -> String {
    let cap = trend.cap.map(|cap| format!(" of {cap}")).unwrap_or_default();
    let back = match trend.returned {
        0 => "none came back".to_string(),
        1 => "1 came back".to_string(),
        count => format!("{count} came back"),
    };
    format!(
        "{}{cap} connections are held, {} of them unused; {} more than {} ago are unused for {} and longer, and {back}; \
         {} more an hour",
        trend.held,
        trend.unused,
        trend.rise,
        us(trend.window_us),
        us(trend.unused_us),
        rate(trend.rate.likely)
    )
}

/// A rate with the digits that mean something.
fn rate(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// When the cap is reached, in words.
pub(crate) fn reached(trend: &Trend) -> Option<String> {
    let reached = trend.reached?;
    let latest = reached.latest_us.map(|latest| format!(", at the latest in {}", us(latest)));
    Some(format!(
        "at this rate all are held in {} (at the earliest in {}{})",
        us(reached.likely_us),
        us(reached.earliest_us),
        latest.unwrap_or_else(|| ", perhaps never".to_string())
    ))
}
