//! A process that is killed while it writes: what was acknowledged is there with its entry in the audit log, and
//! nothing is there by half.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use house::*;
use plimsoll_identity::{
    AppFilter, Audit, CredentialFilter, DataSetFilter, GrantFilter, Listed, OrgFilter, Page, State, Store,
    StoreFault, UserFilter,
};
use plimsoll_testkit::{Postgres, TempDir};
use serde_json::Value as Json;
use sqlx::{Connection, Row};

/// The child's store, and the number of its round.
const CHILD_URL: &str = "PLIMSOLL_TEST_KILL_URL";
const CHILD_ROUND: &str = "PLIMSOLL_TEST_KILL_ROUND";

#[test]
fn sqlite_survives_a_kill_at_any_moment() {
    if work_as_child() {
        return;
    }
    let dir = TempDir::new("identity");
    let url = sqlite_url(&dir);
    kill_rounds("sqlite_survives_a_kill_at_any_moment", &url, 30);
    let problems = runtime().block_on(async {
        sqlx::any::install_default_drivers();
        let mut connection = sqlx::AnyConnection::connect(&url.replace(' ', "%20")).await.unwrap();
        let whole = sqlx::query("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap();
        assert_eq!(whole[0].get::<String, _>(0), "ok");
        sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap().len()
    });
    assert_eq!(problems, 0);
}

#[test]
fn postgresql_keeps_whole_writes_of_a_process_that_was_killed() {
    if work_as_child() {
        return;
    }
    let postgres = Postgres::start();
    let url = postgres_url(&postgres, "p0");
    kill_rounds("postgresql_keeps_whole_writes_of_a_process_that_was_killed", &url, 8);
}

/// Writes until it is killed, if this is the child.
fn work_as_child() -> bool {
    let Ok(url) = std::env::var(CHILD_URL) else { return false };
    let round: u64 = std::env::var(CHILD_ROUND).unwrap().parse().unwrap();
    runtime().block_on(async {
        let store = Store::open(&url, FRESH).await.unwrap();
        for number in 0.. {
            work_once(&store, round * 100_000 + number).await;
        }
    });
    true
}

/// Says that something was acknowledged; a line in one write.
fn acknowledged(action: &str, object: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("ack {action} {object}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

async fn work_once(store: &Store, number: u64) {
    let name = format!("n{number}");
    let org = store.create_org(org_data(&name), WHO).await.unwrap();
    acknowledged("org.create", org.id.as_str());
    let dataset = store.create_dataset(dataset_data(&org.id, &name, &name), WHO).await.unwrap();
    acknowledged("dataset.create", dataset.id.as_str());
    let app = store.create_app(app_data(&org.id, &name), WHO).await.unwrap();
    acknowledged("app.create", app.id.as_str());
    let grant = store.create_grant(grant_data(&app.id, &dataset.id, &name), WHO).await.unwrap();
    acknowledged("grant.create", grant.id.as_str());
    let mut data = credential_data(&app.id);
    for key in [key_id(number * 2), key_id(number * 2 + 1)] {
        store.create_credential(&key, data.clone(), Some([1; 32]), WHO).await.unwrap();
        acknowledged("key.create", &key);
    }
    data.state = State::Revoked;
    store.change_credential(&key_id(number * 2), Some(1), data, WHO).await.unwrap();
    acknowledged("key.revoke", &key_id(number * 2));
    if number.is_multiple_of(2) {
        store.delete_app(&app.id, Some(1), WHO).await.unwrap();
        acknowledged("app.delete", app.id.as_str());
    }
    let user = store.create_user(user_data(&org.id, &name), WHO).await.unwrap();
    acknowledged("user.create", user.id.as_str());
    store.set_user_password(&user.id, Some("$x$y"), WHO).await.unwrap();
    acknowledged("user.password", user.id.as_str());
}

fn kill_rounds(test: &str, url: &str, rounds: u64) {
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 1..=rounds {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let acks = run_and_kill(test, url, round, chance >> 33);
        runtime().block_on(look(url, &acks));
    }
}

/// Runs the child until it has acknowledged a few writes and a while of up to 3 ms longer, then kills it. What it
/// acknowledged.
fn run_and_kill(test: &str, url: &str, round: u64, chance: u64) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD_URL, url)
        .env(CHILD_ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acks = Vec::new();
    let mut hear = |line: String| {
        // The test's own first words may be on the same line.
        let Some((_, ack)) = line.split_once("ack ") else { return 0 };
        let (action, object) = ack.split_once(' ').expect("a whole line");
        acks.push((action.to_owned(), object.to_owned()));
        1
    };
    let mut heard = 0;
    while heard < 1 + chance % 40 {
        heard += hear(lines.next().expect("the child ended by itself").unwrap());
    }
    let moment = Instant::now() + Duration::from_micros(chance % 3000);
    while Instant::now() < moment {
        std::hint::spin_loop();
    }
    child.kill().unwrap();
    for line in lines {
        hear(line.unwrap());
    }
    child.wait().unwrap();
    acks
}

/// Opens the store again and compares it with what was acknowledged and with its own audit log.
async fn look(url: &str, acks: &[(String, String)]) {
    let store = Store::open(url, FRESH).await.unwrap();
    let log = whole_log(&store).await;
    let mut left = log.iter();
    for (action, object) in acks {
        let found = left.any(|entry| entry.action == *action && entry.object == *object);
        assert!(found, "{action} {object} was acknowledged and is not in the log");
    }
    // At most one write was under way when the process died; only the end of an application has several entries.
    let rest: Vec<&Audit> = left.collect();
    let whole =
        rest.len() <= 1 || rest.last().is_some_and(|last| last.action == "app.delete") && rest.len() == 4;
    assert!(whole, "half a write, or one that nobody was told of: {rest:?}");
    assert_eq!(replayed(&log), everything(&store).await, "the log tells what is there");
    store.close().await;
}

async fn whole_log(store: &Store) -> Vec<Audit> {
    let mut log: Vec<Audit> = Vec::new();
    loop {
        let more = store.changes_since(log.last().map_or(0, |entry| entry.seq)).await.unwrap();
        if more.is_empty() {
            break;
        }
        log.extend(more);
    }
    assert!(log.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "a gap in the log");
    log
}

/// What is there if the log is true: of each object what was chosen, and its version.
fn replayed(log: &[Audit]) -> BTreeMap<String, (Json, i64)> {
    let mut there: BTreeMap<String, (Json, i64)> = BTreeMap::new();
    for entry in log {
        let verb = entry.action.split_once('.').map(|(_, verb)| verb);
        match (verb, there.get_mut(&entry.object)) {
            (Some("create"), None) => drop(there.insert(entry.object.clone(), (entry.detail.clone(), 1))),
            (Some("delete"), Some(_)) => drop(there.remove(&entry.object)),
            (Some("password"), Some((_, version))) => *version += 1,
            (Some("revoke" | "change"), Some((data, version))) => {
                *data = entry.detail.clone();
                *version += 1;
            }
            (_, found) => panic!("{entry:?} of {found:?}"),
        }
    }
    there
}

async fn everything(store: &Store) -> BTreeMap<String, (Json, i64)> {
    let mut all = BTreeMap::new();
    macro_rules! gather {
        ($list:ident, $filter:ty, $key:ident) => {
            let items = parts(async |page| store.$list(<$filter>::default(), page).await).await;
            all.extend(items.into_iter().map(|item| {
                (item.$key.to_string(), (serde_json::to_value(&item.data).unwrap(), item.meta.version))
            }));
        };
    }
    gather!(orgs, OrgFilter, id);
    gather!(datasets, DataSetFilter, id);
    gather!(users, UserFilter, id);
    gather!(apps, AppFilter, id);
    gather!(grants, GrantFilter, id);
    gather!(credentials, CredentialFilter, key_id);
    all
}

async fn parts<T>(list: impl AsyncFn(Page) -> Result<Listed<T>, StoreFault>) -> Vec<T> {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let part = list(Page { after, limit: 200 }).await.unwrap();
        items.extend(part.items);
        after = part.next;
        if after.is_none() {
            return items;
        }
    }
}
