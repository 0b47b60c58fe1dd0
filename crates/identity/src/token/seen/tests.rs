use parking_lot::Mutex;
use serde_json::{Map, json};

use super::*;
use crate::token::testing::{NOW_S, Pair, with};
use crate::token::{Accepts, Alg, Expected, KeySet, Verifier};

const ISSUER: &str = "https://plimsoll.example.com";

fn expected() -> Expected<'static> {
    Expected { audience: "plimsoll", now_s: NOW_S }
}

fn verifier(pair: &Pair) -> Verifier {
    Verifier::new(ISSUER, Accepts::Own, &[Alg::Es256], KeySet::new(vec![pair.public()]))
}

fn token(pair: &Pair, changes: &serde_json::Value) -> String {
    let claims = json!({
        "iss": ISSUER, "sub": "app_1", "aud": "plimsoll", "exp": NOW_S + 600, "iat": NOW_S, "jti": "t1",
        "client_id": "app_1", "org": "org_1", "kid_used": "key1",
    });
    let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "k1"});
    pair.raw(&header.to_string(), &with(&claims, changes).to_string())
}

fn claims(token_id: &str, expires_s: i64) -> Arc<Claims> {
    Arc::new(Claims {
        issuer: ISSUER.to_owned(),
        subject: "app_1".to_owned(),
        audience: vec!["plimsoll".to_owned()],
        expires_s,
        not_before_s: None,
        issued_s: Some(NOW_S),
        token_id: Some(token_id.to_owned()),
        client_id: None,
        scope: None,
        org: None,
        kid_used: Some("key1".to_owned()),
        all: Map::new(),
    })
}

fn signed(thumbprint: &str) -> Signed {
    Signed { by: thumbprint.into(), alg: Alg::Es256, typ: Typ::AtJwt }
}

fn hash(number: usize) -> Hash {
    Sha256::digest(number.to_be_bytes()).into()
}

#[test]
fn a_token_that_was_seen_costs_no_signature_check() {
    let pair = Pair::new(Alg::Es256, "k1");
    let (verifier, seen) = (verifier(&pair), Mutex::new(Seen::default()));
    let first = verifier.verify_seen(&token(&pair, &json!({})), &expected(), &seen).expect("good");
    assert_eq!(seen.lock().tokens.len(), 1);
    // What has no signature at all is taken if its hash is there: nothing of it was looked at but that.
    let signed = signed(pair.public().thumbprint());
    let text = "never a token";
    let known = claims("t9", NOW_S + 10);
    seen.lock().remember(Sha256::digest(text).into(), Arc::clone(&known), signed, text.len(), NOW_S);
    let again = verifier.verify_seen(text, &expected(), &seen).expect("known");
    assert!(Arc::ptr_eq(&again, &known) && !Arc::ptr_eq(&again, &first));
}

#[test]
fn what_was_seen_is_checked_all_the_same() {
    let pair = Pair::new(Alg::Es256, "k1");
    let (own, seen) = (verifier(&pair), Mutex::new(Seen::default()));
    let token = token(&pair, &json!({}));
    let ask = |verifier: &Verifier, audience: &str, now_s: i64| {
        verifier.verify_seen(&token, &Expected { audience, now_s }, &seen).map(|_| ())
    };
    assert_eq!(ask(&own, "plimsoll", NOW_S), Ok(()));
    assert_eq!(ask(&own, "other", NOW_S), Err(TokenFault::Audience));
    assert_eq!(ask(&own, "plimsoll", NOW_S - 31), Err(TokenFault::FromFuture));
    let other_issuer =
        Verifier::new("https://x", Accepts::Own, &[Alg::Es256], KeySet::new(vec![pair.public()]));
    assert_eq!(ask(&other_issuer, "plimsoll", NOW_S), Err(TokenFault::Issuer));
    // The key that signed it was taken away.
    let new_key = verifier(&Pair::new(Alg::Es256, "k2"));
    assert_eq!(ask(&new_key, "plimsoll", NOW_S), Err(TokenFault::UnknownKid));
    assert_eq!(seen.lock().tokens.len(), 1);
    assert_eq!(ask(&own, "plimsoll", NOW_S + 629), Ok(()));
    assert_eq!(ask(&own, "plimsoll", NOW_S + 630), Err(TokenFault::Expired { ago_s: 30 }));
    assert!(seen.lock().tokens.is_empty());
}

#[test]
fn bad_tokens_are_not_kept() {
    let (pair, thief) = (Pair::new(Alg::Es256, "k1"), Pair::new(Alg::Es256, "k1"));
    let (verifier, seen) = (verifier(&pair), Mutex::new(Seen::default()));
    for token in [
        token(&thief, &json!({})),
        token(&pair, &json!({"exp": NOW_S - 100})),
        token(&pair, &json!({"aud": "other"})),
        "nonsense".to_owned(),
        "x".repeat(10_000),
    ] {
        assert!(verifier.verify_seen(&token, &expected(), &seen).is_err());
    }
    assert!(seen.lock().tokens.is_empty());
}

