//! Who asks, and what they may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap};
use sha2::{Digest, Sha256};

use super::gate::{Count, TooOften};
use super::problem::Problem;
use super::{HttpState, Peer};
use crate::id::{Id, Kind};
use crate::key::{Key, NO_SECRET, ParsedKey, looks_like_key};
use crate::model::Scope;
use crate::rules::{around_good, credential_good, subject_good};
use crate::store::{Holder, KeyFacts, Store, StoreFault, SubjectFacts, Who};
use crate::token::Claims;

/// Who asks, proved.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The application or user.
    pub(crate) subject: Id,
    /// Its organisation.
    pub(crate) org: Id,
    /// What it may.
    pub(crate) scopes: Vec<Scope>,
    /// For the audit log: an id or `key KEYID`.
    pub(crate) actor: String,
    /// The address.
    pub(crate) from: String,
    /// When the request came, milliseconds since 1970.
    pub(crate) now_ms: i64,
    /// The hash of what was presented: a secret that is not in the store, so that things can be sealed with it.
    pub(super) presented_sha256: [u8; 32],
}

impl Caller {
    /// For the audit log.
    pub(crate) fn who(&self) -> Who<'_> {
        Who { actor: &self.actor, from: &self.from, now_ms: self.now_ms }
    }

    pub(crate) fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whoever may everything.
    pub(crate) fn need_admin(&self) -> Result<(), Problem> {
        if self.has(Scope::Admin) { Ok(()) } else { Err(Problem::forbidden("this needs the scope admin")) }
    }

    /// Whoever may everything, or everything within that organisation.
    pub(crate) fn need_org(&self, org: &Id) -> Result<(), Problem> {
        if self.has(Scope::Admin) || (self.has(Scope::OrgAdmin) && self.org == *org) {
            Ok(())
        } else {
            Err(Problem::forbidden(
                "this needs the scope admin, or org_admin of the organisation it belongs to",
            ))
        }
    }

    /// Whoever may ask about others.
    pub(crate) fn need_authorize(&self) -> Result<(), Problem> {
        if self.has(Scope::Admin) || self.has(Scope::Authorize) {
            Ok(())
        } else {
            Err(Problem::forbidden("this needs the scope authorize or admin"))
        }
    }

    /// Whether something with those scopes may be made, changed or removed: nobody gives, or takes over, more than they
    /// have. `authorize` tells of all organisations, so an administrator of one does not give it.
    pub(crate) fn need_over(&self, scopes: &[Scope]) -> Result<(), Problem> {
        let within = |scope: &Scope| match scope {
            Scope::OrgAdmin => true,
            Scope::Admin | Scope::Authorize => false,
        };
        if self.has(Scope::Admin) || scopes.iter().all(within) {
            Ok(())
        } else {
            Err(Problem::forbidden("what has the scopes admin or authorize is in the hands of scope admin"))
        }
    }
}

impl FromRequestParts<HttpState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &HttpState) -> Result<Caller, Problem> {
        Caller::find(state, &parts.headers, address(parts)).await
    }
}

impl Caller {
    /// Finds out who asks from an address, by the header `Authorization`.
    pub(crate) async fn find(
        state: &HttpState,
        headers: &HeaderMap,
        from: IpAddr,
    ) -> Result<Caller, Problem> {
        let presented = bearer(headers)?;
        let now_ms = state.now_ms();
        if looks_like_key(presented) {
            let facts = known_key(state, from, presented, now_ms).await?;
            Caller::of_key(state, from, presented, facts, now_ms)
        } else {
            Caller::of_token(state, from, presented, now_ms).await
        }
    }

    /// Whoever has a key; [`known_key`] has looked at it.
    pub(crate) fn of_key(
        state: &HttpState,
        from: IpAddr,
        presented: &str,
        facts: KeyFacts,
        now_ms: i64,
    ) -> Result<Caller, Problem> {
        let KeyFacts { credential, secret_sha256: _, subject } = facts;
        let key_id = &credential.key_id;
        state.gate().take(Count::Requests(key_id), now_ms).map_err(too_often)?;
        Ok(Caller {
            subject: subject.holder.id().clone(),
            org: subject.org.id.clone(),
            scopes: credential.data.scopes,
            actor: format!("key {key_id}"),
            from: from.to_string(),
            now_ms,
            presented_sha256: Sha256::digest(presented).into(),
        })
    }

