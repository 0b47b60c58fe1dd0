use plimsoll_testkit::TempDir;

use super::*;
use crate::store::cells::Cells;

/// What a connection of SQLite's has been told.
async fn pragma(pool: &AnyPool, sql: &'static str) -> i64 {
    let row = sqlx::query(sql).fetch_one(pool).await.expect("a pragma is answered");
    Cells::of(&row).number().expect("with a number")
}

#[test]
fn sqlite_waits_for_the_disk_and_checks_what_is_referred_to() {
    let dir = TempDir::new("identity");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = format!("sqlite:{}/store.db", dir.path().display());
        let options = StoreOptions { create: Create::IfMissing };
        let store = Store::open(&url, options).await.expect("a store");
        assert_eq!(pragma(&store.writes, "PRAGMA synchronous").await, 2, "FULL");
        assert_eq!(pragma(&store.writes, "PRAGMA foreign_keys").await, 1);
        assert_eq!(pragma(&store.writes, "PRAGMA busy_timeout").await, 5000);
        assert_eq!(pragma(&store.reads, "PRAGMA query_only").await, 1);
        let row = sqlx::query("PRAGMA journal_mode").fetch_one(&store.reads).await.expect("a row");
        assert_eq!(Cells::of(&row).text().expect("a word"), "wal");
        assert_eq!(
            (store.writes.options().get_max_connections(), store.reads.options().get_max_connections()),
            (1, 3)
        );
        store.close().await;
    });
}

#[test]
fn every_odd_letter_of_a_path_is_escaped() {
    let url = sqlite_url(Path::new("/a b/c?d#e%f.db"));
    assert_eq!(url, "sqlite:///a%20b/c%3Fd%23e%25f%2Edb");
}
