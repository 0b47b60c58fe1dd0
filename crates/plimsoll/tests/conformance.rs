//! The contract of a drop-in, row by row, in tests that real PgBouncer passes too:
//! `./dev test conformance --against pgbouncer` runs them with Debian's, so that it is the tests that are proven right.
//! What Debian's version (1.18) does not have yet is left out there, by name: see [`MODERN`].

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::Duration;

use common::{BINARY, SOON};
use plimsoll_testkit::{
    Batch, Client, Ini, Packet, Plimsoll, Postgres, PostgresOptions, ServerAuth, ServerError, StopMode,
    Table, eventually_ok, tags,
};

/// Tests of what came after PgBouncer 1.18. `./dev test conformance --against pgbouncer` leaves them out.
#[allow(dead_code, reason = "read by dev.d/test.sh")]
const MODERN: &str = "modern_";

/// Whether the program under test is another than ours.
fn against_others() -> bool {
    std::env::var_os("PLIMSOLL_TEST_BINARY").is_some()
}

/// Our own program in PgBouncer's shape; PgBouncer as it is.
fn house(change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    house_with(PostgresOptions::default(), change)
}

fn house_with(options: PostgresOptions, change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let postgres = Postgres::start_with(options);
    let plimsoll = start(change(Ini::new(&postgres)));
    (postgres, plimsoll)
}

fn start(ini: Ini) -> Plimsoll {
    let ini = if against_others() { ini } else { ini.own("compat", "pgbouncer") };
    Plimsoll::start(BINARY, &ini)
}

/// All errors of a pooler have three fields, and one SQLSTATE.
#[track_caller]
fn says(error: &ServerError, severity: &str, message: &str) {
    let seen = (error.severity.as_str(), error.sqlstate.as_str(), error.message.as_str());
    assert_eq!(seen, (severity, "08P01", message));
    assert_eq!((&error.detail, &error.hint), (&None, &None), "{message}");
}

#[track_caller]
fn fatal(error: &ServerError, message: &str) {
    says(error, "FATAL", message);
}

fn value(table: &Table, key: &str) -> String {
    let row = table.find(&[("key", key)]).unwrap_or_else(|| panic!("no key {key}"));
    table.cell(row, "value").to_string()
}

#[test]
fn logins_are_refused_in_its_words() {
    for (auth_type, wrong, unknown) in [
        ("trust", None, "\"trust\" authentication failed"),
        ("plain", Some("password authentication failed"), "password authentication failed"),
        ("md5", Some("password authentication failed"), "password authentication failed"),
        ("scram-sha-256", Some("SASL authentication failed"), "SASL authentication failed"),
    ] {
        let (_postgres, plimsoll) = house(|ini| ini.set("auth_type", auth_type));
        if let Some(wrong) = wrong {
            fatal(&plimsoll.login("app", "p0").password("wrong").refusal(), wrong);
        }
        fatal(&plimsoll.login("nobody", "p0").password("x").refusal(), unknown);
        let good = plimsoll.login("app", "nowhere").password("app-secret").refusal();
        fatal(&good, "no such database: nowhere");
        let mut client = plimsoll.login("app", "p0").password("app-secret").client();
        assert_eq!(client.value("SELECT current_user"), "app", "{auth_type}");
    }
}

