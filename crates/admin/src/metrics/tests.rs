use std::collections::BTreeSet;
use std::time::Duration;

use plimsoll_config::Compat;
use plimsoll_pool::PoolCounts;
use plimsoll_proxy::{
    ApplicationFigures, Figures, HoldFigures, PoolFigures, PoolTimes, Rate, SiteFigures, TrendView,
    VerdictLevel,
};

use super::*;
use crate::tests::{Still, console};

fn pool(number: usize) -> PoolFigures {
    let counts = PoolCounts { held: 3, idle: 1, used: 1, lost: 1, waiting: 4, ..PoolCounts::default() };
    let mut times = PoolTimes { timeouts: 2, ..PoolTimes::default() };
    times.waits.classes[0] = 5;
    PoolFigures {
        database: format!("db{number:05}").into(),
        role: "app".into(),
        counts,
        size: 20,
        clients: 9,
        oldest_hold: Duration::from_millis(1500),
        oldest_idle: Duration::ZERO,
        times,
    }
}

fn site(number: u64) -> SiteFigures {
    let worst = if number == 7 { VerdictLevel::Leak } else { VerdictLevel::Suspect };
    SiteFigures { site: number, name: format!("shop action={number}"), holds: 2, suspected: 1, worst }
}

fn application(number: usize) -> ApplicationFigures {
    ApplicationFigures { name: format!("worker-{number}"), clients: 1, holds: 1, waiting: 0 }
}

/// A pooler with so many of everything.
fn crowd(pools: usize, applications: usize, sites: u64) -> Still {
    let hold = |pool: &PoolFigures| HoldFigures {
        database: pool.database.clone(),
        role: pool.role.clone(),
        state: "idle in transaction",
        verdict: VerdictLevel::Suspect,
        holds: 3,
    };
    let pools: Vec<_> = (0..pools).map(pool).collect();
    let figures = Figures {
        holds: pools.iter().map(hold).collect(),
        pools,
        sites: (1..=sites).map(site).collect(),
        applications: (0..applications).map(application).collect(),
    };
    Still { figures, ..Still::new(Compat::Plimsoll) }
}

fn answer(still: &Still) -> String {
    console(Compat::Plimsoll).metrics(still, Format::Text)
}

/// Lines of this name.
fn samples<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(is_of).collect()
}

