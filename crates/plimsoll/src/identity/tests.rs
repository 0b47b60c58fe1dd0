use std::path::PathBuf;

use plimsoll_identity::{AuditFilter, CredentialFilter};

use super::*;

/// A folder of its own, removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("plimsoll-init-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.0.join("identity.db").display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn args(store: String) -> InitArgs {
    InitArgs { store, organisation: "plimsoll".to_owned(), again: false }
}

fn all() -> Page {
    Page { after: None, limit: 200 }
}

/// Opens the store of a folder and looks into it.
fn look<T>(folder: &Folder, with: impl AsyncFnOnce(&Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&folder.store(), StoreOptions::default()).await.expect("a store");
        let seen = with(&store).await;
        store.close().await;
        seen
    })
}

#[test]
fn the_first_key_may_everything_and_only_its_hash_is_kept() {
    let folder = Folder::new("first");
    let (made, _) = run(&args(folder.store())).expect("a key");
    let text = made.key.text().expose_text().expect("text").to_owned();
    let parsed = Key::parse(&text).expect("a key that can be read");
    let facts = look(&folder, async |store| store.facts_of_key(&parsed.key_id).await.expect("facts"));
    let facts = facts.expect("a known key");
    assert!(facts.secret_sha256.is_some_and(|hash| parsed.matches(&hash)));
    assert_eq!(facts.credential.data.scopes, [Scope::Admin]);
    assert_eq!((made.app.data.name.as_str(), made.org.data.name.as_str()), (APP, "plimsoll"));
    let kept = std::fs::read(folder.0.join("identity.db")).expect("the file");
    let secret = parsed.secret.expose();
    assert!(!kept.windows(secret.len()).any(|part| part == secret), "the secret is in the store");
}

#[test]
fn a_second_time_is_refused_unless_it_is_wanted_and_then_it_is_told() {
    let folder = Folder::new("second");
    run(&args(folder.store())).expect("a first key");
    let refused = run(&args(folder.store())).err().expect("no second one");
    assert!(matches!(refused, InitFault::Already(_)), "{refused}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("--again")));
    let again = InitArgs { again: true, ..args(folder.store()) };
    let (second, _) = run(&again).expect("another key");
    let (keys, log) = look(&folder, async |store| {
        let filter = CredentialFilter { app: Some(second.app.id.clone()), ..CredentialFilter::default() };
        let keys = store.credentials(filter, all()).await.expect("keys").items;
        let filter = AuditFilter { object: Some(second.key.key_id().to_owned()), ..AuditFilter::default() };
        (keys, store.audit(filter, all()).await.expect("the log").items)
    });
    assert_eq!(keys.len(), 2);
    assert_eq!(log.len(), 1);
    assert_eq!((log[0].actor.as_str(), log[0].from.as_str()), (ACTOR, FROM));
}

#[test]
fn what_was_taken_out_of_use_stays_so() {
    let folder = Folder::new("disabled");
    let (first, _) = run(&args(folder.store())).expect("a first key");
    look(&folder, async |store| {
        let who = Who { actor: "test", from: "here", now_ms: now_ms() };
        let data = AppData { state: State::Revoked, ..first.app.data.clone() };
        store.change_app(&first.app.id, None, data, who).await.expect("a change");
    });
    let again = InitArgs { again: true, ..args(folder.store()) };
    let (second, _) = run(&again).expect("another key");
    assert_eq!(second.app.data.name, "administration-2");
    look(&folder, async |store| {
        let who = Who { actor: "test", from: "here", now_ms: now_ms() };
        let data = OrgData { state: State::Disabled, ..first.org.data.clone() };
        store.change_org(&first.org.id, None, data, who).await.expect("a change");
    });
    let refused = run(&again).err().expect("no key of a disabled organisation");
    assert!(refused.to_string().contains("is disabled"), "{refused}");
    let other = InitArgs { organisation: "other".to_owned(), ..again };
    assert_eq!(run(&other).expect("a key").0.org.data.name, "other");
}

#[test]
fn the_store_may_be_that_of_a_configuration() {
    let folder = Folder::new("ini");
    let ini = folder.0.join("plimsoll.ini");
    let write = |store: &str| {
        let text =
            format!("[databases]\n[pgbouncer]\nauth_type = any\n[plimsoll]\nidentity_store = {store}\n");
        std::fs::write(&ini, text).expect("a file");
    };
    write(&folder.store());
    let (_, place) = run(&args(ini.display().to_string())).expect("a key");
    assert_eq!(place.shown, folder.store());
    write("off");
    let refused = run(&args(ini.display().to_string())).err().expect("no store");
    assert!(matches!(refused, InitFault::Off(_)), "{refused}");
    let refused = run(&args("/no/such/file.ini".to_owned())).err().expect("no file");
    assert!(matches!(refused, InitFault::Ini { .. }), "{refused}");
    // What no configuration could name, either.
    let refused = run(&args("sqlite:identity.db".to_owned())).err().expect("no store");
    assert!(matches!(refused, InitFault::Relative), "{refused}");
}

#[test]
fn passwords_of_urls_are_not_shown() {
    let place = place("postgres://ada:s3cret@db.example/identity?password=s3cret").expect("a place");
    assert_eq!(place.shown, "postgres://***@db.example/identity");
}
