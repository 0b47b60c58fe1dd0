//! COPY, simple and extended, with Syncs that it swallows or not.

use plimsoll_session::{Ending, Holding};

use crate::notation::bytes;
use crate::talk::Talk;
use plimsoll_types::Side;

#[test]
fn simple_copy_in() {
    let mut t = Talk::new();
    t.client("Q:copy");
    assert_eq!(t.server("G"), "c[G]");
    assert_eq!((t.session.holding(&t.link), t.link.ending()), (Holding::CopyIn, Ending::CopyFail));
    assert_eq!(t.client("d:x H S d:y c"), "s[d:x H S d:y c]");
    assert_eq!(t.server("C:COPY Z:I"), "c[C:COPY Z:I] release Clean");
}

#[test]
fn copy_out_passes() {
    let mut t = Talk::new();
    t.client("Q:copy");
    assert_eq!(t.server("H d:1 d:2 c C:COPY Z:I"), "c[H d:1 d:2 c C:COPY Z:I] release Clean");
}

#[test]
fn extended_copy_in_swallows_the_sync_that_was_sent_with_it() {
    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    assert_eq!(t.server("1 2 G"), "c[1 2 G]");
    assert_eq!(t.client("d:x c S"), "s[d:x c S]");
    assert_eq!(t.server("C:COPY Z:I"), "c[C:COPY Z:I] release Clean");
}

#[test]
fn a_batch_whose_sync_was_swallowed_goes_on_when_its_copy_is_done() {
    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    assert_eq!(t.server("1 2 G"), "c[1 2 G]");
    assert_eq!(t.client("d:x c H"), "s[d:x c H]");
    // Not committed, so nobody else may have the connection.
    assert_eq!(t.server("C:COPY"), "c[C:COPY]");
    assert_eq!(t.client("S"), "s[S]");
    assert_eq!(t.server("Z:I"), "c[Z:I] release Clean");
}

#[test]
fn copy_in_that_was_sent_whole() {
    let mut t = Talk::new();
    t.client("P:=copy B: E S d:x c S Q:1");
    assert_eq!(t.server("1 2 G C:COPY Z:I"), "c[1 2 G C:COPY Z:I]");
    assert_eq!(t.server("C:A Z:I"), "c[C:A Z:I] release Clean");
}

#[test]
fn two_copies_in_one_query_end_one_after_the_other() {
    let mut t = Talk::new();
    t.client("Q:copy;copy");
    t.server("G");
    t.client("d:x c");
    assert_eq!(t.server("C:COPY G"), "c[C:COPY G]");
    assert_eq!(t.session.holding(&t.link), Holding::CopyIn);
    assert_eq!(t.client("S c"), "s[S c]");
    assert_eq!(t.server("C:COPY Z:I"), "c[C:COPY Z:I] release Clean");
}

#[test]
fn after_a_failed_simple_copy_its_data_goes_nowhere() {
    let mut t = Talk::new();
    t.client("Q:copy");
    t.server("G");
    t.client("d:bad");
    assert_eq!(t.server("E:bad Z:I"), "c[E:bad Z:I] release Clean");
    assert_eq!(t.client("d:y c"), "");
}

#[test]
fn a_connection_is_given_back_when_its_last_message_is_whole() {
    let mut t = Talk::new();
    t.client("Q:copy");
    t.server("G");
    let data = bytes(Side::Client, "d:xxxx");
    t.client_bytes(&data[..6]);
    assert_eq!(t.link.ending(), Ending::Cut);
    assert_eq!(t.server("E:bad Z:I"), "c[E:bad Z:I]");
    assert_eq!(t.client_bytes(&data[6..]), "s[~3] release Clean");
}

#[test]
fn a_failed_copy_that_had_swallowed_its_sync() {
    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    t.server("1 2 G");
    t.client("d:bad");
    assert_eq!(t.server("E:bad"), "c[E:bad]");
    assert_eq!(t.client("d:y c"), "");
    assert_eq!(t.client("S"), "s[S]");
    // Whether the first Sync is answered too is only known when the server has read what follows it.
    assert_eq!(t.server("Z:I"), "s[Q] c[Z:I]");
    assert_eq!(t.server("I"), "");
    assert_eq!(t.server("Z:I"), "release Clean");
}

#[test]
fn a_failed_copy_that_had_not() {
    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    t.server("1 2 G");
    t.client("d:x c S");
    assert_eq!(t.server("E:trigger Z:I"), "s[Q] c[E:trigger Z:I]");
    assert_eq!(t.client("Q:2"), "s[Q:2]");
    assert_eq!(t.server("Z:I I Z:I"), "c[Z:I]");
    assert_eq!(t.server("C:A Z:I"), "c[C:A Z:I] release Clean");
}

#[test]
fn messages_that_copy_does_not_know_spoil_the_connection() {
    let mut t = Talk::new();
    t.client("Q:copy");
    t.server("G");
    assert_eq!(t.client("Q:1"), "s[Q:1]");
    assert_eq!(t.server("E:unexpected Z:I"), "c[E:unexpected Z:I] release Unusable(ServerStateUnknown)");
}

#[test]
fn syncs_inside_copy_are_not_counted() {
    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    t.server("1 2 G");
    t.client("d:x S c S");
    t.server("C:COPY Z:I");
    assert_eq!((t.counts().queries, t.counts().xacts), (1, 0));
}
