//! What can be compared, and what cannot.

use super::*;

#[test]
fn a_pool_that_holds_what_is_not_recorded_is_doubtful() {
    let mut four = snapshot(0, Vec::new(), numbers(1..5, 7, -5, -5));
    assert_eq!(doubts(&[&four]), [""; 0]);
    (four.pools[0].held, four.pools[0].unrecorded) = (7, 3);
    let told = "Pool shop/app held 7 connections at 2026-11-21 14:00:00 UTC; 3 of them were not recorded.";
    assert_eq!(doubts(&[&four]), [told]);
    let said = said_of(&four, &snapshot(1, Vec::new(), numbers(1..5, 7, -5, -5)));
    assert_eq!(said[1..], [told], "that no place holds more is not known");
    let pool = PoolState { held: 1, unrecorded: 1, ..four.pools[0].clone() };
    four.pools = (0..5).map(|number| PoolState { database: format!("d{number}"), ..pool.clone() }).collect();
    let said = doubts(&[&four]);
    assert_eq!(
        said[0],
        "Pool d0/app held 1 connection at 2026-11-21 14:00:00 UTC; 1 of them was not recorded."
    );
    assert_eq!(said[3..], ["So it was with 2 other pools."]);
    assert_eq!(read(four.text().as_bytes()), Ok(four));
}

#[test]
fn what_was_held_and_not_recorded_is_not_new() {
    // Three that were granted while the ledger was off, and one that came in between.
    let before = snapshot(0, Vec::new(), numbers(1..7, 7, -5, -5));
    let later = |minutes: i64| {
        let mut holds = [numbers(1..7, 7, -5, -5), numbers(7..10, 8, -2, 1)].concat();
        holds.push(held(10, 7, 1, 1));
        snapshot(minutes, Vec::new(), holds)
    };
    let (after, third) = (later(2), later(4));
    let found = diff(&before, &after);
    let all = Counts { before: 9, after: 10, new: 1, released: 0, used: 0, unused: 6, unrecorded: 3 };
    assert_eq!(found.total, all);
    let said = said_of(&before, &after);
    assert!(
        said[0].ends_with("9 -> 10 held; 1 new, 0 released, 6 kept (0 of them used in between)."),
        "{said:?}"
    );
    assert_eq!(
        said[1],
        "3 holds of 2026-11-21 14:02:00 UTC were granted before 2026-11-21 14:00:00 UTC and not recorded before: they \
         count as held at both times, and not as new."
    );
    let grown: Vec<&String> = said.iter().filter(|line| line.contains(" more than ")).collect();
    assert!(grown.len() == 1 && grown[0].contains("holds 1 connection more"), "{said:?}");
    // The moment of the snapshot itself is before it, by the process's own clock.
    let mut set = after.clone();
    set.head.started = set.head.started.plus(MINUTE);
    set.head.taken = set.head.taken.plus(MINUTE);
    set.holds.iter_mut().for_each(|held| held.granted = held.granted.plus(MINUTE));
    assert_eq!(diff(&before, &set).total.unrecorded, 3);
    set.holds.iter_mut().filter(|held| held.hold == 10).for_each(|held| held.granted = at(1));
    assert_eq!(diff(&before, &set).total.unrecorded, 4);
    // Nor are they left over: not of the first interval, and not of the second one.
    let left = leftovers(&before, &after, &third);
    let numbers: Vec<u64> = left.sites.iter().flat_map(|left| left.holds.clone()).collect();
    assert_eq!(numbers, [10]);
    let mut forgetful = after.clone();
    forgetful.holds.retain(|held| held.hold != 10);
    assert!(leftovers(&before, &forgetful, &third).sites.is_empty());
}

#[test]
fn two_poolers_are_not_one_that_was_restarted() {
    let mut one = snapshot(0, Vec::new(), numbers(1..3, 7, -5, -5));
    let mut other = snapshot(1, Vec::new(), numbers(1..6, 7, -5, -5));
    other.head.instance = "00000000000000bb".to_string();
    other.pools[0].waiting = 1;
    let found = diff(&one, &other);
    assert_eq!(found.runs, Runs::Strangers, "the later one's process was there before");
    let said = said_of(&one, &other);
    assert!(
        said[0].ends_with(
            "2 held at the one time, 5 at the other. The snapshots are of two poolers, or a clock was set (the later \
             process started 2026-11-21 12:00:00 UTC, before the earlier snapshot was taken): no hold can be in both, \
             and sites are compared by name."
        ),
        "{said:?}"
    );
    assert!(
        said[1].contains(
            "holds 3 connections more than in the earlier snapshot (2 -> 5 of 26 of pool shop/app)"
        ),
        "{said:?}"
    );
    assert!(!said[1].contains("new") && said[2].ends_with("(2 in the earlier snapshot)."), "{said:?}");
    // A clock of a process may be a bit ahead of the one on the wall.
    other.head.started = at(0).plus(-1_000_000);
    assert_eq!(diff(&one, &other).runs, Runs::Restarted);
    // Where they listen tells.
    one.head.listen = vec!["127.0.0.1:6432".to_string(), "unix:/tmp".to_string()];
    assert_eq!(diff(&one, &other).runs, Runs::Restarted, "the other one does not say");
    other.head.listen.clone_from(&one.head.listen);
    assert_eq!(diff(&one, &other).runs, Runs::Restarted);
    other.head.listen = vec!["127.0.0.1:6433".to_string()];
    assert_eq!(diff(&one, &other).runs, Runs::Strangers);
    let said = said_of(&one, &other);
    assert!(
        said[0].contains("of two poolers (127.0.0.1:6432, unix:/tmp and 127.0.0.1:6433): no"),
        "{said:?}"
    );
    assert_eq!(read(one.text().as_bytes()), Ok(one.clone()));
    // By the method of three as well.
    let left = leftovers(&one, &one, &other);
    let said = leftover_sentences([&one, &one, &other], &left);
    assert!(left.sites.is_empty() && said[0].contains("of two poolers (127"), "{said:?}");
    let left = leftovers(&one, &other, &other);
    let said = leftover_sentences([&one, &other, &other], &left);
    assert!(said[0].contains("the first one excludes nothing"), "{said:?}");
    assert!(said[1].starts_with("5 holds, held at 2026-11-21 14:01:00 UTC"), "{said:?}");
}

#[test]
fn who_waits_is_told_of_the_whole_pool() {
    let mut before = snapshot(0, Vec::new(), numbers(1..2, 7, -5, -5));
    let mut after = snapshot(1, Vec::new(), numbers(1..2, 7, -5, -5));
    (before.pools[0].held, after.pools[0].held) = (4, 5);
    (after.pools[0].size, after.pools[0].waiting) = (5, 1);
    let caveats = Caveats { scope: Scope::Chosen, doubts: Vec::new() };
    let said = sentences(&before, &after, &diff(&before, &after), &caveats);
    assert_eq!(
        said[2],
        "1 waits for pool shop/app, the oldest for 0 ms: 5 of 5 are held (4 before); 1 of them by what was chosen (1 \
         before)."
    );
}

#[test]
fn one_other_is_not_others() {
    let mut holds: Vec<Held> = numbers(1..5, 7, 1, 1);
    for (at, held) in holds.iter_mut().enumerate() {
        held.host = format!("10.0.0.{at}");
    }
    let said = said_of(&snapshot(0, Vec::new(), Vec::new()), &snapshot(2, Vec::new(), holds));
    assert!(said[1].contains("10.0.0.2 (1) and 1 other"), "{said:?}");
    assert!(!said[1].contains("others"), "{said:?}");
}
