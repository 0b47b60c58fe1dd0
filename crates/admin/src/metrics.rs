//! `/metrics`: what Prometheus and its like may know. Everything is looked at first, each lock for a moment as a SHOW
//! does, and written when nothing is locked any more.
//!
//! Three families of names: ours (`own`), OpenTelemetry's for connection pools (`otel`) and pgbouncer_exporter's
//! (`exporter`); and the process itself (`process`). What they mean is on `docs/metrics.md`.

mod bounds;
mod exporter;
mod exposition;
mod otel;
mod own;
mod process;

use crate::show::Scene;
use crate::version::version;
use exposition::{Family, Kind, Value, encode};

pub(crate) use exposition::Format;

/// Most pools that have series of their own.
const POOLS_MAX: usize = 1000;

/// The whole answer.
pub(crate) fn text(scene: &Scene<'_>, format: Format) -> String {
    encode(&families(scene), format)
}

fn families(scene: &Scene<'_>) -> Vec<Family> {
    let (pooler, plan) = (scene.pooler, &scene.plan);
    let figures = pooler.figures();
    let (house, stats) = (pooler.house(), pooler.stats());
    // In the order of their names, so that it is always the same ones that have room.
    let shown = &figures.pools[..figures.pools.len().min(POOLS_MAX)];
    let stats = &stats[..stats.len().min(POOLS_MAX)];
    let applications = bounds::by_weight(&figures.applications, plan.own.metrics_applications_max() as usize);
    let mut out = own::house(&house, &version(plan.own.compat));
    out.extend(own::pools(shown));
    out.push(own::holds(&figures, shown));
    out.extend(own::applications(&applications, figures.applications.len()));
    out.extend(own::sites(&figures, plan));
    out.extend(own::targets(&pooler.targets()));
    out.extend(own::spills(&pooler.spill_store(), stats));
    out.extend(own::life(&pooler.found_dead(), pooler.moves()));
    out.extend(own::trends(&pooler.trends(), POOLS_MAX, plan.own.metrics_applications_max() as usize));
    out.extend(own::actions(&pooler.action_counts(), &pooler.caps()));
    out.extend(otel::families(shown));
    out.extend(process::families(house.descriptors));
    let (exporter, left_out) = exporter::families(scene);
    out.extend(exporter);
    let left_out = left_out + (figures.pools.len() - shown.len());
    let help = "Pools and databases that had no room in this answer.";
    out.push(Family::one(Kind::Gauge, "plimsoll_metrics_left_out", help, Value::Whole(left_out as u64)));
    out
}

#[cfg(test)]
mod tests;
