//! The simulator can fail: mistakes that are made on purpose are found within a few seeds, by the rule they break, and
//! the history that shows them is cut down to a few steps.

use plimsoll_sim::{Cast, Sabotage, Shrunk, Telling, draw, run, shrink};

/// So many seeds are tried.
const SEEDS: u64 = 200;

/// A history cut down is no longer than this.
const STEPS_MAX: usize = 8;

/// The first seed that shows the mistake, cut down.
fn find(sabotage: Sabotage, cast: Cast) -> Shrunk {
    let found = (0..SEEDS).find_map(|seed| {
        let history = draw(seed, 100, cast);
        let broken = run(&history, Some(sabotage), Telling::Silent).broken?;
        Some(shrink(&history, &broken, Some(sabotage), 3000))
    });
    found.unwrap_or_else(|| panic!("{sabotage:?} is not noticed"))
}

/// Finds it, by one of these rules, with a short history that breaks nothing when nobody makes the mistake.
fn assert_found(sabotage: Sabotage, rules: &[&str]) {
    assert_found_with(Cast::Silent, sabotage, rules);
}

fn assert_found_with(cast: Cast, sabotage: Sabotage, rules: &[&str]) {
    let shrunk = find(sabotage, cast);
    let rule = shrunk.broken.rule;
    assert!(rules.contains(&rule), "{sabotage:?} breaks {rule}: {}\n{}", shrunk.broken.what, shrunk.history);
    let steps = shrunk.history.steps.len();
    assert!(steps <= STEPS_MAX, "{steps} steps are left:\n{}", shrunk.history);
    let honest = run(&shrunk.history, None, Telling::Silent);
    assert_eq!(honest.broken, None, "without {sabotage:?}");
}

#[test]
fn a_connection_that_never_comes_back() {
    assert_found(Sabotage::ForgetReturn, &["2: one state"]);
}

#[test]
fn a_dirty_connection_that_goes_on_to_the_next_client() {
    assert_found(Sabotage::SkipCleaning, &["5: no state of one client reaches another"]);
}

#[test]
fn the_second_waiter_before_the_first() {
    assert_found(
        Sabotage::SwapWaiters,
        &["3: the oldest waiter comes first", "3: only who waits is answered"],
    );
}

#[test]
fn a_weight_that_is_not_told() {
    assert_found(Sabotage::ForgetWeight, &["3: hand-outs by weight"]);
}

#[test]
fn a_grant_that_gets_lost() {
    assert_found(Sabotage::LoseGrant, &["2: one state", "2: counters"]);
}

#[test]
fn a_place_that_is_used_again_before_it_is_free() {
    assert_found(Sabotage::CloseEarly, &["2: one state", "9: what the server sees"]);
}

#[test]
fn timeouts_that_nobody_looks_at() {
    assert_found(Sabotage::StopClock, &["3: a wait ends", "a timeout ends"]);
}

#[test]
fn a_failure_that_nobody_hears_of() {
    assert_found(Sabotage::ForgetFailure, &["2: one state"]);
}

#[test]
fn a_cancel_that_strikes_the_next_client() {
    assert_found(Sabotage::EndCancelEarly, &["2: counters", "cancel: none is under way"]);
}

#[test]
fn bytes_of_a_server_that_are_forgotten() {
    assert_found_with(
        Cast::Speaking,
        Sabotage::ForgetBytes,
        &[
            "8: nobody is closed without a reason",
            "5: each client gets the answers to its own requests, in order",
        ],
    );
}

#[test]
fn a_connection_that_is_left_in_the_middle() {
    // A server that has died in the middle answers nobody who gets it then.
    assert_found_with(
        Cast::Speaking,
        Sabotage::LeaveBusy,
        &["4: no unfinished answer", "liveness: nothing is under way for ever"],
    );
}

#[test]
fn an_answer_for_somebody_else() {
    assert_found_with(
        Cast::Speaking,
        Sabotage::SwapClients,
        &["5: each client gets the answers to its own requests, in order"],
    );
}

#[test]
fn a_request_that_gets_lost_while_it_waits() {
    assert_found_with(
        Cast::Speaking,
        Sabotage::ForgetRequest,
        &[
            "liveness: everybody has gone",
            "liveness: every waiter is answered",
            "liveness: no pool starves another",
            "liveness: nothing is under way for ever",
            "5: each client gets the answers to its own requests, in order",
        ],
    );
}

#[test]
fn a_dirty_connection_that_was_not_reset() {
    assert_found_with(Cast::Speaking, Sabotage::SkipCleaning, &["5: no state of one client reaches another"]);
}

#[test]
fn a_reset_that_does_not_reset() {
    assert_found_with(Cast::Speaking, Sabotage::FakeReset, &["5: what is cleaned is clean"]);
}
