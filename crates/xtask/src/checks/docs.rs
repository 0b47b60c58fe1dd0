//! Every key of our own is documented (the fields of the configuration's `Own` are the keys of `[plimsoll]`), and no page
//! points to a file that is not there.

use std::path::{Component, Path, PathBuf};

use crate::rust::{is_word, line_of, mask};
use crate::tree::{File, Problem, Tree};

const STRUCT: &str = "pub struct Own {";

/// Holds the keys against README.md and docs/, and the pages against the tree.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = check_keys(tree);
    problems.extend(
        tree.files.iter().filter(|file| file.path.ends_with(".md")).flat_map(|page| check_links(tree, page)),
    );
    problems
}

fn check_keys(tree: &Tree) -> Vec<Problem> {
    let in_config = |file: &&File| file.crate_name() == Some("config") && file.is_rust();
    let Some(keys) = tree.files.iter().filter(in_config).find_map(|file| own_keys(&file.text)) else {
        let message = format!("nowhere `{STRUCT}`: the keys of [plimsoll] are unknown");
        return vec![Problem::of("crates/config/src", message)];
    };
    let is_doc = |file: &&File| file.path == "README.md" || (file.path.starts_with("docs/") && is_page(file));
    let pages: Vec<&File> = tree.files.iter().filter(is_doc).collect();
    let missing = keys.iter().filter(|key| !pages.iter().any(|page| page.text.contains(&format!("`{key}`"))));
    missing.map(|key| Problem::of("docs", format!("no page mentions `{key}` of [plimsoll]"))).collect()
}

/// Relative links `](path)` whose file or folder is not tracked.
fn check_links(tree: &Tree, page: &File) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, _) in page.text.match_indices("](") {
        let Some((target, _)) = page.text[at + 2..].split_once(')') else { continue };
        let target = target.split('#').next().unwrap_or(target);
        if target.is_empty() || target.contains("://") {
            continue;
        }
        let path = resolve(&page.path, target);
        let exists = |file: &File| file.path == path || file.path.starts_with(&format!("{path}/"));
        if !tree.files.iter().any(exists) {
            problems.push(Problem::at(
                &page.path,
                line_of(&page.text, at),
                format!("links to {path}, which is not there"),
            ));
        }
    }
    problems
}

/// The path from the project's root of a link on a page.
fn resolve(page: &str, target: &str) -> String {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in folder.join(target).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::Normal(name) => path.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path.to_string_lossy().into_owned()
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
    #[test]
    fn links_lead_somewhere() {
        let page = "[a](b.md) [up](../README.md#x) [in](#x) [web](https://example.org/x)\n[dir](../docs/)\n[gone](c.md)\n";
        let tree = tree_of(&[("README.md", ""), ("docs/a.md", page), ("docs/b.md", "")]);
        let found: Vec<Problem> = tree.files.iter().flat_map(|page| check_links(&tree, page)).collect();
        assert_eq!(found, [Problem::at("docs/a.md", 3, "links to docs/c.md, which is not there")]);
    }
}
