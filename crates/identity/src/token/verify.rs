//! A token to claims, with everything checked. The order is: size, three parts, header (algorithm, extensions, type), key,
//! signature, claims. Nothing a header offers as a key (`jwk`, `jku`, `x5u`, `x5c`) is looked at: keys come from the
//! issuer that was set up, and from nowhere else (RFC 8725, 3.10).

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::seen::Signed;
use super::{Alg, Claims, KeySet, PublicKey, Seen, TokenFault, json};

/// Longest token, bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Whose tokens a verifier is for, and with that which types (`typ`, RFC 8725, 3.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// Ours: `at+jwt`, with the claims of RFC 9068 and ours.
    Own,
    /// Those of an issuer outside: the types that were set up.
    Outside(Types),
}

/// A type that a token may say it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typ {
    /// `at+jwt` (RFC 9068).
    AtJwt,
    /// `JWT`.
    Jwt,
    /// None at all: the issuer writes none (Kubernetes, Cognito).
    Missing,
}

/// Which types an issuer's tokens may be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types(u8);

impl Types {
    /// What issuers write who write something: `at+jwt` or `JWT`.
    pub const USUAL: Types = Types(Types::bit(Typ::AtJwt) | Types::bit(Typ::Jwt));

    /// These.
    pub fn of(all: &[Typ]) -> Types {
        Types(all.iter().fold(0, |bits, typ| bits | Types::bit(*typ)))
    }

    /// Whether one is among them.
    pub fn has(self, typ: Typ) -> bool {
        self.0 & Types::bit(typ) != 0
    }

    /// Whether every one of them is among others.
    pub fn are_among(self, others: Types) -> bool {
        self.0 & !others.0 == 0
    }

    const fn bit(typ: Typ) -> u8 {
        match typ {
            Typ::AtJwt => 1,
            Typ::Jwt => 2,
            Typ::Missing => 4,
        }
    }
}

impl Accepts {
    /// The type that a token says it is of, if it is taken.
    fn typ(self, typ: Option<&Value>) -> Result<Typ, TokenFault> {
        // Upper and lower case are the same, `application/` may be left out (RFC 7515, 4.1.9).
        let typ = match typ {
            None => None,
            Some(value) => Some(value.as_str().ok_or(TokenFault::Typ)?.to_ascii_lowercase()),
        };
        let typ = typ.as_deref().map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
        let typ = match typ {
            None => Typ::Missing,
            Some("at+jwt") => Typ::AtJwt,
            Some("jwt") => Typ::Jwt,
            Some(_) => return Err(TokenFault::Typ),
        };
        if self.takes(typ) { Ok(typ) } else { Err(TokenFault::Typ) }
    }

    fn takes(self, typ: Typ) -> bool {
        match self {
            Accepts::Own => typ == Typ::AtJwt,
            Accepts::Outside(types) => types.has(typ),
        }
    }
}

/// What is expected of a token.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// For whom it has to be.
    pub audience: &'a str,
    /// The time.
    pub now_s: i64,
}

/// Verifies the tokens of one issuer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuer: Arc<str>,
    accepts: Accepts,
    algorithms: Arc<[Alg]>,
    keys: KeySet,
}

impl Verifier {
    /// For the tokens of an issuer, signed by one of those keys with one of those algorithms.
    pub fn new(issuer: &str, accepts: Accepts, algorithms: &[Alg], keys: KeySet) -> Verifier {
        Verifier { issuer: issuer.into(), accepts, algorithms: algorithms.into(), keys }
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// It is not good.
    pub fn verify(&self, token: &str, expected: &Expected<'_>) -> Result<Claims, TokenFault> {
        self.verify_signed(token, expected).map(|(claims, _)| claims)
    }

    /// Verifies a token, at little cost if it was seen before. What was revoked is refused either way.
    ///
    /// # Errors
    /// It is not good.
    pub fn verify_seen(
        &self,
        token: &str,
        expected: &Expected<'_>,
        seen: &Mutex<Seen>,
    ) -> Result<Arc<Claims>, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let hash: [u8; 32] = Sha256::digest(token).into();
        // The verifier may be another than that which saw it first, also an older one that a login had from before a reload:
        // its issuer, its keys, what it takes, and the time are asked again.
        let known = seen.lock().find(&hash, expected.now_s);
        if let Some((claims, signed)) = known
            && self.takes(&signed)
        {
            claims.check(&self.issuer, expected.audience, expected.now_s)?;
            return Ok(claims);
        }
        let (claims, signed) = self.verify_signed(token, expected)?;
        let claims = Arc::new(claims);
        let mut seen = seen.lock();
        seen.check_revoked(&claims)?;
        seen.remember(hash, Arc::clone(&claims), signed, token.len(), expected.now_s);
        Ok(claims)
    }

