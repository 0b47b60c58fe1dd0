//! Who is still there: what is seen of a connection, what is sent to find out, how soon the dead are found.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::certificates::{Maker, with_tls};
use common::net::{Machine, Net, say};
use common::{SOON, house};
use plimsoll_testkit::{
    Batch, Client, Ini, Login, Plimsoll, Postgres, PostgresOptions, Table, binary_of, eventually,
    eventually_ok, tags,
};

/// A result that no buffer on the way takes.
const LARGE: &str = "SELECT repeat('x', 1000000) FROM generate_series(1, 60)";

/// A SHOW over the Unix socket: that one is in no network.
#[track_caller]
fn show(pooler: &Plimsoll, what: &str) -> Table {
    let mut console =
        Login::new(pooler.unix_address(), "admin", "pgbouncer").password("admin-secret").client();
    let table = console.query(&format!("SHOW {what}"));
    console.leave();
    table
}

fn found(pooler: &Plimsoll, what: &str) -> u64 {
    let table = show(pooler, "LIVENESS");
    (0..table.rows.len())
        .filter(|row| table.cell(*row, "what") == what)
        .map(|row| table.number(row, "count"))
        .sum()
}

/// Connections of this machine in /proc/net/tcp with this port on our side or the other: the kernel's timer (0 none,
/// 2 keepalive) and when it is due (proc(5)).
fn timers(port_column: usize, port: u16) -> Vec<(u8, Duration)> {
    let text = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let wanted = format!("{port:04X}");
    let of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_established = words[3] == "01";
        if !is_established || words[port_column].split(':').nth(1) != Some(&wanted) {
            return None;
        }
        let (kind, due) = words[5].split_once(':')?;
        let due = u64::from_str_radix(due, 16).ok()? * 10;
        Some((u8::from_str_radix(kind, 16).ok()?, Duration::from_millis(due)))
    };
    text.lines().skip(1).filter_map(of).collect()
}

/// The side a socket is on: column 1 is its own address, column 2 the other's.
const OWN: usize = 1;
const OTHER: usize = 2;

/// How long keepalive waits on a client's and a server's connection that have just been used.
#[track_caller]
fn keepalive(postgres: &Postgres, plimsoll: &Plimsoll) -> (Option<Duration>, Option<Duration>) {
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    // Acknowledging takes a moment, and with something unacknowledged another timer runs.
    let settled = |column, port| {
        eventually_ok("the connection to be at rest", SOON, || {
            match timers(column, port).into_iter().find(|(kind, _)| matches!(kind, 0 | 2)) {
                Some((0, _)) => Ok(None),
                Some((_, due)) => Ok(Some(due)),
                None => Err("no such connection".to_string()),
            }
        })
    };
    (settled(OWN, plimsoll.port()), settled(OTHER, postgres.port()))
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn keepalive_is_on_and_short_without_a_word_in_either_shape() {
    for compat in ["plimsoll", "pgbouncer"] {
        let (postgres, plimsoll) = house(|ini| ini.own("compat", compat));
        let (client, server) = keepalive(&postgres, &plimsoll);
        assert!(client.is_some_and(|due| secs(50) < due && due <= secs(60)), "{compat}: {client:?}");
        assert!(server.is_some_and(|due| secs(10) < due && due <= secs(15)), "{compat}: {server:?}");
        // What is shown is PgBouncer's all the same.
        let config = plimsoll.show("CONFIG");
        for key in ["tcp_keepidle", "tcp_keepintvl", "tcp_keepcnt", "tcp_user_timeout"] {
            assert!(config.find(&[("key", key), ("value", "0"), ("default", "0")]).is_some(), "{key}");
        }
    }
}

#[test]
fn keys_of_keepalive_win_and_what_the_kernel_refuses_is_said() {
    let (postgres, plimsoll) = house(|ini| ini.set("tcp_keepidle", "300"));
    let (client, server) = keepalive(&postgres, &plimsoll);
    assert!(client.is_some_and(|due| secs(290) < due && due <= secs(300)), "{client:?}");
    assert!(server.is_some_and(|due| secs(290) < due && due <= secs(300)), "{server:?}");
    let (postgres, plimsoll) = house(|ini| ini.set("tcp_keepalive", "0"));
    assert_eq!(keepalive(&postgres, &plimsoll), (None, None));
    let (postgres, plimsoll) = house(|ini| ini.set("tcp_keepidle", "100000").set("tcp_keepcnt", "500"));
    plimsoll.wait_for_log("tcp_keepidle = 100000: Linux takes at most 32767, and that counts", SOON);
    plimsoll.wait_for_log("tcp_keepcnt = 500: Linux takes at most 127, and that counts", SOON);
    let (client, _) = keepalive(&postgres, &plimsoll);
    assert!(client.is_some_and(|due| secs(32_700) < due && due <= secs(32_767)), "{client:?}");
}

#[test]
fn sockets_tell_what_is_known_of_the_other_side() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let mut near = Login::new(plimsoll.unix_address(), "app", "p1").client();
    near.query("SELECT 1");
    let mut lazy = plimsoll.client("app", "p2");
    lazy.send(Batch::new().query(LARGE).bytes()).unwrap();
    eventually_ok("a client that does not read to be seen", SOON, || {
        let sockets = show(&plimsoll, "SOCKETS");
        let of = |kind: &str, database: &str| {
            let row = sockets.find(&[("type", kind), ("database", database)]).expect("a socket");
            (sockets.cell(row, "life").to_string(), sockets.cell(row, "probes").to_string())
        };
        let alive = |(life, probes): &(String, String)| (life == "alive" || life == "idle") && probes == "0";
        assert!(alive(&of("C", "p0")) && alive(&of("S", "p0")), "{sockets:?}");
        // Nothing is known of a Unix socket, as nothing has to be.
        assert_eq!(of("C", "p1"), (String::new(), String::new()));
        let row = sockets.find(&[("type", "C"), ("database", "p2")]).unwrap();
        let (life, unsent) = (sockets.cell(row, "life"), sockets.number(row, "unsent_bytes"));
        if life == "not reading" && unsent > 0 { Ok(()) } else { Err(format!("{life}, {unsent} unsent")) }
    });
    let holds = show(&plimsoll, "HOLDS");
    let row = holds.find(&[("database", "p2")]).expect("it holds its server connection");
    assert_eq!(holds.cell(row, "client_life"), "not reading");
    drop(lazy);
}

