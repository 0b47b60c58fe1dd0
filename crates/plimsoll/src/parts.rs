//! What there is beside the pooler itself, from what the plan says to what runs. All that can fail fails before the
//! process that is to be taken over has let go of anything.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use plimsoll_admin::{
    AdminConsole, BlackBox, HttpDoor, HttpError, Identities, Issuers, OpenDoor, ReadyBox, Surroundings,
};
use plimsoll_config::Plan;
use plimsoll_proxy::{Control, Keeper, Offer, Options, StartError, Successor, prepare};
use plimsoll_types::Secret;
use tokio::runtime::Runtime;

use crate::credentials::Lender;
use crate::logging::Log;
use crate::manager::{self, News};
use crate::pidfile::Mark;
use crate::signals::Signals;
use crate::source::Source;
use crate::vouch::Asker;

/// How long the end of the process waits for the last snapshot.
pub(crate) const LAST_SNAPSHOT_MAX: Duration = Duration::from_secs(1);

/// Everything but the pooler.
pub(crate) struct Parts {
    pidfile: Mark,
    runtime: Runtime,
    signals: Signals,
    black_box: BlackBox,
    console: Arc<AdminConsole>,
    http: HttpDoor,
    identities: Option<Identities>,
    successor: Arc<OnceLock<Successor>>,
    options: Options,
}

/// Why nothing runs.
pub(crate) enum NotUp {
    /// The pooler cannot start.
    Pooler(StartError),
    /// Something beside it cannot.
    Part(String),
}

impl Parts {
    /// Opens, binds and writes what the plan names. `offer`: of the process that is to be taken over.
    ///
    /// # Errors
    /// What cannot be had, and which line asks for it.
    pub(crate) fn make(
        plan: &Plan,
        source: Source,
        log: Log,
        offer: Option<&mut Offer>,
    ) -> Result<Parts, String> {
        let pidfile = Mark::set(plan.general.pidfile.as_deref(), offer.as_ref().map(|offer| offer.pid()))?;
        let (runtime, signals) = signals()?;
        let black_box = new_black_box(plan, &source);
        let issuers = Issuers::new(plan)?;
        let (follower, issuers_follower) = (black_box.clone(), issuers.clone());
        let console = AdminConsole::new(
            Box::new(move || source.load()),
            Box::new(move |plan, applied| {
                log.follow(plan, applied);
                follower.follow(plan);
                issuers_follower.follow(plan);
            }),
        );
        let console = Arc::new(console.with_black_box(black_box.clone()));
        let listened = offer.map(Offer::take_http).unwrap_or_default();
        let http = http_door(plan, listened).map_err(|error| refused(plan, &error))?;
        let mock_secret = mock_secret().map_err(|error| format!("no random numbers: {error}"))?;
        let identities =
            Identities::open(plan, issuers).map_err(|why| placed(plan, "identity_store", &why))?;
        let keeper = identities.clone().map(|identities| Arc::new(identities) as Arc<dyn Keeper>);
        let sockets = http.sockets().map_err(|error| format!("no file descriptors: {error}"))?;
        let successor = Arc::new(OnceLock::new());
        let told = successor.clone();
        let given = Box::new(move |next: &Successor| {
            manager::tell(News::MainPid(next.pid));
            // There is only one.
            let _ = told.set(next.clone());
        });
        let options = Options {
            console: console.clone(),
            keeper,
            voucher: Arc::new(Asker::default()),
            credentials: Arc::new(Lender::new()),
            mock_secret,
            activated: Vec::new(),
            http: sockets,
            offer: None,
            given,
        };
        Ok(Parts { pidfile, runtime, signals, black_box, console, http, identities, successor, options })
    }

    /// Starts the pooler and all of this: everything is made, then everything is taken over if there is an `offer`, and
    /// then it begins. `activated`: sockets of the service manager.
    ///
    /// # Errors
    /// Something cannot be made, or nothing was taken over; nothing of this is left.
    pub(crate) fn go(
        self,
        plan: Plan,
        activated: Vec<OwnedFd>,
        offer: Option<Offer>,
    ) -> Result<Running, NotUp> {
        let Parts { pidfile, runtime, signals, black_box, console, http, identities, successor, options } =
            self;
        let built = prepare(plan, Options { activated, offer, ..options }).map_err(NotUp::Pooler)?;
        let (http, snapshots) = match waiting(built.control(), http, &black_box, &console, &identities) {
            Ok(waiting) => waiting,
            Err(why) => {
                built.abandon(&why);
                return Err(NotUp::Part(why));
            }
        };
        let control = built.go().map_err(NotUp::Pooler)?;
        let pidfile = pidfile.taken();
        http.answer();
        if let Some(identities) = &identities {
            identities.watch(control.clone());
        }
        snapshots.begin();
        Ok(Running { control, pidfile, runtime, signals, black_box, console, identities, successor })
    }
}

