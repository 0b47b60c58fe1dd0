//! Grants with weights share the queue of a pool: counted hand-outs of a real server, in the order in which they came.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;

use common::lost::{new, send};
use common::{SOON, wait_for_pool};
use identity_house::{IdentityHouse, identity_house, who};
use plimsoll_identity::{GrantData, Limits};
use plimsoll_testkit::{Client, eventually, tags};

/// One server connection, and a table in which each transaction writes its line.
fn saturated() -> IdentityHouse {
    let house = identity_house(|ini| ini.set("default_pool_size", "1").own("workers", "1"));
    let mut admin = house.postgres.login("boss", "p0").client();
    admin.query("CREATE TABLE turns (number bigserial, who text, client int)");
    admin.query("GRANT ALL ON turns, turns_number_seq TO PUBLIC");
    house
}

/// The key of a new application whose grant has this weight.
fn key_of(house: &IdentityHouse, name: &str, weight: Option<u32>) -> (String, String) {
    let app = house.app(name);
    let grant = house.grant(&app.id, "app", Limits { weight, ..Limits::default() });
    (house.key(&app, None).0, grant.id.as_str().to_owned())
}

/// Clients of an application who wait, each with a transaction that says whose turn it was.
fn crowd(house: &IdentityHouse, name: &str, key: &str, count: u64, waiting: u64) -> Vec<Client> {
    (1..=count)
        .map(|number| {
            let mut client = house.plimsoll.login(name, "p0").password(key).client();
            send(
                &mut client,
                &new().query(&format!("INSERT INTO turns (who, client) VALUES ('{name}', {number})")),
            );
            // One after the other: who comes first is known.
            wait_for_pool(&house.plimsoll, "p0", &[("cl_waiting", waiting + number)]);
            client
        })
        .collect()
}

fn all_served(clients: &mut [Client]) {
    for client in clients {
        assert_eq!(tags(&client.cycle().unwrap()), "CZ");
    }
}

/// Whose turn it was, by the order of the server.
fn turns(house: &IdentityHouse) -> Vec<(String, u64)> {
    let table =
        house.postgres.login("boss", "p0").client().query("SELECT who, client FROM turns ORDER BY number");
    (0..table.rows.len())
        .map(|row| (table.cell(row, "who").to_owned(), table.number(row, "client")))
        .collect()
}

fn holder(house: &IdentityHouse, name: &str, key: &str) -> Client {
    let mut client = house.plimsoll.login(name, "p0").password(key).client();
    client.query("BEGIN");
    client
}

#[test]
fn hand_outs_are_in_the_ratio_of_the_weights() {
    let house = saturated();
    let (gold, gold_grant) = key_of(&house, "gold", Some(3));
    let (tin, tin_grant) = key_of(&house, "tin", None);
    let mut first = holder(&house, "tin", &tin);
    let mut clients = crowd(&house, "tin", &tin, 12, 0);
    clients.extend(crowd(&house, "gold", &gold, 12, 12));

    let seen = house.plimsoll.show("IDENTITIES");
    let cells = |name: &str| {
        let row = seen.find(&[("identity", name)]).unwrap();
        (seen.number(row, "weight"), seen.number(row, "waiting"))
    };
    assert_eq!((cells("gold"), cells("tin")), ((3, 12), (1, 12)));
    let told = house.plimsoll.show("WAITERS");
    let places: Vec<&str> = (0..8).map(|row| told.cell(row, "identity")).collect();
    assert_eq!(places, ["tin", "gold", "gold", "gold", "tin", "gold", "gold", "gold"]);
    assert!(told.cell(1, "why").ends_with("; its turns have weight 3"), "{}", told.cell(1, "why"));
    let told = house.plimsoll.console().query("EXPLAIN ADMISSION p0 app");
    let lines: Vec<&str> = told.rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert!(lines[0].ends_with("would wait with 24 others, who are served by weight."), "{lines:?}");
    let parts = format!(
        "acme/gold by grant {gold_grant}, weight 3, 12 waiting; acme/tin by grant {tin_grant}, weight 1, 12 waiting."
    );
    assert!(lines.iter().any(|line| line.ends_with(&parts)), "{lines:?}");

    first.query("COMMIT");
    all_served(&mut clients);
    let turns = turns(&house);
    let gold_of = |count: usize| turns.iter().take(count).filter(|(who, _)| who == "gold").count();
    assert_eq!([4, 8, 12, 16].map(gold_of), [3, 6, 9, 12]);
    for name in ["gold", "tin"] {
        let order: Vec<u64> =
            turns.iter().filter(|(who, _)| who == name).map(|(_, number)| *number).collect();
        assert_eq!(order, (1..=12).collect::<Vec<u64>>(), "who came first of {name} was served first");
    }
    eventually("nobody waits", SOON, || house.plimsoll.show("WAITERS").rows.is_empty());
}

#[test]
fn without_weights_they_are_served_as_they_came() {
    let house = saturated();
    let (gold, _) = key_of(&house, "gold", None);
    let (tin, _) = key_of(&house, "tin", Some(1));
    let mut first = holder(&house, "tin", &tin);
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.extend(crowd(&house, "tin", &tin, 2, number * 3));
        clients.extend(crowd(&house, "gold", &gold, 1, number * 3 + 2));
    }
    let told = house.plimsoll.console().query("EXPLAIN ADMISSION p0 app");
    let verdict = told.rows[0][0].as_deref().unwrap();
    assert!(verdict.ends_with("would wait behind 12 others."), "{verdict}");
    first.query("COMMIT");
    all_served(&mut clients);
    let order: Vec<String> = turns(&house).into_iter().map(|(who, _)| who).collect();
    assert_eq!(order, ["tin", "tin", "gold"].repeat(4));
}

#[test]
fn a_weight_that_is_changed_counts_for_all_from_the_next_login_on() {
    let house = saturated();
    let app = house.app("gold");
    let limits = |weight| Limits { weight: Some(weight), ..Limits::default() };
    let grant = house.grant(&app.id, "app", limits(5));
    let (key, _) = house.key(&app, None);
    let client = || house.plimsoll.login("app", "p0").password(&key).client();
    let first = client();
    let weight = || house.plimsoll.show("IDENTITIES").cell(0, "weight").to_owned();
    assert_eq!(weight(), "5");
    let data = GrantData { limits: limits(2), ..grant.data.clone() };
    house.runtime.block_on(house.store.change_grant(&grant.id, None, data, who())).unwrap();
    eventually("the weight is another", SOON, || {
        client().leave();
        weight() == "2"
    });
    first.leave();
}
