//! The API: its nouns, its errors, its description.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod api;

use std::collections::BTreeSet;
use std::path::Path;

use api::{Answer, Api, ParseId, START};
use axum::body::Body;
use plimsoll_identity::http::{BODY_BYTES_MAX, document};
use plimsoll_identity::{OrgData, State, Who};
use serde_json::{Value, json};

#[tokio::test]
async fn a_noun_is_made_read_changed_and_removed() {
    let api = Api::new().await;
    let made = api.admin().post("/v1/orgs", json!({"name": "Lighthouse"})).await.is(201);
    let path = made.header("location").to_owned();
    assert_eq!(
        (made.header("etag"), path.as_str()),
        ("\"1\"", format!("/v1/orgs/{}", made.str("id")).as_str())
    );
    let whole = made.json();
    assert_eq!(
        (&whole["state"], &whole["version"], &whole["created_ms"]),
        (&json!("active"), &json!(1), &json!(START))
    );
    assert_eq!(whole["changed_by"], format!("key {}", api::key_id(&api.admin)));

    let read = api.admin().get(&path).await.is(200);
    assert_eq!((read.json(), read.header("etag")), (whole, "\"1\""));
    assert_eq!(
        (read.header("cache-control"), read.header("x-content-type-options")),
        ("no-store", "nosniff")
    );
    for known in ["\"1\"", "W/\"1\"", "\"9\", \"1\"", "*"] {
        let same = api.admin().with("if-none-match", known).get(&path).await.is(304);
        assert_eq!((same.text.as_str(), same.header("etag")), ("", "\"1\""));
    }
    api.admin().with("if-none-match", "\"2\"").get(&path).await.is(200);

    let change = json!({"name": "Lighthouse", "state": "disabled"});
    api.admin().put(&path, change.clone()).await.is_problem(428, "unconditional");
    for stale in ["\"2\"", "W/\"1\"", "1", "\"01\"", "\"x\"", "\"99999999999999999999\""] {
        let refused = api.admin().with("if-match", stale).put(&path, change.clone()).await;
        refused.is_problem(412, "stale");
        assert_eq!(refused.header("etag"), "\"1\"");
    }
    api.admin()
        .with("if-match", "\"1\", \"2\"")
        .put(&path, change.clone())
        .await
        .is_problem(400, "bad_request");
    let changed = api.admin().with("if-match", "\"1\"").put(&path, change.clone()).await.is(200);
    assert_eq!((changed.header("etag"), changed.str("state").as_str()), ("\"2\"", "disabled"));
    api.admin().with("if-match", "*").put(&path, json!({"name": "Lighthouse"})).await.is(200);

    api.admin().with("if-match", "\"1\"").delete(&path).await.is_problem(412, "stale");
    let gone = api.admin().delete(&path).await.is(204);
    assert_eq!(gone.text, "");
    api.admin().get(&path).await.is_problem(404, "missing");
    api.admin().delete(&path).await.is_problem(404, "missing");
    let deeds = api.admin().get("/v1/audit?limit=3").await.is(200).json();
    let actions: Vec<&str> =
        deeds["items"].as_array().unwrap().iter().map(|one| one["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["org.delete", "org.enable", "org.disable"]);
    assert_eq!(deeds["items"][0]["from"], "192.0.2.1");
}

/// What each noun is made of.
fn bodies(api: &Api, other: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("orgs", json!({"name": "A name"})),
        ("datasets", json!({"org": api.org, "name": "A name", "database": "sales"})),
        ("users", json!({"org": api.org, "login": "a.name", "scopes": ["org_admin"]})),
        ("apps", json!({"org": api.org, "name": "A name", "redirect_uris": ["https://example.org/back"]})),
        ("grants", json!({"subject": api.app, "dataset": other, "role": "reader", "limits": {"holds": 3}})),
        ("keys", json!({"app": api.app, "kind": "key", "env": "live"})),
    ]
}

async fn dataset(api: &Api) -> String {
    let body = json!({"org": api.org, "name": "The first", "database": "first"});
    api.admin().post("/v1/datasets", body).await.is(201).str("id")
}

#[tokio::test]
async fn every_noun_goes_through_the_same() {
    let api = Api::new().await;
    let other = dataset(&api).await;
    for (plural, body) in bodies(&api, &other) {
        let made = api.admin().post(&format!("/v1/{plural}"), body.clone()).await.is(201);
        let path = made.header("location").to_owned();
        let whole = api.admin().get(&path).await.is(200).json();
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(&whole[name], value, "{plural}");
        }
        assert!(made.json().get("key").is_some() == (plural == "keys"));
        let listed = api.admin().get(&format!("/v1/{plural}?limit=200&state=active")).await.is(200).json();
        assert!(listed["items"].as_array().unwrap().contains(&whole), "{plural}: {listed}");
        assert_eq!(listed["next"], Value::Null);
        let disabled = merged(&body, "state", json!("disabled"));
        let changed = api.admin().with("if-match", "\"1\"").put(&path, disabled).await.is(200);
        assert_eq!(
            (changed.str("state").as_str(), changed.header("etag")),
            ("disabled", "\"2\""),
            "{plural}"
        );
        api.admin().delete(&path).await.is(204);
        let after = api.admin().get(&path).await;
        assert_eq!(after.status.as_u16(), if plural == "keys" { 200 } else { 404 }, "{plural}");
    }
}

