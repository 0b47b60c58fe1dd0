//! Amazon RDS: a token that is signed here, for one host, port and role (Amazon RDS User Guide, "IAM database
//! authentication": a presigned request `connect` of `rds-db`, without its scheme; it is good for 15 minutes).

mod keys;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use plimsoll_types::Secret;

use crate::fetch::{Environment, Failure};
use crate::http::encoded;
use crate::lease::Fetched;
use crate::source::{AwsRdsIam, Login};

use keys::Keys;

/// How long RDS takes a token for good.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// Signs a token with the keys that the environment or the machine has.
pub(crate) async fn fetch(
    settings: &AwsRdsIam,
    login: &Login,
    environment: &Environment,
) -> Result<Fetched, Failure> {
    let region = region(settings, environment)?;
    let keys = keys::find(settings, &region, environment).await?;
    token(&keys, &region, settings, login, SystemTime::now())
}

fn region(settings: &AwsRdsIam, environment: &Environment) -> Result<String, Failure> {
    let known = settings.region.as_deref();
    let known = known.or_else(|| environment.var("AWS_REGION"));
    let known = known.or_else(|| environment.var("AWS_DEFAULT_REGION"));
    known
        .map(str::to_string)
        .ok_or_else(|| Failure("no region: write region= behind aws-rds-iam, or set AWS_REGION".to_string()))
}

/// The token, and how long it is good for: not longer than the keys it is signed with.
fn token(
    keys: &Keys,
    region: &str,
    settings: &AwsRdsIam,
    login: &Login,
    wall: SystemTime,
) -> Result<Fetched, Failure> {
    let host = settings.host.as_deref().unwrap_or(&login.host);
    if host.starts_with(['/', '@']) || host.is_empty() {
        return Err(Failure(
            "a Unix socket has no host name to sign: write host= behind aws-rds-iam".to_string(),
        ));
    }
    let port = settings.port.unwrap_or(login.port);
    let mut url = format!("https://{host}:{port}/?Action=connect&DBUser={}", encoded(&login.role));
    let identity = Credentials::new(
        keys.id.as_str(),
        text(&keys.secret),
        keys.session.as_ref().map(|session| text(session).to_string()),
        None,
        "plimsoll",
    )
    .into();
    let mut signing = SigningSettings::default();
    signing.expires_in = Some(TOKEN_LIFE);
    signing.signature_location = SignatureLocation::QueryParams;
    let failed = |why: String| Failure(format!("cannot sign a token: {why}"));
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(wall)
        .settings(signing)
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let request = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]));
    let request = request.map_err(|error| failed(error.to_string()))?;
    let signed = sign(request, &params.into()).map_err(|error| failed(error.to_string()))?;
    let (instructions, _signature) = signed.into_parts();
    for (name, value) in instructions.params() {
        url.push_str(&format!("&{}={}", encoded(name), encoded(value)));
    }
    let token = url.strip_prefix("https://").unwrap_or(&url);
    let life = keys.life.map_or(TOKEN_LIFE, |life| life.min(TOKEN_LIFE));
    Ok(Fetched { secret: Secret::from_text(token), life: Some(life) })
}

/// Keys come as text, so they are one.
fn text(secret: &Secret) -> &str {
    secret.expose_text().unwrap_or_default()
}

#[cfg(test)]
mod tests;
