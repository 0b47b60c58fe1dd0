//! Server connections that have to go: WAIT_CLOSE, server_fast_close; and what goes because nobody uses it.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{SOON, backend, by_mode, house, pooler, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, eventually, tags};

/// How long a command that has to wait is listened to in vain.
const SILENCE: Duration = Duration::from_millis(200);

#[test]
fn wait_close_waits_for_what_reconnect_has_marked() {
    let postgres = Postgres::start();
    let plimsoll = pooler(by_mode(Ini::new(&postgres), &postgres));
    let mut console = plimsoll.console();
    assert_eq!(console.query("WAIT_CLOSE").command, "WAIT_CLOSE");
    let mut open = plimsoll.client("app", "transaction");
    let mut session = plimsoll.client("app", "session");
    open.query("BEGIN");
    session.query("SELECT 1");
    assert_eq!(console.query("WAIT_CLOSE transaction").command, "WAIT_CLOSE", "nothing is marked");
    console.query("RECONNECT");
    console.send(Batch::new().query("WAIT_CLOSE transaction").bytes()).unwrap();
    assert!(!console.hears_within(SILENCE));
    open.query("COMMIT");
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    console.send(Batch::new().query("WAIT_CLOSE").bytes()).unwrap();
    assert!(!console.hears_within(SILENCE), "the session is still there");
    session.leave();
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    // What was opened since is not waited for.
    open.query("BEGIN");
    assert_eq!(console.query("WAIT_CLOSE;").command, "WAIT_CLOSE");
    open.query("COMMIT");
}

#[test]
fn wait_close_refuses_what_pgbouncer_refuses() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    assert_eq!(console.fail("WAIT_CLOSE nowhere").message, "no such database: nowhere");
    assert_eq!(console.fail("WAIT_CLOSE pgbouncer").message, "cannot wait in admin db: pgbouncer");
    let mut watcher = plimsoll.login("stats", "pgbouncer").password("stats-secret").client();
    assert_eq!(watcher.fail("WAIT_CLOSE").message, "admin access needed");
}

#[test]
fn a_wait_that_is_cancelled_leaves_everything_as_it_is() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut open = plimsoll.client("app", "p0");
    open.query("BEGIN");
    let mut console = plimsoll.console();
    console.query("RECONNECT p0");
    console.send(Batch::new().query("WAIT_CLOSE p0").bytes()).unwrap();
    assert!(!console.hears_within(SILENCE));
    console.cancel_key().cancel().unwrap();
    assert_eq!(tags(&console.cycle().unwrap()), "EZ");
    let servers = console.query("SHOW SERVERS");
    assert_eq!(servers.count(&[("database", "p0"), ("close_needed", "1")]), 1);
    open.query("COMMIT");
    assert_eq!(console.query("WAIT_CLOSE p0").command, "WAIT_CLOSE");
}

#[test]
fn idle_servers_go_at_once_when_they_have_to_reconnect() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let before = backend(&mut client);
    let mut console = plimsoll.console();
    console.query("RECONNECT p0");
    postgres.wait_for_sessions(&format!("pid = {before}"), 0);
    assert_ne!(backend(&mut client), before);
}

#[test]
fn wait_close_waits_for_what_reload_has_marked() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres);
    let plimsoll = pooler(ini.clone());
    let mut open = plimsoll.client("app", "p0");
    open.query("BEGIN");
    let moved = format!("host=127.0.0.1 port={} dbname=p1", postgres.port());
    plimsoll.reload(&ini.database("p0", &moved));
    let mut console = plimsoll.console();
    console.send(Batch::new().query("WAIT_CLOSE p0").bytes()).unwrap();
    assert!(!console.hears_within(SILENCE));
    open.query("COMMIT");
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    assert_eq!(open.value("SELECT current_database()"), "p1");
}

/// Sessions on three server connections: at rest, in a transaction, in a query.
fn sessions(postgres: &Postgres, plimsoll: &Plimsoll) -> [Client; 3] {
    let mut clients = [(); 3].map(|()| plimsoll.client("app", "p0"));
    let [resting, open, busy] = &mut clients;
    resting.query("SELECT 1");
    open.query("BEGIN");
    busy.send(Batch::new().query("SELECT 'slept' FROM pg_sleep(1.5)").bytes()).unwrap();
    postgres.wait_for_sessions("query LIKE '%slept%' AND state = 'active' AND pid <> pg_backend_pid()", 1);
    clients
}

