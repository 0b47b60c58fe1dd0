//! Opening a store: what is made, what is refused, what it costs PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use house::*;
use plimsoll_identity::{Create, OrgFilter, Store, StoreFault, StoreOptions};
use plimsoll_testkit::{Postgres, TempDir};
use sqlx::Connection;

const KNOWN: StoreOptions = StoreOptions { create: Create::Never };

async fn refused(url: &str, options: StoreOptions) -> String {
    match Store::open(url, options).await {
        Err(StoreFault::Unusable { why }) => why,
        other => panic!("unusable, not {other:?}"),
    }
}

/// What is not there may be there later.
async fn absent(url: &str, options: StoreOptions) -> String {
    match Store::open(url, options).await {
        Err(StoreFault::Absent { why }) => why,
        other => panic!("absent, not {other:?}"),
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn only_its_owner_can_read_the_file_and_those_beside_it() {
    let dir = TempDir::new("identity");
    let beside = |suffix: &str| {
        let mut name = file_in(&dir).into_os_string();
        name.push(suffix);
        name
    };
    runtime().block_on(async {
        let store = Store::open(&sqlite_url(&dir), FRESH).await.unwrap();
        House::build(&store, "a", 1).await;
        for suffix in ["", "-wal", "-shm"] {
            assert_eq!(mode_of(beside(suffix).as_ref()), 0o600, "{suffix}");
        }
        store.close().await;
        // A file from a backup that everybody may read.
        fs::set_permissions(file_in(&dir), Permissions::from_mode(0o644)).unwrap();
        let store = Store::open(&sqlite_url(&dir), KNOWN).await.unwrap();
        assert_eq!(store.orgs(OrgFilter::default(), page(9)).await.unwrap().items.len(), 1);
        for suffix in ["", "-wal", "-shm"] {
            assert_eq!(mode_of(beside(suffix).as_ref()), 0o600, "{suffix}");
        }
        store.close().await;
    });
}

#[test]
fn a_store_that_is_not_there_is_made_only_if_asked_for() {
    let dir = TempDir::new("identity");
    runtime().block_on(async {
        assert!(absent(&sqlite_url(&dir), KNOWN).await.contains("plimsoll identity init"));
        assert!(!file_in(&dir).exists());
        // An empty file is no store.
        fs::write(file_in(&dir), "").unwrap();
        assert!(absent(&sqlite_url(&dir), KNOWN).await.contains("plimsoll identity init"));
        let nowhere = format!("sqlite:{}/nowhere/store.db", dir.path().display());
        assert!(absent(&nowhere, FRESH).await.contains("nowhere"));
        for none in ["sqlite::memory:", "sqlite:", "sqlite:/", "mysql://x", "store.db", ""] {
            refused(none, FRESH).await;
        }
        let why = refused("postgres://me:hunter2@[nowhere/x", FRESH).await;
        assert!(!why.contains("hunter2"), "{why}");
        fs::write(file_in(&dir), "This is the letter of somebody to somebody else, and no database.")
            .unwrap();
        assert!(refused(&sqlite_url(&dir), FRESH).await.contains("not a database of SQLite"));
    });
}

#[test]
fn a_path_is_taken_as_it_is() {
    let dir = TempDir::new("identity");
    runtime().block_on(async {
        for name in ["a b?mode=memory", "100%25", "#x", "\u{e9}\u{1F980}", "..x", "a&b"] {
            let url = format!("sqlite:{}/{name}", dir.path().display());
            Store::open(&url, FRESH).await.unwrap().close().await;
            assert!(dir.path().join(name).is_file(), "{name}");
        }
    });
}

async fn say_a_newer_program_was_here(url: &str) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    let sql = "INSERT INTO plimsoll_migrations (number, at_ms) VALUES (1000, 0)";
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[test]
fn the_store_of_a_newer_program_is_refused_and_left_alone() {
    let dir = TempDir::new("identity");
    let postgres = Postgres::start();
    runtime().block_on(async {
        for (url, plain) in [
            (sqlite_url(&dir), sqlite_url(&dir).replace(' ', "%20")),
            (postgres_url(&postgres, "p0"), postgres_url(&postgres, "p0")),
        ] {
            Store::open(&url, FRESH).await.unwrap().close().await;
            Store::open(&url, KNOWN).await.unwrap().close().await;
            say_a_newer_program_was_here(&plain).await;
            for options in [KNOWN, FRESH] {
                let why = refused(&url, options).await;
                assert!(why.contains("version 1000") && why.contains("newer"), "{why}");
            }
        }
        assert!(absent(&postgres_url(&postgres, "p1"), KNOWN).await.contains("plimsoll identity init"));
        // What passes by itself: nobody listens there, or not yet.
        let nobody = Store::open("postgres://postgres@127.0.0.1:1/p0", KNOWN).await;
        assert!(matches!(nobody, Err(StoreFault::Down(_))), "{nobody:?}");
    });
}

#[test]
fn several_that_open_a_fresh_store_at_once_all_get_it() {
    let dir = TempDir::new("identity");
    let postgres = Postgres::start();
    runtime().block_on(async {
        for url in [sqlite_url(&dir), postgres_url(&postgres, "p0")] {
            let openers: Vec<_> = (0..6)
                .map(|_| {
                    let url = url.clone();
                    tokio::spawn(async move { Store::open(&url, FRESH).await })
                })
                .collect();
            for (opener, number) in openers.into_iter().zip(1..) {
                let store = opener.await.unwrap().unwrap();
                House::build(&store, &format!("org{number}"), number).await;
                store.close().await;
            }
        }
    });
}

#[test]
fn postgresql_sees_few_connections_however_many_ask() {
    let postgres = Postgres::start();
    let watch = postgres.watch("application_name <> 'direct'");
    runtime().block_on(async {
        let store = Store::open(&postgres_url(&postgres, "p0"), FRESH).await.unwrap();
        House::build(&store, "a", 1).await;
        let askers: Vec<_> = (0..300)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    match number % 3 {
                        0 => drop(store.create_org(org_data(&format!("org{number}")), WHO).await.unwrap()),
                        1 => drop(store.facts_of_key(&key_id(1)).await.unwrap().unwrap()),
                        _ => store.note_used(&[(key_id(1), number, String::new())]).await.unwrap(),
                    }
                })
            })
            .collect();
        for asker in askers {
            asker.await.unwrap();
        }
        store.close().await;
    });
    let most = watch.highest();
    assert!((1..=4).contains(&most), "{most} sessions at once");
    postgres.wait_for_sessions("true", 0);
}

