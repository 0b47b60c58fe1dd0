use proptest::prelude::*;

use super::*;

const DAY_MS: i64 = 24 * HOUR_MS;

fn key(at_ms: i64) -> SigningKey {
    SigningKey::generate(at_ms).expect("a key")
}

/// Without cryptography: what decides looks at names and times only.
fn named(kid: &str, created_ms: i64) -> SigningKey {
    SigningKey { kid: kid.into(), pkcs8: Secret::default(), created_ms, retire_ms: created_ms + RETIRE_MS }
}

fn signer(keys: &SigningKeys, now_ms: i64) -> Option<&str> {
    keys.signer(now_ms).map(SigningKey::kid)
}

fn published(keys: &SigningKeys, now_ms: i64) -> Vec<&str> {
    keys.published(now_ms).map(SigningKey::kid).collect()
}

#[test]
fn the_life_of_a_key() {
    let mut keys = SigningKeys::default();
    assert_eq!((keys.due(0), signer(&keys, 0)), (Due::Now, None));
    keys.add(named("a", 0));
    // The only one signs at once.
    assert_eq!((keys.due(0), signer(&keys, 0)), (Due::At(ROTATE_MS), Some("a")));
    assert_eq!(keys.due(ROTATE_MS - 1), Due::At(ROTATE_MS));
    assert_eq!(keys.due(ROTATE_MS), Due::Now);
    keys.add(named("b", ROTATE_MS));
    assert_eq!(keys.due(ROTATE_MS), Due::At(2 * ROTATE_MS));
    // The successor is published for an hour before it signs.
    assert_eq!(published(&keys, ROTATE_MS), ["a", "b"]);
    assert_eq!(signer(&keys, ROTATE_MS + SETTLE_MS - 1), Some("a"));
    assert_eq!(signer(&keys, ROTATE_MS + SETTLE_MS), Some("b"));
    // The old one is published until its last token has ended.
    let ends_ms = RETIRE_MS + PUBLISHED_MS;
    assert_eq!(published(&keys, ends_ms - 1), ["a", "b"]);
    assert_eq!(published(&keys, ends_ms), ["b"]);
}

#[test]
fn a_program_that_slept_makes_one_at_once() {
    let mut keys = SigningKeys::new(vec![named("a", 0)]);
    let late_ms = 90 * DAY_MS;
    assert_eq!((signer(&keys, late_ms), keys.due(late_ms)), (None, Due::Now));
    keys.add(named("b", late_ms));
    assert_eq!(signer(&keys, late_ms), Some("b"));
}

#[test]
fn two_instances_agree() {
    let both = [named("b", 5), named("a", 5), named("a", 5), named("c", 1)];
    let one = SigningKeys::new(both.iter().cloned());
    let other = SigningKeys::new(both.iter().rev().cloned());
    assert_eq!(published(&one, 10), ["c", "a", "b"]);
    assert_eq!(published(&one, 10), published(&other, 10));
    for now_ms in [10, 10 + SETTLE_MS] {
        assert_eq!(signer(&one, now_ms), signer(&other, now_ms));
    }
    assert_eq!((signer(&one, 10), signer(&one, 10 + SETTLE_MS)), (Some("c"), Some("b")));
}

#[test]
fn a_stolen_key_goes_at_once() {
    let keys = SigningKeys::new([named("a", 0), named("b", 1)]);
    assert_eq!(published(&keys, 2 * SETTLE_MS), ["a", "b"]);
    // It was taken out of the store, from which they are read each minute.
    let keys = SigningKeys::new([named("a", 0)]);
    assert_eq!(published(&keys, 2 * SETTLE_MS), ["a"]);
    assert_eq!((signer(&keys, 2), keys.due(2)), (Some("a"), Due::At(ROTATE_MS)));
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    let keys = SigningKeys::new(vec![named("a", DAY_MS)]);
    assert_eq!((signer(&keys, 0), keys.due(0)), (Some("a"), Due::At(DAY_MS + ROTATE_MS)));
}

#[test]
fn keys_are_kept_and_read_again() {
    let made = key(7);
    let text = made.write();
    let read = SigningKey::read(text.expose_text().expect("text")).expect("whole");
    assert_eq!((read.kid(), read.created_ms, read.retire_ms), (made.kid(), 7, 7 + RETIRE_MS));
    assert_eq!(read.pkcs8.expose(), made.pkcs8.expose());
    let (_, public, jwk) = read.open().expect("a key");
    assert_eq!((public.thumbprint(), public.kid()), (made.kid(), Some(made.kid())));
    assert!(jwk.get("d").is_none());
    assert_ne!(key(7).kid(), made.kid());
}

#[test]
fn what_is_damaged_is_no_key() {
    let made = key(7);
    let text = made.write().expose_text().expect("text").to_owned();
    let other = key(7);
    for wrong in [
        String::new(),
        "{}".to_owned(),
        text[..text.len() / 2].to_owned(),
        text.replace(made.kid(), other.kid()),
        text.replacen("\"pkcs8\":\"", "\"pkcs8\":\"AAAA", 1),
        text.replacen("\"created_ms\":7", "\"created_ms\":9223372036854775807", 1),
        text.replacen('{', "{\"x\":1,", 1),
    ] {
        assert_eq!(SigningKey::read(&wrong).err(), Some(SigningFault::Unreadable), "{wrong}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let made = key(7);
    let secret = BASE64URL.encode(made.pkcs8.expose());
    let shown = format!("{made:?} {:?} {:?}", SigningKeys::new(vec![made.clone()]), made.write());
    assert!(!shown.contains(&secret[60..80]) && shown.contains(made.kid()), "{shown}");
}

proptest! {
    /// Whoever looks now and then, makes a key when one is due, and forgets those that ended, always has one that signs,
    /// never more than a few, and what was signed can be verified until it ends.
    #[test]
    fn whoever_looks_now_and_then_always_has_a_key(steps in proptest::collection::vec(1_i64..20 * DAY_MS, 1..60)) {
        let mut keys = SigningKeys::default();
        let mut now_ms = 1_800_000_000_000;
        let mut signed: Vec<(String, i64)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            now_ms += step;
            if keys.due(now_ms) == Due::Now {
                keys.add(named(&format!("k{number}"), now_ms));
            }
            // As the store forgets them.
            keys.keys.retain(|key| now_ms < key.ends_ms());
            let signer = keys.signer(now_ms).expect("one that signs").kid.clone();
            prop_assert!(published(&keys, now_ms).contains(&signer.as_str()));
            signed.push((signer, now_ms + (LIFE_MAX_S + SKEW_S) * 1000));
            signed.retain(|(_, ends_ms)| *ends_ms > now_ms);
            for (kid, _) in &signed {
                prop_assert!(published(&keys, now_ms).contains(&kid.as_str()));
            }
            prop_assert!(keys.keys.len() <= 3);
            prop_assert!(keys.next_change_ms(now_ms) >= now_ms);
        }
    }
}
