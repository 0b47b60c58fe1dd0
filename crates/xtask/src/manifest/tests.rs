use super::*;

#[test]
fn dependencies_of_every_spelling_are_found() {
    let text = r#"
[package]
name = "plimsoll-x"
[dependencies]
plimsoll-types.workspace = true
# plimsoll-wire.workspace = true
bytes = { version = "1", features = ["a"] }
[dependencies.slab]
workspace = true
features = ["std"]
[target.'cfg(target_os = "linux.x")'.dependencies]
libc = "0.2"
[build-dependencies]
cc = "1"
[dev-dependencies]
proptest.workspace = true
"#;
    let found: Vec<(String, Use)> = dependencies(text).into_iter().map(|d| (d.name, d.used)).collect();
    let expected = [
        ("plimsoll-types", Use::Normal),
        ("bytes", Use::Normal),
        ("slab", Use::Normal),
        ("libc", Use::Normal),
        ("cc", Use::Normal),
        ("proptest", Use::Dev),
    ];
    let expected: Vec<(String, Use)> =
        expected.iter().map(|(name, used)| ((*name).to_owned(), *used)).collect();
    assert_eq!(found, expected);
}

#[test]
fn entries_carry_section_and_line() {
    let found = entries("[lints]\n\nworkspace = true\n");
    let expected =
        Entry { section: "lints".to_owned(), key: "workspace".to_owned(), value: "true".to_owned(), line: 3 };
    assert_eq!(found, [expected]);
}
