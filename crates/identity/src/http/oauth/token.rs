//! `POST /oauth/token`: tokens for an application itself (RFC 6749, 4.4), for who has signed in (4.1.3), and for who
//! goes on with a sign-in (6).

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use super::OAuth;
use super::ask::Ask;
use super::client::{Client, authenticate};
use super::fault::{OAuthError, OAuthFault, json_response};
use super::kept::{self, Code, FoundCode, LastToken, SignIn};
use super::wanted;
use crate::id::Id;
use crate::model::{Organisation, Scope, User};
use crate::rules::subject_good;
use crate::store::{Holder, SubjectFacts};
use crate::token::{
    Family, Issued, NewFamily, NewToken, RefreshFault, RefreshToken, Refreshed, verify_challenge,
};

/// How long a sign-in is good, however often it is used, milliseconds.
const SIGN_IN_LIFE_MS: i64 = 30 * 24 * 3_600_000;

/// How long a refresh token may lie unused, milliseconds.
const SIGN_IN_IDLE_MS: i64 = 7 * 24 * 3_600_000;

/// The endpoint.
pub(super) async fn token(oauth: OAuth, ask: Result<Ask, OAuthFault>) -> Result<Response, OAuthFault> {
    let ask = ask?;
    let kind = ask.params.wanted("grant_type", "grant_type is missing")?;
    match kind {
        "client_credentials" => for_itself(&oauth, &ask).await,
        "authorization_code" => for_code(&oauth, &ask).await,
        "refresh_token" => for_refresh(&oauth, &ask).await,
        _ => Err(OAuthFault::new(
            OAuthError::UnsupportedGrantType,
            "grant_type: there are client_credentials, authorization_code and refresh_token",
        )),
    }
}

fn bad_grant(why: &'static str) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidGrant, why)
}

/// The words for an unknown, an ended and a used code are the same.
const BAD_CODE: &str = "the code is not known, has ended, or was used";

async fn for_itself(oauth: &OAuth, ask: &Ask) -> Result<Response, OAuthFault> {
    let client = authenticate(oauth, ask).await?;
    if client.credential.is_none() {
        return Err(OAuthFault::new(
            OAuthError::UnauthorizedClient,
            "an application without a credential gets no tokens for itself",
        ));
    }
    let scopes = wanted::allowed_scopes(ask.params.find("scope"), client.scopes())?;
    wanted::check_audience(&ask.params, &oauth.audience)?;
    let audience = &oauth.audience;
    let grant = Granted { subject: &client.app.id, org: &client.org, client: &client, audience, scopes };
    let issued = grant.issue(oauth)?;
    Ok(grant.answer(&issued, None))
}

/// What a token is issued for.
struct Granted<'a> {
    subject: &'a Id,
    org: &'a Organisation,
    client: &'a Client,
    audience: &'a str,
    scopes: Vec<Scope>,
}

impl Granted<'_> {
    fn issue(&self, oauth: &OAuth) -> Result<Issued, OAuthFault> {
        let new = NewToken {
            subject: self.subject,
            client: &self.client.app.id,
            org: &self.org.id,
            audience: self.audience,
            scope: &wanted::words(&self.scopes),
            kid_used: self.client.key_id(),
        };
        let issued = oauth.signer.issue(&new, oauth.now_s(), &oauth.chance()?);
        issued.map_err(|fault| {
            tracing::error!(fault = %fault, "a token could not be signed");
            OAuthFault::new(OAuthError::TemporarilyUnavailable, "the token could not be signed")
        })
    }

    fn answer(&self, issued: &Issued, refresh: Option<&RefreshToken>) -> Response {
        let text = |secret: &plimsoll_types::Secret| Value::from(secret.expose_text().unwrap_or_default());
        let mut body = Map::new();
        body.insert("access_token".to_owned(), text(&issued.token));
        body.insert("token_type".to_owned(), "Bearer".into());
        body.insert("expires_in".to_owned(), issued.life_s.into());
        if !self.scopes.is_empty() {
            body.insert("scope".to_owned(), wanted::words(&self.scopes).into());
        }
        if let Some(refresh) = refresh {
            body.insert("refresh_token".to_owned(), text(refresh.text()));
        }
        json_response(StatusCode::OK, &Value::Object(body))
    }
}

