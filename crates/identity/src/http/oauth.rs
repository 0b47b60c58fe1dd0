//! OAuth 2: tokens for applications and for people who have signed in.
//!
//! | module | part |
//! |---|---|
//! | `token` | `POST /oauth/token`: RFC 6749 with PKCE (RFC 7636) and refresh tokens that rotate (RFC 9700) |
//! | `authorize` | `/oauth/authorize`: signing in and agreeing, to a code (RFC 6749, 4.1; RFC 9207) |
//! | `request` | what `/oauth/authorize` is asked for |
//! | `page` | its pages |
//! | `csrf` | the cookie and the word in a form that belong together |
//! | `introspect`, `revoke` | RFC 7662, RFC 7009 |
//! | `metadata` | RFC 8414, and our keys (RFC 7517) |
//! | `client` | which application asks |
//! | `asker` | who asks about tokens |
//! | `ask`, `params` | what a request says |
//! | `wanted` | scopes and audience |
//! | `kept` | codes and sign-ins in the store |
//! | `fault` | what goes wrong |

mod ask;
mod asker;
mod authorize;
mod client;
mod csrf;
mod fault;
mod introspect;
mod kept;
mod metadata;
mod page;
mod params;
mod request;
mod revoke;
mod token;
mod wanted;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::HttpState;
use super::gate::Count;
use super::problem::Problem;
use super::route::{Gives, Media, Proof, Route, Verb};
use crate::signer::Signer;
use crate::token::Claims;
use fault::{OAuthError, OAuthFault};

/// What OAuth is made of.
#[derive(Clone)]
pub struct OAuthSetup {
    /// Signs the tokens. Its URL is that of this API as browsers and applications reach it, without a `/` at the end.
    pub signer: Arc<Signer>,
    /// For whom tokens are issued.
    pub audience: Arc<str>,
}

/// What every handler has.
#[derive(Clone)]
pub(super) struct OAuth {
    http: HttpState,
    signer: Arc<Signer>,
    audience: Arc<str>,
}

impl FromRequestParts<HttpState> for OAuth {
    type Rejection = Problem;

    async fn from_request_parts(_: &mut Parts, state: &HttpState) -> Result<OAuth, Problem> {
        let setup = state.oauth().ok_or_else(|| Problem::missing("path: no issuer of tokens is set up"))?;
        let OAuthSetup { signer, audience } = setup.clone();
        Ok(OAuth { http: state.clone(), signer, audience })
    }
}

impl OAuth {
    fn now_s(&self) -> i64 {
        self.http.now_ms().div_euclid(1000)
    }

    fn chance<const N: usize>(&self) -> Result<[u8; N], OAuthFault> {
        self.http.chance().map_err(|_| {
            OAuthFault::new(OAuthError::TemporarilyUnavailable, "the system has no random numbers now")
        })
    }

    /// A path below our URL.
    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.signer.url())
    }

    /// Refuses what was done too often.
    fn look(&self, count: Count<'_>) -> Result<(), OAuthFault> {
        let now_ms = self.http.now_ms();
        self.http.gate().look(count, now_ms).map_err(|often| OAuthFault::too_often(often.retry_s))
    }

    /// Counts, and refuses what is done too often.
    fn take(&self, count: Count<'_>) -> Result<(), OAuthFault> {
        let now_ms = self.http.now_ms();
        self.http.gate().take(count, now_ms).map_err(|often| OAuthFault::too_often(often.retry_s))
    }

    /// Counts a failure, which was refused already.
    fn count(&self, count: Count<'_>) {
        let _ = self.http.gate().take(count, self.http.now_ms());
    }

    /// The claims of a token of ours that is good as far as it says itself; `None` of any other.
    fn read(&self, token: &str) -> Option<Claims> {
        self.http.verify(token, self.now_s()).ok()
    }
}

const PAGE: Media = Media { kind: "text/html", schema: None };

const fn form(schema: &'static str) -> Media {
    Media { kind: "application/x-www-form-urlencoded", schema: Some(schema) }
}

/// What the page is asked for by.
const SIGN_IN: [&str; 11] = [
    "responseType",
    "responseMode",
    "clientId",
    "redirectUri",
    "scope",
    "oauthState",
    "codeChallenge",
    "codeChallengeMethod",
    "resource",
    "audience",
    "prompt",
];

/// All routes, in the order of the description.
pub(super) fn routes() -> Vec<Route> {
    let gives = |status, why, media| Gives { status, why, media, headers: &[] };
    vec![
        Route::new(Verb::Post, "/oauth/token", token::token)
            .called("token", "Issue tokens (RFC 6749)")
            .proof(Proof::Client)
            .takes_media(form("TokenForm"))
            .gives(200, "An access token, and for people a refresh token.", "Tokens", &[]),
        Route::new(Verb::Get, "/oauth/authorize", authorize::show)
            .called("signIn", "Show the page at which people sign in (RFC 6749, 4.1)")
            .proof(Proof::Nothing)
            .parameters(&SIGN_IN)
            .gives_media(gives(200, "The page.", Some(PAGE)))
            .gives_media(gives(303, "Back to the application, with an error.", None)),
        Route::new(Verb::Post, "/oauth/authorize", authorize::submit)
            .called("submitSignIn", "Take what was entered at that page")
            .proof(Proof::Nothing)
            .takes_media(form("SignInForm"))
            .gives_media(gives(200, "The next page.", Some(PAGE)))
            .gives_media(gives(303, "Back to the application, with a code or an error.", None)),
        Route::new(Verb::Post, "/oauth/introspect", introspect::introspect)
            .called("introspect", "Tell whose a token is (RFC 7662)")
            .proof(Proof::Client)
            .takes_media(form("AboutTokenForm"))
            .gives(200, "What is known of it.", "TokenState", &[]),
        Route::new(Verb::Post, "/oauth/revoke", revoke::revoke)
            .called("revoke", "End a token (RFC 7009)")
            .proof(Proof::Client)
            .takes_media(form("AboutTokenForm"))
            .gives(200, "It has ended, or was none.", "Nothing", &[]),
        Route::new(Verb::Get, "/oauth/jwks", metadata::jwks)
            .called("jwks", "The public keys of tokens (RFC 7517)")
            .proof(Proof::Nothing)
            .gives(200, "A set of keys.", "KeySet", &[]),
        Route::new(Verb::Get, "/.well-known/oauth-authorization-server", metadata::metadata)
            .called("metadata", "Where everything of OAuth is (RFC 8414)")
            .proof(Proof::Nothing)
            .gives(200, "Addresses and abilities.", "ServerMetadata", &[]),
    ]
}
