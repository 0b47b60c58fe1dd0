//! What a question costs while there are a million keys:
//! `cargo run --release -p plimsoll-identity --example store_size URL [KEYS]`, the URL being that of a store that is
//! not there yet, `sqlite:/tmp/big.db` or `postgres://…`.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a report for people")]

use std::time::{Duration, Instant};

use plimsoll_identity::{
    AppData, Application, AuditFilter, Create, CredentialFilter, DataSetData, GrantData, Id, Limits, OrgData,
    Page, Party, State, Store, StoreOptions, Who,
};
use sqlx::{AssertSqlSafe, Connection};

const WHO: Who<'static> = Who { actor: "init", from: "", now_ms: 1_000 };
const ROUNDS: u64 = 200;
/// Rows put in with one statement.
const CHUNK: u64 = 100_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the URL of a store that is not there yet");
    let keys: u64 = arguments.next().map_or(1_000_000, |text| text.parse().unwrap());
    let store = Store::open(&url, StoreOptions { create: Create::IfMissing }).await.unwrap();
    let (org, app) = plant(&store).await;
    fill(&url, &org, &app, keys).await;
    println!("{keys} keys, {} entries in the audit log", store.last_change().await.unwrap());

    let key = |round: u64| format!("K{:015}", round * (keys / ROUNDS) % keys);
    measure("facts of a key", async |round| drop(store.facts_of_key(&key(round)).await.unwrap().unwrap()))
        .await;
    measure("a credential", async |round| drop(store.credential(&key(round)).await.unwrap())).await;
    let none = CredentialFilter::default();
    let (org, revoked) = (Some(org), Some(State::Revoked));
    let (every, busy) = (Some(app.id.clone()), Some(State::Active));
    for (name, filter) in [
        ("200 keys of all", none.clone()),
        ("of an organisation", CredentialFilter { org: org.clone(), ..none.clone() }),
        ("of it, active", CredentialFilter { org: org.clone(), state: busy, ..none.clone() }),
        ("of it, revoked (none)", CredentialFilter { org: org.clone(), state: revoked, ..none.clone() }),
        ("of an application", CredentialFilter { app: every.clone(), ..none.clone() }),
        ("of both, active", CredentialFilter { app: every, org, state: busy, ..none.clone() }),
        ("revoked (none)", CredentialFilter { state: revoked, ..none }),
    ] {
        measure(name, async |round| {
            let page = Page { after: Some(key(round)), limit: 200 };
            drop(store.credentials(filter.clone(), page).await.unwrap());
        })
        .await;
    }
    for (name, filter) in [
        ("200 entries of the audit log", AuditFilter::default()),
        ("of one key", AuditFilter { object: Some(key(7)), ..AuditFilter::default() }),
        ("of one actor", AuditFilter { actor: Some("nobody".to_owned()), ..AuditFilter::default() }),
        ("from a time on", AuditFilter { since_ms: Some(500), ..AuditFilter::default() }),
        ("from now on (none)", AuditFilter { since_ms: Some(5_000), ..AuditFilter::default() }),
    ] {
        let page = Page { after: None, limit: 200 };
        measure(name, async |_| drop(store.audit(filter.clone(), page.clone()).await.unwrap())).await;
    }
    measure("a change", async |round| {
        let mut data = store.credential(&key(round)).await.unwrap().data;
        data.name = format!("changed {round}");
        store.change_credential(&key(round), None, data, WHO).await.unwrap();
    })
    .await;
    store.close().await;
}

/// One organisation with an application that has a grant.
async fn plant(store: &Store) -> (Id, Application) {
    let name = "big".to_owned();
    let org = store.create_org(OrgData { name: name.clone(), state: State::Active }, WHO).await.unwrap();
    let data = AppData {
        org: org.id.clone(),
        name: name.clone(),
        party: Party::First,
        redirect_uris: Vec::new(),
        state: State::Active,
    };
    let app = store.create_app(data, WHO).await.unwrap();
    let data = DataSetData {
        org: org.id.clone(),
        name: name.clone(),
        database: name.clone(),
        schema: None,
        state: State::Active,
    };
    let dataset = store.create_dataset(data, WHO).await.unwrap();
    let data = GrantData {
        subject: app.id.clone(),
        dataset: dataset.id,
        role: name,
        actions: vec!["*".to_owned()],
        limits: Limits::default(),
        shared: false,
        expires_ms: None,
        state: State::Active,
    };
    store.create_grant(data, WHO).await.unwrap();
    (org.id, app)
}

/// Puts keys and their entries of the audit log in as no API would: many with one statement.
async fn fill(url: &str, org: &Id, app: &Application, keys: u64) {
    let mut connection = sqlx::AnyConnection::connect(url).await.unwrap();
    let number = "SUBSTR('000000000000000', 1, 15 - LENGTH(CAST(n AS TEXT))) || CAST(n AS TEXT)";
    for from in (0..keys).step_by(usize::try_from(CHUNK).unwrap()) {
        let to = (from + CHUNK).min(keys) - 1;
        let numbers = format!(
            "WITH RECURSIVE numbers (n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM numbers WHERE n < {to})"
        );
        let sql = format!(
            "INSERT INTO plimsoll_credentials (key_id, created_ms, changed_ms, changed_by, version, org, app, kind, \
             env, name, public_part, scopes, state) {numbers} SELECT 'K' || {number}, 1, 1, 'init', 1, '{org}', \
             '{}', '\"key\"', 'live', '', '', '[]', 'active' FROM numbers",
            app.id
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        let sql = format!(
            "INSERT INTO plimsoll_audit (seq, at_ms, actor, address, action, object, detail) {numbers} \
             SELECT n + 100, n / 1000, 'init', '', 'key.create', 'K' || {number}, '{{}}' FROM numbers"
        );
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

async fn measure(name: &str, ask: impl AsyncFn(u64)) {
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..ROUNDS {
        let begin = Instant::now();
        ask(round).await;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 100];
    println!("{name:32} median {:>10.2?}  99 % {:>10.2?}", at(50), at(99));
}
