use plimsoll_types::{ClientId, HoldId, Pins, SlotId};

use super::*;
use crate::holds::{Hear, Kept, Progress, Record, Said, SaidKind};

const SECOND: u64 = 1_000_000;

fn at(seconds: u64) -> Moment {
    Moment(seconds * SECOND)
}

/// A hold as it is after its last word.
fn hold(number: u64, granted: u64, used: u64, state: HoldState, text: &str) -> Record {
    let mut record = Record::new(SlotId { index: 0, generation: 0 }, number, 1, at(0));
    record.begin(HoldId(number), ClientId(number), PoolId(1), at(granted), at(granted));
    let text = text.as_bytes();
    let provenance = Provenance::Here;
    record.say(&Said { text, bytes: text.len(), tail: &[], provenance, kind: SaidKind::Any }, 1000);
    record.progress = Progress { state, used: at(used), pins: Pins::NONE, ..Progress::begin(at(granted)) };
    record
}

fn live(record: &Record) -> Live {
    let hold = record.copy().expect("an open hold");
    Live { hold, application: "app".to_string(), owner: Owner::Alive }
}

fn look(book: &mut Book, records: &[&Record], waiting: u32, now: u64) -> Vec<Verdict> {
    let pressure = Pressure {
        size: 10,
        held: u32::try_from(records.len()).unwrap_or(0),
        waiting,
        oldest_wait_us: u64::from(waiting) * 5 * SECOND,
    };
    book.begin_round([(PoolId(1), pressure)], at(now));
    let sites: Vec<_> = records.iter().map(|record| book.look(&live(record), at(now))).collect();
    book.end_round(at(now));
    records.iter().zip(sites).map(|(record, site)| book.judge(&live(record), site, at(now))).collect()
}

#[test]
fn idle_is_no_fault_until_somebody_waits() {
    let mut book = Book::new(Thresholds::default());
    let idle = hold(1, 0, 1, HoldState::IdleInSession, "SELECT 1");
    assert_eq!(look(&mut book, &[&idle], 0, 100)[0].level, Level::Parked);
    let verdict = look(&mut book, &[&idle], 2, 101).remove(0);
    assert_eq!((verdict.level, verdict.rule), (Level::Leak, Rule::IdleWhileOthersWait));
    assert!(verdict.evidence.contains("2 wait"), "{}", verdict.evidence);
    // Whoever looks a moment later is told, too.
    assert_eq!(look(&mut book, &[&idle], 0, 110)[0].level, Level::Leak);
    assert_eq!(look(&mut book, &[&idle], 0, 300)[0].level, Level::Parked);
}

#[test]
fn what_works_is_slow_at_worst() {
    let mut book = Book::new(Thresholds::default());
    let report = hold(1, 0, 0, HoldState::Executing, "SELECT sum(x) FROM t");
    assert_eq!(look(&mut book, &[&report], 3, 20)[0].level, Level::Ok);
    assert_eq!(look(&mut book, &[&report], 3, 3600)[0].level, Level::Slow);
}

#[test]
fn a_transaction_left_open_is_a_suspect_and_more_of_them_a_leak() {
    let mut book = Book::new(Thresholds::default());
    let first = hold(1, 0, 0, HoldState::InTransaction, "UPDATE t SET a = 1");
    assert_eq!(look(&mut book, &[&first], 0, 20)[0].level, Level::Ok);
    assert_eq!(look(&mut book, &[&first], 0, 31)[0].level, Level::Suspect);
    let second = hold(2, 20, 20, HoldState::InTransaction, "UPDATE t SET a = 2");
    for now in 32..60 {
        look(&mut book, &[&first, &second], 0, now);
    }
    let verdict = look(&mut book, &[&first, &second], 0, 60).remove(0);
    assert_eq!((verdict.level, verdict.rule), (Level::Leak, Rule::BeyondHabit), "{}", verdict.evidence);
    let told: Vec<_> =
        book.take_events().iter().map(|event| matches!(event, BookEvent::Suspected { .. })).collect();
    assert_eq!(told, [true, true], "once as suspect, once as leak");
}

#[test]
fn a_suspect_that_comes_back_raises_its_sites_threshold() {
    let mut book = Book::new(Thresholds::default());
    let mut slow = hold(1, 0, 0, HoldState::InTransaction, "UPDATE t SET a = 1");
    assert_eq!(look(&mut book, &[&slow], 0, 40)[0].level, Level::Suspect);
    let ended = slow.end(Hear::Always, at(41)).expect("remarkable");
    let site = book.ended(&ended, "app", &How::Returned, Who::default);
    assert_eq!(book.site(site).map(|site| (site.unleaked, site.factor())), Some((1, 2)));
    assert!(book.take_events().iter().any(|event| matches!(event, BookEvent::Unleaked { .. })));
    let again = hold(2, 100, 100, HoldState::InTransaction, "UPDATE t SET a = 1");
    assert_eq!(look(&mut book, &[&again], 0, 140)[0].level, Level::Ok);
    assert_eq!(look(&mut book, &[&again], 0, 161)[0].level, Level::Suspect);
    assert_eq!(book.history().count(), 1);
}

