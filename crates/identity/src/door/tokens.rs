//! Tokens at the door, by whoever issued them: verified, and for whom they speak.
//!
//! Our own issuer comes first. Of the others the one whose name is exactly the token's `iss` is asked, and for a name that
//! nobody has, nothing is fetched.

use std::sync::Arc;

use super::judge::About;
use super::{Asker, Bearing, Door, Refusal, Visitor};
use crate::id::Id;
use crate::token::{
    Claims, Expected, KeysFault, OutsideIssuer, OutsideKeys, Renewal, Speaks, TokenFault, Verifier, peek,
};

/// With what somebody came who has shown a token of an issuer outside: asked again when that issuer is set up otherwise.
#[derive(Clone, Debug)]
pub struct Evidence {
    issuer: Arc<OutsideIssuer>,
    claims: Arc<Claims>,
    speaks: Speaks,
}

impl Evidence {
    /// What people call the issuer.
    pub fn issuer_name(&self) -> &str {
        &self.issuer.name
    }

    /// The only organisation it may speak for.
    pub(super) fn org(&self) -> Option<&Id> {
        self.issuer.org.as_ref()
    }

    /// For whom the token speaks.
    pub(super) fn speaks(&self) -> &Speaks {
        &self.speaks
    }
}

/// A token that is good.
pub(super) struct Verified {
    pub(super) claims: Arc<Claims>,
    /// `None`: it is one of ours.
    pub(super) evidence: Option<Arc<Evidence>>,
}

/// Whose a token says it is.
enum From {
    Us,
    Outside { keys: OutsideKeys, kid: Option<String> },
}

impl Door {
    /// Verifies a token; `None`: keys have to be fetched for that.
    pub(super) fn verify_known(&self, visitor: &Visitor) -> Option<Result<Verified, Refusal>> {
        let from = match self.issuer_of(visitor) {
            Ok(from) => from,
            Err(refusal) => return Some(Err(refusal)),
        };
        match from {
            From::Us => Some(self.verify_own(visitor)),
            From::Outside { keys, kid } => {
                let verifier = keys.known(kid.as_deref(), visitor.now_ms)?;
                match self.verify_outside(visitor, &keys, &verifier) {
                    // Without a name nobody knows whether it is another key by now.
                    Err(TokenFault::Signature) if kid.is_none() => None,
                    verified => Some(verified.map_err(|fault| bad(&keys, &fault))),
                }
            }
        }
    }

    /// The same; waits for keys if it has to, and not for long.
    pub(super) async fn verify(&self, visitor: &Visitor) -> Result<Verified, Refusal> {
        let (keys, kid) = match self.issuer_of(visitor)? {
            From::Us => return self.verify_own(visitor),
            From::Outside { keys, kid } => (keys, kid),
        };
        let verifier = self.verifier(&keys, kid.as_deref(), visitor.now_ms).await?;
        match self.verify_outside(visitor, &keys, &verifier) {
            Err(TokenFault::Signature) if kid.is_none() => {
                let renewal = keys.refresh(visitor.now_ms).await.map_err(|fault| no_keys(&keys, &fault))?;
                if renewal == Renewal::NotDue {
                    return Err(bad(&keys, &TokenFault::Signature));
                }
                let verifier = self.verifier(&keys, None, visitor.now_ms).await?;
                self.verify_outside(visitor, &keys, &verifier).map_err(|fault| bad(&keys, &fault))
            }
            verified => verified.map_err(|fault| bad(&keys, &fault)),
        }
    }

    /// What a token's right depends on, if that is known without the store.
    pub(super) fn about_known(&self, verified: &Verified) -> Option<Result<About, Refusal>> {
        let Some(evidence) = &verified.evidence else { return Some(About::of(&verified.claims)) };
        let subject = match &evidence.speaks {
            Speaks::Subject(subject) => subject.clone(),
            Speaks::Login(login) => self.known.lock().login(login)?,
        };
        Some(Ok(About::outside(subject)))
    }

    /// What a token's right depends on.
    pub(super) async fn about(&self, verified: &Verified, now_ms: i64) -> Result<About, Refusal> {
        let Some(evidence) = &verified.evidence else { return About::of(&verified.claims) };
        let subject = match &evidence.speaks {
            Speaks::Subject(subject) => subject.clone(),
            Speaks::Login(login) => {
                let known = self.user_of_login(login, now_ms).await?;
                let nobody =
                    || Refusal::Bad(format!("issuer {}: nobody has this login", evidence.issuer.name));
                known.ok_or_else(nobody)?
            }
        };
        Ok(About::outside(subject))
    }