#[track_caller]
fn is_told_of_the_change(client: &mut Client) {
    let error = client.expect_closed().expect("last words");
    let told = (error.severity.as_str(), error.message.as_str());
    assert_eq!(told, ("FATAL", "database configuration changed"));
}

#[test]
fn with_fast_close_sessions_end_as_soon_as_they_are_in_no_transaction() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session").set("server_fast_close", "1"));
    let [mut resting, mut open, mut busy] = sessions(&postgres, &plimsoll);
    let mut console = plimsoll.console();
    console.query("RECONNECT");
    is_told_of_the_change(&mut resting);
    plimsoll.wait_for_log("closing because: database configuration changed", SOON);
    assert_eq!(open.value("SELECT 'in it'"), "in it");
    assert_eq!(tags(&busy.cycle().unwrap()), "TDCZ", "its answer is whole");
    is_told_of_the_change(&mut busy);
    open.query("COMMIT");
    is_told_of_the_change(&mut open);
    assert_eq!(console.query("WAIT_CLOSE").command, "WAIT_CLOSE");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn with_fast_close_a_reload_ends_sessions_of_what_has_moved() {
    let postgres = Postgres::start();
    let ini = Ini::new(&postgres).set("pool_mode", "session").set("server_fast_close", "1");
    let plimsoll = pooler(ini.clone());
    let mut moves = plimsoll.client("app", "p0");
    let mut stays = plimsoll.client("app", "p1");
    moves.query("SELECT 1");
    let held = backend(&mut stays);
    let moved = format!("host=127.0.0.1 port={} dbname=p2", postgres.port());
    plimsoll.reload(&ini.database("p0", &moved));
    is_told_of_the_change(&mut moves);
    assert_eq!(plimsoll.client("app", "p0").value("SELECT current_database()"), "p2");
    assert_eq!(backend(&mut stays), held);
}

#[test]
fn without_fast_close_sessions_stay() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut client = plimsoll.client("app", "p0");
    let held = backend(&mut client);
    let mut console = plimsoll.console();
    console.query("RECONNECT");
    assert!(!client.hears_within(Duration::from_secs(1)));
    assert_eq!(backend(&mut client), held);
    // SET takes effect on what is there.
    console.query("SET server_fast_close = 1");
    is_told_of_the_change(&mut client);
    postgres.wait_for_sessions(&format!("pid = {held}"), 0);
}

#[test]
fn an_auto_database_nobody_uses_is_dropped() {
    let postgres = Postgres::start();
    let star = format!("host=127.0.0.1 port={}", postgres.port());
    let ini = Ini::new(&postgres).without_database("p1").without_database("p2").database("*", &star);
    let ini = ini.set("autodb_idle_timeout", "1").set("server_idle_timeout", "1");
    let plimsoll = pooler(ini);
    let mut console = plimsoll.console();
    let mut stays = plimsoll.client("app", "p1");
    stays.query("SELECT 1");
    plimsoll.client("app", "p2").query("SELECT 1");
    plimsoll.client("app", "p0").query("SELECT 1");
    let line = "WARNING dropping database 'p2' as it does not exist anymore or inactive auto-database";
    plimsoll.wait_for_log(line, SOON);
    let databases = console.query("SHOW DATABASES");
    assert_eq!(databases.count(&[("name", "p2")]), 0);
    assert_eq!(databases.count(&[("name", "p1")]), 1, "somebody is connected");
    assert_eq!(databases.count(&[("name", "p0")]), 1, "it is in the file");
    assert_eq!(console.query("SHOW POOLS").count(&[("database", "p2")]), 0);
    assert_eq!(stays.value("SELECT 1"), "1");
    // It is made again when somebody asks for it.
    assert_eq!(plimsoll.client("app", "p2").value("SELECT current_database()"), "p2");
}

