//! Results that nobody reads come off the server at once, with a real PostgreSQL: every byte, in order, within budgets.

#![allow(clippy::unwrap_used)]

mod common;
mod spill_house;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::certificates::{Maker, with_tls};
use common::{SOON, backend, house, pooler, wait_for_pool};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, ServerError, eventually};
use spill_house::{
    ROWS, ROWS_BYTES, ask, digest, direct, folder, small, spill_dir, stat, wait_for_draining,
    wait_for_nothing,
};

#[test]
fn lazy_readers_hold_no_server_and_get_every_byte() {
    let dir = folder("spill");
    let (postgres, mut plimsoll) = house(|ini| {
        spill_dir(small(ini), dir.path()).own("spill_memory", "8MiB").own("log_spill_over", "1MiB")
    });
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    let mut readers: Vec<Client> = (0..6).map(|_| ask(&plimsoll, ROWS)).collect();
    let spills = wait_for_draining(&plimsoll, readers.len());
    assert_eq!(spills.cell(0, "statement"), "SELECT i, repeat(md5(i::text), ?) FROM generate_series(?, ?) i");
    assert_eq!((spills.cell(0, "user"), spills.cell(0, "database")), ("app", "p0"));
    // They hold nothing, and others are served at once.
    assert!(plimsoll.show("HOLDS").rows.is_empty());
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0)]);
    for _ in 0..20 {
        assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    }
    let store = plimsoll.show("SPILL_STORE");
    assert!(store.number(0, "memory_bytes") <= 8 << 20, "{:?}", store.rows);
    assert!(store.number(0, "disk_bytes") > ROWS_BYTES * 3, "{:?}", store.rows);
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    // A file of this kind has no name.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(stat(&plimsoll, "total_spill_count") >= 6);
    assert!(stat(&plimsoll, "total_spill_bytes") > ROWS_BYTES * 5);
    assert!(stat(&plimsoll, "total_spill_file_bytes") > ROWS_BYTES * 3);
    for reader in &mut readers {
        assert_eq!(digest(reader, 1), wanted);
        assert_eq!(reader.value("SELECT 8"), "8");
    }
    wait_for_nothing(&plimsoll);
    plimsoll.wait_for_log("bytes of a result in", SOON);
}

#[test]
fn pipelines_arrive_as_from_the_server_itself() {
    let (postgres, plimsoll) = house(|ini| small(ini).own("spill_memory", "1MiB").own("spill_after", "0"));
    let (mut batch, mut cycles) = (Batch::new(), 0);
    for i in 0..100 {
        batch = match i {
            50 => batch.query("SELECT repeat('x', 100000), 1 / 0"),
            51 => batch.query("SET extra_float_digits = 1; SET DateStyle = 'SQL, DMY'"),
            52 => batch.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"),
            53 => batch.query("SET DateStyle = 'ISO, MDY'"),
            _ => batch
                .parse(
                    "",
                    &format!("SELECT i, repeat(md5((i + {i})::text), 1000) FROM generate_series(1, $1) i"),
                )
                .bind("", "", &[Some("5")])
                .describe_portal("")
                .execute("", 0)
                .sync(),
        };
        cycles += 1;
    }
    // One batch with an error in its middle, and what is skipped behind it.
    for i in 0..20 {
        let sql = if i == 10 { "SELECT 1 / 0" } else { "SELECT repeat('y', 100000)" };
        batch = batch.parse("", sql).bind("", "", &[]).execute("", 0);
    }
    (batch, cycles) = (batch.sync().query("SELECT 'last'"), cycles + 2);
    let wanted = direct(&postgres, &batch, cycles);
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut clients {
        client.send(batch.bytes()).unwrap();
    }
    eventually("a spill", SOON, || !plimsoll.show("SPILLS").rows.is_empty());
    for client in &mut clients {
        assert_eq!(digest(client, cycles), wanted);
    }
    wait_for_nothing(&plimsoll);
}

#[test]
fn nothing_is_left_of_a_spill_whose_client_goes() {
    let dir = folder("spill");
    let ini = |ini: Ini| spill_dir(small(ini), dir.path()).own("spill_memory", "1MiB");
    let (postgres, plimsoll) = house(ini);
    let leave = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    leave.reset();
    wait_for_nothing(&plimsoll);
    let mut killed = ask(&plimsoll, ROWS);
    let spills = wait_for_draining(&plimsoll, 1);
    plimsoll.console().query(&format!("KILL_CLIENT {}", spills.cell(0, "client")));
    wait_for_nothing(&plimsoll);
    // Nothing was said in the middle of a message.
    assert_eq!(killed.expect_closed(), None);
    plimsoll.reload(&ini(Ini::new(&postgres)).user("app", "client_idle_timeout=1"));
    let mut idle = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    plimsoll.wait_for_log("client_idle_timeout", SOON);
    wait_for_nothing(&plimsoll);
    assert_eq!(idle.expect_closed(), None);
    plimsoll.still_works(&["p0"]);
}

