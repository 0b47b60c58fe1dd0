use super::*;
use crate::sheet::Pace;

const PLAIN: Canvas = Canvas { columns: None, colours: Colours::Off, margin: Margin::None };

fn sheet(heads: &[(&str, Align, u8)], rows: &[&[&str]]) -> Sheet {
    let head = |(text, align, rank): &(&str, Align, u8)| Head {
        text: (*text).to_string(),
        align: *align,
        pace: Pace::Still,
        rank: *rank,
    };
    let line = |cells: &&[&str]| Line {
        key: String::new(),
        mark: Mark::None,
        cells: cells.iter().map(|cell| ((*cell).to_string(), Tint::None)).collect(),
    };
    Sheet { heads: heads.iter().map(head).collect(), lines: rows.iter().map(line).collect() }
}

fn example() -> Sheet {
    sheet(
        &[
            ("id", Align::Right, 0),
            ("app", Align::Left, 1),
            ("pins", Align::Left, 9),
            ("statement", Align::Left, 2),
        ],
        &[
            &["7", "web", "transaction", "SELECT a, b, c FROM things WHERE id = $1"],
            &["12", "漢字", "-", "COMMIT"],
        ],
    )
}

#[test]
fn numbers_stand_right_and_wide_characters_line_up() {
    let lines = lines(&example(), PLAIN);
    assert_eq!(
        lines,
        [
            "id  app   pins         statement",
            " 7  web   transaction  SELECT a, b, c FROM things WHERE id = $1",
            "12  漢字  -            COMMIT",
        ]
    );
}

#[test]
fn a_terminal_is_never_overrun() {
    for columns in 1..90 {
        let canvas = Canvas { columns: Some(columns), ..PLAIN };
        for line in lines(&example(), canvas) {
            assert!(width(&line) <= columns, "{columns}: {line:?}");
        }
    }
    let canvas = Canvas { columns: Some(40), ..PLAIN };
    assert_eq!(lines(&example(), canvas)[1], " 7  web   transaction  SELECT a, b, c F…");
    // Nothing left to cut: what matters least goes.
    let canvas = Canvas { columns: Some(30), ..PLAIN };
    assert_eq!(lines(&example(), canvas)[1], " 7  web   SELECT a, b, c FROM…");
}

#[test]
fn colours_come_only_when_wanted() {
    let mut sheet = sheet(&[("verdict", Align::Left, 0), ("x", Align::Left, 0)], &[&["leak", "y"]]);
    sheet.lines[0].cells[0].1 = Tint::Red;
    assert!(lines(&sheet, PLAIN).iter().all(|line| !line.contains('\x1b')));
    let canvas = Canvas { colours: Colours::On, ..PLAIN };
    assert_eq!(lines(&sheet, canvas)[1], "\x1b[31mleak   \x1b[0m  y");
}

#[test]
fn marks_stand_in_the_margin() {
    let mut sheet = example();
    sheet.lines[0].mark = Mark::New;
    sheet.lines[1].mark = Mark::Changed;
    let canvas = Canvas { margin: Margin::Marks, columns: Some(20), ..PLAIN };
    let lines = lines(&sheet, canvas);
    assert!(
        lines[0].starts_with("  id") && lines[1].starts_with("+  7") && lines[2].starts_with("~ 12"),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| width(line) <= 20));
}

#[test]
fn an_empty_table_has_its_heads() {
    assert_eq!(lines(&sheet(&[("a", Align::Left, 0)], &[]), PLAIN), ["a"]);
}
