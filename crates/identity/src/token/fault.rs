//! Why a token is refused.

/// Why a token is refused: words for the log and for whoever runs the application. None of them contains a part of the
/// token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is longer than [`super::TOKEN_BYTES_MAX`].
    #[error("the token is too long: more than {} bytes", super::TOKEN_BYTES_MAX)]
    TooLong,
    /// It has not three parts.
    #[error("not a token: it has three parts with a dot between them")]
    Parts,
    /// A part is not base64url.
    #[error("not a token: its {0} is not base64url")]
    Encoding(&'static str),
    /// A part is not a JSON object, or has a name twice (RFC 7519, 4).
    #[error("not a token: its {0} is no JSON object, or has a name twice")]
    Json(&'static str),
    /// The algorithm is missing or not in the list.
    #[error("its algorithm is not one that is accepted here")]
    Alg,
    /// It has extensions that must be understood (RFC 7515, 4.1.11).
    #[error("it asks for extensions (crit) which are not understood here")]
    Critical,
    /// It is of another type: an ID token where an access token is wanted, for example.
    #[error("it is of another type (typ) than is accepted here")]
    Typ,
    /// It does not say by which key it is signed.
    #[error("it does not say by which key it is signed (kid)")]
    NoKid,
    /// Nobody knows that key.
    #[error("it names a key (kid) which the issuer does not publish")]
    UnknownKid,
    /// That key is for something else.
    #[error("the key it names is not for its algorithm")]
    KeyUnfit,
    /// It was changed, or not signed by that key.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing.
    #[error("the claim {0} is missing")]
    NoClaim(&'static str),
    /// A claim is of a wrong type or out of range.
    #[error("the claim {0} has a value which is not possible")]
    BadClaim(&'static str),
    /// It is from somebody else.
    #[error("it is of another issuer (iss)")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for another audience (aud)")]
    Audience,
    /// It has ended.
    #[error("it ended {ago_s} s ago")]
    Expired {
        /// Seconds since then.
        ago_s: i64,
    },
    /// It has not begun.
    #[error("it is good only in {in_s} s (nbf)")]
    NotYet {
        /// Seconds until then.
        in_s: i64,
    },
    /// It was issued in the future.
    #[error("it was issued in the future (iat): a clock is wrong")]
    FromFuture,
    /// It is good for longer than such a token may be.
    #[error("it is good for longer than {0} s")]
    TooLongLived(i64),
    /// It was revoked.
    #[error("it was revoked")]
    Revoked,
    /// No rule says for whom it speaks.
    #[error("it is good, but no rule of its issuer says for whom it speaks")]
    NoRule,
    /// A rule goes by its e-mail address, and the issuer does not say that it has looked.
    #[error("it is good, but its e-mail address is not verified (email_verified)")]
    Unverified,
}

impl TokenFault {
    /// A short name for counters.
    pub fn label(&self) -> &'static str {
        match self {
            TokenFault::TooLong => "too_long",
            TokenFault::Parts | TokenFault::Encoding(_) | TokenFault::Json(_) => "malformed",
            TokenFault::Alg => "algorithm",
            TokenFault::Critical => "critical",
            TokenFault::Typ => "type",
            TokenFault::NoKid | TokenFault::UnknownKid => "unknown_key",
            TokenFault::KeyUnfit => "key_unfit",
            TokenFault::Signature => "signature",
            TokenFault::NoClaim(_) | TokenFault::BadClaim(_) => "claims",
            TokenFault::Issuer => "issuer",
            TokenFault::Audience => "audience",
            TokenFault::Expired { .. } => "expired",
            TokenFault::NotYet { .. } | TokenFault::FromFuture => "not_yet",
            TokenFault::TooLongLived(_) => "too_long_lived",
            TokenFault::Revoked => "revoked",
            TokenFault::NoRule => "no_rule",
            TokenFault::Unverified => "unverified",
        }
    }
}
