//! Whose turn it is.

use super::*;
use crate::Moves;

#[test]
fn the_first_request_opens_and_is_granted() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let grant = bench.hold(pool, HOME, 1);
    assert_eq!(grant.moves, Moves::Stays);
    bench.give_back(grant.slot, 2);
    assert_eq!(bench.state(grant.slot), Some(SlotState::Idle));
    assert_eq!(bench.granted(pool, HOME, 3).slot, grant.slot);
    bench.nothing();
}

#[test]
fn the_last_used_at_home_comes_first_then_the_last_used_of_all() {
    let (mut bench, pool) = Bench::with_pool(limits(4));
    let home = bench.hold_many(pool, HOME, 2, 1);
    let away = bench.hold_many(pool, AWAY, 2, 1);
    for (slot, ms) in [(home[0], 2), (home[1], 3), (away[0], 4), (away[1], 5)] {
        bench.give_back(slot, ms);
    }
    assert_eq!(bench.granted(pool, HOME, 6).slot, home[1]);
    assert_eq!(bench.granted(pool, HOME, 7).slot, home[0]);
    assert_eq!(bench.pools.moves(), 0);
    let stolen = bench.granted(pool, HOME, 8);
    assert_eq!((stolen.slot, stolen.moves), (away[1], Moves::Moves));
    assert_eq!(bench.pools.moves(), 1);
    bench.give_back(stolen.slot, 9);
    assert_eq!(bench.granted(pool, HOME, 10), Grant { moves: Moves::Stays, hold: HoldId(8), ..stolen });
}

#[test]
fn round_robin_takes_the_least_recently_used() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { round_robin: true, ..limits(3) });
    let slots = bench.hold_many(pool, HOME, 3, 1);
    for (slot, ms) in slots.iter().zip(2..) {
        bench.give_back(*slot, ms);
    }
    for (slot, ms) in slots.iter().cycle().take(7).zip(10..) {
        assert_eq!(bench.granted(pool, HOME, ms).slot, *slot);
        bench.give_back(*slot, ms);
    }
}

#[test]
fn a_newcomer_never_overtakes_a_waiter() {
    // The only idle connection is being checked for the first: the second waits behind it.
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    let first = bench.queued(pool, HOME, 40_000);
    let second = bench.queued(pool, HOME, 40_000);
    assert_eq!(bench.done(), [Action::Check { slot }]);
    bench.pools.handle_cleaned(slot, at(40_001));
    assert_eq!(bench.grant().0, first);
    bench.give_back(slot, 40_002);
    assert_eq!(bench.grant().0, second);
}

#[test]
fn a_newcomer_does_not_take_what_is_ready_from_one_who_waits_for_a_check() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { round_robin: true, ..limits(2) });
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 2);
    bench.give_back(slots[1], 20_000);
    let first = bench.queued(pool, HOME, 31_000);
    assert_eq!(bench.done(), [Action::Check { slot: slots[0] }]);
    let second = bench.queued(pool, HOME, 31_001);
    let (ticket, grant) = bench.grant();
    assert_eq!((ticket, grant.slot), (first, slots[1]));
    bench.pools.handle_cleaned(slots[0], at(31_002));
    assert_eq!(bench.grant().0, second);
}

#[test]
fn a_returned_connection_goes_to_the_oldest_waiter() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    let tickets: Vec<Ticket> = (10..14).map(|ms| bench.queued(pool, HOME, ms)).collect();
    for ticket in tickets {
        bench.give_back(slot, 20);
        assert_eq!(bench.grant().0, ticket);
    }
}

#[test]
fn waiters_at_home_come_first_within_the_slack() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    let away = bench.queued(pool, AWAY, 10);
    let close = bench.queued(pool, HOME, 15);
    let late = bench.queued(pool, HOME, 16);
    bench.give_back(slot, 20);
    assert_eq!(bench.grant().0, close, "5 ms younger is not too young");
    bench.give_back(slot, 21);
    let (ticket, grant) = bench.grant();
    assert_eq!((ticket, grant.moves), (away, Moves::Moves), "6 ms older is too old to be passed over");
    assert_eq!(bench.pools.slot(slot).map(|view| view.home), Some(AWAY));
    bench.give_back(slot, 22);
    assert_eq!(bench.grant().0, late);
}

#[test]
fn fairness_slack_can_change() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    let away = bench.queued(pool, AWAY, 10);
    bench.queued(pool, HOME, 11);
    bench.pools.set_globals(Globals { fairness_slack: Duration::ZERO, ..Globals::default() });
    bench.give_back(slot, 20);
    assert_eq!(bench.grant().0, away);
}

#[test]
fn a_waiter_that_left_is_passed_over() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    let gone = bench.queued(pool, HOME, 2);
    let stays = bench.queued(pool, HOME, 3);
    bench.pools.handle_withdrawn(gone, at(4));
    bench.pools.handle_withdrawn(gone, at(4));
    bench.give_back(slot, 5);
    assert_eq!(bench.grant().0, stays);
    bench.pools.handle_withdrawn(stays, at(6));
    assert_eq!(bench.state(slot), Some(SlotState::Held), "a ticket that has been granted is void");
}

