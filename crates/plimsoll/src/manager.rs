//! The service manager (systemd): what it is told.
//!
//! Source: sd_notify(3), systemd.service(5) (`Type=notify`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Clients are served.
    Ready,
    /// The end has begun.
    Stopping,
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
    socket.send_to_addr(text(news), &address).map(drop)
}

fn text(news: News) -> &'static [u8] {
    match news {
        News::Ready => b"READY=1\nSTATUS=serving",
        News::Stopping => b"STOPPING=1\nSTATUS=shutting down",
    }
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
}
