//! The first and the third incident in small: a crowd at the identity service whose store is on a server of 26
//! connections, and a naive client with a pool for each token. `./dev soak --identity` and `--tokens` have them in full.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;
mod scrape;

use std::collections::BTreeMap;
use std::thread;

use common::SOON;
use identity_house::{IdentityHouse, house_with_store, identity_house};
use plimsoll_testkit::{Client, Ini, Login, Postgres, PostgresOptions, ServerError, TempDir, free_port};

/// As many as the server of the incident takes.
const LIMIT: u32 = 26;

/// Sessions of a store, of each instance (`docs/identity-store.md`); the test itself is one.
const STORE_MAX: u64 = 2 * 6;

fn with_api(port: u16) -> impl FnOnce(Ini) -> Ini {
    move |ini| ini.own("http_listen", &port.to_string())
}

fn wait_for_api(house: &IdentityHouse, port: u16) {
    house.plimsoll.wait_for_log(&format!("listening on http://127.0.0.1:{port}/metrics"), SOON);
}

/// A server that takes so many.
fn small_server(max_connections: u32) -> Postgres {
    Postgres::start_with(PostgresOptions { max_connections, ..PostgresOptions::default() })
}

#[test]
fn a_crowd_at_the_service_is_a_few_sessions_at_its_store() {
    let (server, port) = (small_server(LIMIT), free_port());
    let url = format!("postgres://boss@127.0.0.1:{}/p1", server.port());
    let house = house_with_store(&url, TempDir::new("identity"), with_api(port));
    wait_for_api(&house, port);
    let (_, key, ..) = house.usual();
    let watch = server.watch("application_name = 'plimsoll identity'");
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                for _ in 0..5 {
                    // Both answer well or fail the test; each is a connection of its own.
                    scrape::token(port, &key);
                    let bearer = format!("Authorization: Bearer {key}\r\nConnection: close\r\n");
                    let refused = scrape::ask(port, "GET", "/v1/grants", &bearer).unwrap();
                    // An application may not see them: what it has been looked up for.
                    assert_eq!(refused.status, 403, "{refused:?}");
                }
            });
        }
    });
    let highest = watch.highest();
    assert!((1..=STORE_MAX).contains(&highest), "{highest} sessions");
    let log = server.log();
    let refusals = ["too many clients", "connection slots"];
    assert!(refusals.iter().all(|words| !log.contains(words)), "somebody was refused:\n{log}");
}

/// A driver's pools as in the third incident: one for each connection string, and the token is part of it.
struct NaivePools {
    login: Login,
    by_token: BTreeMap<String, Client>,
}

impl NaivePools {
    fn new(login: Login) -> NaivePools {
        NaivePools { login, by_token: BTreeMap::new() }
    }

    /// With a fresh token each; how many are served before one is refused.
    fn ask(&mut self, times: usize, token: impl Fn() -> String) -> Result<usize, (usize, Box<ServerError>)> {
        for served in 0..times {
            let token = token();
            let client = match self.login.clone().password(&token).try_client() {
                Ok(client) => self.by_token.entry(token).or_insert(client),
                Err(failure) => return Err((served, Box::new(failure.server()))),
            };
            assert_eq!(client.value("SELECT 1"), "1");
        }
        assert_eq!(self.by_token.len(), times, "no token comes twice");
        Ok(times)
    }
}

#[test]
fn a_pool_for_each_token_fills_a_server_and_not_ours() {
    let port = free_port();
    let house = identity_house(|ini| with_api(port)(ini).set("auth_type", "jwt"));
    wait_for_api(&house, port);
    let (_, key, ..) = house.usual();
    let token = || scrape::token(port, &key);
    // Ten for applications, three for superusers.
    let server = small_server(13);
    let (served, told) = NaivePools::new(server.login("app", "p0")).ask(40, token).unwrap_err();
    assert_eq!(told.sqlstate, "53300");
    assert!((1..=10).contains(&served), "{served}");
    // The same client through the pooler. It asks one thing at a time: one connection does.
    let watch = house.postgres.watch("usename = 'app'");
    assert_eq!(NaivePools::new(house.plimsoll.login("app", "p0")).ask(40, token).unwrap(), 40);
    assert_eq!(watch.highest(), 1);
    let pools = house.plimsoll.show("POOLS");
    assert_eq!(pools.count(&[("database", "p0")]), 1);
}
