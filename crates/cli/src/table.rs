//! What the console answered: columns and rows of text, and what can be asked of them by name.

use std::time::Duration;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number of any kind.
    Number,
    /// Anything else.
    Text,
}

impl Kind {
    /// By the OID of its type (`pg_type.dat` of PostgreSQL): int8, int2, int4, oid, float4, float8, numeric.
    pub(crate) fn of(oid: u32) -> Kind {
        match oid {
            20 | 21 | 23 | 26 | 700 | 701 | 1700 => Kind::Number,
            _ => Kind::Text,
        }
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// What it holds.
    pub(crate) kind: Kind,
}

/// The values of a row; `None` is NULL.
pub(crate) type Row = Vec<Option<String>>;

/// A result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Its columns.
    pub(crate) columns: Vec<Column>,
    /// Its rows: each has a value for every column, which the reader of the answer sees to.
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Where the first of these columns is that there is; a name is also meant with a unit behind it.
    pub(crate) fn place(&self, names: &[&str]) -> Option<usize> {
        let is = |column: &Column, name: &str| column.name == name || without_unit(&column.name) == name;
        names.iter().find_map(|name| self.columns.iter().position(|column| is(column, name)))
    }

    /// The time a value stands for, if its column is one of times.
    pub(crate) fn time(&self, column: usize, value: &str) -> Option<Duration> {
        let column = self.columns.get(column)?;
        match column.kind {
            Kind::Number => time_of(&column.name, value),
            Kind::Text => None,
        }
    }

    /// Whether the column is one of times.
    pub(crate) fn is_time(&self, column: usize) -> bool {
        self.time(column, "0").is_some()
    }
}

/// The time a number in a column of this name stands for: the unit is the last word of the name.
fn time_of(name: &str, value: &str) -> Option<Duration> {
    let micros_each: f64 = match name.rsplit('_').next()? {
        "us" => 1.0,
        "ms" => 1e3,
        "s" | "secs" | "seconds" => 1e6,
        _ => return None,
    };
    let seconds = value.parse::<f64>().ok()? * micros_each / 1e6;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A name without its unit: `age_us` is an age, whatever it is counted in.
pub(crate) fn without_unit(name: &str) -> &str {
    ["_us", "_ms", "_seconds", "_secs", "_s"]
        .iter()
        .find_map(|unit| name.strip_suffix(unit))
        .filter(|name| !name.is_empty())
        .unwrap_or(name)
}

/// A table for tests: columns with OIDs, rows with `|` between values and `-` for NULL.
#[cfg(test)]
pub(crate) fn made(columns: &[(&str, u32)], rows: &[&str]) -> Table {
    let value = |text: &str| (text != "-").then(|| text.to_string());
    Table {
        columns: columns
            .iter()
            .map(|(name, oid)| Column { name: (*name).to_string(), kind: Kind::of(*oid) })
            .collect(),
        rows: rows.iter().map(|row| row.split('|').map(value).collect()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_known_by_their_name() {
        let table = made(
            &[("age_us", 20), ("idle_ms", 20), ("oldest_seconds", 1700), ("age", 20), ("x_us", 25)],
            &[],
        );
        assert_eq!(table.time(0, "1500"), Some(Duration::from_micros(1500)));
        assert_eq!(table.time(1, "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(table.time(2, "1.5"), Some(Duration::from_millis(1500)));
        assert_eq!((table.time(3, "1"), table.time(4, "1")), (None, None));
        assert_eq!((table.time(0, "-1"), table.time(0, "x"), table.time(9, "1")), (None, None, None));
        assert!(table.is_time(0) && !table.is_time(3));
    }

    #[test]
    fn columns_are_found_with_and_without_unit() {
        let table = made(&[("id", 20), ("age_us", 20), ("wait_seconds", 20)], &[]);
        assert_eq!(table.place(&["none", "age"]), Some(1));
        assert_eq!(table.place(&["wait"]), Some(2));
        assert_eq!(table.place(&["wait_seconds"]), Some(2));
        assert_eq!(table.place(&["ag"]), None);
    }
}
