//! Connections that are one client's alone.

use super::*;
use crate::{Standing, Walsenders};

/// A pool and the one for replication beside it, on one target with these places.
fn pair(size: u32, budget: Option<u32>) -> (Bench, PoolId, PoolId, TargetId) {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(budget);
    let pool = bench.add_pool(0, 0, &[target], limits(size));
    let mut spec = Bench::spec(0, 0, &[target], limits(size));
    spec.standing = Standing::Replication { beside: pool };
    let stream = bench.pools.add_pool(spec, at(0));
    (bench, pool, stream, target)
}

#[test]
fn each_is_opened_for_its_client_and_closed_after_it() {
    let (mut bench, _, stream, _) = pair(2, None);
    let ticket = bench.queued(stream, HOME, 1);
    let slot = bench.opening();
    assert_eq!(bench.pools.opened_for(slot), Some(ticket));
    bench.pools.handle_opened(slot, HOME, at(2));
    assert_eq!(bench.grant().0, ticket);
    bench.give_back(slot, 3);
    assert_eq!(bench.closing(), (slot, Cause::ReplicationEnded));
    bench.pools.handle_closed(slot, at(4));
    bench.nothing();
}

#[test]
fn one_whose_client_has_left_meanwhile_goes_to_nobody_else() {
    let (mut bench, _, stream, _) = pair(2, None);
    let gone = bench.queued(stream, HOME, 1);
    let slot = bench.opening();
    let next = bench.queued(stream, HOME, 2);
    bench.pools.handle_withdrawn(gone, at(3));
    bench.pools.handle_opened(slot, HOME, at(4));
    let [Action::Close { slot: closed, cause: Cause::Unneeded }, Action::Open { slot: other, .. }] =
        bench.done()[..]
    else {
        panic!("closed, and another one")
    };
    assert_eq!((closed, bench.pools.opened_for(other)), (slot, Some(next)));
}

#[test]
fn a_refusal_is_for_its_client_alone() {
    let (mut bench, pool, stream, _) = pair(5, None);
    let first = bench.queued(stream, HOME, 1);
    let slot = bench.opening();
    let second = bench.queued(stream, HOME, 1);
    let said =
        Cause::Server { sqlstate: plimsoll_types::SqlState::INVALID_AUTHORIZATION, message: "no".into() };
    bench.fail(slot, Failure::Login(said), 2);
    let [Action::Refuse { ticket, cause: Cause::ReplicationRefused { .. }, .. }, Action::Open { slot, .. }] =
        bench.done()[..]
    else {
        panic!("refused, and the next one at once")
    };
    assert_eq!((ticket, bench.pools.opened_for(slot)), (first, Some(second)));
    // Nobody else has noticed anything.
    bench.hold(pool, HOME, 3);
}

#[test]
fn a_server_without_a_walsender_to_spare_teaches_nothing_of_the_budget() {
    let (mut bench, pool, stream, target) = pair(5, None);
    bench.queued(stream, HOME, 1);
    let slot = bench.opening();
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 2);
    assert!(matches!(bench.done()[..], [Action::Refuse { .. }]));
    assert_eq!(bench.pools.target_view(target).map(|view| view.budget), Some(None));
    bench.hold(pool, HOME, 3);
}

#[test]
fn it_takes_no_place_of_the_budget_but_one_of_the_walsenders() {
    let (mut bench, pool, stream, target) = pair(5, Some(1));
    bench.hold(pool, HOME, 1);
    bench.pools.set_walsenders(target, Walsenders::Apart(Some(2)), at(2));
    let first = bench.hold(stream, HOME, 2).slot;
    bench.hold(stream, HOME, 3);
    let view = bench.pools.target_view(target).expect("a target");
    assert_eq!((view.used, view.walsenders, view.walsenders_max), (1, 2, Some(2)));
    // Neither kind has a place more.
    bench.queued(stream, HOME, 4);
    bench.queued(pool, HOME, 4);
    bench.nothing();
    bench.give_back(first, 5);
    assert_eq!(bench.closing().0, first);
    bench.pools.handle_closed(first, at(6));
    let slot = bench.opening();
    assert!(bench.pools.opened_for(slot).is_some());
}

#[test]
fn before_version_12_it_takes_a_place_like_any_other() {
    let (mut bench, pool, stream, target) = pair(5, Some(1));
    bench.pools.set_walsenders(target, Walsenders::Among, at(1));
    let held = bench.hold(stream, HOME, 2).slot;
    bench.queued(pool, HOME, 3);
    bench.nothing();
    bench.give_back(held, 4);
    assert_eq!(bench.closing().0, held);
    bench.pools.handle_closed(held, at(5));
    bench.opening();
}

