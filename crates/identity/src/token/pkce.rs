//! Proof Key for Code Exchange (RFC 7636), method S256 and no other: `plain` proves nothing to who can read the address
//! that the code travels in.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Why a code is not given out for its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PkceFault {
    /// The challenge is none.
    #[error("code_challenge is not a SHA-256 in base64url (43 characters)")]
    Challenge,
    /// The verifier has a wrong form.
    #[error("code_verifier has not 43 to 128 characters of A-Z, a-z, 0-9, -, ., _ and ~")]
    Form,
    /// It is another one.
    #[error("code_verifier is not the one of code_challenge")]
    Other,
}

/// Whether a challenge is the SHA-256 of something (RFC 7636, 4.2).
pub fn challenge_is_well_formed(challenge: &str) -> bool {
    BASE64URL.decode(challenge).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a verifier (RFC 7636, 4.1) is the one of a challenge.
///
/// # Errors
/// It is not.
pub fn verify_challenge(challenge: &str, verifier: &str) -> Result<(), PkceFault> {
    if !challenge_is_well_formed(challenge) {
        return Err(PkceFault::Challenge);
    }
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
        return Err(PkceFault::Form);
    }
    let computed = BASE64URL.encode(Sha256::digest(verifier));
    if computed.as_bytes().ct_eq(challenge.as_bytes()).into() { Ok(()) } else { Err(PkceFault::Other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_example_of_the_rfc_fits() {
        assert_eq!(verify_challenge(CHALLENGE, VERIFIER), Ok(()));
    }

    #[test]
    fn nothing_else_fits() {
        let other = VERIFIER.replace('d', "e");
        let long = "a".repeat(129);
        let table = [
            (CHALLENGE, other.as_str(), PkceFault::Other),
            // The method `plain`.
            (VERIFIER, VERIFIER, PkceFault::Other),
            (CHALLENGE, &VERIFIER[1..], PkceFault::Form),
            (CHALLENGE, &long, PkceFault::Form),
            (CHALLENGE, "dBjftJeZ4CVP mB92K27uhbUJU1p1r/wW1gFWFOEjXk", PkceFault::Form),
            (CHALLENGE, "", PkceFault::Form),
            ("", VERIFIER, PkceFault::Challenge),
            (&CHALLENGE[1..], VERIFIER, PkceFault::Challenge),
            ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=", VERIFIER, PkceFault::Challenge),
            // The same bytes with other bits in the last digit.
            ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cN", VERIFIER, PkceFault::Challenge),
        ];
        for (challenge, verifier, fault) in table {
            assert_eq!(verify_challenge(challenge, verifier), Err(fault), "{challenge} {verifier}");
        }
    }
}
