//! A worker: one thread with one single-threaded runtime, a scratch buffer, and the idle connections at home on it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use plimsoll_session::Steps;
use plimsoll_types::{Cause, Moment, SlotId, WorkerId};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::entry::ServerEntry;
use crate::hub::Hub;
use crate::socket::server_cause;

/// Bytes of the scratch buffer: as much as one read takes at most.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// A worker's shortest timer. Each login sets one of its own, and one that is due before all others would wake the
/// runtime, by a system call, just to tell it so.
const BEAT: Duration = Duration::from_secs(1);

/// Bytes of room that are kept for what is put together from pieces.
const KEPT_BYTES: usize = 4 * SCRATCH_BYTES;

/// Buffers of [`Spare`] that are kept at most.
const SPARE_MAX: usize = 64;

/// The largest of them, bytes.
const SPARE_BYTES_MAX: usize = 1024;

thread_local! {
    /// The worker's scratch: a worker is a thread, and only one of its tasks runs at a time, so no lock is needed.
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// What a task uses while it runs; idle clients own none of it.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Bytes are read into this.
    pub(crate) input: Box<[u8]>,
    /// What the session machine decided.
    pub(crate) steps: Steps,
    /// Pieces that go out in one write.
    pub(crate) gather: Vec<u8>,
    /// Small buffers for what has to be kept.
    pub(crate) spare: Spare,
    /// The time, once it has been asked for; forgotten as soon as it may be old.
    pub(crate) now: Option<Moment>,
}

impl Scratch {
    /// Lends the scratch of this thread for the length of one poll.
    #[inline]
    pub(crate) fn lend<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = SCRATCH.take().unwrap_or_default();
        scratch.now = None;
        let out = work(&mut scratch);
        SCRATCH.set(Some(scratch));
        out
    }

    /// The time of what is being done. Asking the clock costs about as much as looking at a message.
    #[inline]
    pub(crate) fn now(&mut self, hub: &Hub) -> Moment {
        *self.now.get_or_insert_with(|| hub.now())
    }

    /// Gives back what one large message took; what steps are left has been carried out.
    pub(crate) fn shrink(&mut self) {
        for kept in [&mut self.gather, &mut self.steps.bytes] {
            if kept.capacity() > KEPT_BYTES {
                *kept = Vec::new();
            }
        }
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch {
            input: vec![0; SCRATCH_BYTES].into(),
            steps: Steps::default(),
            gather: Vec::new(),
            spare: Spare::default(),
            now: None,
        }
    }
}

/// Small buffers that nobody uses now. With more clients than servers each query waits for a moment and is kept for
/// that long; the allocator would be asked for each of them.
#[derive(Debug, Default)]
pub(crate) struct Spare(Vec<Vec<u8>>);

impl Spare {
    /// Takes a buffer back.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        if (1..=SPARE_BYTES_MAX).contains(&buffer.capacity()) && self.0.len() < SPARE_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }

    /// Replaces what was kept; takes the buffer back when there is nothing to keep.
    pub(crate) fn keep(&mut self, kept: &mut Vec<u8>, rest: &[u8]) {
        kept.clear();
        if rest.is_empty() {
            if kept.capacity() > 0 {
                self.put(std::mem::take(kept));
            }
            return;
        }
        if kept.capacity() == 0 && rest.len() <= SPARE_BYTES_MAX {
            *kept = self.0.pop().unwrap_or_default();
        }
        kept.extend_from_slice(rest);
    }
}

/// Wakes the task that looks after idle connections.
struct IdleWaker(Arc<Notify>);

impl Wake for IdleWaker {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// A worker as the others see it.
pub(crate) struct Worker {
    /// Its runtime.
    pub(crate) handle: Handle,
    /// Clients that live on it.
    pub(crate) clients: AtomicUsize,
    /// Given to the sockets of idle connections.
    pub(crate) idle_waker: Waker,
    idle: Arc<Notify>,
}

impl Worker {
    /// A worker on this runtime.
    pub(crate) fn new(handle: Handle) -> Worker {
        let idle = Arc::new(Notify::new());
        Worker {
            handle,
            clients: AtomicUsize::new(0),
            idle_waker: Waker::from(Arc::new(IdleWaker(idle.clone()))),
            idle,
        }
    }
}

/// Looks after the idle server connections at home on a worker: notices of a server are taken in, and one that ends
/// leaves the pool before anybody gets it. Runs as long as the process.
pub(crate) async fn watch_idle(hub: Arc<Hub>, worker: WorkerId) {
    let idle = hub.workers[usize::from(worker.0)].idle.clone();
    let mut beat = tokio::time::interval(BEAT);
    loop {
        tokio::select! {
            () = idle.notified() => sweep(&hub, worker),
            _ = beat.tick() => {}
        }
    }
}

fn sweep(hub: &Arc<Hub>, worker: WorkerId) {
    let broken = Scratch::lend(|scratch| look_at_parked(hub, worker, scratch));
    for (slot, entry, cause) in broken {
        match &cause {
            Cause::ServerEnded { .. } => {
                tracing::warn!("{}got packet 'E' from server when not linked", entry.log_prefix());
            }
            Cause::ServerProtocol { .. } => {
                tracing::warn!("{}got a packet from server when not linked", entry.log_prefix());
            }
            _ => {}
        }
        hub.with_pools(|pools, now| pools.handle_idle_broken(slot, cause, now));
    }
}

/// Reads what idle connections have to say. Those that are to be closed, and why.
fn look_at_parked(
    hub: &Hub,
    worker: WorkerId,
    scratch: &mut Scratch,
) -> Vec<(SlotId, Arc<ServerEntry>, Cause)> {
    let mine = &hub.workers[usize::from(worker.0)];
    let mut broken = Vec::new();
    {
        let mut core = hub.core.lock();
        for conn in core.parked_mut().filter(|conn| conn.home == worker) {
            let mut cx = Context::from_waker(&mine.idle_waker);
            while let Poll::Ready(read) = conn.stream.poll_read(&mut cx, &mut scratch.input) {
                let cause = match read {
                    Ok(0) => Some(conn.entry.end_cause()),
                    Err(e) => Some(server_cause(&e)),
                    Ok(n) => {
                        conn.input.extend_from_slice(&scratch.input[..n]);
                        take_in(hub, &mut conn.link, &mut conn.input).err()
                    }
                };
                if let Some(cause) = cause {
                    broken.push((conn.slot, conn.entry.clone(), cause));
                    break;
                }
            }
        }
    }
    broken
}

fn take_in(hub: &Hub, link: &mut plimsoll_session::Link, input: &mut Vec<u8>) -> Result<(), Cause> {
    let consumed = link.on_idle(input, &hub.tracked)?;
    input.drain(..consumed);
    if input.is_empty() {
        *input = Vec::new();
    }
    // What a server may say while it is idle is short; anything that goes on for ever is not for us.
    if input.len() > 64 * 1024 {
        Err(Cause::ServerProtocol { what: "endless message while idle" })
    } else {
        Ok(())
    }
}
