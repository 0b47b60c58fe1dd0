//! The store through its public functions, on SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use house::*;
use plimsoll_identity::{
    AppFilter, AuditFilter, CredentialFilter, CredentialKind, DataSetFilter, GrantFilter, Holder, Id, Kind,
    OrgData, OrgFilter, Page, Put, Scope, State, Store, StoreFault, UserFilter, Who,
};

const LATER: Who<'static> = Who { actor: "key K000000000000001", from: "192.0.2.1", now_ms: NOW + 5 };

/// What was written into the audit log: action and object, oldest first.
async fn deeds(store: &Store) -> Vec<(String, String)> {
    let entries = store.changes_since(0).await.unwrap();
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "no gap: {entries:?}");
    entries.into_iter().map(|entry| (entry.action, entry.object)).collect()
}

fn conflict<T: std::fmt::Debug>(outcome: Result<T, StoreFault>) -> String {
    match outcome {
        Err(StoreFault::Conflict { why }) => why,
        other => panic!("a conflict, not {other:?}"),
    }
}

fn invalid<T: std::fmt::Debug>(outcome: Result<T, StoreFault>) -> &'static str {
    match outcome {
        Err(StoreFault::Invalid { field, .. }) => field,
        other => panic!("invalid, not {other:?}"),
    }
}

fn missing<T: std::fmt::Debug>(outcome: Result<T, StoreFault>) -> &'static str {
    match outcome {
        Err(StoreFault::Missing { what }) => what,
        other => panic!("missing, not {other:?}"),
    }
}

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
fn lists_come_in_parts_that_miss_and_repeat_nothing() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        let other = House::build(&store, "b", 2).await;
        for number in 0..25 {
            let mut data = app_data(&house.org.id, &format!("app{number}"));
            data.state = if number % 5 == 0 { State::Disabled } else { State::Active };
            store.create_app(data, Who { now_ms: NOW + number, ..WHO }).await.unwrap();
        }
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let filter = AppFilter { org: Some(house.org.id.clone()), state: None };
            let part = store.apps(filter, Page { after, limit: 7 }).await.unwrap();
            assert!(part.items.len() <= 7);
            seen.extend(part.items.into_iter().map(|app| app.id));
            after = part.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), 26);
        assert!(seen.is_sorted() && !seen.contains(&other.app.id));
        let filter = AppFilter { org: Some(house.org.id.clone()), state: Some(State::Disabled) };
        let part = store.apps(filter, page(5)).await.unwrap();
        assert_eq!((part.items.len(), part.next), (5, None), "exactly full is the end");
        let all = store.apps(AppFilter::default(), page(200)).await.unwrap();
        assert_eq!(all.items.len(), 27);
        for limit in [0, 201] {
            assert_eq!(invalid(store.apps(AppFilter::default(), page(limit)).await), "limit");
        }
        for after in ["", "app_\0", "x' OR 1 = 1 --", &"a".repeat(65)] {
            let asked = Page { after: Some(after.to_owned()), limit: 1 };
            let outcome = store.audit(AuditFilter::default(), asked.clone()).await;
            assert_eq!(invalid(outcome), "after");
            let outcome = store.apps(AppFilter::default(), asked).await;
            assert!(after.is_empty() && outcome.is_ok() || invalid(outcome) == "after");
        }
    });
}

#[test]
fn filters_choose() {
    on_both(async |store| {
        let a = House::build(&store, "a", 1).await;
        let b = House::build(&store, "b", 2).await;
        let org = Some(a.org.id.clone());
        let active = Some(State::Active);
        let orgs = store.orgs(OrgFilter { state: active }, page(9)).await.unwrap();
        assert_eq!(orgs.items.len(), 2);
        assert!(
            store.orgs(OrgFilter { state: Some(State::Revoked) }, page(9)).await.unwrap().items.is_empty()
        );
        let datasets = store.datasets(DataSetFilter { org: org.clone(), state: active }, page(9)).await;
        assert_eq!(datasets.unwrap().items, std::slice::from_ref(&a.dataset));
        let users = store.users(UserFilter { org: org.clone(), state: active }, page(9)).await;
        assert_eq!(users.unwrap().items, std::slice::from_ref(&a.user));
        let keys = |filter| store.credentials(filter, page(9));
        let by_org = CredentialFilter { org: org.clone(), ..CredentialFilter::default() };
        assert_eq!(keys(by_org).await.unwrap().items, std::slice::from_ref(&a.credential));
        let by_app = CredentialFilter { app: Some(b.app.id.clone()), state: active, org: None };
        assert_eq!(keys(by_app.clone()).await.unwrap().items, std::slice::from_ref(&b.credential));
        assert!(keys(CredentialFilter { org: org.clone(), ..by_app }).await.unwrap().items.is_empty());
        let grants = |filter| store.grants(filter, page(9));
        let none = GrantFilter::default();
        assert_eq!(grants(none.clone()).await.unwrap().items.len(), 2);
        for filter in [
            GrantFilter { subject: Some(a.app.id.clone()), ..none.clone() },
            GrantFilter { dataset: Some(a.dataset.id.clone()), ..none.clone() },
            GrantFilter { org: org.clone(), ..none.clone() },
            GrantFilter {
                subject: Some(a.app.id.clone()),
                dataset: Some(a.dataset.id.clone()),
                org,
                state: active,
            },
        ] {
            assert_eq!(grants(filter).await.unwrap().items, std::slice::from_ref(&a.grant));
        }
        let crossed =
            GrantFilter { subject: Some(a.app.id.clone()), dataset: Some(b.dataset.id.clone()), ..none };
        assert!(grants(crossed).await.unwrap().items.is_empty());
    });
}

