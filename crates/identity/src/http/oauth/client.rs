//! Which application asks, and how it proves it: a key by HTTP Basic (RFC 6749, 2.3.1), a signature with a key of its own
//! (`private_key_jwt`, RFC 7523), or nothing, if it has no credential that it could show.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use plimsoll_types::Secret;

use super::OAuth;
use super::ask::Ask;
use super::fault::{OAuthError, OAuthFault};
use super::params::{Params, decode};
use crate::base62::{self, BITS_256_CHARS, CHECKSUM_CHARS};
use crate::http::caller::right_key;
use crate::http::gate::Count;
use crate::id::{Id, Kind};
use crate::key::{Key, ParsedKey, check_key_id, looks_like_key};
use crate::model::{Application, Credential, CredentialKind, Organisation, Scope, State};
use crate::rules::{credential_good, subject_good};
use crate::store::{CredentialFilter, Holder, Page, Put, SubjectFacts};
use crate::token::{AssertionRules, AssertionSays, PublicKey, peek_assertion, verify_assertion};

/// `client_assertion_type` of RFC 7523, 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The store's space of assertions that were used.
const ASSERTIONS: &str = "assertion";

/// Most public keys of an application that an assertion is compared with: each costs a signature check.
const PUBLIC_KEYS_MAX: usize = 16;

/// Public keys of an application among which those of a name are sought: so many pages of a list, of so many each.
const PUBLIC_KEY_PAGES_MAX: u32 = 5;
const PUBLIC_KEY_PAGE: u32 = 200;

/// Characters of the secret of a key with the checksum behind it.
const SECRET_AND_SUM_CHARS: usize = BITS_256_CHARS + CHECKSUM_CHARS;

/// An application that asks.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) app: Application,
    pub(super) org: Organisation,
    /// What it showed; `None`: it has nothing to show, and may be anybody who says its id.
    pub(super) credential: Option<Credential>,
}

impl Client {
    /// The key id that tokens name, so that they end with it.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.credential.as_ref().map(|credential| credential.key_id.as_str())
    }

    /// What it may do over the API for itself.
    pub(super) fn scopes(&self) -> &[Scope] {
        self.credential.as_ref().map_or(&[], |credential| credential.data.scopes.as_slice())
    }
}

/// What a request offers as a proof.
enum Offer<'a> {
    /// A key: what is said to be its id or its application's, and the text of it.
    Key { user: String, password: Secret },
    /// A signed assertion.
    Assertion { text: &'a str },
    /// An id and no proof.
    Name { app: &'a str },
}

fn refused(why: impl Into<std::borrow::Cow<'static, str>>) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidClient, why)
}

fn invalid(why: &'static str) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidRequest, why)
}

/// The words for an unknown key and for a wrong secret are the same.
const WRONG: &str = "the application is not known, or its proof is wrong";

/// Finds out which application asks.
///
/// # Errors
/// `invalid_client`: it is not known, proves nothing, or may not be used; `invalid_request`: it offers several proofs.
pub(super) async fn authenticate(oauth: &OAuth, ask: &Ask) -> Result<Client, OAuthFault> {
    oauth.look(Count::FailuresFrom(ask.from))?;
    let offer = Offer::read(&ask.headers, &ask.params)?;
    let found = match &offer {
        Offer::Key { user, password } => by_key(oauth, ask, user, password).await,
        Offer::Assertion { text } => by_assertion(oauth, ask.from, text).await,
        Offer::Name { app } => by_name(oauth, app).await,
    };
    let client = found.inspect_err(|fault| {
        if fault.error == OAuthError::InvalidClient {
            oauth.count(Count::FailuresFrom(ask.from));
        }
    })?;
    if let Some(key_id) = client.key_id() {
        oauth.take(Count::Requests(key_id))?;
    }
    match ask.params.find("client_id") {
        Some(named) if named != client.app.id.as_str() && Some(named) != client.key_id() => {
            Err(invalid("client_id is another application than the one that is proved"))
        }
        Some(_) | None => Ok(client),
    }
}

impl Offer<'_> {
    fn read<'a>(headers: &HeaderMap, params: &'a Params) -> Result<Offer<'a>, OAuthFault> {
        if params.find("client_secret").is_some() {
            return Err(refused(
                "client_secret in the body is not accepted: use HTTP Basic (client_secret_basic) or private_key_jwt",
            ));
        }
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        let authorization = authorizations.next();
        if authorizations.next().is_some() {
            return Err(invalid("Authorization is there twice"));
        }
        match (authorization, params.find("client_assertion"), params.find("client_id")) {
            (Some(_), Some(_), _) => Err(invalid("one proof at a time: Authorization or client_assertion")),
            (Some(value), None, _) => {
                let value = value.to_str().map_err(|_| refused("Authorization is no text"))?;
                let (user, password) = basic(value)
                    .ok_or_else(|| refused("Authorization has to be Basic with a key id and a key"))?;
                Ok(Offer::Key { user, password })
            }
            (None, Some(text), _) => match params.find("client_assertion_type") {
                Some(JWT_BEARER) => Ok(Offer::Assertion { text }),
                Some(_) | None => Err(invalid("client_assertion_type is not the one of RFC 7523, 2.2")),
            },
            (None, None, Some(app)) => Ok(Offer::Name { app }),
            (None, None, None) => Err(refused("the application has to say which it is")),
        }
    }
}

