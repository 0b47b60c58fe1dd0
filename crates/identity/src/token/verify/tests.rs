use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::id::{Id, Kind};
use crate::token::testing::{NOW_S, Pair, with};
use crate::token::{Issuer, NewToken, SKEW_S, SigningKey, SigningKeys};

const OUTSIDE: &str = "https://login.example.com/";
const AUDIENCE: &str = "plimsoll";
const OURS: &str = "https://plimsoll.example.com";

/// All types that can be allowed.
const UNTYPED: Accepts = Accepts::Outside(Types(7));

fn expected() -> Expected<'static> {
    Expected { audience: AUDIENCE, now_s: NOW_S }
}

/// An issuer outside with one key.
fn outside(pair: &Pair) -> Verifier {
    Verifier::new(OUTSIDE, Accepts::Outside(Types::USUAL), &Alg::ALL, KeySet::new(vec![pair.public()]))
}

fn claims() -> Value {
    json!({"iss": OUTSIDE, "sub": "someone", "aud": AUDIENCE, "exp": NOW_S + 600, "iat": NOW_S, "nbf": NOW_S, "jti": "t1"})
}

fn es256() -> Pair {
    Pair::new(Alg::Es256, "k1")
}

fn verify(pair: &Pair, header: &Value, claims: &Value) -> Result<Claims, TokenFault> {
    outside(pair).verify(&pair.raw(&header.to_string(), &claims.to_string()), &expected())
}

fn header() -> Value {
    json!({"typ": "at+jwt", "alg": "ES256", "kid": "k1"})
}

/// Our own issuer and one of its tokens.
fn own() -> (Issuer, String) {
    let keys = SigningKeys::new(vec![SigningKey::generate(NOW_S * 1000).expect("a key")]);
    let issuer = Issuer::new(OURS, 600, &keys, NOW_S * 1000).expect("an issuer");
    let id = |kind| Id::new(kind, 1, [1; 10]);
    let (subject, org) = (id(Kind::App), id(Kind::Org));
    let new = NewToken {
        subject: &subject,
        client: &subject,
        org: &org,
        audience: AUDIENCE,
        scope: "",
        kid_used: Some("0123456789abcdef"),
    };
    let issued = issuer.issue(&new, NOW_S, &[5; 16]).expect("signed");
    let token = issued.token.expose_text().expect("text").to_owned();
    (issuer, token)
}

#[test]
fn every_algorithm_of_the_list_is_verified() {
    for alg in Alg::ALL {
        let pair = Pair::new(alg, "k1");
        let read = outside(&pair).verify(&pair.token(&claims()), &expected()).expect("good");
        assert_eq!((read.subject.as_str(), read.expires_s), ("someone", NOW_S + 600), "{alg:?}");
        assert_eq!(read.all.get("jti"), Some(&json!("t1")));
        // The same key, and another algorithm than those of the issuer.
        let others: Vec<_> = Alg::ALL.into_iter().filter(|other| *other != alg).collect();
        let narrow =
            Verifier::new(OUTSIDE, Accepts::Outside(Types::USUAL), &others, KeySet::new(vec![pair.public()]));
        assert_eq!(narrow.verify(&pair.token(&claims()), &expected()), Err(TokenFault::Alg));
        // A header that names an algorithm of another kind of key.
        for other in others {
            let lying = json!({"typ": "JWT", "alg": other.as_str(), "kid": "k1"});
            let fault = match (alg, other) {
                // RSA keys may be for both.
                (Alg::Rs256, Alg::Ps256) | (Alg::Ps256, Alg::Rs256) => TokenFault::Signature,
                _ => TokenFault::KeyUnfit,
            };
            assert_eq!(verify(&pair, &lying, &claims()), Err(fault), "{alg:?} as {other:?}");
        }
    }
}