#[test]
fn what_frees_no_server_is_not_spilled() {
    let (postgres, plimsoll) = house(|ini| small(ini).own("spill_after", "1ms"));
    let wanted = direct(&postgres, &Batch::new().query("BEGIN").query(ROWS).query("COMMIT"), 3);
    let batch = Batch::new().query("BEGIN").query(ROWS).query("COMMIT");
    let held = |plimsoll: &Plimsoll| {
        eventually("a reader that holds", SOON, || {
            let holds = plimsoll.show("HOLDS");
            holds.rows.len() == 1 && holds.cell(0, "state") == "client not reading"
        });
    };
    let mut client = plimsoll.client("app", "p0");
    client.send(batch.bytes()).unwrap();
    held(&plimsoll);
    assert!(plimsoll.show("SPILLS").rows.is_empty());
    assert_eq!(digest(&mut client, 3), wanted);
    // In a session nothing is won either.
    let session = pooler(small(Ini::new(&postgres)).own("spill_after", "1ms").set("pool_mode", "session"));
    let mut client = ask(&session, ROWS);
    held(&session);
    assert!(session.show("SPILLS").rows.is_empty());
    digest(&mut client, 1);
    // A pipeline that opens one waits where it does.
    let batch = Batch::new().query(ROWS).query("BEGIN").query(ROWS).query("COMMIT").query("SELECT 1");
    let wanted = direct(&postgres, &batch, 5);
    let mut client = plimsoll.client("app", "p0");
    client.send(batch.bytes()).unwrap();
    eventually("a spill that waits", SOON, || {
        let spills = plimsoll.show("SPILLS");
        !spills.rows.is_empty() && spills.cell(0, "state") == "waiting: transaction"
    });
    held(&plimsoll);
    assert_eq!(digest(&mut client, 5), wanted);
    wait_for_nothing(&plimsoll);
    // Unless somebody asks for it, so that the statement comes to its end.
    let ini = small(Ini::new(&postgres)).own("spill_in_transaction", "on");
    let asked = pooler(ini);
    let mut client = asked.client("app", "p0");
    client.query("BEGIN");
    client.send(Batch::new().query(ROWS).bytes()).unwrap();
    eventually("a statement at its end", SOON, || {
        let holds = asked.show("HOLDS");
        !asked.show("SPILLS").rows.is_empty() && holds.cell(0, "state") == "idle in transaction"
    });
    let one = direct(&postgres, &Batch::new().query(ROWS), 1);
    assert_eq!(digest(&mut client, 1).messages, one.messages);
    client.query("COMMIT");
    wait_for_nothing(&asked);
}

#[test]
fn copy_out_is_spilled_and_databases_and_users_have_their_word() {
    let (postgres, plimsoll) = house(|ini| {
        small(ini)
            .own("spill", "off")
            .user("app", "spill=memory")
            .login("other", "")
            .user("other", "pool_size=2")
    });
    let sql = "COPY (SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 1000) i) TO STDOUT";
    let wanted = direct(&postgres, &Batch::new().query(sql), 1);
    let mut client = ask(&plimsoll, sql);
    wait_for_draining(&plimsoll, 1);
    assert_eq!(digest(&mut client, 1), wanted);
    wait_for_nothing(&plimsoll);
}

#[test]
fn the_next_query_and_a_late_cancel_find_everything_in_order() {
    let (_postgres, plimsoll) = house(small);
    let mut client = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    client.send(Batch::new().query("SELECT 'next'").bytes()).unwrap();
    // The statement is over: there is nothing to cancel, and nobody else is hit.
    client.cancel_key().cancel().unwrap();
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    let rows = client.cycle().unwrap();
    assert_eq!(rows.iter().filter(|message| message.tag == b'D').count(), 8);
    let next = client.cycle().unwrap();
    assert_eq!(next[1].columns(), [Some("next".to_string())]);
    wait_for_nothing(&plimsoll);
}

#[test]
fn a_server_that_dies_is_heard_of_behind_what_it_said() {
    let (postgres, plimsoll) = house(small);
    let sql = "SELECT i, repeat(md5(i::text), 31250), CASE WHEN i = 4 THEN pg_sleep(600)::text END \
               FROM generate_series(1, 5) i";
    let mut client = plimsoll.client("app", "p0");
    let pid = backend(&mut client);
    client.send(Batch::new().query(sql).bytes()).unwrap();
    eventually("a spill", SOON, || {
        let spills = plimsoll.show("SPILLS");
        !spills.rows.is_empty() && postgres.count_sessions("wait_event = 'PgSleep'") == 1
    });
    postgres.terminate_sessions(&format!("pid = {pid}"));
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
    let mut rows = 0;
    let error = loop {
        let message = client.read().unwrap();
        match message.tag {
            b'D' => rows += 1,
            b'E' => break ServerError::of(&message),
            _ => {}
        }
    };
    assert_eq!((rows, error.sqlstate.as_str()), (3, "57P01"));
    client.expect_closed();
    wait_for_nothing(&plimsoll);
}

