//! Tokens for applications themselves, and how these prove who they are.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::http::{Method, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use plimsoll_identity::http::Nature as _;
use plimsoll_identity::token::PublicKey;
use plimsoll_identity::{Application, CredentialData, CredentialKind, Party, Scope, State};
use serde_json::{Value, json};

use crate::desk::{AUDIENCE, Desk, ISSUER, basic, form, who, with_desk};

const ITSELF: (&str, &str) = ("grant_type", "client_credentials");

#[test]
fn a_key_gets_a_token() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[Scope::Authorize]).await;
        let secret = &key.text["plim_test_".len() + 17..];
        assert_eq!(secret.len(), 49);
        let ways = [
            basic(&key.id, &key.text),
            basic(app.id.as_str(), &key.text),
            basic(&key.id, secret),
            basic(&key.id, &secret[..43]),
            basic(&key.id, &form(&[("", &key.text)])[1..]),
        ];
        for way in &ways {
            let answer = desk.token(&[ITSELF], std::slice::from_ref(way)).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.header("content-type"), "application/json");
            let body = answer.json();
            assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(600)));
            assert_eq!((body.get("scope"), body.get("refresh_token")), (None, None));
            let claims = desk.claims(&answer.text("access_token"), "plimsoll");
            assert_eq!(
                (claims.subject.as_str(), claims.client_id.as_deref()),
                (app.id.as_str(), Some(app.id.as_str()))
            );
            assert_eq!(
                (claims.org.as_deref(), claims.kid_used.as_deref()),
                (Some(desk.org.id.as_str()), Some(key.id.as_str()))
            );
            assert_eq!((claims.issuer.as_str(), claims.scope), (ISSUER, None));
        }
        let used = (key.id.clone(), "192.0.2.7".to_owned());
        assert_eq!(desk.uses.seen(), vec![used; ways.len()]);
    });
}

#[test]
fn a_token_is_for_what_was_asked_and_may_be() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[Scope::Authorize, Scope::OrgAdmin]).await;
        let ask = async |more: &[(&str, &str)]| {
            let mut params = vec![ITSELF];
            params.extend(more);
            desk.token(&params, &[key.basic()]).await
        };
        let answer = ask(&[("scope", "authorize"), ("resource", AUDIENCE)]).await;
        assert_eq!(answer.text("scope"), "authorize");
        let claims = desk.claims(&answer.text("access_token"), AUDIENCE);
        assert_eq!(claims.scope.as_deref(), Some("authorize"));
        for (more, error) in [
            ([("scope", "admin")], "invalid_scope"),
            ([("scope", "authorize admin")], "invalid_scope"),
            ([("scope", "openid")], "invalid_scope"),
            ([("resource", "https://other.example")], "invalid_target"),
            ([("audience", "PLIMSOLL")], "invalid_target"),
            ([("client_id", "app_00000000z8zzzzzzzzzzzzzzzz")], "invalid_request"),
        ] {
            assert_eq!(ask(&more).await.error(), (400, error.to_owned()), "{more:?}");
        }
    });
}