#[test]
fn examples_of_the_standards_are_verified() {
    // RFC 7515, A.3 and RFC 8037, A.4: signatures that others computed.
    let p256 = PublicKey::read(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#,
    )
    .expect("a good key");
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let parts = Parts::split(token).expect("three parts");
    assert_eq!(p256.verify(Alg::Es256, parts.signed, parts.signature), Ok(()));
    assert_eq!(p256.verify(Alg::Es256, parts.header, parts.signature), Err(TokenFault::Signature));

    let ed25519 =
        PublicKey::read(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)
            .expect("a good key");
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert_eq!(ed25519.verify(Alg::EdDsa, message, signature), Ok(()));
}

#[test]
fn our_own_tokens_are_verified() {
    let (issuer, token) = own();
    let read = issuer.verifier().verify(&token, &expected()).expect("good");
    assert_eq!(read.kid_used.as_deref(), Some("0123456789abcdef"));
    assert_eq!(read.client_id.as_deref(), Some(read.subject.as_str()));
    assert!(read.all.is_empty());
    let peeked = peek(&token).expect("a token");
    assert_eq!(peeked.issuer, OURS);
    assert!(peeked.kid.is_some_and(|kid| issuer.verifier().keys.has(&kid)));
}

#[test]
fn forged_signatures_are_refused() {
    let (pair, thief) = (es256(), es256());
    let verifier = outside(&pair);
    // Another key under the same name.
    assert_eq!(verifier.verify(&thief.token(&claims()), &expected()), Err(TokenFault::Signature));
    // Claims of one token with the signature of another.
    let good = pair.token(&claims());
    let richer = thief.token(&with(&claims(), &json!({"sub": "admin"})));
    let (signed, _) = richer.rsplit_once('.').expect("three parts");
    let (_, signature) = good.rsplit_once('.').expect("three parts");
    assert_eq!(verifier.verify(&format!("{signed}.{signature}"), &expected()), Err(TokenFault::Signature));
    // None, zeros (CVE-2022-21449), ASN.1, too short, too long.
    let (signed, _) = good.rsplit_once('.').expect("three parts");
    for forged in [
        String::new(),
        BASE64URL.encode([0; 64]),
        BASE64URL.encode([0; 63]),
        BASE64URL.encode([255; 64]),
        format!("{signature}AA"),
        format!("{signature}="),
        signature.replace(['-', '_'], "+"),
        " ".to_owned(),
    ] {
        if forged != signature {
            let token = format!("{signed}.{forged}");
            assert_eq!(verifier.verify(&token, &expected()), Err(TokenFault::Signature), "{forged}");
        }
    }
    let asn1 = Pair::asn1("k1");
    assert_eq!(outside(&asn1).verify(&asn1.token(&claims()), &expected()), Err(TokenFault::Signature));
}

#[test]
fn no_algorithm_but_those_of_the_list() {
    let pair = es256();
    for alg in [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "es256", "ES256K", "ES512", "RS1",
        "dir",
    ] {
        let header = json!({"typ": "JWT", "alg": alg, "kid": "k1"});
        assert_eq!(verify(&pair, &header, &claims()), Err(TokenFault::Alg), "{alg}");
        let unsigned =
            format!("{}.{}.", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims().to_string()));
        assert_eq!(outside(&pair).verify(&unsigned, &expected()), Err(TokenFault::Alg), "{alg}");
    }
    for alg in [json!(null), json!(["ES256"]), json!(7), json!({"ES256": 1})] {
        let header = json!({"typ": "JWT", "alg": alg, "kid": "k1"});
        assert_eq!(verify(&pair, &header, &claims()), Err(TokenFault::Alg), "{header}");
    }
    assert_eq!(verify(&pair, &with(&header(), &json!({"alg": null})), &claims()), Err(TokenFault::Alg));
}

#[test]
fn a_public_key_is_no_secret() {
    // The public key, in every form that somebody may have it, as the secret of an HMAC.
    use aws_lc_rs::hmac;
    let pair = es256();
    let coordinate =
        |name: &str| BASE64URL.decode(pair.jwk[name].as_str().expect("text")).expect("base64url");
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    for secret in [point.clone(), point[1..].to_vec(), pair.jwk.to_string().into_bytes(), Vec::new()] {
        let header = json!({"typ": "JWT", "alg": "HS256", "kid": "k1"}).to_string();
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        let token = format!("{signed}.{}", BASE64URL.encode(tag.as_ref()));
        assert_eq!(outside(&pair).verify(&token, &expected()), Err(TokenFault::Alg));
    }
}

