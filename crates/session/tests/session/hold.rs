//! Batches are held back until they are whole, and clients that stop in the middle have a limit.

use std::time::Duration;

use plimsoll_session::{Kept, Settings};
use plimsoll_types::{Cause, Moment, PoolMode, Side};

use crate::notation::bytes;
use crate::talk::{Talk, settings};

const HOLD: usize = 2000;
const STALL: Duration = Duration::from_secs(60);

fn holding() -> Talk {
    Talk::with(Settings { hold_bytes_max: HOLD, ..settings(PoolMode::Transaction) })
}

#[test]
fn a_batch_needs_a_server_when_its_end_is_there() {
    for end in ["S", "H", "Q:1", "F:x"] {
        let mut t = holding();
        assert_eq!(t.client("P:=x"), "hold back", "{end}");
        assert_eq!(t.client("B: D E"), "hold back", "{end}");
        let said = t.client(end);
        assert!(said.starts_with("s[P:=x B D E "), "{end}: {said}");
    }
}

#[test]
fn wherever_it_is_cut_nothing_of_it_goes_out_before_its_end() {
    for batch in ["P:a=x B:a E S", "P:=x B: Dp: E C:a H", "Q:select", "P:=x Q:1", "B:b E S P:=x"] {
        let all = bytes(Side::Client, batch);
        // The last one goes on behind its Sync.
        let end = bytes(Side::Client, batch.split(" P:=x").next().unwrap_or(batch)).len();
        let end = if batch.starts_with('P') { all.len() } else { end };
        for cut in 1..end {
            let mut t = holding();
            let said = t.client_bytes(&all[..cut]);
            assert!(said.is_empty() || said == "hold back" || said.starts_with("collect"), "{batch}: {said}");
            assert!(!t.held, "{batch} at {cut}");
            t.client_bytes(&all[cut..]);
            assert!(t.held, "{batch} at {cut}");
        }
    }
}

#[test]
fn what_is_too_long_is_not_held_back() {
    let mut t = holding();
    let long = "x".repeat(HOLD);
    assert!(t.client(&format!("P:={long}")).starts_with("s["));
    let mut t = holding();
    // It is seen from its header that it will be too long.
    let query = bytes(Side::Client, &format!("Q:{long}"));
    assert!(t.client_bytes(&query[..10]).starts_with("s["));
    let mut t = holding();
    let half = "x".repeat(HOLD / 2);
    assert_eq!(t.client(&format!("P:={half}")), "hold back");
    assert!(t.client(&format!("P:={half}")).starts_with("s["));
}

#[test]
fn whoever_leaves_half_a_batch_behind_never_had_a_server() {
    let mut t = holding();
    assert_eq!(t.client("P:=x B: E X"), "close Client: client close request");
    assert!(!t.held);
    assert!(t.sent_to_server.is_empty());
}

#[test]
fn strange_messages_are_for_the_server_to_refuse() {
    let mut t = holding();
    assert!(t.client("P:=x d:x").starts_with("s[P:=x"));
}

#[test]
fn with_a_server_nothing_is_held_back() {
    let mut t = holding();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    assert_eq!(t.client("P:=x"), "s[P:=x]");
}

/// What the client owes, at second 100.
fn stall(t: &mut Talk, kept: Kept) -> Option<(Moment, Cause)> {
    t.link.note_half_way(Moment(100_000_000));
    t.session.poll_stall(&t.link, kept)
}

fn stalling() -> Talk {
    let mut t = Talk::with(Settings { client_stall_timeout: STALL, ..settings(PoolMode::Transaction) });
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    t
}

