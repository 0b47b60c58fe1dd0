//! What every OAuth request is read into.

use std::net::IpAddr;

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method};

use super::fault::{OAuthError, OAuthFault};
use super::params::{PARAMS_BYTES_MAX, Params};
use crate::http::HttpState;
use crate::http::caller::address_of;
use crate::http::input::read_body;

/// A request that carries its parameters in its body (RFC 6749, 3.2), or, if it is a GET, in its address.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) headers: HeaderMap,
    pub(super) from: IpAddr,
    pub(super) params: Params,
}

impl FromRequest<HttpState> for Ask {
    type Rejection = OAuthFault;

    async fn from_request(request: Request, _: &HttpState) -> Result<Ask, OAuthFault> {
        let from = address_of(request.extensions());
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let params = Params::parse(request.uri().query().unwrap_or_default())?;
            return Ok(Ask { headers: request.headers().clone(), from, params });
        }
        // Parameters of a POST in its address would stay in the logs of whoever is in between.
        if request.uri().query().is_some_and(|query| !query.is_empty()) {
            return Err(invalid("the parameters of a POST belong into its body"));
        }
        if !is_form(request.headers()) {
            return Err(invalid("the body has to be application/x-www-form-urlencoded"));
        }
        let headers = request.headers().clone();
        let bytes = read_body(request.into_body())
            .await
            .ok()
            .filter(|bytes| bytes.len() <= PARAMS_BYTES_MAX)
            .ok_or_else(|| invalid("the body is too long, or did not arrive"))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid("the body is no text"))?;
        Ok(Ask { headers, from, params: Params::parse(text)? })
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn invalid(why: &'static str) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidRequest, why)
}