#[test]
fn startup_packets_are_refused_in_its_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let login = plimsoll.login("app", "p0");
    let cases = [
        (login.parameter("wal_level", "full"), "unsupported startup parameter: wal_level"),
        (plimsoll.login("", "p0"), "no username supplied"),
    ];
    for (login, message) in cases {
        fatal(&login.refusal(), message);
    }
    let mut client = plimsoll.login("app", "p0").knock().unwrap();
    client.send(&Packet::untyped(131_072).text("user").bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "old V2 protocol not supported");
    let mut client = plimsoll.login("app", "p0").client();
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn tracked_parameters_follow_the_client() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let login = |zone: &str| plimsoll.login("app", "p0").parameter("TimeZone", zone);
    let mut tokyo = login("Asia/Tokyo").parameter("application_name", "one").client();
    let mut paris = login("Europe/Paris").parameter("datestyle", "SQL, DMY").client();
    for _ in 0..3 {
        assert_eq!(tokyo.value("SHOW TimeZone"), "Asia/Tokyo");
        assert_eq!(paris.value("SHOW TimeZone"), "Europe/Paris");
        assert_eq!(tokyo.value("SHOW application_name"), "one");
        assert_eq!(paris.value("SHOW DateStyle"), "SQL, DMY");
    }
    tokyo.query("SET TimeZone = 'UTC'");
    assert_eq!(paris.value("SHOW TimeZone"), "Europe/Paris");
    assert_eq!(tokyo.value("SHOW TimeZone"), "UTC");
}

#[test]
fn the_console_refuses_in_its_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for (command, message) in [
        ("nonsense", "invalid command 'nonsense', use SHOW HELP;"),
        ("PAUSE nowhere", "no such database: nowhere"),
        ("KILL nowhere", "no such database: nowhere"),
        ("RECONNECT nowhere", "no such database: nowhere"),
        ("WAIT_CLOSE nowhere", "no such database: nowhere"),
        ("ENABLE nowhere", "no such database: nowhere"),
        ("DISABLE nowhere", "no such database: nowhere"),
        ("RESUME", "pooler is not paused/suspended"),
        ("RESUME p0", "database p0 is not paused"),
        ("DISABLE", "a database is required"),
        ("ENABLE", "a database is required"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
        ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
        ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer"),
        ("SET nope = 1", "SET failed"),
    ] {
        says(&console.fail(command), "ERROR", message);
    }
    assert_eq!(console.query("SHOW VERSION").rows.len(), 1);
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    assert_eq!(stats.query("SHOW LISTS").cell(0, "list"), "databases");
    for command in ["RELOAD", "PAUSE", "KILL p0", "SET verbose = 1", "SHUTDOWN"] {
        says(&stats.fail(command), "ERROR", "admin access needed");
    }
    fatal(&plimsoll.login("app", "pgbouncer").refusal(), "not allowed");
}

#[test]
fn commands_are_answered_with_their_words() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    for (command, tag) in [
        ("show version;", "SHOW"),
        ("Show Pools", "SHOW"),
        ("SET verbose = 1", "SET verbose=1"),
        ("set default_pool_size to 7", "SET default_pool_size=7"),
        ("SET server_lifetime = '99'", "SET server_lifetime=99"),
        ("PAUSE", "PAUSE"),
        ("RESUME", "RESUME"),
        ("PAUSE p0", "PAUSE"),
        ("RESUME p0", "RESUME"),
        ("DISABLE p1", "DISABLE"),
        ("ENABLE p1", "ENABLE"),
        ("RECONNECT", "RECONNECT"),
        ("WAIT_CLOSE", "WAIT_CLOSE"),
        ("SUSPEND", "SUSPEND"),
        ("RESUME", "RESUME"),
        ("KILL p1", "KILL"),
        ("RESUME p1", "RESUME"),
        ("RELOAD", "RELOAD"),
    ] {
        let messages = console.run(&Batch::new().query(command));
        let complete = messages.iter().find(|message| message.tag == b'C');
        let complete = complete.unwrap_or_else(|| panic!("{command}: {}", tags(&messages)));
        assert_eq!(String::from_utf8_lossy(&complete.body).trim_end_matches('\0'), tag, "{command}");
    }
}

