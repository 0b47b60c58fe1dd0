//! What the lesser known SHOWs show: sockets, memory, names, peers; and all the console refuses, word by word.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{SOON, house, pooler, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Postgres, Table, TempDir, eventually, eventually_ok, tags};

const CLIENTS: &str = "type:25,user:25,database:25,replication:25,state:25,addr:25,port:23,local_addr:25,\
    local_port:23,connect_time:25,request_time:25,wait:23,wait_us:23,close_needed:23,ptr:25,link:25,remote_pid:23,\
    tls:25,application_name:25,prepared_statements:23,id:23";
const BUFFERS: &str =
    "recv_pos:23,pkt_pos:23,pkt_remain:23,send_pos:23,send_remain:23,pkt_avail:23,send_avail:23";
const FDS: &str = "fd:23,task:25,user:25,database:25,addr:25,port:23,cancel:20,link:23,client_encoding:25,\
    std_strings:25,datestyle:25,timezone:25,password:25,scram_client_key:17,scram_server_key:17";

/// Ours, behind PgBouncer's and not in its shape.
const LIFE: &str = ",life:25,retransmits:23,probes:23,unacked_bytes:20,unacked_us:20,unsent_bytes:20,last_ack_us:20,\
    last_data_us:20,window_closed_us:20";

fn spelled(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|(name, oid)| format!("{name}:{oid}")).collect();
    columns.join(",")
}

#[test]
fn columns_and_types_are_pgbouncers() {
    let sockets = format!("{CLIENTS},{BUFFERS}");
    let shows = [
        ("SOCKETS", sockets.as_str()),
        ("ACTIVE_SOCKETS", &sockets),
        ("PEERS", "peer_id:23,host:25,port:23,pool_size:23"),
        (
            "PEER_POOLS",
            "peer_id:23,cl_active_cancel_req:23,cl_waiting_cancel_req:23,sv_active_cancel:23,sv_login:23",
        ),
        ("MEM", "name:25,size:23,used:23,free:23,memtotal:23"),
        ("DNS_HOSTS", "hostname:25,ttl:20,addrs:25"),
        ("DNS_ZONES", "zonename:25,serial:20,count:23"),
        ("FDS", FDS),
        ("STATE", "key:25,value:25"),
    ];
    for compat in ["pgbouncer", "plimsoll"] {
        let (_postgres, plimsoll) = house(|ini| ini.own("compat", compat));
        let mut console = plimsoll.console();
        for (what, columns) in shows {
            let own = if compat == "plimsoll" && what.ends_with("SOCKETS") { LIFE } else { "" };
            let columns = format!("{columns}{own}");
            let table = console.query(&format!("SHOW {what}"));
            assert_eq!(spelled(&table), columns, "SHOW {what}");
            assert_eq!(table.command, "SHOW", "SHOW {what}");
            let synonym = console.query(&format!("select {};", what.to_lowercase()));
            assert_eq!(spelled(&synonym), columns, "SELECT {what}");
        }
    }
}

#[test]
fn only_administrators_see_descriptors() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut watcher = plimsoll.login("stats", "pgbouncer").password("stats-secret").client();
    assert_eq!(watcher.fail("SHOW FDS").message, "admin access needed");
    assert!(!watcher.query("SHOW SOCKETS").rows.is_empty());
}

#[test]
fn sockets_are_shown_by_what_they_do() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut holder = plimsoll.client("app", "p0");
    let mut waiter = plimsoll.client("app", "p0");
    let mut other = plimsoll.client("app", "p1");
    other.query("SELECT 1");
    holder.query("BEGIN");
    waiter.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_active", 1), ("cl_waiting", 1)]);
    let mut console = plimsoll.console();
    let sockets = console.query("SHOW SOCKETS");
    for (client, state) in [(&holder, "cl_active"), (&waiter, "cl_waiting"), (&console, "cl_active")] {
        let row = sockets.find(&[("port", &client.port().to_string())]).expect("its socket");
        assert_eq!((sockets.cell(row, "type"), sockets.cell(row, "state")), ("C", state));
    }
    assert_eq!(sockets.count(&[("type", "S"), ("database", "p0"), ("state", "sv_active")]), 1);
    assert_eq!(sockets.count(&[("type", "S"), ("database", "p1"), ("state", "sv_idle")]), 1);
    let active = console.query("SHOW ACTIVE_SOCKETS");
    let seen = |client: &Client| active.count(&[("port", &client.port().to_string())]);
    assert_eq!((seen(&waiter), seen(&console), seen(&holder), seen(&other)), (1, 1, 0, 0));
    holder.query("COMMIT");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
}

