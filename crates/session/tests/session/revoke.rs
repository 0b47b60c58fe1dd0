//! A server connection is taken from a client that stays: what the client hears then, and that nothing it says runs.

use plimsoll_session::{FreeStep, Freeing, Link, Noting, Release, Revoked, Steps};
use plimsoll_types::{PoolMode, Side};
use proptest::prelude::*;

use crate::backend::Backend;
use crate::notation::{bytes, words};
use crate::talk::{Talk, settings};

const WHY: &str = "leak_cancel_after = 60 s";

/// Takes the connection away; what the client hears at once, and what becomes of it.
fn revoke(talk: &mut Talk) -> String {
    let mut steps = Steps::default();
    let revoked = talk.session.revoke(&mut talk.link, WHY, &talk.tracked, &mut steps);
    let told = words(Side::Server, &steps.bytes);
    match revoked {
        Revoked::Taken(release) => {
            talk.held = false;
            format!("{told} {release:?}").trim_start().to_owned()
        }
        Revoked::Busy | Revoked::Keeps => format!("{revoked:?}"),
    }
}

/// In a transaction of which a statement has been answered.
fn in_transaction(mut talk: Talk) -> Talk {
    talk.client("Q:begin");
    talk.server("C:BEGIN Z:T");
    talk.client("Q:s1");
    talk.server("T R:s1 C:SELECT Z:T");
    talk
}

fn taken() -> Talk {
    let mut talk = in_transaction(Talk::new());
    assert_eq!(revoke(&mut talk), "Unfinished");
    talk
}

const ABORTED: &str = "E:current_transaction_is_aborted,_commands_ignored_until_end_of_transaction_block";
const CANCELED: &str = "E:canceling_statement:_its_server_connection_was_taken_back";

#[test]
fn a_transaction_stays_failed_until_the_client_ends_it() {
    for end in ["rollback", "commit", "END;", "abort_work", "/*_a_*/_Rollback_--_b"] {
        let mut t = taken();
        assert_eq!(t.client("Q:s1"), format!("c[{ABORTED} Z:E]"));
        assert_eq!(
            t.client("Q:rollback_to_a Q:rollback_and_chain"),
            format!("c[{ABORTED} Z:E {ABORTED} Z:E]")
        );
        assert_eq!(t.client("Q:"), "c[I Z:E]");
        assert_eq!(t.client("F"), format!("c[{ABORTED} Z:E]"));
        assert_eq!(t.client(&format!("Q:{end}")), "c[C:ROLLBACK Z:I]");
        assert_eq!(t.client("Q:s1"), "s[Q:s1]");
    }
}

#[test]
fn what_the_client_is_told_names_the_reason_and_what_to_do() {
    let mut t = taken();
    t.client("Q:s1");
    let told = String::from_utf8_lossy(&t.sent_to_client).into_owned();
    for part in ["SERROR\0", "C25P02\0", &format!("D{WHY}\0"), "HEnd the transaction (ROLLBACK)"] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn the_rest_of_a_text_that_ends_the_transaction_runs_outside_of_it() {
    let mut t = taken();
    assert_eq!(t.client("Q:commit;_s1;s2"), "s[Q:s1;s2] c[C:ROLLBACK]");
    assert_eq!(
        t.server("T R:s1 C:SELECT T R:s2 C:SELECT Z:I"),
        "c[T R:s1 C:SELECT T R:s2 C:SELECT Z:I] release Clean"
    );
    assert_eq!(t.client("Q:s1"), "s[Q:s1]");
}

#[test]
fn the_extended_protocol_ends_it_too() {
    let mut t = taken();
    assert_eq!(t.client("P:=s1 B: E S"), format!("c[{ABORTED} Z:E]"));
    assert_eq!(t.client("P:=rollback B: Dp: D: H"), "c[1 2 n t:\0\0 n]");
    assert_eq!(t.client("E S"), "c[C:ROLLBACK Z:I]");
    // What stands behind it in the same batch is a transaction of its own.
    let mut t = taken();
    assert_eq!(t.client("P:=commit B: E P:=s1 B: E S"), "s[P:=s1 B E S] c[1 2 C:ROLLBACK]");
}

#[test]
fn a_statement_that_the_client_has_prepared_before_ends_it() {
    let mut t = Talk::new();
    t.client("P:back=rollback P:one=s1 S");
    t.server("1 1 Z:I");
    let mut t = in_transaction(t);
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("B:one E S"), format!("c[{ABORTED} Z:E]"));
    assert_eq!(t.client("D:back B:x/back E:x S"), "c[t:\0\0 n 2 C:ROLLBACK Z:I]");
}

