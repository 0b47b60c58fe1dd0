//! What the pooler's door says, and how soon it says otherwise.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use plimsoll_identity::token::NewToken;
use plimsoll_identity::{
    AppData, Application, Bearing, Certificate, Create, Credential, CredentialData, CredentialKind, DataSet,
    DataSetData, Door, DoorOptions, Followed, Grant, GrantData, Id, Key, Limits, Live, OrgData, Party,
    Refusal, Signer, State, Store, StoreOptions, UserData, Visitor, Welcome, Who,
};
use plimsoll_testkit::TempDir;
use plimsoll_types::Secret;

const NOW: i64 = 1_800_000_000_000;

fn who() -> Who<'static> {
    Who { actor: "test", from: "local", now_ms: NOW }
}

struct House {
    store: Store,
    door: Door,
    signer: Arc<Signer>,
    org: Id,
    dataset: DataSet,
    app: Application,
    key: Key,
    credential: Credential,
    _folder: TempDir,
}

impl House {
    async fn new() -> House {
        let folder = TempDir::new("door");
        let url = format!("sqlite:{}", folder.path().join("identity.db").display());
        let store = Store::open(&url, StoreOptions { create: Create::IfMissing }).await.unwrap();
        let data = OrgData { name: "acme".to_owned(), state: State::Active };
        let org = store.create_org(data, who()).await.unwrap().id;
        let data = DataSetData {
            org: org.clone(),
            name: "orders".to_owned(),
            database: "shop".to_owned(),
            schema: None,
            state: State::Active,
        };
        let dataset = store.create_dataset(data, who()).await.unwrap();
        let data = AppData {
            org: org.clone(),
            name: "desk".to_owned(),
            party: Party::Third,
            redirect_uris: Vec::new(),
            state: State::Active,
        };
        let app = store.create_app(data, who()).await.unwrap();
        let key = Key::mint("live", &[7; 44]).unwrap();
        let data = CredentialData {
            app: app.id.clone(),
            kind: CredentialKind::Key,
            env: "live".to_owned(),
            name: String::new(),
            public: String::new(),
            scopes: Vec::new(),
            expires_ms: None,
            state: State::Active,
        };
        let credential =
            store.create_credential(key.key_id(), data, Some(key.secret_sha256()), who()).await.unwrap();
        let signer = Arc::new(Signer::open(&store, "https://id.example", 600, NOW).await.unwrap());
        let options =
            DoorOptions { audience: "plimsoll".to_owned(), stale_ms: 300_000, outside: Arc::default() };
        let door = Door::open(store.clone(), Some(signer.clone()), options, NOW).await.unwrap();
        House { store, door, signer, org, dataset, app, key, credential, _folder: folder }
    }

    async fn grant(&self, subject: &Id) -> Grant {
        let data = GrantData {
            subject: subject.clone(),
            dataset: self.dataset.id.clone(),
            role: "web".to_owned(),
            actions: vec!["*".to_owned()],
            limits: Limits::default(),
            shared: false,
            expires_ms: None,
            state: State::Active,
        };
        self.store.create_grant(data, who()).await.unwrap()
    }

    fn visitor(&self, bearing: Bearing) -> Visitor {
        let (database, user, from) = ("shop".into(), "web".into(), "127.0.0.1".into());
        Visitor { bearing, database, user, from, now_ms: NOW }
    }

    async fn by_key(&self) -> Result<Welcome, Refusal> {
        self.door.admit(self.visitor(Bearing::Key(self.key.text().clone()))).await
    }

    async fn by_token(&self, token: &Secret) -> Result<Welcome, Refusal> {
        self.door.admit(self.visitor(Bearing::Token(token.clone()))).await
    }

