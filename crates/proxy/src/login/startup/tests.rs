use plimsoll_config::General;

use super::*;

fn general() -> General {
    General {
        ignore_startup_parameters: vec!["extra_float_digits".to_string(), "search_path".to_string()],
        track_extra_parameters: vec!["IntervalStyle".to_string()],
        ..General::default()
    }
}

fn read_with(general: General, minor: u16, pairs: &[(&str, &str)]) -> Result<Wanted, Refusal> {
    let mut bytes = Vec::new();
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
        }
    }
    let plan = Plan { general, ..Plan::default() };
    let tracked = Tracked::new(&plan.general.track_extra_parameters);
    let peer = Peer::Tcp("10.1.2.3:5000".parse().expect("an address"));
    read(minor, startup::Params(&bytes), &tracked, &plan, &peer)
}

fn read_pairs(pairs: &[(&str, &str)]) -> Result<Wanted, Refusal> {
    read_with(general(), 0, pairs)
}

fn cause(pairs: &[(&str, &str)]) -> Cause {
    read_pairs(pairs).expect_err("a refusal").cause
}

fn value(wanted: &Wanted, name: &str) -> Option<String> {
    let tracked = Tracked::new(&general().track_extra_parameters);
    let index = tracked.index(name.as_bytes()).expect("a tracked name");
    wanted.params.values[index].as_deref().map(str::to_string)
}

#[test]
fn the_database_is_named_like_the_user_unless_said_otherwise() {
    let wanted = read_pairs(&[("user", "ann")]).expect("good");
    assert_eq!((wanted.user.as_str(), wanted.database.as_str()), ("ann", "ann"));
    let wanted = read_pairs(&[("database", "shop"), ("user", "ann")]).expect("good");
    assert_eq!(wanted.database, "shop");
    let wanted = read_pairs(&[("database", ""), ("user", "ann")]).expect("good");
    assert_eq!(wanted.database, "ann");
}

#[test]
fn users_must_be_there_and_short() {
    assert_eq!(cause(&[("database", "x")]), Cause::NoUser);
    assert_eq!(cause(&[("user", "")]), Cause::NoUser);
    assert_eq!(cause(&[("user", &"u".repeat(128))]), Cause::UserTooLong);
    assert!(read_pairs(&[("user", &"u".repeat(127))]).is_ok());
}

#[test]
fn tracked_values_are_taken_and_ignored_ones_are_dropped() {
    let pairs = [
        ("user", "ann"),
        ("timezone", "UTC"),
        ("intervalstyle", "iso_8601"),
        ("application_name", "psql"),
        ("extra_float_digits", "3"),
    ];
    let wanted = read_pairs(&pairs).expect("good");
    assert_eq!(value(&wanted, "TimeZone").as_deref(), Some("UTC"));
    assert_eq!(value(&wanted, "IntervalStyle").as_deref(), Some("iso_8601"));
    assert_eq!(value(&wanted, "application_name").as_deref(), Some("psql"));
    assert_eq!(value(&wanted, "DateStyle"), None);
}

#[test]
fn unknown_parameters_are_refused_with_their_name_and_logged_with_their_value() {
    let refusal = read_pairs(&[("user", "ann"), ("work_mem", "1GB")]).expect_err("a refusal");
    assert_eq!(refusal.cause, Cause::UnsupportedStartupParameter { name: "work_mem".into() });
    assert_eq!(refusal.log.as_deref(), Some("unsupported startup parameter: work_mem=1GB"));
}

#[test]
fn what_asks_for_replication_goes_on_as_it_came() {
    for off in ["false", "off", "no", "0", "OFF"] {
        let wanted = read_pairs(&[("user", "ann"), ("replication", off)]).expect("good");
        assert_eq!(wanted.wishes, None, "{off}");
    }
    for neither in ["", "perhaps"] {
        let expected = Cause::UnsupportedStartupParameter { name: "replication".into() };
        assert_eq!(cause(&[("user", "ann"), ("replication", neither)]), expected, "{neither}");
    }
    // Options before the word that changes how they are read.
    let pairs = [
        ("user", "ann"),
        ("options", "-c work_mem=1MB -d 2"),
        ("database", "shop"),
        ("search_path", "a"),
        ("replication", "database"),
        ("application_name", "standby"),
        ("_pq_.x", "1"),
    ];
    let wanted = read_pairs(&pairs).expect("good");
    let wishes = wanted.wishes.as_ref().expect("replication");
    assert_eq!(wishes.kind, Kind::Logical);
    let sent: Vec<_> = wishes.startup.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected: [(&[u8], &[u8]); 3] =
        [(b"options", b"-c work_mem=1MB -d 2"), (b"search_path", b"a"), (b"application_name", b"standby")];
    assert_eq!(sent, expected);
    assert_eq!(value(&wanted, "application_name").as_deref(), Some("standby"));
    let physical = read_pairs(&[("user", "ann"), ("replication", "1")]).expect("good");
    assert_eq!(physical.wishes.map(|wishes| wishes.kind), Some(Kind::Physical));
}

#[test]
fn options_of_the_protocol_are_collected() {
    let pairs = [("user", "ann"), ("_pq_.compression", "zstd"), ("_pq_.x", "")];
    let wanted = read_with(general(), 2, &pairs).expect("good");
    assert_eq!(wanted.minor, 2);
    assert_eq!(wanted.unknown_options, [b"_pq_.compression".to_vec(), b"_pq_.x".to_vec()]);
}

#[test]
fn options_bring_tracked_values_and_nothing_unknown() {
    let wanted =
        read_pairs(&[("user", "ann"), ("options", r"-c datestyle=ISO,\ DMY --search_path=x")]).expect("good");
    assert_eq!(value(&wanted, "DateStyle").as_deref(), Some("ISO, DMY"));
    let unknown = [("user", "ann"), ("options", "-c work_mem=1GB")];
    assert_eq!(cause(&unknown), Cause::UnsupportedOption { name: "work_mem".into() });
    assert_eq!(cause(&[("user", "ann"), ("options", "-d 1")]), Cause::UnsupportedOptions);
}

#[test]
fn options_that_are_ignored_still_bring_tracked_values() {
    let mut general = general();
    general.ignore_startup_parameters.push("options".to_string());
    let pairs = [("user", "ann"), ("options", "-c work_mem=1GB -c timezone=CET -d 1")];
    let wanted = read_with(general, 0, &pairs).expect("good");
    assert_eq!(value(&wanted, "TimeZone").as_deref(), Some("CET"));
}

#[test]
fn the_host_goes_into_the_application_name() {
    let with_host = || General { application_name_add_host: true, ..general() };
    let named = read_with(with_host(), 0, &[("user", "ann"), ("application_name", "psql")]).expect("good");
    assert_eq!(value(&named, "application_name").as_deref(), Some("psql - 10.1.2.3:5000"));
    let nameless = read_with(with_host(), 0, &[("user", "ann")]).expect("good");
    assert_eq!(value(&nameless, "application_name").as_deref(), Some("app - 10.1.2.3:5000"));
}
