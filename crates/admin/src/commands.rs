//! The commands that do something: PAUSE, RESUME, SUSPEND, RECONNECT, WAIT_CLOSE, KILL, KILL_CLIENT, DISABLE, ENABLE,
//! SHUTDOWN.

use std::collections::BTreeSet;

use plimsoll_proxy::{ControlError, Reply, Shutdown, Until};

use crate::answer;
use crate::blackbox::BlackBox;
use crate::failure::{Deed, Failure};
use crate::pooler::Pooler;
use crate::show::CONSOLE;

/// A command word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Only looks.
    Show,
    /// Changes something: for admin users.
    Act(Act),
}

/// What changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Disable,
    Enable,
    Kill,
    KillClient,
    Pause,
    Reconnect,
    Reload,
    Resume,
    Shutdown,
    Suspend,
    WaitClose,
}

/// The words; SELECT is what drivers and monitors write for SHOW.
const VERBS: &[(&str, Verb)] = &[
    ("DISABLE", Verb::Act(Act::Disable)),
    ("ENABLE", Verb::Act(Act::Enable)),
    ("KILL", Verb::Act(Act::Kill)),
    ("KILL_CLIENT", Verb::Act(Act::KillClient)),
    ("PAUSE", Verb::Act(Act::Pause)),
    ("RECONNECT", Verb::Act(Act::Reconnect)),
    ("RELOAD", Verb::Act(Act::Reload)),
    ("RESUME", Verb::Act(Act::Resume)),
    ("SELECT", Verb::Show),
    ("SHOW", Verb::Show),
    ("SHUTDOWN", Verb::Act(Act::Shutdown)),
    ("SUSPEND", Verb::Act(Act::Suspend)),
    ("WAIT_CLOSE", Verb::Act(Act::WaitClose)),
];

impl Verb {
    /// The command of this name, in any case.
    pub(crate) fn find(word: &str) -> Option<Verb> {
        VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, verb)| *verb)
    }
}

impl Act {
    /// Whether the command may have this argument at all.
    pub(crate) fn takes(self, argument: &str) -> bool {
        match self {
            Act::Reload | Act::Suspend => argument.is_empty(),
            Act::Shutdown => shutdown_mode(argument).is_some(),
            Act::Disable
            | Act::Enable
            | Act::Kill
            | Act::KillClient
            | Act::Pause
            | Act::Reconnect
            | Act::Resume
            | Act::WaitClose => true,
        }
    }
}

/// A database named in a command, or all of them.
fn named(argument: &str) -> Option<&str> {
    (!argument.is_empty()).then_some(argument)
}

/// Logs a command before it has any effect.
fn issued(command: &str, argument: &str) {
    match named(argument) {
        Some(name) => tracing::info!("{command} '{name}' command issued"),
        None => tracing::info!("{command} command issued"),
    }
}

fn refuse_console(deed: Deed, argument: &str) -> Result<(), Failure> {
    if argument == CONSOLE { Err(Failure::AdminDatabase(deed, argument.to_string())) } else { Ok(()) }
}

fn refuse_while_paused(pooler: &dyn Pooler) -> Result<(), Failure> {
    if pooler.is_paused() || pooler.is_suspended() { Err(ControlError::AlreadyPaused.into()) } else { Ok(()) }
}

/// `PAUSE [db]`: answered when no server connection is in use any more.
pub(crate) fn pause(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    refuse_while_paused(pooler)?;
    issued("PAUSE", argument);
    refuse_console(Deed::Pause, argument)?;
    pooler.pause(named(argument))?;
    Ok(Reply::When(Until::Quiet(named(argument).map(str::to_string)), Box::new(|| answer::done("PAUSE"))))
}

/// `RESUME [db]`.
pub(crate) fn resume(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    issued("RESUME", argument);
    if argument == CONSOLE {
        return Err(ControlError::NotPaused(argument.to_string()).into());
    }
    pooler.resume(named(argument))?;
    Ok(Reply::Now(answer::done("RESUME")))
}

