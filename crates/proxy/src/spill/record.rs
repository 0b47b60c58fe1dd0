//! What others may know of a spill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use plimsoll_ledger::Text;

use super::store::Lack;
use crate::entry::ClientEntry;

/// Whose answer it is.
pub(crate) struct Origin {
    /// Who does not read it.
    pub(crate) client: Arc<ClientEntry>,
    /// The statement, if the ledger has it.
    pub(crate) statement: Option<Text>,
}

/// A spill, as seen from outside its client's task. Only that task writes; others may ask it for memory.
pub(crate) struct Record {
    /// Unique in the process.
    pub(crate) number: u64,
    /// Whose it is.
    pub(crate) origin: Origin,
    /// When it began.
    pub(crate) since: Instant,
    memory: AtomicUsize,
    disk: AtomicUsize,
    total: AtomicU64,
    taken: AtomicU64,
    full: AtomicU8,
    /// Chunks in memory that could be in the file.
    movable: AtomicUsize,
    /// Others need memory.
    asked: AtomicBool,
    waker: Waker,
}

impl Record {
    pub(super) fn new(number: u64, origin: Origin, waker: Waker) -> Record {
        Record {
            number,
            origin,
            since: Instant::now(),
            memory: AtomicUsize::new(0),
            disk: AtomicUsize::new(0),
            total: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            full: AtomicU8::new(0),
            movable: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            waker,
        }
    }

    pub(super) fn set_bytes(&self, memory: usize, disk: usize) {
        self.memory.store(memory, Ordering::Relaxed);
        self.disk.store(disk, Ordering::Relaxed);
    }

    pub(super) fn set_movable(&self, chunks: usize) {
        self.movable.store(chunks, Ordering::Relaxed);
    }

    /// Chunks it could give up.
    pub(super) fn movable(&self) -> usize {
        self.movable.load(Ordering::Relaxed)
    }

    /// Wakes its client's task to give memory up.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.waker.wake_by_ref();
    }

    /// Whether it has been asked since the last look.
    pub(super) fn take_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::Relaxed)
    }

    pub(super) fn add(&self, bytes: usize) {
        self.total.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn set_full(&self, lack: Option<Lack>) {
        let code = match lack {
            None => 0,
            Some(Lack::Client) => 1,
            Some(Lack::Memory) => 2,
            Some(Lack::Disk) => 3,
            Some(Lack::Terms) => 4,
        };
        self.full.store(code, Ordering::Relaxed);
    }

    /// Bytes in memory and in the file.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        (of(&self.memory), of(&self.disk))
    }

    /// Bytes that have gone through it so far.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Bytes its client has taken out of it.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// What it lacks, if the server waits for the reader.
    pub(crate) fn lack(&self) -> Option<Lack> {
        match self.full.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Lack::Client),
            2 => Some(Lack::Memory),
            3 => Some(Lack::Disk),
            _ => Some(Lack::Terms),
        }
    }
}
