//! Public keys as JSON Web Keys (RFC 7517, 7518), their thumbprints (RFC 7638), and sets of them.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{Alg, TokenFault, json};

/// Most keys of a set that are kept.
const KEYS_MAX: usize = 100;

/// Longest JWK or set, bytes.
pub(super) const JWKS_BYTES_MAX: usize = 64 * 1024;

/// Longest `kid`, bytes.
const KID_BYTES_MAX: usize = 256;

/// RSA moduli, bytes: 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// Why a JWK is not taken. The words say what to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkFault {
    /// Not JSON.
    #[error("not a JWK: no JSON object, longer than {JWKS_BYTES_MAX} bytes, or a name is there twice")]
    Json,
    /// Somebody sent a private key.
    #[error(
        "this JWK has the private key in it ({0}): send the public part only, and make a new pair, since this one was shown"
    )]
    Private(&'static str),
    /// A shared secret.
    #[error("this JWK is a shared secret (kty oct): only public keys are taken")]
    Symmetric,
    /// A kind that is not supported.
    #[error("this kind of key is not supported: EC with P-256 or P-384, RSA, and OKP with Ed25519 are")]
    Kind,
    /// A part of it is missing or wrong.
    #[error("{0} of this JWK is missing, not base64url, or of a wrong size")]
    Field(&'static str),
    /// For encryption.
    #[error("this JWK is not for verifying signatures (use, key_ops)")]
    Use,
    /// `alg` says something else.
    #[error("alg of this JWK is not for this kind of key, or not supported")]
    Alg,
}

/// A set of keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksFault {
    /// Not a set.
    #[error(
        "not a set of keys: no JSON object with an array `keys`, longer than {JWKS_BYTES_MAX} bytes, or a name is there twice"
    )]
    Json,
    /// More than anybody needs.
    #[error("it has more than {KEYS_MAX} keys")]
    TooMany,
    /// Nothing in it can be used.
    #[error("none of its {0} keys can be used")]
    Nothing(usize),
}

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    P256,
    P384,
    Rsa,
    Ed25519,
}

impl Shape {
    fn fits(self, alg: Alg) -> bool {
        match self {
            Shape::P256 => alg == Alg::Es256,
            Shape::P384 => alg == Alg::Es384,
            Shape::Rsa => alg == Alg::Rs256 || alg == Alg::Ps256,
            Shape::Ed25519 => alg == Alg::EdDsa,
        }
    }
}

/// A public key that verifies signatures.
#[derive(Clone, Debug)]
pub struct PublicKey {
    kid: Option<String>,
    shape: Shape,
    /// The only algorithm it may be used with, if it says so.
    alg: Option<Alg>,
    decoding: DecodingKey,
    thumbprint: String,
}

impl PublicKey {
    /// Reads a JWK.
    ///
    /// # Errors
    /// It is no public key that can be used.
    pub fn read(jwk: &str) -> Result<PublicKey, JwkFault> {
        let object =
            Some(jwk.as_bytes()).filter(|bytes| bytes.len() <= JWKS_BYTES_MAX).and_then(json::object);
        PublicKey::from_object(&object.ok_or(JwkFault::Json)?)
    }

    fn from_object(jwk: &Map<String, Value>) -> Result<PublicKey, JwkFault> {
        let kty = json::text(jwk, "kty").ok_or(JwkFault::Field("kty"))?;
        if kty == "oct" {
            return Err(JwkFault::Symmetric);
        }
        // A published private key is everybody's.
        if let Some(name) = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]
            .into_iter()
            .find(|name| jwk.contains_key(*name))
        {
            return Err(JwkFault::Private(name));
        }
        check_use(jwk)?;
        let (shape, decoding, members) = match (kty, json::text(jwk, "crv")) {
            ("EC", Some("P-256")) => elliptic(jwk, Shape::P256, 32)?,
            ("EC", Some("P-384")) => elliptic(jwk, Shape::P384, 48)?,
            ("OKP", Some("Ed25519")) => edwards(jwk)?,
            ("RSA", _) => rsa(jwk)?,
            _ => return Err(JwkFault::Kind),
        };
        let alg = match jwk.get("alg") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let alg = value.as_str().and_then(Alg::parse).filter(|alg| shape.fits(*alg));
                Some(alg.ok_or(JwkFault::Alg)?)
            }
        };
        let kid = json::text(jwk, "kid").filter(|kid| (1..=KID_BYTES_MAX).contains(&kid.len()));
        // `members` is in the order of names, as RFC 7638, 3, wants it: serde_json's maps are sorted.
        let thumbprint = BASE64URL.encode(Sha256::digest(members.to_string()));
        Ok(PublicKey { kid: kid.map(str::to_owned), shape, alg, decoding, thumbprint })
    }

    /// The public key of P-256 in its uncompressed form (4, x, y), named by its thumbprint; its JWK as well.
    pub(super) fn from_p256(point: &[u8]) -> Result<(PublicKey, Value), JwkFault> {
        let (x, y) = match point.split_first() {
            Some((4, both)) => both.split_at_checked(32).ok_or(JwkFault::Field("x"))?,
            _ => return Err(JwkFault::Field("x")),
        };
        let mut jwk = json!({"kty": "EC", "crv": "P-256", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y), "use": "sig", "alg": "ES256"});
        let object = jwk.as_object_mut().ok_or(JwkFault::Json)?;
        let mut key = PublicKey::from_object(object)?;
        object.insert("kid".to_owned(), key.thumbprint.as_str().into());
        key.kid = Some(key.thumbprint.clone());
        Ok((key, jwk))
    }

    /// What it is called by who published it.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its thumbprint (RFC 7638, SHA-256, base64url): the same for the same key, whoever names it.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Whether that is its name, or its thumbprint.
    pub fn is_called(&self, name: &str) -> bool {
        self.kid() == Some(name) || self.thumbprint == name
    }

    /// Whether it may verify that algorithm.
    pub fn fits(&self, alg: Alg) -> bool {
        self.shape.fits(alg) && self.alg.is_none_or(|only| only == alg)
    }

    /// Verifies a signature (base64url) of a message.
    pub(super) fn verify(&self, alg: Alg, message: &str, signature: &str) -> Result<(), TokenFault> {
        if !self.fits(alg) {
            return Err(TokenFault::KeyUnfit);
        }
        match jsonwebtoken::crypto::verify(
            signature,
            message.as_bytes(),
            &self.decoding,
            alg.as_jsonwebtoken(),
        ) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TokenFault::Signature),
        }
    }
}