fn merged(body: &Value, name: &str, value: Value) -> Value {
    let mut body = body.clone();
    body[name] = value;
    body
}

#[tokio::test]
async fn what_is_wrong_is_told_as_a_problem() {
    let api = Api::new().await;
    let post = |body: &'static str, media: Option<&'static str>| {
        api.admin().send("POST", "/v1/orgs", Body::from(body), media)
    };
    let json_media = Some("application/json");
    for broken in ["", "{", "[1,", "{\"name\": \"x\"} {}", "\u{0}", "{\"name\": \"\u{1}\"}"] {
        post(broken, json_media).await.is_problem(400, "bad_request");
    }
    for wrong in [
        "[]",
        "7",
        "null",
        "[\"x\"]",
        "[\"x\", \"active\"]",
        "{}",
        "{\"name\": 7}",
        "{\"name\": \"x\", \"secret\": 1}",
        "{\"name\": \"x\", \"name\": \"y\"}",
        "{\"name\": \"x\", \"state\": \"gone\"}",
        "{\"name\": \"\"}",
    ] {
        post(wrong, json_media).await.is_problem(422, "invalid");
    }
    let fault = post("{\"name\": \"\"}", json_media).await.json();
    assert_eq!(fault["errors"][0]["field"], "name");
    let deep: &'static str = Box::leak("[".repeat(10_000).into_boxed_str());
    post(deep, json_media).await.is_problem(400, "bad_request");
    for media in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("application/jsonx")]
    {
        post("{\"name\": \"x\"}", media).await.is_problem(415, "media_type");
    }
    post("{\"name\": \"x\"}", Some("Application/JSON; charset=utf-8")).await.is(201);
    let large = Body::from(format!("{{\"name\": \"{}\"}}", "x".repeat(BODY_BYTES_MAX)));
    api.admin().send("POST", "/v1/orgs", large, json_media).await.is_problem(413, "too_large");

    api.admin().get("/v1/nothing").await.is_problem(404, "missing");
    api.nobody().get("/").await.is_problem(404, "missing");
    let method = api.admin().send("PATCH", "/v1/orgs", Body::empty(), None).await;
    method.is_problem(405, "method");
    assert_eq!(method.header("allow"), "POST,GET,HEAD");
    let twice = json!({"name": "x"});
    api.admin().post("/v1/orgs", twice).await.is_problem(409, "conflict");
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=1&limit=2",
        "unknown=1",
        "state=gone",
        "after=%00",
        "after=a'b",
        "after=%ff",
        "state=",
    ] {
        api.admin().get(&format!("/v1/orgs?{query}")).await.is_problem(400, "bad_request");
    }
    api.admin().get("/v1/audit?after=x").await.is_problem(400, "bad_request");
    api.admin().get("/v1/grants?subject=%27%20OR%201=1").await.is_problem(400, "bad_request");
}

