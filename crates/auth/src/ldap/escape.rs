//! Bytes that are written as a mark and two hexadecimal digits: `\2a` in filters (RFC 4515, 3), `%2a` in URLs (RFC 3986,
//! 2.1).

/// What a text says; `None` where anything else than two digits stands behind a mark.
pub(super) fn unescaped(text: &str, mark: char) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split(mark);
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, behind) = part.split_at_checked(2)?;
        // `from_str_radix` would take a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(behind.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::unescaped;

    #[test]
    fn two_digits_stand_behind_a_mark() {
        for (text, expected) in [
            ("", Some("")),
            ("plain", Some("plain")),
            ("%41b%63", Some("Abc")),
            ("\u{e9}%c3%A9", Some("\u{e9}\u{e9}")),
            ("%25%2541", Some("%%41")),
            ("%", None),
            ("%4", None),
            ("%+4", None),
            ("%4g", None),
            ("%%41", None),
            ("%4\u{e9}", None),
        ] {
            let expected = expected.map(|text| text.as_bytes().to_vec());
            assert_eq!(unescaped(text, '%'), expected, "{text}");
        }
        assert_eq!(unescaped("%2a\\2a", '\\'), Some(b"%2a*".to_vec()));
    }
}
