//! `plimsoll_…`: what only we know.

use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_pool::CapView;
use plimsoll_proxy::{
    Counter, Figures, FoundView, HouseView, PoolFigures, StatsView, StoreView, TargetView, TrendView,
};

use super::bounds::Named;
use super::exposition::{Family, Kind, Labels, Value};
use super::otel::pool_name;
use crate::show::{Words, trend_name};

/// A site's name is cut after so many characters, as in the other families.
const NAME_CHARS: usize = 64;

fn gauge(name: &str, help: &'static str) -> Family {
    Family::new(Kind::Gauge, name, help)
}

fn counter(name: &str, help: &'static str) -> Family {
    Family::new(Kind::Counter, name, help)
}

fn whole(name: &str, help: &'static str, value: impl Into<u64>) -> Family {
    Family::one(Kind::Gauge, name, help, Value::Whole(value.into()))
}

/// The house: version, clients against their limit, whether it is paused.
pub(super) fn house(house: &HouseView, version: &str) -> Vec<Family> {
    let mut build = gauge("plimsoll_build_info", "1; which version this is.");
    build.push(vec![("version", version.to_string())], Value::Whole(1));
    let mut full_in = gauge(
        "plimsoll_client_connections_full_seconds",
        "Until max_client_conn is reached at the rate of the last minutes; not there while the number does not rise.",
    );
    if let Some(left) = house.clients_full_in {
        full_in.push(Vec::new(), Value::Real(left.as_secs_f64()));
    }
    vec![
        build,
        whole("plimsoll_client_connections", "Client sockets open.", house.clients),
        whole("plimsoll_client_connections_max", "max_client_conn in force.", house.clients_max),
        Family::one(
            Kind::Counter,
            "plimsoll_client_connections_refused_total",
            "Clients refused at max_client_conn.",
            Value::Whole(house.clients_refused),
        ),
        full_in,
        whole("plimsoll_paused", "1 while everything is paused.", house.paused),
        whole("plimsoll_ledger_enabled", "1 while holds are recorded (ledger = on).", house.ledger),
    ]
}

/// What rises: all targets and pools, and those sites that do. At most so many of either.
pub(super) fn trends(trends: &[TrendView], rows_max: usize, sites_max: usize) -> Vec<Family> {
    let mut rising = gauge(
        "plimsoll_trend_rising",
        "1 while connections that nobody uses become more and more (SHOW TREND), beyond what load explains.",
    );
    let mut rate = gauge("plimsoll_trend_connections_per_hour", "How fast, while it rises.");
    let mut left = gauge(
        "plimsoll_trend_exhaustion_seconds",
        "Until all connections are held at this rate, while it rises.",
    );
    let (mut rows, mut sites): (Vec<&TrendView>, Vec<&TrendView>) =
        trends.iter().partition(|trend| trend.site == 0);
    // Those that reach their caps first come first: they are told of where there is no room for all.
    sites.retain(|trend| trend.is_rising);
    sites.truncate(sites_max);
    rows.sort_by(|one, other| (one.what, &one.name, &one.pool).cmp(&(other.what, &other.name, &other.pool)));
    for trend in rows.into_iter().take(rows_max).chain(sites) {
        let labels = || labels_of(trend);
        rising.push(labels(), Value::Whole(trend.is_rising.into()));
        if let Some(per_hour) = &trend.rate {
            rate.push(labels(), Value::Real(per_hour.likely));
        }
        if let Some((_, likely, _)) = trend.reached {
            left.push(labels(), Value::Real(likely.as_secs_f64()));
        }
    }
    let count = trends.iter().filter(|trend| trend.is_rising).count() as u64;
    let all = whole("plimsoll_trends_rising", "Targets, pools and sites that rise (SHOW TREND).", count);
    vec![all, rising, rate, left]
}

fn labels_of(trend: &TrendView) -> Labels {
    let name = match (&trend.pool, trend.site) {
        (Some((database, role)), 0) => pool_name(database, role),
        (None, 0) => trend.name.clone(),
        (_, _) => cut(trend_name(trend, Words::None)),
    };
    let mut labels = vec![("what", trend.what.to_string()), ("name", name)];
    if trend.site != 0 {
        labels.push(("site", format!("{:016x}", trend.site)));
    }
    if let Some((database, role)) = &trend.pool {
        labels.extend([("database", database.to_string()), ("user", role.to_string())]);
    }
    labels
}

