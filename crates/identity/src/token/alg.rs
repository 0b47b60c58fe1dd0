//! The algorithms that are accepted.

use jsonwebtoken::Algorithm;

/// An algorithm of signatures (RFC 7518, 3.1; RFC 8037). There is deliberately no `none` and nothing with a shared secret:
/// a public key is no secret, and whoever takes it for one lets everybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alg {
    /// ECDSA, P-256, SHA-256: what we sign with.
    Es256,
    /// ECDSA, P-384, SHA-384.
    Es384,
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// Ed25519.
    EdDsa,
}

impl Alg {
    /// All there are.
    pub const ALL: [Alg; 5] = [Alg::Es256, Alg::Es384, Alg::Rs256, Alg::Ps256, Alg::EdDsa];

    /// As it stands in a header.
    pub fn as_str(self) -> &'static str {
        match self {
            Alg::Es256 => "ES256",
            Alg::Es384 => "ES384",
            Alg::Rs256 => "RS256",
            Alg::Ps256 => "PS256",
            Alg::EdDsa => "EdDSA",
        }
    }

    /// Reads one; letters count, as in RFC 7515, 4.1.1.
    pub fn parse(text: &str) -> Option<Alg> {
        Alg::ALL.into_iter().find(|alg| alg.as_str() == text)
    }

    pub(super) fn as_jsonwebtoken(self) -> Algorithm {
        match self {
            Alg::Es256 => Algorithm::ES256,
            Alg::Es384 => Algorithm::ES384,
            Alg::Rs256 => Algorithm::RS256,
            Alg::Ps256 => Algorithm::PS256,
            Alg::EdDsa => Algorithm::EdDSA,
        }
    }
}
