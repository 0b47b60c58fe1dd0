//! Who gets a place that several pools need: nobody starves.

use super::*;

/// Pools of different databases and users on one target, each with that size.
fn pools_on(budget: u32, count: u32, size: u32) -> (Bench, Vec<PoolId>) {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(budget));
    let pools = (0..count).map(|n| bench.add_pool(n, n, &[target], limits(size))).collect();
    (bench, pools)
}

#[test]
fn a_free_place_goes_to_the_pool_with_the_oldest_waiter() {
    let (mut bench, pools) = pools_on(1, 3, 5);
    let slot = bench.hold(pools[0], HOME, 1).slot;
    bench.queued(pools[2], HOME, 2);
    bench.queued(pools[1], HOME, 3);
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(4));
    bench.closing();
    bench.pools.handle_closed(slot, at(5));
    let [Action::Open { pool, .. }] = bench.done()[..] else { panic!("an opening") };
    assert_eq!(pool, pools[2]);
}

#[test]
fn a_connection_nobody_waits_for_makes_room_at_once() {
    let (mut bench, pools) = pools_on(1, 2, 5);
    let slot = bench.hold(pools[0], HOME, 1).slot;
    bench.queued(pools[1], HOME, 2);
    bench.nothing();
    bench.give_back(slot, 3);
    assert_eq!(bench.closing(), (slot, Cause::Evicted));
}

#[test]
fn a_busy_pool_gives_way_to_one_without_a_connection_after_its_tenure() {
    let (mut bench, pools) = pools_on(1, 2, 5);
    let slot = bench.hold(pools[0], HOME, 1).slot;
    bench.queued(pools[1], HOME, 2);
    let busy = [bench.queued(pools[0], HOME, 3), bench.queued(pools[0], HOME, 4)];
    bench.give_back(slot, 100);
    assert_eq!(bench.grant().0, busy[0], "a connection serves its own pool for 100 ms");
    bench.give_back(slot, 101);
    assert_eq!(bench.closing(), (slot, Cause::Evicted));
    bench.pools.handle_closed(slot, at(102));
    let [Action::Open { pool, .. }] = bench.done()[..] else { panic!("an opening") };
    assert_eq!(pool, pools[1]);
}

#[test]
fn a_busy_pool_does_not_give_way_to_a_younger_waiter() {
    let (mut bench, pools) = pools_on(1, 2, 5);
    let slot = bench.hold(pools[0], HOME, 1).slot;
    let older = bench.queued(pools[0], HOME, 2);
    bench.queued(pools[1], HOME, 3);
    bench.give_back(slot, 5000);
    assert_eq!(bench.grant().0, older);
}

#[test]
fn a_connection_goes_to_the_smaller_share_and_not_back() {
    let (mut bench, pools) = pools_on(4, 2, 5);
    let slots = bench.hold_many(pools[0], HOME, 4, 1);
    for ms in 2..5 {
        bench.queued(pools[0], HOME, ms);
        bench.queued(pools[1], HOME, ms);
    }
    for (slot, left) in slots.iter().zip([3, 2]) {
        bench.give_back(*slot, 10);
        assert_eq!(bench.closing(), (*slot, Cause::Evicted));
        bench.pools.handle_closed(*slot, at(11));
        let opened = bench.opening();
        bench.pools.handle_opened(opened, HOME, at(12));
        bench.grant();
        assert_eq!(bench.pools.counts(pools[0], at(12)).held, left);
    }
    bench.give_back(slots[2], 13);
    assert_eq!(bench.grant().1.slot, slots[2], "two each is fair");
}

#[test]
fn nothing_is_taken_below_the_floor() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(3));
    let floor = bench.add_pool(0, 0, &[target], PoolLimits { guaranteed: 2, ..limits(3) });
    let other = bench.add_pool(1, 1, &[target], limits(3));
    let slots = bench.hold_many(floor, HOME, 2, 1);
    bench.hold(other, HOME, 2);
    bench.queued(other, HOME, 3);
    bench.give_back(slots[0], 4);
    bench.pools.handle_timeout(at(60_000));
    bench.nothing();
    // Who is below its floor takes what others have above theirs.
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(3));
    let floor = bench.add_pool(0, 0, &[target], PoolLimits { guaranteed: 2, ..limits(3) });
    let other = bench.add_pool(1, 1, &[target], limits(3));
    bench.hold(floor, HOME, 1);
    let slots = bench.hold_many(other, HOME, 2, 2);
    bench.queued(other, HOME, 3);
    bench.queued(floor, HOME, 4);
    bench.give_back(slots[0], 5);
    assert_eq!(bench.closing(), (slots[0], Cause::Evicted));
}

