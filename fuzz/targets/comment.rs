//! What the ledger takes out of the text of a statement: tags, shape, what is shown.
//!
//! Input: a statement. Besides not panicking: tags are bounded and sorted, nothing shown has control characters, a shape
//! does not depend on comments before the statement,
//! and what the thorough look for credentials finds the quick one does not rule out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_ledger::text::{
    Cut, Tags, carries_credentials, escape, first_keyword, full, may_carry_credentials, redact, shape, tags,
    tags_of_ends,
};

fuzz_target!(|text: &[u8]| {
    check_tags(&tags(text));
    let (head, tail) = text.split_at(text.len() / 2);
    check_tags(&tags_of_ends(head, tail));
    check_tags(&tags_of_ends(text, text));

    let redacted = redact(text, Cut::Whole);
    for shown in [&redacted, &full(text), &escape(text), &tags(text).to_string()] {
        assert!(!shown.chars().any(char::is_control));
    }
    assert_eq!(redact(text, Cut::Cut), format!("{redacted}…"));

    let commented = [b"/* a='b' */ -- c:d\n", text].concat();
    assert_eq!(shape(text), shape(&commented));
    assert_eq!(first_keyword(text), first_keyword(&commented));
    assert_eq!(carries_credentials(text), carries_credentials(&commented));
    assert!(!carries_credentials(text) || may_carry_credentials(text));
});

fn check_tags(tags: &Tags) {
    assert!(tags.iter().count() <= 16);
    assert!(
        tags.iter().all(|(key, value)| (1..=64).contains(&key.len()) && (1..=256).contains(&value.len()))
    );
    assert!(tags.iter().zip(tags.iter().skip(1)).all(|((key, _), (next, _))| key < next));
    assert!(tags.for_site().all(|(key, _)| key != "traceparent" && key != "tracestate"));
    assert_eq!(tags.traceparent().is_some(), tags.iter().any(|(key, _)| key == "traceparent"));
}
