//! Claims, and what is asked of them.

use serde_json::{Map, Value};

use super::{TokenFault, json};

/// How much two clocks may differ, seconds.
pub const SKEW_S: i64 = 30;

/// The last second of the year 9999: what is later is no time but an attack on somebody's arithmetic.
const TIME_MAX_S: i64 = 253_402_300_799;

/// What a good token says.
#[derive(Clone, PartialEq)]
pub struct Claims {
    /// Who issued it.
    pub issuer: String,
    /// For whom it speaks: of our own tokens the id of an application or a user.
    pub subject: String,
    /// For whom it is.
    pub audience: Vec<String>,
    /// When it ends.
    pub expires_s: i64,
    /// From when it is good.
    pub not_before_s: Option<i64>,
    /// When it was issued; our own tokens have it.
    pub issued_s: Option<i64>,
    /// Its own name; our own tokens have it.
    pub token_id: Option<String>,
    /// The application that it was issued to (`client_id`). Only of our own tokens, as are the next three.
    pub client_id: Option<String>,
    /// What it may be used for, words with blanks between them.
    pub scope: Option<String>,
    /// The organisation.
    pub org: Option<String>,
    /// The key id it was fetched with: revoking the key ends it.
    pub kid_used: Option<String>,
    /// Everything a token from outside says, for the rules of its issuer. Empty for our own.
    pub all: Map<String, Value>,
}

impl std::fmt::Debug for Claims {
    /// Who and until when; not what an issuer outside tells of people.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("expires_s", &self.expires_s)
            .finish_non_exhaustive()
    }
}

impl Claims {
    /// Reads what every token has to have; nothing is compared yet.
    pub(super) fn read(object: &Map<String, Value>) -> Result<Claims, TokenFault> {
        Ok(Claims {
            issuer: wanted(object, "iss")?,
            subject: wanted(object, "sub")?,
            audience: audience(object)?,
            expires_s: time(object, "exp")?.ok_or(TokenFault::NoClaim("exp"))?,
            not_before_s: time(object, "nbf")?,
            issued_s: time(object, "iat")?,
            token_id: text(object, "jti")?,
            client_id: None,
            scope: None,
            org: None,
            kid_used: None,
            all: Map::new(),
        })
    }

    /// With the claims of our own tokens (RFC 9068, 2.2, and two of ours).
    pub(super) fn with_own(self, object: &Map<String, Value>) -> Result<Claims, TokenFault> {
        self.issued_s.ok_or(TokenFault::NoClaim("iat"))?;
        self.token_id.as_ref().ok_or(TokenFault::NoClaim("jti"))?;
        Ok(Claims {
            client_id: Some(wanted(object, "client_id")?),
            scope: text(object, "scope")?,
            org: Some(wanted(object, "org")?),
            kid_used: text(object, "kid_used")?,
            ..self
        })
    }

    /// Whether they are good for an issuer and an audience at a time.
    pub(super) fn check(&self, issuer: &str, audience: &str, now_s: i64) -> Result<(), TokenFault> {
        if self.issuer != issuer {
            return Err(TokenFault::Issuer);
        }
        if !self.audience.iter().any(|one| one == audience) {
            return Err(TokenFault::Audience);
        }
        self.check_times(now_s)
    }

    /// Whether they are good at a time.
    pub(super) fn check_times(&self, now_s: i64) -> Result<(), TokenFault> {
        let ago_s = now_s.saturating_sub(self.expires_s);
        if ago_s >= SKEW_S {
            return Err(TokenFault::Expired { ago_s });
        }
        let in_s = self.not_before_s.unwrap_or(i64::MIN).saturating_sub(now_s);
        if in_s > SKEW_S {
            return Err(TokenFault::NotYet { in_s });
        }
        if self.issued_s.unwrap_or(i64::MIN).saturating_sub(now_s) > SKEW_S {
            return Err(TokenFault::FromFuture);
        }
        Ok(())
    }
}

fn wanted(object: &Map<String, Value>, name: &'static str) -> Result<String, TokenFault> {
    text(object, name)?.filter(|text| !text.is_empty()).ok_or(TokenFault::NoClaim(name))
}

fn text(object: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenFault> {
    match (object.get(name), json::text(object, name)) {
        (None, _) => Ok(None),
        (Some(_), Some(text)) => Ok(Some(text.to_owned())),
        (Some(_), None) => Err(TokenFault::BadClaim(name)),
    }
}

/// A text or a list of texts (RFC 7519, 4.1.3).
fn audience(object: &Map<String, Value>) -> Result<Vec<String>, TokenFault> {
    match object.get("aud") {
        None => Err(TokenFault::NoClaim("aud")),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or(TokenFault::BadClaim("aud")))
            .collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err(TokenFault::BadClaim("aud"))
        }
    }
}

/// Seconds since 1970, possibly with a fraction (RFC 7519, 2, NumericDate), which is cut off.
fn time(object: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenFault> {
    let Some(value) = object.get(name) else { return Ok(None) };
    let whole = value.as_i64().or_else(|| value.as_f64().and_then(whole_seconds));
    whole.filter(|time| (0..=TIME_MAX_S).contains(time)).map(Some).ok_or(TokenFault::BadClaim(name))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the range is checked first"
)]
fn whole_seconds(value: f64) -> Option<i64> {
    (0.0..=TIME_MAX_S as f64).contains(&value).then_some(value as i64)
}
