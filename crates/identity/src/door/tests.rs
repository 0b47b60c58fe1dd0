use serde_json::json;

use super::known::Known;
use super::*;
use crate::model::{
    AppData, Application, CredentialData, CredentialKind, DataSet, DataSetData, Grant, GrantData, Limits,
    Meta, OrgData, Organisation, Party, State,
};
use crate::store::{GrantFact, Holder};
use crate::{Credential, Kind};

fn id(kind: Kind, number: u8) -> Id {
    Id::new(kind, 1, [number; 10])
}

fn meta() -> Meta {
    Meta { created_ms: 1, changed_ms: 1, changed_by: "init".to_owned(), version: 1 }
}

/// An application with one grant, everything of it numbered alike.
fn facts(number: u8) -> KeyFacts {
    let (org, app, dataset) = (id(Kind::Org, number), id(Kind::App, number), id(Kind::DataSet, number));
    let named = |what: &str| format!("{what}{number}");
    let app_data = AppData {
        org: org.clone(),
        name: named("app"),
        party: Party::First,
        redirect_uris: Vec::new(),
        state: State::Active,
    };
    let dataset_data = DataSetData {
        org: org.clone(),
        name: named("data"),
        database: "shop".to_owned(),
        schema: None,
        state: State::Active,
    };
    let grant_data = GrantData {
        subject: app.clone(),
        dataset: dataset.clone(),
        role: "web".to_owned(),
        actions: vec!["*".to_owned()],
        limits: Limits::default(),
        shared: false,
        expires_ms: None,
        state: State::Active,
    };
    let credential_data = CredentialData {
        app: app.clone(),
        kind: CredentialKind::Key,
        env: "test".to_owned(),
        name: String::new(),
        public: String::new(),
        scopes: Vec::new(),
        expires_ms: None,
        state: State::Active,
    };
    let grant = Grant { id: id(Kind::Grant, number), data: grant_data, meta: meta() };
    let dataset = DataSet { id: dataset, data: dataset_data, meta: meta() };
    KeyFacts {
        credential: Credential {
            key_id: named("key"),
            data: credential_data,
            used_ms: None,
            used_from: None,
            meta: meta(),
        },
        secret_sha256: Some([number; 32]),
        subject: Arc::new(SubjectFacts {
            holder: Holder::App(Application { id: app, data: app_data, meta: meta() }),
            org: Organisation {
                id: org,
                data: OrgData { name: named("org"), state: State::Active },
                meta: meta(),
            },
            grants: vec![GrantFact { grant, dataset, dataset_org_state: State::Active }],
        }),
    }
}

fn change(action: &str, object: &str, detail: serde_json::Value) -> Audit {
    let (actor, from) = ("init".to_owned(), "local".to_owned());
    Audit { seq: 1, at_ms: 1, actor, from, action: action.to_owned(), object: object.to_owned(), detail }
}

fn known() -> Known {
    let mut known = Known::default();
    for number in 1..=2 {
        known.put_key(&format!("key{number}"), Arc::new(facts(number)), 0);
    }
    known
}

#[test]
fn what_has_changed_is_forgotten_and_nothing_else() {
    let all = [Kind::Org, Kind::App, Kind::DataSet, Kind::Grant].map(|kind| id(kind, 1).as_str().to_owned());
    for object in all {
        let mut known = known();
        known.note(&[change("thing.change", &object, json!({}))]);
        assert!(known.key("key1").is_none() && known.subject(&id(Kind::App, 1)).is_none(), "{object}");
        assert!(known.key("key2").is_some() && known.subject(&id(Kind::App, 2)).is_some(), "{object}");
    }
    let mut keyed = known();
    keyed.note(&[change("key.revoke", "key1", json!({}))]);
    assert!(keyed.key("key1").is_none() && keyed.key("key2").is_some());
    assert!(keyed.subject(&id(Kind::App, 1)).is_some(), "its other keys are as they were");
    let mut granted = known();
    let subject = id(Kind::App, 1);
    granted.note(&[change(
        "grant.create",
        id(Kind::Grant, 9).as_str(),
        json!({"subject": subject.as_str()}),
    )]);
    assert!(granted.key("key1").is_none() && granted.key("key2").is_some());
    let mut other = known();
    other.note(&[change("org.create", id(Kind::Org, 9).as_str(), json!({"name": "new"}))]);
    assert!(other.key("key1").is_some() && other.key("key2").is_some());
}

#[test]
fn what_was_read_before_a_change_is_not_kept_after_it() {
    let mut known = Known::default();
    let before = known.generation();
    known.note(&[change("key.revoke", "key1", json!({}))]);
    known.put_key("key1", Arc::new(facts(1)), before);
    assert!(known.key("key1").is_none());
    known.put_key("key1", Arc::new(facts(1)), known.generation());
    assert!(known.key("key1").is_some());
    let many: Vec<Audit> = (0..101).map(|_| change("org.create", "org", json!({}))).collect();
    known.note(&many);
    assert!(known.key("key1").is_none(), "more than can be compared");
}
