//! Asking the running process for everything it has.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plimsoll_config::Plan;
use plimsoll_types::SlotId;
use serde::de::DeserializeOwned;

use super::door::{Door, WHAT, door_path, hello, own_uid, peer_uid};
use super::frames::{FrameError, Frames};
use super::record::{
    Afterwards, Answer, ClientImage, ConsoleImage, FreshImage, Head, LeftImage, ListenerImage, PoolImage,
    Prepared, RECORDS_MAX, ServerImage,
};
use super::{PREPARE_MAX, VERSION};
use crate::hub::{Hub, monotonic_ns};
use crate::listener::{Given, GivenBy};
use crate::ready_thread::ReadyThread;

/// How long the old process may take to send everything, once it stands still: it gives up earlier itself.
const RECEIVE_MAX: Duration = Duration::from_secs(60);

/// How long the old process may live on.
const AFTERWARDS_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Why a running process is not taken over. It goes on.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no folder in which both could meet.
    #[error(
        "online restart (-R) needs unix_socket_dir: the running process is asked over a Unix socket there"
    )]
    NoFolder,
    /// Another system user listens there.
    #[error("the process at {path} runs as another system user (id {uid}): start this one as that user (-u)")]
    Stranger {
        /// Where.
        path: String,
        /// Who.
        uid: String,
    },
    /// It says why.
    #[error("the running process refuses an online restart: {0}")]
    Refused(String),
    /// It does not speak as one of ours, or not in time.
    #[error("the running process cannot be asked: {0}")]
    Frame(#[from] FrameError),
}

/// The running process has been asked, and offers what it has. It goes on serving until [`Offer`] is taken; dropped, it
/// goes on for good.
#[derive(Debug)]
pub struct Offer {
    frames: Frames,
    pid: u32,
    zero_ns: u64,
    listeners: Vec<(ListenerImage, OwnedFd)>,
}

/// Asks the process of this plan. `None`: there is none.
///
/// # Errors
/// See [`AskError`].
pub fn ask(plan: &Plan) -> Result<Option<Offer>, AskError> {
    let path = door_path(&plan.general).ok_or(AskError::NoFolder)?;
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(FrameError::from(error).into()),
    };
    let uid = peer_uid(&stream);
    if uid.is_none() || uid != own_uid() {
        let uid = uid.map_or_else(|| "unknown".to_string(), |uid| uid.to_string());
        return Err(AskError::Stranger { path: path.display().to_string(), uid });
    }
    let mut frames = Frames::new(stream, PREPARE_MAX);
    frames.send(&hello(), None)?;
    let (count, there, zero_ns) = match frames.receive::<Answer>()?.0 {
        Answer::Refused(why) => return Err(AskError::Refused(why)),
        Answer::Welcome { hello, listeners, zero_ns } => (listeners, hello, zero_ns),
    };
    if there.what != WHAT || there.version != VERSION {
        return Err(AskError::Refused("it hands over in another format".to_string()));
    }
    let mut listeners = Vec::new();
    for _ in 0..count.min(RECORDS_MAX) {
        let (image, fd) = frames.receive::<ListenerImage>()?;
        let fd =
            fd.ok_or_else(|| FrameError::Malformed("a listening socket did not come along".to_string()))?;
        listeners.push((image, fd));
    }
    Ok(Some(Offer { frames, pid: there.pid, zero_ns, listeners }))
}

impl Offer {
    /// The process that offers.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The sockets on which it listens for HTTP; they are the caller's from here on.
    pub fn take_http(&mut self) -> Vec<(SocketAddr, OwnedFd)> {
        let mut http = Vec::new();
        let mut rest = Vec::new();
        for (image, fd) in std::mem::take(&mut self.listeners) {
            match image {
                ListenerImage::Http(address) => http.push((address, fd)),
                ListenerImage::Tcp(_) | ListenerImage::Unix { .. } | ListenerImage::Door(_) => {
                    rest.push((image, fd));
                }
            }
        }
        self.listeners = rest;
        http
    }

    /// When moment 0 was.
    pub(crate) fn start(&self) -> Instant {
        let ago = Duration::from_nanos(monotonic_ns().saturating_sub(self.zero_ns));
        let now = Instant::now();
        now.checked_sub(ago).unwrap_or(now)
    }

