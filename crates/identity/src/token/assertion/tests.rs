use serde_json::{Value, json};

use super::*;
use crate::token::Alg;
use crate::token::testing::{NOW_S, Pair, with};

const APP: &str = "app_00000000z8zzzzzzzzzzzzzzzz";
const ENDPOINT: &str = "https://plimsoll.example.com/oauth/token";

fn rules() -> AssertionRules<'static> {
    AssertionRules { client: APP, audiences: &[ENDPOINT, "https://plimsoll.example.com"], now_s: NOW_S }
}

fn claims() -> Value {
    json!({"iss": APP, "sub": APP, "aud": ENDPOINT, "exp": NOW_S + 60, "iat": NOW_S, "jti": "once-1"})
}

fn ask(pair: &Pair, header: &Value, claims: &Value) -> Result<Assertion, TokenFault> {
    verify_assertion(&pair.raw(&header.to_string(), &claims.to_string()), &pair.public(), &rules())
}

fn header() -> Value {
    json!({"alg": "ES256"})
}

#[test]
fn a_good_one_is_taken_with_every_algorithm() {
    for alg in Alg::ALL {
        let pair = Pair::new(alg, "k1");
        let good = verify_assertion(&pair.token(&claims()), &pair.public(), &rules()).expect("good");
        assert_eq!(good.ends_ms, (NOW_S + 60 + 2 * SKEW_S) * 1000);
        let says = AssertionSays { client: APP.to_owned(), kid: Some("k1".to_owned()) };
        assert_eq!(peek_assertion(&pair.token(&claims())), Ok(says));
    }
}

#[test]
fn it_is_known_by_application_and_id() {
    let pair = Pair::new(Alg::Es256, "k1");
    let once = |changes: Value| ask(&pair, &header(), &with(&claims(), &changes)).expect("good").once;
    assert_eq!(once(json!({})), once(json!({"exp": NOW_S + 100, "aud": ["x", ENDPOINT]})));
    assert_ne!(once(json!({})), once(json!({"jti": "once-2"})));
    // However long or odd an id is, what is kept of it is 43 characters.
    let odd = once(json!({"jti": "../'\" %00".repeat(200)}));
    assert!(odd.len() == 43 && odd.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
}

#[test]
fn what_is_wrong_is_refused() {
    let pair = Pair::new(Alg::Es256, "k1");
    let table = [
        (json!({"iss": "app_2"}), TokenFault::Issuer),
        (json!({"iss": null}), TokenFault::NoClaim("iss")),
        (json!({"sub": "app_2"}), TokenFault::BadClaim("sub")),
        (json!({"sub": null}), TokenFault::NoClaim("sub")),
        (json!({"aud": "https://elsewhere.example.com"}), TokenFault::Audience),
        (json!({"aud": format!("{ENDPOINT}/")}), TokenFault::Audience),
        (json!({"aud": []}), TokenFault::Audience),
        (json!({"exp": null}), TokenFault::NoClaim("exp")),
        (json!({"exp": NOW_S - SKEW_S}), TokenFault::Expired { ago_s: SKEW_S }),
        (json!({"exp": NOW_S + LIFE_MAX_S + SKEW_S + 1}), TokenFault::TooLongLived(LIFE_MAX_S)),
        (json!({"nbf": NOW_S + SKEW_S + 1}), TokenFault::NotYet { in_s: SKEW_S + 1 }),
        (json!({"iat": NOW_S + SKEW_S + 1}), TokenFault::FromFuture),
        (json!({"jti": null}), TokenFault::NoClaim("jti")),
        (json!({"jti": ""}), TokenFault::NoClaim("jti")),
        (json!({"jti": 7}), TokenFault::BadClaim("jti")),
    ];
    for (changes, fault) in table {
        assert_eq!(ask(&pair, &header(), &with(&claims(), &changes)), Err(fault), "{changes}");
    }
    assert!(ask(&pair, &header(), &with(&claims(), &json!({"exp": NOW_S + LIFE_MAX_S}))).is_ok());
}

#[test]
fn headers_are_checked() {
    let pair = Pair::new(Alg::Es256, "k1");
    let table = [
        (json!({"typ": "JWT"}), None),
        (json!({"typ": "client-authentication+jwt"}), None),
        (json!({"kid": "k1"}), None),
        (json!({"kid": pair.public().thumbprint()}), None),
        (json!({"kid": "k2"}), Some(TokenFault::UnknownKid)),
        (json!({"typ": "at+jwt"}), Some(TokenFault::Typ)),
        (json!({"typ": 1}), Some(TokenFault::Typ)),
        (json!({"alg": "none"}), Some(TokenFault::Alg)),
        (json!({"alg": "HS256"}), Some(TokenFault::Alg)),
        (json!({"alg": "RS256"}), Some(TokenFault::KeyUnfit)),
        (json!({"crit": ["b64"]}), Some(TokenFault::Critical)),
    ];
    for (changes, fault) in table {
        assert_eq!(ask(&pair, &with(&header(), &changes), &claims()).err(), fault, "{changes}");
    }
}

#[test]
fn only_the_credentials_own_key_counts() {
    let (pair, thief) = (Pair::new(Alg::Es256, "k1"), Pair::new(Alg::Es256, "k1"));
    let stolen = thief.raw(&with(&header(), &json!({"jwk": thief.jwk})).to_string(), &claims().to_string());
    assert_eq!(verify_assertion(&stolen, &pair.public(), &rules()), Err(TokenFault::Signature));
    let good = pair.token(&claims());
    for length in 0..good.len() {
        assert!(verify_assertion(&good[..length], &pair.public(), &rules()).is_err(), "{length}");
    }
    for text in ["", "..", "e30.e30.", "plim_live_x"] {
        assert!(peek_assertion(text).is_err(), "{text}");
    }
}