#[test]
fn times_are_checked_with_a_skew() {
    let pair = es256();
    let at = |changes: Value| verify(&pair, &header(), &with(&claims(), &changes)).map(|_| ());
    let table = [
        (json!({"exp": NOW_S - SKEW_S + 1}), Ok(())),
        (json!({"exp": NOW_S - SKEW_S}), Err(TokenFault::Expired { ago_s: SKEW_S })),
        (json!({"exp": 0}), Err(TokenFault::Expired { ago_s: NOW_S })),
        (json!({"nbf": NOW_S + SKEW_S}), Ok(())),
        (json!({"nbf": NOW_S + SKEW_S + 1}), Err(TokenFault::NotYet { in_s: SKEW_S + 1 })),
        (json!({"iat": NOW_S + SKEW_S}), Ok(())),
        (json!({"iat": NOW_S + SKEW_S + 1}), Err(TokenFault::FromFuture)),
        (json!({"exp": null}), Err(TokenFault::NoClaim("exp"))),
        (json!({"nbf": null, "iat": null}), Ok(())),
        // A fraction is a time as well (RFC 7519, 2).
        (json!({"exp": NOW_S as f64 + 0.5, "iat": NOW_S as f64 - 0.25}), Ok(())),
        (json!({"exp": 253_402_300_799_i64}), Ok(())),
    ];
    for (changes, result) in table {
        assert_eq!(at(changes.clone()), result, "{changes}");
    }
}

#[test]
fn impossible_values_are_refused() {
    let pair = es256();
    for name in ["exp", "nbf", "iat"] {
        for value in [
            "-1",
            "253402300800",
            "1e300",
            "-1e300",
            "18446744073709551615",
            "99999999999999999999999999",
            "\"1800000600\"",
            "null",
            "[1]",
            "{}",
            "true",
        ] {
            let text = claims().to_string();
            let text =
                text.replacen(&format!("\"{name}\":{}", claims()[name]), &format!("\"{name}\":{value}"), 1);
            let token = pair.raw(&header().to_string(), &text);
            assert_eq!(outside(&pair).verify(&token, &expected()), Err(TokenFault::BadClaim(name)), "{text}");
        }
    }
    for (changes, fault) in [
        (json!({"iss": 7}), TokenFault::BadClaim("iss")),
        (json!({"iss": null}), TokenFault::NoClaim("iss")),
        (json!({"iss": ""}), TokenFault::NoClaim("iss")),
        (json!({"iss": [OUTSIDE]}), TokenFault::BadClaim("iss")),
        (json!({"sub": null}), TokenFault::NoClaim("sub")),
        (json!({"sub": ""}), TokenFault::NoClaim("sub")),
        (json!({"sub": ["someone"]}), TokenFault::BadClaim("sub")),
        (json!({"sub": "some\none: a line of the log"}), TokenFault::BadClaim("sub")),
        (json!({"jti": 1}), TokenFault::BadClaim("jti")),
        (json!({"aud": null}), TokenFault::NoClaim("aud")),
        (json!({"aud": 1}), TokenFault::BadClaim("aud")),
        (json!({"aud": {"plimsoll": 1}}), TokenFault::BadClaim("aud")),
        (json!({"aud": [AUDIENCE, 1]}), TokenFault::BadClaim("aud")),
        (json!({"aud": []}), TokenFault::Audience),
        (json!({"aud": "plimsoll2"}), TokenFault::Audience),
        (json!({"aud": "Plimsoll"}), TokenFault::Audience),
        (json!({"aud": "other plimsoll"}), TokenFault::Audience),
        (json!({"iss": "https://login.example.com"}), TokenFault::Issuer),
        (json!({"iss": OURS}), TokenFault::Issuer),
    ] {
        assert_eq!(verify(&pair, &header(), &with(&claims(), &changes)), Err(fault), "{changes}");
    }
    assert!(verify(&pair, &header(), &with(&claims(), &json!({"aud": ["other", AUDIENCE]}))).is_ok());
    assert!(verify(&pair, &header(), &with(&claims(), &json!({"aud": AUDIENCE, "jti": null}))).is_ok());
}