    async fn of_token(
        state: &HttpState,
        from: IpAddr,
        presented: &str,
        now_ms: i64,
    ) -> Result<Caller, Problem> {
        check_failures(state, from, now_ms)?;
        let refuse =
            |why: &str| failed(state, from, None, now_ms, format!("the access token is not good: {why}"));
        let claims = match state.verify(presented, now_ms.div_euclid(1_000)) {
            Ok(claims) => claims,
            Err(fault) => return Err(refuse(&fault.to_string())),
        };
        let standing = match standing(state, &claims, now_ms).await? {
            Ok(standing) => standing,
            Err(why) => return Err(refuse(&why)),
        };
        let Standing { facts, scopes } = standing;
        let named = claims.kid_used.as_deref().unwrap_or(facts.holder.id().as_str());
        state.gate().take(Count::Requests(named), now_ms).map_err(too_often)?;
        let actor = match (&facts.holder, &claims.kid_used) {
            (Holder::App(_), Some(key_id)) => format!("key {key_id}"),
            (Holder::App(_) | Holder::User(_), _) => facts.holder.id().to_string(),
        };
        Ok(Caller {
            subject: facts.holder.id().clone(),
            org: facts.org.id.clone(),
            scopes,
            actor,
            from: from.to_string(),
            now_ms,
            presented_sha256: Sha256::digest(presented).into(),
        })
    }
}

/// Looks a key up that somebody presents: it is known, right, good, and so is its application. Unknown and wrong ones are
/// answered alike, and counted.
pub(crate) async fn known_key(
    state: &HttpState,
    from: IpAddr,
    presented: &str,
    now_ms: i64,
) -> Result<KeyFacts, Problem> {
    check_failures(state, from, now_ms)?;
    let parsed = match Key::parse(presented) {
        Ok(parsed) => parsed,
        Err(fault) => return Err(failed(state, from, None, now_ms, fault)),
    };
    let key_id: &str = &parsed.key_id;
    // Who knows a key id may not shut its owner out: only addresses that were wrong before are refused unheard.
    if state.gate().has_taken(Count::FailuresFrom(from), now_ms) {
        state.gate().look(Count::FailuresOf(key_id), now_ms).map_err(too_often)?;
    }
    let facts = right_key(state.store(), &parsed).await?;
    let Some(facts) = facts else {
        return Err(failed(state, from, Some(key_id), now_ms, "the key is not known"));
    };
    let good = credential_good(&facts.credential, now_ms).and_then(|()| subject_good(&facts.subject));
    if let Err(reason) = good {
        return Err(failed(state, from, Some(key_id), now_ms, reason));
    }
    state.uses().used(key_id, now_ms, &from.to_string());
    Ok(facts)
}

/// What is known of a key if its secret is right. It takes as long if it is wrong, or the key id unknown.
pub(crate) async fn right_key(store: &Store, parsed: &ParsedKey) -> Result<Option<KeyFacts>, StoreFault> {
    let facts = store.facts_of_key(&parsed.key_id).await?;
    if facts.is_none() {
        let _ = parsed.matches(&NO_SECRET);
    }
    Ok(facts.filter(|facts| facts.is_shown_by(parsed)))
}

/// From where a request comes.
pub(crate) fn address(parts: &Parts) -> IpAddr {
    address_of(&parts.extensions)
}

/// From where a request with those extensions comes.
pub(crate) fn address_of(extensions: &Extensions) -> IpAddr {
    let peer = extensions.get::<Peer<SocketAddr>>();
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| address.ip().to_canonical())
}

/// Refuses an address that was wrong too often.
pub(crate) fn check_failures(state: &HttpState, from: IpAddr, now_ms: i64) -> Result<(), Problem> {
    state.gate().look(Count::FailuresFrom(from), now_ms).map_err(too_often)
}

