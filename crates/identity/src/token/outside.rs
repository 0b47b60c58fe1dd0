//! Issuers outside: who they are, for whom their tokens speak, and their keys.
//!
//! | module | part |
//! |---|---|
//! | `rules` | for whom a token speaks |
//! | `cache` | when keys are fetched: a state machine |
//! | `keys` | the fetching, by one for all |
//! | `table` | all issuers that are set up now |

mod cache;
mod keys;
mod rules;
mod table;

use std::path::PathBuf;

use super::fetch::check_uri;
use super::{Accepts, Alg, Claims, FetchFault, KeySet, TokenFault, Types, Verifier};
use crate::id::{Id, Kind};

pub use cache::{Begin, JwksCache, Look, Turn};
pub use keys::{KeysFault, OutsideKeys, Renewal};
pub use rules::{ClaimRule, Speaks};
pub use table::OutsideIssuers;

/// An issuer outside, as it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideIssuer {
    /// What people call it.
    pub name: String,
    /// Its name in tokens, exactly as in `iss`.
    pub issuer: String,
    /// The audience that its tokens have to have for us.
    pub audience: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Who may certify that address; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
    /// The algorithms it signs with.
    pub algorithms: Vec<Alg>,
    /// The types its tokens may be of.
    pub types: Types,
    /// For whom its tokens speak; the first that fits counts.
    pub rules: Vec<ClaimRule>,
    /// The organisation whose applications and users it may speak for; `None`: those that rules name.
    pub org: Option<Id>,
}

/// A setting of an issuer is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideFault {
    /// Nothing where there has to be something.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The address.
    #[error("jwks: {0}")]
    Uri(FetchFault),
    /// A rule that leads to something else.
    #[error("a rule leads to {0}: it has to be an application or a user")]
    Subject(Id),
    /// It may name anybody.
    #[error("a rule lets it name anybody: it has to be bound to an organisation")]
    Unbound,
}

impl OutsideIssuer {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), OutsideFault> {
        for (name, empty) in [
            ("issuer", self.issuer.is_empty()),
            ("audience", self.audience.is_empty()),
            ("algorithms", self.algorithms.is_empty()),
            ("types", self.types == Types::of(&[])),
            ("rules", self.rules.is_empty()),
            ("the claim of a rule", self.rules.iter().any(|rule| rule.claim().is_empty())),
        ] {
            if empty {
                return Err(OutsideFault::Empty(name));
            }
        }
        check_uri(&self.jwks_uri).map_err(OutsideFault::Uri)?;
        for rule in &self.rules {
            match rule {
                ClaimRule::Value { subject, .. } if !matches!(subject.kind(), Kind::App | Kind::User) => {
                    return Err(OutsideFault::Subject(subject.clone()));
                }
                ClaimRule::Subject { .. } | ClaimRule::Login { .. } if self.org.is_none() => {
                    return Err(OutsideFault::Unbound);
                }
                ClaimRule::Value { .. } | ClaimRule::Subject { .. } | ClaimRule::Login { .. } => {}
            }
        }
        Ok(())
    }

    /// For whom a verified token of it speaks.
    ///
    /// # Errors
    /// [`TokenFault::Issuer`], [`TokenFault::NoRule`], [`TokenFault::Unverified`].
    pub fn speaks_for(&self, claims: &Claims) -> Result<Speaks, TokenFault> {
        if claims.issuer != self.issuer {
            return Err(TokenFault::Issuer);
        }
        rules::first(&self.rules, claims)
    }

    /// Whether a token that these settings let in could have been verified under others as well, as far as its content
    /// does not matter: the same keys, and nothing that was taken is not taken there.
    pub fn is_taken_by(&self, other: &OutsideIssuer) -> bool {
        self.issuer == other.issuer
            && self.jwks_uri == other.jwks_uri
            && self.ca_file == other.ca_file
            && self.algorithms.iter().all(|alg| other.algorithms.contains(alg))
            && self.types.are_among(other.types)
    }

    fn verifier(&self, keys: KeySet) -> Verifier {
        Verifier::new(&self.issuer, Accepts::Outside(self.types), &self.algorithms, keys)
    }
}

#[cfg(test)]
mod tests;
