//! `plimsoll identity init`: the store, and in it the first key that may do everything.

mod tls;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_cli::harmless;
use plimsoll_config::IdentityStore;
use plimsoll_identity::key::KEY_CHANCE_BYTES;
use plimsoll_identity::{
    AppData, AppFilter, Application, Create, CredentialData, CredentialKind, Id, Key, OrgData, OrgFilter,
    Organisation, Page, Party, Scope, State, Store, StoreFault, StoreOptions, Who,
};
use plimsoll_types::Secret;
pub(crate) use tls::api_tls;

use crate::args::InitArgs;
use crate::sys;

/// Whose the administrator keys are.
const APP: &str = "administration";
/// Where the key is used, a part of its text.
const ENV: &str = "live";
/// Who the audit log says it was.
const ACTOR: &str = "init";
/// From where.
const FROM: &str = "local";
/// So many applications are tried when those of the name before are out of use.
const APPS_MAX: u32 = 20;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
enum InitFault {
    /// It was asked for a first key, and there is a store.
    #[error("there is an identity store at {0} already")]
    Already(String),
    /// The configuration cannot be read.
    #[error("{}: {first}", path.display())]
    Ini {
        /// The file.
        path: PathBuf,
        /// The first mistake.
        first: String,
    },
    /// As in the configuration, where a pooler may be started anywhere.
    #[error("a store in SQLite is sqlite:PATH with an absolute path")]
    Relative,
    /// The configuration names no store.
    #[error("{}: identity_store in [plimsoll] is off", .0.display())]
    Off(PathBuf),
    /// The organisation is out of use.
    #[error("the organisation {name:?} is {state}: a key of it would not be good")]
    OutOfUse {
        /// Its name.
        name: String,
        /// Disabled or revoked.
        state: &'static str,
    },
    /// All applications of ours are out of use.
    #[error("{APPS_MAX} applications named {APP:?} are out of use in this organisation")]
    AppsOutOfUse,
    /// The system gives nothing to make a key of.
    #[error("cannot make a key: {0}")]
    NoKey(String),
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// Nothing can be started.
    #[error("cannot start: {0}")]
    Start(std::io::Error),
    /// Nobody has seen the key.
    #[error("cannot write: {0}")]
    Output(std::io::Error),
}

impl InitFault {
    fn hint(&self) -> Option<&'static str> {
        match self {
            InitFault::Already(_) => Some(
                "keys are made with plimsoll key create; when no administrator key is left, --again makes one (the \
                 audit log tells of it)",
            ),
            InitFault::Off(_) => Some(
                "say identity_store = sqlite:/var/lib/plimsoll/identity.db there, or give it with --store",
            ),
            InitFault::OutOfUse { .. } | InitFault::AppsOutOfUse => {
                Some("--organisation NAME takes another one, or makes it")
            }
            InitFault::Output(_) => Some("the key is lost; --again makes another one"),
            InitFault::Ini { .. }
            | InitFault::Relative
            | InitFault::NoKey(_)
            | InitFault::Store(_)
            | InitFault::Start(_) => None,
        }
    }
}

/// What was made.
struct Made {
    key: Key,
    org: Organisation,
    app: Application,
}

/// Makes the store and a key, and prints the key: the one thing on standard output.
pub(crate) fn init(args: &InitArgs) -> ExitCode {
    let done = run(args).and_then(|(made, place)| print(&made, &place));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            tell(&format!("plimsoll: {}", harmless(&fault.to_string())));
            if let Some(hint) = fault.hint() {
                tell(&format!("  hint: {hint}"));
            }
            ExitCode::FAILURE
        }
    }
}

/// On standard error; with nowhere to print to there is still the exit status.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Where the store is: for opening it, and for people, without a password.
struct Place {
    url: Secret,
    shown: String,
}

fn run(args: &InitArgs) -> Result<(Made, Place), InitFault> {
    let place = place(&args.store)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let made = runtime.map_err(InitFault::Start)?.block_on(make(args, &place))?;
    Ok((made, place))
}

impl Place {
    /// `None`: there is none.
    fn of(store: &IdentityStore) -> Option<Place> {
        Some(Place { url: store.url()?, shown: store.to_string() })
    }
}

/// The store that is named, or the one of the configuration that is named.
fn place(text: &str) -> Result<Place, InitFault> {
    match IdentityStore::read(text).as_ref().and_then(Place::of) {
        Some(place) => Ok(place),
        None if text.starts_with("sqlite:") => Err(InitFault::Relative),
        None => of_file(Path::new(text)),
    }
}

