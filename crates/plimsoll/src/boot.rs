//! From a plan to a running pooler, and to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_admin::{
    AdminConsole, BlackBox, HttpDoor, HttpError, Identities, Issuers, Surroundings, version,
};
use plimsoll_config::{Compat, Mistake, Plan};
use plimsoll_proxy::{Keeper, Options, StartError, start};
use plimsoll_types::Secret;

use crate::args::Serve;
use crate::credentials::Lender;
use crate::limits;
use crate::logging::{FATAL, Log, Terminal, early};
use crate::manager::{self, News};
use crate::pidfile::{self, Pidfile};
use crate::signals::Signals;
use crate::source::Source;
use crate::sys;
use crate::vouch::Asker;

/// Most workers when `workers` is not set.
const WORKERS_MAX: usize = 4;

/// How long the end of the process waits for the last snapshot.
const LAST_SNAPSHOT_MAX: Duration = Duration::from_secs(1);

/// The name of the thread that the process begins with.
const MAIN_THREAD: &str = "main";

/// `plimsoll serve FILE.ini`.
pub(crate) fn serve(serve: Serve) -> ExitCode {
    let source = Source::File { path: serve.options.file.clone(), name: serve.name };
    match prepare(&serve, &source).and_then(|(plan, terminal)| {
        let verbose = u32::from(serve.options.verbose);
        live(plan, source, Start { terminal, verbose, ready: |_| {}, explain: StartError::to_string })
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended) => ExitCode::FAILURE,
    }
}

/// The process cannot go on; why has been logged.
#[derive(Debug)]
pub(crate) struct Ended;

/// How a boot differs from another.
pub(crate) struct Start {
    /// Whether the log is shown.
    pub(crate) terminal: Terminal,
    /// How many times `-v` was given.
    pub(crate) verbose: u32,
    /// Called when the pooler is up.
    pub(crate) ready: fn(&Plan),
    /// What to say when it cannot be.
    pub(crate) explain: fn(&StartError) -> String,
}

/// Logs all mistakes of a configuration, and that they are the end, before there is a log.
pub(crate) fn report(mistakes: &[Mistake], end: &str) -> Ended {
    for mistake in mistakes {
        early("ERROR", &mistake.to_string());
    }
    die(end)
}

/// Logs why the process ends, before there is a log.
fn die(why: impl AsRef<str>) -> Ended {
    early("FATAL", why.as_ref());
    Ended
}

/// Everything that is done while the process has one thread and the terminal.
fn prepare(serve: &Serve, source: &Source) -> Result<(Plan, Terminal), Ended> {
    let options = &serve.options;
    if options.reboot {
        return Err(die("online restart (-R) is not there yet: stop the old process, then start this one"));
    }
    let plan = source.load().map_err(|mistakes| report(&mistakes, "cannot load config file"))?;
    switch_user(options.user.as_deref().or(plan.general.user.as_deref()), serve.name)?;
    if let Some(path) = &plan.general.pidfile {
        pidfile::free(path).map_err(die)?;
    }
    if options.daemon {
        daemonize(&plan)?;
    }
    let quiet = options.quiet || options.daemon;
    Ok((plan, if quiet { Terminal::Quiet } else { Terminal::Shown }))
}

/// PgBouncer never runs as root; we say what we think of it.
fn switch_user(user: Option<&str>, name: Compat) -> Result<(), Ended> {
    if let Some(user) = user {
        sys::become_user(user).map_err(|error| die(format!("cannot become user '{user}': {error}")))?;
    }
    match name {
        Compat::Pgbouncer if sys::is_root() => Err(die("PgBouncer should not run as root")),
        Compat::Pgbouncer | Compat::Plimsoll => Ok(()),
    }
}

fn daemonize(plan: &Plan) -> Result<(), Ended> {
    let general = &plan.general;
    if general.pidfile.is_none() {
        return Err(die("daemon needs pidfile configured"));
    }
    if general.logfile.is_none() {
        early("WARNING", "in the background without logfile nothing will be logged");
    }
    sys::daemonize().map_err(|error| die(format!("cannot go into the background: {error}")))
}

/// Number of workers in force.
fn workers(plan: &Plan) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(WORKERS_MAX);
    plan.own.workers.unwrap_or_else(|| u16::try_from(cores).unwrap_or(1))
}

