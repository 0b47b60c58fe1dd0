//! From a plan to a running pooler.

use std::sync::Arc;
use std::thread;

use plimsoll_auth::Policy;
use plimsoll_config::Plan;
use plimsoll_types::{Secret, WorkerId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use crate::console::Console;
use crate::control::Control;
use crate::control_thread::{self, Averages};
use crate::credentials::Credentials;
use crate::hub::{Hub, Parts};
use crate::keeper::Keeper;
use crate::listener;
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
}

/// Binds, starts the workers and the control thread, and returns at once. Clients are let in as soon as the host names
/// of the plan have been looked up.
///
/// # Errors
/// See [`StartError`].
pub fn start(plan: Plan, options: Options) -> Result<Control, StartError> {
    let security = Security::load(&plan).map_err(StartError::Tls)?;
    let doors = listener::bind(&plan.general)?;
    let runtimes: Vec<Runtime> =
        (0..workers(&plan)).map(|_| runtime()).collect::<Result<_, _>>().map_err(StartError::Thread)?;
    let control_runtime = runtime().map_err(StartError::Thread)?;
    let (console_door, inbox) = mpsc::unbounded_channel();
    let policy =
        Policy { mock_secret: options.mock_secret.clone(), scram_iterations: plan.general.scram_iterations };
    let workers = runtimes.iter().map(|runtime| Worker::new(runtime.handle().clone())).collect();
    let Options { console, keeper, voucher, credentials, mock_secret: _ } = options;
    let parts =
        Parts { plan, security, workers, console, keeper, voucher, credentials, console_door, policy, doors };
    let hub = Arc::new(Hub::new(parts));
    let control = Control { hub: hub.clone(), averages: Arc::new(Averages::new()) };
    for (id, runtime) in (0..).zip(runtimes) {
        let hub = hub.clone();
        let work = move || runtime.block_on(worker::watch_idle(hub, WorkerId(id)));
        named(&format!("worker-{id}"), work)?;
    }
    let run = control_thread::run(control.clone(), inbox);
    named("control", move || control_runtime.block_on(run))?;
    Ok(control)
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
