//! What the pooler's door asks: whether a key or a token is good for a database, and as whom. And what it is told: whose
//! right has ended.
//!
//! What is known of a key or a subject is kept until the audit log says that something has changed; the log is followed
//! all the time. While the store does not answer, what is known goes on for [`DoorOptions::stale_ms`], and no longer:
//! by so much a revocation can be late.

mod known;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_types::Secret;
use tokio::sync::Semaphore;

use crate::id::Id;
use crate::key::Key;
use crate::model::Audit;
use crate::rules::{Allowed, Ask, Decision, credential_good, decide, grant_good, subject_good};
use crate::signer::Signer;
use crate::store::{KeyFacts, Store, StoreFault, SubjectFacts};
use crate::token::{Claims, Expected, Seen, TokenFault};
use known::Known;

/// How many look something up in the store at a time: whoever invents keys waits in a short line.
const LOOKUPS_MAX: usize = 16;

/// How long one waits before listening again after the connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// Uses of keys are written down at most so often.
pub const USED_EVERY_MS: i64 = 60_000;

/// Most keys whose use is remembered between two writes.
const USED_MAX: usize = 100_000;

/// Where the store keeps tokens that were revoked, by their number (`jti`), until they would have ended.
pub const REVOKED_TOKENS: &str = "revoked_token";

/// Most of them that are read at the start.
const REVOKED_READ_MAX: u32 = 100_000;

/// How the door works.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// What tokens must be for.
    pub audience: String,
    /// How long known identities go on while the store does not answer, milliseconds.
    pub stale_ms: i64,
}

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearing {
    /// A key.
    Key,
    /// A token.
    Token,
}

/// Who wants to come in.
#[derive(Clone)]
pub struct Visitor {
    /// What it handed over.
    pub bearing: Bearing,
    /// The key or token.
    pub secret: Secret,
    /// The database it asks for.
    pub database: Arc<str>,
    /// The user it names.
    pub user: Arc<str>,
    /// From where, for last use.
    pub from: Arc<str>,
    /// The time, milliseconds since 1970.
    pub now_ms: i64,
}

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// By which grant, as which role, within which limits.
    pub allowed: Allowed,
    /// Name of the organisation.
    pub organisation: String,
    /// Id of the application or user.
    pub subject: Id,
    /// Its name or login.
    pub name: String,
    /// The key that was used, or that the token was had for.
    pub key_id: Option<String>,
    /// The number of the token.
    pub token_id: Option<String>,
    /// When key, token or grant ends by itself, milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What it handed over is not good; why is for the log.
    Bad(String),
    /// It is, but gives no right to what it asked for; why is for the client as well.
    NotGranted(String),
    /// The store does not answer, and nothing is known from before.
    Unavailable(String),
}

/// Somebody who is here.
#[derive(Clone, Debug)]
pub struct Live {
    /// Id of the application or user.
    pub subject: Id,
    /// By which key.
    pub key_id: Option<String>,
    /// By which token.
    pub token_id: Option<String>,
    /// By which grant.
    pub grant: Id,
}

/// What has been heard of the store.
#[derive(Debug)]
pub enum Followed {
    /// Nothing has changed.
    Unchanged,
    /// This has: whoever is here is to be looked at again.
    Changed(Vec<Audit>),
    /// It does not answer, since so many milliseconds; why.
    Silent(i64, String),
    /// The same, for longer than what is known may go on: nobody is known any more.
    Stale(String),
}

/// See the module.
pub struct Door {
    store: Store,
    audience: String,
    stale_ms: AtomicI64,
    known: Mutex<Known>,
    /// Issues and verifies our own tokens; `None`: there are none.
    signer: Option<Arc<Signer>>,
    seen: Mutex<Seen>,
    used: Mutex<HashMap<String, (i64, Arc<str>)>>,
    /// Number of the last entry of the audit log that was followed.
    followed: AtomicI64,
    /// When that was.
    heard_ms: AtomicI64,
    /// The store does not answer, and that has been said.
    silent: AtomicBool,
    lookups: Semaphore,
}

