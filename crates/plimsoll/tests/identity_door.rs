//! Who gets in by the key of an application, as whom, and for how long.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;

use common::SOON;
use common::lost::{new, send};
use identity_house::{IdentityHouse, house_with_store, identity_house, now_ms, who};
use plimsoll_identity::{Create, GrantData, Limits, State, Store, StoreOptions};
use plimsoll_testkit::{Client, Ini, Plimsoll, Postgres, StopMode, TempDir, eventually, tags};

fn by_key(house: &IdentityHouse, user: &str, key: &str) -> Client {
    house.plimsoll.login(user, "p0").password(key).client()
}

#[test]
fn a_key_enters_as_the_granted_role_and_is_seen_by_name() {
    let house = identity_house(|ini| ini);
    let (app, key, credential, grant) = house.usual();
    // By the login role, by the name of the application, and by its id: one pool.
    for user in ["app", "shop", app.id.as_str()] {
        let mut client = by_key(&house, user, &key);
        assert_eq!(client.value("SELECT current_user"), "app", "{user}");
        client.leave();
    }
    let mut client = by_key(&house, "shop", &key);
    client.query("BEGIN");
    let holds = house.plimsoll.show("HOLDS");
    let cells = ["organisation", "identity", "key_id", "role", "user"].map(|column| holds.cell(0, column));
    assert_eq!(cells, ["acme", "shop", &credential.key_id, "app", "app"]);
    let seen = house.plimsoll.show("IDENTITIES");
    let cells =
        ["identity", "identity_id", "grant_id", "clients", "holds", "hosts"].map(|name| seen.cell(0, name));
    assert_eq!(cells, ["shop", app.id.as_str(), grant.id.as_str(), "1", "1", "127.0.0.1"]);
    assert_eq!(house.postgres.count_sessions("usename = 'app'"), 1, "one pool, one connection");
    client.query("COMMIT");
    client.leave();
    assert!(!house.plimsoll.log().contains(&key[30..]), "no secret in the log");
}

#[test]
fn what_is_not_good_is_refused_and_only_the_log_says_why() {
    let house = identity_house(|ini| ini);
    let (_, key, credential, _) = house.usual();
    let other = house.app("other");
    let (without_grant, _) = house.key(&other, None);
    let (expired, _) = house.key(&other, Some(now_ms() - 1));
    let mistyped = format!("{}{}", &key[..key.len() - 1], if key.ends_with('a') { "b" } else { "a" });
    let refusal = |user: &str, key: &str| house.plimsoll.login(user, "p0").password(key).refusal();
    for (secret, why) in [
        (mistyped.as_str(), "checksum"),
        ("app-secret", "not a key"),
        (expired.as_str(), "expired"),
        (&"x".repeat(60_000), "not a key"),
    ] {
        let refused = refusal("app", secret);
        assert_eq!(
            (refused.sqlstate.as_str(), refused.message.as_str()),
            ("28P01", "\"key\" authentication failed")
        );
        house.plimsoll.wait_for_log(why, SOON);
    }
    let refused = refusal("app", &without_grant);
    assert_eq!((refused.sqlstate.as_str(), refused.message.as_str()), ("28000", "not granted"));
    assert_eq!(refused.detail.unwrap(), format!("{} has no grant on database \"p0\"", other.id));
    let refused = refusal("boss", &key);
    assert!(refused.detail.unwrap().contains("may not enter as \"boss\"; it may as \"app\""));
    let refused = house.plimsoll.login("app", "p1").password(&key).refusal();
    assert!(refused.detail.unwrap().contains("no grant on database \"p1\""));
    // In the wrong field it is in no log.
    for (user, database) in [(key.as_str(), "p0"), ("app", key.as_str())] {
        let refused = house.plimsoll.login(user, database).password("x").refusal();
        assert_eq!(refused.message, "a key or token was given as the user or database");
    }
    assert!(!house.plimsoll.log().contains(&key[30..]), "no secret in the log");
    house.revoke(&credential);
    // By another process: it is heard of at the next look.
    eventually("it is refused", SOON, || {
        house.plimsoll.login("app", "p0").password(&key).try_client().is_err()
    });
    house.plimsoll.wait_for_log("the credential is revoked", SOON);
}

