//! What is told of tokens, how they are ended, and what is public.

use axum::http::StatusCode;
use plimsoll_identity::token::KeySet;
use plimsoll_identity::{Party, Scope, State};
use serde_json::json;

use crate::desk::{
    Answer, Desk, ISSUER, Issuing, TestKey, org_data, request, who, with_desk, with_desk_that,
};

const ITSELF: (&str, &str) = ("grant_type", "client_credentials");

async fn token_of(desk: &Desk, key: &TestKey) -> String {
    desk.token(&[ITSELF], &[key.basic()]).await.text("access_token")
}

async fn introspect(desk: &Desk, token: &str, header: (&str, String)) -> Answer {
    desk.post("/oauth/introspect", &[("token", token)], &[header]).await
}

#[test]
fn whose_a_token_is_hears_who_may() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let other = desk.key(&desk.app("other", Party::First).await, &[]).await;
        let chief = desk.key(&desk.app("chief", Party::First).await, &[Scope::OrgAdmin]).await;
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        let strangers = desk.store.create_org(org_data("strangers"), who()).await.unwrap();
        let stranger =
            desk.key(&desk.app_of(&strangers, "stranger", Party::First).await, &[Scope::OrgAdmin]).await;
        let token = token_of(&desk, &key).await;
        for (name, asker, hears) in [
            ("own", &key, true),
            ("teller", &teller, true),
            ("chief", &chief, true),
            ("other", &other, false),
            ("stranger", &stranger, false),
        ] {
            for header in [asker.basic(), asker.bearer()] {
                let answer = introspect(&desk, &token, header).await;
                assert_eq!(
                    (answer.status, answer.json()["active"].as_bool()),
                    (StatusCode::OK, Some(hears)),
                    "{name}"
                );
                assert_eq!(answer.json().as_object().unwrap().len() > 1, hears, "{name}: {answer:?}");
            }
        }
        let known = introspect(&desk, &token, teller.basic()).await.json();
        assert_eq!(known["sub"], json!(app.id));
        assert_eq!((&known["client_id"], &known["username"]), (&json!(app.id), &json!("reports")));
        assert_eq!((&known["iss"], &known["aud"]), (&json!(ISSUER), &json!(["plimsoll"])));
        assert_eq!((&known["token_type"], &known["scope"]), (&json!("Bearer"), &json!("")));
        // Somebody without a proof, or with a bad one, hears nothing.
        let open = desk.app("open", Party::First).await;
        let named = [("token", token.as_str()), ("client_id", open.id.as_str())];
        assert_eq!(
            desk.post("/oauth/introspect", &named, &[]).await.error(),
            (401, "invalid_client".to_owned())
        );
        assert_eq!(
            desk.post("/oauth/introspect", &named[..1], &[]).await.error(),
            (401, "invalid_client".to_owned())
        );
        let bad = ("authorization", "Bearer nonsense".to_owned());
        let answer = introspect(&desk, &token, bad).await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (StatusCode::UNAUTHORIZED, "Bearer realm=\"plimsoll\"")
        );
        // What is no token is not active either.
        let (said, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{said}.{first}{}", &signature[1..]);
        for text in ["nonsense", "a.b.c", key.text.as_str(), &forged] {
            assert_eq!(
                introspect(&desk, text, teller.basic()).await.json(),
                json!({ "active": false }),
                "{text}"
            );
        }
        // A token can ask as well, if it was issued for that.
        let params = [ITSELF, ("scope", "authorize")];
        let asking = desk.token(&params, &[teller.basic()]).await.text("access_token");
        let header = ("authorization", format!("Bearer {asking}"));
        assert_eq!(introspect(&desk, &token, header).await.json()["active"], json!(true));
    });
}

#[test]
fn a_token_ends_with_what_it_came_from() {
    with_desk(async |desk| {
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let token = token_of(&desk, &key).await;
        desk.set_key_state(&key, State::Disabled).await;
        assert!(!desk.is_active(&teller, &token).await, "its key is disabled");
        desk.set_key_state(&key, State::Active).await;
        assert!(desk.is_active(&teller, &token).await);
        desk.nature.pass(std::time::Duration::from_secs(629));
        assert!(desk.is_active(&teller, &token).await, "clocks differ by up to 30 s");
        desk.nature.pass(std::time::Duration::from_secs(1));
        assert!(!desk.is_active(&teller, &token).await, "it has ended");
    });
}

