use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::token::testing::{Pair, with};

fn read(jwk: &Value) -> Result<PublicKey, JwkFault> {
    PublicKey::read(&jwk.to_string())
}

fn set(keys: &[Value]) -> Result<KeySet, JwksFault> {
    KeySet::read(json!({ "keys": keys }).to_string().as_bytes())
}

#[test]
fn thumbprints_are_those_of_the_standards() {
    // RFC 7638, 3.1.
    let rsa = json!({
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    });
    let key = read(&rsa).expect("good");
    assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!((key.kid(), key.fits(Alg::Rs256), key.fits(Alg::Ps256)), (Some("2011-04-29"), true, false));
    // RFC 8037, A.3.
    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    assert_eq!(read(&ed25519).expect("good").thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    // The name does not depend on what else is said of the key.
    let pair = Pair::new(Alg::Es256, "k1");
    let other = with(&pair.jwk, &json!({"kid": "k2", "use": "sig", "alg": "ES256", "x5c": ["AAAA"]}));
    assert_eq!(read(&other).expect("good").thumbprint(), pair.public().thumbprint());
}

#[test]
fn what_is_wrong_with_a_key_is_said() {
    let ec = Pair::new(Alg::Es256, "k1").jwk;
    let rsa = Pair::new(Alg::Rs256, "k1").jwk;
    let ed = Pair::new(Alg::EdDsa, "k1").jwk;
    let long = BASE64URL.encode([7; 1025]);
    let padded = BASE64URL.encode([&[0], [7; 256].as_slice()].concat());
    let table = [
        (&ec, json!({"kty": null}), JwkFault::Field("kty")),
        (&ec, json!({"kty": 1}), JwkFault::Field("kty")),
        (&ec, json!({"kty": "ec"}), JwkFault::Kind),
        (&ec, json!({"kty": "RSA"}), JwkFault::Field("n")),
        (&ec, json!({"kty": "AKP"}), JwkFault::Kind),
        (&ec, json!({"kty": "oct", "k": "AAAA"}), JwkFault::Symmetric),
        (&ec, json!({"d": "AAAA"}), JwkFault::Private("d")),
        (&rsa, json!({"p": "AAAA"}), JwkFault::Private("p")),
        (&ec, json!({"crv": "P-521"}), JwkFault::Kind),
        (&ec, json!({"crv": "secp256k1"}), JwkFault::Kind),
        (&ec, json!({"crv": "P-384"}), JwkFault::Field("x")),
        (&ec, json!({"crv": null}), JwkFault::Kind),
        (&ec, json!({"x": null}), JwkFault::Field("x")),
        (&ec, json!({"y": ""}), JwkFault::Field("y")),
        (&ec, json!({"y": "+".repeat(43)}), JwkFault::Field("y")),
        (&ec, json!({"x": BASE64URL.encode([1; 33])}), JwkFault::Field("x")),
        (&ec, json!({"x": BASE64URL.encode([1; 31])}), JwkFault::Field("x")),
        (&ed, json!({"crv": "X25519"}), JwkFault::Kind),
        (&ed, json!({"crv": "Ed448"}), JwkFault::Kind),
        (&ed, json!({"x": BASE64URL.encode([1; 57])}), JwkFault::Field("x")),
        (&rsa, json!({"n": BASE64URL.encode([7; 128])}), JwkFault::Field("n")),
        (&rsa, json!({"n": long}), JwkFault::Field("n")),
        (&rsa, json!({"n": padded}), JwkFault::Field("n")),
        (&rsa, json!({"e": "AQ"}), JwkFault::Field("e")),
        (&rsa, json!({"e": "AA"}), JwkFault::Field("e")),
        (&rsa, json!({"e": "Ag"}), JwkFault::Field("e")),
        (&rsa, json!({"e": ""}), JwkFault::Field("e")),
        (&rsa, json!({"e": BASE64URL.encode([1; 9])}), JwkFault::Field("e")),
        (&ec, json!({"use": "enc"}), JwkFault::Use),
        (&ec, json!({"use": 1}), JwkFault::Use),
        (&ec, json!({"key_ops": ["encrypt"]}), JwkFault::Use),
        (&ec, json!({"key_ops": "verify"}), JwkFault::Use),
        (&ec, json!({"alg": "ES384"}), JwkFault::Alg),
        (&ec, json!({"alg": "HS256"}), JwkFault::Alg),
        (&ec, json!({"alg": "none"}), JwkFault::Alg),
        (&rsa, json!({"alg": "RSA-OAEP"}), JwkFault::Alg),
        (&ec, json!({"alg": 256}), JwkFault::Alg),
    ];
    for (jwk, changes, fault) in table {
        assert_eq!(read(&with(jwk, &changes)).err(), Some(fault), "{changes}");
    }
    for text in ["", "[]", "{", "null", r#"{"kty":"EC","kty":"EC"}"#, &" ".repeat(JWKS_BYTES_MAX + 1)] {
        assert_eq!(PublicKey::read(text).err(), Some(JwkFault::Json));
    }
    assert!(read(&with(&ec, &json!({"use": "sig", "key_ops": ["sign", "verify"]}))).is_ok());
}

#[test]
fn a_point_that_is_on_no_curve_verifies_nothing() {
    let pair = Pair::new(Alg::Es256, "k1");
    let elsewhere = with(&pair.jwk, &json!({"y": BASE64URL.encode([1; 32])}));
    let zero = with(&pair.jwk, &json!({"x": BASE64URL.encode([0; 32]), "y": BASE64URL.encode([0; 32])}));
    for jwk in [elsewhere, zero] {
        let key = read(&jwk).expect("its form is right");
        for signature in [pair.sign("message"), BASE64URL.encode([0; 64])] {
            assert_eq!(key.verify(Alg::Es256, "message", &signature), Err(TokenFault::Signature));
        }
    }
    assert_eq!(pair.public().verify(Alg::Es256, "message", &pair.sign("message")), Ok(()));
}

#[test]
fn odd_keys_of_a_set_are_left_out() {
    let good = Pair::new(Alg::Es256, "k1");
    let odd = [
        json!({"kty": "oct", "k": "AAAA", "kid": "k1"}),
        json!({"kty": "EC", "crv": "P-521", "kid": "k1"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA", "kid": "k1"}),
        json!(null),
        json!("k1"),
        json!([]),
        json!({}),
        with(&good.jwk, &json!({"use": "enc"})),
        with(&good.jwk, &json!({"d": "AAAA"})),
    ];
    assert_eq!(set(&odd).err(), Some(JwksFault::Nothing(odd.len())));
    let both = [odd.as_slice(), std::slice::from_ref(&good.jwk)].concat();
    let keys = set(&both).expect("one is good");
    assert_eq!((keys.len(), keys.skipped(), keys.is_empty()), (1, odd.len(), false));
    assert_eq!(keys.find("k1", Alg::Es256).map(PublicKey::thumbprint), Ok(good.public().thumbprint()));
    assert!(keys.only().is_some());
}

#[test]
fn keys_are_found_by_name_and_kind() {
    let (ec, ed, other) =
        (Pair::new(Alg::Es256, "k1"), Pair::new(Alg::EdDsa, "k1"), Pair::new(Alg::Es256, "k1"));
    let nameless = with(&Pair::new(Alg::Es256, "").jwk, &json!({"kid": null}));
    let keys = set(&[nameless, ec.jwk.clone(), ed.jwk.clone(), other.jwk.clone()]).expect("a set");
    // The same name for two kinds is allowed; of two of one kind the first counts.
    assert_eq!(keys.find("k1", Alg::Es256).map(PublicKey::thumbprint), Ok(ec.public().thumbprint()));
    assert_eq!(keys.find("k1", Alg::EdDsa).map(PublicKey::thumbprint), Ok(ed.public().thumbprint()));
    assert_eq!(keys.find("k1", Alg::Rs256).err(), Some(TokenFault::KeyUnfit));
    for kid in ["", "k2", "K1", "k1 ", "../k1"] {
        assert_eq!(keys.find(kid, Alg::Es256).err(), Some(TokenFault::UnknownKid), "{kid}");
    }
    assert!(keys.only().is_none() && keys.has_thumbprint(other.public().thumbprint()));
    assert!(!keys.has_thumbprint("k1"));
}

#[test]
fn sets_are_bounded() {
    let one = Pair::new(Alg::EdDsa, "k1").jwk;
    assert_eq!(set(&vec![one.clone(); KEYS_MAX]).map(|keys| keys.len()), Ok(KEYS_MAX));
    assert_eq!(set(&vec![one.clone(); KEYS_MAX + 1]).err(), Some(JwksFault::TooMany));
    let long = json!({"keys": [one], "more": "x".repeat(JWKS_BYTES_MAX)}).to_string();
    for text in ["", "[]", "{}", r#"{"keys":1}"#, r#"{"keys":[],"keys":[]}"#, "<html>", long.as_str()] {
        assert_eq!(KeySet::read(text.as_bytes()).err(), Some(JwksFault::Json));
    }
    assert_eq!(set(&[]).err(), Some(JwksFault::Nothing(0)));
    // A name as long as a document is no name.
    let named = with(&one, &json!({"kid": "k".repeat(KID_BYTES_MAX + 1)}));
    assert_eq!(read(&named).expect("good").kid(), None);
}

proptest! {
    #[test]
    fn anything_can_be_asked(kty in "EC|RSA|OKP|oct", crv in "P-256|P-384|Ed25519|x", a in "[A-Za-z0-9_-]{0,64}", b in ".{0,64}") {
        let jwk = json!({"kty": kty, "crv": crv, "x": a, "y": b, "n": b, "e": a, "kid": b});
        let _ = read(&jwk);
        let _ = set(&[jwk]);
        let _ = PublicKey::read(&b);
    }
}