#[test]
fn an_id_of_what_is_gone_never_names_its_successor() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let old = bench.hold(pool, HOME, 1).slot;
    bench.pools.handle_returned(old, Returned::Unusable(Cause::ServerStateUnknown), at(2));
    bench.closing();
    bench.pools.handle_closed(old, at(3));
    let new = bench.hold(pool, HOME, 4).slot;
    assert_eq!(old.index, new.index);
    bench.give_back(old, 5);
    bench.pools.handle_closed(old, at(5));
    bench.pools.handle_idle_broken(old, Cause::ServerEof, at(5));
    assert_eq!(bench.state(new), Some(SlotState::Held));
    assert_eq!(bench.state(old), None);
    bench.nothing();
}

#[test]
fn what_was_idle_for_too_long_is_checked() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    assert_eq!(bench.granted(pool, HOME, 30_001).slot, slot, "one millisecond before it is due");
    bench.give_back(slot, 30_002);
    let ticket = bench.queued(pool, HOME, 60_002);
    assert_eq!(bench.done(), [Action::Check { slot }], "and nothing is opened beside the check");
    bench.pools.handle_cleaned(slot, at(60_003));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn a_failed_check_costs_the_waiter_nothing_but_time() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 2);
    bench.give_back(slots[1], 3);
    let ticket = bench.queued(pool, HOME, 50_000);
    assert_eq!(bench.done(), [Action::Check { slot: slots[1] }]);
    bench.fail(slots[1], Failure::Lost(Cause::CleaningFailed), 50_001);
    assert_eq!(bench.done(), [Action::Check { slot: slots[0] }]);
    bench.fail(slots[0], Failure::Lost(Cause::CleaningFailed), 50_002);
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(50_003));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn as_many_are_checked_as_wait() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    for slot in bench.hold_many(pool, HOME, 3, 1) {
        bench.give_back(slot, 2);
    }
    bench.queued(pool, HOME, 50_000);
    bench.queued(pool, HOME, 50_000);
    assert!(matches!(bench.done()[..], [Action::Check { .. }, Action::Check { .. }]));
}

#[test]
fn what_is_ready_elsewhere_comes_before_what_must_be_checked_at_home() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let home = bench.hold(pool, HOME, 1).slot;
    let away = bench.hold(pool, AWAY, 1).slot;
    bench.give_back(home, 2);
    bench.give_back(away, 20_000);
    assert_eq!(bench.granted(pool, HOME, 40_000).slot, away);
}

#[test]
fn a_check_delay_of_zero_checks_on_every_hand_out() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { check_delay: Some(Duration::ZERO), ..limits(1) });
    let slot = bench.hold(pool, HOME, 1).slot;
    let waits = bench.queued(pool, HOME, 2);
    bench.give_back(slot, 3);
    assert_eq!(bench.done(), [Action::Check { slot }]);
    bench.pools.handle_cleaned(slot, at(4));
    assert_eq!(bench.grant().0, waits);
    bench.give_back(slot, 5);
    bench.queued(pool, HOME, 5);
    assert_eq!(bench.done(), [Action::Check { slot }]);
}

#[test]
fn without_a_check_delay_nothing_is_checked() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { check_delay: None, ..limits(1) });
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    assert_eq!(bench.granted(pool, HOME, 1_000_000).slot, slot);
}

#[test]
fn a_dirty_connection_is_cleaned_before_the_next_client() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    let ticket = bench.queued(pool, HOME, 2);
    bench.pools.handle_returned(slot, Returned::Dirty, at(3));
    assert_eq!(bench.done(), [Action::Clean { slot }]);
    assert_eq!(bench.state(slot), Some(SlotState::Cleaning));
    bench.pools.handle_cleaned(slot, at(4));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn a_connection_that_could_not_be_cleaned_is_replaced() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.queued(pool, HOME, 2);
    bench.pools.handle_returned(slot, Returned::Dirty, at(3));
    bench.done();
    bench.fail(slot, Failure::Lost(Cause::CleaningFailed), 4);
    bench.opening();
}

#[test]
fn an_unusable_connection_is_closed_and_its_place_is_free_when_it_has_ended() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.queued(pool, HOME, 2);
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ClientLeftBusy), at(3));
    assert_eq!(bench.closing(), (slot, Cause::ClientLeftBusy));
    bench.pools.handle_closed(slot, at(4));
    bench.opening();
}

#[test]
fn an_idle_connection_that_breaks_is_closed() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.pools.handle_idle_broken(slot, Cause::ServerEof, at(2));
    bench.nothing();
    bench.give_back(slot, 3);
    bench.pools.handle_idle_broken(slot, Cause::ServerEof, at(4));
    assert_eq!(bench.closing(), (slot, Cause::ServerEof));
}

#[test]
fn a_spare_check_with_nobody_left_makes_an_idle_connection() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    let ticket = bench.queued(pool, HOME, 50_000);
    bench.done();
    bench.pools.handle_withdrawn(ticket, at(50_001));
    bench.pools.handle_cleaned(slot, at(50_002));
    assert_eq!(bench.granted(pool, HOME, 50_003).slot, slot);
}

#[test]
fn counts_tell_idle_from_used() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slots = bench.hold_many(pool, HOME, 3, 1);
    bench.give_back(slots[0], 2);
    bench.give_back(slots[1], 20_000);
    let counts = bench.pools.counts(pool, at(31_000));
    assert_eq!((counts.idle, counts.used, counts.held), (1, 1, 1));
    bench.queued(pool, HOME, 60_000);
    bench.pools.handle_returned(slots[2], Returned::Dirty, at(60_001));
    let counts = bench.pools.counts(pool, at(62_000));
    assert_eq!((counts.idle, counts.used, counts.held, counts.tested, counts.waiting), (0, 1, 0, 2, 1));
    assert_eq!(counts.oldest_wait, secs(2));
}
