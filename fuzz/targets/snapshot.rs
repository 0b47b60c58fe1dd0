//! Snapshots: files that somebody hands to `plimsoll diff`, and what is made of them.
//!
//! Input: a document. Besides not panicking: what is read is bounded and has no control characters, is written so that it is
//! read again as the same, and can be compared with itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_ledger::snapshot::{
    Caveats, Scope, TEXT_BYTES_MAX, diff, doubts, leftover_sentences, leftovers, read, sentences, span,
};

fuzz_target!(|bytes: &[u8]| {
    let snapshot = match read(bytes) {
        Ok(snapshot) => snapshot,
        Err(unreadable) => {
            let words = unreadable.to_string();
            assert!(words.len() < 2 * TEXT_BYTES_MAX && !words.chars().any(char::is_control));
            return;
        }
    };
    for held in &snapshot.holds {
        assert!(held.application.len() <= TEXT_BYTES_MAX && !held.application.chars().any(char::is_control));
    }
    let again = read(snapshot.text().as_bytes()).expect("what is written is read");
    assert_eq!(again, snapshot);
    let found = diff(&snapshot, &again);
    assert_eq!((found.total.growth(), found.total.used), (0, 0));
    let left = leftovers(&snapshot, &again, &snapshot);
    let caveats = Caveats { scope: Scope::All, doubts: doubts(&[&snapshot, &again]) };
    let said = [
        sentences(&snapshot, &again, &found, &caveats),
        leftover_sentences([&snapshot, &again, &snapshot], &left),
    ];
    assert!(!said.concat().iter().any(|line| line.chars().any(char::is_control)));
    assert!(!span(snapshot.head.taken.micros_since(snapshot.head.started)).is_empty());
});
