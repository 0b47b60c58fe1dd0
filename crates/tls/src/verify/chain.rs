//! From a certificate to one that is trusted, step by step (RFC 5280, section 6, in the reading of OpenSSL's
//! `X509_verify_cert` with its default flags, which is what libpq and PgBouncer use).
//!
//! A chain ends at a certificate of the CA file that is its own issuer; one of the CA file that is not has to lead on to
//! such a one. Issuers are looked for in the CA file first, then among what was sent. Lists of revoked certificates are
//! not part of it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error};

use super::Refusal;
use crate::x509::name::{Name, oid_text};
use crate::x509::{Authority, Certificate, KeyUsage, Malformed, Purposes, Version};

/// How many certificates may lie between the first and the last one.
const DEPTH_MAX: usize = 10;
/// How many certificates may be sent besides the first one.
const SENT_MAX: usize = 16;
/// How many signatures are verified before giving up: the cost of a hostile chain.
const SIGNATURES_MAX: u32 = 32;

/// What the first certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Server,
    Client,
}

impl Usage {
    fn as_str(self) -> &'static str {
        match self {
            Self::Server => "a server",
            Self::Client => "a client",
        }
    }
}

/// The certificates of a CA file.
pub(crate) struct Anchors {
    certificates: Vec<CertificateDer<'static>>,
    /// Places in `certificates`, by the canonical form of the subject.
    by_subject: HashMap<Vec<u8>, Vec<usize>>,
}

impl fmt::Debug for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Anchors").field("certificates", &self.certificates.len()).finish_non_exhaustive()
    }
}

impl Anchors {
    /// Reads each certificate once, so that all of them can be read later.
    ///
    /// # Errors
    ///
    /// The first that cannot be read: its number, from 1, and why.
    pub(crate) fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, (usize, Malformed)> {
        let mut by_subject: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (at, der) in certificates.iter().enumerate() {
            let certificate = Certificate::parse(der).map_err(|malformed| (at + 1, malformed))?;
            by_subject.entry(certificate.subject.canonical()).or_default().push(at);
        }
        Ok(Self { certificates, by_subject })
    }

    /// Nobody is trusted.
    pub(crate) fn none() -> Self {
        Self { certificates: Vec::new(), by_subject: HashMap::new() }
    }

    fn named(&self, name: &Name<'_>) -> Vec<Certificate<'_>> {
        let places = self.by_subject.get(&name.canonical()).map(Vec::as_slice).unwrap_or_default();
        let ders = places.iter().filter_map(|at| self.certificates.get(*at));
        ders.filter_map(|der| Certificate::parse(der).ok()).collect()
    }

    fn contains(&self, certificate: &Certificate<'_>) -> bool {
        self.named(&certificate.subject).iter().any(|anchor| anchor.der == certificate.der)
    }
}

/// Verifies what was sent; gives back the first certificate, read.
///
/// # Errors
///
/// Why it is not accepted.
pub(super) fn verify<'a>(
    anchors: &Anchors,
    algorithms: &WebPkiSupportedAlgorithms,
    leaf: &'a CertificateDer<'_>,
    sent: &'a [CertificateDer<'_>],
    now: UnixTime,
    usage: Usage,
) -> Result<Certificate<'a>, Error> {
    if sent.len() > SENT_MAX {
        return Err(Refusal::TooMany { count: sent.len(), max: SENT_MAX }.into());
    }
    let read = |der: &'a CertificateDer<'_>| {
        Certificate::parse(der).map_err(|malformed| Refusal::Malformed { what: malformed.0 })
    };
    let leaf = read(leaf)?;
    let sent = sent.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    verify_leaf(&leaf, now, usage)?;
    let now = Duration::from_secs(now.as_secs());
    let mut search = Search { anchors, algorithms, sent: &sent, now, usage, signatures_left: SIGNATURES_MAX };
    search.climb(&[&leaf], 0)?;
    Ok(leaf)
}

