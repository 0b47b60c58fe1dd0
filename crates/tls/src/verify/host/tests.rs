use super::*;

fn named(pattern: &str, host: &str) -> bool {
    matches(pattern, host, host.parse().ok())
}

#[test]
fn a_star_stands_for_one_label() {
    assert!(named("*.example.com", "db.example.com"));
    assert!(named("*.EXAMPLE.com", "db.example.COM"));
    // libpq accepts this too; nobody signs such a certificate.
    assert!(named("*.com", "example.com"));
    for host in ["example.com", ".example.com", "a.b.example.com", "dbexample.com", "db.example.com.", ""] {
        assert!(!named("*.example.com", host), "{host}");
    }
}

#[test]
fn a_star_elsewhere_is_a_letter() {
    for pattern in ["*", "*.", "d*.example.com", "db.*.com", "**.example.com", "*example.com"] {
        assert!(!named(pattern, "db.example.com"), "{pattern}");
    }
}

#[test]
fn addresses_are_not_matched_by_stars() {
    assert!(named("127.0.0.1", "127.0.0.1"));
    assert!(!named("*.0.0.1", "127.0.0.1"));
}
