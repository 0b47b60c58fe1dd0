//! For tests of tokens: keys of every kind, and tokens as a forger would write them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};

use super::{Alg, PublicKey};

/// A time.
pub(crate) const NOW_S: i64 = 1_800_000_000;

enum Private {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

/// A pair of keys.
pub(crate) struct Pair {
    private: Private,
    pub(crate) alg: Alg,
    pub(crate) jwk: Value,
}

impl Pair {
    pub(crate) fn new(alg: Alg, kid: &str) -> Pair {
        match alg {
            Alg::Es256 => Pair::ecdsa(alg, kid, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            Alg::Es384 => Pair::ecdsa(alg, kid, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
            Alg::Rs256 => Pair::rsa(alg, kid, KeySize::Rsa2048, &RSA_PKCS1_SHA256),
            Alg::Ps256 => Pair::rsa(alg, kid, KeySize::Rsa2048, &RSA_PSS_SHA256),
            Alg::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
                let x = BASE64URL.encode(pair.public_key().as_ref());
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid});
                Pair { private: Private::Ed25519(pair), alg, jwk }
            }
        }
    }

    /// Signs as ECDSA does elsewhere: in ASN.1.
    pub(crate) fn asn1(kid: &str) -> Pair {
        Pair::ecdsa(Alg::Es256, kid, "P-256", &ECDSA_P256_SHA256_ASN1_SIGNING)
    }

    fn ecdsa(alg: Alg, kid: &str, crv: &str, signing: &'static EcdsaSigningAlgorithm) -> Pair {
        let pair = EcdsaKeyPair::generate(signing).expect("a key");
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk =
            json!({"kty": "EC", "crv": crv, "x": BASE64URL.encode(x), "y": BASE64URL.encode(y), "kid": kid});
        Pair { private: Private::Ecdsa(pair), alg, jwk }
    }

    fn rsa(alg: Alg, kid: &str, size: KeySize, encoding: &'static dyn RsaEncoding) -> Pair {
        let pair = RsaKeyPair::generate(size).expect("a key");
        let parts = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let jwk = json!({"kty": "RSA", "n": BASE64URL.encode(&parts.n), "e": BASE64URL.encode(&parts.e), "kid": kid});
        Pair { private: Private::Rsa(pair, encoding), alg, jwk }
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::read(&self.jwk.to_string()).expect("a good key")
    }

    pub(crate) fn sign(&self, message: &str) -> String {
        let random = SystemRandom::new();
        let signature = match &self.private {
            Private::Ecdsa(pair) => pair.sign(&random, message.as_bytes()).expect("signed").as_ref().to_vec(),
            Private::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Private::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message.as_bytes(), &mut signature).expect("signed");
                signature
            }
        };
        BASE64URL.encode(signature)
    }

    /// A token of texts that need not be JSON.
    pub(crate) fn raw(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
        format!("{signed}.{}", self.sign(&signed))
    }

    /// A token with a usual header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"typ": "JWT", "alg": self.alg.as_str(), "kid": self.jwk.get("kid")});
        self.raw(&header.to_string(), &claims.to_string())
    }
}

/// A value with some of its members replaced, or taken out with `null`.
pub(crate) fn with(value: &Value, changes: &Value) -> Value {
    let mut value = value.clone();
    for (name, change) in changes.as_object().expect("an object") {
        let object = value.as_object_mut().expect("an object");
        match change {
            Value::Null => drop(object.remove(name)),
            change => drop(object.insert(name.clone(), change.clone())),
        }
    }
    value
}
