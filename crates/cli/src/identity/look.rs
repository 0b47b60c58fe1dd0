//! Answers of the API as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::age::age;
use crate::draw::{self, Canvas};
use crate::sheet::{Align, Head, Line, Mark, Pace, Sheet, Tint};
use crate::text::{harmless, width};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// The field of the object.
    pub(crate) field: &'static str,
    /// What stands above it.
    pub(crate) head: &'static str,
    /// How early it is left out where there is no room: the highest first.
    pub(crate) rank: u8,
    /// What is in it.
    pub(crate) cell: Cell,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Any value.
    Text,
    /// The id of something else, shown by its name.
    Ref,
    /// Active, disabled, revoked.
    State,
    /// Several words.
    Words,
    /// Milliseconds since 1970, to the minute.
    Time,
    /// The same, to the second.
    Moment,
    /// True or false.
    YesNo,
    /// Limits of a grant.
    Limits,
}

/// By what an id is called.
pub(crate) trait Names {
    /// The name of a thing, if it can be had.
    fn name(&mut self, id: &str) -> Option<String>;
}

/// How times are written.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    pub(crate) zone: TimeZone,
}

/// A table of objects.
pub(crate) fn sheet(items: &[Value], columns: &[Column], names: &mut dyn Names, clock: &Clock) -> Sheet {
    let heads = columns.iter().map(|column| Head {
        text: column.head.to_string(),
        align: Align::Left,
        pace: Pace::Still,
        rank: column.rank,
    });
    let mut line = |item: &Value| Line {
        key: String::new(),
        mark: Mark::None,
        cells: columns
            .iter()
            .map(|column| {
                let value = item.get(column.field).unwrap_or(&Value::Null);
                (text(value, column.cell, names, clock), tint(value, column.cell))
            })
            .collect(),
    };
    Sheet { lines: items.iter().map(&mut line).collect(), heads: heads.collect() }
}

/// The lines of a table.
pub(crate) fn lines(sheet: &Sheet, canvas: Canvas) -> Vec<String> {
    draw::lines(sheet, canvas)
}

/// One object, a field on each line: the fields of its table first, then the rest.
pub(crate) fn card(item: &Value, columns: &[Column], names: &mut dyn Names, clock: &Clock) -> Vec<String> {
    let nothing = Map::new();
    let fields = item.as_object().unwrap_or(&nothing);
    let mut rows: Vec<(String, String)> = Vec::new();
    for column in columns {
        let Some(value) = fields.get(column.field) else { continue };
        let mut shown = text(value, column.cell, names, clock);
        if let (Cell::Ref, Some(id)) = (column.cell, value.as_str())
            && shown != id
        {
            shown = format!("{shown} ({})", harmless(id));
        }
        rows.push((column.head.to_string(), shown));
    }
    let rest = fields.iter().filter(|(name, _)| !columns.iter().any(|column| column.field == *name));
    for (name, value) in rest {
        let (head, cell) = match name.strip_suffix("_ms") {
            Some(head) => (head, Cell::Moment),
            None => (name.as_str(), Cell::Text),
        };
        rows.push((harmless(head).replace('_', " "), text(value, cell, names, clock)));
    }
    let column = rows.iter().map(|(head, _)| width(head)).max().unwrap_or(0);
    rows.into_iter().map(|(head, text)| format!("{head:column$}  {text}").trim_end().to_string()).collect()
}

fn tint(value: &Value, cell: Cell) -> Tint {
    match (cell, value.as_str()) {
        (Cell::State, Some("disabled")) => Tint::Yellow,
        (Cell::State, Some("revoked")) => Tint::Red,
        _ => Tint::None,
    }
}

fn text(value: &Value, cell: Cell, names: &mut dyn Names, clock: &Clock) -> String {
    let text = match (cell, value) {
        (_, Value::Null) => String::new(),
        (Cell::Ref, Value::String(id)) => names.name(id).unwrap_or_else(|| id.clone()),
        (Cell::Words, Value::Array(words)) => words.iter().map(plain).collect::<Vec<_>>().join(", "),
        (Cell::Time, value) => value.as_i64().map_or_else(|| plain(value), |ms| clock.minute(ms)),
        (Cell::Moment, value) => value.as_i64().map_or_else(|| plain(value), |ms| clock.second(ms)),
        (Cell::YesNo, Value::Bool(true)) => "yes".to_string(),
        (Cell::YesNo, Value::Bool(false)) => "no".to_string(),
        (Cell::Limits, Value::Object(limits)) => limits_text(limits),
        (_, value) => plain(value),
    };
    match text.as_str() {
        "" => "-".to_string(),
        text => harmless(text).into_owned(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// `clients 200, holds 10, statement 30s`.
fn limits_text(limits: &Map<String, Value>) -> String {
    let shown = limits.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        match (name.strip_suffix("_ms"), value.as_u64()) {
            (Some(name), Some(ms)) => format!("{name} {}", age(Duration::from_millis(ms))),
            _ => format!("{name} {}", plain(value)),
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

impl Clock {
    /// As this machine has it.
    pub(crate) fn here() -> Clock {
        Clock { zone: TimeZone::system() }
    }

    /// To the minute.
    pub(crate) fn minute(&self, unix_ms: i64) -> String {
        self.written(unix_ms, "%Y-%m-%d %H:%M")
    }

    fn second(&self, unix_ms: i64) -> String {
        self.written(unix_ms, "%Y-%m-%d %H:%M:%S")
    }

    /// What is no time is shown as the number it is.
    fn written(&self, unix_ms: i64, format: &str) -> String {
        Timestamp::from_millisecond(unix_ms).map_or_else(
            |_| unix_ms.to_string(),
            |at| at.to_zoned(self.zone.clone()).strftime(format).to_string(),
        )
    }
}
