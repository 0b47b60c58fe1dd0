//! What the pooler's door asks: whether a key or a token is good for a database, and as whom. And what it is told: whose
//! right has ended.
//!
//! What is known of a key or a subject is kept until the audit log says that something has changed; the log is followed
//! all the time. While the store does not answer, what is known goes on for [`DoorOptions::stale_ms`], and no longer:
//! by so much a revocation can be late.

mod certificates;
mod judge;
mod known;
#[cfg(test)]
mod tests;
mod tokens;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plimsoll_types::Secret;
use tokio::sync::Semaphore;

use crate::http::UseLog;
use crate::id::Id;
use crate::key::{Key, NO_SECRET, ParsedKey};
use crate::model::Audit;
use crate::rules::{Allowed, credential_good};
use crate::signer::Signer;
use crate::store::{KeyFacts, Store, StoreFault, SubjectFacts};
use crate::token::{OutsideIssuers, REVOKED_MAX, Seen};
use judge::{About, Facts, judge, judge_live, judge_token};
use known::Known;

pub use certificates::Certificate;
pub use tokens::Evidence;

/// How many look something up in the store at a time: whoever invents keys waits in a short line.
const LOOKUPS_MAX: usize = 16;

/// How long one waits before listening again after the connection was lost.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// How long one waits for an answer of the store.
const PATIENCE: Duration = Duration::from_secs(4);

/// Most uses of keys that are written in one transaction, so that nobody waits long behind it.
const USED_BATCH: usize = 500;

/// Uses of keys are written down at most so often.
pub const USED_EVERY_MS: i64 = 60_000;

/// Most keys whose use is remembered between two writes.
const USED_MAX: usize = 100_000;

/// How the door works.
#[derive(Clone, Debug)]
pub struct DoorOptions {
    /// What tokens must be for.
    pub audience: String,
    /// How long known identities go on while the store does not answer, milliseconds.
    pub stale_ms: i64,
    /// Whose tokens are taken besides our own.
    pub outside: Arc<OutsideIssuers>,
}

/// What was handed over.
#[derive(Clone)]
pub enum Bearing {
    /// A key.
    Key(Secret),
    /// A token.
    Token(Secret),
    /// A certificate, in the handshake of TLS.
    Certificate(Certificate),
}

/// Who wants to come in.
#[derive(Clone)]
pub struct Visitor {
    /// What it handed over.
    pub bearing: Bearing,
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
#[derive(Clone, Debug)]
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
    /// The application that a person's token was issued to.
    pub client: Option<Id>,
    /// What it has shown, if that is a token of an issuer outside.
    pub evidence: Option<Arc<Evidence>>,
    /// When key, token or grant ends by itself, milliseconds since 1970.
    pub until_ms: Option<i64>,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What it handed over is not good; why is for the log.
    Bad(String),
    /// It is nobody's: a certificate that is no credential.
    Unknown,
    /// It is, but gives no right to what it asked for; why is for the client as well.
    NotGranted(String),
    /// The store does not answer, and nothing is known from before.
    Unavailable(String),
    /// The keys of the token's issuer cannot be had.
    NoIssuerKeys {
        /// What people call the issuer.
        issuer: String,
        /// Why, for the client.
        told: &'static str,
        /// Why, for the log.
        log: String,
    },
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
    /// The application that a person's token was issued to.
    pub client: Option<Id>,
    /// By which token of an issuer outside.
    pub evidence: Option<Arc<Evidence>>,
    /// By which grant.
    pub grant: Id,
    /// In which database.
    pub database: Arc<str>,
    /// As which login role.
    pub role: Arc<str>,
}

/// Who has something looked up in the store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// Somebody at the door: one of a bounded number.
    Visitor,
    /// We ourselves, about who is here: never behind strangers.
    Ourselves,
}

/// What has been heard of the store.
#[derive(Debug)]
pub enum Followed {
    /// Nothing has changed.
    Unchanged,
    /// This has: whoever is here is to be looked at again.
    Changed(Vec<Audit>),
    /// It does not answer. What is known goes on.
    Silent,
    /// It has not answered for longer than what is known may go on: nobody is known any more.
    Stale,
}

/// What the store's log says.
enum Changes {
    /// This was written since the last time.
    Since(Vec<Audit>),
    /// What was followed last is not there any more.
    GoneBack {
        /// The number of that.
        followed: i64,
        /// The number of the last entry that there is.
        last: i64,
    },
}

