//! Reaching a server: a nonblocking connect, with the socket options of the plan.

use std::io;
use std::time::Duration;

use plimsoll_config::General;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::entry::{Peer, TargetAddr};
use crate::socket::Stream;

/// How long a Unix socket with a full queue is left alone.
const FULL_QUEUE: Duration = Duration::from_millis(20);

/// Keepalive and friends, for both sides. A socket that refuses an option works without it.
pub(crate) fn tune(socket: &Socket, general: &General) {
    let _ = socket.set_tcp_nodelay(true);
    if general.tcp_keepalive {
        let mut keepalive = TcpKeepalive::new();
        if general.tcp_keepidle > 0 {
            keepalive = keepalive.with_time(Duration::from_secs(general.tcp_keepidle.into()));
        }
        if general.tcp_keepintvl > 0 {
            keepalive = keepalive.with_interval(Duration::from_secs(general.tcp_keepintvl.into()));
        }
        if general.tcp_keepcnt > 0 {
            keepalive = keepalive.with_retries(general.tcp_keepcnt);
        }
        let _ = socket.set_keepalive(true);
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
    if general.tcp_user_timeout > 0 {
        let _ = socket.set_tcp_user_timeout(Some(Duration::from_millis(general.tcp_user_timeout.into())));
    }
}

/// Connects. Cancel safe: the socket is closed when the future is dropped.
///
/// # Errors
/// What the kernel says of the attempt.
pub(crate) async fn connect(target: &TargetAddr, general: &General) -> io::Result<Stream> {
    let (socket, addr) = match target {
        TargetAddr::Tcp(addr) => {
            let socket = Socket::new(Domain::for_address(*addr), Type::STREAM, Some(Protocol::TCP))?;
            tune(&socket, general);
            (socket, SockAddr::from(*addr))
        }
        TargetAddr::Unix(path, _) => (Socket::new(Domain::UNIX, Type::STREAM, None)?, SockAddr::unix(path)?),
    };
    socket.set_nonblocking(true)?;
    let mut begun = socket.connect(&addr);
    while let (Err(e), TargetAddr::Unix(..)) = (&begun, target)
        && e.kind() == io::ErrorKind::WouldBlock
    {
        // Its queue is full for the moment; unlike TCP, a Unix socket does not wait for a place by itself.
        tokio::time::sleep(FULL_QUEUE).await;
        begun = socket.connect(&addr);
    }
    let stream = Stream::new(socket)?;
    match begun {
        Ok(()) => Ok(stream),
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => {
            stream.connected().await?;
            Ok(stream)
        }
        Err(e) => Err(e),
    }
}

/// Our end of a connected socket.
pub(crate) fn local_peer(socket: &Socket, target: &TargetAddr) -> Peer {
    match (socket.local_addr().ok().and_then(|addr| addr.as_socket()), target) {
        (Some(addr), _) => Peer::Tcp(addr),
        (None, TargetAddr::Unix(_, port)) => Peer::Unix { pid: 0, port: *port },
        (None, TargetAddr::Tcp(addr)) => Peer::Tcp(*addr),
    }
}
