//! The store through its public functions, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use house::*;
use plimsoll_identity::{CredentialKind, Holder, Id, Kind, OrgData, Rotation, Scope, State, StoreFault, Who};

const LATER: Who<'static> = Who { actor: "key K000000000000001", from: "192.0.2.1", now_ms: NOW + 5 };

#[test]
fn what_was_put_in_is_read_back() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        assert_eq!(store.org(&house.org.id).await.unwrap(), house.org);
        assert_eq!(store.dataset(&house.dataset.id).await.unwrap(), house.dataset);
        assert_eq!(store.user(&house.user.id).await.unwrap(), house.user);
        assert_eq!(store.app(&house.app.id).await.unwrap(), house.app);
        assert_eq!(store.grant(&house.grant.id).await.unwrap(), house.grant);
        assert_eq!(store.credential(&key_id(1)).await.unwrap(), house.credential);
        assert_eq!(house.org.data, org_data("a"));
        assert_eq!(house.dataset.data, dataset_data(&house.org.id, "a", "a"));
        assert_eq!(house.user.data, user_data(&house.org.id, "a"));
        assert_eq!(house.app.data, app_data(&house.org.id, "a"));
        assert_eq!(house.grant.data, grant_data(&house.app.id, &house.dataset.id, "a"));
        assert_eq!(house.credential.data, credential_data(&house.app.id));
        assert_eq!(house.org.meta.version, 1);
        assert_eq!((house.org.meta.created_ms, house.org.meta.changed_by.as_str()), (NOW, "init"));
        assert!(!house.user.has_password);
        let seen: Vec<String> = deeds(&store).await.into_iter().map(|(action, _)| action).collect();
        let made =
            ["org.create", "dataset.create", "user.create", "app.create", "grant.create", "key.create"];
        assert_eq!(seen, made);
    });
}

#[test]
fn every_field_is_kept() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let mut dataset = house.dataset.data.clone();
        dataset.name = "näme 'with\" ; DROP TABLE plimsoll_orgs; -- 🦀".to_owned();
        dataset.schema = Some("public".to_owned());
        let seen = store.change_dataset(&house.dataset.id, None, dataset.clone(), LATER).await.unwrap();
        assert_eq!(seen.data, dataset);
        assert_eq!((seen.meta.version, seen.meta.created_ms, seen.meta.changed_ms), (2, NOW, NOW + 5));
        assert_eq!(seen.meta.changed_by, LATER.actor);
        let mut user = house.user.data.clone();
        user.scopes = vec![Scope::Admin, Scope::OrgAdmin, Scope::Authorize];
        let seen = store.change_user(&house.user.id, None, user.clone(), LATER).await.unwrap();
        assert_eq!(seen.data, user);
        let mut grant = house.grant.data.clone();
        grant.actions = vec!["connect".to_owned(), "read".to_owned()];
        grant.shared = true;
        grant.expires_ms = Some(NOW + 9);
        let seen = store.change_grant(&house.grant.id, None, grant.clone(), LATER).await.unwrap();
        assert_eq!(seen.data, grant);
        let mut public = credential_data(&house.app.id);
        public.kind = CredentialKind::PublicKey;
        public.public = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#.to_owned();
        public.name = "laptop".to_owned();
        public.scopes = vec![Scope::Authorize];
        public.expires_ms = Some(NOW);
        let seen = store.create_credential(&key_id(2), public.clone(), None, LATER).await.unwrap();
        assert_eq!(seen.data, public);
        assert_eq!(store.facts_of_key(&key_id(2)).await.unwrap().unwrap().secret_sha256, None);
        let entry = store.changes_since(0).await.unwrap().pop().unwrap();
        assert_eq!((entry.actor.as_str(), entry.from.as_str()), (LATER.actor, LATER.from));
        assert_eq!((entry.at_ms, entry.action.as_str()), (NOW + 5, "key.create"));
        assert_eq!(entry.detail, serde_json::to_value(&public).unwrap());
    });
}

#[test]
fn a_version_that_was_not_expected_is_refused_and_nothing_written() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let before = deeds(&store).await;
        let stale = store.change_org(&house.org.id, Some(2), org_data("b"), LATER).await;
        assert!(matches!(stale, Err(StoreFault::Stale { version: 1 })), "{stale:?}");
        let stale = store.delete_grant(&house.grant.id, Some(7), LATER).await;
        assert!(matches!(stale, Err(StoreFault::Stale { version: 1 })), "{stale:?}");
        assert_eq!(deeds(&store).await, before);
        let org = store.change_org(&house.org.id, Some(1), org_data("b"), LATER).await.unwrap();
        assert_eq!((org.data.name.as_str(), org.meta.version), ("b", 2));
    });
}

