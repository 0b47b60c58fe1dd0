//! Very many things of one application, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use std::sync::Arc;

use house::*;
use plimsoll_identity::{Bearing, Door, DoorOptions, Key, State, Visitor};
use plimsoll_testkit::Postgres;
use sqlx::Connection;

/// More than one step removes.
const KEYS: u64 = 250;

#[test]
fn an_application_with_many_keys_is_dead_at_once_and_nobody_waits_for_its_end() {
    on_both(async |store| {
        let house = House::build(&store, "a", 0).await;
        for number in 1..KEYS {
            store
                .create_credential(&key_id(number), credential_data(&house.app.id), Some([7; 32]), WHO)
                .await
                .unwrap();
        }
        let before = usize::try_from(store.last_change().await.unwrap()).unwrap();
        let (removed, beside) =
            tokio::join!(store.delete_app(&house.app.id, Some(1), WHO), store.create_org(org_data("b"), WHO));
        removed.unwrap();
        let beside = beside.unwrap();
        let deeds = deeds(&store).await.split_off(before);
        let at = |action: &str, object: &str| {
            let found = deeds.iter().position(|deed| deed.0 == action && deed.1 == object);
            found.unwrap_or_else(|| panic!("no {action} of {object}"))
        };
        let app = house.app.id.as_str();
        let last = deeds.len() - 1;
        assert_eq!(at("app.delete", app), last, "everything of it goes before it");
        assert!(at("app.revoke", app) <= 201, "it is dead after the first step");
        assert!(
            at("org.create", beside.id.as_str()) < last - 50,
            "another write has its turn between two steps"
        );
        assert_eq!(deeds.iter().filter(|deed| deed.0 == "key.delete").count(), 250);
        for number in 0..KEYS {
            at("key.delete", &key_id(number));
        }
        at("grant.delete", house.grant.id.as_str());
        assert_eq!(deeds.len(), 250 + 4);
        assert_eq!(missing(store.credential(&key_id(7)).await), "credential");
        assert_eq!(missing(store.app(&house.app.id).await), "application");
    });
}

#[test]
fn what_was_interrupted_is_brought_to_its_end() {
    on_sqlite(async |store| {
        let house = House::build(&store, "a", 0).await;
        for number in 1..KEYS {
            let data = credential_data(&house.app.id);
            store.create_credential(&key_id(number), data, Some([7; 32]), WHO).await.unwrap();
        }
        // Whoever asked has gone away as soon as the application was seen to be revoked.
        let removal = store.delete_app(&house.app.id, None, WHO);
        let revoked = async { while store.app(&house.app.id).await.unwrap().data.state != State::Revoked {} };
        tokio::select! {
            biased;
            () = revoked => {}
            done = removal => panic!("too soon to be interrupted: {done:?}"),
        }
        store.delete_app(&house.app.id, None, WHO).await.unwrap();
        assert_eq!(missing(store.app(&house.app.id).await), "application");
        let deeds = deeds(&store).await;
        assert_eq!(deeds.iter().filter(|deed| deed.0 == "key.delete").count(), 250);
        assert_eq!(deeds.iter().filter(|deed| deed.0 == "app.revoke").count(), 1);
    });
}

/// All connections of the API are waiting for something; who comes by a key does not need them.
#[test]
fn whoever_floods_the_api_keeps_nobody_out_at_the_door() {
    let postgres = Postgres::start();
    let url = postgres_url(&postgres, "p0");
    runtime().block_on(async {
        let store = plimsoll_identity::Store::open(&url, FRESH).await.unwrap();
        let house = House::build(&store, "a", 0).await;
        let key = Key::mint("live", &[7; 44]).unwrap();
        let data = credential_data(&house.app.id);
        store.create_credential(key.key_id(), data, Some(key.secret_sha256()), WHO).await.unwrap();
        let options =
            DoorOptions { audience: "plimsoll".to_owned(), stale_ms: 300_000, outside: Arc::default() };
        let door = Door::open(store.clone(), None, options, NOW).await.unwrap();
        let mut holder = sqlx::PgConnection::connect(&url).await.unwrap();
        for sql in ["BEGIN", "LOCK TABLE plimsoll_things IN ACCESS EXCLUSIVE MODE"] {
            sqlx::query(sql).execute(&mut holder).await.unwrap();
        }
        let askers: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { while store.thing("code", "x", NOW).await.is_err() {} })
            })
            .collect();
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        // Another session, since one sees the same activity throughout a transaction.
        let mut watcher = sqlx::PgConnection::connect(&url).await.unwrap();
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut watcher).await.unwrap() < 3 {}
        let (database, user, from) = ("a".into(), "a".into(), "127.0.0.1".into());
        let secret = key.text().clone();
        let visitor = Visitor { bearing: Bearing::Key(secret), database, user, from, now_ms: NOW };
        let welcome = door.admit(visitor).await.expect("a login");
        assert_eq!(welcome.subject, house.app.id);
        door.write_used().await.unwrap();
        assert!(askers.iter().all(|asker| !asker.is_finished()), "all of them still wait");
        sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
        for asker in askers {
            asker.await.unwrap();
        }
        store.close().await;
    });
}

/// What is written now and then is not waited for without an end: the store has stopped in the middle of it.
#[test]
fn a_store_that_hangs_holds_up_last_uses_for_a_bounded_time() {
    let postgres = Postgres::start();
    let url = postgres_url(&postgres, "p0");
    runtime().block_on(async {
        let store = plimsoll_identity::Store::open(&url, FRESH).await.unwrap();
        House::build(&store, "a", 1).await;
        let options =
            DoorOptions { audience: "plimsoll".to_owned(), stale_ms: 300_000, outside: Arc::default() };
        let door = Door::open(store.clone(), None, options, NOW).await.unwrap();
        door.note_use(&key_id(1), NOW, &"127.0.0.1".into());
        let mut holder = sqlx::PgConnection::connect(&url).await.unwrap();
        for sql in ["BEGIN", "LOCK TABLE plimsoll_credentials IN ACCESS EXCLUSIVE MODE"] {
            sqlx::query(sql).execute(&mut holder).await.unwrap();
        }
        let door = Arc::new(door);
        let writing = tokio::spawn({
            let door = door.clone();
            async move { door.write_used().await }
        });
        let waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let mut watcher = sqlx::PgConnection::connect(&url).await.unwrap();
        let pid = loop {
            let pid = sqlx::query_scalar::<_, i32>(waiting).fetch_optional(&mut watcher).await.unwrap();
            if let Some(pid) = pid {
                break u32::try_from(pid).unwrap();
            }
        };
        postgres.freeze(pid);
        let why = writing.await.unwrap().unwrap_err();
        assert!(why.contains("has not answered for 4 s"), "{why}");
        postgres.thaw(pid);
        sqlx::query("ROLLBACK").execute(&mut holder).await.unwrap();
        // They were kept.
        door.write_used().await.unwrap();
        assert_eq!(store.credential(&key_id(1)).await.unwrap().used_ms, Some(NOW));
        store.close().await;
    });
}