#[test]
fn a_revoked_token_is_refused_when_it_comes_again() {
    let pair = Pair::new(Alg::Es256, "k1");
    let verifier = verifier(&pair);
    let (one, other) = (token(&pair, &json!({})), token(&pair, &json!({"jti": "t2", "kid_used": "key2"})));
    let seen = Mutex::new(Seen::default());
    let ask = |token: &str| verifier.verify_seen(token, &expected(), &seen).map(|_| ());
    assert_eq!((ask(&one), ask(&other)), (Ok(()), Ok(())));
    seen.lock().revoke_token("t1", NOW_S + 600, NOW_S);
    for _ in 0..2 {
        assert_eq!((ask(&one), ask(&other)), (Err(TokenFault::Revoked), Ok(())));
    }
    // One that is seen for the first time only now.
    seen.lock().revoke_token("t4", NOW_S + 600, NOW_S);
    assert_eq!(ask(&token(&pair, &json!({"jti": "t4"}))), Err(TokenFault::Revoked));
    // The id of a token is nothing but compared.
    seen.lock().revoke_token("' OR 1=1", NOW_S + 600, NOW_S);
    assert_eq!(ask(&other), Ok(()));
}

#[test]
fn there_is_an_end_to_memory() {
    let mut seen = Seen::default();
    let signed = signed("k");
    for number in 0..TOKENS_MAX + 500 {
        let ends_s = NOW_S + 100 + i64::try_from(number).expect("small");
        seen.remember(hash(number), claims("t", ends_s), signed.clone(), 1000, NOW_S);
        assert!(seen.tokens.len() == seen.ends.len() && seen.tokens.len() <= TOKENS_MAX);
    }
    assert_eq!((seen.tokens.len(), seen.bytes), (TOKENS_MAX, TOKENS_MAX * 1000));
    // Those that end first made room.
    assert!(seen.find(&hash(499), NOW_S).is_none() && seen.find(&hash(500), NOW_S).is_some());
    // The same one again takes no more room.
    seen.remember(hash(600), claims("t", NOW_S + 700), signed.clone(), 1000, NOW_S);
    assert_eq!((seen.tokens.len(), seen.bytes), (TOKENS_MAX, TOKENS_MAX * 1000));
    // Long ones are fewer.
    let mut long = Seen::default();
    for number in 0..3000 {
        long.remember(hash(number), claims("t", NOW_S + 100), signed.clone(), 8 * 1024, NOW_S);
    }
    assert_eq!((long.tokens.len(), long.bytes), (BYTES_MAX / 8192, BYTES_MAX));
    // Time empties it.
    assert!(seen.find(&hash(600), NOW_S + 1_000_000).is_none());
    assert_eq!((seen.tokens.len(), seen.bytes, seen.ends.len()), (0, 0, 0));
}

#[test]
fn too_many_revocations_end_everything_rather_than_nothing() {
    let mut seen = Seen::default();
    seen.remember(hash(1), claims("kept", NOW_S + 600), signed("k"), 100, NOW_S);
    for number in 0..REVOKED_MAX {
        seen.revoke_token(&number.to_string(), NOW_S + 600, NOW_S);
    }
    assert_eq!(seen.check_revoked(&claims("kept", NOW_S + 600)), Ok(()));
    assert_eq!(seen.tokens.len(), 1);
    let known = |seen: &Seen, now_s| ["kept", "7"].map(|token_id| seen.is_token_revoked(token_id, now_s));
    assert_eq!(known(&seen, NOW_S), [Some(false), Some(true)]);
    seen.revoke_token("one too many", NOW_S + 600, NOW_S + 5);
    assert!(seen.tokens.is_empty());
    for token_id in ["one too many", "kept", "7"] {
        assert_eq!(seen.check_revoked(&claims(token_id, NOW_S + 600)), Err(TokenFault::Revoked));
    }
    // Of one that is here nobody knows by this, until the last of that time has ended.
    assert_eq!(known(&seen, NOW_S + 5), [None, Some(true)]);
    assert_eq!(known(&seen, NOW_S + 5 + LIFE_MAX_S), [Some(false), Some(true)]);
    // One of an issuer outside that names neither itself nor its time.
    let nameless =
        Claims { token_id: None, kid_used: None, issued_s: None, ..(*claims("", NOW_S + 600)).clone() };
    assert_eq!(seen.check_revoked(&nameless), Ok(()));
    // Whoever fetches a new token goes on.
    let newer = Claims { issued_s: Some(NOW_S + 6), ..(*claims("new", NOW_S + 606)).clone() };
    assert_eq!(seen.check_revoked(&newer), Ok(()));
    // When those that were revoked have ended there is room again.
    seen.revoke_token("later", NOW_S + 1200, NOW_S + 700);
    assert_eq!(seen.revoked.names.len(), 1);
    assert_eq!(seen.refused_until_s, Some(NOW_S + 5));
    let revoked = Claims { issued_s: Some(NOW_S + 650), ..(*claims("later", NOW_S + 1200)).clone() };
    assert_eq!(seen.check_revoked(&revoked), Err(TokenFault::Revoked));
}

#[test]
fn a_revocation_lasts_until_the_later_end() {
    let mut seen = Seen::default();
    seen.revoke_token("t", NOW_S + 600, NOW_S);
    seen.revoke_token("t", NOW_S + 10, NOW_S);
    for number in 0..REVOKED_MAX {
        seen.revoke_token(&number.to_string(), NOW_S + 10, NOW_S + 100);
    }
    assert_eq!(seen.check_revoked(&claims("t", NOW_S + 600)), Err(TokenFault::Revoked));
}
