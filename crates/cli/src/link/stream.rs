//! A socket that gives whole messages.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plimsoll_wire::{HEADER_BYTES, WireError, encode, header};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, Type};

/// Longest message that is read, bytes: a row of the console is far below it.
const MESSAGE_BYTES_MAX: u32 = 16 << 20;

/// Where the console is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Name or address, and port.
    Tcp(String, u16),
    /// The socket's file.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What a socket can do wrong.
#[derive(Debug)]
pub(super) enum StreamError {
    /// The system's error.
    Io(io::Error),
    /// The other side closed.
    Ended,
    /// What came is no message.
    Wire(WireError),
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> StreamError {
        StreamError::Io(error)
    }
}

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// TLS towards a server.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// How it is spoken, and who is trusted.
    pub config: Arc<ClientConfig>,
    /// Who the server says it is.
    pub name: ServerName<'static>,
    /// What to do with a server that has none.
    pub without: WithoutTls,
    /// The words for an error.
    pub explain: fn(&rustls::Error) -> String,
}

/// What to do with a server that has no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutTls {
    /// Go on in the open.
    GoOn,
    /// Leave.
    Leave,
}

impl Stream {
    /// Connects; each address of a name is tried.
    pub(super) fn connect(address: &Address, within: Duration, silence_max: Duration) -> io::Result<Stream> {
        let stream = match address {
            Address::Tcp(host, port) => Stream::Tcp(connect_tcp(host, *port, within)?),
            Address::Unix(path) => {
                // Not the standard library's connect: it waits without end where the backlog is full.
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect_timeout(&SockAddr::unix(path)?, within)?;
                Stream::Unix(UnixStream::from(socket))
            }
        };
        match &stream {
            Stream::Tcp(socket) => {
                socket.set_read_timeout(Some(silence_max))?;
                socket.set_write_timeout(Some(silence_max))?;
            }
            Stream::Unix(socket) => {
                socket.set_read_timeout(Some(silence_max))?;
                socket.set_write_timeout(Some(silence_max))?;
            }
            // It is not yet.
            Stream::Tls(_) => {}
        }
        Ok(stream)
    }

    /// Asks for TLS and begins it (PostgreSQL manual, "SSL Session Encryption"). A Unix socket stays as it is.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn secured(self, tls: &ServerTls) -> Result<Stream, String> {
        let mut socket = match self {
            Stream::Tcp(socket) => socket,
            Stream::Unix(_) | Stream::Tls(_) => return Ok(self),
        };
        let mut out = Vec::new();
        encode::ssl_request(&mut out);
        let mut answer = [0; 1];
        socket
            .write_all(&out)
            .and_then(|()| socket.read_exact(&mut answer))
            .map_err(|error| error.to_string())?;
        match (answer, tls.without) {
            ([b'S'], _) => {}
            ([b'N'], WithoutTls::GoOn) => return Ok(Stream::Tcp(socket)),
            ([b'N'], WithoutTls::Leave) => return Err("it has no TLS".to_string()),
            _ => return Err("its answer to the question for TLS is none".to_string()),
        }
        let mut connection = ClientConnection::new(tls.config.clone(), tls.name.clone())
            .map_err(|error| (tls.explain)(&error))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).map_err(|error| {
                let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
                inner.map_or_else(|| error.to_string(), tls.explain)
            })?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    /// Whether nobody on the way can read along.
    pub(super) fn is_encrypted(&self) -> bool {
        match self {
            Stream::Tls(_) => true,
            Stream::Tcp(_) | Stream::Unix(_) => false,
        }
    }

    /// Sends everything.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        match self {
            Stream::Tcp(socket) => socket.write_all(bytes)?,
            Stream::Unix(socket) => socket.write_all(bytes)?,
            Stream::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    /// Reads one message, header included.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, StreamError> {
        match self {
            Stream::Tcp(socket) => read_message(socket),
            Stream::Unix(socket) => read_message(socket),
            Stream::Tls(stream) => read_message(stream),
        }
    }
}

/// Connects; each address of a name is tried.
pub(crate) fn connect_tcp(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, within) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_message(socket: &mut impl Read) -> Result<Vec<u8>, StreamError> {
    let mut message = vec![0; HEADER_BYTES];
    socket.read_exact(&mut message).map_err(ended)?;
    let found = header(&message, MESSAGE_BYTES_MAX).map_err(StreamError::Wire)?;
    let total = found.map_or(HEADER_BYTES, |header| header.total);
    let missing = total.saturating_sub(HEADER_BYTES);
    // Grows with what really comes, not with what is promised.
    let limit = u64::try_from(missing).unwrap_or(u64::MAX);
    if socket.take(limit).read_to_end(&mut message)? < missing {
        return Err(StreamError::Ended);
    }
    Ok(message)
}

fn ended(error: io::Error) -> StreamError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => StreamError::Ended,
        _ => StreamError::Io(error),
    }
}