#[test]
fn a_client_that_stops_in_the_middle_has_a_limit() {
    let due = Some((Moment(160_000_000), Cause::ClientStalled));
    let half = bytes(Side::Client, "Q:select_something");
    let mut t = stalling();
    assert!(!t.link.is_half_way());
    assert_eq!(stall(&mut t, Kept::Nothing), None);
    // Less than a header.
    assert_eq!(stall(&mut t, Kept::Part), due);
    t.client_bytes(&half[..8]);
    assert!(t.link.is_half_way());
    assert_eq!(stall(&mut t, Kept::Nothing), due);
    for begun in ["P:=x", "P:=x B: E", "P:=x S P:=x"] {
        let mut t = stalling();
        t.client(begun);
        assert!(t.link.is_half_way(), "{begun}");
        let answered = !begun.contains('S');
        assert_eq!(stall(&mut t, Kept::Nothing), due.clone().filter(|_| answered), "{begun}");
    }
}

#[test]
fn a_client_that_waits_for_an_answer_has_not_stopped() {
    let due = Some((Moment(160_000_000), Cause::ClientStalled));
    let mut t = stalling();
    t.client("P:=x B: E H");
    assert_eq!(stall(&mut t, Kept::Nothing), None);
    t.server("1 2");
    assert_eq!(stall(&mut t, Kept::Nothing), None);
    t.server("C:SELECT");
    assert_eq!(stall(&mut t, Kept::Nothing), due);
    t.client("S");
    assert!(!t.link.is_half_way());
    assert_eq!(stall(&mut t, Kept::Nothing), None);
    // A query before the half message is answered first.
    let mut t = stalling();
    t.client("Q:1");
    let half = bytes(Side::Client, "Q:select_something");
    t.client_bytes(&half[..8]);
    assert_eq!(stall(&mut t, Kept::Nothing), None);
    t.server("C:SELECT Z:T");
    assert_eq!(stall(&mut t, Kept::Nothing), due);
}

#[test]
fn copy_in_may_take_its_time_between_two_rows() {
    let mut t = stalling();
    t.client("Q:copy");
    t.server("G");
    t.client("d:x");
    assert_eq!(stall(&mut t, Kept::Nothing), None);
    let data = bytes(Side::Client, "d:yyyyyyyy");
    t.client_bytes(&data[..7]);
    assert_eq!(stall(&mut t, Kept::Nothing), Some((Moment(160_000_000), Cause::ClientStalled)));
}

#[test]
fn setting_parameters_has_a_limit() {
    let limit = Duration::from_secs(5);
    let mut t = Talk::with(Settings { settle_timeout: limit, ..settings(PoolMode::Transaction) });
    let mut other = t.link.params().as_ref().clone();
    other.values[4] = Some("elsewhere".into());
    t.link = plimsoll_session::Link::new(std::sync::Arc::new(other));
    t.client("Q:1");
    assert_eq!(t.session.poll_timeout(Some(&t.link)), Some((Moment(5_000_001), Cause::ServerSilent)));
    t.server("K:application_name= C:SET Z:I");
    assert_eq!(t.session.poll_timeout(Some(&t.link)), None);
}

#[test]
fn whoever_stops_in_the_middle_of_copy_data_waits_for_nothing() {
    let due = Some((Moment(160_000_000), Cause::ClientStalled));
    // The Sync in front of the data is swallowed by the COPY.
    for (begun, answer, end) in
        [("Q:copy", "G", "c"), ("P:=copy B: E S", "1 2 G", "c S"), ("P:=copy B: E H", "1 2 G", "c S")]
    {
        let mut t = stalling();
        t.client(begun);
        t.server(answer);
        t.client("d:x");
        assert_eq!(stall(&mut t, Kept::Nothing), None, "{begun}");
        // Part of a header; neither the COPY itself nor a Flush is an answer that is on its way.
        assert_eq!(stall(&mut t, Kept::Part), due, "{begun}");
        let data = bytes(Side::Client, "d:yyyyyyyy");
        t.client_bytes(&data[..7]);
        assert_eq!(stall(&mut t, Kept::Nothing), due, "{begun}");
        t.client_bytes(&data[7..]);
        t.client(end);
        // Its end is there: now the server has to answer.
        assert_eq!(stall(&mut t, Kept::Part), None, "{begun}");
    }
}
