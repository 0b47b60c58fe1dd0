//! The tables of keys as text, for `docs/configuration.md`: the page cannot say anything else than the code.

use crate::table::{Support, When};
use crate::{database, issuer, keys, own, peer, slot, target, user};

/// The tables of `docs/configuration.md`, in Markdown. A test compares the page with them.
pub fn reference() -> String {
    let mut page = String::from(
        "### `[pgbouncer]`\n\n| key | type | default | changes by | here |\n|---|---|---|---|---|\n",
    );
    for key in keys::KEYS {
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
        let (name, kind, when) = (key.name, key.field.type_name(), changed_by(key.when));
        page.push_str(&format!("| `{name}` | {kind} | {default} | {when} | {here} |\n"));
    }
    page.push_str("\n### `[plimsoll]`\n\n| key | values | default | changes by |\n|---|---|---|---|\n");
    for key in own::KEYS {
        let (name, values, default, when) = (key.name, key.field.values(), key.default, changed_by(key.when));
        page.push_str(&format!("| `{name}` | {values} | {default} | {when} |\n"));
    }
    page.push_str("\n### A line of `[databases]`\n\n| key | here |\n|---|---|\n");
    page.push_str(&slot::reference(database::KEYS));
    page.push_str("\n### A line of `[users]`\n\n| key | here |\n|---|---|\n");
    page.push_str(&slot::reference(user::KEYS));
    page.push_str("\n### A line of `[targets]`\n\n| key | here |\n|---|---|\n");
    page.push_str(&slot::reference(target::KEYS));
    page.push_str("\n### A line of `[peers]`\n\n| key | here |\n|---|---|\n");
    page.push_str(&slot::reference(peer::KEYS));
    page.push_str("\n### A line of `[issuers]`\n\n| key | here |\n|---|---|\n");
    page.push_str(&slot::reference(issuer::KEYS));
    page
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