#[test]
fn a_client_that_does_not_read_is_alive_for_as_long_as_it_likes() {
    // The bound is 4 s; a reader that rests for longer acknowledges all the while.
    let (_postgres, plimsoll) = house(quick);
    let mut lazy = plimsoll.client("app", "p0");
    lazy.send(Batch::new().query(LARGE).bytes()).unwrap();
    let mut console = plimsoll.console();
    let until = Instant::now() + secs(9);
    eventually("it to rest for longer than the bound", secs(15), || {
        let sockets = console.query("SHOW SOCKETS");
        let row = sockets.find(&[("type", "C"), ("database", "p0")]).expect("it is there");
        assert_ne!(sockets.cell(row, "life"), "gone");
        Instant::now() > until
    });
    assert_eq!(tags(&lazy.cycle().unwrap()).len(), 60 + 3);
    assert_eq!(found(&plimsoll, "clients_found_dead"), 0);
}

/// Keepalive scaled down: 2 s, 1 s, 2 probes; whoever is silent for 4 s when asked is gone.
fn quick(ini: Ini) -> Ini {
    ini.set("tcp_keepidle", "2").set("tcp_keepintvl", "1").set("tcp_keepcnt", "2")
}

/// The bound of [`quick`], and what a busy machine adds to it.
const QUICK_BOUND: Duration = Duration::from_millis(6_500);

/// Comes in on the application's machine and does something there.
#[track_caller]
fn far_client(net: &Net, plimsoll: &Plimsoll, database: &str, sql: &str) -> Client {
    let login = Login::new(Net::at_database(plimsoll.port()), "app", database);
    net.inside(Machine::Application, || {
        let mut client = login.client();
        client.send(Batch::new().query(sql).bytes()).unwrap();
        client
    })
}

