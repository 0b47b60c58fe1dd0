use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};

use super::*;

fn record() -> Record {
    Record::new(SlotId { index: 1, generation: 2 }, 0, 77, Moment(5))
}

fn begin(record: &mut Record, hold: u64, granted: u64) {
    record.begin(HoldId(hold), ClientId(3), PoolId(4), Moment(granted), Moment(granted));
}

fn said(text: &str) -> Said<'_> {
    let text = text.as_bytes();
    Said { text, bytes: text.len(), tail: &[], provenance: Provenance::Here, kind: SaidKind::Any }
}

#[test]
fn the_first_statement_stays_and_the_last_is_replaced() {
    let mut record = record();
    assert!(record.copy().is_none());
    begin(&mut record, 1, 10);
    assert_eq!(record.copy().map(|copy| copy.first.is_none()), Some(true));
    for text in ["SELECT 1", "SELECT 2", "SELECT 3"] {
        record.say(&said(text), 100);
    }
    let copy = record.copy().expect("open");
    assert_eq!(copy.first.as_ref().map(|text| &text.bytes[..]), Some(&b"SELECT 1"[..]));
    assert_eq!(copy.last().map(|text| &text.bytes[..]), Some(&b"SELECT 3"[..]));
    begin(&mut record, 2, 20);
    assert!(record.copy().expect("open").first.is_none(), "the next hold begins with nothing");
}

#[test]
fn a_long_text_keeps_its_ends() {
    let mut record = record();
    begin(&mut record, 1, 10);
    let long = format!("SELECT {} /*action='x'*/", "a".repeat(5000));
    record.say(&said(&long), 64);
    let first = record.copy().and_then(|copy| copy.first).expect("a statement");
    assert_eq!((first.bytes.len(), first.total), (64, long.len()));
    assert!(first.is_cut() && first.tail.len() <= 256 && first.tail.ends_with(b"/*action='x'*/"));
}

#[test]
fn what_may_carry_credentials_is_never_kept() {
    let mut record = record();
    begin(&mut record, 1, 10);
    for text in [
        "ALTER ROLE a PASSWORD 'hunter2'",
        "SELECT 1; CREATE USER MAPPING FOR a SERVER s OPTIONS (p 'hunter2')",
    ] {
        record.say(&said(text), 1000);
        let copy = record.copy().expect("open");
        let last = copy.last().expect("a statement");
        assert_eq!(last.kept, Kept::Credentials, "{text}");
        assert!(last.bytes.is_empty() && last.tail.is_empty());
    }
    record.say(&said("SELECT 1"), 0);
    assert_eq!(record.copy().and_then(|copy| copy.last().map(|text| text.kept)), Some(Kept::Nothing));
}

#[test]
fn a_hold_is_heard_of_for_a_reason() {
    let mut record = record();
    let mut end = |hold: u64, last: u64, hear: Hear, site: SiteId| {
        begin(&mut record, hold, 1_000_000);
        record.set_site(HoldId(hold), site);
        record.end(hear, Moment(1_000_000 + last)).map(|ended| (ended.why, ended.weight))
    };
    assert_eq!(end(2, 10, Hear::IfRemarkable, SiteId::UNKNOWN), None);
    assert_eq!(end(3, 10, Hear::Always, SiteId::UNKNOWN), Some((WhyKept::Asked, 0)));
    assert_eq!(end(4, 200_000, Hear::IfRemarkable, SiteId::UNKNOWN), Some((WhyKept::Remarkable, 1)));
    assert_eq!(end(5, 10, Hear::IfRemarkable, SiteId(9)), Some((WhyKept::Seen, 1)));
    let plain: Vec<_> =
        (6..64_006).filter_map(|hold| end(hold, 10, Hear::IfRemarkable, SiteId::UNKNOWN)).collect();
    assert!(plain.iter().all(|heard| *heard == (WhyKept::Sample, 64)));
    assert!((900..1100).contains(&plain.len()), "one in 64 on average: {}", plain.len());
}

#[test]
fn a_hold_that_is_over_is_nobodys() {
    let mut record = record();
    begin(&mut record, 1, 10);
    record.end(Hear::Always, Moment(20));
    assert!(!record.is_open() && record.copy().is_none());
    assert!(record.end(Hear::Always, Moment(30)).is_none());
    begin(&mut record, 2, 40);
    record.set_site(HoldId(1), SiteId(5));
    assert_eq!(record.copy().map(|copy| copy.site), Some(SiteId::UNKNOWN), "the site of an older hold");
}
