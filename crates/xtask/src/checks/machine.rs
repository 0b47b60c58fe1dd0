//! No file names the machine it was written on: neither a folder of somebody's nor where packages came from.

use crate::tree::{File, Problem, Tree};

/// Written in two halves, so that this file does not find itself.
const TRACES: [(&str, &str); 9] = [
    (concat!("/ro", "ot/"), "a folder of the machine this was written on"),
    (concat!("/ho", "me/"), "a folder of the machine this was written on"),
    (concat!("/wo", "rk/"), "a folder of the machine this was written on"),
    (concat!("/Us", "ers/"), "a folder of the machine this was written on"),
    (concat!("regi", "stry.npm"), "where a package came from"),
    (concat!("python", "hosted."), "where a package came from"),
    (concat!("\"resol", "ved\":"), "where a package came from"),
    (concat!("index-", "url"), "where a package came from"),
    (concat!("registry", "+http"), "where a package came from"),
];

/// What cargo itself writes into every lock file: the public index by its public name.
const LOCK: (&str, &str) =
    ("Cargo.lock", concat!("registry", "+https://github.com/rust-lang/crates.io-index"));

/// Looks at every line of every tracked file.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    tree.files.iter().flat_map(check_file).collect()
}

fn check_file(file: &File) -> Vec<Problem> {
    let is_lock = file.path.ends_with(LOCK.0);
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if is_lock && line.contains(LOCK.1) {
            continue;
        }
        for (trace, meaning) in TRACES {
            if line.contains(trace) {
                problems.push(Problem::at(&file.path, index + 1, format!("`{trace}`: {meaning}")));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tree_of;

    #[test]
    fn every_trace_is_found_with_its_line() {
        for (trace, _) in TRACES {
            let text = format!("fine\nsee {trace}somebody\n");
            let found = check(&tree_of(&[("docs/a.md", &text)]));
            assert!(
                matches!(&found[..], [one] if one.to_string().starts_with("docs/a.md:2: ")),
                "{trace}: {found:?}"
            );
        }
    }

    #[test]
    fn the_public_index_in_the_lock_file_is_fine_and_another_is_not() {
        let fine = format!("source = \"{}\"\n", LOCK.1);
        assert_eq!(check(&tree_of(&[("Cargo.lock", &fine)])), []);
        assert_eq!(check(&tree_of(&[("docs/a.md", &fine)])).len(), 1);
        let mirror = fine.replace("github.com/rust-lang", "mirror.example");
        assert_eq!(check(&tree_of(&[("Cargo.lock", &mirror)])).len(), 1);
    }
}
