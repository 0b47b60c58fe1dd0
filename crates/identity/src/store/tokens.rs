//! Ends of single access tokens.

use serde_json::json;

use super::cells::Value;
use super::{Store, StoreFault, Thing, Who, check};

/// The space of things in which revoked tokens are, each under its `jti`.
const SPACE: &str = "revoked_token";

/// An access token that is to end now.
#[derive(Clone, Copy, Debug)]
pub struct RevokedToken<'a> {
    /// Its `jti`.
    pub token_id: &'a str,
    /// For whom it speaks.
    pub subject: &'a str,
    /// The application that it was issued to.
    pub client: &'a str,
    /// When nobody takes it for good any more, milliseconds since 1970.
    pub ends_ms: i64,
}

impl Store {
    /// Revokes an access token: keeps its `jti` until its end, with an entry `token.revoke` in the audit log that every
    /// instance follows. A second time, and after its end, nothing is written.
    ///
    /// # Errors
    /// `Invalid` (a `jti` too long), `Down`.
    pub async fn revoke_token(&self, token: &RevokedToken<'_>, who: Who<'_>) -> Result<(), StoreFault> {
        check::thing(SPACE, token.token_id, "")?;
        if token.ends_ms <= who.now_ms {
            return Ok(());
        }
        let mut write = self.write(who).await?;
        let sql = "INSERT INTO plimsoll_things (space, thing, value, ends_ms) VALUES ($1, $2, '', $3) \
                   ON CONFLICT (space, thing) DO NOTHING";
        let values = vec![
            Value::Text(SPACE.to_owned()),
            Value::Text(token.token_id.to_owned()),
            Value::Number(token.ends_ms),
        ];
        if write.run(sql.to_owned(), values).await? == 0 {
            return Ok(());
        }
        let detail = json!({ "subject": token.subject, "client": token.client, "ends_ms": token.ends_ms });
        write.note("token.revoke", token.token_id, &detail).await?;
        write.commit().await
    }

    /// Whether an access token was revoked.
    ///
    /// # Errors
    /// `Down`.
    pub async fn is_token_revoked(&self, token_id: &str, now_ms: i64) -> Result<bool, StoreFault> {
        Ok(self.thing(SPACE, token_id, now_ms).await?.is_some())
    }

    /// Access tokens that were revoked and have not ended, each a [`Thing`] by its `jti`; at most so many.
    ///
    /// # Errors
    /// `Down`.
    pub async fn revoked_tokens(&self, now_ms: i64, limit: u32) -> Result<Vec<Thing>, StoreFault> {
        self.things(SPACE, now_ms, limit).await
    }

    /// Writes into the audit log that somebody signed in to an application.
    ///
    /// # Errors
    /// `Down`.
    pub async fn note_sign_in(&self, user: &str, app: &str, who: Who<'_>) -> Result<(), StoreFault> {
        let mut write = self.write(who).await?;
        write.note("user.sign_in", user, &json!({ "app": app })).await?;
        write.commit().await
    }
}
