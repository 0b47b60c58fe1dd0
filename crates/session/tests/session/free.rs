//! A client is lost in the middle: what is said on its connection, and what becomes of it.

use plimsoll_session::{Ending, FreeStep, Freeing, Link, Release};
use plimsoll_types::{Cause, Side};

use crate::notation::{bytes, words};
use crate::talk::Talk;

/// The Bind that makes half a batch fail, as words.
const NOTHING: &str = "B:plimsoll:_no_such_statement,_so_that_half_a_batch_fails";

/// Frees a connection, in the same notation as [`Talk`].
struct Free {
    freeing: Freeing,
    link: Link,
    kept: Vec<u8>,
    talk: Talk,
}

/// The client is lost; what is said at once.
fn lost(mut talk: Talk) -> (Free, String) {
    assert_eq!(talk.session.detach(&mut talk.link), Release::Unfinished);
    let fresh = Link::new(talk.link.params().clone());
    let mut link = std::mem::replace(&mut talk.link, fresh);
    let mut freeing = Freeing::new(&talk.session, &link);
    let mut out = Vec::new();
    let step = freeing.go(&mut link, &mut out);
    let mut free = Free { freeing, link, kept: Vec::new(), talk };
    let said = free.told(&step, &out);
    (free, said)
}

fn summary(step: &FreeStep, out: &[u8]) -> String {
    let said = words(Side::Client, out);
    let end = match step {
        FreeStep::More { .. } => String::new(),
        FreeStep::Cancel { .. } => "cancel".to_owned(),
        FreeStep::Done => "done".to_owned(),
        FreeStep::Failed(cause) => format!("failed: {}", cause.message()),
    };
    [said, end].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

impl Free {
    fn server(&mut self, said: &str) -> String {
        self.server_bytes(&bytes(Side::Server, said))
    }

    fn server_bytes(&mut self, said: &[u8]) -> String {
        self.kept.extend_from_slice(said);
        let mut out = Vec::new();
        let step = self.freeing.on_server(&mut self.link, &self.kept, &self.talk.tracked, &mut out);
        self.told(&step, &out)
    }

    /// What was decided, and where that is a cancel, what is said when it has been dealt with.
    fn told(&mut self, step: &FreeStep, out: &[u8]) -> String {
        let mut told = summary(step, out);
        if let FreeStep::More { consumed } | FreeStep::Cancel { consumed } = step {
            self.kept.drain(..*consumed);
        }
        if let FreeStep::Cancel { .. } = step {
            let mut out = Vec::new();
            let next = self.freeing.go(&mut self.link, &mut out);
            told = format!("{told} {}", summary(&next, &out)).trim_end().to_owned();
        }
        told
    }
}

#[test]
fn a_query_is_cancelled_and_a_round_trip_shows_that_it_was() {
    let mut t = Talk::new();
    t.client("Q:long");
    let (mut free, said) = lost(t);
    assert_eq!(said, "cancel");
    assert_eq!(free.server("T R R E:cancelled Z:I"), "Q");
    assert_eq!(free.server("I Z:I"), "done");
}

#[test]
fn a_transaction_is_rolled_back() {
    let mut t = Talk::new();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    let (mut free, said) = lost(t);
    assert_eq!(said, "Q:ROLLBACK");
    assert_eq!(free.server("C:ROLLBACK Z:I"), "done");
}

#[test]
fn a_rollback_after_a_cancel_is_round_trip_enough() {
    let mut t = Talk::new();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    t.client("Q:long");
    let (mut free, said) = lost(t);
    assert_eq!(said, "cancel");
    assert_eq!(free.server("E:cancelled Z:E"), "Q:ROLLBACK");
    assert_eq!(free.server("C:ROLLBACK Z:I"), "done");
}

#[test]
fn in_a_pipeline_only_the_last_query_is_cancelled() {
    let mut t = Talk::new();
    t.client("Q:begin Q:insert Q:long");
    let (mut free, said) = lost(t);
    // A cancel that struck the BEGIN would let the INSERT run without it, and stay.
    assert_eq!(said, "");
    assert_eq!(free.server("C:BEGIN Z:T"), "");
    assert_eq!(free.server("C:INSERT Z:T"), "cancel");
    assert_eq!(free.server("E:cancelled Z:E"), "Q:ROLLBACK");
    assert_eq!(free.server("C:ROLLBACK Z:I"), "done");
}

#[test]
fn nor_is_one_that_is_cut_off_behind_others_cancelled() {
    let mut t = Talk::new();
    t.client("Q:begin Q:insert");
    assert_eq!(t.link.ending(), Ending::Terminate);
    assert_eq!(t.link.cut(), Ending::HangUp);
    t.server("C:BEGIN Z:T");
    assert_eq!((t.link.ending(), t.link.cut()), (Ending::Cancel, Ending::Cut));
}

#[test]
fn half_a_batch_fails_before_its_sync() {
    let mut t = Talk::new();
    t.client("P:=insert B: E");
    let (mut free, said) = lost(t);
    assert_eq!(said, format!("cancel {NOTHING} S"), "it may run");
    assert_eq!(free.server("1 2 C:INSERT E:unknown Z:I"), "Q");
    assert_eq!(free.server("I Z:I"), "done");
}

#[test]
fn half_a_batch_that_was_answered_needs_no_cancel() {
    let mut t = Talk::new();
    t.client("P:=insert B: E H");
    t.server("1 2 C:INSERT");
    let (mut free, said) = lost(t);
    assert_eq!(said, format!("{NOTHING} S"));
    assert_eq!(free.server("E:unknown Z:I"), "done");
}

#[test]
fn half_a_batch_in_a_transaction_is_rolled_back_too() {
    let mut t = Talk::new();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    t.client("P:a=insert B:a E");
    let (mut free, said) = lost(t);
    assert_eq!(said, format!("cancel {NOTHING} S"));
    assert_eq!(free.server("1 2 C:INSERT E:unknown Z:E"), "Q:ROLLBACK");
    assert_eq!(free.server("C:ROLLBACK Z:I"), "done");
}

#[test]
fn a_batch_that_has_failed_already_gets_its_sync() {
    let mut t = Talk::new();
    t.client("P:=x B: E");
    assert_eq!(t.server("E:no"), "c[E:no]");
    let (mut free, said) = lost(t);
    // What it would say before the Sync is ignored anyway.
    assert_eq!(said, "S");
    assert_eq!(free.server("Z:I"), "done");
}

#[test]
fn copy_in_gets_a_copy_fail() {
    let mut t = Talk::new();
    t.client("Q:copy");
    t.server("G");
    t.client("d:x");
    let (mut free, said) = lost(t);
    assert_eq!(said, "f");
    assert_eq!(free.server("E:failed Z:I"), "done");
}

#[test]
fn copy_in_that_begins_after_its_client_is_gone_gets_one_as_well() {
    let mut t = Talk::new();
    t.client("Q:copy d:x");
    let (mut free, said) = lost(t);
    assert_eq!(said, "cancel");
    assert_eq!(free.server("G"), "f");
    assert_eq!(free.server("E:failed Z:I"), "Q");
    assert_eq!(free.server("I Z:I"), "done");
}

#[test]
fn copy_in_of_a_batch_gets_a_sync_behind_the_copy_fail() {
    // The Sync that came with it was swallowed.
    let mut t = Talk::new();
    t.client("P:=copy B: E S");
    t.server("1 2 G");
    t.client("d:x");
    let (mut free, said) = lost(t);
    assert_eq!(said, format!("f {NOTHING} S"));
    assert_eq!(free.server("E:failed"), "");
    // Nobody can know whether the first Sync is answered too, until the server has answered something else.
    assert_eq!(free.server("Z:I"), "Q");
    assert_eq!(free.server("I Z:I"), "done");
    // There was none.
    let mut t = Talk::new();
    t.client("P:=copy B: E H");
    t.server("1 2 G");
    let (mut free, said) = lost(t);
    assert_eq!(said, format!("f {NOTHING} S"));
    assert_eq!(free.server("E:failed Z:I"), "done");
}

#[test]
fn answers_are_taken_in_pieces() {
    let mut t = Talk::new();
    t.client("Q:long");
    let (mut free, _) = lost(t);
    let answer = bytes(Side::Server, "T R:some_row K:application_name=x C:SELECT Z:I");
    for byte in &answer[..answer.len() - 1] {
        assert_eq!(free.server_bytes(std::slice::from_ref(byte)), "");
    }
    assert_eq!(free.server_bytes(&answer[answer.len() - 1..]), "Q");
    assert_eq!(free.server("I Z:I"), "done");
}

#[test]
fn parameters_that_were_being_set_are_set() {
    let mut t = Talk::new();
    let mut other = t.link.params().as_ref().clone();
    other.values[4] = Some("elsewhere".into());
    t.link = Link::new(std::sync::Arc::new(other));
    assert!(t.client("Q:1").contains("settling"));
    let (mut free, said) = lost(t);
    assert_eq!(said, "");
    assert_eq!(free.server("K:application_name= C:SET Z:I"), "done");
}

#[test]
fn after_half_a_message_nothing_can_be_said() {
    let mut t = Talk::new();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    let query = bytes(Side::Client, "Q:insert_into_marks");
    t.client_bytes(&query[..8]);
    assert_eq!(t.session.detach(&mut t.link), Release::Unusable(Cause::ClientLeftBusy));
}

#[test]
fn what_is_not_understood_is_not_used_again() {
    for (said, why) in [
        ("E:bad Z:T", "server state unknown"),
        ("Z:I Z:I", "bad packet from server"),
        ("C:ROLLBACK Z:I A E:going", "server state unknown"),
        ("?", "bad packet from server"),
    ] {
        let mut t = Talk::new();
        t.client("Q:begin");
        t.server("C:BEGIN Z:T");
        let (mut free, _) = lost(t);
        let became = free.server(said);
        // Whole messages that nobody asked for are no answer, and no harm either.
        assert!(
            became.starts_with("failed: ") && became.contains(why) || said.contains(" A "),
            "{said}: {became}"
        );
    }
}