#[test]
fn a_token_is_revoked_by_who_may() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let other = desk.key(&desk.app("other", Party::First).await, &[Scope::Authorize]).await;
        let admin = desk.key(&desk.app("admin", Party::First).await, &[Scope::Admin]).await;
        let revoke = async |token: &str, header: (&str, String)| {
            desk.post("/oauth/revoke", &[("token", token), ("token_type_hint", "access_token")], &[header])
                .await
        };
        let token = token_of(&desk, &key).await;
        let answer = revoke(&token, other.basic()).await;
        assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
        assert!(desk.is_active(&other, &token).await);
        for (who, header) in [("own", key.basic()), ("admin", admin.bearer())] {
            let token = token_of(&desk, &key).await;
            let id = desk.claims(&token, "plimsoll").token_id.unwrap();
            for _ in 0..2 {
                assert_eq!(revoke(&token, header.clone()).await.status, StatusCode::OK, "{who}");
            }
            assert!(!desk.is_active(&other, &token).await, "{who}");
            let entries = desk.store.changes_since(0).await.unwrap();
            let entries: Vec<_> = entries.iter().filter(|entry| entry.object == id).collect();
            assert_eq!(entries.len(), 1, "{who}: once in the audit log");
            assert_eq!((entries[0].action.as_str(), entries[0].from.as_str()), ("token.revoke", "192.0.2.7"));
            let actor = if who == "own" { &key.id } else { &admin.id };
            assert_eq!(entries[0].actor, format!("key {actor}"));
            assert_eq!(entries[0].detail["subject"], json!(app.id));
            assert!(entries[0].detail["ends_ms"].as_i64().is_some());
        }
        // What is no token is as good as revoked.
        for text in ["nonsense", "a.b.c", "plimr_x"] {
            assert_eq!(revoke(text, key.basic()).await.status, StatusCode::OK, "{text}");
        }
        assert_eq!(
            desk.post("/oauth/revoke", &[("token", &token)], &[]).await.error(),
            (401, "invalid_client".to_owned())
        );
        assert_eq!(
            desk.post("/oauth/revoke", &[], &[key.basic()]).await.error(),
            (400, "invalid_request".to_owned())
        );
    });
}

#[test]
fn a_sign_in_is_revoked_whole() {
    with_desk(async |desk| {
        let app = desk.app("desktop", Party::First).await;
        let teller = desk.key(&desk.app("teller", Party::First).await, &[Scope::Authorize]).await;
        let code = desk.code(&app, &[]).await;
        let answer = desk.exchange(&app, &code).await;
        let (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
        let known = introspect(&desk, &refresh, teller.basic()).await.json();
        assert_eq!((&known["active"], &known["sub"]), (&json!(true), &json!(desk.user.id)));
        let other = desk.app("other", Party::First).await;
        let theirs = [("token", refresh.as_str()), ("client_id", other.id.as_str())];
        assert_eq!(
            desk.post("/oauth/revoke", &theirs, &[]).await.error(),
            (400, "unauthorized_client".to_owned())
        );
        let own = [("token", refresh.as_str()), ("client_id", app.id.as_str())];
        assert_eq!(desk.post("/oauth/revoke", &own, &[]).await.status, StatusCode::OK);
        assert!(!desk.is_active(&teller, &refresh).await && !desk.is_active(&teller, &access).await);
        assert_eq!(desk.refresh(&app, &refresh).await.error(), (400, "invalid_grant".to_owned()));
    });
}

#[test]
fn what_is_public_is_right() {
    with_desk(async |desk| {
        let key = desk.key(&desk.app("reports", Party::First).await, &[]).await;
        let token = token_of(&desk, &key).await;
        let keys = desk.get("/oauth/jwks").await;
        assert_eq!(keys.header("cache-control"), "public, max-age=900");
        assert!(!keys.body.contains("\"d\""), "no private part");
        let set = KeySet::read(keys.body.as_bytes()).expect("a set of keys");
        let header = plimsoll_identity::token::peek(&token).expect("a token");
        assert!(set.has(&header.kid.expect("a key")));
        let metadata = desk.get("/.well-known/oauth-authorization-server").await.json();
        assert_eq!(metadata["issuer"], json!(ISSUER));
        assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
        for (name, path) in [
            ("authorization_endpoint", "/oauth/authorize"),
            ("token_endpoint", "/oauth/token"),
            ("introspection_endpoint", "/oauth/introspect"),
            ("revocation_endpoint", "/oauth/revoke"),
            ("jwks_uri", "/oauth/jwks"),
        ] {
            assert_eq!(metadata[name], json!(format!("{ISSUER}{path}")));
            assert_ne!(desk.get(path).await.status, StatusCode::NOT_FOUND);
        }
    });
}

#[test]
fn without_an_issuer_there_are_no_tokens() {
    with_desk_that(Issuing::Off, async |desk| {
        let key = desk.key(&desk.app("reports", Party::First).await, &[]).await;
        assert_eq!(desk.token(&[ITSELF], &[key.basic()]).await.status, StatusCode::NOT_FOUND);
        for path in ["/oauth/authorize", "/oauth/jwks", "/.well-known/oauth-authorization-server"] {
            let answer = desk.get(path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        }
    });
}

#[test]
fn a_store_that_is_down_is_told_as_such() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let open = desk.app("desktop", Party::First).await;
        let code = desk.code(&open, &[]).await;
        let refresh = desk.exchange(&open, &code).await.text("refresh_token");
        desk.store.close().await;
        let own = [("token", refresh.as_str()), ("client_id", open.id.as_str())];
        for answer in [
            desk.token(&[ITSELF], &[key.basic()]).await,
            desk.refresh(&open, &refresh).await,
            desk.post("/oauth/revoke", &own, &[]).await,
        ] {
            assert_eq!(answer.error(), (503, "temporarily_unavailable".to_owned()));
            assert!(answer.header("retry-after").parse::<u64>().is_ok());
        }
        let page = desk.get(&format!("/oauth/authorize?{}", crate::desk::form(&request(&open, &[])))).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (StatusCode::SERVICE_UNAVAILABLE, "text/html; charset=utf-8")
        );
        assert_eq!(desk.get("/oauth/jwks").await.status, StatusCode::OK, "the keys are known");
    });
}
