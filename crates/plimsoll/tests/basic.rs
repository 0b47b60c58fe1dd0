//! Every kind of dialogue through every pool mode.

#![allow(clippy::unwrap_used)]

mod common;

use common::{MODES, backend, by_mode, house, wait_for_pool};
use plimsoll_testkit::{
    Address, Batch, Client, Packet, Plimsoll, Postgres, ServerError, eventually_ok, tags,
};

fn modes() -> (Postgres, Plimsoll) {
    let postgres = Postgres::start();
    let ini = by_mode(plimsoll_testkit::Ini::new(&postgres).set("default_pool_size", "2"), &postgres);
    let plimsoll = common::pooler(ini);
    (postgres, plimsoll)
}

#[test]
fn simple_and_extended_queries_in_every_mode() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        assert_eq!(client.value("SELECT 40 + 2"), "42", "{mode}");
        assert_eq!(client.value_extended("SELECT $1::int + 1", &[Some("41")]), "42", "{mode}");
        assert_eq!(client.value_extended("SELECT $1", &[None]), "", "{mode}");
        assert_eq!(tags(&client.run(&Batch::new().query(""))), "IZ", "{mode}");
        let messages = client.run(&Batch::new().query("SELECT 1; SELECT 2, 3; SELECT"));
        assert_eq!(tags(&messages), "TDCTDCTDCZ", "{mode}");
        client.leave();
    }
}

#[test]
fn all_ways_in() {
    let (_postgres, plimsoll) = modes();
    let ways = [plimsoll.address(), Address::v6(plimsoll.port()), plimsoll.unix_address()];
    for way in ways {
        let mut client = plimsoll.login("app", "transaction").at(way.clone()).client();
        assert_eq!(client.value("SELECT 'in'"), "in", "{way:?}");
        assert_eq!(client.cancel_key().key.len(), 8, "{way:?}");
    }
}

#[test]
fn errors_pass_as_they_are() {
    let (postgres, plimsoll) = modes();
    let wrong = [
        "SELECT 1 / 0",
        "SELEC 1",
        "SELECT nope",
        "DO $$ BEGIN RAISE EXCEPTION 'why' USING DETAIL = 'd', HINT = 'h', ERRCODE = 'PL001'; END $$",
    ];
    let mut direct = postgres.login("app", "p0").client();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        for sql in wrong {
            assert_eq!(client.fail(sql), direct.fail(sql), "{mode}: {sql}");
        }
        assert_eq!(client.value("SELECT 1"), "1", "{mode}");
    }
}

#[test]
fn an_error_in_a_batch_skips_to_its_sync() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        let batch = Batch::new()
            .parse("", "SELECT 1 / $1::int")
            .bind("", "", &[Some("0")])
            .execute("", 0)
            .parse("", "SELECT 2")
            .bind("", "", &[])
            .execute("", 0)
            .sync();
        assert_eq!(tags(&client.run(&batch)), "1EZ", "{mode}");
        assert_eq!(client.value_extended("SELECT 3", &[]), "3", "{mode}");
    }
}

#[test]
fn pipelines_with_several_syncs_answer_in_order() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        let mut batch = Batch::new();
        for number in 0..50 {
            let sql = if number % 10 == 7 { "SELECT 1 / (0 * $1::int)" } else { "SELECT $1::int" };
            batch = batch.parse("", sql).bind("", "", &[Some(&number.to_string())]).execute("", 0).sync();
        }
        client.send(batch.bytes()).unwrap();
        for number in 0..50 {
            let answer = client.cycle().unwrap();
            if number % 10 == 7 {
                assert_eq!(tags(&answer), "1EZ", "{mode} {number}");
            } else {
                assert_eq!(tags(&answer), "12DCZ", "{mode} {number}");
                assert_eq!(answer[2].columns(), [Some(number.to_string())], "{mode}");
            }
        }
        assert_eq!(client.value("SELECT 'after'"), "after", "{mode}");
    }
}

#[test]
fn suspended_portals_go_on() {
    let (_postgres, plimsoll) = modes();
    for mode in ["session", "transaction"] {
        let mut client = plimsoll.client("app", mode);
        client.query("BEGIN");
        let sql = "SELECT generate_series(1, 5)";
        let batch = Batch::new().parse("", sql).bind("c", "", &[]).execute("c", 2).sync();
        assert_eq!(tags(&client.run(&batch)), "12DDsZ", "{mode}");
        assert_eq!(tags(&client.run(&Batch::new().execute("c", 2).sync())), "DDsZ", "{mode}");
        assert_eq!(tags(&client.run(&Batch::new().execute("c", 0).sync())), "DCZ", "{mode}");
        client.query("COMMIT");
    }
    // Without a transaction the portal ends with its Sync, and several parts must come in one batch.
    let mut client = plimsoll.client("app", "statement");
    let batch = Batch::new()
        .parse("", "SELECT generate_series(1, 3)")
        .bind("", "", &[])
        .execute("", 2)
        .execute("", 2)
        .sync();
    assert_eq!(tags(&client.run(&batch)), "12DDsDCZ");
}