#[tokio::test]
async fn hostile_texts_are_kept_as_they_are_or_refused() {
    let api = Api::new().await;
    let other = dataset(&api).await;
    let texts = [
        "'; DROP TABLE plimsoll_orgs; --",
        "\" OR \"\"=\"",
        "$1",
        "%s%n",
        "../../../../etc/passwd",
        "..\\..\\x",
        "%2e%2e%2f",
        "\u{0}",
        "\r\nSet-Cookie: x=1",
        "\u{202e}gnp",
        "<script>alert(1)</script>",
        "{{7*7}}",
        "\u{fffd}\u{1f4a9}",
        "${jndi:ldap://x}",
        "app_../../../../../../etc/pass",
        "*",
        " ",
    ];
    for (plural, body) in bodies(&api, &other) {
        for field in body.as_object().unwrap().keys() {
            for (number, text) in texts.iter().enumerate() {
                let mut hostile = match body[field] {
                    Value::Array(_) => merged(&body, field, json!([text])),
                    _ => merged(&body, field, json!(text)),
                };
                if plural == "datasets" && field != "name" {
                    hostile["name"] = json!(format!("{field} {number}"));
                }
                let answer = api.admin().post(&format!("/v1/{plural}"), hostile.clone()).await;
                match answer.status.as_u16() {
                    201 => {
                        let read = api.admin().get(answer.header("location")).await.is(200).json();
                        assert_eq!(read[field], hostile[field], "{plural} {field}");
                    }
                    409 => answer.is_problem(409, "conflict"),
                    _ => answer.is_problem(422, "invalid"),
                }
            }
        }
        for text in texts {
            let id: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
            api.admin().get(&format!("/v1/{plural}/{id}")).await.is_problem(404, "missing");
            api.admin().delete(&format!("/v1/{plural}/{id}")).await.is_problem(404, "missing");
        }
        api.admin().get(&format!("/v1/{plural}/%ff%fe")).await.is_problem(404, "missing");
    }
    for text in texts {
        let value: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = api.admin().get(&format!("/v1/audit?object={value}&actor={value}")).await.is(200).json();
        assert_eq!(found["items"], json!([]));
    }
    api.admin().get("/v1/orgs").await.is(200);
}

