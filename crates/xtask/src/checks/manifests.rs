//! What every crate's manifest says: the workspace's lints, and the name that belongs to its folder.

use crate::manifest::{Entry, entries};
use crate::tree::{File, Problem, Tree};

/// Looks at every manifest.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    tree.manifests().flat_map(check_manifest).collect()
}

fn check_manifest(file: &File) -> Vec<Problem> {
    let entries = entries(&file.text);
    let folder = file.crate_name().unwrap_or_default();
    let name = if folder == "plimsoll" { folder.to_owned() } else { format!("plimsoll-{folder}") };
    let wanted = [
        ("lints", "workspace", "true".to_owned()),
        ("package", "name", format!("\"{name}\"")),
        ("package", "publish.workspace", "true".to_owned()),
    ];
    let mut problems = Vec::new();
    for (section, key, value) in wanted {
        let is = |entry: &Entry| entry.section == section && entry.key == key && entry.value == value;
        if !entries.iter().any(is) {
            problems.push(Problem::of(&file.path, format!("has no `{key} = {value}` in [{section}]")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tree_of;

    const GOOD: &str =
        "[package]\nname = \"plimsoll-pool\"\npublish.workspace = true\n[lints]\nworkspace = true\n";

    #[test]
    fn a_manifest_as_it_should_be_is_fine() {
        assert_eq!(check(&tree_of(&[("crates/pool/Cargo.toml", GOOD)])), []);
        let program = GOOD.replace("plimsoll-pool", "plimsoll");
        assert_eq!(check(&tree_of(&[("crates/plimsoll/Cargo.toml", &program)])), []);
    }

    #[test]
    fn each_missing_line_is_a_problem() {
        let no_lints = GOOD.replace("[lints]\nworkspace = true\n", "");
        let other_name = GOOD.replace("plimsoll-pool", "pool");
        let published = GOOD.replace("publish.workspace = true\n", "");
        for broken in [no_lints, other_name, published] {
            assert_eq!(check(&tree_of(&[("crates/pool/Cargo.toml", &broken)])).len(), 1, "{broken}");
        }
    }
}