#[test]
fn an_auto_database_is_shown_while_it_is_in_use() {
    let postgres = Postgres::start();
    let star = format!("host=127.0.0.1 port={}", postgres.port());
    let ini = Ini::new(&postgres).without_database("p1").database("*", &star);
    let plimsoll = pooler(ini.set("server_idle_timeout", "1"));
    let mut client = plimsoll.client("app", "p1");
    client.query("SELECT 1");
    let databases = || plimsoll.show("DATABASES").count(&[("name", "p1")]);
    let counted = || {
        let lists = plimsoll.show("LISTS");
        lists.number(lists.find(&[("list", "databases")]).unwrap(), "items")
    };
    assert_eq!((databases(), counted()), (1, 4));
    client.leave();
    eventually("the database to be out of sight", SOON, || databases() == 0);
    assert_eq!(counted(), 3);
    assert_eq!(plimsoll.show("POOLS").count(&[("database", "p1")]), 1);
    plimsoll.client("app", "p1").query("SELECT 1");
    assert_eq!(databases(), 1, "it has a server connection");
}

#[test]
fn commands_make_auto_databases_except_those_that_undo() {
    let postgres = Postgres::start();
    let star = format!("host=127.0.0.1 port={}", postgres.port());
    let plimsoll = pooler(Ini::new(&postgres).database("*", &star));
    let mut console = plimsoll.console();
    for command in ["PAUSE", "RECONNECT", "WAIT_CLOSE", "DISABLE", "KILL"] {
        let name = format!("by_{}", command.to_lowercase());
        assert_eq!(console.query(&format!("{command} {name}")).command, command);
        assert_eq!(console.query("SHOW DATABASES").count(&[("name", &name)]), 1, "{command}");
    }
    for command in ["RESUME", "ENABLE"] {
        assert_eq!(console.fail(&format!("{command} other")).message, "no such database: other");
    }
    let refusal = plimsoll.login("app", "by_disable").refusal();
    assert_eq!(refusal.message, "database \"by_disable\" is disabled");
}

#[test]
fn an_idle_pool_is_removed_and_what_it_counted_stays() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_idle_timeout", "1"));
    let mut client = plimsoll.client("app", "p0");
    let mut other = plimsoll.client("app", "p1");
    client.query("SELECT 1");
    other.query("SELECT 1");
    client.leave();
    let line = "cleaning up idle pool for user app on db p0 because: pool idle timeout (age= 1s)";
    plimsoll.wait_for_log(line, SOON);
    postgres.wait_for_sessions("datname = 'p0' AND usename = 'app'", 0);
    let mut console = plimsoll.console();
    eventually("the pool is gone", SOON, || {
        console.query("SHOW POOLS").count(&[("database", "p0"), ("user", "app")]) == 0
    });
    let stats = console.query("SHOW STATS_TOTALS");
    let row = stats.find(&[("database", "p0")]).expect("its counters");
    assert_eq!(stats.number(row, "query_count"), 1);
    wait_for_pool(&plimsoll, "p1", &[("cl_active", 1), ("sv_idle", 1)]);
    assert_eq!(plimsoll.log().matches("cleaning up idle pool for user app on db p0").count(), 1);
    assert!(!plimsoll.log().contains("on db p1"));
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
    assert_eq!(console.query("SHOW STATS_TOTALS").number(row, "query_count"), 2);
}

#[test]
fn a_pool_of_a_forced_user_stays() {
    let postgres = Postgres::start();
    let forced = format!("host=127.0.0.1 port={} dbname=p0 user=app min_pool_size=1", postgres.port());
    let ini = Ini::new(&postgres).database("forced", &forced).set("pool_idle_timeout", "1");
    let plimsoll = pooler(ini.set("min_pool_size", "2"));
    // Before the first client, as many as its line says; the others begin with theirs.
    wait_for_pool(&plimsoll, "forced", &[("sv_idle", 1)]);
    let mut client = plimsoll.client("app", "p1");
    client.query("SELECT 1");
    wait_for_pool(&plimsoll, "p1", &[("sv_idle", 2)]);
    client.leave();
    plimsoll.wait_for_log("cleaning up idle pool for user app on db p1", SOON);
    wait_for_pool(&plimsoll, "forced", &[("sv_idle", 1)]);
    assert!(!plimsoll.log().contains("on db forced"));
}
