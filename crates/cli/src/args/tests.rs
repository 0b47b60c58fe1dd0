use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    ask: Ask,
}

fn parse(line: &str) -> Result<Ask, clap::Error> {
    Line::try_parse_from(format!("plimsoll {line}").split(' ')).map(|line| line.ask)
}

fn table(line: &str) -> TableArgs {
    match parse(line) {
        Ok(
            Ask::Sites(table)
            | Ask::Holds { table, .. }
            | Ask::Leaks { table, .. }
            | Ask::Clients { table, .. },
        ) => table,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn options_are_read() {
    let args = table("sites --config a.ini --json --wide --database d* --user u --app a --site 7 --limit 3");
    assert_eq!(args.place.config, Some("a.ini".into()));
    assert!(args.look.json && args.wide);
    let pick = args.pick;
    assert_eq!(pick.whose.database.as_deref(), Some("d*"));
    assert_eq!(pick.whose.user.as_deref(), Some("u"));
    assert_eq!(pick.whose.app.as_deref(), Some("a"));
    assert_eq!(pick.whose.site.as_deref(), Some("7"));
    assert_eq!(pick.limit, NonZeroUsize::new(3));
}

#[test]
fn watching_has_a_pace() {
    assert_eq!(table("holds").look.watch, None);
    assert_eq!(table("holds --watch").look.watch, Some(Duration::from_secs(2)));
    assert_eq!(table("holds --watch 0.5").look.watch, Some(Duration::from_millis(500)));
    assert_eq!(table("holds --watch --json").look.watch, Some(Duration::from_secs(2)));
    for bad in ["0", "-1", "x", "nan", "inf", "1e9"] {
        assert!(parse(&format!("holds --watch={bad}")).is_err(), "{bad}");
    }
}

#[test]
fn keys_of_groups_are_a_list() {
    let by = |line: &str| match parse(line) {
        Ok(Ask::Clients { by, .. }) => by,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(by("clients"), []);
    assert_eq!(by("clients --by app,host,site"), [By::App, By::Host, By::Site]);
    let words = parse("clients --by colour").expect_err("no such key").to_string();
    assert!(words.contains("app") && words.contains("host"), "{words}");
}

#[test]
fn why_takes_numbers_only() {
    for good in ["12", "0x2a", "0"] {
        assert!(parse(&format!("why {good}")).is_ok(), "{good}");
    }
    for bad in ["", "x", "0x", "0xzz", "-1", "+1", "0x+1", "1;SHUTDOWN", "99999999999999999999"] {
        assert!(parse(&format!("why {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn what_excludes_each_other_is_told() {
    for line in [
        "holds --join --full",
        "leaks --check --watch",
        "holds --config a --url b",
        "doctor --app x",
        "sites --limit 0",
        "holds --database=",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
}

#[test]
fn each_help_has_an_example() {
    for word in [
        "diff",
        "snapshot",
        "snapshots",
        "doctor",
        "holds",
        "waiters",
        "sites",
        "leaks",
        "pins",
        "history",
        "backends",
        "clients",
        "trend",
        "why",
    ] {
        let help = parse(&format!("{word} --help")).expect_err("help").to_string();
        assert!(help.contains("Example") && help.contains(&format!("plimsoll {word}")), "{help}");
    }
}

#[test]
fn a_diff_has_files_or_a_time() {
    let diff = |line: &str| match parse(line) {
        Ok(Ask::Diff(args)) => args,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(diff("diff a.json b.json c.json").files.len(), 3);
    for (text, seconds) in [("90", 90), ("90s", 90), ("15min", 900), ("1h", 3600), ("2d", 172_800)] {
        let since = diff(&format!("diff --since {text}")).since;
        assert_eq!(since, Some(Duration::from_secs(seconds)), "{text}");
    }
    for bad in [
        "diff",
        "diff a b c d",
        "diff a --since 1h",
        "diff --since 0",
        "diff --since 1y",
        "diff --since -1h",
        "diff --since 99999999999999999999d",
        "diff --since 9999999999999999999d",
        "snapshot a b",
    ] {
        assert_eq!(parse(bad).expect_err(bad).exit_code(), 2, "{bad}");
    }
}
