//! Signatures in handshakes: that the other side has the key of the certificate it shows.
//!
//! rustls has functions for this, but they refuse to read certificates of version 1; here the key is taken out of
//! whatever version it is in.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::Refusal;
use crate::x509::PublicKey;

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

/// TLS 1.2: the scheme names a hash, and the key's curve may be any (RFC 8422, section 5.4).
pub(super) fn verify_tls12(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let possible = algorithms_of(algorithms, signed.scheme)?;
    verify(possible, message, certificate, signed)
}

/// TLS 1.3: the scheme names the curve too, and PKCS #1 is over (RFC 8446, section 4.2.3).
pub(super) fn verify_tls13(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let of_tls12_only = matches!(
        signed.scheme,
        SignatureScheme::RSA_PKCS1_SHA1
            | SignatureScheme::ECDSA_SHA1_Legacy
            | SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    );
    if of_tls12_only {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    }
    let possible = algorithms_of(algorithms, signed.scheme)?;
    verify(possible.get(..1).unwrap_or_default(), message, certificate, signed)
}

fn algorithms_of(
    algorithms: &WebPkiSupportedAlgorithms,
    scheme: SignatureScheme,
) -> Result<&'static [Algorithm], Error> {
    let found = algorithms.mapping.iter().find(|(known, _)| *known == scheme);
    found
        .map(|(_, algorithms)| *algorithms)
        .ok_or_else(|| PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
}

fn verify(
    possible: &[Algorithm],
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signed: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let key = PublicKey::of_certificate(certificate)
        .map_err(|malformed| Error::from(Refusal::Malformed { what: malformed.0 }))?;
    let fitting = possible.iter().find(|algorithm| algorithm.public_key_alg_id().as_ref() == key.algorithm);
    let Some(algorithm) = fitting else {
        return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
    };
    match algorithm.verify_signature(key.bits, message, signed.signature()) {
        Ok(()) => Ok(HandshakeSignatureValid::assertion()),
        Err(_) => Err(CertificateError::BadSignature.into()),
    }
}
