//! Where the next process asks: a Unix socket beside that of the clients, which only the same system user can use.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use plimsoll_config::General;
use plimsoll_types::{Cause, SlotId};

use super::frames::{FrameError, Frames};
use super::give::{self, Frozen};
use super::record::{Afterwards, Answer, Hello, ListenerImage, Prepared};
use super::stage::{Count, Stage};
use super::{CARRY_GRACE, LOGINS_MAX, PREPARE_MAX, VERSION, farewell};
use crate::hub::{Hub, Phase};
use crate::login::CONSOLE;

/// What both sides say first.
pub(super) const WHAT: &str = "plimsoll restart";

/// How often what is left is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long accepting rests when it fails.
const REST: Duration = Duration::from_secs(1);

/// How long logins have that are told to come again, and clients of the console that are told to leave.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// The shortest time everything may stand still, whatever `suspend_timeout` says.
const FROZEN_MIN: Duration = Duration::from_secs(2);

/// The listening socket.
#[derive(Debug)]
pub(crate) struct Door {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
}

/// What else goes to the next process, and who hears of it.
pub(crate) struct Goods {
    pub(crate) http: Vec<(SocketAddr, OwnedFd)>,
    /// Told to whom everything belongs now.
    pub(crate) given: Box<dyn Fn(&Successor) + Send>,
}

/// The process to which everything has been given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its id.
    pub pid: u32,
    /// Its pid file, if it has one: an absolute path.
    pub pidfile: Option<PathBuf>,
}

/// What remains to be done when everything has been given away.
struct Remains {
    frames: Frames,
    left: Vec<SlotId>,
    successor: Successor,
}

/// Where the socket is; `None`: there is no folder for it.
pub(crate) fn door_path(general: &General) -> Option<PathBuf> {
    let dir = general.unix_socket_dir.as_ref()?;
    Some(dir.join(format!(".s.PLIMSOLL.{}", general.listen_port)))
}

/// Makes the socket. One that nobody listens on any more is removed.
///
/// # Errors
/// It cannot be made.
pub(crate) fn open(general: &General) -> io::Result<Option<Door>> {
    let Some(path) = door_path(general) else { return Ok(None) };
    let is_socket = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket && UnixStream::connect(&path).is_err() {
        std::fs::remove_file(&path)?;
    }
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(&path)?)?;
    // Before listening: nobody comes in while the mode is still the umask's.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(1)?;
    Ok(Some(Door { listener: OwnedFd::from(socket).into(), path }))
}

impl Door {
    /// One that another process has made.
    pub(crate) fn inherited(fd: OwnedFd, path: PathBuf) -> io::Result<Door> {
        let listener = UnixListener::from(fd);
        listener.set_nonblocking(false)?;
        Ok(Door { listener, path })
    }

    /// Answers, one at a time, until everything has been given away. Blocks its thread.
    pub(crate) fn answer(self, hub: &Arc<Hub>, goods: Goods) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // Descriptors or memory are used up, or whoever asked has gone already.
                    tracing::warn!("nobody can ask for an online restart just now: {error}");
                    std::thread::sleep(REST);
                    continue;
                }
            };
            match peer_uid(&stream) {
                Some(uid) if Some(uid) == own_uid() => {}
                other => {
                    tracing::warn!(
                        "somebody else (user id {other:?}) asked for an online restart, and is not answered"
                    );
                    continue;
                }
            }
            match self.hand_over(hub, &goods, stream) {
                Ok(Some(Remains { frames, left, successor })) => {
                    (goods.given)(&successor);
                    // What is carried may stay for long, and listens nowhere.
                    drop((self.listener, goods));
                    return wind_up(hub, frames, left);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!("online restart failed, going on: {error}"),
            }
        }
    }

    /// `None`: refused, or the other process could not go on, and everything goes on here.
    fn hand_over(
        &self,
        hub: &Arc<Hub>,
        goods: &Goods,
        stream: UnixStream,
    ) -> Result<Option<Remains>, FrameError> {
        let mut frames = Frames::new(stream, PREPARE_MAX);
        let (hello, _) = frames.receive::<Hello>()?;
        if let Some(why) = refusal(hub, &hello) {
            tracing::warn!("online restart refused: {why}");
            frames.send(&Answer::Refused(why), None)?;
            return Ok(None);
        }
        tracing::info!("online restart: {} (process {}) is preparing", hello.program, hello.pid);
        self.offer(hub, goods, &mut frames)?;
        let successor = match frames.receive::<Prepared>()?.0 {
            Prepared::Ready { pid, pidfile } => Successor { pid, pidfile },
            Prepared::Failed(why) => {
                tracing::warn!("online restart failed, going on: the new process cannot start: {why}");
                return Ok(None);
            }
        };
        let begun = Instant::now();
        close_doors(hub);
        let frozen = match give::freeze(hub) {
            Ok(frozen) => frozen,
            Err(why) => {
                tracing::warn!("online restart failed, going on: {why}");
                return Ok(None);
            }
        };
        frames.set_limit(hub.plan().general.suspend_timeout.max(FROZEN_MIN));
        let left = give_all(hub, frozen, &mut frames, begun);
        Ok(left.map(|left| Remains { frames, left, successor }))
    }

    /// The listening sockets, before anything stands still: they stay ours as well.
    fn offer(&self, hub: &Arc<Hub>, goods: &Goods, frames: &mut Frames) -> Result<(), FrameError> {
        let doors = hub.doors.images();
        let listeners = doors.len() + goods.http.len() + 1;
        let hello = hello();
        let listeners = u32::try_from(listeners).unwrap_or(u32::MAX);
        frames.send(&Answer::Welcome { hello, listeners, zero_ns: hub.zero_ns() }, None)?;
        for (image, socket) in &doors {
            frames.send(image, Some(socket.as_fd()))?;
        }
        for (address, socket) in &goods.http {
            frames.send(&ListenerImage::Http(*address), Some(socket.as_fd()))?;
        }
        frames.send(&ListenerImage::Door(self.path.clone()), Some(self.listener.as_fd()))
    }
}

