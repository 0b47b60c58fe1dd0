//! What the ledger hears of what goes by.

use plimsoll_session::{Holding, Noting};
use plimsoll_types::{PoolMode, Side};

use crate::notation::bytes;
use crate::talk::{Talk, settings};

fn seen(t: &mut Talk) -> Vec<String> {
    std::mem::take(&mut t.seen)
}

#[test]
fn the_first_and_the_last_of_a_pipeline() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client("Q:one Q:two Q:three");
    assert_eq!(seen(&mut t), ["one", "three"]);
    assert_eq!(t.statements, 3);
    t.server("T R R C:SELECT_2 Z:I R C:A Z:I");
    assert_eq!(t.rows, 3);
    assert_eq!(seen(&mut t), [""; 0]);
}

#[test]
fn nothing_without_a_ledger() {
    let mut t = Talk::with(settings(PoolMode::Transaction));
    t.client("Q:one P:a=x B:a E S F");
    assert_eq!((seen(&mut t), t.statements), (vec![], 0));
}

#[test]
fn executions_of_prepared_statements_are_counted_since_their_parse() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client("P:a=x S");
    t.server("1 Z:I");
    assert_eq!((seen(&mut t), t.statements), (vec![], 0));
    for before in 0..3 {
        t.client("B:a E S");
        t.server("2 C:A Z:I");
        assert_eq!(seen(&mut t), [format!("x after {before}")]);
    }
    assert_eq!(t.statements, 3);
    t.client("C:a P:a=x B:a E B:a E S");
    assert_eq!(seen(&mut t), ["x after 0", "x after 1"]);
    t.server("1 2 C:A 2 C:A Z:I");
    assert_eq!(t.statements, 5);
}

#[test]
fn a_bind_that_has_to_wait_is_counted_once() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client("P:a=x S");
    t.server("1 Z:I");
    // Whether the statement is there after this is known when it is answered.
    assert!(t.client("Q:begin P:b=bad S B:b E S").contains("busy"));
    t.server("C:BEGIN Z:T E:bad Z:E");
    t.client("Q:rollback");
    t.server("E:none Z:E C:ROLLBACK Z:I");
    t.seen.clear();
    t.client("B:a E S");
    assert_eq!(seen(&mut t), ["x after 0"]);
}

#[test]
fn unnamed_statements_bring_their_text_when_it_is_there() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let mut t = Talk::noting(mode);
        t.client("P:=one B: E S");
        assert_eq!((seen(&mut t), t.statements), (vec!["one".to_owned()], 1));
        t.server("1 2 C:A Z:I");
        t.client("P:=two D: H");
        assert_eq!((seen(&mut t), t.statements), (vec!["two".to_owned()], 1));
        t.server("1 t n");
        t.client("B: E S");
        assert_eq!((seen(&mut t), t.statements), (vec!["?".to_owned()], 2));
        t.server("2 C:A Z:I");
    }
    let mut t = Talk::noting(PoolMode::Session);
    t.client("P:a=one B:a E S");
    assert_eq!(seen(&mut t), ["one"]);
    t.server("1 2 C:A Z:I");
    t.client("B:a E S");
    assert_eq!(seen(&mut t), ["?"]);
}

#[test]
fn what_follows_an_error_in_a_batch_is_not_executed() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client("P:=one B: E H");
    t.server("1 2 E:failed");
    assert_eq!((seen(&mut t), t.statements), (vec!["one".to_owned()], 1));
    t.client("P:=two B: E Q:three S");
    assert_eq!((seen(&mut t), t.statements), (vec![], 1));
    t.server("Z:I");
    t.client("Q:four");
    assert_eq!((seen(&mut t), t.statements), (vec!["four".to_owned()], 2));
}

#[test]
fn a_text_that_is_cut_says_so() {
    let whole = bytes(Side::Client, &format!("Q:SELECT_{}", "x".repeat(20_000)));
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client_bytes(&whole[..20]);
    assert_eq!(seen(&mut t), ["SELECT xxxxxxxx... of 20007"]);
    assert_eq!(t.session.holding(&t.link), Holding::HalfBatch);
    t.client_bytes(&whole[20..]);
    assert_eq!((seen(&mut t), t.statements), (vec![], 1));
    assert_eq!(t.session.holding(&t.link), Holding::Executing);
    t.server("C:SELECT_1 Z:I");

    // What has to be looked into is kept until there is enough of it, and takes no server connection before.
    let whole = bytes(Side::Client, &format!("Q:CREATE_{}", "x".repeat(20_000)));
    assert_eq!(t.client_bytes(&whole[..20]), "collect 8192");
    assert!(!t.held);
    t.client_bytes(&whole[20..10_000]);
    let said = seen(&mut t);
    assert!(said.len() == 1 && said[0].ends_with("x... of 20007"));
}

#[test]
fn an_empty_query_is_no_harm() {
    let mut t = Talk::noting(PoolMode::Session);
    t.client_bytes(&[b'Q', 0, 0, 0, 4, b'Q', 0, 0, 0, 5, 0]);
    assert_eq!((seen(&mut t), t.statements), (vec![String::new(), String::new()], 2));
    t.session.set_noting(Noting::Off);
}
