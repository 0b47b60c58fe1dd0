mod compared;

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000_000;

/// 2026-11-21 14:00:00 UTC.
fn two_o_clock() -> Wall {
    Wall::parse("2026-11-21T14:00:00.000000Z").expect("a time")
}

fn at(minutes: i64) -> Wall {
    two_o_clock().plus(minutes * MINUTE)
}

fn site(number: u64, tags: &[(&str, &str)], first_seen: Wall) -> SiteState {
    SiteState {
        site: format!("{number:016x}"),
        application: "shop-api".to_string(),
        tags: tags.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect(),
        statement: Some("SELECT ?".to_string()),
        first_seen,
        last_seen: first_seen,
        holds: 3,
        held_seconds: 7,
    }
}

/// A hold of a site, granted and last used at these minutes.
fn held(hold: u64, site: u64, granted: i64, used: i64) -> Held {
    Held {
        hold,
        server: hold,
        pid: 4000,
        database: "shop".to_string(),
        role: "app".to_string(),
        user: "app".to_string(),
        application: "shop-api".to_string(),
        host: "10.0.0.5".to_string(),
        port: 40_000,
        client: hold,
        state: "idle in transaction".to_string(),
        pins: vec!["transaction".to_string()],
        granted: at(granted),
        used: at(used),
        statements: 1,
        site: format!("{site:016x}"),
        verdict: "ok".to_string(),
        rule: String::new(),
        statement: None,
    }
}

/// Taken so many minutes after two o'clock, by a pooler that started at noon.
fn snapshot(minutes: i64, sites: Vec<SiteState>, holds: Vec<Held>) -> Snapshot {
    Snapshot {
        head: Head {
            instance: "00000000000000aa".to_string(),
            version: "0.1.0".to_string(),
            why: Reason::Interval.as_str().to_string(),
            taken: at(minutes),
            started: at(-120),
            listen: Vec::new(),
            ledger: Recorded::On,
            holds_left_out: 0,
            sites_left_out: 0,
        },
        pools: vec![PoolState {
            database: "shop".to_string(),
            role: "app".to_string(),
            size: 26,
            held: u32::try_from(holds.len()).expect("few"),
            unrecorded: 0,
            idle: 1,
            waiting: 0,
            oldest_wait_us: 0,
        }],
        sites,
        holds,
    }
}

/// What is said of two whole snapshots.
fn said_of(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let caveats = Caveats { scope: Scope::All, doubts: doubts(&[before, after]) };
    sentences(before, after, &diff(before, after), &caveats)
}

fn numbers(range: std::ops::Range<u64>, site: u64, granted: i64, used: i64) -> Vec<Held> {
    range.map(|hold| held(hold, site, granted, used)).collect()
}

#[test]
fn times_are_days_of_the_calendar() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00", 0),
        ("1972-02-29T12:00:00", 68_212_800),
        ("2000-02-29T23:59:59", 951_868_799),
        ("2000-03-01T00:00:00", 951_868_800),
        ("2026-11-21T14:02:03", 1_795_269_723),
        ("2100-03-01T00:00:00", 4_107_542_400),
        ("9999-12-31T23:59:59", 253_402_300_799_i64),
    ] {
        let wall = Wall::from_micros(seconds * 1_000_000 + 5);
        assert_eq!(wall.to_string(), format!("{text}.000005Z"));
        assert_eq!(Wall::parse(&wall.to_string()), Some(wall));
    }
    for bad in [
        "",
        "2026-11-21T14:02:03Z",
        "2026-11-31T14:02:03.000000Z",
        "2100-02-29T00:00:00.000000Z",
        "1969-12-31T23:59:59.000000Z",
        "2026-13-01T00:00:00.000000Z",
        "2026-11-21T24:00:00.000000Z",
        "2026-11-21T+4:02:03.000000Z",
        "2026-11-21 14:02:03.000000Z",
        "２026-11-21T14:02:03.0000Z",
    ] {
        assert_eq!(Wall::parse(bad), None, "{bad}");
    }
    assert_eq!(Wall::from_micros(-5), Wall::from_micros(0));
    assert_eq!(Wall::from_micros(i64::MAX).to_string(), "9999-12-31T23:59:59.999999Z");
}

proptest! {
    #[test]
    fn every_time_is_read_as_it_was_written(micros in 0..253_402_300_800_000_000_i64) {
        let wall = Wall::from_micros(micros);
        prop_assert_eq!(Wall::parse(&wall.to_string()), Some(wall));
    }

    #[test]
    fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn a_damaged_document_is_read_or_refused(place in 0..2000_usize, byte in any::<u8>()) {
        let mut bytes = snapshot(0, vec![site(7, &[("route", "/a")], at(0))], numbers(1..4, 7, 0, 0)).text().into_bytes();
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(read) = read(&bytes) {
            diff(&read, &read);
            leftovers(&read, &read, &read);
            prop_assert!(!said_of(&read, &read).is_empty());
            doubts(&[&read]);
        }
    }
}