#[test]
fn it_counts_in_the_size_and_evicts_what_is_idle() {
    let (mut bench, pool, stream, _) = pair(2, None);
    let idle: Vec<_> = bench.hold_many(pool, HOME, 2, 1);
    idle.iter().for_each(|slot| bench.give_back(*slot, 2));
    bench.nothing();
    let ticket = bench.queued(stream, HOME, 3);
    // One, not both: that is all the room it needs.
    assert_eq!(bench.closing(), (idle[0], Cause::Evicted));
    bench.pools.handle_closed(idle[0], at(4));
    let slot = bench.opening();
    assert_eq!(bench.pools.opened_for(slot), Some(ticket));
    bench.pools.handle_opened(slot, HOME, at(5));
    bench.grant();
    // The other one is for whoever comes, and there is no size for more.
    bench.granted(pool, HOME, 6);
    bench.queued(pool, HOME, 7);
    bench.nothing();
}

#[test]
fn a_limit_that_the_idle_one_uses_up_as_well_is_no_obstacle() {
    let (mut bench, pool, stream, _) = pair(2, None);
    bench.pools.set_user_limit(UserId(0), Some(2), at(0));
    let idle: Vec<_> = bench.hold_many(pool, HOME, 2, 1);
    idle.iter().for_each(|slot| bench.give_back(*slot, 2));
    bench.nothing();
    let ticket = bench.queued(stream, HOME, 3);
    assert_eq!(bench.closing(), (idle[0], Cause::Evicted));
    bench.pools.handle_closed(idle[0], at(4));
    let slot = bench.opening();
    assert_eq!(bench.pools.opened_for(slot), Some(ticket));
}

#[test]
fn one_that_the_older_waiters_do_not_need_goes_for_it() {
    let (mut bench, pool, stream, target) = pair(2, None);
    let always = PoolLimits { check_delay: Some(Duration::ZERO), ..limits(2) };
    bench.pools.set_pool(pool, Bench::spec(0, 0, &[target], always), at(0));
    let held = bench.hold_many(pool, HOME, 2, 1);
    bench.queued(pool, HOME, 2);
    bench.queued(stream, HOME, 3);
    bench.give_back(held[0], 4);
    assert_eq!(bench.done(), [Action::Check { slot: held[0] }], "for the older one");
    bench.give_back(held[1], 5);
    assert_eq!(bench.closing(), (held[1], Cause::Evicted));
}

#[test]
fn the_older_waiter_has_the_next_one_that_comes_free() {
    let (mut bench, pool, stream, _) = pair(1, None);
    let held = bench.hold(pool, HOME, 1).slot;
    let ordinary = bench.queued(pool, HOME, 2);
    let waits = bench.queued(stream, HOME, 3);
    let later = bench.queued(pool, HOME, 4);
    bench.nothing();
    bench.give_back(held, 5);
    assert_eq!(bench.grant().0, ordinary);
    bench.give_back(held, 6);
    assert_eq!(bench.closing(), (held, Cause::Evicted));
    bench.pools.handle_closed(held, at(7));
    let slot = bench.opening();
    assert_eq!(bench.pools.opened_for(slot), Some(waits));
    bench.pools.handle_opened(slot, HOME, at(8));
    bench.grant();
    bench.give_back(slot, 9);
    bench.closing();
    bench.pools.handle_closed(slot, at(10));
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(11));
    assert_eq!(bench.grant().0, later);
}

#[test]
fn what_no_walsender_is_free_for_evicts_nobody() {
    let (mut bench, pool, stream, target) = pair(1, None);
    let idle = bench.hold(pool, HOME, 1).slot;
    bench.give_back(idle, 2);
    bench.pools.set_walsenders(target, Walsenders::Apart(Some(0)), at(3));
    bench.queued(stream, HOME, 4);
    bench.nothing();
    bench.pools.set_walsenders(target, Walsenders::Apart(None), at(5));
    assert_eq!(bench.closing(), (idle, Cause::Evicted));
}

#[test]
fn a_pool_full_of_them_keeps_queries_waiting() {
    let (mut bench, pool, stream, _) = pair(1, None);
    let held = bench.hold(stream, HOME, 1).slot;
    bench.queued(pool, HOME, 2);
    bench.nothing();
    let admission = bench.pools.admission(pool, at(3));
    let expected = Admission::Waits(vec![Obstacle::PoolSize { max: 1, used: 1 }]);
    assert_eq!(admission, Some(expected));
    assert_eq!(bench.pools.waiting_for(held), 1);
}

#[test]
fn reconnect_marks_it() {
    let (mut bench, _, stream, _) = pair(1, None);
    let held = bench.hold(stream, HOME, 1).slot;
    bench.pools.reconnect(None, at(2));
    assert!(!bench.pools.is_renewed(None));
    assert!(bench.pools.slot(held).is_some_and(|view| view.close_needed));
}
