//! From a plan to a running pooler, and to its end.

use std::process::ExitCode;
use std::sync::Arc;

use plimsoll_admin::{AdminConsole, HttpDoor, HttpError, version};
use plimsoll_config::{Compat, Mistake, Plan};
use plimsoll_proxy::{Options, StartError, start};
use plimsoll_types::Secret;

use crate::args::Serve;
use crate::limits;
use crate::logging::{FATAL, Log, Terminal, early};
use crate::pidfile::{self, Pidfile};
use crate::signals::Signals;
use crate::source::Source;
use crate::sys;

/// Most workers when `workers` is not set.
const WORKERS_MAX: usize = 4;

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
    log.set_verbose(plan.general.verbose);
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
    let console = Arc::new(AdminConsole::new(
        Box::new(move || source.load()),
        Box::new(move |plan, applied| log.follow(plan, applied)),
    ));
    let http = http_door(&plan).map_err(|error| fatal(refused(&plan, &error)))?;
    let mock_secret = mock_secret().map_err(|error| fatal(format!("no random numbers: {error}")))?;
    let options = Options { console: console.clone(), mock_secret };
    let control = start(plan.clone(), options).map_err(|error| fatal((how.explain)(&error)))?;
    http.open(control.clone(), console.clone())
        .map_err(|error| fatal(format!("cannot serve /metrics: {error}")))?;
    tracing::info!("process up: {}", up(&plan));
    (how.ready)(&plan);
    runtime.block_on(signals.follow(control, console));
    Ok(())
}

/// Where `/metrics` is answered. Whoever has not asked for it does without it when the port is taken.
fn http_door(plan: &Plan) -> Result<HttpDoor, HttpError> {
    match HttpDoor::bind(plan) {
        Err(error) if plan.own.http_listen.is_none() => {
            tracing::warn!(
                "{error}; going on without it (http_listen in [plimsoll] is not set: another port, or off)"
            );
            Ok(HttpDoor::none())
        }
        bound => bound,
    }
}

/// Why there is no start, and where the address was asked for.
fn refused(plan: &Plan, error: &HttpError) -> String {
    let place = plan.set_at.get("http_listen").map(|at| format!(" (http_listen at {})", at.place));
    format!("{error}{}; choose another port, or off", place.unwrap_or_default())
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
