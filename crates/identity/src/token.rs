//! Tokens: JSON Web Tokens (RFC 7519) of our own and of issuers outside, and the texts that OAuth has around them.
//!
//! | module | part |
//! |---|---|
//! | `alg` | the algorithms that are accepted: signatures only, never a shared secret, never `none` |
//! | `json` | objects without a name twice |
//! | `jwk` | public keys in (RFC 7517) and their thumbprints (RFC 7638); sets of them |
//! | `verify` | a token to claims, with everything checked |
//! | `claims` | claims, and what is asked of them |
//! | `seen` | tokens that were verified before, and what was revoked |
//! | `signing` | our signing keys: which signs, which is published, when the next is made |
//! | `issue` | our own access tokens (RFC 9068) |
//! | `outside` | issuers outside: when their keys are fetched, who their tokens speak for |
//! | `fetch` | the fetching |
//! | `assertion` | `private_key_jwt` (RFC 7523) |
//! | `pkce` | the proof behind an authorization code (RFC 7636) |
//! | `refresh` | refresh tokens that rotate |
//!
//! What decides reads no clock and draws no number; signatures draw theirs in `aws-lc-rs`. Seconds are since 1970, as in
//! tokens; milliseconds where the store keeps them.

mod alg;
mod assertion;
mod claims;
mod fault;
mod fetch;
mod issue;
mod json;
mod jwk;
mod outside;
mod pkce;
mod refresh;
mod seen;
mod signing;
#[cfg(test)]
pub(crate) mod testing;
mod verify;

pub use alg::Alg;
pub use assertion::{Assertion, AssertionRules, AssertionSays, peek_assertion, verify_assertion};
pub use claims::{Claims, SKEW_S};
pub use fault::TokenFault;
pub use fetch::{FetchFault, Fetcher};
pub use issue::{Issued, Issuer, NewToken};
pub use jwk::{JwkFault, JwksFault, KeySet, PublicKey};
pub use outside::{
    Begin, ClaimRule, JwksCache, KeysFault, Look, OutsideFault, OutsideIssuer, OutsideIssuers, OutsideKeys,
    Renewal, Speaks, Turn,
};
pub use pkce::{PkceFault, challenge_is_well_formed, verify_challenge};
pub use refresh::{Family, NewFamily, RefreshFault, RefreshToken, Refreshed};
#[cfg(feature = "service")]
pub(crate) use seen::REVOKED_MAX;
pub use seen::Seen;
pub use signing::{Due, SigningFault, SigningKey, SigningKeys};
pub use verify::{Accepts, Expected, Peek, TOKEN_BYTES_MAX, Typ, Types, Verifier, peek};
