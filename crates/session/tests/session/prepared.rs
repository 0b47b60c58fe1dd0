//! Named statements in transaction pooling.

use plimsoll_types::PoolMode;

use crate::notation::bytes;
use crate::talk::{Talk, params, settings};
use plimsoll_session::{Link, Session};
use plimsoll_types::Side;

fn with_room_for(statements: u32) -> Talk {
    let mut settings = settings(PoolMode::Transaction);
    settings.prepared_max = statements;
    Talk::with(settings)
}

fn compat() -> Talk {
    let mut settings = settings(PoolMode::Transaction);
    settings.compat = true;
    Talk::with(settings)
}

/// The client prepares `a` and is answered.
fn prepare(t: &mut Talk, name_and_text: &str) {
    t.client(&format!("P:{name_and_text} S"));
    assert!(t.server("1 Z:I").ends_with("release Clean"));
}

#[test]
fn a_statement_is_prepared_where_it_is_missing() {
    let mut t = Talk::new();
    assert_eq!(t.client("P:a=select B:a E S"), "s[P:S1=select B:S1 E S]");
    assert_eq!(t.server("1 2 C:SELECT Z:I"), "c[1 2 C:SELECT Z:I] release Clean");
    assert_eq!(t.client("B:p/a E:p S"), "s[B:p/S1 E:p S]");
    assert_eq!(t.server("2 C:SELECT Z:I"), "c[2 C:SELECT Z:I] release Clean");
    t.next_client();
    assert_eq!(t.client("P:b=select"), "c[1]");
    assert_eq!(t.client("B:b E S"), "s[B:S1 E S]");
    assert_eq!(t.server("2 C:SELECT Z:I"), "c[2 C:SELECT Z:I] release Clean");
}

#[test]
fn fakes_come_in_their_place() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    t.next_client();
    assert_eq!(t.client("P:=y B: P:a=x C:a S"), "s[P:=y B S]");
    assert_eq!(t.server("1"), "c[1]");
    assert_eq!(t.server("2"), "c[2 1 3]");
    assert_eq!(t.server("Z:I"), "c[Z:I] release Clean");
}

#[test]
fn what_may_be_forgotten_by_then_is_prepared_anew() {
    for before in ["Q:discard", "P:=discard B: E"] {
        let (sent, answers) = match before {
            "Q:discard" => ("Q:discard", "C:DISCARD_ALL Z:I"),
            _ => ("P:=discard B E", "1 2 C:DISCARD_ALL"),
        };
        let mut t = Talk::new();
        prepare(&mut t, "a=x");
        t.next_client();
        assert_eq!(t.client(&format!("{before} P:b=x D:b S")), format!("s[{sent} C:S1 P:S1=x D:S1 S]"));
        assert_eq!(t.server(answers), format!("c[{answers}]"));
        assert_eq!(t.server("3 1 t T:c Z:I"), "c[1 t T:c Z:I] release Clean");
        assert_eq!(t.client("B:b S"), "s[B:S1 S]");
    }
}

#[test]
fn a_name_that_may_be_forgotten_by_then_waits() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    assert_eq!(t.client("P:=discard B: E P:a=y S"), "s[P:=discard B E H] busy");
    assert_eq!(t.server("1 2"), "c[1 2] busy", "one Flush is enough");
    assert_eq!(t.server("C:DISCARD_ALL"), "s[P:S2=y S] c[C:DISCARD_ALL]");
    assert_eq!(t.server("1 Z:I"), "c[1 Z:I] release Clean");
    assert_eq!(t.client("B:a S"), "s[B:S2 S]");
}

