//! The thread that encrypts, writes, reads and decrypts: its queue is bounded, and nobody waits for it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::chunk::{Buffer, SLOT_BYTES, Sealed};
use super::file::{self, SpillFile, Trouble};
use super::health::{Health, micros_of};
use super::seal::{Name, Seal, TAG_BYTES};

/// Chunks that may be on their way to the file. Reads are not among them: there are a few for each spill at most.
const WRITES_MAX: usize = 64;

/// Microseconds after the start that stand for a thread that has nothing to do.
const IDLE: u64 = u64::MAX;

/// One chunk's way to or from its file.
pub(super) struct Job {
    pub(super) file: Arc<SpillFile>,
    /// The spill's number.
    pub(super) spill: u64,
    /// The chunk's.
    pub(super) number: u64,
    pub(super) buffer: Buffer,
    pub(super) desk: Arc<Desk>,
    pub(super) task: Task,
}

/// What is to be done with it.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// Encrypt and write the buffer.
    Write {
        /// To this place.
        slot: u32,
    },
    /// Read into the buffer and decrypt.
    Read(Sealed),
}

/// Whether a folder takes files is to be found out.
pub(super) struct Probe {
    pub(super) dir: Arc<Path>,
    pub(super) health: Arc<Health>,
}

/// What has become of a job.
pub(super) enum Done {
    /// It is in the file.
    Written {
        /// To be decrypted with this number.
        nonce: u64,
    },
    /// It is not, and this is it again.
    NotWritten {
        /// As it was.
        buffer: Buffer,
        /// Why.
        trouble: Trouble,
    },
    /// It is back.
    Read(Buffer),
    /// It is in the file, and cannot be had.
    Lost {
        /// Why.
        reason: Box<str>,
    },
}

/// Where a client finds what has become of its chunks.
pub(super) struct Desk {
    done: Mutex<Vec<(u64, Done)>>,
    is_new: AtomicBool,
    /// Nobody looks any more: nothing may be done for it, as its slots may be somebody else's.
    is_left: AtomicBool,
    waker: Waker,
}

impl Desk {
    pub(super) fn new(waker: Waker) -> Arc<Desk> {
        let (is_new, is_left) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Desk { done: Mutex::default(), is_new, is_left, waker })
    }

    /// The client has gone. Its slots may be given back after that.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Ordering::Release);
    }

    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::Acquire)
    }

    /// What has been done since the last look.
    pub(super) fn take(&self) -> Vec<(u64, Done)> {
        if !self.is_new.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut self.done.lock())
    }

    fn put(&self, number: u64, done: Done) {
        self.done.lock().push((number, done));
        self.is_new.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

/// The thread's door. The thread starts with the first job and ends with the door.
pub(super) struct Io {
    shared: Arc<Shared>,
    /// Whether the thread has been started.
    started: Mutex<bool>,
}

struct Shared {
    start: Instant,
    queue: Mutex<Queue>,
    bell: Condvar,
    /// Chunks on their way to the file.
    writing: AtomicUsize,
    /// Since when the thread has been busy with what it does now, microseconds after the start.
    busy_since: AtomicU64,
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Job>,
    writes: VecDeque<Job>,
    /// Slots nobody needs any more: giving them back takes time, too, when there is much to be freed.
    closing: Vec<(Arc<SpillFile>, Vec<u32>)>,
    probe: Option<Probe>,
    is_over: bool,
}

/// What the thread does next.
enum Next {
    Job(Job),
    Close(Vec<(Arc<SpillFile>, Vec<u32>)>),
    Probe(Probe),
    End,
}

impl Io {
    /// Nothing to do.
    pub(super) fn new() -> Io {
        let shared = Shared {
            start: Instant::now(),
            queue: Mutex::default(),
            bell: Condvar::new(),
            writing: AtomicUsize::new(0),
            busy_since: AtomicU64::new(IDLE),
        };
        Io { shared: Arc::new(shared), started: Mutex::new(false) }
    }

    /// How many chunks may be handed over to be written.
    pub(super) fn room(&self) -> usize {
        WRITES_MAX.saturating_sub(self.writing())
    }

    /// Chunks on their way to the file.
    pub(super) fn writing(&self) -> usize {
        self.shared.writing.load(Ordering::Relaxed)
    }

    /// For how long the thread has been busy with one and the same thing.
    pub(super) fn silence(&self) -> Duration {
        let since = self.shared.busy_since.load(Ordering::Relaxed);
        self.shared.start.elapsed().saturating_sub(Duration::from_micros(since))
    }

    /// Hands a chunk over. If there can be no thread the job is done at once in the only way that is left: it fails.
    pub(super) fn submit(&self, job: Job) {
        if let Err(source) = self.start() {
            let Job { number, buffer, desk, task, .. } = job;
            let done = match task {
                Task::Write { .. } => {
                    Done::NotWritten { buffer, trouble: Trouble::System { dir: "thread".into(), source } }
                }
                Task::Read(_) => Done::Lost { reason: source.to_string().into() },
            };
            return desk.put(number, done);
        }
        let mut queue = self.shared.queue.lock();
        match job.task {
            Task::Write { .. } => {
                self.shared.writing.fetch_add(1, Ordering::Relaxed);
                queue.writes.push_back(job);
            }
            Task::Read(_) => queue.reads.push_back(job),
        }
        drop(queue);
        self.shared.bell.notify_one();
    }

    /// Finds out whether a folder takes files. Only the last one that was asked for matters.
    pub(super) fn probe(&self, probe: Probe) {
        if let Err(source) = self.start() {
            return probe.health.fails(&Trouble::System { dir: "thread".into(), source });
        }
        self.shared.queue.lock().probe = Some(probe);
        self.shared.bell.notify_one();
    }

    /// Gives slots back. What their client has in the queue is not done any more: it has left its desk.
    pub(super) fn close(&self, file: Arc<SpillFile>, slots: Vec<u32>) {
        if !*self.started.lock() {
            // Nobody has opened it.
            return file.give(slots);
        }
        self.shared.queue.lock().closing.push((file, slots));
        self.shared.bell.notify_one();
    }

    fn start(&self) -> std::io::Result<()> {
        let mut started = self.started.lock();
        if !*started {
            let seal = Seal::new().map_err(|_| std::io::Error::other("no key to encrypt with"))?;
            let shared = self.shared.clone();
            thread::Builder::new().name("spill".to_string()).spawn(move || work(&shared, &seal))?;
            *started = true;
        }
        Ok(())
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.shared.queue.lock().is_over = true;
        self.shared.bell.notify_one();
    }
}

fn work(shared: &Shared, seal: &Seal) {
    loop {
        let next = next(shared);
        shared.busy_since.store(micros_of(shared.start.elapsed()), Ordering::Relaxed);
        match next {
            Next::Job(job) => {
                let writes = matches!(job.task, Task::Write { .. });
                run(job, seal);
                if writes {
                    shared.writing.fetch_sub(1, Ordering::Relaxed);
                }
            }
            Next::Close(files) => {
                survive(|| files.into_iter().for_each(|(file, slots)| file.give(slots)));
            }
            Next::Probe(Probe { dir, health }) => match survive(|| file::try_out(&dir)) {
                Some(Ok(())) => health.recovers(),
                Some(Err(trouble)) => health.fails(&trouble),
                None => {}
            },
            Next::End => return,
        }
        shared.busy_since.store(IDLE, Ordering::Relaxed);
    }
}

/// Reads first: somebody's socket has room for them.
fn next(shared: &Shared) -> Next {
    let mut queue = shared.queue.lock();
    loop {
        if queue.is_over {
            return Next::End;
        }
        if let Some(job) = queue.reads.pop_front() {
            return Next::Job(job);
        }
        if !queue.closing.is_empty() {
            // What clients that have gone wanted to be written takes memory no longer.
            let before = queue.writes.len();
            queue.writes.retain(|job| !job.desk.is_left());
            shared.writing.fetch_sub(before - queue.writes.len(), Ordering::Relaxed);
            return Next::Close(std::mem::take(&mut queue.closing));
        }
        if let Some(probe) = queue.probe.take() {
            return Next::Probe(probe);
        }
        if let Some(job) = queue.writes.pop_front() {
            return Next::Job(job);
        }
        shared.bell.wait(&mut queue);
    }
}

/// A mistake of ours costs the client it concerns, and not the thread that all need.
fn survive<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}

