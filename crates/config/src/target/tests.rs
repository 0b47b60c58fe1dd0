use std::path::Path;

use super::{Budget, TargetLine};
use crate::plan::Host;
use crate::{Change, Mistake, Plan, diff, load};

fn read(lines: &str) -> Result<Plan, Vec<Mistake>> {
    load(Path::new("a.ini"), &mut |_| Ok(format!("[pgbouncer]\n[targets]\n{lines}")))
}

fn line(host: &str, port: u16, budget: Option<Budget>, headroom: Option<u32>) -> TargetLine {
    TargetLine { host: host.to_string(), port, budget, headroom, credential: None }
}

#[test]
fn every_way_to_write_a_host_is_read() {
    let plan = read(
        "10.0.0.5:5432 = budget=26 headroom=2\n[::1]:5433 = budget=auto\n  [0:0:0::2]:5432=budget=off\n\
         Db.Example_1-x:5432 = headroom=0\n/tmp:5432 = budget=auto\n\"/my folder\"\"x:1\" = budget=1\n'[::3]:9' = budget=1000000\n\
         @abstract:5432 = budget=3\n",
    )
    .expect("good lines");
    let expected = [
        line("/my folder\"x", 1, Some(Budget::Max(1)), None),
        line("/tmp", 5432, Some(Budget::Auto), None),
        line("10.0.0.5", 5432, Some(Budget::Max(26)), Some(2)),
        line("::1", 5433, Some(Budget::Auto), None),
        line("::2", 5432, Some(Budget::Off), None),
        line("::3", 9, Some(Budget::Max(1_000_000)), None),
        line("@abstract", 5432, Some(Budget::Max(3)), None),
        line("db.example_1-x", 5432, None, Some(0)),
    ];
    assert_eq!(plan.targets, expected);
    let at = |index: usize| plan.place_of_target(&plan.targets[index]).expect("a place").line;
    assert_eq!((at(2), at(4), at(5)), (3, 5, 9));
}

#[test]
fn behind_an_address_in_brackets_sections_go_on() {
    let plan = read("[::1]:5432 = budget=3\n[plimsoll]\nworkers = 2\n[targets]\n[::2]:5432 = budget=4")
        .expect("good");
    assert_eq!((plan.targets.len(), plan.own.workers), (2, Some(2)));
    // Elsewhere such a line is no key.
    let mistakes = load(Path::new("a.ini"), &mut |_| Ok("[pgbouncer]\n10.0.0.5:5432 = x".to_string()));
    assert!(mistakes.expect_err("no key")[0].message.contains("syntax error"));
}

#[test]
fn a_line_that_says_nothing_or_the_same_twice_is_a_mistake() {
    for (line, message) in [
        ("h:1 =", "target h:1 says nothing: expected budget=, headroom= or credential="),
        ("h:1 = budget=5 budget=6", "target h:1 has budget= twice: once on each line"),
        ("h:1 = headroom=1 budget=6 headroom=1", "target h:1 has headroom= twice: once on each line"),
    ] {
        let mistakes = read(&format!("a:1 = budget=3\n{line}")).expect_err("a mistake");
        let told: Vec<_> = mistakes.iter().map(|mistake| (mistake.line, mistake.message.as_str())).collect();
        assert_eq!(told, [(4, message)]);
    }
    let mistakes = read("h!:1 = budget=5").expect_err("a mistake");
    let allowed = "letters, digits and _.-*:/@ (and an IPv6 address in brackets)";
    assert!(mistakes[0].line == 3 && mistakes[0].message.contains(allowed), "{mistakes:?}");
}

#[test]
fn an_included_file_goes_on_in_the_section() {
    let plan = load(Path::new("a.ini"), &mut |path| {
        Ok(match path == Path::new("a.ini") {
            true => "[pgbouncer]\n%include b.ini\n[::2]:1 = budget=2\n".to_string(),
            false => "[targets]\n[::1]:1 = budget=1\n".to_string(),
        })
    })
    .expect("good files");
    assert_eq!(plan.targets.len(), 2);
    assert_eq!(plan.place_of_target(&plan.targets[0]).map(ToString::to_string).as_deref(), Some("b.ini:2"));
    assert_eq!(plan.place_of_target(&plan.targets[1]).map(ToString::to_string).as_deref(), Some("a.ini:3"));
}

#[test]
fn lines_name_hosts_by_their_words() {
    let tcp = |host: &str, port| Host::Tcp { host: host.to_string(), port };
    let unix = |dir: &str, port| Host::Unix { dir: dir.into(), port };
    let cases = [
        ("10.0.0.5", tcp("10.0.0.5", 5432), true),
        ("10.0.0.5", tcp("10.0.0.5", 5433), false),
        ("::1", tcp("0::0:1", 5432), true),
        ("db", tcp("DB", 5432), true),
        ("db", tcp("10.0.0.5", 5432), false),
        ("/tmp", unix("/tmp/", 5432), true),
        ("/tmp", unix("/run", 5432), false),
        ("/tmp", tcp("/tmp", 5432), false),
        ("tmp", unix("tmp", 5432), false),
    ];
    for (host, other, expected) in cases {
        assert_eq!(line(host, 5432, None, None).names(&other), expected, "{host} {other:?}");
    }
}

#[test]
fn a_target_is_written_as_it_is_read() {
    for text in ["10.0.0.5:5432", "[::1]:5432", "db:1", "/tmp:5432"] {
        let plan = read(&format!("{text} = budget=3")).expect("a good line");
        assert_eq!(plan.targets[0].to_string(), text);
    }
    assert_eq!([Budget::Off, Budget::Auto, Budget::Max(3)].map(|b| b.to_string()), ["off", "auto", "3"]);
}

#[test]
fn changes_of_targets_are_settings_and_their_order_is_none() {
    let old = read("a:1 = budget=3\nb:1 = budget=4").expect("good");
    let moved = read("; a comment\nb:1 = budget=4\n\na:1 = budget=3").expect("good");
    assert_eq!(diff(&old, &moved), []);
    for lines in
        ["a:1 = budget=3", "a:1 = budget=3\nb:1 = budget=5", "a:1 = budget=3\nb:1 = budget=4 headroom=1"]
    {
        assert_eq!(diff(&old, &read(lines).expect("good")), [Change::Settings], "{lines}");
    }
}
