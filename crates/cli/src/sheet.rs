//! A table as people see it: the columns that matter, times in words, claimed text made harmless, verdicts in colour.

use crate::age::age;
use crate::fleet::INSTANCE;
use crate::question::{Shown, Width};
use crate::table::{Kind, Table, without_unit};
use crate::text::harmless;

/// Where a column's values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// How a cell is set off, where colours are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tint {
    #[default]
    None,
    Yellow,
    Red,
}

/// What happened to a row since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing, or there was no last look.
    #[default]
    None,
    /// It is new.
    New,
    /// Something else than a time is different.
    Changed,
}

/// Whether a cell's text counts as a change when it is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It does.
    Still,
    /// A time: it is always different.
    Ticking,
}

/// The head of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) text: String,
    pub(crate) align: Align,
    pub(crate) pace: Pace,
    /// See [`Shown::rank`].
    pub(crate) rank: u8,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What makes it the same row at the next look.
    pub(crate) key: String,
    pub(crate) mark: Mark,
    pub(crate) cells: Vec<(String, Tint)>,
}

/// The whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) heads: Vec<Head>,
    pub(crate) lines: Vec<Line>,
}

/// Columns that name a row, the most telling first.
const KEYS: &[&str] = &["hold", "client", "id", "site", "pid"];

/// Makes a sheet. A console that has none of the columns we know is shown whole.
pub(crate) fn sheet(table: &Table, columns: &[Shown], width: Width) -> Sheet {
    let mut chosen: Vec<(usize, String, u8)> = match width {
        Width::Fitted => columns
            .iter()
            .filter_map(|shown| Some((table.place(shown.names)?, shown.head.to_string(), shown.rank)))
            .collect(),
        Width::Whole => Vec::new(),
    };
    if chosen.is_empty() {
        let whole = table.columns.iter().enumerate();
        chosen =
            whole.map(|(at, column)| (at, harmless(without_unit(&column.name)).into_owned(), 0)).collect();
    }
    let keys = key_columns(table);
    let lines = table.rows.iter().map(|row| Line {
        key: keys.iter().filter_map(|at| row.get(*at)?.as_deref()).collect::<Vec<_>>().join("\0"),
        mark: Mark::None,
        cells: chosen.iter().map(|(at, head, _)| cell(table, row.get(*at), *at, head)).collect(),
    });
    Sheet { lines: lines.collect(), heads: chosen.iter().map(|chosen| head(table, chosen)).collect() }
}

/// Without a column that names it, a row is named by all its text.
fn key_columns(table: &Table) -> Vec<usize> {
    let named = KEYS.iter().find_map(|name| {
        table.columns.iter().position(|column| column.name == *name && column.kind == Kind::Number)
    });
    let texts = table.columns.iter().enumerate().filter(|(_, column)| column.kind == Kind::Text);
    // Each of several poolers counts for itself.
    let instance = table.columns.iter().position(|column| column.name == INSTANCE);
    named.map_or_else(|| texts.map(|(at, _)| at).collect(), |at| instance.into_iter().chain([at]).collect())
}

fn head(table: &Table, (at, text, rank): &(usize, String, u8)) -> Head {
    let is_number = table.columns.get(*at).is_some_and(|column| column.kind == Kind::Number);
    Head {
        text: text.clone(),
        align: if is_number { Align::Right } else { Align::Left },
        pace: if table.is_time(*at) { Pace::Ticking } else { Pace::Still },
        rank: *rank,
    }
}

fn cell(table: &Table, value: Option<&Option<String>>, at: usize, head: &str) -> (String, Tint) {
    let Some(value) = value.and_then(Option::as_deref).filter(|value| !value.is_empty()) else {
        return ("-".to_string(), Tint::None);
    };
    let tint = match (head, value) {
        ("verdict" | "level", "suspect") => Tint::Yellow,
        ("verdict" | "level", "leak") => Tint::Red,
        _ => Tint::None,
    };
    let text = table.time(at, value).map_or_else(|| harmless(value).into_owned(), age);
    (text, tint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::made;

    const COLUMNS: &[Shown] = &[
        Shown { names: &["client"], head: "client", rank: 0 },
        Shown { names: &["age"], head: "age", rank: 1 },
        Shown { names: &["gone"], head: "gone", rank: 1 },
        Shown { names: &["verdict"], head: "verdict", rank: 2 },
        Shown { names: &["last", "statement"], head: "last statement", rank: 3 },
    ];

    fn table() -> Table {
        made(
            &[
                ("hold", 20),
                ("client", 20),
                ("age_us", 20),
                ("verdict", 25),
                ("statement", 25),
                ("other", 25),
            ],
            &["1|7|200000000|leak|a\x1b[0mb|x", "2|8|-|suspect|-|y"],
        )
    }

    #[test]
    fn what_matters_is_chosen_and_made_readable() {
        let sheet = sheet(&table(), COLUMNS, Width::Fitted);
        let heads: Vec<&str> = sheet.heads.iter().map(|head| head.text.as_str()).collect();
        assert_eq!(heads, ["client", "age", "verdict", "last statement"]);
        assert_eq!(sheet.heads[1].pace, Pace::Ticking);
        assert_eq!((sheet.heads[0].align, sheet.heads[2].align), (Align::Right, Align::Left));
        let first: Vec<&str> = sheet.lines[0].cells.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(first, ["7", "3m20s", "leak", "a\\x1b[0mb"]);
        assert_eq!(sheet.lines[0].cells[2].1, Tint::Red);
        assert_eq!(sheet.lines[1].cells[2].1, Tint::Yellow);
        assert_eq!(sheet.lines[1].cells[1].0, "-");
        assert_eq!(sheet.lines[1].key, "2");
    }

    #[test]
    fn everything_is_shown_when_asked_or_when_nothing_is_known() {
        let whole = sheet(&table(), COLUMNS, Width::Whole);
        let heads: Vec<&str> = whole.heads.iter().map(|head| head.text.as_str()).collect();
        assert_eq!(heads, ["hold", "client", "age", "verdict", "statement", "other"]);
        let strange = made(&[("what", 25), ("ever\x1b", 25)], &["a|b"]);
        let sheet = sheet(&strange, COLUMNS, Width::Fitted);
        assert_eq!(sheet.heads[1].text, "ever\\x1b");
        assert_eq!(sheet.lines[0].key, "a\0b");
    }
}
