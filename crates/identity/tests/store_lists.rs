//! What the store tells: lists, filters, the audit log; and what it keeps until it ends. On SQLite and on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

mod house;

use house::*;
use plimsoll_identity::{
    AppFilter, AuditFilter, CertificateAsk, CertificateKeys, CredentialData, CredentialFilter,
    CredentialKind, DataSetFilter, GrantData, GrantFilter, Id, OrgFilter, Page, Put, State, UserFilter, Who,
};

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
            let filter = AppFilter { org: Some(house.org.id.clone()), ..AppFilter::default() };
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
        let filter = AppFilter {
            org: Some(house.org.id.clone()),
            state: Some(State::Disabled),
            ..AppFilter::default()
        };
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
        let orgs = store.orgs(OrgFilter { name: None, state: active }, page(9)).await.unwrap();
        assert_eq!(orgs.items.len(), 2);
        assert!(
            store
                .orgs(OrgFilter { name: None, state: Some(State::Revoked) }, page(9))
                .await
                .unwrap()
                .items
                .is_empty()
        );
        let datasets =
            store.datasets(DataSetFilter { name: None, org: org.clone(), state: active }, page(9)).await;
        assert_eq!(datasets.unwrap().items, std::slice::from_ref(&a.dataset));
        let users = store.users(UserFilter { login: None, org: org.clone(), state: active }, page(9)).await;
        assert_eq!(users.unwrap().items, std::slice::from_ref(&a.user));
        let keys = |filter| store.credentials(filter, page(9));
        let by_org = CredentialFilter { org: org.clone(), ..CredentialFilter::default() };
        assert_eq!(keys(by_org).await.unwrap().items, std::slice::from_ref(&a.credential));
        let by_app =
            CredentialFilter { app: Some(b.app.id.clone()), state: active, ..CredentialFilter::default() };
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
        let later = AuditFilter { since_ms: Some(NOW + 51), ..AuditFilter::default() };
        assert!(store.audit(later, page(99)).await.unwrap().items.is_empty());
        let odd = AuditFilter { actor: Some("\0".to_owned()), ..AuditFilter::default() };
        assert!(store.audit(odd, page(99)).await.unwrap().items.is_empty());
        assert_eq!(store.last_change().await.unwrap(), 11);
        assert_eq!(store.changes_since(9).await.unwrap().len(), 2);
        assert!(store.changes_since(11).await.unwrap().is_empty());
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

#[test]
fn of_a_certificate_that_many_have_written_down_those_come_first_that_were_granted_what_is_asked() {
    on_both(async |store| {
        let owner = House::build(&store, "a", 99).await;
        let squatter = House::build(&store, "b", 98).await;
        let sha256 = "ab".repeat(32);
        let ask = |database, user| CertificateAsk { sha256: &sha256, database, user };
        let note = async |app: &Id, number: u64| {
            let data = CredentialData {
                kind: CredentialKind::Certificate,
                public: sha256.clone(),
                ..credential_data(app)
            };
            store.create_credential(&key_id(number), data, None, WHO).await.unwrap()
        };
        for number in 0..15 {
            note(&squatter.app.id, number).await;
        }
        let own = note(&owner.app.id, 50).await;
        // As long as there are few they are all looked at, whatever is asked for.
        for asked in [ask("a", "a"), ask("x", "y")] {
            let keys = store.key_ids_of_certificate(asked).await.unwrap();
            assert!(matches!(&keys, CertificateKeys::All(all) if all.len() == 16), "{keys:?}");
        }
        let is_own = |keys: &CertificateKeys| *keys == CertificateKeys::Granted(vec![own.key_id.clone()]);
        for number in 15..40 {
            note(&squatter.app.id, number).await;
        }
        for user in ["a", owner.app.id.as_str()] {
            let keys = store.key_ids_of_certificate(ask("a", user)).await.unwrap();
            assert!(is_own(&keys), "{user}: {keys:?}");
        }
        for (database, user) in [("a", "b"), ("x", "a"), ("a\0", "' OR 1=1 --")] {
            let keys = store.key_ids_of_certificate(ask(database, user)).await.unwrap();
            assert_eq!(keys, CertificateKeys::Granted(Vec::new()), "{database} {user}");
        }
        let keys = store.key_ids_of_certificate(ask("b", "b")).await.unwrap();
        assert!(matches!(&keys, CertificateKeys::Granted(some) if some.len() == 16), "{keys:?}");
        let data = GrantData { state: State::Disabled, ..owner.grant.data.clone() };
        store.change_grant(&owner.grant.id, None, data, WHO).await.unwrap();
        let keys = store.key_ids_of_certificate(ask("a", "a")).await.unwrap();
        assert_eq!(keys, CertificateKeys::Granted(Vec::new()), "a grant that is of no use");
    });
}
