//! Whole commands against an API that is made up.

pub(crate) mod api;
mod looks;

use clap::Parser;
use serde_json::json;

use super::*;
use api::{Api, Given, key_world, no_tls};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    manage: Manage,
}

const ORG: &str = "org_00000000z8zzzzzzzzzzzzzzzz";
const APP: &str = "app_00000000z8zzzzzzzzzzzzzzzz";
const OTHER_APP: &str = "app_00000000z9zzzzzzzzzzzzzzzz";
const DATASET: &str = "dst_00000000z8zzzzzzzzzzzzzzzz";
const GRANT: &str = "grt_00000000z8zzzzzzzzzzzzzzzz";
const USER: &str = "usr_00000000z8zzzzzzzzzzzzzzzz";
const KEY: &str = "0a1B2c3D4e5F6g7H";

/// Carries a command line out, at that API.
fn run(api: &Api, line: &str) -> Result<Verdict, Fault> {
    let words = format!("plimsoll {line} --api {}", api.url());
    // A plus is a blank within a word.
    let words = words.split(' ').map(|word| word.replace('+', " "));
    let line = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    carry_out(&line.manage, Ways { world: &key_world(), tls: no_tls })
}

fn page(items: serde_json::Value) -> Given {
    Given::ok(json!({ "items": items, "next": null }))
}

#[test]
fn names_stand_for_ids_wherever_one_is_wanted() {
    let api = Api::with(vec![
        ("GET /v1/apps?limit=200&name=web%20shop", page(json!([{"id": APP, "name": "web shop"}]))),
        ("GET /v1/datasets?limit=200&name=orders", page(json!([{"id": DATASET, "name": "orders"}]))),
        ("POST /v1/grants", Given::of(201, json!({"id": GRANT, "subject": APP}))),
        ("GET /v1/apps/app_00000000z8zzzzzzzzzzzzzzzz", Given::ok(json!({"id": APP, "name": "web shop"}))),
    ]);
    let line = "grant create --app web+shop --dataset orders --role shop_web --clients 200 --statement 30s --hold 5min \
                --action connect --shared";
    run(&api, line).expect("a grant");
    let made = api.body("POST /v1/grants");
    assert_eq!(
        made,
        json!({"subject": APP, "dataset": DATASET, "role": "shop_web", "actions": ["connect"], "shared": true,
               "limits": {"clients": 200, "statement_ms": 30_000, "hold_ms": 300_000}})
    );
    let head = api.head("POST /v1/grants");
    assert!(head.contains("Authorization: Bearer plim_test_key\r\n"), "{head}");
    assert!(head.contains("Idempotency-Key: "), "{head}");
}

#[test]
fn several_of_the_same_name_are_listed_and_none_is_told() {
    let api = Api::with(vec![
        ("GET /v1/apps?limit=200&name=job", page(json!([]))),
        (
            "GET /v1/apps?limit=200&name=web",
            page(
                json!([{"id": APP, "name": "web", "org": ORG}, {"id": OTHER_APP, "name": "web", "org": ORG}]),
            ),
        ),
        ("GET /v1/orgs/org_00000000z8zzzzzzzzzzzzzzzz", Given::ok(json!({"id": ORG, "name": "acme"}))),
    ]);
    let several = run(&api, "app show web").expect_err("two");
    let text = several.to_string();
    assert!(text.contains(&format!("{APP} (of acme), {OTHER_APP} (of acme)")), "{text}");
    assert!(several.hint().is_some_and(|hint| hint.contains("the id")));
    let none = run(&api, "app show job").expect_err("none").to_string();
    assert_eq!(none, "there is no application named \"job\"");
}

#[test]
fn a_change_keeps_the_rest_and_is_tried_again_once_when_stale() {
    let grant = |clients: u32, version: u32| {
        json!({"id": GRANT, "subject": APP, "dataset": DATASET, "role": "r", "actions": ["*"], "shared": false,
               "limits": {"clients": clients, "holds": 5}, "expires_ms": 5, "state": "active", "created_ms": 1,
               "changed_ms": 2, "changed_by": "init", "version": version})
    };
    let path = "/v1/grants/grt_00000000z8zzzzzzzzzzzzzzzz";
    let stale =
        || Given::problem(412, json!({"title": "It has been changed", "detail": "it has been changed"}));
    let api = Api::with(vec![
        (&format!("GET {path}"), Given::ok(grant(1, 3)).header("ETag", "\"3\"")),
        (&format!("PUT {path}"), stale()),
        (&format!("GET {path}"), Given::ok(grant(2, 4)).header("ETag", "\"4\"")),
        (&format!("PUT {path}"), Given::ok(grant(2, 5))),
        (&format!("GET {path}"), Given::ok(grant(2, 5))),
        (&format!("PUT {path}"), stale()),
        (&format!("GET {path}"), Given::ok(grant(2, 6))),
        (&format!("PUT {path}"), stale()),
    ]);
    run(&api, &format!("grant set {GRANT} --holds 9 --expires never")).expect("changed");
    let sent = api.body(&format!("PUT {path}"));
    assert_eq!(
        sent,
        json!({"subject": APP, "dataset": DATASET, "role": "r", "actions": ["*"], "shared": false,
               "limits": {"clients": 2, "holds": 9}, "expires_ms": null, "state": "active"})
    );
    assert!(api.head(&format!("PUT {path}")).contains("If-Match: \"4\"\r\n"));
    let fault = run(&api, &format!("grant set {GRANT} --holds 9")).expect_err("twice is enough");
    assert!(matches!(&fault, Fault::Problem(problem) if problem.status == 412), "{fault}");
    assert!(fault.hint().is_some_and(|hint| hint.contains("look again")));
    let fault = run(&api, &format!("grant set {GRANT}")).expect_err("nothing to change");
    assert!(fault.is_usage(), "{fault}");
}

