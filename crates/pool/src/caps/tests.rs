use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn app(name: &str) -> CapOf {
    CapOf::Application(name.to_string())
}

fn host(name: &str) -> CapOf {
    CapOf::Host(name.to_string())
}

fn enter_since(caps: &mut Caps, client: u64, application: &str, host: &str, since: u64) -> Gate {
    let subject = Subject { client: ClientId(client), application, host, grant: None, since: Moment(since) };
    let (gate, admitted) = caps.enter(subject);
    assert_eq!(admitted, []);
    gate
}

fn enter(caps: &mut Caps, client: u64, application: &str, host: &str) -> Gate {
    enter_since(caps, client, application, host, 5)
}

fn ids(numbers: &[u64]) -> Vec<ClientId> {
    numbers.iter().copied().map(ClientId).collect()
}

#[test]
fn whoever_is_over_the_cap_waits_and_comes_in_when_a_place_is_free() {
    let mut caps = Caps::default();
    assert!(caps.set(app("a"), 2, None, "root", []).is_empty());
    assert_eq!(enter(&mut caps, 1, "a", "h"), Gate::Admitted);
    assert_eq!(enter(&mut caps, 2, "a", "h"), Gate::Admitted);
    assert_eq!(enter(&mut caps, 3, "a", "h"), Gate::Shut);
    assert_eq!(enter(&mut caps, 4, "b", "h"), Gate::Free);
    assert_eq!(enter(&mut caps, 5, "a", "h"), Gate::Shut);
    assert_eq!(caps.leave(ClientId(4)), []);
    assert_eq!(caps.leave(ClientId(1)), ids(&[3]));
    // One that waits leaves.
    assert_eq!(caps.leave(ClientId(5)), []);
    assert_eq!(caps.leave(ClientId(2)), []);
    let view = &caps.views()[0];
    assert_eq!((view.used, view.waiting, view.max), (1, 0, 2));
}

#[test]
fn who_held_before_counts_until_it_gives_back() {
    let mut caps = Caps::default();
    caps.set(host("h"), 1, None, "root", ids(&[1, 2]));
    assert_eq!(enter(&mut caps, 3, "a", "h"), Gate::Shut);
    assert_eq!(caps.leave(ClientId(1)), []);
    // Counted twice is counted once.
    caps.set(host("h"), 1, None, "root", ids(&[2, 3]));
    assert_eq!((caps.views()[0].used, caps.views()[0].waiting), (1, 1));
    assert_eq!(caps.leave(ClientId(2)), ids(&[3]));
}

#[test]
fn whom_no_cap_keeps_waiting_counts_all_the_same() {
    let mut caps = Caps::default();
    let backup = |client: u64| Subject {
        client: ClientId(client),
        application: "backup",
        host: "h",
        grant: None,
        since: Moment(5),
    };
    assert!(!caps.hold(backup(1)), "there is none for it");
    caps.set(app("backup"), 1, None, "root", []);
    assert!(caps.hold(backup(1)) && caps.hold(backup(2)));
    // Told twice it counts once.
    assert!(caps.hold(backup(2)));
    assert_eq!(caps.views()[0].used, 2);
    assert_eq!(enter(&mut caps, 3, "backup", "h"), Gate::Shut);
    assert_eq!(caps.leave(ClientId(1)), []);
    assert_eq!(caps.leave(ClientId(2)), ids(&[3]));
}

#[test]
fn who_was_in_a_queue_already_asks_again_and_comes_before_those_that_came_later() {
    let mut caps = Caps::default();
    caps.set(app("a"), 1, None, "root", ids(&[1]));
    assert_eq!(enter_since(&mut caps, 2, "a", "h", 20), Gate::Shut);
    assert_eq!(enter_since(&mut caps, 3, "a", "h", 10), Gate::Shut);
    assert_eq!(caps.leave(ClientId(1)), ids(&[3]));
    assert_eq!(caps.leave(ClientId(3)), ids(&[2]));
}

#[test]
fn both_caps_have_to_have_room() {
    let mut caps = Caps::default();
    caps.set(app("a"), 2, None, "root", []);
    caps.set(host("h"), 1, None, "root", []);
    assert_eq!(enter(&mut caps, 1, "a", "h"), Gate::Admitted);
    assert_eq!(enter(&mut caps, 2, "a", "h"), Gate::Shut);
    let full: Vec<_> = caps.waits_for(ClientId(2)).into_iter().map(|view| view.of).collect();
    assert_eq!(full, [host("h"), app("a")], "first the one it waits for");
    // The place that the one before cannot take, since the other cap is full, is not left empty.
    assert_eq!(enter(&mut caps, 3, "a", "other"), Gate::Admitted);
    assert_eq!(enter(&mut caps, 4, "a", "other"), Gate::Shut);
    // It goes from one queue to the other and keeps its turn.
    assert_eq!(caps.leave(ClientId(1)), ids(&[2]));
    assert_eq!(caps.leave(ClientId(2)), ids(&[4]));
}

