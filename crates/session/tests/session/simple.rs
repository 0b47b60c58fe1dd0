//! Simple queries, function calls, what may come at any time, and the pool modes.

use plimsoll_session::{Ending, Holding, Release, Session};
use plimsoll_types::{PoolMode, TxState};

use crate::talk::{Talk, settings};

#[test]
fn a_query_holds_the_connection_until_it_is_ready() {
    let mut t = Talk::new();
    assert_eq!(t.client("Q:select_1"), "s[Q:select_1]");
    assert_eq!(t.session.holding(&t.link), Holding::Executing);
    assert_eq!(t.link.ending(), Ending::Cancel);
    assert_eq!(t.server("T R C:SELECT_1"), "c[T R C:SELECT_1]");
    assert_eq!(t.server("Z:I"), "c[Z:I] release Clean");
    assert_eq!(t.session.holding(&t.link), Holding::Nothing);
    assert_eq!(t.link.ending(), Ending::Terminate);
}

#[test]
fn a_transaction_holds_it_until_it_ends() {
    let mut t = Talk::new();
    t.client("Q:begin");
    assert_eq!(t.server("C:BEGIN Z:T"), "c[C:BEGIN Z:T]");
    assert_eq!(t.session.holding(&t.link), Holding::InTransaction);
    t.client("Q:bad");
    assert_eq!(t.server("E:syntax Z:E"), "c[E:syntax Z:E]");
    assert_eq!((t.session.holding(&t.link), t.link.tx()), (Holding::InFailedTransaction, TxState::Failed));
    t.client("Q:rollback");
    assert_eq!(t.server("C:ROLLBACK Z:I"), "c[C:ROLLBACK Z:I] release Clean");
}

#[test]
fn several_queries_at_once_are_all_answered_before_it_is_released() {
    let mut t = Talk::new();
    assert_eq!(t.client("Q:1 Q:2 F"), "s[Q:1 Q:2 F]");
    assert_eq!(t.server("C:A Z:I"), "c[C:A Z:I]");
    assert_eq!(t.server("E:x Z:I"), "c[E:x Z:I]");
    assert_eq!(t.server("V Z:I"), "c[V Z:I] release Clean");
}

#[test]
fn notices_notifications_and_parameters_pass_at_any_time() {
    let mut t = Talk::new();
    t.client("Q:1");
    assert_eq!(
        t.server("N:n A T K:application_name=x R A C:A N:n"),
        "c[N:n A T K:application_name=x R A C:A N:n]"
    );
    assert_eq!(t.server("K:search_path=y Z:I"), "c[K:search_path=y Z:I] release Clean");
    assert_eq!(t.session.params().values[4].as_deref(), Some("x"));
    assert_eq!(t.link.params().values[4].as_deref(), Some("x"));
}

/// A server that answers and is gone: had the client its last words, it would take them for the answer to its next
/// statement, and that is executed elsewhere.
#[test]
fn what_follows_the_last_answer_is_nobodys() {
    let gone = "server ended the connection: FATAL: going down (XX000)";
    for mode in [PoolMode::Transaction, PoolMode::Statement] {
        for ask in ["Q:1", "P:=x B: E S", "F"] {
            let answer = if ask == "Q:1" { "C:A Z:I" } else { "1 2 C:A Z:I" };
            let answer = if ask == "F" { "V Z:I" } else { answer };
            let mut t = Talk::with(settings(mode));
            t.client(ask);
            let said = format!("c[{answer}] release Clean");
            assert_eq!(t.server(&format!("{answer} E:going_down")), format!("{said} unusable: {gone}"));
            let mut t = Talk::with(settings(mode));
            t.client(ask);
            assert_eq!(t.server(&format!("{answer} N:n A")), format!("{said} idle[N:n A]"));
            let mut t = Talk::with(settings(mode));
            t.client(ask);
            assert_eq!(
                t.server(&format!("{answer} C:B")),
                format!("{said} unusable: bad packet from server: message while idle")
            );
        }
    }
}

#[test]
fn a_value_reported_behind_the_last_answer_is_the_servers_and_not_the_clients() {
    let mut t = Talk::new();
    t.client("Q:1");
    let said = t.server("C:A Z:I K:DateStyle=SQL");
    assert_eq!(said, "c[C:A Z:I] release Clean idle[K:DateStyle=SQL]");
    assert_eq!(t.link.params().values[0].as_deref(), Some("SQL"));
    assert_eq!(t.session.params().values[0].as_deref(), Some("ISO, MDY"));
    assert_eq!(t.client("Q:2"), "s[Q:SET_DateStyle='ISO,_MDY';] settling");
}

