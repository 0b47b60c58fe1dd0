//! What the ledger costs on a query's way, and what looking costs: `cargo run --release -p plimsoll-ledger --example cost`.

#![allow(clippy::print_stdout, reason = "a report for people")]

use std::hint::black_box;
use std::time::Instant;

use plimsoll_ledger::{
    Book, Caps, Hear, HoldState, Live, Owner, Pressure, Provenance, Record, Said, SaidKind, Sight, SiteId,
    Thresholds, Trends,
};
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};

const HOLDS: u64 = 10_000_000;
const RECORDS: u64 = 50_000;

fn main() {
    let text: &[u8] = b"SELECT abalance FROM pgbench_accounts WHERE aid = 123456;";
    let said =
        Said { text, bytes: text.len(), tail: &[], provenance: Provenance::Here, kind: SaidKind::Plain };
    let mut record = Record::new(SlotId { index: 0, generation: 0 }, 1, 1, Moment(1));
    let (begin, mut heard) = (Instant::now(), 0_u64);
    for number in 0..HOLDS {
        let now = Moment(number + 10);
        record.begin(HoldId(number), ClientId(1), PoolId(1), now, now);
        record.say(black_box(&said), 1024);
        heard += u64::from(record.end(Hear::IfRemarkable, now).is_some());
    }
    let each = begin.elapsed().as_nanos() as f64 / HOLDS as f64;
    println!("one hold, opened, with a statement, closed: {each:.1} ns ({heard} of {HOLDS} heard of)");

    let mut records: Vec<Record> = (0..RECORDS)
        .map(|number| Record::new(SlotId { index: 0, generation: 0 }, number, 1, Moment(1)))
        .collect();
    for (number, record) in (0..RECORDS).zip(&mut records) {
        record.begin(HoldId(number), ClientId(number), PoolId(1), Moment(10), Moment(10));
        let text = format!("SELECT * FROM t{} WHERE a = 1 /*route='/r{}'*/", number % 500, number % 500);
        let text = text.as_bytes();
        let (provenance, kind) = (Provenance::Here, SaidKind::Any);
        record.say(&Said { text, bytes: text.len(), tail: &[], provenance, kind }, 1024);
    }
    let begin = Instant::now();
    let copies: Vec<_> = records.iter().filter_map(Record::copy).collect();
    println!("{RECORDS} open holds copied: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
    let mut book = Book::new(Thresholds::default());
    let now = Moment(60_000_000);
    let begin = Instant::now();
    book.begin_round(
        [(PoolId(1), Pressure { size: 60_000, held: 50_000, waiting: 0, oldest_wait_us: 0 })],
        now,
    );
    for hold in copies {
        let live = Live { hold, application: "app".to_string(), owner: Owner::Alive };
        let site = book.look(&live, now);
        black_box(book.judge(&live, site, now));
    }
    book.end_round(now);
    println!(
        "looked at and judged: {:.1} ms, {} sites",
        begin.elapsed().as_secs_f64() * 1e3,
        book.sites().count()
    );
    trends();
}

/// A look at 10,000 holds that nobody uses, the worst that can be.
fn trends() {
    const UNUSED: u64 = 10_000;
    let mut trends = Trends::new(60_000_000);
    let caps = Caps { pools: vec![(PoolId(1), 20_000)], targets: Vec::new() };
    let sight = |number| Sight {
        hold: HoldId(number),
        pool: PoolId(1),
        target: None,
        site: SiteId(number % 500 + 2),
        state: HoldState::InTransaction,
        used: Moment(10),
    };
    let looks = 600;
    let begin = Instant::now();
    for second in 0..looks {
        black_box(trends.look(&caps, (0..UNUSED).map(sight), Moment((100 + second) * 1_000_000)));
    }
    let each = begin.elapsed().as_secs_f64() * 1e3 / looks as f64;
    println!("a look of the trends at {UNUSED} unused holds: {each:.2} ms");
}
