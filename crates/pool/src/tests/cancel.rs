//! Cancel requests.

use super::*;
use crate::CancelVerdict;

#[test]
fn nobody_gets_a_connection_before_its_cancels_have_ended() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    let ticket = bench.queued(pool, HOME, 2);
    assert_eq!(bench.pools.handle_cancel(grant.slot, grant.hold), CancelVerdict::Go);
    assert_eq!(bench.pools.handle_cancel(grant.slot, grant.hold), CancelVerdict::Go);
    bench.give_back(grant.slot, 3);
    assert_eq!(bench.state(grant.slot), Some(SlotState::BeingCanceled));
    assert!(!bench.pools.is_held(grant.slot, grant.hold));
    bench.pools.handle_cancel_ended(grant.slot, at(4));
    bench.nothing();
    bench.pools.handle_cancel_ended(grant.slot, at(5));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn what_was_dirty_is_cleaned_when_its_cancel_has_ended() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.pools.handle_cancel(grant.slot, grant.hold);
    bench.pools.handle_returned(grant.slot, Returned::Dirty, at(2));
    bench.nothing();
    bench.pools.handle_cancel_ended(grant.slot, at(3));
    assert_eq!(bench.done(), [Action::Clean { slot: grant.slot }]);
}

#[test]
fn a_cancel_that_ends_in_time_changes_nothing() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.pools.handle_cancel(grant.slot, grant.hold);
    bench.pools.handle_cancel_ended(grant.slot, at(2));
    bench.pools.handle_cancel_ended(grant.slot, at(2));
    bench.give_back(grant.slot, 3);
    assert_eq!(bench.state(grant.slot), Some(SlotState::Idle));
}

#[test]
fn nobody_else_gets_a_connection_that_a_cancel_may_still_strike() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.queued(pool, HOME, 2);
    bench.pools.handle_cancel(grant.slot, grant.hold);
    bench.pools.handle_cancel_lost(grant.slot, at(3));
    assert!(bench.pools.is_held(grant.slot, grant.hold), "its own client goes on");
    bench.give_back(grant.slot, 4);
    assert_eq!(bench.closing(), (grant.slot, Cause::CloseNeeded));
}

#[test]
fn a_connection_whose_client_is_done_is_closed_when_its_cancel_is_lost() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.queued(pool, HOME, 2);
    bench.pools.handle_cancel(grant.slot, grant.hold);
    bench.give_back(grant.slot, 3);
    bench.nothing();
    bench.pools.handle_cancel_lost(grant.slot, at(4));
    assert_eq!(bench.closing(), (grant.slot, Cause::CloseNeeded));
}

#[test]
fn a_cancel_for_a_query_that_is_over_is_stale() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.give_back(grant.slot, 2);
    assert_eq!(bench.pools.handle_cancel(grant.slot, grant.hold), CancelVerdict::Stale);
    let next = bench.granted(pool, HOME, 3);
    assert_eq!(bench.pools.handle_cancel(grant.slot, grant.hold), CancelVerdict::Stale);
    assert!(bench.pools.is_held(next.slot, next.hold));
}

#[test]
fn twice_the_size_of_the_pool_may_be_under_way() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let first = bench.hold(pool, HOME, 1);
    let second = bench.hold(pool, HOME, 1);
    for grant in [first, second, first, second] {
        assert_eq!(bench.pools.handle_cancel(grant.slot, grant.hold), CancelVerdict::Go);
    }
    assert_eq!(bench.pools.handle_cancel(first.slot, first.hold), CancelVerdict::Wait);
    assert_eq!(bench.pools.counts(pool, at(2)).cancels, 4);
    bench.pools.handle_cancel_ended(second.slot, at(3));
    assert_eq!(bench.pools.handle_cancel(first.slot, first.hold), CancelVerdict::Go);
}

#[test]
fn an_unusable_connection_does_not_wait_for_its_cancel() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.pools.handle_cancel(grant.slot, grant.hold);
    bench.pools.handle_returned(grant.slot, Returned::Unusable(Cause::ServerEof), at(2));
    assert_eq!(bench.closing(), (grant.slot, Cause::ServerEof));
    bench.pools.handle_closed(grant.slot, at(3));
    bench.check();
    assert_eq!(bench.pools.counts(pool, at(3)).cancels, 1, "its cancel connection is still open");
    bench.pools.handle_cancel_ended(grant.slot, at(4));
    bench.pools.handle_cancel_ended(grant.slot, at(4));
    bench.check();
    assert_eq!(bench.pools.counts(pool, at(4)).cancels, 0);
}

#[test]
fn a_connection_that_breaks_under_its_cancel_is_closed() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.pools.handle_cancel(grant.slot, grant.hold);
    bench.give_back(grant.slot, 2);
    bench.pools.handle_idle_broken(grant.slot, Cause::ServerEof, at(3));
    assert_eq!(bench.closing(), (grant.slot, Cause::ServerEof));
    bench.pools.handle_cancel_ended(grant.slot, at(4));
    bench.nothing();
}

#[test]
fn cancels_of_our_own_count_like_those_of_clients() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Stale, "a client has it");
    bench.pools.handle_returned(grant.slot, Returned::Dirty, at(2));
    assert_eq!(bench.done(), [Action::Clean { slot: grant.slot }]);
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Go);
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Go);
    assert_eq!(bench.pools.counts(pool, at(2)).cancels, 2);
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Wait);
    bench.pools.handle_cancel_ended(grant.slot, at(3));
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Go);
    bench.pools.handle_cancel_ended(grant.slot, at(4));
    bench.pools.handle_cancel_ended(grant.slot, at(4));
    bench.pools.handle_cleaned(grant.slot, at(5));
    assert_eq!(bench.state(grant.slot), Some(SlotState::Idle));
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Stale, "it is free");
    assert_eq!(bench.pools.counts(pool, at(5)).cancels, 0);
}

#[test]
fn a_connection_that_a_cancel_of_our_own_may_still_strike_is_not_used_again() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let grant = bench.hold(pool, HOME, 1);
    bench.pools.handle_returned(grant.slot, Returned::Dirty, at(2));
    assert_eq!(bench.done(), [Action::Clean { slot: grant.slot }]);
    assert_eq!(bench.pools.handle_own_cancel(grant.slot), CancelVerdict::Go);
    bench.pools.handle_cancel_lost(grant.slot, at(3));
    bench.pools.handle_cleaned(grant.slot, at(4));
    assert_eq!(bench.closing(), (grant.slot, Cause::CloseNeeded));
}
