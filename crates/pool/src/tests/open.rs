//! Attempts to connect.

use super::*;

pub(super) fn connect_failed() -> Failure {
    Failure::Connect(Cause::ConnectFailed)
}

fn login_failed() -> Cause {
    Cause::Server { sqlstate: plimsoll_types::SqlState::INVALID_PASSWORD, message: "no".into() }
}

/// What a client of a failing pool is told.
fn failing(reason: &str) -> Cause {
    Cause::ServerLoginFailing { reason: reason.into() }
}

#[test]
fn one_attempt_at_a_time() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let first = bench.queued(pool, HOME, 1);
    let second = bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(2));
    let [Action::Grant { ticket, .. }, Action::Open { slot, .. }] = bench.done()[..] else {
        panic!("grant, open")
    };
    assert_eq!(ticket, first);
    bench.pools.handle_opened(slot, HOME, at(3));
    assert_eq!(bench.grant().0, second, "and no third one is opened");
}

#[test]
fn no_more_is_opened_than_waiters_need() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let held = bench.hold(pool, HOME, 1).slot;
    bench.queued(pool, HOME, 2);
    let slot = bench.opening();
    bench.give_back(held, 3);
    bench.grant();
    bench.pools.handle_opened(slot, HOME, at(4));
    bench.nothing();
    assert_eq!(bench.state(slot), Some(SlotState::Idle));
}

#[test]
fn after_a_failed_connect_waiters_wait_for_the_retry() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let ticket = bench.queued(pool, HOME, 1000);
    let slot = bench.opening();
    bench.fail(slot, connect_failed(), 3000);
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(16_000)), "counted from the beginning of the attempt");
    bench.pools.handle_timeout(at(15_999));
    bench.nothing();
    bench.pools.handle_timeout(at(16_000));
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(16_100));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn clients_still_in_their_login_wait_with_the_others() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.fail(slot, connect_failed(), 2);
    bench.queued(pool, HOME, 3);
    bench.nothing();
}

#[test]
fn newcomers_of_a_failing_pool_are_told_at_once_until_the_retry() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let slot = bench.hold(pool, HOME, 1).slot;
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(2));
    bench.closing();
    bench.pools.handle_closed(slot, at(3));
    let waits = bench.queued(pool, HOME, 10_000);
    let slot = bench.opening();
    bench.queued(pool, HOME, 10_001);
    bench.fail(slot, connect_failed(), 10_002);
    assert_eq!(bench.refused(pool, 24_999), failing("connect failed"));
    bench.queued(pool, HOME, 25_000);
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(25_001));
    let [Action::Grant { ticket, .. }, Action::Open { .. }] = bench.done()[..] else { panic!("grant, open") };
    assert_eq!(ticket, waits);
}

#[test]
fn newcomers_wait_while_a_connection_is_left() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let held = bench.hold(pool, HOME, 1).slot;
    let waits = bench.queued(pool, HOME, 2);
    let slot = bench.opening();
    bench.fail(slot, Failure::Login(login_failed()), 3);
    bench.nothing();
    bench.queued(pool, HOME, 4);
    bench.give_back(held, 5);
    assert_eq!(bench.grant().0, waits);
}

#[test]
fn a_refused_login_refuses_the_waiters_with_its_own_cause() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let tickets = [bench.queued(pool, HOME, 1), bench.queued(pool, AWAY, 2)];
    let slot = bench.opening();
    bench.fail(slot, Failure::Login(login_failed()), 3);
    let refused: Vec<(Ticket, Cause)> = bench
        .done()
        .into_iter()
        .map(|action| match action {
            Action::Refuse { ticket, cause, .. } => (ticket, cause),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(refused, tickets.map(|ticket| (ticket, login_failed())));
    assert_eq!(bench.pools.poll_timeout(), None, "nobody waits: no retry");
    // Who comes now is still in the login and waits for the next attempt.
    bench.queued(pool, HOME, 4);
    bench.nothing();
    bench.queued(pool, HOME, 15_001);
    bench.opening();
}

#[test]
fn connections_that_will_be_closed_do_not_keep_waiters_waiting() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    bench.hold(pool, HOME, 1);
    bench.pools.reconnect(None, at(2));
    bench.queued(pool, HOME, 3);
    let slot = bench.opening();
    bench.fail(slot, Failure::Login(login_failed()), 4);
    assert!(matches!(bench.done()[..], [Action::Refuse { .. }]));
}