/// See the module.
pub struct Door {
    store: Store,
    audience: String,
    stale_ms: AtomicI64,
    known: Mutex<Known>,
    /// Issues and verifies our own tokens; `None`: there are none.
    signer: Option<Arc<Signer>>,
    outside: Arc<OutsideIssuers>,
    seen: Mutex<Seen>,
    used: Mutex<HashMap<String, (i64, Arc<str>)>>,
    /// The last entry of the audit log that was followed; `None`: there was none. The whole of it, since after a failover
    /// there may be another one of its number.
    followed: Mutex<Option<Audit>>,
    /// When that was.
    heard_ms: AtomicI64,
    /// The store does not answer, and that has been said.
    silent: AtomicBool,
    lookups: Semaphore,
}

impl Door {
    /// Begins to follow the store, over connections of its own: whoever floods the API keeps nobody out here.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn open(
        store: Store,
        signer: Option<Arc<Signer>>,
        options: DoorOptions,
        now_ms: i64,
    ) -> Result<Door, StoreFault> {
        let store = store.apart();
        let followed = store.newest_change().await?;
        let seen = Mutex::default();
        read_revoked(&store, &seen, now_ms).await?;
        Ok(Door {
            store,
            audience: options.audience,
            stale_ms: AtomicI64::new(options.stale_ms),
            known: Mutex::default(),
            signer,
            outside: options.outside,
            seen,
            used: Mutex::default(),
            followed: Mutex::new(followed),
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
        match &visitor.bearing {
            Bearing::Certificate(certificate) => self.certificate_known(visitor, certificate),
            Bearing::Key(secret) => {
                let key = match parse_key(secret) {
                    Ok(key) => key,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let facts = self.known.lock().key(&key.key_id)?;
                Some(self.judge_key(visitor, &key, &facts))
            }
            Bearing::Token(_) => {
                let verified = match self.verify_known(visitor)? {
                    Ok(verified) => verified,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let about = match self.about_known(&verified)? {
                    Ok(about) => about,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let facts = about.known(&self.known.lock())?;
                Some(judge_token(visitor, &verified, &about, &facts))
            }
        }
    }

    /// The answer, with a look into the store.
    pub async fn admit(&self, visitor: Visitor) -> Result<Welcome, Refusal> {
        match &visitor.bearing {
            Bearing::Certificate(certificate) => self.certificate(&visitor, certificate).await,
            Bearing::Key(secret) => {
                let key = parse_key(secret)?;
                let facts = self.key_facts(&key.key_id, visitor.now_ms, Asker::Visitor).await?;
                let facts = facts.ok_or_else(|| {
                    // As long as for one that there is.
                    let _ = key.matches(&NO_SECRET);
                    Refusal::Bad(format!("no such key: {}", key.key_id))
                })?;
                self.judge_key(&visitor, &key, &facts)
            }
            Bearing::Token(_) => {
                let verified = self.verify(&visitor).await?;
                let about = self.about(&verified, visitor.now_ms).await?;
                let facts = self.facts(&about, visitor.now_ms, Asker::Visitor).await?;
                judge_token(&visitor, &verified, &about, &facts?)
            }
        }
    }

    /// Whether the right of somebody who is here still holds, as far as that is known without the store; `None`: it has
    /// to be looked up ([`Door::recheck`]). Told is why it does not.
    pub fn recheck_known(&self, live: &Live, now_ms: i64) -> Option<Result<(), String>> {
        if self.is_revoked(live, now_ms)? {
            return Some(Err("its token has been revoked".to_owned()));
        }
        if let Err(why) = self.check_evidence_of(live) {
            return Some(Err(why));
        }
        let about = About::live(live);
        let facts = about.known(&self.known.lock())?;
        Some(judge_live(live, &facts, now_ms))
    }

    /// The same with a look into the store; `None`: it does not answer, and it has to be asked again.
    pub async fn recheck(&self, live: &Live, now_ms: i64) -> Option<Result<(), String>> {
        let revoked = match (self.is_revoked(live, now_ms), &live.token_id) {
            (None, Some(token_id)) => {
                self.ask(Asker::Ourselves, self.store.is_token_revoked(token_id, now_ms)).await.ok()?
            }
            (known, _) => known.unwrap_or(false),
        };
        if revoked {
            return Some(Err("its token has been revoked".to_owned()));
        }
        if let Err(why) = self.check_evidence_of(live) {
            return Some(Err(why));
        }
        match self.facts(&About::live(live), now_ms, Asker::Ourselves).await {
            Ok(Ok(facts)) => Some(judge_live(live, &facts, now_ms)),
            Ok(Err(Refusal::Bad(why) | Refusal::NotGranted(why))) => Some(Err(why)),
            Ok(Err(Refusal::Unknown | Refusal::Unavailable(_) | Refusal::NoIssuerKeys { .. })) | Err(_) => {
                None
            }
        }
    }

    /// `None`: more was revoked than fits into memory, so the store has to be asked.
    fn is_revoked(&self, live: &Live, now_ms: i64) -> Option<bool> {
        let Some(token_id) = &live.token_id else { return Some(false) };
        self.seen.lock().is_token_revoked(token_id, now_ms / 1000)
    }

    /// Whether what it has shown is still taken, as far as that does not depend on the store.
    fn check_evidence_of(&self, live: &Live) -> Result<(), String> {
        live.evidence.as_ref().map_or(Ok(()), |evidence| self.check_evidence(evidence))
    }

    /// All that a right depends on, looked up where it is not known. The inner fault: something of it is not there.
    async fn facts(
        &self,
        about: &About,
        now_ms: i64,
        asker: Asker,
    ) -> Result<Result<Facts, Refusal>, Refusal> {
        let gone = |what: &dyn std::fmt::Display| Ok(Err(Refusal::Bad(format!("{what} has been removed"))));
        let mut key = None;
        // With a key its application becomes known.
        if let Some(key_id) = &about.key_id {
            key = self.key_facts(key_id, now_ms, asker).await?;
            if key.is_none() {
                return gone(&format_args!("key {key_id}"));
            }
        }
        let Some(subject) = self.subject_facts(&about.subject, now_ms, asker).await? else {
            return gone(&about.subject);
        };
        let mut facts = Facts { subject, key, client: None };
        if let Some(client) = &about.client {
            facts.client = self.subject_facts(client, now_ms, asker).await?;
            if facts.client.is_none() {
                return gone(client);
            }
        }
        Ok(Ok(facts))
    }

    /// Hears what has changed. Called a few times a second, and whenever something is known to have changed.
    pub async fn follow(&self, now_ms: i64) -> Followed {
        match within(self.changes(now_ms)).await {
            Ok(changes) => {
                self.heard_ms.store(now_ms, Ordering::Release);
                if self.silent.swap(false, Ordering::AcqRel) {
                    tracing::info!("the identity store answers again");
                }
                match changes {
                    Changes::GoneBack { followed, last } => {
                        tracing::warn!(
                            "the identity store has gone back: the change {followed} that was followed last is not \
                             there any more, the last is {last} now; nothing that was known is believed any more"
                        );
                        self.known.lock().clear();
                        Followed::Changed(Vec::new())
                    }
                    Changes::Since(changes) if changes.is_empty() => Followed::Unchanged,
                    Changes::Since(changes) => {
                        self.note(&changes, now_ms);
                        Followed::Changed(changes)
                    }
                }
            }
            Err(fault) => {
                if !self.silent.swap(true, Ordering::AcqRel) {
                    let stale_s = self.stale_ms.load(Ordering::Relaxed) / 1000;
                    tracing::warn!(
                        "{fault}; who is known goes on for {stale_s} s (identity_stale), others are refused"
                    );
                }
                if self.is_fresh(now_ms) {
                    Followed::Silent
                } else {
                    self.known.lock().clear();
                    Followed::Stale
                }
            }
        }
    }

    /// What was written since the last time.
    async fn changes(&self, now_ms: i64) -> Result<Changes, StoreFault> {
        let followed = self.followed.lock().clone();
        match self.store.changes_after_seen(followed.as_ref()).await? {
            Some(changes) => {
                if let Some(last) = changes.last() {
                    *self.followed.lock() = Some(last.clone());
                }
                Ok(Changes::Since(changes))
            }
            None => {
                let last = self.store.newest_change().await?;
                // What was revoked up to there is not heard any more.
                read_revoked(&self.store, &self.seen, now_ms).await?;
                let seq = |entry: &Option<Audit>| entry.as_ref().map_or(0, |entry| entry.seq);
                let gone_back = Changes::GoneBack { followed: seq(&followed), last: seq(&last) };
                *self.followed.lock() = last;
                Ok(gone_back)
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

    /// Uses of keys that are to be written down, if there are any. Of a store that does not answer it waits for
    /// one part, and not for long.
    ///
    /// # Errors
    /// The store does not answer; they are kept for the next time. Why, for the log.
    pub async fn write_used(&self) -> Result<(), String> {
        let used = std::mem::take(&mut *self.used.lock());
        if used.is_empty() {
            return Ok(());
        }
        let batch: Vec<(String, i64, String)> =
            used.iter().map(|(key, (at_ms, from))| (key.clone(), *at_ms, from.to_string())).collect();
        let mut written = Ok(());
        for part in batch.chunks(USED_BATCH) {
            written = within(self.store.note_used(part)).await;
            if written.is_err() {
                break;
            }
        }
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
            // Without its end it is remembered for a day: no token lives longer.
            let ends_ms = change.detail.get("ends_ms").and_then(serde_json::Value::as_i64);
            let ends_s = ends_ms.map_or(now_ms / 1000 + 86_400, |ends_ms| ends_ms / 1000);
            seen.revoke_token(&change.object, ends_s, now_ms / 1000);
        }
    }

    async fn key_facts(
        &self,
        key_id: &str,
        now_ms: i64,
        asker: Asker,
    ) -> Result<Option<Arc<KeyFacts>>, Refusal> {
        let (known, generation) = {
            let known = self.known.lock();
            (known.key(key_id), known.generation())
        };
        if known.is_some() && self.is_fresh(now_ms) {
            return Ok(known);
        }
        let found = self.ask(asker, self.store.facts_of_key(key_id)).await?;
        let facts = found.map(Arc::new);
        if let Some(facts) = &facts {
            self.known.lock().put_key(key_id, facts.clone(), generation);
        }
        Ok(facts)
    }

    async fn subject_facts(
        &self,
        subject: &Id,
        now_ms: i64,
        asker: Asker,
    ) -> Result<Option<Arc<SubjectFacts>>, Refusal> {
        let (known, generation) = {
            let known = self.known.lock();
            (known.subject(subject), known.generation())
        };
        if known.is_some() && self.is_fresh(now_ms) {
            return Ok(known);
        }
        let found = self.ask(asker, self.store.facts_of_subject(subject)).await?;
        let facts = found.map(Arc::new);
        if let Some(facts) = &facts {
            self.known.lock().put_subject(subject, facts.clone(), generation);
        }
        Ok(facts)
    }

    /// Asks the store, not for ever, and not while it is known that it does not answer.
    async fn ask<T>(
        &self,
        asker: Asker,
        question: impl Future<Output = Result<T, StoreFault>>,
    ) -> Result<T, Refusal> {
        self.check_answering()?;
        let _turn = match asker {
            Asker::Visitor => {
                let turn = self.lookups.acquire().await.ok();
                // It may have fallen silent while others were asking.
                self.check_answering()?;
                turn
            }
            Asker::Ourselves => None,
        };
        within(question).await.map_err(Refusal::Unavailable)
    }

    fn judge_key(&self, visitor: &Visitor, key: &ParsedKey, facts: &KeyFacts) -> Result<Welcome, Refusal> {
        let key_id = &facts.credential.key_id;
        if !facts.is_shown_by(key) {
            return Err(Refusal::Bad(format!("wrong secret or environment for key {key_id}")));
        }
        credential_good(&facts.credential, visitor.now_ms)
            .map_err(|why| Refusal::Bad(format!("key {key_id}: {why}")))?;
        let mut welcome = judge(visitor, &facts.subject, facts.credential.data.expires_ms)?;
        welcome.key_id = Some(key_id.clone());
        self.note_use(key_id, visitor.now_ms, &visitor.from);
        Ok(welcome)
    }
}

impl UseLog for Door {
    fn used(&self, key_id: &str, now_ms: i64, from: &str) {
        self.note_use(key_id, now_ms, &from.into());
    }
}

/// Reads all tokens that are revoked; what is known of others stays.
async fn read_revoked(store: &Store, seen: &Mutex<Seen>, now_ms: i64) -> Result<(), StoreFault> {
    // One more than fits: by that it is noticed that there are more.
    let limit = u32::try_from(REVOKED_MAX + 1).unwrap_or(u32::MAX);
    let all = store.revoked_tokens(now_ms, limit).await?;
    let mut seen = seen.lock();
    for revoked in all {
        seen.revoke_token(&revoked.key, revoked.ends_ms / 1000, now_ms / 1000);
    }
    Ok(())
}

fn parse_key(secret: &Secret) -> Result<ParsedKey, Refusal> {
    let text = secret.expose_text().ok_or_else(|| Refusal::Bad("no key: it is not UTF-8".to_owned()))?;
    Key::parse(text).map_err(|fault| Refusal::Bad(fault.to_string()))
}

/// Waits for the store, not for ever.
async fn within<T>(question: impl Future<Output = Result<T, StoreFault>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|fault| fault.to_string()),
        Err(_) => Err(format!("the identity store has not answered for {} s", PATIENCE.as_secs())),
    }
}