#[test]
fn a_name_twice_is_refused() {
    let pair = es256();
    let twice =
        |text: &str, name: &str, value: &str| format!("{},\"{name}\":{value}}}", &text[..text.len() - 1]);
    for (name, value) in
        [("sub", "\"admin\""), ("exp", "1900000000"), ("aud", "\"plimsoll\""), ("\\u0073ub", "\"x\"")]
    {
        let text = twice(&claims().to_string(), name, value);
        let token = pair.raw(&header().to_string(), &text);
        assert_eq!(
            outside(&pair).verify(&token, &expected()),
            Err(TokenFault::Json("second part")),
            "{text}"
        );
    }
    for (name, value) in [("alg", "\"none\""), ("kid", "\"k2\""), ("typ", "\"JWT\"")] {
        let token = pair.raw(&twice(&header().to_string(), name, value), &claims().to_string());
        assert_eq!(outside(&pair).verify(&token, &expected()), Err(TokenFault::Json("first part")), "{name}");
    }
}

#[test]
fn a_header_offers_no_key() {
    // Signed by a thief who brings his key along in every way there is.
    let (pair, thief) = (es256(), Pair::new(Alg::Es256, "k2"));
    let offers = json!({
        "jwk": thief.jwk, "jku": "http://127.0.0.1:1/keys", "x5u": "file:///etc/passwd", "x5c": ["AAAA"],
        "x5t": "AAAA", "x5t#S256": "AAAA",
    });
    for (kid, fault) in [
        (json!("k1"), TokenFault::Signature),
        (json!("k2"), TokenFault::UnknownKid),
        (json!(thief.public().thumbprint()), TokenFault::UnknownKid),
    ] {
        let lying = with(&with(&header(), &offers), &json!({"kid": kid}));
        let token = thief.raw(&lying.to_string(), &claims().to_string());
        assert_eq!(outside(&pair).verify(&token, &expected()), Err(fault), "{kid}");
    }
    // What is signed well is not harmed by them.
    assert!(verify(&pair, &with(&header(), &offers), &claims()).is_ok());
}

#[test]
fn names_of_keys_lead_nowhere() {
    let pair = es256();
    for kid in [
        "../../../../../../dev/null",
        "/etc/passwd",
        "k1' OR '1'='1",
        "k1\0",
        " k1",
        "K1",
        "k1/../k1",
        "%6b1",
        "",
        "'; DROP TABLE keys; --",
        "http://127.0.0.1/k1",
        "${jndi:ldap://127.0.0.1/a}",
        "k1\n",
        "\u{6b}\u{301}1",
    ] {
        let fault = verify(&pair, &with(&header(), &json!({"kid": kid})), &claims()).expect_err("unknown");
        assert_eq!(fault, TokenFault::UnknownKid, "{kid}");
    }
    for kid in [json!(1), json!(["k1"]), json!({"k1": "k1"}), json!(true)] {
        assert_eq!(
            verify(&pair, &with(&header(), &json!({"kid": kid})), &claims()),
            Err(TokenFault::UnknownKid)
        );
    }
}

#[test]
fn a_token_without_a_key_is_for_issuers_with_one() {
    let (pair, other) = (es256(), Pair::new(Alg::Es256, "k2"));
    let nameless = with(&header(), &json!({"kid": null}));
    assert!(verify(&pair, &nameless, &claims()).is_ok());
    let two = KeySet::new(vec![pair.public(), other.public()]);
    let two = Verifier::new(OUTSIDE, Accepts::Outside(Types::USUAL), &Alg::ALL, two);
    let token = pair.raw(&nameless.to_string(), &claims().to_string());
    assert_eq!(two.verify(&token, &expected()), Err(TokenFault::NoKid));
    let own = Verifier::new(OUTSIDE, Accepts::Own, &Alg::ALL, KeySet::new(vec![pair.public()]));
    assert_eq!(own.verify(&token, &expected()), Err(TokenFault::NoKid));
}