#[test]
fn flush_brings_answers_before_the_sync() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        client
            .send(Batch::new().parse("", "SELECT $1::text").describe_statement("").flush().bytes())
            .unwrap();
        for expected in [b'1', b't', b'T'] {
            assert_eq!(client.read().unwrap().tag, expected, "{mode}");
        }
        client.send(Batch::new().bind("", "", &[Some("x")]).execute("", 0).flush().bytes()).unwrap();
        for expected in [b'2', b'D', b'C'] {
            assert_eq!(client.read().unwrap().tag, expected, "{mode}");
        }
        assert_eq!(tags(&client.run(&Batch::new().sync())), "Z", "{mode}");
    }
}

#[test]
fn copy_in_and_out() {
    let (postgres, plimsoll) = modes();
    postgres.login("app", "p0").client().query("CREATE TABLE copied (id int PRIMARY KEY, t text)");
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        client.query("TRUNCATE copied");
        client.send(Batch::new().query("COPY copied FROM STDIN").bytes()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'G', "{mode}");
        for id in 0..1000 {
            client.send(Batch::new().copy_data(format!("{id}\trow {id}\n").as_bytes()).bytes()).unwrap();
        }
        let end = client.run(&Batch::new().copy_done());
        assert_eq!(tags(&end), "CZ", "{mode}");
        assert_eq!(end[0].strings(), ["COPY 1000"], "{mode}");
        let out = client.run(&Batch::new().query("COPY copied TO STDOUT"));
        assert_eq!(tags(&out), format!("H{}cCZ", "d".repeat(1000)), "{mode}");

        client.send(Batch::new().query("COPY copied FROM STDIN").bytes()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'G', "{mode}");
        let failed = client.run(&Batch::new().copy_data(b"7777\tx\n").copy_fail("changed my mind"));
        assert_eq!(tags(&failed), "EZ", "{mode}");
        assert!(ServerError::of(&failed[0]).message.contains("changed my mind"), "{mode}");
        assert_eq!(client.value("SELECT count(*) FROM copied"), "1000", "{mode}");
    }
}

#[test]
fn copy_in_goes_on_after_an_error_of_the_server() {
    let (postgres, plimsoll) = modes();
    postgres.login("app", "p0").client().query("CREATE TABLE numbers (id int)");
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        client.send(Batch::new().query("COPY numbers FROM STDIN").bytes()).unwrap();
        assert_eq!(client.read().unwrap().tag, b'G', "{mode}");
        // The server ends the COPY at the bad line; what we send later is thrown away and has no answer.
        let answer = client.run(&Batch::new().copy_data(b"no number\n"));
        assert_eq!(tags(&answer), "EZ", "{mode}");
        client.send(Batch::new().copy_data(b"1\n").copy_done().bytes()).unwrap();
        assert_eq!(client.value("SELECT 'next'"), "next", "{mode}");
        assert_eq!(client.value("SELECT count(*) FROM numbers"), "0", "{mode}");
    }
}

#[test]
fn copy_in_the_extended_protocol() {
    let (postgres, plimsoll) = modes();
    postgres.login("app", "p0").client().query("CREATE TABLE extended (id int)");
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        client.query("TRUNCATE extended");
        let batch =
            Batch::new().parse("", "COPY extended FROM STDIN").bind("", "", &[]).execute("", 0).flush();
        client.send(batch.bytes()).unwrap();
        for expected in [b'1', b'2', b'G'] {
            assert_eq!(client.read().unwrap().tag, expected, "{mode}");
        }
        let end = client.run(&Batch::new().copy_data(b"1\n2\n").copy_done().sync());
        assert_eq!(tags(&end), "CZ", "{mode}");
        assert_eq!(client.value("SELECT sum(id) FROM extended"), "3", "{mode}");
    }
}

#[test]
fn function_call() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        // int4pl(40, 2): OID 177, one format for both arguments (text), result as text.
        let call = Packet::typed(b'F').int32(177).int16(1).int16(0).int16(2);
        let call = call.value(Some(b"40")).value(Some(b"2")).int16(0);
        let answer = client.run(&Batch::new().packet(call));
        assert_eq!(tags(&answer), "VZ", "{mode}");
        assert_eq!(&answer[0].body[4..], b"42", "{mode}");
    }
}

#[test]
fn notices_arrive_where_they_belong() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.client("app", mode);
        client.query("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$");
        let notices = client.take_notices();
        let seen: Vec<_> = notices.iter().map(|notice| notice.message.as_str()).collect();
        assert_eq!(seen, ["first", "second"], "{mode}");
        let mut other = plimsoll.client("app", mode);
        other.query("SELECT 1");
        assert_eq!(other.take_notices(), [], "{mode}");
    }
}

#[test]
fn a_listener_hears_while_it_is_idle() {
    let (_postgres, plimsoll) = modes();
    let mut listener = plimsoll.client("app", "session");
    listener.query("LISTEN news");
    let mut speaker = plimsoll.client("app", "session");
    speaker.query("NOTIFY news, 'hello'");
    let message = listener.read().unwrap();
    assert_eq!(message.tag, b'A');
    assert_eq!(&message.body[4..], b"news\0hello\0");
    assert_eq!(listener.value("SELECT 1"), "1");
}