#[test]
fn a_statement_that_is_prepared_meanwhile_can_be_used_again() {
    let mut t = taken();
    assert_eq!(t.client("P:back=rollback S"), "c[1 Z:E]");
    assert_eq!(t.client("P:back=rollback S"), format!("c[{ABORTED} Z:E]"));
    assert_eq!(t.client("B:back E S"), "c[2 C:ROLLBACK Z:I]");
    assert_eq!(t.client("Q:begin"), "s[Q:begin]");
    t.server("C:BEGIN Z:T");
    assert_eq!(t.client("B:back E S"), "s[P:S1=rollback B:S1 E S]");
}

#[test]
fn half_a_batch_is_cancelled_and_ignored_up_to_its_sync() {
    let mut t = Talk::new();
    t.client("P:=s1 B: E H");
    t.server("1 2 R:s1 C:SELECT");
    // Nobody has asked: libpq would take an error for a notice, and wait for ever for the next answer.
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("H"), "");
    assert_eq!(t.client("B:"), format!("c[{CANCELED}]"));
    assert_eq!(t.client("E Q:s2 H"), "");
    assert_eq!(t.client("S"), "c[Z:I]");
    assert_eq!(t.client("Q:s1"), "s[Q:s1]");
    // A Sync would commit: it must not look as if it had.
    let mut t = Talk::new();
    t.client("P:=s1 B: E H");
    t.server("1 2 R:s1 C:SELECT");
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("S"), format!("c[{CANCELED} Z:I]"));
    // Whoever sends a Query instead of Sync waits for its answer.
    let mut t = in_transaction(Talk::new());
    t.client("P:=s1 B: E H");
    t.server("1 2 R:s1 C:SELECT");
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("Q:s1 Q:rollback"), format!("c[{CANCELED} Z:E C:ROLLBACK Z:I]"));
}

#[test]
fn what_was_only_prepared_is_owed_an_answer() {
    let mut t = in_transaction(Talk::new());
    t.client("P:a=s1 P:=s1");
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("H"), format!("c[{CANCELED}]"));
    assert_eq!(t.client("B: E S"), "c[Z:E]");
    assert_eq!(t.client("Q:rollback"), "c[C:ROLLBACK Z:I]");
    // The name was never the client's: its Parse was not answered.
    assert_eq!(t.session.prepared_count(), 0);
}

/// What may have been executed and has not been told is never taken for rolled back: a COMMIT above all.
#[test]
fn what_may_have_been_executed_untold_is_not_taken() {
    for said in ["P:=s1 B: E", "P:=commit B: E", "P:=s1 B:", "P:a=commit B:a E"] {
        let mut t = in_transaction(Talk::new());
        t.client(said);
        assert_eq!(revoke(&mut t), "Busy", "{said}");
    }
}

/// The status of the last ReadyForQuery says nothing of what a batch, or a text, has begun or ended since.
#[test]
fn what_is_not_certain_is_not_taken() {
    let mut t = Talk::new();
    t.client("P:=begin B: E H");
    t.server("1 2 C:BEGIN");
    assert_eq!(revoke(&mut t), "Busy");
    t.client("S");
    t.server("Z:T");
    assert_eq!(revoke(&mut t), "Unfinished");
    let mut t = Talk::new();
    t.client("Q:begin;copy");
    t.server("C:BEGIN G");
    assert_eq!(revoke(&mut t), "Busy");
    let mut t = in_transaction(Talk::new());
    t.client("P:=commit B: E H");
    t.server("1 2 C:COMMIT");
    assert_eq!(revoke(&mut t), "Busy");
    let mut t = in_transaction(Talk::new());
    t.client("Q:commit;copy");
    t.server("C:COMMIT G");
    assert_eq!(revoke(&mut t), "Busy");
}

