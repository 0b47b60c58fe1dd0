use super::*;
use crate::tree::tree_of;

fn problems_of(name: &str, dependencies: &str) -> Vec<String> {
    let path = format!("crates/{name}/Cargo.toml");
    check(&tree_of(&[(&path, dependencies)])).iter().map(ToString::to_string).collect()
}

#[test]
fn arrows_that_point_down_are_fine() {
    assert_eq!(problems_of("session", "[dependencies]\nplimsoll-wire.workspace = true\n"), [""; 0]);
    assert_eq!(
        problems_of("proxy", "[dependencies]\nplimsoll-pool.workspace = true\ntokio = \"1\"\n"),
        [""; 0]
    );
    assert_eq!(problems_of("pool", "[dev-dependencies]\nproptest.workspace = true\n"), [""; 0]);
    assert_eq!(problems_of("plimsoll", "[dev-dependencies]\nplimsoll-testkit.workspace = true\n"), [""; 0]);
}

#[test]
fn arrows_that_point_up_or_aside_are_not() {
    let cases = [
        ("types", "[dependencies]\nplimsoll-wire.workspace = true\n", "arrows point down only"),
        ("pool", "[dependencies]\nplimsoll-session.workspace = true\n", "arrows point down only"),
        ("lab", "[dependencies]\nplimsoll-proxy.workspace = true\n", "arrows point down only"),
        ("plimsoll", "[dependencies]\nplimsoll-testkit.workspace = true\n", "is for tests"),
        ("pool", "[dev-dependencies]\nplimsoll-proxy.workspace = true\n", "up or aside"),
        ("wire", "[dependencies]\nplimsoll-nowhere.workspace = true\n", "no crate of the house"),
    ];
    for (name, text, expected) in cases {
        let found = problems_of(name, text);
        assert!(matches!(&found[..], [one] if one.contains(expected)), "{name}: {found:?}");
    }
}

#[test]
fn decisions_have_no_effects() {
    let found = problems_of("session", "[dependencies]\ntokio.workspace = true\n");
    assert_eq!(
        found,
        [
            "crates/session/Cargo.toml:2: session decides and does nothing else: tokio belongs to proxy or above"
        ]
    );
    // One that only decides may know rustls: whose configurations it makes.
    assert_eq!(problems_of("tls", "[dependencies]\nrustls.workspace = true\n"), [""; 0]);
    assert_eq!(problems_of("auth", "[dependencies]\nrustls.workspace = true\n").len(), 1);
    assert_eq!(problems_of("tls", "[dependencies]\ntokio.workspace = true\n").len(), 1);
    assert_eq!(problems_of("proxy", "[dependencies]\nserde_json = \"1\"\n").len(), 1);
    assert_eq!(problems_of("xtask", "[dependencies]\nserde = \"1\"\n").len(), 1);
}

#[test]
fn a_crate_without_a_place_is_a_problem() {
    assert_eq!(problems_of("attic", "").len(), 1);
}

#[test]
fn the_table_itself_points_down() {
    let rank = |layer: Layer| match layer {
        Layer::L0 => 0,
        Layer::L1 => 1,
        Layer::L2 => 2,
        Layer::L3 => 3,
        Layer::L4 | Layer::Dev => 4,
    };
    for place in &HOUSE {
        for name in place.may_use {
            let target = super::place(name).expect("it is in the table");
            let words_on_words = place.layer == Layer::L0 && *name == "types";
            let admin_on_proxy = rank(target.layer) < rank(place.layer);
            assert!(words_on_words || admin_on_proxy, "{} -> {name}", place.name);
        }
    }
}
