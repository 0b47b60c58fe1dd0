//! Replication connections: CopyBoth, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use plimsoll_session::{Attach, Ending, Holding, Kept, Link, Release, Revoked, Session, Steps};
use plimsoll_types::{Cause, Moment, Pin, PoolMode, Side};

use crate::notation::bytes;
use crate::talk::{Talk, params, settings};

/// A client that has had a server connection of its own from its login on.
fn talk() -> Talk {
    let mut usual = settings(PoolMode::Transaction);
    // All of which would cut a stream.
    usual.query_timeout = Duration::from_secs(1);
    usual.idle_transaction_timeout = Duration::from_secs(1);
    usual.transaction_timeout = Duration::from_secs(1);
    usual.client_idle_timeout = Duration::from_secs(1);
    usual.client_stall_timeout = Duration::from_secs(1);
    let mut t = Talk::with(usual.for_replication());
    let values = Arc::new(params(&t.tracked, "ISO, MDY", "streamer"));
    t.session = Session::new(Arc::new(usual.for_replication()), values.clone(), t.now);
    t.link = Link::for_replication(values);
    let attached = t.session.attach(&mut t.link, &t.tracked, &mut Steps::default(), t.now);
    assert_eq!(attached, Attach::Ready, "no SET is ever sent");
    t.held = true;
    t
}

fn streaming() -> Talk {
    let mut t = talk();
    assert_eq!(t.client("Q:START_REPLICATION"), "s[Q:START_REPLICATION]");
    assert_eq!(t.server("W"), "c[W]");
    t
}

#[test]
fn both_sides_say_what_they_like_until_both_have_ended_it() {
    let mut t = streaming();
    assert!(t.link.is_copy_both());
    assert_eq!(t.session.holding(&t.link), Holding::Replicating);
    assert_eq!(t.server("d:wal d:wal"), "c[d:wal d:wal]");
    assert_eq!(t.client("d:status H"), "s[d:status H]");
    assert_eq!(t.server("d:keepalive"), "c[d:keepalive]");
    assert_eq!(t.client("c"), "s[c]");
    assert_eq!(t.server("d:more c C:COPY_0 Z:I"), "c[d:more c C:COPY_0 Z:I]");
    assert!(!t.link.is_copy_both());
    assert_eq!(t.session.holding(&t.link), Holding::Session);
}

#[test]
fn a_server_that_ends_first_is_heard_to_the_end_of_the_timeline() {
    let mut t = streaming();
    assert_eq!(t.server("d:wal c"), "c[d:wal c]");
    assert_eq!(t.client("d:status c"), "s[d:status c]");
    // The next timeline and where it begins, then the end of the command.
    let rest = "T R:next C:SELECT C:START_STREAMING Z:I";
    assert_eq!(t.server(rest), format!("c[{rest}]"));
    assert_eq!(t.client("Q:START_REPLICATION"), "s[Q:START_REPLICATION]");
    assert_eq!(t.server("W d:wal"), "c[W d:wal]");
    assert_eq!(t.session.holding(&t.link), Holding::Replicating);
}

#[test]
fn an_end_that_the_client_has_sent_before_the_beginning_came() {
    let mut t = talk();
    assert_eq!(t.client("Q:START_REPLICATION c"), "s[Q:START_REPLICATION c]");
    assert_eq!(t.server("W c C:COPY_0 Z:I"), "c[W c C:COPY_0 Z:I]");
    assert_eq!(t.client("Q:IDENTIFY_SYSTEM"), "s[Q:IDENTIFY_SYSTEM]");
    assert_eq!(t.server("T R:1 C:IDENTIFY_SYSTEM Z:I"), "c[T R:1 C:IDENTIFY_SYSTEM Z:I]");
}

#[test]
fn an_error_in_the_middle_ends_it_and_what_the_client_still_says_goes_on() {
    let mut t = streaming();
    t.server("d:wal");
    assert_eq!(t.server("E:slot_is_gone"), "c[E:slot_is_gone]");
    assert!(!t.link.is_copy_both());
    assert_eq!(t.client("d:late c"), "s[d:late c]");
    assert_eq!(t.server("Z:I"), "c[Z:I]");
    assert_eq!(t.client("d:later Q:IDENTIFY_SYSTEM"), "s[d:later Q:IDENTIFY_SYSTEM]");
    assert_eq!(t.server("R:1 C:IDENTIFY_SYSTEM Z:I"), "c[R:1 C:IDENTIFY_SYSTEM Z:I]");
}