#[test]
fn without_a_yes_it_is_said_what_would_be_cut_and_nothing_is_done() {
    let app = json!({"id": APP, "name": "web", "state": "active", "version": 7});
    let api = Api::with(vec![
        ("GET /v1/apps/app_00000000z8zzzzzzzzzzzzzzzz", Given::ok(app.clone())),
        (
            "GET /v1/keys?limit=200&app=app_00000000z8zzzzzzzzzzzzzzzz&state=active",
            page(json!([{"key_id": "a"}, {"key_id": "b"}])),
        ),
        (
            "GET /v1/grants?limit=200&subject=app_00000000z8zzzzzzzzzzzzzzzz&state=active",
            page(json!([{"id": GRANT}])),
        ),
        ("PUT /v1/apps/app_00000000z8zzzzzzzzzzzzzzzz", Given::ok(app)),
    ]);
    let line =
        Line::try_parse_from(["plimsoll", "app", "disable", APP, "--api", &api.url()]).expect("a line");
    let Manage::App(args::Verb::Disable(args)) = &line.manage else { panic!("not a disable") };
    let mut desk = Ways { world: &key_world(), tls: no_tls }.desk(&args.one.api).expect("a desk");
    let item = desk.find(Noun::App, APP).expect("an application").item;
    let words = cut::words(&mut desk, cut::Cut::Disable, Noun::App, &item).expect("words");
    assert_eq!(
        words,
        format!(
            "this disables application \"web\" ({APP}): 2 keys and 1 grant of it cannot be used until it is enabled \
             again; sessions by them end"
        )
    );
    assert!(!api.was_asked("PUT /v1/apps"));
    // The API serves one connection after the other.
    drop(desk);
    run(&api, &format!("app disable {APP} --yes")).expect("done");
    assert_eq!(api.body("PUT /v1/apps")["state"], "disabled");
}

#[test]
fn a_key_is_revoked_by_the_apis_own_verb_and_rotated_with_the_same_life() {
    let key = json!({"key_id": KEY, "app": APP, "env": "live", "state": "active", "created_ms": 1_000,
                     "expires_ms": 61_000, "version": 1});
    let api = Api::with(vec![
        ("GET /v1/keys/0a1B2c3D4e5F6g7H", Given::ok(key)),
        ("DELETE /v1/keys/0a1B2c3D4e5F6g7H", Given::of(204, serde_json::Value::Null)),
        (
            "POST /v1/keys/0a1B2c3D4e5F6g7H/rotate",
            Given::of(201, json!({"key_id": "new", "key": "plim_live_new"})),
        ),
    ]);
    run(&api, &format!("key revoke {KEY} --yes")).expect("revoked");
    assert!(api.was_asked("DELETE /v1/keys/0a1B2c3D4e5F6g7H"));
    // A whole key is as good as its id, and its secret does not go anywhere.
    run(&api, &format!("key rotate plim_live_{KEY}_secret --overlap 15min --quiet")).expect("rotated");
    let body = api.body("POST /v1/keys");
    assert_eq!(body["overlap_seconds"], 900);
    let ends = body["expires_ms"].as_i64().expect("an end");
    let now = jiff::Timestamp::now().as_millisecond();
    assert!((now..=now + 60_000).contains(&ends), "{ends} is not a minute after {now}");
    assert!(!api.all().contains("secret"), "{}", api.all());
}

#[test]
fn what_is_allowed_is_told_by_the_exit_status() {
    let api = Api::with(vec![
        ("POST /v1/authorize", Given::ok(json!({"decision": "allow", "role": "r", "reason": "yes"}))),
        ("POST /v1/authorize", Given::ok(json!({"decision": "deny", "reason": "no grant"}))),
        (
            "POST /v1/authorize",
            Given::problem(403, json!({"title": "t", "detail": "this needs the scope authorize"})),
        ),
    ]);
    let line = format!("authorize --user {USER} --dataset {DATASET}");
    assert_eq!(run(&api, &line).expect("an answer"), Verdict::Allowed);
    assert_eq!(
        api.body("POST /v1/authorize"),
        json!({"user": USER, "dataset": DATASET, "action": "connect"})
    );
    assert_eq!(run(&api, &line).expect("an answer"), Verdict::Denied);
    let fault = run(&api, &line).expect_err("a refusal");
    assert_eq!(fault.to_string(), "this needs the scope authorize");
    assert!(fault.hint().is_some_and(|hint| hint.contains("scope")));
}

