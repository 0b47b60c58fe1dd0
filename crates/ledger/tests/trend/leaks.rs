//! Weeks in which something leaks.

use plimsoll_ledger::{Course, HoldState};

use crate::world::{DAY, HOUR, MINUTE, SECOND, World, load};

/// One leaked connection in so many requests.
const REQUESTS: f64 = 10_000.0;

/// One request in ten thousand leaks its connection: by which factor the time to the end of the cap, as it was foretold
/// when half of it was gone, differs from the time that it took.
fn leak(seed: u64, cap: u32, begins: u64, per_second: f64, amplitude: f64) -> f64 {
    let what =
        format!("seed {seed}, cap {cap}, {per_second}/s, amplitude {amplitude}, from {} h", begins / HOUR);
    let mut world = World::new(seed, cap);
    world.step = 30 * SECOND;
    let start = world.now + begins;
    let mut half: Option<(u64, f64)> = None;
    loop {
        let now = world.now;
        assert!(now < start + 30 * DAY, "{what}: it leaks");
        let strength = load(now, amplitude);
        if now >= start {
            let mean = world.per_look(per_second * 3600.0 / REQUESTS * strength);
            for _ in 0..world.random.count(mean) {
                world.keep(9, HoldState::InTransaction, u64::MAX);
            }
        }
        let leaked = world.kept.iter().filter(|kept| kept.until == u64::MAX).count() as u32;
        if leaked >= cap {
            break;
        }
        // Requests of 20 ms, and now and then one that rests for some minutes.
        if world.random.unit() < 0.02 {
            let minutes = world.random.between(1, 15);
            world.keep(2, HoldState::InTransaction, now + minutes * MINUTE);
        }
        let busy = world.random.count(per_second * strength * 0.02);
        world.look(busy);
        if half.is_none() && leaked >= cap / 2 {
            let trend = world.trend();
            assert_eq!(trend.course, Course::Rising, "{what}: {trend:?}");
            let reached = trend.reached.unwrap_or_else(|| panic!("{what}: no time is told: {trend:?}"));
            assert!(reached.earliest_us <= reached.likely_us, "{what}: {trend:?}");
            assert!(reached.latest_us.is_none_or(|latest| latest >= reached.likely_us), "{what}: {trend:?}");
            half = Some((now, reached.likely_us as f64));
        }
    }
    let (at, foretold) = half.expect("half comes before the whole");
    let (told, rise) = world.told.first().unwrap_or_else(|| panic!("{what}: nobody was warned"));
    assert!(*told <= at, "{what}: warned before half is gone");
    assert_eq!(rise.most.map(|(site, _)| site.0), Some(9), "{what}");
    let pairs = world.told.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
    assert!(pairs == 0 && world.told.len() < 14, "{what}: one leak is told once: {:?}", world.told);
    foretold / (world.now - at) as f64
}

#[test]
fn a_leak_of_one_in_ten_thousand_is_seen_and_its_end_foretold() {
    let mut wrong = Vec::new();
    for (seed, amplitude) in [(100, 0.0), (200, 0.3), (300, 0.6), (400, 0.9)] {
        for (at, (cap, per_second)) in [(100, 20.0), (100, 80.0), (300, 40.0)].into_iter().enumerate() {
            for begins in [6 * HOUR, 15 * HOUR, 3 * DAY] {
                // What load the night brings nobody knows on the first day.
                if amplitude > 0.3 && begins < DAY {
                    continue;
                }
                let factor = leak(seed + at as u64, cap, begins, per_second, amplitude);
                if !(0.5..=2.0).contains(&factor) {
                    wrong.push((amplitude, cap, per_second, begins / HOUR, factor));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// One connection in an hour, whatever the load is.
#[test]
fn a_slow_leak_is_seen_in_hours_and_a_fast_one_in_minutes() {
    for (every, within) in
        [(HOUR, 14 * HOUR), (10 * MINUTE, 3 * HOUR), (MINUTE, 16 * MINUTE), (MINUTE / 6, 16 * MINUTE)]
    {
        let mut world = World::new(every, 400);
        let start = world.now + 5 * HOUR;
        let mut next = start;
        while world.told.is_empty() {
            assert!(
                world.now < start + within,
                "one in {} min is not seen: {:?}",
                every / MINUTE,
                world.trend()
            );
            while world.now >= next {
                world.keep(9, HoldState::InTransaction, u64::MAX);
                next += every;
            }
            let busy = world.random.count(5.0 * load(world.now, 0.6));
            world.look(busy);
        }
        assert!(world.now > start + 5 * MINUTE, "not before there is something to see");
    }
}

/// Session pooling: sessions that are opened and never used again, beside those of a day's work.
#[test]
fn leaked_sessions_are_seen() {
    let mut world = World::new(5, 400);
    let start = world.now + 30 * HOUR;
    let mut next = start;
    while world.told.is_empty() {
        assert!(world.now < start + 20 * HOUR, "{:?}", world.trend());
        if world.now >= next {
            world.keep(9, HoldState::IdleInSession, u64::MAX);
            next += 15 * MINUTE;
        }
        let wanted = (20.0 * load(world.now, 0.5)) as usize;
        let now = world.now;
        while world.kept.iter().filter(|kept| kept.site == 2).count() < wanted {
            world.keep(2, HoldState::IdleInSession, now + 2 * HOUR);
        }
        for kept in world.kept.iter_mut().filter(|kept| kept.site == 2) {
            kept.used = now;
        }
        world.look(0);
    }
    let (_, rise) = &world.told[0];
    assert_eq!(rise.most.map(|(site, _)| site.0), Some(9), "{rise:?}");
}
