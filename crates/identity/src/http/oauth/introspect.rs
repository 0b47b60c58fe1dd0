//! `POST /oauth/introspect` (RFC 7662): whose a token is, for who cannot verify it or wants to know whether it was
//! revoked.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::OAuth;
use super::ask::Ask;
use super::asker::{Asker, Proof, Refusal};
use super::fault::{OAuthError, OAuthFault, json_response};
use super::kept;
use super::token::Person;
use crate::http::caller::standing;
use crate::token::{RefreshToken, Refreshed};

/// The endpoint. Of a token that somebody may not hear of, and of one that is not good, the answer is the same.
pub(super) async fn introspect(oauth: OAuth, ask: Result<Ask, OAuthFault>) -> Result<Response, Refusal> {
    let ask = ask?;
    let asker = Asker::find(&oauth, &ask).await?;
    if asker.proof() == Proof::NameOnly {
        let why = "an application without a credential is told nothing about tokens";
        return Err(OAuthFault::new(OAuthError::InvalidClient, why).into());
    }
    let token = ask.params.wanted("token", "token is missing")?;
    let about = match RefreshToken::parse(token) {
        Ok(presented) => of_refresh(&oauth, &asker, &presented).await?,
        Err(_) => of_access(&oauth, &asker, token).await?,
    };
    Ok(json_response(StatusCode::OK, &about.unwrap_or_else(|| json!({ "active": false }))))
}

async fn of_access(oauth: &OAuth, asker: &Asker, token: &str) -> Result<Option<Value>, Refusal> {
    let Some(claims) = oauth.read(token) else { return Ok(None) };
    let client = claims.client_id.as_deref().unwrap_or_default();
    if !asker.may_read(client, claims.org.as_deref().unwrap_or_default()) {
        return Ok(None);
    }
    let Ok(standing) = standing(&oauth.http, &claims, oauth.http.now_ms()).await? else { return Ok(None) };
    Ok(Some(json!({
        "active": true,
        "iss": claims.issuer,
        "sub": claims.subject,
        "username": standing.facts.holder.name(),
        "client_id": client,
        "aud": claims.audience,
        "scope": super::wanted::words(&standing.scopes),
        "token_type": "Bearer",
        "exp": claims.expires_s,
        "iat": claims.issued_s,
        "jti": claims.token_id,
        "org": claims.org,
    })))
}

async fn of_refresh(
    oauth: &OAuth,
    asker: &Asker,
    presented: &RefreshToken,
) -> Result<Option<Value>, Refusal> {
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    let sign_in = kept::sign_in(store, presented.family(), now_ms).await.map_err(OAuthFault::from)?;
    let Some(kept::FoundSignIn { sign_in, .. }) = sign_in else { return Ok(None) };
    let about = sign_in.family.about.clone();
    if !asker.may_read(about.client.as_str(), about.org.as_str()) {
        return Ok(None);
    }
    let ends_ms = sign_in.family.ends_ms();
    // As if it were used, of which nothing is kept.
    match sign_in.family.refresh(presented, &about.client, now_ms, &[0; 32]) {
        Refreshed::Rotated(..) => {}
        Refreshed::Ended(_) => return Ok(None),
    }
    let person = match Person::find(oauth, &about.subject).await {
        Ok(person) if person.password == sign_in.password => person,
        Err(fault) if fault.error != OAuthError::InvalidGrant => return Err(fault.into()),
        Ok(_) | Err(_) => return Ok(None),
    };
    Ok(Some(json!({
        "active": true,
        "iss": oauth.signer.url(),
        "sub": about.subject,
        "username": person.user.data.login,
        "client_id": about.client,
        "aud": about.audience,
        "scope": about.scope,
        "exp": ends_ms.div_euclid(1000),
        "org": about.org,
    })))
}