#[tokio::test]
async fn a_list_has_no_gap_while_it_grows() {
    let api = Api::new().await;
    let who = Who { actor: "init", from: "local", now_ms: START + 1 };
    let mut wanted = BTreeSet::new();
    for number in 0..1_000 {
        let data = OrgData { name: format!("org {number}"), state: State::Active };
        wanted.insert(api.store.create_org(data, who).await.unwrap().id.to_string());
    }
    let (mut seen, mut after, mut later) = (Vec::new(), None::<String>, 0);
    loop {
        let query =
            after.map_or("/v1/orgs?limit=37".to_owned(), |after| format!("/v1/orgs?limit=37&after={after}"));
        let part = api.admin().get(&query).await.is(200).json();
        seen.extend(
            part["items"].as_array().unwrap().iter().map(|org| org["id"].as_str().unwrap().to_owned()),
        );
        later += 1;
        let late = Who { now_ms: START + 2 + later, ..who };
        let data = OrgData { name: format!("late {later}"), state: State::Active };
        api.store.create_org(data, late).await.unwrap();
        match part["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    let once: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(once.len(), seen.len(), "nothing twice");
    assert!(wanted.is_subset(&once), "nothing left out");
}

#[tokio::test]
async fn of_several_changes_at_once_one_wins() {
    let api = Api::new().await;
    let path =
        api.admin().post("/v1/orgs", json!({"name": "Race"})).await.is(201).header("location").to_owned();
    let changes = (0..20).map(|number| {
        api.admin().with("if-match", "\"1\"").put(&path, json!({"name": format!("Race {number}")}))
    });
    let answers: Vec<Answer> = all(changes).await;
    assert_eq!(answers.iter().filter(|answer| answer.status.as_u16() == 200).count(), 1);
    for lost in answers.iter().filter(|answer| answer.status.as_u16() != 200) {
        lost.is_problem(412, "stale");
    }
    assert_eq!(api.admin().get(&path).await.json()["version"], 2);
}

/// Runs all at once.
async fn all<F: Future>(work: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = work.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (work, done) in &mut running {
            if done.is_none() {
                match work.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().map(|(_, done)| done.unwrap()).collect()
}

#[tokio::test]
async fn the_same_request_is_done_once() {
    let api = Api::new().await;
    let body = json!({"name": "Once"});
    let send = |body: Value| api.admin().with("idempotency-key", "k 1").post("/v1/orgs", body);
    let answers = all((0..20).map(|_| send(body.clone()))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status.as_u16() == 201).collect();
    assert!(!made.is_empty());
    for other in answers.iter().filter(|answer| answer.status.as_u16() != 201) {
        other.is_problem(409, "in_progress");
        assert_eq!(other.header("retry-after"), "1");
    }
    let again = send(body.clone()).await.is(201);
    assert!(made.iter().all(|one| one.text == again.text));
    assert_eq!(
        (again.header("etag"), again.header("location")),
        (made[0].header("etag"), made[0].header("location"))
    );
    send(json!({"name": "Once more"})).await.is_problem(422, "reused");
    // Another caller's key of that text is another one.
    let (_, key) = api.key_in(&api.org, "second", &[plimsoll_identity::Scope::Admin]).await;
    api.as_key(&key)
        .with("idempotency-key", "k 1")
        .post("/v1/orgs", body.clone())
        .await
        .is_problem(409, "conflict");
    // What failed may be tried again, with another body.
    let retry =
        |name: &str| api.admin().with("idempotency-key", "k 2").post("/v1/orgs", json!({"name": name}));
    retry("Once").await.is_problem(409, "conflict");
    retry("Twice").await.is(201);
    api.clock.forward(24 * 3_600 * 1_000);
    send(body).await.is_problem(409, "conflict");
    for key in ["", &"x".repeat(256)] {
        api.admin()
            .with("idempotency-key", key)
            .post("/v1/orgs", json!({"name": "X"}))
            .await
            .is_problem(400, "bad_request");
    }
}

#[tokio::test]
async fn whoever_may_not_leaves_no_trace() {
    let api = Api::new().await;
    let other = dataset(&api).await;
    let (_, key) = api.key_in(&api.org, "little", &[]).await;
    let mut behind = api.behind().await;
    let before = api::writes(&mut behind).await;
    let rotate = format!("keys/{}/rotate", api::key_id(&api.admin));
    let rotation = (rotate.as_str(), json!({"overlap_seconds": 60}));
    for (path, body) in bodies(&api, &other).into_iter().chain([rotation]) {
        let answer = api.as_key(&key).with("idempotency-key", "k").post(&format!("/v1/{path}"), body).await;
        answer.is_problem(403, "forbidden");
    }
    assert_eq!(api::writes(&mut behind).await, before, "nothing was written");
    api.admin().with("idempotency-key", "k").post("/v1/orgs", json!({"name": "X"})).await.is(201);
    assert_ne!(api::writes(&mut behind).await, before, "a write would have been seen");
}

#[tokio::test]
async fn something_is_found_by_its_name() {
    let api = Api::new().await;
    let other = dataset(&api).await;
    let second = api.other_org().await;
    for (plural, body) in bodies(&api, &other).into_iter().filter(|(plural, _)| *plural != "grants") {
        let (field, name) = if plural == "users" { ("login", "a.name") } else { ("name", "A name") };
        let body = if plural == "keys" { merged(&body, "name", json!(name)) } else { body };
        let made = api.admin().post(&format!("/v1/{plural}"), body.clone()).await.is(201);
        let found = async |query: &str| {
            let answer = api.admin().get(&format!("/v1/{plural}?{query}")).await.is(200).json();
            answer["items"].as_array().unwrap().len()
        };
        let named = format!("{field}={}", name.replace(' ', "%20"));
        assert_eq!(found(&named).await, 1, "{plural}");
        assert_eq!(found(&format!("{named}&state=active")).await, 1, "{plural}");
        assert_eq!(found(&format!("{named}&state=revoked")).await, 0, "{plural}");
        assert_eq!(found(&format!("{field}=A%20nam")).await, 0, "{plural}: names are whole");
        if plural != "orgs" {
            assert_eq!(found(&format!("{named}&org={}", api.org)).await, 1, "{plural}");
            assert_eq!(found(&format!("{named}&org={second}")).await, 0, "{plural}");
        }
        let listed = api.admin().get(&format!("/v1/{plural}?{named}")).await.json();
        let id = if plural == "keys" { "key_id" } else { "id" };
        assert_eq!(listed["items"][0][id], made.json()[id]);
        for odd in ["", "%00", "a%0Ab"] {
            api.admin().get(&format!("/v1/{plural}?{field}={odd}")).await.is_problem(422, "invalid");
        }
    }
}

#[tokio::test]
async fn numbers_are_whole_however_they_are_written_and_null_names_nobody() {
    let api = Api::new().await;
    let post = async |path: &str, body: &str| {
        let body = Body::from(body.to_owned());
        api.admin().send("POST", path, body, Some("application/json")).await
    };
    let key = |expires: &str| {
        format!(
            "{{\"app\": \"{}\", \"kind\": \"key\", \"env\": \"live\", \"expires_ms\": {expires}}}",
            api.app
        )
    };
    assert_eq!(post("/v1/keys", &key("2.84e3")).await.is(201).json()["expires_ms"], 2840);
    post("/v1/keys", &key("284.5")).await.is_problem(422, "invalid");
    let ask = |more: &str| format!("{{\"dataset\": \"dst_{0}\", \"action\": \"x\"{more}}}", "0".repeat(26));
    let app = format!(", \"application\": \"{}\"", api.app);
    post("/v1/authorize", &ask(&app)).await.is(200);
    post("/v1/authorize", &ask(&format!("{app}, \"user\": null"))).await.is_problem(422, "invalid");
    post("/v1/authorize", &ask(", \"key\": null")).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn a_store_that_is_down_is_told_and_writes_are_announced() {
    let api = Api::new().await;
    api.admin().get("/v1/orgs").await.is(200);
    let heard = api.store.changed();
    api.admin().post("/v1/orgs", json!({"name": "Loud"})).await.is(201);
    heard.await;
    api.store.close().await;
    let down = api.admin().get("/v1/orgs").await;
    down.is_problem(503, "unavailable");
    assert_eq!(down.header("retry-after"), "5");
}

#[tokio::test]
async fn every_route_is_described_and_asks_who_it_is() {
    let api = Api::new().await;
    let served = api.nobody().get("/openapi.json").await.is(200).json();
    assert_eq!(served, document());
    for (path, item) in served["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let there = path.replace("{id}", "x");
            let answer = api.nobody().send(&method.to_uppercase(), &there, Body::empty(), None).await;
            match operation["security"].as_array().unwrap().contains(&json!({"bearer": []})) {
                true => {
                    answer.is_problem(401, "unauthenticated");
                    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"plimsoll\"", "{path}");
                }
                // Those of OAuth have their own ways, and tests.
                false => assert!(
                    path == "/openapi.json"
                        || path.starts_with("/oauth/")
                        || path.starts_with("/.well-known/"),
                    "{path}"
                ),
            }
        }
    }
    let (mut wanted, mut names) = (BTreeSet::new(), BTreeSet::new());
    references(&served, &mut wanted);
    for reference in wanted {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(served.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for operation in
        served["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap().values())
    {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `PLIMSOLL_WRITE_DOCS=1` writes it.
#[test]
fn the_description_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    let text = format!("{:#}\n", document());
    if std::env::var_os("PLIMSOLL_WRITE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/openapi.json is out of date: run this test with PLIMSOLL_WRITE_DOCS=1");
}

#[tokio::test]
async fn what_is_answered_has_the_shape_that_is_described() {
    let api = Api::new().await;
    let other = dataset(&api).await;
    let schemas = document()["components"]["schemas"].clone();
    for ((plural, body), name) in bodies(&api, &other).into_iter().zip([
        "Organisation",
        "DataSet",
        "User",
        "Application",
        "Grant",
        "NewKey",
    ]) {
        let made = api.admin().post(&format!("/v1/{plural}"), body).await.is(201).json();
        let schema = &schemas[name];
        for required in schema["required"].as_array().unwrap() {
            assert!(made.get(required.as_str().unwrap()).is_some(), "{name} has {required}");
        }
        for property in made.as_object().unwrap().keys() {
            assert!(schema["properties"].get(property).is_some(), "{name}: {property} is described");
        }
        let _ = made["id"].as_str().map(|id| id.to_owned().parse_id());
    }
}
