//! Properties of the book: what it counts is what a recount finds, whatever it hears it stays within its bounds.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use plimsoll_ledger::{
    Book, FLOOR_MINUTES, HISTORY_MAX, Hear, Histogram, HoldState, How, Level, Live, Owner, Pressure,
    Progress, Provenance, Record, SITES_MAX, Said, SaidKind, SiteId, Thresholds, Who, is_sleeping,
};
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const SECOND: u64 = 1_000_000;

/// Something that happens to holds.
#[derive(Clone, Debug)]
enum Op {
    Open {
        route: u8,
        state: Index,
    },
    Use {
        hold: Index,
    },
    Close {
        hold: Index,
        how: u8,
    },
    /// So many seconds go by, and then the book looks.
    Look {
        seconds: u64,
        waiting: u32,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..6_u8, any::<Index>()).prop_map(|(route, state)| Op::Open { route, state }),
        2 => any::<Index>().prop_map(|hold| Op::Use { hold }),
        3 => (any::<Index>(), 0..3_u8).prop_map(|(hold, how)| Op::Close { hold, how }),
        4 => (1..90_u64, 0..3_u32).prop_map(|(seconds, waiting)| Op::Look { seconds, waiting }),
    ]
}

/// What a recount knows of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    holds: u64,
    held_us: u64,
}

struct World {
    book: Book,
    open: Vec<Record>,
    counts: BTreeMap<SiteId, Count>,
    remembered: usize,
    now: u64,
    next: u64,
}

fn record(number: u64, now: u64, text: &[u8]) -> Record {
    let mut record = Record::new(SlotId { index: 0, generation: 0 }, number, 1, Moment(1));
    record.begin(HoldId(number), ClientId(number), PoolId(1), Moment(now), Moment(now));
    let provenance = Provenance::Here;
    record.say(&Said { text, bytes: text.len(), tail: &[], provenance, kind: SaidKind::Any }, 256);
    record.progress = Progress::begin(Moment(now));
    record
}

impl World {
    fn new() -> World {
        World {
            book: Book::new(Thresholds::default()),
            open: Vec::new(),
            counts: BTreeMap::new(),
            remembered: 0,
            now: 1000 * SECOND,
            next: 1,
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Open { route, state } => {
                let mut record = record(self.next, self.now, format!("SELECT a FROM t{route}").as_bytes());
                record.progress.state = *state.get(&HoldState::ALL);
                self.next += 1;
                self.open.push(record);
            }
            Op::Use { hold } if !self.open.is_empty() => {
                let at = hold.index(self.open.len());
                self.open[at].progress.used = Moment(self.now);
            }
            Op::Close { hold, how } if !self.open.is_empty() => {
                let at = hold.index(self.open.len());
                let record = self.open.swap_remove(at);
                self.close(record, *how);
            }
            Op::Use { .. } | Op::Close { .. } => {}
            Op::Look { seconds, waiting } => {
                self.now += seconds * SECOND;
                self.look(*waiting);
            }
        }
    }

    fn close(&mut self, mut record: Record, how: u8) {
        let how = match how {
            0 => How::Returned,
            1 => How::ClientLeft,
            _ => How::Cut("a limit".to_string()),
        };
        let Some(ended) = record.end(Hear::Always, Moment(self.now)) else { panic!("it was open") };
        let mut asked = 0;
        let site = self.book.ended(&ended, "app", &how, || {
            asked += 1;
            Who::default()
        });
        self.remembered += asked;
        let count = self.counts.entry(site).or_default();
        let held_us = self.now - ended.hold.opening.granted.0;
        count.holds += u64::from(ended.weight);
        count.held_us += held_us * u64::from(ended.weight);
        assert!(matches!(how, How::Returned | How::ClientLeft) || asked == 1, "what was cut is remembered");
        assert!(held_us <= 10 * SECOND || asked == 1, "what was long is remembered");
    }

    fn look(&mut self, waiting: u32) {
        let now = Moment(self.now);
        let held = u32::try_from(self.open.len()).unwrap();
        let pressure = Pressure { size: 10, held, waiting, oldest_wait_us: u64::from(waiting) * 2 * SECOND };
        self.book.begin_round([(PoolId(1), pressure)], now);
        let mut counted: BTreeMap<SiteId, (u32, u32)> = BTreeMap::new();
        for record in &mut self.open {
            let hold = record.copy().unwrap();
            let (number, state) = (hold.opening.hold, hold.progress.state);
            let live = Live { hold, application: "app".to_string(), owner: Owner::Alive };
            let site = self.book.look(&live, now);
            record.set_site(number, site);
            let verdict = self.book.judge(&live, site, now);
            assert!(
                is_sleeping(state) || verdict.level < Level::Suspect,
                "what works is no leak: {verdict:?}"
            );
            assert!(verdict.level < Level::Parked || !verdict.evidence.is_empty(), "{verdict:?}");
            let (held, sleeping) = counted.entry(site).or_default();
            *held += 1;
            *sleeping += u32::from(is_sleeping(state));
        }
        self.book.end_round(now);
        for (id, site) in self.book.sites() {
            let lately = site.lately();
            let found = (lately.held, lately.sleeping);
            assert_eq!(found, counted.get(&id).copied().unwrap_or_default());
            assert!(lately.suspects <= lately.sleeping, "{lately:?}");
            assert!(site.peak >= lately.held && site.floors().len() <= FLOOR_MINUTES);
            assert!(site.floors().iter().all(|floor| *floor <= site.peak));
            assert!((1..=8).contains(&site.factor()));
        }
        self.book.take_events();
    }

