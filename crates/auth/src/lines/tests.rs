use super::*;

fn all(line: &str) -> Vec<Token<'_>> {
    let mut tokens = Tokens::of(line);
    let mut all = Vec::new();
    while *tokens.current() != Token::End {
        all.push(tokens.take());
    }
    assert_eq!(tokens.take(), Token::End, "the end stays the end");
    assert_eq!(*tokens.current(), Token::End);
    all
}

#[test]
fn lines_fall_into_tokens() {
    use Token::{Comma, Unclosed, Word};
    let quoted = |text: &'static str| Token::Quoted(text.into());
    let table: [(&str, &[Token<'_>]); 14] = [
        ("", &[]),
        (" \t\r\n\x0b\x0c", &[]),
        ("# a \"b", &[]),
        ("a b", &[Word("a"), Word("b")]),
        ("a#b", &[Word("a")]),
        ("a,b , c", &[Word("a"), Comma, Word("b"), Comma, Word("c")]),
        ("\"\"", &[quoted("")]),
        ("\"a # , b\"", &[quoted("a # , b")]),
        ("\"a\"\"b\"", &[quoted("a\"b")]),
        ("\"\"\"\"\"\"", &[quoted("\"\"")]),
        ("a\"b\"c", &[Word("a"), quoted("b"), Word("c")]),
        ("\"a\" \"b", &[quoted("a"), Unclosed]),
        ("\"a\"\"", &[Unclosed]),
        ("\u{e9}\u{a0}\u{e9} \\", &[Word("\u{e9}\u{a0}\u{e9}"), Word("\\")]),
    ];
    for (line, expected) in table {
        assert_eq!(all(line), expected, "{line:?}");
    }
}

#[test]
fn the_rest_is_what_is_behind_the_token_in_sight() {
    let mut tokens = Tokens::of("a  b,c # d");
    assert_eq!(tokens.rest(), "  b,c # d");
    assert!(!tokens.eat(&Token::Word("b")));
    assert!(tokens.eat(&Token::Word("a")));
    assert_eq!(tokens.rest(), ",c # d");
}
