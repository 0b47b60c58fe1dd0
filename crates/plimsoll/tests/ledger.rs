//! Who holds the server connections: what clients, log and console are told, with a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{SOON, backend, house, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Table, eventually, eventually_ok, tags};

/// A statement as a framework tags it.
const EXPORT: &str = "SELECT 42 /*action='export',controller='orders',route='/orders/export'*/";

fn app(plimsoll: &Plimsoll, name: &str) -> Client {
    plimsoll.login("app", "p0").parameter("application_name", name).client()
}

/// Waits until `SHOW what` has a row that fits, and gives its cells by name.
fn wait_for_row(plimsoll: &Plimsoll, what: &str, fits: impl Fn(&Table, usize) -> bool) -> (Table, usize) {
    let mut found = None;
    eventually(&format!("a row of SHOW {what}"), SOON, || {
        let table = plimsoll.show(what);
        let row = (0..table.rows.len()).find(|row| fits(&table, *row));
        found = row.map(|row| (table, row));
        found.is_some()
    });
    found.unwrap()
}

fn leaky(ini: Ini) -> Ini {
    ini.own("leak_idle_threshold", "1s").set("pool_mode", "session")
}

#[test]
fn connections_opened_in_constructors_and_never_closed() {
    let (_postgres, plimsoll) = house(|ini| {
        leaky(ini).set("default_pool_size", "20").set("query_wait_timeout", "3").set("query_wait_notify", "1")
    });
    let mut leaked: Vec<Client> = (0..20).map(|_| app(&plimsoll, "orders-api")).collect();
    for client in &mut leaked {
        assert_eq!(client.value(EXPORT), "42");
    }
    let mut victim = app(&plimsoll, "checkout");
    victim.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let error = victim.expect_closed().expect("a reason");
    assert_eq!((error.sqlstate.as_str(), error.message.as_str()), ("53300", "query_wait_timeout"));
    let detail = error.detail.expect("who holds them");
    assert!(detail.contains("20 of 20 server connections of pool p0/app are held"), "{detail}");
    assert!(
        detail.contains("20 by orders-api action=export controller=orders route=/orders/export"),
        "{detail}"
    );
    assert!(detail.contains("oldest") && detail.contains("20 idle"), "{detail}");
    assert!(error.hint.is_some_and(|hint| hint.contains("plimsoll leaks")));
    let notice = victim.take_notices().pop().expect("the notice of waiting");
    assert!(notice.message.starts_with("No server connection available"), "{}", notice.message);
    assert!(notice.detail.is_some_and(|detail| detail.contains("orders-api")));
    plimsoll.wait_for_log("20 by orders-api", SOON);
    // Whoever looks after the first error is told as well.
    let (leaks, row) = wait_for_row(&plimsoll, "LEAKS", |table, row| table.cell(row, "verdict") == "leak");
    assert_eq!(leaks.cell(row, "application_name"), "orders-api");
    assert_eq!(leaks.cell(row, "tags"), "action=export controller=orders route=/orders/export");
    assert_eq!(leaks.cell(row, "held"), "20 of 20");
    assert_eq!(leaks.cell(row, "rule"), "idle while others wait");
    assert_eq!(leaks.cell(row, "last_statement"), "SELECT ?");
    assert!(leaks.number(row, "idle_us") > 20_000_000, "20 connections, more than a second each");
    plimsoll.wait_for_log("leak: 20 connections held by orders-api action=export", SOON);
    let doctor = plimsoll.show("DOCTOR");
    assert!(
        doctor.cell(0, "line").starts_with("LEAK: 20 of 20 connections of p0/app are held by orders-api")
    );
    drop(leaked);
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
    plimsoll.wait_for_log("unleaked: a suspect of orders-api", SOON);
    assert!(plimsoll.show("HISTORY").rows.is_empty() || plimsoll.show("LEAKS").rows.is_empty());
}

#[test]
fn who_holds_is_told_to_the_same_user_only() {
    let ini = |ini: Ini| leaky(ini).set("default_pool_size", "1").set("query_wait_timeout", "2");
    for (disclose, named) in [("none", false), ("same_pool", true), ("all", true)] {
        let (_postgres, plimsoll) = house(|given| ini(given).own("disclose_holders", disclose));
        let mut holder = app(&plimsoll, "secret-service");
        holder.query(EXPORT);
        let mut victim = app(&plimsoll, "victim");
        victim.send(Batch::new().query("SELECT 1").bytes()).unwrap();
        let detail = victim.expect_closed().and_then(|error| error.detail).expect("a detail");
        assert!(detail.contains("1 of 1 server connections"), "{disclose}: {detail}");
        assert_eq!(detail.contains("secret-service"), named, "{disclose}: {detail}");
    }
    // In PgBouncer's shape nothing is added.
    let (_postgres, plimsoll) = house(|given| ini(given).own("compat", "pgbouncer"));
    let mut holder = app(&plimsoll, "secret-service");
    holder.query(EXPORT);
    let mut victim = app(&plimsoll, "victim");
    victim.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let error = victim.expect_closed().expect("a reason");
    assert_eq!((error.sqlstate.as_str(), error.detail, error.hint), ("08P01", None, None));
}

