//! How long a wait may take, by the holds of the last minutes.

use std::time::Duration;

use plimsoll_pool::{Admission, Obstacle};
use plimsoll_proxy::{AdmissionView, HouseView, NeedView, TargetView};

use super::parts;
use crate::pooler::Pooler;
use crate::show::shares;
use crate::why::age;

/// The line; `None`: nobody has held anything lately.
pub(super) fn line(pooler: &dyn Pooler, database: &str, role: &str, view: &AdmissionView) -> Option<String> {
    let house = pooler.house();
    let pool = house.pools.iter().find(|pool| &*pool.database == database && &*pool.role == role);
    let own = pool.map(|pool| pool.hold_mean).filter(|mean| !mean.is_zero());
    let mean = own.or_else(|| mean_of_all(&house))?;
    let places = places(&pooler.targets(), pool, database, role, view);
    let turns = parts::before(view) / places.max(1) + 1;
    Some(format!(
        "By the holds of the last minutes ({} on average) it would take about {}.",
        age(mean),
        age(mean.saturating_mul(turns))
    ))
}

/// What the others hold, who have to give something back first.
fn mean_of_all(house: &HouseView) -> Option<Duration> {
    let rate: f64 = house.pools.iter().map(|pool| pool.holds_per_second).sum();
    let time: f64 = house.pools.iter().map(|pool| pool.holds_per_second * pool.hold_mean.as_secs_f64()).sum();
    if rate > 0.0 {
        Duration::try_from_secs_f64(time / rate).ok().filter(|mean| !mean.is_zero())
    } else {
        None
    }
}

/// How many connections serve the queue: what the tightest limit leaves the pool, if that is less than its size.
fn places(
    targets: &[TargetView],
    pool: Option<&NeedView>,
    database: &str,
    role: &str,
    view: &AdmissionView,
) -> u32 {
    let has = pool.map_or(0, |pool| pool.held + pool.idle + pool.other);
    let mut least = view.size;
    let mut at_targets = None;
    let Some(Admission::Waits(obstacles)) = &view.pool else { return least };
    for obstacle in obstacles {
        match obstacle {
            Obstacle::Budget { target, .. } => {
                let address = view.targets.iter().find(|(known, _)| known == target).map(|(_, name)| name);
                let here = targets.iter().find(|target| Some(&target.address) == address);
                let part = here.map_or(0, |here| part_of(here, database, role));
                *at_targets.get_or_insert(0) += part;
            }
            // Full: what this pool has of it is what it keeps having.
            Obstacle::Database { max, used } | Obstacle::User { max, used } => {
                least = least.min(has + max.saturating_sub(*used));
            }
            Obstacle::RoleLimit { max } => least = least.min(*max),
            Obstacle::PoolSize { max, .. } => least = least.min(*max),
            Obstacle::Paused | Obstacle::Blocked { .. } | Obstacle::Opening => {}
            Obstacle::NoTarget | Obstacle::Concurrency { .. } => {}
        }
    }
    at_targets.map_or(least, |sum| least.min(sum))
}

/// What a pool has of a target's budget, or will have when all others have given up what is beyond their shares.
fn part_of(target: &TargetView, database: &str, role: &str) -> u32 {
    let shares = shares(target);
    let parts = target.pools.iter().zip(shares);
    let own = parts.filter(|(part, _)| &*part.database == database && &*part.role == role);
    own.map(|(part, share)| part.has.max(share.map_or(0, |share| share as u32))).sum()
}
