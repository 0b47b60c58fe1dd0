//! What happens because time goes by.

use super::*;

#[test]
fn a_wait_ends_with_the_cause_it_was_given() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    bench.hold(pool, HOME, 1);
    let causes = [
        (WaitCause::QueryWaitTimeout, Cause::QueryWaitTimeout),
        (WaitCause::QueryTimeout, Cause::QueryTimeoutWaiting),
    ];
    for (wait_cause, expected) in causes {
        let request = Request {
            pool,
            client: ClientId(9),
            worker: HOME,
            wait_max: secs(2),
            wait_cause,
            class: Class::Everybody,
            weight: USUAL_WEIGHT,
        };
        let Requested::Queued(waits) = bench.pools.handle_request(request, at(10)) else { panic!("queued") };
        assert_eq!(bench.pools.poll_timeout(), Some(at(2010)));
        bench.pools.handle_timeout(at(2009));
        bench.nothing();
        bench.pools.handle_timeout(at(2010));
        let [Action::Refuse { ticket, client: ClientId(9), cause }] = &bench.done()[..] else {
            panic!("refused")
        };
        assert_eq!((*ticket, cause), (waits, &expected));
        let (fresh, again) = Bench::with_pool(limits(1));
        (bench, _) = (fresh, again);
        bench.hold(pool, HOME, 1);
    }
}

#[test]
fn a_wait_of_zero_has_no_end() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    bench.hold(pool, HOME, 1);
    let (client, wait_cause) = (ClientId(9), WaitCause::QueryWaitTimeout);
    let request = Request {
        pool,
        client,
        worker: HOME,
        wait_max: Duration::ZERO,
        wait_cause,
        class: Class::Everybody,
        weight: USUAL_WEIGHT,
    };
    assert!(matches!(bench.pools.handle_request(request, at(2)), Requested::Queued(_)));
    assert_eq!(bench.pools.poll_timeout(), None);
    bench.pools.handle_timeout(Moment(u64::MAX));
    bench.nothing();
}

#[test]
fn idle_connections_go_when_nobody_has_used_them() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 1000);
    bench.give_back(slots[1], 2000);
    assert_eq!(bench.pools.poll_timeout(), Some(at(601_000)));
    bench.pools.handle_timeout(at(600_999));
    bench.nothing();
    bench.pools.handle_timeout(at(601_000));
    assert_eq!(bench.closing(), (slots[0], Cause::ServerIdleTimeout));
}

#[test]
fn the_minimum_stays_open() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { min_size: 1, ..limits(3) });
    bench.pools.set_clients(pool, 2, at(0));
    let slots = bench.hold_many(pool, HOME, 2, 1);
    bench.give_back(slots[0], 1000);
    bench.give_back(slots[1], 1000);
    bench.pools.handle_timeout(at(700_000));
    assert_eq!(bench.closing(), (slots[0], Cause::ServerIdleTimeout));
    bench.pools.handle_closed(slots[0], at(700_001));
    bench.pools.handle_timeout(at(800_000));
    bench.nothing();
}

#[test]
fn the_minimum_is_opened_one_after_the_other_while_there_are_clients() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { min_size: 2, ..limits(3) });
    bench.pools.handle_timeout(at(1000));
    bench.nothing();
    bench.pools.set_clients(pool, 1, at(1100));
    assert_eq!(bench.pools.poll_timeout(), Some(at(1100)));
    bench.pools.handle_timeout(at(1100));
    let first = bench.opening();
    bench.pools.handle_timeout(at(1300));
    bench.nothing();
    bench.pools.handle_opened(first, HOME, at(1301));
    bench.pools.handle_timeout(at(1400));
    let second = bench.opening();
    bench.pools.handle_opened(second, HOME, at(1401));
    bench.pools.handle_timeout(at(1500));
    bench.nothing();
}

#[test]
fn a_forced_user_has_its_minimum_without_clients_and_its_failures_are_retried() {
    let (mut bench, _) = Bench::with_pool(PoolLimits { min_size: 1, min_always: true, ..limits(3) });
    bench.pools.handle_timeout(at(1000));
    let slot = bench.opening();
    bench.fail(slot, Failure::Connect(Cause::ConnectFailed), 1001);
    assert_eq!(bench.pools.poll_timeout(), Some(at(16_000)));
    bench.pools.handle_timeout(at(15_999));
    bench.nothing();
    bench.pools.handle_timeout(at(16_000));
    bench.opening();
}

#[test]
fn the_minimum_is_spread_over_workers() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { min_size: 3, min_always: true, ..limits(3) });
    let held = bench.hold(pool, AWAY, 1).slot;
    bench.give_back(held, 2);
    let mut homes = Vec::new();
    for ms in [1000, 2000] {
        bench.pools.handle_timeout(at(ms));
        let [Action::Open { slot, worker, .. }] = bench.done()[..] else { panic!("an opening") };
        bench.pools.handle_opened(slot, worker, at(ms));
        homes.push(worker);
    }
    assert_eq!(homes, [HOME, AWAY]);
}

