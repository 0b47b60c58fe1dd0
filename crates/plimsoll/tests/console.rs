//! The console: columns and types of every SHOW, and the commands that act.

#![allow(clippy::unwrap_used)]

mod common;

use std::thread;

use common::{SOON, backend, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Plimsoll, Postgres, ServerError, Table, eventually_ok, tags};

const INT4: u32 = 23;
const TEXT: u32 = 25;
const NUMERIC: u32 = 1700;

const CLIENTS: &str = "type:25,user:25,database:25,replication:25,state:25,addr:25,port:23,local_addr:25,\
    local_port:23,connect_time:25,request_time:25,wait:23,wait_us:23,close_needed:23,ptr:25,link:25,remote_pid:23,\
    tls:25,application_name:25,prepared_statements:23,id:23";
const POOLS: &str = "database:25,user:25,cl_active:23,cl_waiting:23,cl_active_cancel_req:23,\
    cl_waiting_cancel_req:23,sv_active:23,sv_active_cancel:23,sv_being_canceled:23,sv_idle:23,sv_used:23,\
    sv_tested:23,sv_login:23,maxwait:23,maxwait_us:23,pool_mode:25,load_balance_hosts:25";
const DATABASES: &str = "name:25,host:25,port:23,database:25,force_user:25,pool_size:23,min_pool_size:23,\
    reserve_pool_size:23,server_lifetime:23,pool_mode:25,load_balance_hosts:25,max_connections:23,\
    current_connections:23,max_client_connections:23,current_client_connections:23,paused:23,disabled:23";
const CONFIG: &str = "key:25,value:25,default:25,changeable:25";
const LISTS: &str = "list:25,items:23";
const STATS: [&str; 24] = [
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_received",
    "total_sent",
    "total_xact_time",
    "total_query_time",
    "total_wait_time",
    "total_client_parse_count",
    "total_server_parse_count",
    "total_bind_count",
    "total_client_login_count",
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_recv",
    "avg_sent",
    "avg_xact_time",
    "avg_query_time",
    "avg_wait_time",
    "avg_client_parse_count",
    "avg_server_parse_count",
    "avg_bind_count",
    "avg_client_login_count",
];

fn columns(text: &str) -> Vec<(String, u32)> {
    let column = |part: &str| {
        let (name, oid) = part.split_once(':').unwrap();
        (String::from(name), oid.parse().unwrap())
    };
    text.split(',').map(column).collect()
}

fn stats_columns() -> Vec<(String, u32)> {
    let numbers = STATS.iter().map(|name| (String::from(*name), NUMERIC));
    [(String::from("database"), TEXT)].into_iter().chain(numbers).collect()
}

fn every_show() -> Vec<(&'static str, Vec<(String, u32)>)> {
    vec![
        ("VERSION", columns("version:25")),
        ("CLIENTS", columns(CLIENTS)),
        ("SERVERS", columns(CLIENTS)),
        ("POOLS", columns(POOLS)),
        ("DATABASES", columns(DATABASES)),
        ("STATS", stats_columns()),
        ("LISTS", columns(LISTS)),
        ("CONFIG", columns(CONFIG)),
    ]
}

#[test]
fn columns_are_the_references_and_ours_come_after() {
    for compat in ["pgbouncer", "plimsoll"] {
        let (_postgres, plimsoll) = house(|ini| ini.own("compat", compat));
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        let mut console = plimsoll.console();
        for (what, wanted) in every_show() {
            let table = console.query(&format!("SHOW {what}"));
            assert_eq!(
                table.columns[..wanted.len().min(table.columns.len())],
                wanted,
                "{compat}: SHOW {what}"
            );
            if compat == "pgbouncer" {
                assert_eq!(table.columns.len(), wanted.len(), "SHOW {what}");
            }
            assert_eq!(table.command, "SHOW", "SHOW {what}");
            assert!(!table.rows.is_empty(), "SHOW {what}");
            assert!(table.rows.iter().all(|row| row.len() == table.columns.len()), "SHOW {what}");
            numbers_are_numbers(what, &table);
        }
        let version = console.value("SHOW VERSION");
        let name = if compat == "pgbouncer" { "PgBouncer 1." } else { "Plimsoll " };
        assert!(version.to_lowercase().starts_with(&name.to_lowercase()), "{version}");
    }
}

