//! Limits of a pool and of several, and who makes room.

use super::*;

/// Two pools of different databases and users on one target.
fn two_pools(budget: Option<u32>, size: u32) -> (Bench, TargetId, PoolId, PoolId) {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(budget);
    let ours = bench.add_pool(0, 0, &[target], limits(size));
    let theirs = bench.add_pool(1, 1, &[target], limits(size));
    (bench, target, ours, theirs)
}

#[test]
fn a_pool_never_has_more_than_its_size() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    bench.hold_many(pool, HOME, 2, 1);
    bench.queued(pool, HOME, 2);
    bench.nothing();
}

#[test]
fn the_budget_spans_pools() {
    let (mut bench, target, ours, theirs) = two_pools(Some(2), 5);
    let slot = bench.hold(ours, HOME, 1).slot;
    bench.hold(theirs, HOME, 1);
    bench.queued(theirs, HOME, 2);
    bench.nothing();
    assert_eq!(bench.pools.target_used(target), 2);
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(3));
    bench.closing();
    bench.pools.handle_closed(slot, at(4));
    bench.opening();
}

#[test]
fn the_least_recently_used_idle_connection_of_others_is_evicted() {
    let (mut bench, _, ours, theirs) = two_pools(Some(4), 5);
    let slots = bench.hold_many(theirs, HOME, 4, 1);
    for (slot, ms) in [(slots[1], 2), (slots[0], 3), (slots[2], 4), (slots[3], 4)] {
        bench.give_back(slot, ms);
    }
    let ticket = bench.queued(ours, HOME, 5);
    assert_eq!(bench.closing(), (slots[1], Cause::Evicted));
    bench.queued(ours, HOME, 6);
    bench.nothing();
    bench.pools.handle_closed(slots[1], at(7));
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(8));
    let [Action::Grant { ticket: granted, .. }, Action::Close { slot, cause: Cause::Evicted }] =
        bench.done()[..]
    else {
        panic!("the first waiter is served, and room is made for the second")
    };
    assert_eq!((granted, slot), (ticket, slots[0]));
}

#[test]
fn connections_on_other_targets_are_not_in_the_way() {
    let mut bench = Bench::new();
    let (small, large) = (bench.pools.add_target(Some(1)), bench.pools.add_target(None));
    let ours = bench.add_pool(0, 0, &[small], limits(5));
    let theirs = bench.add_pool(1, 1, &[large], limits(5));
    let idle = bench.hold(theirs, HOME, 1).slot;
    bench.give_back(idle, 2);
    bench.hold(ours, HOME, 3);
    bench.queued(ours, HOME, 4);
    bench.nothing();
}

#[test]
fn database_and_user_limits_evict_too() {
    for (database, user) in [(0, 1), (1, 0)] {
        let mut bench = Bench::new();
        let target = bench.pools.add_target(None);
        let theirs = bench.add_pool(0, 0, &[target], limits(5));
        let ours = bench.add_pool(database, user, &[target], limits(5));
        bench.pools.set_database_limit(DatabaseId(0), (database == 0).then_some(1), at(0));
        bench.pools.set_user_limit(UserId(0), (user == 0).then_some(1), at(0));
        let slot = bench.hold(theirs, HOME, 1).slot;
        bench.queued(ours, HOME, 2);
        bench.nothing();
        bench.give_back(slot, 200);
        assert_eq!(bench.closing(), (slot, Cause::Evicted));
        assert_eq!((bench.pools.database_used(DatabaseId(0)), bench.pools.user_used(UserId(0))), (1, 1));
        bench.pools.handle_closed(slot, at(201));
        bench.opening();
    }
}

/// A pool in the way of which are a database limit and a budget, used up by two other pools.
fn two_limits() -> (Bench, PoolId, SlotId, SlotId) {
    let mut bench = Bench::new();
    let (target, other) = (bench.pools.add_target(Some(1)), bench.pools.add_target(None));
    let same_database = bench.add_pool(0, 0, &[other], limits(5));
    let same_target = bench.add_pool(1, 1, &[target], limits(5));
    let ours = bench.add_pool(0, 2, &[target], limits(5));
    bench.pools.set_database_limit(DatabaseId(0), Some(1), at(0));
    let first = bench.hold(same_database, HOME, 1).slot;
    let second = bench.hold(same_target, HOME, 1).slot;
    (bench, ours, first, second)
}