#[test]
fn a_success_ends_the_failing() {
    let (mut bench, pool) = Bench::with_pool(limits(1));
    bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.fail(slot, Failure::Login(login_failed()), 2);
    bench.done();
    let slot = bench.hold(pool, HOME, 20_000).slot;
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(20_001));
    bench.closing();
    bench.queued(pool, HOME, 20_002);
    bench.pools.handle_closed(slot, at(20_003));
    bench.opening();
}

#[test]
fn a_retry_of_zero_is_no_busy_loop() {
    let (mut bench, pool) = Bench::with_pool(PoolLimits { retry: Retry::Fixed(Duration::ZERO), ..limits(1) });
    bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.fail(slot, connect_failed(), 1);
    bench.pools.handle_timeout(at(1));
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(11)));
}

#[test]
fn a_name_that_does_not_resolve_is_a_failed_attempt() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(None);
    let pool = bench.add_pool(0, 0, &[], limits(1));
    let ticket = bench.queued(pool, HOME, 1);
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(15_001)));
    bench.pools.handle_timeout(at(15_001));
    bench.nothing();
    assert_eq!(bench.pools.poll_timeout(), Some(at(30_001)));
    bench.pools.set_pool(pool, Bench::spec(0, 0, &[target], limits(1)), at(16_000));
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(16_001));
    assert_eq!(bench.grant().0, ticket);
}

#[test]
fn a_failure_elsewhere_says_nothing_of_where_the_name_leads_now() {
    let mut bench = Bench::new();
    let (old, new) = (bench.pools.add_target(None), bench.pools.add_target(None));
    let pool = bench.add_pool(0, 0, &[old], limits(1));
    let ticket = bench.queued(pool, HOME, 1);
    let slot = bench.opening();
    bench.pools.set_pool(pool, Bench::spec(0, 0, &[new], limits(1)), at(1));
    bench.fail(slot, connect_failed(), 2);
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(3));
    assert_eq!(bench.grant().0, ticket);
}

/// The targets of the attempts that follow each other when each fails as told.
fn tried(pick: Pick, failures: &[Failure]) -> Vec<u32> {
    let mut bench = Bench::new();
    let targets = [bench.pools.add_target(None), bench.pools.add_target(None)];
    let spec = PoolSpec { pick, ..Bench::spec(0, 0, &targets, limits(1)) };
    let pool = bench.pools.add_pool(spec, at(0));
    let mut tried = Vec::new();
    for (failure, ms) in failures.iter().zip((0..).step_by(20_000)) {
        bench.pools.handle_timeout(at(ms));
        bench.queued(pool, HOME, ms);
        let [Action::Open { slot, target, .. }] = bench.done()[..] else { panic!("an opening") };
        tried.push(target.0);
        bench.fail(slot, failure.clone(), ms);
        bench.pools.refuse_waiters(None, Cause::DatabaseRemoved, at(ms));
        bench.done();
    }
    tried
}

#[test]
fn targets_take_turns() {
    let failures = [Failure::Login(login_failed()), connect_failed(), connect_failed()];
    assert_eq!(tried(Pick::RoundRobin, &failures), [0, 1, 0]);
}

#[test]
fn or_stay_as_long_as_something_answers() {
    let full = Failure::Full(Cause::MaxClientConn);
    let failures = [Failure::Login(login_failed()), full, Failure::Login(login_failed())];
    assert_eq!(tried(Pick::UntilFailure, &failures), [0, 0, 0]);
}

/// Where the one opening goes that is to be done now.
fn where_to(bench: &mut Bench) -> (SlotId, u32) {
    match bench.done()[..] {
        [Action::Open { slot, target, .. }] => (slot, target.0),
        ref other => panic!("{other:?} instead of an opening"),
    }
}

