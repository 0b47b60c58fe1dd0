//! A pool on a virtual clock whose waiters follow from what is held: nobody says that others wait, it happens.

use std::collections::{BTreeMap, HashMap};

use plimsoll_ledger::{
    Book, BookEvent, Hear, HoldState, How, Level, Live, Owner, Pressure, Progress, Provenance, Record, Said,
    SaidKind, SiteId, Thresholds, Who,
};
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: u64 = 3600;

/// Of which connections short holds make use: each has a record of its own, as in the real pool.
const CONNECTIONS: u64 = 16;

const POOL: PoolId = PoolId(1);

/// A small generator, so that every run is the same.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A place in an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) application: &'static str,
    pub(crate) route: u32,
}

impl Place {
    fn text(self) -> String {
        let route = self.route;
        format!("SELECT * FROM t{route} WHERE a = 1 /*controller='c',action='a{route}'*/")
    }
}

/// What was said of a place in the whole time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finding {
    pub(crate) worst: Level,
    /// When it was suspected first, seconds.
    pub(crate) suspected: Option<u64>,
    /// When it was first called a leak, seconds.
    pub(crate) leak: Option<u64>,
    /// For how long without a break it was a suspect, seconds.
    pub(crate) longest: u64,
    lasting: u64,
}

struct Open {
    record: Record,
    place: Place,
}

/// See the module.
pub(crate) struct World {
    pub(crate) book: Book,
    pub(crate) findings: BTreeMap<Place, Finding>,
    pub(crate) unleaked: u32,
    /// Connections that the short holds need at once.
    pub(crate) demand: u32,
    /// Seconds in which somebody waited.
    pub(crate) waited: u64,
    open: BTreeMap<u64, Open>,
    connections: Vec<Record>,
    texts: HashMap<Place, String>,
    next: u64,
    now: u64,
    size: u32,
    starved: u64,
}

impl World {
    pub(crate) fn new(size: u32) -> World {
        let connection = |server| Record::new(SlotId { index: 0, generation: 0 }, server, 1, Moment(1));
        World {
            book: Book::new(Thresholds::default()),
            findings: BTreeMap::new(),
            unleaked: 0,
            demand: 0,
            waited: 0,
            open: BTreeMap::new(),
            connections: (0..CONNECTIONS).map(connection).collect(),
            texts: HashMap::new(),
            next: CONNECTIONS,
            now: HOUR * SECOND,
            size,
            starved: 0,
        }
    }

    /// Seconds on the clock.
    pub(crate) fn seconds(&self) -> u64 {
        self.now / SECOND
    }

    /// A hold that stays open.
    pub(crate) fn open(&mut self, place: Place, state: HoldState) -> u64 {
        let number = self.next;
        self.next += 1;
        let mut record = Record::new(SlotId { index: 1, generation: 0 }, number, 1, Moment(1));
        let text = place.text();
        begin(&mut record, number, self.now, &text);
        record.progress.state = state;
        self.open.insert(number, Open { record, place });
        number
    }

    /// A hold that begins and ends between two looks.
    pub(crate) fn short(&mut self, place: Place, lasts_us: u64, hear: Hear, how: &How) {
        let number = self.next;
        self.next += 1;
        let text = self.texts.entry(place).or_insert_with(|| place.text());
        let record = &mut self.connections[(number % CONNECTIONS) as usize];
        begin(record, number, self.now, text);
        if let Some(ended) = record.end(hear, Moment(self.now + lasts_us)) {
            self.book.ended(&ended, place.application, how, Who::default);
        }
    }

    /// The client says something more.
    pub(crate) fn use_again(&mut self, number: u64) {
        self.open.get_mut(&number).unwrap().record.progress.used = Moment(self.now);
    }

    pub(crate) fn end(&mut self, number: u64, how: &How) {
        let mut open = self.open.remove(&number).unwrap();
        if let Some(ended) = open.record.end(Hear::IfRemarkable, Moment(self.now)) {
            self.book.ended(&ended, open.place.application, how, Who::default);
        }
    }

    /// How many connections are left for short holds.
    pub(crate) fn free(&self) -> u32 {
        self.size.saturating_sub(u32::try_from(self.open.len()).unwrap())
    }

    fn pressure(&mut self) -> Pressure {
        let waiting = self.demand.saturating_sub(self.free());
        self.starved = if waiting > 0 { self.starved + 1 } else { 0 };
        self.waited += u64::from(waiting > 0);
        let held = self.size - self.free().saturating_sub(self.demand);
        Pressure { size: self.size, held, waiting, oldest_wait_us: self.starved * SECOND }
    }

    /// A second goes by, and the book looks.
    pub(crate) fn tick(&mut self) {
        self.now += SECOND;
        let now = Moment(self.now);
        let pressure = self.pressure();
        self.book.begin_round([(POOL, pressure)], now);
        let mut levels: BTreeMap<Place, Level> = BTreeMap::new();
        for open in self.open.values_mut() {
            let hold = open.record.copy().unwrap();
            if self.now - hold.opening.granted.0 <= SECOND {
                continue;
            }
            let number = hold.opening.hold;
            let live = Live { hold, application: open.place.application.to_string(), owner: Owner::Alive };
            let site = self.book.look(&live, now);
            open.record.set_site(number, site);
            let level = levels.entry(open.place).or_default();
            *level = (*level).max(self.book.judge(&live, site, now).level);
        }
        self.book.end_round(now);
        let unleaked = |event: &BookEvent| matches!(event, BookEvent::Unleaked { .. });
        let unleaked = self.book.take_events().iter().filter(|event| unleaked(event)).count();
        self.unleaked += u32::try_from(unleaked).unwrap();
        self.note(&levels);
    }

    fn note(&mut self, levels: &BTreeMap<Place, Level>) {
        let second = self.seconds();
        for finding in self.findings.values_mut() {
            finding.lasting += 1;
        }
        for (place, level) in levels {
            let finding = self.findings.entry(*place).or_default();
            finding.worst = finding.worst.max(*level);
            if *level < Level::Suspect {
                finding.lasting = 0;
                continue;
            }
            finding.suspected.get_or_insert(second);
            if *level == Level::Leak {
                finding.leak.get_or_insert(second);
            }
            finding.longest = finding.longest.max(finding.lasting);
        }
        for (place, finding) in &mut self.findings {
            if !levels.contains_key(place) {
                finding.lasting = 0;
            }
        }
    }

    pub(crate) fn finding(&self, place: Place) -> Finding {
        self.findings.get(&place).copied().unwrap_or_default()
    }

    /// Who was ever a suspect.
    pub(crate) fn suspects(&self) -> Vec<Place> {
        let suspected = self.findings.iter().filter(|(_, finding)| finding.suspected.is_some());
        suspected.map(|(place, _)| *place).collect()
    }

    /// The site of an open hold, as it was looked at last.
    pub(crate) fn site_of(&self, number: u64) -> SiteId {
        self.open[&number].record.copy().unwrap().site
    }
}

fn begin(record: &mut Record, number: u64, now: u64, text: &str) {
    record.begin(HoldId(number), ClientId(number), POOL, Moment(now), Moment(now));
    let (text, provenance, kind) = (text.as_bytes(), Provenance::Here, SaidKind::Plain);
    record.say(&Said { text, bytes: text.len(), tail: &[], provenance, kind }, 1024);
    record.progress = Progress { statements: 1, ..Progress::begin(Moment(now)) };
}
