//! The keys to sign with, from the places where AWS' own tools look: environment variables, a web identity, the
//! container's credentials, the machine's metadata service (AWS SDKs Reference Guide, "Credential provider chain").

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use plimsoll_types::Secret;
use serde::Deserialize;

use crate::expiry::Written;
use crate::fetch::{Environment, Failure};
use crate::file;
use crate::http::{self, Ask};
use crate::source::AwsRdsIam;

/// The metadata service of a machine, and the one of a container.
const METADATA: &str = "http://169.254.169.254";
const CONTAINER: &str = "http://169.254.170.2";
/// How long a session with the metadata service may last, seconds: one fetch.
const SESSION_SECONDS: &str = "60";

/// What a request is signed with.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) id: String,
    pub(super) secret: Secret,
    /// Of keys that end.
    pub(super) session: Option<Secret>,
    /// How long they are good for; `None`: nobody knows of an end.
    pub(super) life: Option<Duration>,
}

/// As the metadata services write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    access_key_id: String,
    secret_access_key: String,
    #[serde(alias = "SessionToken")]
    token: Option<String>,
    expiration: Option<Written>,
}

impl Told {
    fn keys(self) -> Result<Keys, Failure> {
        let life = self.expiration.map(|at| at.life_at(SystemTime::now())).transpose();
        let life = life.map_err(|_| Failure("Expiration of the keys is not a time".to_string()))?;
        Ok(Keys {
            id: self.access_key_id,
            secret: Secret::new(self.secret_access_key.into_bytes()),
            session: self.token.map(|token| Secret::new(token.into_bytes())),
            life,
        })
    }
}

/// The first place that is named by the environment counts, the machine's is the last.
pub(super) async fn find(
    settings: &AwsRdsIam,
    region: &str,
    environment: &Environment,
) -> Result<Keys, Failure> {
    if let Some(keys) = of_environment(environment) {
        return Ok(keys);
    }
    let web = (environment.var("AWS_WEB_IDENTITY_TOKEN_FILE"), environment.var("AWS_ROLE_ARN"));
    if let (Some(token_file), Some(role)) = web {
        return of_web_identity(settings, region, environment, (token_file, role)).await;
    }
    let relative = environment.var("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let relative = relative.map(|path| format!("{}{path}", endpoint(settings, CONTAINER)));
    let full = environment.var("AWS_CONTAINER_CREDENTIALS_FULL_URI").map(str::to_string);
    match relative.or(full) {
        Some(url) => of_container(&url, environment).await,
        None => of_machine(endpoint(settings, METADATA)).await,
    }
}

fn endpoint<'a>(settings: &'a AwsRdsIam, usual: &'a str) -> &'a str {
    settings.endpoint.as_deref().unwrap_or(usual).trim_end_matches('/')
}

fn of_environment(environment: &Environment) -> Option<Keys> {
    let id = environment.var("AWS_ACCESS_KEY_ID")?.to_string();
    let secret = Secret::from_text(environment.var("AWS_SECRET_ACCESS_KEY")?);
    let session = environment.var("AWS_SESSION_TOKEN").map(Secret::from_text);
    Some(Keys { id, secret, session, life: None })
}

/// AssumeRoleWithWebIdentity (AWS Security Token Service API Reference): the token is the proof, nothing is signed.
async fn of_web_identity(
    settings: &AwsRdsIam,
    region: &str,
    environment: &Environment,
    (token_file, role): (&str, &str),
) -> Result<Keys, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Response {
        assume_role_with_web_identity_response: ResultOf,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ResultOf {
        assume_role_with_web_identity_result: CredentialsOf,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct CredentialsOf {
        credentials: Told,
    }
    let token = file::fetch(PathBuf::from(token_file)).await?.secret;
    let token = token.expose_text().ok_or_else(|| Failure("the web identity is not UTF-8".to_string()))?;
    let usual = format!("https://sts.{region}.amazonaws.com");
    let url = format!("{}/", settings.sts.as_deref().unwrap_or(&usual).trim_end_matches('/'));
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role),
        ("RoleSessionName", environment.var("AWS_ROLE_SESSION_NAME").unwrap_or("plimsoll")),
        ("WebIdentityToken", token),
    ];
    let ask = Ask { ca_file: settings.ca_file.as_ref(), ..Ask::form(&url, &form) };
    let response: Response = http::json(ask.header("accept", "application/json")).await?;
    response.assume_role_with_web_identity_response.assume_role_with_web_identity_result.credentials.keys()
}

async fn of_container(url: &str, environment: &Environment) -> Result<Keys, Failure> {
    let file = environment.var("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let token = match file {
        Some(path) => Some(file::fetch(PathBuf::from(path)).await?.secret),
        None => environment.var("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::from_text),
    };
    let ask = Ask::get(url);
    let ask = match token.as_ref().and_then(Secret::expose_text) {
        Some(token) => ask.header("authorization", token),
        None => ask,
    };
    http::json::<Told>(ask).await?.keys()
}

/// The metadata service with a session (Amazon EC2 User Guide, "Instance Metadata Service Version 2").
async fn of_machine(endpoint: &str) -> Result<Keys, Failure> {
    const SESSION: &str = "x-aws-ec2-metadata-token";
    let url = format!("{endpoint}/latest/api/token");
    let ask = Ask::put(&url).header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
    let session = http::text(ask).await?;
    let roles = format!("{endpoint}/latest/meta-data/iam/security-credentials/");
    let listed = http::text(Ask::get(&roles).header(SESSION, session.as_str())).await?;
    let role = listed.lines().map(str::trim).find(|line| !line.is_empty());
    let role = role.ok_or_else(|| Failure(format!("{roles}: the machine has no role")))?;
    let url = format!("{roles}{}", http::encoded(role));
    http::json::<Told>(Ask::get(&url).header(SESSION, session)).await?.keys()
}

#[cfg(test)]
mod tests;
