//! Who may do what over the API, keys, tokens, passwords, and questions about others.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod api;

use api::{Api, ParseId, START, key_id};
use plimsoll_identity::http::{Rate, Rates};
use plimsoll_identity::token::Expected;
use plimsoll_identity::{Id, RevokedToken, Scope, Who};
use serde_json::{Value, json};

/// An API with a data set and a grant of each of two organisations.
struct Town {
    api: Api,
    dataset: String,
    grant: String,
    other: Id,
    other_app: Id,
    other_dataset: String,
    other_grant: String,
}

impl Town {
    async fn new() -> Town {
        let api = Api::new().await;
        let other = api.other_org().await;
        let (app, _) = api.key_in(&api.org, "app", &[]).await;
        let (other_app, _) = api.key_in(&other, "app", &[]).await;
        let post = |path: &'static str, body: Value| {
            let ask = api.admin();
            async move { ask.post(path, body).await.is(201).str("id") }
        };
        let dataset = post("/v1/datasets", json!({"org": api.org, "name": "x", "database": "mine"})).await;
        let other_dataset =
            post("/v1/datasets", json!({"org": other, "name": "x", "database": "theirs"})).await;
        let grant = post("/v1/grants", json!({"subject": app, "dataset": dataset, "role": "reader"})).await;
        let other_grant =
            post("/v1/grants", json!({"subject": other_app, "dataset": other_dataset, "role": "boss"})).await;
        Town { api, dataset, grant, other, other_app, other_dataset, other_grant }
    }
}

#[tokio::test]
async fn each_scope_may_what_it_may() {
    let town = Town::new().await;
    let api = &town.api;
    let (mine, org_admin) = api.key_in(&api.org, "manager", &[Scope::OrgAdmin]).await;
    let (_, authorize) = api.key_in(&api.org, "asker", &[Scope::Authorize]).await;
    let (plain_app, plain) = api.key_in(&api.org, "plain", &[]).await;
    let question = json!({"application": mine, "dataset": town.dataset, "action": "x"});
    let table: Vec<(String, [u16; 4])> = vec![
        // path, and what becomes of admin, org_admin, authorize, nothing
        ("/v1/orgs".to_owned(), [200, 403, 403, 403]),
        (format!("/v1/orgs/{}", api.org), [200, 200, 403, 403]),
        (format!("/v1/orgs/{}", town.other), [200, 403, 403, 403]),
        ("/v1/datasets".to_owned(), [200, 200, 403, 403]),
        (format!("/v1/datasets?org={}", town.other), [200, 403, 403, 403]),
        (format!("/v1/datasets/{}", town.dataset), [200, 200, 403, 403]),
        (format!("/v1/datasets/{}", town.other_dataset), [200, 403, 403, 403]),
        ("/v1/users".to_owned(), [200, 200, 403, 403]),
        ("/v1/apps".to_owned(), [200, 200, 403, 403]),
        (format!("/v1/apps/{plain_app}"), [200, 200, 403, 200]),
        (format!("/v1/apps/{}", town.other_app), [200, 403, 403, 403]),
        ("/v1/grants".to_owned(), [200, 200, 403, 403]),
        (format!("/v1/grants?dataset={}", town.dataset), [200, 200, 403, 403]),
        (format!("/v1/grants?dataset={}&org={}", town.dataset, town.other), [200, 403, 403, 403]),
        (format!("/v1/grants/{}", town.grant), [200, 200, 403, 403]),
        (format!("/v1/grants/{}", town.other_grant), [200, 403, 403, 403]),
        ("/v1/keys".to_owned(), [200, 200, 403, 403]),
        (format!("/v1/keys/{}", key_id(&plain)), [200, 200, 403, 200]),
        (format!("/v1/keys/{}", key_id(&api.admin)), [200, 200, 403, 403]),
        ("/v1/audit".to_owned(), [200, 403, 403, 403]),
    ];
    for (path, wanted) in table {
        for (key, status) in [&api.admin, &org_admin, &authorize, &plain].into_iter().zip(wanted) {
            let answer = api.as_key(key).get(&path).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
            if status == 403 {
                answer.is_problem(403, "forbidden");
            }
        }
        api.nobody().get(&path).await.is_problem(401, "unauthenticated");
    }
    for (key, status) in [&api.admin, &org_admin, &authorize, &plain].into_iter().zip([200, 403, 200, 403]) {
        api.as_key(key).post("/v1/authorize", question.clone()).await.is(status);
    }
    let listed = api.as_key(&org_admin).get("/v1/apps?limit=200").await.json();
    let orgs: Vec<&Value> = listed["items"].as_array().unwrap().iter().map(|app| &app["org"]).collect();
    assert!(!orgs.is_empty() && orgs.iter().all(|org| **org == json!(api.org)), "{listed}");
}

