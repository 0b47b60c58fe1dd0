//! What the pooler's door says, and how soon it says otherwise.

#![allow(clippy::unwrap_used)]

mod house;

use std::sync::Arc;

use house::{
    FRESH, NOW, WHO, app_data, credential_data, dataset_data, grant_data, key_id, org_data, sqlite_url,
    user_data,
};
use plimsoll_identity::token::NewToken;
use plimsoll_identity::{
    AppData, Application, Bearing, Certificate, CertificateAsk, CertificateKeys, Credential, CredentialData,
    CredentialKind, DataSet, DataSetData, Door, DoorOptions, Followed, Grant, GrantData, Id, Key, Live,
    Refusal, RevokedToken, Signer, State, Store, Visitor, Welcome,
};
use plimsoll_testkit::TempDir;
use plimsoll_types::Secret;

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
        let store = Store::open(&sqlite_url(&folder), FRESH).await.unwrap();
        let org = store.create_org(org_data("acme"), WHO).await.unwrap().id;
        let dataset = store.create_dataset(dataset_data(&org, "orders", "shop"), WHO).await.unwrap();
        let app = store.create_app(app_data(&org, "desk"), WHO).await.unwrap();
        let key = Key::mint("live", &[7; 44]).unwrap();
        let secret_sha256 = Some(key.secret_sha256());
        let credential = store
            .create_credential(key.key_id(), credential_data(&app.id), secret_sha256, WHO)
            .await
            .unwrap();
        let signer = Arc::new(Signer::open(&store, "https://id.example", 600, NOW).await.unwrap());
        let options =
            DoorOptions { audience: "plimsoll".to_owned(), stale_ms: 300_000, outside: Arc::default() };
        let door = Door::open(store.clone(), Some(signer.clone()), options, NOW).await.unwrap();
        House { store, door, signer, org, dataset, app, key, credential, _folder: folder }
    }

    async fn grant(&self, subject: &Id) -> Grant {
        self.store.create_grant(grant_data(subject, &self.dataset.id, "web"), WHO).await.unwrap()
    }

    /// What others do to its store, as after a failover.
    async fn behind(&self) -> sqlx::SqlitePool {
        sqlx::SqlitePool::connect(&sqlite_url(&self._folder)).await.unwrap()
    }

    /// A token of the application itself, with its number.
    fn token(&self) -> (Secret, String) {
        let new = NewToken {
            subject: &self.app.id,
            client: &self.app.id,
            org: &self.org,
            audience: "plimsoll",
            scope: "",
            kid_used: Some(self.key.key_id()),
        };
        let issued = self.signer.issue(&new, NOW / 1000, &[3; 16]).unwrap();
        (issued.token, issued.token_id)
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
    house.store.change_credential(house.key.key_id(), None, data, WHO).await.unwrap();
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
    house.store.change_grant(&grant.id, None, data, WHO).await.unwrap();
    house.hear().await;
    let why = house.door.recheck(&live, NOW).await.unwrap().unwrap_err();
    assert!(why.ends_with("does not let it connect any more"), "{why}");
    house.store.change_grant(&grant.id, None, grant.data.clone(), WHO).await.unwrap();
    let data = DataSetData { database: "other".to_owned(), ..house.dataset.data.clone() };
    house.store.change_dataset(&house.dataset.id, None, data, WHO).await.unwrap();
    house.hear().await;
    let why = house.door.recheck(&live, NOW).await.unwrap().unwrap_err();
    assert!(why.ends_with("is for another database now"), "{why}");
    house.store.delete_grant(&grant.id, None, WHO).await.unwrap();
    house.hear().await;
    assert!(house.door.recheck(&live, NOW).await.unwrap().unwrap_err().ends_with("has been removed"));
}

#[tokio::test(flavor = "current_thread")]
async fn a_persons_token_depends_on_the_application_it_was_issued_to() {
    let house = House::new().await;
    let user = house.store.create_user(user_data(&house.org, "ada"), WHO).await.unwrap();
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
    house.store.change_app(&house.app.id, None, data, WHO).await.unwrap();
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
    let behind = house.behind().await;
    sqlx::query("DELETE FROM plimsoll_audit WHERE seq > 2").execute(&behind).await.unwrap();
    assert!(matches!(house.door.follow(NOW).await, Followed::Changed(changes) if changes.is_empty()));
    assert!(matches!(house.door.follow(NOW).await, Followed::Unchanged));
    // What is written now has numbers that were there before, and is heard.
    let data = CredentialData { state: State::Revoked, ..house.credential.data.clone() };
    house.store.change_credential(house.key.key_id(), None, data, WHO).await.unwrap();
    house.hear().await;
    assert!(matches!(house.by_key().await, Err(Refusal::Bad(_))));
}