    /// Whether what somebody has shown is still taken, as issuers are set up now.
    ///
    /// # Errors
    /// It is not; why.
    pub(super) fn check_evidence(&self, evidence: &Evidence) -> Result<(), String> {
        let name = &evidence.issuer.name;
        let Some(keys) = self.outside.find(&evidence.issuer.issuer) else {
            return Err(format!("its issuer {name} is not in [issuers] any more"));
        };
        let now = keys.issuer();
        if Arc::ptr_eq(now, &evidence.issuer) {
            return Ok(());
        }
        if !evidence.issuer.is_taken_by(now) {
            return Err(format!("the keys, algorithms or types of issuer {name} are others now"));
        }
        if !evidence.claims.audience.contains(&now.audience) {
            return Err(format!("its token is for another audience than issuer {name} has now"));
        }
        let org_stays = now.org.is_none() || now.org == evidence.issuer.org;
        if !org_stays || now.speaks_for(&evidence.claims).as_ref() != Ok(&evidence.speaks) {
            return Err(format!("the rules of issuer {name} say something else of its token now"));
        }
        Ok(())
    }

    fn issuer_of(&self, visitor: &Visitor) -> Result<From, Refusal> {
        if self.outside.is_empty() {
            return Ok(From::Us);
        }
        let peek = peek(token_text(visitor)?).map_err(|fault| Refusal::Bad(fault.to_string()))?;
        if self.signer.as_ref().is_some_and(|signer| signer.url() == peek.issuer) {
            return Ok(From::Us);
        }
        match self.outside.find(&peek.issuer) {
            Some(keys) => Ok(From::Outside { keys, kid: peek.kid }),
            None => {
                Err(Refusal::Bad("it is of an issuer (iss) that is neither ours nor in [issuers]".to_owned()))
            }
        }
    }

    fn verify_own(&self, visitor: &Visitor) -> Result<Verified, Refusal> {
        let text = token_text(visitor)?;
        let signer = self.signer.as_ref();
        let signer = signer.ok_or_else(|| Refusal::Bad("no issuer of tokens is set up".to_owned()))?;
        let expected = Expected { audience: &self.audience, now_s: visitor.now_ms / 1000 };
        let verified = signer.verifier().verify_seen(text, &expected, &self.seen);
        let claims = verified.map_err(|fault| Refusal::Bad(fault.to_string()))?;
        Ok(Verified { claims, evidence: None })
    }

    fn verify_outside(
        &self,
        visitor: &Visitor,
        keys: &OutsideKeys,
        verifier: &Verifier,
    ) -> Result<Verified, TokenFault> {
        let text = token_text(visitor).map_err(|_| TokenFault::Parts)?;
        let issuer = keys.issuer();
        let expected = Expected { audience: &issuer.audience, now_s: visitor.now_ms / 1000 };
        let claims = verifier.verify_seen(text, &expected, self.outside.seen())?;
        let speaks = issuer.speaks_for(&claims)?;
        let evidence = Evidence { issuer: Arc::clone(issuer), claims: Arc::clone(&claims), speaks };
        Ok(Verified { claims, evidence: Some(Arc::new(evidence)) })
    }

    async fn verifier(
        &self,
        keys: &OutsideKeys,
        kid: Option<&str>,
        now_ms: i64,
    ) -> Result<Verifier, Refusal> {
        keys.verifier(kid, now_ms).await.map_err(|fault| no_keys(keys, &fault))
    }

    /// The user who has a login. What is remembered is compared again with what is known of the user.
    async fn user_of_login(&self, login: &str, now_ms: i64) -> Result<Option<Id>, Refusal> {
        let (known, generation) = {
            let known = self.known.lock();
            (known.login(login), known.generation())
        };
        if known.is_some() && self.is_fresh(now_ms) {
            return Ok(known);
        }
        let found = self.ask(Asker::Visitor, self.store.user_by_login(login)).await?;
        let id = found.map(|(user, _)| user.id);
        if let Some(id) = &id {
            self.known.lock().put_login(login, id.clone(), generation);
        }
        Ok(id)
    }
}

fn token_text(visitor: &Visitor) -> Result<&str, Refusal> {
    let text = match &visitor.bearing {
        Bearing::Token(secret) => secret.expose_text(),
        Bearing::Key(_) | Bearing::Certificate(_) => None,
    };
    text.ok_or_else(|| Refusal::Bad("no token".to_owned()))
}

fn no_keys(keys: &OutsideKeys, fault: &KeysFault) -> Refusal {
    let name = &keys.issuer().name;
    let told = match fault {
        KeysFault::UnknownKid => return Refusal::Bad(format!("issuer {name}: {fault}")),
        KeysFault::Unreachable(why) => why.public(),
        KeysFault::Busy => "too many wait for its keys already",
    };
    Refusal::NoIssuerKeys { issuer: name.clone(), told, log: format!("issuer {name}: {fault}") }
}

/// A good token that no rule speaks of is told so: nobody can do anything about it who does not know.
fn bad(keys: &OutsideKeys, fault: &TokenFault) -> Refusal {
    let why = format!("issuer {}: {fault}", keys.issuer().name);
    if matches!(fault, TokenFault::NoRule | TokenFault::Unverified) {
        Refusal::NotGranted(why)
    } else {
        Refusal::Bad(why)
    }
}

#[cfg(test)]
mod tests;
