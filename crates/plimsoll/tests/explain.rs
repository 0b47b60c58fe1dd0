//! EXPLAIN ADMISSION names the limit that counts, its line, and whoever uses it up; SHOW CONFIG, SET, SHOW TARGETS and
//! SHOW DOCTOR tell of the same things.

#![allow(clippy::unwrap_used)]

mod common;

use common::{BINARY, SOON, house, pooler};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, eventually_ok};

fn explain(console: &mut Client, about: &str) -> String {
    let told = console.query(&format!("EXPLAIN ADMISSION {about}"));
    let lines: Vec<String> = told.rows.iter().map(|row| row[0].clone().unwrap()).collect();
    lines.join("\n")
}

/// `, …/plimsoll.ini:N` of the line that begins with these words.
fn at(plimsoll: &Plimsoll, line: &str) -> String {
    let (path, text) = (plimsoll.ini_path(), std::fs::read_to_string(plimsoll.ini_path()).unwrap());
    let number = text.lines().position(|known| known.starts_with(line)).expect("such a line") + 1;
    format!(", {}:{number})", path.display())
}

/// Has a server connection until it is dropped.
fn holder(plimsoll: &Plimsoll, user: &str, database: &str) -> Client {
    let name = format!("{user}-program");
    let mut client = plimsoll.login(user, database).parameter("application_name", &name).client();
    client.query("BEGIN");
    client
}

#[test]
fn limits_have_the_value_and_the_line_that_count() {
    let postgres = Postgres::start();
    let port = postgres.port();
    let till = format!("host=127.0.0.1 port={port} dbname=p1 max_db_connections=1");
    let ini = Ini::new(&postgres).database("till", &till).user("other", "max_user_connections=1");
    let ini = ini.user("md5er", "max_user_client_connections=1").set("max_db_connections", "50");
    let ini = ini.set("max_user_connections", "60").own("target_budget", "20");
    let plimsoll = pooler(ini.extra(&format!("[targets]\n127.0.0.1:{port} = budget=3 headroom=9\n")));
    let mut console = plimsoll.console();

    let of_till = holder(&plimsoll, "app", "till");
    let told = explain(&mut console, "till md5er");
    let line = format!("(max_db_connections = 1 of database till{}", at(&plimsoll, "till = "));
    assert!(told.contains(&format!("1 of 1 connections {line}")), "{told}");
    assert!(told.contains("Held: 1 by app-program (till/app), idle in transaction"), "{told}");

    let of_other = holder(&plimsoll, "other", "p0");
    let told = explain(&mut console, "p2 other");
    let line = format!("(max_user_connections = 1 of user other{}", at(&plimsoll, "other = "));
    assert!(told.contains(&format!("1 of 1 connections {line}")), "{told}");
    assert!(told.contains("Held: 1 by other-program (p0/other), idle in transaction"), "{told}");

    let of_md5er = holder(&plimsoll, "md5er", "p1");
    let told = explain(&mut console, "p0 md5er");
    let place = at(&plimsoll, "md5er = ").replace(", ", "").replace(')', "");
    let line = format!("max_user_client_connections = 1 of user md5er, {place}");
    assert!(told.contains("would be refused") && told.ends_with(&line), "{told}");

    // Three places, and three pools that have them: none of them is the asker's.
    let told = explain(&mut console, "p2 app");
    let line = format!("(budget=3 of target 127.0.0.1:{port}{}", at(&plimsoll, "127.0.0.1:"));
    assert!(told.contains(&format!("3 of 3 connections, of all pools together {line}")), "{told}");
    for who in ["app-program (till/app)", "other-program (p0/other)", "md5er-program (p1/md5er)"] {
        assert!(told.contains(&format!("Held: 1 by {who}, idle in transaction")), "{who} in\n{told}");
    }
    let targets = plimsoll.show("TARGETS");
    let pools = targets.cell(0, "pools");
    assert!(pools.contains("p0/other 1, share 1;") && pools.contains("till/app 1, share 1"), "{pools}");
    drop((of_till, of_other, of_md5er));
}

