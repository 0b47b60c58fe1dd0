//! Whether a connection is encrypted, and who is verified.

use std::fmt;

/// `client_tls_sslmode`, `server_tls_sslmode`: whether there is TLS, and who is verified.
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
    pub const ALL: [SslMode; 6] = [
        SslMode::Disable,
        SslMode::Allow,
        SslMode::Prefer,
        SslMode::Require,
        SslMode::VerifyCa,
        SslMode::VerifyFull,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// The mode of that name; none if there is no such mode. PgBouncer does not mind capitals.
    pub fn parse(text: &str) -> Option<SslMode> {
        SslMode::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text))
    }

    /// Whether there is no connection without TLS.
    pub fn is_required(self) -> bool {
        match self {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => true,
        }
    }

    /// Whether the other side's certificate is verified.
    pub fn verifies(self) -> bool {
        match self {
            SslMode::Disable | SslMode::Allow | SslMode::Prefer | SslMode::Require => false,
            SslMode::VerifyCa | SslMode::VerifyFull => true,
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
