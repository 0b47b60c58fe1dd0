//! Checks that are code: the project's own rules, run by `cargo xtask` (and by `./dev check`).
//!
//! What a compiler or clippy cannot know: which crate may depend on which, that the decision layers touch neither
//! sockets nor clocks, how long a function and a file may be, that no file names the machine it was written on, that
//! every key of our own is documented, that dashboards name metrics which exist. It shares no code with the crates it looks at.

mod checks;
mod manifest;
mod rust;
mod tree;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use checks::{docs, layers, length, machine, manifests, metrics, purity};
use tree::{Problem, Tree};

const USAGE: &str = "usage: cargo xtask [tighten]\n
  without a word: runs the project's own checks; status 1 if one finds something
  tighten: lowers the figures of crates/xtask/ratchet.txt to what the code needs now; it never raises one\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let outcome = match words.as_slice() {
        [] => Tree::read(&root).map(|tree| check(&tree)),
        ["tighten"] => Tree::read(&root).and_then(|tree| length::tighten(&tree, &root)),
        _ => Ok(Report { text: USAGE.to_owned(), status: 2 }),
    };
    let report = outcome.unwrap_or_else(|error| Report { text: format!("xtask: {error}\n"), status: 1 });
    // Nobody to tell if even that fails.
    drop(std::io::stdout().write_all(report.text.as_bytes()));
    ExitCode::from(report.status)
}

/// What a command has to say, and its exit status.
struct Report {
    text: String,
    status: u8,
}

/// A check, by the name under which its problems are printed.
type Check = (&'static str, fn(&Tree) -> Vec<Problem>);

const CHECKS: [Check; 7] = [
    ("layers", layers::check),
    ("purity", purity::check),
    ("length", length::check),
    ("machine", machine::check),
    ("manifests", manifests::check),
    ("docs", docs::check),
    ("metrics", metrics::check),
];

fn check(tree: &Tree) -> Report {
    let mut text = String::new();
    let mut count = 0;
    for (name, check) in CHECKS {
        for problem in check(tree) {
            text.push_str(&format!("{name}: {problem}\n"));
            count += 1;
        }
    }
    let files = tree.files.len();
    let names: Vec<&str> = CHECKS.iter().map(|(name, _)| *name).collect();
    text.push_str(&format!("xtask: {} over {files} files: {count} problems\n", names.join(", ")));
    Report { text, status: u8::from(count > 0) }
}