/// Clients that are in the middle of what they send: a COPY, half a batch, half a message.
#[track_caller]
fn senders(net: &Net, plimsoll: &Plimsoll) -> [Client; 3] {
    let mut copy = far_client(net, plimsoll, "copy", "COPY marks FROM STDIN");
    assert_eq!(copy.read().unwrap().tag, b'G');
    copy.send(Batch::new().copy_data(b"cut\n").bytes()).unwrap();
    let insert =
        || Batch::new().parse("", "INSERT INTO marks VALUES ('cut')").bind("", "", &[]).execute("", 0);
    let mut half = far_client(net, plimsoll, "half", "BEGIN");
    half.cycle().unwrap();
    half.send(insert().flush().bytes()).unwrap();
    for tag in *b"12C" {
        assert_eq!(half.read().unwrap().tag, tag);
    }
    // Half a message, of which the server has what there is.
    let mut part = far_client(net, plimsoll, "part", "BEGIN");
    part.cycle().unwrap();
    part.send(&insert().bytes()[..20]).unwrap();
    [copy, half, part]
}

/// Whether nobody has a server connection of this pool any more, nothing is done on one, and so many are free.
fn is_back(pools: &Table, database: &str, idle: u64) -> bool {
    let Some(row) = pools.find(&[("database", database)]) else { return false };
    let number = |column| pools.number(row, column);
    number("sv_active") + number("sv_tested") + number("sv_being_canceled") == 0
        && number("sv_idle") + number("sv_used") == idle
}

#[test]
fn a_client_machine_that_vanishes_is_found_in_every_state() {
    let Some(net) = Net::build() else { return };
    net.enter(Machine::Database);
    let postgres = Postgres::start();
    let of = |name: &str| format!("host=127.0.0.1 port={} dbname=p0 {name}", postgres.port());
    let ini = quick(Ini::new(&postgres).set("listen_addr", &Net::listen_addr()))
        .database("idle", &of("pool_mode=session"))
        .database("open", &of("pool_mode=transaction"))
        .database("query", &of("pool_mode=transaction"))
        // A spill would have taken the result off the server before its reader is gone.
        .database("large", &of("pool_mode=transaction spill=off"))
        .database("copy", &of("pool_mode=transaction"))
        .database("half", &of("pool_mode=transaction"))
        .database("part", &of("pool_mode=transaction"))
        .database("wait", &of("pool_mode=transaction pool_size=1"));
    let plimsoll = Plimsoll::start(binary_of(common::BINARY).to_str().unwrap(), &ini);
    let near = |database: &str| Login::new(plimsoll.unix_address(), "app", database).client();
    postgres.login("app", "p0").client().query("CREATE TABLE marks (what text)");
    let mut holder = near("wait");
    holder.query("BEGIN");
    let mut idle = far_client(&net, &plimsoll, "idle", "SELECT 1");
    idle.cycle().unwrap();
    let mut open = far_client(&net, &plimsoll, "open", "BEGIN");
    open.cycle().unwrap();
    let _query = far_client(&net, &plimsoll, "query", "SELECT pg_sleep(600)");
    let _senders = senders(&net, &plimsoll);
    let _large = far_client(&net, &plimsoll, "large", LARGE);
    let _waiter = far_client(&net, &plimsoll, "wait", "SELECT 1");
    postgres.wait_for_sessions("wait_event = 'PgSleep'", 1);
    eventually("somebody to wait", SOON, || show(&plimsoll, "WAITERS").rows.len() == 1);
    eventually("the reader to rest", SOON, || {
        let sockets = show(&plimsoll, "SOCKETS");
        sockets.find(&[("type", "C"), ("database", "large"), ("life", "not reading")]).is_some()
    });
    net.unplug(Machine::Application);
    let began = Instant::now();
    // From death to the server connection that the next one can have; whoever waits has none to return.
    let mut missing = vec!["idle", "open", "query", "copy", "half", "part", "wait"];
    eventually_ok("all to be back", QUICK_BOUND, || {
        let (clients, pools) = (show(&plimsoll, "CLIENTS"), show(&plimsoll, "POOLS"));
        missing.retain(|database| {
            let is_over = match *database {
                "wait" => clients.count(&[("database", "wait"), ("state", "waiting")]) == 0,
                "part" => is_back(&pools, database, 0),
                _ => is_back(&pools, database, 1),
            };
            if is_over {
                say(&format!("{database}: back after {:?}", began.elapsed()));
            }
            !is_over
        });
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
    });
    // A window that had been closed is asked after when its timer is next due.
    eventually("the reader's to be back", secs(30), || is_back(&show(&plimsoll, "POOLS"), "large", 1));
    say(&format!("large: back after {:?}", began.elapsed()));
    assert_eq!(found(&plimsoll, "clients_found_dead"), 8);
    assert_eq!(found(&plimsoll, "server_returned_after"), 6);
    // After half a message nothing can be said; it counts when the server has been seen to end.
    eventually("one that is not returned", SOON, || found(&plimsoll, "server_not_returned") == 1);
    assert_eq!(near("open").value("SELECT count(*) FROM marks"), "0");
    // The queue forgot it: the next one is served as soon as the holder lets go.
    assert_eq!(show(&plimsoll, "WAITERS").rows.len(), 0);
    holder.query("COMMIT");
    for database in ["idle", "open", "query", "large", "wait"] {
        assert_eq!(near(database).value("SELECT 1"), "1", "{database}");
    }
    postgres.wait_for_sessions("state <> 'idle'", 0);
    plimsoll.wait_for_log(
        "closing because: client does not answer any more: TCP keepalive found no answer",
        SOON,
    );
}

