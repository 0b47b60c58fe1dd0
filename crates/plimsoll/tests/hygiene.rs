//! Clients die at every point of a dialogue. Afterwards the pool is whole, PostgreSQL has no open transaction, and it
//! sees exactly as many sessions as we count.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread;
use std::time::Duration;

use common::{SOON, house, servers_in};
use plimsoll_testkit::{Batch, Client, Plimsoll, Postgres, eventually_ok};

const POOL_SIZE: usize = 4;

/// How a client dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// The socket is closed.
    Fin,
    /// The socket is reset.
    Rst,
    /// The last bytes go out, then it closes without reading a single answer.
    HalfClose,
}

const DEATHS: [Death; 3] = [Death::Fin, Death::Rst, Death::HalfClose];

/// The dialogues, each as the bytes a client sends.
fn scripts() -> Vec<(&'static str, Batch)> {
    let new = Batch::new;
    let insert = "INSERT INTO marks VALUES ('cut')";
    vec![
        ("query", new().query("SELECT generate_series(1, 2000)")),
        ("slow query", new().query("SELECT pg_sleep(0.02)").query("SELECT 2")),
        ("failing query", new().query("SELECT 1 / 0").query("SELECT 2")),
        (
            "batch",
            new()
                .parse("", "SELECT $1::text")
                .bind("", "", &[Some("x")])
                .describe_portal("")
                .execute("", 0)
                .sync(),
        ),
        (
            "named",
            new()
                .parse("s", "SELECT $1::text")
                .bind("", "s", &[Some("x")])
                .execute("", 0)
                .close_statement("s")
                .sync(),
        ),
        (
            "pipeline",
            new()
                .parse("", "SELECT 1 / $1::int")
                .bind("", "", &[Some("0")])
                .execute("", 0)
                .sync()
                .query("SELECT 2")
                .sync(),
        ),
        ("transaction", new().query("BEGIN").query(insert).query("SELECT 1").query("ROLLBACK")),
        (
            "failed transaction",
            new().query("BEGIN").query("SELECT 1 / 0").query("SELECT 1").query("ROLLBACK"),
        ),
        (
            "open batch",
            new().parse("", "BEGIN").bind("", "", &[]).execute("", 0).sync().query(insert).query("ROLLBACK"),
        ),
        (
            "copy in",
            new().query("COPY marks FROM STDIN").copy_data(b"cut\n").copy_data(b"cut\n").copy_fail("no"),
        ),
        ("copy out", new().query("COPY (SELECT repeat('c', 1000) FROM generate_series(1, 3000)) TO STDOUT")),
        (
            "flush",
            new().parse("", "SELECT generate_series(1, 10)").bind("", "", &[]).execute("", 3).flush().sync(),
        ),
    ]
}

/// Sends the first `cut` bytes and dies. Half of the deaths read what has come so far before.
fn die_at(plimsoll: &Plimsoll, database: &str, bytes: &[u8], cut: usize, death: Death) {
    let mut client = plimsoll.client("app", database);
    // The pooler may have refused already; then there is nothing to kill.
    let sent = client.send(&bytes[..cut]);
    if sent.is_ok() && cut.is_multiple_of(2) {
        let _heard = client.hears_within(Duration::from_millis(1));
    }
    match death {
        Death::Fin => drop(client),
        Death::Rst => client.reset(),
        Death::HalfClose => client.end_writing(),
    }
}

fn kill_everywhere(plimsoll: &Plimsoll, database: &str) -> usize {
    let mut kills = 0;
    for (_, script) in scripts() {
        for cut in script.cut_points() {
            for death in DEATHS {
                die_at(plimsoll, database, script.bytes(), cut, death);
                kills += 1;
            }
        }
    }
    kills
}

/// As many clients as the pool has places get a server each, all at the same time.
fn pool_is_whole(plimsoll: &Plimsoll, database: &str) {
    let mut clients: Vec<Client> = (0..POOL_SIZE).map(|_| plimsoll.client("app", database)).collect();
    let mut backends: Vec<u32> = Vec::new();
    for client in &mut clients {
        client.query("BEGIN");
        assert_eq!(client.value("SELECT 'clean'"), "clean");
        backends.push(common::backend(client));
    }
    backends.sort_unstable();
    backends.dedup();
    assert_eq!(backends.len(), POOL_SIZE, "each holder has a server of its own");
    for client in &mut clients {
        client.query("COMMIT");
    }
}

