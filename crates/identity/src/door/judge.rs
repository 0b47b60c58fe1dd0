//! What a right depends on, and whether it holds.

use std::sync::Arc;

use super::known::Known;
use super::tokens::Verified;
use super::{Evidence, Live, Refusal, Visitor, Welcome};
use crate::id::{Id, Kind};
use crate::rules::{Ask, Decision, allows_connect, around_good, decide, grant_good, subject_good};
use crate::store::{Holder, KeyFacts, SubjectFacts};
use crate::token::{Claims, Speaks};

/// What is known of all that a right depends on.
pub(super) struct Facts {
    pub(super) subject: Arc<SubjectFacts>,
    /// The key that was shown, or that the token was had with.
    pub(super) key: Option<Arc<KeyFacts>>,
    /// The application that a person's token was issued to.
    pub(super) client: Option<Arc<SubjectFacts>>,
}

/// What a right depends on.
pub(super) struct About {
    pub(super) subject: Id,
    pub(super) key_id: Option<String>,
    /// The application that a person's token was issued to; `None`: it is the subject's own.
    pub(super) client: Option<Id>,
}

impl About {
    pub(super) fn of(claims: &Claims) -> Result<About, Refusal> {
        let subject = subject_of(claims)?;
        let client = claims.client_id.as_deref().map(|client| Id::parse(Kind::App, client)).transpose();
        let client = client.map_err(|_| Refusal::Bad("the token is from nobody we know".to_owned()))?;
        let client = client.filter(|client| *client != subject);
        Ok(About { subject, key_id: claims.kid_used.clone(), client })
    }

    /// Of a token from outside: whom it speaks for, and nobody else.
    pub(super) fn outside(subject: Id) -> About {
        About { subject, key_id: None, client: None }
    }

    pub(super) fn live(live: &Live) -> About {
        About { subject: live.subject.clone(), key_id: live.key_id.clone(), client: live.client.clone() }
    }

    /// All of it, if it is known.
    pub(super) fn known(&self, known: &Known) -> Option<Facts> {
        let key = match &self.key_id {
            Some(key_id) => Some(known.key(key_id)?),
            None => None,
        };
        let client = match &self.client {
            Some(client) => Some(known.subject(client)?),
            None => None,
        };
        Some(Facts { subject: known.subject(&self.subject)?, key, client })
    }
}

fn check_around(facts: &Facts, now_ms: i64) -> Result<(), String> {
    around_good(&facts.subject, facts.key.as_deref(), facts.client.as_deref(), now_ms)
}

pub(super) fn judge_token(
    visitor: &Visitor,
    verified: &Verified,
    about: &About,
    facts: &Facts,
) -> Result<Welcome, Refusal> {
    let (claims, evidence) = (&verified.claims, &verified.evidence);
    check_around(facts, visitor.now_ms).map_err(Refusal::Bad)?;
    if let Some(evidence) = evidence {
        check_spoken_for(evidence, &facts.subject).map_err(Refusal::Bad)?;
    }
    let key_ends_ms = facts.key.as_ref().and_then(|key| key.credential.data.expires_ms);
    let ends_ms = key_ends_ms.into_iter().chain([claims.expires_s.saturating_mul(1000)]).min();
    let mut welcome = judge(visitor, &facts.subject, ends_ms)?;
    welcome.key_id = claims.kid_used.clone();
    welcome.token_id = match (evidence, &claims.token_id) {
        (None, token_id) => token_id.clone(),
        // What two issuers call alike is not the same.
        (Some(evidence), Some(token_id)) => Some(format!("{}:{token_id}", evidence.issuer_name())),
        (Some(_), None) => None,
    };
    welcome.evidence = evidence.clone();
    welcome.client = about.client.clone();
    Ok(welcome)
}

/// Whether an issuer outside may speak for somebody, and whether it is still the one it means.
fn check_spoken_for(evidence: &Evidence, facts: &SubjectFacts) -> Result<(), String> {
    let name = evidence.issuer_name();
    if evidence.org().is_some_and(|org| *org != facts.org.id) {
        return Err(format!("issuer {name} may not speak for {} of {}", facts.holder.id(), facts.org.id));
    }
    match (evidence.speaks(), &facts.holder) {
        (Speaks::Subject(_), _) => Ok(()),
        (Speaks::Login(login), Holder::User(user)) if user.data.login == *login => Ok(()),
        (Speaks::Login(_), holder) => Err(format!("issuer {name}: {} has another login now", holder.id())),
    }
}

/// Whether somebody who is here would be let in again by the same grant.
pub(super) fn judge_live(live: &Live, facts: &Facts, now_ms: i64) -> Result<(), String> {
    check_around(facts, now_ms)?;
    if let Some(evidence) = &live.evidence {
        check_spoken_for(evidence, &facts.subject)?;
    }
    subject_good(&facts.subject).map_err(|why| why.to_string())?;
    let fact = facts.subject.grants.iter().find(|fact| fact.grant.id == live.grant);
    let fact = fact.ok_or_else(|| format!("grant {} has been removed", live.grant))?;
    grant_good(fact, now_ms).map_err(|why| format!("grant {}: {why}", live.grant))?;
    if fact.dataset.data.database != *live.database {
        return Err(format!("grant {} is for another database now", live.grant));
    }
    if fact.grant.data.role != *live.role || !allows_connect(&fact.grant) {
        return Err(format!("grant {} does not let it connect any more", live.grant));
    }
    Ok(())
}

pub(super) fn judge(
    visitor: &Visitor,
    facts: &SubjectFacts,
    ends_ms: Option<i64>,
) -> Result<Welcome, Refusal> {
    let ask = Ask::Connect { database: &visitor.database, user: &visitor.user };
    match decide(facts, &ask, visitor.now_ms) {
        Decision::Refused(reason) => Err(Refusal::NotGranted(reason.to_string())),
        Decision::Allowed(allowed) => Ok(Welcome {
            organisation: facts.org.data.name.clone(),
            subject: facts.holder.id().clone(),
            name: facts.holder.name().to_owned(),
            key_id: None,
            token_id: None,
            client: None,
            evidence: None,
            until_ms: ends_ms.into_iter().chain(allowed.until_ms).min(),
            allowed,
        }),
    }
}

fn subject_of(claims: &Claims) -> Result<Id, Refusal> {
    Id::parse_any(&claims.subject).ok_or_else(|| Refusal::Bad("the token is for nobody we know".to_owned()))
}