#[test]
fn the_unnamed_statement_of_another_client_is_never_used() {
    let mut t = Talk::new();
    assert_eq!(t.client("P:=theirs S"), "s[P:=theirs S]");
    assert_eq!(t.server("1 Z:I"), "c[1 Z:I] release Clean");
    t.next_client();
    assert_eq!(t.client("B: E S"), "s[C B E S]");
    assert_eq!(t.server("3 E:26000 Z:I"), "c[E:26000 Z:I] release Clean");
    assert_eq!(t.client("D: S"), "s[C D S]");
    assert_eq!(t.server("3 E:26000 Z:I"), "c[E:26000 Z:I] release Clean");
    // Its own is not touched while it holds the connection.
    assert_eq!(t.client("P:=begin B: E S"), "s[P:=begin B E S]");
    assert_eq!(t.server("1 2 C:BEGIN Z:T"), "c[1 2 C:BEGIN Z:T]");
    assert_eq!(t.client("B: E S"), "s[B E S]");
    assert_eq!(t.server("2 C:BEGIN Z:T"), "c[2 C:BEGIN Z:T]");
}

#[test]
fn an_unnamed_statement_is_used_when_it_is_known_whose_it_is() {
    // The simulator's seed 101794: the Close, or the client's own Parse, is skipped with what came before it.
    for (own, sent) in [("B:", "C B"), ("P:=y B:", "P:=y B")] {
        let mut t = Talk::new();
        t.client("P:=x B: E S");
        t.server("1 2 C:INSERT Z:I");
        t.next_client();
        t.client("B:nothing");
        assert_eq!(t.client(&format!("{own} E S")), format!("s[{sent} E S]"));
        assert_eq!(t.client("B: E S"), "busy", "{own}");
        assert_eq!(t.server("E:26000 Z:I"), "s[C B E S] c[E:26000 Z:I]", "{own}");
        assert_eq!(t.server("3 E:26000 Z:I"), "c[E:26000 Z:I] release Clean", "{own}");
    }
}

#[test]
fn an_unnamed_statement_of_the_same_batch_is_ones_own() {
    let mut t = Talk::new();
    assert_eq!(t.client("P:=x B: E S P:=y B: E D: S"), "s[P:=x B E S P:=y B E D S]");
    assert_eq!(t.client("B: E S"), "busy");
    let answers = "1 2 C:INSERT Z:I 1 2 C:INSERT n Z:I";
    assert_eq!(t.server(answers), format!("s[B E S] c[{answers}]"));
    assert_eq!(t.server("2 C:INSERT Z:I"), "c[2 C:INSERT Z:I] release Clean");
}

#[test]
fn an_unnamed_parse_that_is_skipped_makes_nothing_ones_own() {
    let mut t = Talk::new();
    assert_eq!(t.client("Q:begin"), "s[Q:begin]");
    assert_eq!(t.server("C:BEGIN Z:T"), "c[C:BEGIN Z:T]");
    assert_eq!(t.client("B:nope P:=x S"), "s[B:nope P:=x S]");
    assert_eq!(t.server("E:26000 Z:E"), "c[E:26000 Z:E]");
    assert_eq!(t.client("B: S"), "s[C B S]");
}

#[test]
fn a_text_is_shared_by_clients_who_read_it_alike() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    let german = |t: &Talk, application: &str| std::sync::Arc::new(params(&t.tracked, "German", application));
    let other = german(&t, "other");
    t.session = Session::new(t.session.settings().clone(), other, t.now);
    assert_eq!(t.client("P:a=x S"), "s[Q:SET_DateStyle='German';SET_application_name='other';] settling");
    let set = "K:DateStyle=German K:application_name=other C:SET C:SET Z:I";
    assert_eq!(t.server(set), "s[P:S2=x S] attached");
    assert_eq!(t.server("1 Z:I"), "c[1 Z:I] release Clean");
    let one_more = german(&t, "other");
    t.session = Session::new(t.session.settings().clone(), one_more, t.now);
    assert_eq!(t.client("P:b=x"), "c[1]");
}

#[test]
fn a_statement_that_is_missing_is_read_by_the_values_of_now() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    t.client("Q:set");
    assert_eq!(t.server("K:DateStyle=German C:SET Z:I"), "c[K:DateStyle=German C:SET Z:I] release Clean");
    assert_eq!(t.client("B:a S"), "s[B:S1 S]", "it is there, as it was read");
    assert_eq!(t.server("2 Z:I"), "c[2 Z:I] release Clean");
    t.link = Link::new(t.session.params().clone());
    assert_eq!(t.client("B:a S"), "s[P:S2=x B:S2 S]");
}