#[test]
fn types_and_extensions_are_checked() {
    let pair = es256();
    let typed = |accepts: Accepts, typ: &Value| {
        let verifier = Verifier::new(OUTSIDE, accepts, &Alg::ALL, KeySet::new(vec![pair.public()]));
        let full = with(&claims(), &json!({"client_id": "app_1", "org": "org_1"}));
        let token = pair.raw(&with(&header(), &json!({"typ": typ})).to_string(), &full.to_string());
        verifier.verify(&token, &expected()).map(|_| ())
    };
    let (good, wrong) = (Ok(()), Err(TokenFault::Typ));
    for (typ, own, outside, untyped) in [
        (json!("at+jwt"), &good, &good, &good),
        (json!("AT+JWT"), &good, &good, &good),
        (json!("application/at+jwt"), &good, &good, &good),
        (json!("JWT"), &wrong, &good, &good),
        (json!("jwt"), &wrong, &good, &good),
        (json!("id+jwt"), &wrong, &wrong, &wrong),
        (json!("dpop+jwt"), &wrong, &wrong, &wrong),
        (json!("logout+jwt"), &wrong, &wrong, &wrong),
        (json!(["at+jwt"]), &wrong, &wrong, &wrong),
        (json!(""), &wrong, &wrong, &wrong),
        (json!(null), &wrong, &wrong, &good),
    ] {
        assert_eq!(&typed(Accepts::Own, &typ), own, "{typ}");
        assert_eq!(&typed(Accepts::Outside(Types::USUAL), &typ), outside, "{typ}");
        assert_eq!(&typed(UNTYPED, &typ), untyped, "{typ}");
        assert_eq!(&typed(Accepts::Outside(Types::of(&[Typ::AtJwt])), &typ), own, "{typ}");
    }
    for crit in [json!(["exp"]), json!(["b64"]), json!([]), json!("x")] {
        let header = with(&header(), &json!({"crit": crit, "b64": false}));
        assert_eq!(verify(&pair, &header, &claims()), Err(TokenFault::Critical), "{header}");
    }
}

#[test]
fn our_own_tokens_have_all_their_claims() {
    let pair = es256();
    let verifier = Verifier::new(OUTSIDE, Accepts::Own, &Alg::ALL, KeySet::new(vec![pair.public()]));
    let full =
        with(&claims(), &json!({"client_id": "app_1", "org": "org_1", "scope": "admin", "kid_used": "k"}));
    let ask = |changes: Value| {
        let token = pair.raw(&header().to_string(), &with(&full, &changes).to_string());
        verifier.verify(&token, &expected()).map(|_| ())
    };
    assert_eq!(ask(json!({})), Ok(()));
    assert_eq!(ask(json!({"scope": null, "kid_used": null})), Ok(()));
    for name in ["iat", "jti", "client_id", "org", "sub", "aud", "iss", "exp"] {
        assert_eq!(ask(json!({name: null})), Err(TokenFault::NoClaim(name)));
        assert_eq!(ask(json!({name: {}})), Err(TokenFault::BadClaim(name)));
    }
    // An issuer outside cannot say what only we say.
    let outside = outside(&pair).verify(&pair.token(&full), &expected()).expect("good");
    assert_eq!((outside.org, outside.kid_used, outside.client_id, outside.scope), (None, None, None, None));
}