#[test]
fn a_document_has_one_hold_on_a_line_and_is_read_as_it_was() {
    let snapshot = snapshot(5, vec![site(7, &[("route", "/orders")], at(1))], numbers(1..4, 7, 1, 2));
    let text = snapshot.text();
    assert_eq!(read(text.as_bytes()), Ok(snapshot));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("{\"plimsoll_snapshot\":1,\"head\":{\"instance\":\"00000000000000aa\""),
        "{}",
        lines[0]
    );
    assert_eq!(lines.iter().filter(|line| line.starts_with("{\"hold\":")).count(), 3);
    assert!(lines.iter().any(|line| line.contains("\"tags\":{\"route\":\"/orders\"}")));
}

#[test]
fn what_a_newer_program_has_added_does_not_matter() {
    let snapshot = snapshot(5, vec![site(7, &[], at(1))], numbers(1..3, 7, 1, 2));
    let newer = snapshot
        .text()
        .replace("{\"hold\":", "{\"colour\":[{\"a\":1}],\"hold\":")
        .replace("\"pools\":", "\"more\":{},\"pools\":");
    assert_eq!(read(newer.as_bytes()), Ok(snapshot));
}

#[test]
fn what_is_no_snapshot_is_told_with_the_place() {
    let good = snapshot(5, vec![site(7, &[], at(1))], numbers(1..3, 7, 1, 2)).text();
    let told = |text: &str| read(text.as_bytes()).expect_err("no snapshot").to_string();
    assert_eq!(told(" \n"), "it is empty");
    assert!(
        told("hello").starts_with("it is not a snapshot: expected value at line 1 column 1"),
        "{}",
        told("hello")
    );
    assert!(told("[1]").contains("it has no \"plimsoll_snapshot\""));
    assert!(told("{}").contains("it has no \"plimsoll_snapshot\""));
    assert!(told("{\"plimsoll_snapshot\":2}").contains("format 2, and this program knows format 1"));
    let damaged = told(&good.replace("\"hold\":2", "\"hold\":-2"));
    assert!(damaged.contains("damaged") && damaged.contains("line 10 column"), "{damaged}");
    assert_eq!(read(&[b'{', 0xff]), Err(Unreadable::NotText { at: 1 }));
    assert_eq!(
        read(&vec![b' '; SNAPSHOT_BYTES_MAX + 1]),
        Err(Unreadable::TooBig { bytes: SNAPSHOT_BYTES_MAX + 1 })
    );
    let deep = "[".repeat(100_000);
    assert!(read(format!("{{\"plimsoll_snapshot\":1,\"x\":{deep}").as_bytes()).is_err());
    let trimmed = good.trim_end();
    for end in 1..trimmed.len() {
        let cut = read(&trimmed.as_bytes()[..end]).expect_err("it is cut off");
        assert!(matches!(cut, Unreadable::CutOff { .. }), "{end}: {cut}");
    }
}

#[test]
fn hostile_text_is_made_harmless_and_short() {
    let long = "x".repeat(10_000);
    let mut hostile = held(1, 7, 0, 0);
    hostile.application = format!("\u{1b}[2J{long}");
    hostile.state = "\u{202e}evil\n".to_string();
    let mut mine = snapshot(0, vec![site(7, &[("route\u{7}", &long)], at(0))], vec![hostile]);
    mine.sites[0].statement = Some(long);
    let read = read(mine.text().as_bytes()).expect("a document");
    let text = read.text();
    assert!(!text.contains('\u{202e}') && !text.contains("\\u001b"), "{text}");
    assert!(
        read.holds[0].application.starts_with("\\x1b[2Jxxx")
            && read.holds[0].application.len() <= TEXT_BYTES_MAX
    );
    assert!(text.len() < 4000, "{}", text.len());
    mine.bound();
    assert!(mine.text().len() < 4000);
}

#[test]
fn what_has_no_room_is_counted() {
    let many = u64::try_from(SNAPSHOT_HOLDS_MAX).expect("it fits") + 5;
    let mut snapshot = snapshot(0, Vec::new(), numbers(0..many, 7, 0, 0));
    snapshot.holds.last_mut().expect("many").granted = at(-1);
    snapshot.bound();
    assert_eq!((snapshot.holds.len(), snapshot.head.holds_left_out), (SNAPSHOT_HOLDS_MAX, 5));
    assert_eq!(snapshot.holds[0].hold, many - 1, "the oldest are kept");
    for held in &mut snapshot.holds {
        held.statement = Some("é".repeat(TEXT_BYTES_MAX * 4));
    }
    let text = snapshot.text();
    assert!(text.len() <= SNAPSHOT_BYTES_MAX);
    let read = read(text.as_bytes()).expect("it can be read again");
    assert_eq!(read.holds.len() as u64 + read.head.holds_left_out, many);
}