/// PostgreSQL on the application's machine, the pooler on the database's; the test's thread stays there.
fn house_apart(net: &Net, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    net.enter(Machine::Application);
    let options = PostgresOptions {
        settings: vec![("listen_addresses".to_string(), "*".to_string())],
        ..PostgresOptions::default()
    };
    let postgres = Postgres::start_with(options);
    let hba = postgres.socket_dir().join("data/pg_hba.conf");
    std::fs::write(hba, "local all all trust\nhost all all all trust\n").unwrap();
    postgres.sql("SELECT pg_reload_conf()");
    let server = format!("host={} port={} dbname=p0", Net::application(), postgres.port());
    net.enter(Machine::Database);
    let ini = quick(Ini::new(&postgres)).database("p0", &server).set("server_connect_timeout", "2");
    let plimsoll = Plimsoll::start(binary_of(common::BINARY).to_str().unwrap(), &change(ini));
    (postgres, plimsoll)
}

#[test]
fn unacknowledged_data_tells_of_a_server_machine_that_vanishes() {
    let Some(net) = Net::build() else { return };
    let (_postgres, plimsoll) = house_apart(&net, |ini| ini);
    let mut client = Login::new(plimsoll.unix_address(), "app", "p0").client();
    client.query("BEGIN");
    net.unplug(Machine::Application);
    let began = Instant::now();
    let error = client.fail("SELECT 1");
    let took = began.elapsed();
    assert_eq!(error.sqlstate, "08006", "{error:?}");
    assert_eq!(error.message, "server does not answer any more: what was sent has not been acknowledged");
    assert!(took < QUICK_BOUND, "{took:?}");
    say(&format!("the server: found after {took:?}"));
    eventually("it to be counted", SOON, || found(&plimsoll, "servers_found_dead") == 1);
}

/// A server that the sweep finds dead while it is freed after a lost client is one more that was found dead.
#[test]
fn a_server_that_vanishes_while_it_is_freed_is_found_dead_too() {
    let Some(net) = Net::build() else { return };
    let (_postgres, plimsoll) =
        house_apart(&net, |ini| ini.own("cleanup_timeout", "30s").set("default_pool_size", "1"));
    let mut client = Login::new(plimsoll.unix_address(), "app", "p0").client();
    client.query("BEGIN");
    client.send(Batch::new().parse("", "SELECT 1").bind("", "", &[]).execute("", 0).flush().bytes()).unwrap();
    for tag in *b"12DC" {
        assert_eq!(client.read().unwrap().tag, tag);
    }
    net.unplug(Machine::Application);
    // What ends the half batch meets nobody.
    drop(client);
    plimsoll.wait_for_log(
        "query of our own failed: server does not answer any more: what was sent has not been acknowledged",
        QUICK_BOUND + SOON,
    );
    assert_eq!(found(&plimsoll, "servers_found_dead"), 1);
}

/// A client that closes while a heartbeat is unread resets its connection: it was alive.
#[test]
fn whoever_leaves_with_a_heartbeat_unread_was_not_dead() {
    let (_postgres, plimsoll) = house(|ini| ini.own("client_heartbeat", "1s"));
    for _ in 0..3 {
        let client = plimsoll.client("app", "p0");
        let before = found(&plimsoll, "heartbeats");
        eventually("a heartbeat", secs(8), || found(&plimsoll, "heartbeats") > before);
        eventually("its kernel to have it", SOON, || {
            let sockets = plimsoll.show("SOCKETS");
            let row = sockets.find(&[("type", "C"), ("database", "p0")]).expect("it is there");
            sockets.number(row, "unacked_bytes") == 0
        });
        drop(client);
        eventually("it to be gone", SOON, || {
            show(&plimsoll, "CLIENTS").find(&[("database", "p0")]).is_none()
        });
    }
    assert_eq!(found(&plimsoll, "clients_found_dead"), 0);
}

