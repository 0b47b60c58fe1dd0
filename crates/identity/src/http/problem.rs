//! Errors as they are told: `application/problem+json` (RFC 9457).

use std::fmt;

use axum::http::header::{CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::answer::etag;
use crate::store::StoreFault;

/// When to come again after the store was down, seconds.
const DOWN_RETRY_S: u64 = 5;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldFault>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one part of what was sent.
#[derive(Debug, Serialize)]
pub(crate) struct FieldFault {
    /// Which part.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// How it is written.
#[derive(Serialize)]
struct Text<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "<[FieldFault]>::is_empty")]
    errors: &'a [FieldFault],
}

impl Problem {
    /// Any: `code` is a word for programs, `title` says the same to people, `detail` what it is this time.
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl fmt::Display,
    ) -> Problem {
        Problem { status, code, title, detail: detail.to_string(), errors: Vec::new(), headers: Vec::new() }
    }

    /// The request is not one that is understood: 400.
    pub(crate) fn bad_request(detail: impl fmt::Display) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", "The request is not understood", detail)
    }

    /// It is not said, or not proved, who asks: 401. The same words for all that may be wrong.
    pub(crate) fn unauthenticated(detail: impl fmt::Display) -> Problem {
        let title = "Who asks is not known";
        Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", title, detail)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"plimsoll\""))
    }

    /// Who asks may not: 403.
    pub(crate) fn forbidden(detail: impl fmt::Display) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "Who asks may not do this", detail)
    }

    /// There is no such thing: 404.
    pub(crate) fn missing(what: &str) -> Problem {
        let detail = format!("there is no such {what}");
        Problem::new(StatusCode::NOT_FOUND, "missing", "There is no such thing", detail)
    }

    /// It contradicts what is there: 409.
    pub(crate) fn conflict(detail: impl fmt::Display) -> Problem {
        Problem::new(StatusCode::CONFLICT, "conflict", "It contradicts what is there", detail)
    }

    /// It has been changed in between: 412. `version` is what it has now.
    pub(crate) fn stale(version: i64) -> Problem {
        let detail = format!("it has been changed in between: its ETag is {} now", etag(version));
        let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "stale", "It has been changed", detail);
        match HeaderValue::from_str(&etag(version)) {
            Ok(value) => problem.with(ETAG, value),
            Err(_) => problem,
        }
    }

    /// A part of what was sent is wrong: 422.
    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Problem {
        let (field, why) = (field.into(), why.into());
        let detail = if field.is_empty() { why.clone() } else { format!("{field}: {why}") };
        let title = "A part of what was sent is not right";
        let mut problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", title, detail);
        problem.errors.push(FieldFault { field, why });
        problem
    }

    /// Too often: 429.
    pub(crate) fn too_many(detail: impl fmt::Display, retry_s: u64) -> Problem {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", "Too many requests", detail)
            .retry_after(retry_s)
    }

    /// The store does not answer: 503.
    pub(crate) fn unavailable() -> Problem {
        let detail = "the identity store does not answer now";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now", detail)
            .retry_after(DOWN_RETRY_S)
    }

    /// With a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// With the time after which another try makes sense, seconds.
    pub(crate) fn retry_after(self, seconds: u64) -> Problem {
        self.with(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Problem {
        match fault {
            StoreFault::Missing { what } => Problem::missing(what),
            StoreFault::Conflict { why } => Problem::conflict(why),
            StoreFault::Stale { version } => Problem::stale(version),
            StoreFault::Invalid { field, why } => Problem::invalid(field, why),
            fault @ (StoreFault::Absent { .. } | StoreFault::Unusable { .. } | StoreFault::Down(_)) => {
                tracing::warn!("identity API: {fault}");
                Problem::unavailable()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let text = Text {
            kind: format!("urn:plimsoll:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            errors: &self.errors,
        };
        let body = serde_json::to_vec(&text).expect("texts and a number are always JSON");
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

pub(super) async fn no_such_path() -> Problem {
    Problem::missing("path")
}

pub(super) async fn no_such_method() -> Problem {
    let title = "This path knows other methods only";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method", title, "see the header Allow")
}
