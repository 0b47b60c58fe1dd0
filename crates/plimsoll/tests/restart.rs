//! Online restart (`-R`): everything goes on in another process, and nobody notices.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::{MODES, SOON, backend, by_mode, house};
use plimsoll_testkit::{Batch, Client, Plimsoll, Postgres, Process, ServerError, Signal, eventually, tags};

/// Has another process take over, and waits for the end of the first.
#[track_caller]
fn restart(plimsoll: &mut Plimsoll) {
    let before = plimsoll.process().pid();
    let mut old = plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0), "{}", plimsoll.log());
    assert_ne!(plimsoll.process().pid(), before);
}

fn sleeping(postgres: &Postgres, count: usize) {
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%pg_sleep%'", count);
}

#[test]
fn idle_clients_go_on_over_tcp_and_unix_in_every_mode() {
    let postgres = Postgres::start();
    let mut plimsoll = common::pooler(by_mode(plimsoll_testkit::Ini::new(&postgres), &postgres));
    let mut clients: Vec<Client> = Vec::new();
    for mode in MODES {
        for way in [plimsoll.address(), plimsoll.unix_address()] {
            let mut client = plimsoll.login("app", mode).at(way).parameter("application_name", mode).client();
            assert_eq!(client.value("SELECT 1"), "1");
            clients.push(client);
        }
    }
    let of_sessions = |clients: &mut [Client]| -> Vec<u32> { clients[..2].iter_mut().map(backend).collect() };
    let before = of_sessions(&mut clients);
    for _ in 0..3 {
        restart(&mut plimsoll);
        for (client, mode) in clients.iter_mut().zip(MODES.iter().flat_map(|mode| [mode, mode])) {
            assert_eq!(client.value("SHOW application_name"), **mode);
        }
        assert_eq!(of_sessions(&mut clients), before, "each session keeps its server connection");
        // At most one for each client.
        assert!(postgres.count_sessions("usename = 'app'") <= clients.len());
    }
    plimsoll.still_works(&MODES);
}

#[test]
fn a_transaction_goes_on_where_it_was() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    client.query("CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 7 AS n");
    let pid = backend(&mut client);
    restart(&mut plimsoll);
    assert_eq!(backend(&mut client), pid);
    assert_eq!(client.value("SELECT n FROM t"), "7");
    assert_eq!(client.fail("SELECT 1/0").sqlstate, "22012");
    restart(&mut plimsoll);
    assert_eq!(client.fail("SELECT 1").sqlstate, "25P02");
    client.query("ROLLBACK");
    assert_eq!(client.value("SELECT 1"), "1");
    assert_eq!(plimsoll.show("POOLS").number(0, "sv_active"), 0);
}

#[test]
fn a_query_in_flight_is_answered_by_the_new_process() {
    let (postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query("SELECT pg_sleep(1.5), 'done'").bytes()).unwrap();
    sleeping(&postgres, 1);
    restart(&mut plimsoll);
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    assert_eq!(client.value("SELECT 'on'"), "on");
}

