//! What a session leaves behind in its server connection: how it comes, how it goes, how it is split.

use proptest::prelude::*;

use plimsoll_session::{Noting, Round, RoundStep, Tracked};
use plimsoll_types::{Pin, PoolMode, Side};
use plimsoll_wire::encode;

use crate::notation::bytes;
use crate::talk::{Talk, settings};

fn query(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode::query(&mut out, text.as_bytes());
    out
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode::parse(&mut out, name.as_bytes(), &[text.as_bytes(), &[0, 0, 0]].concat());
    out
}

fn pins(t: &Talk) -> Vec<Pin> {
    t.link.pins().iter().collect()
}

/// A simple query, all of it answered with this tag.
fn done(t: &mut Talk, text: &str, tag: &str) {
    t.client_bytes(&query(text));
    t.server(&format!("C:{tag} Z:I"));
}

const BOTH: [PoolMode; 2] = [PoolMode::Session, PoolMode::Transaction];

#[test]
fn each_comes_and_goes() {
    for mode in BOTH {
        for (come, came, pin, go, gone) in [
            ("LISTEN x", "LISTEN", Pin::Listen, "UNLISTEN *", "UNLISTEN"),
            ("CREATE TEMP TABLE t (a int)", "CREATE_TABLE", Pin::TempTable, "DISCARD TEMP", "DISCARD_TEMP"),
            ("SET work_mem = 1", "SET", Pin::Setting, "RESET ALL", "RESET"),
            ("PREPARE p AS SELECT 1", "PREPARE", Pin::Prepare, "DEALLOCATE ALL", "DEALLOCATE_ALL"),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE_CURSOR", Pin::HeldCursor, "close all", "X"),
            ("DO 'x'", "DO", Pin::Unknown, "DISCARD ALL", "DISCARD_ALL"),
            ("LISTEN x", "LISTEN", Pin::Listen, "DISCARD ALL", "DISCARD_ALL"),
        ] {
            let mut t = Talk::noting(mode);
            done(&mut t, come, came);
            assert_eq!(pins(&t), [pin], "{come}");
            done(&mut t, "UNLISTEN y; CLOSE c; RESET work_mem", "X");
            assert_eq!(pins(&t), [pin], "{come}");
            done(&mut t, go, gone);
            assert_eq!(pins(&t), [], "{go}");
            assert_eq!(t.link.unknown_by(), None);
        }
    }
}

#[test]
fn locks_by_functions_are_seen_in_session_pooling_and_in_named_statements() {
    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, "SELECT pg_advisory_lock(1)", "SELECT_1");
    assert_eq!(pins(&t), [Pin::AdvisoryLock]);
    done(&mut t, "SELECT pg_advisory_unlock(1)", "SELECT_1");
    assert_eq!(pins(&t), [Pin::AdvisoryLock]);
    done(&mut t, "SELECT pg_advisory_unlock_all()", "SELECT_1");
    assert_eq!(pins(&t), []);

    let mut t = Talk::noting(PoolMode::Transaction);
    done(&mut t, "SELECT pg_advisory_lock(1)", "SELECT_1");
    assert_eq!(pins(&t), []);
    t.client_bytes(&[&parse("a", "SELECT pg_advisory_lock(1)")[..], &bytes(Side::Client, "S")].concat());
    t.server("1 Z:I");
    assert_eq!(pins(&t), []);
    t.client("B:a E S");
    t.server("2 C:SELECT_1 Z:I");
    assert_eq!(pins(&t), [Pin::AdvisoryLock]);
}

#[test]
fn what_is_going_on_pins_too() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    assert_eq!(pins(&t), [Pin::Transaction]);
    t.client("P:=SELECT_1 B: E H");
    assert_eq!(pins(&t), [Pin::Transaction, Pin::Portal]);
    t.server("1 2 s");
    t.client("S");
    t.server("Z:T");
    assert_eq!(t.session.pins(&t.link).iter().collect::<Vec<_>>(), [Pin::Transaction]);
    t.client("Q:COPY_t_FROM_STDIN");
    t.server("G");
    assert_eq!(pins(&t), [Pin::Transaction, Pin::Copy]);
    t.client("c");
    t.server("C:COPY_0 Z:T");
    t.client("Q:commit");
    t.server("C:COMMIT Z:I");
    assert_eq!(pins(&t), []);
    assert!(t.session.pins(&t.link).is_empty());
}

