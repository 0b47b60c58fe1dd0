//! PAUSE, RESUME, RECONNECT, KILL, shutdown, and changes of the configuration.

use super::*;

const DB: Option<DatabaseId> = Some(DatabaseId(0));

#[test]
fn a_pause_closes_idle_connections_and_those_that_come_back() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 2);
    bench.pools.pause(DB, at(3));
    assert_eq!(bench.closing(), (slots[0], Cause::PauseMode));
    assert!(bench.pools.is_paused(DB) && !bench.pools.is_paused(None));
    let ticket = bench.queued(pool, HOME, 4);
    bench.nothing();
    assert!(!bench.pools.is_quiet(DB));
    bench.give_back(slots[1], 5);
    assert_eq!(bench.closing(), (slots[1], Cause::PauseMode));
    assert!(bench.pools.is_quiet(DB) && bench.pools.is_quiet(None));
    for slot in slots {
        bench.pools.handle_closed(slot, at(6));
    }
    bench.nothing();
    bench.pools.resume(DB, at(7));
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(8));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn what_is_opened_during_a_pause_is_closed() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.pools.pause(None, at(2));
    bench.pools.handle_opened(slot, HOME, at(3));
    assert_eq!(bench.closing(), (slot, Cause::Unneeded));
}

#[test]
fn a_database_is_renewed_when_all_that_was_marked_is_gone() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slots = bench.hold_many(pool, HOME, 3, 1);
    bench.give_back(slots[0], 2);
    assert!(bench.pools.is_renewed(DB), "nothing is marked");
    bench.pools.reconnect(DB, at(3));
    assert_eq!(bench.closing(), (slots[0], Cause::DatabaseChanged));
    assert!(!bench.pools.is_renewed(DB) && !bench.pools.is_renewed(None));
    assert!(bench.pools.is_renewed(Some(DatabaseId(9))), "another one has nothing to do with it");
    bench.pools.handle_closed(slots[0], at(4));
    for slot in &slots[1..] {
        assert!(!bench.pools.is_renewed(DB));
        bench.give_back(*slot, 5);
        assert_eq!(bench.closing(), (*slot, Cause::CloseNeeded));
    }
    bench.pools.handle_closed(slots[1], at(6));
    assert!(!bench.pools.is_renewed(None));
    // One that does not end is not waited for.
    bench.pools.handle_lost(slots[2], at(7));
    assert!(bench.pools.is_renewed(None));
}

#[test]
fn retired_connections_go_when_they_are_idle_and_nobody_elses_do() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slots = bench.hold_many(pool, HOME, 3, 1);
    bench.give_back(slots[0], 2);
    bench.pools.retire(&slots[..2], at(3));
    assert_eq!(bench.closing(), (slots[0], Cause::CredentialEnded));
    bench.nothing();
    assert!(bench.pools.is_renewed(DB), "nobody asked for that");
    bench.pools.handle_closed(slots[0], at(4));
    bench.give_back(slots[1], 5);
    assert_eq!(bench.closing(), (slots[1], Cause::CredentialEnded));
    bench.give_back(slots[2], 6);
    bench.nothing();
    // Twice is once, and one that is gone is nothing.
    bench.pools.retire(&slots, at(7));
    assert_eq!(bench.closing(), (slots[2], Cause::CredentialEnded));
    bench.pools.retire(&slots, at(8));
    bench.nothing();
}

#[test]
fn a_database_paused_by_name_is_known() {
    let (mut bench, _) = Bench::with_pool(limits(1));
    bench.pools.pause(None, at(0));
    assert!(!bench.pools.any_paused());
    bench.pools.pause(DB, at(1));
    assert!(bench.pools.any_paused());
    bench.pools.resume(DB, at(2));
    assert!(!bench.pools.any_paused());
}

#[test]
fn waits_end_during_a_pause() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    bench.pools.pause(None, at(0));
    bench.queued(pool, HOME, 1);
    bench.pools.handle_timeout(at(120_001));
    assert!(matches!(bench.done()[..], [Action::Refuse { cause: Cause::QueryWaitTimeout, .. }]));
}

#[test]
fn the_two_kinds_of_pause_are_resumed_by_their_own() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    bench.pools.pause(None, at(0));
    bench.pools.pause(DB, at(0));
    bench.queued(pool, HOME, 1);
    bench.pools.resume(None, at(2));
    bench.nothing();
    bench.pools.resume(DB, at(3));
    bench.opening();
}

#[test]
fn a_pool_added_during_a_pause_is_paused() {
    let (mut bench, _) = Bench::with_pool(limits(3));
    bench.pools.pause(None, at(0));
    let pool = bench.add_pool(5, 5, &[TargetId(0)], limits(1));
    bench.queued(pool, HOME, 1);
    bench.nothing();
    bench.pools.resume(None, at(2));
    bench.opening();
}

#[test]
fn reconnect_replaces_every_connection() {
    let (mut bench, pool) = Bench::with_pool(limits(4));
    let held = bench.hold(pool, HOME, 1).slot;
    bench.queued(pool, HOME, 3);
    let opening = bench.opening();
    bench.pools.reconnect(DB, at(4));
    bench.nothing();
    assert!(bench.pools.slots().all(|slot| slot.close_needed));
    bench.pools.handle_opened(opening, HOME, at(5));
    let [Action::Close { slot, cause: Cause::CloseNeeded }, Action::Open { slot: fresh, .. }] =
        bench.done()[..]
    else {
        panic!("what was begun before is closed, and the waiter gets another")
    };
    assert_eq!(slot, opening);
    bench.pools.handle_opened(fresh, HOME, at(6));
    bench.grant();
    bench.give_back(held, 7);
    assert_eq!(bench.closing(), (held, Cause::CloseNeeded));
}

