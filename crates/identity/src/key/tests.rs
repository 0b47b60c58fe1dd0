use proptest::prelude::*;

use super::*;

fn key(env: &str, fill: u8) -> Key {
    Key::mint(env, &[fill; KEY_CHANCE_BYTES]).expect("a good environment")
}

fn text(key: &Key) -> String {
    key.text().expose_text().expect("text").to_owned()
}

#[test]
fn a_key_has_its_shape() {
    let zero = text(&key("live", 0));
    let body = format!("plim_live_{}_{}", "0".repeat(16), "0".repeat(43));
    assert_eq!(zero, base62::with_checksum(&body));
    assert_eq!(zero.len(), 5 + 4 + 1 + 16 + 1 + 43 + 6);
    let full = text(&key("t3st0000", 255));
    assert_eq!(full.len(), zero.len() + 4);
}

#[test]
fn what_was_minted_can_be_read() {
    let minted = key("test", 7);
    let parsed = Key::parse(&text(&minted)).expect("whole");
    assert_eq!((&*parsed.env, &*parsed.key_id), ("test", minted.key_id()));
    assert_eq!(minted.key_id().len(), KEY_ID_CHARS);
    assert!(parsed.matches(&minted.secret_sha256()));
    assert!(!parsed.matches(&key("test", 8).secret_sha256()));
    assert!(!parsed.matches(&NO_SECRET));
    let digest: [u8; 32] = Sha256::digest(parsed.secret.expose()).into();
    assert_eq!(digest, minted.secret_sha256());
}

#[test]
fn environments_are_checked() {
    for env in ["", "Live", "li ve", "live_", "ninechars", "é", "../x"] {
        assert_eq!(Key::mint(env, &[1; KEY_CHANCE_BYTES]).err(), Some(KeyFault::Env), "{env}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let good = text(&key("live", 9));
    let with_env = |env: &str| good.replacen("live", env, 1);
    let table = [
        (String::new(), KeyFault::Prefix),
        ("eyJhbGciOiJub25lIn0.e30.".to_owned(), KeyFault::Prefix),
        (good.to_uppercase(), KeyFault::Prefix),
        (format!(" {good}"), KeyFault::Prefix),
        ("plim_".to_owned(), KeyFault::Parts),
        ("plim_live_1234".to_owned(), KeyFault::Parts),
        (with_env("LIVE"), KeyFault::Env),
        (with_env(""), KeyFault::Env),
        (with_env("../etc"), KeyFault::Env),
        (with_env("live2"), KeyFault::Checksum),
        (good.replacen("live_", "live_x", 1), KeyFault::KeyId),
        (good[..good.len() - 1].to_owned(), KeyFault::Short { missing: 1 }),
        (good[..27].to_owned(), KeyFault::Short { missing: 49 }),
        (format!("{good}\n"), KeyFault::Long { extra: 1 }),
        (format!("{good}{good}"), KeyFault::Long { extra: good.len() }),
        (format!("{}é", &good[..good.len() - 2]), KeyFault::Characters),
        (format!("{} ", &good[..good.len() - 1]), KeyFault::Characters),
    ];
    for (wrong, fault) in table {
        assert_eq!(Key::parse(&wrong).err(), Some(fault), "{wrong}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let minted = key("live", 42);
    let parsed = Key::parse(&text(&minted)).expect("whole");
    let secret = parsed.secret.expose_text().expect("text");
    for shown in [format!("{minted:?}"), format!("{parsed:?}"), format!("{:?}", minted.text())] {
        assert!(!shown.contains(secret) && !shown.contains(&secret[..6]), "{shown}");
    }
    assert_eq!(format!("{parsed:?}"), format!("plim_live_{}_***", minted.key_id()));
}

#[test]
fn ids_are_told_from_anything_else() {
    assert_eq!(check_key_id(&new_key_id(&[3; 12])), Ok(()));
    for wrong in
        ["", "0", "../../etc/passwd", "0000000000000000' OR", "000000000000000%", "00000000000000000"]
    {
        assert_eq!(check_key_id(wrong), Err(KeyFault::KeyId), "{wrong}");
    }
    assert!(looks_like_key("plim_x") && !looks_like_key("plimr_x") && !looks_like_key("eyJ"));
}

proptest! {
    #[test]
    fn every_key_goes_there_and_back(env in "[a-z0-9]{1,8}", chance in proptest::array::uniform32(any::<u8>())) {
        let mut bytes = [0; KEY_CHANCE_BYTES];
        bytes[..32].copy_from_slice(&chance);
        bytes[32..].copy_from_slice(&chance[..12]);
        let minted = Key::mint(&env, &bytes).expect("a good environment");
        let parsed = Key::parse(&text(&minted)).expect("whole");
        prop_assert_eq!(&*parsed.env, env.as_str());
        prop_assert_eq!(&*parsed.key_id, minted.key_id());
        prop_assert!(parsed.matches(&minted.secret_sha256()));
    }

    #[test]
    fn one_changed_character_is_refused(fill: u8, place: prop::sample::Index, other in "[0-9A-Za-z_]") {
        let good = text(&key("live", fill));
        let at = place.index(good.len());
        let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        prop_assume!(changed != good);
        prop_assert!(Key::parse(&changed).is_err());
    }

    #[test]
    fn two_swapped_neighbours_are_refused(chance in proptest::array::uniform32(any::<u8>()), place: prop::sample::Index) {
        let mut bytes = [0; KEY_CHANCE_BYTES];
        bytes[12..].copy_from_slice(&chance);
        let good = text(&Key::mint("live", &bytes).expect("a good environment"));
        let at = place.index(good.len() - 1);
        let mut letters: Vec<char> = good.chars().collect();
        letters.swap(at, at + 1);
        let changed: String = letters.into_iter().collect();
        prop_assume!(changed != good);
        prop_assert!(Key::parse(&changed).is_err());
    }

    #[test]
    fn anything_can_be_asked(text in ".{0,200}", behind in "[_0-9A-Za-z\u{e9}]{0,90}") {
        let _ = Key::parse(&text);
        if let Err(fault) = Key::parse(&format!("plim_live_{behind}")) {
            prop_assert!(behind.len() < 8 || !fault.to_string().contains(&behind));
        }
    }
}
