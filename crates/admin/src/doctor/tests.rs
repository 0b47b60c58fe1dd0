use std::path::Path;
use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_proxy::{Backend, Level, Rate, Said, ServerFacts, TrendView};

use super::{Patient, settings};
use crate::tests::Still;

fn plan(ini: &str) -> Plan {
    plimsoll_config::load(Path::new("/etc/a.ini"), &mut |_| Ok(ini.to_string())).expect("a good file")
}

#[test]
fn only_what_somebody_set_to_something_else_is_a_setting() {
    let ini = "[pgbouncer]\nmax_client_conn = 100\npool_mode = transaction\nunix_socket_mode = 0777\n\
               listen_port = 7000\n[plimsoll]\ntarget_budget = auto\nspill_after = 1s\n";
    let mut plan = plan(ini);
    assert_eq!(
        settings(&plan, Level::Admin),
        ["spill_after = 1s (a.ini:8)", "pool_mode = transaction (a.ini:3)"]
    );
    assert_eq!(settings(&plan, Level::Stats), ["spill_after = 1s", "pool_mode = transaction"]);
    plimsoll_config::set(&mut plan, "pool_mode", "session").expect("a mode");
    plimsoll_config::set(&mut plan, "target_budget", "5").expect("a budget");
    let told = settings(&plan, Level::Admin);
    assert_eq!(told, ["target_budget = 5 (SET)", "spill_after = 1s (a.ini:8)"]);
}

#[test]
fn a_long_line_keeps_its_numbers_and_what_is_not_visible_is_said() {
    let still = Still::new(plimsoll_config::Compat::Plimsoll);
    let backend = |ours: bool| Backend {
        user: "reporting".to_string(),
        application: "x".repeat(200),
        ours,
        hidden: !ours,
        ..Backend::default()
    };
    let facts = ServerFacts {
        target: "10.0.0.1:5432".to_string(),
        via: Some(("shop".into(), "app".into())),
        said: Ok(Said {
            version: "15.4".to_string(),
            max_connections: 30,
            reserved: 3,
            backends: vec![backend(true), backend(false), backend(false)],
        }),
    };
    let lines = Patient::of(&still, Level::Admin).lines(&[facts]);
    let server = lines.iter().find(|(section, _)| *section == "servers").expect("a server");
    assert_eq!(
        server.1,
        "10.0.0.1:5432 (PostgreSQL 15.4): allows 27 (30 less 3 reserved); 1 ours, 2 foreign, 0 idle; the state of 2 is \
         not visible to app (pg_read_all_stats)"
    );
}

#[test]
fn what_rises_is_told_and_nothing_where_nothing_does() {
    let mut still = Still::new(plimsoll_config::Compat::Plimsoll);
    let view = |name: &str, is_rising: bool| TrendView {
        what: "pool",
        name: name.to_string(),
        pool: name.split_once('/').map(|(database, role)| (database.into(), role.into())),
        site: 0,
        application: String::new(),
        tags: String::new(),
        statement: String::new(),
        pools: vec![name.to_string()],
        course: if is_rising { "rising" } else { "flat" },
        is_rising,
        held: 7,
        unused: 5,
        floor: Some(6),
        cap: Some(10),
        rate: is_rising.then_some(Rate { least: 1.0, likely: 2.0, most: 3.0 }),
        p: None,
        window: Some(Duration::from_secs(600)),
        reached: is_rising.then_some((Duration::from_secs(1), Duration::from_secs(2), None)),
        since: None,
        why: "more and more".to_string(),
    };
    still.trends = vec![view("shop/calm", false)];
    let told = |still: &Still| {
        let lines = Patient::of(still, Level::Admin).lines(&[]);
        lines.into_iter().filter(|(section, _)| *section == "trend").map(|(_, line)| line).collect::<Vec<_>>()
    };
    assert_eq!(told(&still), [""; 0]);
    still.trends.push(view("shop/app", true));
    let site = TrendView { what: "site", name: String::new(), site: 7, ..view("shop/app", true) };
    still.trends.push(TrendView { application: "orders-api".to_string(), ..site });
    assert_eq!(
        told(&still),
        ["RISING: pool shop/app: more and more", "RISING: site orders-api in pool shop/app: more and more",]
    );
}