#[test]
fn a_result_that_is_not_read_is_named() {
    let mut book = Book::new(Thresholds::default());
    let mut reader = hold(1, 0, 0, HoldState::ClientNotReading, "SELECT * FROM big");
    reader.progress.unread_since = at(1);
    reader.progress.client_took = at(2);
    reader.progress.unread_bytes = 4096;
    let verdict = look(&mut book, &[&reader], 0, 40).remove(0);
    assert_eq!((verdict.level, verdict.rule), (Level::Suspect, Rule::NotRead));
    assert!(verdict.evidence.contains("4096 bytes"), "{}", verdict.evidence);
}

#[test]
fn a_dead_owner_is_the_most_certain_sign() {
    let book = Book::new(Thresholds::default());
    let record = hold(1, 0, 0, HoldState::Executing, "SELECT 1");
    let gone = Live { owner: Owner::Gone, ..live(&record) };
    let verdict = book.judge(&gone, SiteId::UNKNOWN, at(1));
    assert_eq!((verdict.level, verdict.rule), (Level::Leak, Rule::OwnerGone));
}

#[test]
fn a_comment_of_somebody_elses_never_names_the_site() {
    let mut book = Book::new(Thresholds::default());
    let text = |provenance| Text {
        bytes: b"SELECT 1 /*route='/a'*/".to_vec(),
        tail: Vec::new(),
        total: 23,
        provenance,
        kept: Kept::Text,
    };
    let own = book.site_of("app", Some(&text(Provenance::Here)), at(0));
    let first = book.site_of("app", Some(&text(Provenance::Parsed { executions: 0 })), at(0));
    let later = book.site_of("app", Some(&text(Provenance::Parsed { executions: 3 })), at(0));
    assert_eq!(own, first);
    assert_ne!(own, later);
    let site = book.site(later).expect("known");
    assert!(site.tags.is_empty() && site.tags_from_prepare);
}

#[test]
fn a_trace_does_not_make_a_site_and_a_flood_does_not_fill_the_memory() {
    let mut book = Book::new(Thresholds::default());
    let text = |comment: String| {
        let bytes = format!("SELECT 1 /*{comment}*/").into_bytes();
        Text { total: bytes.len(), bytes, tail: Vec::new(), provenance: Provenance::Here, kept: Kept::Text }
    };
    for trace in 0..1000 {
        let comment = format!("route='/a',traceparent='00-{trace:032x}-0000000000000001-01'");
        book.site_of("app", Some(&text(comment)), at(0));
    }
    assert_eq!(book.sites().count(), 1);
    for route in 0..20_000 {
        book.site_of("app", Some(&text(format!("route='/{route}'"))), at(0));
    }
    assert_eq!(book.sites().count(), SITES_MAX + 1);
    let late = book.site_of("app", Some(&text("route='/late'".to_string())), at(0));
    assert_eq!(late, SiteId::OTHER);
}

#[test]
fn what_a_pool_needs_is_holds_times_their_length() {
    let mut book = Book::new(Thresholds::default());
    for second in 0..120 {
        for number in 0..10 {
            let mut record = hold(second * 10 + number, second, second, HoldState::Executing, "SELECT 1");
            record.set_site(HoldId(second * 10 + number), SiteId::OTHER);
            let ended = record.end(Hear::Always, Moment(second * SECOND + 200_000)).expect("remarkable");
            book.ended(&ended, "app", &How::Returned, Who::default);
        }
    }
    let needed = book.need(PoolId(1), at(120)).connections();
    assert!((1.5..2.5).contains(&needed), "10 a second for 0.2 s: {needed}");
}

#[test]
fn percentiles_are_at_most_a_quarter_of_a_doubling_off() {
    let mut times = Histogram::default();
    for us in [1_000_u64, 10_000, 100_000, 1_000_000] {
        let mut one = Histogram::default();
        one.add(us, 1);
        let shown = one.percentile_us(500);
        assert!(shown >= us && shown <= us + us / 3, "{us}: {shown}");
        times.add(us, 1);
    }
    assert_eq!(times.total(), 4);
    assert!(times.percentile_us(250) < 2_000 && times.percentile_us(999) >= 1_000_000);
    assert_eq!(Histogram::default().percentile_us(999), 0);
}