#[test]
fn an_encrypted_client_gets_every_byte() {
    let maker = Maker::new();
    maker.root("root");
    maker.signed("root", "server", "localhost");
    let (postgres, plimsoll) = house(|ini| {
        with_tls(small(ini), "client", "prefer", &maker, "server")
            .own("spill_after", "0")
            .own("spill_memory", "512KiB")
    });
    let psql = |port: u16, mode: &str| {
        let sql = "COPY (SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 1000) i) TO STDOUT";
        let connection = format!("host=localhost port={port} dbname=p0 user=app connect_timeout=20");
        let child = Command::new("psql")
            .args(["-XAtq", "-d", &connection, "-c", sql])
            .envs([("PGSSLMODE", mode), ("PGSSLCERT", "none"), ("PGSSLROOTCERT", "none")])
            .stdout(Stdio::piped())
            .spawn();
        child.expect("psql is there")
    };
    let wanted = psql(postgres.port(), "disable").wait_with_output().unwrap().stdout;
    assert!(wanted.len() > 9_000_000);
    // Nobody reads what it writes, so it does not read either.
    let lazy = psql(plimsoll.port(), "require");
    wait_for_draining(&plimsoll, 1);
    assert!(lazy.wait_with_output().unwrap().stdout == wanted, "bytes are others");
    wait_for_nothing(&plimsoll);
}

/// Asks and does not read until the client's socket takes no more; how many answers are on their way to it. All of them
/// are off their servers: each is one read.
fn fill_socket(plimsoll: &Plimsoll, client: &mut Client) -> u64 {
    let mut console = plimsoll.console();
    let mut of_database = |what: &str, column: &str| {
        let table = console.query(what);
        table.find(&[("database", "p0")]).map_or(0, |row| table.number(row, column))
    };
    // One at a time, and none of the answers is read: at some point the socket takes no more, and the next query, which
    // has been sent, is not read. Each is sent when the answer to the last one is off its server, or two would be under
    // way at once.
    let mut asked = 0;
    let mut is_answered = |asked: u64| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            if of_database("SHOW STATS", "total_query_count") >= asked
                && of_database("SHOW POOLS", "sv_active") == 0
            {
                return true;
            }
        }
        false
    };
    loop {
        client.send(Batch::new().query("SELECT repeat('x', 1500)").bytes()).unwrap();
        asked += 1;
        if !is_answered(asked) {
            break;
        }
        assert!(asked < 2000, "the client's socket takes everything");
    }
    assert_eq!(of_database("SHOW STATS", "total_query_count"), asked - 1);
    asked
}

#[test]
fn an_answer_that_one_read_brings_holds_no_server_while_it_is_written() {
    let (_postgres, plimsoll) = house(|ini| small(ini).own("spill", "off"));
    let mut client = plimsoll.client("app", "p0");
    let asked = fill_socket(&plimsoll, &mut client);
    // The last answer waits for its reader, and its server does not.
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
    assert!(plimsoll.show("HOLDS").rows.is_empty());
    for _ in 0..asked {
        assert_eq!(client.cycle().unwrap()[1].body.len(), 1506);
    }
}

#[test]
fn suspension_and_shutdown_wait_for_who_has_not_taken_an_answer_of_one_read() {
    for command in ["SUSPEND", "SHUTDOWN WAIT_FOR_SERVERS"] {
        let (_postgres, mut plimsoll) = house(small);
        let mut client = plimsoll.client("app", "p0");
        let answered = fill_socket(&plimsoll, &mut client) - 1;
        assert!(plimsoll.show("HOLDS").rows.is_empty() && plimsoll.show("SPILLS").rows.is_empty());
        let mut console = plimsoll.console();
        if command == "SUSPEND" {
            console.send(Batch::new().query(command).bytes()).unwrap();
        } else {
            console.query(command);
        }
        assert!(!console.hears_within(Duration::from_millis(500)), "{command}: not all is taken");
        for _ in 0..answered {
            assert_eq!(client.cycle().unwrap()[1].body.len(), 1506, "{command}");
        }
        if command == "SUSPEND" {
            console.cycle().unwrap();
        } else {
            client.leave();
            assert!(plimsoll.wait_exit(SOON).success());
        }
    }
}

#[test]
fn suspension_and_shutdown_wait_for_who_still_reads() {
    let (postgres, mut plimsoll) = house(small);
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut client = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    let mut console = plimsoll.console();
    console.send(Batch::new().query("SUSPEND").bytes()).unwrap();
    assert!(!console.hears_within(Duration::from_millis(300)), "a client has not taken its answer");
    assert_eq!(digest(&mut client, 1), wanted);
    console.cycle().unwrap();
    console.query("RESUME");
    client.send(Batch::new().query(ROWS).bytes()).unwrap();
    wait_for_draining(&plimsoll, 1);
    console.query("SHUTDOWN WAIT_FOR_SERVERS");
    assert!(!console.hears_within(Duration::from_millis(300)), "a client has not taken its answer");
    assert_eq!(digest(&mut client, 1), wanted);
    assert!(plimsoll.wait_exit(SOON).success());
}