#[test]
fn idle_connections_and_pauses_are_told() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").own("target_budget", "2"));
    let mut console = plimsoll.console();
    let held = holder(&plimsoll, "app", "p0");
    let also = holder(&plimsoll, "app", "p1");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    common::wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
    let all = explain(&mut console, "");
    let lines: Vec<&str> = all.lines().collect();
    assert_eq!(lines.len(), 2, "{all}");
    assert!(
        lines[0].contains("of database p0 as user app would wait behind 1 others. The pool is full: 1 of 1")
    );
    assert!(lines[1].contains("of database p1 as user app would wait; nobody is before it."), "{all}");
    let of_p0 = explain(&mut console, "p0");
    assert!(of_p0.contains("as user app would wait") && of_p0.contains("Held: 1 by app-program"), "{of_p0}");
    assert!(explain(&mut console, "p2").starts_with("Nobody has a pool of database p2 yet"));
    drop((held, also, waiting));
    // PAUSE is answered when nothing is in use any more.
    console.query("PAUSE p1");
    assert!(explain(&mut console, "p1 app").contains("The database is paused: RESUME p1 lets it go on."));
    console.query("RESUME p1");
    // Who only may look hears of itself, and of no file.
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    let told = explain(&mut stats, "");
    assert_eq!(told.lines().count(), 3, "a line for each database: {told}");
    assert!(told.contains("as user stats") && !told.contains("as user app") && !told.contains(".ini"));
    // The program asks the same.
    let url = format!("postgres://admin@127.0.0.1:{}/pgbouncer", plimsoll.port());
    for (about, answer) in
        [(&[][..], "of database p0 as user app"), (&["p2"], "Nobody has a pool of database p2")]
    {
        let mut program = std::process::Command::new(BINARY);
        let out = program.arg("explain").args(about).args(["--url", &url]);
        let out = out.env("PGPASSWORD", "admin-secret").output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains(answer), "{out:?}");
    }
}

#[test]
fn the_limit_of_a_role_is_no_key_of_a_file() {
    let (postgres, plimsoll) = house(|ini| ini);
    postgres.sql("ALTER ROLE other CONNECTION LIMIT 1");
    let held = holder(&plimsoll, "other", "p0");
    let mut waiting = plimsoll.client("other", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let mut console = plimsoll.console();
    eventually_ok("the limit to be known", SOON, || {
        let told = explain(&mut console, "p0 other");
        let limit = "leaves this pool 1 connections; ALTER ROLE other or ALTER DATABASE p0 raises it";
        let holder = "Held: 1 by other-program, idle in transaction";
        if told.contains(limit) && told.contains(holder) { Ok(()) } else { Err(told) }
    });
    drop(held);
}

#[test]
fn keys_of_our_own_are_shown_and_set() {
    let (_postgres, plimsoll) = house(|ini| ini.own("target_budget", "9"));
    let mut console = plimsoll.console();
    let shown = |console: &mut Client, key: &str| {
        let config = console.query("SHOW CONFIG");
        let row = config.find(&[("key", key)]).unwrap();
        ["value", "default", "changeable"].map(|column| config.cell(row, column).to_string())
    };
    assert_eq!(shown(&mut console, "target_budget"), ["9", "auto", "yes"]);
    assert_eq!(shown(&mut console, "connect_concurrency"), ["4", "4", "yes"]);
    let _held = holder(&plimsoll, "app", "p0");
    console.query("SET target_budget = 1");
    assert_eq!(shown(&mut console, "target_budget"), ["1", "auto", "yes"]);
    assert_eq!(plimsoll.show("TARGETS").number(0, "budget"), 1);
    let told = explain(&mut console, "p1 app");
    assert!(
        told.contains("1 of 1 connections, of all pools together (target_budget = 1, SET on the console)"),
        "{told}"
    );
    console.query("RELOAD");
    assert_eq!(shown(&mut console, "target_budget"), ["9", "auto", "yes"]);
    assert_eq!(plimsoll.show("TARGETS").number(0, "budget"), 9);
    let failed = console.fail("SET target_budget = none");
    assert_eq!(failed.message, "SET failed");
    assert!(failed.detail.unwrap().contains("expected auto, off, or the most server connections"));
}

#[test]
fn sessions_that_the_role_may_not_see_are_counted_all_the_same() {
    let (postgres, plimsoll) = house(|ini| ini);
    let foreign: Vec<Client> = (0..2).map(|_| postgres.login("boss", "postgres").client()).collect();
    plimsoll.client("app", "p0").query("SELECT 1");
    let of_server = || {
        let doctor = plimsoll.show("DOCTOR");
        let row = doctor.find(&[("section", "servers")]).unwrap();
        doctor.cell(row, "line").to_string()
    };
    let states_of_boss = || -> Vec<String> {
        let backends = plimsoll.show("BACKENDS");
        let of_boss = (0..backends.rows.len()).filter(|row| backends.cell(*row, "user") == "boss");
        of_boss.map(|row| backends.cell(row, "state").to_string()).collect()
    };
    let told = of_server();
    assert!(
        told.contains("1 ours, ") && told.ends_with("is not visible to app (pg_read_all_stats)"),
        "{told}"
    );
    let states = states_of_boss();
    assert!(states.len() >= 2 && states.iter().all(String::is_empty), "{states:?}");
    postgres.sql("GRANT pg_read_all_stats TO app");
    let told = of_server();
    assert!(told.contains("1 ours, ") && !told.contains("not visible"), "{told}");
    let states = states_of_boss();
    assert!(states.len() >= 2 && !states.iter().any(String::is_empty), "{states:?}");
    drop(foreign);
}