#[test]
fn room_is_made_under_all_limits_or_none() {
    let (mut bench, ours, first, second) = two_limits();
    bench.give_back(first, 2);
    bench.queued(ours, HOME, 3);
    bench.nothing();
    bench.give_back(second, 200);
    let closed: Vec<SlotId> = bench
        .done()
        .into_iter()
        .map(|action| match action {
            Action::Close { slot, cause: Cause::Evicted } => slot,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(closed, [second, first]);
    bench.pools.handle_closed(first, at(201));
    bench.nothing();
    bench.pools.handle_closed(second, at(202));
    bench.opening();
}

#[test]
fn half_the_room_is_kept_for_the_older_waiter() {
    let (mut bench, ours, first, second) = two_limits();
    bench.give_back(first, 2);
    bench.give_back(second, 2);
    bench.queued(ours, HOME, 3);
    assert_eq!(bench.done().len(), 2);
    bench.pools.handle_closed(first, at(4));
    bench.queued(PoolId(0), HOME, 5);
    bench.nothing();
    bench.pools.handle_closed(second, at(6));
    let [Action::Open { pool, .. }] = bench.done()[..] else { panic!("an opening") };
    assert_eq!(pool, ours);
}

#[test]
fn what_closes_anyway_is_waited_for() {
    let (mut bench, _, ours, theirs) = two_pools(Some(2), 5);
    let idle = bench.hold(theirs, HOME, 1).slot;
    bench.give_back(idle, 2);
    let slot = bench.hold(ours, HOME, 3).slot;
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(4));
    bench.closing();
    bench.queued(ours, HOME, 5);
    bench.nothing();
    bench.pools.handle_lost(slot, at(6));
    assert_eq!(bench.closing(), (idle, Cause::Evicted), "but not for ever");
}

#[test]
fn a_lost_connection_counts_at_its_target_only() {
    let (mut bench, target, ours, _) = two_pools(Some(2), 1);
    let slot = bench.hold(ours, HOME, 1).slot;
    bench.queued(ours, HOME, 2);
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(3));
    bench.closing();
    bench.nothing();
    bench.pools.handle_lost(slot, at(4));
    let opening = bench.opening();
    assert_eq!((bench.pools.target_used(target), bench.pools.database_used(DatabaseId(0))), (2, 1));
    assert_eq!((bench.pools.user_used(UserId(0)), bench.pools.counts(ours, at(5)).lost), (1, 1));
    bench.pools.handle_opened(opening, HOME, at(6));
    bench.done();
    bench.pools.handle_closed(slot, at(7));
    bench.nothing();
    assert_eq!(bench.pools.target_used(target), 1);
}

#[test]
fn the_reserve_is_used_when_the_oldest_has_waited_long_enough() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { reserve_size: 1, ..limits(1) });
    let normal = bench.hold(pool, HOME, 1).slot;
    let ticket = bench.queued(pool, HOME, 1000);
    bench.queued(pool, HOME, 2000);
    assert_eq!(bench.pools.poll_timeout(), Some(at(6000)));
    bench.pools.handle_timeout(at(5999));
    bench.nothing();
    bench.pools.handle_timeout(at(6000));
    let slot = bench.opening();
    assert!(bench.pools.is_from_reserve(slot) && !bench.pools.is_from_reserve(normal));
    bench.pools.handle_opened(slot, HOME, at(6001));
    assert_eq!(bench.grant().0, ticket);
    bench.pools.handle_timeout(at(60_000));
    bench.nothing();
}

#[test]
fn a_reserve_timeout_of_zero_turns_the_reserve_off() {
    let reserve = PoolLimits { reserve_size: 1, reserve_timeout: Duration::ZERO, ..limits(1) };
    let (mut bench, pool) = Bench::with_pool(reserve);
    bench.hold(pool, HOME, 1);
    bench.queued(pool, HOME, 2);
    bench.pools.handle_timeout(at(60_000));
    bench.nothing();
}

#[test]
fn a_minimum_evicts_nobody() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(1));
    let theirs = bench.add_pool(1, 1, &[target], limits(5));
    let slot = bench.hold(theirs, HOME, 1).slot;
    bench.give_back(slot, 2);
    bench.add_pool(0, 0, &[target], PoolLimits { min_size: 1, min_always: true, ..limits(5) });
    bench.pools.handle_timeout(at(1000));
    bench.nothing();
    assert!(
        bench.pools.poll_timeout().is_none_or(|due| due > at(10_000)),
        "no room is no reason to be called"
    );
}

