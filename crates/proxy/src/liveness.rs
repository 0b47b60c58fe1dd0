//! Whether the other side of a connection is still there: evidence, and what is made of it.
//!
//! | module | part |
//! |---|---|
//! | `tcp_info` | the kernel's numbers, out of its bytes |
//! | `state` | what they say: alive, idle, not reading, unreachable, gone |
//! | `sweep` | a slow look at all connections, and the end of those that are dead |
//! | `heartbeat` | which idle client gets a message it must ignore, and the bytes of it |
//! | `found` | how many were found dead, by what, and how soon |
//! | `bequest` | what became of the server connection of one |

mod bequest;
mod found;
mod heartbeat;
mod state;
mod sweep;
mod tcp_info;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use plimsoll_config::Plan;
use plimsoll_types::{Evidence, Moment, Side};
use socket2::Socket;

pub use found::{FoundView, LifeView};

pub(crate) use bequest::Bequest;
pub(crate) use found::Found;
pub(crate) use heartbeat::{Heart, message};
pub(crate) use state::{Bound, State};
pub(crate) use sweep::Sweep;
pub(crate) use tcp_info::TcpInfo;

/// How long a client may leave something unanswered, and at most a server, whatever keepalive is set to.
const CLIENT_BOUND: Duration = Duration::from_secs(90);
const SERVER_BOUND: Duration = Duration::from_secs(30);

/// Room for `struct tcp_info` of any kernel to come, bytes.
const INFO_BYTES_MAX: usize = 512;

/// A connection's life, as far as others than its owner see it.
#[derive(Debug)]
pub(crate) struct Life {
    /// The socket, for as long as its owner has it.
    socket: Weak<Socket>,
    /// How it was found dead.
    gone: OnceLock<Evidence>,
    /// Since when looks have found the other side owing an answer; 0 for not.
    owing_since: AtomicU64,
}

/// What was seen of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) info: TcpInfo,
    /// For how long looks have found it owing an answer.
    pub(crate) owing: Duration,
    pub(crate) state: State,
}

impl Life {
    /// Of this socket. `Weak::new()`: there is none, and nothing is ever seen.
    pub(crate) fn of(socket: Weak<Socket>) -> Life {
        Life { socket, gone: OnceLock::new(), owing_since: AtomicU64::new(0) }
    }

    /// Looks, now. `None`: the owner has closed it, or it is no TCP.
    pub(crate) fn look(&self, bound: Bound, now: Moment) -> Option<Seen> {
        let info = info(&*self.socket.upgrade()?)?;
        let owing = self.owing(&info, now).map_or(Duration::ZERO, |since| now.since(since));
        let state = match self.gone.get() {
            Some(evidence) => State::Gone(*evidence),
            None => state::judge(&info, owing, bound),
        };
        Some(Seen { info, owing, state })
    }

    /// Since when it has been seen to owe an answer, if it still owes the same one.
    fn owing(&self, info: &TcpInfo, now: Moment) -> Option<Moment> {
        let since = self.owing_since.load(Ordering::Relaxed);
        let is_same = since != 0 && state::owes(info) && info.last_ack >= now.since(Moment(since));
        is_same.then_some(Moment(since))
    }

    /// The same from the sweep, which looks regularly and so keeps in mind for how long an answer has been owed.
    fn look_again(&self, bound: Bound, now: Moment) -> Option<Seen> {
        let seen = self.look(bound, now)?;
        let since = match self.owing(&seen.info, now) {
            Some(since) => since.0,
            None if state::owes(&seen.info) => now.0.max(1),
            None => 0,
        };
        // Of an idle connection nothing is written.
        if since != self.owing_since.load(Ordering::Relaxed) {
            self.owing_since.store(since, Ordering::Relaxed);
        }
        Some(seen)
    }

    /// How it was found dead, if it was.
    pub(crate) fn gone(&self) -> Option<Evidence> {
        self.gone.get().copied()
    }

