//! Messages that must be kept whole are bounded, each and all together.

#![allow(clippy::unwrap_used)]

mod common;

use common::{SOON, house};
use plimsoll_testkit::{Batch, Client, eventually, tags};

const MIB: usize = 1024 * 1024;

#[test]
fn a_named_statement_that_is_too_large_is_refused_and_an_unnamed_one_passes() {
    let (_postgres, mut plimsoll) = house(|ini| ini.own("collect_max", "64KiB"));
    let sql = format!("SELECT 1 /* {} */", "x".repeat(MIB));
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value_extended(&sql, &[]), "1");
    let failure = client.try_run(&Batch::new().parse("large", &sql).sync()).unwrap_err();
    let error = failure.server();
    assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "54000"));
    assert!(error.message.contains("65536"), "{error}");
    assert!(error.hint.is_some(), "{error}");
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < 2 * MIB as u64, "memory grew by {grown} bytes");
    plimsoll.still_works(&["p0"]);
}

#[test]
fn all_half_sent_statements_together_are_bounded() {
    let (_postgres, mut plimsoll) = house(|ini| {
        ini.own("collect_max", "1MiB").own("collect_memory", "4MiB").set("max_client_conn", "200")
    });
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    let statement = Batch::new().parse("half", &format!("SELECT 1 /* {} */", "x".repeat(MIB - 1000)));
    let half = &statement.bytes()[..statement.bytes().len() - 1];
    let mut refused = 0;
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..40 {
        let mut client = plimsoll.client("app", "p0");
        // Whoever is refused may hear of it while still sending.
        let sent = client.send(half);
        if sent.is_err() || client.hears_within(std::time::Duration::from_millis(20)) {
            let error = client.expect_closed();
            assert!(error.is_none_or(|error| error.sqlstate == "53200"));
            refused += 1;
        } else {
            clients.push(client);
        }
    }
    assert!(refused >= 30, "only {refused} of 40 were refused with room for four");
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < 12 * MIB as u64, "memory grew by {grown} bytes");
    // Those who were not refused go on, and the room comes back with them.
    for client in &mut clients {
        client.send(&statement.bytes()[statement.bytes().len() - 1..]).unwrap();
        assert_eq!(tags(&client.run(&Batch::new().sync())), "1Z");
    }
    clients.clear();
    eventually("the room to come back", SOON, || {
        let mut client = plimsoll.client("app", "p0");
        client.try_run(&statement.clone().sync()).is_ok_and(|answer| tags(&answer) == "1Z")
    });
}

#[test]
fn many_idle_clients_cost_little() {
    let (_postgres, mut plimsoll) = house(|ini| ini.set("max_client_conn", "3000"));
    plimsoll.still_works(&["p0"]);
    let login = plimsoll.login("app", "p0");
    let mut clients: Vec<Client> = (0..200).map(|_| login.client()).collect();
    for client in &mut clients {
        client.query("SELECT 1");
    }
    let before = plimsoll.process().rss_bytes();
    let more: Vec<Client> = (0..800).map(|_| login.client()).collect();
    let grown = plimsoll.process().rss_bytes().saturating_sub(before);
    let each = grown / more.len() as u64;
    // The bench holds the figure of a release build to 2,048; here is what keeps it from growing by a buffer.
    assert!(each < 4_096, "{each} bytes for each idle client");
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}