#[test]
fn a_fake_never_lands_inside_a_message() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    t.client("D:a C:a S");
    let row = bytes(Side::Server, "T:columns");
    assert_eq!(t.server("t"), "c[t]");
    assert_eq!(t.server_bytes(&row[..6]), "c[~6]");
    // The rest, and a CloseComplete of 5 bytes.
    assert_eq!(t.server_bytes(&row[6..]), format!("c[~{}]", row.len() - 6 + 5));
    assert_eq!(t.server("Z:I"), "c[Z:I] release Clean");
}

#[test]
fn close_is_answered_by_us_and_the_statement_stays() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    assert_eq!(t.client("C:a"), "c[3]");
    assert_eq!(t.client("C:never_there S"), "c[3 Z:I]");
    assert_eq!((t.session.prepared_count(), t.link.prepared_count()), (0, 1));
}

#[test]
fn an_unknown_name_is_the_servers_to_refuse() {
    let mut t = Talk::new();
    assert_eq!(t.client("B:zzz S"), "s[B:zzz S]");
    assert_eq!(t.server("E:26000 Z:I"), "c[E:26000 Z:I] release Clean");
    for said in ["B:PLIMSOLL_1", "D:PGBOUNCER_1"] {
        let reserved =
            bytes(Side::Client, said).iter().map(|b| if *b == b' ' { b'_' } else { *b }).collect::<Vec<_>>();
        assert_eq!(Talk::new().client_bytes(&reserved), "close Client: prepared statement did not exist");
    }
    assert_eq!(compat().client("B:zzz"), "close Client: prepared statement did not exist");
    assert_eq!(compat().client("D:zzz"), "close Client: prepared statement did not exist");
}

#[test]
fn a_name_in_use_is_refused_by_the_server() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    assert_eq!(t.client("P:a=y S"), "s[P:S1=y S]");
    assert_eq!(t.server("E:42P05 Z:I"), "c[E:42P05 Z:I] release Clean");
    assert_eq!(t.client("B:a S"), "s[B:S1 S]");
    let mut t = compat();
    prepare(&mut t, "a=x");
    assert_eq!(t.client("P:a=x"), "close Client: prepared statement name is already in use");
}

#[test]
fn a_parse_that_fails_or_is_skipped_leaves_no_trace() {
    let mut t = Talk::new();
    t.client("P:a=bad B:a E P:b=x S");
    assert_eq!(t.server("E:syntax Z:I"), "c[E:syntax Z:I] release Clean");
    assert_eq!((t.session.prepared_count(), t.link.prepared_count()), (0, 0));
    assert_eq!(t.client("P:b=x S"), "s[P:S2=x S]");
}

#[test]
fn after_an_error_late_messages_go_nowhere_until_sync() {
    let mut t = Talk::new();
    t.client("P:=bad B: H");
    assert_eq!(t.server("E:syntax"), "c[E:syntax]");
    assert_eq!(t.client("E P:b=x C:b Q:x F"), "");
    assert_eq!(t.session.prepared_count(), 0);
    assert_eq!(t.client("S"), "s[S]");
    assert_eq!(t.server("Z:I"), "c[Z:I] release Clean");
}

#[test]
fn an_error_skips_its_own_batch_only() {
    let mut t = Talk::new();
    assert_eq!(t.client("P:=bad B: E S P:=x B: E S"), "s[P:=bad B E S P:=x B E S]");
    assert_eq!(t.server("E:syntax Z:I"), "c[E:syntax Z:I]");
    assert_eq!(t.server("1 2 C:A Z:I"), "c[1 2 C:A Z:I] release Clean");
}

