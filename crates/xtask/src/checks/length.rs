//! How long a function and a file may be, in lines of code, with a ratchet for the ones that are longer today.
//!
//! `ratchet.txt` lists them with their length. A length may only go down: what is longer than its figure is a problem,
//! and so is a figure that is higher than needed (`cargo xtask tighten` lowers it).

mod ratchet;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::Report;
use crate::rust::{code_lines, functions, mask};
use crate::tree::{Problem, Tree};
use ratchet::{PATH, Ratchet};

/// Most lines of code of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Most lines of code of a file.
const FILE_LINES_MAX: usize = 500;

/// Something that is too long.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Long {
    /// `path` of a file, `path::name` of a function.
    what: String,
    path: String,
    line: usize,
    lines: usize,
    lines_max: usize,
}

/// Holds everything against the limits and the ratchet.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let ratchet = match tree.file(PATH).map_or(Ok(Ratchet::default()), |file| Ratchet::parse(&file.text)) {
        Ok(ratchet) => ratchet,
        Err((line, message)) => return vec![Problem::at(PATH, line, message)],
    };
    let found = too_long(tree);
    let mut problems: Vec<Problem> = found.iter().filter_map(|long| objection(long, &ratchet)).collect();
    for (what, lines) in ratchet.entries() {
        let now = found.iter().filter(|long| long.what == what).map(|long| long.lines).max();
        if now.is_none_or(|now| now < lines) {
            let message = format!("{what} is no longer {lines} lines: run `cargo xtask tighten`");
            problems.push(Problem::of(PATH, message));
        }
    }
    problems
}

/// Lowers the ratchet to what is needed now.
pub(crate) fn tighten(tree: &Tree, root: &Path) -> Result<Report, String> {
    let Some(file) = tree.file(PATH) else {
        return Ok(Report { text: "there is no ratchet to tighten\n".to_owned(), status: 0 });
    };
    let ratchet =
        Ratchet::parse(&file.text).map_err(|(line, message)| format!("{PATH}:{line}: {message}"))?;
    let found = too_long(tree);
    let lowered =
        ratchet.lowered(|what| found.iter().filter(|long| long.what == what).map(|long| long.lines).max());
    std::fs::write(root.join(PATH), lowered.to_text()).map_err(|error| format!("{PATH}: {error}"))?;
    let text = format!("{PATH}: {} exceptions left\n", lowered.entries().count());
    Ok(Report { text, status: 0 })
}

fn objection(long: &Long, ratchet: &Ratchet) -> Option<Problem> {
    let allowed = ratchet.allowed(&long.what).unwrap_or(long.lines_max);
    (long.lines > allowed).then(|| {
        let message = format!("{} has {} lines of code, {allowed} are allowed", long.what, long.lines);
        Problem::at(&long.path, long.line, message)
    })
}

fn too_long(tree: &Tree) -> Vec<Long> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let masked = mask(&file.text);
        let of = |what: String, line, lines, lines_max| Long {
            what,
            path: file.path.clone(),
            line,
            lines,
            lines_max,
        };
        found.push(of(file.path.clone(), 1, code_lines(&masked), FILE_LINES_MAX));
        for function in functions(&masked) {
            let what = format!("{}::{}", file.path, function.name);
            found.push(of(what, function.line, function.code_lines, FUNCTION_LINES_MAX));
        }
    }
    found.retain(|long| long.lines > long.lines_max);
    found
}