#[test]
fn writers_with_expect_lose_no_update() {
    on_both(async |store| {
        let house = House::build(&store, "n0", 1).await;
        let id = house.org.id.clone();
        let writers: Vec<_> = (0..8)
            .map(|_| {
                let (store, id) = (store.clone(), id.clone());
                tokio::spawn(async move {
                    let mut written = 0;
                    while written < 5 {
                        let old = store.org(&id).await.unwrap();
                        let count: u32 = old.data.name.trim_start_matches('n').parse().unwrap();
                        let data = org_data(&format!("n{}", count + 1));
                        match store.change_org(&id, Some(old.meta.version), data, WHO).await {
                            Ok(_) => written += 1,
                            Err(StoreFault::Stale { .. }) => {}
                            Err(fault) => panic!("{fault}"),
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let org = store.org(&id).await.unwrap();
        assert_eq!((org.data.name.as_str(), org.meta.version), ("n40", 41));
        let changes = deeds(&store).await.into_iter().filter(|(action, _)| action == "org.change");
        assert_eq!(changes.count(), 40);
    });
}

#[test]
fn names_are_taken_once() {
    on_both(async |store| {
        let a = House::build(&store, "a", 1).await;
        let b = House::build(&store, "b", 2).await;
        let before = deeds(&store).await;
        conflict(store.create_org(org_data("a"), WHO).await);
        conflict(store.change_org(&b.org.id, None, org_data("a"), WHO).await);
        conflict(store.create_dataset(dataset_data(&a.org.id, "a", "x"), WHO).await);
        conflict(store.create_app(app_data(&a.org.id, "a"), WHO).await);
        conflict(store.create_user(user_data(&b.org.id, "a"), WHO).await);
        let again = store.create_credential(&key_id(1), credential_data(&b.app.id), Some([1; 32]), WHO).await;
        assert!(conflict(again).contains("key id"));
        assert_eq!(deeds(&store).await, before, "nothing was written");
        // In another organisation they are free.
        store.create_dataset(dataset_data(&b.org.id, "a", "x"), WHO).await.unwrap();
        store.create_app(app_data(&b.org.id, "a"), WHO).await.unwrap();
    });
}

#[test]
fn what_stays_stays() {
    on_both(async |store| {
        let a = House::build(&store, "a", 1).await;
        let b = House::build(&store, "b", 2).await;
        let mut dataset = a.dataset.data.clone();
        dataset.org = b.org.id.clone();
        assert_eq!(invalid(store.change_dataset(&a.dataset.id, None, dataset, WHO).await), "org");
        let mut app = a.app.data.clone();
        app.org = b.org.id.clone();
        assert_eq!(invalid(store.change_app(&a.app.id, None, app, WHO).await), "org");
        let mut user = a.user.data.clone();
        user.org = b.org.id.clone();
        assert_eq!(invalid(store.change_user(&a.user.id, None, user, WHO).await), "org");
        let mut grant = a.grant.data.clone();
        grant.role = "other".to_owned();
        assert_eq!(invalid(store.change_grant(&a.grant.id, None, grant.clone(), WHO).await), "role");
        grant.subject = b.app.id.clone();
        assert_eq!(invalid(store.change_grant(&a.grant.id, None, grant, WHO).await), "subject");
        let mut key = a.credential.data.clone();
        key.env = "test".to_owned();
        assert_eq!(invalid(store.change_credential(&key_id(1), None, key.clone(), WHO).await), "env");
        key.app = b.app.id.clone();
        assert_eq!(invalid(store.change_credential(&key_id(1), None, key, WHO).await), "app");
    });
}

#[test]
fn nothing_leads_out_of_revoked() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let mut key = house.credential.data.clone();
        for state in [State::Disabled, State::Active, State::Revoked] {
            key.state = state;
            store.change_credential(&key_id(1), None, key.clone(), WHO).await.unwrap();
        }
        let mut renamed = key.clone();
        renamed.name = "new".to_owned();
        conflict(store.change_credential(&key_id(1), None, renamed, WHO).await);
        conflict(store.change_credential(&key_id(1), None, house.credential.data.clone(), WHO).await);
        // To revoke it once more changes nothing.
        let twice = store.change_credential(&key_id(1), None, key, WHO).await.unwrap();
        assert_eq!(twice.meta.version, 4);
        let seen = deeds(&store).await.into_iter().filter(|(_, object)| *object == key_id(1));
        let seen: Vec<String> = seen.map(|(action, _)| action).collect();
        assert_eq!(seen, ["key.create", "key.disable", "key.enable", "key.revoke"]);

        let revoked = OrgData { name: "a".to_owned(), state: State::Revoked };
        store.change_org(&house.org.id, None, revoked, WHO).await.unwrap();
        conflict(store.change_org(&house.org.id, None, org_data("a"), WHO).await);
        conflict(store.create_app(app_data(&house.org.id, "new"), WHO).await);
        // Revoked is not deleted.
        assert_eq!(store.app(&house.app.id).await.unwrap(), house.app);
    });
}

#[test]
fn deleting_takes_what_belongs_to_it_or_is_refused() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let user_grant =
            store.create_grant(grant_data(&house.user.id, &house.dataset.id, "a"), WHO).await.unwrap();
        conflict(store.delete_org(&house.org.id, None, WHO).await);
        conflict(store.delete_dataset(&house.dataset.id, None, WHO).await);
        let known = deeds(&store).await.len();
        store.delete_app(&house.app.id, Some(1), WHO).await.unwrap();
        store.delete_user(&house.user.id, None, WHO).await.unwrap();
        store.delete_dataset(&house.dataset.id, None, WHO).await.unwrap();
        store.delete_org(&house.org.id, None, WHO).await.unwrap();
        let seen = deeds(&store).await.split_off(known);
        let expected = [
            ("key.delete", key_id(1)),
            ("grant.delete", house.grant.id.to_string()),
            ("app.delete", house.app.id.to_string()),
            ("grant.delete", user_grant.id.to_string()),
            ("user.delete", house.user.id.to_string()),
            ("dataset.delete", house.dataset.id.to_string()),
            ("org.delete", house.org.id.to_string()),
        ];
        assert_eq!(seen, expected.map(|(action, object)| (action.to_owned(), object)));
        assert_eq!(missing(store.credential(&key_id(1)).await), "credential");
        assert_eq!(missing(store.grant(&house.grant.id).await), "grant");
        assert_eq!(missing(store.delete_org(&house.org.id, None, WHO).await), "organisation");
        assert!(store.facts_of_key(&key_id(1)).await.unwrap().is_none());
        assert!(store.facts_of_subject(&house.app.id).await.unwrap().is_none());
    });
}

