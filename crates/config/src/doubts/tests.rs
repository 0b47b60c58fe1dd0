use std::path::Path;

use super::doubts;
use crate::{Plan, load};

const USERS: &str = "\"a\" \"x\"\n\"b\" \"md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n\"s\" \"SCRAM-SHA-256$4096:aa$bb:cc\"\n\"e\" \"\"\n";

fn plan(ini: &str) -> Plan {
    load(Path::new("p.ini"), &mut |path| match path == Path::new("users.txt") {
        true => Ok(USERS.to_string()),
        false => Ok(ini.to_string()),
    })
    .expect("a good file")
}

/// Rules and lines; line 4 is the first one of `[plimsoll]`.
fn found(lines: &str) -> Vec<(&'static str, u32)> {
    let plan = plan(&format!("[pgbouncer]\nauth_file = users.txt\n[plimsoll]\n{lines}"));
    let found = doubts(&plan);
    for doubt in &found {
        assert!(doubt.to_string().starts_with("p.ini:") && !doubt.todo.is_empty(), "{doubt}");
    }
    found.into_iter().map(|doubt| (doubt.id, doubt.place.map_or(0, |place| place.line))).collect()
}

#[test]
fn what_is_consistent_is_not_doubted() {
    for lines in [
        "",
        "target_budget = 2",
        "target_budget = 3\ncontrol_user = a\n[databases]\nx = host=10.0.0.1 guaranteed_pool_size=1",
        "target_budget = off\ntarget_headroom = 9",
        // A number is a cap that somebody chose: nothing is taken off it.
        "target_budget = 3\ntarget_headroom = 9\n[databases]\nx = host=h\n[targets]\nh:5432 = budget=3 headroom=9",
        "[databases]\nx = host=h guaranteed_pool_size=20",
        "[databases]\nx = host=db\n[targets]\n10.0.0.1:5432 = budget=1",
        "[databases]\nx = host=10.0.0.1\n[targets]\ndb:5432 = budget=1",
        "[databases]\nx = host=::1\n[targets]\n[0::1]:5432 = budget=1",
    ] {
        assert_eq!(found(lines), [], "{lines}");
    }
    assert_eq!(doubts(&Plan::default()), []);
}

#[test]
fn the_control_user_needs_a_secret_that_opens_a_server() {
    for user in ["a", "b"] {
        assert_eq!(found(&format!("control_user = {user}")), [], "{user}");
    }
    for user in ["nobody", "s", "e"] {
        assert_eq!(found(&format!("control_user = {user}")), [("control-user-unusable", 4)], "{user}");
    }
    let plan = plan("[pgbouncer]\n[plimsoll]\ncontrol_user = a\n");
    assert!(doubts(&plan)[0].message.contains("there is no auth_file"));
}

#[test]
fn promises_fit_the_budget() {
    // Four users, so four pools, and ten of the one who has a word of its own.
    let lines = |budget: u32, more: &str| {
        format!(
            "target_budget = {budget}\n[databases]\nx = host=127.0.0.1 guaranteed_pool_size=2\n\
             y = host=localhost user=a guaranteed_pool_size=7\nz = host=other guaranteed_pool_size=1\n{more}"
        )
    };
    let floors = [("floors-exceed-budget", 4)];
    assert_eq!(found(&lines(15, "")), []);
    assert_eq!(found(&lines(14, "")), floors);
    assert_eq!(
        found(&lines(25, "[users]\na = guaranteed_pool_size=10\nghost = guaranteed_pool_size=9")),
        floors
    );
    assert_eq!(found(&lines(26, "[users]\na = guaranteed_pool_size=10\nghost = guaranteed_pool_size=9")), []);
    let line = [("floors-exceed-budget", 10)];
    assert_eq!(found(&lines(99, "[targets]\nother:5432 = budget=3")), line);
    assert_eq!(found(&lines(99, "[targets]\nother:5432 = budget=4")), []);
    // Who watches has no pools.
    assert_eq!(
        found("control_user = a\ntarget_budget = 3\n[databases]\nx = host=h guaranteed_pool_size=1"),
        []
    );
}