fn cut(name: String) -> String {
    match name.char_indices().nth(NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}

/// What was done about holds, and the caps.
pub(super) fn actions(counts: &[(&'static str, u64)], caps: &[(CapView, Option<Duration>)]) -> Vec<Family> {
    let mut actions = counter(
        "plimsoll_actions_total",
        "What came of what policies and administrators did about holds (SHOW ACTIONS).",
    );
    for (action, count) in counts {
        actions.push(vec![("action", (*action).to_string())], Value::Whole(*count));
    }
    let waiting: u64 = caps.iter().map(|(cap, _)| u64::from(cap.waiting)).sum();
    vec![
        actions,
        whole("plimsoll_caps", "Caps in force: by hand (CAP), and limits of grants.", caps.len() as u64),
        whole("plimsoll_capped_waiting_clients", "Clients that wait for a place under a cap.", waiting),
    ]
}

fn of_pool(pool: &PoolFigures) -> Labels {
    vec![("database", pool.database.to_string()), ("user", pool.role.to_string())]
}

/// The pools; `user` is the server login role, as in SHOW POOLS.
pub(super) fn pools(pools: &[PoolFigures]) -> Vec<Family> {
    let mut connections =
        gauge("plimsoll_pool_server_connections", "Server connections of the pool by state.");
    let mut size = gauge("plimsoll_pool_size", "pool_size in force: most server connections of the pool.");
    let mut clients = gauge("plimsoll_pool_clients", "Clients of the pool.");
    let mut waiting = gauge("plimsoll_pool_waiting_clients", "Clients that wait for a server connection.");
    let mut wait = gauge("plimsoll_pool_oldest_wait_seconds", "Age of the oldest wait; 0: nobody waits.");
    let mut hold = gauge("plimsoll_pool_oldest_hold_seconds", "Age of the oldest hold; 0: nothing is held.");
    let mut idle = gauge(
        "plimsoll_pool_oldest_idle_hold_seconds",
        "For how long the hold that has done nothing longest has done nothing (idle in a transaction or session, its \
         client not reading or not sending); 0: all are at work.",
    );
    for pool in pools {
        let counts = &pool.counts;
        for (state, count) in [
            ("opening", counts.opening),
            ("idle", counts.idle + counts.used),
            ("held", counts.held),
            ("being canceled", counts.being_canceled),
            ("cleaning", counts.tested),
            ("closing", counts.closing),
            ("lost", counts.lost),
        ] {
            let labels = [of_pool(pool), vec![("state", state.to_string())]].concat();
            connections.push(labels, Value::Whole(count.into()));
        }
        size.push(of_pool(pool), Value::Whole(pool.size.into()));
        clients.push(of_pool(pool), Value::Whole(pool.clients.into()));
        waiting.push(of_pool(pool), Value::Whole(counts.waiting.into()));
        wait.push(of_pool(pool), Value::Real(counts.oldest_wait.as_secs_f64()));
        hold.push(of_pool(pool), Value::Real(pool.oldest_hold.as_secs_f64()));
        idle.push(of_pool(pool), Value::Real(pool.oldest_idle.as_secs_f64()));
    }
    vec![connections, size, clients, waiting, wait, hold, idle]
}

/// Holds of these pools, in the words of SHOW HOLDS.
pub(super) fn holds(figures: &Figures, pools: &[PoolFigures]) -> Family {
    let mut family = gauge(
        "plimsoll_holds",
        "Server connections held, by what they do and what the ledger thinks of it (ok, parked, slow, suspect, leak).",
    );
    let is_shown = |hold: &&plimsoll_proxy::HoldFigures| {
        pools.binary_search_by(|pool| (&pool.database, &pool.role).cmp(&(&hold.database, &hold.role))).is_ok()
    };
    for hold in figures.holds.iter().filter(is_shown) {
        let labels = vec![
            ("database", hold.database.to_string()),
            ("user", hold.role.to_string()),
            ("state", hold.state.to_string()),
            ("verdict", hold.verdict.as_str().to_string()),
        ];
        family.push(labels, Value::Whole(hold.holds.into()));
    }
    family
}

/// Who is connected, as far as there is room.
pub(super) fn applications(named: &[Named], applications: usize) -> Vec<Family> {
    let mut clients = gauge("plimsoll_application_clients", "Clients by application_name (claimed).");
    let mut holds = gauge("plimsoll_application_holds", "Server connections held by application_name.");
    let mut waiting = gauge("plimsoll_application_waiting_clients", "Clients that wait by application_name.");
    for one in named {
        let labels = || vec![("application", one.name.clone())];
        clients.push(labels(), Value::Whole(one.clients));
        holds.push(labels(), Value::Whole(one.holds));
        waiting.push(labels(), Value::Whole(one.waiting));
    }
    let all = whole(
        "plimsoll_applications",
        "Applications connected; those beyond metrics_applications_max share the name (other).",
        applications as u64,
    );
    vec![clients, holds, waiting, all]
}

/// Sites that hold something, those with the most holds first.
pub(super) fn sites(figures: &Figures, plan: &Plan) -> Vec<Family> {
    let of_level =
        |suspect: &str| figures.sites.iter().filter(|site| site.worst.as_str() == suspect).count() as u64;
    let mut sites =
        gauge("plimsoll_sites", "Places in applications that hold a suspect or a leak, by the worst.");
    for verdict in ["suspect", "leak"] {
        sites.push(vec![("verdict", verdict.to_string())], Value::Whole(of_level(verdict)));
    }
    let mut suspected = gauge(
        "plimsoll_site_suspected_holds",
        "Holds of a site that may be leaks, or are: see plimsoll leaks.",
    );
    let mut held = gauge("plimsoll_site_holds", "Server connections held by a site: see plimsoll sites.");
    let mut shown: Vec<_> = figures.sites.iter().collect();
    shown.sort_by_key(|site| (std::cmp::Reverse((site.suspected, site.holds)), site.site));
    shown.truncate(plan.own.metrics_applications_max() as usize);
    for site in shown {
        let labels = || vec![("site", format!("{:016x}", site.site)), ("name", site.name.clone())];
        held.push(labels(), Value::Whole(site.holds.into()));
        suspected.push(labels(), Value::Whole(site.suspected.into()));
    }
    vec![sites, held, suspected]
}

/// The physical servers and their budgets.
pub(super) fn targets(targets: &[TargetView]) -> Vec<Family> {
    let mut connections =
        gauge("plimsoll_target_server_connections", "Our connections to the server by state.");
    let mut used =
        gauge("plimsoll_target_used_connections", "Our connections to the server, all that count.");
    let mut budget = gauge(
        "plimsoll_target_budget_connections",
        "Most connections of ours there; not there without a cap.",
    );
    let mut places =
        gauge("plimsoll_target_max_connections", "max_connections of the server, if it was asked.");
    let mut reserved =
        gauge("plimsoll_target_reserved_connections", "Places it keeps for superusers and others.");
    let mut foreign =
        gauge("plimsoll_target_foreign_sessions", "Sessions there that are not ours, if counted.");
    let mut unseen = gauge("plimsoll_target_unseen_connections", "Connections of ours that it does not see.");
    let mut differences =
        counter("plimsoll_target_differences_total", "How often it did not see as many of ours as we count.");
    for target in targets {
        let of = || vec![("target", target.address.clone())];
        let counts = &target.counts;
        for (state, count) in [
            ("opening", counts.opening),
            ("idle", counts.idle + counts.used),
            ("held", counts.held + counts.being_canceled),
            ("cleaning", counts.tested),
            ("closing", counts.closing),
            ("lost", counts.lost),
        ] {
            connections.push([of(), vec![("state", state.to_string())]].concat(), Value::Whole(count.into()));
        }
        used.push(of(), Value::Whole(target.used.into()));
        if let Some(most) = target.budget {
            budget.push(of(), Value::Whole(most.into()));
        }
        if let Some(said) = &target.said {
            places.push(of(), Value::Whole(said.max_connections.into()));
            reserved.push(of(), Value::Whole(said.reserved.into()));
            if let Some(others) = said.foreign {
                foreign.push(of(), Value::Whole(others.into()));
            }
        }
        unseen.push(of(), Value::Whole(target.unseen.len() as u64));
        differences.push(of(), Value::Whole(target.differences));
    }
    vec![connections, used, budget, places, reserved, foreign, unseen, differences]
}

/// Results that are not read.
pub(super) fn spills(store: &StoreView, stats: &[StatsView]) -> Vec<Family> {
    let mut out = vec![
        whole(
            "plimsoll_spills",
            "Results off their server that their clients have not read.",
            store.spills as u64,
        ),
        whole(
            "plimsoll_spills_stopped",
            "Those for which the server waits, as a budget is used up.",
            store.full as u64,
        ),
        whole("plimsoll_spill_memory_bytes", "Memory of all spills.", store.memory.0),
        whole("plimsoll_spill_memory_max_bytes", "spill_memory in force.", store.memory.1),
        whole("plimsoll_spill_disk_bytes", "Temporary files of all spills.", store.disk.0),
        whole("plimsoll_spill_disk_max_bytes", "spill_disk in force.", store.disk.1),
    ];
    for (which, name, help) in [
        (Counter::Spills, "plimsoll_spills_begun_total", "Results that began to be spilled."),
        (Counter::SpilledBytes, "plimsoll_spilled_bytes_total", "Bytes that went into spills."),
        (
            Counter::SpillFileBytes,
            "plimsoll_spilled_file_bytes_total",
            "Those of them that went into a file.",
        ),
        (
            Counter::SpillStops,
            "plimsoll_spill_stops_total",
            "How often a server waited as a budget was used up.",
        ),
    ] {
        let mut family = counter(name, help);
        for view in stats {
            let labels = vec![("database", view.database.to_string())];
            family.push(labels, Value::Whole(view.total.of(which)));
        }
        out.push(family);
    }
    out
}

/// Peers that went without a word, and work of the pooler itself.
pub(super) fn life(found: &[FoundView], moves: u64) -> Vec<Family> {
    let mut dead = counter("plimsoll_peers_found_dead_total", "Connections whose other side was found dead.");
    for view in found {
        let side = match view.what {
            "clients_found_dead" => "client",
            "servers_found_dead" => "server",
            _ => continue,
        };
        let labels = vec![("side", side.to_string()), ("evidence", view.by.clone())];
        dead.push(labels, Value::Whole(view.count));
    }
    let help = "Server sockets that went from one worker to another.";
    vec![dead, Family::one(Kind::Counter, "plimsoll_worker_moves_total", help, Value::Whole(moves))]
}