#[test]
fn the_least_recently_used_is_closed_and_a_skip_undoes_it() {
    let mut t = with_room_for(2);
    prepare(&mut t, "a=x");
    prepare(&mut t, "b=y");
    assert_eq!(t.client("B:a S"), "s[B:S1 S]");
    t.server("2 Z:I");
    assert_eq!(t.client("P:=bad P:c=z S"), "s[P:=bad C:S2 P:S3=z S]");
    t.server("E:syntax Z:I");
    assert_eq!(t.link.prepared_count(), 2);
    assert_eq!(t.client("B:b S"), "s[B:S2 S]");
    t.server("2 Z:I");
    assert_eq!(t.client("P:c=z S"), "s[C:S1 P:S3=z S]");
    assert_eq!(t.server("3 1 Z:I"), "c[1 Z:I] release Clean");
    assert_eq!(t.client("B:a S"), "s[C:S2 P:S1=x B:S1 S]");
    assert_eq!(t.server("3 1 2 Z:I"), "c[2 Z:I] release Clean");
}

#[test]
fn what_builds_on_a_doubt_waits_for_its_answer() {
    let mut t = Talk::new();
    assert_eq!(t.client("P:a=x S B:a E S"), "s[P:S1=x S] busy");
    // The connection is not given away in between.
    assert_eq!(t.server("1 Z:I"), "s[B:S1 E S] c[1 Z:I]");
    assert_eq!(t.server("2 C:A Z:I"), "c[2 C:A Z:I] release Clean");
}

#[test]
fn a_close_behind_an_error_has_not_happened() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    assert_eq!(t.client("P:=bad C:a S B:a S"), "s[P:=bad S] busy");
    assert_eq!(t.server("E:syntax Z:I"), "s[B:S1 S] c[E:syntax Z:I]");
    assert_eq!(t.server("2 Z:I"), "c[2 Z:I] release Clean");
}

#[test]
fn an_injected_parse_behind_an_error_is_injected_again() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    t.client("Q:discard");
    t.server("C:SELECT Z:I");
    t.link = plimsoll_session::Link::new(t.link.params().clone());
    assert_eq!(t.client("P:=bad B:a S B:a S"), "s[P:=bad P:S1=x B:S1 S] busy");
    assert_eq!(t.server("E:syntax Z:I"), "s[P:S1=x B:S1 S] c[E:syntax Z:I]");
    assert_eq!(t.server("1 2 Z:I"), "c[2 Z:I] release Clean");
}

#[test]
fn deallocate_all_forgets_and_what_comes_after_it_stays() {
    for tag in ["DEALLOCATE_ALL", "DISCARD_ALL"] {
        let mut t = Talk::new();
        prepare(&mut t, "a=x");
        assert_eq!(t.client("Q:all P:b=y S"), "s[Q:all P:S2=y S]");
        t.server(&format!("C:{tag} Z:I"));
        assert_eq!((t.session.prepared_count(), t.link.prepared_count()), (1, 1));
        t.server("1 Z:I");
        assert_eq!(t.client("B:b S"), "s[B:S2 S]");
        t.server("2 Z:I");
        assert_eq!(t.client("P:a=x S"), "s[P:S1=x S]");
    }
}

#[test]
fn names_are_collected_before_a_connection_is_taken() {
    let mut t = Talk::new();
    let parse = bytes(Side::Client, "P:a=select S");
    assert_eq!(t.client_bytes(&parse[..5]), "collect 6");
    assert_eq!(t.client_bytes(&parse[5..8]), "collect 16");
    assert_eq!(t.client_bytes(&parse[8..]), "s[P:S1=select S]");
    t.server("1 Z:I");
    let bind = bytes(Side::Client, "B:a");
    assert_eq!(t.client_bytes(&bind[..7]), "collect 14");
    assert_eq!(t.client_bytes(&bind[7..10]), "s[~11]");
    assert!(t.held);
}

#[test]
fn what_is_too_large_to_keep_is_refused_however_it_comes() {
    let mut settings = settings(PoolMode::Transaction);
    settings.collect_bytes_max = 64;
    let long = "x".repeat(80);
    let refused = "close Client: message too large: a named statement or name may have at most 64 bytes";
    for said in [format!("P:a={long}"), format!("B:{long}"), format!("D:{long}"), format!("C:{long}")] {
        let whole = bytes(Side::Client, &said);
        assert_eq!(Talk::with(settings.clone()).client_bytes(&whole), refused, "{said}");
        let mut t = Talk::with(settings.clone());
        t.client_bytes(&whole[..7]);
        assert_eq!(t.client_bytes(&whole[7..]), refused);
    }
    let unnamed = format!("P:={long}");
    assert_eq!(Talk::with(settings).client(&unnamed), format!("s[{unnamed}]"));
}

