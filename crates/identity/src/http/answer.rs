//! What a successful request is answered.

use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// The entity tag of a version.
pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// An answer, complete: it can be kept and given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<serde_json::Value>,
}

impl Answer {
    /// 200 with something.
    pub(crate) fn ok(body: &impl Serialize) -> Answer {
        Answer { status: 200, location: None, version: None, body: Some(json(body)) }
    }

    /// 201 with something new that is to be found there.
    pub(crate) fn created(body: &impl Serialize, location: String) -> Answer {
        Answer { status: 201, location: Some(location), version: None, body: Some(json(body)) }
    }

    /// 204.
    pub(crate) fn done() -> Answer {
        Answer { status: 204, location: None, version: None, body: None }
    }

    /// 304: it is as it was.
    pub(crate) fn same() -> Answer {
        Answer { status: 304, location: None, version: None, body: None }
    }

    /// With the version of what it is about, as ETag.
    pub(crate) fn version(self, version: i64) -> Answer {
        Answer { version: Some(version), ..self }
    }
}

fn json(body: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(body).expect("our own types have text keys and no failing Serialize")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let body = self.body.map(|body| body.to_string());
        let has_body = body.is_some();
        let mut response = (status, body.unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.remove(CONTENT_TYPE);
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        // Locations and versions are made of ids and numbers: they are always headers.
        if let Some(value) = self.location.and_then(|path| HeaderValue::from_str(&path).ok()) {
            headers.insert(LOCATION, value);
        }
        if let Some(value) = self.version.and_then(|version| HeaderValue::from_str(&etag(version)).ok()) {
            headers.insert(ETAG, value);
        }
        response
    }
}
