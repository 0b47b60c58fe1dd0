//! Limits of time, parameters that follow the client, idle connections and rounds of our own.

use std::sync::Arc;
use std::time::Duration;

use plimsoll_session::{Link, Round, RoundStep, Session, Tracked};
use plimsoll_types::{Cause, Moment, PoolMode, Side};

use crate::notation::bytes;
use crate::talk::{Talk, params, settings};

const SECOND: u64 = 1_000_000;

fn with_limits() -> Talk {
    let mut settings = settings(PoolMode::Transaction);
    settings.query_timeout = Duration::from_secs(10);
    settings.idle_transaction_timeout = Duration::from_secs(20);
    settings.transaction_timeout = Duration::from_secs(100);
    settings.client_idle_timeout = Duration::from_secs(50);
    Talk::with(settings)
}

fn due(t: &Talk) -> Option<(u64, Cause)> {
    let link = t.held.then_some(&t.link);
    t.session.poll_timeout(link).map(|(at, cause)| (at.0 / SECOND, cause))
}

#[test]
fn each_limit_counts_from_its_own_beginning() {
    let mut t = with_limits();
    assert_eq!(due(&t), Some((50, Cause::ClientIdleTimeout)));
    t.now = Moment(5 * SECOND);
    t.client("Q:begin");
    assert_eq!(due(&t), Some((15, Cause::QueryTimeout)));
    t.now = Moment(6 * SECOND);
    t.server("C:BEGIN Z:T");
    assert_eq!(due(&t), Some((26, Cause::IdleTransactionTimeout)));
    t.now = Moment(101 * SECOND);
    t.client("Q:1");
    assert_eq!(due(&t), Some((105, Cause::TransactionTimeout)));
    t.server("C:A Z:T");
    t.client("Q:commit");
    t.now = Moment(104 * SECOND);
    t.server("C:COMMIT Z:I");
    // A client whose query has just ended has not been idle.
    assert_eq!(due(&t), Some((154, Cause::ClientIdleTimeout)));
}

#[test]
fn a_close_that_we_answer_begins_no_query() {
    let mut t = with_limits();
    t.client("Q:begin");
    t.server("C:BEGIN Z:T");
    assert_eq!(t.client("C:a"), "c[3]");
    assert_eq!(due(&t), Some((20, Cause::IdleTransactionTimeout)));
}

#[test]
fn settling_has_an_end_too() {
    let mut t = with_limits();
    other_values(&mut t, "ISO, MDY", "x");
    t.now = Moment(SECOND);
    t.client("Q:1");
    assert_eq!(due(&t), Some((11, Cause::QueryTimeout)));
}

fn other_values(t: &mut Talk, style: &str, application: &str) {
    let values = Arc::new(params(&t.tracked, style, application));
    t.session = Session::new(t.session.settings().clone(), values, Moment(1));
}

#[test]
fn parameters_that_differ_are_set_and_nobody_sees_it() {
    let mut t = Talk::new();
    other_values(&mut t, "German", "it's\\");
    assert_eq!(t.client("Q:1"), "s[Q:SET_DateStyle='German';SET_application_name=E'it''s\\\\';] settling");
    assert_eq!(t.client("Q:2"), "busy");
    assert_eq!(t.server("C:SET N:n K:DateStyle=German,_DMY"), "busy");
    assert_eq!(t.server("K:application_name=it's\\ C:SET Z:I"), "s[Q:1 Q:2] attached");
    assert_eq!(t.server("C:A Z:I C:A Z:I"), "c[C:A Z:I C:A Z:I] release Clean");
    // The server's spelling is the client's now: nothing is set again.
    assert_eq!(t.session.params().values[0].as_deref(), Some("German,_DMY"));
    assert_eq!(t.client("Q:3"), "s[Q:3]");
}

#[test]
fn values_that_differ_by_case_only_are_not_set() {
    let mut t = Talk::new();
    other_values(&mut t, "iso, mdy", "");
    assert_eq!(t.client("Q:1"), "s[Q:1]");
}

#[test]
fn names_of_applications_differ_by_their_case() {
    let mut t = Talk::new();
    other_values(&mut t, "ISO, MDY", "App");
    assert_eq!(t.client("Q:1"), "s[Q:SET_application_name='App';] settling");
    assert_eq!(t.server("K:application_name=App C:SET Z:I"), "s[Q:1] attached");
    assert_eq!(t.server("C:A Z:I"), "c[C:A Z:I] release Clean");
    other_values(&mut t, "ISO, MDY", "app");
    assert_eq!(t.client("Q:2"), "s[Q:SET_application_name='app';] settling");
}

#[test]
fn a_parameter_the_server_refuses_ends_both() {
    let mut t = Talk::new();
    other_values(&mut t, "nonsense", "");
    t.client("Q:1");
    assert_eq!(t.server("E:invalid Z:I"), "close Server: invalid server parameter");
}

#[test]
fn an_idle_connection_takes_in_what_is_not_an_answer() {
    let mut t = Talk::new();
    let said = bytes(Side::Server, "N:n A K:application_name=z N:cut");
    let taken = t.link.on_idle(&said[..said.len() - 2], &t.tracked).expect("nothing wrong");
    assert!(taken < said.len() - 2);
    assert_eq!(t.link.params().values[4].as_deref(), Some("z"));
    let why = t.link.on_idle(&bytes(Side::Server, "E:bye"), &t.tracked);
    assert!(matches!(why, Err(Cause::ServerEnded { message, .. }) if &*message == "bye"));
    assert!(t.link.on_idle(&bytes(Side::Server, "Z:I"), &t.tracked).is_err());
}

fn round(answer: &str) -> (RoundStep, Link) {
    let tracked = Tracked::new(&[]);
    let mut t = Talk::new();
    t.client("P:a=x S");
    t.server("1 Z:I");
    let mut link = t.link;
    let mut out = Vec::new();
    let mut round = Round::start("DISCARD ALL", &mut out);
    assert_eq!(out, bytes(Side::Client, "Q:DISCARD_ALL"));
    let step = round.on_server(&mut link, &bytes(Side::Server, answer), &tracked);
    (step, link)
}

#[test]
fn a_round_ends_with_its_own_ready() {
    let (step, link) = round("K:application_name=z C:DISCARD_ALL Z:I");
    assert!(matches!(step, RoundStep::Done { .. }));
    assert_eq!((link.prepared_count(), link.params().values[4].as_deref()), (0, Some("z")));
    assert!(matches!(round("I Z:I").0, RoundStep::Done { .. }));
    assert!(matches!(round("Z:I C:SET").0, RoundStep::More { .. }));
    assert!(matches!(round("Z:I C:SET Z:I").0, RoundStep::Done { .. }));
    assert!(matches!(round("C:BEGIN Z:T").0, RoundStep::Failed(Cause::ServerStateUnknown)));
    assert!(matches!(round("E:no").0, RoundStep::Failed(Cause::Server { .. })));
    assert!(matches!(round("G").0, RoundStep::Failed(Cause::ServerProtocol { .. })));
}
