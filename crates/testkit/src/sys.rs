//! The system calls for which the standard library has no function.

#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

/// The user we run as.
pub(crate) fn uid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Sends a signal. Whether it arrived is seen by its effect; a process that is gone already is no mistake.
pub(crate) fn kill(pid: u32, signal: i32) {
    let Ok(pid) = i32::try_from(pid) else { return };
    assert!(pid > 1, "refusing to signal process {pid}: that would mean a group");
    // SAFETY: plain numbers; the process is one we started or one of its children.
    unsafe { libc::kill(pid, signal) };
}

/// Makes the next close send a RST instead of a FIN (SO_LINGER with a time of 0).
pub(crate) fn reset_on_close(socket: &impl AsRawFd) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::linger>()).expect("a few bytes");
    // SAFETY: the pointer and the size describe one value that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        )
    };
    assert_eq!(result, 0, "SO_LINGER refused");
}
