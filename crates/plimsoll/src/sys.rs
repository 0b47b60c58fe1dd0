//! The few things of the operating system that the standard library does not have.

use std::ffi::{CStr, CString};
use std::io;

/// `RLIMIT_NOFILE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileLimit {
    /// What is in force.
    pub(crate) soft: u64,
    /// As far as it could be raised.
    pub(crate) hard: u64,
}

/// Turns the C convention "negative means errno" into a result.
fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Raises the number of file descriptors to the hard limit.
///
/// # Errors
/// The limit cannot be read. That it cannot be raised is no error: the answer says what is in force.
#[allow(unsafe_code)]
pub(crate) fn raise_file_limit() -> io::Result<FileLimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit, which getrlimit fills in.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the pointer is to a live rlimit, which setrlimit reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
        limit = raised;
    }
    Ok(FileLimit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// The monotonic clock, microseconds.
#[allow(unsafe_code)]
pub(crate) fn monotonic_usec() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec, which clock_gettime fills in.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
}

/// Sees to it that no program we start inherits a descriptor. False: it is not open.
#[allow(unsafe_code)]
pub(crate) fn close_on_exec(fd: libc::c_int) -> bool {
    // SAFETY: fcntl only looks at the number; a descriptor that is not open is an error.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) == 0 }
}

/// Whether the process runs as root.
#[allow(unsafe_code)]
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Whether there is a process of this id, ours to signal or not.
#[allow(unsafe_code)]
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(pid @ 1..) = libc::pid_t::try_from(pid) else { return false };
    // SAFETY: signal 0 is not delivered; the call only asks.
    let answer = checked(unsafe { libc::kill(pid, 0) });
    !matches!(answer, Err(error) if error.raw_os_error() == Some(libc::ESRCH))
}

/// Ids of a user of the system.
struct UserIds {
    uid: libc::uid_t,
    gid: libc::gid_t,
}

#[allow(unsafe_code)]
fn user_ids(name: &CStr) -> io::Result<UserIds> {
    // SAFETY: the name ends in a zero. The process has one thread at this point, so nobody else uses the static
    // record that getpwnam points to, and it is read before any other call.
    let record = unsafe { libc::getpwnam(name.as_ptr()).as_ref() };
    let record =
        record.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such user on this system"))?;
    Ok(UserIds { uid: record.pw_uid, gid: record.pw_gid })
}

/// Becomes another user, with that user's groups. To be called before there is a second thread.
///
/// # Errors
/// No such user, or not allowed. The process may then be somebody in between and must end.
#[allow(unsafe_code)]
pub(crate) fn become_user(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let ids = user_ids(&name)?;
    // SAFETY: geteuid and getegid have no arguments and cannot fail.
    if (ids.uid, ids.gid) == unsafe { (libc::geteuid(), libc::getegid()) } {
        return Ok(());
    }
    // SAFETY: the name ends in a zero; the other arguments are plain numbers. Groups go first: after setuid there is
    // no right left to change them.
    unsafe {
        checked(libc::initgroups(name.as_ptr(), ids.gid))?;
        checked(libc::setgid(ids.gid))?;
        checked(libc::setuid(ids.uid))?;
    }
    Ok(())
}

/// A process that waits in the foreground for word of the one in the background.
pub(crate) struct Foreground(std::os::unix::net::UnixStream);

impl Foreground {
    /// All is well there: the process in the foreground ends with 0.
    pub(crate) fn dismiss(mut self) {
        use std::io::Write;
        if let Err(error) = null_for_terminal() {
            tracing::warn!("the terminal cannot be left: {error}");
        }
        // With nobody waiting there is nobody to tell.
        let _ = self.0.write_all(b".");
    }
}

/// Like [`daemonize`], but the caller's process stays until it is dismissed; if it never is, it ends with 1. To be called
/// before there is a second thread.
///
/// # Errors
/// A system call failed.
pub(crate) fn daemonize_watched() -> io::Result<Foreground> {
    let (here, there) = std::os::unix::net::UnixStream::pair()?;
    if fork_and_stay()? == Side::Foreground {
        drop(here);
        let mut word = [0];
        let is_well = matches!(io::Read::read(&mut &there, &mut word), Ok(1));
        std::process::exit(if is_well { 0 } else { 1 });
    }
    drop(there);
    new_session()?;
    fork_and_leave()?;
    Ok(Foreground(here))
}

/// Which of two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Foreground,
    Background,
}

#[allow(unsafe_code)]
fn fork_and_stay() -> io::Result<Side> {
    // SAFETY: the process has one thread, so the child has all that it had.
    Ok(match checked(unsafe { libc::fork() })? {
        0 => Side::Background,
        _ => Side::Foreground,
    })
}

/// Goes on in the background, in a session of its own, with `/dev/null` for a terminal. The caller's process ends.
/// To be called before there is a second thread.
///
/// # Errors
/// A system call failed.
pub(crate) fn daemonize() -> io::Result<()> {
    null_for_terminal()?;
    fork_and_leave()?;
    new_session()?;
    // A session leader could get a terminal again.
    fork_and_leave()
}

#[allow(unsafe_code)]
fn null_for_terminal() -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: both descriptors are open or, for a standard one, may be closed, which dup2 allows.
        checked(unsafe { libc::dup2(null.as_raw_fd(), standard) })?;
    }
    Ok(())
}

#[allow(unsafe_code)]
fn fork_and_leave() -> io::Result<()> {
    // SAFETY: the process has one thread, so the child has all that it had.
    match checked(unsafe { libc::fork() })? {
        0 => Ok(()),
        // SAFETY: _exit ends the process without running what belongs to the child now.
        _ => unsafe { libc::_exit(0) },
    }
}

#[allow(unsafe_code)]
fn new_session() -> io::Result<()> {
    // SAFETY: setsid has no arguments.
    checked(unsafe { libc::setsid() }).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let limit = raise_file_limit().expect("every process has one");
        assert!(limit.soft > 0 && limit.soft == limit.hard, "{limit:?}");
    }

    #[test]
    fn this_process_is_alive_and_an_impossible_one_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
        assert!(!is_alive(u32::MAX));
        // Above the highest id Linux gives (4194304).
        assert!(!is_alive(5_000_000));
    }

    #[test]
    fn nobody_becomes_a_user_that_is_not_there() {
        let error = become_user("no such user here").expect_err("there is none");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(become_user("a\0b").is_err());
    }
}