fn of_file(path: &Path) -> Result<Place, InitFault> {
    let plan = plimsoll_config::load(path, &mut |path: &Path| std::fs::read_to_string(path));
    let plan = plan.map_err(|mistakes| InitFault::Ini {
        path: path.to_path_buf(),
        first: mistakes.first().map(ToString::to_string).unwrap_or_default(),
    })?;
    Place::of(&plan.own.identity.store).ok_or_else(|| InitFault::Off(path.to_path_buf()))
}

async fn make(args: &InitArgs, place: &Place) -> Result<Made, InitFault> {
    let url = place.url.expose_text().unwrap_or_default();
    let store = Store::open(url, StoreOptions { create: Create::IfMissing }).await?;
    let made = make_in(&store, args, place).await;
    store.close().await;
    made
}

async fn make_in(store: &Store, args: &InitArgs, place: &Place) -> Result<Made, InitFault> {
    // The audit log, since an organisation may have been removed; a log with anything in it is a store in use.
    if !args.again && store.last_change().await? > 0 {
        return Err(InitFault::Already(place.shown.clone()));
    }
    let who = Who { actor: ACTOR, from: FROM, now_ms: now_ms() };
    let org = organisation(store, &args.organisation, who).await?;
    let app = application(store, &org.id, who).await?;
    let mut chance = [0; KEY_CHANCE_BYTES];
    getrandom::fill(&mut chance).map_err(|error| InitFault::NoKey(error.to_string()))?;
    let key = Key::mint(ENV, &chance).map_err(|fault| InitFault::NoKey(fault.to_string()))?;
    let data = CredentialData {
        app: app.id.clone(),
        kind: CredentialKind::Key,
        env: ENV.to_owned(),
        name: if args.again { "made again on the store's machine" } else { "first" }.to_owned(),
        public: String::new(),
        scopes: vec![Scope::Admin],
        expires_ms: None,
        state: State::Active,
    };
    store.create_credential(key.key_id(), data, Some(key.secret_sha256()), who).await?;
    Ok(Made { key, org, app })
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The organisation of that name, which is made if there is none.
async fn organisation(store: &Store, name: &str, who: Who<'_>) -> Result<Organisation, InitFault> {
    let filter = OrgFilter { name: Some(name.to_owned()), ..OrgFilter::default() };
    let found = store.orgs(filter, Page { after: None, limit: 1 }).await?.items.into_iter().next();
    if let Some(found) = found {
        return match found.data.state {
            State::Active => Ok(found),
            State::Disabled => Err(InitFault::OutOfUse { name: name.to_owned(), state: "disabled" }),
            State::Revoked => Err(InitFault::OutOfUse { name: name.to_owned(), state: "revoked" }),
        };
    }
    let data = OrgData { name: name.to_owned(), state: State::Active };
    Ok(store.create_org(data, who).await?)
}

/// The application that administrator keys belong to. One that was taken out of use stays so: another is made beside it.
async fn application(store: &Store, org: &Id, who: Who<'_>) -> Result<Application, InitFault> {
    for number in 1..=APPS_MAX {
        let name = if number == 1 { APP.to_owned() } else { format!("{APP}-{number}") };
        let filter = AppFilter { name: Some(name.clone()), org: Some(org.clone()), ..AppFilter::default() };
        let found = store.apps(filter, Page { after: None, limit: 1 }).await?.items.into_iter().next();
        match found {
            Some(app) if app.data.state == State::Active => return Ok(app),
            Some(_) => {}
            None => {
                let data = AppData {
                    org: org.clone(),
                    name,
                    party: Party::First,
                    redirect_uris: Vec::new(),
                    state: State::Active,
                };
                return Ok(store.create_app(data, who).await?);
            }
        }
    }
    Err(InitFault::AppsOutOfUse)
}

/// The key on standard output, all else on standard error.
fn print(made: &Made, place: &Place) -> Result<(), InitFault> {
    let Made { key, org, app } = made;
    tell(&format!("plimsoll: the identity store is {}", place.shown));
    tell(&format!(
        "plimsoll: administrator key {} of application {:?} in organisation {:?}; it is shown this once, the store keeps \
         only a hash of it:",
        key.key_id(),
        app.data.name,
        org.data.name
    ));
    let mut out = std::io::stdout();
    let text = key.text().expose_text().unwrap_or_default();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(InitFault::Output)?;
    if sys::is_root() && place.shown.starts_with("sqlite:") {
        tell("  note: the file belongs to root; the user that the pooler runs as must own it (chown)");
    }
    tell("  next: export PLIMSOLL_KEY with it, have the store as identity_store in [plimsoll], then");
    tell("        plimsoll identity status");
    Ok(())
}

#[cfg(test)]
mod tests;