#[test]
fn the_last_idle_connection_of_a_small_pool_is_left_for_a_moment() {
    let (mut bench, pools) = pools_on(3, 2, 5);
    let small = bench.hold(pools[0], HOME, 1).slot;
    bench.hold_many(pools[1], HOME, 2, 2);
    bench.queued(pools[1], HOME, 3);
    bench.give_back(small, 10);
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(1_010)));
    bench.pools.handle_timeout(at(1_010));
    assert_eq!(bench.closing(), (small, Cause::Evicted));
}

#[test]
fn a_pool_with_a_place_of_its_own_finds_it_in_the_budget() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(2));
    let login = PoolSpec { standing: Standing::Guaranteed, ..Bench::spec(0, 0, &[target], limits(1)) };
    let login = bench.pools.add_pool(login, at(0));
    let other = bench.add_pool(1, 1, &[target], limits(3));
    bench.hold(other, HOME, 1);
    bench.queued(other, HOME, 2);
    bench.nothing();
    let slot = bench.hold(login, HOME, 3).slot;
    bench.give_back(slot, 4);
    bench.pools.handle_timeout(at(60_000));
    bench.nothing();
}

#[test]
fn who_looks_at_the_server_stays_when_others_are_above_the_budget() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(4));
    let spec = PoolSpec { standing: Standing::Guaranteed, ..Bench::spec(0, 0, &[target], limits(1)) };
    let looks = bench.pools.add_pool(spec, at(0));
    let other = bench.add_pool(1, 1, &[target], limits(3));
    let slot = bench.hold(looks, HOME, 1).slot;
    let held = bench.hold_many(other, HOME, 3, 2);
    bench.give_back(held[0], 3);
    // Strangers have come: nobody in use is cut off, what nobody uses goes, and the one who tells of it stays.
    bench.pools.set_asked(target, Some(2), at(4));
    assert_eq!(bench.closing(), (held[0], Cause::Unneeded));
    bench.give_back(slot, 5);
    bench.nothing();
    let looked_again = bench.granted(looks, HOME, 6).slot;
    assert_eq!(looked_again, slot);
    bench.give_back(held[1], 7);
    assert_eq!(bench.closing(), (held[1], Cause::Unneeded));
}

#[test]
fn a_pool_keeps_to_its_part_of_the_limit_of_a_role() {
    let (mut bench, pools) = pools_on(9, 2, 5);
    let held = bench.hold_many(pools[0], HOME, 3, 1);
    bench.give_back(held[0], 2);
    bench.pools.set_allotted(pools[0], Some(1), at(3));
    assert_eq!(bench.closing(), (held[0], Cause::Unneeded));
    bench.give_back(held[1], 4);
    assert_eq!(bench.closing(), (held[1], Cause::Unneeded));
    bench.queued(pools[0], HOME, 5);
    bench.nothing();
    bench.pools.set_allotted(pools[0], None, at(6));
    bench.opening();
}

#[test]
fn every_idle_connection_is_looked_at_when_its_grace_ends() {
    let mut bench = Bench::new();
    let (scarce, plenty) = (bench.pools.add_target(Some(1)), bench.pools.add_target(None));
    let elsewhere = bench.pools.add_target(Some(1));
    let rich = bench.add_pool(0, 0, &[scarce, plenty], limits(2));
    let poor = bench.add_pool(1, 1, &[elsewhere, scarce], limits(2));
    let held = bench.hold_many(rich, HOME, 2, 1);
    bench.hold(poor, HOME, 2);
    bench.queued(poor, HOME, 3);
    // The one that has been idle for longest is of no use to who waits.
    bench.give_back(held[1], 4);
    bench.give_back(held[0], 12);
    bench.nothing();
    bench.pools.handle_timeout(at(1004));
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(1012)));
    bench.pools.handle_timeout(at(1012));
    assert_eq!(bench.closing(), (held[0], Cause::Evicted));
}

/// A pool of one connection in which applications take turns.
struct Turns {
    bench: Bench,
    pool: PoolId,
    held: SlotId,
}

impl Turns {
    fn new() -> Turns {
        let fair = PoolLimits { fairness: Fairness::Application, ..limits(1) };
        let (mut bench, pool) = Bench::with_pool(fair);
        let held = bench.hold(pool, HOME, 1).slot;
        Turns { bench, pool, held }
    }

