//! From settings to configurations of rustls. All mistakes are found before any is reported.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};

use crate::protocols::Versions;
use plimsoll_types::SslMode;

use crate::settings::{Check, Fault, Key, PemFile, Settings, Side};
use crate::verify::{Anchors, ClientVerifier, Demand, ServerVerifier, Wanted};
use crate::x509::{Certificate, PublicKey};
use crate::{ciphers, groups, pem, protocols};

/// What PostgreSQL's protocol is called inside of TLS (IANA, "TLS ALPN Protocol IDs").
const ALPN: &[u8] = b"postgresql";

/// The configuration for connections from clients. It needs key and certificate, and a CA file if clients are verified
/// (`verify-ca` and `verify-full`, which is the same). In the other modes clients are not asked for a certificate.
///
/// Nothing is kept for resumption: drivers of PostgreSQL do not resume, and tickets cost time and bytes.
///
/// # Errors
///
/// All mistakes in the settings. `sslmode = disable` is one: there is nothing to configure.
pub fn acceptor(settings: &Settings) -> Result<Arc<ServerConfig>, Vec<Fault>> {
    let mut faults = Faults::default();
    faults.check_mode(settings.mode);
    let offer = Offer::read(settings, &mut faults);
    let anchors = anchors(settings, Side::Client, &mut faults);
    if settings.cert.is_none() {
        faults.add(Key::CertFile, needed("PEM file with the pooler's certificate", settings.mode));
    }
    if settings.key.is_none() {
        faults.add(Key::KeyFile, needed("PEM file with the certificate's private key", settings.mode));
    }
    let identity = identity(settings, &mut faults);
    let (Some(identity), []) = (identity, faults.0.as_slice()) else { return Err(faults.0) };
    let (provider, versions) = offer.provider();
    let verifier: Arc<dyn ClientCertVerifier> = match anchors {
        Some(anchors) => {
            let wanted = match Check::of(settings.mode) {
                // HBA lines with `cert` ask for it; everybody else comes without.
                Check::Nothing => Wanted::May,
                Check::Chain | Check::ChainAndName => Wanted::Must,
            };
            Arc::new(ClientVerifier::new(anchors, provider.signature_verification_algorithms, wanted))
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions.to_vec())
        .map_err(inconsistent)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The configuration for connections to servers. Key and certificate are for servers that ask for one; a CA file is
/// needed to verify servers. Nothing is kept for resumption.
///
/// # Errors
///
/// All mistakes in the settings. `sslmode = disable` is one: there is nothing to configure.
pub fn connector(settings: &Settings) -> Result<Arc<ClientConfig>, Vec<Fault>> {
    let mut faults = Faults::default();
    faults.check_mode(settings.mode);
    let offer = Offer::read(settings, &mut faults);
    let anchors = anchors(settings, Side::Server, &mut faults);
    match (&settings.cert, &settings.key) {
        (Some(cert), None) => {
            faults
                .add(Key::KeyFile, format!("must name the private key of the certificate in {}", cert.name));
        }
        (None, Some(key)) => {
            faults.add(Key::CertFile, format!("must name the certificate of the key in {}", key.name));
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
    let identity = identity(settings, &mut faults);
    if !faults.0.is_empty() {
        return Err(faults.0);
    }
    let (provider, versions) = offer.provider();
    let demand = match (anchors, Check::of(settings.mode)) {
        (Some(anchors), Check::ChainAndName) => Demand::ChainAndName(anchors),
        (Some(anchors), Check::Chain) => Demand::Chain(anchors),
        (None, Check::Nothing) | (Some(_), Check::Nothing) => Demand::Nothing,
        // There has been a fault above; were there none, nobody would be trusted.
        (None, Check::Chain | Check::ChainAndName) => Demand::Chain(Anchors::none()),
    };
    let verifier = ServerVerifier::new(demand, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions.to_vec())
        .map_err(inconsistent)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The mistakes found so far.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, key: Key, message: impl Into<String>) {
        self.0.push(Fault::new(key, message));
    }

    /// What there is, if there is no mistake in it; else the mistake is kept.
    fn keep<T>(&mut self, key: Key, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.add(key, message)).ok()
    }

    fn check_mode(&mut self, mode: SslMode) {
        match mode {
            SslMode::Disable => self.add(Key::SslMode, "is \"disable\": there is no TLS to set up"),
            SslMode::Allow | SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            }
        }
    }
}

fn needed(what: &str, mode: SslMode) -> String {
    format!("must name a {what}, since sslmode is \"{mode}\"")
}

/// rustls found that what it was given does not fit together, which is checked before.
fn inconsistent(error: rustls::Error) -> Vec<Fault> {
    vec![Fault::new(Key::Ciphers, format!("protocols, ciphers and curves do not fit together: {error}"))]
}

/// What is offered to the other side.
struct Offer {
    provider: CryptoProvider,
    versions: Versions,
}

impl Offer {
    /// Where there is a mistake, the default stands in for what is wrong: it is not used then.
    fn read(settings: &Settings, faults: &mut Faults) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        let versions = faults.keep(Key::Protocols, protocols::parse(&settings.protocols));
        let tls12 = faults.keep(Key::Ciphers, ciphers::tls12(&settings.ciphers));
        let tls13 = faults.keep(Key::Tls13Ciphers, ciphers::tls13(settings.tls13_ciphers.as_deref()));
        if let (Some(tls12), Some(tls13)) = (tls12, tls13) {
            provider.cipher_suites = [tls13, tls12].concat();
        }
        if let Some(curves) = faults.keep(Key::EcdhCurve, groups::curves(&settings.ecdhcurve)) {
            provider.kx_groups = curves;
        }
        faults.keep(Key::DheParams, groups::dhe_params(&settings.dheparams));
        Self { provider, versions: versions.unwrap_or(Versions::Both) }
    }

    fn provider(self) -> (Arc<CryptoProvider>, Versions) {
        (Arc::new(self.provider), self.versions)
    }
}