#[test]
fn or_the_next_comes_at_once_after_a_failed_connect_and_a_pause_when_all_have_failed() {
    let mut bench = Bench::new();
    let targets = [bench.pools.add_target(None), bench.pools.add_target(None)];
    let spec = PoolSpec { pick: Pick::UntilFailure, ..Bench::spec(0, 0, &targets, limits(1)) };
    let pool = bench.pools.add_pool(spec, at(0));
    let ticket = bench.queued(pool, HOME, 1000);
    for (first, second, ms) in [(0, 1, 1000), (0, 1, 16_001)] {
        bench.pools.handle_timeout(at(ms));
        let (slot, target) = where_to(&mut bench);
        assert_eq!(target, first);
        bench.fail(slot, connect_failed(), ms + 1);
        let (slot, target) = where_to(&mut bench);
        assert_eq!(target, second);
        bench.fail(slot, connect_failed(), ms + 2);
        bench.nothing();
    }
    bench.pools.handle_timeout(at(31_001));
    bench.nothing();
    bench.pools.handle_timeout(at(31_002));
    let (slot, _) = where_to(&mut bench);
    bench.fail(slot, connect_failed(), 31_003);
    let (slot, target) = where_to(&mut bench);
    bench.pools.handle_opened(slot, HOME, at(31_004));
    assert_eq!((bench.grant().0, target), (ticket, 1));
    // What has answered is asked first from now on, and both are tried again before the next pause.
    bench.pools.handle_returned(slot, Returned::Unusable(Cause::ServerEof), at(31_005));
    bench.closing();
    bench.pools.handle_closed(slot, at(31_006));
    bench.queued(pool, HOME, 60_000);
    let (slot, target) = where_to(&mut bench);
    assert_eq!(target, 1);
    bench.fail(slot, connect_failed(), 60_001);
    assert_eq!(where_to(&mut bench).1, 0);
}

#[test]
fn a_login_that_is_refused_waits_for_the_retry_whatever_failed_before() {
    let mut bench = Bench::new();
    let targets = [bench.pools.add_target(None), bench.pools.add_target(None), bench.pools.add_target(None)];
    let spec = PoolSpec { pick: Pick::UntilFailure, ..Bench::spec(0, 0, &targets, limits(1)) };
    let pool = bench.pools.add_pool(spec, at(0));
    bench.queued(pool, HOME, 1);
    let (slot, _) = where_to(&mut bench);
    bench.fail(slot, connect_failed(), 2);
    let (slot, target) = where_to(&mut bench);
    assert_eq!(target, 1);
    bench.fail(slot, Failure::Login(login_failed()), 3);
    assert!(matches!(bench.done()[..], [Action::Refuse { .. }]), "and no opening");
    bench.queued(pool, HOME, 4);
    bench.nothing();
}

#[test]
fn a_full_server_refuses_nobody_and_is_tried_again_when_a_connection_has_closed() {
    let (mut bench, pool) = Bench::with_pool(limits(3));
    let held = bench.hold(pool, HOME, 1).slot;
    bench.queued(pool, HOME, 2);
    let slot = bench.opening();
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 3);
    bench.nothing();
    bench.queued(pool, HOME, 4);
    bench.pools.handle_returned(held, Returned::Unusable(Cause::ServerEof), at(5));
    bench.closing();
    bench.queued(pool, HOME, 6);
    bench.nothing();
    bench.pools.handle_closed(held, at(7));
    let slot = bench.opening();
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 8);
    bench.queued(pool, HOME, 9);
    bench.nothing();
    // Nobody of ours is left there whose end could make room: one more is tried by and by, twice as long after each
    // refusal, and after a success the next at once.
    let mut waits = Vec::new();
    for _ in 0..8 {
        let due = bench.pools.poll_timeout().expect("one more is tried");
        bench.pools.handle_timeout(due);
        let slot = bench.opening();
        waits.push(due.micros_since(at(8)) / 1000);
        bench.pools.handle_failed(slot, Failure::Full(Cause::MaxClientConn), due);
    }
    let steps: Vec<u64> = waits.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((87..=200).contains(&waits[0]), "{waits:?}");
    assert!(steps.iter().all(|step| *step <= 2_000) && steps[6] >= 1_700, "{steps:?}");
    let due = bench.pools.poll_timeout().expect("one more is tried");
    bench.pools.handle_timeout(due);
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, due);
    let next = bench.done();
    assert!(matches!(next[..], [Action::Grant { .. }, Action::Open { .. }]), "{next:?}");
}

