//! What the pool costs on a query's way: nanoseconds for one request and one return, with an idle connection and with
//! a queue. `cargo run --release -p plimsoll-pool --example hot_path`
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use plimsoll_pool::{
    Action, Class, Fairness, Globals, Pick, PoolLimits, PoolSpec, Pools, Request, Requested, Retry, Returned,
    SlotState, Standing, USUAL_WEIGHT, Unreachable, WaitCause,
};
use plimsoll_types::{ClientId, DatabaseId, Moment, PoolId, SlotId, UserId, WorkerId};

const PAIRS: u64 = 5_000_000;
const SIZE: u32 = 20;

fn limits() -> PoolLimits {
    PoolLimits {
        size: SIZE,
        min_size: 0,
        min_always: false,
        reserve_size: 0,
        reserve_timeout: Duration::from_secs(5),
        lifetime: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(600),
        check_delay: Some(Duration::from_secs(30)),
        retry: Retry::Fixed(Duration::from_secs(15)),
        unreachable: Unreachable::Refuse,
        guaranteed: 0,
        weight: 1,
        fairness: Fairness::Fifo,
        pool_idle_timeout: Duration::ZERO,
        round_robin: false,
    }
}

fn request(pool: PoolId, n: u64, workers: u64) -> Request {
    Request {
        pool,
        client: ClientId(n),
        worker: WorkerId((n % workers) as u16),
        wait_max: Duration::from_secs(120),
        wait_cause: WaitCause::QueryWaitTimeout,
        class: Class::Everybody,
        weight: USUAL_WEIGHT,
    }
}

/// A pool of [`SIZE`] open connections, all held.
fn full_pool(workers: u64) -> (Pools, PoolId, VecDeque<SlotId>) {
    let mut pools = Pools::new(Globals::default());
    let targets = vec![pools.add_target(Some(100))];
    let (database, user, pick) = (DatabaseId(0), UserId(0), Pick::RoundRobin);
    let pool = pools.add_pool(
        PoolSpec { database, user, targets, pick, standing: Standing::Ordinary, limits: limits() },
        Moment(0),
    );
    let mut held = VecDeque::new();
    for n in 0..u64::from(SIZE) {
        pools.handle_request(request(pool, n, workers), Moment(1));
        while let Some(action) = pools.poll_action() {
            match action {
                Action::Open { slot, worker, .. } => pools.handle_opened(slot, worker, Moment(1)),
                Action::Grant { grant, .. } => held.push_back(grant.slot),
                other => println!("unexpected: {other:?}"),
            }
        }
    }
    (pools, pool, held)
}

fn idle_pairs(workers: u64) -> f64 {
    let (mut pools, pool, held) = full_pool(workers);
    for slot in held {
        pools.handle_returned(slot, Returned::Clean, Moment(2));
    }
    let began = Instant::now();
    for n in 0..PAIRS {
        let now = Moment(10 + n);
        if let Requested::Granted(grant) = pools.handle_request(request(pool, n, workers), now) {
            pools.handle_returned(grant.slot, Returned::Clean, now);
        }
    }
    let ns = began.elapsed().as_nanos() as f64 / PAIRS as f64;
    assert_eq!(pools.slots().filter(|slot| slot.state == SlotState::Idle).count(), SIZE as usize);
    ns
}

fn queue_pairs(workers: u64, waiting: u64) -> f64 {
    let (mut pools, pool, mut held) = full_pool(workers);
    for n in 0..waiting {
        pools.handle_request(request(pool, n, workers), Moment(2));
    }
    let began = Instant::now();
    for n in 0..PAIRS {
        let now = Moment(10 + n);
        let Some(slot) = held.pop_front() else { break };
        pools.handle_returned(slot, Returned::Clean, now);
        while let Some(action) = pools.poll_action() {
            if let Action::Grant { grant, .. } = action {
                held.push_back(grant.slot);
            }
        }
        pools.handle_request(request(pool, n, workers), now);
    }
    began.elapsed().as_nanos() as f64 / PAIRS as f64
}

fn main() {
    println!("{:<44} {:>8}", "one request and one return", "ns");
    for workers in [1, 4] {
        println!("{:<44} {:>8.1}", format!("{workers} worker(s), idle connections"), idle_pairs(workers));
        for waiting in [50, 5_000, 50_000] {
            let what = format!("{workers} worker(s), {waiting} clients waiting");
            println!("{what:<44} {:>8.1}", queue_pairs(workers, waiting));
        }
    }
}
