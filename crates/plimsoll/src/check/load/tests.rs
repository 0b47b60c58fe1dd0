use super::*;

/// Loads the first of these files.
pub(in super::super) fn loaded(files: &[(&str, &str)]) -> Loaded {
    load(Path::new(files[0].0), &mut |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| text.to_string()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    })
}

fn ids(loaded: &Loaded) -> Vec<(&'static str, u32)> {
    loaded.findings.iter().map(|finding| (finding.id, finding.place.line)).collect()
}

#[test]
fn every_mistake_has_its_rule_and_its_line() {
    let text = "[pgbouncer]\nlisten_addr = *\npool_mod = session\nquery_timeout = 5m\nwhat is this\n%include no.ini\n\
                [databases]\nshop = host=h nope=1\n";
    let loaded = loaded(&[("a.ini", text)]);
    let expected =
        [("unknown-key", 3), ("invalid-value", 4), ("syntax", 5), ("file-missing", 6), ("unknown-key", 8)];
    assert_eq!(ids(&loaded), expected);
    assert!(loaded.findings.iter().all(|finding| finding.level == Level::Mistake));
    // The rest is judged all the same.
    let plan = loaded.plan.expect("four lines are right");
    assert_eq!(plan.general.listen_addr, ["*"]);
    assert!(plan.databases.is_empty());
}

#[test]
fn without_its_header_a_line_is_not_judged() {
    let loaded = loaded(&[("a.ini", "[pgbuncer]\nlisten_addr = *\n")]);
    assert!(loaded.plan.is_none());
    assert_eq!(ids(&loaded), [("unknown-section", 1), ("not-judged", 0)]);
}

#[test]
fn every_warning_has_its_rule() {
    let cases = [
        ("tcp_keepidle = 900", ("keepalive-too-long", 3)),
        ("listen_addr = *", ("key-set-twice", 3)),
        ("[pgbouncer]", ("section-twice", 3)),
        ("pkt_buf = 1", ("key-without-effect", 3)),
        ("auth_file = no.txt", ("auth-file-unreadable", 3)),
    ];
    for (line, expected) in cases {
        let text = format!("[pgbouncer]\nlisten_addr = *\n{line}\n");
        let loaded = loaded(&[("a.ini", &text)]);
        assert_eq!(ids(&loaded), [expected], "{line}: {:?}", loaded.findings);
        assert!(loaded.findings.iter().all(|finding| !finding.todo.is_empty()), "{line}");
    }
}

#[test]
fn a_broken_line_of_auth_file_is_named_in_that_file() {
    let loaded = loaded(&[
        ("a.ini", "[pgbouncer]\nlisten_addr = *\nauth_file = users.txt\n"),
        ("users.txt", "\"app\" \"hidden\"\nother hidden\n"),
    ]);
    assert_eq!(ids(&loaded), [("auth-file-line-broken", 2)]);
    assert_eq!(loaded.findings[0].place.file, Path::new("users.txt"));
    assert!(!loaded.findings[0].message.contains("hidden"));
    assert_eq!(loaded.files, [PathBuf::from("a.ini")]);
}

#[test]
fn a_missing_file_is_a_mistake_of_the_whole() {
    let loaded = load(Path::new("no.ini"), &mut |_: &Path| Err(std::io::ErrorKind::NotFound.into()));
    assert_eq!(ids(&loaded), [("file-missing", 0), ("not-judged", 0)]);
}