#[test]
fn a_hold_says_who_where_what_and_why() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = app(&plimsoll, "shop");
    client.query("BEGIN /*route='/cart'*/");
    client.query("SELECT 'secret', 7 FROM generate_series(1, 5)");
    let pid = backend(&mut client);
    let holds = plimsoll.show("HOLDS");
    assert_eq!(holds.rows.len(), 1);
    let cell = |name: &str| holds.cell(0, name);
    assert_eq!((cell("application_name"), cell("database"), cell("user")), ("shop", "p0", "app"));
    assert_eq!((cell("state"), cell("pins")), ("idle in transaction", "transaction"));
    assert_eq!(cell("pid"), pid.to_string());
    assert_eq!((cell("statements"), cell("rows")), ("3", "6"));
    assert_eq!((cell("first_statement"), cell("tags")), ("BEGIN", "route=/cart"));
    assert_eq!(cell("last_statement"), "SELECT pg_backend_pid()");
    assert!(holds.number(0, "transaction_us") > 0 && holds.number(0, "bytes_to_client") > 50);
    client.query("SELECT 'secret' AS a, 7 /* orders.rb:12 */");
    let holds = plimsoll.show("HOLDS");
    assert_eq!(holds.cell(0, "last_statement"), "SELECT ? AS a, ?");
    assert_eq!(holds.cell(0, "last_tags"), "file=orders.rb:12");
    assert!(
        !format!("{:?}", plimsoll.show("HOLDS FULL").rows).contains("secret"),
        "only where it is asked for"
    );
    client.query("COMMIT");
    assert!(plimsoll.show("HOLDS").rows.is_empty());
}

#[test]
fn statements_are_shown_as_they_may_be() {
    for (setting, redacted, full) in
        [("redacted", "SELECT ?", "SELECT ?"), ("full", "SELECT ?", "SELECT 'secret'"), ("off", "", "")]
    {
        let (_postgres, plimsoll) = house(|ini| ini.own("ledger_statements", setting));
        let mut client = plimsoll.client("app", "p0");
        client.query("BEGIN");
        client.query("SELECT 'secret'");
        assert_eq!(plimsoll.show("HOLDS").cell(0, "last_statement"), redacted, "{setting}");
        assert_eq!(plimsoll.show("HOLDS FULL").cell(0, "last_statement"), full, "{setting}");
        client.query("ALTER ROLE app PASSWORD 'hunter2'");
        let shown = format!("{:?}", plimsoll.show("HOLDS FULL").rows);
        assert!(!shown.contains("hunter2") && !shown.contains("PASSWORD"), "{shown}");
    }
}

#[test]
fn a_reader_that_stops_in_the_middle_of_a_result_is_named() {
    let (_postgres, plimsoll) = house(|ini| ini.own("leak_unread_threshold", "1s").own("spill", "off"));
    let mut client = app(&plimsoll, "lazy");
    client
        .send(Batch::new().query("SELECT repeat('x', 1000000) FROM generate_series(1, 50)").bytes())
        .unwrap();
    let (holds, row) =
        wait_for_row(&plimsoll, "HOLDS", |table, row| table.cell(row, "state") == "client not reading");
    assert!(holds.number(row, "unread_bytes") > 0);
    assert_eq!(holds.cell(row, "last_statement"), "SELECT repeat(?, ?) FROM generate_series(?, ?)");
    let (holds, row) = wait_for_row(&plimsoll, "HOLDS", |table, row| table.cell(row, "verdict") == "suspect");
    assert_eq!(holds.cell(row, "rule"), "not read");
    // It reads on, and everything is well.
    assert_eq!(client.cycle().unwrap().iter().filter(|message| message.tag == b'D').count(), 50);
    eventually("nothing held", SOON, || plimsoll.show("HOLDS").rows.is_empty());
}

#[test]
fn half_a_batch_is_a_client_that_does_not_send() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = app(&plimsoll, "half");
    client.send(Batch::new().parse("", "SELECT 1").bind("", "", &[]).flush().bytes()).unwrap();
    let (holds, row) =
        wait_for_row(&plimsoll, "HOLDS", |table, row| table.cell(row, "state") == "client not sending");
    assert_eq!((holds.cell(row, "pins"), holds.cell(row, "last_statement")), ("portal", "SELECT ?"));
    client.send(Batch::new().execute("", 0).sync().bytes()).unwrap();
    assert_eq!(tags(&client.cycle().unwrap()), "12DCZ");
    eventually("nothing held", SOON, || plimsoll.show("HOLDS").rows.is_empty());
    client.query("CREATE TEMP TABLE t (a int)");
    client.send(Batch::new().query("COPY t FROM STDIN").bytes()).unwrap();
    wait_for_row(&plimsoll, "HOLDS", |table, row| {
        table.cell(row, "state") == "client not sending" && table.cell(row, "pins").contains("copy")
    });
}

