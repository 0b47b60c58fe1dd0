//! `clients --by app,host,site`: client connections, counted.

use std::collections::HashMap;
use std::time::Duration;

use crate::args::By;
use crate::question::Shown;
use crate::table::{Column, Kind, Row, Table};

/// The columns of a table of groups, for people.
pub(crate) const COLUMNS: &[Shown] = &[
    Shown { names: &["instance"], head: "instance", rank: 1 },
    Shown { names: &["app"], head: "app", rank: 1 },
    Shown { names: &["host"], head: "host", rank: 1 },
    Shown { names: &["site"], head: "site", rank: 1 },
    Shown { names: &["user"], head: "user", rank: 1 },
    Shown { names: &["database"], head: "database", rank: 1 },
    Shown { names: &["clients"], head: "clients", rank: 0 },
    Shown { names: &["holding"], head: "holding", rank: 2 },
    Shown { names: &["waiting"], head: "waiting", rank: 2 },
    Shown { names: &["oldest"], head: "oldest", rank: 3 },
    Shown { names: &["idle_longest"], head: "idle longest", rank: 3 },
];

impl By {
    /// The column's name here.
    pub(crate) fn name(self) -> &'static str {
        match self {
            By::App => "app",
            By::Host => "host",
            By::Site => "site",
            By::User => "user",
            By::Database => "database",
            By::Instance => "instance",
        }
    }

    /// The columns of the console, whichever there is first.
    fn names(self) -> &'static [&'static str] {
        match self {
            By::App => &["application_name", "application", "app"],
            By::Host => &["host", "addr"],
            By::Site => &["site_text", "site"],
            By::User => &["user"],
            By::Database => &["database"],
            By::Instance => &["instance"],
        }
    }
}

/// What is known of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    clients: u64,
    holding: u64,
    waiting: u64,
    /// `None` where the console does not tell.
    oldest: Option<Duration>,
    idle_longest: Option<Duration>,
}

/// A row for each group, the largest first.
pub(crate) fn groups(table: &Table, by: &[By]) -> Table {
    let keys: Vec<Option<usize>> = by.iter().map(|by| table.place(by.names())).collect();
    let [holds, waits, connected, idle] = [
        table.place(&["holds", "holding", "holds_server"]),
        table.place(&["waits", "waiting"]),
        table.place(&["connected", "age"]),
        table.place(&["idle"]),
    ];
    let mut counts: HashMap<Vec<String>, Count> = HashMap::new();
    for row in &table.rows {
        let value = |place: Option<usize>| place.and_then(|place| row.get(place)).and_then(Option::as_deref);
        let time =
            |place: Option<usize>| place.zip(value(place)).and_then(|(place, text)| table.time(place, text));
        let key = keys.iter().map(|place| value(*place).unwrap_or_default().to_string()).collect();
        let count = counts.entry(key).or_default();
        count.clients += 1;
        count.holding += u64::from(is_true(value(holds)));
        count.waiting += u64::from(is_true(value(waits)));
        count.oldest = count.oldest.max(time(connected));
        count.idle_longest = count.idle_longest.max(time(idle));
    }
    let mut counts: Vec<(Vec<String>, Count)> = counts.into_iter().collect();
    counts.sort_by(|(one, a), (other, b)| b.clients.cmp(&a.clients).then_with(|| one.cmp(other)));
    Table { columns: columns(by), rows: counts.into_iter().map(|(key, count)| row(key, count)).collect() }
}

fn columns(by: &[By]) -> Vec<Column> {
    let text = by.iter().map(|by| (by.name(), Kind::Text));
    let numbers =
        ["clients", "holding", "waiting", "oldest_us", "idle_longest_us"].map(|name| (name, Kind::Number));
    text.chain(numbers).map(|(name, kind)| Column { name: name.to_string(), kind }).collect()
}

fn row(key: Vec<String>, count: Count) -> Row {
    let counts = [count.clients, count.holding, count.waiting].map(|count| Some(count.to_string()));
    let times = [count.oldest, count.idle_longest].map(|time| time.map(|time| time.as_micros().to_string()));
    key.into_iter().map(Some).chain(counts).chain(times).collect()
}

/// Any way to say yes.
fn is_true(value: Option<&str>) -> bool {
    !matches!(value, None | Some("" | "0" | "f" | "false" | "no" | "off"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::made;

    fn visitors() -> Table {
        made(
            &[
                ("application_name", 25),
                ("host", 25),
                ("connected_us", 20),
                ("idle_us", 20),
                ("holds", 23),
                ("waits", 23),
            ],
            &[
                "web|10.0.0.1|5000000|10|1|0",
                "web|10.0.0.2|9000000|-|0|1",
                "cron|10.0.0.1|1|7|0|0",
                "-|10.0.0.1|2|2|0|0",
            ],
        )
    }

    fn shown(table: &Table) -> Vec<String> {
        table
            .rows
            .iter()
            .map(|row| row.iter().map(|v| v.as_deref().unwrap_or("NULL")).collect::<Vec<_>>().join("|"))
            .collect()
    }

    #[test]
    fn groups_are_counted_largest_first() {
        let table = groups(&visitors(), &[By::App]);
        assert_eq!(shown(&table), ["web|2|1|1|9000000|10", "|1|0|0|2|2", "cron|1|0|0|1|7"]);
        let table = groups(&visitors(), &[By::Host, By::App]);
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["host", "app", "clients", "holding", "waiting", "oldest_us", "idle_longest_us"]);
        assert_eq!(table.rows.len(), 4);
    }

    #[test]
    fn a_console_without_the_column_makes_one_group() {
        assert_eq!(shown(&groups(&visitors(), &[By::Site])), ["|4|1|1|9000000|10"]);
        let bare = made(&[("user", 25)], &["app", "app"]);
        assert_eq!(
            shown(&groups(&bare, &[By::User])),
            ["app|2|0|0|NULL|NULL"],
            "what is not told is not zero"
        );
        assert!(groups(&Table::default(), &[By::App]).rows.is_empty());
    }
}
