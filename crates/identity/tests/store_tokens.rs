//! Ends of access tokens, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use house::{NOW, WHO, deeds, on_both};
use plimsoll_identity::{RevokedToken, StoreFault};

#[test]
fn a_token_is_revoked_once_and_told() {
    on_both(async |store| {
        let token = RevokedToken { token_id: "t1", subject: "app_1", client: "app_1", ends_ms: NOW + 1_000 };
        // Two instances at once: one of them writes.
        let (one, two) = tokio::join!(store.revoke_token(&token, WHO), store.revoke_token(&token, WHO));
        one.unwrap();
        two.unwrap();
        assert!(store.is_token_revoked("t1", NOW).await.unwrap());
        assert!(!store.is_token_revoked("t2", NOW).await.unwrap());
        assert!(!store.is_token_revoked("t1", NOW + 1_000).await.unwrap(), "it has ended by itself");
        let ended = RevokedToken { token_id: "t3", ends_ms: NOW, ..token };
        store.revoke_token(&ended, WHO).await.unwrap();
        let long = "x".repeat(600);
        let long = RevokedToken { token_id: &long, ..token };
        assert!(matches!(store.revoke_token(&long, WHO).await, Err(StoreFault::Invalid { .. })));
        store.note_sign_in("usr_1", "app_1", WHO).await.unwrap();
        let told = [("token.revoke", "t1"), ("user.sign_in", "usr_1")];
        assert_eq!(deeds(&store).await, told.map(|(action, object)| (action.to_owned(), object.to_owned())));
        let entry = &store.changes_since(0).await.unwrap()[0];
        assert_eq!(
            entry.detail,
            serde_json::json!({"subject": "app_1", "client": "app_1", "ends_ms": NOW + 1_000})
        );
    });
}
