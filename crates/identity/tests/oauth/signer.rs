//! Signing keys: several instances have the same, and they are renewed in time.

use std::time::Duration;

use plimsoll_identity::token::{Expected, NewToken};
use plimsoll_identity::{Id, Kind, Signer};

use crate::desk::{ISSUER, with_desk};

const DAY_MS: i64 = 24 * 3_600_000;
const BEGIN_MS: i64 = 1_800_000_000_000;

fn token(signer: &Signer, now_ms: i64) -> String {
    let (app, org) = (Id::new(Kind::App, 1, [1; 10]), Id::new(Kind::Org, 1, [2; 10]));
    let new = NewToken { subject: &app, client: &app, org: &org, audience: "a", scope: "", kid_used: None };
    let issued = signer.issue(&new, now_ms / 1000, &[7; 16]).expect("a token");
    issued.token.expose_text().expect("a text").to_owned()
}

fn knows(signer: &Signer, token: &str, now_ms: i64) -> bool {
    signer.verifier().verify(token, &Expected { audience: "a", now_s: now_ms / 1000 }).is_ok()
}

#[test]
fn instances_that_begin_at_once_have_the_same_key() {
    with_desk(async |desk| {
        // A store without any key.
        for thing in desk.store.things("signing", BEGIN_MS, 10).await.unwrap() {
            desk.store.take_thing("signing", &thing.key, BEGIN_MS).await.unwrap();
        }
        let later_ms = BEGIN_MS + 60_000;
        let open = || Signer::open(&desk.store, ISSUER, 600, later_ms);
        let (one, two, three) = tokio::join!(open(), open(), open());
        let (one, two, three) = (one.unwrap(), two.unwrap(), three.unwrap());
        assert_eq!(desk.store.things("signing", later_ms, 10).await.unwrap().len(), 1);
        let token = token(&one, later_ms);
        assert!(knows(&two, &token, later_ms) && knows(&three, &token, later_ms));
        assert_eq!(one.jwks(), two.jwks());
    });
}

#[test]
fn a_key_has_a_successor_that_others_know_before_it_signs() {
    with_desk(async |desk| {
        let (one, two) = (&desk.signer, Signer::open(&desk.store, ISSUER, 600, BEGIN_MS).await.unwrap());
        let mut now_ms = BEGIN_MS + 30 * DAY_MS + 1;
        let (looked_one, looked_two) =
            tokio::join!(one.look(&desk.store, now_ms), two.look(&desk.store, now_ms));
        looked_one.unwrap();
        looked_two.unwrap();
        assert_eq!(desk.store.things("signing", now_ms, 10).await.unwrap().len(), 2, "one successor");
        let before = token(one, now_ms);
        two.look(&desk.store, now_ms).await.unwrap();
        assert!(knows(&two, &before, now_ms));
        now_ms += 2 * 3_600_000;
        one.look(&desk.store, now_ms).await.unwrap();
        let after = token(one, now_ms);
        let head = |token: &str| token.split('.').next().map(str::to_owned);
        assert_ne!(head(&before), head(&after), "another key signs");
        assert!(knows(&two, &after, now_ms), "which others knew for two hours");
        now_ms += 2 * DAY_MS;
        one.look(&desk.store, now_ms).await.unwrap();
        assert_eq!(one.jwks().matches("kid").count(), 1, "the old one is published no more");
    });
}

#[test]
fn a_key_that_is_taken_out_is_forgotten() {
    with_desk(async |desk| {
        let stolen = token(&desk.signer, BEGIN_MS);
        for thing in desk.store.things("signing", BEGIN_MS, 10).await.unwrap() {
            desk.store.take_thing("signing", &thing.key, BEGIN_MS).await.unwrap();
        }
        let now_ms = BEGIN_MS + 60_000;
        desk.signer.look(&desk.store, now_ms).await.unwrap();
        assert!(!knows(&desk.signer, &stolen, now_ms));
        assert!(knows(&desk.signer, &token(&desk.signer, now_ms), now_ms));
    });
}

#[test]
fn whoever_keeps_the_keys_makes_the_next_in_time() {
    with_desk(async |desk| {
        let before = desk.signer.jwks();
        let now_ms = BEGIN_MS + 40 * DAY_MS;
        let renewed = async {
            while desk.signer.jwks() == before {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = desk.signer.keep(&desk.store, || now_ms) => unreachable!("it goes on for ever"),
            renewed = tokio::time::timeout(Duration::from_secs(30), renewed) => renewed.expect("a new key"),
        }
        assert!(knows(&desk.signer, &token(&desk.signer, now_ms), now_ms));
    });
}
