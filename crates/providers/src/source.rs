//! What can be asked for a secret, and for which login.

use std::fmt;
use std::path::PathBuf;

/// A provider with its settings. None of them is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The content of a file, without the line's end.
    File {
        /// Which.
        path: PathBuf,
    },
    /// What a program prints.
    Command {
        /// Which.
        program: PathBuf,
        /// As they are.
        args: Vec<String>,
    },
    /// A token of Amazon RDS, signed here.
    AwsRdsIam(AwsRdsIam),
    /// An access token of Microsoft Entra.
    AzureEntra(AzureEntra),
    /// An access token of Google's metadata service.
    GoogleMetadata(GoogleMetadata),
}

/// Settings of [`Source::AwsRdsIam`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AwsRdsIam {
    /// `None`: of the environment.
    pub region: Option<String>,
    /// The host the token is for; `None`: of the login.
    pub host: Option<String>,
    /// Likewise.
    pub port: Option<u16>,
    /// The metadata service of the machine; `None`: its usual address.
    pub endpoint: Option<String>,
    /// The token service; `None`: that of the region.
    pub sts: Option<String>,
    /// Who may certify the token service; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// Settings of [`Source::AzureEntra`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AzureEntra {
    /// The application's secret; `None`: the machine's identity.
    pub secret: Option<ClientSecret>,
    /// Which of the machine's identities; `None`: its only one.
    pub client_id: Option<String>,
    /// What the token is for; `None`: Azure Database for PostgreSQL.
    pub resource: Option<String>,
    /// The metadata service or the authority; `None`: the usual one.
    pub endpoint: Option<String>,
    /// Who may certify it; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// How an application proves itself at the authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientSecret {
    /// Its tenant.
    pub tenant: String,
    /// Its id.
    pub client_id: String,
    /// Where its secret is.
    pub file: PathBuf,
}

/// Settings of [`Source::GoogleMetadata`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GoogleMetadata {
    /// `None`: the machine's default account.
    pub account: Option<String>,
    /// With commas; `None`: those of the account.
    pub scopes: Option<String>,
    /// The metadata service of the machine; `None`: its usual address.
    pub endpoint: Option<String>,
}

/// A login at a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Login {
    /// As the configuration names it; the folder of a Unix socket.
    pub host: String,
    /// Port.
    pub port: u16,
    /// As whom.
    pub role: String,
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.role, self.host, self.port)
    }
}

impl fmt::Display for Source {
    /// What it is called in errors and in the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File { path } => write!(f, "file:{}", path.display()),
            Source::Command { program, .. } => write!(f, "command:{}", program.display()),
            Source::AwsRdsIam(_) => f.write_str("aws-rds-iam"),
            Source::AzureEntra(_) => f.write_str("azure-entra"),
            Source::GoogleMetadata(_) => f.write_str("google-metadata"),
        }
    }
}