#[test]
fn the_extended_protocol() {
    for mode in BOTH {
        let mut t = Talk::noting(mode);
        t.client_bytes(&[&parse("", "LISTEN x")[..], &bytes(Side::Client, "B: E S")].concat());
        assert_eq!(pins(&t), [Pin::Listen]);
        t.server("1 2 C:LISTEN Z:I");
        assert_eq!(pins(&t), [Pin::Listen]);
        t.client_bytes(&[&parse("", "UNLISTEN *")[..], &bytes(Side::Client, "D: S")].concat());
        t.server("1 t n Z:I");
        assert_eq!(pins(&t), [Pin::Listen], "not executed");
        t.client_bytes(&[&parse("", "UNLISTEN *")[..], &bytes(Side::Client, "B:p/ E:p S")].concat());
        t.server("1 2 C:UNLISTEN Z:I");
        assert_eq!(pins(&t), [Pin::Listen], "executed by another portal, in doubt");
        t.client_bytes(&[&parse("", "UNLISTEN *")[..], &bytes(Side::Client, "B: E S")].concat());
        t.server("1 2 C:UNLISTEN Z:I");
        assert_eq!(pins(&t), []);
    }
}

#[test]
fn a_named_statement_leaves_it_where_it_is_executed() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.client_bytes(&[&parse("a", "SET work_mem = 1")[..], &bytes(Side::Client, "S")].concat());
    t.server("1 Z:I");
    // On another server connection.
    let params = t.link.params().clone();
    t.link = plimsoll_session::Link::new(params);
    t.client("B:a E S");
    t.server("1 2 C:SET Z:I");
    assert_eq!(pins(&t), [Pin::Setting]);
    done(&mut t, "RESET ALL", "RESET");
    assert_eq!(pins(&t), []);
    t.client("B:a E S");
    t.server("2 C:SET Z:I");
    assert_eq!(pins(&t), [Pin::Setting]);
}

#[test]
fn what_was_prepared_comes_again_when_it_is_bound_again() {
    for name in ["", "a"] {
        let mut t = Talk::noting(PoolMode::Session);
        t.client_bytes(&[&parse(name, "LISTEN x")[..], &bytes(Side::Client, "S")].concat());
        t.server("1 Z:I");
        assert_eq!(pins(&t), [Pin::Listen], "in doubt it counts from its Parse on");
        let mut other = parse("b", "UNLISTEN *");
        other.extend(bytes(Side::Client, "S"));
        t.client_bytes(&other);
        t.server("1 Z:I");
        done(&mut t, "UNLISTEN *", "UNLISTEN");
        assert_eq!(pins(&t), []);
        t.client(&format!("B:{name} E S"));
        t.server("2 C:LISTEN Z:I");
        assert_eq!(pins(&t), [Pin::Listen]);
    }
}

#[test]
fn what_fails_by_itself_leaves_nothing_but_what_cannot_be_undone() {
    for (text, left) in [
        ("SET nothing = 1", &[][..]),
        ("CREATE TEMP TABLE t (a int)", &[]),
        ("LISTEN x x", &[]),
        ("SELCT 1", &[]),
        ("SELECT 'x", &[]),
        ("SELECT pg_advisory_lock(1), 1/0", &[Pin::AdvisoryLock]),
        ("PREPARE p AS SELECT 1", &[Pin::Prepare]),
        ("DO 'x'", &[Pin::Unknown]),
        ("SET work_mem = 1; SET nothing = 1", &[Pin::Setting]),
        ("LISTEN x; COMMIT; SELECT 1/0", &[Pin::Listen]),
    ] {
        let mut t = Talk::noting(PoolMode::Session);
        t.client_bytes(&query(text));
        t.server("E:failed Z:I");
        assert_eq!(pins(&t), left, "{text}");
        assert_eq!(t.link.unknown_by().is_some(), left.contains(&Pin::Unknown), "{text}");
    }
    // What fails clears nothing away either.
    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, "LISTEN x", "LISTEN");
    t.client_bytes(&query("UNLISTEN *; SELECT 1/0"));
    t.server("C:UNLISTEN E:failed Z:I");
    assert_eq!(pins(&t), [Pin::Listen]);
}

