use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use parking_lot::Mutex;
use plimsoll_testkit::TempDir;
use plimsoll_types::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::door::{DoorOptions, Followed, Live, Welcome};
use crate::id::Kind;
use crate::model::{AppData, Application, DataSetData, GrantData, Limits, OrgData, Party, State, UserData};
use crate::signer::Signer;
use crate::store::{Create, Store, StoreOptions, Who};
use crate::token::testing::{NOW_S, Pair, with};
use crate::token::{Alg, ClaimRule, NewToken, OutsideIssuers, Typ, Types};

const NOW_MS: i64 = NOW_S * 1000;
const URL: &str = "https://login.example/realms/shop";

fn who() -> Who<'static> {
    Who { actor: "test", from: "local", now_ms: NOW_MS }
}

/// What an issuer answers who is asked for its keys; `None`: it hangs up.
type Answer = Arc<Mutex<Option<String>>>;

/// An issuer: its key, what it answers, how often it was asked.
struct Idp {
    pair: Pair,
    answer: Answer,
    asked: Arc<AtomicUsize>,
    jwks_uri: String,
}

impl Idp {
    async fn new() -> Idp {
        let pair = Pair::new(Alg::Es256, "k1");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let jwks_uri = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let idp = Idp { answer: Answer::default(), asked: Arc::default(), jwks_uri, pair };
        idp.publish(&[&idp.pair]);
        let (answer, asked) = (idp.answer.clone(), idp.asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let Some(body) = answer.lock().clone() else { continue };
                let _ = stream.read(&mut [0; 1024]).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        idp
    }

    fn publish(&self, pairs: &[&Pair]) {
        let keys: Vec<&Value> = pairs.iter().map(|pair| &pair.jwk).collect();
        *self.answer.lock() = Some(json!({"keys": keys}).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn issuer(&self, app: &Application) -> OutsideIssuer {
        let rule =
            ClaimRule::Value { claim: "azp".to_owned(), value: "shop".to_owned(), subject: app.id.clone() };
        OutsideIssuer {
            name: "corp".to_owned(),
            issuer: URL.to_owned(),
            audience: "plimsoll-door".to_owned(),
            jwks_uri: self.jwks_uri.clone(),
            ca_file: None,
            algorithms: vec![Alg::Es256],
            types: Types::USUAL,
            rules: vec![rule],
            org: None,
        }
    }

    fn claims() -> Value {
        json!({"iss": URL, "sub": "s", "aud": "plimsoll-door", "azp": "shop", "exp": NOW_S + 600, "jti": "j"})
    }

    fn token(&self, changes: &Value) -> String {
        self.pair.token(&with(&Idp::claims(), changes))
    }
}

struct House {
    store: Store,
    door: Door,
    signer: Arc<Signer>,
    outside: Arc<OutsideIssuers>,
    app: Application,
    idp: Idp,
    _folder: TempDir,
}

impl House {
    async fn new() -> House {
        let folder = TempDir::new("door-tokens");
        let url = format!("sqlite:{}", folder.path().join("identity.db").display());
        let store = Store::open(&url, StoreOptions { create: Create::IfMissing }).await.expect("a store");
        let app = app(&store, "acme").await;
        let signer = Arc::new(Signer::open(&store, "https://id.example", 600, NOW_MS).await.expect("keys"));
        let outside = Arc::new(OutsideIssuers::default());
        let options =
            DoorOptions { audience: "plimsoll".to_owned(), stale_ms: 300_000, outside: outside.clone() };
        let idp = Idp::new().await;
        outside.set(vec![idp.issuer(&app)]).expect("good settings");
        let door = Door::open(store.clone(), Some(signer.clone()), options, NOW_MS).await.expect("a door");
        House { store, door, signer, outside, app, idp, _folder: folder }
    }

    /// As the pooler asks: by what is known, else with a look.
    async fn at(&self, token: &str, now_ms: i64) -> Result<Welcome, Refusal> {
        let visitor = visitor(token, now_ms);
        self.door.follow(now_ms).await;
        match self.door.admit_known(&visitor) {
            Some(answer) => answer,
            None => self.door.admit(visitor).await,
        }
    }

    async fn by(&self, token: &str) -> Result<Welcome, Refusal> {
        self.at(token, NOW_MS).await
    }

    /// Why it is not good.
    async fn bad(&self, token: &str) -> String {
        match self.by(token).await {
            Err(Refusal::Bad(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn visitor(token: &str, now_ms: i64) -> Visitor {
    Visitor {
        bearing: Bearing::Token(Secret::from_text(token)),
        database: "shop".into(),
        user: "web".into(),
        from: "127.0.0.1".into(),
        now_ms,
    }
}

/// An application with a grant, in an organisation of its own.
async fn app(store: &Store, org: &str) -> Application {
    let data = OrgData { name: org.to_owned(), state: State::Active };
    let org = store.create_org(data, who()).await.expect("made").id;
    let data = AppData {
        org: org.clone(),
        name: "shop".to_owned(),
        party: Party::First,
        redirect_uris: Vec::new(),
        state: State::Active,
    };
    let app = store.create_app(data, who()).await.expect("made");
    grant(store, &org, &app.id).await;
    app
}

async fn grant(store: &Store, org: &Id, subject: &Id) {
    let data = DataSetData {
        org: org.clone(),
        name: format!("data of {subject}"),
        database: "shop".to_owned(),
        schema: None,
        state: State::Active,
    };
    let dataset = store.create_dataset(data, who()).await.expect("made").id;
    let data = GrantData {
        subject: subject.clone(),
        dataset,
        role: "web".to_owned(),
        actions: vec!["*".to_owned()],
        limits: Limits::default(),
        shared: true,
        expires_ms: None,
        state: State::Active,
    };
    store.create_grant(data, who()).await.expect("made");
}

fn live(welcome: &Welcome) -> Live {
    Live {
        subject: welcome.subject.clone(),
        key_id: welcome.key_id.clone(),
        token_id: welcome.token_id.clone(),
        client: welcome.client.clone(),
        evidence: welcome.evidence.clone(),
        grant: welcome.allowed.grant.clone(),
        database: "shop".into(),
        role: "web".into(),
    }
}

#[tokio::test]
async fn our_own_come_first_and_others_by_their_exact_name() {
    let house = House::new().await;
    let org = house.app.data.org.clone();
    let new = NewToken {
        subject: &house.app.id,
        client: &house.app.id,
        org: &org,
        audience: "plimsoll",
        scope: "",
        kid_used: None,
    };
    let own = house.signer.issue(&new, NOW_S, &[3; 16]).expect("signed").token;
    let own = house.by(own.expose_text().expect("text")).await.expect("ours");
    assert!(own.evidence.is_none());
    assert_eq!(house.idp.asked(), 0, "nobody else is asked");
    // Nobody has such a name: nothing is fetched either.
    for iss in
        ["https://login.example/realms/shop/", "https://LOGIN.example/realms/shop", "https://id.example/"]
    {
        let why = house.bad(&house.idp.token(&json!({"iss": iss}))).await;
        assert!(why.contains("neither ours nor in [issuers]") && !why.contains(iss), "{why}");
    }
    assert_eq!(house.idp.asked(), 0);
    let welcome = house.by(&house.idp.token(&json!({}))).await.expect("theirs");
    assert_eq!((welcome.name.as_str(), welcome.allowed.role.as_str()), ("shop", "web"));
    assert_eq!(welcome.evidence.as_ref().map(|evidence| evidence.issuer_name()), Some("corp"));
    assert_eq!((welcome.token_id.as_deref(), welcome.until_ms), (Some("corp:j"), Some(NOW_MS + 600_000)));
    assert_eq!((&welcome.key_id, &welcome.client), (&None, &None));
    // The second time nobody waits for anything.
    assert!(house.by(&house.idp.token(&json!({"jti": "k"}))).await.is_ok());
    assert_eq!(house.idp.asked(), 1);
    // A name of ours in a token that they signed.
    let theirs = house.idp.token(&json!({"iss": "https://id.example"}));
    let why = house.bad(&theirs).await;
    assert!(!why.contains("corp"), "it is judged as one of ours: {why}");
    assert_eq!(house.idp.asked(), 1);
}

#[tokio::test]
async fn what_is_not_meant_for_us_is_refused() {
    let house = House::new().await;
    assert!(house.by(&house.idp.token(&json!({}))).await.is_ok());
    for (changes, why) in [
        (json!({"aud": "plimsoll"}), "another audience"),
        (json!({"aud": null}), "aud is missing"),
        (json!({"exp": NOW_S - 31}), "it ended 31 s ago"),
        (json!({"exp": null}), "exp is missing"),
        (json!({"nbf": NOW_S + 31}), "good only in 31 s"),
        (json!({"iat": NOW_S + 31}), "in the future"),
        (json!({"sub": null}), "sub is missing"),
    ] {
        let told = house.bad(&house.idp.token(&changes)).await;
        assert!(told.starts_with("issuer corp: ") && told.contains(why), "{told}");
    }
    let claims = Idp::claims().to_string();
    let pair = &house.idp.pair;
    for (header, why) in [
        (json!({"alg": "ES256", "kid": "k1", "typ": "id+jwt"}), "another type"),
        (json!({"alg": "ES256", "kid": "k1"}), "another type"),
        (json!({"alg": "RS256", "kid": "k1", "typ": "JWT"}), "algorithm"),
        (json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"}), "algorithm"),
        (json!({"alg": "none", "typ": "JWT"}), "algorithm"),
        (json!({"alg": "ES256", "kid": "k1", "typ": "JWT", "crit": ["exp"]}), "extensions"),
    ] {
        assert!(house.bad(&pair.raw(&header.to_string(), &claims)).await.contains(why), "{header}");
    }
    // The public key as a shared secret, in every form it might be taken for one.
    let jwk = pair.jwk.to_string();
    let header = json!({"alg": "HS256", "kid": "k1", "typ": "JWT"}).to_string();
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(&claims));
    for secret in [jwk.as_bytes(), pair.jwk["x"].as_str().expect("text").as_bytes(), b""] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        let told = house.bad(&format!("{message}.{}", BASE64URL.encode(tag.as_ref()))).await;
        assert!(told.contains("algorithm"), "{told}");
    }
    let other = Pair::new(Alg::Es256, "k1");
    assert!(house.bad(&other.token(&Idp::claims())).await.contains("signature"));
    // It is good and says for nobody.
    let refused = house.by(&house.idp.token(&json!({"azp": "other"}))).await;
    assert!(matches!(&refused, Err(Refusal::NotGranted(why)) if why.contains("no rule")), "{refused:?}");
    assert_eq!(house.idp.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_and_inventions_cause_one_fetch_in_30_seconds() {
    let house = House::new().await;
    assert!(house.by(&house.idp.token(&json!({}))).await.is_ok());
    let fresh = Pair::new(Alg::Es256, "k2");
    let token = fresh.token(&Idp::claims());
    assert!(house.bad(&token).await.contains("does not publish"), "it does not yet");
    house.idp.publish(&[&house.idp.pair, &fresh]);
    assert!(house.at(&token, NOW_MS + 29_999).await.is_err(), "so soon nothing is fetched again");
    assert_eq!(house.idp.asked(), 1);
    assert!(house.at(&token, NOW_MS + 30_000).await.is_ok());
    assert!(
        house.at(&house.idp.token(&json!({})), NOW_MS + 30_000).await.is_ok(),
        "the old one is good, too"
    );
    assert_eq!(house.idp.asked(), 2);
    for second in 0..120 {
        let invented = Pair::new(Alg::Es256, &format!("invented{second}")).token(&Idp::claims());
        let now_ms = NOW_MS + 60_000 + second * 1000;
        assert!(matches!(house.at(&invented, now_ms).await, Err(Refusal::Bad(_))));
        assert!(house.at(&token, now_ms).await.is_ok(), "nobody else is disturbed");
    }
    assert_eq!(house.idp.asked(), 2 + 4, "one in 30 seconds");
    // What is withdrawn is good no more, though it was seen.
    house.idp.publish(&[&fresh]);
    let later_ms = NOW_MS + 400_000;
    let invented = Pair::new(Alg::Es256, "k3").token(&Idp::claims());
    assert!(house.at(&invented, later_ms).await.is_err());
    assert!(house.at(&house.idp.token(&json!({})), later_ms).await.is_err());
    assert!(house.at(&token, later_ms).await.is_ok());
}

#[tokio::test]
async fn an_issuer_without_names_for_its_keys_may_change_its_key() {
    let house = House::new().await;
    let nameless = |pair: &Pair| {
        let header = json!({"alg": "ES256", "typ": "JWT"});
        pair.raw(&header.to_string(), &Idp::claims().to_string())
    };
    let token = nameless(&house.idp.pair);
    assert!(house.by(&token).await.is_ok());
    let fresh = Pair::new(Alg::Es256, "k2");
    house.idp.publish(&[&fresh]);
    assert!(house.at(&nameless(&fresh), NOW_MS + 1000).await.is_err(), "so soon nothing is fetched again");
    // Of several who come at once one has them fetched, and the others wait for that.
    let fresh = nameless(&fresh);
    let (one, other) = tokio::join!(house.at(&fresh, NOW_MS + 30_000), house.at(&fresh, NOW_MS + 30_000));
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    assert!(house.at(&token, NOW_MS + 31_000).await.is_err());
    assert_eq!(house.idp.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_named_and_comes_back() {
    let house = House::new().await;
    *house.idp.answer.lock() = None;
    let token = house.idp.token(&json!({}));
    for now_ms in [NOW_MS, NOW_MS + 29_999] {
        let refused = house.at(&token, now_ms).await;
        let Err(Refusal::NoIssuerKeys { issuer, told, log }) = refused else { panic!("{refused:?}") };
        assert_eq!((issuer.as_str(), told), ("corp", "it answers with an error"));
        assert!(log.starts_with("issuer corp: its keys could not be fetched: "), "{log}");
    }
    assert_eq!(house.idp.asked(), 1);
    // Lies: too much, and what is no set of keys.
    for (second, lie, told) in [
        (30, "x".repeat(65 * 1024), "its answer is too long"),
        (60, "[]".to_owned(), "its answer is no set of keys"),
        (90, json!({"keys": []}).to_string(), "its answer is no set of keys"),
    ] {
        *house.idp.answer.lock() = Some(lie);
        let refused = house.at(&token, NOW_MS + second * 1000).await;
        assert!(
            matches!(&refused, Err(Refusal::NoIssuerKeys { told: why, .. }) if *why == told),
            "{refused:?}"
        );
    }
    house.idp.publish(&[&house.idp.pair]);
    assert!(house.at(&token, NOW_MS + 119_999).await.is_err());
    assert!(house.at(&token, NOW_MS + 120_000).await.is_ok());
    // Away again: who is known goes on, and of a new key nobody can say anything.
    *house.idp.answer.lock() = None;
    let fresh = Pair::new(Alg::Es256, "k2").token(&Idp::claims());
    assert!(matches!(house.at(&fresh, NOW_MS + 150_000).await, Err(Refusal::NoIssuerKeys { .. })));
    assert!(house.at(&token, NOW_MS + 150_001).await.is_ok());
}

#[tokio::test]
async fn settings_that_change_reach_who_is_here() {
    let house = House::new().await;
    let token = house.idp.token(&json!({"aud": ["plimsoll-door", "other"]}));
    let live = live(&house.by(&token).await.expect("good"));
    let usual = house.idp.issuer(&house.app);
    let again = async |issuers: Vec<OutsideIssuer>| {
        house.outside.set(issuers).expect("good settings");
        house.door.recheck(&live, NOW_MS).await.expect("the store answers")
    };
    let ends = async |change: fn(&mut OutsideIssuer)| {
        let mut issuer = usual.clone();
        change(&mut issuer);
        again(vec![issuer]).await.expect_err("it ends")
    };
    assert_eq!(again(vec![usual.clone()]).await, Ok(()));
    let more =
        ClaimRule::Value { claim: "azp".to_owned(), value: "else".to_owned(), subject: house.app.id.clone() };
    let with_more = OutsideIssuer { rules: vec![more, usual.rules[0].clone()], ..usual.clone() };
    assert_eq!(again(vec![with_more]).await, Ok(()), "rules for others make no difference");
    let other = OutsideIssuer { audience: "other".to_owned(), name: "renamed".to_owned(), ..usual.clone() };
    assert_eq!(again(vec![other]).await, Ok(()), "its token is for that, too");
    assert!(ends(|issuer| issuer.audience = "third".to_owned()).await.contains("another audience"));
    assert!(ends(|issuer| issuer.algorithms = vec![Alg::Rs256]).await.contains("are others now"));
    assert!(ends(|issuer| issuer.types = Types::of(&[Typ::AtJwt])).await.contains("are others now"));
    assert!(ends(|issuer| issuer.jwks_uri.push('2')).await.contains("are others now"));
    let unbound = |issuer: &mut OutsideIssuer| issuer.org = Some(Id::new(Kind::Org, 1, [9; 10]));
    assert!(ends(unbound).await.contains("rules of issuer corp"));
    let nobody = |issuer: &mut OutsideIssuer| {
        issuer.rules = vec![ClaimRule::Value {
            claim: "azp".to_owned(),
            value: "shop".to_owned(),
            subject: Id::new(Kind::App, 1, [9; 10]),
        }];
    };
    assert!(ends(nobody).await.contains("rules of issuer corp"));
    assert!(again(Vec::new()).await.expect_err("it ends").contains("not in [issuers] any more"));
    assert!(house.by(&token).await.is_err());
    assert_eq!(again(vec![usual.clone()]).await, Ok(()));
    // An application that may be used no more, as with a token of our own.
    let data = AppData { state: State::Disabled, ..house.app.data.clone() };
    house.store.change_app(&house.app.id, None, data, who()).await.expect("changed");
    assert!(matches!(house.door.follow(NOW_MS).await, Followed::Changed(_)));
    assert!(house.door.recheck(&live, NOW_MS).await.expect("answered").is_err());
}

#[tokio::test]
async fn an_issuer_speaks_for_its_organisation_only() {
    let house = House::new().await;
    let other = app(&house.store, "other").await;
    let org = house.app.data.org.clone();
    let data =
        UserData { org: org.clone(), login: "ada".to_owned(), scopes: Vec::new(), state: State::Active };
    let ada = house.store.create_user(data, who()).await.expect("made");
    grant(&house.store, &org, &ada.id).await;
    let rules =
        vec![ClaimRule::Subject { claim: "azp".to_owned() }, ClaimRule::Login { claim: "login".to_owned() }];
    let issuer = OutsideIssuer { rules, org: Some(org), ..house.idp.issuer(&house.app) };
    house.outside.set(vec![issuer]).expect("good settings");
    let token = |azp: &Id| house.idp.token(&json!({"azp": azp.as_str()}));
    assert_eq!(house.by(&token(&house.app.id)).await.expect("its own").subject, house.app.id);
    let why = house.bad(&token(&other.id)).await;
    assert!(why.contains("may not speak for"), "{why}");
    assert!(house.bad(&token(&Id::new(Kind::App, 1, [9; 10]))).await.contains("removed"));
    let by_login = |login: &str| house.idp.token(&json!({"azp": null, "login": login}));
    let welcome = house.by(&by_login("ada")).await.expect("a user");
    assert_eq!(welcome.name, "ada");
    assert!(house.bad(&by_login("eve")).await.contains("nobody has this login"));
    // Whoever has that name later is somebody else.
    let live = live(&welcome);
    let data = UserData { login: "ada2".to_owned(), ..ada.data.clone() };
    house.store.change_user(&ada.id, None, data, who()).await.expect("changed");
    assert!(matches!(house.door.follow(NOW_MS).await, Followed::Changed(_)));
    let why = house.door.recheck(&live, NOW_MS).await.expect("answered").expect_err("it ends");
    assert!(why.contains("another login now"), "{why}");
    assert!(house.by(&by_login("ada")).await.is_err());
}

#[tokio::test]
async fn a_login_from_before_a_reload_makes_no_exception_for_those_after_it() {
    let house = House::new().await;
    let token = house.idp.token(&json!({}));
    assert!(house.by(&house.idp.token(&json!({"jti": "other"}))).await.is_ok());
    // A login is on its way with the settings of before when others are set.
    let before = house.outside.find(URL).expect("set up");
    let usual = house.idp.issuer(&house.app);
    for narrow in [
        OutsideIssuer { types: Types::of(&[Typ::AtJwt]), ..usual.clone() },
        OutsideIssuer { algorithms: vec![Alg::Rs256], ..usual.clone() },
    ] {
        house.outside.set(vec![narrow]).expect("good settings");
        let visitor = visitor(&token, NOW_MS);
        let verifier = before.known(Some("k1"), NOW_MS).expect("fetched");
        assert!(house.door.verify_outside(&visitor, &before, &verifier).is_ok());
        let why = house.bad(&token).await;
        assert!(why.contains("type") || why.contains("algorithm"), "{why}");
        house.outside.set(vec![usual.clone()]).expect("good settings");
        assert!(house.by(&token).await.is_ok());
    }
}
