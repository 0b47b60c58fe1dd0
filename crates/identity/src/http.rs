//! The HTTP API: what is below `/v1`, OAuth, and its description. A router without a listener: who listens, with which
//! limits of connections and time, is the program's choice; of a request only its size is bounded here.
//!
//! | module | part |
//! |---|---|
//! | `route` | routes as a table: the router and the description are made of the same |
//! | `openapi` | the description (OpenAPI 3.1) |
//! | `problem` | errors as they are told (RFC 9457) |
//! | `caller` | who asks, and what they may |
//! | `gate` | rate limits |
//! | `input` | bodies, queries, ids and preconditions, read with all their faults told |
//! | `answer` | what a successful request is answered |
//! | `once` | the same answer for the same `Idempotency-Key` |
//! | `query` | how lists are asked for |
//! | `rights` | who may do what with which noun |
//! | `resource` | the nouns: made, read, listed, replaced, removed |
//! | `keys`, `passwords`, `audit`, `authorize` | what is not like the others |
//! | `oauth` | tokens: the endpoints of OAuth, and the page at which people sign in |

mod answer;
mod audit;
mod authorize;
mod caller;
mod gate;
mod input;
mod keys;
mod oauth;
mod once;
mod openapi;
mod passwords;
mod problem;
mod query;
mod resource;
mod rights;
mod route;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::password::Passwords;
use crate::store::Store;
use crate::token::{Claims, Expected, TokenFault};

/// Where a request comes from (`Peer(SocketAddr)`): who listens puts it into the request's extensions.
pub use axum::extract::ConnectInfo as Peer;
pub use gate::{Rate, Rates};
pub use oauth::OAuthSetup;
pub use openapi::document;

use gate::Gate;
use problem::Problem;
use route::Route;

/// Longest body of a request, bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Tells the time and draws numbers.
pub trait Nature: Send + Sync {
    /// The time, milliseconds since 1970.
    fn now_ms(&self) -> i64;

    /// Fills with random bytes.
    ///
    /// # Errors
    /// The system has none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error>;
}

/// Hears that a key was used.
pub trait UseLog: Send + Sync {
    /// The key with that id was used, at a time (milliseconds since 1970) and from an address.
    fn used(&self, key_id: &str, now_ms: i64, from: &str);
}

/// What the API is made of.
pub struct HttpSetup {
    /// Where everything is kept.
    pub store: Store,
    /// Computes hashes of passwords.
    pub passwords: Passwords,
    /// Hears of used keys.
    pub uses: Arc<dyn UseLog>,
    /// Time and chance.
    pub nature: Arc<dyn Nature>,
    /// Rate limits.
    pub rates: Rates,
    /// Issues tokens and verifies them; `None`: nobody said under which URL, so there are none.
    pub oauth: Option<OAuthSetup>,
}

/// What every handler has. Clones are the same.
#[derive(Clone)]
pub struct HttpState(Arc<House>);

struct House {
    setup: HttpSetup,
    gate: Gate,
    /// The description, made once: everybody may ask for it.
    description: String,
}

impl HttpState {
    /// With what it is made of.
    pub fn new(setup: HttpSetup) -> HttpState {
        let gate = Gate::new(setup.rates);
        HttpState(Arc::new(House { setup, gate, description: document().to_string() }))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.setup.store
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.0.setup.passwords
    }

    /// What an access token of ours says, if it is good as far as it says itself. Whether its subject and key still are,
    /// is asked of the store afterwards.
    pub(crate) fn verify(&self, token: &str, now_s: i64) -> Result<Claims, TokenFault> {
        let oauth = self.oauth().ok_or(TokenFault::Issuer)?;
        oauth.signer.verifier().verify(token, &Expected { audience: &oauth.audience, now_s })
    }

    pub(crate) fn uses(&self) -> &dyn UseLog {
        self.0.setup.uses.as_ref()
    }

    pub(crate) fn oauth(&self) -> Option<&OAuthSetup> {
        self.0.setup.oauth.as_ref()
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    pub(crate) fn description(&self) -> &str {
        &self.0.description
    }

    /// The time, milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.setup.nature.now_ms()
    }

    /// Random bytes.
    pub(crate) fn chance<const N: usize>(&self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        match self.0.setup.nature.fill(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(fault) => {
                tracing::error!("the system gives no random numbers: {fault}");
                Err(Problem::unavailable())
            }
        }
    }
}

/// All routes. What is not there is answered with a problem as well (404, 405).
pub fn router(state: HttpState) -> Router {
    let router: Router<HttpState> = openapi::routes().into_iter().fold(Router::new(), Route::into_router);
    router
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(middleware::from_fn(finish))
        .with_state(state)
}

/// What every answer gets.
async fn finish(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
