//! What the rest of the process knows of a client and of a server connection: small shared records beside the tasks
//! that own the sockets.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::Waker;

use parking_lot::Mutex;
use plimsoll_config::Plan;
use plimsoll_ledger::{Identified, Record};
use plimsoll_pool::{Class, Grant};
use plimsoll_session::{Params, Settings};
use plimsoll_types::{Cause, ClientId, HoldId, Moment, SlotId};
use socket2::Socket;

use crate::console::ClientState;
use crate::credentials::Term;
use crate::directory::PoolEntry;
use crate::gate::Standing;
use crate::keeper::Counted;
use crate::liveness::{Heart, Life};
use crate::order::Order;
use crate::replication::{Kind, Wishes};
use crate::server::ServerConn;
use crate::socket::Secured;

/// One end of a connection, as log and console show it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket with the process id of the other side (clients) and the port in its name.
    Unix {
        /// Process id, 0 if unknown.
        pid: u32,
        /// Port in the socket's name.
        port: u16,
    },
}

impl Peer {
    /// Address column of `SHOW CLIENTS`.
    pub(crate) fn addr(&self) -> String {
        match self {
            Peer::Tcp(addr) => addr.ip().to_canonical().to_string(),
            Peer::Unix { .. } => "unix".to_string(),
        }
    }

    /// Port column.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Peer::Tcp(addr) => addr.port(),
            Peer::Unix { port, .. } => *port,
        }
    }

    /// Process id, where known.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Peer::Tcp(_) => 0,
            Peer::Unix { pid, .. } => *pid,
        }
    }
}

impl std::fmt::Display for Peer {
    /// As in log lines: `127.0.0.1:59692`, `[::1]:59692`, `unix(1234):6432`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(addr) => write!(f, "{}", SocketAddr::new(addr.ip().to_canonical(), addr.port())),
            Peer::Unix { pid, port } => write!(f, "unix({pid}):{port}"),
        }
    }
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetAddr {
    /// A resolved address.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf, u16),
}

impl TargetAddr {
    /// The socket of a port in a folder, as PostgreSQL names it.
    pub(crate) fn unix(dir: &Path, port: u16) -> TargetAddr {
        TargetAddr::Unix(dir.join(format!(".s.PGSQL.{port}")), port)
    }

    /// As in the log and `SHOW SERVERS`.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            TargetAddr::Tcp(addr) => Peer::Tcp(*addr),
            TargetAddr::Unix(_, port) => Peer::Unix { pid: 0, port: *port },
        }
    }
}

/// What other tasks leave for a client's task.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// Wakes the task.
    pub(crate) waker: Option<Waker>,
    /// A server connection it has been waiting for.
    pub(crate) grant: Option<(Box<ServerConn>, Grant)>,
    /// Why it will not get one.
    pub(crate) refused: Option<Box<Cause>>,
    /// It has to go.
    pub(crate) kill: Option<Box<Cause>>,
    /// It has to go if it is a session at rest, so that nothing is cut off.
    pub(crate) quit: Option<Box<Cause>>,
    /// It has to go as soon as it is outside a transaction.
    pub(crate) leave: Option<Box<Cause>>,
    /// It has to give up its server connection.
    pub(crate) order: Option<Box<Order>>,
    /// It may join the queue of its pool.
    pub(crate) admitted: bool,
    /// It is to be sent a heartbeat, if nothing is under way.
    pub(crate) heartbeat: bool,
    /// Somebody sent a cancel request with its key while it held nothing; only console clients look.
    pub(crate) cancelled: bool,
}

/// What the console shows of a client's encryption.
#[derive(Debug)]
pub(crate) struct ClientTls {
    /// Protocol and cipher.
    pub(crate) text: Box<str>,
    /// Whom its certificate names.
    pub(crate) subject: Option<Box<str>>,
}

