use super::*;
use crate::id::Kind;
use crate::token::testing::NOW_S;
use crate::token::{Expected, SigningKey, TokenFault};

const URL: &str = "https://plimsoll.example.com";
const NOW_MS: i64 = NOW_S * 1000;

fn keys() -> SigningKeys {
    SigningKeys::new(vec![SigningKey::generate(NOW_MS).expect("a key")])
}

fn issue(issuer: &Issuer, now_s: i64) -> Issued {
    let id = |kind| Id::new(kind, 1, [1; 10]);
    let new = NewToken {
        subject: &id(Kind::User),
        client: &id(Kind::App),
        org: &id(Kind::Org),
        audience: "plimsoll",
        scope: "admin authorize",
        kid_used: None,
    };
    issuer.issue(&new, now_s, &[200; TOKEN_ID_BYTES]).expect("signed")
}

fn text(issued: &Issued) -> &str {
    issued.token.expose_text().expect("text")
}

#[test]
fn a_token_is_as_rfc_9068_says() {
    let issuer = Issuer::new(URL, 600, &keys(), NOW_MS).expect("an issuer");
    let issued = issue(&issuer, NOW_S);
    let part = |at: usize| -> Value {
        let part = text(&issued).split('.').nth(at).expect("three parts");
        serde_json::from_slice(&BASE64URL.decode(part).expect("base64url")).expect("JSON")
    };
    let id = |kind| Id::new(kind, 1, [1; 10]).to_string();
    let kid = issuer.jwks()["keys"][0]["kid"].clone();
    assert_eq!(part(0), json!({"typ": "at+jwt", "alg": "ES256", "kid": kid}));
    assert_eq!(
        part(1),
        json!({
            "iss": URL, "sub": id(Kind::User), "client_id": id(Kind::App), "org": id(Kind::Org), "aud": "plimsoll",
            "exp": NOW_S + 600, "iat": NOW_S, "jti": issued.token_id, "scope": "admin authorize",
        })
    );
    assert_eq!((issued.expires_s, issued.life_s, issued.token_id.len()), (NOW_S + 600, 600, TOKEN_ID_CHARS));
    assert!(!format!("{issued:?} {issuer:?}").contains(text(&issued)));
}

#[test]
fn what_is_issued_is_verified_by_who_reads_the_published_keys() {
    let issuer = Issuer::new(URL, 600, &keys(), NOW_MS).expect("an issuer");
    let published = KeySet::read(issuer.jwks().to_string().as_bytes()).expect("a set");
    let elsewhere = Verifier::new(URL, Accepts::Own, &[Alg::Es256], published);
    let expected = Expected { audience: "plimsoll", now_s: NOW_S };
    for verifier in [issuer.verifier(), elsewhere] {
        let read = verifier.verify(text(&issue(&issuer, NOW_S)), &expected).expect("good");
        assert_eq!(read.scope.as_deref(), Some("admin authorize"));
    }
    assert!(!issuer.jwks().to_string().contains("\"d\""));
}

#[test]
fn a_token_outlives_the_change_of_keys() {
    let mut keys = keys();
    let day_ms = 24 * 3_600_000;
    let old = Issuer::new(URL, 600, &keys, NOW_MS).expect("an issuer");
    let later_ms = NOW_MS + 30 * day_ms;
    keys.add(SigningKey::generate(later_ms).expect("a key"));
    // Just before the new one signs: the old one does, and both are published.
    let changing_ms = later_ms + 3_600_000 - 1000;
    let changing = Issuer::new(URL, 600, &keys, changing_ms).expect("an issuer");
    assert_eq!(changing.good_until_ms(), later_ms + 3_600_000);
    let (last, expected_s) = (issue(&changing, changing_ms / 1000), changing_ms / 1000 + 500);
    let new = Issuer::new(URL, 600, &keys, changing.good_until_ms()).expect("an issuer");
    assert_ne!(new.header, changing.header);
    assert_eq!(changing.header, old.header);
    let expected = Expected { audience: "plimsoll", now_s: expected_s };
    assert!(new.verifier().verify(text(&last), &expected).is_ok());
    // Two days after it retired it is published no more.
    let after_ms = later_ms + 4 * day_ms;
    let after = Issuer::new(URL, 600, &keys, after_ms).expect("an issuer");
    assert_eq!(after.verifier().verify(text(&last), &expected), Err(TokenFault::UnknownKid));
    // A stolen one at once.
    let kid = keys.signer(NOW_MS).expect("one").kid().to_owned();
    let left = SigningKeys::new(keys.published(NOW_MS).filter(|key| key.kid() != kid).cloned());
    let robbed = Issuer::new(URL, 600, &left, changing_ms).expect("an issuer");
    assert_eq!(robbed.verifier().verify(text(&last), &expected), Err(TokenFault::UnknownKid));
}

#[test]
fn lives_are_bounded_and_keys_needed() {
    for (asked, life_s) in [(0, 1), (-5, 1), (600, 600), (i64::MAX, LIFE_MAX_S)] {
        let issuer = Issuer::new(URL, asked, &keys(), NOW_MS).expect("an issuer");
        assert_eq!(issue(&issuer, NOW_S).life_s, life_s);
    }
    assert_eq!(Issuer::new(URL, 600, &SigningKeys::default(), NOW_MS).err(), Some(SigningFault::None));
}
