//! A socket as the relay sees it: TCP or Unix, nonblocking, with the readiness rules that save system calls.
//!
//! Reading into the caller's buffer is the seam towards other drivers: nothing above this file knows about epoll.

mod tls;

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use plimsoll_types::Cause;
use rustix::net::{RecvFlags, SendFlags};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) use tls::{HandshakeError, Secured, Tls};

/// A connected stream socket, registered with the runtime of the worker it lives on.
#[derive(Debug)]
pub(crate) struct Stream {
    raw: Raw,
    /// How it is encrypted, if it is.
    tls: Option<Box<Tls>>,
}

/// The socket itself.
#[derive(Debug)]
struct Raw {
    /// Dropped before the socket is: what is registered is open.
    watch: Option<AsyncFd<RawFd>>,
    /// Others may look at it, or shut it down; nobody else keeps it open.
    socket: Arc<Socket>,
    /// Readiness was cleared without reading, or what was there came before the socket was registered: the next read
    /// tries at once.
    unread: bool,
    room: Room,
}

/// What is known of the room for what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// There has always been some, so the runtime is not asked and does not listen for it: an event less for every
    /// connection, and none to wait for before the first write.
    Assumed,
    /// It has been used up once, or the connect is still under way: the runtime tells when there is some.
    Watched,
}

impl Room {
    fn interest(self) -> Interest {
        match self {
            Room::Assumed => Interest::READABLE,
            Room::Watched => Interest::READABLE | Interest::WRITABLE,
        }
    }
}

/// A stream on no runtime, on its way to another thread.
#[derive(Debug)]
pub(crate) struct Detached {
    socket: Arc<Socket>,
    tls: Option<Box<Tls>>,
}

impl Detached {
    /// The socket.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// What can be learned about a peer without reading from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// It closed its side, or the connection broke.
    Gone,
}

impl Raw {
    fn register(socket: Arc<Socket>, room: Room) -> io::Result<Raw> {
        let mut raw = Raw { watch: None, socket, unread: false, room };
        raw.watch(room)?;
        Ok(raw)
    }

    /// Tells the runtime what to listen for.
    fn watch(&mut self, room: Room) -> io::Result<()> {
        // A descriptor cannot be registered twice.
        self.watch = None;
        // SAFETY: the socket owns the descriptor and is dropped after `watch`; it is never replaced.
        #[allow(unsafe_code)]
        let watch = unsafe { AsyncFd::register_with_interest(self.socket.as_raw_fd(), room.interest()) }
            .map_err(io::Error::from)?;
        self.watch = Some(watch);
        self.room = room;
        Ok(())
    }

