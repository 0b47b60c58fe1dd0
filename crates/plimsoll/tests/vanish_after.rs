//! What is done at the server after a client has vanished: what is run on its connection again, what is cancelled and how
//! often.

#![allow(clippy::unwrap_used)]

mod common;

use common::lost::{ASLEEP, SLEEP, new, pooled, send};
use common::{SOON, backend, house, house_with, wait_for_pool};
use plimsoll_testkit::{Client, Ini, Postgres, PostgresOptions, eventually_ok};

/// A lost client's connection is reset in every pool mode, and whoever comes next counts on `connect_query`.
#[test]
fn what_connect_query_sets_is_there_again_after_a_lost_client() {
    for mode in ["session", "transaction"] {
        let postgres = Postgres::start();
        let set = "SET search_path TO mine, public; SET statement_timeout TO 77777";
        let line = format!("host=127.0.0.1 port={} dbname=p0 connect_query='{set}'", postgres.port());
        let ini = Ini::new(&postgres).database("p0", &line);
        let plimsoll = common::pooler(ini.set("pool_mode", mode).set("default_pool_size", "1"));
        let pid = pooled(&plimsoll);
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        send(&mut client, &new().query(SLEEP));
        postgres.wait_for_sessions(ASLEEP, 1);
        client.reset();
        let mut next = plimsoll.client("app", "p0");
        assert_eq!(backend(&mut next), pid, "{mode}");
        assert_eq!(next.value("SHOW search_path"), "mine, public", "{mode}");
        assert_eq!(next.value("SHOW statement_timeout"), "77777ms", "{mode}");
    }
}

#[test]
fn a_connection_on_which_connect_query_fails_after_a_lost_client_is_closed() {
    let postgres = Postgres::start();
    postgres.login("app", "p0").client().query("CREATE TABLE once (x int)");
    let line =
        format!("host=127.0.0.1 port={} dbname=p0 connect_query='SELECT x FROM once'", postgres.port());
    let ini = Ini::new(&postgres).database("p0", &line);
    let plimsoll = common::pooler(ini.set("pool_mode", "transaction").set("default_pool_size", "1"));
    let pid = pooled(&plimsoll);
    postgres.login("app", "p0").client().query("DROP TABLE once");
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    client.reset();
    postgres.wait_backend_gone(pid);
    plimsoll.wait_for_log("query of our own failed: relation \"once\" does not exist", SOON);
    // At its opening such an error is only logged, as in PgBouncer.
    assert_ne!(pooled(&plimsoll), pid);
}

/// In PgBouncer's shape what was asked for is done, unless the file says otherwise: as in PgBouncer and in PostgreSQL.
#[test]
fn in_pgbouncers_shape_a_query_outlives_its_client() {
    for (own, done) in [(None, "1"), (Some("on"), "0")] {
        let (postgres, plimsoll) = house(|ini| {
            let ini = ini.own("compat", "pgbouncer").set("default_pool_size", "1");
            own.into_iter().fold(ini, |ini, value| ini.own("cancel_on_client_loss", value))
        });
        postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
        let mut client = plimsoll.client("app", "p0");
        send(&mut client, &new().query("INSERT INTO marks SELECT 'done' FROM pg_sleep(1)"));
        postgres.wait_for_sessions(ASLEEP, 1);
        drop(client);
        plimsoll.wait_for_log("closing because: client disconnect while server was not ready", SOON);
        postgres.wait_for_sessions("state = 'active' AND application_name <> 'direct'", 0);
        let rows = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
        assert_eq!(rows, done, "cancel_on_client_loss = {own:?}");
    }
}

/// Servers that do not move are not stormed with cancels, and those that are under way are counted.
#[test]
fn cancels_of_lost_clients_are_few_and_counted() {
    const CLIENTS: usize = 10;
    let options = PostgresOptions {
        settings: vec![("log_connections".to_string(), "on".to_string())],
        ..PostgresOptions::default()
    };
    let (postgres, plimsoll) = house_with(options, |ini| {
        ini.set("default_pool_size", "10").own("cleanup_timeout", "4s").own("close_timeout", "300ms")
    });
    let mut crowd: Vec<Client> = (0..CLIENTS).map(|_| plimsoll.client("app", "p0")).collect();
    let pids: Vec<u32> = crowd
        .iter_mut()
        .map(|client| {
            client.query("BEGIN");
            backend(client)
        })
        .collect();
    crowd.iter_mut().for_each(|client| send(client, &new().query(SLEEP)));
    postgres.wait_for_sessions(ASLEEP, CLIENTS);
    let mut console = plimsoll.console();
    let connections = || postgres.log().matches("connection received").count();
    // Nobody takes the first cancels: they are seen to be open.
    let before = connections();
    postgres.freeze(postgres.pid());
    pids.iter().for_each(|pid| postgres.freeze(*pid));
    crowd.into_iter().for_each(Client::reset);
    eventually_ok("the cancels to be counted", SOON, || {
        let pools = console.query("SHOW POOLS");
        let row = pools.find(&[("database", "p0")]).ok_or("no pool")?;
        match (pools.number(row, "sv_active_cancel"), pools.number(row, "cl_active_cancel_req")) {
            (10, 0) => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
    postgres.thaw(postgres.pid());
    wait_for_pool(&plimsoll, "p0", &[("sv_tested", 0), ("sv_active_cancel", 0)]);
    let cancels = connections() - before;
    pids.iter().for_each(|pid| postgres.thaw(*pid));
    // At 0, 0.25, 0.75, 1.75 and 3.75 s, and one before it is closed.
    assert!((CLIENTS..=6 * CLIENTS).contains(&cancels), "{cancels} connections for {CLIENTS} queries");
    plimsoll.still_works(&["p0"]);
}
