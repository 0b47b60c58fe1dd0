//! A connection that cannot be moved: its socket stays here, because its TLS or a part of a result is here, and its bytes
//! go to the new process and come from there through a socket pair. What they mean is none of our business any more.

use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::Socket;
use tokio::time::{Instant, Sleep};

use super::{CARRY_GRACE, Count};
use crate::carry::Carry;
use crate::entry::ClientEntry;
use crate::hub::Hub;
use crate::outlet::Outlet;
use crate::socket::Stream;
use crate::worker::Scratch;
use crate::{linger, report};

/// See the module. Runs on the worker on which its socket is registered.
pub(crate) struct Carrier {
    hub: Arc<Hub>,
    /// The client, if it is one.
    entry: Option<Arc<ClientEntry>>,
    /// The connection itself; `None` when it is over.
    outer: Option<Stream>,
    /// What has yet to go out there, before anything the new process says.
    outlet: Outlet,
    inner: Inner,
    to_inner: Carry,
    end: Option<Pin<Box<Sleep>>>,
    limit: Option<Duration>,
    side: Outer,
}

/// Our end of the pair.
enum Inner {
    /// Not yet on this runtime. Next: `Here`.
    Afar(Option<Socket>),
    Here(Stream),
    /// The new process has closed its end: what is left goes out.
    Ended,
}

/// Whether the connection itself still says something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outer {
    Talks,
    /// It has ended; what it said last goes to the new process.
    Ended,
}

/// What is carried.
pub(super) struct Load {
    pub(super) entry: Option<Arc<ClientEntry>>,
    pub(super) stream: Stream,
    pub(super) outlet: Outlet,
    pub(super) inner: UnixStream,
}

impl Carrier {
    pub(super) fn new(hub: &Arc<Hub>, load: Load) -> Carrier {
        hub.stillness.add(Count::Carried);
        let Load { entry, stream, outlet, inner } = load;
        // What is not encrypted is here for its spill alone, and may take as long as it likes.
        let limit = stream.is_secured().then(|| super::farewell::longest(hub) + CARRY_GRACE);
        Carrier {
            hub: hub.clone(),
            entry,
            outer: Some(stream),
            outlet,
            inner: Inner::Afar(Some(inner.into())),
            to_inner: Carry::default(),
            end: None,
            limit,
            side: Outer::Talks,
        }
    }

    /// Goes on until nothing more can be done. `None`: it is over.
    fn go(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Option<()> {
        if let Inner::Afar(socket) = &mut self.inner {
            let socket = socket.take()?;
            socket.set_nonblocking(true).ok()?;
            self.inner = Inner::Here(Stream::new(socket).ok()?);
            let limit = self.limit;
            self.end = limit.map(|limit| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        }
        if let Some(end) = &mut self.end
            && end.as_mut().poll(cx).is_ready()
        {
            return None;
        }
        loop {
            let out = self.outwards(cx, scratch)?;
            let inn = self.inwards(cx, scratch)?;
            if out == Went::Nowhere && inn == Went::Nowhere {
                return Some(());
            }
        }
    }

    /// From the new process to the connection.
    fn outwards(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Option<Went> {
        self.drain(cx)?;
        if !self.outlet.is_empty() {
            return Some(Went::Nowhere);
        }
        let Inner::Here(inner) = &mut self.inner else { return self.finish() };
        match inner.poll_read(cx, &mut scratch.input) {
            Poll::Pending => Some(Went::Nowhere),
            Poll::Ready(Ok(0) | Err(_)) => {
                self.inner = Inner::Ended;
                Some(Went::On)
            }
            Poll::Ready(Ok(n)) => {
                let bytes = scratch.input.get(..n)?;
                let sent = self.outer.as_mut()?.poll_write(cx, bytes).ok()?;
                if sent < n {
                    self.outlet.push(bytes.get(sent..)?);
                }
                Some(Went::On)
            }
        }
    }

    /// Everything has gone out: the connection is closed so that it is read.
    fn finish(&mut self) -> Option<Went> {
        linger::close(self.outer.take()?);
        None
    }

    fn drain(&mut self, cx: &mut Context<'_>) -> Option<()> {
        loop {
            if let Some(spill) = self.outlet.spill_mut() {
                spill.take_in().ok()?;
            }
            let pending = self.outlet.pending();
            let wanted = pending.len();
            if wanted == 0 {
                break;
            }
            let sent = self.outer.as_mut()?.poll_write(cx, pending).ok()?;
            self.outlet.advance(sent);
            if sent < wanted {
                break;
            }
        }
        let (Some((_, cause)), Some(entry)) = (self.outlet.fate(), &self.entry) else { return Some(()) };
        // Its server had gone before everything was read: the client is told now.
        let farewell = report::fatal(&self.hub, entry, &cause);
        let mut outer = self.outer.take()?;
        let _ = outer.poll_write(cx, &farewell);
        linger::close(outer);
        None
    }

    /// From the connection to the new process.
    fn inwards(&mut self, cx: &mut Context<'_>, scratch: &mut Scratch) -> Option<Went> {
        let Inner::Here(inner) = &mut self.inner else { return Some(Went::Nowhere) };
        if !self.to_inner.is_empty() {
            let sent = inner.poll_write(cx, self.to_inner.pending()).ok()?;
            self.to_inner.advance(sent);
            if !self.to_inner.is_empty() {
                return Some(Went::Nowhere);
            }
        }
        if self.side == Outer::Ended {
            return None;
        }
        match self.outer.as_mut()?.poll_read(cx, &mut scratch.input) {
            Poll::Pending => Some(Went::Nowhere),
            Poll::Ready(Ok(0) | Err(_)) => {
                self.side = Outer::Ended;
                Some(Went::On)
            }
            Poll::Ready(Ok(n)) => {
                let bytes = scratch.input.get(..n)?;
                let sent = inner.poll_write(cx, bytes).ok()?;
                if sent < n {
                    self.to_inner.push(bytes.get(sent..)?);
                }
                Some(Went::On)
            }
        }
    }
}

/// Whether something was done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Went {
    On,
    Nowhere,
}

impl Future for Carrier {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match Scratch::lend(|scratch| this.go(cx, scratch)) {
            Some(()) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.hub.stillness.remove(Count::Carried);
    }
}