#[test]
fn who_is_inside_asks_for_nothing_it_has_and_who_waits_keeps_nothing() {
    let mut caps = Caps::default();
    caps.set(app("a"), 1, None, "root", []);
    assert_eq!(enter(&mut caps, 1, "a", "h"), Gate::Admitted);
    caps.set(host("h"), 1, None, "root", []);
    // Its own place is no reason for it to wait.
    assert_eq!(enter(&mut caps, 1, "a", "h"), Gate::Admitted);
    let used: Vec<_> = caps.views().into_iter().map(|view| view.used).collect();
    assert_eq!(used, [1, 1]);
    assert_eq!(enter(&mut caps, 2, "a", "i"), Gate::Shut);
    caps.remove(&host("h"));
    caps.set(host("h"), 0, None, "root", []);
    // The new cap shuts it out: others may have the place it had.
    let subject = Subject { client: ClientId(1), application: "a", host: "h", grant: None, since: Moment(1) };
    assert_eq!(caps.enter(subject), (Gate::Shut, ids(&[2])));
    assert_eq!(caps.enter(subject), (Gate::Shut, vec![]));
    assert_eq!(caps.remove(&host("h")), Some(vec![]));
    assert_eq!(caps.leave(ClientId(2)), ids(&[1]));
}

#[test]
fn caps_change_end_and_go() {
    let mut caps = Caps::default();
    caps.set(app("a"), 1, Some(Moment(100)), "root", []);
    for client in 1..=4 {
        enter(&mut caps, client, "a", "h");
    }
    assert_eq!(caps.set(app("a"), 2, Some(Moment(100)), "ann", []), ids(&[2]));
    assert_eq!(caps.expire(Moment(99)), (vec![], vec![]));
    assert_eq!(caps.expire(Moment(100)), (vec![app("a")], ids(&[3, 4])));
    assert_eq!(caps.reach(), Reach::Nobody);
    assert_eq!(caps.remove(&app("a")), None);
    // A place under a cap that is gone is none under the next of its name.
    caps.set(app("a"), 0, None, "root", []);
    assert_eq!(caps.leave(ClientId(1)), []);
    assert_eq!((caps.views()[0].used, enter(&mut caps, 9, "a", "h")), (0, Gate::Shut));
    assert_eq!(caps.remove(&app("a")), Some(ids(&[9])));
}

#[test]
fn a_cap_is_found_by_each_spelling_of_a_name() {
    let mut caps = Caps::default();
    caps.set(app("caf\u{e9}"), 1, None, "root", []);
    assert_eq!(enter(&mut caps, 1, "caf\u{e9}", "h"), Gate::Admitted);
    assert_eq!(enter(&mut caps, 2, "caf??", "h"), Gate::Shut);
    assert_eq!(enter(&mut caps, 3, r"caf\xc3\xa9", "h"), Gate::Shut);
    assert_eq!(enter(&mut caps, 4, "cafe", "h"), Gate::Free);
    assert_eq!(caps.views()[0].of, app("caf\u{e9}"), "as it was typed");
    assert!(app("caf??").covers("caf\u{e9}", "h", None) && !app("cafe").covers("caf\u{e9}", "h", None));
    assert_eq!(caps.remove(&app("caf??")), Some(ids(&[2, 3])));
}

/// What a client of the property is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Gate,
    /// In the queue of its pool, with or without a place.
    Queue,
    Holding,
}

type Asking = BTreeMap<ClientId, At>;

/// Two applications, and two hosts.
fn names(client: ClientId) -> (&'static str, &'static str) {
    (["a", "b"][client.0 as usize % 2], ["h", "i"][client.0 as usize / 2 % 2])
}

fn is_for(of: &CapOf, client: ClientId) -> bool {
    let (application, host) = names(client);
    of.covers(application, host, None)
}

/// A client joins the queue of its pool, or is granted a connection there.
fn ask(
    caps: &mut Caps,
    asking: &mut Asking,
    client: ClientId,
    at: At,
) -> Result<Vec<ClientId>, TestCaseError> {
    let before = caps.views();
    let (application, host) = names(client);
    let (gate, admitted) =
        caps.enter(Subject { client, application, host, grant: None, since: Moment(client.0 % 3) });
    asking.insert(client, if gate == Gate::Shut { At::Gate } else { at });
    for (was, is) in before.iter().zip(caps.views()) {
        let is_over = gate != Gate::Shut && is.used > was.used && is.used > is.max;
        prop_assert!(!is_over, "{client:?} is let in over {is:?}");
    }
    Ok(admitted)
}