fn run(job: Job, seal: &Seal) {
    let (number, desk) = (job.number, job.desk.clone());
    if desk.is_left() {
        return;
    }
    let lost = || Done::Lost { reason: "the thread for files has failed".into() };
    desk.put(number, survive(|| perform(job, seal)).unwrap_or_else(lost));
}

fn perform(job: Job, seal: &Seal) -> Done {
    let Job { file, spill, number, mut buffer, task, .. } = job;
    let name = Name { spill, chunk: number };
    match task {
        Task::Write { slot } => write(&file, slot, name, buffer, seal),
        Task::Read(sealed) => match read(&file, sealed, name, &mut buffer, seal) {
            Ok(()) => Done::Read(buffer),
            Err(reason) => Done::Lost { reason },
        },
    }
}

fn write(file: &SpillFile, slot: u32, name: Name, mut buffer: Buffer, seal: &Seal) -> Done {
    let Ok(nonce) = seal.seal(name, &mut buffer.bytes) else {
        return Done::NotWritten { buffer, trouble: Trouble::Seal };
    };
    match file.write(slot, &buffer.bytes) {
        Ok(()) => Done::Written { nonce },
        Err(trouble) => match seal.open(name, nonce, &mut buffer.bytes) {
            Ok(()) => Done::NotWritten { buffer, trouble },
            Err(_) => Done::Lost { reason: "a chunk cannot be decrypted".into() },
        },
    }
}

fn read(
    file: &SpillFile,
    Sealed { slot, len, nonce }: Sealed,
    name: Name,
    buffer: &mut Buffer,
    seal: &Seal,
) -> Result<(), Box<str>> {
    buffer.bytes.resize((len + TAG_BYTES).min(SLOT_BYTES), 0);
    file.read(slot, &mut buffer.bytes).map_err(|e| e.to_string())?;
    seal.open(name, nonce, &mut buffer.bytes)
        .map_err(|_| "what is in the temporary file is not what was written".into())
}

#[cfg(test)]
mod tests {
    use super::survive;

    #[test]
    fn the_thread_outlives_a_mistake() {
        assert_eq!(survive(|| 7), Some(7));
        assert_eq!(survive(|| -> u8 { panic!("a mistake") }), None);
    }
}
