use super::*;
use crate::question::{Shown, Width};
use crate::sheet::sheet;
use crate::table::made;

const COLUMNS: &[Shown] = &[
    Shown { names: &["client"], head: "client", rank: 0 },
    Shown { names: &["state"], head: "state", rank: 0 },
    Shown { names: &["age"], head: "age", rank: 0 },
];

fn look(rows: &[&str]) -> Sheet {
    sheet(&made(&[("client", 20), ("state", 25), ("age_us", 20)], rows), COLUMNS, Width::Fitted)
}

fn marks(sheet: &Sheet) -> Vec<Mark> {
    sheet.lines.iter().map(|line| line.mark).collect()
}

#[test]
fn what_changed_is_marked_and_counted() {
    let mut seen = Seen::default();
    let mut first = look(&["1|idle|10", "2|busy|20"]);
    assert_eq!(seen.mark(&mut first), Changes::default());
    assert_eq!(marks(&first), [Mark::None, Mark::None], "at the first look nothing is new");
    let mut second = look(&["1|idle|99", "3|idle|1"]);
    let changes = seen.mark(&mut second);
    assert_eq!(marks(&second), [Mark::None, Mark::New], "a time that goes on is no change");
    assert_eq!(changes.text(), "  (1 + new, 1 gone)");
    let mut third = look(&["1|busy|100", "3|idle|2"]);
    assert_eq!(seen.mark(&mut third), Changes { changed: 1, ..Changes::default() });
    assert_eq!(marks(&third), [Mark::Changed, Mark::None]);
    assert_eq!(seen.mark(&mut look(&[])).gone, 2);
}

#[test]
fn a_drawing_fits_the_screen() {
    let lines: Vec<String> = (0..5).map(|n| n.to_string()).collect();
    assert_eq!(frame(&lines, 5), "\x1b[H0\x1b[K\r\n1\x1b[K\r\n2\x1b[K\r\n3\x1b[K\r\n4\x1b[K\x1b[J");
    assert_eq!(frame(&lines, 3), "\x1b[H0\x1b[K\r\n1\x1b[K\r\n… 3 more lines\x1b[K\x1b[J");
    for rows in 1..9 {
        assert!(frame(&lines, rows).matches("\r\n").count() < rows, "{rows}");
    }
}