#[test]
fn what_is_no_proof_gets_nothing() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let other = desk.key(&desk.app("other", Party::First).await, &[]).await;
        let secret = &key.text[key.text.len() - 49..];
        let unknown = format!("{}0", &key.id[..15]);
        let mistyped = key.text.replace("test", "live");
        let mut answers = Vec::new();
        for way in [
            basic(&unknown, secret),
            basic(&key.id, &other.text[other.text.len() - 49..]),
            basic(&other.id, &key.text),
            basic("", &key.text),
            basic(app.id.as_str(), &other.text),
            basic(app.id.as_str(), secret),
            basic(&key.id, &mistyped),
            basic(&key.id, "../../etc/passwd' OR 1=1 --"),
            ("authorization", "Basic %%%".to_owned()),
            ("authorization", key.bearer().1),
        ] {
            let answer = desk.token(&[ITSELF], std::slice::from_ref(&way)).await;
            assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{way:?}");
            assert_eq!(answer.header("www-authenticate"), "Basic realm=\"plimsoll\"");
            assert!(!answer.body.contains(secret) && !answer.body.contains(&other.text), "{answer:?}");
            answers.push(answer.body);
            desk.nature.pass(std::time::Duration::from_secs(60));
        }
        assert_eq!(answers[0], answers[1], "an unknown key id is answered as a wrong secret is");
        for params in [
            vec![ITSELF, ("client_id", app.id.as_str()), ("client_secret", key.text.as_str())],
            vec![ITSELF, ("client_id", app.id.as_str())],
            vec![ITSELF],
        ] {
            let answer = desk.token(&params, &[]).await;
            assert_eq!(answer.error(), (401, "invalid_client".to_owned()), "{params:?}");
        }
        desk.nature.pass(std::time::Duration::from_secs(60));
        for state in [State::Disabled, State::Revoked] {
            desk.set_key_state(&key, state).await;
            assert_eq!(
                desk.token(&[ITSELF], &[key.basic()]).await.error(),
                (401, "invalid_client".to_owned())
            );
            // An application does not become anybody's with its last key.
            let answer = desk.token(&[ITSELF, ("client_id", app.id.as_str())], &[]).await;
            assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        }
        let open = desk.app("open", Party::First).await;
        let answer = desk.token(&[ITSELF, ("client_id", open.id.as_str())], &[]).await;
        assert_eq!(answer.error(), (400, "unauthorized_client".to_owned()));
    });
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    with_desk(async |desk| {
        let key = desk.key(&desk.app("reports", Party::First).await, &[]).await;
        let kind = ("content-type", "application/x-www-form-urlencoded".to_owned());
        let good = "grant_type=client_credentials";
        let long = format!("{good}&scope={}", "x".repeat(40_000));
        for (path, body, kind) in [
            ("/oauth/token", "grant_type=client_credentials&grant_type=client_credentials", &kind),
            ("/oauth/token", "grant_type=client_credentials&x=%zz", &kind),
            ("/oauth/token", "", &kind),
            ("/oauth/token", long.as_str(), &kind),
            (
                "/oauth/token",
                "{\"grant_type\":\"client_credentials\"}",
                &("content-type", "application/json".to_owned()),
            ),
            ("/oauth/token?grant_type=client_credentials", "", &kind),
        ] {
            let headers = [kind.clone(), key.basic()];
            let answer = desk.ask(Method::POST, path, body.to_owned(), &headers).await;
            assert_eq!(answer.error(), (400, "invalid_request".to_owned()), "{path} {body:.80}");
        }
        let twice = [kind.clone(), key.basic(), key.basic()];
        let answer = desk.ask(Method::POST, "/oauth/token", good.to_owned(), &twice).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
        let answer = desk.token(&[("grant_type", "password"), ("username", "a")], &[key.basic()]).await;
        assert_eq!(answer.error(), (400, "unsupported_grant_type".to_owned()));
        let answer = desk.get("/oauth/token?grant_type=client_credentials").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    });
}

#[test]
fn wrong_keys_are_told_to_wait() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let key = desk.key(&app, &[]).await;
        let wrong = basic(&key.id, &"0".repeat(43));
        let mut waits = 0;
        for _ in 0..40 {
            let answer = desk.token(&[ITSELF], std::slice::from_ref(&wrong)).await;
            if answer.status == StatusCode::TOO_MANY_REQUESTS {
                assert!(
                    answer
                        .header("retry-after")
                        .parse::<u64>()
                        .is_ok_and(|wait_s| (1..=60).contains(&wait_s))
                );
                waits += 1;
            }
        }
        assert_eq!(waits, 28, "12 are answered");
        desk.nature.pass(std::time::Duration::from_secs(60));
        assert_eq!(desk.token(&[ITSELF], &[key.basic()]).await.status, StatusCode::OK);
    });
}

/// A pair of keys for `private_key_jwt`.
struct Pair(EcdsaKeyPair);

impl Pair {
    fn new() -> Pair {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a pair");
        Pair(pair)
    }

    fn jwk(&self) -> String {
        self.jwk_named("one")
    }

    fn jwk_named(&self, kid: &str) -> String {
        let point = self.0.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": BASE64URL.encode(&point[1..33]), "y": BASE64URL.encode(&point[33..])})
            .to_string()
    }

    fn thumbprint(&self) -> String {
        PublicKey::read(&self.jwk()).expect("a key").thumbprint().to_owned()
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "ES256", "typ": "JWT", "kid": "one"}), claims)
    }

    fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let text =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
        format!("{text}.{}", BASE64URL.encode(signature.as_ref()))
    }
}

async fn add_public_key(desk: &Desk, app: &Application, pair: &Pair) {
    add_jwk(desk, app, "PublicKey0000001", pair.jwk()).await;
}

async fn add_jwk(desk: &Desk, app: &Application, key_id: &str, public: String) {
    let data = CredentialData {
        app: app.id.clone(),
        kind: CredentialKind::PublicKey,
        env: "test".to_owned(),
        name: String::new(),
        public,
        scopes: vec![Scope::Authorize],
        expires_ms: None,
        state: State::Active,
    };
    desk.store.create_credential(key_id, data, None, who()).await.expect("a credential");
}

