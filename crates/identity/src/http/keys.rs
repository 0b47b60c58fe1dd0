//! Credentials of applications: made (a key is shown once), replaced by new ones with an overlap, revoked.

use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};

use super::HttpState;
use super::answer::Answer;
use super::caller::Caller;
use super::input::{IfMatch, IfNoneMatch, Json, PathText, Query};
use super::once::{Keep, Once};
use super::problem::Problem;
use super::query::{KeyQuery, Narrow};
use super::rights::org_of;
use super::route::{Route, Verb};
use crate::key::{Key, KeyFault, new_key_id};
use crate::model::{Credential, CredentialData, CredentialKind, Scope, State};
use crate::store::{Rotation, Store, StoreFault};
use crate::token::PublicKey;
use crate::whole;

/// Where all of them are.
const PATH: &str = "/v1/keys";

/// Longest time that an old key is good beside a new one, seconds: 90 days.
const OVERLAP_MAX_S: u32 = 90 * 24 * 3_600;

/// How often something is tried when somebody else changes the key at the same time.
const TRIES: u32 = 5;

/// How a key is rotated.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overlap {
    /// How long the old one stays good.
    #[serde(deserialize_with = "whole::one")]
    overlap_seconds: u32,
    /// When the new one ends, milliseconds since 1970.
    #[serde(default, deserialize_with = "whole::maybe")]
    expires_ms: Option<i64>,
}

/// A credential, and the key once.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    credential: &'a Credential,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Verb::Post, PATH, create)
            .called("createKey", "Make a key, or make another credential known")
            .parameters(&["idempotencyKey"])
            .takes("KeyData")
            .gives(
                201,
                "It was made. `key` is the whole key: it is shown here and never again.",
                "NewKey",
                &["Location", "ETag"],
            ),
        Route::new(Verb::Get, PATH, list)
            .called("listKeys", "Keys")
            .parameters(&["name", "app", "org", "state", "limit", "after"])
            .gives(200, "A part of the list.", "KeyPage", &[]),
        Route::new(Verb::Get, "/v1/keys/{id}", read)
            .called("readKey", "A key, without its secret")
            .path_id("KeyId")
            .parameters(&["ifNoneMatch"])
            .gives(200, "It.", "Key", &["ETag"])
            .gives_nothing(304, "It is as it was."),
        Route::new(Verb::Put, "/v1/keys/{id}", replace)
            .called("replaceKey", "Change a key: its name, scopes, end, state")
            .path_id("KeyId")
            .parameters(&["ifMatch"])
            .takes("KeyData")
            .gives(200, "As it is now.", "Key", &["ETag"]),
        Route::new(Verb::Delete, "/v1/keys/{id}", revoke)
            .called("revokeKey", "Revoke a key for good")
            .path_id("KeyId")
            .parameters(&["ifMatchOptional"])
            .gives_nothing(204, "It is revoked."),
        Route::new(Verb::Post, "/v1/keys/{id}/rotate", rotate)
            .called("rotateKey", "Make a key that takes the place of this one")
            .path_id("KeyId")
            .parameters(&["idempotencyKey", "ifMatchOptional"])
            .takes("Rotation")
            .gives(201, "The new key. `key` is shown here and never again.", "NewKey", &["Location", "ETag"]),
    ]
}

async fn create(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    once: Once,
    Json { value: data, sha256 }: Json<CredentialData>,
) -> Result<Answer, Problem> {
    // Before anything is written: whoever may not leaves no trace.
    need_credential(&caller, state.store(), &data).await?;
    let work = {
        let (state, caller) = (state.clone(), caller.clone());
        async move {
            let new = New::of(&state, &data)?;
            let created = state
                .store()
                .create_credential(new.key_id(), data, new.secret_sha256(), caller.who())
                .await?;
            Ok(shown(&created, &new))
        }
    };
    once.run(&state, &caller, sha256, Keep::Sealed, work).await
}

async fn list(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    Query(query): Query<KeyQuery>,
) -> Result<Answer, Problem> {
    let (filter, page) = query.narrow(&caller, state.store()).await?.into();
    Ok(Answer::ok(&state.store().credentials(filter, page).await?))
}

async fn read(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(key_id): PathText,
    known: IfNoneMatch,
) -> Result<Answer, Problem> {
    let credential = state.store().credential(&key_id).await?;
    if caller.subject != credential.data.app {
        need_app(&caller, state.store(), &credential.data).await?;
    }
    let version = credential.meta.version;
    let answer = if known.has(version) { Answer::same() } else { Answer::ok(&credential) };
    Ok(answer.version(version))
}

async fn replace(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(key_id): PathText,
    expected: IfMatch,
    Json { value: data, sha256: _ }: Json<CredentialData>,
) -> Result<Answer, Problem> {
    let expected = expected.need()?;
    let old = state.store().credential(&key_id).await?;
    need_credential(&caller, state.store(), &old.data).await?;
    caller.need_over(&data.scopes)?;
    let version = old.meta.version;
    expected.check(version)?;
    let new = state.store().change_credential(&key_id, Some(version), data, caller.who()).await?;
    Ok(Answer::ok(&new).version(new.meta.version))
}