#[test]
fn suspended_portals_go_on() {
    let mut t = Talk::new();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    assert_eq!(t.client("P:=x B:p/ E:p H"), "s[P:=x B:p/ E:p H]");
    assert_eq!(t.server("1 2 R s"), "c[1 2 R s]");
    t.client("E:p Cp:p S");
    assert_eq!(t.server("R C:A 3 Z:T"), "c[R C:A 3 Z:T]");
}

/// PostgreSQL's own words after a table has got another column, cut to the fields that count.
fn plan_is_outdated() -> Vec<u8> {
    let fields =
        b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0RRevalidateCachedQuery\0\0";
    let length = u32::try_from(fields.len() + 4).expect("short");
    [b"E", &length.to_be_bytes()[..], fields].concat()
}

#[test]
fn a_statement_whose_result_has_changed_is_prepared_anew() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    let error = plan_is_outdated();
    for cut in [0, 30] {
        t.client("B:a E S");
        if cut > 0 {
            // The part that tells is still to come.
            assert_eq!(t.server_bytes(&error[..cut]), "");
        }
        let all = if cut > 0 { &error[cut..] } else { &error[..] };
        assert_eq!(t.server_bytes(all), "c[E:cached_plan_must_not_change_result_type]", "cut at {cut}");
        t.server("Z:I");
    }
    // The same text, and yet it is sent to the server, under another name; for whoever prepares it from now on, too.
    assert_eq!(t.client("P:b=x B:b E S"), "s[P:S2=x B:S2 E S]");
    assert_eq!(t.server("1 2 C:SELECT Z:I"), "c[1 2 C:SELECT Z:I] release Clean");
    t.next_client();
    assert_eq!(t.client("P:c=x"), "c[1]");
    assert_eq!(t.client("B:c E S"), "s[B:S2 E S]");
}

#[test]
fn another_error_of_that_code_changes_nothing() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    t.client("B:a E S");
    t.server("E Z:I");
    t.next_client();
    assert_eq!(t.client("P:b=x"), "c[1]");
}

#[test]
fn a_statement_that_a_function_has_deallocated_is_prepared_again() {
    let mut t = Talk::new();
    prepare(&mut t, "a=x");
    t.client("B:a E S");
    let fields = b"SERROR\0VERROR\0C26000\0Mprepared statement does not exist\0\0";
    let length = u32::try_from(fields.len() + 4).expect("short");
    t.server_bytes(&[b"E", &length.to_be_bytes()[..], fields].concat());
    t.server("Z:I");
    let sent = t.client("B:a E S");
    assert!(sent.contains("P:"), "prepared again: {sent}");
}

#[test]
fn a_client_finds_its_own_unnamed_statement_again_if_nobody_came_between() {
    let mut t = Talk::new();
    t.session.set_number(7);
    // As drivers without a statement cache do: Parse and Sync, then Bind in a batch of its own.
    assert_eq!(t.client("P:=mine S"), "s[P:=mine S]");
    assert_eq!(t.server("1 Z:I"), "c[1 Z:I] release Clean");
    assert_eq!(t.client("B: E S"), "s[B E S]");
    assert_eq!(t.server("2 C:SELECT Z:I"), "c[2 C:SELECT Z:I] release Clean");
    t.next_client();
    t.session.set_number(8);
    assert_eq!(t.client("B: E S"), "s[C B E S]");
    assert_eq!(t.server("3 E:26000 Z:I"), "c[E:26000 Z:I] release Clean");
    t.next_client();
    t.session.set_number(7);
    assert_eq!(t.client("B: E S"), "s[C B E S]", "somebody came between");
}