/// What one says of itself.
pub(super) fn hello() -> Hello {
    Hello {
        what: WHAT.to_string(),
        version: VERSION,
        program: concat!("Plimsoll ", env!("CARGO_PKG_VERSION")).to_string(),
        pid: std::process::id(),
    }
}

/// Why not.
fn refusal(hub: &Hub, hello: &Hello) -> Option<String> {
    if hello.what != WHAT {
        return Some("this is not what a restart says".to_string());
    }
    if hello.version != VERSION {
        return Some(format!(
            "it hands over in format {VERSION}, and the new program knows {}: stop this process and start the new one",
            hello.version
        ));
    }
    if hub.phase() != Phase::Running {
        return Some("it is shutting down".to_string());
    }
    hub.suspension.is_on().then(|| "it is suspended: RESUME first".to_string())
}

/// Nobody is accepted any more, and those who log in are let in, or not, if that does not take long.
fn close_doors(hub: &Hub) {
    let stillness = &hub.stillness;
    stillness.enter(Stage::Closed);
    let until = Instant::now() + LOGINS_MAX;
    stillness.none_left(Count::Acceptors, until);
    stillness.none_left(Count::Logins, until);
}

/// Sends everything and waits until it has been taken. What was left in other hands, then; `None`: it was not taken, and
/// everything goes on here.
fn give_all(hub: &Arc<Hub>, frozen: Frozen, frames: &mut Frames, begun: Instant) -> Option<Vec<SlotId>> {
    let still = Instant::now();
    let sent = frozen.image().map_err(FrameError::from).and_then(|image| {
        frozen.send(&image, frames)?;
        Ok(image)
    });
    let image = match sent {
        // Whatever happens from here on, the answer of this one call stands for both sides.
        Ok(image) if frames.is_taken() => image,
        Ok(_) => {
            tracing::warn!("online restart failed, going on: the new process did not take over in time");
            frozen.thaw();
            return None;
        }
        Err(error) => {
            frames.close();
            tracing::warn!("online restart failed, going on: {error}");
            frozen.thaw();
            return None;
        }
    };
    let (clients, servers) = frozen.counts();
    let left = frozen.let_go(image);
    hub.doors.forget();
    tracing::info!(
        "online restart: {clients} clients and {servers} server connections given away, {} carried, {} left \
         (stood still for {} ms, {} ms in all)",
        hub.stillness.count(Count::Carried),
        left.len(),
        still.elapsed().as_millis(),
        begun.elapsed().as_millis()
    );
    Some(left)
}

/// Stays for what is carried, tells of what has ended, and ends.
fn wind_up(hub: &Arc<Hub>, mut frames: Frames, left: Vec<SlotId>) {
    for client in hub.clients.lock().values().filter(|client| &*client.database == CONSOLE) {
        client.post(|mail| mail.kill = Some(Box::new(Cause::Restarted)));
    }
    let begun = Instant::now();
    let goodbye = begun + GOODBYE_MAX;
    let ends_max = begun + farewell::longest(hub) + 2 * CARRY_GRACE;
    let mut open: Vec<(u32, SlotId)> = (0..).zip(left).collect();
    loop {
        let ended =
            |slot: &SlotId| hub.stillness.has_ended(*slot) || hub.core.lock().pools.slot(*slot).is_none();
        let (gone, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, slot)| ended(slot));
        open = rest;
        for (number, _) in gone {
            frames.set_limit(Duration::from_secs(1));
            // The new process notices our end as well.
            let _ = frames.send(&Afterwards::Ended(number), None);
        }
        let now = Instant::now();
        let is_carrying = hub.stillness.count(Count::Carried) > 0;
        let is_logging_in = hub.stillness.count(Count::Logins) > 0 && now < goodbye;
        let is_ending = !open.is_empty() && now < ends_max;
        // Those that could not be moved: one that waits in a PAUSE, one under TLS.
        let consoles = hub.entrance.console_clients.load(Ordering::Acquire);
        let is_telling = consoles > 0 && now < goodbye;
        let is_wanted = hub.phase() == Phase::Running && !hub.exiting.load(Ordering::Acquire);
        if !is_wanted || !(is_carrying || is_logging_in || is_telling || is_ending) {
            tracing::info!("online restart: nothing is left here, exiting");
            return hub.finished.notify_one();
        }
        std::thread::sleep(LOOK);
    }
}

/// The system user at the other end of a Unix socket.
pub(super) fn peer_uid(stream: &UnixStream) -> Option<u32> {
    Some(rustix::net::sockopt::socket_peercred(stream).ok()?.uid.as_raw())
}

/// Our own, as the kernel tells it to peers.
pub(super) fn own_uid() -> Option<u32> {
    let (one, _other) = UnixStream::pair().ok()?;
    peer_uid(&one)
}
