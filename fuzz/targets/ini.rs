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

/// As many includes as the loader allows, the main file, auth_file.
const READS_MAX: usize = 1_002;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    if text.starts_with("postgres") {
        return check_url(&text);
    }
    let files: Vec<&str> = text.split('\u{1}').collect();
    let mut reads = 0;
    let mut read = |path: &Path| {
        reads += 1;
        file_of(&files, path).map(str::to_string).ok_or_else(|| Error::from(ErrorKind::NotFound))
    };
    let loaded = load(Path::new("0"), &mut read);
    assert!(reads <= READS_MAX, "{reads} files read");
    match loaded {
        Ok(plan) => {
            check_plan(&plan);
            check_settings(&plan);
        }
        Err(mistakes) => check_mistakes(&mistakes, &files),
    }
});

fn file_of<'a>(files: &[&'a str], path: &Path) -> Option<&'a str> {
    let number: usize = path.to_str()?.parse().ok()?;
    files.get(number).copied()
}

fn check_mistakes(mistakes: &[Mistake], files: &[&str]) {
    assert!(!mistakes.is_empty());
    for mistake in mistakes {
        let file = file_of(files, &mistake.file).expect("a mistake names a file that was read");
        assert!(mistake.line as usize <= file.split('\n').count(), "{mistake}");
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
