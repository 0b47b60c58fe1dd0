//! `credential=`: what the pooler logs in at servers with, where that is not a password that somebody wrote down.
//!
//! A word and what belongs to it: `static`, `file:PATH`, `command:PROGRAM ARGS`, or the name of a cloud's service with
//! `key=value` pairs behind it. Nothing in it is a secret: it says where the secret comes from.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::near;
use crate::table::Fault;

/// Most words behind `command:`.
const WORDS_MAX: usize = 64;

/// The words that a value begins with.
const KINDS: [&str; 6] = ["static", "file:", "command:", "aws-rds-iam", "azure-entra", "google-metadata"];

/// What stands in the reference.
pub(crate) const EXPECTED: &str = "static, file:PATH, command:PROGRAM ARGS, aws-rds-iam, azure-entra, \
    google-metadata; the last three with key=value pairs behind them: docs/credentials.md";

/// Where the secret of a server login comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// `static`: `password=`, auth_file, auth_query, or the keys of a client that logged in.
    #[default]
    Static,
    /// `file:PATH`: the file's content without the line's end.
    File {
        /// Absolute.
        path: PathBuf,
    },
    /// `command:PROGRAM ARGS`: what the program prints, as JSON.
    Command {
        /// Absolute.
        program: PathBuf,
        /// As they are: no shell reads them.
        args: Vec<String>,
    },
    /// `aws-rds-iam`: a token signed for host, port and role.
    AwsRdsIam(AwsRdsIam),
    /// `azure-entra`: an access token for Azure Database for PostgreSQL.
    AzureEntra(AzureEntra),
    /// `google-metadata`: an access token of the machine's service account.
    GoogleMetadata(GoogleMetadata),
}

/// Keys behind `aws-rds-iam`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AwsRdsIam {
    /// `region=`; `None`: AWS_REGION or AWS_DEFAULT_REGION.
    pub region: Option<String>,
    /// `host=`: the name the token is for; `None`: that of the database line.
    pub host: Option<String>,
    /// `port=`: likewise.
    pub port: Option<u16>,
    /// `endpoint=`: the metadata service of the machine.
    pub endpoint: Option<String>,
    /// `sts=`: the token service, for web identities.
    pub sts: Option<String>,
    /// `ca_file=`: who may certify `sts`; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// Keys behind `azure-entra`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AzureEntra {
    /// `client_id=`: of the application, or of a user-assigned identity.
    pub client_id: Option<String>,
    /// `tenant=`: of the application.
    pub tenant: Option<String>,
    /// `client_secret_file=`: the application's secret; `None`: the identity of the machine.
    pub client_secret_file: Option<PathBuf>,
    /// `resource=`: what the token is for.
    pub resource: Option<String>,
    /// `endpoint=`: the metadata service of the machine, or the authority that knows the application.
    pub endpoint: Option<String>,
    /// `ca_file=`: who may certify the authority; `None`: whom the system trusts.
    pub ca_file: Option<PathBuf>,
}

/// Keys behind `google-metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GoogleMetadata {
    /// `account=`; `None`: the machine's default one.
    pub account: Option<String>,
    /// `scopes=`, with commas; `None`: those of the account.
    pub scopes: Option<String>,
    /// `endpoint=`: the metadata service of the machine.
    pub endpoint: Option<String>,
}

/// `session_not_after`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionNotAfter {
    /// A server connection outlives the credential it logged in with.
    #[default]
    Off,
    /// It is closed when that has ended, as soon as it is idle.
    On,
}

impl CredentialSource {
    /// The word it begins with.
    pub fn kind(&self) -> &'static str {
        match self {
            CredentialSource::Static => "static",
            CredentialSource::File { .. } => "file",
            CredentialSource::Command { .. } => "command",
            CredentialSource::AwsRdsIam(_) => "aws-rds-iam",
            CredentialSource::AzureEntra(_) => "azure-entra",
            CredentialSource::GoogleMetadata(_) => "google-metadata",
        }
    }

    /// Whether what it gives is a token that opens the door for whoever reads it: never sent in the clear.
    pub fn is_bearer(&self) -> bool {
        match self {
            CredentialSource::Static | CredentialSource::File { .. } | CredentialSource::Command { .. } => {
                false
            }
            CredentialSource::AwsRdsIam(_)
            | CredentialSource::AzureEntra(_)
            | CredentialSource::GoogleMetadata(_) => true,
        }
    }
}

/// Reads a value of `credential=`.
pub(crate) fn parse(text: &str) -> Result<CredentialSource, Fault> {
    if let Some(path) = text.strip_prefix("file:") {
        return Ok(CredentialSource::File { path: absolute("file:", path)? });
    }
    if let Some(line) = text.strip_prefix("command:") {
        return command(line);
    }
    let mut words = words(text)?.into_iter();
    let kind = words.next().unwrap_or_default();
    let rest: Vec<String> = words.collect();
    match kind.as_str() {
        "static" if rest.is_empty() => Ok(CredentialSource::Static),
        "aws-rds-iam" => aws(&rest).map(CredentialSource::AwsRdsIam),
        "azure-entra" => azure(&rest).map(CredentialSource::AzureEntra),
        "google-metadata" => google(&rest).map(CredentialSource::GoogleMetadata),
        // A password that was meant for another key is not repeated.
        _ => Err(said(format!("expected {EXPECTED}{}", near::hint(&kind, KINDS.into_iter())))),
    }
}

