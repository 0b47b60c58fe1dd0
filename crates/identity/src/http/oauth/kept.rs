//! What is kept between requests: authorization codes, and sign-ins with the refresh token that is good.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use plimsoll_types::Secret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base62::{self, BITS_256_CHARS};
use crate::id::Id;
use crate::store::{Put, Store, StoreFault, Thing};
use crate::token::Family;

/// How long a code is good, milliseconds (RFC 6749, 4.1.2, allows ten minutes).
pub(super) const CODE_LIFE_MS: i64 = 60_000;

/// How long it is known of a code what it was used for, milliseconds: as long as a token may live.
const CODE_MEMORY_MS: i64 = 24 * 3_600_000;

const CODES: &str = "code";
const USED_CODES: &str = "code_used";
const SIGN_INS: &str = "refresh";

/// What a code stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Code {
    /// Who signed in.
    pub(super) subject: Id,
    /// To which application.
    pub(super) client: Id,
    /// Where the code was sent.
    pub(super) redirect_uri: String,
    /// The challenge of PKCE.
    pub(super) challenge: String,
    /// For whom the tokens are.
    pub(super) audience: String,
    /// What they may be used for.
    pub(super) scope: String,
}

/// A code with what stands for it in the store.
pub(super) struct FoundCode {
    pub(super) code: Code,
    thing: Thing,
}

/// What came of a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeUse {
    /// The sign-in.
    pub(super) family: String,
}

/// A sign-in, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// With the refresh token that is good.
    pub(super) family: Family,
    /// A hash of the password's hash: with another password all sign-ins end.
    pub(super) password: String,
    /// The access token that was issued last. It ends with the sign-in.
    pub(super) token: LastToken,
}

/// A sign-in with what stands for it in the store, so that this one is replaced and no other.
pub(super) struct FoundSignIn {
    pub(super) sign_in: SignIn,
    thing: Thing,
}

/// An access token, as far as it is known after it was given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastToken {
    /// Its `jti`.
    pub(super) id: String,
    /// When it ends, seconds since 1970.
    pub(super) ends_s: i64,
}

/// A new code: its text.
pub(super) fn new_code(chance: &[u8; 32]) -> Secret {
    Secret::from_text(&base62::write(chance, BITS_256_CHARS))
}

/// By what the store knows a secret.
pub(super) fn hash(secret: &[u8]) -> String {
    BASE64URL.encode(Sha256::digest(secret))
}

/// Keeps a code.
pub(super) async fn put_code(
    store: &Store,
    code: &Secret,
    about: &Code,
    now_ms: i64,
) -> Result<(), StoreFault> {
    let ends_ms = now_ms.saturating_add(CODE_LIFE_MS);
    put(store, CODES, &hash(code.expose()), about, ends_ms, now_ms).await
}

/// A code, for looking.
pub(super) async fn code(store: &Store, code: &str, now_ms: i64) -> Result<Option<FoundCode>, StoreFault> {
    let thing = store.thing(CODES, &hash(code.as_bytes()), now_ms).await?;
    Ok(thing.and_then(|thing| Some(FoundCode { code: read(&thing.value)?, thing })))
}

/// A code is good no more.
pub(super) async fn end_code(store: &Store, found: &FoundCode, now_ms: i64) -> Result<(), StoreFault> {
    store.take_thing(CODES, &found.thing.key, now_ms).await.map(drop)
}

/// Puts a sign-in, by the name of its family, in the place of the code that was found, if that is still there; whether it
/// was. Of several that try one does it, and whoever comes later knows what the code was used for.
pub(super) async fn trade_code(
    store: &Store,
    found: &FoundCode,
    family: &str,
    sign_in: &SignIn,
    now_ms: i64,
) -> Result<bool, StoreFault> {
    let begun = Thing { key: family.to_owned(), value: write(sign_in), ends_ms: sign_in.family.ends_ms() };
    let used = Thing {
        key: found.thing.key.clone(),
        value: write(&CodeUse { family: family.to_owned() }),
        ends_ms: now_ms.saturating_add(CODE_MEMORY_MS),
    };
    store.trade_thing(CODES, &found.thing, &[(SIGN_INS, &begun), (USED_CODES, &used)]).await
}

/// What a code was used for, if it was.
pub(super) async fn code_use(store: &Store, code: &str, now_ms: i64) -> Result<Option<CodeUse>, StoreFault> {
    let thing = store.thing(USED_CODES, &hash(code.as_bytes()), now_ms).await?;
    Ok(thing.and_then(|thing| read(&thing.value)))
}

/// Puts a sign-in in the place of the one that was found, if that is still there; whether it was. Somebody else may have
/// ended it meanwhile, or used it.
pub(super) async fn swap_sign_in(
    store: &Store,
    found: &FoundSignIn,
    next: &SignIn,
) -> Result<bool, StoreFault> {
    let old = &found.thing;
    let new = Thing { key: old.key.clone(), value: write(next), ends_ms: next.family.ends_ms() };
    store.swap_thing(SIGN_INS, old, &new).await
}

/// Takes a sign-in out: it has ended.
pub(super) async fn take_sign_in(
    store: &Store,
    family: &str,
    now_ms: i64,
) -> Result<Option<SignIn>, StoreFault> {
    Ok(store.take_thing(SIGN_INS, family, now_ms).await?.and_then(|text| read(&text)))
}

/// A sign-in, for looking.
pub(super) async fn sign_in(
    store: &Store,
    family: &str,
    now_ms: i64,
) -> Result<Option<FoundSignIn>, StoreFault> {
    let thing = store.thing(SIGN_INS, family, now_ms).await?;
    Ok(thing.and_then(|thing| Some(FoundSignIn { sign_in: read(&thing.value)?, thing })))
}

/// Keeps something under a name; whoever comes second with the same name finds it taken, which nobody does who draws
/// 128 bits.
pub(super) async fn put(
    store: &Store,
    space: &str,
    key: &str,
    about: &impl Serialize,
    ends_ms: i64,
    now_ms: i64,
) -> Result<(), StoreFault> {
    store.put_thing(space, key, &write(about), ends_ms, Put::Replace, now_ms).await.map(drop)
}

fn write(about: &impl Serialize) -> String {
    serde_json::to_string(about).expect("our own types have text keys and no failing Serialize")
}

/// What this program did not write, or an older one, has ended.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
