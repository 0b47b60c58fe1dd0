//! The API over a store of its own, without a socket.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(clippy::unwrap_used, reason = "a test ends where it goes wrong")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode};
use parking_lot::Mutex;
use plimsoll_identity::http::{HttpSetup, HttpState, Nature, OAuthSetup, Peer, Rates, UseLog, router};
use plimsoll_identity::password::Passwords;
use plimsoll_identity::token::NewToken;
use plimsoll_identity::{
    AppData, Create, CredentialData, CredentialKind, Id, Key, OrgData, Party, Scope, Signer, State, Store,
    StoreOptions, Who,
};
use plimsoll_testkit::TempDir;
use serde_json::{Value, json};
use sqlx::Connection as _;
use tower::ServiceExt;

/// When each test begins, milliseconds since 1970.
pub(crate) const START: i64 = 1_800_000_000_000;

/// A clock that stands still, and real chance.
pub(crate) struct Still(AtomicI64);

impl Still {
    pub(crate) fn forward(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Nature for Still {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        getrandom::fill(bytes)
    }
}

/// Keys that were used.
#[derive(Default)]
pub(crate) struct Uses(Mutex<Vec<String>>);

impl UseLog for Uses {
    fn used(&self, key_id: &str, _now_ms: i64, from: &str) {
        self.0.lock().push(format!("{key_id} {from}"));
    }
}

/// The API.
pub(crate) struct Api {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) clock: Arc<Still>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) uses: Arc<Uses>,
    /// An organisation, an application of it, and a key with the scope admin.
    pub(crate) org: Id,
    pub(crate) app: Id,
    pub(crate) admin: String,
    dir: TempDir,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("JSON, not {:?}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The text under a name.
    pub(crate) fn str(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("{name} in {}", self.text)).to_owned()
    }

    /// Checks that it is a problem of that status and word.
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.header("content-type")),
            (status, "application/problem+json"),
            "{}",
            self.text
        );
        let json = self.json();
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["status"], status, "{json}");
        for field in ["type", "title", "detail"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{json}");
        }
    }

    pub(crate) fn is(self, status: u16) -> Answer {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
}

/// Somebody who asks.
pub(crate) struct Asks<'a> {
    api: &'a Api,
    key: Option<String>,
    from: SocketAddr,
    headers: Vec<(String, String)>,
}

impl Asks<'_> {
    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = SocketAddr::new(address.parse().unwrap(), 1);
        self
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) async fn get(self, path: &str) -> Answer {
        self.send("GET", path, Body::empty(), None).await
    }

    pub(crate) async fn delete(self, path: &str) -> Answer {
        self.send("DELETE", path, Body::empty(), None).await
    }

    pub(crate) async fn post(self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Body::from(body.to_string()), Some("application/json")).await
    }

    pub(crate) async fn put(self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Body::from(body.to_string()), Some("application/json")).await
    }

    pub(crate) async fn send(self, method: &str, path: &str, body: Body, media: Option<&str>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).extension(Peer(self.from));
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(media) = media {
            request = request.header(CONTENT_TYPE, media);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = self.api.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 24).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }
}

impl Api {
    pub(crate) async fn new() -> Api {
        Api::with_rates(Rates::default()).await
    }

    pub(crate) async fn with_rates(rates: Rates) -> Api {
        let dir = TempDir::new("identity-api");
        let url = format!("sqlite:{}", dir.path().join("identity.db").display());
        let store = Store::open(&url, StoreOptions { create: Create::IfMissing }).await.unwrap();
        let clock = Arc::new(Still(AtomicI64::new(START)));
        let uses = Arc::new(Uses::default());
        let signer = Arc::new(Signer::open(&store, "https://id.example", 600, START).await.unwrap());
        let setup = HttpSetup {
            store: store.clone(),
            passwords: Passwords::new(&[7; 32]).unwrap(),
            uses: uses.clone(),
            nature: clock.clone(),
            rates,
            oauth: Some(OAuthSetup { signer: signer.clone(), audience: "plimsoll".into() }),
        };
        let router = router(HttpState::new(setup));
        let who = Who { actor: "init", from: "local", now_ms: START };
        let data = OrgData { name: "The house".to_owned(), state: State::Active };
        let org = store.create_org(data, who).await.unwrap().id;
        let app = new_app(&store, &org, "admin").await;
        let admin = new_key(&store, &app, &[Scope::Admin]).await;
        Api { router, store, clock, signer, uses, org, app, admin, dir }
    }