/// Reads a value of `session_not_after=`.
pub(crate) fn session_not_after(text: &str) -> Result<SessionNotAfter, Fault> {
    match text {
        "on" => Ok(SessionNotAfter::On),
        "off" => Ok(SessionNotAfter::Off),
        _ => Err(Fault::Invalid("on, off")),
    }
}

fn said(why: String) -> Fault {
    Fault::Said(format!("credential: {why}"))
}

fn absolute(what: &str, path: &str) -> Result<PathBuf, Fault> {
    if Path::new(path).is_absolute() {
        Ok(PathBuf::from(path))
    } else {
        Err(said(format!("{what} wants an absolute path")))
    }
}

fn command(line: &str) -> Result<CredentialSource, Fault> {
    let mut words = words(line)?.into_iter();
    let program = absolute("command:", &words.next().unwrap_or_default())?;
    Ok(CredentialSource::Command { program, args: words.collect() })
}

/// Words with blanks between them; one with blanks in it stands in double quotes. Nothing else means anything: no
/// shell reads it.
fn words(text: &str) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(inside) => {
                let quoted = inside.split_once('"');
                quoted.ok_or_else(|| said("a double quote is not closed".to_string()))?
            }
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        if found.len() == WORDS_MAX {
            return Err(said(format!("more than {WORDS_MAX} words")));
        }
        found.push(word.to_string());
        rest = behind.trim_start();
    }
    Ok(found)
}

/// A place for a value, by the name of its key.
type Into<'a> = (&'static str, &'a mut Option<String>);

/// Fills places from `key=value` pairs.
fn fill(kind: &str, pairs: &[String], places: &mut [Into<'_>]) -> Result<(), Fault> {
    for pair in pairs {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some((_, place)) = places.iter_mut().find(|(name, _)| *name == key) else {
            let hint = near::hint(key, places.iter().map(|(name, _)| *name));
            return Err(said(format!("{kind} has no key {key}{hint}")));
        };
        if value.is_empty() {
            return Err(said(format!("{key}= of {kind} is empty")));
        }
        **place = Some(value.to_string());
    }
    Ok(())
}

fn aws(pairs: &[String]) -> Result<AwsRdsIam, Fault> {
    let mut aws = AwsRdsIam::default();
    let (mut port, mut ca_file) = (None, None);
    fill(
        "aws-rds-iam",
        pairs,
        &mut [
            ("region", &mut aws.region),
            ("host", &mut aws.host),
            ("port", &mut port),
            ("endpoint", &mut aws.endpoint),
            ("sts", &mut aws.sts),
            ("ca_file", &mut ca_file),
        ],
    )?;
    if let Some(text) = port {
        let number = text.parse::<u16>().ok().filter(|port| *port > 0);
        aws.port = Some(number.ok_or_else(|| said(format!("port={text} of aws-rds-iam is no port")))?);
    }
    check_url("endpoint", aws.endpoint.as_deref())?;
    check_url("sts", aws.sts.as_deref())?;
    aws.ca_file = ca_file.map(|path| absolute("ca_file=", &path)).transpose()?;
    Ok(aws)
}

fn azure(pairs: &[String]) -> Result<AzureEntra, Fault> {
    let mut azure = AzureEntra::default();
    let (mut secret_file, mut ca_file) = (None, None);
    fill(
        "azure-entra",
        pairs,
        &mut [
            ("client_id", &mut azure.client_id),
            ("tenant", &mut azure.tenant),
            ("client_secret_file", &mut secret_file),
            ("resource", &mut azure.resource),
            ("endpoint", &mut azure.endpoint),
            ("ca_file", &mut ca_file),
        ],
    )?;
    check_url("endpoint", azure.endpoint.as_deref())?;
    azure.client_secret_file = secret_file.map(|path| absolute("client_secret_file=", &path)).transpose()?;
    azure.ca_file = ca_file.map(|path| absolute("ca_file=", &path)).transpose()?;
    let whole = azure.tenant.is_some() && azure.client_id.is_some();
    match (&azure.client_secret_file, &azure.tenant) {
        (Some(_), _) if !whole => {
            Err(said("client_secret_file= of azure-entra needs tenant= and client_id=".to_string()))
        }
        (None, Some(_)) => Err(said("tenant= of azure-entra needs client_secret_file=".to_string())),
        (Some(_), _) | (None, None) => Ok(azure),
    }
}

fn google(pairs: &[String]) -> Result<GoogleMetadata, Fault> {
    let mut google = GoogleMetadata::default();
    fill(
        "google-metadata",
        pairs,
        &mut [
            ("account", &mut google.account),
            ("scopes", &mut google.scopes),
            ("endpoint", &mut google.endpoint),
        ],
    )?;
    check_url("endpoint", google.endpoint.as_deref())?;
    Ok(google)
}

fn check_url(key: &str, url: Option<&str>) -> Result<(), Fault> {
    let fits = |url: &str| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    };
    match url {
        Some(url) if !fits(url) => Err(said(format!("{key}= wants http://HOST or https://HOST"))),
        Some(_) | None => Ok(()),
    }
}
