//! One spelling for what a client calls itself.

use std::borrow::Cow;

/// Bytes that PostgreSQL leaves of a name (NAMEDATALEN - 1).
const NAME_BYTES: usize = 63;

/// Stands for each byte that is not printable ASCII.
const OTHER: char = '?';

/// What all spellings of an application's name have in common.
///
/// PostgreSQL cuts application_name to 63 bytes, at the end of a character (`truncate_identifier`), and then replaces
/// each byte that is not printable ASCII (`pg_clean_ascii`): by `?` up to version 15, by `\xNN` from 16 on, where the
/// result may be up to four times as long and is cut again when it is set anew. So a name is compared up to the first
/// byte that may be missing in one of them: `?`, `\xNN` and a byte that becomes one of them are the same, and as long
/// as the longest of them.
pub(super) fn canonical(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'?' && byte != b'\\';
    if name.len() <= NAME_BYTES && name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let (mut out, mut room, mut rest) = (String::new(), NAME_BYTES, name.as_bytes());
    while let Some(&byte) = rest.first() {
        let (bytes, as_char) = match rest {
            [b'\\', b'x', a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => (4, OTHER),
            [b'?', ..] => (1, OTHER),
            [b' '..=b'~', ..] => (1, char::from(byte)),
            _ => (1, OTHER),
        };
        let size = if as_char == OTHER { ESCAPE.len() } else { 1 };
        if size > room {
            break;
        }
        room -= size;
        out.push(as_char);
        rest = &rest[bytes..];
    }
    // What a cut has left of an escape.
    while let Some(tail) = torn(&out) {
        out.truncate(out.len() - tail);
    }
    Cow::Owned(out)
}

const ESCAPE: &str = "\\xNN";

/// How many bytes of an escape that is not whole a name ends in.
fn torn(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [.., b'\\', b'x', digit] if digit.is_ascii_hexdigit() => Some(3),
        [.., b'\\', b'x'] => Some(2),
        [.., b'\\'] => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use proptest::prelude::*;

    /// What PostgreSQL makes of a name in a database in UTF-8: version 15, and 16.
    fn by_server(name: &str) -> [String; 2] {
        let end = (0..=name.len().min(63)).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
        let cut = &name.as_bytes()[..end];
        let is_clean = |byte: &u8| matches!(byte, 32..=126);
        let old = cut.iter().map(|byte| if is_clean(byte) { char::from(*byte) } else { '?' }).collect();
        let new = cut.iter().map(|byte| match is_clean(byte) {
            true => char::from(*byte).to_string(),
            false => format!("\\x{byte:02x}"),
        });
        [old, new.collect()]
    }

    #[test]
    fn spellings_of_one_name_are_the_same_and_others_are_not() {
        for same in ["caf\u{e9}", "caf??", r"caf\xc3\xa9"] {
            assert_eq!(canonical(same), "caf??");
        }
        assert_eq!(canonical(&"x".repeat(80)), "x".repeat(63));
        assert_eq!(canonical("a\\b"), "a\\b");
        assert_eq!(canonical("web-1"), "web-1");
        assert_ne!(canonical("caf\u{e9}"), canonical("cafe"));
        assert_ne!(canonical("caf\u{e9}"), canonical("caf\u{e9}-2"));
    }

    proptest! {
        /// Also where the server's spelling is set anew, by a server of either kind.
        #[test]
        fn a_name_is_the_same_before_and_after_a_server_has_it(name in "[a-z\u{e9}\u{20ac}\t]{0,90}") {
            let wanted = canonical(&name);
            for once in by_server(&name) {
                prop_assert_eq!(&canonical(&once), &wanted, "{:?} of {:?}", once, name);
                for twice in by_server(&once) {
                    prop_assert_eq!(&canonical(&twice), &wanted, "{:?} of {:?}", twice, name);
                }
            }
        }
    }
}