#[test]
fn pins_say_why_a_session_could_not_be_shared() {
    let (_postgres, plimsoll) = house(|ini| ini.set("pool_mode", "session"));
    let mut client = app(&plimsoll, "pinned");
    for (statement, pin) in [
        ("CREATE TEMP TABLE t (a int)", "temp table"),
        ("LISTEN news", "listen"),
        ("SELECT pg_advisory_lock(1)", "advisory lock"),
        ("SET work_mem = '1MB'", "setting"),
        ("PREPARE p AS SELECT 1", "prepare"),
        ("DO $$ BEGIN END $$", "unknown"),
    ] {
        client.query(statement);
        let pins = plimsoll.show("PINS");
        let found = pins.find(&[("pin", pin)]);
        let row = found.unwrap_or_else(|| panic!("{statement}: {pins:?}"));
        if pin == "unknown" {
            assert!(pins.cell(row, "unknown_by").starts_with("DO"), "{pins:?}");
        }
    }
    client.query("DISCARD ALL");
    assert!(plimsoll.show("PINS").rows.is_empty());
}

#[test]
fn a_prepared_statement_never_names_somebody_elses_route() {
    let (_postgres, plimsoll) = house(|ini| ini.own("leak_idle_threshold", "1s"));
    let mut client = app(&plimsoll, "orm");
    client.run(&Batch::new().parse("s", "SELECT $1::int /*route='/a'*/").sync());
    client.run(&Batch::new().bind("", "s", &[Some("1")]).execute("", 0).sync());
    // Another code path executes the same statement, and leaks its transaction.
    client.query("BEGIN");
    client.run(&Batch::new().bind("", "s", &[Some("2")]).execute("", 0).sync());
    let holds = plimsoll.show("HOLDS");
    assert_eq!(holds.cell(0, "last_from"), "prepared 1 executions ago");
    client.query("ROLLBACK");
    client.send(Batch::new().bind("", "s", &[Some("3")]).execute("", 0).flush().bytes()).unwrap();
    let (sites, _) = wait_for_row(&plimsoll, "SITES", |table, row| {
        table.number(row, "held") == 1 && table.cell(row, "statement").starts_with("SELECT $1")
    });
    let held = (0..sites.rows.len()).find(|row| sites.number(*row, "held") == 1).unwrap();
    assert_eq!(sites.cell(held, "application_name"), "orm");
    assert!(!sites.cell(held, "tags").contains("/a"), "{}", sites.cell(held, "tags"));
    assert!(sites.cell(held, "tags").contains("whoever prepared"));
    assert!(sites.cell(held, "hosts").contains("127.0.0.1"));
}

#[test]
fn clients_that_are_never_closed_are_named_before_the_first_is_refused() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_client_conn", "100"));
    let mark = plimsoll.log_mark();
    let mut clients = Vec::new();
    for _ in 0..100 {
        match plimsoll.login("app", "p0").parameter("application_name", "php-fpm").try_client() {
            Ok(mut client) => {
                client.query("SELECT 1 /*controller='login'*/");
                clients.push(client);
            }
            Err(_) => break,
        }
    }
    let told = plimsoll.login("app", "p0").refusal();
    assert_eq!(
        (told.sqlstate.as_str(), told.message.as_str()),
        ("53300", "no more connections allowed (max_client_conn)")
    );
    plimsoll.wait_for_log_since(mark, "clients are refused: all 100", SOON);
    let log = plimsoll.log_since(mark);
    let warning = log.find("of 100 client connections (max_client_conn) are open").expect("a warning");
    let refusal = log.find("no more connections allowed").expect("the refusal");
    assert!(warning < refusal, "the warning comes first");
    let line = log[warning..].lines().next().unwrap();
    assert!(line.contains("php-fpm controller=login") && line.contains("127.0.0.1"), "{line}");
    let visitors = plimsoll.show("VISITORS");
    assert_eq!(visitors.count(&[("application_name", "php-fpm"), ("holds", "0")]), clients.len());
    // The doctor comes all the same.
    let doctor = plimsoll.show("DOCTOR");
    let text = format!("{:?}", doctor.rows);
    assert!(
        text.contains("php-fpm from 127.0.0.1") && text.contains("pool_mode = transaction (plimsoll.ini:"),
        "{text}"
    );
}