/// Counts a failure and says so.
fn failed(
    state: &HttpState,
    from: IpAddr,
    key_id: Option<&str>,
    now_ms: i64,
    why: impl std::fmt::Display,
) -> Problem {
    // Refused or not, it is counted: what there was room for was asked before.
    let _ = state.gate().take(Count::FailuresFrom(from), now_ms);
    if let Some(key_id) = key_id {
        let _ = state.gate().take(Count::FailuresOf(key_id), now_ms);
    }
    tracing::debug!("identity API: refused {from}: {why}");
    Problem::unauthenticated(why)
}

pub(crate) fn too_often(TooOften { retry_s }: TooOften) -> Problem {
    Problem::too_many("the limit of requests, or of wrong keys, is reached", retry_s)
}

/// What stands behind a token now.
pub(crate) struct Standing {
    /// Its subject.
    pub(crate) facts: Arc<SubjectFacts>,
    /// What it may do over the API.
    pub(crate) scopes: Vec<Scope>,
}

/// A token is a copy of what was so when it was issued. What it may is what it says and its key or user still may;
/// `Err` is why it is refused.
pub(crate) async fn standing(
    state: &HttpState,
    claims: &Claims,
    now_ms: i64,
) -> Result<Result<Standing, String>, Problem> {
    let store = state.store();
    if let Some(token_id) = &claims.token_id
        && store.is_token_revoked(token_id, now_ms).await?
    {
        return Ok(Err("it was revoked".to_owned()));
    }
    let Some(subject) = Id::parse_any(&claims.subject) else {
        return Ok(Err("its subject is nothing here".to_owned()));
    };
    let client = claims.client_id.as_deref().and_then(|text| Id::parse(Kind::App, text).ok());
    let Some(client) = client else { return Ok(Err("its client is no application here".to_owned())) };
    let key = match &claims.kid_used {
        None => None,
        Some(key_id) => match store.facts_of_key(key_id).await? {
            Some(facts) => Some(facts),
            None => return Ok(Err("the key it was fetched with is gone".to_owned())),
        },
    };
    let Some(facts) = subject_facts(store, &subject, key.as_ref()).await? else {
        return Ok(Err("its subject is gone".to_owned()));
    };
    let client_facts =
        if subject == client { None } else { Some(subject_facts(store, &client, key.as_ref()).await?) };
    if client_facts.as_ref().is_some_and(Option::is_none) {
        return Ok(Err("its client is gone".to_owned()));
    }
    let around = around_good(&facts, key.as_ref(), client_facts.flatten().as_deref(), now_ms);
    let good = around.and_then(|()| subject_good(&facts).map_err(|reason| reason.to_string()));
    if let Err(why) = good {
        return Ok(Err(why));
    }
    let now_may: &[Scope] = match (&facts.holder, &key) {
        (Holder::User(user), _) => &user.data.scopes,
        (Holder::App(_), Some(key)) => &key.credential.data.scopes,
        (Holder::App(_), None) => &[],
    };
    let said = claims.scope.as_deref().unwrap_or_default();
    let scopes = said.split(' ').filter_map(Scope::parse).filter(|scope| now_may.contains(scope)).collect();
    Ok(Ok(Standing { facts, scopes }))
}

/// What is known of a subject, which may be whose key it is.
async fn subject_facts(
    store: &Store,
    id: &Id,
    key: Option<&KeyFacts>,
) -> Result<Option<Arc<SubjectFacts>>, StoreFault> {
    match key {
        Some(key) if key.subject.holder.id() == id => Ok(Some(key.subject.clone())),
        Some(_) | None => Ok(store.facts_of_subject(id).await?.map(Arc::new)),
    }
}

/// What stands behind `Bearer` in the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else {
        return Err(Problem::unauthenticated(
            "a key or an access token is wanted: `Authorization: Bearer ...`",
        ));
    };
    let text = value.to_str().ok().filter(|_| second.is_none());
    let (scheme, presented) = text.and_then(|text| text.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") && !presented.trim().is_empty() {
        Ok(presented.trim())
    } else {
        Err(Problem::unauthenticated("one header `Authorization: Bearer ...` is wanted"))
    }
}
