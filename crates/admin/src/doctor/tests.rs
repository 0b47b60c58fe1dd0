use std::path::Path;

use plimsoll_config::Plan;
use plimsoll_proxy::{Backend, Level, Said, ServerFacts};

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
