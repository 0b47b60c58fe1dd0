//! TCP or Unix, alike.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::{Address, sys};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
}

impl Stream {
    pub(crate) fn connect(address: &Address, bound: Duration) -> io::Result<Stream> {
        let stream = match address {
            Address::Tcp(at) => {
                let stream = TcpStream::connect_timeout(at, bound)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        stream.set_bound(bound)?;
        Ok(stream)
    }

    /// The longest a single read or write may take.
    pub(crate) fn set_bound(&self, bound: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(bound))?;
                stream.set_write_timeout(Some(bound))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(bound))?;
                stream.set_write_timeout(Some(bound))
            }
        }
    }

    /// Makes closing send a RST. A Unix socket has none; it closes.
    pub(crate) fn reset_on_close(&self) {
        match self {
            Stream::Tcp(stream) => sys::reset_on_close(stream),
            Stream::Unix(_) => {}
        }
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub(crate) fn end_writing(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Our own port, 0 on a Unix socket.
    pub(crate) fn local_port(&self) -> u16 {
        match self {
            Stream::Tcp(stream) => stream.local_addr().map_or(0, |address| address.port()),
            Stream::Unix(_) => 0,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