async fn for_code(oauth: &OAuth, ask: &Ask) -> Result<Response, OAuthFault> {
    let client = authenticate(oauth, ask).await?;
    let text = ask.params.wanted("code", "code is missing")?;
    let verifier = ask.params.wanted("code_verifier", "code_verifier is missing: PKCE is not optional")?;
    let redirect_uri = ask.params.wanted("redirect_uri", "redirect_uri is missing")?;
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    let Some(found) = kept::code(store, text, now_ms).await? else {
        return Err(code_again(oauth, ask, text).await?);
    };
    let checked = check_code(&found.code, &client, redirect_uri, verifier);
    let checked = checked.and_then(|()| wanted::check_audience(&ask.params, &found.code.audience));
    let traded = match checked {
        Ok(()) => trade(oauth, &client, &found).await,
        Err(fault) => Err(fault),
    };
    match traded {
        Ok(Some(answer)) => Ok(answer),
        // Somebody was quicker: two have it. Nobody gets what was issued here.
        Ok(None) => Err(code_again(oauth, ask, text).await?),
        // While the store does not answer nothing is lost.
        Err(fault) if fault.error == OAuthError::TemporarilyUnavailable => Err(fault),
        // It is used up, whatever is wrong: who has it without what belongs to it has stolen it.
        Err(fault) => {
            kept::end_code(store, &found, now_ms).await?;
            Err(fault)
        }
    }
}

/// Begins the sign-in that a code is for, in its place; `None`: it is not there any more.
async fn trade(oauth: &OAuth, client: &Client, found: &FoundCode) -> Result<Option<Response>, OAuthFault> {
    let (store, now_ms, code) = (oauth.http.store(), oauth.http.now_ms(), &found.code);
    let person = Person::find(oauth, &code.subject).await?;
    let scopes = wanted::within(&wanted::scopes(Some(&code.scope))?, &person.user.data.scopes);
    let grant = Granted {
        subject: &code.subject,
        org: &person.org,
        client,
        audience: &code.audience,
        scopes: scopes.clone(),
    };
    let issued = grant.issue(oauth)?;
    let about = NewFamily {
        subject: code.subject.clone(),
        client: client.app.id.clone(),
        org: person.org.id.clone(),
        audience: code.audience.clone(),
        scope: wanted::words(&scopes),
        kid_used: client.key_id().map(str::to_owned),
        ends_ms: now_ms.saturating_add(SIGN_IN_LIFE_MS),
        idle_ms: SIGN_IN_IDLE_MS,
    };
    let (family, refresh) = Family::begin(about, now_ms, &oauth.chance()?, &oauth.chance()?);
    let sign_in = SignIn { family, password: person.password, token: last_token(&issued) };
    let is_ours = kept::trade_code(store, found, refresh.family(), &sign_in, now_ms).await?;
    Ok(is_ours.then(|| grant.answer(&issued, Some(&refresh))))
}

fn last_token(issued: &Issued) -> LastToken {
    LastToken { id: issued.token_id.clone(), ends_s: issued.expires_s }
}

fn check_code(code: &Code, client: &Client, redirect_uri: &str, verifier: &str) -> Result<(), OAuthFault> {
    if code.client != client.app.id {
        return Err(bad_grant("the code is another application's"));
    }
    if code.redirect_uri != redirect_uri {
        return Err(bad_grant("redirect_uri is not the one that the code was sent to"));
    }
    verify_challenge(&code.challenge, verifier)
        .map_err(|fault| OAuthFault::new(OAuthError::InvalidGrant, fault.to_string()))
}

/// A code that was used comes again: two have it, so what came of it ends (RFC 6749, 4.1.2).
async fn code_again(oauth: &OAuth, ask: &Ask, code: &str) -> Result<OAuthFault, OAuthFault> {
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    if let Some(used) = kept::code_use(store, code, now_ms).await?
        && let Some(sign_in) = kept::take_sign_in(store, &used.family, now_ms).await?
    {
        tracing::warn!(
            client = %sign_in.family.about.client, from = %ask.from,
            "an authorization code came a second time: the sign-in has ended"
        );
        oauth.end_last_token(&sign_in, "oauth code reuse", ask.from).await?;
    }
    Ok(bad_grant(BAD_CODE))
}

