//! Weeks in which nothing leaks.

use plimsoll_ledger::HoldState;

use crate::world::{DAY, HOUR, Kept, MINUTE, SECOND, World, load};

const WEEK: u64 = 7 * DAY;

/// Transactions as short as they should be, and some that wait for other services: minutes at rest, up to forty.
fn transactions(seed: u64, mean: f64, amplitude: f64, slow_per_hour: f64) {
    let what = format!(
        "transactions, seed {seed}, {mean} busy, amplitude {amplitude}, {slow_per_hour} slow an hour"
    );
    let mut world = World::new(seed, 500);
    let end = world.now + WEEK;
    let mut deploy = world.now + 9 * HOUR;
    while world.now < end {
        let now = world.now;
        let strength = load(now, amplitude);
        for _ in 0..world.random.count(world.per_look(slow_per_hour * strength)) {
            let site = world.random.between(2, 6);
            // Most are short, a few are long.
            let minutes = 1.0 / (0.025 + 0.5 * world.random.unit());
            world.keep(site, HoldState::InTransaction, now + (minutes * MINUTE as f64) as u64);
        }
        if now >= deploy {
            world.kept.clear();
            deploy = now + world.random.between(4, 30) * HOUR;
        }
        let busy = world.random.count(mean * strength);
        world.look(busy);
        world.assert_nothing_rises(&what);
    }
}

#[test]
fn a_week_of_transactions_never_rises() {
    for (seed, mean, amplitude, slow) in [
        (1, 0.5, 0.9, 0.0),
        (2, 5.0, 0.3, 3.0),
        (3, 20.0, 0.6, 30.0),
        (4, 80.0, 0.9, 120.0),
        (5, 20.0, 0.9, 600.0),
        (6, 2.0, 0.0, 10.0),
    ] {
        transactions(seed, mean, amplitude, slow);
    }
}

/// People with a session each: they come in the morning, work with pauses, have lunch, and leave in the evening; some
/// forget to log out and are cut off in the night.
fn people(seed: u64, count: u64) {
    let what = format!("people, seed {seed}, {count} of them");
    let mut world = World::new(seed, 500);
    let end = world.now + WEEK;
    let mut coming: Vec<u64> = Vec::new();
    let mut day = u64::MAX;
    while world.now < end {
        let now = world.now;
        if now / DAY != day {
            day = now / DAY;
            let today = if day % 7 >= 5 { count / 6 } else { count };
            let mut hour = || world.random.unit() + world.random.unit() + world.random.unit();
            coming = (0..today).map(|_| day * DAY + ((7.0 + 1.3 * hour()) * HOUR as f64) as u64).collect();
        }
        for _ in coming.extract_if(.., |at| *at <= now).collect::<Vec<_>>() {
            let hours = 6.0 + 3.0 * world.random.unit();
            let forgets = world.random.unit() < 0.2;
            let leaves = now + (hours * HOUR as f64) as u64;
            let until = if forgets { (day + 1) * DAY + 3 * HOUR } else { leaves };
            world.keep(2, HoldState::IdleInSession, until).again = now;
        }
        let World { kept, random, .. } = &mut world;
        for one in kept.iter_mut().filter(|one| one.again <= now) {
            one.used = now;
            // A pause of minutes, seldom of an hour; nobody works in the night.
            let pause = match random.unit() {
                ..0.8 => random.between(1, 120) * SECOND,
                ..0.97 => random.between(2, 25) * MINUTE,
                _ => random.between(30, 80) * MINUTE,
            };
            let night = now % DAY > 19 * HOUR || now % DAY < 6 * HOUR;
            one.again = if night { u64::MAX } else { now + pause };
        }
        world.look(0);
        world.assert_nothing_rises(&what);
    }
}

#[test]
fn a_week_of_peoples_sessions_never_rises() {
    people(11, 12);
    people(12, 60);
    people(13, 250);
}

/// How the replicas of an application treat their connections.
#[derive(Clone, Copy, Debug)]
struct Replicas {
    /// Replicas at the mean load; at least one is always there.
    mean: f64,
    /// Connections that each opens at its start, and keeps.
    fixed: u64,
    /// Most it opens.
    most: u64,
    /// After so long at rest those beyond the fixed ones are closed.
    idle_timeout: u64,
    /// Connections in use at the mean load, over all replicas.
    busy: f64,
}

/// Replicas with pools of their own over session pooling: scaled with the load, deployed anew now and then. Each uses
/// the connection first that it used last, so the others rest.
fn replicas(seed: u64, amplitude: f64, how: Replicas) {
    let what = format!("replicas, seed {seed}, amplitude {amplitude}, {how:?}");
    let mut world = World::new(seed, 2000);
    let end = world.now + WEEK;
    let mut deploy = world.now + 10 * HOUR;
    let mut pools: Vec<Vec<Kept>> = Vec::new();
    let mut scaled = 0;
    while world.now < end {
        let now = world.now;
        let strength = load(now, amplitude);
        if now >= deploy {
            pools.clear();
            deploy = now + world.random.between(5, 40) * HOUR;
        }
        // One replica more or less in five minutes, a little late.
        let wanted = (how.mean * load(now - 3 * MINUTE, amplitude)).round().max(1.0) as usize;
        if pools.is_empty() {
            pools = vec![Vec::new(); wanted];
        } else if now >= scaled && wanted != pools.len() {
            scaled = now + 5 * MINUTE;
            if wanted > pools.len() { pools.push(Vec::new()) } else { drop(pools.pop()) }
        }
        let each = how.busy * strength / pools.len() as f64;
        for pool in &mut pools {
            let busy = world.random.count(each).min(how.most);
            while (pool.len() as u64) < busy.max(how.fixed) {
                pool.push(*world.keep(2, HoldState::IdleInSession, u64::MAX));
                world.kept.pop();
            }
            for kept in pool.iter_mut().take(busy as usize) {
                kept.used = now;
            }
            let fixed = how.fixed as usize;
            let mut place = 0;
            pool.retain(|kept| {
                place += 1;
                place <= fixed || now - kept.used < how.idle_timeout
            });
        }
        world.kept = pools.iter().flatten().copied().collect();
        world.look(0);
        world.assert_nothing_rises(&what);
    }
}

#[test]
fn a_week_of_replicas_with_pools_never_rises() {
    let elastic = Replicas { mean: 4.0, fixed: 2, most: 20, idle_timeout: 10 * MINUTE, busy: 12.0 };
    let fixed = Replicas { mean: 5.0, fixed: 10, most: 10, idle_timeout: HOUR, busy: 10.0 };
    let never_closed = Replicas { mean: 3.0, fixed: 1, most: 50, idle_timeout: u64::MAX, busy: 15.0 };
    for (seed, amplitude) in [(21, 0.3), (22, 0.9)] {
        replicas(seed, amplitude, elastic);
        replicas(seed + 10, amplitude, fixed);
        replicas(seed + 20, amplitude, never_closed);
        replicas(seed + 30, amplitude, Replicas { mean: 20.0, busy: 60.0, ..fixed });
    }
}