fn numbers_are_numbers(what: &str, table: &Table) {
    for row in &table.rows {
        for ((name, oid), value) in table.columns.iter().zip(row) {
            let is_number = value.as_ref().is_none_or(|value| value.parse::<i64>().is_ok());
            assert!(is_number || ![INT4, NUMERIC].contains(oid), "SHOW {what}: {name} is {value:?}");
        }
    }
}

#[test]
fn the_welcome_is_a_servers() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let console = plimsoll.console();
    let values = [
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
    ];
    for (name, value) in values {
        assert_eq!(console.parameter(name), value, "{name}");
    }
    assert!(console.parameter("server_version").contains('/'), "{}", console.parameter("server_version"));
}

#[test]
fn clients_and_servers_are_shown_as_they_are() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut holder = plimsoll.login("app", "p0").parameter("application_name", "holder").client();
    let mut waiter = plimsoll.client("app", "p0");
    let idle = plimsoll.client("other", "p1");
    holder.query("BEGIN");
    let held = backend(&mut holder);
    waiter.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1), ("sv_active", 1)]);
    let mut console = plimsoll.console();
    let clients = console.query("SHOW CLIENTS");
    let row = |port: u16| clients.find(&[("port", &port.to_string())]).expect("it is connected");
    let holder_row = row(holder.port());
    assert_eq!(clients.cell(holder_row, "type"), "C");
    assert_eq!(clients.cell(holder_row, "user"), "app");
    assert_eq!(clients.cell(holder_row, "database"), "p0");
    assert_eq!(clients.cell(holder_row, "state"), "active");
    assert_eq!(clients.cell(holder_row, "addr"), "127.0.0.1");
    assert_eq!(clients.number(holder_row, "local_port"), u64::from(plimsoll.port()));
    assert_eq!(clients.cell(holder_row, "application_name"), "holder");
    assert_eq!(clients.cell(row(waiter.port()), "state"), "waiting");
    assert_eq!(clients.cell(row(idle.port()), "state"), "idle");
    assert_eq!(clients.cell(row(console.port()), "database"), "pgbouncer");
    let mut named = plimsoll
        .login("admin", "pgbouncer")
        .password("admin-secret")
        .parameter("application_name", "watch")
        .client();
    assert_eq!(named.query("SHOW CLIENTS").count(&[("application_name", "watch")]), 1);
    let servers = console.query("SHOW SERVERS");
    let row = servers.find(&[("remote_pid", &held.to_string())]).expect("its server");
    assert_eq!((servers.cell(row, "type"), servers.cell(row, "state")), ("S", "active"));
    assert_eq!(servers.number(row, "port"), u64::from(postgres.port()));
    // Each names the other.
    assert_eq!(servers.cell(row, "link"), clients.cell(holder_row, "ptr"));
    assert_eq!(clients.cell(holder_row, "link"), servers.cell(row, "ptr"));
    holder.query("COMMIT");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
}

#[test]
fn databases_lists_and_config_say_what_the_file_says() {
    let (postgres, plimsoll) = house(|ini| {
        let port = ini.text().split("port=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        ini.database(
            "special",
            &format!("host=127.0.0.1 port={port} dbname=p1 user=other pool_size=7 pool_mode=session"),
        )
        .set("default_pool_size", "5")
        .set("server_lifetime", "1234")
    });
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let databases = plimsoll.show("DATABASES");
    let row = databases.find(&[("name", "special")]).unwrap();
    assert_eq!(databases.cell(row, "host"), "127.0.0.1");
    assert_eq!(databases.number(row, "port"), u64::from(postgres.port()));
    assert_eq!(databases.cell(row, "database"), "p1");
    assert_eq!(databases.cell(row, "force_user"), "other");
    assert_eq!(databases.number(row, "pool_size"), 7);
    assert_eq!(databases.cell(row, "pool_mode"), "session");
    let row = databases.find(&[("name", "p0")]).unwrap();
    assert_eq!(databases.number(row, "pool_size"), 5);
    assert_eq!(databases.number(row, "current_connections"), 1);
    assert_eq!(databases.number(row, "current_client_connections"), 1);
    assert_eq!((databases.number(row, "paused"), databases.number(row, "disabled")), (0, 0));
    assert!(databases.find(&[("name", "pgbouncer")]).is_some());
    let config = plimsoll.show("CONFIG");
    let row = config.find(&[("key", "server_lifetime")]).unwrap();
    assert_eq!(config.cell(row, "value"), "1234");
    assert_eq!((config.cell(row, "default"), config.cell(row, "changeable")), ("3600", "yes"));
    let row = config.find(&[("key", "listen_port")]).unwrap();
    assert_eq!((config.number(row, "value"), config.cell(row, "changeable")), (plimsoll.port().into(), "no"));
    let lists = plimsoll.show("LISTS");
    let names: Vec<&str> = (0..lists.rows.len()).map(|row| lists.cell(row, "list")).collect();
    let wanted = "databases users peers pools peer_pools free_clients used_clients login_clients free_servers \
                  used_servers dns_names dns_zones dns_queries dns_pending";
    assert_eq!(names, wanted.split(' ').collect::<Vec<_>>());
    let count = |what: &str| lists.number(lists.find(&[("list", what)]).unwrap(), "items");
    assert_eq!(count("databases"), 5);
    // Idle ones are counted, too: what is free there is a spare place of PgBouncer's cache.
    let servers = plimsoll.show("SERVERS").rows.len() as u64;
    assert_eq!((count("used_servers"), count("free_servers")), (servers, 0));
    assert!(servers > 0);
}