#[test]
fn a_base_backup_copies_out_several_times() {
    let mut t = talk();
    t.client("Q:BASE_BACKUP");
    let said =
        "T R:start C:SELECT T R:tablespaces C:SELECT H d:x d:y c H d:z c T R:end C:SELECT C:BASE_BACKUP Z:I";
    assert_eq!(t.server(said), format!("c[{said}]"));
    assert_eq!(t.session.holding(&t.link), Holding::Session);
}

#[test]
fn sql_and_commands_of_replication_go_through_the_same_connection() {
    let mut t = talk();
    t.client("Q:BEGIN");
    assert_eq!(t.server("C:BEGIN Z:T"), "c[C:BEGIN Z:T]");
    t.client("Q:CREATE_REPLICATION_SLOT");
    t.server("T R:slot C:CREATE_REPLICATION_SLOT Z:T");
    t.client("Q:COMMIT");
    assert_eq!(t.server("C:COMMIT Z:I"), "c[C:COMMIT Z:I]");
    // In transaction pooling, too, it stays.
    assert!(t.held);
}

#[test]
fn nobody_else_gets_it_whatever_state_it_is_in() {
    let mut t = talk();
    let closed = |cause| Release::Unusable(cause);
    assert_eq!(t.session.detach(&mut t.link), closed(Cause::ReplicationEnded));
    let mut t = streaming();
    assert_eq!(
        t.link.ending(),
        Ending::Terminate,
        "a walsender knows no CopyFail, and reads while it streams"
    );
    assert_eq!(t.session.detach(&mut t.link), closed(Cause::ClientLeftBusy));
    let mut t = talk();
    t.client("Q:BASE_BACKUP");
    t.server("H d:x");
    assert_eq!(t.link.ending(), Ending::Cancel);
    let mut t = streaming();
    t.client_bytes(&bytes(Side::Client, "d:xxxx")[..6]);
    assert_eq!(t.link.ending(), Ending::Cut);
}

#[test]
fn it_has_one_reason_and_no_limit_of_time() {
    let mut t = streaming();
    assert!(t.session.pins(&t.link).iter().eq([Pin::Replication]));
    let half = bytes(Side::Client, "d:xxxx");
    t.client_bytes(&half[..6]);
    t.link.note_half_way(Moment(2));
    assert_eq!(t.session.poll_timeout(Some(&t.link)), None);
    assert_eq!(t.session.poll_stall(&t.link, Kept::Nothing), None);
}

#[test]
fn it_is_not_taken_away() {
    let mut steps = Steps::default();
    let mut t = talk();
    assert_eq!(t.session.revoke(&mut t.link, "why", &t.tracked, &mut steps), Revoked::Keeps);
    let mut t = streaming();
    assert!(t.session.would_keep(&t.link));
    assert_eq!(t.session.revoke(&mut t.link, "why", &t.tracked, &mut steps), Revoked::Busy);
}

/// What both sides have heard when each batch is cut like this.
fn outcome(cuts: &[usize]) -> (Vec<u8>, Vec<u8>, bool) {
    let mut t = talk();
    let batches = [
        (Side::Client, "Q:START_REPLICATION"),
        (Side::Server, "W d:one d:two"),
        (Side::Client, "d:status d:status H"),
        (Side::Server, "d:keepalive K:application_name=x N:note"),
        (Side::Client, "d:status c"),
        (Side::Server, "d:rest c T R:1 C:SELECT C:START_STREAMING Z:I"),
        (Side::Client, "Q:START_REPLICATION"),
        (Side::Server, "W d:three E:gone Z:I"),
        (Side::Client, "d:late c Q:IDENTIFY_SYSTEM"),
        (Side::Server, "T R:1 C:IDENTIFY_SYSTEM Z:I"),
    ];
    for (from, said) in batches {
        let whole = bytes(from, said);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (whole.len() + 1)).collect();
        ends.push(whole.len());
        ends.sort_unstable();
        let mut begin = 0;
        for end in ends {
            let piece = &whole[std::mem::replace(&mut begin, end)..end];
            match from {
                Side::Client => t.client_bytes(piece),
                Side::Server => t.server_bytes(piece),
            };
        }
    }
    (t.sent_to_client, t.sent_to_server, t.held)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_make_no_difference(cuts in prop::collection::vec(any::<usize>(), 0..40)) {
        prop_assert_eq!(outcome(&cuts), outcome(&[]));
    }
}