#[test]
fn what_is_presumed_counts_until_the_server_is_asked() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(None);
    let source = |bench: &Bench| bench.pools.target_view(target).map(|view| (view.budget, view.source));
    let pool = bench.add_pool(0, 0, &[target], limits(5));
    bench.pools.set_presumed(target, 1, at(1));
    bench.hold(pool, HOME, 1);
    bench.queued(pool, HOME, 2);
    bench.nothing();
    assert_eq!(source(&bench), Some((Some(1), BudgetSource::Presumed)));
    bench.pools.set_asked(target, Some(2), at(3));
    let slot = bench.opening();
    assert_eq!(source(&bench), Some((Some(2), BudgetSource::Asked)));
    // Nobody can look any more: what was seen last holds, and refusals are learned from.
    bench.pools.set_presumed(target, 2, at(4));
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 5);
    assert_eq!(source(&bench), Some((Some(1), BudgetSource::Refused)));
    bench.pools.handle_timeout(at(5_000));
    // One more is tried, though a look has been: there are no more.
    bench.opening();
}

#[test]
fn a_place_that_is_seen_free_is_used_at_once() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(None);
    let pool = bench.add_pool(0, 0, &[target], limits(5));
    let held = bench.hold(pool, HOME, 1).slot;
    bench.pools.set_asked(target, Some(3), at(2));
    bench.queued(pool, HOME, 3);
    let slot = bench.opening();
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 4);
    bench.nothing();
    assert_eq!(bench.pools.target_view(target).map(|view| view.budget), Some(Some(1)));
    // Whoever looks at the server tells when there is one: nothing is tried before.
    bench.pools.set_asked(target, Some(1), at(5));
    bench.pools.handle_timeout(at(30_000));
    bench.nothing();
    bench.pools.set_asked(target, Some(2), at(30_001));
    let slot = bench.opening();
    bench.pools.handle_opened(slot, HOME, at(30_002));
    bench.grant();
    // Others have come: what is in use stays, and goes when it comes back.
    bench.pools.set_asked(target, Some(1), at(30_003));
    bench.nothing();
    bench.give_back(held, 30_004);
    assert_eq!(bench.closing().0, held);
}

#[test]
fn a_limit_of_the_role_binds_one_pool_only() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(None);
    let (bound, free) =
        (bench.add_pool(0, 0, &[target], limits(5)), bench.add_pool(0, 1, &[target], limits(5)));
    let held = bench.hold(bound, HOME, 1).slot;
    bench.queued(bound, HOME, 2);
    let slot = bench.opening();
    bench.fail(slot, Failure::Limited(Cause::MaxClientConn), 3);
    bench.nothing();
    bench.hold(free, HOME, 4);
    bench.give_back(held, 5);
    assert_eq!(bench.grant().1.slot, held, "what it has goes on serving it");
    bench.queued(bound, HOME, 6);
    let due = bench.pools.poll_timeout().expect("one more is tried");
    assert!(due <= at(300), "{due:?}");
    bench.pools.handle_timeout(due);
    bench.opening();
}