#[test]
fn stats_count() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    for _ in 0..3 {
        client.query("SELECT 1");
    }
    client.query("BEGIN");
    client.query("SELECT 2");
    client.query("COMMIT");
    client.value_extended("SELECT 3", &[]);
    let stats = plimsoll.show("STATS");
    let row = stats.find(&[("database", "p0")]).unwrap();
    assert_eq!(stats.number(row, "total_query_count"), 7);
    assert_eq!(stats.number(row, "total_xact_count"), 5);
    assert_eq!(stats.number(row, "total_server_assignment_count"), 5);
    assert_eq!(stats.number(row, "total_client_login_count"), 1);
    assert!(stats.number(row, "total_received") > 50);
    assert!(stats.number(row, "total_sent") > 50);
    assert!(stats.find(&[("database", "pgbouncer")]).is_some());
}

fn paused(postgres: &Postgres, plimsoll: &Plimsoll, database: &str) -> Client {
    let mut client = plimsoll.client("app", database);
    postgres.wait_for_sessions(&format!("datname = '{database}'"), 0);
    client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    wait_for_pool(plimsoll, database, &[("cl_waiting", 1), ("sv_active", 0)]);
    client
}

#[test]
fn pause_and_resume() {
    let (postgres, plimsoll) = house(|ini| ini);
    plimsoll.still_works(&["p0", "p1"]);
    let mut console = plimsoll.console();
    assert_eq!(console.query("PAUSE p0").command, "PAUSE");
    plimsoll.wait_for_log("closing because: pause mode", SOON);
    let mut waiting = paused(&postgres, &plimsoll, "p0");
    plimsoll.still_works(&["p1"]);
    let databases = console.query("SHOW DATABASES");
    assert_eq!(databases.number(databases.find(&[("name", "p0")]).unwrap(), "paused"), 1);
    assert_eq!(console.query("RESUME p0").command, "RESUME");
    assert_eq!(tags(&waiting.cycle().unwrap()), "TDCZ");
    assert_eq!(console.fail("RESUME p0").message, "database p0 is not paused");

    assert_eq!(console.query("PAUSE").command, "PAUSE");
    let mut waiting = [paused(&postgres, &plimsoll, "p0"), paused(&postgres, &plimsoll, "p1")];
    assert_eq!(console.fail("PAUSE").message, "already suspended/paused");
    console.query("RESUME;");
    for client in &mut waiting {
        assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    }
    assert_eq!(console.fail("RESUME").message, "pooler is not paused/suspended");
    plimsoll.still_works(&["p0", "p1", "p2"]);
}

#[test]
fn pause_waits_for_transactions() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.send(Batch::new().query("PAUSE").bytes()).unwrap();
    let mut second = plimsoll.console();
    eventually_ok("the pause to begin", SOON, || {
        match second.query("SHOW DATABASES").count(&[("name", "p0"), ("paused", "1")]) {
            1 => Ok(()),
            _ => match second.query("SHOW STATE").find(&[("key", "paused"), ("value", "yes")]) {
                Some(_) => Ok(()),
                None => Err(String::from("not paused")),
            },
        }
    });
    assert!(!console.hears_within(std::time::Duration::from_millis(100)), "PAUSE answered too early");
    assert_eq!(client.value("SELECT 1"), "1");
    client.query("COMMIT");
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    second.query("RESUME");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn kill_drops_and_leaves_paused() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut idle = plimsoll.client("app", "p0");
    let mut busy = plimsoll.client("app", "p0");
    let mut other = plimsoll.client("app", "p1");
    idle.query("SELECT 1");
    busy.query("BEGIN");
    other.query("SELECT 1");
    let mut console = plimsoll.console();
    assert_eq!(console.query("KILL p0").command, "KILL");
    for client in [&mut idle, &mut busy] {
        let last = client.expect_closed();
        assert!(last.is_none_or(|error| error.message == "database removed"));
    }
    postgres.wait_for_sessions("datname = 'p0'", 0);
    assert_eq!(other.value("SELECT 1"), "1");
    // A new one waits in its login or with its first query: what the welcome says may not be known any more.
    let login = plimsoll.login("app", "p0");
    let waiting = thread::spawn(move || login.client().value("SELECT 'resumed'"));
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1), ("sv_active", 0), ("sv_login", 0)]);
    console.query("RESUME p0");
    assert_eq!(waiting.join().unwrap(), "resumed");
}