#[tokio::test]
async fn an_administrator_of_an_organisation_stays_in_it() {
    let town = Town::new().await;
    let api = &town.api;
    let (app, key) = api.key_in(&api.org, "manager", &[Scope::OrgAdmin]).await;
    let ask = || api.as_key(&key);
    let org = &api.org;
    let forbidden = [
        ("/v1/orgs", json!({"name": "Mine"})),
        ("/v1/datasets", json!({"org": org, "name": "y", "database": "theirs"})),
        ("/v1/users", json!({"org": town.other, "login": "spy"})),
        ("/v1/users", json!({"org": org, "login": "boss", "scopes": ["admin"]})),
        ("/v1/users", json!({"org": org, "login": "asker", "scopes": ["org_admin", "authorize"]})),
        ("/v1/apps", json!({"org": town.other, "name": "spy"})),
        ("/v1/grants", json!({"subject": app, "dataset": town.dataset, "role": "postgres"})),
        ("/v1/grants", json!({"subject": app, "dataset": town.other_dataset, "role": "boss"})),
        ("/v1/grants", json!({"subject": app, "dataset": "dst_00000000000000000000000000", "role": "boss"})),
        ("/v1/keys", json!({"app": app, "kind": "key", "env": "live", "scopes": ["admin"]})),
        ("/v1/keys", json!({"app": town.other_app, "kind": "key", "env": "live"})),
        ("/v1/keys", json!({"app": "app_00000000000000000000000000", "kind": "key", "env": "live"})),
    ];
    for (path, body) in forbidden {
        let answer = ask().post(path, body.clone()).await;
        assert_eq!(answer.status.as_u16(), 403, "{path} {body}: {}", answer.text);
    }
    let allowed = [
        ("/v1/users", json!({"org": org, "login": "colleague", "scopes": ["org_admin"]})),
        ("/v1/apps", json!({"org": org, "name": "another"})),
        ("/v1/grants", json!({"subject": app, "dataset": town.dataset, "role": "reader"})),
        ("/v1/keys", json!({"app": app, "kind": "key", "env": "live", "scopes": ["org_admin"]})),
    ];
    for (path, body) in allowed {
        ask().post(path, body).await.is(201);
    }
    let dataset = format!("/v1/datasets/{}", town.dataset);
    let moved = json!({"org": org, "name": "x", "database": "theirs"});
    ask().with("if-match", "*").put(&dataset, moved).await.is_problem(403, "forbidden");
    let renamed = json!({"org": org, "name": "z", "database": "mine"});
    ask().with("if-match", "*").put(&dataset, renamed).await.is(200);
    ask().delete(&format!("/v1/grants/{}", town.other_grant)).await.is_problem(403, "forbidden");
    ask()
        .with("if-match", "*")
        .put(&format!("/v1/orgs/{org}"), json!({"name": "q"}))
        .await
        .is_problem(403, "forbidden");
}

