//! The thread that encrypts, writes, reads and decrypts: its queue is bounded, and nobody waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::chunk::{Buffer, SLOT_BYTES};
use super::file::{SpillFile, Trouble};
use super::seal::{Name, Seal, TAG_BYTES};

/// Chunks that may wait to be written. Reads are not among them: there are a few for each spill at most.
const WRITES_MAX: usize = 64;

/// One chunk's way to or from its file.
pub(super) struct Job {
    pub(super) file: Arc<SpillFile>,
    pub(super) slot: u32,
    /// The chunk's number.
    pub(super) number: u64,
    pub(super) buffer: Buffer,
    pub(super) desk: Arc<Desk>,
    pub(super) task: Task,
}

/// What is to be done with it.
#[derive(Clone, Copy)]
pub(super) enum Task {
    /// Encrypt and write the buffer.
    Write,
    /// Read into the buffer and decrypt.
    Read {
        /// Bytes of the chunk.
        len: usize,
        /// The number it was encrypted with.
        nonce: u64,
    },
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
    waker: Waker,
}

impl Desk {
    pub(super) fn new(waker: Waker) -> Arc<Desk> {
        Arc::new(Desk { done: Mutex::default(), is_new: AtomicBool::new(false), waker })
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
#[derive(Default)]
pub(super) struct Io {
    shared: Arc<Shared>,
    /// Whether the thread has been started.
    started: Mutex<bool>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
}

#[derive(Default)]
struct Queue {
    reads: VecDeque<Job>,
    writes: VecDeque<Job>,
    /// Files to be closed: that takes time, too, when there is much to be freed.
    closing: Vec<Arc<SpillFile>>,
    is_over: bool,
}

/// What the thread does next.
enum Next {
    Job(Job),
    Close(Vec<Arc<SpillFile>>),
    End,
}

impl Io {
    /// Whether a chunk may be handed over to be written.
    pub(super) fn has_room(&self) -> bool {
        self.shared.queue.lock().writes.len() < WRITES_MAX
    }

    /// Whether chunks wait to be written.
    pub(super) fn is_writing(&self) -> bool {
        !self.shared.queue.lock().writes.is_empty()
    }

    /// Hands a chunk over. If there can be no thread the job is done at once in the only way that is left: it fails.
    pub(super) fn submit(&self, job: Job) {
        if let Err(source) = self.start() {
            let Job { number, buffer, desk, task, .. } = job;
            let done = match task {
                Task::Write => {
                    Done::NotWritten { buffer, trouble: Trouble::System { dir: "thread".into(), source } }
                }
                Task::Read { .. } => Done::Lost { reason: source.to_string().into() },
            };
            return desk.put(number, done);
        }
        let mut queue = self.shared.queue.lock();
        match job.task {
            Task::Write => queue.writes.push_back(job),
            Task::Read { .. } => queue.reads.push_back(job),
        }
        drop(queue);
        self.shared.bell.notify_one();
    }

    /// Closes a file when nothing in the queue needs it any more.
    pub(super) fn close(&self, file: Arc<SpillFile>) {
        if !*self.started.lock() {
            // Nobody has opened it.
            return;
        }
        self.shared.queue.lock().closing.push(file);
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
        match next(shared) {
            Next::Job(job) => run(job, seal),
            // The last one who has it closes it, and that is nobody but this thread.
            Next::Close(files) => drop(files),
            Next::End => return,
        }
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
            return Next::Close(std::mem::take(&mut queue.closing));
        }
        if let Some(job) = queue.writes.pop_front() {
            return Next::Job(job);
        }
        shared.bell.wait(&mut queue);
    }
}

fn run(job: Job, seal: &Seal) {
    let Job { file, slot, number, mut buffer, desk, task } = job;
    if Arc::strong_count(&desk) == 1 {
        // Its client has gone.
        return;
    }
    let name = Name { file: file.number, chunk: number };
    let done = match task {
        Task::Write => write(&file, slot, name, buffer, seal),
        Task::Read { len, nonce } => match read(&file, slot, name, len, nonce, &mut buffer, seal) {
            Ok(()) => Done::Read(buffer),
            Err(reason) => Done::Lost { reason },
        },
    };
    // Before the client hears of it: when it goes, the file is closed here.
    drop(file);
    desk.put(number, done);
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
    slot: u32,
    name: Name,
    len: usize,
    nonce: u64,
    buffer: &mut Buffer,
    seal: &Seal,
) -> Result<(), Box<str>> {
    buffer.bytes.resize((len + TAG_BYTES).min(SLOT_BYTES), 0);
    file.read(slot, &mut buffer.bytes).map_err(|e| e.to_string())?;
    seal.open(name, nonce, &mut buffer.bytes)
        .map_err(|_| "what is in the temporary file is not what was written".into())
}