#[test]
fn what_is_referred_to_has_to_be_there() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let ghost = |kind| Id::new(kind, 1, [9; 10]);
        let (org, app, dataset) = (ghost(Kind::Org), ghost(Kind::App), ghost(Kind::DataSet));
        assert_eq!(invalid(store.create_dataset(dataset_data(&org, "x", "x"), WHO).await), "org");
        assert_eq!(invalid(store.create_dataset(dataset_data(&app, "x", "x"), WHO).await), "org");
        assert_eq!(invalid(store.create_app(app_data(&org, "x"), WHO).await), "org");
        assert_eq!(invalid(store.create_user(user_data(&org, "x"), WHO).await), "org");
        let key = store.create_credential(&key_id(3), credential_data(&app), Some([1; 32]), WHO).await;
        assert_eq!(invalid(key), "app");
        let grant = store.create_grant(grant_data(&app, &house.dataset.id, "x"), WHO).await;
        assert_eq!(invalid(grant), "subject");
        let grant = store.create_grant(grant_data(&house.app.id, &dataset, "x"), WHO).await;
        assert_eq!(invalid(grant), "dataset");
        let grant = store.create_grant(grant_data(&house.org.id, &house.dataset.id, "x"), WHO).await;
        assert_eq!(invalid(grant), "subject");
    });
}