/// What is demanded of the first certificate itself. Its validity is told with rustls's own errors, since they make the
/// right alert for the other side.
fn verify_leaf(leaf: &Certificate<'_>, time: UnixTime, usage: Usage) -> Result<(), Error> {
    let now = Duration::from_secs(time.as_secs());
    if now < leaf.not_before {
        let not_before = UnixTime::since_unix_epoch(leaf.not_before);
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    if now > leaf.not_after {
        let not_after = UnixTime::since_unix_epoch(leaf.not_after);
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    verify_understood(leaf)?;
    verify_purposes(leaf, usage)?;
    let uses: &[KeyUsage] = match usage {
        Usage::Server => &[KeyUsage::DIGITAL_SIGNATURE, KeyUsage::KEY_ENCIPHERMENT, KeyUsage::KEY_AGREEMENT],
        Usage::Client => &[KeyUsage::DIGITAL_SIGNATURE, KeyUsage::KEY_AGREEMENT],
    };
    match leaf.extensions.key_usage {
        Some(allowed) if !allowed.allows_one_of(uses) => {
            Err(refused_usage(leaf, usage, "its key usage does not allow it").into())
        }
        Some(_) | None => Ok(()),
    }
}

fn refused_usage(certificate: &Certificate<'_>, usage: Usage, why: &'static str) -> Refusal {
    Refusal::Usage { subject: certificate.subject.text_or_empty(), usage: usage.as_str(), why }
}

fn verify_understood(certificate: &Certificate<'_>) -> Result<(), Refusal> {
    match certificate.extensions.not_understood {
        None => Ok(()),
        Some(oid) => {
            let subject = certificate.subject.text_or_empty();
            Err(Refusal::NotUnderstood { subject, oid: oid_text(oid) })
        }
    }
}

/// The extended key usage, which for OpenSSL binds authorities too.
fn verify_purposes(certificate: &Certificate<'_>, usage: Usage) -> Result<(), Refusal> {
    match (certificate.extensions.purposes, usage) {
        (None | Some(Purposes::Both), _)
        | (Some(Purposes::ServerAuth), Usage::Server)
        | (Some(Purposes::ClientAuth), Usage::Client) => Ok(()),
        (Some(Purposes::ServerAuth | Purposes::Neither), Usage::Client) => {
            Err(refused_usage(certificate, usage, "its extended key usage lacks clientAuth"))
        }
        (Some(Purposes::ClientAuth | Purposes::Neither), Usage::Server) => {
            Err(refused_usage(certificate, usage, "its extended key usage lacks serverAuth"))
        }
    }
}

/// A search for a chain.
struct Search<'a> {
    anchors: &'a Anchors,
    algorithms: &'a WebPkiSupportedAlgorithms,
    sent: &'a [Certificate<'a>],
    now: Duration,
    usage: Usage,
    signatures_left: u32,
}

/// Why a step was not possible: another issuer may do, or all is over.
enum Miss {
    Refused(Refusal),
    GaveUp,
}

impl From<Refusal> for Miss {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Miss> for Error {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Refused(refusal) => refusal.into(),
            Miss::GaveUp => Refusal::TooLong { max: DEPTH_MAX }.into(),
        }
    }
}

