//! Bodies, queries, ids and preconditions: read with a problem for each fault.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query as AxumQuery, Request};
use axum::http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use serde::de::{DeserializeOwned, IgnoredAny};
use sha2::{Digest, Sha256};

use super::answer::etag;
use super::problem::Problem;
use super::{BODY_BYTES_MAX, HttpState};

/// A body of JSON.
#[derive(Debug)]
pub(crate) struct Json<T> {
    /// What it says.
    pub(crate) value: T,
    /// The hash of its bytes.
    pub(crate) sha256: [u8; 32],
}

impl<T: DeserializeOwned> FromRequest<HttpState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &HttpState) -> Result<Json<T>, Problem> {
        check_media(request.headers(), "application/json")?;
        let bytes = read_body(request.into_body()).await?;
        // Whether it is JSON at all comes first; an array would be read as a struct without names.
        serde_json::from_slice::<IgnoredAny>(&bytes)
            .map_err(|fault| Problem::bad_request(format!("the body is not JSON: {fault}")))?;
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::invalid("", "the body is a JSON object"));
        }
        let value =
            serde_json::from_slice(&bytes).map_err(|fault| Problem::invalid("", fault.to_string()))?;
        Ok(Json { value, sha256: Sha256::digest(&bytes).into() })
    }
}

/// Refuses another media type than the wanted one (415); what follows a semicolon is not looked at.
pub(crate) fn check_media(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case(wanted) {
        Ok(())
    } else {
        let title = "The body is of another kind than is wanted";
        let detail = format!("the header Content-Type has to be {wanted}");
        Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", title, detail))
    }
}

/// The body, of which no more than [`BODY_BYTES_MAX`] is read.
pub(crate) async fn read_body(body: Body) -> Result<axum::body::Bytes, Problem> {
    to_bytes(body, BODY_BYTES_MAX).await.map_err(|fault| {
        let too_long = std::error::Error::source(&fault)
            .is_some_and(|source| source.to_string().contains("length limit"));
        if too_long {
            let detail = format!("it has at most {BODY_BYTES_MAX} bytes");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is too large", detail)
        } else {
            Problem::bad_request("the body was cut off")
        }
    })
}

/// The query of the URL. Unknown and repeated names are faults.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<HttpState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> Result<Query<T>, Problem> {
        let AxumQuery(query) =
            AxumQuery::try_from_uri(&parts.uri).map_err(|fault| Problem::bad_request(fault.body_text()))?;
        Ok(Query(query))
    }
}

/// What is in the place of `{id}`. It may be anything: what is no id, is nothing that there is.
#[derive(Debug)]
pub(crate) struct PathText(pub(crate) String);

impl FromRequestParts<HttpState> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<PathText, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(PathText(text)),
            Err(_) => Err(Problem::missing("path")),
        }
    }
}

/// Which version of something is meant (`If-Match`, RFC 9110, 13.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// Nothing is said.
    Unsaid,
    /// Whichever it is.
    Any,
    /// This one.
    Version(i64),
    /// One that there never was.
    Never,
}

impl IfMatch {
    /// Compares with the version that there is.
    pub(crate) fn check(self, version: i64) -> Result<(), Problem> {
        match self {
            IfMatch::Unsaid | IfMatch::Any => Ok(()),
            IfMatch::Version(expected) if expected == version => Ok(()),
            IfMatch::Version(_) | IfMatch::Never => Err(Problem::stale(version)),
        }
    }

    /// Refuses when nothing is said (428, RFC 6585, 3).
    pub(crate) fn need(self) -> Result<IfMatch, Problem> {
        match self {
            IfMatch::Unsaid => {
                let title = "It is not said which version is meant";
                let detail = "the header If-Match has to have the ETag of what is to be replaced";
                Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, "unconditional", title, detail))
            }
            IfMatch::Any | IfMatch::Version(_) | IfMatch::Never => Ok(self),
        }
    }
}

impl FromRequestParts<HttpState> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> Result<IfMatch, Problem> {
        let Some(text) = single(&parts.headers, &IF_MATCH)? else { return Ok(IfMatch::Unsaid) };
        if text == "*" {
            return Ok(IfMatch::Any);
        }
        if text.contains(',') {
            return Err(Problem::bad_request("one ETag is wanted in If-Match"));
        }
        let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let version = number.and_then(|number| number.parse().ok()).filter(|version| etag(*version) == text);
        Ok(version.map_or(IfMatch::Never, IfMatch::Version))
    }
}

/// Which versions who asks has already (`If-None-Match`, RFC 9110, 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IfNoneMatch(Option<String>);

impl IfNoneMatch {
    /// Whether that version is one of them.
    pub(crate) fn has(&self, version: i64) -> bool {
        let Some(text) = &self.0 else { return false };
        let tag = etag(version);
        text.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    }
}

impl FromRequestParts<HttpState> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> Result<IfNoneMatch, Problem> {
        Ok(IfNoneMatch(single(&parts.headers, &IF_NONE_MATCH)?.map(str::to_owned)))
    }
}

/// The value of a header which may be there once.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text.trim())),
            Err(_) => Err(Problem::bad_request(format!("the header {name} is no ASCII text"))),
        },
        (Some(_), Some(_)) => Err(Problem::bad_request(format!("the header {name} is there twice"))),
    }
}
