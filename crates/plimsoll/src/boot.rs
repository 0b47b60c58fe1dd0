//! From a plan to a running pooler, and to its end.

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use plimsoll_admin::{BlackBox, version};
use plimsoll_config::{Compat, Mistake, Plan};
use plimsoll_proxy::{Offer, StartError, ask_predecessor};

use crate::args::Serve;
use crate::limits;
use crate::logging::{FATAL, Log, Terminal, early};
use crate::manager::{self, News};
use crate::parts::{LAST_SNAPSHOT_MAX, NotUp, Parts};
use crate::pidfile;
use crate::source::Source;
use crate::sys::{self, Foreground};

/// Most workers when `workers` is not set.
const WORKERS_MAX: usize = 4;

/// The name of the thread that the process begins with.
const MAIN_THREAD: &str = "main";

/// `plimsoll serve FILE.ini`.
pub(crate) fn serve(serve: Serve) -> ExitCode {
    let source = Source::File { path: serve.options.file.clone(), name: serve.name };
    match prepare(&serve, &source).and_then(|prepared| {
        let Prepared { plan, terminal, offer, activated, foreground } = prepared;
        let verbose = u32::from(serve.options.verbose);
        let ready = Box::new(move |_: &Plan| {
            if let Some(foreground) = foreground {
                foreground.dismiss();
            }
        });
        live(
            plan,
            source,
            Start { terminal, verbose, ready, explain: StartError::to_string, offer, activated },
        )
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
    pub(crate) ready: Box<dyn FnOnce(&Plan)>,
    /// What to say when it cannot be.
    pub(crate) explain: fn(&StartError) -> String,
    /// What the running process offers.
    pub(crate) offer: Option<Offer>,
    /// Sockets that the service manager listens on.
    pub(crate) activated: Vec<OwnedFd>,
}

/// What is known before there is a second thread.
struct Prepared {
    plan: Plan,
    terminal: Terminal,
    offer: Option<Offer>,
    activated: Vec<OwnedFd>,
    foreground: Option<Foreground>,
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
fn prepare(serve: &Serve, source: &Source) -> Result<Prepared, Ended> {
    let options = &serve.options;
    // Before the background: the manager knows the process by its id.
    let activated = manager::sockets();
    let plan = source.load().map_err(|mistakes| report(&mistakes, "cannot load config file"))?;
    switch_user(options.user.as_deref().or(plan.general.user.as_deref()), serve.name)?;
    let offer = if options.reboot { predecessor(&plan)? } else { None };
    if let (Some(path), None) = (&plan.general.pidfile, &offer) {
        pidfile::free(path).map_err(die)?;
    }
    let foreground = match (options.daemon, &offer) {
        (true, None) => daemonize(&plan).map(|()| None)?,
        (true, Some(_)) => Some(daemonize_watched(&plan)?),
        (false, _) => None,
    };
    let quiet = options.quiet || options.daemon;
    let terminal = if quiet { Terminal::Quiet } else { Terminal::Shown };
    Ok(Prepared { plan, terminal, offer, activated, foreground })
}

/// Asks the running process for what it has. `None`: there is none, so this is a start like any other (PgBouncer).
fn predecessor(plan: &Plan) -> Result<Option<Offer>, Ended> {
    // Its sockets come one by one, and each needs a descriptor.
    let _ = sys::raise_file_limit();
    match ask_predecessor(plan) {
        Ok(Some(offer)) => {
            early("LOG", &format!("taking over from process {}", offer.pid()));
            Ok(Some(offer))
        }
        Ok(None) => {
            early("LOG", "old process not found, try to continue normally");
            Ok(None)
        }
        Err(error) => Err(die(error.to_string())),
    }
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
    may_daemonize(plan)?;
    sys::daemonize().map_err(|error| die(format!("cannot go into the background: {error}")))
}

/// Whoever started us stays until everything has been taken over, so that its exit status tells.
fn daemonize_watched(plan: &Plan) -> Result<Foreground, Ended> {
    may_daemonize(plan)?;
    sys::daemonize_watched().map_err(|error| die(format!("cannot go into the background: {error}")))
}

fn may_daemonize(plan: &Plan) -> Result<(), Ended> {
    let general = &plan.general;
    if general.pidfile.is_none() {
        return Err(die("daemon needs pidfile configured"));
    }
    if general.logfile.is_none() {
        early("WARNING", "in the background without logfile nothing will be logged");
    }
    Ok(())
}

/// Number of workers in force.
fn workers(plan: &Plan) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(WORKERS_MAX);
    plan.own.workers.unwrap_or_else(|| u16::try_from(cores).unwrap_or(1))
}

/// Opens the log, starts the pooler, follows the signals until the end. A process that was to be taken over hears why it
/// goes on.
///
/// # Errors
/// It could not start; why has been logged.
pub(crate) fn live(plan: Plan, source: Source, how: Start) -> Result<(), Ended> {
    let log = open_log(&plan, &how);
    let Start { ready, explain, mut offer, activated, .. } = how;
    let old = offer.as_ref().map(Offer::pid);
    let made = match log {
        Ok(log) => {
            limits::raise_and_log(&plan, workers(&plan));
            Parts::make(&plan, source, log, offer.as_mut()).map_err(|why| (fatal(&why), why))
        }
        Err(why) => Err((die(&why), why)),
    };
    let parts = match made {
        Ok(parts) => parts,
        Err((ended, why)) => {
            if let Some(offer) = offer {
                offer.fail(&why);
            }
            return Err(ended);
        }
    };
    let running = parts.go(plan.clone(), activated, offer).map_err(|not_up| match not_up {
        NotUp::Part(why) => fatal(&why),
        NotUp::Pooler(error) => {
            start_alone_if_dead(&error, old);
            fatal(&explain(&error))
        }
    })?;
    snapshot_at_panic(running.black_box().clone());
    tracing::info!("process up: {}", up(&plan));
    ready(&plan);
    manager::tell(News::Ready);
    running.follow();
    Ok(())
}

/// Logs why the process ends.
fn fatal(why: &str) -> Ended {
    tracing::error!(target: FATAL, "{why}");
    Ended
}

/// Opens the log; what the files have that is doubtful is its beginning.
fn open_log(plan: &Plan, how: &Start) -> Result<Log, String> {
    let log = Log::open(how.terminal, plan.general.logfile.as_deref(), how.verbose)
        .map_err(|error| format!("cannot open the log file: {error}"))?;
    log.set_verbose(plan.general.log.verbose);
    log.set_syslog(&plan.general);
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    Ok(log)
}

/// The process that was to be taken over has died in the middle of it, and nothing of it can be had any more: what is left
/// is a start like any other, in a process that has none of its sockets.
fn start_alone_if_dead(error: &StartError, old: Option<u32>) {
    use std::os::unix::process::CommandExt;
    let (StartError::Takeover(why), Some(old)) = (error, old) else { return };
    if sys::is_alive(old) {
        return;
    }
    tracing::warn!("the process that was to be taken over is gone ({why}): starting without what it had");
    let Ok(program) = std::env::current_exe() else { return };
    // It only comes back if it fails.
    let failed = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    tracing::error!("cannot start again: {failed}");
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

/// What is up: version, workers, cap.
fn up(plan: &Plan) -> String {
    let (version, workers) = (version(plan.own.compat), workers(plan));
    format!("{version}, workers: {workers}, target_budget: {}", plan.own.target_budget)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use plimsoll_admin::Surroundings;
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