#[test]
fn what_follows_an_answer_passes_while_the_server_stays_with_the_client() {
    let mut t = Talk::with(settings(PoolMode::Session));
    t.client("Q:1");
    assert_eq!(t.server("C:A Z:I N:n A E:gone"), "c[C:A Z:I N:n A E:gone]");
    let mut t = Talk::new();
    t.client("Q:begin");
    assert_eq!(t.server("C:BEGIN Z:T A E:gone"), "c[C:BEGIN Z:T A E:gone]");
    let mut t = Talk::new();
    t.client("Q:1 Q:2");
    assert_eq!(t.server("C:A Z:I A"), "c[C:A Z:I A]");
    assert_eq!(t.server("C:A Z:I A"), "c[C:A Z:I] release Clean idle[A]");
    let mut t = Talk::new();
    t.client("Q:1 P:=x");
    assert_eq!(t.server("C:A Z:I A E:gone"), "c[C:A Z:I A E:gone]");
}

#[test]
fn without_a_connection_sync_is_answered_and_flush_is_not() {
    let mut t = Talk::new();
    assert_eq!(t.client("S H S"), "c[Z:I Z:I]");
    assert_eq!(t.client("d:x c f"), "");
    assert_eq!(t.client("X"), "close Client: client close request");
}

#[test]
fn what_the_protocol_does_not_know_ends_the_client() {
    assert_eq!(Talk::new().client("?"), "close Client: unknown pkt");
    assert_eq!(Talk::new().client("p:x"), "close Client: unknown pkt");
    let answer = Talk::new().client_bytes(&[b'Q', 0, 0, 0, 3]);
    assert_eq!(answer, "close Client: bad packet header: '5100000003'");
    let mut t = Talk::new();
    t.client("Q:begin");
    assert_eq!(t.client("?"), "close Client: unknown pkt");
}

#[test]
fn an_answer_that_nobody_asked_for_ends_the_server() {
    for answer in ["Z:I", "1", "2", "3", "s", "C:A", "n"] {
        let mut t = Talk::new();
        t.client("Q:1");
        t.server("C:A Z:T");
        assert!(t.server(answer).starts_with("close Server: bad packet from server"), "{answer}");
    }
}

#[test]
fn session_pooling_keeps_it() {
    let mut t = Talk::with(settings(PoolMode::Session));
    assert_eq!(t.client("P:a=x B:a E S"), "s[P:a=x B:a E S]");
    assert_eq!(t.server("1 2 C:A Z:I"), "c[1 2 C:A Z:I]");
    assert_eq!(t.session.holding(&t.link), Holding::Session);
    assert_eq!(t.client("S"), "s[S]");
    assert_eq!(t.server("Z:I"), "c[Z:I]");
    assert_eq!(t.client("P:a=x C:a S"), "s[P:a=x C:a S]");
    assert_eq!(t.server("E:exists Z:I"), "c[E:exists Z:I]");
    assert_eq!(format!("{:?}", t.session.detach(&mut t.link)), "Dirty");
}

#[test]
fn statement_pooling_refuses_transactions_and_hides_their_begin() {
    let mut t = Talk::with(settings(PoolMode::Statement));
    t.client("Q:1 Q:begin");
    assert_eq!(
        t.server("R C:A Z:I C:BEGIN Z:T"),
        "c[R C:A Z:I] close Client: transaction blocks not allowed in statement pooling mode"
    );
    assert_eq!(t.session.detach(&mut t.link), Release::Unfinished);
}

#[test]
fn a_client_that_leaves_in_the_middle_leaves_something_to_end() {
    for begun in ["Q:1", "P:=x", "P:a=x H", "Q:copy"] {
        let mut t = Talk::new();
        t.client(begun);
        assert_eq!(t.session.detach(&mut t.link), Release::Unfinished, "{begun}");
    }
}

#[test]
fn queries_and_transactions_are_counted_as_pgbouncer_counts_them() {
    let mut t = Talk::new();
    t.client("P:a=x S");
    t.server("1 Z:I");
    t.client("B:a E S");
    t.server("2 C:A Z:I");
    let counts = t.counts();
    assert_eq!((counts.queries, counts.xacts), (2, 2));
    assert_eq!((counts.client_parses, counts.server_parses, counts.binds), (1, 1, 1));
    t.client("Q:begin Q:1");
    t.server("C:BEGIN Z:T C:A Z:T");
    t.client("Q:commit Q:2");
    t.now.0 += 7;
    t.server("C:COMMIT Z:I");
    t.now.0 += 5;
    t.server("C:A Z:I");
    let counts = t.counts();
    assert_eq!((counts.queries, counts.xacts), (4, 2));
    assert_eq!((counts.query_us, counts.xact_us), (7 + 5, 7 + 5));
}

#[test]
fn an_idle_client_is_small() {
    assert!(size_of::<Session>() <= 160, "{} bytes", size_of::<Session>());
}