/// User and password of `Basic …`, both of which are form-encoded inside (RFC 6749, 2.3.1).
fn basic(value: &str) -> Option<(String, Secret)> {
    let (scheme, text) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let both = Secret::new(BASE64.decode(text.trim()).ok()?);
    let (user, password) = both.expose_text()?.split_once(':')?;
    let password = decode(password)?;
    Some((decode(user)?, Secret::new(password.into_bytes())))
}

async fn by_key(oauth: &OAuth, ask: &Ask, user: &str, password: &Secret) -> Result<Client, OAuthFault> {
    let key = key_of(user, password)?;
    // Who knows a key id may not shut its owner out: only addresses that were wrong before are refused unheard.
    if oauth.http.gate().has_taken(Count::FailuresFrom(ask.from), oauth.http.now_ms()) {
        oauth.look(Count::FailuresOf(&key.key_id))?;
    }
    let Some(facts) = right_key(oauth.http.store(), &key).await? else {
        oauth.count(Count::FailuresOf(&key.key_id));
        return Err(refused(WRONG));
    };
    let now_ms = oauth.http.now_ms();
    credential_good(&facts.credential, now_ms).map_err(|reason| refused(reason.to_string()))?;
    let client = client_of(&facts.subject, Some(facts.credential))?;
    if user != &*key.key_id && user != client.app.id.as_str() {
        return Err(refused(
            "the key is good, but the name beside it is neither its id nor its application's",
        ));
    }
    oauth.http.uses().used(&key.key_id, now_ms, &ask.from.to_string());
    Ok(client)
}

/// A whole key; or the secret part of one, beside its id.
fn key_of(user: &str, password: &Secret) -> Result<ParsedKey, OAuthFault> {
    let text = password.expose_text().unwrap_or_default();
    if looks_like_key(text) {
        return Key::parse(text).map_err(|fault| refused(fault.to_string()));
    }
    let is_secret = matches!(text.len(), BITS_256_CHARS | SECRET_AND_SUM_CHARS) && base62::is_all(text);
    if check_key_id(user).is_err() || !is_secret {
        return Err(refused("Authorization has to be Basic with a key id and a key"));
    }
    Ok(ParsedKey {
        env: Box::default(),
        key_id: user.into(),
        secret: Secret::from_text(&text[..BITS_256_CHARS]),
    })
}