fn check(caps: &Caps, asking: &Asking) -> Result<(), TestCaseError> {
    let views = caps.views();
    for view in &views {
        let holding = asking.iter().filter(|(client, at)| **at == At::Holding && is_for(&view.of, **client));
        let any = asking.iter().filter(|(client, at)| **at != At::Gate && is_for(&view.of, **client));
        let used = view.used as usize;
        prop_assert!(holding.count() <= used && used <= any.count(), "{view:?}: {asking:?}");
    }
    for (client, at) in asking {
        let waits_for = caps.waits_for(*client);
        if *at == At::Gate {
            let at = waits_for.first();
            prop_assert!(
                at.is_some_and(|view| view.used >= view.max),
                "{client:?} waits while there is room"
            );
            prop_assert_eq!(waits_for.len(), views.iter().filter(|view| is_for(&view.of, *client)).count());
        } else {
            prop_assert!(waits_for.is_empty());
        }
    }
    let waiting: u32 = views.iter().map(|view| view.waiting).sum();
    prop_assert_eq!(waiting as usize, asking.values().filter(|at| **at == At::Gate).count());
    Ok(())
}

proptest! {
    /// Nobody comes in over a cap, those that hold a connection are all counted, and nobody waits while there is room.
    #[test]
    fn no_cap_is_passed_and_nobody_is_forgotten(
        steps in prop::collection::vec((0_u8..6, 0_u64..12, 0_u32..4), 1..200)
    ) {
        let mut caps = Caps::default();
        let mut asking = Asking::new();
        for (step, client, number) in steps {
            let client = ClientId(client);
            let (name, place) = names(client);
            let of = if number % 2 == 0 { app(name) } else { host(place) };
            let admitted = match (step, asking.get(&client)) {
                (0, None) => ask(&mut caps, &mut asking, client, At::Queue)?,
                // A connection that is dead is none: it asks anew.
                (1, Some(At::Queue)) if number == 0 => ask(&mut caps, &mut asking, client, At::Queue)?,
                (1 | 2, Some(At::Queue)) => ask(&mut caps, &mut asking, client, At::Holding)?,
                (3, _) => {
                    asking.remove(&client);
                    caps.leave(client)
                }
                (4, _) => {
                    let holds = asking.iter().filter(|(client, at)| **at == At::Holding && is_for(&of, **client));
                    let holders: Vec<_> = holds.map(|(client, _)| *client).collect();
                    caps.set(of, number, (number == 3).then_some(Moment(client.0)), "x", holders)
                }
                (5, _) if number == 3 => caps.expire(Moment(client.0)).1,
                (5, _) => caps.remove(&of).unwrap_or_default(),
                _ => Vec::new(),
            };
            for client in admitted {
                let at = asking.insert(client, At::Queue);
                prop_assert_eq!(at, Some(At::Gate), "{:?} is admitted", client);
            }
            check(&caps, &asking)?;
        }
    }
}

#[test]
fn a_cap_of_a_grant_is_for_those_who_are_here_by_it() {
    let mut caps = Caps::default();
    let of = CapOf::Grant("grt_1".to_string());
    assert_eq!((caps.max_of(&of), caps.reach()), (None, Reach::Nobody));
    assert!(caps.set(of.clone(), 1, None, "grant", []).is_empty());
    assert_eq!((caps.max_of(&of), caps.reach()), (Some(1), Reach::Grants));
    assert_eq!(caps.grants().collect::<Vec<_>>(), ["grt_1"]);
    let mut enter = |client: u64, grant: Option<&str>| {
        let (application, host, since) = ("a", "h", Moment(client));
        caps.enter(Subject { client: ClientId(client), application, host, grant, since }).0
    };
    assert_eq!(enter(1, Some("grt_1")), Gate::Admitted);
    assert_eq!(enter(2, Some("grt_1")), Gate::Shut);
    assert_eq!(enter(3, Some("grt_2")), Gate::Free);
    assert_eq!(enter(4, None), Gate::Free);
    assert_eq!(caps.waits_for(ClientId(2))[0].of, of);
    assert_eq!(caps.leave(ClientId(1)), [ClientId(2)]);
    assert!(of.covers("a", "h", Some("grt_1")) && !of.covers("grt_1", "grt_1", None));
}