#[test]
fn set_counts_until_reload() {
    let (_postgres, plimsoll) = house(|ini| ini.set("query_wait_timeout", "33"));
    let mut console = plimsoll.console();
    let cases = [
        ("query_wait_timeout", "44", "33"),
        ("server_lifetime", "12", "3600"),
        ("default_pool_size", "3", "20"),
        ("max_client_conn", "55", "100"),
    ];
    for (key, set, _) in cases {
        console.query(&format!("SET {key} = {set}"));
        assert_eq!(value(&console.query("SHOW CONFIG"), key), set);
    }
    console.query("RELOAD");
    for (key, _, after) in cases {
        assert_eq!(value(&console.query("SHOW CONFIG"), key), after, "{key}");
    }
    // What only a restart changes is heard and left.
    console.query("SET listen_port = 1");
    assert_eq!(value(&console.query("SHOW CONFIG"), "listen_port"), plimsoll.port().to_string());
}

#[test]
fn paused_queries_wait_and_resumed_they_go_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.send(Batch::new().query("PAUSE p0").bytes()).unwrap();
    assert!(!console.hears_within(Duration::from_millis(200)));
    client.query("COMMIT");
    assert_eq!(tags(&console.cycle().unwrap()), "CZ");
    client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    assert!(!client.hears_within(Duration::from_millis(200)));
    console.query("RESUME p0");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn suspended_queries_wait_and_resumed_they_go_on() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    console.query("SUSPEND");
    client.send(Batch::new().query("SELECT 'resumed'").bytes()).unwrap();
    assert!(!client.hears_within(Duration::from_millis(200)));
    console.query("RESUME");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn a_disabled_database_takes_no_new_clients() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut before = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    console.query("DISABLE p0");
    fatal(&plimsoll.login("app", "p0").refusal(), "database \"p0\" is disabled");
    assert_eq!(before.value("SELECT 1"), "1");
    console.query("ENABLE p0");
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
}

#[test]
fn killed_clients_go_and_the_database_stays_paused() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    console.query("KILL p0");
    if let Some(error) = client.expect_closed() {
        fatal(&error, "database removed");
    }
    let databases = console.query("SHOW DATABASES");
    let row = databases.find(&[("name", "p0")]).unwrap();
    assert_eq!(databases.cell(row, "paused"), "1");
    console.query("RESUME p0");
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
}

#[test]
fn timeouts_say_which_they_are() {
    for (key, message, wait) in [
        ("query_timeout", "query timeout", "SELECT pg_sleep(600)"),
        ("idle_transaction_timeout", "idle transaction timeout", "BEGIN"),
        ("client_idle_timeout", "client_idle_timeout", "SELECT 1"),
    ] {
        let (_postgres, plimsoll) = house(|ini| ini.set(key, "1"));
        let mut client = plimsoll.client("app", "p0");
        client.send(Batch::new().query(wait).bytes()).unwrap();
        fatal(&client.expect_closed().expect("a reason"), message);
        plimsoll.wait_for_log(&format!("pooler error: {message}"), SOON);
        plimsoll.wait_for_log(&format!("closing because: {message}"), SOON);
    }
}

#[test]
fn waiting_for_a_server_ends_at_query_wait_timeout() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1").set("query_wait_timeout", "1"));
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    fatal(&waiting.expect_closed().expect("a reason"), "query_wait_timeout");
    assert_eq!(holder.value("SELECT 1"), "1");
}

#[test]
fn statement_pooling_has_no_transactions() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "statement"));
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value("SELECT 1"), "1");
    client.send(Batch::new().query("BEGIN").bytes()).unwrap();
    let error = client.expect_closed().expect("a reason");
    fatal(&error, "transaction blocks not allowed in statement pooling mode");
}

#[test]
fn limits_of_clients_are_told() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_client_conn", "2"));
    let clients: Vec<Client> = (0..2).map(|_| plimsoll.client("app", "p0")).collect();
    fatal(&plimsoll.login("app", "p0").refusal(), "no more connections allowed (max_client_conn)");
    assert_eq!(plimsoll.show("VERSION").rows.len(), 1);
    drop(clients);
}

