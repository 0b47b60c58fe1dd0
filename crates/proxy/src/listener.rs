//! From a listening socket to a client's task: accepting, choosing a worker, and what becomes of the task.

mod bind;
mod guard;

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use plimsoll_types::{ClientId, Moment, WorkerId};
use socket2::{SockAddr, Socket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(crate) use bind::{Doors, bind};
pub(crate) use bind::{Given, GivenBy};
pub(crate) use guard::{ClientGuard, Counted, Limits};

use crate::entry::Peer;
use crate::handover::{Carrier, Count, Fate, Seat, Stage};
use crate::hub::{Hub, Phase};
use crate::relay::Relay;
use crate::{dial, login};
use bind::{Listener, Place};

/// The worker whose runtime the acceptors run on.
const ACCEPTING_WORKER: WorkerId = WorkerId(0);

/// How long accepting rests when file descriptors or memory are used up.
const REST: Duration = Duration::from_millis(100);

/// How often that is logged.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// A client's socket that has just been accepted.
pub(crate) struct Arrival {
    /// The socket, nonblocking, on no runtime yet.
    pub(crate) socket: Socket,
    /// Its number.
    pub(crate) id: ClientId,
    /// The other side.
    pub(crate) peer: Peer,
    /// User id of the other side, for a Unix socket.
    pub(crate) peer_uid: Option<u32>,
    /// Our side.
    pub(crate) local: Peer,
    /// When.
    pub(crate) at: Moment,
    /// Who it may turn out to be.
    pub(crate) terms: Terms,
}

/// A socket of which nothing is known yet: nobody has said anything to it, so that its login may begin again.
pub(crate) struct Fresh {
    pub(crate) arrival: Arrival,
    /// What it has said.
    pub(crate) heard: Vec<u8>,
}

/// Whom a socket may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terms {
    /// Anybody.
    Anybody,
    /// The console only: file descriptors are used up, and this one was put by for whoever comes to see why.
    Console,
}

/// A descriptor put by for the console. With none left, the next client is let in on it: an administrator stays,
/// anybody else is told why not and leaves.
struct Reserve(Option<File>);

impl Reserve {
    /// Puts one by, if there is none and one can be had.
    fn fill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    /// Gives it up. False: it has been already.
    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }
}

/// Begins to accept on all listening sockets.
pub(crate) fn open_doors(hub: &Arc<Hub>) {
    for listener in hub.doors.listeners() {
        hub.spawn_on(ACCEPTING_WORKER, accept_all(hub.clone(), listener));
    }
}