    fn watched(&self) -> io::Result<&AsyncFd<RawFd>> {
        // None only after the runtime has refused it, and that error has been told.
        self.watch.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The socket is full for the first time: from now on the runtime tells when it is not. Who waits for bytes of the
    /// peer was known to the old registration and is told to the new one.
    #[cold]
    fn watch_room(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.watch(Room::Watched)?;
        self.unread = true;
        let _ = self.watched()?.poll_read_ready(cx);
        Ok(())
    }

    /// Reads what is there. A read that does not fill the buffer has emptied the socket, so readiness is cleared
    /// without asking the kernel again; "closed by the peer" stays set and is seen by the next read.
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if std::mem::take(&mut self.unread) {
            match receive(&self.socket, buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Ok(n) if n == buffer.len() => {
                    self.unread = true;
                    return Poll::Ready(Ok(n));
                }
                other => return Poll::Ready(other),
            }
        }
        let watch = self.watched()?;
        loop {
            let mut guard = ready!(watch.poll_read_ready(cx))?;
            match receive(&self.socket, buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(n) => {
                    if 0 < n && n < buffer.len() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(n));
                }
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Writes as much as the kernel takes: the number of bytes, possibly 0 when it takes none now (the waker is
    /// registered then).
    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() && self.room == Room::Assumed {
            match send(&self.socket, &bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.watch_room(cx)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if sent == bytes.len() { Ok(sent) } else { self.poll_write_watched(cx, bytes, sent) }
    }

    /// Goes on writing at `sent`, with the runtime's help.
    fn poll_write_watched(&self, cx: &mut Context<'_>, bytes: &[u8], mut sent: usize) -> io::Result<usize> {
        let watch = self.watched()?;
        while sent < bytes.len() {
            let mut guard = match watch.poll_write_ready(cx) {
                Poll::Ready(guard) => guard?,
                Poll::Pending => return Ok(sent),
            };
            match send(&self.socket, &bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    sent += n;
                    // A short write means a full socket buffer: the next edge tells when there is room.
                    if sent < bytes.len() {
                        guard.clear_ready();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(sent)
    }

    /// Reads without waiting: `None` when nothing is there.
    fn try_receive(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match receive(&self.socket, buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            other => Some(other),
        }
    }

    /// Writes without waiting, as much as the kernel takes.
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() { Ok(0) } else { send(&self.socket, bytes) }
    }
}

impl Stream {
    /// Registers a nonblocking socket with the current runtime.
    ///
    /// # Errors
    /// The runtime refuses (file descriptors used up).
    pub(crate) fn new(socket: Socket) -> io::Result<Stream> {
        Stream::attach(Detached { socket: Arc::new(socket), tls: None })
    }

    /// The same for one whose connect is under way; then [`Stream::connected`].
    ///
    /// # Errors
    /// As for [`Stream::new`].
    pub(crate) fn connecting(socket: Socket) -> io::Result<Stream> {
        Ok(Stream { raw: Raw::register(Arc::new(socket), Room::Watched)?, tls: None })
    }

    /// The same for one that has been accepted with TCP_DEFER_ACCEPT: its first bytes are there already, as a rule.
    ///
    /// # Errors
    /// As for [`Stream::new`].
    pub(crate) fn with_bytes(socket: Socket) -> io::Result<Stream> {
        let mut stream = Stream::new(socket)?;
        stream.raw.unread = true;
        Ok(stream)
    }

    /// Registers a stream from elsewhere with the current runtime.
    ///
    /// # Errors
    /// As for [`Stream::new`]; the socket is closed then.
    pub(crate) fn attach(detached: Detached) -> io::Result<Stream> {
        let Detached { socket, tls } = detached;
        Ok(Stream { raw: Raw::register(socket, Room::Assumed)?, tls })
    }

    /// Takes the stream off its runtime.
    pub(crate) fn detach(self) -> Detached {
        let Raw { watch, socket, .. } = self.raw;
        drop(watch);
        Detached { socket, tls: self.tls }
    }

    /// Moves the socket to the current runtime.
    ///
    /// # Errors
    /// As for [`Stream::new`]; the socket is closed then.
    pub(crate) fn rehome(self) -> io::Result<Stream> {
        Stream::attach(self.detach())
    }

    /// The socket alone, on no runtime. `None`: it is encrypted, or somebody looks at it this moment.
    pub(crate) fn into_socket(self) -> Option<Socket> {
        let Detached { socket, tls } = self.detach();
        if tls.is_some() { None } else { Arc::into_inner(socket) }
    }

    /// Whether it is encrypted.
    pub(crate) fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// The socket, for its addresses and options.
    pub(crate) fn socket(&self) -> &Socket {
        &self.raw.socket
    }

    /// The socket for those who want to see whether the other side is there; it does not keep it open.
    pub(crate) fn handle(&self) -> Weak<Socket> {
        Arc::downgrade(&self.raw.socket)
    }

    /// Whether the handshake agreed on PostgreSQL's protocol by ALPN.
    pub(crate) fn alpn_is_postgresql(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_postgresql())
    }

    /// Carries out a TLS handshake, from which on everything is encrypted. Not cancel safe.
    ///
    /// # Errors
    /// Why it failed; the stream is of no use any more.
    pub(crate) async fn secure(&mut self, tls: Tls) -> Result<Secured, HandshakeError> {
        let mut tls = Box::new(tls);
        tls.shake(&mut self.raw).await?;
        let secured = tls.secured();
        self.tls = Some(tls);
        Ok(secured)
    }

    /// Reads what is there.
    #[inline]
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.tls.is_none() {
            return self.raw.poll_read(cx, buffer);
        }
        self.poll_read_secured(cx, buffer)
    }

    /// Writes as much as the kernel takes: the number of bytes, possibly 0 when it takes none now (the waker is
    /// registered then). What was not taken has to be offered again, the same bytes.
    #[inline]
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.raw.poll_write(cx, bytes);
        }
        self.poll_write_secured(cx, bytes)
    }

    // Both out of the way, so that the plain way stays short enough to be inlined.

    #[cold]
    fn poll_read_secured(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => Poll::Pending,
            Some(tls) => tls.poll_read(&mut self.raw, cx, buffer),
        }
    }

    #[cold]
    fn poll_write_secured(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => Ok(0),
            Some(tls) => tls.poll_write(&mut self.raw, cx, bytes),
        }
    }