    async fn hear(&self) {
        assert!(matches!(self.door.follow(NOW).await, Followed::Changed(_)));
    }
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

#[tokio::test(flavor = "current_thread")]
async fn an_end_that_is_set_for_later_comes_without_another_change() {
    let house = House::new().await;
    house.grant(&house.app.id).await;
    let live = live(&house.by_key().await.unwrap());
    let data = CredentialData { expires_ms: Some(NOW + 3_000), ..house.credential.data.clone() };
    house.store.change_credential(house.key.key_id(), None, data, who()).await.unwrap();
    house.hear().await;
    assert_eq!(house.door.recheck_known(&live, NOW), None, "it has to be looked up once");
    assert_eq!(house.door.recheck(&live, NOW).await, Some(Ok(())));
    assert_eq!(house.door.recheck_known(&live, NOW + 2_999), Some(Ok(())));
    let why = house.door.recheck_known(&live, NOW + 3_000).unwrap().unwrap_err();
    assert!(why.ends_with("the credential has expired"), "{why}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_grant_that_means_something_else_now_lets_nobody_stay() {
    let house = House::new().await;
    let grant = house.grant(&house.app.id).await;
    let live = live(&house.by_key().await.unwrap());
    let data = GrantData { actions: vec!["read".to_owned()], ..grant.data.clone() };
    house.store.change_grant(&grant.id, None, data, who()).await.unwrap();
    house.hear().await;
    let why = house.door.recheck(&live, NOW).await.unwrap().unwrap_err();
    assert!(why.ends_with("does not let it connect any more"), "{why}");
    house.store.change_grant(&grant.id, None, grant.data.clone(), who()).await.unwrap();
    let data = DataSetData { database: "other".to_owned(), ..house.dataset.data.clone() };
    house.store.change_dataset(&house.dataset.id, None, data, who()).await.unwrap();
    house.hear().await;
    let why = house.door.recheck(&live, NOW).await.unwrap().unwrap_err();
    assert!(why.ends_with("is for another database now"), "{why}");
    house.store.delete_grant(&grant.id, None, who()).await.unwrap();
    house.hear().await;
    assert!(house.door.recheck(&live, NOW).await.unwrap().unwrap_err().ends_with("has been removed"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_persons_token_depends_on_the_application_it_was_issued_to() {
    let house = House::new().await;
    let data = UserData {
        org: house.org.clone(),
        login: "ada".to_owned(),
        scopes: Vec::new(),
        state: State::Active,
    };
    let user = house.store.create_user(data, who()).await.unwrap();
    house.grant(&user.id).await;
    let new = NewToken {
        subject: &user.id,
        client: &house.app.id,
        org: &house.org,
        audience: "plimsoll",
        scope: "",
        kid_used: Some(house.key.key_id()),
    };
    let token = house.signer.issue(&new, NOW / 1000, &[3; 16]).unwrap().token;
    let welcome = house.by_token(&token).await.unwrap();
    assert_eq!((welcome.name.as_str(), welcome.client.as_ref()), ("ada", Some(&house.app.id)));
    let data = AppData { state: State::Disabled, ..house.app.data.clone() };
    house.store.change_app(&house.app.id, None, data, who()).await.unwrap();
    house.hear().await;
    let why = house.door.recheck(&live(&welcome), NOW).await.unwrap().unwrap_err();
    assert!(why.contains("is disabled"), "{why}");
    assert!(matches!(house.by_token(&token).await, Err(Refusal::Bad(_))));
}

#[tokio::test(flavor = "current_thread")]
async fn the_environment_is_part_of_a_key() {
    let house = House::new().await;
    house.grant(&house.app.id).await;
    assert!(house.by_key().await.is_ok());
    // The same secret and a checksum that fits, under another word.
    let other = Key::mint("test", &[7; 44]).unwrap();
    assert_eq!(other.key_id(), house.key.key_id());
    let refused = house.door.admit(house.visitor(Bearing::Key(other.text().clone()))).await;
    assert!(matches!(refused, Err(Refusal::Bad(why)) if why.contains("secret or environment")));
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_was_put_back_is_not_believed_to_be_unchanged() {
    let house = House::new().await;
    house.grant(&house.app.id).await;
    house.hear().await;
    assert!(house.by_key().await.is_ok());
    assert!(matches!(house.door.follow(NOW).await, Followed::Unchanged));
    // As after a failover to a server without the last writes, or from a backup.
    let file = format!("sqlite:{}", house._folder.path().join("identity.db").display());
    let behind = sqlx::SqlitePool::connect(&file).await.unwrap();
    sqlx::query("DELETE FROM plimsoll_audit WHERE seq > 2").execute(&behind).await.unwrap();
    assert!(matches!(house.door.follow(NOW).await, Followed::Changed(changes) if changes.is_empty()));
    assert!(matches!(house.door.follow(NOW).await, Followed::Unchanged));
    // What is written now has numbers that were there before, and is heard.
    let data = CredentialData { state: State::Revoked, ..house.credential.data.clone() };
    house.store.change_credential(house.key.key_id(), None, data, who()).await.unwrap();
    house.hear().await;
    assert!(matches!(house.by_key().await, Err(Refusal::Bad(_))));
}

const SHA256: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl House {
    /// Makes a certificate a credential of an application.
    async fn certificate(&self, app: &Id, key_id: &str, expires_ms: Option<i64>) -> Credential {
        let data = CredentialData {
            app: app.clone(),
            kind: CredentialKind::Certificate,
            env: "live".to_owned(),
            name: String::new(),
            public: SHA256.to_owned(),
            scopes: Vec::new(),
            expires_ms,
            state: State::Active,
        };
        self.store.create_credential(key_id, data, None, who()).await.unwrap()
    }

    /// Twice: with a look, and by what is known then.
    async fn by_certificate(
        &self,
        sha256: &str,
        ends_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<Welcome, Refusal> {
        self.door.follow(now_ms).await;
        let shown = Certificate { sha256: sha256.to_owned(), ends_ms };
        let visitor = Visitor { now_ms, ..self.visitor(Bearing::Certificate(shown)) };
        let looked = self.door.admit(visitor.clone()).await;
        let known = self.door.admit_known(&visitor).expect("it is known by now");
        assert_eq!(format!("{looked:?}"), format!("{known:?}"));
        looked
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_certificate_is_a_credential_as_long_as_it_is_active() {
    let house = House::new().await;
    house.grant(&house.app.id).await;
    assert!(matches!(house.by_certificate(SHA256, None, NOW).await, Err(Refusal::Unknown)));
    // That there is none is known; that there is one now is heard.
    let credential = house.certificate(&house.app.id, "AAAAAAAAAAAAAAAA", Some(NOW + 5_000)).await;
    let welcome = house.by_certificate(SHA256, Some(NOW + 9_000), NOW).await.unwrap();
    assert_eq!((welcome.name.as_str(), welcome.key_id.as_deref()), ("desk", Some("AAAAAAAAAAAAAAAA")));
    assert_eq!(welcome.until_ms, Some(NOW + 5_000));
    let sooner = house.by_certificate(SHA256, Some(NOW + 1_000), NOW).await.unwrap();
    assert_eq!(sooner.until_ms, Some(NOW + 1_000), "the certificate itself ends first");
    assert!(matches!(
        house.by_certificate(&SHA256.replace('0', "1"), None, NOW).await,
        Err(Refusal::Unknown)
    ));
    let expired = house.by_certificate(SHA256, None, NOW + 5_000).await;
    assert!(matches!(&expired, Err(Refusal::Bad(why)) if why.ends_with("has expired")), "{expired:?}");
    let live = live(&welcome);
    let data = CredentialData { state: State::Revoked, ..credential.data.clone() };
    house.store.change_credential(&credential.key_id, None, data, who()).await.unwrap();
    house.hear().await;
    assert!(matches!(house.by_certificate(SHA256, None, NOW).await, Err(Refusal::Unknown)));
    let why = house.door.recheck(&live, NOW).await.unwrap().unwrap_err();
    assert!(why.contains("AAAAAAAAAAAAAAAA") && why.contains("revoked"), "{why}");
    // A certificate is no key: it has no secret that could be shown.
    let key = Key::mint("live", &[9; 44]).unwrap();
    house.certificate(&house.app.id, key.key_id(), None).await;
    let shown = house.door.admit(house.visitor(Bearing::Key(key.text().clone()))).await;
    assert!(matches!(&shown, Err(Refusal::Bad(why)) if why.contains("wrong secret")), "{shown:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn somebody_elses_note_of_a_certificate_takes_nothing_away() {
    let house = House::new().await;
    let data = OrgData { name: "other".to_owned(), state: State::Active };
    let org = house.store.create_org(data, who()).await.unwrap().id;
    let data = AppData { org, name: "squatter".to_owned(), ..house.app.data.clone() };
    let other = house.store.create_app(data, who()).await.unwrap();
    house.certificate(&other.id, "AAAAAAAAAAAAAAAA", None).await;
    // It has no grant: whoever shows the certificate is asked for a key, as before.
    assert!(matches!(house.by_certificate(SHA256, None, NOW).await, Err(Refusal::NotGranted(_))));
    house.certificate(&house.app.id, "BBBBBBBBBBBBBBBB", None).await;
    house.grant(&house.app.id).await;
    assert_eq!(house.by_certificate(SHA256, None, NOW).await.unwrap().subject, house.app.id);
    // Two that may: nobody can say which of them it is.
    let data = AppData { name: "beside".to_owned(), ..house.app.data.clone() };
    let beside = house.store.create_app(data, who()).await.unwrap();
    house.certificate(&beside.id, "CCCCCCCCCCCCCCCC", None).await;
    house.grant(&beside.id).await;
    let refused = house.by_certificate(SHA256, None, NOW).await;
    assert!(
        matches!(&refused, Err(Refusal::Bad(why)) if why.contains("several applications")),
        "{refused:?}"
    );
}
