//! Azure Database for PostgreSQL: an access token of Microsoft Entra, which is the password. Of the machine's identity
//! (the Instance Metadata Service), or of an application (RFC 6749, section 4.4).

use crate::expiry::Token;
use crate::fetch::Failure;
use crate::file;
use crate::http::{self, Ask};
use crate::lease::Fetched;
use crate::source::{AzureEntra, ClientSecret};

const METADATA: &str = "http://169.254.169.254";
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// What a token for Azure Database for PostgreSQL is for.
const RESOURCE: &str = "https://ossrdbms-aad.database.windows.net";

/// Asks for a token.
pub(crate) async fn fetch(settings: &AzureEntra) -> Result<Fetched, Failure> {
    let token = match &settings.secret {
        None => of_machine(settings).await?,
        Some(secret) => of_application(settings, secret).await?,
    };
    token.fetched()
}

async fn of_machine(settings: &AzureEntra) -> Result<Token, Failure> {
    let endpoint = settings.endpoint.as_deref().unwrap_or(METADATA).trim_end_matches('/');
    let resource = http::encoded(settings.resource.as_deref().unwrap_or(RESOURCE));
    let client = settings.client_id.as_deref().map(|id| format!("&client_id={}", http::encoded(id)));
    let client = client.unwrap_or_default();
    let query = format!("api-version=2018-02-01&resource={resource}{client}");
    let url = format!("{endpoint}/metadata/identity/oauth2/token?{query}");
    let ask = Ask { ca_file: settings.ca_file.as_ref(), ..Ask::get(&url) };
    http::json(ask.header("metadata", "true")).await
}

async fn of_application(settings: &AzureEntra, secret: &ClientSecret) -> Result<Token, Failure> {
    let authority = settings.endpoint.as_deref().unwrap_or(AUTHORITY).trim_end_matches('/');
    let known = file::fetch(secret.file.clone()).await?.secret;
    let known = known.expose_text().ok_or_else(|| Failure("the client's secret is not UTF-8".to_string()))?;
    let url = format!("{authority}/{}/oauth2/v2.0/token", http::encoded(&secret.tenant));
    let scope = format!("{}/.default", settings.resource.as_deref().unwrap_or(RESOURCE));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &secret.client_id),
        ("client_secret", known),
        ("scope", &scope),
    ];
    http::json(Ask { ca_file: settings.ca_file.as_ref(), ..Ask::form(&url, &form) }).await
}
