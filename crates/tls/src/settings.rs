//! The nouns: what an operator may set, and what may be wrong with it.

use std::fmt;

/// `client_tls_sslmode` and `server_tls_sslmode`: whether there is TLS, and who is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SslMode {
    /// No TLS.
    #[default]
    Disable,
    /// TLS if the other side asks for it; nobody is verified.
    Allow,
    /// TLS if the other side can; nobody is verified.
    Prefer,
    /// TLS or nothing; nobody is verified.
    Require,
    /// TLS with a certificate that a CA of the CA file has signed.
    VerifyCa,
    /// The same, and towards servers the certificate must bear the host's name.
    VerifyFull,
}

impl SslMode {
    /// All of them, from lax to strict.
    pub const ALL: [Self; 6] =
        [Self::Disable, Self::Allow, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// As the configuration spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// The mode of that name; none if there is no such mode. PgBouncer does not mind capitals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text))
    }

    pub(crate) fn check(self) -> Check {
        match self {
            Self::Disable | Self::Allow | Self::Prefer | Self::Require => Check::Nothing,
            Self::VerifyCa => Check::Chain,
            Self::VerifyFull => Check::ChainAndName,
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is demanded of the other side's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Nothing,
    Chain,
    ChainAndName,
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