#[test]
fn a_pool_without_clients_is_emptied() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { pool_idle_timeout: secs(60), ..limits(3) });
    bench.pools.set_clients(pool, 1, at(0));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 2);
    bench.pools.handle_timeout(at(100_000));
    bench.nothing();
    bench.pools.set_clients(pool, 0, at(100_000));
    bench.pools.set_clients(pool, 0, at(130_000));
    assert_eq!(bench.pools.poll_timeout(), Some(at(160_000)));
    bench.pools.handle_timeout(at(160_000));
    assert_eq!(bench.closing(), (slot, Cause::PoolIdleTimeout));
    assert_eq!(bench.pools.poll_timeout(), None);
    assert_eq!(bench.pools.poll_given_up(), Some((pool, secs(60))));
    assert!(!bench.pools.is_given_up(pool), "something is left of it");
    bench.pools.handle_closed(slot, at(160_001));
    assert!(bench.pools.is_given_up(pool));
    // Told once.
    bench.pools.handle_timeout(at(400_000));
    assert_eq!(bench.pools.poll_given_up(), None);
    bench.pools.set_clients(pool, 1, at(400_001));
    assert!(!bench.pools.is_given_up(pool));
}

#[test]
fn a_pool_is_not_emptied_while_a_connection_is_at_work() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { pool_idle_timeout: secs(60), ..limits(3) });
    bench.pools.set_clients(pool, 1, at(0));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.pools.set_clients(pool, 0, at(2));
    bench.pools.handle_returned(slot, Returned::Dirty, at(2));
    bench.pools.handle_timeout(at(70_000));
    assert_eq!(bench.pools.poll_given_up(), None, "it is being cleaned");
    bench.done();
    bench.pools.handle_cleaned(slot, at(70_001));
    bench.pools.handle_timeout(at(70_002));
    assert_eq!(bench.closing(), (slot, Cause::PoolIdleTimeout));
    assert_eq!(bench.pools.poll_given_up().map(|(id, _)| id), Some(pool));
}

#[test]
fn old_connections_are_closed_when_they_come_back() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.give_back(slot, 3_600_000);
    bench.nothing();
    assert_eq!(bench.granted(pool, HOME, 3_600_000).slot, slot);
    bench.pools.handle_returned(slot, Returned::Dirty, at(3_600_001));
    assert_eq!(bench.closing(), (slot, Cause::ServerLifetime));
}

#[test]
fn closings_for_age_are_spaced() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { lifetime: secs(30), ..limits(3) });
    let slots = bench.hold_many(pool, HOME, 3, 1);
    bench.give_back(slots[0], 31_000);
    assert_eq!(bench.closing(), (slots[0], Cause::ServerLifetime));
    bench.give_back(slots[1], 31_000);
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(41_000)), "10 s, a third of the lifetime, later");
    bench.give_back(slots[2], 40_999);
    bench.pools.handle_timeout(at(40_999));
    bench.nothing();
    bench.pools.handle_timeout(at(41_000));
    assert_eq!(bench.closing(), (slots[1], Cause::ServerLifetime));
    assert_eq!(bench.pools.poll_timeout(), Some(at(51_000)));
}

#[test]
fn a_lifetime_of_zero_closes_on_release() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { lifetime: Duration::ZERO, ..limits(2) });
    for slot in bench.hold_many(pool, HOME, 2, 1) {
        bench.give_back(slot, 1);
        assert_eq!(bench.closing(), (slot, Cause::ServerLifetime));
    }
}

#[test]
fn a_young_connection_of_a_lifetime_of_zero_waits_for_its_first_client() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { lifetime: Duration::ZERO, ..limits(2) });
    let ticket = bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.pools.handle_withdrawn(ticket, at(2));
    bench.pools.handle_opened(slot, HOME, at(3));
    bench.pools.handle_timeout(at(4));
    bench.nothing();
    assert_eq!(bench.granted(pool, HOME, 5).slot, slot);
}

#[test]
fn time_never_goes_back() {
    let (mut bench, pool) = Bench::with_pool(limits(2));
    let slots = bench.hold_many(pool, HOME, 2, 1000);
    bench.give_back(slots[0], 2000);
    bench.give_back(slots[1], 1999);
    bench.check();
    assert_eq!(bench.pools.slot(slots[1]).map(|view| view.used), Some(at(2000)));
}

#[test]
fn limits_of_waiting_change_for_those_who_wait() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    bench.hold(pool, HOME, 1);
    let ticket = bench.queued(pool, HOME, 1_000);
    let other = bench.queued(pool, HOME, 2_000);
    bench.pools.renew_waits(|asked, of| {
        assert_eq!(of, pool);
        (asked == ticket).then_some((secs(5), WaitCause::QueryTimeout))
    });
    assert_eq!(bench.pools.poll_timeout(), Some(at(6_000)), "counted from when it came");
    bench.pools.handle_timeout(at(6_000));
    let [Action::Refuse { ticket: refused, cause: Cause::QueryTimeoutWaiting, .. }] = bench.done()[..] else {
        panic!("a refusal")
    };
    assert_eq!(refused, ticket);
    bench.pools.renew_waits(|_, _| Some((Duration::ZERO, WaitCause::QueryWaitTimeout)));
    bench.pools.handle_timeout(at(10_000_000));
    bench.nothing();
    bench.pools.handle_withdrawn(other, at(10_000_001));
}