/// A client, as seen from outside its task.
#[derive(Debug)]
pub(crate) struct ClientEntry {
    /// Unique.
    pub(crate) id: ClientId,
    /// Cancel key.
    pub(crate) key: [u8; 8],
    /// Login user.
    pub(crate) user: Arc<str>,
    /// Database asked for.
    pub(crate) database: Arc<str>,
    /// The other side.
    pub(crate) peer: Peer,
    /// Our side.
    pub(crate) local: Peer,
    /// How its connection is encrypted, and by whose certificate.
    pub(crate) tls: Option<Box<ClientTls>>,
    /// Stands for the credentials it came with; equal for equal ones, and of no other use (`ledger::credentials`).
    pub(crate) credential: u64,
    /// Who it has proved to be, if it came by a key or a token.
    pub(crate) proved: Option<Box<Counted>>,
    /// What it asks its server connection for, if it wants replication.
    pub(crate) replication: Option<Arc<Wishes>>,
    /// When it connected.
    pub(crate) connected: Moment,
    /// Whether it is still there.
    pub(crate) life: Life,
    /// Its heartbeats.
    pub(crate) heart: Heart,
    mail: Mutex<Mail>,
    has_mail: AtomicBool,
    state: AtomicU8,
    /// Slot and hold while it has a server connection: index + 1 in the upper half, generation in the lower.
    slot: AtomicU64,
    hold: AtomicU64,
    requested: AtomicU64,
    waiting_since: AtomicU64,
    deadline: AtomicU64,
    /// Parameter values, for application_name.
    pub(crate) params: Mutex<Option<Arc<Params>>>,
    /// Named statements.
    pub(crate) prepared: AtomicU32,
    /// Site of its last hold that was heard of; 0 for none.
    pub(crate) site: AtomicU64,
    uses: AtomicU64,
    /// What it has of caps.
    pub(crate) standing: Standing,
}

/// Who a new client is.
pub(crate) struct Identity {
    /// Login user.
    pub(crate) user: Arc<str>,
    /// Database asked for.
    pub(crate) database: Arc<str>,
    /// The other side.
    pub(crate) peer: Peer,
    /// Our side.
    pub(crate) local: Peer,
    /// How its connection is encrypted.
    pub(crate) secured: Option<Secured>,
    /// Stands for the credentials it came with; 0 for our own.
    pub(crate) credential: u64,
    /// Who it has proved to be, if it came by a key or a token.
    pub(crate) proved: Option<Box<Counted>>,
    /// Its socket; `Weak::new()` for somebody who has none of his own.
    pub(crate) socket: Weak<Socket>,
    /// What it asks its server connection for, if it wants replication.
    pub(crate) replication: Option<Arc<Wishes>>,
}

impl ClientEntry {
    /// A client that is logging in.
    pub(crate) fn new(id: ClientId, key: [u8; 8], identity: Identity, now: Moment) -> ClientEntry {
        let Identity { user, database, peer, local, secured, credential, proved, socket, replication } =
            identity;
        let tls = secured.map(|secured| {
            let subject = secured.certificate.as_ref().and_then(plimsoll_tls::subject);
            Box::new(ClientTls { text: secured.text.into(), subject: subject.map(Into::into) })
        });
        ClientEntry {
            id,
            key,
            user,
            database,
            peer,
            local,
            tls,
            credential,
            proved,
            replication,
            connected: now,
            life: Life::of(socket),
            heart: Heart::default(),
            mail: Mutex::default(),
            has_mail: AtomicBool::new(false),
            state: AtomicU8::new(0),
            slot: AtomicU64::new(0),
            hold: AtomicU64::new(0),
            requested: AtomicU64::new(now.0),
            waiting_since: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            params: Mutex::new(None),
            prepared: AtomicU32::new(0),
            site: AtomicU64::new(0),
            uses: AtomicU64::new(0),
            standing: Standing::default(),
        }
    }

    /// It comes from another process: what it did there.
    pub(crate) fn resume(&mut self, requested: Moment, uses: u64) {
        self.requested = AtomicU64::new(requested.0);
        self.uses = AtomicU64::new(uses);
    }

    /// The settings of its sessions: those of its pool and login user, within the limits of its grant. None of them ends
    /// a replication connection.
    pub(crate) fn settings(&self, pool: &PoolEntry, plan: impl FnOnce() -> Arc<Plan>) -> Arc<Settings> {
        let usual = pool.settings(plan, &self.user);
        if self.replication.is_some() {
            return Arc::new(usual.for_replication());
        }
        match &self.proved {
            Some(counted) if counted.proved.limits.is_timed() => {
                Arc::new(counted.proved.limits.within(&usual))
            }
            Some(_) | None => usual,
        }
    }