#[test]
fn other_instances_hear_of_a_change_also_after_their_connection_was_lost() {
    let postgres = Postgres::start();
    let dir = TempDir::new("identity");
    runtime().block_on(async {
        let file = Store::open(&sqlite_url(&dir), FRESH).await.unwrap();
        file.follow().await.unwrap();
        let store = Store::open(&postgres_url(&postgres, "p0"), FRESH).await.unwrap();
        let listening = store.clone();
        let listening = tokio::spawn(async move { listening.follow().await });
        // It is said once when it begins to listen.
        store.changed().await;
        let other = Store::open(&postgres_url(&postgres, "p0"), KNOWN).await.unwrap();
        House::build(&other, "a", 1).await;
        while store.changes_since(0).await.unwrap().len() < 6 {
            store.changed().await;
        }
        assert_eq!(postgres.count_sessions("query LIKE 'LISTEN%'"), 1);
        postgres.terminate_sessions("query LIKE 'LISTEN%'");
        // To have lost the connection is heard as well; then the new one hears.
        while store.changes_since(8).await.unwrap().is_empty() {
            let name = format!("b{}", other.last_change().await.unwrap());
            other.create_org(org_data(&name), WHO).await.unwrap();
            store.changed().await;
        }
        assert!(!listening.is_finished());
        listening.abort();
        store.close().await;
        other.close().await;
    });
}