#[test]
fn statements_are_for_those_who_may_see_them() {
    let mut mine = snapshot(0, vec![site(7, &[], at(0))], vec![held(1, 7, 0, 0)]);
    mine.holds[0].statement = Some("SELECT ?".to_string());
    assert!(mine.text().contains("SELECT"));
    assert!(!mine.without_statements().text().contains("SELECT"));
}

#[test]
fn holds_are_new_released_or_kept_and_used_or_not() {
    let before = snapshot(0, vec![site(7, &[], at(-5))], numbers(1..5, 7, -5, -4));
    let mut holds = numbers(2..5, 7, -5, -4);
    holds[0].used = at(9);
    holds[1].statements = 2;
    holds.push(held(9, 8, 6, 6));
    let after = snapshot(10, vec![site(7, &[], at(-5)), site(8, &[], at(5))], holds);
    let diff = diff(&before, &after);
    assert_eq!(diff.runs, Runs::Same);
    let all = Counts { before: 4, after: 4, new: 1, released: 1, used: 2, unused: 1, unrecorded: 0 };
    assert_eq!(diff.total, all);
    assert_eq!(diff.pools.len(), 1);
    assert_eq!((diff.pools[0].counts, diff.pools[0].size), (all, 26));
    let counts: Vec<_> = diff.sites.iter().map(|site| (site.site.as_str(), site.counts.growth())).collect();
    assert_eq!(counts, [("0000000000000008", 1), ("0000000000000007", -1)]);
}

#[test]
fn a_clock_that_was_set_changes_nothing() {
    let before = snapshot(0, Vec::new(), vec![held(1, 7, -5, -4)]);
    let mut after = before.clone();
    let hour = 60 * MINUTE;
    after.head.taken = after.head.taken.plus(hour);
    after.head.started = after.head.started.plus(hour);
    after.holds[0].used = after.holds[0].used.plus(hour);
    assert_eq!(diff(&before, &after).total.unused, 1);
}

#[test]
fn of_two_runs_nothing_survives_and_sites_are_compared() {
    let before = snapshot(0, vec![site(7, &[], at(-60))], numbers(1..4, 7, -5, -4));
    let mut after = snapshot(10, vec![site(7, &[], at(5))], numbers(1..5, 7, 6, 6));
    after.head.instance = "00000000000000bb".to_string();
    after.head.started = at(5);
    let found = diff(&before, &after);
    assert_eq!(found.runs, Runs::Restarted);
    assert_eq!(found.total, Counts { before: 3, after: 4, new: 4, released: 3, ..Counts::default() });
    assert_eq!(found.sites[0].first_seen, Some(at(-60)), "the earlier run knows the site for longer");
    let said = said_of(&before, &after);
    assert!(said[0].contains("restarted in between"), "{said:?}");
    assert!(
        said[1].contains("holds 1 connection more than 10 min ago (3 -> 4 of 26 of pool shop/app)"),
        "{said:?}"
    );
    assert!(said[1].contains("first seen 2026-11-21 13:00:00 UTC"), "{said:?}");
    // What a younger process has seen only since its start may be older.
    let young = said_of(&after, &after.clone());
    assert!(young.iter().all(|line| !line.contains("first seen")), "{young:?}");
    let mut empty = after.clone();
    empty.holds.clear();
    empty.head.taken = after.head.started;
    let said = said_of(&empty, &after);
    assert!(said.iter().any(|line| line.contains("so perhaps earlier")), "{said:?}");
}

#[test]
fn the_method_of_the_first_incident_in_a_sentence() {
    let old = site(7, &[("route", "/orders"), ("version", "1c9d00")], at(-90));
    let new = site(8, &[("route", "/orders"), ("version", "4f2a1c")], at(2));
    let before = snapshot(0, vec![old.clone()], numbers(1..4, 7, -30, -1));
    let mut holds = numbers(3..4, 7, -30, -1);
    holds.extend(numbers(10..24, 8, 11, 11));
    holds.extend(numbers(30..32, 8, 44, 45));
    holds[3].host = "10.0.0.6".to_string();
    let after = snapshot(45, vec![old, new], holds);
    let said = said_of(&before, &after);
    assert_eq!(
        said,
        [
            "45 min, from 2026-11-21 14:00:00 UTC to 2026-11-21 14:45:00 UTC: 3 -> 17 held; 16 new, 2 released, 1 kept \
             (0 of them used in between).",
            "shop-api route=/orders holds 14 connections more than 45 min ago (3 -> 17 of 26 of pool shop/app), as user \
             app from 10.0.0.5 (16), 10.0.0.6 (1); 14 of the new ones unused for 34 min or longer; 1 of those from \
             before unused since; first seen 2026-11-21 14:02:00 UTC (version 4f2a1c), 9 min before the first of them.",
        ]
    );
}