async fn by_assertion(oauth: &OAuth, from: IpAddr, text: &str) -> Result<Client, OAuthFault> {
    let wrong = |fault: crate::token::TokenFault| refused(format!("client_assertion: {fault}"));
    let AssertionSays { client: named, kid } = peek_assertion(text).map_err(wrong)?;
    let app = Id::parse(Kind::App, &named).map_err(|_| refused(WRONG))?;
    let now_ms = oauth.http.now_ms();
    let token_endpoint = oauth.address("/oauth/token");
    let audiences = [oauth.signer.url(), token_endpoint.as_str()];
    let rules = AssertionRules { client: &named, audiences: &audiences, now_s: now_ms.div_euclid(1000) };
    let mut fault = refused(WRONG);
    let mut found = None;
    for (credential, key) in public_keys(oauth, &app, kid.as_deref(), now_ms).await? {
        match verify_assertion(text, &key, &rules) {
            Ok(assertion) => {
                found = Some((credential, assertion));
                break;
            }
            Err(why) => fault = wrong(why),
        }
    }
    let (credential, assertion) = found.ok_or(fault)?;
    let store = oauth.http.store();
    let first =
        store.put_thing(ASSERTIONS, &assertion.once, "", assertion.ends_ms, Put::IfAbsent, now_ms).await?;
    if !first {
        return Err(refused("client_assertion was used before: each is good once"));
    }
    let facts = store.facts_of_subject(&app).await?.ok_or_else(|| refused(WRONG))?;
    oauth.http.uses().used(&credential.key_id, now_ms, &from.to_string());
    client_of(&facts, Some(credential))
}

/// The public keys of an application that are good now: those of a name, if an assertion has one, else all.
async fn public_keys(
    oauth: &OAuth,
    app: &Id,
    kid: Option<&str>,
    now_ms: i64,
) -> Result<Vec<(Credential, PublicKey)>, OAuthFault> {
    let (mut fitting, mut after) = (Vec::new(), None);
    for _ in 0..PUBLIC_KEY_PAGES_MAX {
        let filter = CredentialFilter {
            app: Some(app.clone()),
            kind: Some(CredentialKind::PublicKey),
            state: Some(State::Active),
            ..CredentialFilter::default()
        };
        let page = Page { after, limit: PUBLIC_KEY_PAGE };
        let listed = oauth.http.store().credentials(filter, page).await?;
        let good = listed.items.into_iter().filter(|credential| credential_good(credential, now_ms).is_ok());
        let read = good.filter_map(|credential| {
            let key = PublicKey::read(&credential.data.public).ok()?;
            Some((credential, key))
        });
        fitting.extend(read.filter(|(_, key)| kid.is_none_or(|kid| key.is_called(kid))));
        if fitting.len() > PUBLIC_KEYS_MAX {
            return Err(refused(format!(
                "client_assertion: more than {PUBLIC_KEYS_MAX} public keys of this application may be meant: say \
                 which by its thumbprint, in kid"
            )));
        }
        match listed.next {
            None => return Ok(fitting),
            next @ Some(_) => after = next,
        }
    }
    let sought_max = PUBLIC_KEY_PAGES_MAX * PUBLIC_KEY_PAGE;
    Err(refused(format!(
        "client_assertion: this application has more than {sought_max} public keys: revoke some"
    )))
}

/// An application that has, or ever had, a credential shows one; it does not become anybody's when its last one is
/// revoked.
async fn by_name(oauth: &OAuth, name: &str) -> Result<Client, OAuthFault> {
    let app = Id::parse(Kind::App, name).map_err(|_| refused(WRONG))?;
    let store = oauth.http.store();
    let facts = store.facts_of_subject(&app).await?.ok_or_else(|| refused(WRONG))?;
    let filter = CredentialFilter { app: Some(app), ..CredentialFilter::default() };
    let any = store.credentials(filter, Page { after: None, limit: 1 }).await?;
    if !any.items.is_empty() {
        return Err(refused("this application has credentials, so it has to show one"));
    }
    client_of(&facts, None)
}

fn client_of(facts: &SubjectFacts, credential: Option<Credential>) -> Result<Client, OAuthFault> {
    subject_good(facts).map_err(|reason| refused(reason.to_string()))?;
    match &facts.holder {
        Holder::App(app) => Ok(Client { app: app.clone(), org: facts.org.clone(), credential }),
        Holder::User(_) => Err(refused(WRONG)),
    }
}