#[test]
fn hostile_comments_do_no_harm() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = app(&plimsoll, "\u{1b}[2Jevil\u{202e}");
    client.query("BEGIN");
    let million = "x".repeat(1 << 20);
    for text in [
        "SELECT '/*route=''x''*/'".to_string(),
        "SELECT 1 /* a /* b */ ' */".to_string(),
        "SELECT 1 /*route='%00%1b%5B2J',action='a\\'b',=,,x*/".to_string(),
        format!("SELECT 1 /*route='{million}'*/"),
        format!("/*{million}*/ SELECT 1"),
        "SELECT $a$ */ $a$ -- route:x\n".to_string(),
    ] {
        client.query(&text);
        let shown = format!("{:?}{:?}", plimsoll.show("HOLDS").rows, plimsoll.show("SITES").rows);
        assert!(!shown.contains("\\u{1b}") && !shown.contains('\u{202e}'), "{shown}");
        assert!(shown.len() < 20_000, "bounded");
    }
    assert_eq!(client.value("SELECT 'still here'"), "still here");
}

#[test]
fn the_ledger_can_be_switched_off_and_on() {
    let (postgres, plimsoll) = house(|ini| ini.own("ledger", "off"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    assert!(plimsoll.show("HOLDS").rows.is_empty());
    client.query("COMMIT");
    plimsoll.reload(&Ini::new(&postgres).own("ledger", "on"));
    eventually_ok("a hold", SOON, || {
        client.query("BEGIN");
        let holds = plimsoll.show("HOLDS").rows.len();
        client.query("COMMIT");
        if holds == 1 { Ok(()) } else { Err(format!("{holds} holds")) }
    });
}

#[test]
fn what_the_server_says_is_joined() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "3").set("min_pool_size", "2"));
    let mut client = app(&plimsoll, "locker");
    client.query("BEGIN");
    client.query("LOCK TABLE pg_class IN ACCESS SHARE MODE");
    let pid = backend(&mut client);
    // One that is idle lets us ask.
    let (joined, row) = wait_for_row(&plimsoll, "HOLDS JOIN", |table, row| {
        table.cell(row, "pid") == pid.to_string() && table.cell(row, "server_state") == "idle in transaction"
    });
    assert!(joined.number(row, "locks") > 0);
    let backends = plimsoll.show("BACKENDS");
    let row = backends.find(&[("pid", &pid.to_string())]).unwrap();
    assert_eq!((backends.cell(row, "ours"), backends.cell(row, "database")), ("yes", "p0"));
    let why = plimsoll.show(&format!("WHY {pid}"));
    let story = format!("{:?}", why.rows);
    assert!(story.contains("locker") && story.contains("COMMIT or ROLLBACK gives it back"), "{story}");
    client.set_patience(Duration::from_secs(5));
}

#[test]
fn a_trace_in_each_prepared_statement_is_warned_of() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_prepared_statements", "10"));
    let mut client = app(&plimsoll, "traced");
    for number in 0..100 {
        let text = format!("SELECT 1 /*route='/a',traceparent='00-{number:032x}-0000000000000001-01'*/");
        client.run(&Batch::new().parse(&format!("s{number}"), &text).sync());
    }
    let log =
        plimsoll.wait_for_log("100 prepared statements have the same shape (a traceparent in each)", SOON);
    assert!(log.contains("WARNING"), "{log}");
    let sites = plimsoll.show("SITES");
    assert!(sites.rows.len() < 5, "{} sites", sites.rows.len());
}

#[test]
fn only_administrators_see_statements() {
    let (_postgres, plimsoll) = house(|ini| ini.own("ledger_statements", "full"));
    let mut client = app(&plimsoll, "shop");
    client.query("BEGIN /*route='/cart'*/");
    client.query("SELECT 'secret'");
    client.query("DO $$ BEGIN END $$");
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    for what in ["HOLDS", "HOLDS FULL"] {
        let holds = stats.query(&format!("SHOW {what}"));
        assert_eq!(holds.cell(0, "application_name"), "shop", "{what}");
        assert_eq!(holds.cell(0, "tags"), "route=/cart", "{what}");
        let shown = format!("{:?}", holds.rows);
        assert!(
            !shown.contains("SELECT") && !shown.contains("secret") && !shown.contains("DO"),
            "{what}: {shown}"
        );
    }
    for what in ["SITES", "LEAKS", "PINS", "HISTORY", "DOCTOR"] {
        let shown = format!("{:?}", stats.query(&format!("SHOW {what}")).rows);
        assert!(!shown.contains("BEGIN") && !shown.contains("secret"), "{what}: {shown}");
    }
    let id = plimsoll.show("HOLDS").cell(0, "client").to_owned();
    let story = format!("{:?}", stats.query(&format!("SHOW WHY {id}")).rows);
    assert!(story.contains("only administrators see statements") && !story.contains("secret"), "{story}");
}
