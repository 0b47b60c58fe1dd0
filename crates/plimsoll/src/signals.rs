//! What the process does when it is signalled, until it ends.

use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_admin::AdminConsole;
use plimsoll_proxy::{Control, Shutdown};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use crate::manager::{self, News};

/// How long a fast exit waits for the sockets' files to be removed.
const FAST_EXIT: Duration = Duration::from_secs(2);

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Got {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
}

/// What the pooler is doing when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Paused,
    Suspended,
    ShuttingDown,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    ShutDown(Shutdown),
    Reload,
    Pause,
    Resume,
    Nothing,
}

/// What to do, and what to log before it is done. Steps and words are PgBouncer's.
fn decide(got: Got, state: State) -> (Step, &'static str) {
    match (got, state) {
        (Got::Quit, _) => (Step::ShutDown(Shutdown::Immediate), "got SIGQUIT, fast exit"),
        (Got::Term, State::ShuttingDown) => {
            (Step::ShutDown(Shutdown::Immediate), "got SIGTERM while shutting down, fast exit")
        }
        (Got::Term, State::Running | State::Paused | State::Suspended) => (
            Step::ShutDown(Shutdown::WaitForClients),
            "got SIGTERM, shutting down, waiting for all clients disconnect",
        ),
        (Got::Int, State::ShuttingDown) => {
            (Step::ShutDown(Shutdown::Immediate), "got SIGINT while shutting down, fast exit")
        }
        (Got::Int, State::Running | State::Paused | State::Suspended) => (
            Step::ShutDown(Shutdown::WaitForServers),
            "got SIGINT, shutting down, waiting for all servers connections to be released",
        ),
        (Got::Hup, _) => (Step::Reload, "got SIGHUP, re-reading config"),
        (Got::Usr1, State::Running) => (Step::Pause, "got SIGUSR1, pausing all activity"),
        (Got::Usr1, State::Paused | State::Suspended | State::ShuttingDown) => {
            (Step::Nothing, "got SIGUSR1, but already paused/suspended")
        }
        (Got::Usr2, State::ShuttingDown) => (Step::Nothing, "got SIGUSR2 while shutting down, ignoring"),
        (Got::Usr2, State::Paused) => (Step::Resume, "got SIGUSR2, continuing from PAUSE"),
        (Got::Usr2, State::Suspended) => (Step::Resume, "got SIGUSR2, continuing from SUSPEND"),
        (Got::Usr2, State::Running) => (Step::Nothing, "got SIGUSR2, but not paused/suspended"),
    }
}

/// The signals, caught from the moment this is made.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    quit: Signal,
    hup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Catches them. To be called inside a runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn catch() -> io::Result<Signals> {
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Follows them until the pooler has ended. Not cancel safe: a signal in hand would be lost.
    pub(crate) async fn follow(mut self, control: Control, console: Arc<AdminConsole>) {
        // Made once, so that an end between two signals is not missed.
        let mut finished = pin!(control.finished());
        loop {
            tokio::select! {
                () = &mut finished => return,
                got = self.next() => match act(got, &control, &console) {
                    ControlFlow::Continue(()) => {}
                    ControlFlow::Break(()) => {
                        // The process ends whether or not everything was put away.
                        let _ = timeout(FAST_EXIT, finished).await;
                        return;
                    }
                },
            }
        }
    }

    /// The next signal. Cancel safe.
    async fn next(&mut self) -> Got {
        tokio::select! {
            _ = self.term.recv() => Got::Term,
            _ = self.int.recv() => Got::Int,
            _ = self.quit.recv() => Got::Quit,
            _ = self.hup.recv() => Got::Hup,
            _ = self.usr1.recv() => Got::Usr1,
            _ = self.usr2.recv() => Got::Usr2,
        }
    }
}

fn state(control: &Control) -> State {
    if control.is_shutting_down() {
        State::ShuttingDown
    } else if control.is_suspended() {
        State::Suspended
    } else if control.is_paused() {
        State::Paused
    } else {
        State::Running
    }
}

/// Does it. Breaks when the process is to end at once.
fn act(got: Got, control: &Control, console: &AdminConsole) -> ControlFlow<()> {
    let (step, line) = decide(got, state(control));
    tracing::info!("{line}");
    match step {
        Step::ShutDown(how) => {
            manager::tell(News::Stopping);
            console.note_end();
            control.shutdown(how);
            if how == Shutdown::Immediate {
                return ControlFlow::Break(());
            }
        }
        Step::Reload => {
            manager::tell(News::Reloading);
            // Every mistake has been logged, and the old plan stays in force.
            let _ = console.reload(control);
            manager::tell(News::Ready);
        }
        Step::Pause => {
            if let Err(error) = control.pause(None) {
                tracing::warn!("cannot pause: {error:?}");
            }
        }
        Step::Resume => {
            if let Err(error) = control.resume(None) {
                tracing::warn!("cannot resume: {error:?}");
            }
        }
        Step::Nothing => {}
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests;