    /// Whoever has the scope admin.
    pub(crate) fn admin(&self) -> Asks<'_> {
        self.as_key(&self.admin)
    }

    /// Whoever has a key or token.
    pub(crate) fn as_key(&self, key: &str) -> Asks<'_> {
        Asks { key: Some(key.to_owned()), ..self.nobody() }
    }

    /// Whoever has nothing.
    pub(crate) fn nobody(&self) -> Asks<'_> {
        Asks { api: self, key: None, from: SocketAddr::from(([192, 0, 2, 1], 1)), headers: Vec::new() }
    }

    /// An application of an organisation, with a key of these scopes.
    pub(crate) async fn key_in(&self, org: &Id, name: &str, scopes: &[Scope]) -> (Id, String) {
        let app = new_app(&self.store, org, name).await;
        let key = new_key(&self.store, &app, scopes).await;
        (app, key)
    }

    /// Another organisation.
    pub(crate) async fn other_org(&self) -> Id {
        let made = self.admin().post("/v1/orgs", json!({"name": "Another one"})).await.is(201);
        made.str("id").parse_id()
    }

    /// A token that is good, and says this.
    pub(crate) fn token(&self, subject: &Id, client: &Id, scope: &str, kid_used: Option<&str>) -> String {
        let new = NewToken { subject, client, org: &self.org, audience: "plimsoll", scope, kid_used };
        let mut chance = [0; 16];
        getrandom::fill(&mut chance).unwrap();
        let issued = self.signer.issue(&new, START / 1000, &chance).unwrap();
        issued.token.expose_text().unwrap().to_owned()
    }

    /// Keys that were used, with the addresses.
    pub(crate) fn used(&self) -> Vec<String> {
        self.uses.0.lock().clone()
    }

    /// A connection to the store's file that is none of the store's.
    pub(crate) async fn behind(&self) -> sqlx::SqliteConnection {
        let url = format!("sqlite://{}", self.dir.path().join("identity.db").display());
        sqlx::SqliteConnection::connect(&url).await.unwrap()
    }

    /// All bytes of the store's files.
    pub(crate) fn stored_bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

/// Counts what others write, as a connection sees it.
pub(crate) async fn writes(behind: &mut sqlx::SqliteConnection) -> i64 {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(behind).await.unwrap()
}

/// Reading ids where a test knows that they are right.
pub(crate) trait ParseId {
    fn parse_id(&self) -> Id;
}

impl ParseId for String {
    fn parse_id(&self) -> Id {
        Id::parse_any(self).unwrap_or_else(|| panic!("an id, not {self:?}"))
    }
}

/// The key id in a key.
pub(crate) fn key_id(key: &str) -> String {
    Key::parse(key).unwrap().key_id.to_string()
}

async fn new_app(store: &Store, org: &Id, name: &str) -> Id {
    let who = Who { actor: "init", from: "local", now_ms: START };
    let data = AppData {
        org: org.clone(),
        name: name.to_owned(),
        party: Party::First,
        redirect_uris: Vec::new(),
        state: State::Active,
    };
    store.create_app(data, who).await.unwrap().id
}

async fn new_key(store: &Store, app: &Id, scopes: &[Scope]) -> String {
    let who = Who { actor: "init", from: "local", now_ms: START };
    let mut chance = [0; plimsoll_identity::key::KEY_CHANCE_BYTES];
    getrandom::fill(&mut chance).unwrap();
    let key = Key::mint("test", &chance).unwrap();
    let data = CredentialData {
        app: app.clone(),
        kind: CredentialKind::Key,
        env: "test".to_owned(),
        name: String::new(),
        public: String::new(),
        scopes: scopes.to_vec(),
        expires_ms: None,
        state: State::Active,
    };
    store.create_credential(key.key_id(), data, Some(key.secret_sha256()), who).await.unwrap();
    key.text().expose_text().unwrap().to_owned()
}