#[test]
fn cancel_keys_are_good_in_the_new_process() {
    let (postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    let key = client.cancel_key();
    client.send(Batch::new().query("SELECT pg_sleep(600)").bytes()).unwrap();
    sleeping(&postgres, 1);
    restart(&mut plimsoll);
    key.cancel().unwrap();
    let answer = client.cycle().unwrap();
    assert_eq!(tags(&answer), "TEZ");
    assert_eq!(ServerError::of(&answer[1]).sqlstate, "57014");
}

#[test]
fn prepared_statements_and_pipelines_go_on() {
    let (postgres, mut plimsoll) =
        house(|ini| ini.set("pool_mode", "transaction").set("default_pool_size", "1"));
    let mut client = plimsoll.client("app", "p0");
    let mut other = plimsoll.client("app", "p0");
    assert_eq!(tags(&client.run(&Batch::new().parse("a", "SELECT $1::int + 1").sync())), "1Z");
    assert_eq!(tags(&other.run(&Batch::new().parse("b", "SELECT 'b'").sync())), "1Z");
    // Half of a pipeline before, half after; the last answer is owed by a server that sleeps.
    let bound = |batch: Batch, value: &'static str| batch.bind("", "a", &[Some(value)]).execute("", 0);
    let first = bound(Batch::new(), "1").parse("s", "SELECT pg_sleep(1)").bind("", "s", &[]).execute("", 0);
    client.send(first.sync().bytes()).unwrap();
    sleeping(&postgres, 1);
    restart(&mut plimsoll);
    client.send(bound(Batch::new(), "41").sync().bytes()).unwrap();
    assert_eq!(tags(&client.cycle().unwrap()), "2DC12DCZ");
    let answer = client.cycle().unwrap();
    assert_eq!(tags(&answer), "2DCZ");
    assert_eq!(answer[1].columns(), [Some("42".to_string())]);
    assert_eq!(tags(&other.run(&Batch::new().bind("", "b", &[]).execute("", 0).sync())), "2DCZ");
    restart(&mut plimsoll);
    assert_eq!(tags(&client.run(&bound(Batch::new(), "1").sync())), "2DCZ");
}

#[test]
fn who_waits_keeps_its_turn() {
    let (_postgres, mut plimsoll) = house(|ini| {
        ini.set("pool_mode", "transaction").set("default_pool_size", "1").own("fairness_slack", "0")
    });
    let mut holder = plimsoll.client("app", "p0");
    holder.query("BEGIN");
    let mut waiters: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    let mut console = plimsoll.console();
    for (number, waiter) in (1_u64..).zip(&mut waiters) {
        waiter.send(Batch::new().query("SELECT clock_timestamp()").bytes()).unwrap();
        eventually("it to wait", SOON, || console.query("SHOW POOLS").number(0, "cl_waiting") == number);
    }
    restart(&mut plimsoll);
    // The console came along as well.
    assert_eq!(console.query("SHOW POOLS").number(0, "cl_waiting"), 4);
    holder.query("COMMIT");
    let times: Vec<String> =
        waiters.iter_mut().map(|waiter| waiter.cycle().unwrap()[1].columns()[0].clone().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn caps_and_those_who_wait_for_them_stay() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let report =
        |plimsoll: &Plimsoll| plimsoll.login("app", "p0").parameter("application_name", "report").client();
    let mut console = plimsoll.console();
    console.query("CAP APP report 1 FOR 3600");
    let mut holder = report(&plimsoll);
    holder.query("BEGIN");
    let mut waiter = report(&plimsoll);
    waiter.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    eventually("it to wait", SOON, || console.query("CAP").cell(0, "waiting") == "1");
    restart(&mut plimsoll);
    let caps = console.query("CAP");
    let seen = ["name", "max", "used", "waiting"].map(|column| caps.cell(0, column).to_owned());
    assert_eq!(seen, ["report", "1", "1", "1"].map(String::from));
    assert!(caps.number(0, "left_s") > 3_000, "{caps:?}");
    holder.query("COMMIT");
    assert_eq!(tags(&waiter.cycle().unwrap()), "TDCZ");
    eventually("nobody to be left", SOON, || console.query("CAP").cell(0, "used") == "0");
}

#[test]
fn a_large_result_half_delivered_comes_whole() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction").own("spill", "off"));
    let mut client = plimsoll.client("app", "p0");
    client
        .send(Batch::new().query("SELECT repeat(n::text, 1000) FROM generate_series(1, 20000) n").bytes())
        .unwrap();
    assert_eq!(client.read().unwrap().tag, b'T');
    restart(&mut plimsoll);
    let mut rows = 0;
    let end = loop {
        let message = client.read().unwrap();
        match message.tag {
            b'D' => rows += 1,
            _ => break message,
        }
        if rows == 100 {
            restart(&mut plimsoll);
        }
    };
    assert_eq!((end.tag, rows), (b'C', 20_000));
}

#[test]
fn a_result_in_a_spill_is_carried_by_the_old_process() {
    let (postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction").own("spill_after", "0s"));
    let mut client = plimsoll.client("app", "p0");
    client
        .send(Batch::new().query("SELECT repeat(n::text, 1000) FROM generate_series(1, 8000) n").bytes())
        .unwrap();
    assert_eq!(client.read().unwrap().tag, b'T');
    postgres.wait_for_sessions("state = 'active' AND query LIKE '%FROM generate_series(1, 8%'", 0);
    let mut old = plimsoll.take_over();
    let rows = client.cycle().unwrap().len();
    assert_eq!(rows, 8_000 + 2);
    assert_eq!(client.value("SELECT 'on'"), "on");
    assert!(old.ended().is_none(), "it carries the client");
    client.leave();
    assert_eq!(old.wait(SOON).code(), Some(0));
}

#[test]
fn copy_in_goes_on() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    client.query("CREATE TABLE c (n int)");
    client.send(Batch::new().query("COPY c FROM STDIN").bytes()).unwrap();
    assert_eq!(client.read().unwrap().tag, b'G');
    client.send(Batch::new().copy_data(b"1\n").bytes()).unwrap();
    restart(&mut plimsoll);
    client.send(Batch::new().copy_data(b"2\n").copy_done().bytes()).unwrap();
    assert_eq!(tags(&client.cycle().unwrap()), "CZ");
    assert_eq!(client.value("SELECT sum(n) FROM c"), "3");
}

#[test]
fn pause_disable_and_the_totals_stay() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("pool_mode", "transaction"));
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let mut console = plimsoll.console();
    console.query("PAUSE p0");
    console.query("DISABLE p1");
    let queries = |table: plimsoll_testkit::Table| {
        table.number(table.find(&[("database", "p0")]).unwrap(), "query_count")
    };
    let before = queries(console.query("SHOW STATS_TOTALS"));
    restart(&mut plimsoll);
    let databases = console.query("SHOW DATABASES");
    assert_eq!(databases.number(databases.find(&[("name", "p0")]).unwrap(), "paused"), 1);
    assert_eq!(databases.number(databases.find(&[("name", "p1")]).unwrap(), "disabled"), 1);
    assert_eq!(queries(console.query("SHOW STATS_TOTALS")), before);
    client.send(Batch::new().query("SELECT 2").bytes()).unwrap();
    eventually("it to wait", SOON, || console.query("SHOW POOLS").number(0, "cl_waiting") == 1);
    console.query("RESUME p0");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
}