    fn ask(&mut self, client: u64, application: u32) {
        let class = Class::Application(application);
        let (client, wait_max, wait_cause) = (ClientId(client), secs(120), WaitCause::QueryWaitTimeout);
        let (pool, worker, weight) = (self.pool, HOME, USUAL_WEIGHT);
        let request = Request { pool, client, worker, wait_max, wait_cause, class, weight };
        assert!(matches!(self.bench.pools.handle_request(request, at(2)), Requested::Queued(_)));
    }

    /// The connection comes back; who has it next.
    fn next(&mut self, ms: u64) -> u64 {
        self.bench.give_back(self.held, ms);
        let [Action::Grant { client, .. }] = self.bench.done()[..] else { panic!("a grant") };
        client.0
    }
}

#[test]
fn applications_take_turns() {
    let mut turns = Turns::new();
    (100..110).for_each(|client| turns.ask(client, 1));
    (200..202).for_each(|client| turns.ask(client, 2));
    let served: Vec<u64> = (10..16).map(|ms| turns.next(ms)).collect();
    assert_eq!(served, [100, 200, 101, 201, 102, 103]);
    // One that comes later does not have to wait for those before it.
    turns.ask(300, 3);
    assert_eq!(turns.next(20), 300);
}

#[test]
fn an_application_that_comes_again_at_once_has_had_its_turn() {
    // The simulator's seed 207975: one client that asked anew each time came before all of another application.
    let mut turns = Turns::new();
    (100..105).for_each(|client| turns.ask(client, 1));
    turns.ask(200, 2);
    let mut served = Vec::new();
    for ms in 10..18 {
        let client = turns.next(ms);
        served.push(client);
        if client >= 200 {
            turns.ask(client + 1, 2);
        }
    }
    assert_eq!(served, [100, 200, 101, 201, 102, 202, 103, 203]);
}

#[test]
fn a_pool_at_its_own_size_takes_nothing_from_others() {
    let (mut bench, pools) = pools_on(2, 2, 1);
    let theirs = bench.hold(pools[0], HOME, 1).slot;
    bench.hold(pools[1], HOME, 1);
    bench.queued(pools[1], HOME, 2);
    bench.give_back(theirs, 60_000);
    bench.nothing();
    assert_eq!(bench.state(theirs), Some(SlotState::Idle));
}

#[test]
fn a_connection_that_is_spare_beside_a_check_makes_room() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(2));
    let checks = PoolLimits { check_delay: Some(Duration::ZERO), weight: 2, ..limits(2) };
    let theirs = bench.add_pool(0, 0, &[target], checks);
    let ours = bench.add_pool(1, 1, &[target], limits(2));
    let slots = bench.hold_many(theirs, HOME, 2, 1);
    bench.queued(theirs, HOME, 2);
    bench.queued(ours, HOME, 3);
    bench.give_back(slots[0], 4);
    assert_eq!(bench.done(), [Action::Check { slot: slots[0] }]);
    bench.give_back(slots[1], 5);
    assert_eq!(bench.closing(), (slots[1], Cause::Evicted));
}

#[test]
fn who_counted_on_what_was_given_up_gets_another() {
    // The waiter counts on the connection that is being cleaned; that goes to make room, and another target has some.
    let mut bench = Bench::new();
    let (small, large) = (bench.pools.add_target(Some(1)), bench.pools.add_target(None));
    let theirs = bench.add_pool(0, 0, &[small, large], limits(2));
    let ours = bench.add_pool(1, 1, &[small], limits(2));
    let slot = bench.hold(theirs, HOME, 1).slot;
    bench.queued(ours, HOME, 2);
    bench.pools.handle_returned(slot, Returned::Dirty, at(60));
    assert_eq!(bench.done(), [Action::Clean { slot }]);
    bench.queued(theirs, HOME, 61);
    bench.nothing();
    bench.pools.handle_cleaned(slot, at(200));
    let [Action::Close { cause: Cause::Evicted, .. }, Action::Open { pool, target, .. }] = bench.done()[..]
    else {
        panic!("one is closed and another opened")
    };
    assert_eq!((pool, target), (theirs, large));
    bench.pools.handle_closed(slot, at(201));
    let [Action::Open { pool, target, .. }] = bench.done()[..] else { panic!("an opening") };
    assert_eq!((pool, target), (ours, small));
}