/// Accepts until the socket is shut down (see [`Doors::close_tcp`]).
async fn accept_all(hub: Arc<Hub>, listener: Listener) {
    let Listener { socket, place } = listener;
    // SAFETY: the descriptor is the one `socket2::Socket` owns, it stays open as long as this `Arc` of it, which lives
    // inside the `AsyncFd` and is only lent out.
    #[allow(
        unsafe_code,
        reason = "registering with a runtime is unsafe, and accept4 of socket2 saves two calls"
    )]
    let fd = match unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) } {
        Ok(fd) => fd,
        Err(e) => return tracing::error!("cannot accept on {place}: {}", io::Error::from(e)),
    };
    let mut complained: Option<Instant> = None;
    let mut stage = hub.stillness.watch();
    let _counted = Accepting::new(&hub);
    let (mut reserve, mut terms) = (Reserve(None), Terms::Anybody);
    loop {
        let ready = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage != Stage::Running) => return,
            ready = fd.readable() => ready,
        };
        let Ok(mut ready) = ready else { return };
        if terms == Terms::Anybody {
            reserve.fill();
        }
        match ready.get_inner().accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
            Ok((socket, address)) => {
                admit(&hub, socket, &address, &place, terms);
                terms = Terms::Anybody;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(_) if place.is_tcp() && hub.phase() != Phase::Running => return,
            Err(e) if is_of_one_client(&e) => {}
            // File descriptors or memory are used up, and accepting goes on failing until some of it is free.
            Err(e) => {
                if complained.is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL) {
                    tracing::warn!("accept() failed: {e}");
                    complained = Some(Instant::now());
                }
                terms = if reserve.give_up() { Terms::Console } else { Terms::Anybody };
                if terms == Terms::Anybody {
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

/// One that accepts, counted as long as it does.
struct Accepting(Arc<Hub>);

impl Accepting {
    fn new(hub: &Arc<Hub>) -> Accepting {
        hub.stillness.add(Count::Acceptors);
        Accepting(hub.clone())
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.stillness.remove(Count::Acceptors);
    }
}

/// Whether accepting failed because that one client was gone already: Linux reports its network errors, too.
fn is_of_one_client(e: &io::Error) -> bool {
    let network = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::ENETDOWN,
    ];
    e.raw_os_error().is_some_and(|code| network.contains(&code))
}

/// Gives a new client to the worker with the fewest.
fn admit(hub: &Arc<Hub>, socket: Socket, address: &SockAddr, place: &Place, terms: Terms) {
    let arrival = match arrival(hub, socket, address, place, terms) {
        Ok(arrival) => arrival,
        // The client is gone already.
        Err(_) => return,
    };
    log_in(hub, Fresh { arrival, heard: Vec::new() });
}

/// Begins a login, on the worker with the fewest clients.
pub(crate) fn log_in(hub: &Arc<Hub>, fresh: Fresh) {
    let workers = (0_u16..).zip(&hub.workers);
    let fewest = workers.min_by_key(|(_, worker)| worker.clients.load(Ordering::Relaxed));
    let worker = fewest.map_or(ACCEPTING_WORKER, |(id, _)| WorkerId(id));
    let guard = ClientGuard::new(hub.clone(), worker);
    let login = Box::pin(login::run(hub.clone(), fresh, guard));
    hub.spawn_on(worker, Client::Login(login));
}

fn arrival(
    hub: &Hub,
    socket: Socket,
    address: &SockAddr,
    place: &Place,
    terms: Terms,
) -> io::Result<Arrival> {
    let (id, at) = (hub.next_client(), hub.now());
    match place {
        Place::Tcp(here) => {
            let plan = hub.plan();
            if !hub.doors.inherit(&plan.general) {
                dial::retune(&socket, &plan.general);
            }
            dial::spread(&socket, &plan.general, id);
            let peer = address.as_socket().ok_or(io::ErrorKind::NotConnected)?;
            let local = match here.ip().is_unspecified() {
                true => socket.local_addr()?.as_socket().ok_or(io::ErrorKind::NotConnected)?,
                false => *here,
            };
            Ok(Arrival {
                socket,
                id,
                peer: Peer::Tcp(peer),
                peer_uid: None,
                local: Peer::Tcp(local),
                at,
                terms,
            })
        }
        Place::Unix { port, .. } => {
            let stream = tokio::net::UnixStream::from_std(socket.into())?;
            let credentials = stream.peer_cred()?;
            let socket = Socket::from(stream.into_std()?);
            let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
            let (peer, local) = (Peer::Unix { pid, port: *port }, Peer::Unix { pid: 0, port: *port });
            Ok(Arrival { socket, id, peer, peer_uid: Some(credentials.uid()), local, at, terms })
        }
    }
}

/// A client's task. What the login needs is given back when it is over, so that an idle client costs no more than its
/// [`Relay`].
enum Client {
    /// Becomes `Relay`, or is over.
    Login(Pin<Box<dyn Future<Output = Option<Relay>> + Send>>),
    /// Until the client leaves, or rests.
    Relay(Relay),
    /// What it is lies elsewhere, while everything stands still.
    Rests(Arc<Seat>),
    /// It is another process's, and its socket stays here.
    Carried(Box<Carrier>),
}

/// A client that comes from another process: its task.
pub(crate) fn resume(hub: &Arc<Hub>, worker: WorkerId, relay: Relay) {
    hub.spawn_on(worker, Client::Rests(Seat::left(Box::new(relay))));
}

impl Future for Client {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            match this {
                Client::Login(login) => match ready!(login.as_mut().poll(cx)) {
                    Some(relay) => *this = Client::Relay(relay),
                    None => return Poll::Ready(()),
                },
                Client::Relay(relay) if !relay.is_to_rest() => return Pin::new(relay).poll(cx),
                Client::Relay(_) => rest(this, cx),
                Client::Rests(seat) => match ready!(seat.poll(cx.waker())) {
                    Fate::GoOn(relay) => {
                        relay.entry().set_waker(cx.waker());
                        *this = Client::Relay(*relay);
                    }
                    Fate::Carry(carrier) => *this = Client::Carried(carrier),
                    Fate::End => return Poll::Ready(()),
                },
                Client::Carried(carrier) => return Pin::new(&mut **carrier).poll(cx),
            }
        }
    }
}

/// Leaves what the client is where others find it.
#[cold]
fn rest(client: &mut Client, cx: &Context<'_>) {
    if let Client::Relay(relay) = std::mem::replace(client, Client::Rests(Seat::nowhere())) {
        let hub = relay.hub().clone();
        *client = Client::Rests(hub.stillness.rest(Box::new(relay), cx.waker()));
    }
}