#[test]
fn a_rollback_brings_back_what_was_cleared_away() {
    let mut t = Talk::noting(PoolMode::Transaction);
    done(&mut t, "LISTEN x", "LISTEN");
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    t.client_bytes(&query("UNLISTEN *"));
    t.server("C:UNLISTEN Z:T");
    t.client("Q:rollback");
    t.server("C:ROLLBACK Z:I");
    assert_eq!(pins(&t), [Pin::Listen]);
    t.client_bytes(&query("BEGIN; UNLISTEN *; ROLLBACK"));
    t.server("C:BEGIN C:UNLISTEN C:ROLLBACK Z:I");
    assert_eq!(pins(&t), [Pin::Listen]);
    t.client_bytes(&query("BEGIN; UNLISTEN *; COMMIT"));
    t.server("C:BEGIN C:UNLISTEN C:COMMIT Z:I");
    assert_eq!(pins(&t), []);
}

#[test]
fn in_a_pipeline_the_order_counts_and_doubt_pins() {
    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, "SET work_mem = 1", "SET");
    t.client_bytes(&[query("DISCARD ALL"), query("LISTEN x")].concat());
    t.server("C:DISCARD_ALL Z:I C:LISTEN Z:I");
    assert_eq!(pins(&t), [Pin::Listen]);
    t.client_bytes(&[query("UNLISTEN *"), query("LISTEN x")].concat());
    t.server("C:UNLISTEN Z:I C:LISTEN Z:I");
    assert_eq!(pins(&t), [Pin::Listen]);
    // The failure is of the second, the first has been done.
    t.client_bytes(&[query("SET work_mem = 1"), query("SELECT 1/0")].concat());
    t.server("C:SET Z:I E:failed Z:I");
    assert_eq!(pins(&t), [Pin::Listen, Pin::Setting]);
    let mut t = Talk::noting(PoolMode::Session);
    t.client_bytes(&[query("SELECT 1/0"), query("SET work_mem = 1")].concat());
    t.server("E:failed Z:I C:SET Z:I");
    assert_eq!(pins(&t), [Pin::Setting]);
}

#[test]
fn settings_that_are_replayed_pin_nobody() {
    let mut t = Talk::noting(PoolMode::Transaction);
    t.tracked = Tracked::new(&["search_path".to_owned()]);
    done(&mut t, "SET application_name = 'x'", "SET");
    assert_eq!(pins(&t), []);
    t.client_bytes(&query("SET Search_Path = x"));
    t.server("C:SET K:search_path=x Z:I");
    assert_eq!(pins(&t), []);
    // A server that does not report it cannot have it replayed.
    done(&mut t, "SET search_path = y", "SET");
    assert_eq!(pins(&t), [Pin::Setting]);
}

#[test]
fn what_reset_all_leaves_alone_stays() {
    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, "SET ROLE x", "SET");
    done(&mut t, "RESET ALL", "RESET");
    assert_eq!(pins(&t), [Pin::Setting]);
    done(&mut t, "DISCARD ALL", "DISCARD_ALL");
    assert_eq!(pins(&t), []);
}

#[test]
fn functions_called_by_number() {
    let call = |number: u32| {
        let mut out = Vec::new();
        encode::message(&mut out, b'F', |out| {
            out.extend_from_slice(&[&number.to_be_bytes()[..], &[0; 6]].concat())
        });
        out
    };
    let mut t = Talk::noting(PoolMode::Session);
    t.client_bytes(&call(952));
    t.server("V Z:I");
    assert_eq!(pins(&t), []);
    t.client_bytes(&call(2880));
    t.server("V Z:I");
    assert_eq!((pins(&t), t.link.unknown_by()), (vec![Pin::Unknown], Some(&b"(function call)"[..])));
}

