//! Tokens at the pooler's door: had with a key, used as a password and over SASL OAUTHBEARER, revoked; and that they never
//! make a pool.

#![allow(clippy::unwrap_used)]

mod common;
mod identity_house;
mod scrape;

use common::SOON;
use identity_house::{IdentityHouse, identity_house};
use plimsoll_testkit::{Client, Packet, ServerError, eventually, free_port};
use scrape::Answer;

/// Logins by token, and the API.
struct House {
    house: IdentityHouse,
    port: u16,
}

fn tokens(auth_type: &str) -> House {
    let port = free_port();
    let house = identity_house(|ini| {
        ini.set("auth_type", auth_type)
            .set("default_pool_size", "3")
            .own("http_listen", &port.to_string())
            .own("revoke_grace", "500ms")
    });
    house.plimsoll.wait_for_log(&format!("listening on http://127.0.0.1:{port}/metrics"), SOON);
    House { house, port }
}

impl House {
    fn post(&self, path: &str, basic: &str, form: &str) -> Answer {
        scrape::post(self.port, path, basic, form)
    }

    fn token(&self, key: &str) -> String {
        scrape::token(self.port, key)
    }

    fn client(&self, token: &str) -> Client {
        self.house.plimsoll.login("app", "p0").password(token).client()
    }
}

#[test]
fn a_token_is_a_password_until_it_is_revoked() {
    let house = tokens("jwt");
    let (_, key, credential, _) = house.house.usual();
    let (token, other) = (house.token(&key), house.token(&key));
    let mut client = house.client(&token);
    assert_eq!(client.value("SELECT current_user"), "app");
    let mut beside = house.client(&other);
    assert_eq!(beside.value("SELECT 1"), "1");
    let seen = house.house.plimsoll.show("IDENTITIES");
    assert_eq!((seen.cell(0, "identity"), seen.cell(0, "clients")), ("shop", "2"));
    assert_eq!(seen.cell(0, "key_id"), credential.key_id);
    // Nothing that was changed is good.
    let mut forged = token.clone().into_bytes();
    let last = forged.len() - 5;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    for bad in [String::from_utf8(forged).unwrap(), key.clone(), "x.y.z".to_owned(), "y".repeat(60_000)] {
        let refused = house.house.plimsoll.login("app", "p0").password(&bad).refusal();
        assert_eq!(
            (refused.sqlstate.as_str(), refused.message.as_str()),
            ("28P01", "\"jwt\" authentication failed")
        );
    }
    let key_id = &credential.key_id;
    let revoked = house.post("/oauth/revoke", &format!("{key_id}:{key}"), &format!("token={token}"));
    assert_eq!(revoked.status, 200, "{revoked:?}");
    let told = client.expect_closed().expect("a reason");
    assert_eq!(
        (told.sqlstate.as_str(), told.detail.as_deref()),
        ("28000", Some("its token has been revoked"))
    );
    assert_eq!(house.house.plimsoll.login("app", "p0").password(&token).refusal().sqlstate, "28P01");
    assert_eq!(beside.value("SELECT 2"), "2", "the other token is as good as before");
    // The key ends what was had with it.
    house.house.revoke(&credential);
    assert_eq!(beside.expect_closed().expect("a reason").sqlstate, "28000");
    assert_eq!(house.house.plimsoll.login("app", "p0").password(&other).refusal().sqlstate, "28P01");
    let log = house.house.plimsoll.log();
    assert!(!log.contains(&token[60..]) && !log.contains(&key[30..]), "no secret in the log");
}

/// What the pooler says to a first message of SASL OAUTHBEARER.
enum Said {
    In(Client),
    Out { json: serde_json::Value, error: ServerError },
}

fn oauth(house: &House, auth: &str) -> Said {
    let login = house.house.plimsoll.login("app", "p0");
    let mut client = login.knock().unwrap();
    client.send(&login.startup_packet()).unwrap();
    let asked = client.read().unwrap();
    assert_eq!(&asked.body[4..], b"OAUTHBEARER\0\0");
    let data = format!("n,,\x01auth={auth}\x01\x01");
    let length = u32::try_from(data.len()).unwrap();
    let first = Packet::typed(b'p').text("OAUTHBEARER").int32(length).raw(data.as_bytes());
    client.send(&first.bytes()).unwrap();
    let answer = client.read().unwrap();
    assert_eq!(answer.tag, b'R');
    match answer.body[..4] {
        [0, 0, 0, 0] => {
            client.cycle().unwrap();
            Said::In(client)
        }
        _ => {
            assert_eq!(answer.body[..4], [0, 0, 0, 11]);
            let json = serde_json::from_slice(&answer.body[4..]).unwrap();
            client.send(&Packet::typed(b'p').raw(b"\x01").bytes()).unwrap();
            Said::Out { json, error: client.expect_closed().expect("an error") }
        }
    }
}

#[test]
fn oauthbearer_is_spoken_as_postgresql_18_speaks_it() {
    let house = tokens("oauth");
    let (_, key, ..) = house.house.usual();
    let Said::In(mut client) = oauth(&house, &format!("Bearer {}", house.token(&key))) else {
        panic!("refused");
    };
    assert_eq!(client.value("SELECT current_user"), "app");
    for (auth, sqlstate) in [("", "28P01"), ("Bearer x.y.z", "28P01")] {
        let Said::Out { json, error } = oauth(&house, auth) else { panic!("let in") };
        assert_eq!(json["status"], "invalid_token");
        let url = format!("http://127.0.0.1:{}/.well-known/oauth-authorization-server", house.port);
        assert_eq!(json["openid-configuration"], url.as_str());
        assert_eq!(error.sqlstate, sqlstate);
    }
    let metadata =
        scrape::ask(house.port, "GET", "/.well-known/oauth-authorization-server", "Connection: close\r\n")
            .unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata.body).unwrap();
    assert_eq!(metadata["issuer"], format!("http://127.0.0.1:{}", house.port).as_str());
    let jwks = scrape::ask(house.port, "GET", "/oauth/jwks", "Connection: close\r\n").unwrap();
    let jwks: serde_json::Value = serde_json::from_str(&jwks.body).unwrap();
    assert_eq!(jwks["keys"][0]["kty"], "EC");
    assert!(jwks["keys"][0].get("d").is_none());
}

#[test]
fn each_connection_with_a_token_of_its_own_is_still_one_pool() {
    let house = tokens("jwt");
    let (_, key, ..) = house.house.usual();
    // A pool for each token, as the clients of the third incident had it: nobody of them ever comes twice.
    let mut clients: Vec<Client> = (0..60).map(|_| house.client(&house.token(&key))).collect();
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
    let pools = house.house.plimsoll.show("POOLS");
    let ours = (0..pools.rows.len()).filter(|row| pools.cell(*row, "database") == "p0").count();
    assert_eq!(ours, 1);
    assert_eq!(pools.number(pools.find(&[("database", "p0")]).unwrap(), "cl_active"), 60);
    assert!(house.house.postgres.count_sessions("usename = 'app'") <= 3);
    let keys = house.house.plimsoll.show("POOL_KEYS");
    assert!(!keys.rows.iter().flatten().flatten().any(|cell| cell.contains("eyJ")), "no token in a key");
    for client in clients {
        client.leave();
    }
    eventually("all are gone", SOON, || house.house.plimsoll.show("IDENTITIES").rows.is_empty());
}
