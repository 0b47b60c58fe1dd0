//! A day of a pool on a virtual clock: what is healthy is never called a leak, what leaks is named in time.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use plimsoll_ledger::{
    Book, BookEvent, Hear, HoldState, How, Level, Live, Owner, Pressure, Progress, Provenance, Record, Said,
    SaidKind, SiteId, Thresholds, Who,
};
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};

const SECOND: u64 = 1_000_000;

/// A small generator, so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One open hold.
struct Open {
    record: Record,
    application: &'static str,
    route: u32,
}

/// A pool and its book.
struct World {
    book: Book,
    open: Vec<Open>,
    next: u64,
    now: u64,
    size: u32,
    waiting: u32,
    /// The worst that was said of each (application, route).
    worst: HashMap<(&'static str, u32), Level>,
    suspected_at: HashMap<(&'static str, u32), u64>,
    unleaked: u32,
}

impl World {
    fn new(size: u32) -> World {
        World {
            book: Book::new(Thresholds::default()),
            open: Vec::new(),
            next: 1,
            now: 3600 * SECOND,
            size,
            waiting: 0,
            worst: HashMap::new(),
            suspected_at: HashMap::new(),
            unleaked: 0,
        }
    }

    fn begin(&mut self, application: &'static str, route: u32, state: HoldState) -> u64 {
        let number = self.next;
        self.next += 1;
        let mut record = Record::new(SlotId { index: 0, generation: 0 }, number, 1, Moment(1));
        let now = Moment(self.now);
        record.begin(HoldId(number), ClientId(number), PoolId(1), now, now);
        let text = format!("SELECT * FROM t{route} WHERE a = {number} /*controller='c',action='a{route}'*/");
        let (text, provenance, kind) = (text.as_bytes(), Provenance::Here, SaidKind::Any);
        record.say(&Said { text, bytes: text.len(), tail: &[], provenance, kind }, 1024);
        record.progress = Progress { state, ..Progress::begin(now) };
        self.open.push(Open { record, application, route });
        number
    }

    /// A hold that began and ended between two looks.
    fn short(&mut self, application: &'static str, route: u32, lasts_us: u64, hear: Hear) {
        let number = self.begin(application, route, HoldState::Executing);
        let at = self.now + lasts_us;
        self.end(number, at, hear);
    }

    fn end(&mut self, number: u64, at: u64, hear: Hear) {
        let found = self.open.iter().position(|open| open.record.copy().unwrap().opening.hold.0 == number);
        let mut open = self.open.swap_remove(found.unwrap());
        if let Some(ended) = open.record.end(hear, Moment(at)) {
            self.book.ended(&ended, open.application, &How::Returned, Who::default);
        }
    }

    fn use_again(&mut self, number: u64) {
        for open in &mut self.open {
            if open.record.copy().unwrap().opening.hold.0 == number {
                open.record.progress.used = Moment(self.now);
            }
        }
    }

    /// A second goes by, and the book looks.
    fn tick(&mut self) {
        self.now += SECOND;
        let now = Moment(self.now);
        let pressure = Pressure {
            size: self.size,
            held: u32::try_from(self.open.len()).unwrap(),
            waiting: self.waiting,
            oldest_wait_us: u64::from(self.waiting) * 3 * SECOND,
        };
        self.book.begin_round([(PoolId(1), pressure)], now);
        for open in &mut self.open {
            let hold = open.record.copy().unwrap();
            if self.now - hold.opening.granted.0 <= SECOND {
                continue;
            }
            let number = hold.opening.hold;
            let live = Live { hold, application: open.application.to_string(), owner: Owner::Alive };
            let site = self.book.look(&live, now);
            open.record.set_site(number, site);
            let level = self.book.judge(&live, site, now).level;
            let key = (open.application, open.route);
            let worst = self.worst.entry(key).or_default();
            *worst = (*worst).max(level);
            if level >= Level::Suspect {
                self.suspected_at.entry(key).or_insert(self.now);
            }
        }
        self.book.end_round(now);
        for event in self.book.take_events() {
            self.unleaked += u32::from(matches!(event, BookEvent::Unleaked { .. }));
        }
    }

    fn worst_of(&self, application: &str, route: u32) -> Level {
        let found = self.worst.iter().find(|((name, number), _)| *name == application && *number == route);
        found.map_or(Level::Ok, |(_, level)| *level)
    }
}

/// Fifty routes, each with its own length of hold.
fn traffic(world: &mut World, random: &mut Random, requests: u64) {
    for _ in 0..requests {
        let route = u32::try_from(random.below(50)).unwrap();
        let lasts = 500 + u64::from(route) * 400 + random.below(20_000);
        world.short("web", route, lasts, Hear::IfRemarkable);
    }
}

#[test]
fn a_healthy_day_has_no_leak() {
    let mut world = World::new(60);
    let mut random = Random(1);
    // A client's pool in session mode: ten connections, each used every few minutes; two of them hardly ever.
    let mut parked: Vec<u64> = (0..10).map(|_| world.begin("rails", 100, HoldState::IdleInSession)).collect();
    let mut report: Option<(u64, u64)> = None;
    for second in 0..24 * 3600_u64 {
        // Nights are quiet.
        let requests = if (second / 3600) % 24 < 6 { u64::from(second % 10 == 0) } else { 3 };
        traffic(&mut world, &mut random, requests);
        for (slot, number) in parked.iter().enumerate() {
            let every = if slot < 8 { 180 } else { 2700 };
            if random.below(every) == 0 {
                world.use_again(*number);
            }
        }
        // A deploy every eight hours: all connections close, new ones open, cold.
        if second % (8 * 3600) == 4 * 3600 {
            for number in std::mem::take(&mut parked) {
                let now = world.now;
                world.end(number, now, Hear::IfRemarkable);
            }
            parked = (0..10).map(|_| world.begin("rails", 100, HoldState::IdleInSession)).collect();
        }
        // A few long reports.
        if second % (5 * 3600) == 3600 {
            report = Some((world.begin("reports", 200, HoldState::Executing), second + 1500));
        }
        if let Some((number, until)) = report
            && second == until
        {
            let now = world.now;
            world.end(number, now, Hear::IfRemarkable);
            report = None;
        }
        world.tick();
    }
    let bad: Vec<_> = world.worst.iter().filter(|(_, level)| **level >= Level::Suspect).collect();
    assert!(bad.is_empty(), "healthy sites were suspected: {bad:?}");
}

#[test]
fn one_leaking_route_among_fifty_is_the_only_suspect_within_a_minute() {
    let mut world = World::new(40);
    let mut random = Random(2);
    for _ in 0..120 {
        traffic(&mut world, &mut random, 50);
        world.tick();
    }
    let mut leaked = Vec::new();
    let begun = world.now;
    for second in 0..90 {
        traffic(&mut world, &mut random, 50);
        if second % 3 == 0 {
            // Begins a transaction and never comes back.
            leaked.push(world.begin("web", 50, HoldState::InTransaction));
        }
        world.tick();
    }
    let suspects: Vec<_> = world.suspected_at.keys().collect();
    assert_eq!(suspects, [&("web", 50)]);
    let after = (world.suspected_at[&("web", 50)] - begun) / SECOND;
    assert!(after <= 60, "found after {after} s");
    assert_eq!(world.worst_of("web", 50), Level::Leak);
    // The fix: the route closes.
    for number in leaked {
        let now = world.now;
        world.end(number, now, Hear::IfRemarkable);
    }
    world.tick();
    assert!(world.unleaked > 0, "not recorded as unleaked");
    let healthy = world.worst.iter().filter(|((_, route), _)| *route != 50);
    assert!(healthy.into_iter().all(|(_, level)| *level < Level::Suspect));
}

#[test]
fn one_in_ten_thousand_is_named_before_half_of_the_cap_is_gone() {
    let (mut world, mut random) = (World::new(40), Random(3));
    let mut requests = 0_u64;
    let mut leaked = 0;
    // 100 requests a second in session pooling: a connection for each, and one in 10,000 is never closed.
    while world.suspected_at.is_empty() {
        for _ in 0..100 {
            requests += 1;
            if requests.is_multiple_of(10_000) {
                world.begin("web", 7, HoldState::IdleInSession);
                leaked += 1;
            } else {
                world.short("web", 7, 2_000 + random.below(30_000), Hear::IfRemarkable);
            }
        }
        world.tick();
        assert!(leaked < 20, "{leaked} of 40 are gone and nobody has said a word");
    }
    assert_eq!(world.suspected_at.keys().collect::<Vec<_>>(), [&("web", 7)]);
}

#[test]
fn connections_opened_in_constructors_are_a_leak_as_soon_as_somebody_waits() {
    let mut world = World::new(20);
    for _ in 0..20 {
        world.begin("shop", 1, HoldState::IdleInSession);
    }
    for _ in 0..60 {
        world.tick();
    }
    assert_eq!(world.worst_of("shop", 1), Level::Parked);
    world.waiting = 1;
    world.tick();
    assert_eq!(world.worst_of("shop", 1), Level::Leak);
    assert_ne!(world.book.sites().count(), 0);
    assert!(world.book.site(SiteId::OTHER).is_none());
}