#[test]
fn a_lower_size_cuts_nobody_off() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slots = bench.hold_many(pool, HOME, 3, 1);
    bench.give_back(slots[0], 2);
    bench.pools.set_pool(pool, Bench::spec(0, 0, &[TargetId(0)], limits(1)), at(3));
    assert_eq!(bench.closing(), (slots[0], Cause::Unneeded));
    bench.give_back(slots[1], 4);
    assert_eq!(bench.closing(), (slots[1], Cause::Unneeded));
    bench.give_back(slots[2], 5);
    bench.nothing();
    assert_eq!(bench.state(slots[2]), Some(SlotState::Idle));
}

#[test]
fn a_lower_budget_cuts_nobody_off() {
    let (mut bench, target, ours, theirs) = two_pools(Some(4), 5);
    let held = bench.hold_many(ours, HOME, 2, 1);
    let idle = bench.hold_many(theirs, HOME, 2, 1);
    bench.give_back(idle[1], 2);
    bench.give_back(idle[0], 3);
    bench.pools.set_budget(target, Some(1), at(4));
    let closed: Vec<Action> = idle.iter().rev().map(|slot| close_unneeded(*slot)).collect();
    assert_eq!(bench.done(), closed, "what is idle goes, least recently used first");
    bench.give_back(held[0], 5);
    assert_eq!(bench.done(), [close_unneeded(held[0])]);
    bench.give_back(held[1], 6);
    bench.nothing();
    assert_eq!(bench.granted(ours, HOME, 7).slot, held[1]);
}

#[test]
fn a_lost_connection_leaves_no_room_under_a_lower_budget() {
    let (mut bench, target, ours, _) = two_pools(Some(3), 5);
    let slots = bench.hold_many(ours, HOME, 2, 1);
    bench.give_back(slots[0], 2);
    bench.pools.handle_returned(slots[1], Returned::Unusable(Cause::ServerEof), at(3));
    bench.closing();
    bench.pools.set_budget(target, Some(1), at(4));
    bench.nothing();
    bench.pools.handle_lost(slots[1], at(5));
    assert_eq!(bench.done(), [close_unneeded(slots[0])]);
}

fn close_unneeded(slot: SlotId) -> Action {
    Action::Close { slot, cause: Cause::Unneeded }
}

#[test]
fn a_higher_limit_acts_at_once() {
    let (mut bench, target, ours, _) = two_pools(Some(0), 1);
    bench.queued(ours, HOME, 1);
    bench.nothing();
    bench.pools.set_budget(target, None, at(2));
    bench.opening();
}

#[test]
fn a_target_whose_budget_is_used_up_is_passed_over() {
    let mut bench = Bench::new();
    let (small, large) = (bench.pools.add_target(Some(0)), bench.pools.add_target(None));
    let pool = bench.add_pool(0, 0, &[small, large], limits(2));
    bench.queued(pool, HOME, 1);
    let [Action::Open { target, .. }] = bench.done()[..] else { panic!("an opening") };
    assert_eq!(target, large);
    let stays = PoolSpec { pick: Pick::UntilFailure, ..Bench::spec(1, 1, &[small, large], limits(2)) };
    let stays = bench.pools.add_pool(stays, at(2));
    bench.queued(stays, HOME, 3);
    bench.nothing();
}

#[test]
fn a_full_server_is_a_reason_to_evict() {
    let (mut bench, _, ours, theirs) = two_pools(None, 5);
    let idle = bench.hold(theirs, HOME, 1).slot;
    bench.give_back(idle, 2);
    bench.queued(ours, HOME, 3);
    let slot = bench.opening();
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 4);
    assert_eq!(bench.closing(), (idle, Cause::Evicted));
    bench.pools.handle_closed(idle, at(5));
    bench.opening();
}

#[test]
fn a_guaranteed_place_does_not_wait_for_shared_limits() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(None);
    let clients = bench.add_pool(0, 0, &[target], limits(2));
    let spec = PoolSpec { standing: Standing::Guaranteed, ..Bench::spec(0, 1, &[target], limits(2)) };
    let asking = bench.pools.add_pool(spec, at(0));
    bench.pools.set_database_limit(DatabaseId(0), Some(1), at(0));
    bench.hold(clients, HOME, 1);
    // The database is full, and its one connection in use.
    let ticket = bench.queued(asking, HOME, 2);
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(3));
    assert_eq!(bench.grant().0, ticket);
    // That was the one place: the second has to wait like anybody.
    bench.queued(asking, HOME, 4);
    bench.nothing();
}