/// A running pooler, and everything beside it.
pub(crate) struct Running {
    control: Control,
    pidfile: Mark,
    runtime: Runtime,
    signals: Signals,
    black_box: BlackBox,
    console: Arc<AdminConsole>,
    identities: Option<Identities>,
    successor: Arc<OnceLock<Successor>>,
}

impl Running {
    /// What keeps snapshots.
    pub(crate) fn black_box(&self) -> &BlackBox {
        &self.black_box
    }

    /// Follows the signals until the end, and puts everything away.
    pub(crate) fn follow(self) {
        let Running { control, pidfile, runtime, signals, black_box, console, identities, successor } = self;
        runtime.block_on(signals.follow(control, console));
        match successor.get() {
            Some(next) => pidfile.leave_to(next.pidfile.as_deref()),
            None => drop(pidfile),
        }
        black_box.settle(LAST_SNAPSHOT_MAX);
        if let Some(identities) = identities {
            identities.close(LAST_SNAPSHOT_MAX);
        }
    }
}

/// What answers HTTP and what keeps snapshots, with their threads, which do nothing yet.
fn waiting(
    control: &Control,
    http: HttpDoor,
    black_box: &BlackBox,
    console: &Arc<AdminConsole>,
    identities: &Option<Identities>,
) -> Result<(OpenDoor, ReadyBox), String> {
    let http = http
        .open(control.clone(), console.clone(), identities.as_ref().map(Identities::api))
        .map_err(|error| format!("cannot serve /metrics: {error}"))?;
    let pooler = control.clone();
    let snapshots = black_box.prepare(Box::new(move |why| pooler.snapshot(why)));
    Ok((http, snapshots.map_err(|error| format!("cannot start a thread: {error}"))?))
}

/// The signals, and the event loop in which they are heard.
fn signals() -> Result<(Runtime, Signals), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot make an event loop: {error}"))?;
    let inside = runtime.enter();
    let signals = Signals::catch().map_err(|error| format!("cannot catch signals: {error}"))?;
    drop(inside);
    Ok((runtime, signals))
}

/// What keeps snapshots.
fn new_black_box(plan: &Plan, source: &Source) -> BlackBox {
    let (state_directory, config) = (std::env::var("STATE_DIRECTORY").ok(), source.path());
    let surroundings =
        Surroundings { state_directory: state_directory.as_deref(), config: config.as_deref() };
    BlackBox::new(plan, surroundings)
}

/// Where `/metrics` is answered. Whoever has not asked for it does without it when the port is taken.
fn http_door(plan: &Plan, listened: Vec<(SocketAddr, OwnedFd)>) -> Result<HttpDoor, HttpError> {
    match HttpDoor::bind(plan, listened) {
        Err(error @ HttpError::Listen { .. }) if plan.own.http_listen.is_none() => {
            tracing::warn!(
                "{error}; going on without it (http_listen in [plimsoll] is not set: another port, or off)"
            );
            Ok(HttpDoor::none())
        }
        bound => bound,
    }
}

/// Why there is no start, and which line is to blame.
fn placed(plan: &Plan, key: &str, why: &str) -> String {
    let place = plan.set_at.get(key).map(|at| format!(" ({key} at {})", at.place));
    format!("{why}{}", place.unwrap_or_default())
}

/// Why there is no start, and where that was asked for.
fn refused(plan: &Plan, error: &HttpError) -> String {
    let (key, hint) = match error {
        HttpError::Listen { .. } => ("http_listen", "; choose another port, or off"),
        HttpError::Tls(_) => ("http_tls_cert_file", ""),
    };
    let place = plan.set_at.get(key).map(|at| format!(" ({key} at {})", at.place));
    format!("{error}{}{hint}", place.unwrap_or_default())
}

fn mock_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(bytes))
}
