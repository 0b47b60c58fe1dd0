//! Settings of databases and pools that are not limits: what is done to a server connection before it is used, names
//! nobody listed, and what clients are told at the door.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, backend, house, house_with, wait_for_pool};
use plimsoll_testkit::{Client, Ini, PostgresOptions, eventually, eventually_ok};

/// The connection string of `p0` in this ini.
fn line(ini: &Ini) -> String {
    let text = ini.text();
    let line = text.lines().find(|line| line.starts_with("p0 = ")).unwrap();
    String::from(&line["p0 = ".len()..])
}

#[test]
fn connect_query_runs_once_on_each_new_server() {
    let (postgres, plimsoll) = house(|ini| {
        let line = line(&ini);
        let once = "connect_query='INSERT INTO met VALUES (pg_backend_pid()); SET work_mem = ''7MB'''";
        ini.database("met", &format!("{line} {once}"))
            .database("failing", &format!("{line} connect_query='SELECT no_such_function()'"))
    });
    postgres.login("app", "p0").client().query("CREATE TABLE met (pid int)");
    let mut client = plimsoll.client("app", "met");
    for _ in 0..3 {
        assert_eq!(client.value("SHOW work_mem"), "7MB");
    }
    let pid = backend(&mut client);
    assert_eq!(client.value("SELECT string_agg(pid::text, ',') FROM met"), pid.to_string());
    // Its failure is the operator's mistake and not the client's.
    assert_eq!(plimsoll.client("app", "failing").value("SELECT 1"), "1");
}

#[test]
fn a_check_query_runs_before_each_use_when_asked_to() {
    let options = PostgresOptions {
        settings: vec![(String::from("log_statement"), String::from("all"))],
        ..Default::default()
    };
    let (postgres, plimsoll) = house_with(options, |ini| {
        let ini = ini.set("default_pool_size", "1").set("server_check_delay", "0");
        ini.set("server_check_query", "SELECT 'are you there'")
    });
    let mut client = plimsoll.client("app", "p0");
    for _ in 0..3 {
        assert_eq!(client.value("SELECT 'work'"), "work");
    }
    let checks = postgres.log().matches("statement: SELECT 'are you there'").count();
    assert!(checks >= 2, "{checks} checks before three queries");
    // A server that fails its check costs nothing but itself.
    let old = backend(&mut client);
    postgres.terminate_sessions(&format!("pid = {old}"));
    assert_eq!(client.value("SELECT 'again'"), "again");
}

#[test]
fn names_nobody_listed_go_to_the_star_line() {
    let (postgres, plimsoll) = house(|ini| {
        let star = line(&ini).replace(" dbname=p0", "");
        ini.without_database("p1").without_database("p2").database("*", &star)
    });
    assert_eq!(plimsoll.client("app", "p1").value("SELECT current_database()"), "p1");
    assert_eq!(plimsoll.client("app", "p2").value("SELECT current_database()"), "p2");
    plimsoll.wait_for_log("registered new auto-database: p1", SOON);
    let error = plimsoll.login("app", "nowhere").refusal();
    assert_eq!(error.message, "database \"nowhere\" does not exist");
    assert_eq!(postgres.count_sessions("datname = 'nowhere'"), 0);
}

#[test]
fn servers_are_reached_over_their_unix_socket() {
    let (_postgres, plimsoll) = house(|ini| ini);
    drop(plimsoll);
    let postgres = plimsoll_testkit::Postgres::start();
    let socket = format!("host={} port={} dbname=p0", postgres.socket_dir().display(), postgres.port());
    let plimsoll = common::pooler(Ini::new(&postgres).database("local", &socket));
    let mut client = plimsoll.client("app", "local");
    assert_eq!(client.value("SELECT coalesce(inet_client_addr()::text, 'local')"), "local");
    let servers = plimsoll.show("SERVERS");
    assert_eq!(servers.count(&[("database", "local"), ("state", "idle")]), 1);
}

#[test]
fn a_list_of_hosts_is_used_in_turns_and_the_dead_one_skipped() {
    let dead = plimsoll_testkit::free_port();
    let (_postgres, plimsoll) = house(|ini| {
        let port: String =
            line(&ini).split("port=").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        let both = format!("host=127.0.0.1,127.0.0.1 port={dead},{port} dbname=p0");
        ini.database("either", &both).set("server_login_retry", "1")
    });
    eventually_ok("the living host", SOON, || {
        let mut client =
            plimsoll.login("app", "either").try_client().map_err(|failure| failure.to_string())?;
        client.try_query("SELECT 1").map(drop).map_err(|failure| failure.to_string())
    });
}

#[test]
fn everybody_is_greeted_when_there_is_a_greeting() {
    let (_postgres, plimsoll) = house(|ini| ini.set("login_notify_message", "be kind to the pool"));
    let mut client = plimsoll.client("app", "p0");
    let notices = client.take_notices();
    assert_eq!(notices.len(), 1);
    assert_eq!(
        (notices[0].severity.as_str(), notices[0].message.as_str()),
        ("NOTICE", "be kind to the pool")
    );
    let order: String = client.welcome.iter().map(|message| char::from(message.tag)).collect();
    assert!(order.ends_with("KN"), "{order}");
}

#[test]
fn startup_values_of_a_database_line_are_a_default() {
    let (_postgres, plimsoll) = house(|ini| {
        let line = line(&ini);
        ini.database("zoned", &format!("{line} timezone=Asia/Tokyo application_name=from-the-file"))
    });
    let mut client = plimsoll.client("app", "zoned");
    assert_eq!(client.value("SHOW TimeZone"), "Asia/Tokyo");
    let mut other = plimsoll.login("app", "zoned").parameter("TimeZone", "Europe/Oslo").client();
    assert_eq!(other.value("SHOW TimeZone"), "Europe/Oslo");
    assert_eq!(client.value("SHOW TimeZone"), "Asia/Tokyo");
}

#[test]
fn a_pool_nobody_uses_is_emptied() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_idle_timeout", "1").set("min_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    client.leave();
    postgres.wait_for_sessions("usename = 'app'", 0);
    plimsoll.wait_for_log("pool idle timeout", SOON);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn servers_are_reused_last_in_first_out_or_in_turns() {
    for (round_robin, wanted) in [("0", 1), ("1", 3)] {
        let (_postgres, plimsoll) =
            house(|ini| ini.set("server_round_robin", round_robin).set("default_pool_size", "3"));
        let mut holders: Vec<Client> = (0..3).map(|_| plimsoll.client("app", "p0")).collect();
        for holder in &mut holders {
            holder.query("BEGIN");
        }
        for holder in &mut holders {
            holder.query("COMMIT");
        }
        wait_for_pool(&plimsoll, "p0", &[("sv_active", 0), ("sv_idle", 3)]);
        let mut seen: Vec<u32> = (0..9).map(|_| backend(&mut holders[0])).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), wanted, "server_round_robin = {round_robin}");
    }
}

#[test]
fn the_pid_file_comes_and_goes() {
    let (postgres, first) = house(|ini| ini);
    let path = first.dir().join("pooler.pid");
    let ini = Ini::new(&postgres).set("pidfile", &path.display().to_string());
    let mut plimsoll = common::pooler(ini);
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written.trim(), plimsoll.process().pid().to_string());
    plimsoll.signal(plimsoll_testkit::Signal::Interrupt);
    assert_eq!(plimsoll.wait_exit(SOON).code(), Some(0));
    eventually("the file to be removed", SOON, || !path.exists());
}