fn check_use(jwk: &Map<String, Value>) -> Result<(), JwkFault> {
    let use_fits = jwk.get("use").is_none_or(|value| value == "sig");
    let ops_fit = jwk
        .get("key_ops")
        .is_none_or(|value| value.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
    if use_fits && ops_fit { Ok(()) } else { Err(JwkFault::Use) }
}

/// A member in base64url with a size that is known.
fn bytes(
    jwk: &Map<String, Value>,
    name: &'static str,
    sizes: std::ops::RangeInclusive<usize>,
) -> Result<Vec<u8>, JwkFault> {
    json::text(jwk, name)
        .and_then(|text| BASE64URL.decode(text).ok())
        .filter(|bytes| sizes.contains(&bytes.len()))
        .ok_or(JwkFault::Field(name))
}

type Read = (Shape, DecodingKey, Value);

fn elliptic(jwk: &Map<String, Value>, shape: Shape, size: usize) -> Result<Read, JwkFault> {
    let x = bytes(jwk, "x", size..=size)?;
    let y = bytes(jwk, "y", size..=size)?;
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let members =
        json!({"crv": jwk.get("crv"), "kty": "EC", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)});
    Ok((shape, DecodingKey::from_ec_der(&point), members))
}

fn edwards(jwk: &Map<String, Value>) -> Result<Read, JwkFault> {
    let x = bytes(jwk, "x", 32..=32)?;
    let members = json!({"crv": "Ed25519", "kty": "OKP", "x": BASE64URL.encode(&x)});
    Ok((Shape::Ed25519, DecodingKey::from_ed_der(&x), members))
}

fn rsa(jwk: &Map<String, Value>) -> Result<Read, JwkFault> {
    let n = bytes(jwk, "n", RSA_BYTES)?;
    let e = bytes(jwk, "e", 1..=8)?;
    // No zeros before the number (RFC 7518, 2), and an exponent with which RSA is RSA: odd and more than 1.
    if n.first() == Some(&0) {
        return Err(JwkFault::Field("n"));
    }
    if e.first() == Some(&0) || e == [1] || e.last().is_some_and(|last| last % 2 == 0) {
        return Err(JwkFault::Field("e"));
    }
    let members = json!({"e": BASE64URL.encode(&e), "kty": "RSA", "n": BASE64URL.encode(&n)});
    Ok((Shape::Rsa, DecodingKey::from_rsa_raw_components(&n, &e), members))
}

/// The keys of an issuer. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Arc<[PublicKey]>,
    skipped: usize,
}

impl KeySet {
    /// Of keys that are known.
    pub fn new(keys: Vec<PublicKey>) -> KeySet {
        KeySet { keys: keys.into(), skipped: 0 }
    }

    /// Reads a set as an issuer publishes it. Keys that cannot be used (for encryption, of an unknown kind, weak, private)
    /// are left out, as RFC 7517, 5, says.
    ///
    /// # Errors
    /// It is no set, too large, or nothing in it can be used.
    pub fn read(bytes: &[u8]) -> Result<KeySet, JwksFault> {
        let object = Some(bytes).filter(|bytes| bytes.len() <= JWKS_BYTES_MAX).and_then(json::object);
        let object = object.ok_or(JwksFault::Json)?;
        let given = object.get("keys").and_then(Value::as_array).ok_or(JwksFault::Json)?;
        if given.len() > KEYS_MAX {
            return Err(JwksFault::TooMany);
        }
        let keys: Vec<_> = given
            .iter()
            .filter_map(|key| key.as_object().and_then(|key| PublicKey::from_object(key).ok()))
            .collect();
        if keys.is_empty() {
            return Err(JwksFault::Nothing(given.len()));
        }
        Ok(KeySet { skipped: given.len() - keys.len(), keys: keys.into() })
    }

    /// Keys that can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many were left out when it was read.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Whether it has a key of that name.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid() == Some(kid))
    }

    /// Whether that very key is in it, by whatever name.
    pub(super) fn has_thumbprint(&self, thumbprint: &str) -> bool {
        self.keys.iter().any(|key| key.thumbprint() == thumbprint)
    }

    /// The key that a header means. Keys of different kinds may have the same name (RFC 7517, 4.5).
    pub(super) fn find(&self, kid: &str, alg: Alg) -> Result<&PublicKey, TokenFault> {
        if !self.has(kid) {
            return Err(TokenFault::UnknownKid);
        }
        self.keys.iter().find(|key| key.kid() == Some(kid) && key.fits(alg)).ok_or(TokenFault::KeyUnfit)
    }

    /// The key of a set with one, for a header that names none.
    pub(super) fn only(&self) -> Option<&PublicKey> {
        match &*self.keys {
            [only] => Some(only),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