async fn for_refresh(oauth: &OAuth, ask: &Ask) -> Result<Response, OAuthFault> {
    let client = authenticate(oauth, ask).await?;
    let text = ask.params.wanted("refresh_token", "refresh_token is missing")?;
    let presented = RefreshToken::parse(text).map_err(grant_fault)?;
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    let chance = oauth.chance()?;
    let found = kept::sign_in(store, presented.family(), now_ms).await?.ok_or_else(gone)?;
    let sign_in = &found.sign_in;
    let (family, refresh) = match sign_in.family.clone().refresh(&presented, &client.app.id, now_ms, &chance)
    {
        Refreshed::Rotated(family, refresh) => (family, refresh),
        Refreshed::Ended(fault) => return Err(end(oauth, ask, &client, presented.family(), fault).await?),
    };
    let person = match Person::find(oauth, &family.about.subject).await {
        Ok(person) if person.password == sign_in.password => person,
        // While the store does not answer nothing is lost.
        Err(fault) if fault.error == OAuthError::TemporarilyUnavailable => return Err(fault),
        not_as_then => {
            kept::take_sign_in(store, presented.family(), now_ms).await?;
            let changed = || bad_grant("the password was changed since: sign in again");
            return Err(not_as_then.err().unwrap_or_else(changed));
        }
    };
    let about = family.about.clone();
    // What is wrong with the request is no reason to end the sign-in: it stays as it was.
    let (grant, issued) = refreshed(oauth, ask, &client, &person, &about)?;
    let answer = grant.answer(&issued, Some(&refresh));
    let next = SignIn { family, password: sign_in.password.clone(), token: last_token(&issued) };
    if kept::swap_sign_in(store, &found, &next).await? {
        return Ok(answer);
    }
    // Somebody was quicker, and nobody gets what was issued here: the sign-in was ended, or the same token came twice.
    Err(end(oauth, ask, &client, presented.family(), RefreshFault::Reused).await?)
}

fn gone() -> OAuthFault {
    bad_grant("the refresh token is not known, or the sign-in has ended")
}

/// Ends a sign-in with the access token that came last of it; what the application hears.
async fn end(
    oauth: &OAuth,
    ask: &Ask,
    client: &Client,
    family: &str,
    fault: RefreshFault,
) -> Result<OAuthFault, OAuthFault> {
    let Some(ended) = kept::take_sign_in(oauth.http.store(), family, oauth.http.now_ms()).await? else {
        return Ok(gone());
    };
    tracing::warn!(client = %client.app.id, from = %ask.from, "a sign-in has ended: {fault}");
    oauth.end_last_token(&ended, "oauth refresh reuse", ask.from).await?;
    Ok(grant_fault(fault))
}

/// The token of a sign-in that goes on, possibly with fewer scopes this time (RFC 6749, 6).
fn refreshed<'a>(
    oauth: &OAuth,
    ask: &Ask,
    client: &'a Client,
    person: &'a Person,
    about: &'a NewFamily,
) -> Result<(Granted<'a>, Issued), OAuthFault> {
    let had = wanted::scopes(Some(&about.scope))?;
    let scopes = match ask.params.find("scope") {
        None => had,
        Some(text) => wanted::allowed_scopes(Some(text), &had)?,
    };
    wanted::check_audience(&ask.params, &about.audience)?;
    let scopes = wanted::within(&scopes, &person.user.data.scopes);
    let audience = &about.audience;
    let grant = Granted { subject: &about.subject, org: &person.org, client, audience, scopes };
    let issued = grant.issue(oauth)?;
    Ok((grant, issued))
}

fn grant_fault(fault: RefreshFault) -> OAuthFault {
    OAuthFault::new(OAuthError::InvalidGrant, fault.to_string())
}

/// Somebody who has signed in and may still.
pub(super) struct Person {
    pub(super) user: User,
    pub(super) org: Organisation,
    /// A hash of the password's hash.
    pub(super) password: String,
}

impl Person {
    /// Asks the store who that is now.
    pub(super) async fn find(oauth: &OAuth, subject: &Id) -> Result<Person, OAuthFault> {
        let gone = || bad_grant("whoever signed in may no longer");
        let store = oauth.http.store();
        let facts = store.facts_of_subject(subject).await?.ok_or_else(gone)?;
        subject_good(&facts).map_err(|_| gone())?;
        let SubjectFacts { holder: Holder::User(user), org, .. } = facts else { return Err(gone()) };
        let found = store.user_by_login(&user.data.login).await?;
        let (same, phc) = found.ok_or_else(gone)?;
        match phc {
            Some(phc) if same.id == user.id => Ok(Person { password: kept::hash(phc.as_bytes()), user, org }),
            Some(_) | None => Err(gone()),
        }
    }
}