#[test]
fn two_organisations_share_a_login_role_only_if_both_say_so() {
    on_both(async |store| {
        let a = House::build(&store, "a", 1).await;
        let b = House::build(&store, "b", 2).await;
        // The same database and role, by another data set.
        let theirs = store.create_dataset(dataset_data(&b.org.id, "x", "a"), WHO).await.unwrap();
        let mut wanted = grant_data(&b.app.id, &theirs.id, "a");
        let why = conflict(store.create_grant(wanted.clone(), WHO).await);
        assert!(why.contains(a.org.id.as_str()) && why.contains("shared = true"), "{why}");
        wanted.shared = true;
        conflict(store.create_grant(wanted.clone(), WHO).await);
        // The other side agrees.
        let mut mine = a.grant.data.clone();
        mine.shared = true;
        store.change_grant(&a.grant.id, None, mine.clone(), WHO).await.unwrap();
        wanted.shared = false;
        conflict(store.create_grant(wanted.clone(), WHO).await);
        wanted.shared = true;
        let grant = store.create_grant(wanted.clone(), WHO).await.unwrap();
        // Nobody can go back alone, nor add one that does not share, and an end in the past does not help.
        mine.shared = false;
        mine.expires_ms = Some(1);
        conflict(store.change_grant(&a.grant.id, None, mine.clone(), WHO).await);
        conflict(store.create_grant(grant_data(&a.user.id, &a.dataset.id, "a"), WHO).await);
        // What is revoked has no say.
        wanted.state = State::Revoked;
        store.change_grant(&grant.id, None, wanted, WHO).await.unwrap();
        store.change_grant(&a.grant.id, None, mine, WHO).await.unwrap();
        store.create_grant(grant_data(&a.user.id, &a.dataset.id, "a"), WHO).await.unwrap();
        // A data set that moves to another database takes its grants with it.
        let apart = store.create_dataset(dataset_data(&b.org.id, "y", "apart"), WHO).await.unwrap();
        store.create_grant(grant_data(&b.app.id, &apart.id, "a"), WHO).await.unwrap();
        conflict(store.change_dataset(&apart.id, None, dataset_data(&b.org.id, "y", "a"), WHO).await);
        assert_eq!(store.dataset(&apart.id).await.unwrap(), apart);
        store.change_dataset(&apart.id, None, dataset_data(&b.org.id, "y", "b"), WHO).await.unwrap();
    });
}

#[test]
fn of_two_organisations_that_want_a_login_role_at_once_one_gets_it() {
    on_both(async |store| {
        let a = House::build(&store, "a", 1).await;
        let b = House::build(&store, "b", 2).await;
        let theirs = store.create_dataset(dataset_data(&b.org.id, "x", "a"), WHO).await.unwrap();
        for round in 0..10 {
            let role = format!("role{round}");
            let first = store.create_grant(grant_data(&a.app.id, &a.dataset.id, &role), WHO);
            let second = store.create_grant(grant_data(&b.app.id, &theirs.id, &role), WHO);
            let (first, second) = tokio::join!(first, second);
            assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        }
    });
}

#[test]
fn facts_are_everything_that_a_decision_needs() {
    on_both(async |store| {
        let a = House::build(&store, "a", 1).await;
        let b = House::build(&store, "b", 2).await;
        let mut third = grant_data(&a.app.id, &b.dataset.id, "third");
        third.expires_ms = Some(NOW);
        let third = store.create_grant(third, WHO).await.unwrap();
        let disabled = OrgData { name: "b".to_owned(), state: State::Disabled };
        store.change_org(&b.org.id, None, disabled, WHO).await.unwrap();

        let facts = store.facts_of_key(&key_id(1)).await.unwrap().unwrap();
        assert_eq!(facts.credential, a.credential);
        assert_eq!(facts.secret_sha256, Some([7; 32]));
        assert_eq!(facts.subject.holder, Holder::App(a.app.clone()));
        assert_eq!(facts.subject.org, a.org);
        let seen: Vec<_> = facts
            .subject
            .grants
            .iter()
            .map(|fact| (&fact.grant, &fact.dataset, fact.dataset_org_state))
            .collect();
        let expected = [(&a.grant, &a.dataset, State::Active), (&third, &b.dataset, State::Disabled)];
        assert!(expected.iter().all(|fact| seen.contains(fact)) && seen.len() == 2, "{seen:?}");
        assert_eq!(store.facts_of_subject(&a.app.id).await.unwrap().unwrap(), *facts.subject);

        let user = store.facts_of_subject(&b.user.id).await.unwrap().unwrap();
        assert_eq!((user.holder, user.org.data.state), (Holder::User(b.user), State::Disabled));
        assert!(store.facts_of_subject(&a.org.id).await.unwrap().is_none());
        for strange in ["", "K00000000000000", "K00000000000000\0", "../../etc/passwd", "'; DROP TABLE x"] {
            assert!(store.facts_of_key(strange).await.unwrap().is_none());
            assert_eq!(missing(store.credential(strange).await), "credential");
        }
    });
}

