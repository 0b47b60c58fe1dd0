use std::path::PathBuf;

use super::*;
use crate::args::WhoseArgs;
use crate::draw::{Colours, Margin};
use plimsoll_ledger::snapshot::read;

const PLAIN: Canvas = Canvas { columns: None, colours: Colours::Off, margin: Margin::None };

/// A document, taken so many minutes after two o'clock, with these holds: number, application, database.
fn document(minute: u32, holds: &[(u64, &str, &str)]) -> String {
    let head = format!(
        "{{\"plimsoll_snapshot\":1,\"head\":{{\"instance\":\"aa\",\"version\":\"0\",\"why\":\"asked\",\
         \"taken\":\"2026-11-21T14:{minute:02}:00.000000Z\",\"started\":\"2026-11-21T12:00:00.000000Z\"}},"
    );
    let pool = |database: &str| {
        format!(
            "{{\"database\":\"{database}\",\"role\":\"app\",\"size\":20,\"held\":1,\"idle\":0,\"waiting\":0,\"oldest_wait_us\":0}}"
        )
    };
    let hold = |(number, application, database): &(u64, &str, &str)| {
        format!(
            "{{\"hold\":{number},\"server\":1,\"pid\":7,\"database\":\"{database}\",\"role\":\"app\",\"user\":\"app\",\
             \"application\":\"{application}\",\"host\":\"unix\",\"port\":0,\"client\":1,\"state\":\"executing\",\
             \"granted\":\"2026-11-21T13:00:00.000000Z\",\"used\":\"2026-11-21T13:00:00.000000Z\",\
             \"site\":\"{application}\"}}"
        )
    };
    let holds: Vec<String> = holds.iter().map(hold).collect();
    format!(
        "{head}\"pools\":[{},{}],\"sites\":[],\"holds\":[{}]}}",
        pool("shop"),
        pool("mail"),
        holds.join(",")
    )
}

fn snapshot(minute: u32, holds: &[(u64, &str, &str)]) -> Snapshot {
    read(document(minute, holds).as_bytes()).expect("a document")
}

fn named(name: &str, minute: u32) -> Named {
    Named { name: name.to_string(), snapshot: snapshot(minute, &[]) }
}

#[test]
fn files_are_put_in_the_order_of_their_times() {
    let mut right = [named("a", 1), named("b", 2)];
    assert_eq!(sorted(&mut right), None);
    let mut wrong = [named("c", 3), named("a", 1), named("b", 2)];
    let told = sorted(&mut wrong).expect("it is said");
    assert!(told.ends_with("compared is from a to b to c."), "{told}");
    let mut same = [named("a", 1), named("a", 1)];
    assert_eq!(sorted(&mut same), None);
}

#[test]
fn filters_leave_a_smaller_house() {
    let all = [(1, "web", "shop"), (2, "cron", "shop"), (3, "web", "mail")];
    let kept = |change: fn(&mut WhoseArgs)| {
        let mut pick = WhoseArgs::default();
        change(&mut pick);
        let mut snapshot = snapshot(1, &all);
        pick::keep(&mut snapshot, &pick);
        let holds: Vec<u64> = snapshot.holds.iter().map(|held| held.hold).collect();
        (holds, snapshot.pools.len())
    };
    assert_eq!(kept(|_| ()), (vec![1, 2, 3], 2));
    assert_eq!(kept(|pick| pick.app = Some("w*".to_string())), (vec![1, 3], 2));
    assert_eq!(kept(|pick| pick.app = Some("cron".to_string())), (vec![2], 1));
    assert_eq!(kept(|pick| pick.database = Some("mail".to_string())), (vec![3], 1));
    assert_eq!(kept(|pick| pick.user = Some("nobody".to_string())), (vec![], 0));
    assert_eq!(kept(|pick| pick.site = Some("cron".to_string())), (vec![2], 1));
}

#[test]
fn two_are_sentences_and_tables() {
    let (before, after) =
        (snapshot(1, &[(1, "web", "shop")]), snapshot(31, &[(1, "web", "shop"), (2, "cron", "mail")]));
    let mut said = Vec::new();
    let parts = two_of(&before, &after, &mut said);
    let lines = drawn(&said, &parts, PLAIN, (Width::Fitted, 1));
    assert!(lines[0].contains("30 min, from 2026-11-21 14:01:00 UTC"), "{lines:#?}");
    assert!(
        lines[1].contains("cron holds 1 connection more than 30 min ago (0 -> 1 of 20 of pool mail/app)"),
        "{lines:#?}"
    );
    assert!(lines.contains(&"  … 1 of 2".to_string()), "{lines:#?}");
    let objects = objects(&said, &parts);
    assert!(objects[0].starts_with("{\"kind\":\"sentence\",\"text\":\"30 min"), "{objects:#?}");
    assert!(objects.iter().any(|line| {
        line.starts_with("{\"kind\":\"site\",\"site\":\"cron\"")
            && line.contains("\"before\":0,\"after\":1,\"new\":1")
    }));
    for line in &objects {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
}

#[test]
fn of_three_programs_hear_of_each_hold() {
    let [one, two, three] = [
        snapshot(1, &[(1, "web", "shop")]),
        snapshot(2, &[(1, "web", "shop"), (2, "cron", "mail"), (3, "cron", "mail")]),
        snapshot(3, &[(1, "web", "shop"), (3, "cron", "mail"), (4, "cron", "mail")]),
    ];
    let mut said = Vec::new();
    let parts = three_of([&one, &two, &three], &mut said);
    let holds: Vec<&str> = parts[1].table.rows.iter().filter_map(|row| row[0].as_deref()).collect();
    assert_eq!(holds, ["3"]);
    let lines = drawn(&said, &parts, PLAIN, (Width::Whole, usize::MAX));
    assert!(!lines.contains(&"Holds".to_string()), "for people the groups are enough: {lines:#?}");
    assert!(lines.iter().any(|line| line.contains("1 hold, granted after")), "{lines:#?}");
}

#[test]
fn a_file_that_is_none_is_named() {
    let missing = of_file(&PathBuf::from("/nowhere/a.json")).expect_err("it is not there");
    assert!(missing.to_string().starts_with("/nowhere/a.json: No such file"), "{missing}");
    assert!(missing.hint().is_some_and(|hint| hint.contains("plimsoll snapshot > FILE")));
    let none = of_file(&PathBuf::from("/proc/self/cmdline")).expect_err("it is no snapshot");
    assert!(none.to_string().starts_with("/proc/self/cmdline: it is not"), "{none}");
}
