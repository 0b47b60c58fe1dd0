//! What goes wrong, in the words of OAuth (RFC 6749, 5.2 and 4.1.2.1; RFC 8707, 2).

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::store::StoreFault;

/// How long somebody waits before another try while the store does not answer, seconds.
const STORE_RETRY_S: u64 = 5;

/// The `error` of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OAuthError {
    InvalidRequest,
    InvalidClient,
    InvalidGrant,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
    InvalidScope,
    InvalidTarget,
    AccessDenied,
    LoginRequired,
    RequestNotSupported,
    RequestUriNotSupported,
    /// The store does not answer, or somebody asks too often.
    TemporarilyUnavailable,
}

impl OAuthError {
    /// As it is written.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            OAuthError::InvalidRequest => "invalid_request",
            OAuthError::InvalidClient => "invalid_client",
            OAuthError::InvalidGrant => "invalid_grant",
            OAuthError::UnauthorizedClient => "unauthorized_client",
            OAuthError::UnsupportedGrantType => "unsupported_grant_type",
            OAuthError::UnsupportedResponseType => "unsupported_response_type",
            OAuthError::InvalidScope => "invalid_scope",
            OAuthError::InvalidTarget => "invalid_target",
            OAuthError::AccessDenied => "access_denied",
            OAuthError::LoginRequired => "login_required",
            OAuthError::RequestNotSupported => "request_not_supported",
            OAuthError::RequestUriNotSupported => "request_uri_not_supported",
            OAuthError::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OAuthFault {
    pub(super) error: OAuthError,
    /// For who writes the application. Never anything that came from outside, so that nothing needs escaping.
    pub(super) why: Cow<'static, str>,
    /// When another try makes sense, in seconds, if it does; `429` then, for the store `503`.
    pub(super) retry: Retry,
}

/// Whether another try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// It does not.
    Never,
    /// Somebody asks too often; after so many seconds.
    TooOften(u64),
    /// The store does not answer.
    StoreDown,
}

impl OAuthFault {
    pub(super) fn new(error: OAuthError, why: impl Into<Cow<'static, str>>) -> OAuthFault {
        OAuthFault { error, why: why.into(), retry: Retry::Never }
    }

    pub(super) fn too_often(after_s: u64) -> OAuthFault {
        OAuthFault {
            error: OAuthError::TemporarilyUnavailable,
            why: "too many failures: wait before another try".into(),
            retry: Retry::TooOften(after_s),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match (self.retry, self.error) {
            (Retry::TooOften(_), _) => StatusCode::TOO_MANY_REQUESTS,
            (Retry::StoreDown, _) | (Retry::Never, OAuthError::TemporarilyUnavailable) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (Retry::Never, OAuthError::InvalidClient) => StatusCode::UNAUTHORIZED,
            (Retry::Never, OAuthError::AccessDenied) => StatusCode::FORBIDDEN,
            (
                Retry::Never,
                OAuthError::InvalidRequest
                | OAuthError::InvalidGrant
                | OAuthError::UnauthorizedClient
                | OAuthError::UnsupportedGrantType
                | OAuthError::UnsupportedResponseType
                | OAuthError::InvalidScope
                | OAuthError::InvalidTarget
                | OAuthError::LoginRequired
                | OAuthError::RequestNotSupported
                | OAuthError::RequestUriNotSupported,
            ) => StatusCode::BAD_REQUEST,
        }
    }

    /// After how many seconds another try makes sense.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        match self.retry {
            Retry::Never => None,
            Retry::TooOften(after_s) => Some(after_s),
            Retry::StoreDown => Some(STORE_RETRY_S),
        }
    }

    /// `error_description` may have printable ASCII without quotes and backslashes (RFC 6749, 5.2).
    pub(super) fn description(&self) -> String {
        let fits = |letter: char| matches!(letter, ' '..='~') && letter != '"' && letter != '\\';
        self.why.chars().map(|letter| if fits(letter) { letter } else { '\'' }).collect()
    }
}

impl From<StoreFault> for OAuthFault {
    /// What the store says of its database is for the log.
    fn from(fault: StoreFault) -> OAuthFault {
        tracing::warn!(fault = %fault, "the identity store refused what OAuth asked of it");
        OAuthFault {
            error: OAuthError::TemporarilyUnavailable,
            why: "the identity store does not answer".into(),
            retry: Retry::StoreDown,
        }
    }
}

impl IntoResponse for OAuthFault {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error.as_str(), "error_description": self.description() });
        let mut response = json_response(self.status(), &body);
        let headers = response.headers_mut();
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"plimsoll\""));
        }
        if let Some(after_s) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, after_s.into());
        }
        response
    }
}

/// An answer that nobody keeps (RFC 6749, 5.1).
pub(super) fn json_response(status: StatusCode, body: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("pragma", HeaderValue::from_static("no-cache"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
