use super::*;

#[test]
fn comments_become_blanks_and_literals_are_filled() {
    let cases = [
        ("let a = 1; // fn x() {", "let a = 1;            "),
        ("a /* { /* } */ { */ b", "a                   b"),
        (r#"f("a \" { //", 'x')"#, r#"f("~~~~~~~~~", '~')"#),
        (r##"r#"a " {"# + br"\""##, r##"r#"~~~~~"# + br"~""##),
        (r"let c = '\''; let d = '{';", "let c = '~~'; let d = '~';"),
        ("fn f<'a>(x: &'a str) -> &'a u8", "fn f<'a>(x: &'a str) -> &'a u8"),
        (r"'\u{7b}' b'\\' '{'", "'~~~~~~' b'~~' '~'"),
        ("var\"", "var\""),
    ];
    for (text, expected) in cases {
        assert_eq!(mask(text), expected, "{text}");
    }
}

#[test]
fn masking_keeps_every_line_and_byte_in_place() {
    let text = "// ä€\nlet s = \"ö\nü\"; /* \n */ let t = 'é';\n";
    let masked = mask(text);
    assert_eq!(masked.len(), text.len());
    assert_eq!(masked.lines().count(), text.lines().count());
    assert_eq!(code_lines(&masked), 3);
}

#[test]
fn functions_are_measured_in_lines_of_code() {
    let text = "
/// Doc with a brace {
pub fn first(a: [u8; 4], f: fn(u32) -> u32) -> [u8; 2] {
    // Not counted.

    if a[0] == b'}' { f(1); }
    fn inner() {}
    [0; 2]
}
trait T { fn declared(&self) -> [u8; 2]; fn given(&self) {} }
";
    let found: Vec<(String, usize, usize)> =
        functions(&mask(text)).into_iter().map(|f| (f.name, f.line, f.code_lines)).collect();
    let expected = [("first", 3, 5), ("inner", 7, 1), ("given", 10, 1)];
    let expected: Vec<(String, usize, usize)> =
        expected.iter().map(|(name, line, lines)| ((*name).to_owned(), *line, *lines)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_function_that_never_ends_is_passed_over() {
    assert_eq!(functions("fn broken( {{{ "), []);
    assert_eq!(functions("fn open() { {"), []);
    assert_eq!(functions("fn"), []);
}

#[test]
fn what_is_gated_for_tests_disappears() {
    let text =
        "use a;\n#[cfg(test)]\nmod tests;\nfn kept() {}\n#[cfg(test)]\nmod t { fn gone() {} }\nstruct S;\n";
    let left = without_tests(&mask(text));
    assert!(left.contains("kept") && left.contains("struct S") && left.contains("use a"), "{left}");
    assert!(!left.contains("gone") && !left.contains("mod"), "{left}");
    assert_eq!(left.len(), text.len());
}

#[test]
fn words_are_found_whole() {
    let places: Vec<usize> = find_word("fs::a offs::b fs::c", "fs::").collect();
    assert_eq!(places, [0, 14]);
    let places: Vec<usize> = find_word("Instant::now Instant::nowhere", "Instant::now").collect();
    assert_eq!(places, [0]);
}
