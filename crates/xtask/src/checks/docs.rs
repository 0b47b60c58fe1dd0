//! Every key of our own is documented: the fields of the configuration's `Own` are the keys of `[plimsoll]`.

use crate::rust::{is_word, mask};
use crate::tree::{File, Problem, Tree};

const STRUCT: &str = "pub struct Own {";

/// Holds the keys against README.md and docs/.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let in_config = |file: &&File| file.crate_name() == Some("config") && file.is_rust();
    let Some(keys) = tree.files.iter().filter(in_config).find_map(|file| own_keys(&file.text)) else {
        return vec![Problem::of(
            "crates/config/src",
            format!("nowhere `{STRUCT}`: the keys of [plimsoll] are unknown"),
        )];
    };
    let is_doc = |file: &&File| file.path == "README.md" || (file.path.starts_with("docs/") && is_page(file));
    let pages: Vec<&File> = tree.files.iter().filter(is_doc).collect();
    let missing = keys.iter().filter(|key| !pages.iter().any(|page| page.text.contains(&format!("`{key}`"))));
    missing.map(|key| Problem::of("docs", format!("no page mentions `{key}` of [plimsoll]"))).collect()
}

/// Decisions explain history; they are not where a reader looks for a key.
fn is_page(file: &File) -> bool {
    file.path.ends_with(".md") && !file.path.starts_with("docs/adr/")
}

/// The names of the struct's fields; `None` if it is not in this text.
fn own_keys(text: &str) -> Option<Vec<String>> {
    let masked = mask(text);
    let start = masked.find(STRUCT)? + STRUCT.len();
    let body = masked.get(start..)?.split('}').next()?;
    let field = |line: &str| {
        let name = line.trim().strip_prefix("pub ")?.split_once(':')?.0;
        name.chars().all(is_word).then(|| name.to_owned())
    };
    Some(body.lines().filter_map(field).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tree_of;

    const OWN: &str = "/// x\npub struct Own {\n    /// `a: b`\n    pub workers: Option<u16>,\n    pub compat: Compat,\n}\n";

    #[test]
    fn keys_are_the_fields() {
        assert_eq!(own_keys(OWN), Some(vec!["workers".to_owned(), "compat".to_owned()]));
        assert_eq!(own_keys("struct Other;"), None);
    }

    #[test]
    fn a_key_that_no_page_mentions_is_a_problem() {
        let source = ("crates/config/src/own.rs", OWN);
        let both = tree_of(&[source, ("README.md", "`workers`"), ("docs/configuration.md", "`compat`")]);
        assert_eq!(check(&both), []);
        let one = tree_of(&[source, ("README.md", "`workers`"), ("docs/adr/0001.md", "`compat`")]);
        assert_eq!(check(&one), [Problem::of("docs", "no page mentions `compat` of [plimsoll]")]);
        assert_eq!(check(&tree_of(&[])).len(), 1, "a renamed struct must not switch the check off");
    }
}
