//! The service manager (systemd): what it is told, and the sockets it has for us.
//!
//! Source: sd_notify(3), sd_listen_fds(3), systemd.service(5) (`Type=notify`, `notify-reload`).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The first descriptor of those that are handed over.
const FIRST_FD: RawFd = 3;

/// Most of them.
const FDS_MAX: RawFd = 64;

/// What it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Clients are served.
    Ready,
    /// The files are being read again.
    Reloading,
    /// The end has begun.
    Stopping,
    /// Another process goes on.
    MainPid(u32),
}

/// Tells it, if there is one.
pub(crate) fn tell(news: News) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, news) {
        tracing::warn!("the service manager cannot be told ({news:?}): {error}");
    }
}

/// To a path, or to an abstract name that begins with `@`.
fn send(to: &OsStr, news: News) -> io::Result<()> {
    let address = match to.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(to),
    }?;
    let socket = UnixDatagram::unbound()?;
    // It may be busy: nobody here waits for it.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text(news).as_bytes(), &address).map(drop)
}

fn text(news: News) -> String {
    match news {
        News::Ready => "READY=1\nSTATUS=serving".to_string(),
        News::Reloading => {
            // Without it the manager could not tell an old word of readiness from the one that ends this.
            format!("RELOADING=1\nMONOTONIC_USEC={}", crate::sys::monotonic_usec())
        }
        News::Stopping => "STOPPING=1\nSTATUS=shutting down".to_string(),
        News::MainPid(pid) => format!("MAINPID={pid}\nSTATUS=taken over by process {pid}"),
    }
}

/// The sockets it listens on for us; once, and before there is a second thread.
pub(crate) fn sockets() -> Vec<OwnedFd> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<RawFd>().ok());
    let is_for_us = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = number("LISTEN_FDS").filter(|_| is_for_us).unwrap_or(0).clamp(0, FDS_MAX);
    (FIRST_FD..FIRST_FD + count).filter_map(adopt).collect()
}

/// A descriptor from the environment. `None`: it is not open.
fn adopt(fd: RawFd) -> Option<OwnedFd> {
    if !crate::sys::close_on_exec(fd) {
        return None;
    }
    // SAFETY: it is open, the manager has made it for us alone, and this is called once.
    #[allow(unsafe_code)]
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hears_at_a_path_and_by_an_abstract_name() {
        let name = format!("@plimsoll-notify-{}", std::process::id());
        let folder = std::env::temp_dir().join(format!("plimsoll-notify-{}", std::process::id()));
        // What an earlier process of this number left.
        let _ = std::fs::remove_file(&folder);
        let abstract_name = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).expect("a name");
        let by_name = UnixDatagram::bind_addr(&abstract_name).expect("nobody else has it");
        let by_path = UnixDatagram::bind(&folder).expect("nobody else has it");
        let heard = |socket: &UnixDatagram| {
            let mut bytes = [0; 64];
            let length = socket.recv(&mut bytes).expect("it has been sent");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        send(name.as_ref(), News::Ready).expect("it hears");
        assert_eq!(heard(&by_name), "READY=1\nSTATUS=serving");
        send(folder.as_os_str(), News::Stopping).expect("it hears");
        assert_eq!(heard(&by_path), "STOPPING=1\nSTATUS=shutting down");
        std::fs::remove_file(&folder).expect("it is ours");
        assert!(send(folder.as_os_str(), News::Ready).is_err(), "nobody is there any more");
    }

    #[test]
    fn a_reload_tells_when_it_began() {
        let said = text(News::Reloading);
        let at = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("both fields");
        assert!(at.parse::<u64>().expect("a number") > 0);
        assert_eq!(text(News::MainPid(7)).lines().next(), Some("MAINPID=7"));
    }

    #[test]
    fn sockets_for_another_process_are_none_of_ours() {
        // The tests are run by a process whose LISTEN_PID, if there is one, is not theirs.
        assert!(sockets().is_empty());
    }
}
