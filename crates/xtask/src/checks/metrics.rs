//! Dashboards and alert rules name only metrics that `/metrics` can give, and every metric of our own is on its page.
//!
//! What it can give is read from the sources: a name is a literal there, or made of two (what a table's names begin with, and
//! a column's).

use std::collections::BTreeSet;

use crate::tree::{File, Problem, Tree};

const SOURCES: &str = "crates/admin/src/metrics";
const EXAMPLES: &str = "docs/examples/";
const PAGE: &str = "docs/metrics.md";

/// What names of metrics begin with.
const PREFIXES: [&str; 4] = ["plimsoll_", "pgbouncer_", "db_client_", "process_"];
/// What a histogram's series add to its name.
const HISTOGRAM: [&str; 3] = ["_bucket", "_sum", "_count"];

/// Holds examples and page against the sources.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let is_source = |file: &&File| file.path.starts_with(SOURCES) && file.is_rust() && !file.is_test();
    let known: BTreeSet<&str> = tree.files.iter().filter(is_source).flat_map(literals).collect();
    if known.is_empty() {
        return vec![Problem::of(SOURCES, "no source of metrics: what there is to name is unknown")];
    }
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with(EXAMPLES)) {
        for (index, line) in file.text.lines().enumerate() {
            for name in names(line).filter(|name| !can_be(&known, name)) {
                let message = format!("{name}: /metrics has no such metric");
                problems.push(Problem::at(&file.path, index + 1, message));
            }
        }
    }
    let page = tree.file(PAGE).map_or("", |file| &file.text);
    let said: BTreeSet<&str> = names(page).collect();
    let ours = known.iter().filter(|name| name.starts_with("plimsoll_"));
    problems.extend(
        ours.filter(|name| !said.contains(*name))
            .map(|name| Problem::of(PAGE, format!("{name} is not on it"))),
    );
    problems
}

/// The texts in quotes that could be a metric's name, or a part of one.
fn literals(file: &File) -> impl Iterator<Item = &str> {
    file.text.split('"').filter(|text| !text.is_empty() && text.chars().all(is_of_a_name))
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_of_a_name(c)).filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

fn can_be(known: &BTreeSet<&str>, name: &str) -> bool {
    let whole = HISTOGRAM.iter().filter_map(|end| name.strip_suffix(end)).any(|name| known.contains(name));
    let in_two = || (1..name.len()).any(|at| known.contains(&name[..at]) && known.contains(&name[at..]));
    whole || known.contains(name) || in_two()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tree_of;

    const OWN: (&str, &str) = (
        "crates/admin/src/metrics/own.rs",
        "fn x() { one(\"plimsoll_holds\", \"Server connections held.\"); histogram(\"db_client_wait_seconds\"); }\n\
         const TABLES: [&str; 1] = [\"pgbouncer_pools_\"];\nconst COLUMNS: [&str; 1] = [\"waiting\"];\n",
    );
    const PAGE_OF_ALL: (&str, &str) = (PAGE, "| `plimsoll_holds` | what |\n");

    fn of(rules: &str) -> Vec<Problem> {
        check(&tree_of(&[OWN, PAGE_OF_ALL, ("docs/examples/rules.yml", rules)]))
    }

    #[test]
    fn what_there_is_may_be_named() {
        assert_eq!(of("expr: plimsoll_holds{verdict=\"leak\"} > 0\n"), []);
        assert_eq!(of("expr: rate(db_client_wait_seconds_bucket[5m])\nexpr: pgbouncer_pools_waiting\n"), []);
    }

    #[test]
    fn what_there_is_not_may_not() {
        let found = of("fine\nexpr: plimsoll_hold > 0 and pgbouncer_pools_gone > 0\n");
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "docs/examples/rules.yml:2: plimsoll_hold: /metrics has no such metric",
                "docs/examples/rules.yml:2: pgbouncer_pools_gone: /metrics has no such metric",
            ]
        );
    }

    #[test]
    fn ours_are_on_the_page() {
        let found = check(&tree_of(&[OWN, (PAGE, "nothing")]));
        assert_eq!(found, [Problem::of(PAGE, "plimsoll_holds is not on it")]);
        assert_eq!(check(&tree_of(&[])).len(), 1, "sources that moved must not switch the check off");
    }
}
