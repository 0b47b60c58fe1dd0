//! What the tests of the store have in common: a store of each kind, and one of everything in it.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

use std::path::PathBuf;

use plimsoll_identity::{
    AppData, Application, Create, Credential, CredentialData, CredentialKind, DataSet, DataSetData, Grant,
    GrantData, Id, Limits, OrgData, Organisation, Page, Party, State, Store, StoreFault, StoreOptions, User,
    UserData, Who,
};
use plimsoll_testkit::{Postgres, TempDir};

/// A time of the tests, milliseconds since 1970.
pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) const WHO: Who<'static> = Who { actor: "init", from: "127.0.0.1", now_ms: NOW };

pub(crate) const FRESH: StoreOptions = StoreOptions { create: Create::IfMissing };

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

pub(crate) fn file_in(dir: &TempDir) -> PathBuf {
    dir.path().join("identity store.db")
}

pub(crate) fn sqlite_url(dir: &TempDir) -> String {
    format!("sqlite:{}", file_in(dir).display())
}

pub(crate) fn postgres_url(postgres: &Postgres, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{}/{database}", postgres.port())
}

/// Runs a test with an empty store of each kind.
pub(crate) fn on_both(test: impl AsyncFn(Store)) {
    on_sqlite(&test);
    let postgres = Postgres::start();
    runtime().block_on(async {
        let store = Store::open(&postgres_url(&postgres, "p0"), FRESH).await.expect("PostgreSQL");
        test(store.clone()).await;
        store.close().await;
    });
}

pub(crate) fn on_sqlite(test: impl AsyncFn(Store)) {
    let dir = TempDir::new("identity");
    runtime().block_on(async {
        let store = Store::open(&sqlite_url(&dir), FRESH).await.expect("SQLite");
        test(store.clone()).await;
        store.close().await;
    });
}

pub(crate) fn page(limit: u32) -> Page {
    Page { after: None, limit }
}

/// A key id that ends in a number.
pub(crate) fn key_id(number: u64) -> String {
    format!("K{number:015}")
}

pub(crate) fn org_data(name: &str) -> OrgData {
    OrgData { name: name.to_owned(), state: State::Active }
}

pub(crate) fn dataset_data(org: &Id, name: &str, database: &str) -> DataSetData {
    DataSetData {
        org: org.clone(),
        name: name.to_owned(),
        database: database.to_owned(),
        schema: None,
        state: State::Active,
    }
}

pub(crate) fn app_data(org: &Id, name: &str) -> AppData {
    AppData {
        org: org.clone(),
        name: name.to_owned(),
        party: Party::Third,
        redirect_uris: vec!["https://example.org/back?x=1".to_owned()],
        state: State::Active,
    }
}

pub(crate) fn user_data(org: &Id, login: &str) -> UserData {
    UserData { org: org.clone(), login: login.to_owned(), scopes: Vec::new(), state: State::Active }
}

pub(crate) fn grant_data(subject: &Id, dataset: &Id, role: &str) -> GrantData {
    GrantData {
        subject: subject.clone(),
        dataset: dataset.clone(),
        role: role.to_owned(),
        actions: vec!["*".to_owned()],
        limits: Limits { clients: Some(3), statement_ms: Some(u64::MAX), ..Limits::default() },
        shared: false,
        expires_ms: None,
        state: State::Active,
    }
}

pub(crate) fn credential_data(app: &Id) -> CredentialData {
    CredentialData {
        app: app.clone(),
        kind: CredentialKind::Key,
        env: "live".to_owned(),
        name: String::new(),
        public: String::new(),
        scopes: Vec::new(),
        expires_ms: None,
        state: State::Active,
    }
}

/// One of everything.
pub(crate) struct House {
    pub(crate) org: Organisation,
    pub(crate) dataset: DataSet,
    pub(crate) user: User,
    pub(crate) app: Application,
    pub(crate) grant: Grant,
    pub(crate) credential: Credential,
}

impl House {
    /// Puts one of everything into a store; `name` is in the names.
    pub(crate) async fn build(store: &Store, name: &str, key: u64) -> House {
        let org = store.create_org(org_data(name), WHO).await.expect("an organisation");
        let dataset = store.create_dataset(dataset_data(&org.id, name, name), WHO).await.expect("a data set");
        let user = store.create_user(user_data(&org.id, name), WHO).await.expect("a user");
        let app = store.create_app(app_data(&org.id, name), WHO).await.expect("an application");
        let grant = store.create_grant(grant_data(&app.id, &dataset.id, name), WHO).await.expect("a grant");
        let credential = store
            .create_credential(&key_id(key), credential_data(&app.id), Some([7; 32]), WHO)
            .await
            .expect("a credential");
        House { org, dataset, user, app, grant, credential }
    }
}

/// What was written into the audit log: action and object, oldest first.
pub(crate) async fn deeds(store: &Store) -> Vec<(String, String)> {
    let entries = store.changes_since(0).await.unwrap();
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "no gap: {entries:?}");
    entries.into_iter().map(|entry| (entry.action, entry.object)).collect()
}

pub(crate) fn conflict<T: std::fmt::Debug>(outcome: Result<T, StoreFault>) -> String {
    match outcome {
        Err(StoreFault::Conflict { why }) => why,
        other => panic!("a conflict, not {other:?}"),
    }
}

pub(crate) fn invalid<T: std::fmt::Debug>(outcome: Result<T, StoreFault>) -> &'static str {
    match outcome {
        Err(StoreFault::Invalid { field, .. }) => field,
        other => panic!("invalid, not {other:?}"),
    }
}

pub(crate) fn missing<T: std::fmt::Debug>(outcome: Result<T, StoreFault>) -> &'static str {
    match outcome {
        Err(StoreFault::Missing { what }) => what,
        other => panic!("missing, not {other:?}"),
    }
}