/// Who is trusted; none if nobody is verified. A CA file for servers that is not used is not read: PgBouncer does not
/// either. With one for clients they may show a certificate in every mode, which is verified then, as libtls does.
fn anchors(settings: &Settings, side: Side, faults: &mut Faults) -> Option<Anchors> {
    match Check::of(settings.mode) {
        Check::Nothing if side == Side::Server || settings.ca.is_none() => return None,
        Check::Nothing | Check::Chain | Check::ChainAndName => {}
    }
    let Some(file) = &settings.ca else {
        let what = match side {
            Side::Client => {
                "PEM file with the certificates of the authorities that sign clients' certificates"
            }
            Side::Server => {
                "PEM file with the certificates of the authorities that sign servers' certificates"
            }
        };
        faults.add(Key::CaFile, needed(what, settings.mode));
        return None;
    };
    let certificates = faults.keep(Key::CaFile, pem::certificates(file))?;
    let anchors = Anchors::new(certificates).map_err(|(number, malformed)| {
        format!("certificate {number} in {} cannot be read: {}", file.name, malformed.0)
    });
    faults.keep(Key::CaFile, anchors)
}

/// Our own certificate with its key; none if there is none or there is a mistake in it.
fn identity(settings: &Settings, faults: &mut Faults) -> Option<CertifiedKey> {
    let cert = settings.cert.as_ref();
    let chain = cert.and_then(|file| faults.keep(Key::CertFile, own_chain(file)));
    let key_file = settings.key.as_ref();
    let key = key_file.and_then(|file| faults.keep(Key::KeyFile, own_key(file)));
    let (Some(cert), Some(key_file), Some(chain), Some(key)) = (cert, key_file, chain, key) else {
        return None;
    };
    if key_of(&chain, &key) == Some(Ownership::AnotherKey) {
        let message = format!(
            "the key in {} is not that of the first certificate in {}: name files that belong together, and let the \
             pooler's own certificate come before intermediate ones",
            key_file.name, cert.name
        );
        faults.add(Key::KeyFile, message);
        return None;
    }
    Some(CertifiedKey::new(chain, key))
}

fn own_chain(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = pem::certificates(file)?;
    for (at, der) in chain.iter().enumerate() {
        Certificate::parse(der).map_err(|malformed| {
            format!("certificate {} in {} cannot be read: {}", at + 1, file.name, malformed.0)
        })?;
    }
    Ok(chain)
}

fn own_key(file: &PemFile) -> Result<Arc<dyn SigningKey>, String> {
    let key = pem::private_key(file)?;
    aws_lc_rs::default_provider().key_provider.load_private_key(key).map_err(|_| {
        format!(
            "the private key in {} cannot be used: keys are RSA with 2048 to 8192 bits, ECDSA on P-256, P-384 or \
             P-521, or Ed25519",
            file.name
        )
    })
}

/// Whose a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ownership {
    TheCertificates,
    AnotherKey,
}

/// Compares the public keys' bits, since the algorithm's parameters may be written in more than one way. None if the
/// key does not tell its public half.
fn key_of(chain: &[CertificateDer<'static>], key: &Arc<dyn SigningKey>) -> Option<Ownership> {
    let public = key.public_key()?;
    let public = PublicKey::parse(&public).ok()?;
    let leaf = Certificate::parse(chain.first()?).ok()?;
    if leaf.public_key.bits == public.bits {
        Some(Ownership::TheCertificates)
    } else {
        Some(Ownership::AnotherKey)
    }
}
