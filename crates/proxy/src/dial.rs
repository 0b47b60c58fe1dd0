//! Reaching a server: a nonblocking connect, with the socket options of the plan, and TLS where it is wanted.

use std::io;
use std::time::Duration;

use plimsoll_config::General;
use plimsoll_types::{Cause, ClientId, Side};
use plimsoll_wire::encode;
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};

use crate::directory::PoolEntry;
use crate::entry::{Peer, TargetAddr};
use crate::hub::Hub;
use crate::socket::{HandshakeError, Secured, Stream, Tls, server_cause};

/// Over how many seconds the first probes of clients are spread, and the intervals of the next ones.
const IDLE_SPREAD: u64 = 10;
const INTERVAL_SPREAD: u64 = 4;

/// How long a Unix socket with a full queue is left alone.
const FULL_QUEUE: Duration = Duration::from_millis(20);

/// Keepalive and friends, for a socket of this side. A socket that refuses an option works without it.
pub(crate) fn tune(socket: &Socket, general: &General, side: Side) {
    let _ = socket.set_tcp_nodelay(true);
    if let Some(wanted) = general.tcp.keepalive_of(side) {
        let keepalive = TcpKeepalive::new()
            .with_time(wanted.idle)
            .with_interval(wanted.interval)
            .with_retries(wanted.probes);
        // Switches it on, too.
        let _ = socket.set_tcp_keepalive(&keepalive);
    }
    if general.tcp.socket_buffer > 0 {
        let bytes = general.tcp.socket_buffer as usize;
        let _ = socket.set_send_buffer_size(bytes);
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if general.tcp.user_timeout > 0 {
        let _ = socket.set_tcp_user_timeout(Some(Duration::from_millis(general.tcp.user_timeout.into())));
    }
}

/// Keepalive of a client's socket, where the file says nothing of it, a little earlier than [`tune`] has it, and for each a
/// little different: the kernel's timers are coarse, and thousands of clients that came together would all be asked in one
/// burst, again and again, of which queues on the way (`netdev_max_backlog` is 1,000) drop most.
pub(crate) fn spread(socket: &Socket, general: &General, client: ClientId) {
    let tcp = &general.tcp;
    let Some(wanted) = tcp.keepalive_of(Side::Client).filter(|_| tcp.keepidle == 0 && tcp.keepintvl == 0)
    else {
        return;
    };
    let sooner = |by: u64| Duration::from_secs(by);
    let keepalive = TcpKeepalive::new()
        .with_time(wanted.idle - sooner(client.0 % IDLE_SPREAD))
        .with_interval(wanted.interval - sooner(client.0 / IDLE_SPREAD % INTERVAL_SPREAD));
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// The same for a client's socket that was accepted from a listener with other options and has inherited those: what the plan
/// leaves out is switched off first.
pub(crate) fn retune(socket: &Socket, general: &General) {
    if !general.tcp.keepalive {
        let _ = socket.set_keepalive(false);
    }
    if general.tcp.user_timeout == 0 {
        let _ = socket.set_tcp_user_timeout(None);
    }
    tune(socket, general, Side::Client);
}

/// What a server answers to SSLRequest (PostgreSQL manual, "SSL Session Encryption").
const YES: u8 = b'S';
const NO: u8 = b'N';

/// Asks for TLS, if `server_tls_sslmode` says so; never on a Unix socket. Not cancel safe.
///
/// # Errors
/// What is in the way; the stream is of no use any more.
pub(crate) async fn secure(
    hub: &Hub,
    stream: &mut Stream,
    pool: &PoolEntry,
    target: &TargetAddr,
) -> Result<Option<Secured>, Cause> {
    let security = hub.security();
    let (Some(config), TargetAddr::Tcp(addr)) = (&security.server_tls, target) else { return Ok(None) };
    let mut request = Vec::new();
    encode::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(|e| server_cause(&e))?;
    // One byte and no more: whatever followed it unencrypted would be somebody else's.
    let mut answer = [0];
    match stream.read(&mut answer).await.map_err(|e| server_cause(&e))? {
        0 => return Err(Cause::ServerEof),
        _ if answer == [YES] => {}
        _ if answer == [NO] && security.server_mode().is_required() => {
            return Err(Cause::ServerRefusedSsl);
        }
        _ if answer == [NO] => return Ok(None),
        _ => return Err(Cause::ServerProtocol { what: "no answer to SSLRequest" }),
    }
    let host = { hub.directory.lock().host_of(&pool.database.config(), target) };
    let host = host.unwrap_or_else(|| addr.ip().to_string());
    let name = plimsoll_tls::server_name(&host, security.server_mode()).ok_or_else(|| {
        Cause::ServerTlsFailed { reason: format!("no certificate can name the host {host}").into() }
    })?;
    let failed = |e: rustls::Error| Cause::ServerTlsFailed { reason: plimsoll_tls::error_text(&e).into() };
    let tls = Tls::client(config.clone(), name).map_err(failed)?;
    match stream.secure(tls).await {
        Ok(secured) => Ok(Some(secured)),
        Err(HandshakeError::Tls(e)) => Err(failed(e)),
        Err(HandshakeError::Io(e)) => Err(Cause::ServerTlsFailed { reason: e.to_string().into() }),
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
            tune(&socket, general, Side::Server);
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
    let stream = Stream::connecting(socket)?;
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