#[tokio::test]
async fn nobody_takes_over_who_may_more() {
    let town = Town::new().await;
    let api = &town.api;
    let (_, key) = api.key_in(&api.org, "manager", &[Scope::OrgAdmin]).await;
    let ask = || api.as_key(&key);
    let boss = json!({"org": api.org, "login": "boss", "scopes": ["admin"]});
    let boss_path = api.admin().post("/v1/users", boss).await.is(201).header("location").to_owned();
    let admin_key = format!("/v1/keys/{}", key_id(&api.admin));
    let admin_app = format!("/v1/apps/{}", api.app);
    let password = json!({"password": "a good long password"});
    let less = json!({"org": api.org, "login": "boss"});
    let app = json!({"org": api.org, "name": "admin", "redirect_uris": ["https://elsewhere.example/"]});
    let rotation = json!({"overlap_seconds": 60});
    ask().put(&format!("{boss_path}/password"), password.clone()).await.is_problem(403, "forbidden");
    ask().delete(&format!("{boss_path}/password")).await.is_problem(403, "forbidden");
    ask().with("if-match", "*").put(&boss_path, less).await.is_problem(403, "forbidden");
    ask().delete(&boss_path).await.is_problem(403, "forbidden");
    ask().post(&format!("{admin_key}/rotate"), rotation).await.is_problem(403, "forbidden");
    ask().delete(&admin_key).await.is_problem(403, "forbidden");
    ask().with("if-match", "*").put(&admin_app, app).await.is_problem(403, "forbidden");
    ask().delete(&admin_app).await.is_problem(403, "forbidden");
    api.admin().put(&format!("{boss_path}/password"), password).await.is(204);
    let user = api.admin().get(&boss_path).await.is(200);
    assert_eq!(user.json()["has_password"], true);
    for (short, status) in [("too short", 422), (&*"x".repeat(1025), 422), (&*"x".repeat(1024), 204)] {
        api.admin().put(&format!("{boss_path}/password"), json!({"password": short})).await.is(status);
    }
    api.admin().delete(&format!("{boss_path}/password")).await.is(204);
    assert_eq!(api.admin().get(&boss_path).await.json()["has_password"], false);
}

#[tokio::test]
async fn a_key_is_shown_once_rotated_and_revoked() {
    let api = Api::new().await;
    let body = json!({"app": api.app, "kind": "key", "env": "live", "scopes": ["admin"]});
    let ask = || api.admin().with("idempotency-key", "the same");
    let made = ask().post("/v1/keys", body.clone()).await.is(201);
    let (key, path) = (made.str("key"), made.header("location").to_owned());
    assert_eq!((made.header("cache-control"), key_id(&key)), ("no-store", made.str("key_id")));
    assert_eq!(ask().post("/v1/keys", body.clone()).await.is(201).text, made.text, "the same answer");
    api.as_key(&key).get("/v1/orgs").await.is(200);
    assert!(api.used().contains(&format!("{} 192.0.2.1", key_id(&key))));
    for place in [path.as_str(), "/v1/keys", "/v1/audit"] {
        let text = api.admin().get(place).await.is(200).text;
        assert!(!text.contains(&key) && !text.contains("\"key\":"), "{text}");
    }
    let secret = key.rsplit_once('_').unwrap().1.as_bytes().to_vec();
    let stored = api.stored_bytes();
    assert!(stored.windows(16).any(|part| part == key_id(&key).as_bytes()), "the key id is there");
    assert!(!stored.windows(secret.len()).any(|part| part == secret), "the secret is not");

    let rotate = format!("{path}/rotate");
    api.admin().post(&rotate, json!({"overlap_seconds": 7_776_001})).await.is_problem(422, "invalid");
    api.admin()
        .with("if-match", "\"7\"")
        .post(&rotate, json!({"overlap_seconds": 60}))
        .await
        .is_problem(412, "stale");
    let second = api.admin().post(&rotate, json!({"overlap_seconds": 60})).await.is(201).str("key");
    assert_eq!(api.admin().get(&path).await.json()["expires_ms"], START + 60_000);
    for good in [&key, &second] {
        api.as_key(good).get("/v1/orgs").await.is(200);
    }
    api.clock.forward(60_000);
    let ended = api.as_key(&key).get("/v1/orgs").await;
    ended.is_problem(401, "unauthenticated");
    assert!(ended.str("detail").contains("expired"));
    let second_path = format!("/v1/keys/{}", key_id(&second));
    api.as_key(&second).delete(&second_path).await.is(204);
    api.as_key(&second).get("/v1/orgs").await.is_problem(401, "unauthenticated");
    api.admin().delete(&second_path).await.is(204);
    api.admin()
        .post(&format!("{second_path}/rotate"), json!({"overlap_seconds": 0}))
        .await
        .is_problem(409, "conflict");
    let active = json!({"app": api.app, "kind": "key", "env": "live"});
    api.admin().with("if-match", "*").put(&second_path, active).await.is_problem(409, "conflict");
}

