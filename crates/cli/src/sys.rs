//! The few things of the terminal and of signals that the standard library does not have.

use std::io;
use std::mem::MaybeUninit;
use std::thread;

/// What came while somebody watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The terminal has another size.
    Resized,
    /// Ctrl-C.
    Interrupted,
    /// Somebody wants this process to end, or the terminal is gone: the signal's number.
    Terminated(i32),
}

/// Columns and rows of the terminal on standard output, if it is one.
pub(crate) fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// Sends signals to `hear` instead of obeying them, from a thread of its own. To be called before other threads are
/// started: those would still obey.
///
/// # Errors
/// The system refuses.
#[allow(unsafe_code)]
pub(crate) fn hear_signals(mut hear: impl FnMut(Event) + Send + 'static) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the set in, and cannot fail for a valid pointer.
    let mut set = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGWINCH] {
        // SAFETY: the set is initialised, the numbers are signals.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    // SAFETY: the set outlives the call, and the old mask is not asked for.
    let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    let wait = move || {
        loop {
            let mut signal = 0;
            // SAFETY: both pointers are to live values; the signals are blocked in every thread.
            if unsafe { libc::sigwait(&set, &mut signal) } != 0 {
                return;
            }
            hear(match signal {
                libc::SIGWINCH => Event::Resized,
                libc::SIGINT => Event::Interrupted,
                other => Event::Terminated(other),
            });
        }
    };
    thread::Builder::new().name("signals".to_string()).spawn(wait).map(drop)
}