#[test]
fn reload_answers_and_works() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    assert_eq!(console.query("RELOAD").command, "RELOAD");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn commands_are_read_in_any_case() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for text in ["show version", "SHOW VERSION;", "  ShOw   vErSiOn ;", "SHOW\tVERSION\n", "select version"] {
        assert_eq!(console.query(text).rows.len(), 1, "{text:?}");
    }
    for database in ["p0", "\"p0\""] {
        console.query(&format!("PAUSE {database}"));
        console.query(&format!("resume {database}"));
    }
}

#[test]
fn mistakes_are_told_and_the_console_goes_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let cases = [
        ("WHAT", "invalid command 'WHAT', use SHOW HELP;"),
        ("SHOW WHAT", "bad arguments"),
        ("PAUSE nowhere", "no such database: nowhere"),
        ("RESUME nowhere", "no such database: nowhere"),
        ("KILL nowhere", "no such database: nowhere"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
    ];
    for (text, words) in cases {
        let answer = console.run(&Batch::new().query(text));
        assert_eq!(tags(&answer), "EZ", "{text}");
        let error = ServerError::of(&answer[0]);
        assert_eq!(error.severity, "ERROR", "{text}");
        if text == "SHOW WHAT" {
            let known = [words, "invalid command 'SHOW WHAT', use SHOW HELP;"];
            assert!(known.contains(&error.message.as_str()), "{error}");
        } else {
            assert_eq!(error.message, words, "{text}");
        }
    }
    assert_eq!(console.query("SHOW VERSION").rows.len(), 1);
}

#[test]
fn help_is_a_notice() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let answer = console.run(&Batch::new().query("SHOW HELP"));
    assert_eq!(tags(&answer), "NCZ");
    let notice = console.take_notices().remove(0);
    let seen = (notice.severity.as_str(), notice.sqlstate.as_str(), notice.message.as_str());
    assert_eq!(seen, ("NOTICE", "00000", "Console usage"));
    assert!(notice.detail.is_some_and(|detail| detail.contains("SHOW") && detail.contains("RELOAD")));
}

#[test]
fn drivers_that_know_only_the_extended_protocol_are_answered() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    let batch =
        Batch::new().parse("", "SHOW VERSION").bind("", "", &[]).describe_portal("").execute("", 0).sync();
    let answer = console.run(&batch);
    assert_eq!(tags(&answer), "12TDCZ");
    assert_eq!(answer[2].fields(), columns("version:25"));
    assert_eq!(console.query("SHOW VERSION").rows.len(), 1);
}

#[test]
fn as_pgbouncer_only_simple_queries_are_taken() {
    let (_postgres, plimsoll) = house(|ini| ini.own("compat", "pgbouncer"));
    let mut console = plimsoll.console();
    let batch = Batch::new().parse("", "SHOW VERSION").bind("", "", &[]).execute("", 0).sync();
    console.send(batch.bytes()).unwrap();
    let first = console.read().unwrap();
    assert_eq!(first.tag, b'E');
    assert_eq!(ServerError::of(&first).message, "extended query protocol not supported by admin console");
    console.expect_closed();
    assert_eq!(plimsoll.show("VERSION").rows.len(), 1);
}

#[test]
fn the_console_answers_while_all_servers_are_busy() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").own("workers", "1"));
    let mut holder = plimsoll.client("app", "p0");
    holder.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep(600)%'", 1);
    let mut waiters: Vec<Client> = (0..10).map(|_| plimsoll.client("app", "p0")).collect();
    for waiter in &mut waiters {
        waiter.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    }
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 10), ("sv_active", 1)]);
    holder.cancel_key().cancel().unwrap();
    for waiter in &mut waiters {
        assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
    }
}