/// PostgreSQL sees what we count, in SHOW POOLS and in SHOW SERVERS, and nothing is left open there.
fn counts_agree(postgres: &Postgres, plimsoll: &Plimsoll) {
    let mut console = plimsoll.console();
    eventually_ok("PostgreSQL to see what we count", SOON, || {
        let pools = console.query("SHOW POOLS");
        let counted = servers_in(&pools);
        let listed = console.query("SHOW SERVERS").rows.len() as u64;
        let seen = postgres.count_sessions("true") as u64;
        let waiting: u64 = (0..pools.rows.len()).map(|row| pools.number(row, "cl_waiting")).sum();
        let active: u64 = (0..pools.rows.len()).map(|row| pools.number(row, "sv_active")).sum();
        let state =
            format!("pools {counted}, servers {listed}, PostgreSQL {seen}, {waiting} wait, {active} active");
        if counted == listed && listed == seen && waiting == 0 && active == 0 { Ok(()) } else { Err(state) }
    });
    postgres.wait_for_sessions("state LIKE 'idle in transaction%'", 0);
    postgres.wait_for_sessions("state = 'active'", 0);
    assert!(postgres.count_sessions("true") <= POOL_SIZE);
}

fn clients_die_everywhere(mode: &str) {
    let (postgres, mut plimsoll) =
        house(|ini| ini.set("pool_mode", mode).set("default_pool_size", &POOL_SIZE.to_string()));
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    let kills = kill_everywhere(&plimsoll, "p0");
    assert!(kills > 400, "only {kills} deaths");
    counts_agree(&postgres, &plimsoll);
    if mode == "statement" {
        // It has no transactions to hold the servers with: all at once must do.
        everybody_at_once(&plimsoll);
    } else {
        pool_is_whole(&plimsoll, "p0");
    }
    counts_agree(&postgres, &plimsoll);
    // A transaction that was cut before its end, or a COPY, has left nothing.
    let mut direct = postgres.login("app", "p0").client();
    if mode != "statement" {
        assert_eq!(direct.value("SELECT count(*) FROM marks"), "0");
    }
    direct.leave();
    let files = plimsoll.process().open_files();
    eventually_ok("descriptors given back", SOON, || {
        let files = plimsoll.process().open_files();
        if files < 60 { Ok(()) } else { Err(format!("{files} open files")) }
    });
    assert!(files < 200, "{files} open files");
}

fn everybody_at_once(plimsoll: &Plimsoll) {
    let threads: Vec<_> = (0..2 * POOL_SIZE)
        .map(|number| {
            let login = plimsoll.login("app", "p0");
            thread::spawn(move || login.client().value(&format!("SELECT {number} FROM pg_sleep(0.1)")))
        })
        .collect();
    for (number, thread) in threads.into_iter().enumerate() {
        assert_eq!(thread.join().unwrap(), number.to_string());
    }
}

#[test]
fn in_session_pooling() {
    clients_die_everywhere("session");
}

#[test]
fn in_transaction_pooling() {
    clients_die_everywhere("transaction");
}

#[test]
fn in_statement_pooling() {
    clients_die_everywhere("statement");
}

#[test]
fn during_the_login() {
    let (postgres, mut plimsoll) = house(|ini| ini.set("auth_type", "scram-sha-256"));
    let login = plimsoll.login("app", "p0");
    let packet = login.startup_packet();
    for cut in 0..=packet.len() {
        for death in DEATHS {
            let mut client = login.knock().unwrap();
            client.send(&packet[..cut]).unwrap();
            match death {
                Death::Fin => drop(client),
                Death::Rst => client.reset(),
                Death::HalfClose => client.end_writing(),
            }
        }
    }
    let mut client = plimsoll.login("app", "p0").password("app-secret").client();
    assert_eq!(client.value("SELECT 1"), "1");
    client.leave();
    counts_agree(&postgres, &plimsoll);
    eventually_ok("descriptors given back", SOON, || {
        let files = plimsoll.process().open_files();
        if files < 60 { Ok(()) } else { Err(format!("{files} open files")) }
    });
}

#[test]
fn a_query_whose_client_is_gone_does_not_keep_the_pool() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    for death in [Death::Fin, Death::Rst] {
        let mut client = plimsoll.client("app", "p0");
        client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
        postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep(600)%'", 1);
        match death {
            Death::Fin | Death::HalfClose => drop(client),
            Death::Rst => client.reset(),
        }
        // The next one does not wait ten minutes.
        plimsoll.still_works(&["p0"]);
        plimsoll.wait_for_log("client disconnect while server was not ready", SOON);
        // PostgreSQL itself notices a closed client only when it next looks; end what is left over.
        postgres.terminate_sessions("query LIKE '%pg_sleep(600)%'");
    }
}

#[test]
fn an_unread_answer_never_reaches_the_next_client() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    for round in 0..20 {
        let mut rude = plimsoll.client("app", "p0");
        let sql = format!("SELECT 'secret {round}' FROM generate_series(1, 20000)");
        rude.send(Batch::new().query(&sql).bytes()).unwrap();
        if round % 2 == 0 {
            drop(rude.read());
        }
        rude.reset();
        let mut next = plimsoll.client("app", "p0");
        let answer = next.run(&Batch::new().query("SELECT 'mine'"));
        assert_eq!(answer[1].columns(), [Some(String::from("mine"))]);
        assert_eq!(plimsoll_testkit::tags(&answer), "TDCZ");
    }
    counts_agree(&postgres, &plimsoll);
}
