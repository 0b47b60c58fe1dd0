//! From a plan to a running pooler.

use std::io;
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
use crate::handover::{self, Door, Goods, Offer, Successor};
use crate::hub::{Hub, Parts};
use crate::keeper::Keeper;
use crate::listener::{self, Given, GivenBy};
use crate::ready_thread::ReadyThread;
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
    pub given: Box<dyn Fn(&Successor) + Send>,
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
pub fn start(plan: Plan, options: Options) -> Result<Control, StartError> {
    prepare(plan, options)?.go()
}

/// The same up to the moment when it begins: binds, makes threads, and starts nothing. A process that is to be taken over
/// goes on with everything; on failure it is told why.
///
/// # Errors
/// See [`StartError`].
pub fn prepare(plan: Plan, mut options: Options) -> Result<Built, StartError> {
    let Some(mut offer) = options.offer.take() else { return build(plan, options, None) };
    let begun = offer.start();
    let listeners = offer.take_listeners().map_err(|error| StartError::Takeover(error.to_string()));
    let built = listeners.and_then(|listeners| {
        let hearing = ReadyThread::new("restarted").map_err(StartError::Thread)?;
        Ok((build(plan, options, Some((begun, listeners)))?, hearing))
    });
    match built {
        Ok((built, hearing)) => Ok(Built { takeover: Some(Takeover { offer, hearing }), ..built }),
        Err(error) => {
            offer.fail(&error.to_string());
            Err(error)
        }
    }
}

/// Everything made, nothing running. Dropped, a process that was to be taken over goes on.
#[must_use = "nothing runs before it goes"]
pub struct Built {
    control: Control,
    workers: Vec<(ReadyThread, Runtime)>,
    control_loop: (ReadyThread, Runtime),
    inbox: mpsc::UnboundedReceiver<ConsoleClient>,
    door: Option<(ReadyThread, Door)>,
    goods: Goods,
    takeover: Option<Takeover>,
}

/// What another process offers, and who will hear what becomes of the rest of it.
struct Takeover {
    offer: Offer,
    hearing: ReadyThread,
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
    let door = door.map(|door| Ok((ReadyThread::new("restart")?, door))).transpose();
    let door = door.map_err(StartError::Thread)?;
    let workers = (0..workers(&plan)).map(|id| event_loop(&format!("worker-{id}")));
    let workers: Vec<_> = workers.collect::<Result<_, _>>().map_err(StartError::Thread)?;
    let control_loop = event_loop("control").map_err(StartError::Thread)?;
    let (console_door, inbox) = mpsc::unbounded_channel();
    let policy =
        Policy { mock_secret: options.mock_secret.clone(), scram_iterations: plan.general.scram_iterations };
    let handles = workers.iter().map(|(_, runtime)| Worker::new(runtime.handle().clone())).collect();
    let Options { console, keeper, voucher, credentials, http, given, .. } = options;
    let parts = Parts {
        plan,
        security,
        workers: handles,
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
    let control = Control { hub, averages: Arc::new(Averages::new()) };
    Ok(Built { control, workers, control_loop, inbox, door, goods, takeover: None })
}

impl Built {
    /// A handle on the pooler, which does not run yet.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Tells a process that was to be taken over why it is not. It goes on.
    pub fn abandon(self, why: &str) {
        if let Some(Takeover { offer, .. }) = self.takeover {
            offer.fail(why);
        }
    }

    /// Begins; takes everything over first, if there is something to take over. After that nothing fails any more.
    ///
    /// # Errors
    /// [`StartError::Takeover`].
    pub fn go(mut self) -> Result<Control, StartError> {
        match self.takeover.take() {
            Some(takeover) => self.take_over(takeover),
            None => Ok(self.begin()),
        }
    }

    /// Takes everything over, and goes on with it.
    fn take_over(self, Takeover { offer, hearing }: Takeover) -> Result<Control, StartError> {
        let hub = self.control.hub.clone();
        let failed = |error: String| StartError::Takeover(error);
        let pidfile = hub.plan().general.pidfile.clone();
        let received = offer.receive(pidfile).map_err(|error| failed(error.to_string()))?;
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
        // From here on the other process has nothing, and there is no way back.
        tracing::info!("online restart: {} clients taken over", adoption.clients());
        let control = self.begin();
        adoption.go(&hub, hearing);
        control.drop_lost_databases();
        Ok(control)
    }

    /// Starts everything.
    fn begin(self) -> Control {
        let Built { control, workers, control_loop, inbox, door, goods, takeover: _ } = self;
        for (id, (thread, runtime)) in (0..).zip(workers) {
            let hub = control.hub.clone();
            thread.begin(move || runtime.block_on(worker::watch_idle(hub, WorkerId(id))));
        }
        let run = control_thread::run(control.clone(), inbox);
        let (thread, runtime) = control_loop;
        thread.begin(move || runtime.block_on(run));
        if let Some((thread, door)) = door {
            let hub = control.hub.clone();
            thread.begin(move || door.answer(&hub, goods));
        }
        control
    }
}

fn workers(plan: &Plan) -> u16 {
    let cores =
        || thread::available_parallelism().ok().and_then(|n| u16::try_from(n.get()).ok()).unwrap_or(1);
    plan.own.workers.unwrap_or_else(|| cores().min(WORKERS_MAX)).max(1)
}

/// An event loop, and the thread that will run it as long as the process lives.
fn event_loop(name: &str) -> io::Result<(ReadyThread, Runtime)> {
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
    Ok((ReadyThread::new(name)?, runtime))
}