#[tokio::test]
async fn other_credentials_are_made_known() {
    let api = Api::new().await;
    let post = |kind: &str, public: String| {
        api.admin().post("/v1/keys", json!({"app": api.app, "kind": kind, "env": "live", "public": public}))
    };
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let made = post("public_key", jwk.to_string()).await.is(201);
    assert!(made.json().get("key").is_none());
    let path = made.header("location").to_owned();
    api.admin()
        .post(&format!("{path}/rotate"), json!({"overlap_seconds": 0}))
        .await
        .is_problem(409, "conflict");
    post("certificate", "ab".repeat(32)).await.is(201);
    for (kind, public) in [("public_key", "{}"), ("public_key", ""), ("certificate", "ab"), ("key", "x")] {
        post(kind, public.to_owned()).await.is_problem(422, "invalid");
    }
}

#[tokio::test]
async fn wrong_keys_are_counted_and_their_owner_is_not_shut_out() {
    let api = Api::with_rates(Rates { failures: Rate { per_second: 1, burst: 5 }, ..Rates::default() }).await;
    let foreign = Api::new().await.admin;
    let disguised = foreign.replacen("plim_test_", "plim_live_", 1);
    for wrong in ["x", "plim_", &disguised, &foreign, "ey.a.b"] {
        let refused = api.as_key(wrong).from("198.51.100.7").get("/v1/orgs").await;
        refused.is_problem(401, "unauthenticated");
        assert!(!refused.text.contains(&foreign));
    }
    let refused = api.as_key(&api.admin).from("198.51.100.7").get("/v1/orgs").await;
    refused.is_problem(429, "too_many");
    assert_eq!(refused.header("retry-after"), "1");
    api.clock.forward(1_000);
    api.as_key(&api.admin).from("198.51.100.7").get("/v1/orgs").await.is(200);

    // Somebody with many addresses knows the key id, but not the secret.
    let forged = forged(&api.admin);
    for last in 1..=40 {
        let from = format!("203.0.113.{last}");
        let refused = api.as_key(&forged).from(&from).get("/v1/orgs").await;
        refused.is_problem(401, "unauthenticated");
        assert_eq!(refused.str("detail"), "the key is not known");
    }
    api.as_key(&forged).from("203.0.113.1").get("/v1/orgs").await.is_problem(429, "too_many");
    api.admin().get("/v1/orgs").await.is(200);
    // The two halves of what an address of IPv6 has are one.
    for last in 1..=5 {
        api.as_key("x")
            .from(&format!("2001:db8::{last}"))
            .get("/v1/orgs")
            .await
            .is_problem(401, "unauthenticated");
    }
    api.as_key("x").from("2001:db8::99").get("/v1/orgs").await.is_problem(429, "too_many");
    api.as_key("x").from("2001:db8:0:1::1").get("/v1/orgs").await.is_problem(401, "unauthenticated");
}