#[test]
fn reconnect_closes_what_is_idle_now() {
    let (mut bench, pool) = Bench::with_pool(limits(4));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    bench.pools.reconnect(Some(DatabaseId(7)), at(3));
    bench.nothing();
    bench.pools.reconnect(None, at(4));
    assert_eq!(bench.closing(), (slot, Cause::DatabaseChanged));
}

#[test]
fn a_removed_pool_is_forgotten_when_its_last_connection_is_gone() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 2);
    let waits = bench.granted(pool, HOME, 3).slot;
    bench.queued(pool, HOME, 4);
    bench.give_back(waits, 5);
    bench.done();
    bench.give_back(waits, 6);
    bench.queued(pool, HOME, 50_000);
    bench.done();
    bench.pools.remove_pool(pool, Cause::DatabaseRemoved, at(50_001));
    assert!(matches!(bench.done()[..], [Action::Refuse { cause: Cause::DatabaseRemoved, .. }]));
    assert_eq!(bench.refused(pool, 50_002), Cause::DatabaseRemoved);
    bench.pools.handle_cleaned(slots[0], at(50_003));
    assert_eq!(bench.closing(), (slots[0], Cause::DatabaseRemoved));
    bench.give_back(slots[1], 50_004);
    assert_eq!(bench.closing(), (slots[1], Cause::DatabaseRemoved));
    for slot in slots {
        bench.pools.handle_closed(slot, at(50_005));
    }
    bench.check();
    assert_eq!(bench.pools.slots().count(), 0);
    assert_eq!(bench.refused(pool, 50_006), Cause::DatabaseRemoved);
    assert_eq!(bench.pools.counts(pool, at(50_007)), crate::PoolCounts::default());
}

#[test]
fn a_removed_pool_makes_room_for_others() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(1));
    let ours = bench.add_pool(0, 0, &[target], limits(1));
    let theirs = bench.add_pool(1, 1, &[target], limits(1));
    let slot = bench.hold(theirs, HOME, 1).slot;
    bench.queued(ours, HOME, 2);
    bench.pools.remove_pool(theirs, Cause::DatabaseRemoved, at(3));
    bench.give_back(slot, 4);
    bench.closing();
    bench.pools.handle_closed(slot, at(5));
    bench.opening();
}

#[test]
fn kill_refuses_the_waiters_of_one_database() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(0));
    let ours = bench.add_pool(0, 0, &[target], limits(1));
    let theirs = bench.add_pool(1, 1, &[target], limits(1));
    let killed = bench.queued(ours, HOME, 1);
    bench.queued(theirs, HOME, 2);
    bench.pools.refuse_waiters(DB, Cause::DatabaseRemoved, at(3));
    let [Action::Refuse { ticket, cause: Cause::DatabaseRemoved, .. }] = bench.done()[..] else {
        panic!("a refusal")
    };
    assert_eq!(ticket, killed);
    assert_eq!(bench.pools.counts(theirs, at(4)).waiting, 1);
}

#[test]
fn at_shutdown_whoever_would_have_to_wait_is_refused() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.queued(pool, HOME, 2);
    bench.pools.refuse_all(Cause::ServerShuttingDown, at(3));
    assert!(matches!(bench.done()[..], [Action::Refuse { cause: Cause::ServerShuttingDown, .. }]));
    assert_eq!(bench.refused(pool, 4), Cause::ServerShuttingDown);
    bench.give_back(slots[0], 5);
    assert_eq!(bench.granted(pool, HOME, 6).slot, slots[0], "one that is there is given out");
}

#[test]
fn connections_to_a_target_no_longer_listed_are_closed_when_they_come_back() {
    let mut bench = Bench::new();
    let (old, new) = (bench.pools.add_target(None), bench.pools.add_target(None));
    let pool = bench.add_pool(0, 0, &[old], limits(3));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 2);
    bench.pools.set_pool(pool, Bench::spec(0, 0, &[new], limits(3)), at(3));
    assert_eq!(bench.closing(), (slots[0], Cause::DatabaseChanged));
    bench.give_back(slots[1], 4);
    assert_eq!(bench.closing(), (slots[1], Cause::CloseNeeded));
}

#[test]
fn nothing_is_closed_when_nothing_changed() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    bench.pools.set_pool(pool, Bench::spec(0, 0, &[TargetId(0)], limits(3)), at(3));
    bench.nothing();
    assert_eq!(bench.granted(pool, HOME, 4).slot, slot);
}

#[test]
fn a_pool_nobody_knows_is_refused() {
    let (mut bench, _) = Bench::with_pool(limits(3));
    assert_eq!(bench.refused(PoolId(77), 1), Cause::DatabaseRemoved);
    bench.pools.set_clients(PoolId(77), 1, at(1));
    bench.pools.remove_pool(PoolId(77), Cause::DatabaseRemoved, at(1));
    bench.pools.set_pool(PoolId(77), Bench::spec(0, 0, &[], limits(1)), at(1));
    bench.nothing();
}
