//! What is public: our keys (RFC 7517), and where everything is (RFC 8414).

use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use serde_json::json;

use super::OAuth;
use super::fault::json_response;
use crate::model::Scope;
use crate::token::Alg;

/// How long others may keep it: well under the hour that a new key is published before it signs.
const KEPT: HeaderValue = HeaderValue::from_static("public, max-age=900");

/// `GET /oauth/jwks`.
pub(super) async fn jwks(oauth: OAuth) -> Response {
    let keys = serde_json::from_str(&oauth.signer.jwks()).unwrap_or_else(|_| json!({ "keys": [] }));
    public(&keys)
}

/// `GET /.well-known/oauth-authorization-server`.
pub(super) async fn metadata(oauth: OAuth) -> Response {
    let algorithms: Vec<&str> = Alg::ALL.into_iter().map(Alg::as_str).collect();
    let methods = ["client_secret_basic", "private_key_jwt"];
    let scopes: Vec<&str> = Scope::ALL.into_iter().map(Scope::as_str).collect();
    public(&json!({
        "issuer": oauth.signer.url(),
        "authorization_endpoint": oauth.address("/oauth/authorize"),
        "token_endpoint": oauth.address("/oauth/token"),
        "introspection_endpoint": oauth.address("/oauth/introspect"),
        "revocation_endpoint": oauth.address("/oauth/revoke"),
        "jwks_uri": oauth.address("/oauth/jwks"),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "introspection_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt", "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

fn public(body: &serde_json::Value) -> Response {
    let mut response = json_response(StatusCode::OK, body);
    response.headers_mut().insert(CACHE_CONTROL, KEPT);
    response.headers_mut().remove("pragma");
    response
}
