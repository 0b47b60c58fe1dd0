use proptest::prelude::*;

use super::*;
use crate::id::Kind;

const HOUR_MS: i64 = 3_600_000;

fn id(kind: Kind) -> Id {
    Id::new(kind, 1, [1; 10])
}

fn about() -> NewFamily {
    NewFamily {
        subject: id(Kind::User),
        client: id(Kind::App),
        org: id(Kind::Org),
        audience: "plimsoll".to_owned(),
        scope: String::new(),
        kid_used: None,
        ends_ms: 100 * HOUR_MS,
        idle_ms: 10 * HOUR_MS,
    }
}

fn begin() -> (Family, RefreshToken) {
    Family::begin(about(), 0, &[1; FAMILY_BYTES], &[2; CHANCE_BYTES])
}

fn rotated(refreshed: Refreshed) -> (Family, RefreshToken) {
    match refreshed {
        Refreshed::Rotated(family, token) => (family, token),
        Refreshed::Ended(fault) => panic!("{fault}"),
    }
}

fn ended(refreshed: Refreshed) -> RefreshFault {
    match refreshed {
        Refreshed::Rotated(..) => panic!("it went on"),
        Refreshed::Ended(fault) => fault,
    }
}

fn text(token: &RefreshToken) -> &str {
    token.text().expose_text().expect("text")
}

#[test]
fn each_token_is_good_once_and_brings_the_next() {
    let (mut family, mut token) = begin();
    let mut used = Vec::new();
    for turn in 0..20_u8 {
        let read = RefreshToken::parse(text(&token)).expect("whole");
        assert_eq!(read.family(), token.family());
        used.push(read.clone());
        let (next, next_token) = rotated(family.refresh(
            &read,
            &id(Kind::App),
            i64::from(turn) * HOUR_MS,
            &[turn + 50; CHANCE_BYTES],
        ));
        assert_eq!(next.about, about());
        assert_eq!(next_token.family(), token.family());
        (family, token) = (Family::read(&next.write()).expect("whole"), next_token);
        assert_eq!(family, next);
    }
    // Any that was used before ends all of it.
    for old in used {
        let fault = ended(family.clone().refresh(&old, &id(Kind::App), 20 * HOUR_MS, &[9; CHANCE_BYTES]));
        assert_eq!(fault, RefreshFault::Reused);
    }
}

#[test]
fn nobody_else_uses_it() {
    let (family, token) = begin();
    let (_, forged) = Family::begin(about(), 0, &[1; FAMILY_BYTES], &[3; CHANCE_BYTES]);
    assert_eq!(forged.family(), token.family());
    let next = &[9; CHANCE_BYTES];
    assert_eq!(ended(family.clone().refresh(&forged, &id(Kind::App), 1, next)), RefreshFault::Reused);
    let other = Id::new(Kind::App, 2, [2; 10]);
    assert_eq!(ended(family.refresh(&token, &other, 1, next)), RefreshFault::OtherClient);
}

#[test]
fn it_ends_by_itself() {
    let (family, token) = begin();
    let next = &[9; CHANCE_BYTES];
    assert_eq!(family.ends_ms(), 10 * HOUR_MS);
    assert_eq!(
        ended(family.clone().refresh(&token, &id(Kind::App), 10 * HOUR_MS, next)),
        RefreshFault::Ended
    );
    let (later, _) = rotated(family.refresh(&token, &id(Kind::App), 10 * HOUR_MS - 1, next));
    assert_eq!(later.ends_ms(), 20 * HOUR_MS - 1);
    let (family, token) = Family::begin(about(), 95 * HOUR_MS, &[1; FAMILY_BYTES], &[2; CHANCE_BYTES]);
    assert_eq!(family.ends_ms(), 100 * HOUR_MS);
    assert_eq!(ended(family.refresh(&token, &id(Kind::App), 100 * HOUR_MS, next)), RefreshFault::Ended);
}

#[test]
fn nothing_secret_is_kept_or_printed() {
    let (family, token) = begin();
    let secret = &text(&token)[PREFIX.len() + FAMILY_CHARS..];
    for shown in [family.write(), format!("{family:?}"), format!("{token:?}"), format!("{:?}", token.text())]
    {
        assert!(!shown.contains(&secret[..8]), "{shown}");
    }
    assert!(!format!("{family:?}").contains(&family.current));
    assert_eq!(Family::read("{}"), Err(RefreshFault::Unreadable));
}

#[test]
fn a_key_is_no_refresh_token() {
    let key = crate::key::Key::mint("live", &[1; crate::key::KEY_CHANCE_BYTES]).expect("a key");
    assert_eq!(RefreshToken::parse(key.text().expose_text().expect("text")).err(), Some(RefreshFault::Text));
    assert!(crate::key::Key::parse(text(&begin().1)).is_err());
}

proptest! {
    #[test]
    fn one_changed_character_is_refused(place: prop::sample::Index, other in "[0-9A-Za-z_\u{e9}]") {
        let (_, token) = begin();
        let good = text(&token);
        let at = place.index(good.len());
        let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        prop_assume!(changed != good);
        prop_assert!(RefreshToken::parse(&changed).is_err());
    }

    #[test]
    fn anything_can_be_asked(text in ".{0,100}", behind in "[0-9A-Za-z\u{e9}]{65,75}") {
        prop_assert!(RefreshToken::parse(&text).is_err());
        let _ = RefreshToken::parse(&format!("plimr_{behind}"));
        let _ = Family::read(&text);
    }
}
