//! Why a certificate is not accepted, in words for the log.

use std::sync::Arc;
use std::time::Duration;

use der::DateTime;
use rustls::{CertificateError, Error, OtherError};

/// Why a certificate is not accepted. Where it is in the chain is told by its subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not what the standard says.
    #[error("a certificate that was sent cannot be read: {what}")]
    Malformed { what: &'static str },
    /// More certificates than anybody needs.
    #[error("{count} certificates were sent; {max} are looked at")]
    TooMany { count: usize, max: usize },
    /// The chain does not end.
    #[error("the chain of certificates is longer than {max}, or too much has to be tried to find one")]
    TooLong { max: usize },
    /// Its time is over.
    #[error("certificate {subject} expired at {}; it is {} now", date(*not_after), date(*now))]
    Expired { subject: String, not_after: Duration, now: Duration },
    /// Its time has not come.
    #[error("certificate {subject} is not valid before {}; it is {} now", date(*not_before), date(*now))]
    NotValidYet { subject: String, not_before: Duration, now: Duration },
    /// Nobody we know.
    #[error("certificate {subject} was issued by {issuer}, which is not in the CA file and was not sent")]
    UnknownIssuer { subject: String, issuer: String },
    /// In the CA file, but not the end of a chain.
    #[error(
        "{subject} is in the CA file, but its issuer {issuer} is not: add certificates up to the one that signed itself"
    )]
    NoRoot { subject: String, issuer: String },
    /// It vouches for itself.
    #[error("certificate {subject} signed itself and is not in the CA file")]
    SelfSigned { subject: String },
    /// Signed by somebody of the same name.
    #[error("certificate {subject} was not signed with the key of {issuer} that we know")]
    BadSignature { subject: String, issuer: String },
    /// Signed in a way that is not trusted (any more), or with such a key.
    #[error("certificate {subject} is signed with {algorithm}, which is not accepted")]
    Algorithm { subject: String, algorithm: String },
    /// The issuer must not issue.
    #[error("{subject} is not a certificate authority: {why}")]
    NotAnAuthority { subject: String, why: &'static str },
    /// There are more authorities below than it allows.
    #[error("{subject} allows {allowed} authorities below itself, and there are {count}")]
    PathLength { subject: String, allowed: u32, count: u32 },
    /// For other uses.
    #[error("certificate {subject} may not be used for {usage}: {why}")]
    Usage { subject: String, usage: &'static str, why: &'static str },
    /// Says that who does not understand it must refuse it.
    #[error("certificate {subject} has an extension that must be understood and is not: {oid}")]
    NotUnderstood { subject: String, oid: String },
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        CertificateError::Other(OtherError(Arc::new(refusal))).into()
    }
}

/// Seconds since 1970 as people write them, in UTC.
pub(crate) fn date(since_1970: Duration) -> String {
    match DateTime::from_unix_duration(since_1970) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{} s after 1970", since_1970.as_secs()),
    }
}
