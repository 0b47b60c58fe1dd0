//! Messages larger than any buffer stream through; memory stays where it was.

#![allow(clippy::unwrap_used)]

mod common;

use common::house;
use plimsoll_testkit::{Batch, Plimsoll, tags};

/// What one large message may add to the pooler's memory.
const GROWTH_BYTES_MAX: u64 = 2 * 1024 * 1024;

const MIB: usize = 1024 * 1024;

/// Runs `work` twice, and says by how much the most memory ever used grew during the second time.
fn growth(plimsoll: &mut Plimsoll, mut work: impl FnMut(&Plimsoll)) -> u64 {
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    work(plimsoll);
    plimsoll.process().rss_peak_bytes().saturating_sub(before)
}

#[test]
fn a_row_of_64_mib_streams_to_the_client() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let grown = growth(&mut plimsoll, |plimsoll| {
        let mut client = plimsoll.client("app", "p0");
        let answer = client.run(&Batch::new().query(&format!("SELECT repeat('x', {})", 64 * MIB)));
        assert_eq!(tags(&answer), "TDCZ");
        assert_eq!(answer[1].body.len(), 64 * MIB + 6);
        assert!(answer[1].body[6..].iter().all(|byte| *byte == b'x'));
        assert_eq!(client.value("SELECT 'after'"), "after");
    });
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn a_parameter_of_64_mib_streams_to_the_server() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let value = "y".repeat(64 * MIB);
    let grown = growth(&mut plimsoll, |plimsoll| {
        let mut client = plimsoll.client("app", "p0");
        client.set_patience(common::SOON * 3);
        assert_eq!(client.value_extended("SELECT length($1)", &[Some(&value)]), (64 * MIB).to_string());
        // And with a named statement, whose Bind has to be rewritten on its way.
        let batch = Batch::new()
            .parse("named", "SELECT length($1)")
            .bind("", "named", &[Some(&value)])
            .execute("", 0)
            .sync();
        let answer = client.run(&batch);
        assert_eq!(tags(&answer), "12DCZ");
        assert_eq!(answer[2].columns(), [Some((64 * MIB).to_string())]);
    });
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    plimsoll.still_works(&["p0", "p1"]);
}

#[test]
fn a_query_text_of_16_mib_streams_to_the_server() {
    let (_postgres, mut plimsoll) = house(|ini| ini);
    let sql = format!("SELECT length('{}')", "z".repeat(16 * MIB));
    let grown = growth(&mut plimsoll, |plimsoll| {
        let mut client = plimsoll.client("app", "p0");
        assert_eq!(client.value(&sql), (16 * MIB).to_string());
    });
    assert!(grown < GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
}

#[test]
fn many_rows_pass_and_a_client_that_stops_reading_adds_no_memory_without_bound() {
    let (postgres, mut plimsoll) = house(|ini| ini.own("spill", "off"));
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    let mut lazy = plimsoll.client("app", "p0");
    lazy.send(Batch::new().query("SELECT repeat('r', 1000) FROM generate_series(1, 200000)").bytes())
        .unwrap();
    // PostgreSQL has so much to say that it must wait for the client that does not read.
    postgres.wait_for_sessions("wait_event = 'ClientWrite'", 1);
    // Others are served meanwhile.
    for _ in 0..50 {
        plimsoll.still_works(&["p0"]);
    }
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < 2 * GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    // Then it reads all the same, and everything is there.
    let answer = lazy.cycle().unwrap();
    assert_eq!(answer.iter().filter(|message| message.tag == b'D').count(), 200_000);
    assert_eq!(lazy.value("SELECT 1"), "1");
}

#[test]
fn max_packet_size_is_kept() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_packet_size", "20000"));
    let mut client = plimsoll.client("app", "p0");
    assert_eq!(client.value(&format!("SELECT length('{}')", "a".repeat(15_000))), "15000");
    // PgBouncer says nothing before it closes; a reason is better.
    let failure = client.try_query(&format!("SELECT length('{}')", "a".repeat(25_000))).unwrap_err();
    assert!(failure.is_gone() || failure.server().severity == "FATAL");
    plimsoll.still_works(&["p0"]);
}
