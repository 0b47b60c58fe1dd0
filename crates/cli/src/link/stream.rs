//! A socket that gives whole messages.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use plimsoll_wire::{HEADER_BYTES, WireError, header};
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
        }
        Ok(stream)
    }

    /// Sends everything.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), StreamError> {
        match self {
            Stream::Tcp(socket) => socket.write_all(bytes)?,
            Stream::Unix(socket) => socket.write_all(bytes)?,
        }
        Ok(())
    }

    /// Reads one message, header included.
    pub(super) fn read(&mut self) -> Result<Vec<u8>, StreamError> {
        match self {
            Stream::Tcp(socket) => read_message(socket),
            Stream::Unix(socket) => read_message(socket),
        }
    }
}

fn connect_tcp(host: &str, port: u16, within: Duration) -> io::Result<TcpStream> {
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