#[test]
fn sizes_and_shapes_are_checked_first() {
    let (issuer, token) = own();
    let verifier = issuer.verifier();
    let ask = |token: &str| verifier.verify(token, &expected()).map(|_| ());
    assert_eq!(ask(&"a".repeat(TOKEN_BYTES_MAX + 1)), Err(TokenFault::TooLong));
    assert_eq!(ask(&format!("{token}{}", "A".repeat(TOKEN_BYTES_MAX))), Err(TokenFault::TooLong));
    assert_eq!(ask(&"a.".repeat(TOKEN_BYTES_MAX / 2)), Err(TokenFault::Parts));
    assert_eq!(peek(&"a".repeat(TOKEN_BYTES_MAX + 1)).err(), Some(TokenFault::TooLong));
    for text in [
        "",
        ".",
        "..",
        "...",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "e30.e30.",
        "e30.e30.e30",
        "\u{e9}.\u{e9}.\u{e9}",
    ] {
        assert!(ask(text).is_err(), "{text}");
    }
    assert_eq!(ask(&format!("{token}.")), Err(TokenFault::Parts));
    assert_eq!(ask(&format!(".{token}")), Err(TokenFault::Parts));
    for wrong in [format!(" {token}"), format!("{token} "), format!("{token}\n"), format!("{token}=")] {
        assert!(ask(&wrong).is_err(), "{wrong}");
    }
    // Five parts: an encrypted token (JWE).
    assert_eq!(ask(&format!("{token}.a.b")), Err(TokenFault::Parts));
}

#[test]
fn a_token_cut_off_anywhere_is_refused() {
    let (issuer, token) = own();
    let verifier = issuer.verifier();
    for length in 0..token.len() {
        assert!(verifier.verify(&token[..length], &expected()).is_err(), "{length}");
        assert!(verifier.verify(&token[length + 1..], &expected()).is_err(), "{length}");
    }
    assert!(verifier.verify(&token, &expected()).is_ok());
}

#[test]
fn any_changed_character_is_refused() {
    let (issuer, token) = own();
    let verifier = issuer.verifier();
    for at in 0..token.len() {
        for other in ["A", "B", "_", ".", "=", "+", "\u{e9}"] {
            let changed = format!("{}{other}{}", &token[..at], &token[at + 1..]);
            assert!(changed == token || verifier.verify(&changed, &expected()).is_err(), "{at} {other}");
        }
    }
}

#[test]
fn words_have_no_part_of_the_token() {
    let pair = es256();
    let marked = json!({"iss": "MARK-i", "sub": "MARK-s", "aud": "MARK-a", "exp": NOW_S, "jti": "MARK-j"});
    let mut faults = vec![
        verify(&pair, &with(&header(), &json!({"kid": "MARK-k"})), &marked).expect_err("wrong"),
        verify(&pair, &with(&header(), &json!({"alg": "MARK-g"})), &marked).expect_err("wrong"),
        verify(&pair, &with(&header(), &json!({"typ": "MARK-t"})), &marked).expect_err("wrong"),
        verify(&pair, &header(), &marked).expect_err("wrong"),
        verify(&pair, &header(), &with(&marked, &json!({"iss": OUTSIDE}))).expect_err("wrong"),
        verify(&pair, &header(), &with(&claims(), &json!({"sub": ["MARK"]}))).expect_err("wrong"),
    ];
    let good = pair.token(&claims());
    faults.push(outside(&pair).verify(&good[..good.len() - 9], &expected()).expect_err("wrong"));
    for fault in faults {
        let words = fault.to_string();
        assert!(!words.contains("MARK") && !words.contains("eyJ"), "{words}");
        assert!(!fault.label().is_empty());
    }
    let read = outside(&pair).verify(&pair.token(&with(&claims(), &json!({"email": "MARK"}))), &expected());
    assert!(!format!("{:?}", read.expect("good")).contains("MARK"));
}

proptest! {
    #[test]
    fn anything_can_be_asked(text in "[A-Za-z0-9_.=-]{0,300}|.{0,100}", header in ".{0,60}", claims in ".{0,60}") {
        let verifier = Verifier::new(OUTSIDE, UNTYPED, &Alg::ALL, KeySet::default());
        prop_assert!(verifier.verify(&text, &expected()).is_err());
        let built = format!("{}.{}.AA", BASE64URL.encode(&header), BASE64URL.encode(&claims));
        prop_assert!(verifier.verify(&built, &expected()).is_err());
        let _ = peek(&built);
        let _ = peek(&text);
    }
}