/// `SUSPEND`: answered when everything that came in is dealt with and sent.
pub(crate) fn suspend(pooler: &dyn Pooler) -> Result<Reply, Failure> {
    // Logged there: after the checks and before the effect.
    pooler.suspend()?;
    Ok(Reply::When(Until::Flushed, Box::new(|| answer::done("SUSPEND"))))
}

/// `WAIT_CLOSE [db]`: answered when no server connection is left that RECONNECT or RELOAD has marked.
pub(crate) fn wait_close(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    issued("WAIT_CLOSE", argument);
    refuse_console(Deed::WaitClose, argument)?;
    pooler.wait_close(named(argument))?;
    Ok(Reply::When(
        Until::Renewed(named(argument).map(str::to_string)),
        Box::new(|| answer::done("WAIT_CLOSE")),
    ))
}

/// `RECONNECT [db]`.
pub(crate) fn reconnect(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    issued("RECONNECT", argument);
    refuse_console(Deed::Reconnect, argument)?;
    pooler.reconnect(named(argument))?;
    Ok(Reply::Now(answer::done("RECONNECT")))
}

/// `KILL [db]`. Without a name it goes through all databases that have a pool, and each of them stays paused by
/// itself, so that RESUME is by name too.
pub(crate) fn kill(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    refuse_while_paused(pooler)?;
    issued("KILL", argument);
    refuse_console(Deed::Kill, argument)?;
    match named(argument) {
        Some(name) => pooler.kill(name)?,
        None => {
            let databases: BTreeSet<_> = pooler.pools().into_iter().map(|pool| pool.database).collect();
            for name in databases {
                pooler.kill(&name)?;
            }
        }
    }
    Ok(Reply::Now(answer::done("KILL")))
}

/// `KILL_CLIENT id`: the column `id`, or `ptr` as older versions wanted it.
pub(crate) fn kill_client(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    let id = match argument.strip_prefix("0x").or_else(|| argument.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => argument.parse(),
    };
    pooler.kill_client(id.map_err(|_| Failure::InvalidClientId)?)?;
    Ok(Reply::Now(answer::done("KILL_CLIENT")))
}

/// `DISABLE db`.
pub(crate) fn disable(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    let name = named(argument).ok_or(Failure::DatabaseRequired)?;
    issued("DISABLE", name);
    refuse_console(Deed::Disable, name)?;
    pooler.disable(name)?;
    Ok(Reply::Now(answer::done("DISABLE")))
}

/// `ENABLE db`.
pub(crate) fn enable(pooler: &dyn Pooler, argument: &str) -> Result<Reply, Failure> {
    let name = named(argument).ok_or(Failure::DatabaseRequired)?;
    issued("ENABLE", name);
    refuse_console(Deed::Enable, name)?;
    pooler.enable(name)?;
    Ok(Reply::Now(answer::done("ENABLE")))
}

/// The ways of `SHUTDOWN [how]`; `None` for a word that is none of them.
fn shutdown_mode(argument: &str) -> Option<Shutdown> {
    let ways = [
        ("", Shutdown::Immediate),
        ("WAIT_FOR_CLIENTS", Shutdown::WaitForClients),
        ("WAIT_FOR_SERVERS", Shutdown::WaitForServers),
    ];
    ways.into_iter().find(|(word, _)| word.eq_ignore_ascii_case(argument)).map(|(_, how)| how)
}

/// `SHUTDOWN [how]`. The one that ends at once is not answered: the connection closes with the process.
pub(crate) fn shutdown(pooler: &dyn Pooler, argument: &str, black_box: &BlackBox) -> Result<Reply, Failure> {
    let how = shutdown_mode(argument).ok_or(Failure::BadArguments)?;
    black_box.note_end();
    match how {
        Shutdown::WaitForClients => tracing::info!("SHUTDOWN WAIT_FOR_CLIENTS command issued"),
        Shutdown::WaitForServers => tracing::info!("SHUTDOWN WAIT_FOR_SERVERS command issued"),
        Shutdown::Immediate => tracing::info!("SHUTDOWN command issued"),
    }
    pooler.shutdown(how);
    Ok(match how {
        Shutdown::WaitForClients | Shutdown::WaitForServers => Reply::Now(answer::done("SHUTDOWN")),
        Shutdown::Immediate => Reply::Exit,
    })
}
