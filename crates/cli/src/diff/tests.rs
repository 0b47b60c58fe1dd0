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
        let held = holds.iter().filter(|(_, _, of)| *of == database).count();
        format!(
            "{{\"database\":\"{database}\",\"role\":\"app\",\"size\":20,\"held\":{held},\"idle\":0,\"waiting\":0,\"oldest_wait_us\":0}}"
        )
    };
    let hold = |(number, application, database): &(u64, &str, &str)| {
        // The first one is old, the others came between the first snapshot of a test and the next one.
        let granted = if *number == 1 { "13:00:00" } else { "14:01:30" };
        format!(
            "{{\"hold\":{number},\"server\":1,\"pid\":7,\"database\":\"{database}\",\"role\":\"app\",\"user\":\"app\",\
             \"application\":\"{application}\",\"host\":\"unix\",\"port\":0,\"client\":1,\"state\":\"executing\",\
             \"granted\":\"2026-11-21T{granted}.000000Z\",\"used\":\"2026-11-21T13:00:00.000000Z\",\
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
        let mut whose = WhoseArgs::default();
        change(&mut whose);
        let mut one = [Named { name: "a".to_string(), snapshot: snapshot(1, &all) }];
        assert_eq!(pick::keep(&mut one, &whose).doubts, [""; 0]);
        let holds: Vec<u64> = one[0].snapshot.holds.iter().map(|held| held.hold).collect();
        (holds, one[0].snapshot.pools.len())
    };
    assert_eq!(kept(|_| ()), (vec![1, 2, 3], 2));
    assert_eq!(kept(|whose| whose.app = Some("w*".to_string())), (vec![1, 3], 2));
    assert_eq!(kept(|whose| whose.app = Some("cron".to_string())), (vec![2], 1));
    assert_eq!(kept(|whose| whose.database = Some("mail".to_string())), (vec![3], 1));
    assert_eq!(kept(|whose| whose.user = Some("nobody".to_string())), (vec![], 0));
    assert_eq!(kept(|whose| whose.site = Some("cron".to_string())), (vec![2], 1));
}

/// Two snapshots, of which only this application's holds are compared: lines for people, objects for programs.
fn of_application(named: &mut [Named; 2], application: &str) -> (Vec<String>, Vec<String>) {
    let whose = WhoseArgs { app: Some(application.to_string()), ..WhoseArgs::default() };
    let caveats = pick::keep(named, &whose);
    let mut said = Vec::new();
    let parts = two_of(&named[0].snapshot, &named[1].snapshot, &caveats, &mut said);
    (drawn(&said, &parts, PLAIN, (Width::Fitted, usize::MAX)), objects(&said, &parts))
}

#[test]
fn what_is_chosen_does_not_empty_a_pool() {
    let hog = [(1, "hog", "shop"), (2, "hog", "shop"), (3, "hog", "shop"), (4, "hog", "shop")];
    let mut full =
        Named { name: "b".to_string(), snapshot: snapshot(2, &[&hog[..], &[(5, "small", "shop")]].concat()) };
    (full.snapshot.pools[0].size, full.snapshot.pools[0].waiting) = (5, 1);
    let before = Named { name: "a".to_string(), snapshot: snapshot(1, &hog) };
    let (lines, objects) = of_application(&mut [before, full], "small");
    let told = "1 waits for pool shop/app, the oldest for 0 ms: 5 of 5 are held (4 before); 1 of them by what was chosen \
                (0 before).";
    assert!(lines.iter().any(|line| line.trim() == told), "{lines:#?}");
    let pool = lines.iter().position(|line| line.contains("chosen after")).expect("a table");
    let words: Vec<&str> = lines[pool + 1].split_whitespace().collect();
    assert_eq!(words[..7], ["shop", "app", "4", "5", "5", "0", "1"], "{lines:#?}");
    assert!(objects.iter().any(|line| {
        line.contains("\"held_before\":4,\"held_after\":5,\"before\":0,\"after\":1,\"new\":1")
    }));
}

#[test]
fn a_hold_that_is_called_otherwise_now_was_there_before() {
    let named = |minute, application| Named {
        name: "a".to_string(),
        snapshot: snapshot(minute, &[(1, application, "shop")]),
    };
    let (lines, _) = of_application(&mut [named(1, "starting"), named(2, "web")], "web");
    assert!(lines[0].contains("1 -> 1 held; 0 new, 0 released, 1 kept"), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("not recorded")), "{lines:#?}");
}

#[test]
fn doubts_are_of_pools_that_are_compared() {
    let named = |minute| {
        let mut snapshot = snapshot(minute, &[(1, "web", "shop"), (2, "cron", "shop"), (3, "web", "mail")]);
        (snapshot.pools[0].held, snapshot.pools[0].unrecorded) = (7, 5);
        Named { name: "a".to_string(), snapshot }
    };
    let (lines, _) = of_application(&mut [named(1), named(2)], "cron");
    let doubts: Vec<&String> = lines.iter().filter(|line| line.contains("not recorded")).collect();
    assert_eq!(doubts.len(), 2, "{lines:#?}");
    assert!(
        doubts[0].contains("Pool shop/app held 7 connections at") && doubts[0].contains("5 of them were"),
        "{doubts:?}"
    );
    let whose = WhoseArgs { database: Some("mail".to_string()), ..WhoseArgs::default() };
    let caveats = pick::keep(&mut [named(1)], &whose);
    assert_eq!(caveats, Caveats::default());
}

#[test]
fn of_two_poolers_only_what_they_hold_is_shown() {
    let (before, mut after) = (snapshot(1, &[(1, "web", "shop")]), snapshot(2, &[(1, "web", "shop")]));
    after.head.instance = "bb".to_string();
    let mut said = Vec::new();
    let parts = two_of(&before, &after, &Caveats::default(), &mut said);
    for line in objects(&said, &parts).iter().filter(|line| !line.contains("sentence")) {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let is_empty = value["after"] == 0;
        assert!(is_empty || (value["before"] == 1 && value["after"] == 1), "{line}");
        assert!(value["new"].is_null() && value["kept_unused"].is_null(), "{line}");
    }
    assert!(said[0].contains("two poolers, or a clock was set"), "{said:?}");
}

#[test]
fn two_are_sentences_and_tables() {
    let (before, after) =
        (snapshot(1, &[(1, "web", "shop")]), snapshot(31, &[(1, "web", "shop"), (2, "cron", "mail")]));
    let mut said = Vec::new();
    let parts = two_of(&before, &after, &Caveats::default(), &mut said);
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
    let parts = three_of([&one, &two, &three], &Caveats::default(), &mut said);
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