/// An application with very many credentials: its public key is found behind all others, and if it has many of these, the
/// assertion says which.
#[test]
fn a_public_key_is_found_among_many() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        for _ in 0..201 {
            desk.key(&app, &[]).await;
        }
        let pair = Pair::new();
        add_jwk(&desk, &app, "zzzzzzzzzzzzzzzz", pair.jwk_named("mine")).await;
        let ask = async |header: Value, jti: &str| {
            let exp = desk.nature.now_ms() / 1000 + 60;
            let claims = json!({"iss": app.id, "sub": app.id, "aud": ISSUER, "exp": exp, "jti": jti});
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let assertion = pair.sign_as(&header, &claims);
            let params = [ITSELF, ("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
            desk.token(&params, &[]).await
        };
        let unnamed = json!({"alg": "ES256"});
        let by_name = json!({"alg": "ES256", "kid": "mine"});
        let by_thumbprint = json!({"alg": "ES256", "kid": pair.thumbprint()});
        for (header, jti) in [(&unnamed, "a"), (&by_name, "b"), (&by_thumbprint, "c")] {
            let answer = ask(header.clone(), jti).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
        for number in 0..16 {
            let jwk = Pair::new().jwk_named(&format!("key {number}"));
            add_jwk(&desk, &app, &format!("PublicKey{number:07}"), jwk).await;
        }
        let refused = ask(unnamed, "d").await;
        assert_eq!(refused.error(), (401, "invalid_client".to_owned()));
        assert!(refused.text("error_description").contains("thumbprint, in kid"), "{refused:?}");
        for (header, jti) in [(by_name, "e"), (by_thumbprint, "f")] {
            let answer = ask(header, jti).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        }
        assert_eq!(ask(json!({"alg": "ES256", "kid": "key 3"}), "g").await.status, StatusCode::UNAUTHORIZED);
    });
}

#[test]
fn a_signature_gets_a_token_once() {
    with_desk(async |desk| {
        let app = desk.app("reports", Party::First).await;
        let pair = Pair::new();
        add_public_key(&desk, &app, &pair).await;
        let now_s = desk.nature.now_ms() / 1000;
        let claims = |jti: &str, aud: &str, exp: i64| json!({"iss": app.id, "sub": app.id, "aud": aud, "exp": exp, "iat": now_s, "jti": jti});
        let ask = async |assertion: &str| {
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            desk.token(
                &[
                    ITSELF,
                    ("client_assertion_type", kind),
                    ("client_assertion", assertion),
                    ("scope", "authorize"),
                ],
                &[],
            )
            .await
        };
        let endpoint = format!("{ISSUER}/oauth/token");
        for (jti, aud) in [("a", ISSUER), ("b", endpoint.as_str())] {
            let assertion = pair.sign(&claims(jti, aud, now_s + 60));
            let answer = ask(&assertion).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            let issued = desk.claims(&answer.text("access_token"), "plimsoll");
            assert_eq!(issued.kid_used.as_deref(), Some("PublicKey0000001"));
            assert_eq!(ask(&assertion).await.error(), (401, "invalid_client".to_owned()), "a second time");
        }
        let used = ("PublicKey0000001".to_owned(), "192.0.2.7".to_owned());
        assert_eq!(desk.uses.seen(), [used.clone(), used]);
        let forger = Pair::new();
        for assertion in [
            forger.sign(&claims("c", ISSUER, now_s + 60)),
            pair.sign(&claims("d", "https://other.example", now_s + 60)),
            pair.sign(&claims("e", ISSUER, now_s - 60)),
            pair.sign(&claims("f", ISSUER, now_s + 86_400)),
            pair.sign(&json!({"iss": "x", "sub": app.id, "aud": ISSUER, "exp": now_s + 60, "jti": "g"})),
            pair.sign(&json!({"iss": app.id, "sub": app.id, "aud": ISSUER, "exp": now_s + 60})),
            "e30.e30.".to_owned(),
            "nothing".to_owned(),
        ] {
            assert_eq!(ask(&assertion).await.error(), (401, "invalid_client".to_owned()), "{assertion}");
        }
        desk.nature.pass(std::time::Duration::from_secs(60));
        let now_s = desk.nature.now_ms() / 1000;
        let fresh = pair.sign(&claims("h", ISSUER, now_s + 60));
        let both = [ITSELF, ("client_assertion_type", "other"), ("client_assertion", fresh.as_str())];
        assert_eq!(desk.token(&both, &[]).await.error(), (400, "invalid_request".to_owned()));
        // Two at once: one wins.
        let (one, two) = tokio::join!(ask(&fresh), ask(&fresh));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 401]);
    });
}