#[test]
fn a_revoked_key_ends_its_sessions_and_nobody_elses() {
    let house = identity_house(|ini| ini.own("revoke_grace", "1s"));
    let (app, key, credential, _) = house.usual();
    let (second, _) = house.key(&app, None);
    let mut idle = by_key(&house, "app", &key);
    assert_eq!(idle.value("SELECT 1"), "1");
    let mut between = by_key(&house, "app", &key);
    between.query("BEGIN");
    let mut long = by_key(&house, "app", &key);
    long.query("BEGIN");
    let mut other = by_key(&house, "app", &second);
    assert_eq!(other.value("SELECT 2"), "2");
    house.revoke(&credential);
    let told = idle.expect_closed().expect("a reason");
    assert_eq!((told.sqlstate.as_str(), told.message.as_str()), ("28000", "authorisation has ended"));
    assert_eq!(told.detail.unwrap(), format!("key {}: the credential is revoked", credential.key_id));
    // A transaction may be finished within the grace: its end is the session's.
    between.query("COMMIT");
    assert_eq!(between.expect_closed().expect("a reason").sqlstate, "28000");
    // Who goes on longer is cut off, and what it did is rolled back.
    assert_eq!(long.expect_closed().expect("a reason").sqlstate, "28000");
    assert_eq!(other.value("SELECT 3"), "3");
    eventually("nothing is left of it", SOON, || {
        house.postgres.count_sessions("usename = 'app' AND state = 'idle in transaction'") == 0
    });
    assert_eq!(house.plimsoll.login("app", "p0").password(&key).refusal().sqlstate, "28P01");
}

#[test]
fn an_identity_goes_on_through_an_online_restart_and_ends_with_its_right() {
    let mut house = identity_house(|ini| ini);
    let (_, key, credential, _) = house.usual();
    let mut client = by_key(&house, "shop", &key);
    client.query("BEGIN");
    let seen = |house: &IdentityHouse| {
        let holds = house.plimsoll.show("HOLDS");
        ["organisation", "identity", "key_id", "role"].map(|column| holds.cell(0, column).to_owned())
    };
    let before = seen(&house);
    assert_eq!(before, ["acme", "shop", credential.key_id.as_str(), "app"].map(String::from));
    let mut old = house.plimsoll.take_over();
    assert_eq!(old.wait(SOON).code(), Some(0), "{}", house.plimsoll.log());
    assert_eq!(seen(&house), before);
    client.query("COMMIT");
    assert_eq!(client.value("SELECT current_user"), "app");
    house.revoke(&credential);
    let told = client.expect_closed().expect("a reason");
    assert_eq!(told.detail.unwrap(), format!("key {}: the credential is revoked", credential.key_id));
}

#[test]
fn an_end_that_was_set_before_comes_by_itself() {
    let house = identity_house(|ini| ini.own("revoke_grace", "0"));
    let app = house.app("shop");
    house.grant(&app.id, "app", Limits::default());
    let (key, _) = house.key(&app, Some(now_ms() + 3_000));
    let mut client = by_key(&house, "app", &key);
    assert_eq!(client.value("SELECT 1"), "1");
    let told = client.expect_closed().expect("a reason");
    assert_eq!(told.sqlstate, "28000");
    assert!(told.detail.unwrap().contains("has come to its end"));
}

#[test]
fn limits_of_a_grant_hold() {
    let house = identity_house(|ini| ini);
    let app = house.app("shop");
    let (key, _) = house.key(&app, None);
    let limits =
        Limits { clients: Some(2), statement_ms: Some(300), hold_ms: Some(700), ..Limits::default() };
    let grant = house.grant(&app.id, "app", limits);
    let mut first = by_key(&house, "app", &key);
    let second = by_key(&house, "app", &key);
    let refused = house.plimsoll.login("app", "p0").password(&key).refusal();
    assert_eq!(refused.sqlstate, "53300");
    assert_eq!(refused.message, "client connections exceeded: the grant of \"shop\" allows 2");
    second.leave();
    eventually("there is room again", SOON, || {
        house.plimsoll.login("app", "p0").password(&key).try_client().is_ok()
    });
    send(&mut first, &new().query("SELECT pg_sleep(60)"));
    assert_eq!(first.expect_closed().expect("a reason").message, "query timeout");
    let mut client = by_key(&house, "app", &key);
    client.query("BEGIN");
    assert_eq!(client.expect_closed().expect("a reason").message, "transaction timeout");
    // A grant that is disabled ends sessions, and lets nobody in.
    let mut client = by_key(&house, "app", &key);
    assert_eq!(client.value("SELECT 1"), "1");
    let data = GrantData { state: State::Disabled, ..grant.data.clone() };
    house.runtime.block_on(house.store.change_grant(&grant.id, None, data, who())).unwrap();
    assert!(client.expect_closed().expect("a reason").detail.unwrap().contains("it is disabled"));
}