impl Door {
    /// Begins to follow the store.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn open(
        store: Store,
        signer: Option<Arc<Signer>>,
        options: DoorOptions,
        now_ms: i64,
    ) -> Result<Door, StoreFault> {
        let followed = store.last_change().await?;
        let mut seen = Seen::default();
        for revoked in store.things(REVOKED_TOKENS, now_ms, REVOKED_READ_MAX).await? {
            seen.revoke_token(&revoked.key, revoked.ends_ms / 1000, now_ms / 1000);
        }
        Ok(Door {
            store,
            audience: options.audience,
            stale_ms: AtomicI64::new(options.stale_ms),
            known: Mutex::default(),
            signer,
            seen: Mutex::new(seen),
            used: Mutex::default(),
            followed: AtomicI64::new(followed),
            heard_ms: AtomicI64::new(now_ms),
            silent: AtomicBool::new(false),
            lookups: Semaphore::new(LOOKUPS_MAX),
        })
    }

    /// After a reload.
    pub fn set_stale_ms(&self, stale_ms: i64) {
        self.stale_ms.store(stale_ms, Ordering::Relaxed);
    }

    /// The answer where it can be given without asking the store: what is known is good.
    pub fn admit_known(&self, visitor: &Visitor) -> Option<Result<Welcome, Refusal>> {
        if !self.is_fresh(visitor.now_ms) {
            return None;
        }
        match visitor.bearing {
            Bearing::Key => {
                let key = match parse_key(&visitor.secret) {
                    Ok(key) => key,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let facts = self.known.lock().key(&key.key_id)?;
                Some(self.judge_key(visitor, &key, &facts))
            }
            Bearing::Token => {
                let claims = match self.verify(visitor) {
                    Ok(claims) => claims,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let (subject, key) = match self.of_token(&claims) {
                    Ok(known) => known?,
                    Err(refusal) => return Some(Err(refusal)),
                };
                Some(judge_token(visitor, &claims, &subject, key.as_deref()))
            }
        }
    }

    /// The answer, with a look into the store.
    pub async fn admit(&self, visitor: Visitor) -> Result<Welcome, Refusal> {
        match visitor.bearing {
            Bearing::Key => {
                let key = parse_key(&visitor.secret)?;
                let facts = self.key_facts(&key.key_id).await?;
                let facts = facts.ok_or_else(|| Refusal::Bad(format!("no such key: {}", key.key_id)))?;
                self.judge_key(&visitor, &key, &facts)
            }
            Bearing::Token => {
                let claims = self.verify(&visitor)?;
                let subject = subject_of(&claims)?;
                let facts = self.subject_facts(&subject).await?;
                let facts = facts
                    .ok_or_else(|| Refusal::Bad(format!("the token is for {subject}, who is not there")))?;
                let key =
                    match &claims.kid_used {
                        Some(key_id) => Some(self.key_facts(key_id).await?.ok_or_else(|| {
                            Refusal::Bad(format!("the key of the token is gone: {key_id}"))
                        })?),
                        None => None,
                    };
                judge_token(&visitor, &claims, &facts, key.as_deref())
            }
        }
    }

    /// Whether the right of somebody who is here still holds.
    ///
    /// # Errors
    /// It does not; why. While the store does not answer, nothing is said against anybody.
    pub async fn recheck(&self, live: &Live, now_ms: i64) -> Result<(), String> {
        if let Some(token_id) = &live.token_id
            && self.seen.lock().is_token_revoked(token_id)
        {
            return Err("its token has been revoked".to_owned());
        }
        let facts = match self.subject_facts(&live.subject).await {
            Ok(facts) => facts.ok_or_else(|| format!("{} has been removed", live.subject))?,
            Err(_) => return Ok(()),
        };
        if let Some(key_id) = &live.key_id {
            match self.key_facts(key_id).await {
                Ok(Some(key)) => {
                    credential_good(&key.credential, now_ms).map_err(|why| format!("key {key_id}: {why}"))?
                }
                Ok(None) => return Err(format!("key {key_id} has been removed")),
                Err(_) => return Ok(()),
            }
        }
        subject_good(&facts).map_err(|why| why.to_string())?;
        let fact = facts.grants.iter().find(|fact| fact.grant.id == live.grant);
        let fact = fact.ok_or_else(|| format!("grant {} has been removed", live.grant))?;
        grant_good(fact, now_ms).map_err(|why| format!("grant {}: {why}", live.grant))
    }

    /// Hears what has changed. Called about once a second, and whenever something is known to have changed.
    pub async fn follow(&self, now_ms: i64) -> Followed {
        let seq = self.followed.load(Ordering::Acquire);
        match self.store.changes_since(seq).await {
            Ok(changes) => {
                self.heard_ms.store(now_ms, Ordering::Release);
                if self.silent.swap(false, Ordering::AcqRel) {
                    tracing::info!("the identity store answers again");
                }
                let Some(last) = changes.last() else { return Followed::Unchanged };
                self.note(&changes, now_ms);
                self.followed.store(last.seq, Ordering::Release);
                Followed::Changed(changes)
            }
            Err(fault) => {
                let silent_ms = now_ms.saturating_sub(self.heard_ms.load(Ordering::Acquire));
                if !self.silent.swap(true, Ordering::AcqRel) {
                    let stale_s = self.stale_ms.load(Ordering::Relaxed) / 1000;
                    tracing::warn!(
                        "{fault}; who is known goes on for {stale_s} s (identity_stale), others are refused"
                    );
                }
                if self.is_fresh(now_ms) {
                    Followed::Silent(silent_ms, fault.to_string())
                } else {
                    self.known.lock().clear();
                    Followed::Stale(fault.to_string())
                }
            }
        }
    }

    /// Waits until something may have changed, also by another instance's word. Cancel safe.
    pub async fn changed(&self) {
        self.store.changed().await;
    }

    /// Listens for other instances' words as long as the process lives; on a store where nobody can be heard it returns.
    pub async fn listen(&self) {
        // A connection that is lost is made anew; until then the log is looked at all the same.
        while self.store.follow().await.is_err() {
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }

    /// Uses of keys that are to be written down, if there are any.
    ///
    /// # Errors
    /// The store does not answer; they are kept for the next time.
    pub async fn write_used(&self) -> Result<(), StoreFault> {
        let used = std::mem::take(&mut *self.used.lock());
        if used.is_empty() {
            return Ok(());
        }
        let batch: Vec<(String, i64, String)> =
            used.iter().map(|(key, (at_ms, from))| (key.clone(), *at_ms, from.to_string())).collect();
        let written = self.store.note_used(&batch).await;
        if written.is_err() {
            let mut now = self.used.lock();
            for (key, use_) in used {
                now.entry(key).or_insert(use_);
            }
        }
        written
    }

    /// A key has been used.
    pub fn note_use(&self, key_id: &str, at_ms: i64, from: &Arc<str>) {
        let mut used = self.used.lock();
        if used.len() < USED_MAX || used.contains_key(key_id) {
            used.insert(key_id.to_owned(), (at_ms, from.clone()));
        }
    }

    fn is_fresh(&self, now_ms: i64) -> bool {
        let heard_ms = self.heard_ms.load(Ordering::Acquire);
        now_ms.saturating_sub(heard_ms) <= self.stale_ms.load(Ordering::Relaxed)
    }

    /// Nobody waits for a store of which it is known that it does not answer.
    fn check_answering(&self) -> Result<(), Refusal> {
        if self.silent.load(Ordering::Acquire) {
            return Err(Refusal::Unavailable("the identity store does not answer".to_owned()));
        }
        Ok(())
    }

    /// What is known and has changed is forgotten.
    fn note(&self, changes: &[Audit], now_ms: i64) {
        self.known.lock().note(changes);
        let mut seen = self.seen.lock();
        for change in changes.iter().filter(|change| change.action == "token.revoke") {
            // Until when it would have been good is not known here; no token lives longer than a day.
            seen.revoke_token(&change.object, now_ms / 1000 + 86_400, now_ms / 1000);
        }
    }

    async fn key_facts(&self, key_id: &str) -> Result<Option<Arc<KeyFacts>>, Refusal> {
        let generation = {
            let known = self.known.lock();
            if let Some(facts) = known.key(key_id) {
                return Ok(Some(facts));
            }
            known.generation()
        };
        self.check_answering()?;
        let _turn = self.lookups.acquire().await;
        let found = self.store.facts_of_key(key_id).await.map_err(unavailable)?;
        let facts = found.map(Arc::new);
        if let Some(facts) = &facts {
            self.known.lock().put_key(key_id, facts.clone(), generation);
        }
        Ok(facts)
    }

    async fn subject_facts(&self, subject: &Id) -> Result<Option<Arc<SubjectFacts>>, Refusal> {
        let generation = {
            let known = self.known.lock();
            if let Some(facts) = known.subject(subject) {
                return Ok(Some(facts));
            }
            known.generation()
        };
        self.check_answering()?;
        let _turn = self.lookups.acquire().await;
        let found = self.store.facts_of_subject(subject).await.map_err(unavailable)?;
        let facts = found.map(Arc::new);
        if let Some(facts) = &facts {
            self.known.lock().put_subject(subject, facts.clone(), generation);
        }
        Ok(facts)
    }

    /// What is known of the one a token is for, and of its key. `None`: something has to be looked up.
    #[expect(clippy::type_complexity, reason = "two facts, either of which may be missing")]
    fn of_token(
        &self,
        claims: &Claims,
    ) -> Result<Option<(Arc<SubjectFacts>, Option<Arc<KeyFacts>>)>, Refusal> {
        let subject = subject_of(claims)?;
        let known = self.known.lock();
        let Some(facts) = known.subject(&subject) else { return Ok(None) };
        Ok(match &claims.kid_used {
            None => Some((facts, None)),
            Some(key_id) => known.key(key_id).map(|key| (facts, Some(key))),
        })
    }

    fn judge_key(
        &self,
        visitor: &Visitor,
        key: &crate::key::ParsedKey,
        facts: &KeyFacts,
    ) -> Result<Welcome, Refusal> {
        let key_id = &facts.credential.key_id;
        // A credential without a secret is not one that can be shown as a key.
        if !key.matches(&facts.secret_sha256.unwrap_or_default()) || facts.secret_sha256.is_none() {
            return Err(Refusal::Bad(format!("wrong secret for key {key_id}")));
        }
        credential_good(&facts.credential, visitor.now_ms)
            .map_err(|why| Refusal::Bad(format!("key {key_id}: {why}")))?;
        let mut welcome = judge(visitor, &facts.subject, facts.credential.data.expires_ms)?;
        welcome.key_id = Some(key_id.clone());
        self.note_use(key_id, visitor.now_ms, &visitor.from);
        Ok(welcome)
    }

    fn verify(&self, visitor: &Visitor) -> Result<Arc<Claims>, Refusal> {
        let text = visitor.secret.expose_text().ok_or_else(|| Refusal::Bad("no token".to_owned()))?;
        let signer = self.signer.as_ref();
        let signer = signer.ok_or_else(|| Refusal::Bad("no issuer of tokens is set up".to_owned()))?;
        let expected = Expected { audience: &self.audience, now_s: visitor.now_ms / 1000 };
        signer.verifier().verify_seen(text, &expected, &self.seen).map_err(bad_token)
    }
}

fn bad_token(fault: TokenFault) -> Refusal {
    Refusal::Bad(fault.to_string())
}

fn unavailable(fault: StoreFault) -> Refusal {
    Refusal::Unavailable(fault.to_string())
}

fn parse_key(secret: &Secret) -> Result<crate::key::ParsedKey, Refusal> {
    let text = secret.expose_text().ok_or_else(|| Refusal::Bad("no key: it is not UTF-8".to_owned()))?;
    Key::parse(text).map_err(|fault| Refusal::Bad(fault.to_string()))
}

fn subject_of(claims: &Claims) -> Result<Id, Refusal> {
    Id::parse_any(&claims.subject).ok_or_else(|| Refusal::Bad("the token is for nobody we know".to_owned()))
}

fn judge_token(
    visitor: &Visitor,
    claims: &Claims,
    facts: &SubjectFacts,
    key: Option<&KeyFacts>,
) -> Result<Welcome, Refusal> {
    if let Some(key) = key {
        let key_id = &key.credential.key_id;
        credential_good(&key.credential, visitor.now_ms)
            .map_err(|why| Refusal::Bad(format!("key {key_id}, with which the token was had: {why}")))?;
        if key.subject.holder.id() != facts.holder.id() {
            return Err(Refusal::Bad(format!("the token is for {}, its key is not", facts.holder.id())));
        }
    }
    let mut welcome = judge(visitor, facts, Some(claims.expires_s.saturating_mul(1000)))?;
    welcome.key_id = claims.kid_used.clone();
    welcome.token_id = claims.token_id.clone();
    Ok(welcome)
}

fn judge(visitor: &Visitor, facts: &SubjectFacts, ends_ms: Option<i64>) -> Result<Welcome, Refusal> {
    let ask = Ask::Connect { database: &visitor.database, user: &visitor.user };
    match decide(facts, &ask, visitor.now_ms) {
        Decision::Refused(reason) => Err(Refusal::NotGranted(reason.to_string())),
        Decision::Allowed(allowed) => Ok(Welcome {
            organisation: facts.org.data.name.clone(),
            subject: facts.holder.id().clone(),
            name: facts.holder.name().to_owned(),
            key_id: None,
            token_id: None,
            until_ms: ends_ms.into_iter().chain(allowed.until_ms).min(),
            allowed,
        }),
    }
}