    /// Whose turns it takes in a queue that is shared, and how much that weighs; `None`: it has no grant.
    pub(crate) fn stake(&self) -> Option<(Class, u32)> {
        self.proved.as_ref().map(|counted| counted.stake.read())
    }

    /// The grant by which it is here.
    pub(crate) fn grant_id(&self) -> Option<&str> {
        self.proved.as_ref().map(|counted| &*counted.proved.grant_id)
    }

    /// Who it has proved to be, for the ledger.
    pub(crate) fn identified(&self) -> Option<Box<Identified>> {
        let proved = &self.proved.as_ref()?.proved;
        Some(Box::new(Identified {
            organisation: proved.organisation.as_ref().into(),
            name: proved.name.as_ref().into(),
            key_id: proved.key_id.as_deref().map(Into::into),
            issuer: proved.issuer.as_deref().map(Into::into),
        }))
    }

    /// Counts a hold that is over; how many there were. Only the client's own task calls this.
    #[inline]
    pub(crate) fn note_use(&self) -> u64 {
        let uses = self.uses.load(Ordering::Relaxed) + 1;
        self.uses.store(uses, Ordering::Relaxed);
        uses
    }

    /// How many holds it has had.
    pub(crate) fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Leaves something and wakes the task.
    pub(crate) fn post(&self, put: impl FnOnce(&mut Mail)) {
        let waker = {
            let mut mail = self.mail.lock();
            put(&mut mail);
            // Still under the lock: a task that leaves its waker after us sees that there is mail.
            self.has_mail.store(true, Ordering::Release);
            mail.waker.clone()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The mailbox, if something was left since the last look; one load when not.
    #[inline]
    pub(crate) fn new_mail(&self) -> Option<parking_lot::MutexGuard<'_, Mail>> {
        if !self.has_mail.load(Ordering::Acquire) {
            return None;
        }
        let mail = self.mail.lock();
        // Set under the lock only, so nothing that comes later is lost.
        self.has_mail.store(false, Ordering::Relaxed);
        Some(mail)
    }

    /// The mailbox.
    pub(crate) fn mail(&self) -> parking_lot::MutexGuard<'_, Mail> {
        self.mail.lock()
    }

    /// Who is to be woken.
    pub(crate) fn set_waker(&self, waker: &Waker) {
        let mut mail = self.mail.lock();
        if !mail.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            mail.waker = Some(waker.clone());
        }
    }

    /// Shown state.
    pub(crate) fn state(&self) -> ClientState {
        match self.state.load(Ordering::Relaxed) {
            0 => ClientState::Login,
            1 => ClientState::Active,
            _ => ClientState::Waiting,
        }
    }

    /// Logged in, or done waiting.
    pub(crate) fn set_active(&self) {
        self.state.store(1, Ordering::Relaxed);
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Waits for a server connection from now on.
    pub(crate) fn set_waiting(&self, now: Moment) {
        self.state.store(2, Ordering::Relaxed);
        self.waiting_since.store(now.0.max(1), Ordering::Relaxed);
    }

    /// Since when it waits.
    pub(crate) fn waiting_since(&self) -> Option<Moment> {
        let at = self.waiting_since.load(Ordering::Relaxed);
        (at != 0).then_some(Moment(at))
    }

    /// Has a server connection.
    pub(crate) fn set_held(&self, grant: &Grant, now: Moment) {
        let slot = (u64::from(grant.slot.index) + 1) << 32 | u64::from(grant.slot.generation);
        self.hold.store(grant.hold.0, Ordering::Relaxed);
        self.slot.store(slot, Ordering::Release);
        self.requested.store(now.0, Ordering::Relaxed);
    }

    /// Has none.
    pub(crate) fn clear_held(&self) {
        self.slot.store(0, Ordering::Release);
    }

    /// What it holds.
    pub(crate) fn held(&self) -> Option<(SlotId, HoldId)> {
        let slot = self.slot.load(Ordering::Acquire);
        if slot == 0 {
            return None;
        }
        let index = u32::try_from((slot >> 32) - 1).ok()?;
        let generation = u32::try_from(slot & u64::from(u32::MAX)).ok()?;
        Some((SlotId { index, generation }, HoldId(self.hold.load(Ordering::Relaxed))))
    }

    /// When it last asked for a server connection.
    pub(crate) fn requested(&self) -> Moment {
        Moment(self.requested.load(Ordering::Relaxed))
    }

    /// Sets when the janitor has to wake the task; `None` for never.
    pub(crate) fn set_deadline(&self, at: Option<Moment>) {
        self.deadline.store(at.map_or(0, |m| m.0.max(1)), Ordering::Relaxed);
    }

    /// Wakes the task if its deadline is over.
    pub(crate) fn wake_if_due(&self, now: Moment) {
        let at = self.deadline.load(Ordering::Relaxed);
        if at != 0 && at <= now.0 {
            self.post(|_| {});
        }
    }

    /// Whether the deadline is over.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        let at = self.deadline.load(Ordering::Relaxed);
        at != 0 && at <= now.0
    }

    /// The number that stands for the client in `ptr` and in log lines.
    pub(crate) fn ptr(&self) -> u64 {
        client_ptr(self.id)
    }

    /// The prefix of its log lines.
    pub(crate) fn log_prefix(&self) -> String {
        log_prefix(self.id, &self.database, &self.user, &self.peer)
    }
}

