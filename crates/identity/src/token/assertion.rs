//! `private_key_jwt`: an application proves that it has the private key of a credential by signing a small token
//! (RFC 7523, 3; OpenID Connect Core, 9).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use sha2::{Digest, Sha256};

use super::verify::{Header, Parts};
use super::{Claims, PublicKey, SKEW_S, TokenFault, json};

/// Longest life of an assertion, seconds.
const LIFE_MAX_S: i64 = 300;

/// What an assertion has to fit.
#[derive(Clone, Copy, Debug)]
pub struct AssertionRules<'a> {
    /// The application's id: issuer and subject at once.
    pub client: &'a str,
    /// Whom it has to be for: the address of the token endpoint, and the issuer.
    pub audiences: &'a [&'a str],
    /// The time.
    pub now_s: i64,
}

/// An assertion that is good, if it was not used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assertion {
    /// By this the store keeps that it was used: a hash of application and `jti`, in base64url.
    pub once: String,
    /// Until when that has to be kept, milliseconds since 1970.
    pub ends_ms: i64,
}

/// What an assertion says of itself before anything is verified: good for looking up public keys, and for nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertionSays {
    /// The application it claims to be from.
    pub client: String,
    /// By which of its keys.
    pub kid: Option<String>,
}

/// Looks at an assertion to find what it has to be verified with.
///
/// # Errors
/// It is not even the shape of one.
pub fn peek_assertion(assertion: &str) -> Result<AssertionSays, TokenFault> {
    let parts = Parts::split(assertion)?;
    let claims = parts.claims()?;
    let client = json::text(&claims, "sub").ok_or(TokenFault::NoClaim("sub"))?;
    Ok(AssertionSays { client: client.to_owned(), kid: Header::read(&parts)?.kid })
}

/// Verifies an assertion with the public key of one credential. Afterwards the caller has to make sure that it is used
/// once ([`Assertion::once`]).
///
/// # Errors
/// It is not good.
pub fn verify_assertion(
    assertion: &str,
    key: &PublicKey,
    rules: &AssertionRules<'_>,
) -> Result<Assertion, TokenFault> {
    let parts = Parts::split(assertion)?;
    let header = Header::read(&parts)?;
    check_typ(&header)?;
    // The key is the credential's own; a name, if there is one, has to be its name or its thumbprint.
    if header.kid.as_ref().is_some_and(|kid| !key.is_called(kid)) {
        return Err(TokenFault::UnknownKid);
    }
    key.verify(header.alg, parts.signed, parts.signature)?;
    let claims = Claims::read(&parts.claims()?)?;
    check(&claims, rules)
}

/// None, `JWT`, or the type that is being made for it (RFC 7523bis).
fn check_typ(header: &Header) -> Result<(), TokenFault> {
    let Some(typ) = &header.typ else { return Ok(()) };
    let typ = typ.as_str().ok_or(TokenFault::Typ)?.to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "jwt" | "client-authentication+jwt" => Ok(()),
        _ => Err(TokenFault::Typ),
    }
}

fn check(claims: &Claims, rules: &AssertionRules<'_>) -> Result<Assertion, TokenFault> {
    if claims.issuer != rules.client {
        return Err(TokenFault::Issuer);
    }
    if claims.subject != rules.client {
        return Err(TokenFault::BadClaim("sub"));
    }
    if !claims.audience.iter().any(|one| rules.audiences.contains(&one.as_str())) {
        return Err(TokenFault::Audience);
    }
    claims.check_times(rules.now_s)?;
    // It is remembered until its end, so that end has to be near.
    if claims.expires_s.saturating_sub(rules.now_s) > LIFE_MAX_S + SKEW_S {
        return Err(TokenFault::TooLongLived(LIFE_MAX_S));
    }
    let token_id = claims.token_id.as_ref().filter(|id| !id.is_empty()).ok_or(TokenFault::NoClaim("jti"))?;
    let mut hash = Sha256::new();
    hash.update(rules.client);
    hash.update([0]);
    hash.update(token_id);
    let ends_s = claims.expires_s.saturating_add(2 * SKEW_S);
    Ok(Assertion { once: BASE64URL.encode(hash.finalize()), ends_ms: ends_s.saturating_mul(1000) })
}

#[cfg(test)]
mod tests;