#[test]
fn without_a_running_process_it_is_a_start_like_any_other() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    plimsoll.signal(Signal::Interrupt);
    plimsoll.wait_exit(SOON);
    drop(plimsoll.take_over());
    assert!(plimsoll.log().contains("old process not found, try to continue normally"), "{}", plimsoll.log());
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_reload_after_a_restart_is_one_of_the_new_process() {
    let postgres = Postgres::start();
    let ini = plimsoll_testkit::Ini::new(&postgres).set("pool_mode", "transaction");
    let mut plimsoll = common::pooler(ini.clone());
    let mut client = plimsoll.client("app", "p0");
    restart(&mut plimsoll);
    plimsoll.reload(&ini.set("max_client_conn", "77"));
    let config = plimsoll.show("CONFIG");
    assert_eq!(config.cell(config.find(&[("key", "max_client_conn")]).unwrap(), "value"), "77");
    assert_eq!(client.value("SELECT 1"), "1");
    plimsoll.signal(Signal::Terminate);
    client.leave();
    plimsoll.wait_exit(SOON);
}

/// Fails, and leaves the first one at work with everything.
#[track_caller]
fn fails(
    plimsoll: &mut Plimsoll,
    client: &mut Client,
    process: impl FnOnce(&Plimsoll) -> Process,
    part: &str,
) {
    let mark = plimsoll.log_mark();
    let mut second = process(plimsoll);
    assert_ne!(second.wait(SOON).code(), Some(0));
    plimsoll.wait_for_log_since(mark, part, SOON);
    assert_eq!(client.value("SELECT 1"), "1");
    assert!(plimsoll.process().ended().is_none());
    plimsoll.still_works(&["p0"]);
}