    /// The sockets on which it listens for clients, and the one on which it is asked.
    pub(crate) fn take_listeners(&mut self) -> io::Result<(Vec<Given>, Option<Door>)> {
        let (mut given, mut door) = (Vec::new(), None);
        for (image, fd) in std::mem::take(&mut self.listeners) {
            match image {
                ListenerImage::Tcp(_) | ListenerImage::Unix { .. } => {
                    given.push(Given { fd, by: GivenBy::Predecessor });
                }
                ListenerImage::Door(path) => door = Some(Door::inherited(fd, path)?),
                ListenerImage::Http(_) => {}
            }
        }
        Ok((given, door))
    }

    /// Tells the old process why it is not taken over. It goes on.
    pub fn fail(mut self, why: &str) {
        // It notices our end as well.
        let _ = self.frames.send(&Prepared::Failed(why.to_string()), None);
    }

    /// Everything is prepared here: the old process stops, and sends what it has. `pidfile`: ours.
    pub(crate) fn receive(mut self, pidfile: Option<PathBuf>) -> Result<Received, FrameError> {
        // Both may have been started in different folders.
        let pidfile = pidfile.map(|path| std::path::absolute(&path).unwrap_or(path));
        self.frames.send(&Prepared::Ready { pid: std::process::id(), pidfile }, None)?;
        self.frames.set_limit(RECEIVE_MAX);
        let (head, _) = self.frames.receive::<Head>()?;
        let frames = &mut self.frames;
        Ok(Received {
            pools: plain(frames, head.pools)?,
            servers: with_sockets(frames, head.servers)?,
            clients: with_sockets(frames, head.clients)?,
            fresh: with_sockets(frames, head.fresh)?,
            consoles: with_sockets(frames, head.consoles)?,
            left: plain(frames, head.left)?,
            head,
            taking: Taking { frames: self.frames },
        })
    }
}

/// Everything.
pub(crate) struct Received {
    pub(super) head: Head,
    pub(super) pools: Vec<PoolImage>,
    pub(super) servers: Vec<(ServerImage, OwnedFd)>,
    pub(super) clients: Vec<(ClientImage, OwnedFd)>,
    pub(super) fresh: Vec<(FreshImage, OwnedFd)>,
    pub(super) consoles: Vec<(ConsoleImage, OwnedFd)>,
    pub(super) left: Vec<LeftImage>,
    pub(crate) taking: Taking,
}

fn plain<T: DeserializeOwned>(frames: &mut Frames, count: u32) -> Result<Vec<T>, FrameError> {
    (0..count.min(RECORDS_MAX)).map(|_| Ok(frames.receive::<T>()?.0)).collect()
}

fn with_sockets<T: DeserializeOwned>(
    frames: &mut Frames,
    count: u32,
) -> Result<Vec<(T, OwnedFd)>, FrameError> {
    let one = |_| match frames.receive::<T>()? {
        (record, Some(fd)) => Ok((record, fd)),
        (_, None) => Err(FrameError::Malformed("a socket did not come along".to_string())),
    };
    (0..count.min(RECORDS_MAX)).map(one).collect()
}

/// The thread that hears of what stays with the old process.
pub(crate) type Hearing = ReadyThread;

/// The last step.
#[derive(Debug)]
pub(crate) struct Taking {
    frames: Frames,
}

impl Taking {
    /// Takes everything: from here on it is ours.
    ///
    /// # Errors
    /// It is not, and never will be: the old process has given up waiting, or has ended.
    pub(crate) fn take(&self) -> io::Result<()> {
        self.frames.send_taken()
    }

    /// Hears what becomes of the server connections that stayed there, until that process has ended.
    pub(crate) fn hear(mut self, hub: Arc<Hub>, left: Vec<Option<SlotId>>, hearing: Hearing) {
        hearing.begin(move || {
            self.frames.set_limit(AFTERWARDS_MAX);
            let mut open = left;
            while let Ok((Afterwards::Ended(number), _)) = self.frames.receive() {
                let slot = usize::try_from(number).ok().and_then(|number| open.get_mut(number)?.take());
                slot.into_iter().for_each(|slot| hub.closed(slot));
            }
            // The process has ended, and what it had with it.
            open.into_iter().flatten().for_each(|slot| hub.closed(slot));
        });
    }
}