#[test]
fn the_statement_that_made_it_unknown_is_kept_and_bounded() {
    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, &format!("SELECT 1; DO '{}'; CALL p()", "x".repeat(500)), "DO");
    let kept = t.link.unknown_by().expect("a statement");
    assert!(kept.starts_with(b"DO 'xxx") && kept.len() == 120);
    done(&mut t, "CALL p()", "CALL");
    assert!(t.link.unknown_by().expect("a statement").starts_with(b"DO"));
}

#[test]
fn cleaning_leaves_nothing() {
    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, "LISTEN x; DO 'x'", "DO");
    assert_eq!(pins(&t), [Pin::Listen, Pin::Unknown]);
    t.session.detach(&mut t.link);
    let mut round = Round::start("DISCARD ALL", &mut Vec::new());
    let answer = bytes(Side::Server, "C:DISCARD_ALL Z:I");
    assert!(matches!(round.on_server(&mut t.link, &answer, &t.tracked,), RoundStep::Done { .. }));
    assert_eq!((pins(&t), t.link.unknown_by()), (vec![], None));

    let mut t = Talk::noting(PoolMode::Session);
    done(&mut t, "LISTEN x; DO 'x'", "DO");
    t.link.note_cleaned();
    assert_eq!((pins(&t), t.link.unknown_by()), (vec![], None));
}

#[test]
fn what_went_by_while_nobody_looked_is_unknown() {
    for said in [query("SELECT 1"), bytes(Side::Client, "P:=x B: E S"), bytes(Side::Client, "F")] {
        let mut t = Talk::with(settings(PoolMode::Session));
        assert_eq!(pins(&t), []);
        t.client_bytes(&said);
        assert!(t.link.pins().has(Pin::Unknown));
        t.session.set_noting(Noting::On);
        t.link.note_cleaned();
        assert!(!t.link.pins().has(Pin::Unknown));
    }
}

#[test]
fn a_long_text_is_told_by_its_tags_in_transaction_pooling() {
    let long = |begin: &str, end: &str| query(&format!("{begin} '{}'{end}", "x".repeat(40_000)));
    for (said, tags, left) in [
        (long("INSERT INTO t SELECT", ""), "C:INSERT_0_1", &[][..]),
        (long("SELECT", "; LISTEN x"), "C:SELECT_1 C:LISTEN", &[Pin::Listen]),
        (long("SELECT", "; DO 'x'"), "C:SELECT_1 C:DO", &[Pin::Unknown]),
        (long("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS", ""), "C:CREATE_FUNCTION", &[]),
        (long("LISTEN x; SELECT", ""), "C:LISTEN C:SELECT_1", &[Pin::Listen]),
    ] {
        let mut t = Talk::noting(PoolMode::Transaction);
        t.client_bytes(&said);
        t.server(&format!("{tags} Z:I"));
        assert_eq!(pins(&t), left, "{tags}");
        let mut t = Talk::noting(PoolMode::Session);
        t.client_bytes(&said);
        assert!(t.link.pins().has(Pin::Unknown), "{tags}");
    }
}

#[test]
fn a_text_that_begins_plainly_and_comes_in_pieces_is_told_by_its_tags() {
    for at in 1..query("SELECT 1; LISTEN x").len() {
        let mut t = Talk::noting(PoolMode::Transaction);
        let said = query("SELECT 1; LISTEN x");
        t.client_bytes(&said[..at]);
        t.client_bytes(&said[at..]);
        t.server("C:SELECT_1 C:LISTEN Z:I");
        assert_eq!(pins(&t), [Pin::Listen], "{at}");
    }
}