#[test]
fn servers_that_refuse_are_quoted() {
    let options = PostgresOptions { auth: ServerAuth::Scram, ..Default::default() };
    let (_postgres, plimsoll) = house_with(options, |ini| ini.login("app", "not-the-password"));
    let error = plimsoll.login("app", "p0").refusal();
    let seen = (error.severity.as_str(), error.message.as_str());
    assert_eq!(seen, ("FATAL", "password authentication failed for user \"app\""));
    assert_eq!(error.sqlstate, if against_others() { "08P01" } else { "28P01" });
    let (_postgres, plimsoll) = house(|ini| {
        let text = ini.text();
        let line = text.lines().find(|line| line.starts_with("p0 = ")).unwrap();
        let connection = line.split_once(" = ").unwrap().1.replace("dbname=p0", "dbname=nowhere");
        ini.database("gone", &connection)
    });
    let error = plimsoll.login("app", "gone").refusal();
    assert_eq!(error.message, "database \"nowhere\" does not exist");
}

#[test]
fn a_server_that_restarts_disturbs_no_idle_client() {
    let (mut postgres, plimsoll) =
        house(|ini| ini.set("server_login_retry", "1").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value("SELECT 1"), "1");
    postgres.restart(StopMode::Fast);
    assert_eq!(client.value("SELECT 2"), "2");
}

#[test]
fn cancel_requests_hit_what_they_are_meant_for() {
    let (postgres, plimsoll) = house(|ini| ini);
    let (mut one, mut other) = (plimsoll.client("app", "p0"), plimsoll.client("app", "p0"));
    one.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    other.send(Batch::new().query("SELECT 'spared' FROM pg_sleep(1)").bytes()).unwrap();
    postgres.wait_for_sessions("wait_event = 'PgSleep'", 2);
    one.cancel_key().cancel().unwrap();
    assert_eq!(tags(&one.cycle().unwrap()), "TEZ");
    assert_eq!(tags(&other.cycle().unwrap()), "TDCZ");
    assert_eq!(one.value("SELECT 1"), "1");
}

#[test]
fn a_client_that_leaves_in_the_middle_takes_its_server_along() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let pid: u32 = client.value("SELECT pg_backend_pid()").parse().unwrap();
    drop(client);
    postgres.wait_backend_gone(pid);
    plimsoll.wait_for_log("client disconnect while server was not ready", SOON);
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
}

#[test]
fn session_pooling_resets_what_a_session_leaves() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let pid = client.value("SELECT pg_backend_pid()");
    client.query("CREATE TEMP TABLE mine (x int)");
    client.query("SET work_mem = '77MB'");
    client.leave();
    let mut next = plimsoll.client("app", "p0");
    assert_eq!(next.value("SELECT pg_backend_pid()"), pid);
    assert_ne!(next.value("SHOW work_mem"), "77MB");
    assert_eq!(next.value("SELECT to_regclass('pg_temp.mine') IS NULL"), "t");
}

#[test]
fn connect_query_runs_once_after_login() {
    let (_postgres, plimsoll) = house(|ini| {
        let text = ini.text();
        let line = text.lines().find(|line| line.starts_with("p0 = ")).unwrap();
        let connection = line.split_once(" = ").unwrap().1.to_string();
        ini.database("p0", &format!("{connection} connect_query='SET work_mem = ''55MB'''"))
    });
    assert_eq!(plimsoll.client("app", "p0").value("SHOW work_mem"), "55MB");
}

#[test]
fn auto_databases_are_registered() {
    let (postgres, plimsoll) = house(|ini| ini);
    let connection = format!("host=127.0.0.1 port={} dbname=p1", postgres.port());
    plimsoll.reload(&Ini::new(&postgres).database("*", &connection));
    let mut client = plimsoll.client("app", "anything");
    assert_eq!(client.value("SELECT current_database()"), "p1");
    plimsoll.wait_for_log("registered new auto-database: ", SOON);
}

#[test]
fn a_database_that_leaves_the_file_takes_its_clients_along() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p2");
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.reload(&Ini::new(&postgres).without_database("p2"));
    if let Some(error) = client.expect_closed() {
        fatal(&error, "database removed");
    }
    fatal(&plimsoll.login("app", "p2").refusal(), "no such database: p2");
}

