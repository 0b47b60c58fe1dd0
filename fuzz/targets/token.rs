//! Tokens, key sets and what OAuth has around them.
//!
//! Input: a text, taken as a token, as a set of keys, and, cut at its first line end, as the header and the claims of a token
//! that is signed with the right key. Besides not panicking: what nobody signed is refused, and what is accepted is for us
//! and for now.

#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use libfuzzer_sys::fuzz_target;
use plimsoll_identity::token::{
    Accepts, Alg, AssertionRules, Claims, Expected, Family, KeySet, PublicKey, SKEW_S, SigningKey,
    TokenFault, Typ, Types, Verifier, challenge_is_well_formed, peek, peek_assertion, verify_assertion,
    verify_challenge,
};

const NOW_S: i64 = 1_800_000_000;
const EXPECTED: Expected<'static> = Expected { audience: "a", now_s: NOW_S };

struct World {
    pair: Ed25519KeyPair,
    public: PublicKey,
    verifiers: [Verifier; 3],
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
    let x = BASE64URL.encode(pair.public_key().as_ref());
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{x}"}}"#);
    let public = PublicKey::read(&jwk).expect("a key");
    let verifiers = [
        Accepts::Own,
        Accepts::Outside(Types::USUAL),
        Accepts::Outside(Types::of(&[Typ::Jwt, Typ::Missing])),
    ]
    .map(|accepts| Verifier::new("i", accepts, &Alg::ALL, KeySet::new(vec![public.clone()])));
    World { pair, public, verifiers }
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    unsigned(text);
    let (header, claims) =
        text.split_once('\n').unwrap_or((r#"{"alg":"EdDSA","kid":"k","typ":"at+jwt"}"#, text));
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let token = format!("{message}.{}", BASE64URL.encode(WORLD.pair.sign(message.as_bytes())));
    for verifier in &WORLD.verifiers {
        match verifier.verify(&token, &EXPECTED) {
            Ok(claims) => check(&claims),
            Err(fault) => assert_ne!(fault, TokenFault::Signature),
        }
    }
    let rules = AssertionRules { client: "i", audiences: &["a"], now_s: NOW_S };
    if let Ok(assertion) = verify_assertion(&token, &WORLD.public, &rules) {
        assert_eq!(assertion.once.len(), 43);
        assert!(assertion.ends_ms > NOW_S * 1000 && assertion.ends_ms <= (NOW_S + 600) * 1000);
        assert_eq!(peek_assertion(&token).map(|says| says.client).as_deref(), Ok("i"));
    }
});

/// What is in the input itself has no signature of ours.
fn unsigned(text: &str) {
    for verifier in &WORLD.verifiers {
        assert!(verifier.verify(text, &EXPECTED).is_err(), "nobody signed it");
    }
    let _ =
        (peek(text), peek_assertion(text), PublicKey::read(text), Family::read(text), SigningKey::read(text));
    if let Ok(keys) = KeySet::read(text.as_bytes()) {
        assert!((1..=100).contains(&keys.len()));
    }
    if let Ok(key) = PublicKey::read(text) {
        assert_eq!(key.thumbprint().len(), 43);
        assert!(Alg::ALL.into_iter().any(|alg| key.fits(alg)));
    }
    if verify_challenge(text, text).is_ok() {
        assert!(challenge_is_well_formed(text));
    }
}

fn check(claims: &Claims) {
    assert_eq!(claims.issuer, "i");
    assert!(!claims.subject.is_empty() && !claims.subject.chars().any(char::is_control));
    assert!(claims.audience.iter().any(|audience| audience == "a"));
    assert!(claims.expires_s + SKEW_S > NOW_S);
    assert!(claims.not_before_s.is_none_or(|at_s| at_s <= NOW_S + SKEW_S));
    assert!(claims.issued_s.is_none_or(|at_s| at_s <= NOW_S + SKEW_S));
    assert!(claims.all.is_empty() || (claims.org.is_none() && claims.kid_used.is_none()));
}
