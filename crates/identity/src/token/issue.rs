//! Our own access tokens (RFC 9068).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::EcdsaKeyPair;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use plimsoll_types::Secret;
use serde::Serialize;
use serde_json::{Value, json};

use super::signing::LIFE_MAX_S;
use super::{Accepts, Alg, KeySet, PublicKey, SigningFault, SigningKeys, Verifier};
use crate::base62;
use crate::id::Id;

/// Random bytes in the id of a token.
const TOKEN_ID_BYTES: usize = 16;

/// Characters of 128 bits.
const TOKEN_ID_CHARS: usize = 22;

/// What a token is to say.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// For whom it speaks: an application (itself) or a user.
    pub subject: &'a Id,
    /// The application that asked for it.
    pub client: &'a Id,
    /// The organisation.
    pub org: &'a Id,
    /// For whom it is: whoever verifies it expects itself here.
    pub audience: &'a str,
    /// What it may be used for, words with blanks between them; empty: left out.
    pub scope: &'a str,
    /// The key id of the credential it was fetched with.
    pub kid_used: Option<&'a str>,
}

/// A token that was issued.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: Secret,
    /// Its id.
    pub token_id: String,
    /// When it ends, seconds since 1970.
    pub expires_s: i64,
    /// How long it is good (`expires_in`).
    pub life_s: i64,
}

/// Signs our tokens. It is made anew whenever the keys change or another of them is to sign ([`Issuer::good_until_ms`]).
#[derive(Debug)]
pub struct Issuer {
    url: String,
    life_s: i64,
    pair: EcdsaKeyPair,
    header: String,
    published: Vec<(PublicKey, Value)>,
    good_until_ms: i64,
}

#[derive(Serialize)]
struct Body<'a> {
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    jti: &'a str,
    org: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid_used: Option<&'a str>,
}

impl Issuer {
    /// Issues under a URL (`iss`) tokens that are good for `life_s` (at least 1 s, at most 24 hours).
    ///
    /// # Errors
    /// No key can sign now, or one cannot be read.
    pub fn new(url: &str, life_s: i64, keys: &SigningKeys, now_ms: i64) -> Result<Issuer, SigningFault> {
        let signer = keys.signer(now_ms).ok_or(SigningFault::None)?;
        let (pair, _, _) = signer.open()?;
        let published = keys
            .published(now_ms)
            .map(|key| key.open().map(|(_, public, jwk)| (public, jwk)))
            .collect::<Result<Vec<_>, _>>()?;
        let header = json!({"typ": "at+jwt", "alg": Alg::Es256.as_str(), "kid": signer.kid()});
        Ok(Issuer {
            url: url.to_owned(),
            life_s: life_s.clamp(1, LIFE_MAX_S),
            pair,
            header: BASE64URL.encode(header.to_string()),
            published,
            good_until_ms: keys.next_change_ms(now_ms),
        })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// When another key signs, or one is published no more.
    pub fn good_until_ms(&self) -> i64 {
        self.good_until_ms
    }

    /// Issues a token.
    ///
    /// # Errors
    /// [`SigningFault::Crypto`].
    pub fn issue(
        &self,
        new: &NewToken<'_>,
        now_s: i64,
        chance: &[u8; TOKEN_ID_BYTES],
    ) -> Result<Issued, SigningFault> {
        let token_id = base62::write(chance, TOKEN_ID_CHARS);
        let expires_s = now_s.saturating_add(self.life_s);
        let body = Body {
            iss: &self.url,
            sub: new.subject.as_str(),
            client_id: new.client.as_str(),
            aud: new.audience,
            exp: expires_s,
            iat: now_s,
            jti: &token_id,
            org: new.org.as_str(),
            scope: new.scope,
            kid_used: new.kid_used,
        };
        let body = serde_json::to_vec(&body).map_err(|_| SigningFault::Crypto)?;
        let mut token = format!("{}.{}", self.header, BASE64URL.encode(body));
        let signature =
            self.pair.sign(&SystemRandom::new(), token.as_bytes()).map_err(|_| SigningFault::Crypto)?;
        token.push('.');
        BASE64URL.encode_string(signature.as_ref(), &mut token);
        Ok(Issued { token: Secret::new(token.into_bytes()), token_id, expires_s, life_s: self.life_s })
    }

    /// Verifies what it issues.
    pub fn verifier(&self) -> Verifier {
        let keys = self.published.iter().map(|(key, _)| key.clone()).collect();
        Verifier::new(&self.url, Accepts::Own, &[Alg::Es256], KeySet::new(keys))
    }

    /// The set of public keys, as it is published (RFC 7517, 5).
    pub fn jwks(&self) -> Value {
        let keys: Vec<_> = self.published.iter().map(|(_, jwk)| jwk).collect();
        json!({ "keys": keys })
    }
}

#[cfg(test)]
mod tests;