impl Search<'_> {
    /// Goes on from the last certificate of the path. `authorities` counts the intermediate ones on it, without those
    /// that are their own issuers (RFC 5280, section 4.2.1.9). Recursion ends at `DEPTH_MAX`.
    fn climb(&mut self, path: &[&Certificate<'_>], authorities: u32) -> Result<(), Miss> {
        let Some(current) = path.last().copied() else { return Err(Miss::GaveUp) };
        let trusted = self.anchors.contains(current);
        if current.is_self_issued() {
            if trusted {
                return Ok(());
            }
            if self.verify_signature(current, current).is_ok() {
                return Err(Refusal::SelfSigned { subject: current.subject.text_or_empty() }.into());
            }
        }
        if path.len() > DEPTH_MAX + 1 {
            return Err(Miss::GaveUp);
        }
        let anchors: &Anchors = self.anchors;
        let anchors = anchors.named(&current.issuer);
        let sent: &[Certificate<'_>] = self.sent;
        let sent = sent.iter().filter(|one| one.subject.matches(&current.issuer));
        let mut first_miss = None;
        for issuer in anchors.iter().chain(sent) {
            if path.iter().any(|one| one.der == issuer.der) {
                continue;
            }
            match self.step(path, current, issuer, authorities) {
                Ok(()) => return Ok(()),
                Err(Miss::GaveUp) => return Err(Miss::GaveUp),
                Err(Miss::Refused(refusal)) => first_miss = first_miss.or(Some(refusal)),
            }
        }
        Err(Miss::Refused(first_miss.unwrap_or_else(|| no_issuer(current, trusted_or_not(trusted)))))
    }

    /// One step: whether this one issued the last of the path and may do so, and where that leads.
    fn step(
        &mut self,
        path: &[&Certificate<'_>],
        current: &Certificate<'_>,
        issuer: &Certificate<'_>,
        authorities: u32,
    ) -> Result<(), Miss> {
        self.verify_signature(current, issuer)?;
        verify_validity(issuer, self.now)?;
        verify_understood(issuer)?;
        verify_authority(issuer, authorities)?;
        verify_purposes(issuer, self.usage)?;
        let above = if issuer.is_self_issued() { authorities } else { authorities.saturating_add(1) };
        self.climb(&[path, &[issuer]].concat(), above)
    }

    fn verify_signature(
        &mut self,
        certificate: &Certificate<'_>,
        issuer: &Certificate<'_>,
    ) -> Result<(), Miss> {
        self.signatures_left = self.signatures_left.checked_sub(1).ok_or(Miss::GaveUp)?;
        let same_algorithm = self
            .algorithms
            .all
            .iter()
            .filter(|algorithm| algorithm.signature_alg_id().as_ref() == certificate.signature_algorithm);
        let fitting: Vec<_> = same_algorithm
            .filter(|algorithm| algorithm.public_key_alg_id().as_ref() == issuer.public_key.algorithm)
            .collect();
        let subject = || certificate.subject.text_or_empty();
        if fitting.is_empty() {
            let algorithm = algorithm_text(certificate.signature_algorithm);
            return Err(Refusal::Algorithm { subject: subject(), algorithm }.into());
        }
        let verifies = fitting.iter().any(|algorithm| {
            let signature = certificate.signature;
            algorithm.verify_signature(issuer.public_key.bits, certificate.tbs, signature).is_ok()
        });
        if verifies {
            return Ok(());
        }
        let issuer = issuer.subject.text_or_empty();
        Err(Refusal::BadSignature { subject: subject(), issuer }.into())
    }
}

/// Whether a certificate is of the CA file.
#[derive(Clone, Copy)]
enum Trust {
    OfTheCaFile,
    Sent,
}

fn trusted_or_not(trusted: bool) -> Trust {
    if trusted { Trust::OfTheCaFile } else { Trust::Sent }
}

fn no_issuer(certificate: &Certificate<'_>, trust: Trust) -> Refusal {
    let subject = certificate.subject.text_or_empty();
    let issuer = certificate.issuer.text_or_empty();
    match trust {
        Trust::OfTheCaFile => Refusal::NoRoot { subject, issuer },
        Trust::Sent => Refusal::UnknownIssuer { subject, issuer },
    }
}

fn verify_validity(certificate: &Certificate<'_>, now: Duration) -> Result<(), Refusal> {
    let subject = || certificate.subject.text_or_empty();
    if now < certificate.not_before {
        return Err(Refusal::NotValidYet { subject: subject(), not_before: certificate.not_before, now });
    }
    if now > certificate.not_after {
        return Err(Refusal::Expired { subject: subject(), not_after: certificate.not_after, now });
    }
    Ok(())
}

/// Whether a certificate may issue others: OpenSSL's `X509_check_ca`. Version 1 has no extensions to say so; such a one
/// is accepted at the end of a chain, where somebody has put it into the CA file.
fn verify_authority(certificate: &Certificate<'_>, authorities: u32) -> Result<(), Refusal> {
    let refused = |why| {
        let subject = certificate.subject.text_or_empty();
        Err(Refusal::NotAnAuthority { subject, why })
    };
    let extensions = &certificate.extensions;
    let signs = extensions.key_usage.map(|usage| usage.allows_one_of(&[KeyUsage::CERTIFICATE_SIGN]));
    if signs == Some(false) {
        return refused("its key usage lacks keyCertSign");
    }
    let Some(basic) = extensions.basic else {
        let is_old_root = certificate.version == Version::V1 && certificate.is_self_issued();
        return if is_old_root || signs.is_some() {
            Ok(())
        } else {
            refused("it has no basic constraints that say so")
        };
    };
    if basic.authority == Authority::EndEntity {
        return refused("its basic constraints say CA:FALSE");
    }
    match basic.path_len {
        Some(allowed) if authorities > allowed => {
            let subject = certificate.subject.text_or_empty();
            Err(Refusal::PathLength { subject, allowed, count: authorities })
        }
        Some(_) | None => Ok(()),
    }
}

/// The algorithm of a signature in words: those that are refused for being weak by name, others by their identifier.
fn algorithm_text(algorithm: &[u8]) -> String {
    const RSA_MD5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
    const RSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
    const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
    // Tag, length, bytes: an object identifier's length is below 128.
    let oid = match algorithm {
        [0x06, length, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or(rest),
        other => other,
    };
    match oid {
        RSA_MD5 => "MD5".to_owned(),
        RSA_SHA1 | ECDSA_SHA1 => "SHA-1".to_owned(),
        other => format!("algorithm {} (or a key that does not fit it)", oid_text(other)),
    }
}