    fn takes(&self, signed: &Signed) -> bool {
        self.keys.has_thumbprint(&signed.by)
            && self.algorithms.contains(&signed.alg)
            && self.accepts.takes(signed.typ)
    }

    /// The claims, and how they were signed.
    fn verify_signed(&self, token: &str, expected: &Expected<'_>) -> Result<(Claims, Signed), TokenFault> {
        let parts = Parts::split(token)?;
        let header = Header::read(&parts)?;
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenFault::Alg);
        }
        let typ = self.accepts.typ(header.typ.as_ref())?;
        let key = self.key(&header)?;
        key.verify(header.alg, parts.signed, parts.signature)?;
        let object = parts.claims()?;
        let claims = Claims::read(&object)?;
        claims.check(&self.issuer, expected.audience, expected.now_s)?;
        let claims = match self.accepts {
            Accepts::Own => claims.with_own(&object)?,
            Accepts::Outside(_) => Claims { all: object, ..claims },
        };
        Ok((claims, Signed { by: key.thumbprint().into(), alg: header.alg, typ }))
    }

    fn key(&self, header: &Header) -> Result<&PublicKey, TokenFault> {
        match (&header.kid, self.accepts) {
            (Some(kid), _) => self.keys.find(kid, header.alg),
            (None, Accepts::Own) => Err(TokenFault::NoKid),
            (None, Accepts::Outside(_)) => self.keys.only().ok_or(TokenFault::NoKid),
        }
    }
}

/// What a token says of itself before anything is verified: good for finding out whom to ask, and for nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Peek {
    /// Who is said to have issued it.
    pub issuer: String,
    /// By which key.
    pub kid: Option<String>,
}

/// Looks at a token to find its issuer.
///
/// # Errors
/// It is not even the shape of one.
pub fn peek(token: &str) -> Result<Peek, TokenFault> {
    let parts = Parts::split(token)?;
    let header = Header::read(&parts)?;
    let claims = parts.claims()?;
    let issuer = json::text(&claims, "iss").ok_or(TokenFault::NoClaim("iss"))?;
    Ok(Peek { issuer: issuer.to_owned(), kid: header.kid })
}

/// The parts of a token.
pub(super) struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    /// What the signature is of: header and claims.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
}

impl Parts<'_> {
    pub(super) fn split(token: &str) -> Result<Parts<'_>, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenFault::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFault::Parts)?;
        if claims.contains('.') {
            return Err(TokenFault::Parts);
        }
        Ok(Parts { header, claims, signed, signature })
    }

    pub(super) fn claims(&self) -> Result<Map<String, Value>, TokenFault> {
        decode(self.claims, "second part")
    }
}

fn decode(part: &str, name: &'static str) -> Result<Map<String, Value>, TokenFault> {
    let bytes = BASE64URL.decode(part).map_err(|_| TokenFault::Encoding(name))?;
    json::object(&bytes).ok_or(TokenFault::Json(name))
}

/// What of a header is used.
pub(super) struct Header {
    pub(super) alg: Alg,
    pub(super) typ: Option<Value>,
    pub(super) kid: Option<String>,
}

impl Header {
    pub(super) fn read(parts: &Parts<'_>) -> Result<Header, TokenFault> {
        let mut header = decode(parts.header, "first part")?;
        let alg = header.get("alg").and_then(Value::as_str).and_then(Alg::parse).ok_or(TokenFault::Alg)?;
        // We understand no extension, so each of them is one we do not understand.
        if header.contains_key("crit") {
            return Err(TokenFault::Critical);
        }
        let kid = match header.remove("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(TokenFault::UnknownKid);
            }
        };
        Ok(Header { alg, typ: header.remove("typ"), kid })
    }
}

#[cfg(test)]
mod tests;
