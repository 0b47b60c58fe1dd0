//! Cloud SQL: an access token of the machine's service account (Google Cloud, "Access tokens" of the metadata server,
//! and "Cloud SQL IAM database authentication": the token is the password).

use crate::expiry::Token;
use crate::fetch::Failure;
use crate::http::{self, Ask};
use crate::lease::Fetched;
use crate::source::GoogleMetadata;

const ENDPOINT: &str = "http://169.254.169.254";

/// Asks for a token.
pub(crate) async fn fetch(settings: &GoogleMetadata) -> Result<Fetched, Failure> {
    let endpoint = settings.endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/');
    let account = http::encoded(settings.account.as_deref().unwrap_or("default"));
    let scopes = settings.scopes.as_deref().map(|scopes| format!("?scopes={}", http::encoded(scopes)));
    let scopes = scopes.unwrap_or_default();
    let url = format!("{endpoint}/computeMetadata/v1/instance/service-accounts/{account}/token{scopes}");
    http::json::<Token>(Ask::get(&url).header("metadata-flavor", "Google")).await?.fetched()
}
