//! `SHOW TREND`: what the history of held connections says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_ledger::{Course, Rate, Subject, Trend, Why};
use plimsoll_types::{PoolId, TargetId};

use super::Control;
use crate::directory::PoolEntry;
use crate::ledger::trend::{figures, reached};
use crate::views::{escaped, redacted, tags};

/// Whether held connections become more and more.
#[derive(Clone, Debug)]
pub struct TrendView {
    /// `target`, `pool` or `site`.
    pub what: &'static str,
    /// `host:port` or `database/role`; empty for a site.
    pub name: String,
    /// The one pool that it is about, database and role; `None` for a target.
    pub pool: Option<(Arc<str>, Arc<str>)>,
    /// The number of a site; 0 for the others.
    pub site: u64,
    /// Application of a site (claimed, escaped).
    pub application: String,
    /// Tags of a site.
    pub tags: String,
    /// First statement of a site, redacted.
    pub statement: String,
    /// The pools it is about, `db/role`.
    pub pools: Vec<String>,
    /// `rising`, `flat` or `too short`.
    pub course: &'static str,
    /// Whether that is `rising`.
    pub is_rising: bool,
    /// Held now.
    pub held: u32,
    /// Unused among them.
    pub unused: u32,
    /// Fewest held in the last complete interval.
    pub floor: Option<u32>,
    /// Most that may be held.
    pub cap: Option<u32>,
    /// Connections more per hour, when it rises.
    pub rate: Option<Rate>,
    /// How likely such a rise is by chance; `None`: nothing was tested.
    pub p: Option<f64>,
    /// The time that was looked at; `None`: too short.
    pub window: Option<Duration>,
    /// When the cap is reached, when it rises: earliest, likely, latest.
    pub reached: Option<(Duration, Duration, Option<Duration>)>,
    /// For how long it has been rising at least.
    pub since: Option<Duration>,
    /// Why, in words.
    pub why: String,
}

impl Control {
    /// `SHOW TREND`: what rises first, and of that what reaches its cap first; then targets, pools, sites.
    pub fn trends(&self) -> Vec<TrendView> {
        let hub = &self.hub;
        let now = hub.now();
        let (pools, targets) = {
            let directory = hub.directory.lock();
            (directory.pools(), directory.targets())
        };
        let pools: HashMap<PoolId, Arc<PoolEntry>> = pools.into_iter().map(|pool| (pool.id, pool)).collect();
        let pool_of = |id: PoolId| pools.get(&id).map(|pool| (pool.database.name.clone(), pool.user.clone()));
        let (found, at) = {
            let trends = hub.ledger.trends.lock();
            let target = |pool: &PoolId| Some((*pool, trends.target_of(*pool)?));
            let at: HashMap<PoolId, TargetId> = pools.keys().filter_map(target).collect();
            (trends.trends(now), at)
        };
        let mut out: Vec<TrendView> = Vec::new();
        for (subject, trend) in found {
            let bare = bare(&trend);
            out.push(match subject {
                Subject::Target(id) => {
                    let address = targets.iter().find(|(known, _)| *known == id);
                    let name = address.map(|(_, addr)| addr.peer().to_string()).unwrap_or_default();
                    let here = at.iter().filter(|(_, target)| **target == id);
                    let mut pools: Vec<_> =
                        here.filter_map(|(pool, _)| Some(pool_name(&pool_of(*pool)?))).collect();
                    pools.sort();
                    TrendView { what: "target", name, pools, ..bare }
                }
                Subject::Pool(id) => {
                    let view = bare.of_pool(pool_of(id));
                    TrendView { what: "pool", name: view.pools.join(""), ..view }
                }
                Subject::Site(id, pool) => {
                    self.of_site(TrendView { what: "site", site: id.0, ..bare }.of_pool(pool_of(pool)))
                }
            });
        }
        out.sort_by(|one, other| {
            let soon =
                |view: &TrendView| (!view.is_rising, view.reached.map_or(Duration::MAX, |reached| reached.1));
            soon(one).cmp(&soon(other))
        });
        out
    }

    fn of_site(&self, view: TrendView) -> TrendView {
        let book = self.hub.ledger.book.lock();
        let Some(site) = book.site(plimsoll_ledger::SiteId(view.site)) else { return view };
        TrendView {
            application: escaped(&site.application),
            tags: tags(&site.tags),
            statement: site.statement.as_ref().map(redacted).unwrap_or_default(),
            ..view
        }
    }
}

impl TrendView {
    fn of_pool(self, pool: Option<(Arc<str>, Arc<str>)>) -> TrendView {
        TrendView { pools: pool.iter().map(pool_name).collect(), pool, ..self }
    }
}

fn pool_name((database, role): &(Arc<str>, Arc<str>)) -> String {
    format!("{database}/{role}")
}

/// The figures, without a name.
fn bare(trend: &Trend) -> TrendView {
    let us = Duration::from_micros;
    let is_rising = trend.course == Course::Rising;
    let said = [Some(figures(trend)), reached(trend)].into_iter().flatten().collect::<Vec<_>>().join("; ");
    TrendView {
        what: "",
        name: String::new(),
        pool: None,
        site: 0,
        application: String::new(),
        tags: String::new(),
        statement: String::new(),
        pools: Vec::new(),
        course: trend.course.as_str(),
        is_rising,
        held: trend.held,
        unused: trend.unused,
        floor: trend.floor,
        cap: trend.cap,
        rate: is_rising.then_some(trend.rate),
        p: (!matches!(trend.why, Why::TooShort { .. } | Why::NoMore)).then_some(trend.p),
        window: (trend.window_us > 0).then(|| us(trend.window_us)),
        reached: trend
            .reached
            .map(|reached| (us(reached.earliest_us), us(reached.likely_us), reached.latest_us.map(us))),
        since: trend.since_us.map(us),
        why: if is_rising { said } else { trend.why.text() },
    }
}