#[test]
fn a_client_that_does_not_read_has_bytes_in_its_buffer() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT repeat('x', 64000000)").bytes()).unwrap();
    let port = client.port().to_string();
    let mut console = plimsoll.console();
    eventually_ok("unread bytes", SOON, || {
        let active = console.query("SHOW ACTIVE_SOCKETS");
        let row = active.find(&[("port", &port)]).ok_or("not active")?;
        if active.number(row, "send_avail") > 0 { Ok(()) } else { Err(String::from("nothing unread")) }
    });
    client.reset();
}

#[test]
fn memory_is_counted_by_what_there_is() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut clients: Vec<Client> = (0..3).map(|_| plimsoll.client("app", "p0")).collect();
    clients[0].query("SELECT 1");
    let memory = plimsoll.show("MEM");
    let names = ["user_cache", "db_cache", "pool_cache", "server_cache", "client_cache", "iobuf_cache"];
    let shown: Vec<&str> = (0..memory.rows.len()).map(|row| memory.cell(row, "name")).collect();
    assert_eq!(shown, names);
    for (name, used) in [("db_cache", 4), ("pool_cache", 2), ("server_cache", 1), ("client_cache", 4)] {
        let row = memory.find(&[("name", name)]).unwrap();
        let number = |column| memory.number(row, column);
        assert_eq!(number("used"), used, "{name}");
        assert!(number("size") > 0);
        assert_eq!(number("memtotal"), number("size") * (used + number("free")), "{name}");
    }
}

#[test]
fn names_of_servers_are_shown_with_their_addresses() {
    let postgres = Postgres::start();
    let named = format!("host=localhost port={} dbname=p0", postgres.port());
    let ini = Ini::new(&postgres).set("dns_max_ttl", "600");
    let plimsoll = pooler(ini.clone().database("named", &named));
    assert_eq!(plimsoll.client("app", "named").value("SELECT 1"), "1");
    let hosts = plimsoll.show("DNS_HOSTS");
    let row = hosts.find(&[("hostname", "localhost")]).expect("the name");
    assert!(hosts.cell(row, "addrs").contains("127.0.0.1:0"), "{}", hosts.cell(row, "addrs"));
    assert!((500..=600).contains(&hosts.number(row, "ttl")), "{}", hosts.number(row, "ttl"));
    let count = |what: &str| {
        let lists = plimsoll.show("LISTS");
        lists.number(lists.find(&[("list", what)]).unwrap(), "items")
    };
    assert_eq!((count("dns_names"), count("dns_pending"), count("dns_zones")), (1, 0, 0));
    plimsoll.reload(&ini);
    eventually_ok("the name to be forgotten", SOON, || match count("dns_names") {
        0 => Ok(()),
        some => Err(some.to_string()),
    });
    assert!(plimsoll.show("DNS_HOSTS").rows.is_empty());
}

/// A database may have thousands of names to choose from, and each answer may be another: only a new connection asks.
#[test]
fn a_name_is_looked_up_when_somebody_connects_to_it() {
    let postgres = Postgres::start();
    let named = format!("host=localhost port={} dbname=p0", postgres.port());
    let ini = Ini::new(&postgres).set("dns_max_ttl", "4");
    let plimsoll = pooler(ini.database("named", &named));
    let ttl = || {
        let hosts = plimsoll.show("DNS_HOSTS");
        hosts.number(hosts.find(&[("hostname", "localhost")]).expect("the name"), "ttl")
    };
    let mut first = plimsoll.client("app", "named");
    first.query("BEGIN");
    eventually("what is known to be out of date", SOON, || ttl() == 0);
    for _ in 0..20 {
        assert_eq!(first.value("SELECT 1 FROM pg_sleep(0.1)"), "1");
        assert_eq!(ttl(), 0, "it was looked up though nobody connects");
    }
    let mut second = plimsoll.client("app", "named");
    second.query("BEGIN");
    assert!(ttl() > 0, "a new connection has not asked again");
}

#[test]
fn a_name_without_an_address_is_asked_for_only_while_somebody_waits() {
    let temp = TempDir::new("names");
    // Nobody answers there.
    let resolv_conf = temp.path().join("resolv.conf");
    std::fs::write(&resolv_conf, "nameserver 127.0.0.99\n").unwrap();
    let ini = Ini::empty().login("app", "app-secret").set("dns_nxdomain_ttl", "0");
    let ini = ini.set("resolv_conf", &resolv_conf.display().to_string());
    let plimsoll =
        pooler(ini.database("unused", "host=unused.invalid").database("used", "host=used.invalid"));
    let login = plimsoll.login("app", "used");
    let waiting = std::thread::spawn(move || login.try_client().map(drop));
    let failed = |name: &str| plimsoll.log().matches(&format!("DNS lookup failed: {name}")).count();
    eventually("a name to be looked up for somebody who waits", SOON, || failed("used.invalid") >= 4);
    assert_eq!(failed("unused.invalid"), 1);
    plimsoll.wait_for_log("used/app@used.invalid closing because: server DNS lookup failed (age=0s)", SOON);
    assert!(!plimsoll.log().contains("unused.invalid closing because"));
    drop(plimsoll);
    assert!(waiting.join().unwrap().is_err());
}

