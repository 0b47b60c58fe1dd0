//! From a plan to a running pooler.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use plimsoll_auth::Policy;
use plimsoll_config::Plan;
use plimsoll_types::{Secret, WorkerId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::console::Console;
use crate::control::Control;
use crate::control_thread::{self, Averages, ConsoleClient};
use crate::credentials::Credentials;
use crate::handover::{self, Door, Goods, Offer};
use crate::hub::{Hub, Parts};
use crate::keeper::Keeper;
use crate::listener::{self, Given, GivenBy};
use crate::security::Security;
use crate::voucher::Voucher;
use crate::worker::{self, Worker};

/// Workers on a machine with many cores, unless `workers` says otherwise.
const WORKERS_MAX: u16 = 4;

/// Threads a runtime may have for what blocks: hashing, resolving names.
const BLOCKING_THREADS_MAX: usize = 4;

/// What `main` hands down besides the plan.
pub struct Options {
    /// The console.
    pub console: Arc<dyn Console>,
    /// Who knows identities; `None`: nobody gets in by a key or a token.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// Who knows whether passwords are good that are not known here: LDAP servers, PAM.
    pub voucher: Arc<dyn Voucher>,
    /// Whoever knows the secrets of server logins.
    pub credentials: Arc<dyn Credentials>,
    /// Drawn once per process, for mock authentication.
    pub mock_secret: Secret,
    /// Sockets that the service manager listens on for us.
    pub activated: Vec<OwnedFd>,
    /// Sockets that go to the next process along with ours.
    pub http: Vec<(SocketAddr, OwnedFd)>,
    /// What the process before this one offers (`-R`).
    pub offer: Option<Offer>,
    /// Told which process everything has been given to.
    pub given: Box<dyn Fn(u32) + Send>,
}

/// Why the pooler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening socket cannot be made.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// TLS cannot be had as the plan wants it.
    #[error("{}", .0.join("\n"))]
    Tls(Vec<String>),
    /// Another process listens on the Unix socket.
    #[error("unix socket is in use, cannot continue")]
    UnixSocketInUse,
    /// Nothing to listen on.
    #[error("nothing to listen on: set listen_addr or unix_socket_dir")]
    NothingToListenOn,
    /// Threads or runtimes cannot be made.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The running process has not been taken over, and goes on.
    #[error("cannot take over from the running process, which goes on: {0}")]
    Takeover(String),
}

/// Binds, starts the workers and the control thread, and returns at once. Clients are let in as soon as the host names
/// of the plan have been looked up.
///
/// # Errors
/// See [`StartError`].
pub fn start(plan: Plan, mut options: Options) -> Result<Control, StartError> {
    let Some(offer) = options.offer.take() else { return build(plan, options, None).and_then(Built::go) };
    let mut offer = offer;
    let begun = offer.start();
    let listeners = offer.take_listeners().map_err(|error| StartError::Takeover(error.to_string()));
    let built = listeners.and_then(|listeners| build(plan, options, Some((begun, listeners))));
    match built {
        Ok(built) => built.take_over(offer),
        Err(error) => {
            offer.fail(&error.to_string());
            Err(error)
        }
    }
}

/// Everything made, nothing running.
struct Built {
    hub: Arc<Hub>,
    runtimes: Vec<Runtime>,
    control_runtime: Runtime,
    inbox: mpsc::UnboundedReceiver<ConsoleClient>,
    door: Option<Door>,
    goods: Goods,
}

/// What listens already, and where the process before was asked.
type Listening = (Vec<Given>, Option<Door>);

/// Makes everything. `before`: since when moments count, and what listens already.
fn build(plan: Plan, options: Options, before: Option<(Instant, Listening)>) -> Result<Built, StartError> {
    let security = Security::load(&plan).map_err(StartError::Tls)?;
    let (start, (mut given, door)) = before.unwrap_or_else(|| (Instant::now(), (Vec::new(), None)));
    given.extend(options.activated.into_iter().map(|fd| Given { fd, by: GivenBy::Manager }));
    let doors = listener::bind(&plan.general, given)?;
    let door = match door {
        Some(door) => Some(door),
        None => handover::open(&plan.general).unwrap_or_else(|error| {
            tracing::warn!("online restart (-R) will not be possible: {error}");
            None
        }),
    };
    let runtimes: Vec<Runtime> =
        (0..workers(&plan)).map(|_| runtime()).collect::<Result<_, _>>().map_err(StartError::Thread)?;
    let control_runtime = runtime().map_err(StartError::Thread)?;
    let (console_door, inbox) = mpsc::unbounded_channel();
    let policy =
        Policy { mock_secret: options.mock_secret.clone(), scram_iterations: plan.general.scram_iterations };
    let workers = runtimes.iter().map(|runtime| Worker::new(runtime.handle().clone())).collect();
    let Options { console, keeper, voucher, credentials, http, given, .. } = options;
    let parts = Parts {
        plan,
        security,
        workers,
        console,
        keeper,
        voucher,
        credentials,
        console_door,
        policy,
        doors,
        start,
    };
    let (hub, goods) = (Arc::new(Hub::new(parts)), Goods { http, given });
    Ok(Built { hub, runtimes, control_runtime, inbox, door, goods })
}

impl Built {
    /// Takes everything over, and goes on with it.
    fn take_over(self, offer: Offer) -> Result<Control, StartError> {
        let hub = self.hub.clone();
        let failed = |error: String| StartError::Takeover(error);
        let received = offer.receive().map_err(|error| failed(error.to_string()))?;
        let adopted = handover::adopt(&hub, received).map_err(|error| failed(error.to_string()));
        let adoption = match adopted {
            Ok(adoption) => adoption,
            Err(error) => {
                // Half of it is made of sockets that are another process's: nothing of it may be dropped in order.
                std::mem::forget(self);
                return Err(error);
            }
        };
        if let Err(error) = adoption.taking.take() {
            std::mem::forget((self, adoption));
            return Err(failed(format!("it has given up waiting, or has ended ({error})")));
        }
        tracing::info!("online restart: {} clients taken over", adoption.clients());
        let control = self.go()?;
        adoption.go(&hub).map_err(StartError::Thread)?;
        control.drop_lost_databases();
        Ok(control)
    }

    /// Starts everything.
    fn go(self) -> Result<Control, StartError> {
        let Built { hub, runtimes, control_runtime, inbox, door, goods } = self;
        let control = Control { hub: hub.clone(), averages: Arc::new(Averages::new()) };
        for (id, runtime) in (0..).zip(runtimes) {
            let hub = hub.clone();
            let work = move || runtime.block_on(worker::watch_idle(hub, WorkerId(id)));
            named(&format!("worker-{id}"), work)?;
        }
        let run = control_thread::run(control.clone(), inbox);
        named("control", move || control_runtime.block_on(run))?;
        if let Some(door) = door {
            handover::serve(door, hub, goods).map_err(StartError::Thread)?;
        }
        Ok(control)
    }
}

fn workers(plan: &Plan) -> u16 {
    let cores =
        || thread::available_parallelism().ok().and_then(|n| u16::try_from(n.get()).ok()).unwrap_or(1);
    plan.own.workers.unwrap_or_else(|| cores().min(WORKERS_MAX)).max(1)
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()
}

/// A thread that runs as long as the process.
fn named(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    thread::Builder::new().name(name.to_string()).spawn(work).map(drop).map_err(StartError::Thread)
}