async fn revoke(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(key_id): PathText,
    expected: IfMatch,
) -> Result<Answer, Problem> {
    let mut tries = TRIES;
    loop {
        let old = state.store().credential(&key_id).await?;
        need_credential(&caller, state.store(), &old.data).await?;
        expected.check(old.meta.version)?;
        let data = CredentialData { state: State::Revoked, ..old.data };
        let version = Some(old.meta.version);
        tries -= 1;
        match (state.store().change_credential(&key_id, version, data, caller.who()).await, expected) {
            (Ok(_), _) => return Ok(Answer::done()),
            (Err(StoreFault::Stale { .. }), IfMatch::Unsaid | IfMatch::Any) if tries > 0 => {}
            (Err(fault), _) => return Err(fault.into()),
        }
    }
}

async fn rotate(
    Shared(state): Shared<HttpState>,
    caller: Caller,
    PathText(key_id): PathText,
    expected: IfMatch,
    once: Once,
    Json { value: overlap, sha256 }: Json<Overlap>,
) -> Result<Answer, Problem> {
    // Asked before a kept answer is given, too: a key that is gone went with its application, and the new one with it.
    let old = state.store().credential(&key_id).await?;
    need_credential(&caller, state.store(), &old.data).await?;
    let work = {
        let (state, caller) = (state.clone(), caller.clone());
        async move { rotate_once(&state, &caller, &old, expected, &overlap).await }
    };
    once.run(&state, &caller, sha256, Keep::Sealed, work).await
}

async fn rotate_once(
    state: &HttpState,
    caller: &Caller,
    old: &Credential,
    expected: IfMatch,
    overlap: &Overlap,
) -> Result<Answer, Problem> {
    if overlap.overlap_seconds > OVERLAP_MAX_S {
        return Err(Problem::invalid("overlap_seconds", format!("it is at most {OVERLAP_MAX_S}")));
    }
    if overlap.expires_ms.is_some_and(|expires_ms| expires_ms <= caller.now_ms) {
        // With the last administrator key that would be the end of all.
        return Err(Problem::invalid(
            "expires_ms",
            "the new key would have ended before it is made".to_owned(),
        ));
    }
    expected.check(old.meta.version)?;
    let new = New::of(state, &old.data)?;
    let New::Key(key) = &new else {
        return Err(Problem::conflict("only a key is rotated: make the other credential known as a new one"));
    };
    let rotation = Rotation {
        key_id: key.key_id(),
        secret_sha256: key.secret_sha256(),
        expires_ms: overlap.expires_ms,
        old_ends_ms: caller.now_ms.saturating_add(i64::from(overlap.overlap_seconds) * 1_000),
    };
    let version = Some(old.meta.version);
    let rotated = state.store().rotate_credential(&old.key_id, version, rotation, caller.who()).await?;
    Ok(shown(&rotated.fresh, &new))
}

/// Something new, by its kind.
enum New {
    /// A key, with its secret.
    Key(Key),
    /// The key id of another credential.
    Other(String),
}

impl New {
    fn of(state: &HttpState, data: &CredentialData) -> Result<New, Problem> {
        match data.kind {
            CredentialKind::Key => Key::mint(&data.env, &state.chance()?)
                .map(New::Key)
                .map_err(|fault: KeyFault| Problem::invalid("env", fault.to_string())),
            CredentialKind::PublicKey => {
                PublicKey::read(&data.public)
                    .map_err(|fault| Problem::invalid("public", fault.to_string()))?;
                Ok(New::Other(new_key_id(&state.chance()?)))
            }
            CredentialKind::Certificate => Ok(New::Other(new_key_id(&state.chance()?))),
        }
    }

    fn key_id(&self) -> &str {
        match self {
            New::Key(key) => key.key_id(),
            New::Other(key_id) => key_id,
        }
    }

    fn secret_sha256(&self) -> Option<[u8; 32]> {
        match self {
            New::Key(key) => Some(key.secret_sha256()),
            New::Other(_) => None,
        }
    }
}

fn shown(credential: &Credential, new: &New) -> Answer {
    let key = match new {
        New::Key(key) => key.text().expose_text(),
        New::Other(_) => None,
    };
    let location = format!("{PATH}/{}", credential.key_id);
    Answer::created(&Shown { credential, key }, location).version(credential.meta.version)
}

/// Whether a credential is, or would be, in the caller's hands.
async fn need_credential(caller: &Caller, store: &Store, data: &CredentialData) -> Result<(), Problem> {
    need_app(caller, store, data).await?;
    caller.need_over(&data.scopes)
}

async fn need_app(caller: &Caller, store: &Store, data: &CredentialData) -> Result<(), Problem> {
    if caller.has(Scope::Admin) {
        return Ok(());
    }
    match org_of(store, &data.app).await? {
        Some(org) => caller.need_org(&org),
        None => caller.need_admin(),
    }
}