#[test]
fn a_pool_is_counted_by_our_names_and_opentelemetrys() {
    let text = answer(&crowd(1, 1, 7));
    let of = r#"database="db00000",user="app""#;
    for line in [
        format!(r#"plimsoll_pool_server_connections{{{of},state="held"}} 3"#),
        format!(r#"plimsoll_pool_server_connections{{{of},state="idle"}} 2"#),
        format!(r#"plimsoll_pool_server_connections{{{of},state="lost"}} 1"#),
        format!("plimsoll_pool_waiting_clients{{{of}}} 4"),
        format!("plimsoll_pool_oldest_hold_seconds{{{of}}} 1.5"),
        format!(r#"plimsoll_holds{{{of},state="idle in transaction",verdict="suspect"}} 3"#),
        r#"plimsoll_sites{verdict="leak"} 1"#.to_string(),
        r#"plimsoll_sites{verdict="suspect"} 6"#.to_string(),
        r#"plimsoll_site_holds{site="0000000000000001",name="shop action=1"} 2"#.to_string(),
        r#"plimsoll_application_holds{application="worker-0"} 1"#.to_string(),
        r#"db_client_connection_count{db_client_connection_pool_name="db00000/app",db_client_connection_state="used"} 3"#
            .to_string(),
        r#"db_client_connection_pending_requests{db_client_connection_pool_name="db00000/app"} 4"#.to_string(),
        r#"db_client_connection_timeouts_total{db_client_connection_pool_name="db00000/app"} 2"#.to_string(),
        r#"db_client_connection_wait_time_seconds_count{db_client_connection_pool_name="db00000/app"} 5"#.to_string(),
        "plimsoll_client_connections 4".to_string(),
        "plimsoll_client_connections_max 100".to_string(),
        "process_open_fds 20".to_string(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn pgbouncer_exporters_names_have_what_the_tables_say() {
    let text = answer(&crowd(0, 0, 0));
    for line in [
        "pgbouncer_up 1",
        r#"pgbouncer_pools_server_active_connections{database="app",user="forced"} 13"#,
        r#"pgbouncer_pools_client_maxwait_seconds{database="app",user="forced"} 3"#,
        r#"pgbouncer_pools_client_active_connections{database="pgbouncer",user="pgbouncer"} 1"#,
        r#"pgbouncer_databases_reserve_pool{name="app",host="10.0.0.1,10.0.0.2",port="5433",database="app_production",force_user="forced",pool_mode=""} 2"#,
        r#"pgbouncer_stats_totals_queries_pooled_total{database="app"} 102"#,
        r#"pgbouncer_stats_queries_pooled_total{database="app"} 102"#,
        "pgbouncer_used_clients 5",
        "pgbouncer_in_flight_dns_queries 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let time = samples(&text, "pgbouncer_stats_totals_queries_duration_seconds_total");
    assert!(
        time.contains(&&*format!(
            r#"pgbouncer_stats_totals_queries_duration_seconds_total{{database="app"}} {:?}"#,
            106.0 * 1e-6
        )),
        "{time:?}"
    );
}

#[test]
fn ten_thousand_of_everything_make_no_longer_answer_than_the_bounds() {
    let few = answer(&crowd(POOLS_MAX, 100, 100));
    let many = answer(&crowd(10_000, 10_000, 10_000));
    assert_eq!(samples(&many, "plimsoll_application_holds").len(), 101);
    assert_eq!(samples(&many, "plimsoll_site_holds").len(), 100);
    assert_eq!(samples(&many, "plimsoll_pool_size").len(), POOLS_MAX);
    assert_eq!(samples(&many, "plimsoll_holds").len(), POOLS_MAX);
    assert_eq!(samples(&many, "plimsoll_metrics_left_out"), ["plimsoll_metrics_left_out 9000"]);
    let lines = |text: &str| text.lines().count();
    // The line of all the others, for clients, holds and waiting clients.
    assert_eq!(lines(&many), lines(&few) + 3);
    assert!(many.contains(r#"plimsoll_application_clients{application="(other)"} 9900"#));
    // The leak is among the sites that are told apart.
    assert!(many.contains("plimsoll_sites{verdict=\"leak\"} 1"));
}

#[test]
fn every_name_is_there_once_with_help_and_type_and_no_series_twice() {
    for format in [Format::Text, Format::OpenMetrics] {
        let text = console(Compat::Plimsoll).metrics(&crowd(3, 3, 3), format);
        let (mut named, mut series) = (BTreeSet::new(), BTreeSet::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a kind");
                assert!(named.insert(name.to_string()), "{name} twice");
                assert!(["counter", "gauge", "histogram"].contains(&kind));
                assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
            } else if !line.starts_with('#') {
                let (id, _) = line.rsplit_once(' ').expect("a value");
                assert!(series.insert(id.to_string()), "{id} twice");
            }
        }
        assert!(named.len() > 80, "{}", named.len());
    }
}

#[test]
fn names_with_a_slash_in_them_are_those_of_different_pools() {
    let mut still = crowd(4, 0, 0);
    let names = [("a/b", "c"), ("a", "b/c"), (r"a\", "/b"), (r"a\\", "b")];
    for (pool, (database, role)) in still.figures.pools.iter_mut().zip(names) {
        (pool.database, pool.role) = (database.into(), role.into());
    }
    still.figures.holds.clear();
    let trend = |what: &'static str, name: &str, pool: Option<(&str, &str)>, site: u64| TrendView {
        what,
        name: name.to_string(),
        pool: pool.map(|(database, role)| (database.into(), role.into())),
        site,
        application: "orders-api".to_string(),
        tags: String::new(),
        statement: "SELECT secret".to_string(),
        pools: Vec::new(),
        course: "rising",
        is_rising: true,
        held: 7,
        unused: 5,
        floor: Some(6),
        cap: Some(10),
        rate: Some(Rate { least: 1.0, likely: 2.0, most: 3.0 }),
        p: None,
        window: None,
        reached: Some((Duration::from_secs(1), Duration::from_secs(2), None)),
        since: None,
        why: String::new(),
    };
    still.trends = vec![trend("target", "10.0.0.1:5432", None, 0)];
    for (database, role) in names {
        still.trends.push(trend("pool", &format!("{database}/{role}"), Some((database, role)), 0));
        still.trends.push(trend("site", "", Some((database, role)), 7));
    }
    let text = answer(&still);
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(seen.insert(line.rsplit_once(' ').expect("a value").0), "{line} twice");
    }
    // As labels are written, each backslash is two.
    for line in [
        r#"db_client_connection_max{db_client_connection_pool_name="a\\/b/c"} 20"#.to_string(),
        r#"db_client_connection_max{db_client_connection_pool_name="a/b\\/c"} 20"#.to_string(),
        r#"plimsoll_trend_rising{what="pool",name="a\\/b/c",database="a/b",user="c"} 1"#.to_string(),
        r#"plimsoll_trend_rising{what="target",name="10.0.0.1:5432"} 1"#.to_string(),
        r#"plimsoll_trend_exhaustion_seconds{what="site",name="orders-api",site="0000000000000007",database="a",user="b/c"} 2.0"#
            .to_string(),
        "plimsoll_trends_rising 9".to_string(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("secret"), "no statement is in a label");
    // Who does not rise is told of where it is a target or a pool.
    still.trends.iter_mut().for_each(|trend| trend.is_rising = false);
    assert_eq!(samples(&answer(&still), "plimsoll_trend_rising").len(), 5);
}

#[test]
fn counters_and_only_counters_end_in_total() {
    for family in families(&console(Compat::Plimsoll).scene(
        &crowd(1, 1, 1),
        &std::sync::Arc::new(crate::tests::plan_of(Compat::Plimsoll)),
        plimsoll_proxy::Level::Stats,
    )) {
        assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
    }
}