/// The number that stands for a server connection.
pub(crate) fn server_ptr(serial: u64) -> u64 {
    0x2000_0000 + serial
}

fn client_ptr(id: ClientId) -> u64 {
    0x1000_0000 + id.0
}

/// The prefix of a client's log lines, also while it has no entry.
pub(crate) fn log_prefix(id: ClientId, database: &str, user: &str, peer: &Peer) -> String {
    format!("C-{:#x}: {database}/{user}@{peer} ", client_ptr(id))
}

/// A server connection, as seen from outside whoever has it.
#[derive(Debug)]
pub(crate) struct ServerEntry {
    /// Its slot.
    pub(crate) slot: SlotId,
    /// Configured database.
    pub(crate) database: Arc<str>,
    /// Login role.
    pub(crate) user: Arc<str>,
    /// Whether it is still there.
    pub(crate) life: Life,
    /// Where it is.
    pub(crate) target: TargetAddr,
    /// Our end.
    pub(crate) local: Peer,
    /// When it was opened.
    pub(crate) opened: Moment,
    /// What it is for, if for replication.
    pub(crate) replication: Option<Kind>,
    /// What is known of its credential, if a provider gave it.
    pub(crate) term: Option<Term>,
    /// Unique number.
    pub(crate) serial: u64,
    /// BackendKeyData.
    pub(crate) key: Mutex<Box<[u8]>>,
    /// Parameter values as last set.
    pub(crate) params: Mutex<Option<Arc<Params>>>,
    /// How it is encrypted, once it is.
    pub(crate) tls: OnceLock<Box<str>>,
    /// Named statements.
    pub(crate) prepared: AtomicU32,
    /// Its hold. Whoever holds the connection takes the lock for a moment with each query, whoever looks for as long as
    /// it takes to copy it.
    pub(crate) record: Mutex<Record>,
}

impl ServerEntry {
    /// The number that stands for it in `ptr` and in log lines.
    pub(crate) fn ptr(&self) -> u64 {
        server_ptr(self.serial)
    }

    /// Backend process id.
    pub(crate) fn pid(&self) -> u32 {
        self.key.lock().first_chunk::<4>().map_or(0, |pid| u32::from_be_bytes(*pid))
    }

    /// What the end of its socket says: its own, unless we ended it since it was dead.
    pub(crate) fn end_cause(&self) -> Cause {
        self.life.gone().map_or(Cause::ServerEof, |evidence| Cause::ServerGone { evidence })
    }

    /// The prefix of its log lines.
    pub(crate) fn log_prefix(&self) -> String {
        format!("S-{:#x}: {}/{}@{} ", self.ptr(), self.database, self.user, self.target.peer())
    }
}
