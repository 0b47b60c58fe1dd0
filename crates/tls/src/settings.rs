//! The nouns: what an operator may set, and what may be wrong with it.

use std::fmt;

use plimsoll_types::SslMode;

/// What is demanded of the other side's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

impl Check {
    pub(crate) fn of(mode: SslMode) -> Check {
        match mode {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => Check::Nothing,
            SslMode::VerifyCa => Check::Chain,
            SslMode::VerifyFull => Check::ChainAndName,
        }
    }
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `client_tls_*`: we are the TLS server.
    Client,
    /// `server_tls_*`: we are the TLS client.
    Server,
}

impl Side {
    /// As the keys of the configuration begin.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// A file that has been read: somebody else does the reading.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    /// What to call it in messages: its path.
    pub name: String,
    /// What is in it. It may be a private key, so `Debug` does not show it.
    pub pem: Vec<u8>,
}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemFile").field("name", &self.name).field("bytes", &self.pem.len()).finish()
    }
}

/// The settings of one side, as the operator wrote them. An empty text means the key's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `*_tls_sslmode`.
    pub mode: SslMode,
    /// `*_tls_protocols`.
    pub protocols: String,
    /// `*_tls_ciphers`: suites of TLS 1.2.
    pub ciphers: String,
    /// `*_tls13_ciphers`: suites of TLS 1.3.
    pub tls13_ciphers: Option<String>,
    /// `client_tls_ecdhcurve`.
    pub ecdhcurve: String,
    /// `client_tls_dheparams`.
    pub dheparams: String,
    /// `*_tls_ca_file`.
    pub ca: Option<PemFile>,
    /// `*_tls_cert_file`: our own certificate, and the intermediate ones that are sent with it.
    pub cert: Option<PemFile>,
    /// `*_tls_key_file`.
    pub key: Option<PemFile>,
}

/// A key of the configuration, without the side it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `sslmode`
    SslMode,
    /// `protocols`
    Protocols,
    /// `ciphers`
    Ciphers,
    /// `tls13_ciphers`
    Tls13Ciphers,
    /// `ecdhcurve`
    EcdhCurve,
    /// `dheparams`
    DheParams,
    /// `ca_file`
    CaFile,
    /// `cert_file`
    CertFile,
    /// `key_file`
    KeyFile,
}

impl Key {
    /// What follows `client_tls_` or `server_tls_`; for [`Key::Tls13Ciphers`], what follows `client_` or `server_`.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::SslMode => "sslmode",
            Self::Protocols => "protocols",
            Self::Ciphers => "ciphers",
            Self::Tls13Ciphers => "tls13_ciphers",
            Self::EcdhCurve => "ecdhcurve",
            Self::DheParams => "dheparams",
            Self::CaFile => "ca_file",
            Self::CertFile => "cert_file",
            Self::KeyFile => "key_file",
        }
    }

    /// The whole key, as it stands in the configuration: `client_tls_ca_file`, `server_tls13_ciphers`.
    #[must_use]
    pub fn name(self, side: Side) -> String {
        match self {
            Self::Tls13Ciphers => format!("{}_{}", side.as_str(), self.suffix()),
            Self::SslMode
            | Self::Protocols
            | Self::Ciphers
            | Self::EcdhCurve
            | Self::DheParams
            | Self::CaFile
            | Self::CertFile
            | Self::KeyFile => format!("{}_tls_{}", side.as_str(), self.suffix()),
        }
    }
}

/// A mistake in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is.
    pub key: Key,
    /// What is wrong and what to do, without the key's name.
    pub message: String,
}

impl Fault {
    pub(crate) fn new(key: Key, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}