#[test]
fn after_an_error_in_the_batch_there_is_no_second_one() {
    let mut t = in_transaction(Talk::new());
    t.client("P:=bad H");
    t.server("E:syntax");
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("B: E S"), "c[Z:E]");
    assert_eq!(t.client("Q:commit"), "c[C:ROLLBACK Z:I]");
}

#[test]
fn a_copy_is_cancelled_and_its_data_goes_nowhere() {
    let mut t = in_transaction(Talk::new());
    t.client("Q:copy d:x");
    t.server("G");
    t.client("d:x");
    assert_eq!(revoke(&mut t), format!("{CANCELED} Z:E Unfinished"));
    assert_eq!(t.client("d:y d:z c"), "");
    assert_eq!(t.client("Q:rollback"), "c[C:ROLLBACK Z:I]");

    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    t.server("1 2 G");
    assert_eq!(revoke(&mut t), format!("{CANCELED} Unfinished"));
    assert_eq!(t.client("d:y c"), "");
    assert_eq!(t.client("S"), "c[Z:I]");
    assert_eq!(t.client("Q:s1"), "s[Q:s1]");
}

#[test]
fn the_rest_of_a_message_that_is_half_sent_goes_nowhere() {
    let mut t = in_transaction(Talk::new());
    let long = bytes(Side::Client, &format!("Q:{}", "s".repeat(5_000)));
    let (first, rest) = long.split_at(3_000);
    t.client_bytes(first);
    let Revoked::Taken(Release::Unusable(_)) =
        t.session.revoke(&mut t.link, WHY, &t.tracked, &mut Steps::default())
    else {
        panic!("a connection to which half a message was sent is closed");
    };
    t.held = false;
    assert_eq!(t.client_bytes(rest), "");
    assert_eq!(t.client("Q:s1"), format!("c[{ABORTED} Z:E]"));
}

#[test]
fn what_the_server_works_at_is_not_taken() {
    let mut t = in_transaction(Talk::new());
    t.client("Q:long");
    assert_eq!(revoke(&mut t), "Busy");
    t.server("T R:s1");
    assert_eq!(revoke(&mut t), "Busy");
    assert_eq!(t.server("C:SELECT Z:T"), "c[C:SELECT Z:T]");
    t.client("P:=s1 B: E S");
    assert_eq!(revoke(&mut t), "Busy");
}

#[test]
fn values_that_were_set_in_the_transaction_are_what_they_were_before() {
    let mut t = Talk::new();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    t.client("Q:app1");
    t.server("C:SET K:application_name=1 Z:T");
    t.client("Q:app2");
    t.server("C:SET K:application_name=2 Z:T");
    assert_eq!(revoke(&mut t), "K:application_name= Unfinished");
    t.client("Q:rollback");
    let mut t = Talk::new();
    t.client("Q:app1");
    t.server("C:SET K:application_name=1 Z:I");
    let mut t = in_transaction(t);
    assert_eq!(revoke(&mut t), "Unfinished");
}

