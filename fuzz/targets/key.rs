//! Keys and refresh tokens as somebody types them.
//!
//! Input: a text. Besides not panicking: what is read is written the same way, and its secret is not printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_identity::Key;
use plimsoll_identity::key::{KEY_CHANCE_BYTES, check_env, check_key_id};
use plimsoll_identity::token::RefreshToken;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = Key::parse(text) {
        assert!(check_env(&key.env).is_ok() && check_key_id(&key.key_id).is_ok());
        let secret = key.secret.expose_text().expect("letters and digits");
        assert_eq!(text[..text.len() - 6], format!("plim_{}_{}_{secret}", key.env, key.key_id));
        assert!(key.matches(&key.secret_sha256()));
        assert!(!format!("{key:?}").contains(secret));
    }
    if let Ok(token) = RefreshToken::parse(text) {
        assert_eq!(token.text().expose(), bytes);
        assert!(text.contains(token.family()));
    }
    // The input as chance: what is minted is read, and another last character is refused.
    let mut chance = [0; KEY_CHANCE_BYTES];
    let length = bytes.len().min(KEY_CHANCE_BYTES);
    chance[..length].copy_from_slice(&bytes[..length]);
    let minted = Key::mint("fuzz", &chance).expect("a good environment");
    let text = minted.text().expose_text().expect("text");
    let read = Key::parse(text).expect("what is minted is read");
    assert!(read.matches(&minted.secret_sha256()) && *read.key_id == *minted.key_id());
    let last = if text.ends_with('0') { '1' } else { '0' };
    assert!(Key::parse(&format!("{}{last}", &text[..text.len() - 1])).is_err());
});
