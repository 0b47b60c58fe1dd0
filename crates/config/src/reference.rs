//! The tables of keys for people: `docs/configuration.md` and `plimsoll.ini(5)` cannot say anything else than the code.

use crate::table::{Key, Support, When};
use crate::{database, issuer, keys, own, peer, slot, target, user};

/// The keys of one section of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTable {
    /// Where they stand: Markdown of one line.
    pub title: &'static str,
    /// What the cells of a row are.
    pub columns: &'static [&'static str],
    /// One row for each key: its name, then the other cells. Markdown of one line each.
    pub rows: Vec<Vec<String>>,
}

/// All of them, in the order of the page.
pub fn key_tables() -> Vec<KeyTable> {
    let table = |title, columns, rows| KeyTable { title, columns, rows };
    vec![
        table(
            "`[pgbouncer]`",
            &["key", "type", "default", "changes by", "here"],
            keys::KEYS.iter().map(pgbouncers).collect(),
        ),
        table(
            "`[plimsoll]`",
            &["key", "values", "default", "changes by"],
            own::KEYS.iter().map(ours).collect(),
        ),
        table("A line of `[databases]`", LINE, slot::reference(database::KEYS)),
        table("A line of `[users]`", LINE, slot::reference(user::KEYS)),
        table("A line of `[targets]`", LINE, slot::reference(target::KEYS)),
        table("A line of `[peers]`", LINE, slot::reference(peer::KEYS)),
        table("A line of `[issuers]`", LINE, slot::reference(issuer::KEYS)),
    ]
}

/// What is said of a key that stands in a line.
const LINE: &[&str] = &["key", "here"];

/// The tables of `docs/configuration.md`, in Markdown. A test compares the page with them.
pub fn reference() -> String {
    let pages: Vec<String> = key_tables().iter().map(markdown).collect();
    pages.join("\n")
}

fn markdown(table: &KeyTable) -> String {
    let mut page = format!("### {}\n\n| {} |\n", table.title, table.columns.join(" | "));
    page.push_str(&format!("|{}\n", "---|".repeat(table.columns.len())));
    for row in &table.rows {
        page.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    page
}

fn pgbouncers(key: &Key) -> Vec<String> {
    let default = match key.default {
        Some("") => "empty".to_string(),
        Some(text) => format!("`{text}`"),
        None => "none".to_string(),
    };
    let here = match key.support {
        Support::Works => "works".to_string(),
        Support::Harmless(why) => format!("accepted without effect: {why}"),
        Support::Warned(why) => format!("accepted without effect, with a warning: {why}"),
    };
    let kind = key.field.type_name().to_string();
    vec![format!("`{}`", key.name), kind, default, changed_by(key.when).to_string(), here]
}

fn ours(key: &own::Key) -> Vec<String> {
    let default = key.default.to_string();
    vec![format!("`{}`", key.name), key.field.values(), default, changed_by(key.when).to_string()]
}

fn changed_by(when: When) -> &'static str {
    match when {
        When::Always => "reload",
        When::Restart => "restart",
    }
}

#[cfg(test)]
mod tests {
    /// What the tables begin with.
    const FIRST: &str = "### `[pgbouncer]`";

    #[test]
    fn the_page_says_what_the_tables_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        let page = std::fs::read_to_string(path).expect("the page");
        let tables = super::reference();
        if std::env::var_os("PLIMSOLL_WRITE_DOCS").is_some() {
            let (before, rest) = page.split_once(FIRST).expect("the tables begin somewhere");
            let after = rest.find("\n## ").map_or("", |at| &rest[at..]);
            std::fs::write(path, format!("{before}{tables}{after}")).expect("the page can be written");
            return;
        }
        assert!(
            page.contains(&tables),
            "PLIMSOLL_WRITE_DOCS=1 puts this into docs/configuration.md:\n\n{tables}"
        );
    }
}
