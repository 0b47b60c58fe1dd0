//! What the tests of OAuth have in common: a service with one of everything, asked through its router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use parking_lot::Mutex;
use plimsoll_identity::http::{HttpSetup, HttpState, Nature, OAuthSetup, Peer, Rate, Rates, UseLog, router};
use plimsoll_identity::password::Passwords;
use plimsoll_identity::token::{Claims, Expected};
use plimsoll_identity::{
    AppData, Application, Create, CredentialData, CredentialKind, Key, OrgData, Organisation, Party, Scope,
    Signer, State, Store, StoreOptions, User, UserData, Who,
};
use plimsoll_testkit::TempDir;
use plimsoll_types::Secret;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tower::ServiceExt as _;

pub(crate) const ISSUER: &str = "https://id.example";
pub(crate) const AUDIENCE: &str = "plimsoll";
pub(crate) const BACK: &str = "https://app.example/cb?keep=1";
pub(crate) const LOGIN: &str = "mary@example.org";
pub(crate) const PASSWORD: &str = "correct horse & battery";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A time of the tests, milliseconds since 1970.
const BEGIN_MS: i64 = 1_800_000_000_000;

/// A clock that stands until it is moved, and real chance.
pub(crate) struct TestNature {
    now_ms: AtomicI64,
    meanwhile: Mutex<Option<(u32, Meanwhile)>>,
}

type Meanwhile = Box<dyn FnOnce() + Send>;

impl TestNature {
    fn new(now_ms: i64) -> TestNature {
        TestNature { now_ms: AtomicI64::new(now_ms), meanwhile: Mutex::default() }
    }

    pub(crate) fn pass(&self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).expect("a short time");
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Something happens beside the next request, when that wants chance for the so manieth time.
    pub(crate) fn meanwhile(&self, draw: u32, happens: impl FnOnce() + Send + 'static) {
        *self.meanwhile.lock() = Some((draw, Box::new(happens)));
    }

    /// Whether nothing is left to happen.
    pub(crate) fn has_happened(&self) -> bool {
        self.meanwhile.lock().is_none()
    }
}

impl Nature for TestNature {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        let mut meanwhile = self.meanwhile.lock();
        match meanwhile.take() {
            Some((1, happens)) => happens(),
            Some((draw, happens)) => *meanwhile = Some((draw - 1, happens)),
            None => {}
        }
        getrandom::fill(bytes)
    }
}

#[derive(Default)]
pub(crate) struct Uses(Mutex<Vec<(String, String)>>);

impl Uses {
    pub(crate) fn seen(&self) -> Vec<(String, String)> {
        self.0.lock().clone()
    }
}

impl UseLog for Uses {
    fn used(&self, key_id: &str, _: i64, from: &str) {
        self.0.lock().push((key_id.to_owned(), from.to_owned()));
    }
}

/// The service.
pub(crate) struct Desk {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) nature: Arc<TestNature>,
    pub(crate) signer: Arc<Signer>,
    pub(crate) uses: Arc<Uses>,
    pub(crate) passwords: Passwords,
    pub(crate) org: Organisation,
    pub(crate) user: User,
    /// Where its store is.
    pub(crate) url: String,
}

/// A key of an application.
pub(crate) struct TestKey {
    pub(crate) id: String,
    pub(crate) text: String,
}

impl TestKey {
    pub(crate) fn basic(&self) -> (&'static str, String) {
        basic(&self.id, &self.text)
    }

    pub(crate) fn bearer(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.text))
    }
}

