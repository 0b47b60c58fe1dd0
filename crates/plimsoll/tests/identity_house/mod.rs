//! A pooler with a store of identities beside it, which the test writes as another instance would.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_identity::{
    AppData, Application, Create, Credential, CredentialData, CredentialKind, DataSet, DataSetData, Grant,
    GrantData, Id, Key, Limits, OrgData, Organisation, Party, State, Store, StoreOptions, Who,
};
use plimsoll_testkit::{Ini, Plimsoll, Postgres, TempDir};
use tokio::runtime::Runtime;

use crate::common::pooler;

pub(crate) struct IdentityHouse {
    pub(crate) plimsoll: Plimsoll,
    pub(crate) postgres: Postgres,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) folder: TempDir,
    pub(crate) org: Organisation,
    /// On database `p0`.
    pub(crate) dataset: DataSet,
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub(crate) fn who() -> Who<'static> {
    Who { actor: "test", from: "127.0.0.1", now_ms: now_ms() }
}

/// Everything belongs to the user that the pooler runs as.
fn give(folder: &Path, like: &Path) {
    let owner = std::fs::metadata(like).unwrap();
    let (uid, gid) = (Some(owner.uid()), Some(owner.gid()));
    std::os::unix::fs::chown(folder, uid, gid).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        std::os::unix::fs::chown(entry.unwrap().path(), uid, gid).unwrap();
    }
}

/// Logins by key; the ini file changed by `change`.
#[track_caller]
pub(crate) fn identity_house(change: impl FnOnce(Ini) -> Ini) -> IdentityHouse {
    let folder = TempDir::new("identity");
    let url = format!("sqlite:{}", folder.path().join("identity.db").display());
    house_with_store(&url, folder, change)
}

/// The same with another store.
#[track_caller]
pub(crate) fn house_with_store(url: &str, folder: TempDir, change: impl FnOnce(Ini) -> Ini) -> IdentityHouse {
    let postgres = Postgres::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(Store::open(url, StoreOptions { create: Create::IfMissing })).unwrap();
    let name = "acme".to_owned();
    let org = runtime.block_on(store.create_org(OrgData { name, state: State::Active }, who())).unwrap();
    give(folder.path(), postgres.socket_dir());
    let data = DataSetData {
        org: org.id.clone(),
        name: "orders".to_owned(),
        database: "p0".to_owned(),
        schema: None,
        state: State::Active,
    };
    let dataset = runtime.block_on(store.create_dataset(data, who())).unwrap();
    let ini = Ini::new(&postgres).set("auth_type", "key").own("identity_store", url);
    let plimsoll = pooler(change(ini));
    IdentityHouse { plimsoll, postgres, store, runtime, folder, org, dataset }
}

impl IdentityHouse {
    pub(crate) fn app(&self, name: &str) -> Application {
        let data = AppData {
            org: self.org.id.clone(),
            name: name.to_owned(),
            party: Party::First,
            redirect_uris: Vec::new(),
            state: State::Active,
        };
        self.runtime.block_on(self.store.create_app(data, who())).unwrap()
    }

    /// To whom a grant was made.
    pub(crate) fn app_of(&self, grant: &Grant) -> Application {
        self.runtime.block_on(self.store.app(&grant.data.subject)).unwrap()
    }

    /// A key, and what the store has of it.
    pub(crate) fn key(&self, app: &Application, expires_ms: Option<i64>) -> (String, Credential) {
        let mut chance = [0; 44];
        getrandom::fill(&mut chance).unwrap();
        let key = Key::mint("test", &chance).unwrap();
        let data = CredentialData {
            app: app.id.clone(),
            kind: CredentialKind::Key,
            env: "test".to_owned(),
            name: String::new(),
            public: String::new(),
            scopes: Vec::new(),
            expires_ms,
            state: State::Active,
        };
        let made = self.store.create_credential(key.key_id(), data, Some(key.secret_sha256()), who());
        let credential = self.runtime.block_on(made).unwrap();
        (key.text().expose_text().unwrap().to_owned(), credential)
    }

    pub(crate) fn grant(&self, subject: &Id, role: &str, limits: Limits) -> Grant {
        let data = GrantData {
            subject: subject.clone(),
            dataset: self.dataset.id.clone(),
            role: role.to_owned(),
            actions: vec!["*".to_owned()],
            limits,
            shared: false,
            expires_ms: None,
            state: State::Active,
        };
        self.runtime.block_on(self.store.create_grant(data, who())).unwrap()
    }

    /// An application with a key and a grant of role `app` on `p0`.
    pub(crate) fn usual(&self) -> (Application, String, Credential, Grant) {
        let app = self.app("shop");
        let (key, credential) = self.key(&app, None);
        let grant = self.grant(&app.id, "app", Limits::default());
        (app, key, credential, grant)
    }

    pub(crate) fn revoke(&self, credential: &Credential) {
        let data = CredentialData { state: State::Revoked, ..credential.data.clone() };
        self.runtime.block_on(self.store.change_credential(&credential.key_id, None, data, who())).unwrap();
    }
}