    /// Whether something is there to be read (or the peer is gone); registers the waker if not. Reads nothing.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.raw.unread || self.tls.as_ref().is_some_and(|tls| tls.has_plain()) {
            return Poll::Ready(());
        }
        match &self.raw.watch {
            Some(watch) => watch.poll_read_ready(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }

    /// Sees whether a peer whose bytes we do not want now is still there. Bytes that arrive meanwhile stay in the
    /// kernel; readiness is cleared so that the next event, which may be its end, wakes the task again.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Watch> {
        let Some(watch) = &self.raw.watch else { return Poll::Ready(Watch::Gone) };
        loop {
            match ready!(watch.poll_read_ready(cx)) {
                Err(_) => return Poll::Ready(Watch::Gone),
                Ok(mut guard) => {
                    if guard.ready().is_read_closed() {
                        return Poll::Ready(Watch::Gone);
                    }
                    self.raw.unread = true;
                    guard.clear_ready();
                }
            }
        }
    }

    /// Whether the peer has closed or broken the connection, as far as one look without reading can tell.
    pub(crate) fn is_gone_now(&self) -> bool {
        let mut byte = [MaybeUninit::uninit(); 1];
        match self.raw.socket.peek(&mut byte) {
            Ok(n) => n == 0,
            Err(e) => e.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Reads without waiting: `None` when nothing is there.
    pub(crate) fn try_read(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match &mut self.tls {
            None => self.raw.try_receive(buffer),
            Some(tls) => tls.try_read(&mut self.raw, buffer),
        }
    }

    /// Waits for a connect that is under way. Cancel safe.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn connected(&self) -> io::Result<()> {
        let _ready = self.raw.watched()?.writable().await?;
        match self.raw.socket.take_error()? {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    /// Reads, waiting for bytes. Cancel safe: nothing is read unless it returns.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read(cx, buffer)).await
    }

    /// Writes everything. Not cancel safe: a part may have been written.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        std::future::poll_fn(|cx| {
            sent += match self.poll_write(cx, &bytes[sent..]) {
                Ok(n) => n,
                Err(e) => return Poll::Ready(Err(e)),
            };
            if sent == bytes.len() { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// No more bytes from us; what the peer sends can still be read.
    pub(crate) fn shutdown_write(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.raw);
        }
        // A peer that is gone already is as good as one that has been told.
        let _ = self.raw.socket.shutdown(std::net::Shutdown::Write);
    }
}

/// `recv(2)` without the C library in between: as a point where a thread can be cancelled, which nobody here does, its
/// call costs two locked instructions more than the kernel's.
#[inline]
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::net::recv(socket, buffer, RecvFlags::empty())?.0)
}

/// `send(2)`, likewise. No signal if the peer is gone.
#[inline]
fn send(socket: &Socket, bytes: &[u8]) -> io::Result<usize> {
    Ok(rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)?)
}

/// What an error of a server connection's socket says of its end.
pub(crate) fn server_cause(error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::ECONNRESET | libc::EPIPE) => Cause::ServerReset,
        Some(libc::ETIMEDOUT) => Cause::ServerTimedOut,
        Some(libc::EHOSTUNREACH | libc::ENETUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
            Cause::ServerUnreachable
        }
        _ => Cause::ServerIo { error: error.to_string().into() },
    }
}