#[test]
fn auth_query_asks_the_server() {
    let postgres = Postgres::start();
    postgres.sql("SET password_encryption = 'md5'; CREATE ROLE looked LOGIN PASSWORD 'looked-secret'");
    postgres.sql("CREATE ROLE looker LOGIN SUPERUSER");
    let query = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1";
    let plimsoll = start(
        Ini::new(&postgres)
            .set("auth_type", "md5")
            .set("auth_user", "looker")
            .set("auth_query", query)
            .login("looker", "x"),
    );
    let mut client = plimsoll.login("looked", "p0").password("looked-secret").client();
    assert_eq!(client.value("SELECT current_user"), "looked");
    let wrong = plimsoll.login("looked", "p0").password("wrong").refusal();
    fatal(&wrong, "password authentication failed");
    fatal(&plimsoll.login("nobody", "p0").refusal(), "no such user");
}

#[test]
fn rules_of_the_hba_file_count() {
    let postgres = Postgres::start();
    let file = std::env::temp_dir().join(format!("plimsoll-conformance-{}.hba", std::process::id()));
    fs::write(
        &file,
        "host p0 app 127.0.0.1/32 trust\nhost p1 app 127.0.0.1/32 md5\nhost p2 app 0.0.0.0/0 reject\n",
    )
    .unwrap();
    let ini = Ini::new(&postgres).set("auth_type", "hba").set("auth_hba_file", &file.display().to_string());
    let plimsoll = start(ini);
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 1"), "1");
    fatal(&plimsoll.login("app", "p1").password("wrong").refusal(), "password authentication failed");
    assert_eq!(plimsoll.login("app", "p1").password("app-secret").client().value("SELECT 1"), "1");
    fatal(&plimsoll.login("app", "p2").refusal(), "login rejected");
    let nobody = plimsoll.login("other", "p0").refusal();
    fatal(&nobody, if against_others() { "login rejected" } else { "no authentication method is found" });
    fs::remove_file(&file).unwrap();
}

#[test]
fn hosts_of_a_list_take_turns() {
    let (postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let line = format!("host=127.0.0.1,::1 port={} dbname=p0", postgres.port());
    plimsoll.reload(&Ini::new(&postgres).database("both", &line).set("pool_mode", "session"));
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "both")).collect();
    let mut hosts: Vec<String> =
        clients.iter_mut().map(|client| client.value("SELECT host(inet_server_addr())")).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts, ["127.0.0.1", "::1"]);
}