#[test]
fn passwords_go_in_and_are_not_told() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo";
        let user = store.set_user_password(&house.user.id, Some(phc), LATER).await.unwrap();
        assert!(user.has_password && user.meta.version == 2);
        let (found, hash) = store.user_by_login("a").await.unwrap().unwrap();
        assert_eq!((found, hash.as_deref()), (user, Some(phc)));
        let entry = store.changes_since(0).await.unwrap().pop().unwrap();
        assert_eq!(entry.action, "user.password");
        assert!(!entry.detail.to_string().contains("argon2id"));
        // A change of the user leaves it, and taking it away is a change as well.
        store.change_user(&house.user.id, Some(2), house.user.data.clone(), WHO).await.unwrap();
        assert!(store.user(&house.user.id).await.unwrap().has_password);
        store.set_user_password(&house.user.id, None, WHO).await.unwrap();
        let (found, hash) = store.user_by_login("a").await.unwrap().unwrap();
        assert_eq!((found.has_password, hash), (false, None));
        assert_eq!(invalid(store.set_user_password(&house.user.id, Some("hunter2"), WHO).await), "password");
        for nobody in ["", "b", "a\0", "a' OR '1' = '1", &"a".repeat(10_000)] {
            assert!(store.user_by_login(nobody).await.unwrap().is_none());
        }
    });
}

#[test]
fn a_key_is_rotated_whole_or_not_at_all() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let (second, third, fourth) = (key_id(2), key_id(3), key_id(4));
        let rotation = |key_id, old_ends_ms| Rotation {
            key_id,
            secret_sha256: [9; 32],
            expires_ms: Some(NOW + 900),
            old_ends_ms,
        };
        let rotate = |expect, rotation| store.rotate_credential("K000000000000001", expect, rotation, LATER);
        let rotated = rotate(Some(1), rotation(&second, NOW + 50)).await.unwrap();
        assert_eq!((rotated.old.data.expires_ms, rotated.old.meta.version), (Some(NOW + 50), 2));
        assert_eq!((&rotated.fresh.key_id, rotated.fresh.data.expires_ms), (&second, Some(NOW + 900)));
        assert_eq!(rotated.fresh.data.app, house.app.id);
        assert_eq!(store.facts_of_key(&second).await.unwrap().unwrap().secret_sha256, Some([9; 32]));
        let seen = deeds(&store).await.split_off(6);
        assert_eq!(seen, [("key.create".to_owned(), key_id(2)), ("key.change".to_owned(), key_id(1))]);
        // The end of the old one does not move away, and nothing is left of what is refused.
        let again = rotate(None, rotation(&third, NOW + 99)).await.unwrap();
        assert_eq!(again.old.data.expires_ms, Some(NOW + 50));
        conflict(rotate(None, rotation(&second, NOW)).await);
        assert_eq!(invalid(rotate(None, rotation(&fourth, -1)).await), "expires_ms");
        assert_eq!(missing(store.credential(&fourth).await), "credential");
        let mut off = again.old.data;
        off.state = State::Disabled;
        store.change_credential(&key_id(1), None, off, LATER).await.unwrap();
        conflict(rotate(None, rotation(&fourth, NOW)).await);
    });
}

#[test]
fn a_subject_has_no_more_grants_than_a_decision_looks_at() {
    on_sqlite(async |store| {
        let house = House::build(&store, "a", 1).await;
        let data = grant_data(&house.app.id, &house.dataset.id, "a");
        for _ in 1..1000 {
            store.create_grant(data.clone(), WHO).await.unwrap();
        }
        assert!(conflict(store.create_grant(data, WHO).await).contains("1000"));
        assert_eq!(store.facts_of_subject(&house.app.id).await.unwrap().unwrap().grants.len(), 1000);
        // All of them go with the application, each with its entry. They are many, so it is revoked first.
        let known = store.last_change().await.unwrap();
        store.delete_app(&house.app.id, None, WHO).await.unwrap();
        assert_eq!(store.last_change().await.unwrap() - known, 1 + 1000 + 1 + 1);
    });
}
