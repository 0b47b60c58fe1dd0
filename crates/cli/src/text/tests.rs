use super::*;

#[test]
fn nothing_a_terminal_obeys_gets_through() {
    assert_eq!(harmless("plain ü 漢 \\ text"), "plain ü 漢 \\ text");
    assert_eq!(harmless("a\x1b[31mb\x07\r\n\tc\x7f"), "a\\x1b[31mb\\x07\\r\\n\\tc\\x7f");
    assert_eq!(harmless("\u{9b}31m\u{202e}evil\u{2028}"), "\\u{9b}31m\\u{202e}evil\\u{2028}");
    for code in 0..0x3000 {
        let Some(c) = char::from_u32(code) else { continue };
        let text = c.to_string();
        assert!(!harmless(&text).contains(is_harmful), "{code:x}");
    }
}

#[test]
fn widths_are_a_terminals() {
    assert_eq!(width("abc"), 3);
    assert_eq!(width("漢字"), 4);
    assert_eq!(width("e\u{301}"), 1);
    assert_eq!(width("🚢x"), 3);
    assert_eq!(width("…—é"), 3);
    assert_eq!(width(""), 0);
}

#[test]
fn cutting_never_takes_more_than_there_is() {
    assert_eq!(cut("abcdef", 6), "abcdef");
    assert_eq!(cut("abcdef", 5), "abcd…");
    // Half of a wide character is none.
    assert_eq!(cut("漢字漢字", 6), "漢字…");
    assert_eq!(cut("abc", 1), "…");
    assert_eq!(cut("abc", 0), "");
    for columns in 0..12 {
        assert!(width(&cut("a漢b字c🚢d", columns)) <= columns);
    }
}

#[test]
fn lines_are_broken_at_blanks() {
    assert_eq!(wrap("one two three", 8, 2), ["one two", "  three"]);
    assert_eq!(wrap("short", 80, 2), ["short"]);
    assert_eq!(wrap("", 80, 2), [""]);
    assert_eq!(wrap("abcdefghij", 4, 1), ["abcd", " efg", " hij"]);
    let text = "the quick 漢字 fox and a_word_that_is_longer_than_the_line over";
    for columns in 2..30 {
        let lines = wrap(text, columns, 4);
        assert!(lines.iter().all(|line| width(line) <= columns), "{columns}: {lines:?}");
        let squeeze = |text: &str| text.replace(' ', "");
        assert_eq!(squeeze(&lines.concat()), squeeze(text), "{columns}");
    }
}