/// Reads until a ParameterStatus comes; `None`: nothing does within the bound.
fn heartbeat(client: &mut Client, bound: Duration) -> Option<Vec<String>> {
    client.set_patience(bound);
    let message = client.read().ok()?;
    assert_eq!(message.tag, b'S', "{message:?}");
    Some(message.strings())
}

#[test]
fn an_idle_client_hears_a_value_it_knows_and_a_busy_one_nothing() {
    let (_postgres, plimsoll) = house(|ini| ini.own("client_heartbeat", "1s").set("pool_mode", "session"));
    let mut idle = plimsoll.client("app", "p0");
    idle.query("SET TimeZone = 'Europe/Oslo'");
    let mut busy = plimsoll.client("app", "p1");
    busy.send(Batch::new().query("SELECT pg_sleep(4)").bytes()).unwrap();
    for _ in 0..2 {
        let known: Vec<(String, String)> = ["client_encoding", "DateStyle", "TimeZone", "IntervalStyle"]
            .map(|name| (name.to_string(), idle.parameter(name).to_string()))
            .into();
        let said = heartbeat(&mut idle, secs(5)).expect("a heartbeat");
        let pair = (said[0].clone(), said[1].clone());
        assert!(
            known.contains(&pair) || pair.0 == "application_name" || pair.0 == "standard_conforming_strings",
            "{pair:?}"
        );
        assert_eq!(idle.parameter(&pair.0), pair.1);
    }
    idle.set_patience(SOON);
    assert_eq!(idle.value("SHOW TimeZone"), "Europe/Oslo");
    // In the middle of an answer there is none.
    busy.set_patience(SOON);
    assert_eq!(tags(&busy.cycle().unwrap()), "TDCZ");
    assert!(found(&plimsoll, "heartbeats") >= 2);
}

#[test]
fn a_transaction_that_is_open_goes_on_after_a_heartbeat_and_a_batch_is_not_disturbed() {
    let (_postgres, plimsoll) = house(|ini| ini.own("client_heartbeat", "1s"));
    let mut open = plimsoll.client("app", "p0");
    open.query("CREATE TEMP TABLE kept (x int)");
    open.query("BEGIN");
    open.query("INSERT INTO kept VALUES (1)");
    heartbeat(&mut open, secs(5)).expect("a heartbeat");
    open.set_patience(SOON);
    assert_eq!(open.value("SELECT count(*) FROM kept"), "1");
    open.query("COMMIT");
    // Half a batch: the client is not idle, whatever its silence.
    let mut half = plimsoll.client("app", "p1");
    half.send(Batch::new().parse("", "SELECT 1").flush().bytes()).unwrap();
    assert_eq!(half.read().unwrap().tag, b'1');
    assert_eq!(heartbeat(&mut half, secs(3)), None);
    half.set_patience(SOON);
    assert_eq!(tags(&half.run(&Batch::new().sync())), "Z");
}

/// A driver that asks, is idle for more than two heartbeats, and asks again; PORT is the pooler's.
struct Driver {
    name: &'static str,
    /// The variable that says where it is, as `./dev test` sets it.
    variable: &'static str,
    /// The command; VALUE is the variable's.
    command: &'static [&'static str],
    script: &'static str,
}