#[test]
fn problems_are_one_sentence_with_their_fields_and_a_hint() {
    let api = Api::with(vec![
        (
            "POST /v1/orgs",
            Given::problem(
                422,
                json!({"title": "t", "detail": "name: too long", "errors": [
                {"field": "name", "why": "too long"}, {"field": "state", "why": "un\u{1b}[2Jknown"}]}),
            ),
        ),
        ("POST /v1/orgs", Given::problem(429, json!({"title": "Too many"})).header("Retry-After", "7")),
        ("POST /v1/orgs", Given::problem(401, json!({"detail": "the key is not known"}))),
        ("POST /v1/orgs", Given::of(404, json!("nothing here"))),
        ("POST /v1/orgs", Given::of(200, serde_json::Value::Null)),
    ]);
    let told = |_| {
        let fault = run(&api, "org create --name acme").expect_err("a problem");
        (harmless(&fault.to_string()).into_owned(), fault.hint().unwrap_or_default())
    };
    let told: Vec<(String, String)> = (0..4).map(told).collect();
    assert_eq!(told[0].0, "name: too long (state: un\\x1b[2Jknown)");
    assert_eq!(told[1], ("Too many".to_owned(), "try again in 7 s".to_owned()));
    assert!(told[2].1.contains("identity init --again"), "{}", told[2].1);
    assert!(told[3].0.contains("has no identity API") && told[3].1.contains("identity_store"), "{told:?}");
}

#[test]
fn nobody_there_is_told_with_the_url_and_how_to_switch_it_on() {
    let gone = Api::with(Vec::new());
    let url = gone.url();
    drop(gone);
    let line = Line::try_parse_from(["plimsoll", "org", "list", "--api", &url]).expect("a line");
    let fault = carry_out(&line.manage, Ways { world: &key_world(), tls: no_tls }).expect_err("nobody");
    assert_eq!(fault.to_string(), format!("cannot reach the identity API at {url}: nobody listens there"));
    assert!(fault.hint().is_some_and(|hint| hint.contains("identity_store")));
}

#[test]
fn keys_come_from_the_environment_or_a_file_and_never_as_an_argument() {
    let api = Api::with(vec![("GET /v1/orgs?limit=50", page(json!([])))]);
    let fault = run(&api, "org list --key plim_live_x").expect_err("seen by everybody");
    assert!(
        fault.is_usage()
            && fault.to_string().contains("everybody")
            && !fault.to_string().contains("plim_live")
    );
    assert!(run(&api, "org list --key").expect_err("the same").is_usage());
    let fault = run(&api, "org list --key-file /no/such/file").expect_err("no file").to_string();
    assert!(fault.starts_with("--key-file /no/such/file: "), "{fault}");
    assert_eq!(api.all(), "");
    run(&api, "org list --key-file the/key").expect("a list");
    assert!(api.all().contains("Authorization: Bearer plim_of_file\r\n"), "{}", api.all());
}

#[test]
fn a_key_does_not_leave_the_machine_in_the_open() {
    let line =
        Line::try_parse_from(["plimsoll", "org", "list", "--api", "https://127.0.0.1:1"]).expect("a line");
    let fault = carry_out(&line.manage, Ways { world: &key_world(), tls: no_tls }).expect_err("no TLS here");
    assert_eq!(fault.to_string(), "cannot set up TLS: none in tests");
    // An address of this machine that is no loopback one, if there is any: a UDP socket is only asked for its way out.
    let own = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    });
    let Some(own) = own.ok().map(|at| at.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()) else {
        return;
    };
    let api = Api::at(&own.to_string(), Vec::new());
    let fault = run(&api, "org list").expect_err("in the open");
    assert!(matches!(fault, Fault::InTheOpen { .. }), "{fault}");
    assert_eq!(api.all(), "");
}

#[test]
fn lists_are_read_page_by_page_up_to_the_limit() {
    let many = |from: usize, count: usize| -> Vec<_> {
        (from..from + count).map(|at| json!({"id": format!("org_{at}"), "name": format!("o{at}")})).collect()
    };
    let api = Api::with(vec![
        ("GET /v1/orgs?limit=200", Given::ok(json!({"items": many(0, 200), "next": "org_199"}))),
        ("GET /v1/orgs?limit=200&after=org_199", page(json!(many(200, 30)))),
        ("GET /v1/orgs?limit=3&state=disabled", Given::ok(json!({"items": many(0, 3), "next": "org_2"}))),
    ]);
    run(&api, "org list --all").expect("all");
    assert!(api.was_asked("GET /v1/orgs?limit=200&after=org_199"));
    run(&api, "org list --limit 3 --state disabled --json").expect("three");
    assert!(!api.was_asked("GET /v1/orgs?limit=200&after=org_2 "));
}