/// Texts as they come, with one that leaves something now and then.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "SELECT 1",
        "LISTEN x",
        "UNLISTEN *",
        "SET a = 1",
        "SET LOCAL a = 1",
        "RESET ALL",
        "DISCARD ALL",
        "begin",
        "COMMIT",
        "rollback",
        "CREATE TEMP TABLE t ()",
        "PREPARE p AS SELECT 1",
        "DO 'x;'",
        "/* a",
        "*/",
        "'",
        "--",
        "\n",
        ";",
        ";",
        "$$",
        "pg_advisory_lock(1)",
        " select pg_advisory_unlock_all()",
        " ",
        "\0",
        "ä",
    ]);
    prop_oneof![
        // One that begins plainly and goes on with something else is told by its tags, which are not true here.
        8 => prop::collection::vec(pieces, 0..6).prop_map(|pieces| match pieces.concat() {
            text if text.starts_with("SELECT 1") => format!(" {text}"),
            text => text,
        }),
        1 => (0..20_000_usize).prop_map(|n| format!("LISTEN x; SELECT '{}'; SET b = 1", "x".repeat(n))),
        1 => (0..20_000_usize).prop_map(|n| format!("INSERT INTO t VALUES ('{}')", "x".repeat(n))),
    ]
}

/// Some messages, and how the server answers them.
fn turn() -> impl Strategy<Value = (Vec<u8>, &'static str)> {
    let answer =
        prop::sample::select(vec!["C:X Z:I", "C:X Z:T", "E:x Z:I", "C:DISCARD_ALL Z:I", "C:ROLLBACK Z:I"]);
    let batch = prop::sample::select(vec!["1 2 C:X Z:I", "E:x Z:I", "1 E:x Z:I", "1 2 C:ROLLBACK Z:I"]);
    prop_oneof![
        (text(), answer).prop_map(|(text, answer)| (query(&text), answer)),
        (text(), batch).prop_map(|(text, answer)| {
            ([parse("", &text), bytes(Side::Client, "B: E S")].concat(), answer)
        }),
    ]
}

/// The pins after each turn, when what both sides say is cut into pieces.
fn history(
    mode: PoolMode,
    turns: &[(Vec<u8>, &str)],
    piece_bytes: &[usize],
) -> Vec<(Vec<Pin>, Option<Vec<u8>>)> {
    let mut t = Talk::noting(mode);
    let mut sizes = piece_bytes.iter().copied().cycle();
    let mut all = Vec::new();
    for (said, answer) in turns {
        let mut rest = &said[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
            t.client_bytes(piece);
            rest = later;
        }
        all.push((pins(&t), t.link.unknown_by().map(<[u8]>::to_vec)));
        let answer = bytes(Side::Server, answer);
        let mut rest = &answer[..];
        while !rest.is_empty() && t.held {
            let (piece, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).min(rest.len()));
            t.server_bytes(piece);
            rest = later;
        }
        all.push((pins(&t), t.link.unknown_by().map(<[u8]>::to_vec)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn how_it_comes_makes_no_difference(
        turns in prop::collection::vec(turn(), 1..6),
        piece_bytes in prop::collection::vec(prop_oneof![3 => 1..40_usize, 1 => 1..20_000_usize], 1..8),
        session in any::<bool>(),
    ) {
        let mode = if session { PoolMode::Session } else { PoolMode::Transaction };
        prop_assert_eq!(history(mode, &turns, &piece_bytes), history(mode, &turns, &[]));
    }
}

#[test]
fn a_session_cannot_know_what_functions_did_before_its_pool_was_one_of_sessions() {
    let mut t = Talk::noting(PoolMode::Transaction);
    done(&mut t, "SELECT pg_advisory_lock(1)", "SELECT");
    // Nobody looks for functions in transaction pooling, where nothing is cleaned.
    assert_eq!(pins(&t), []);
    t.session.set_settings(std::sync::Arc::new(settings(PoolMode::Session)));
    done(&mut t, "SELECT 1", "SELECT");
    assert_eq!(pins(&t), [Pin::Unknown]);
    done(&mut t, "DISCARD ALL", "DISCARD_ALL");
    assert_eq!(pins(&t), []);
}