const DRIVERS: [Driver; 6] = [
    Driver {
        name: "psycopg",
        variable: "PLIMSOLL_PYTHON",
        command: &["VALUE", "-c"],
        script: "import psycopg, time\nc = psycopg.connect('host=localhost port=PORT dbname=p0 user=app', autocommit=True)\n\
                 a = c.execute('select 1').fetchone()[0]; time.sleep(2.6)\n\
                 print('ok', a + c.execute('select 2').fetchone()[0])",
    },
    Driver {
        name: "psycopg over TLS",
        variable: "PLIMSOLL_PYTHON",
        command: &["VALUE", "-c"],
        script: "import psycopg, time\n\
                 c = psycopg.connect('host=localhost port=PORT dbname=p0 user=app sslmode=require', autocommit=True)\n\
                 a = c.execute('select 1').fetchone()[0]; time.sleep(2.6)\n\
                 print('ok', a + c.execute('select 2').fetchone()[0])",
    },
    Driver {
        name: "asyncpg",
        variable: "PLIMSOLL_PYTHON",
        command: &["VALUE", "-c"],
        script: "import asyncio, asyncpg\nasync def main():\n c = await asyncpg.connect(host='localhost', port=PORT, \
                 database='p0', user='app')\n a = await c.fetchval('select 1'); await asyncio.sleep(2.6)\n \
                 print('ok', a + await c.fetchval('select 2'))\nasyncio.run(main())",
    },
    Driver {
        name: "pg of Node",
        variable: "PLIMSOLL_NODE_PATH",
        command: &["env", "NODE_PATH=VALUE", "node", "-e"],
        script: "const {Client} = require('pg'); (async () => { const c = new Client({host: 'localhost', port: PORT, \
                 database: 'p0', user: 'app'}); await c.connect(); const a = (await c.query('select 1 as x')).rows[0].x; \
                 await new Promise(done => setTimeout(done, 2600)); const b = (await c.query('select 2 as x')).rows[0].x; \
                 console.log('ok ' + (a + b)); await c.end(); })()",
    },
    Driver {
        name: "pg of Ruby",
        variable: "PLIMSOLL_RUBY",
        command: &["VALUE", "-e"],
        script: "require 'pg'; c = PG.connect(host: 'localhost', port: PORT, dbname: 'p0', user: 'app'); \
                 a = c.exec('select 1').getvalue(0, 0).to_i; sleep 2.6; \
                 puts \"ok #{a + c.exec('select 2').getvalue(0, 0).to_i}\"",
    },
    Driver {
        name: "JDBC",
        variable: "PLIMSOLL_JDBC",
        command: &["java", "-cp", "VALUE"],
        script: "import java.sql.*; public class Idle { public static void main(String[] a) throws Exception { \
                 try (Connection c = DriverManager.getConnection(\"jdbc:postgresql://localhost:PORT/p0\", \"app\", \"x\")) { \
                 int x = one(c, \"select 1\"); Thread.sleep(2600); System.out.println(\"ok \" + (x + one(c, \"select 2\"))); } } \
                 static int one(Connection c, String sql) throws SQLException { try (ResultSet r = \
                 c.createStatement().executeQuery(sql)) { r.next(); return r.getInt(1); } } }",
    },
];

#[test]
fn no_driver_minds_a_heartbeat() {
    let maker = Maker::new();
    maker.self_signed("server", "localhost");
    let (_postgres, plimsoll) = house(|ini| {
        let ini = ini.own("client_heartbeat", "1s").set("ignore_startup_parameters", "extra_float_digits");
        with_tls(ini, "client", "prefer", &maker, "server")
    });
    for driver in &DRIVERS {
        let Some(value) = std::env::var_os(driver.variable) else {
            let required = std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_some();
            assert!(!required, "{}: {} is not set", driver.name, driver.variable);
            say(&format!("passed over, as {} is not set: {}", driver.variable, driver.name));
            continue;
        };
        let script = driver.script.replace("PORT", &plimsoll.port().to_string());
        let before = found(&plimsoll, "heartbeats");
        let said = run(driver, value.to_str().unwrap(), &script, &maker);
        assert_eq!(said, "ok 3", "{}", driver.name);
        let heard = found(&plimsoll, "heartbeats") - before;
        assert!(heard >= 1, "{} heard {heard} heartbeats", driver.name);
    }
}

/// What a driver printed, or how it failed.
fn run(driver: &Driver, value: &str, script: &str, files: &Maker) -> String {
    let words: Vec<String> = driver.command.iter().map(|word| word.replace("VALUE", value)).collect();
    let mut command = Command::new("timeout");
    command.arg("60").args(&words);
    if driver.name == "JDBC" {
        std::fs::write(files.path("Idle.java"), script).unwrap();
        command.arg(files.path("Idle.java"));
    } else {
        command.arg(script);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
    if output.status.success() { text(&output.stdout) } else { text(&output.stderr) }
}
