//! A worker: one thread with one single-threaded runtime, a scratch buffer, and the idle connections at home on it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use plimsoll_session::Steps;
use plimsoll_types::{Cause, WorkerId};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::hub::Hub;

/// Bytes of the scratch buffer: as much as one read takes at most.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// Bytes of room that are kept for what is put together from pieces.
const KEPT_BYTES: usize = 4 * SCRATCH_BYTES;

/// What a task uses while it runs; idle clients own none of it.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Bytes are read into this.
    pub(crate) input: Box<[u8]>,
    /// What the session machine decided.
    pub(crate) steps: Steps,
    /// Pieces that go out in one write.
    pub(crate) gather: Vec<u8>,
}

impl Scratch {
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
        Scratch { input: vec![0; SCRATCH_BYTES].into(), steps: Steps::default(), gather: Vec::new() }
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
    scratch: Mutex<Option<Box<Scratch>>>,
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
            scratch: Mutex::new(Some(Box::default())),
        }
    }

    /// Takes the scratch buffer for the length of one poll. Only tasks of this worker call this, one at a time.
    #[inline]
    pub(crate) fn take_scratch(&self) -> Box<Scratch> {
        self.scratch.lock().take().unwrap_or_default()
    }

    /// Puts the scratch buffer back.
    #[inline]
    pub(crate) fn put_scratch(&self, scratch: Box<Scratch>) {
        *self.scratch.lock() = Some(scratch);
    }
}

/// Looks after the idle server connections at home on a worker: notices of a server are taken in, and one that ends
/// leaves the pool before anybody gets it. Runs as long as the process.
pub(crate) async fn watch_idle(hub: Arc<Hub>, worker: WorkerId) {
    let idle = hub.workers[usize::from(worker.0)].idle.clone();
    loop {
        idle.notified().await;
        sweep(&hub, worker);
    }
}

fn sweep(hub: &Arc<Hub>, worker: WorkerId) {
    let mine = &hub.workers[usize::from(worker.0)];
    let mut scratch = mine.take_scratch();
    let mut broken = Vec::new();
    {
        let mut core = hub.core.lock();
        for conn in core.parked_mut().filter(|conn| conn.home == worker) {
            let mut cx = Context::from_waker(&mine.idle_waker);
            while let Poll::Ready(read) = conn.stream.poll_read(&mut cx, &mut scratch.input) {
                let cause = match read {
                    Ok(0) | Err(_) => Some(Cause::ServerCrashed),
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
    mine.put_scratch(scratch);
    for (slot, entry, cause) in broken {
        if cause != Cause::ServerCrashed {
            tracing::info!("{}got packet 'E' from server when not linked", entry.log_prefix());
        }
        hub.with_pools(|pools, now| pools.handle_idle_broken(slot, cause, now));
    }
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