#[test]
fn a_transaction_keeps_its_server_and_gives_it_back() {
    let (postgres, plimsoll) = modes();
    postgres.login("app", "p0").client().query("CREATE TABLE t (id int)");
    let mut first = plimsoll.client("app", "transaction");
    let mut second = plimsoll.client("app", "transaction");
    first.query("BEGIN");
    let held = backend(&mut first);
    first.query("INSERT INTO t VALUES (1)");
    assert_ne!(backend(&mut second), held);
    assert_eq!(second.value("SELECT count(*) FROM t"), "0");
    assert_eq!(backend(&mut first), held);
    first.query("COMMIT");
    assert_eq!(second.value("SELECT count(*) FROM t"), "1");
    wait_for_pool(&plimsoll, "transaction", &[("cl_active", 2), ("sv_active", 0), ("sv_idle", 2)]);

    // A failed transaction keeps it too, until ROLLBACK.
    first.query("BEGIN");
    let held = backend(&mut first);
    first.fail("SELECT 1 / 0");
    assert_eq!(first.fail("SELECT 1").sqlstate, "25P02");
    assert_ne!(backend(&mut second), held);
    first.query("ROLLBACK");
    assert_eq!(first.value("SELECT 1"), "1");
}

#[test]
fn a_session_keeps_its_server_until_it_leaves() {
    let (_postgres, plimsoll) = modes();
    let mut first = plimsoll.client("app", "session");
    let held = backend(&mut first);
    first.query("CREATE TEMP TABLE mine (id int)");
    let mut second = plimsoll.client("app", "session");
    assert_ne!(backend(&mut second), held);
    assert_eq!(backend(&mut first), held);
    assert_eq!(first.value("SELECT count(*) FROM mine"), "0");
    first.leave();
    wait_for_pool(&plimsoll, "session", &[("cl_active", 1), ("sv_active", 1), ("sv_idle", 1)]);
    let mut third = plimsoll.client("app", "session");
    assert_eq!(backend(&mut third), held);
    assert_eq!(third.fail("SELECT * FROM mine").sqlstate, "42P01");
}

#[test]
fn statement_pooling_refuses_transactions() {
    let (postgres, plimsoll) = modes();
    for sql in ["BEGIN", "START TRANSACTION", "BEGIN; SELECT 1"] {
        let mut client = plimsoll.client("app", "statement");
        let error = client.fail(sql);
        assert_eq!(error.severity, "FATAL", "{sql}");
        assert_eq!(error.message, "transaction blocks not allowed in statement pooling mode", "{sql}");
        assert_eq!(client.expect_closed(), None, "{sql}");
    }
    // A transaction that is over when the answer ends is none.
    let mut client = plimsoll.client("app", "statement");
    client.query("BEGIN; SELECT 1; COMMIT");
    postgres.wait_for_sessions("state LIKE 'idle in transaction%'", 0);
    plimsoll.still_works(&MODES);
}

#[test]
fn one_server_serves_clients_in_turns() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "1"));
    let mut clients: Vec<Client> = (0..5).map(|_| plimsoll.client("app", "p0")).collect();
    let held = backend(&mut clients[0]);
    for round in 0..20 {
        for client in &mut clients {
            assert_eq!(client.value_extended("SELECT $1", &[Some(&round.to_string())]), round.to_string());
        }
    }
    for client in &mut clients {
        assert_eq!(backend(client), held);
    }
}

#[test]
fn bytes_one_by_one_are_understood() {
    let (_postgres, plimsoll) = modes();
    for mode in MODES {
        let mut client = plimsoll.login("app", mode).knock().unwrap();
        let login = plimsoll.login("app", mode);
        for byte in login.startup_packet() {
            client.send(&[byte]).unwrap();
        }
        login.finish(&mut client).unwrap();
        let batch = Batch::new()
            .query("SELECT 1")
            .parse("s", "SELECT $1::text")
            .bind("", "s", &[Some("slow")])
            .describe_portal("")
            .execute("", 0)
            .close_statement("s")
            .sync();
        for byte in batch.bytes() {
            client.send(&[*byte]).unwrap();
        }
        assert_eq!(tags(&client.cycle().unwrap()), "TDCZ", "{mode}");
        assert_eq!(tags(&client.cycle().unwrap()), "12TDC3Z", "{mode}");
    }
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let (postgres, mut plimsoll) = modes();
    plimsoll.still_works(&MODES);
    let before = plimsoll.process().open_files();
    for round in 0..50 {
        for mode in MODES {
            let mut client = plimsoll.client("app", mode);
            assert_eq!(client.value("SELECT 1"), "1");
            if round % 2 == 0 {
                client.leave();
            }
        }
    }
    eventually_ok("all descriptors given back", common::SOON, || {
        let after = plimsoll.process().open_files();
        // Each mode may have opened its second server meanwhile.
        if after <= before + MODES.len() { Ok(()) } else { Err(format!("{before} then {after}")) }
    });
    assert!(postgres.count_sessions("usename = 'app'") <= 2 * MODES.len());
}