    /// Whether the other side had been asked whether it is there, and had not answered, when its end came: by a probe of
    /// keepalive, or by a heartbeat and nothing else. A client that closes while there are bytes for it sends a RST, too;
    /// but it has acknowledged them before. Also for a socket that has ended: the kernel keeps these numbers.
    pub(crate) fn owed_a_sign(&self, heart: &Heart) -> bool {
        let info = self.socket.upgrade().and_then(|socket| info(&socket));
        info.is_some_and(|info| info.probes > 0 || heart.is_beating() && info.unacked_bytes > 0)
    }

    /// It is dead: whoever owns the socket reads its end from now on, in whatever state it is. Closed, it is forgotten
    /// by the kernel at once, and whatever lies between hears of it. False: it was known already, or is closed.
    fn end(&self, evidence: Evidence) -> bool {
        let Some(socket) = self.socket.upgrade() else { return false };
        if self.gone.set(evidence).is_err() {
            return false;
        }
        // A socket that refuses is one that has ended by itself.
        let _ = socket.set_linger(Some(Duration::ZERO));
        let _ = socket.shutdown(std::net::Shutdown::Both);
        true
    }
}

/// How long the peers of one side may stay silent: as long as keepalive takes, and never longer than 90 s (clients) and
/// 30 s (servers).
pub(crate) fn bound(plan: &Plan, side: Side) -> Bound {
    let longest = match side {
        Side::Client => CLIENT_BOUND,
        Side::Server => SERVER_BOUND,
    };
    Bound(plan.general.tcp.keepalive_of(side).map_or(longest, |keepalive| keepalive.takes().min(longest)))
}

/// What the kernel tells of a connection; `None` for anything but TCP.
pub(crate) fn info(socket: &Socket) -> Option<TcpInfo> {
    let mut bytes = [0_u8; INFO_BYTES_MAX];
    let mut length = libc::socklen_t::try_from(bytes.len()).ok()?;
    // SAFETY: the descriptor is open as long as `socket` lives; the kernel writes at most `length` bytes, which is what
    // there is of `bytes`, and says how many they were.
    #[allow(unsafe_code, reason = "no library we use has all of TCP_INFO")]
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            bytes.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let length = usize::try_from(length).ok()?;
    if failed == 0 { TcpInfo::decode(bytes.get(..length)?) } else { None }
}

/// How long ago the peer was last heard of.
pub(crate) fn last_heard(socket: &Socket) -> Option<Duration> {
    info(socket).map(|info| info.last_ack.min(info.last_received))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_bound_is_as_long_as_keepalive_and_never_longer_than_said() {
        let mut plan = Plan::default();
        assert_eq!(bound(&plan, Side::Client), Bound(CLIENT_BOUND));
        assert_eq!(bound(&plan, Side::Server), Bound(SERVER_BOUND));
        plan.general.tcp.keepidle = 2;
        plan.general.tcp.keepintvl = 1;
        assert_eq!(bound(&plan, Side::Client), Bound(Duration::from_secs(5)));
        plan.general.tcp.keepidle = 7200;
        assert_eq!(bound(&plan, Side::Client), Bound(CLIENT_BOUND));
        plan.general.tcp.keepidle = 0;
        assert_eq!(bound(&plan, Side::Server), Bound(Duration::from_secs(18)));
        plan.general.tcp.keepalive = false;
        assert_eq!(bound(&plan, Side::Client), Bound(CLIENT_BOUND));
    }

    #[test]
    fn the_kernel_tells_of_a_connection_and_nothing_of_a_unix_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let stream = std::net::TcpStream::connect(address).expect("a connection");
        let socket = Arc::new(Socket::from(stream));
        let life = Life::of(Arc::downgrade(&socket));
        let seen = life.look(Bound(CLIENT_BOUND), Moment(1)).expect("TCP");
        assert_eq!(seen.state, State::Alive);
        assert!(seen.info.timer > Duration::ZERO);
        assert!(life.end(Evidence::Unacknowledged) && !life.end(Evidence::Window));
        let gone = life.look(Bound(CLIENT_BOUND), Moment(2)).expect("TCP");
        assert_eq!(gone.state, State::Gone(Evidence::Unacknowledged));
        drop(socket);
        assert_eq!(life.look(Bound(CLIENT_BOUND), Moment(3)), None);
        let (unix, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert_eq!(info(&Socket::from(unix)), None);
    }
}
