//! `--database`, `--user`, `--app`, `--site`.

use crate::args::WhoseArgs;
use crate::glob::fits;
use crate::table::{Row, Table};

/// Columns in which each of the filters looks, whichever there are.
const DATABASES: &[&str] = &["database", "pools", "pool"];
const USERS: &[&str] = &["user", "role", "pools"];
const APPS: &[&str] = &["application_name", "application", "app"];
const SITES: &[&str] = &["site", "site_text", "tags", "last_tags", "first_tags"];

/// Takes away the rows that are not wanted. A filter whose column the table does not have lets nothing through: what
/// cannot be told apart must not look as if it had been.
pub(crate) fn keep(table: &mut Table, whose: &WhoseArgs) {
    let filters = [
        (&whose.database, DATABASES, Part::Before),
        (&whose.user, USERS, Part::Behind),
        (&whose.app, APPS, Part::Whole),
        (&whose.site, SITES, Part::Whole),
    ];
    for (pattern, names, part) in filters {
        let Some(pattern) = pattern else { continue };
        let places: Vec<(usize, Part)> = table
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| names.contains(&column.name.as_str()))
            .map(|(place, column)| (place, if column.name.starts_with("pool") { part } else { Part::Whole }))
            .collect();
        table.rows.retain(|row| places.iter().any(|(place, part)| is_kept(row, *place, *part, pattern)));
    }
}

/// Which part of a `database/role` is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Before,
    Behind,
}

fn is_kept(row: &Row, place: usize, part: Part, pattern: &str) -> bool {
    let value = row.get(place).and_then(Option::as_deref).unwrap_or_default();
    match part {
        Part::Whole => fits(pattern, value),
        Part::Before | Part::Behind => value.split([',', ' ']).filter(|pool| !pool.is_empty()).any(|pool| {
            let (database, role) = pool.rsplit_once('/').unwrap_or((pool, pool));
            fits(pattern, if part == Part::Before { database } else { role })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::made;

    fn kept(change: impl FnOnce(&mut WhoseArgs)) -> Vec<String> {
        let mut table = made(
            &[
                ("id", 20),
                ("database", 25),
                ("user", 25),
                ("application_name", 25),
                ("site", 20),
                ("tags", 25),
            ],
            &["1|shop|app|web-1|7|route=/a", "2|shop|ops|web-2|8|route=/b", "3|mail|app||7|-"],
        );
        let mut whose = WhoseArgs::default();
        change(&mut whose);
        keep(&mut table, &whose);
        table.rows.into_iter().filter_map(|mut row| row.swap_remove(0)).collect()
    }

    #[test]
    fn filters_are_exact_and_know_stars() {
        let some = |text: &str| Some(text.to_string());
        assert_eq!(kept(|_| ()), ["1", "2", "3"]);
        assert_eq!(kept(|whose| whose.database = some("shop")), ["1", "2"]);
        assert_eq!(kept(|whose| whose.database = some("sho")), Vec::<String>::new());
        assert_eq!(kept(|whose| whose.app = some("web-*")), ["1", "2"]);
        assert_eq!(kept(|whose| whose.app = some("")), ["3"]);
        assert_eq!(kept(|whose| whose.site = some("7")), ["1", "3"]);
        assert_eq!(kept(|whose| whose.site = some("*/b")), ["2"]);
        assert_eq!(
            kept(|whose| {
                whose.user = some("app");
                whose.database = some("*a*");
            }),
            ["3"]
        );
    }

    #[test]
    fn pools_are_taken_apart() {
        let mut table = made(&[("pools", 25)], &["shop/app, mail/ops", "mail/app"]);
        let whose =
            WhoseArgs { user: Some("ops".into()), database: Some("shop".into()), ..WhoseArgs::default() };
        keep(&mut table, &whose);
        assert_eq!(table.rows.len(), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_applied_lets_nothing_through() {
        let mut table = made(&[("id", 20)], &["1"]);
        keep(&mut table, &WhoseArgs { app: Some("*".into()), ..WhoseArgs::default() });
        assert!(table.rows.is_empty());
    }
}