#[test]
fn only_so_many_logins_are_in_flight_at_one_target() {
    let mut bench = Bench::new();
    let (target, other) = (bench.pools.add_target(None), bench.pools.add_target(None));
    let pools: Vec<_> = (0..6).map(|n| bench.add_pool(n, n, &[target], limits(5))).collect();
    for pool in &pools {
        bench.queued(*pool, HOME, 1);
    }
    let opened: Vec<_> = bench.done();
    assert_eq!(opened.len(), 4, "{opened:?}");
    let elsewhere = bench.add_pool(9, 9, &[other], limits(5));
    bench.queued(elsewhere, HOME, 2);
    bench.opening();
    let [Action::Open { slot: first, .. }, Action::Open { slot: second, .. }, ..] = opened[..] else {
        panic!("two")
    };
    bench.fail(first, connect_failed(), 3);
    let [Action::Open { pool, .. }] = bench.done()[..] else { panic!("the next in turn") };
    assert_eq!(pool, pools[4]);
    bench.pools.handle_opened(second, HOME, at(4));
    let next = bench.done();
    assert!(
        matches!(next[..], [Action::Grant { .. }, Action::Open { pool, .. }] if pool == pools[5]),
        "{next:?}"
    );
}

#[test]
fn attempts_get_rarer_and_a_success_begins_anew() {
    let retry = Retry::Doubling { min: millis(100), max: secs(2), refused: secs(15) };
    let (mut bench, pool) =
        Bench::with_pool(PoolLimits { retry, unreachable: Unreachable::Wait, ..limits(1) });
    bench.queued(pool, HOME, 0);
    let mut slot = bench.opening();
    let (mut now, mut waits) = (at(0), Vec::new());
    for _ in 0..7 {
        bench.pools.handle_failed(slot, connect_failed(), now);
        let due = bench.pools.poll_timeout().expect("a retry");
        waits.push(due.micros_since(now) / 1000);
        bench.pools.handle_timeout(due);
        (slot, now) = (bench.opening(), due);
    }
    for (wait, most) in waits.iter().zip([100, 200, 400, 800, 1600, 2000, 2000]) {
        assert!(*wait <= most && *wait >= most / 2, "{waits:?}");
    }
    // Who comes meanwhile waits as well.
    bench.queued(pool, HOME, 10_000);
    bench.pools.handle_failed(slot, Failure::Login(login_failed()), at(10_000));
    assert_eq!(bench.done().len(), 2, "what only people can mend is told at once");
    bench.queued(pool, HOME, 26_000);
    bench.opening();
}

#[test]
fn a_failed_connection_that_was_not_seen_to_end_keeps_its_place_at_the_target_only() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(Some(2));
    let pool = bench.add_pool(0, 0, &[target], limits(1));
    let ticket = bench.queued(pool, HOME, 1);
    let first = bench.opening();
    bench.pools.handle_failed_unseen(first, connect_failed(), at(2));
    bench.nothing();
    assert_eq!((bench.state(first), bench.pools.target_used(target)), (Some(SlotState::Lost), 1));
    bench.pools.handle_timeout(at(15_001));
    let second = bench.opening();
    bench.pools.handle_failed_unseen(second, connect_failed(), at(15_002));
    bench.pools.handle_timeout(at(30_002));
    bench.nothing();
    bench.pools.handle_closed(first, at(30_003));
    let third = bench.opening();
    bench.pools.handle_opened(third, HOME, at(30_004));
    assert_eq!((bench.grant().0, bench.pools.target_used(target)), (ticket, 2));
}

#[test]
fn a_limit_alone_does_not_show_that_a_place_is_free() {
    let mut bench = Bench::new();
    let target = bench.pools.add_target(None);
    let pool = bench.add_pool(0, 0, &[target], limits(5));
    bench.hold(pool, HOME, 1);
    bench.pools.set_limit(target, Some(3), at(2));
    bench.queued(pool, HOME, 3);
    let slot = bench.opening();
    bench.fail(slot, Failure::Full(Cause::MaxClientConn), 4);
    // The others are many, and nobody sees them: asking for the limit again changes nothing.
    bench.pools.set_limit(target, Some(3), at(5));
    bench.nothing();
    assert_eq!(bench.pools.target_view(target).map(|view| view.budget), Some(Some(1)));
    bench.pools.handle_timeout(at(5_000));
    bench.opening();
}
