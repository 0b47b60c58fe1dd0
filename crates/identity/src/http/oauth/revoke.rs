//! `POST /oauth/revoke` (RFC 7009).

use std::net::IpAddr;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::OAuth;
use super::ask::Ask;
use super::asker::{Asker, Refusal};
use super::fault::{OAuthError, OAuthFault, json_response};
use super::kept::{self, SignIn};
use crate::store::{RevokedToken, Who};
use crate::token::{Claims, RefreshToken, SKEW_S};

/// The endpoint. A token that is not known, or has ended, is as good as revoked (RFC 7009, 2.2).
pub(super) async fn revoke(oauth: OAuth, ask: Result<Ask, OAuthFault>) -> Result<Response, Refusal> {
    let ask = ask?;
    let asker = Asker::find(&oauth, &ask).await?;
    let token = ask.params.wanted("token", "token is missing")?;
    // The hint only helps to find it sooner; the two kinds cannot be taken for each other.
    match RefreshToken::parse(token) {
        Ok(presented) => end_sign_in(&oauth, &ask, &asker, &presented).await?,
        Err(_) => end_token(&oauth, &ask, &asker, token).await?,
    }
    Ok(json_response(StatusCode::OK, &json!({})))
}

fn not_theirs() -> OAuthFault {
    OAuthFault::new(OAuthError::UnauthorizedClient, "the token is another application's")
}

async fn end_sign_in(
    oauth: &OAuth,
    ask: &Ask,
    asker: &Asker,
    presented: &RefreshToken,
) -> Result<(), OAuthFault> {
    let (store, now_ms) = (oauth.http.store(), oauth.http.now_ms());
    let Some(found) = kept::sign_in(store, presented.family(), now_ms).await? else { return Ok(()) };
    let about = &found.sign_in.family.about;
    if !asker.may_revoke(about.client.as_str(), about.org.as_str()) {
        return Err(not_theirs());
    }
    // A token of the family that was used before ends it as well: two have it.
    if let Some(sign_in) = kept::take_sign_in(store, presented.family(), now_ms).await? {
        oauth.end_last_token(&sign_in, asker.name(), ask.from).await?;
    }
    Ok(())
}

async fn end_token(oauth: &OAuth, ask: &Ask, asker: &Asker, token: &str) -> Result<(), OAuthFault> {
    let Some(claims) = oauth.read(token) else { return Ok(()) };
    let (Some(client), Some(id)) = (claims.client_id.as_deref(), claims.token_id.as_deref()) else {
        return Ok(());
    };
    if !asker.may_revoke(client, claims.org.as_deref().unwrap_or_default()) {
        return Err(not_theirs());
    }
    oauth.revoke(id, &claims, asker.name(), ask.from).await
}

impl OAuth {
    /// Ends the access token that came last of a sign-in, unless it has ended by itself.
    pub(super) async fn end_last_token(
        &self,
        sign_in: &SignIn,
        actor: &str,
        from: IpAddr,
    ) -> Result<(), OAuthFault> {
        let about = &sign_in.family.about;
        self.write_revoked(
            &RevokedToken {
                token_id: &sign_in.token.id,
                subject: about.subject.as_str(),
                client: about.client.as_str(),
                ends_ms: with_skew_ms(sign_in.token.ends_s),
            },
            actor,
            from,
        )
        .await
    }

    async fn revoke(
        &self,
        token_id: &str,
        claims: &Claims,
        actor: &str,
        from: IpAddr,
    ) -> Result<(), OAuthFault> {
        self.write_revoked(
            &RevokedToken {
                token_id,
                subject: &claims.subject,
                client: claims.client_id.as_deref().unwrap_or_default(),
                ends_ms: with_skew_ms(claims.expires_s),
            },
            actor,
            from,
        )
        .await
    }

    async fn write_revoked(
        &self,
        revoked: &RevokedToken<'_>,
        actor: &str,
        from: IpAddr,
    ) -> Result<(), OAuthFault> {
        let from = from.to_string();
        let who = Who { actor, from: &from, now_ms: self.http.now_ms() };
        Ok(self.http.store().revoke_token(revoked, who).await?)
    }
}

/// As long as anybody's clock may take it for good.
fn with_skew_ms(ends_s: i64) -> i64 {
    ends_s.saturating_add(2 * SKEW_S).saturating_mul(1000)
}
