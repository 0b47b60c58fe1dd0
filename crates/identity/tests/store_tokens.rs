//! Ends of access tokens, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use house::{NOW, WHO, deeds, on_both};
use plimsoll_identity::{Put, RevokedToken, StoreFault, Thing};

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

#[test]
fn what_was_taken_out_is_not_put_back_and_of_two_that_replace_one_does() {
    on_both(async |store| {
        let thing = |value: &str| Thing { key: "f".to_owned(), value: value.to_owned(), ends_ms: NOW + 9 };
        let put = || store.put_thing("refresh", "f", "one", NOW + 9, Put::Replace, NOW);
        let kept = async || store.thing("refresh", "f", NOW).await.unwrap().map(|thing| thing.value);
        put().await.unwrap();
        let read = store.thing("refresh", "f", NOW).await.unwrap().unwrap();
        // Taken out in between.
        assert_eq!(store.take_thing("refresh", "f", NOW).await.unwrap().as_deref(), Some("one"));
        assert!(!store.swap_thing("refresh", &read, &thing("two")).await.unwrap());
        assert_eq!(kept().await, None);
        // The other way round: what is taken out is the new one.
        put().await.unwrap();
        assert!(store.swap_thing("refresh", &read, &thing("two")).await.unwrap());
        assert_eq!(store.take_thing("refresh", "f", NOW).await.unwrap().as_deref(), Some("two"));
        // Two at once.
        put().await.unwrap();
        let (new, other) = (thing("two"), thing("three"));
        let (one, two) = tokio::join!(
            store.swap_thing("refresh", &read, &new),
            store.swap_thing("refresh", &read, &other)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one != two);
        assert_eq!(kept().await.as_deref(), Some(if one { "two" } else { "three" }));
    });
}