#[test]
fn the_audit_log_is_read_from_its_end_and_by_what_is_sought() {
    on_both(async |store| {
        let house = House::build(&store, "a", 1).await;
        for number in 1..=5_i64 {
            let who = Who { actor: "usr", from: "x\0y\n", now_ms: NOW + number * 10 };
            store.change_org(&house.org.id, None, org_data(&format!("a{number}")), who).await.unwrap();
        }
        let all = store.audit(AuditFilter::default(), page(4)).await.unwrap();
        let numbers: Vec<i64> = all.items.iter().map(|entry| entry.seq).collect();
        assert_eq!((numbers, all.next.as_deref()), (vec![11, 10, 9, 8], Some("8")));
        assert_eq!(all.items[0].from, "xy", "no control characters get into it");
        let rest = store.audit(AuditFilter::default(), Page { after: all.next, limit: 200 }).await.unwrap();
        assert_eq!((rest.items.len(), rest.next), (7, None));
        let object = Some(house.org.id.to_string());
        let of_org = AuditFilter { object: object.clone(), ..AuditFilter::default() };
        assert_eq!(store.audit(of_org, page(99)).await.unwrap().items.len(), 6);
        let both = AuditFilter { object, actor: Some("init".to_owned()), since_ms: None };
        assert_eq!(store.audit(both, page(99)).await.unwrap().items.len(), 1);
        let since = AuditFilter { since_ms: Some(NOW + 40), ..AuditFilter::default() };
        let since = store.audit(since, page(99)).await.unwrap().items;
        assert_eq!(since.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [11, 10]);
        let odd = AuditFilter { actor: Some("\0".to_owned()), ..AuditFilter::default() };
        assert!(store.audit(odd, page(99)).await.unwrap().items.is_empty());
        assert_eq!(store.last_change().await.unwrap(), 11);
        assert_eq!(store.changes_since(9).await.unwrap().len(), 2);
        assert!(store.changes_since(11).await.unwrap().is_empty());
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
        assert_eq!(store.facts_of_subject(&a.app.id).await.unwrap().unwrap(), facts.subject);

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
fn uses_of_keys_are_noted_if_they_are_later() {
    on_both(async |store| {
        House::build(&store, "a", 1).await;
        let before = store.last_change().await.unwrap();
        let used = |ms, from: &str| (key_id(1), ms, from.to_owned());
        store.note_used(&[]).await.unwrap();
        store
            .note_used(&[used(5, "later"), used(3, "earlier"), (key_id(9), 5, String::new())])
            .await
            .unwrap();
        store.note_used(&[used(4, "earlier"), ("no key".to_owned(), 9, String::new())]).await.unwrap();
        let key = store.credential(&key_id(1)).await.unwrap();
        assert_eq!((key.used_ms, key.used_from.as_deref()), (Some(5), Some("later")));
        assert_eq!(key.meta.version, 1, "a use is no change");
        assert_eq!(store.last_change().await.unwrap(), before);
    });
}

#[test]
fn things_end_and_are_taken_once() {
    on_both(async |store| {
        let put = |key, value, ends, put, now| store.put_thing("code", key, value, ends, put, now);
        assert!(put("a", "1", 100, Put::IfAbsent, 50).await.unwrap());
        assert!(!put("a", "2", 100, Put::IfAbsent, 50).await.unwrap());
        assert!(put("a", "3", 120, Put::Replace, 50).await.unwrap());
        let thing = store.thing("code", "a", 119).await.unwrap().unwrap();
        assert_eq!((thing.value.as_str(), thing.ends_ms), ("3", 120));
        assert!(store.thing("code", "a", 120).await.unwrap().is_none(), "its end is over");
        assert!(store.take_thing("code", "a", 120).await.unwrap().is_none());
        assert!(put("a", "4", 300, Put::IfAbsent, 120).await.unwrap(), "what has ended does not count");
        assert!(store.thing("other", "a", 1).await.unwrap().is_none(), "spaces are apart");
        for key in ["c", "b"] {
            assert!(put(key, "x", 200, Put::IfAbsent, 1).await.unwrap());
        }
        let keys = async |now, limit| {
            let things = store.things("code", now, limit).await.unwrap();
            things.into_iter().map(|thing| thing.key).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(keys(150, 9).await, "a b c");
        assert_eq!(keys(150, 2).await, "a b");
        assert_eq!(keys(250, 9).await, "a");
        assert_eq!(store.remove_ended_things(250).await.unwrap(), 2);
        let takers: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.take_thing("code", "a", 250).await.unwrap() })
            })
            .collect();
        let mut taken = Vec::new();
        for taker in takers {
            taken.extend(taker.await.unwrap());
        }
        assert_eq!(taken, ["4"]);
        assert_eq!(invalid(put("k\0", "", 1, Put::Replace, 0).await), "key");
        assert_eq!(invalid(put("k", &"x".repeat(300_000), 1, Put::Replace, 0).await), "value");
        assert_eq!(store.take_thing("code", "k\0", 0).await.unwrap(), None);
        assert_eq!(store.last_change().await.unwrap(), 0, "nobody is told");
    });
}
