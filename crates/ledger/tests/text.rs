//! What holds for every text, however broken.

use plimsoll_ledger::text::{
    Cut, carries_credentials, escape, first_keyword, full, may_carry_credentials, redact, shape, tags,
    tags_of_ends,
};
use proptest::prelude::*;

/// Pieces that texts go wrong with.
const PIECES: [&str; 40] = [
    "'",
    "''",
    "\"",
    "\\",
    "$",
    "$$",
    "$a$",
    "$1",
    "E'",
    "U&'",
    "u&\"",
    "/*",
    "*/",
    "--",
    "\n",
    "\r",
    " ",
    "(",
    ")",
    "[",
    ",",
    ";",
    "::",
    "-",
    "+",
    "=",
    "1",
    "1e",
    ".",
    "0x",
    "a='b'",
    "a:b",
    "x.py:1",
    "%41",
    "é",
    "select",
    "set_config",
    "dblink",
    "alter role a",
    "password",
];

/// Texts of such pieces, with broken bytes between them.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// What nobody may see.
const MARKER: &str = "Zq9marker";

/// A string literal with the marker in it, in any notation.
fn marked() -> impl Strategy<Value = String> {
    let notations =
        prop::sample::select(&["'", "E'", "e'", "N'", "U&'", "X'", "b'", "$$", "$t$", "$été$"][..]);
    let inside = prop::sample::select(
        &["", " ", "--", "/*", "*/", ";", "\"", "\n", "$x", "1", "a:1", "a=\\'b\\'", "/*a=\\'b\\'*/"][..],
    );
    (notations, prop::collection::vec(inside, 0..6)).prop_map(|(open, inside)| {
        let inside = inside.concat();
        let (inside, close) = match open {
            "E'" | "e'" => (inside, "'"),
            "$$" | "$t$" | "$été$" => (inside, open),
            _ => (inside.replace('\\', "'"), "'"),
        };
        format!("{open}{inside}{MARKER}{inside}{close}")
    })
}

fn literal() -> impl Strategy<Value = String> {
    let plain = [
        "0",
        "17",
        "-3",
        "1.5e-7",
        ".5",
        "$4",
        "null",
        "TRUE",
        "'it''s'",
        "'a'\n  'b'",
        "0x1F",
        "1_000",
        "'1'::int",
    ];
    prop_oneof![prop::sample::select(plain.to_vec()).prop_map(str::to_string), marked()]
}

/// White space and comments, never nothing.
fn gap() -> impl Strategy<Value = String> {
    let gaps = [" ", "\n", "\t \r\n", "/**/", " /* ' */ ", " -- \"\n", "/* /* x */ $$ */"];
    prop::sample::select(gaps.to_vec()).prop_map(str::to_string)
}

/// A writing of a statement: `#` is a literal, a space is a gap, the case is any.
fn writing(pattern: &'static str) -> impl Strategy<Value = String> {
    (prop::collection::vec(literal(), 8), prop::collection::vec(gap(), 32), any::<u32>()).prop_map(
        move |(literals, gaps, upper)| {
            let (mut literals, mut gaps) = (literals.into_iter().cycle(), gaps.into_iter().cycle());
            let words = pattern.chars().enumerate().map(|(at, char)| match char {
                '#' => literals.next().expect("endless"),
                ' ' => gaps.next().expect("endless"),
                _ if upper >> (at % 32) & 1 == 1 => char.to_uppercase().to_string(),
                _ => char.to_string(),
            });
            words.collect()
        },
    )
}

const PATTERNS: [&str; 5] = [
    "select a , b from t where c = # and d in ( # , # , # )",
    "insert into t ( a , b ) values ( # , # ) , ( # , # )",
    "update t set a = # , b = coalesce( b , # ) where c between # and #",
    "select # , # from t limit # offset #",
    "delete from t where a < # or b = any ( array[ # , # ] )",
];

fn any_writing() -> impl Strategy<Value = String> {
    prop::sample::select(&PATTERNS[..]).prop_flat_map(writing)
}