#[test]
fn a_promise_fits_its_pool() {
    let rule = "floor-over-pool-size";
    assert_eq!(found("[databases]\nx = host=h guaranteed_pool_size=21"), [(rule, 5)]);
    assert_eq!(found("[databases]\nx = host=h pool_size=2 guaranteed_pool_size=3"), [(rule, 5)]);
    assert_eq!(found("[databases]\n* = host=h guaranteed_pool_size=21"), [(rule, 5)]);
    let user =
        |line: &str| found(&format!("[databases]\nx = host=h\ny = host=h pool_size=30\n[users]\na = {line}"));
    assert_eq!(user("guaranteed_pool_size=30"), []);
    assert_eq!(user("guaranteed_pool_size=31"), [(rule, 8)]);
    assert_eq!(user("guaranteed_pool_size=3 pool_size=2"), [(rule, 8)]);
}

#[test]
fn spills_have_room() {
    for lines in
        ["spill = off\nspill_memory = 0", "spill = memory\nspill_disk = 0", "spill_per_client = 128KiB"]
    {
        assert_eq!(found(lines), [], "{lines}");
    }
    assert_eq!(found("spill_memory = 100KiB"), [("spill-without-memory", 4)]);
    assert_eq!(found("spill_disk = 0"), [("spill-without-disk", 4)]);
    assert_eq!(found("spill_per_client = 2GiB"), [("spill-per-client-over-budget", 4)]);
    assert_eq!(found("spill = memory\nspill_per_client = 65MiB"), [("spill-per-client-over-budget", 5)]);
    let user = "spill = off\nspill_memory = 0\n[users]\na = spill=memory";
    assert_eq!(found(user), [("spill-without-memory", 5)]);
}

#[test]
fn targets_are_used_and_named_once() {
    let databases = "[databases]\nx = host=10.0.0.1\ny =\n[targets]\n";
    let lines = |text: &str| found(&format!("{databases}{text}"));
    assert_eq!(lines("10.0.0.1:5432 = budget=1\n/tmp:5432 = budget=2"), []);
    assert_eq!(
        lines("10.0.0.2:5432 = budget=1\n/tmp:5433 = budget=2"),
        [("target-unused", 9), ("target-unused", 8)]
    );
    assert_eq!(lines("10.0.0.1:5433 = budget=1"), [("target-unused", 8)]);
    let two = "[databases]\nx = host=localhost\n[targets]\nlocalhost:5432 = budget=1\n127.0.0.1:5432 = budget=2\n[::1]:5433 = budget=1\n";
    assert_eq!(found(two), [("target-unused", 9), ("target-named-twice", 8)]);
}

#[test]
fn issuers_are_of_use_and_name_people_for_good() {
    let issuer = |more: &str| {
        format!(
            "identity_store = sqlite:/x\n[issuers]\nx = url=https://a audience=a jwks=https://a/k {more} \
             org=org_01m80gg69c96a6cbvj0s1n5fzm\n[pgbouncer]\nauth_type = jwt"
        )
    };
    assert_eq!(found(&issuer("subject=azp")), []);
    assert_eq!(found(&issuer("user=email")), [("issuer-claim-changeable", 6)]);
    let plain = issuer("subject=azp").replace("jwks=https://a/k", "jwks=http://localhost/k");
    assert_eq!(found(&plain), [("issuer-without-tls", 6)]);
    let never = issuer("subject=azp").replace("auth_type = jwt", "auth_type = md5");
    assert_eq!(found(&never), [("issuers-never-asked", 6)]);
    let nowhere = issuer("subject=azp").replace("sqlite:/x", "off");
    assert_eq!(found(&nowhere), [("issuers-without-store", 6)]);
}
