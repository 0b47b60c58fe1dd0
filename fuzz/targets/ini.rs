//! Configuration files, and the URL that can stand for them.
//!
//! Input: files one after the other, with a byte 1 between them. The first is the main one; "0" to "9" are the names by
//! which they include each other. An input that begins like a URL is read as one. Besides not panicking: mistakes have
//! a place that exists, a plan does not differ from itself, and what is shown can be set again.

#![no_main]

use std::io::{Error, ErrorKind};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use plimsoll_config::{Mistake, Plan, carry, diff, from_url, load, set};

/// Files that can be read at all. The loader's own limit is higher; up to it, a file that includes itself twice takes
/// so long that nothing else is tried.
const READS_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if text.starts_with("postgres") {
        return check_url(&text);
    }
    let files: Vec<&str> = text.split('\u{1}').collect();
    let mut reads = 0;
    let mut read = |path: &Path| {
        reads += 1;
        let file = file_of(&files, path).filter(|_| reads <= READS_MAX);
        file.map(str::to_string).ok_or_else(|| Error::from(ErrorKind::NotFound))
    };
    let loaded = load(Path::new("0"), &mut read);
    match loaded {
        Ok(plan) => {
            check_plan(&plan);
            check_settings(&plan);
        }
        Err(mistakes) => check_mistakes(&mistakes, &files),
    }
});

/// What there is of the file with this name.
fn file_of<T: Copy>(files: &[T], path: &Path) -> Option<T> {
    let number: usize = path.to_str()?.parse().ok()?;
    files.get(number).copied()
}

fn check_mistakes(mistakes: &[Mistake], files: &[&str]) {
    assert!(!mistakes.is_empty());
    let lines: Vec<usize> = files.iter().map(|file| file.split('\n').count()).collect();
    for mistake in mistakes {
        let lines = file_of(&lines, &mistake.file).expect("a mistake names a file that was read");
        assert!(mistake.line as usize <= lines, "{mistake}");
        assert!(!mistake.message.is_empty());
    }
}

fn check_plan(plan: &Plan) {
    assert_eq!(diff(plan, plan), []);
    let mut carried = plan.clone();
    carry(plan, &mut carried);
    assert_eq!(diff(plan, &carried), []);
    assert!(!format!("{plan:?}").is_empty());
}

/// Only of a file's plan: a URL can give names that no line can.
fn check_settings(plan: &Plan) {
    let mut same = plan.clone();
    for shown in plan.shown.iter().filter(|shown| shown.changeable) {
        let Some(value) = &shown.value else { continue };
        assert_eq!(set(&mut same, shown.key, value), Ok(()), "{} = {value}", shown.key);
    }
    assert_eq!(same.shown, plan.shown);
    assert_eq!(diff(plan, &same), []);
}

fn check_url(text: &str) {
    match from_url(text) {
        Ok(plan) => check_plan(&plan),
        Err(mistake) => assert!(!mistake.message.is_empty()),
    }
}