#[test]
fn refusals_are_pgbouncers_word_by_word() {
    let (_postgres, plimsoll) = house(|ini| ini.own("compat", "pgbouncer"));
    let mut console = plimsoll.console();
    let long = "x".repeat(70);
    let bad_show = format!("SHOW {long}");
    let bad_pause = format!("PAUSE {long}");
    let cases = [
        ("PAUSE nowhere", "no such database: nowhere"),
        ("RESUME nowhere", "no such database: nowhere"),
        ("RECONNECT nowhere", "no such database: nowhere"),
        ("ENABLE nowhere", "no such database: nowhere"),
        ("DISABLE nowhere", "no such database: nowhere"),
        ("KILL nowhere", "no such database: nowhere"),
        ("WAIT_CLOSE nowhere", "no such database: nowhere"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
        ("ENABLE pgbouncer", "cannot enable admin db: pgbouncer"),
        ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
        ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer"),
        ("RESUME pgbouncer", "database pgbouncer is not paused"),
        ("RESUME p0", "database p0 is not paused"),
        ("RESUME", "pooler is not paused/suspended"),
        ("DISABLE", "a database is required"),
        ("ENABLE", "a database is required"),
        ("KILL_CLIENT", "invalid client pointer supplied"),
        ("KILL_CLIENT me", "invalid client pointer supplied"),
        ("KILL_CLIENT 999999", "client not found"),
        ("SHUTDOWN NOW", "invalid command 'SHUTDOWN NOW', use SHOW HELP;"),
        ("RELOAD all", "invalid command 'RELOAD all', use SHOW HELP;"),
        ("SHOW", "invalid command 'SHOW', use SHOW HELP;"),
        ("SELECT 1", "invalid command 'SELECT 1', use SHOW HELP;"),
        ("SHOW VERSION; SHOW VERSION", "invalid command 'SHOW VERSION; SHOW VERSION', use SHOW HELP;"),
        ("PAUSE 'p0'", "invalid command 'PAUSE 'p0'', use SHOW HELP;"),
        ("", "invalid command '', use SHOW HELP;"),
        (bad_show.as_str(), "bad arguments"),
        (bad_pause.as_str(), "bad arguments"),
    ];
    for (text, words) in cases {
        let error = console.fail(text);
        let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
        assert_eq!(seen, ("ERROR", "08P01", words), "{text}");
        assert_eq!((error.detail, error.hint), (None, None), "{text}");
    }
    let mut watcher = plimsoll.login("stats", "pgbouncer").password("stats-secret").client();
    for command in
        ["PAUSE", "RESUME", "SUSPEND", "RECONNECT", "WAIT_CLOSE", "KILL", "KILL_CLIENT 1", "RELOAD"]
    {
        assert_eq!(watcher.fail(command).message, "admin access needed", "{command}");
    }
    for command in ["DISABLE p0", "ENABLE p0", "SHUTDOWN", "SET query_timeout = 1"] {
        assert_eq!(watcher.fail(command).message, "admin access needed", "{command}");
    }
}

#[test]
fn a_disabled_database_is_closed_to_newcomers_only() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut inside = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    assert_eq!(console.query("DISABLE \"p0\"").command, "DISABLE");
    assert_eq!(plimsoll.login("app", "p0").refusal().message, "database \"p0\" is disabled");
    assert_eq!(inside.value("SELECT 1"), "1");
    let databases = console.query("SHOW DATABASES");
    assert_eq!(databases.number(databases.find(&[("name", "p0")]).unwrap(), "disabled"), 1);
    assert_eq!(console.query("enable p0;").command, "ENABLE");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn clients_are_killed_by_number_and_by_pointer() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for column in ["id", "ptr"] {
        let mut idle = plimsoll.client("app", "p0");
        let mut busy = plimsoll.client("app", "p0");
        busy.query("BEGIN");
        for client in [&mut idle, &mut busy] {
            let clients = console.query("SHOW CLIENTS");
            let row = clients.find(&[("port", &client.port().to_string())]).unwrap();
            let command = format!("KILL_CLIENT {}", clients.cell(row, column));
            assert_eq!(console.query(&command).command, "KILL_CLIENT");
            let error = client.expect_closed().expect("last words");
            assert_eq!(
                (error.severity.as_str(), error.message.as_str()),
                ("FATAL", "admin forced disconnect")
            );
        }
    }
    plimsoll.wait_for_log("closing because: admin forced disconnect", SOON);
    assert!(!console.hears_within(Duration::from_millis(50)), "the console goes on");
}
