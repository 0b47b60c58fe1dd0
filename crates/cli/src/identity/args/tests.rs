use clap::Parser;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::*;

#[derive(Parser, Debug)]
struct Line {
    #[command(subcommand)]
    manage: Manage,
}

fn parsed(line: &str) -> Result<Manage, clap::Error> {
    let words = format!("plimsoll {line}");
    Line::try_parse_from(words.split(' ')).map(|line| line.manage)
}

#[test]
fn every_verb_is_understood() {
    for line in [
        "org create --name acme",
        "org list --state active --all",
        "org set acme --name acme2",
        "org delete acme --yes",
        "app create --org acme --name web --third-party --redirect-uri https://a/b --redirect-uri https://a/c",
        "app set web --party third --no-redirect-uris",
        "dataset create --org acme --name orders --database shop --schema public",
        "dataset set orders --no-schema",
        "user create --org acme --login ada --scope org-admin,authorize",
        "user set ada --no-scopes",
        "user password ada",
        "user password ada --remove --yes",
        "user disable ada",
        "grant create --app web --dataset orders --role r --clients 3 --holds none --weight 2 --expires 90d --shared",
        "grant create --user ada --dataset orders --role r",
        "grant set grt_1 --shared no --statement none",
        "grant list --app web --dataset orders --org acme",
        "key create --app web --env test --expires 2026-12-31 --scope admin --quiet",
        "key create --app web --public-key a.jwk",
        "key rotate 0a1B2c3D4e5F6g7H --overlap 0 --yes",
        "key revoke 0a1B2c3D4e5F6g7H",
        "audit --since 1h --object org_1 --actor init --follow",
        "authorize --app web --dataset orders --action export",
    ] {
        if let Err(error) = parsed(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_status_2() {
    for line in [
        "org create",
        "org list --limit 0",
        "org list --limit 5 --all",
        "app create --name web",
        "app set web --no-redirect-uris --redirect-uri https://a",
        "grant create --dataset orders --role r",
        "grant create --app web --user ada --dataset orders --role r",
        "grant create --app web --dataset orders --role r --clients 0",
        "grant create --app web --dataset orders --role r --statement soon",
        "grant create --app web --dataset orders --role r --expires yesterday",
        "key create --app web --public-key a --certificate b",
        "key create --app web --scope everything",
        "key create --app web --quiet --json",
        "key delete 0a1B2c3D4e5F6g7H",
        "authorize --dataset orders",
        "authorize --app web --user ada --dataset orders",
        "org show",
    ] {
        match parsed(line) {
            Ok(manage) => panic!("{line}: {manage:?}"),
            Err(error) => assert_eq!(error.exit_code(), 2, "{line}"),
        }
    }
}

#[test]
fn the_end_of_something_is_a_time_a_day_or_a_moment() {
    let now = Timestamp::from_second(1_795_305_600).expect("2026-11-22 00:00 UTC");
    let zone = TimeZone::fixed(jiff::tz::offset(2));
    let ends = |text: &str| {
        let expires = values::parse_expires(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        expires
            .value(now, &zone)
            .ok()
            .map(|value| value.as_i64().map(|ms| (ms - now.as_millisecond()) / 1_000))
    };
    assert_eq!(ends("never"), Some(None));
    assert_eq!(ends("90d"), Some(Some(90 * 86_400)));
    assert_eq!(ends("2026-11-23"), Some(Some(86_400 - 7_200)));
    assert_eq!(ends("2026-11-23T12:30"), Some(Some(86_400 + 45_000 - 7_200)));
    assert_eq!(ends("2026-11-22T00:00:01Z"), Some(Some(1)));
    assert_eq!((ends("2026-11-21"), ends("2026-11-22T00:00:00Z")), (None, None));
    for bad in ["", "soon", "0d", "-1d", "2026-13-01", "90"] {
        let parsed = values::parse_expires(bad);
        assert!(parsed.is_err() || bad == "90", "{bad}: {parsed:?}");
    }
}

#[test]
fn limits_are_numbers_times_or_none() {
    assert_eq!(values::count("7"), Ok(Value::from(7)));
    assert_eq!(values::count("none"), Ok(Value::Null));
    assert!(values::count("0").is_err() && values::count("-1").is_err() && values::count("x").is_err());
    assert_eq!(values::time_ms("500ms"), Ok(Value::from(500)));
    assert_eq!(values::time_ms("5min"), Ok(Value::from(300_000)));
    assert_eq!(values::time_ms("none"), Ok(Value::Null));
    assert!(values::time_ms("0ms").is_err() && values::time_ms("").is_err());
    assert_eq!(values::overlap("0"), Ok(Duration::ZERO));
    assert_eq!(values::overlap("1h"), Ok(Duration::from_secs(3_600)));
}
