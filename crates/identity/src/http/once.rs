//! The same answer for the same `Idempotency-Key`: whoever does not know whether a request arrived may send it again.
//!
//! An answer is kept for a day, under a hash of who asked, of the path and of the key. Answers that tell a secret are
//! sealed with what the store does not have: the key or token which was presented, and the `Idempotency-Key` itself.

use std::future::Future;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::HttpState;
use super::answer::Answer;
use super::caller::Caller;
use super::input::single;
use super::problem::Problem;
use crate::store::Put;

/// The space of the store where answers are kept.
const SPACE: &str = "idempotency";

/// How long an answer is kept, milliseconds.
const KEPT_MS: i64 = 24 * 3_600 * 1_000;

/// How long a request that has begun keeps others from beginning, milliseconds: the process may end before it ends.
const DOING_MS: i64 = 60 * 1_000;

/// Longest `Idempotency-Key`, bytes.
const KEY_BYTES_MAX: usize = 255;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// What a request says about being the same as another.
#[derive(Clone, Debug)]
pub(super) struct Once {
    key: Option<String>,
    path: String,
}

/// How an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// As it is.
    Plain,
    /// So that the store alone does not tell it.
    Sealed,
}

/// What is kept.
#[derive(Serialize, Deserialize)]
struct Record {
    /// The hash of the body, base64.
    body: String,
    kept: Kept,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// It has begun. Leads to the others, or is removed.
    Doing,
    Plain(Answer),
    /// Nonce and sealed answer, base64.
    Sealed(String, String),
}

impl FromRequestParts<HttpState> for Once {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &HttpState) -> Result<Once, Problem> {
        let key = single(&parts.headers, &HEADER)?;
        if key.is_some_and(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(Problem::bad_request(format!("an Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes")));
        }
        Ok(Once { key: key.map(str::to_owned), path: parts.uri.path().to_owned() })
    }
}

impl Once {
    /// Does the work, or answers what was answered before. Whether the caller may is asked before: from here on there are
    /// traces of it in the store. Not cancel safe towards the store, but the work goes on to its
    /// end when nobody waits for the answer any more.
    pub(super) async fn run(
        self,
        state: &HttpState,
        caller: &Caller,
        body_sha256: [u8; 32],
        keep: Keep,
        work: impl Future<Output = Result<Answer, Problem>> + Send + 'static,
    ) -> Result<Answer, Problem> {
        let Some(key) = self.key else { return work.await };
        let place = Place {
            name: name(&caller.actor, &self.path, &key),
            body: BASE64.encode(body_sha256),
            seal: seal_key(&caller.presented_sha256, &key),
            now_ms: caller.now_ms,
        };
        let doing = place.record(Kept::Doing);
        let ends_ms = place.now_ms.saturating_add(DOING_MS);
        let store = state.store();
        if !store.put_thing(SPACE, &place.name, &doing, ends_ms, Put::IfAbsent, place.now_ms).await? {
            let kept = store.thing(SPACE, &place.name, place.now_ms).await?;
            return place.again(kept.map(|thing| thing.value));
        }
        let state = state.clone();
        let task = tokio::spawn(async move {
            let result = work.await;
            place.end(&state, keep, &result).await;
            result
        });
        // It panics nowhere; if it did, what was done is unknown.
        task.await.unwrap_or_else(|_| Err(Problem::unavailable()))
    }
}

/// Where an answer is kept.
struct Place {
    name: String,
    body: String,
    seal: [u8; 32],
    now_ms: i64,
}

impl Place {
    fn record(&self, kept: Kept) -> String {
        let record = Record { body: self.body.clone(), kept };
        serde_json::to_string(&record).expect("texts and numbers are always JSON")
    }

    /// What somebody gets who was not the first.
    fn again(&self, kept: Option<String>) -> Result<Answer, Problem> {
        // Gone in between: the first one failed, and another try may do it.
        let Some(kept) = kept else { return Err(in_progress()) };
        let record: Record = serde_json::from_str(&kept).map_err(|_| in_progress())?;
        if record.body != self.body {
            let title = "An Idempotency-Key is for one request only";
            let detail = "it was used with another body before";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "reused", title, detail));
        }
        match record.kept {
            Kept::Doing => Err(in_progress()),
            Kept::Plain(answer) => Ok(answer),
            Kept::Sealed(nonce, sealed) => open(&self.seal, &nonce, &sealed).ok_or_else(|| {
                Problem::conflict(
                    "it was done before, and the answer, which tells a secret, is given again only to the key or \
                     token that asked first",
                )
            }),
        }
    }

    /// Keeps the answer; what failed may be tried again.
    async fn end(&self, state: &HttpState, keep: Keep, result: &Result<Answer, Problem>) {
        let kept = result.as_ref().ok().and_then(|answer| match keep {
            Keep::Plain => Some(Kept::Plain(answer.clone())),
            Keep::Sealed => seal(&self.seal, answer),
        });
        let store = state.store();
        let stored = match kept {
            Some(kept) => {
                let ends_ms = self.now_ms.saturating_add(KEPT_MS);
                let record = self.record(kept);
                store
                    .put_thing(SPACE, &self.name, &record, ends_ms, Put::Replace, self.now_ms)
                    .await
                    .map(drop)
            }
            None => store.take_thing(SPACE, &self.name, self.now_ms).await.map(drop),
        };
        if let Err(fault) = stored {
            tracing::warn!("identity API: an answer could not be kept for its Idempotency-Key: {fault}");
        }
    }
}

fn in_progress() -> Problem {
    let title = "The first of the same requests has not ended";
    let detail = "another request with this Idempotency-Key is at work";
    Problem::new(StatusCode::CONFLICT, "in_progress", title, detail).retry_after(1)
}

fn name(actor: &str, path: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for part in [actor, path, key] {
        hash.update(part);
        hash.update([0]);
    }
    BASE64.encode(hash.finalize())
}

fn seal_key(presented_sha256: &[u8; 32], key: &str) -> [u8; 32] {
    Sha256::new()
        .chain_update("plimsoll answer")
        .chain_update(presented_sha256)
        .chain_update(key)
        .finalize()
        .into()
}

/// `None`: it cannot be kept, since there is no chance to be had.
fn seal(key: &[u8; 32], answer: &Answer) -> Option<Kept> {
    let mut text = serde_json::to_vec(answer).ok()?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut text).ok()?;
    Some(Kept::Sealed(BASE64.encode(nonce.as_ref()), BASE64.encode(text)))
}

fn open(key: &[u8; 32], nonce: &str, sealed: &str) -> Option<Answer> {
    let nonce: [u8; NONCE_LEN] = BASE64.decode(nonce).ok()?.try_into().ok()?;
    let mut sealed = BASE64.decode(sealed).ok()?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let text = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed).ok()?;
    serde_json::from_slice(text).ok()
}