    fn recount(&self) {
        for (id, count) in &self.counts {
            let site = self.book.site(*id).unwrap();
            assert_eq!(Count { holds: site.holds, held_us: site.held_us }, *count);
        }
        assert_eq!(self.book.history().count(), self.remembered.min(HISTORY_MAX));
        let ends: Vec<_> = self.book.history().map(|past| past.at).collect();
        assert!(ends.is_sorted_by(|one, other| one >= other), "the newest comes first");
    }
}

/// The time that so many of 1,000 do not pass, counted one by one.
fn exact(times: &[(u64, u32)], per_mille: u64) -> u64 {
    let mut all: Vec<u64> =
        times.iter().flat_map(|(us, weight)| std::iter::repeat_n(*us, *weight as usize)).collect();
    all.sort_unstable();
    let wanted = (all.len() as u64 * per_mille).div_ceil(1000).max(1);
    all[usize::try_from(wanted - 1).unwrap()]
}

proptest! {
    #[test]
    fn what_is_counted_is_what_a_recount_finds(ops in vec(op(), 1..300)) {
        let mut world = World::new();
        for op in &ops {
            world.apply(op);
        }
        world.recount();
    }

    #[test]
    fn a_percentile_is_at_most_a_third_too_high(
        times in vec((128..40_000_000_000_u64, 1..70_u32), 1..60),
        per_mille in 1..=1000_u64,
    ) {
        let mut histogram = Histogram::default();
        times.iter().for_each(|(us, weight)| histogram.add(*us, *weight));
        let (shown, exact) = (histogram.percentile_us(per_mille), exact(&times, per_mille));
        prop_assert!(shown >= exact && shown <= exact + exact / 3 + 1, "{shown} for {exact}");
        prop_assert_eq!(histogram.total(), times.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>());
    }

    #[test]
    fn no_text_and_no_clock_breaks_the_book(
        heard in vec((".{0,90}", vec(any::<u8>(), 0..400), any::<u64>(), any::<u64>()), 1..40),
    ) {
        let mut book = Book::new(Thresholds::default());
        for (number, (application, text, granted, at)) in heard.iter().enumerate() {
            let mut record = record(number as u64, *granted, text);
            let hold = record.copy().unwrap();
            let live = Live { hold, application: application.clone(), owner: Owner::Alive };
            book.begin_round([(PoolId(1), Pressure { waiting: 1, oldest_wait_us: *at, ..Pressure::default() })], Moment(*at));
            let site = book.look(&live, Moment(*at));
            book.end_round(Moment(*at));
            let ended = record.end(Hear::Always, Moment(*at)).unwrap();
            prop_assert_eq!(book.ended(&ended, application, &How::Returned, Who::default), site);
            let need = book.need(PoolId(1), Moment(*at)).connections();
            prop_assert!(need.is_finite() && need >= 0.0);
        }
        prop_assert!(book.sites().count() <= heard.len());
    }
}

#[test]
fn a_hundred_thousand_hostile_sites_and_holds_that_were_cut_stay_within_the_bounds() {
    let mut book = Book::new(Thresholds::default());
    for number in 0..100_000_u64 {
        let now = SECOND * 1000 + number * 1_000;
        let text = format!("SELECT 1 /*route='/{number}',x='{}'*/", "y".repeat(200));
        let mut record = record(number, now, text.as_bytes());
        let ended = record.end(Hear::Always, Moment(now + 10)).unwrap();
        book.ended(&ended, &"z".repeat(5000), &How::Cut("an administrator".to_string()), Who::default);
        assert!(book.sites().count() <= SITES_MAX + 1);
        if number % 1000 == 999 {
            book.begin_round([], Moment(now));
            book.end_round(Moment(now));
        }
    }
    assert_eq!(book.history().count(), HISTORY_MAX);
    let kept: usize = book.sites().map(|(_, site)| site.application.len()).max().unwrap();
    assert!(kept <= plimsoll_ledger::APPLICATION_BYTES_MAX);
    let statements = book.sites().filter_map(|(_, site)| site.statement.as_ref());
    assert!(statements.into_iter().all(|text| text.bytes.capacity() <= 256 && text.tail.is_empty()));
}