/// Opens the log, starts the pooler, follows the signals until the end.
///
/// # Errors
/// It could not start; why has been logged.
pub(crate) fn live(plan: Plan, source: Source, how: Start) -> Result<(), Ended> {
    let log = Log::open(how.terminal, plan.general.logfile.as_deref(), how.verbose)
        .map_err(|error| die(format!("cannot open the log file: {error}")))?;
    log.set_verbose(plan.general.log.verbose);
    log.set_syslog(&plan.general);
    let fatal = |why: String| {
        tracing::error!(target: FATAL, "{why}");
        Ended
    };
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    limits::raise_and_log(&plan, workers(&plan));
    let _pidfile = plan.general.pidfile.as_deref().map(Pidfile::write).transpose().map_err(fatal)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| fatal(format!("cannot make an event loop: {error}")))?;
    let signals = {
        let _inside = runtime.enter();
        Signals::catch().map_err(|error| fatal(format!("cannot catch signals: {error}")))?
    };
    let (state_directory, config) = (std::env::var("STATE_DIRECTORY").ok(), source.path());
    let surroundings =
        Surroundings { state_directory: state_directory.as_deref(), config: config.as_deref() };
    let black_box = BlackBox::new(&plan, surroundings);
    let issuers = Issuers::new(&plan).map_err(&fatal)?;
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
    let http = http_door(&plan).map_err(|error| fatal(refused(&plan, &error)))?;
    let mock_secret = mock_secret().map_err(|error| fatal(format!("no random numbers: {error}")))?;
    let identities =
        Identities::open(&plan, issuers).map_err(|why| fatal(placed(&plan, "identity_store", &why)))?;
    let keeper = identities.clone().map(|identities| Arc::new(identities) as Arc<dyn Keeper>);
    let voucher = Arc::new(Asker::default());
    let options = Options {
        console: console.clone(),
        keeper,
        voucher,
        credentials: Arc::new(Lender::new()),
        mock_secret,
    };
    let control = start(plan.clone(), options).map_err(|error| fatal((how.explain)(&error)))?;
    http.open(control.clone(), console.clone(), identities.as_ref().map(Identities::api))
        .map_err(|error| fatal(format!("cannot serve /metrics: {error}")))?;
    if let Some(identities) = &identities {
        identities.watch(control.clone());
    }
    let pooler = control.clone();
    let started = black_box.start(Box::new(move |why| pooler.snapshot(why)));
    started.map_err(|error| fatal(format!("cannot start a thread: {error}")))?;
    snapshot_at_panic(black_box.clone());
    tracing::info!("process up: {}", up(&plan));
    (how.ready)(&plan);
    manager::tell(News::Ready);
    runtime.block_on(signals.follow(control, console));
    black_box.settle(LAST_SNAPSHOT_MAX);
    if let Some(identities) = identities {
        identities.close(LAST_SNAPSHOT_MAX);
    }
    Ok(())
}

/// Where `/metrics` is answered. Whoever has not asked for it does without it when the port is taken.
fn http_door(plan: &Plan) -> Result<HttpDoor, HttpError> {
    match HttpDoor::bind(plan) {
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

/// Whoever panics leaves a snapshot of that moment. Only this thread's panic is the end of the process, and waits for it:
/// another one's goes on, and may have the locks that taking a snapshot needs.
fn snapshot_at_panic(black_box: BlackBox) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        usual(panic);
        black_box.note_panic();
        if std::thread::current().name() == Some(MAIN_THREAD) {
            black_box.settle(LAST_SNAPSHOT_MAX);
        }
    }));
}

fn mock_secret() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(bytes))
}

/// What is up: version, workers, cap.
fn up(plan: &Plan) -> String {
    let (version, workers) = (version(plan.own.compat), workers(plan));
    format!("{version}, workers: {workers}, target_budget: {}", plan.own.target_budget)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use plimsoll_config::SnapshotDir;
    use plimsoll_ledger::snapshot::{Head, Recorded, Snapshot, Wall};

    use super::*;

    #[test]
    fn a_panic_of_any_thread_leaves_a_snapshot_and_the_process_goes_on() {
        let folder = std::env::temp_dir().join(format!("plimsoll-panic-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).expect("it is ours");
        let mut plan = Plan::default();
        plan.own.snapshot_dir = SnapshotDir::Folder(folder.clone());
        let black_box = BlackBox::new(&plan, Surroundings::default());
        let taken = |why: plimsoll_ledger::snapshot::Reason| Snapshot {
            head: Head {
                instance: "aa".to_string(),
                version: "0".to_string(),
                why: why.as_str().to_string(),
                taken: Wall::from_micros(0),
                started: Wall::from_micros(0),
                listen: Vec::new(),
                ledger: Recorded::On,
                holds_left_out: 0,
                sites_left_out: 0,
            },
            pools: Vec::new(),
            sites: Vec::new(),
            holds: Vec::new(),
        };
        black_box.start(Box::new(taken)).expect("threads");
        snapshot_at_panic(black_box.clone());
        let worker = std::thread::spawn(|| panic!("a worker breaks down"));
        assert!(worker.join().is_err());
        black_box.settle(Duration::from_secs(20));
        let names: Vec<String> = std::fs::read_dir(&folder)
            .expect("readable")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        std::fs::remove_dir_all(&folder).expect("it is ours");
        assert!(names.len() == 1 && names[0].ends_with(".panic.json"), "{names:?}");
    }
}