#[test]
fn bad_files_are_told_and_change_nothing() {
    let (postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    for (ini, words) in [
        (Ini::new(&postgres).set("nope", "1"), "unknown parameter: pgbouncer/nope"),
        (
            Ini::new(&postgres).set("server_lifetime", "abc"),
            "invalid value \"abc\" for parameter server_lifetime",
        ),
        (
            Ini::new(&postgres).database("bad", "host=x colour=blue"),
            "unrecognized connection parameter: colour",
        ),
        (Ini::new(&postgres).user("app", "colour=blue"), "unrecognized user parameter: colour"),
    ] {
        plimsoll.rewrite(&ini);
        let mark = plimsoll.log_mark();
        drop(console.try_query("RELOAD"));
        plimsoll.wait_for_log_since(mark, words, SOON);
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn the_columns_tools_read_are_there() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let mut console = plimsoll.console();
    for (what, columns) in [
        (
            "CLIENTS",
            "type user database state addr port local_addr local_port connect_time request_time wait wait_us \
                     close_needed ptr link remote_pid tls application_name",
        ),
        (
            "SERVERS",
            "type user database state addr port local_addr local_port connect_time request_time wait wait_us \
                     close_needed ptr link remote_pid tls application_name",
        ),
        (
            "SOCKETS",
            "type user database state addr port recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail \
                     send_avail",
        ),
        (
            "POOLS",
            "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
                   sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode",
        ),
        (
            "DATABASES",
            "name host port database force_user pool_size min_pool_size pool_mode max_connections \
                       current_connections paused disabled",
        ),
        ("USERS", "name pool_mode"),
        (
            "STATS",
            "database total_xact_count total_query_count total_received total_sent total_xact_time \
                   total_query_time total_wait_time avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time \
                   avg_query_time avg_wait_time",
        ),
        ("LISTS", "list items"),
        ("CONFIG", "key value default changeable"),
        ("MEM", "name size used free memtotal"),
        ("DNS_HOSTS", "hostname ttl addrs"),
        ("DNS_ZONES", "zonename serial count"),
        ("TOTALS", "name value"),
    ] {
        let table = console.query(&format!("SHOW {what}"));
        for column in columns.split_whitespace() {
            assert!(table.columns.iter().any(|(known, _)| known == column), "SHOW {what} has no {column}");
        }
    }
    let pools = console.query("SHOW POOLS");
    let row = pools.find(&[("database", "p0"), ("user", "app")]).unwrap();
    assert_eq!((pools.number(row, "cl_active"), pools.number(row, "sv_active")), (1, 1));
}

#[test]
fn notices_of_the_login_are_sent() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut console = plimsoll.console();
    console.query("SET client_encoding = 'UTF8'");
    let notices = console.take_notices();
    assert_eq!(notices.iter().map(|notice| notice.message.as_str()).collect::<Vec<_>>(), ["SET ignored"]);
}

#[test]
fn counts_follow_what_is_done() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    client.query("SELECT 1");
    client.query("COMMIT");
    client.query("SELECT 1");
    eventually_ok("the counts", SOON, || {
        let stats = plimsoll.show("STATS_TOTALS");
        let row = stats.find(&[("database", "p0")]).ok_or("no p0")?;
        let seen = (stats.number(row, "query_count"), stats.number(row, "xact_count"));
        if seen == (4, 2) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

#[test]
fn modern_errors_of_named_statements() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().bind("", "unknown", &[]).execute("", 0).sync().bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "prepared statement did not exist");
    let mut client = plimsoll.client("app", "p0");
    client.run(&Batch::new().parse("s", "SELECT 1").sync());
    client.send(Batch::new().parse("s", "SELECT 2").sync().bytes()).unwrap();
    fatal(&client.expect_closed().expect("a reason"), "prepared statement name is already in use");
}

#[test]
fn modern_limits_of_databases_and_users() {
    let (_postgres, plimsoll) =
        house(|ini| ini.set("max_db_client_connections", "1").user("other", "max_user_client_connections=1"));
    let one = plimsoll.client("app", "p0");
    fatal(&plimsoll.login("app", "p0").refusal(), "client connections exceeded (max_db_client_connections)");
    let two = plimsoll.client("other", "p1");
    fatal(
        &plimsoll.login("other", "p2").refusal(),
        "client connections exceeded (max_user_client_connections)",
    );
    drop((one, two));
}

#[test]
fn modern_version_and_state() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let version = plimsoll.show("VERSION");
    assert!(version.cell(0, "version").starts_with("PgBouncer 1.25.2"), "{version:?}");
    let mut console = plimsoll.console();
    assert_eq!(console.parameter("server_version"), "1.25.2/bouncer");
    let state = console.query("SHOW STATE");
    assert_eq!(value(&state, "active"), "yes");
    says(&console.fail("ENABLE pgbouncer"), "ERROR", "cannot enable admin db: pgbouncer");
    says(&console.fail("KILL_CLIENT 999"), "ERROR", "client not found");
    says(&console.fail("KILL_CLIENT x"), "ERROR", "invalid client pointer supplied");
    let client = plimsoll.client("app", "p0");
    let clients = console.query("SHOW CLIENTS");
    let row = clients.find(&[("database", "p0")]).unwrap();
    console.query(&format!("KILL_CLIENT {}", clients.cell(row, "id")));
    let mut client = client;
    fatal(&client.expect_closed().expect("a reason"), "admin forced disconnect");
}