#[tokio::test(flavor = "current_thread")]
async fn what_was_written_instead_of_what_was_lost_is_heard() {
    let house = House::new().await;
    house.grant(&house.app.id).await;
    house.hear().await;
    assert!(house.by_key().await.is_ok());
    // Somebody else's last write is lost, and another one has its number before anybody looks.
    let last = house.store.last_change().await.unwrap();
    let behind = house.behind().await;
    sqlx::query("DELETE FROM plimsoll_audit WHERE seq = $1").bind(last).execute(&behind).await.unwrap();
    let data = CredentialData { state: State::Revoked, ..house.credential.data.clone() };
    house.store.change_credential(house.key.key_id(), None, data, WHO).await.unwrap();
    assert_eq!(house.store.last_change().await.unwrap(), last);
    house.hear().await;
    assert!(matches!(house.by_key().await, Err(Refusal::Bad(_))));
    assert!(matches!(house.door.follow(NOW).await, Followed::Unchanged));
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_that_was_revoked_in_a_store_that_went_back_is_refused() {
    let house = House::new().await;
    house.grant(&house.app.id).await;
    house.hear().await;
    let (token, token_id) = house.token();
    let live = live(&house.by_token(&token).await.unwrap());
    let behind = house.behind().await;
    sqlx::query("DELETE FROM plimsoll_audit WHERE seq > 2").execute(&behind).await.unwrap();
    // On the new line, below the number that was followed: nobody is told of it as of a change.
    let ended = RevokedToken {
        token_id: &token_id,
        subject: house.app.id.as_str(),
        client: house.app.id.as_str(),
        ends_ms: NOW + 600_000,
    };
    house.store.revoke_token(&ended, WHO).await.unwrap();
    assert!(matches!(house.door.follow(NOW).await, Followed::Changed(changes) if changes.is_empty()));
    let refused = house.by_token(&token).await;
    assert!(matches!(&refused, Err(Refusal::Bad(why)) if why.contains("revoked")), "{refused:?}");
    let why = house.door.recheck(&live, NOW).await.unwrap().unwrap_err();
    assert!(why.contains("revoked"), "{why}");
}

const SHA256: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

impl House {
    /// Makes a certificate a credential of an application.
    async fn certificate(&self, app: &Id, key_id: &str, expires_ms: Option<i64>) -> Credential {
        let data = CredentialData {
            kind: CredentialKind::Certificate,
            public: SHA256.to_owned(),
            expires_ms,
            ..credential_data(app)
        };
        self.store.create_credential(key_id, data, None, WHO).await.unwrap()
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
    house.store.change_credential(&credential.key_id, None, data, WHO).await.unwrap();
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
    let org = house.store.create_org(org_data("other"), WHO).await.unwrap().id;
    let other = house.store.create_app(app_data(&org, "squatter"), WHO).await.unwrap();
    house.certificate(&other.id, "AAAAAAAAAAAAAAAA", None).await;
    // It has no grant: whoever shows the certificate is asked for a key, as before.
    assert!(matches!(house.by_certificate(SHA256, None, NOW).await, Err(Refusal::NotGranted(_))));
    house.certificate(&house.app.id, "BBBBBBBBBBBBBBBB", None).await;
    house.grant(&house.app.id).await;
    assert_eq!(house.by_certificate(SHA256, None, NOW).await.unwrap().subject, house.app.id);
    // Two that may: nobody can say which of them it is.
    let data = AppData { name: "beside".to_owned(), ..house.app.data.clone() };
    let beside = house.store.create_app(data, WHO).await.unwrap();
    house.certificate(&beside.id, "CCCCCCCCCCCCCCCC", None).await;
    house.grant(&beside.id).await;
    let refused = house.by_certificate(SHA256, None, NOW).await;
    assert!(
        matches!(&refused, Err(Refusal::Bad(why)) if why.contains("several applications")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn no_number_of_notes_by_others_pushes_a_certificate_out() {
    let house = House::new().await;
    // Its own comes last in the order of key ids.
    house.certificate(&house.app.id, "ZZZZZZZZZZZZZZZZ", None).await;
    house.grant(&house.app.id).await;
    // Others in the same database, with roles of their own; some with nothing at all.
    let org = house.store.create_org(org_data("other"), WHO).await.unwrap().id;
    let dataset = house.store.create_dataset(dataset_data(&org, "theirs", "shop"), WHO).await.unwrap();
    for number in 0..17 {
        let name = format!("squatter{number}");
        let app = house.store.create_app(app_data(&org, &name), WHO).await.unwrap();
        house.certificate(&app.id, &key_id(number), None).await;
        if number % 2 == 0 {
            house.store.create_grant(grant_data(&app.id, &dataset.id, "theirs"), WHO).await.unwrap();
        }
    }
    assert_eq!(house.by_certificate(SHA256, None, NOW).await.unwrap().subject, house.app.id);
    let keys = |database: &'static str, user: &'static str| {
        let ask = CertificateAsk { sha256: SHA256, database, user };
        let store = house.store.clone();
        async move { store.key_ids_of_certificate(ask).await.unwrap() }
    };
    let granted = |key_ids: &[&str]| {
        CertificateKeys::Granted(key_ids.iter().map(|key_id| (*key_id).to_owned()).collect())
    };
    let own = granted(&["ZZZZZZZZZZZZZZZZ"]);
    assert_eq!(keys("shop", "web").await, own);
    assert_eq!(keys("shop", "desk").await, own, "by its name");
    assert_eq!(keys("other", "web").await, granted(&[]));
    // What it was granted is looked up again when something has changed.
    let app = AppData { name: "counter".to_owned(), ..house.app.data.clone() };
    house.store.change_app(&house.app.id, None, app, WHO).await.unwrap();
    assert_eq!(house.by_certificate(SHA256, None, NOW).await.unwrap().name, "counter");
    let grant = house.store.grants(Default::default(), house::page(200)).await.unwrap();
    let own = grant.items.iter().find(|grant| grant.data.subject == house.app.id).unwrap();
    house.store.delete_grant(&own.id, None, WHO).await.unwrap();
    house.hear().await;
    let shown = Certificate { sha256: SHA256.to_owned(), ends_ms: None };
    let visitor = house.visitor(Bearing::Certificate(shown));
    assert_eq!(house.door.admit_known(&visitor).map(|_| ()), None, "it has to be looked up");
    assert!(matches!(house.door.admit(visitor).await, Err(Refusal::Unknown)));
}