#[test]
fn nothing_that_grew_is_told_as_well() {
    let one = snapshot(0, Vec::new(), numbers(1..3, 7, 0, 0));
    let mut other = snapshot(1, Vec::new(), numbers(1..2, 7, 0, 0));
    other.pools[0].waiting = 2;
    other.pools[0].oldest_wait_us = 3_000_000;
    let said = said_of(&one, &other);
    assert_eq!(said[1], "No place in the applications holds more connections than before.");
    assert_eq!(said[2], "2 wait for pool shop/app, the oldest for 3 s: 1 of 26 is held (2 before).");
    // What was not recorded may well be more.
    other.head.ledger = Recorded::Off;
    other.head.holds_left_out = 4;
    other.pools[0].waiting = 1;
    let said = said_of(&one, &other);
    assert_eq!(said[1], "The ledger was off at 2026-11-21 14:01:00 UTC: new holds were not recorded.");
    assert_eq!(said[2], "The snapshot of 2026-11-21 14:01:00 UTC had no room for 4 holds, the youngest.");
    assert!(said[3].starts_with("1 waits for pool shop/app"), "{said:?}");
    assert_eq!(said.len(), 4);
    assert!(said_of(&other, &one).iter().all(|line| !line.contains("No place")));
}

#[test]
fn three_snapshots_leave_what_came_after_the_first_and_stayed() {
    let sites = || vec![site(7, &[], at(0)), site(8, &[("deploy", "v9")], at(0))];
    let first = snapshot(0, sites(), numbers(1..100, 7, -5, -4));
    let second = snapshot(15, sites(), [numbers(50..100, 7, -5, 1), numbers(200..300, 8, 5, 5)].concat());
    let mut third = snapshot(30, sites(), [numbers(60..100, 7, -5, 20), numbers(290..400, 8, 5, 5)].concat());
    third.holds.iter_mut().find(|held| held.hold == 295).expect("it is there").used = at(29);
    let left = leftovers(&first, &second, &third);
    assert_eq!(left.sites.len(), 1);
    assert_eq!(left.sites[0].holds, (290..300).collect::<Vec<u64>>());
    assert_eq!((left.sites[0].used, left.sites[0].site.site.as_str()), (1, "0000000000000008"));
    assert_eq!(left.sites[0].states, [("idle in transaction".to_string(), 10)]);
    let said = leftover_sentences([&first, &second, &third], &left);
    assert!(said[0].starts_with("10 holds, all granted after 2026-11-21 14:00:00 UTC"), "{said:?}");
    let mut other_run = third.clone();
    other_run.head.instance = "another".to_string();
    other_run.head.started = at(20);
    let left = leftovers(&first, &second, &other_run);
    assert!(left.sites.is_empty() && left.runs == Runs::Restarted);
    assert!(leftover_sentences([&first, &second, &other_run], &left)[0].contains("restarted between"));
    let mut stranger = first.clone();
    stranger.head.instance = "another".to_string();
    stranger.head.taken = at(-120);
    let left = leftovers(&stranger, &second, &third);
    assert_eq!(left.first, Runs::Restarted);
    assert!(leftover_sentences([&stranger, &second, &third], &left)[0].contains("excludes nothing"));
}

#[test]
fn a_place_is_the_same_in_every_deploy() {
    let tags = |all: &[(&str, &str)]| site(1, all, at(0)).tags;
    for key in ["version", "app_version", "Deploy-Id", "service.version", "git_sha", "release"] {
        assert_eq!(
            Deploy::of(&tags(&[("action", "x"), (key, "42")])).map(|deploy| deploy.value),
            Some("42".to_string()),
            "{key}"
        );
        assert_eq!(label("shop", &tags(&[("action", "x"), (key, "42")]), Some("SELECT 1")), "shop action=x");
        assert_eq!(label("shop", &tags(&[(key, "42")]), Some("SELECT 1")), "shop \"SELECT 1\"");
    }
    assert_eq!(Deploy::of(&tags(&[("action", "version")])), None);
    assert_eq!(label("", &tags(&[]), None), "(no application_name)");
}

#[test]
fn spans_have_two_units_at_most() {
    for (micros, text) in [
        (-5, "0 ms"),
        (300_000, "300 ms"),
        (119_000_000, "119 s"),
        (2_700_000_000, "45 min"),
        (7_500_000_000, "2 h 5 min"),
        (266_400_000_000, "3 d 2 h"),
    ] {
        assert_eq!(span(micros), text);
    }
}
