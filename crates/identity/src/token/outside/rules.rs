//! For whom a token of an issuer outside speaks.

use serde_json::Value;

use crate::id::{Id, Kind};
use crate::token::{Claims, TokenFault};

/// A claim that is good for nothing unless the issuer says that it has looked (OpenID Connect Core 1.0, 5.1).
const EMAIL: &str = "email";
const EMAIL_VERIFIED: &str = "email_verified";

/// A rule: which claim says for whom a token speaks. A claim inside another is named with dots (`realm_access.roles`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimRule {
    /// A claim with a certain value.
    Value {
        /// The claim.
        claim: String,
        /// The text that it has, or one of the texts if it is a list.
        value: String,
        /// For whom the token speaks then: an application or a user.
        subject: Id,
    },
    /// A claim with the id of an application or a user in it.
    Subject {
        /// The claim.
        claim: String,
    },
    /// A claim with the login of a user in it.
    Login {
        /// The claim.
        claim: String,
    },
}

/// For whom a token speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// For an application or a user.
    Subject(Id),
    /// For the user with this login.
    Login(String),
}

impl ClaimRule {
    /// The claim it looks at.
    pub fn claim(&self) -> &str {
        match self {
            ClaimRule::Value { claim, .. } | ClaimRule::Subject { claim } | ClaimRule::Login { claim } => {
                claim
            }
        }
    }

    fn speaks(&self, value: &Value) -> Option<Speaks> {
        match self {
            ClaimRule::Value { value: wanted, subject, .. } => {
                says(value, wanted).then(|| Speaks::Subject(subject.clone()))
            }
            ClaimRule::Subject { .. } => {
                let id = value.as_str().and_then(Id::parse_any)?;
                matches!(id.kind(), Kind::App | Kind::User).then_some(Speaks::Subject(id))
            }
            ClaimRule::Login { .. } => {
                let login = value.as_str().filter(|login| !login.is_empty())?;
                Some(Speaks::Login(login.to_owned()))
            }
        }
    }
}

/// What the first rule that fits says.
///
/// # Errors
/// [`TokenFault::NoRule`]; [`TokenFault::Unverified`]: one would have fitted if the address were verified.
pub(super) fn first(rules: &[ClaimRule], claims: &Claims) -> Result<Speaks, TokenFault> {
    let mut fault = TokenFault::NoRule;
    for rule in rules {
        let said = value_of(claims, rule.claim()).and_then(|value| rule.speaks(value));
        match said {
            Some(_) if rule.claim() == EMAIL && !is_verified(claims) => fault = TokenFault::Unverified,
            Some(speaks) => return Ok(speaks),
            None => {}
        }
    }
    Err(fault)
}

/// A claim by its whole name (names may have dots: `https://example.com/team`), else step by step.
fn value_of<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.all.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    rest.split('.').try_fold(claims.all.get(first)?, |value, step| value.as_object()?.get(step))
}

fn says(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(several) => several.iter().any(|one| one.as_str() == Some(wanted)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

/// Some issuers write it as a text.
fn is_verified(claims: &Claims) -> bool {
    match claims.all.get(EMAIL_VERIFIED) {
        Some(Value::Bool(verified)) => *verified,
        Some(Value::String(text)) => text == "true",
        Some(Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_)) | None => false,
    }
}