#[test]
fn a_grant_holds_no_more_connections_than_it_may() {
    let house = identity_house(|ini| ini.set("default_pool_size", "5"));
    let (_, _, _, free) = house.usual();
    let (app, limits) = (house.app("small"), Limits { holds: Some(1), ..Limits::default() });
    let (key, _) = house.key(&app, None);
    let grant = house.grant(&app.id, "app", limits);
    let mut first = by_key(&house, "app", &key);
    first.query("BEGIN");
    let mut second = by_key(&house, "app", &key);
    send(&mut second, &new().query("SELECT 2"));
    eventually("it waits", SOON, || house.plimsoll.show("WAITERS").rows.len() == 1);
    let why = house.plimsoll.show("WAITERS").cell(0, "why").to_string();
    assert!(why.starts_with(&format!("cap of grant {}: 1 of 1 places are taken", grant.id)), "{why}");
    let (other, _) = house.key(&house.app_of(&free), None);
    assert_eq!(by_key(&house, "app", &other).value("SELECT 3"), "3", "another grant has its own");
    first.query("COMMIT");
    assert_eq!(second.cycle().map(|heard| tags(&heard)).unwrap(), "TDCZ");
    // The limit goes: the next login says so for all of them.
    let data = GrantData { limits: Limits::default(), ..grant.data.clone() };
    house.runtime.block_on(house.store.change_grant(&grant.id, None, data, who())).unwrap();
    eventually("there is no cap any more", SOON, || {
        by_key(&house, "app", &key).leave();
        house.plimsoll.console().query("CAP").rows.is_empty()
    });
}

#[test]
fn without_a_store_nobody_gets_in_and_a_store_that_is_not_there_is_named() {
    let (_postgres, plimsoll) = common::house(|ini| ini.set("auth_type", "key"));
    let refused = plimsoll.login("app", "p0").password("x").refusal();
    assert_eq!(refused.message, "logins by key, jwt and oauth need identity_store");
    let ini = Ini::empty().own("identity_store", "sqlite:/nowhere/identity.db");
    let (status, log) = Plimsoll::start_and_fail(common::BINARY, &ini);
    assert!(!status.success() && log.contains("identity_store = sqlite:/nowhere/identity.db: "), "{log}");
    assert!(log.contains("(identity_store at "), "{log}");
}

#[test]
fn a_store_that_comes_back_before_its_tables_is_waited_for() {
    let mut store = Postgres::start();
    let url = format!("postgres://boss@127.0.0.1:{}/p0", store.port());
    store.stop(StopMode::Fast);
    let (_postgres, plimsoll) = common::house(|ini| ini.set("auth_type", "key").own("identity_store", &url));
    plimsoll.wait_for_log("does not answer: ", SOON);
    // As after a restore that has just begun.
    store.start_again();
    plimsoll.wait_for_log("there is no identity store yet", SOON);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(Store::open(&url, StoreOptions { create: Create::IfMissing })).unwrap();
    plimsoll.wait_for_log("the identity store answers", SOON);
    runtime.block_on(made.close());
}

#[test]
fn while_the_store_is_silent_who_is_known_goes_on_for_a_while() {
    let mut store = Postgres::start();
    let url = format!("postgres://boss@127.0.0.1:{}/p0", store.port());
    let house = house_with_store(&url, TempDir::new("identity"), |ini| {
        ini.own("identity_stale", "6s").own("revoke_grace", "0")
    });
    let (app, key, _, _) = house.usual();
    let (unknown, _) = house.key(&app, None);
    // What is heard of a change forgets what depends on it. When the end of this key has been heard, all that was written
    // before it has been as well.
    let other = house.app("other");
    house.grant(&other.id, "other", Limits::default());
    let (last, credential) = house.key(&other, None);
    let mut witness = by_key(&house, "other", &last);
    assert_eq!(witness.value("SELECT 0"), "0");
    house.revoke(&credential);
    witness.expect_closed().expect("a reason");
    let mut client = by_key(&house, "app", &key);
    assert_eq!(client.value("SELECT 1"), "1");
    assert!(!house.plimsoll.log().contains("boss@"), "the URL may hold a password");
    store.stop(StopMode::Fast);
    house.plimsoll.wait_for_log("who is known goes on for 6 s (identity_stale), others are refused", SOON);
    let again = by_key(&house, "app", &key);
    again.leave();
    let refused = house.plimsoll.login("app", "p0").password(&unknown).refusal();
    assert_eq!(
        (refused.sqlstate.as_str(), refused.message.as_str()),
        ("57P03", "identities cannot be checked now")
    );
    // By so much a revocation can be late, and no later.
    let told = client.expect_closed().expect("a reason");
    assert!(told.detail.unwrap().contains("has not answered for identity_stale"));
    assert_eq!(house.plimsoll.login("app", "p0").password(&key).refusal().sqlstate, "57P03");
    store.start_again();
    house.plimsoll.wait_for_log("the identity store answers again", SOON);
    assert_eq!(by_key(&house, "app", &unknown).value("SELECT 1"), "1");
}