#[test]
fn values_of_which_nobody_knows_whether_they_were_committed_are_not_taken_back() {
    // Values are reported when all of a text has been done.
    for (text, answer) in [
        ("Q:app1;commit;begin", "C:SET C:COMMIT C:BEGIN K:application_name=1 Z:T"),
        ("Q:app1;begin", "C:SET C:BEGIN K:application_name=1 Z:T"),
        ("Q:rollback_to_a", "C:ROLLBACK K:application_name=1 Z:T"),
    ] {
        let mut t = in_transaction(Talk::new());
        t.client(text);
        t.server(answer);
        assert_eq!(revoke(&mut t), "Busy", "{text}");
        t.client("Q:commit");
        t.server("C:COMMIT Z:I");
        assert_eq!(revoke(&mut in_transaction(t)), "Unfinished", "{text}");
    }
    // COMMIT AND CHAIN: what was set before it stays.
    let mut t = in_transaction(Talk::new());
    t.client("Q:app1");
    t.server("C:SET K:application_name=1 Z:T");
    t.client("Q:commit_and_chain");
    t.server("C:COMMIT Z:T");
    assert_eq!(revoke(&mut t), "Unfinished");
}

#[test]
fn a_session_gives_up_what_it_does_not_need_and_nothing_else() {
    let session = || {
        let mut talk = Talk::with(settings(PoolMode::Session));
        talk.session.set_noting(Noting::On);
        talk
    };
    let mut t = session();
    t.client("Q:select_1");
    t.server("T R:1 C:SELECT Z:I");
    assert_eq!(revoke(&mut t), "Dirty");
    assert_eq!(t.client("Q:select_1"), "s[Q:select_1]");
    let mut t = session();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    assert_eq!(revoke(&mut t), "Unfinished");
    assert_eq!(t.client("Q:s1 Q:rollback"), format!("c[{ABORTED} Z:E C:ROLLBACK Z:I]"));
    for (said, answer) in [
        ("Q:create_temp_table_a()", "C:CREATE_TABLE Z:I"),
        ("P:a=select_1 S", "1 Z:I"),
        ("Q:listen_a", "C:LISTEN Z:I"),
    ] {
        let mut t = session();
        t.client(said);
        t.server(answer);
        assert_eq!(revoke(&mut t), "Keeps", "{said}");
        t.client("Q:begin");
        t.server("C:BEGIN Z:T");
        assert_eq!(revoke(&mut t), "Keeps", "{said}");
    }
    // Nobody knows what was said while nobody listened.
    let mut t = Talk::with(settings(PoolMode::Session));
    t.client("Q:s1");
    t.server("T R:s1 C:SELECT Z:I");
    assert_eq!(revoke(&mut t), "Keeps");
}

#[test]
fn no_more_names_are_remembered_than_anybody_needs() {
    let mut t = taken();
    for number in 0..16 {
        assert_eq!(t.client(&format!("P:n{number}=rollback")), "c[1]");
    }
    assert_eq!(t.client("P:more=rollback S"), format!("c[{ABORTED} Z:E]"));
    assert_eq!(t.client("C:n1 S"), "c[3 Z:E]");
    let long = "n".repeat(300);
    assert_eq!(t.client(&format!("P:{long}=rollback S")), format!("c[{ABORTED} Z:E]"));
    assert_eq!(t.client("Q:rollback"), "c[C:ROLLBACK Z:I]");
}

fn words_after() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(
        prop::sample::select(vec![
            "Q:s1",
            "Q:",
            "Q:rollback",
            "Q:commit",
            "Q:rollback;s1",
            "Q:commit;begin;s2",
            "Q:s1;rollback",
            "Q:begin",
            "P:a=rollback",
            "P:b=commit",
            "B:a",
            "B:b",
            "B:x/a",
            "B:x/b",
            "D:a",
            "Dp:x",
            "E:x",
            "C:a",
            "Cp:x",
            "P:=rollback B: E",
            "P:=commit B: Dp: E",
            "S",
            "S",
            "H",
            "F",
            "d:x",
            "c",
        ]),
        1..24,
    )
}

fn words_of_a_batch() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(
        prop::sample::select(vec![
            "P:a=rollback",
            "P:=s1",
            "B:",
            "B:a",
            "D:a",
            "E",
            "E:x",
            "C:a",
            "Cp:x",
            "H",
            "d:x",
        ]),
        0..6,
    )
}

