//! What `/oauth/authorize` is asked for (RFC 6749, 4.1.1, with RFC 7636, 4.3). Pure.
//!
//! As long as it is not sure that the application and the address to go back to are real and belong together, nobody is
//! sent anywhere: what is wrong then is told on a page. After that it is told to the application.

use super::fault::{OAuthError, OAuthFault};
use super::params::{Params, with_query};
use super::wanted;
use crate::model::{AppData, Scope};
use crate::token::challenge_is_well_formed;

/// Longest `state`, bytes.
const STATE_BYTES_MAX: usize = 2048;

/// What of a request goes along with the form.
const CARRIED: [&str; 11] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "audience",
    "prompt",
];

/// A request that can be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The challenge of PKCE.
    pub(super) challenge: String,
    /// What the tokens shall be for, as far as whoever signs in may.
    pub(super) scopes: Vec<Scope>,
    /// For whom they are.
    pub(super) audience: String,
}

/// Where somebody is sent back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Return<'a> {
    uri: &'a str,
    state: Option<&'a str>,
    issuer: &'a str,
}

fn invalid(why: &'static str) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidRequest, why)
}

impl<'a> Return<'a> {
    /// Where a request may be sent back to: the address is one of the application's, letter by letter.
    ///
    /// # Errors
    /// It is none of them. It is told on a page.
    pub(super) fn find(params: &'a Params, app: &AppData, issuer: &'a str) -> Result<Return<'a>, OAuthFault> {
        let uri = params.wanted("redirect_uri", "redirect_uri is missing")?;
        if !app.redirect_uris.iter().any(|known| known == uri) {
            return Err(invalid("redirect_uri is none of the addresses that the application is known with"));
        }
        // One too long is not sent back: an application that does not hear its own does not go on.
        let state = params.find("state").filter(|state| state.len() <= STATE_BYTES_MAX);
        Ok(Return { uri, state, issuer })
    }

    /// Back with something.
    fn with(&self, name: &str, value: &str, more: Option<(&str, &str)>) -> String {
        let mut params = vec![(name, value)];
        params.extend(more);
        params.extend(self.state.map(|state| ("state", state)));
        // RFC 9207: who speaks with several issuers knows which one this is from.
        params.push(("iss", self.issuer));
        with_query(self.uri, &params)
    }

    /// Back with a code.
    pub(super) fn with_code(&self, code: &str) -> String {
        self.with("code", code, None)
    }

    /// Back with what is wrong.
    pub(super) fn with_fault(&self, fault: &OAuthFault) -> String {
        self.with("error", fault.error.as_str(), Some(("error_description", &fault.description())))
    }

    /// The address without anything added.
    pub(super) fn uri(&self) -> &'a str {
        self.uri
    }

    /// Scheme, host and port, for people and for the policy of the page; `None`: something else.
    pub(super) fn origin(&self) -> Option<&'a str> {
        let host_at = self.uri.find("://")? + 3;
        let host = self.uri.get(host_at..)?.split(['/', '?']).next()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return None;
        }
        self.uri.get(..host_at + host.len())
    }
}

impl Request {
    /// What is asked for.
    ///
    /// # Errors
    /// It is not understood, or not granted this way. It is told to the application.
    pub(super) fn read(params: &Params, audience: &str) -> Result<Request, OAuthFault> {
        let fault = |error, why: &'static str| Err(OAuthFault::new(error, why));
        if params.find("state").is_some_and(|state| state.len() > STATE_BYTES_MAX) {
            return Err(invalid("state is longer than 2048 bytes"));
        }
        if params.find("request").is_some() {
            return fault(OAuthError::RequestNotSupported, "request objects are not supported");
        }
        if params.find("request_uri").is_some() {
            return fault(OAuthError::RequestUriNotSupported, "request objects are not supported");
        }
        match params.find("response_type") {
            Some("code") => {}
            Some(_) => {
                return fault(OAuthError::UnsupportedResponseType, "response_type: there is code only");
            }
            None => return Err(invalid("response_type is missing")),
        }
        if params.find("response_mode").is_some_and(|mode| mode != "query") {
            return Err(invalid("response_mode: there is query only"));
        }
        let challenge = params.wanted("code_challenge", "code_challenge is missing: PKCE is not optional")?;
        if params.find("code_challenge_method") != Some("S256") {
            return Err(invalid("code_challenge_method has to be S256"));
        }
        if !challenge_is_well_formed(challenge) {
            return Err(invalid("code_challenge is not a SHA-256 in base64url (43 characters)"));
        }
        let scopes = wanted::scopes(params.find("scope"))?;
        wanted::check_audience(params, audience)?;
        let audience = audience.to_owned();
        if params.find("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "none")) {
            return fault(OAuthError::LoginRequired, "nobody is signed in without being asked");
        }
        Ok(Request { challenge: challenge.to_owned(), scopes, audience })
    }
}

/// What of a request goes along with the form.
pub(super) fn carried(params: &Params) -> Vec<(&'static str, &str)> {
    CARRIED.into_iter().filter_map(|name| params.find(name).map(|value| (name, value))).collect()
}

#[cfg(test)]
mod tests;
