use super::*;

#[test]
fn sasl_prep_follows_postgresql() {
    // (as given, as used); the first five are RFC 4013's own examples.
    let table: [(&[u8], &[u8]); 14] = [
        (b"I\xc2\xadX", b"IX"),
        (b"user", b"user"),
        (b"USER", b"USER"),
        ("\u{aa}".as_bytes(), b"a"),
        ("\u{2168}".as_bytes(), b"IX"),
        // What RFC 4013 refuses is used as it is.
        (b"\x07", b"\x07"),
        ("\u{627}1".as_bytes(), "\u{627}1".as_bytes()),
        // A space of another kind is a space.
        ("a\u{a0}b".as_bytes(), b"a b"),
        // Comes to nothing: used as it is.
        ("\u{ad}".as_bytes(), "\u{ad}".as_bytes()),
        // Not UTF-8.
        (b"caf\xe9", b"caf\xe9"),
        // Composed.
        ("e\u{301}".as_bytes(), "\u{e9}".as_bytes()),
        // Unknown to Unicode 3.2, though its normal form is plain digits: used as it is.
        ("\u{1f100}".as_bytes(), "\u{1f100}".as_bytes()),
        // Deprecated, though its normal form is not.
        ("a\u{340}".as_bytes(), "a\u{340}".as_bytes()),
        (b"", b""),
    ];
    for (given, used) in table {
        assert_eq!(prepare(given).expose(), used, "{:?}", String::from_utf8_lossy(given));
    }
}

#[test]
fn iterations_are_bounded() {
    assert_eq!(parse_iterations(b"1"), Some(1));
    assert_eq!(parse_iterations(b"4096"), Some(4096));
    assert_eq!(parse_iterations(b"10000000"), Some(ITERATIONS_MAX));
    for bad in
        ["", "0", "00", "-1", "+1", " 1", "1 ", "1e3", "10000001", "4294967296", "99999999999999999999999"]
    {
        assert_eq!(parse_iterations(bad.as_bytes()), None, "{bad:?}");
    }
}

#[test]
fn keys_have_exactly_32_bytes() {
    let text = STANDARD.encode([7; KEY_BYTES]);
    assert_eq!(decode_key(text.as_bytes()), Some([7; KEY_BYTES]));
    assert_eq!(decode_key(STANDARD.encode([7; 31]).as_bytes()), None);
    assert_eq!(decode_key(STANDARD.encode([7; 33]).as_bytes()), None);
    assert_eq!(decode_key(text.trim_end_matches('=').as_bytes()), None);
    assert_eq!(decode_key(b""), None);
}

#[test]
fn nonces_and_attributes_have_their_shapes() {
    for (text, good) in
        [("a", true), ("!+/=~", true), ("", false), ("a,b", false), ("a b", false), ("a\u{7f}", false)]
    {
        assert_eq!(is_nonce(text.as_bytes()), good, "{text:?}");
    }
    for (text, good) in
        [("x=", true), ("Y=1", true), ("", false), ("x", false), ("=1", false), ("1=x", false)]
    {
        assert_eq!(is_attribute(text.as_bytes()), good, "{text:?}");
    }
}