/// A key with the key id of another one.
fn forged(key: &str) -> String {
    let (head, _) = key.rsplit_once('_').unwrap();
    let body = format!("{head}_{}", "7".repeat(43));
    let mut sum = crc32fast::hash(body.as_bytes());
    let letters = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = letters[(sum % 62) as usize];
        sum /= 62;
    }
    let forged = format!("{body}{}", String::from_utf8(digits.to_vec()).unwrap());
    assert_eq!(api::key_id(&forged), api::key_id(key));
    forged
}

#[tokio::test]
async fn requests_are_limited_for_each_key() {
    let api = Api::with_rates(Rates { requests: Rate { per_second: 2, burst: 3 }, ..Rates::default() }).await;
    let (app, key) = api.key_in(&api.org, "busy", &[]).await;
    let path = format!("/v1/apps/{app}");
    for _ in 0..3 {
        api.as_key(&key).get(&path).await.is(200);
    }
    api.as_key(&key).get(&path).await.is_problem(429, "too_many");
    api.admin().get(&path).await.is(200);
    api.clock.forward(500);
    api.as_key(&key).get(&path).await.is(200);
    api.as_key(&key).get(&path).await.is_problem(429, "too_many");
}

#[tokio::test]
async fn the_header_is_one_and_says_bearer() {
    let api = Api::new().await;
    let header = |value: String| api.nobody().with("authorization", &value);
    header(format!("bearer  {}", api.admin)).get("/v1/orgs").await.is(200);
    for wrong in ["", "Bearer", "Bearer ", "Basic eDp4", &api.admin.clone()] {
        header(wrong.to_owned()).get("/v1/orgs").await.is_problem(401, "unauthenticated");
    }
    let twice = api.admin().with("authorization", &format!("Bearer {}", api.admin));
    twice.get("/v1/orgs").await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_may_what_it_says_and_its_subject_still_may() {
    let api = Api::new().await;
    let key = key_id(&api.admin);
    let user = json!({"org": api.org, "login": "anna", "scopes": ["org_admin"]});
    let user_path = api.admin().post("/v1/users", user).await.is(201).header("location").to_owned();
    let user_id = user_path.rsplit('/').next().unwrap().to_owned().parse_id();
    let (third, _) = api.key_in(&api.org, "third", &[]).await;
    let get = |token: &str, path: &str| {
        let (ask, path) = (api.as_key(token), path.to_owned());
        async move { ask.get(&path).await.status.as_u16() }
    };
    let full = api.token(&api.app, &api.app, "admin authorize other", Some(&key));
    let little = api.token(&api.app, &api.app, "", Some(&key));
    let of_user = api.token(&user_id, &third, "org_admin admin", None);
    let of_nobody = api.token(&"usr_00000000000000000000000000".to_owned().parse_id(), &third, "admin", None);
    let foreign_key = api.token(&third, &third, "admin", Some(&key));
    let keyless = api.token(&api.app, &api.app, "admin", None);
    assert_eq!([get(&full, "/v1/orgs").await, get(&little, "/v1/orgs").await], [200, 403]);
    assert_eq!([get(&of_user, "/v1/orgs").await, get(&of_user, "/v1/apps").await], [403, 200]);
    assert_eq!([get(&of_nobody, "/v1/orgs").await, get(&foreign_key, "/v1/orgs").await], [401, 401]);
    assert_eq!(get(&keyless, "/v1/orgs").await, 403, "an application has its scopes from its key");
    api.as_key(&of_user).post("/v1/apps", json!({"org": api.org, "name": "by Anna"})).await.is(201);
    let entry = api.admin().get("/v1/audit?limit=1").await.json();
    assert_eq!(entry["items"][0]["actor"], user_id.to_string());

    // A token that is revoked, or whose user, client or key is, is of no use.
    let again = api.token(&user_id, &third, "org_admin", None);
    let expected = Expected { audience: "plimsoll", now_s: START / 1000 };
    let named = api.signer.verifier().verify(&again, &expected).unwrap().token_id.unwrap();
    let ended = RevokedToken { token_id: &named, subject: "", client: "", ends_ms: START + 600_000 };
    let who = Who { actor: "init", from: "local", now_ms: START };
    api.store.revoke_token(&ended, who).await.unwrap();
    assert_eq!([get(&again, "/v1/apps").await, get(&of_user, "/v1/apps").await], [401, 200]);
    let off = json!({"org": api.org, "name": "third", "state": "disabled"});
    api.admin().with("if-match", "*").put(&format!("/v1/apps/{third}"), off).await.is(200);
    assert_eq!(get(&of_user, "/v1/apps").await, 401);
    let on = json!({"org": api.org, "name": "third"});
    api.admin().with("if-match", "*").put(&format!("/v1/apps/{third}"), on).await.is(200);
    let off = json!({"org": api.org, "login": "anna", "scopes": ["org_admin"], "state": "disabled"});
    api.admin().with("if-match", "*").put(&user_path, off).await.is(200);
    assert_eq!(get(&of_user, "/v1/apps").await, 401);
    api.admin().delete(&format!("/v1/keys/{key}")).await.is(204);
    assert_eq!(get(&full, "/v1/orgs").await, 401);
}

#[tokio::test]
async fn a_question_is_answered_with_a_reason() {
    let town = Town::new().await;
    let api = &town.api;
    let (app, key) = api.key_in(&api.org, "reader", &[]).await;
    let grant = json!({"subject": app, "dataset": town.dataset, "role": "reader", "actions": ["read"], "expires_ms": START + 5_000});
    let grant = api.admin().post("/v1/grants", grant).await.is(201).str("id");
    let ask = |body: Value| async move { api.admin().post("/v1/authorize", body).await.is(200).json() };
    let dataset = &town.dataset;
    let by_id = ask(json!({"application": app, "dataset": dataset, "action": "read"})).await;
    assert_eq!(
        by_id,
        json!({"decision": "allow", "subject": app, "grant": grant, "role": "reader", "until_ms": START + 5_000,
            "reason": format!("{grant} allows it")})
    );
    assert_eq!(ask(json!({"key": key, "dataset": dataset, "action": "read"})).await, by_id);
    let denied = [
        (json!({"application": app, "dataset": dataset, "action": "write"}), "no grant of"),
        (json!({"application": app, "dataset": town.other_dataset, "action": "read"}), "has no grant on"),
        (
            json!({"application": "app_00000000000000000000000000", "dataset": dataset, "action": "read"}),
            "no such application",
        ),
        (
            json!({"user": "usr_00000000000000000000000000", "dataset": dataset, "action": "read"}),
            "no such user",
        ),
        (json!({"key": forged(&key), "dataset": dataset, "action": "read"}), "not known"),
        (json!({"key": "plim_x", "dataset": dataset, "action": "read"}), "not a whole key"),
    ];
    for (body, reason) in denied {
        let verdict = ask(body).await;
        assert_eq!(verdict["decision"], "deny");
        assert!(verdict["reason"].as_str().unwrap().contains(reason), "{verdict}");
    }
    api.clock.forward(5_000);
    assert_eq!(ask(json!({"key": key, "dataset": dataset, "action": "read"})).await["decision"], "deny");
    for wrong in [
        json!({"dataset": dataset, "action": "read"}),
        json!({"application": app, "key": key, "dataset": dataset, "action": "read"}),
        json!({"application": dataset, "dataset": dataset, "action": "read"}),
        json!({"application": app, "dataset": app, "action": "read"}),
        json!({"application": app, "dataset": dataset, "action": ""}),
    ] {
        api.admin().post("/v1/authorize", wrong).await.is_problem(422, "invalid");
    }
}