/// What a client hears, without the words of errors.
fn heard(bytes: &[u8]) -> String {
    let all = words(Side::Server, bytes);
    let plain = |word: &str| match word.split_once(':') {
        Some((kind @ ("E" | "t"), _)) => kind.to_owned(),
        _ => word.to_owned(),
    };
    all.split(' ').map(plain).collect::<Vec<_>>().join(" ")
}

proptest! {
    /// Whatever a client says, it hears what it would hear in a transaction that has failed, and nothing of it reaches a
    /// server before it has ended that.
    #[test]
    fn it_hears_what_postgresql_says_in_a_failed_transaction(said in words_after(), cut in 0_usize..40) {
        let mut alone = Backend::new();
        alone.feed(&bytes(Side::Client, "Q:begin Q:fail"));
        alone.sent.clear();
        let mut talk = taken();
        let mut server = Backend::new();
        talk.sent_to_client.clear();
        talk.sent_to_server.clear();
        let input = bytes(Side::Client, &format!("{} S", said.join(" ")));
        alone.feed(&input);
        let (first, rest) = input.split_at(cut.min(input.len()));
        for piece in [first, rest] {
            talk.client_bytes(piece);
            loop {
                server.feed(&std::mem::take(&mut talk.sent_to_server));
                let answer = std::mem::take(&mut server.sent);
                if answer.is_empty() {
                    break;
                }
                talk.server_bytes(&answer);
            }
        }
        prop_assert_eq!(heard(&talk.sent_to_client), heard(&alone.sent), "{:?}", said);
    }
}

proptest! {
    /// Half a batch that was taken is one that has failed.
    #[test]
    fn half_a_batch_is_one_that_has_failed(batch in words_of_a_batch(), said in words_after(), opened in any::<bool>()) {
        let mut alone = Backend::new();
        let mut talk = Talk::new();
        if opened {
            alone.feed(&bytes(Side::Client, "Q:begin Q:s1"));
            talk = in_transaction(talk);
        }
        alone.feed(&bytes(Side::Client, "P:=s1 B: E H"));
        talk.client("P:=s1 B: E H");
        talk.server("1 2 R:s1 C:SELECT");
        prop_assert_eq!(revoke(&mut talk), "Unfinished");
        alone.sent.clear();
        alone.feed(&bytes(Side::Client, "P:other=bad"));
        let mut server = Backend::new();
        talk.sent_to_client.clear();
        talk.sent_to_server.clear();
        let input = bytes(Side::Client, &format!("{} S {} S", batch.join(" "), said.join(" ")));
        alone.feed(&input);
        talk.client_bytes(&input);
        loop {
            server.feed(&std::mem::take(&mut talk.sent_to_server));
            let answer = std::mem::take(&mut server.sent);
            if answer.is_empty() {
                break;
            }
            talk.server_bytes(&answer);
        }
        prop_assert_eq!(heard(&talk.sent_to_client), heard(&alone.sent), "{:?} {:?}", batch, said);
    }
}

#[test]
fn what_is_taken_can_be_freed() {
    let mut t = in_transaction(Talk::new());
    t.client("P:=s1 B: E H");
    t.server("1 2 R:s1 C:SELECT");
    assert_eq!(revoke(&mut t), "Unfinished");
    let fresh = Link::new(t.link.params().clone());
    let mut link = std::mem::replace(&mut t.link, fresh);
    let mut freeing = Freeing::new(&t.session, &link);
    let mut out = Vec::new();
    freeing.go(&mut link, &mut out);
    assert!(words(Side::Client, &out).ends_with(" S"), "{}", words(Side::Client, &out));
    out.clear();
    let failed = bytes(Side::Server, "E:none Z:E");
    freeing.on_server(&mut link, &failed, &t.tracked, &mut out);
    assert_eq!(words(Side::Client, &out), "Q:ROLLBACK");
    let done = freeing.on_server(&mut link, &bytes(Side::Server, "C:ROLLBACK Z:I"), &t.tracked, &mut out);
    assert_eq!(done, FreeStep::Done);
}
