//! Who the other side is: the two verifiers that rustls asks.

mod chain;
mod handshake;
mod host;
mod refusal;

use std::fmt;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

pub(crate) use chain::Anchors;
use chain::Usage;
pub(crate) use refusal::{Refusal, date};

use crate::x509::Certificate;

/// What is demanded of a server's certificate.
#[derive(Debug)]
pub(crate) enum Demand {
    /// Nothing: it is not even read but for its key.
    Nothing,
    /// That it leads to one of these.
    Chain(Anchors),
    /// That it leads to one of these and bears the name of the host.
    ChainAndName(Anchors),
}

/// Verifies servers.
pub(crate) struct ServerVerifier {
    demand: Demand,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(crate) fn new(demand: Demand, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { demand, algorithms }
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("demand", &self.demand).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.demand {
            Demand::Nothing => {}
            Demand::Chain(anchors) => {
                chain::verify(anchors, &self.algorithms, end_entity, intermediates, now, Usage::Server)?;
            }
            Demand::ChainAndName(anchors) => {
                let leaf =
                    chain::verify(anchors, &self.algorithms, end_entity, intermediates, now, Usage::Server)?;
                verify_name(&leaf, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        handshake::verify_tls12(&self.algorithms, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        handshake::verify_tls13(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn verify_name(leaf: &Certificate<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let presented = match host::verify(leaf, &name.to_str()) {
        Ok(()) => return Ok(()),
        Err(presented) => presented,
    };
    let expected = name.to_owned();
    Err(CertificateError::NotValidForNameContext { expected, presented }.into())
}

/// Verifies clients, which have to show a certificate.
pub(crate) struct ClientVerifier {
    anchors: Anchors,
    algorithms: WebPkiSupportedAlgorithms,
    wanted: Wanted,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It does.
    Must,
    /// It may; then it must be a good one.
    May,
}

impl ClientVerifier {
    pub(crate) fn new(anchors: Anchors, algorithms: WebPkiSupportedAlgorithms, wanted: Wanted) -> Self {
        Self { anchors, algorithms, wanted }
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").field("anchors", &self.anchors).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.wanted == Wanted::Must
    }

    /// No hints, as PgBouncer: they cost bytes in each handshake, and some drivers keep a certificate back if its
    /// intermediate issuer is not among them.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        chain::verify(&self.anchors, &self.algorithms, end_entity, intermediates, now, Usage::Client)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        handshake::verify_tls12(&self.algorithms, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        handshake::verify_tls13(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