pub(crate) fn basic(user: &str, password: &str) -> (&'static str, String) {
    ("authorization", format!("Basic {}", BASE64.encode(format!("{user}:{password}"))))
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        let json = self.json();
        json[name].as_str().unwrap_or_else(|| panic!("no {name} in {json}")).to_owned()
    }

    pub(crate) fn error(&self) -> (u16, String) {
        (self.status.as_u16(), self.text("error"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// What is added to the address that the browser is sent to.
    pub(crate) fn sent(&self, name: &str) -> Option<String> {
        let (_, query) = self.header("location").split_once('?').expect("a query");
        pairs(query).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// Runs a test with a service in a folder of its own.
pub(crate) fn with_desk(test: impl AsyncFnOnce(Desk)) {
    with_desk_that(Issuing::On, test);
}

/// Whether a service has an issuer of tokens.
#[derive(Clone, Copy)]
pub(crate) enum Issuing {
    On,
    Off,
}

/// The same with or without an issuer.
pub(crate) fn with_desk_that(issuing: Issuing, test: impl AsyncFnOnce(Desk)) {
    let dir = TempDir::new("oauth");
    let url = format!("sqlite:{}", dir.path().join("identity.db").display());
    with_desk_at(url, issuing, test);
}

/// The same with a store of that kind.
pub(crate) fn with_desk_at(url: String, issuing: Issuing, test: impl AsyncFnOnce(Desk)) {
    runtime().block_on(async {
        let desk = Desk::open(url, issuing).await;
        let store = desk.store.clone();
        test(desk).await;
        store.close().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Posts a form to another instance on a store, and waits for it; its status.
pub(crate) fn post_elsewhere(url: &str, now_ms: i64, path: &str, body: String) -> u16 {
    std::thread::scope(|scope| {
        let posting = scope.spawn(|| {
            runtime().block_on(async {
                let store = Store::open(url, StoreOptions { create: Create::Never }).await.expect("a store");
                let signer = Arc::new(Signer::open(&store, ISSUER, 600, now_ms).await.expect("a signer"));
                let nature = Arc::new(TestNature::new(now_ms));
                let setup = Desk::setup(&store, &signer, nature, Arc::default(), Issuing::On);
                let form = [("content-type", "application/x-www-form-urlencoded".to_owned())];
                let answer = ask(router(HttpState::new(setup)), Method::POST, path, body, &form).await;
                store.close().await;
                answer.status.as_u16()
            })
        });
        posting.join().expect("an answer")
    })
}

async fn ask(router: Router, method: Method, path: &str, body: String, headers: &[(&str, String)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let mut request = request.body(Body::from(body)).expect("a request");
    let peer: SocketAddr = "192.0.2.7:5000".parse().expect("an address");
    request.extensions_mut().insert(Peer(peer));
    let response = router.oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a body");
    let body = String::from_utf8(body.to_vec()).expect("a text");
    Answer { status: parts.status, headers: parts.headers, body }
}

impl Desk {
    fn setup(
        store: &Store,
        signer: &Arc<Signer>,
        nature: Arc<TestNature>,
        uses: Arc<Uses>,
        issuing: Issuing,
    ) -> HttpSetup {
        HttpSetup {
            store: store.clone(),
            passwords: Passwords::new(&[9; 32]).expect("memory"),
            uses,
            nature,
            rates: Rates {
                failures: Rate { per_second: 1, burst: 12 },
                passwords: Rate { per_second: 1, burst: 4 },
                ..Rates::default()
            },
            oauth: match issuing {
                Issuing::On => Some(OAuthSetup { signer: Arc::clone(signer), audience: AUDIENCE.into() }),
                Issuing::Off => None,
            },
        }
    }

    async fn open(url: String, issuing: Issuing) -> Desk {
        let store = Store::open(&url, StoreOptions { create: Create::IfMissing }).await.expect("a store");
        let nature = Arc::new(TestNature::new(BEGIN_MS));
        let signer = Arc::new(Signer::open(&store, ISSUER, 600, BEGIN_MS).await.expect("a signer"));
        let uses = Arc::new(Uses::default());
        let setup = Desk::setup(&store, &signer, nature.clone(), uses.clone(), issuing);
        let passwords = setup.passwords.clone();
        let org = store.create_org(org_data("acme"), who()).await.expect("an organisation");
        let user = UserData {
            org: org.id.clone(),
            login: LOGIN.to_owned(),
            scopes: vec![Scope::Authorize],
            state: State::Active,
        };
        let user = store.create_user(user, who()).await.expect("a user");
        let desk = Desk {
            router: router(HttpState::new(setup)),
            store,
            nature,
            signer,
            uses,
            passwords,
            org,
            user,
            url,
        };
        desk.set_password(PASSWORD).await;
        desk
    }

    pub(crate) async fn set_password(&self, password: &str) {
        let phc = self.passwords.hash(Secret::from_text(password), [3; 16]).await.expect("a good password");
        self.store.set_user_password(&self.user.id, Some(&phc), who()).await.expect("a user");
    }

    pub(crate) async fn app(&self, name: &str, party: Party) -> Application {
        self.app_of(&self.org, name, party).await
    }

    pub(crate) async fn app_of(&self, org: &Organisation, name: &str, party: Party) -> Application {
        let data = AppData {
            org: org.id.clone(),
            name: name.to_owned(),
            party,
            redirect_uris: vec![BACK.to_owned()],
            state: State::Active,
        };
        self.store.create_app(data, who()).await.expect("an application")
    }

    pub(crate) async fn key(&self, app: &Application, scopes: &[Scope]) -> TestKey {
        let mut chance = [0; 44];
        getrandom::fill(&mut chance).expect("chance");
        let key = Key::mint("test", &chance).expect("a key");
        let data = CredentialData {
            app: app.id.clone(),
            kind: CredentialKind::Key,
            env: "test".to_owned(),
            name: String::new(),
            public: String::new(),
            scopes: scopes.to_vec(),
            expires_ms: None,
            state: State::Active,
        };
        let hash = Some(key.secret_sha256());
        self.store.create_credential(key.key_id(), data, hash, who()).await.expect("a credential");
        TestKey { id: key.key_id().to_owned(), text: key.text().expose_text().expect("a text").to_owned() }
    }

    pub(crate) async fn set_key_state(&self, key: &TestKey, state: State) {
        let credential = self.store.credential(&key.id).await.expect("a credential");
        let data = CredentialData { state, ..credential.data };
        self.store.change_credential(&key.id, None, data, who()).await.expect("a change");
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
        headers: &[(&str, String)],
    ) -> Answer {
        ask(self.router.clone(), method, path, body, headers).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, String::new(), &[]).await
    }

    /// Posts a form.
    pub(crate) async fn post(
        &self,
        path: &str,
        params: &[(&str, &str)],
        headers: &[(&str, String)],
    ) -> Answer {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        all.extend(headers.iter().cloned());
        self.ask(Method::POST, path, form(params), &all).await
    }

    pub(crate) async fn token(&self, params: &[(&str, &str)], headers: &[(&str, String)]) -> Answer {
        self.post("/oauth/token", params, headers).await
    }

    /// The claims of a token, verified.
    pub(crate) fn claims(&self, token: &str, audience: &str) -> Claims {
        let now_s = self.nature.now_ms() / 1000;
        self.signer.verifier().verify(token, &Expected { audience, now_s }).expect("a good token")
    }

    /// Whether a token is active, as somebody hears who may hear of all.
    pub(crate) async fn is_active(&self, teller: &TestKey, token: &str) -> bool {
        let answer = self.post("/oauth/introspect", &[("token", token)], &[teller.bearer()]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.json()["active"].as_bool().expect("a flag")
    }

    /// Opens the sign-in page in a new browser.
    pub(crate) async fn open_page(&self, params: &[(&str, &str)]) -> Tab {
        let answer = self.get(&format!("/oauth/authorize?{}", form(params))).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let cookie = answer.header("set-cookie").split(';').next().expect("a cookie").to_owned();
        Tab { cookie, fields: fields(&answer.body), answer }
    }

    /// Enters something at a page and sends it.
    pub(crate) async fn enter(&self, tab: &Tab, entered: &[(&str, &str)]) -> Answer {
        let mut params: Vec<(&str, &str)> =
            tab.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        params.retain(|(name, _)| entered.iter().all(|(new, _)| new != name));
        params.extend(entered);
        let headers = [("cookie", tab.cookie.clone()), ("sec-fetch-site", "same-origin".to_owned())];
        self.post("/oauth/authorize", &params, &headers).await
    }

    /// Signs in to an application of one's own organisation; the code. Whoever is asked whether the application may use
    /// this API says yes: nobody is who gives it no scope.
    pub(crate) async fn code(&self, app: &Application, more: &[(&str, &str)]) -> String {
        let tab = self.open_page(&request(app, more)).await;
        let mut answer = self.enter(&tab, &[("login", LOGIN), ("password", PASSWORD)]).await;
        let is_scoped = more.iter().any(|(name, _)| *name == "scope");
        assert_eq!(answer.status == StatusCode::OK, is_scoped, "{answer:?}");
        if is_scoped {
            let consent = tab.next(answer);
            answer = self.enter(&consent, &[("decision", "allow")]).await;
        }
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        answer.sent("code").expect("a code")
    }

    /// Exchanges a code as an application without a credential.
    pub(crate) async fn exchange(&self, app: &Application, code: &str) -> Answer {
        self.token(&exchange(app, code), &[]).await
    }

    pub(crate) async fn refresh(&self, app: &Application, token: &str) -> Answer {
        let params =
            [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", app.id.as_str())];
        self.token(&params, &[]).await
    }
}

/// A page in a browser.
pub(crate) struct Tab {
    pub(crate) cookie: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) answer: Answer,
}

impl Tab {
    /// The next page in the same browser.
    pub(crate) fn next(&self, answer: Answer) -> Tab {
        Tab { cookie: self.cookie.clone(), fields: fields(&answer.body), answer }
    }
}

pub(crate) fn who() -> Who<'static> {
    Who { actor: "init", from: "127.0.0.1", now_ms: BEGIN_MS }
}

pub(crate) fn org_data(name: &str) -> OrgData {
    OrgData { name: name.to_owned(), state: State::Active }
}

pub(crate) fn challenge() -> String {
    BASE64URL.encode(Sha256::digest(VERIFIER))
}

/// The parameters of a good request, with more or others.
pub(crate) fn request<'a>(app: &'a Application, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    assert_eq!(challenge(), CHALLENGE);
    let mut params = vec![
        ("response_type", "code"),
        ("client_id", app.id.as_str()),
        ("redirect_uri", BACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    params.retain(|(name, _)| more.iter().all(|(new, _)| new != name));
    params.extend(more);
    params
}

pub(crate) fn exchange<'a>(app: &'a Application, code: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", BACK),
        ("code_verifier", VERIFIER),
        ("client_id", app.id.as_str()),
    ]
}

/// Parameters as a form has them.
pub(crate) fn form(params: &[(&str, &str)]) -> String {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let pairs = params.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let mut digit = || char::from(rest.next().expect("a digit")).to_digit(16).expect("a digit");
            bytes.push(if byte == b'%' {
                u8::try_from(digit() * 16 + digit()).expect("a byte")
            } else {
                byte
            });
        }
        String::from_utf8(bytes).expect("a text")
    };
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// The hidden fields of a page, as a browser reads them.
fn fields(page: &str) -> Vec<(String, String)> {
    let unescape = |text: &str| {
        [
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&quot;", "\""),
            ("&#39;", "'"),
            ("&#13;", "\r"),
            ("&#10;", "\n"),
            ("&amp;", "&"),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (escaped, letter)| text.replace(escaped, letter))
    };
    page.lines()
        .filter_map(|line| line.strip_prefix("<input type=\"hidden\" name=\""))
        .map(|rest| {
            let (name, rest) = rest.split_once("\" value=\"").expect("a value");
            let (value, _) = rest.split_once("\">").expect("an end");
            (unescape(name), unescape(value))
        })
        .collect()
}
