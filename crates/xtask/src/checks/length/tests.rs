use super::*;
use crate::tree::tree_of;

/// A file with one function of so many lines of code.
fn function_of(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2))
}

fn check_with(lines: usize, ratchet: &str) -> Vec<String> {
    let tree = tree_of(&[("crates/pool/src/a.rs", &function_of(lines)), (PATH, ratchet)]);
    check(&tree).iter().map(ToString::to_string).collect()
}

#[test]
fn a_function_at_the_limit_is_fine_and_one_more_line_is_not() {
    assert_eq!(check_with(FUNCTION_LINES_MAX, ""), [""; 0]);
    let expected = "crates/pool/src/a.rs:1: crates/pool/src/a.rs::long has 71 lines of code, 70 are allowed";
    assert_eq!(check_with(FUNCTION_LINES_MAX + 1, ""), [expected]);
}

#[test]
fn a_file_is_measured_too() {
    let short_functions: String = (0..501).map(|i| format!("fn f{i}() {{}}\n")).collect();
    let found = check(&tree_of(&[("crates/pool/src/a.rs", &short_functions)]));
    assert_eq!(found.len(), 1);
}

#[test]
fn the_ratchet_allows_what_it_lists_and_no_more() {
    let ratchet = "# why\n90 crates/pool/src/a.rs::long\n";
    assert_eq!(check_with(90, ratchet), [""; 0]);
    assert_eq!(check_with(91, ratchet).len(), 1);
    let looser = check_with(89, ratchet);
    assert!(matches!(&looser[..], [one] if one.contains("tighten")), "{looser:?}");
    assert_eq!(check_with(60, ratchet).len(), 1, "an exception nobody needs has to go");
}

#[test]
fn a_ratchet_that_cannot_be_read_is_a_problem() {
    for broken in ["x a.rs", "12"] {
        assert_eq!(check_with(10, broken).len(), 1, "{broken}");
    }
}

#[test]
fn tightening_never_raises() {
    let ratchet = Ratchet::parse("90 a\n80 b\n75 c\n").expect("it is well formed");
    let now = |what: &str| match what {
        "a" => Some(85),
        "b" => Some(99),
        _ => None,
    };
    let lowered = ratchet.lowered(now);
    assert_eq!(lowered.entries().collect::<Vec<_>>(), [("a", 85), ("b", 80)]);
    assert_eq!(Ratchet::parse(&lowered.to_text()), Ok(lowered));
}