fn two_writings() -> impl Strategy<Value = (String, String)> {
    prop::sample::select(&PATTERNS[..]).prop_flat_map(|pattern| (writing(pattern), writing(pattern)))
}

/// Everything that takes a text.
fn take_apart(text: &[u8]) {
    let tags = tags(text);
    assert!(tags.iter().count() <= 16);
    assert!(
        tags.iter().all(|(key, value)| (1..=64).contains(&key.len()) && (1..=256).contains(&value.len()))
    );
    assert!(tags.iter().zip(tags.iter().skip(1)).all(|((a, _), (b, _))| a < b));
    let shown =
        [redact(text, Cut::Whole), redact(text, Cut::Cut), full(text), escape(text), tags.to_string()];
    assert!(shown.iter().all(|shown| !shown.chars().any(char::is_control)));
    assert!(!carries_credentials(text) || may_carry_credentials(text));
    let _ = (shape(text), first_keyword(text));
}

proptest! {
    #[test]
    fn any_bytes_can_be_taken_apart(text in prop::collection::vec(any::<u8>(), 0..300)) {
        take_apart(&text);
    }

    #[test]
    fn every_beginning_and_every_end_can_be_taken_apart(text in hostile()) {
        for at in 0..=text.len() {
            take_apart(&text[..at]);
            let ends = tags_of_ends(&text[..at], &text[at..]);
            prop_assert!(ends.iter().count() <= 16);
        }
    }

    #[test]
    fn a_shape_does_not_depend_on_the_writing((one, other) in two_writings()) {
        prop_assert_eq!(shape(one.as_bytes()), shape(other.as_bytes()), "{}\n{}", one, other);
    }

    #[test]
    fn a_shape_depends_on_the_table(one in "[a-z]{1,20}", other in "[a-z]{1,20}", rest in any_writing()) {
        let is_value = |name: &str| matches!(name, "null" | "true" | "false");
        prop_assume!(one != other && !is_value(&one) && !is_value(&other));
        let of = |name: &str| shape(format!("SELECT x FROM {name} WHERE y = 1 AND EXISTS ({rest})").as_bytes());
        prop_assert_ne!(of(&one), of(&other));
    }

    #[test]
    fn nobody_sees_a_literal(text in any_writing(), cut in any::<prop::sample::Index>()) {
        prop_assert!(!redact(text.as_bytes(), Cut::Whole).contains(MARKER), "{}", text);
        let cut = &text.as_bytes()[..cut.index(text.len() + 1)];
        prop_assert!(!redact(cut, Cut::Cut).contains("Zq9m"), "{}", text);
    }

    #[test]
    fn a_literal_has_no_tags(literal in marked(), close in prop::sample::select(&["", " = a", ", 'b'", ";\n"][..])) {
        let literal = literal.replace(MARKER, "/*k:v*/");
        let text = format!("SELECT {literal}{close}");
        prop_assert!(tags(text.as_bytes()).is_empty(), "{}", text);
        prop_assert!(tags_of_ends(text.as_bytes(), text.as_bytes()).is_empty(), "{}", text);
    }

    #[test]
    fn tags_are_found_behind_any_literal(literal in marked()) {
        let text = format!("SELECT {literal} /*k='v'*/");
        prop_assert_eq!(tags(text.as_bytes()).to_string(), "k=v");
        prop_assert_eq!(tags_of_ends(&text.as_bytes()[..6], text.as_bytes()).to_string(), "k=v");
    }

    #[test]
    fn credentials_are_found_behind_anything(gap in gap(), before in literal(), other in gap()) {
        let text = format!("{gap}SELECT{gap}{before}{other};ALTER{other}ROLE{gap}a{other}PASSWORD 'x'");
        prop_assert!(carries_credentials(text.as_bytes()), "{}", text);
    }
}

/// A statement of a megabyte of anything costs no more than reading it a few times.
#[test]
fn a_megabyte_of_anything_can_be_taken_apart() {
    for piece in PIECES {
        take_apart(piece.repeat((1 << 20) / piece.len()).as_bytes());
    }
}