#[test]
fn what_is_in_the_way_is_told() {
    let (mut bench, pools) = pools_on(2, 2, 5);
    let told = |bench: &Bench, pool| bench.pools.admission(pool, at(10)).expect("a pool");
    assert_eq!(told(&bench, pools[0]), Admission::Opens);
    let slots = bench.hold_many(pools[0], HOME, 2, 1);
    let target = bench.pools.slot(slots[0]).expect("a slot").target;
    let budget = Obstacle::Budget { target, max: 2, used: 2, reserved: 0 };
    assert_eq!(told(&bench, pools[1]), Admission::Waits(vec![budget]));
    bench.give_back(slots[0], 2);
    assert_eq!(told(&bench, pools[0]), Admission::AtOnce);
    bench.pools.pause(None, at(3));
    bench.done();
    assert_eq!(told(&bench, pools[0]), Admission::Waits(vec![Obstacle::Paused]));
    let (mut bench, pool) = Bench::with_pool(limits(1));
    bench.hold(pool, HOME, 1);
    assert_eq!(told(&bench, pool), Admission::Waits(vec![Obstacle::PoolSize { max: 1, used: 1 }]));
    let (mut bench, pool) = Bench::with_pool(limits(1));
    bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.fail(slot, open::connect_failed(), 2);
    let Admission::Waits(found) = told(&bench, pool) else { panic!("it waits") };
    assert!(matches!(found[..], [Obstacle::Blocked { cause: Some(_), .. }]), "{found:?}");
}

#[test]
fn what_makes_room_is_in_nobodys_way() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(2));
    let theirs = bench.add_pool(0, 0, &[target], limits(5));
    let ours = bench.add_pool(1, 1, &[target], limits(5));
    let told = |bench: &Bench, ms| bench.pools.admission(ours, at(ms)).expect("a pool");
    let new = |bench: &Bench| bench.pools.admission_of_new(&[target], DatabaseId(7), None);
    let slots = bench.hold_many(theirs, HOME, 2, 1);
    let budget = Obstacle::Budget { target, max: 2, used: 2, reserved: 0 };
    assert_eq!(told(&bench, 2), Admission::Waits(vec![budget.clone()]));
    assert_eq!(new(&bench), Admission::Waits(vec![budget.clone()]));
    bench.give_back(slots[0], 3);
    assert_eq!((told(&bench, 4), new(&bench)), (Admission::Opens, Admission::Opens));
    // And so it is; who comes then is not told the same.
    bench.queued(ours, HOME, 5);
    assert_eq!(bench.closing(), (slots[0], Cause::Evicted));
    assert_eq!(told(&bench, 6), Admission::Waits(vec![budget.clone()]));
    assert_eq!(new(&bench), Admission::Waits(vec![budget]));
}

#[test]
fn the_only_connection_of_a_pool_is_not_given_up_at_once_for_the_second_of_another() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(2));
    let heavy = bench.add_pool(0, 0, &[target], PoolLimits { weight: 5, ..limits(5) });
    let light = bench.add_pool(1, 1, &[target], limits(5));
    bench.hold(heavy, HOME, 1);
    let only = bench.hold(light, HOME, 2).slot;
    bench.queued(heavy, HOME, 3);
    bench.give_back(only, 10);
    bench.nothing();
    assert_eq!(bench.granted(light, HOME, 500).slot, only);
    bench.give_back(only, 600);
    bench.pools.handle_timeout(at(1600));
    assert_eq!(bench.closing(), (only, Cause::Evicted));
}

#[test]
fn a_connection_that_is_free_for_a_moment_does_not_go_round() {
    let (mut bench, pools) = pools_on(5, 2, 5);
    let held = bench.hold_many(pools[0], HOME, 3, 1);
    bench.hold_many(pools[1], HOME, 2, 2);
    bench.queued(pools[1], HOME, 3);
    // With the roles changed it would come back the same way, and each time with a login.
    bench.give_back(held[0], 10);
    bench.nothing();
    assert_eq!(bench.granted(pools[0], HOME, 11).slot, held[0]);
}

#[test]
fn between_pools_without_any_who_is_older_counts_and_not_who_weighs_more() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(1));
    let heavy = PoolLimits { weight: 5, ..limits(5) };
    let pools = (0..).zip([heavy.clone(), limits(5), heavy]);
    let pools: Vec<_> = pools.map(|(n, limits)| bench.add_pool(n, n, &[target], limits)).collect();
    let slot = bench.hold(pools[0], HOME, 1).slot;
    bench.queued(pools[1], HOME, 2);
    bench.queued(pools[2], HOME, 3);
    bench.give_back(slot, 4);
    assert_eq!(bench.closing(), (slot, Cause::Evicted));
    bench.pools.handle_closed(slot, at(5));
    let [Action::Open { pool, .. }] = bench.done()[..] else { panic!("an opening") };
    assert_eq!(pool, pools[1]);
}
