//! Who asks about tokens: whoever the API knows by a key or a token (`Bearer`), or an application as at the token
//! endpoint.

use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};

use super::OAuth;
use super::ask::Ask;
use super::client::{Client, authenticate};
use super::fault::OAuthFault;
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::model::Scope;

/// Who asks.
pub(super) struct Asker {
    /// The application that asks, or for which a token is shown.
    app: String,
    org: String,
    scopes: Vec<Scope>,
    /// For the audit log.
    name: String,
    proof: Proof,
}

/// Whether it is proved who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is.
    Shown,
    /// An application that has nothing to show says its id.
    NameOnly,
}

/// Why it is not answered: as the API says it, or as OAuth does.
pub(super) enum Refusal {
    OAuth(OAuthFault),
    Api(Problem),
}

impl From<OAuthFault> for Refusal {
    fn from(fault: OAuthFault) -> Refusal {
        Refusal::OAuth(fault)
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Api(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::OAuth(fault) => fault.into_response(),
            Refusal::Api(problem) => problem.into_response(),
        }
    }
}

impl Asker {
    /// Finds out who asks.
    pub(super) async fn find(oauth: &OAuth, ask: &Ask) -> Result<Asker, Refusal> {
        let authorization = ask.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scheme = authorization.and_then(|text| text.split(' ').next()).unwrap_or_default();
        if scheme.eq_ignore_ascii_case("bearer") {
            let caller = Caller::find(&oauth.http, &ask.headers, ask.from).await?;
            return Ok(Asker::of_caller(caller));
        }
        Ok(Asker::of_client(authenticate(oauth, ask).await?))
    }

    fn of_caller(caller: Caller) -> Asker {
        Asker {
            app: caller.subject.to_string(),
            org: caller.org.to_string(),
            scopes: caller.scopes,
            name: caller.actor,
            proof: Proof::Shown,
        }
    }

    fn of_client(client: Client) -> Asker {
        let (name, proof) = match client.key_id() {
            Some(key_id) => (format!("key {key_id}"), Proof::Shown),
            None => (client.app.id.to_string(), Proof::NameOnly),
        };
        Asker {
            app: client.app.id.to_string(),
            org: client.org.id.to_string(),
            scopes: client.scopes().to_vec(),
            name,
            proof,
        }
    }

    /// Whether it is proved who asks.
    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// For the audit log.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may hear of a token that an application got for somebody of an organisation.
    pub(super) fn may_read(&self, client: &str, org: &str) -> bool {
        self.scopes.contains(&Scope::Authorize) || self.may_revoke(client, org)
    }

    /// Whether it may end such a token.
    pub(super) fn may_revoke(&self, client: &str, org: &str) -> bool {
        self.app == client
            || self.scopes.contains(&Scope::Admin)
            || (self.scopes.contains(&Scope::OrgAdmin) && self.org == org)
    }
}