#[test]
fn a_new_process_that_cannot_start_leaves_the_old_one_at_work() {
    let postgres = Postgres::start();
    let ini = plimsoll_testkit::Ini::new(&postgres);
    let mut plimsoll = common::pooler(ini.clone());
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    plimsoll.rewrite(&ini.clone().set("no_such_key", "1"));
    fails(&mut plimsoll, &mut client, |plimsoll| plimsoll.second(&["-R"]), "cannot load config file");
    // An address that is not ours.
    plimsoll.rewrite(&ini.clone().set("listen_addr", "127.0.0.1, 192.0.2.1"));
    fails(
        &mut plimsoll,
        &mut client,
        |plimsoll| plimsoll.second(&["-R"]),
        "the new process cannot start: cannot listen on 192.0.2.1",
    );
    plimsoll.rewrite(&ini);
    restart(&mut plimsoll);
    assert_eq!(client.value("SELECT 1"), "1");
}

/// The private socket, as the new process uses it.
fn door(plimsoll: &Plimsoll) -> UnixStream {
    let path = plimsoll.dir().join(format!(".s.PLIMSOLL.{}", plimsoll.port()));
    // It is made after the port accepts.
    plimsoll.wait_for_log("process up: ", SOON);
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

#[test]
fn the_socket_is_for_the_same_user_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let (_postgres, plimsoll) = house(|ini| ini);
    let path = plimsoll.dir().join(format!(".s.PLIMSOLL.{}", plimsoll.port()));
    // The tests run as root where the pooler does not: root gets in, and gets no answer.
    let mut stream = door(&plimsoll);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut answer = Vec::new();
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        assert_eq!(stream.read_to_end(&mut answer).unwrap(), 0);
        plimsoll.wait_for_log("somebody else", SOON);
    }
    plimsoll.still_works(&["p0"]);
}

#[test]
fn the_old_process_may_die_in_the_middle() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    plimsoll.signal(Signal::Stop);
    let mut second = plimsoll.second(&["-R"]);
    plimsoll.signal(Signal::Kill);
    // It has lost what it was to take over, and starts like any other, or says that it cannot.
    eventually("it to start or to end", SOON, || {
        second.ended().is_some() || plimsoll.log().contains(&format!("[{}] LOG process up: ", second.pid()))
    });
}

#[test]
fn clients_under_load_notice_nothing() {
    const CLIENTS: usize = 40;
    let (_postgres, mut plimsoll) = house(|ini| {
        ini.set("pool_mode", "transaction").set("default_pool_size", "5").set("max_client_conn", "200")
    });
    let (on, done) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let way = if number % 2 == 0 { plimsoll.address() } else { plimsoll.unix_address() };
            let mut client = plimsoll.login("app", "p0").at(way).client();
            let (on, done) = (on.clone(), done.clone());
            thread::spawn(move || {
                client.run(&Batch::new().parse("a", "SELECT $1::int").sync());
                let mut round = 0_u64;
                while on.load(Ordering::Relaxed) {
                    round += 1;
                    match round % 3 {
                        0 => assert_eq!(client.value(&format!("SELECT {round}")), round.to_string()),
                        1 => {
                            let text = round.to_string();
                            let batch = Batch::new().bind("", "a", &[Some(&text)]).execute("", 0).sync();
                            let answer = client.run(&batch);
                            assert_eq!(tags(&answer), "2DCZ");
                            assert_eq!(answer[1].columns(), [Some(text)]);
                        }
                        _ => {
                            client.query("BEGIN");
                            assert_eq!(client.value("SELECT count(*) FROM generate_series(1, 1000)"), "1000");
                            client.query("COMMIT");
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut files = Vec::new();
    for _ in 0..3 {
        let before = done.load(Ordering::Relaxed);
        eventually("queries to go through", SOON, || done.load(Ordering::Relaxed) > before + 500);
        restart(&mut plimsoll);
        files.push(plimsoll.process().open_files());
    }
    let before = done.load(Ordering::Relaxed);
    eventually("queries to go through", SOON, || done.load(Ordering::Relaxed) > before + 500);
    on.store(false, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("no client lost anything");
    }
    assert!(files[2] <= files[0] + 8, "{files:?}");
}
