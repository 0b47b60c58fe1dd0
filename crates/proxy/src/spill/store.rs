//! What all spills share: the budgets of memory and disk, where the files are, and who spills.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plimsoll_config::Plan;
use plimsoll_types::ClientId;

use super::file::{self, SpillFile, Trouble};
use super::io::Io;
use super::record::{Origin, Record};

/// How long nothing is written after a failure.
const DISK_PAUSE: Duration = Duration::from_secs(10);

/// How often at most the log is told of a disk that fails.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(600);

/// How often at most the log is told that a budget is used up.
const FULL_INTERVAL: Duration = Duration::from_secs(60);

/// Never, in microseconds.
const NEVER: u64 = u64::MAX;

/// What is missing for more of an answer to be taken off the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// `spill_per_client` is used up.
    Client,
    /// `spill_memory` is, and `spill_disk` too or nothing can be written.
    Memory,
    /// `spill_memory` is, and chunks are on their way to the disk: it is soon over.
    Disk,
    /// Nothing, but what comes now belongs to a transaction, and those are not spilled.
    Terms,
}

impl Lack {
    /// Whether a budget is used up.
    pub(crate) fn is_of_budget(self) -> bool {
        match self {
            Lack::Client | Lack::Memory => true,
            Lack::Disk | Lack::Terms => false,
        }
    }

    /// Whether the server waits until the client reads.
    pub(crate) fn waits_for_reader(self) -> bool {
        match self {
            Lack::Client | Lack::Memory | Lack::Terms => true,
            Lack::Disk => false,
        }
    }

    /// Whether others may end it, so that it is to be looked at again.
    pub(crate) fn ends_elsewhere(self) -> bool {
        match self {
            Lack::Memory | Lack::Disk => true,
            Lack::Client | Lack::Terms => false,
        }
    }
}

/// Something that is used up to a limit.
#[derive(Debug, Default)]
struct Gauge {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Gauge {
    fn reserve(&self, bytes: usize) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn load(&self) -> (u64, u64) {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed) as u64;
        (of(&self.used), of(&self.max))
    }
}

/// Bytes of a budget. They are free again when this is dropped.
pub(crate) struct Charge {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Budgets and their use: `SHOW SPILL_STORE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreView {
    /// Bytes of memory in use, and `spill_memory`.
    pub memory: (u64, u64),
    /// Bytes of the files, and `spill_disk`.
    pub disk: (u64, u64),
    /// `spill_per_client`, bytes.
    pub client_max: u64,
    /// Spills now.
    pub spills: usize,
    /// Those of them for which the server waits, as a budget is used up.
    pub full: usize,
    /// Why nothing is written now, if that is so.
    pub trouble: Option<String>,
}

/// What is known of a disk that fails.
#[derive(Debug, Default)]
struct Troubled {
    /// Why nothing is written.
    why: Option<String>,
    /// When the log was told, microseconds after the start.
    told: Option<u64>,
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(NEVER)
}

/// See the module.
pub(crate) struct Store {
    start: Instant,
    memory: Arc<Gauge>,
    disk: Arc<Gauge>,
    client_max: AtomicUsize,
    log_over: AtomicUsize,
    dir: Mutex<Arc<Path>>,
    /// Until when nothing is written, microseconds after the start.
    paused_until: AtomicU64,
    trouble: Mutex<Troubled>,
    is_troubled: AtomicBool,
    /// When the log was last told of a budget that is used up, microseconds after the start.
    full_told: AtomicU64,
    numbers: AtomicU64,
    records: Mutex<BTreeMap<u64, Arc<Record>>>,
    io: Io,
}

impl Store {
    /// Nothing is kept yet.
    pub(crate) fn new() -> Arc<Store> {
        Arc::new(Store {
            start: Instant::now(),
            memory: Arc::default(),
            disk: Arc::default(),
            client_max: AtomicUsize::new(0),
            log_over: AtomicUsize::new(0),
            dir: Mutex::new(Path::new("/").into()),
            paused_until: AtomicU64::new(0),
            trouble: Mutex::default(),
            is_troubled: AtomicBool::new(false),
            full_told: AtomicU64::new(NEVER),
            numbers: AtomicU64::new(0),
            records: Mutex::default(),
            io: Io::default(),
        })
    }

    /// Takes the limits of a plan over; what is kept already stays. A folder that cannot be used is told in the log.
    pub(crate) fn renew(&self, plan: &Plan) {
        let own = &plan.own;
        self.memory.max.store(own.spill_memory(), Ordering::Relaxed);
        self.disk.max.store(own.spill_disk(), Ordering::Relaxed);
        self.client_max.store(own.spill_per_client(), Ordering::Relaxed);
        self.log_over.store(own.log_spill_over.unwrap_or(16 << 20), Ordering::Relaxed);
        *self.dir.lock() = own.spill_dir().into();
        *self.trouble.lock() = Troubled::default();
        self.is_troubled.store(false, Ordering::Relaxed);
        self.paused_until.store(0, Ordering::Relaxed);
        if plan.spills_to_disk()
            && own.spill_disk() > 0
            && let Err(trouble) = file::open(own.spill_dir())
        {
            self.disk_fails(&trouble);
        }
    }

    /// Most bytes of one spill.
    pub(super) fn client_max(&self) -> usize {
        self.client_max.load(Ordering::Relaxed)
    }

    /// Memory within the limit.
    pub(super) fn reserve_memory(&self, bytes: usize) -> Option<Charge> {
        self.memory.reserve(bytes).then(|| Charge { gauge: self.memory.clone(), bytes })
    }

    /// Memory that is needed in any case: the caller bounds it.
    pub(super) fn charge_memory(&self, bytes: usize) -> Charge {
        self.memory.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { gauge: self.memory.clone(), bytes }
    }

    /// Room on the disk within the limit.
    pub(super) fn reserve_disk(&self, bytes: usize) -> Option<Charge> {
        self.disk.reserve(bytes).then(|| Charge { gauge: self.disk.clone(), bytes })
    }

    /// Whether so much memory is in use that chunks go to the disk. A quarter is left for those on their way there and
    /// back.
    pub(super) fn is_tight(&self) -> bool {
        let (used, max) = self.memory.load();
        used >= max - max / 4
    }

    /// Whether the disk has not failed lately.
    pub(super) fn may_write(&self) -> bool {
        let until = self.paused_until.load(Ordering::Relaxed);
        until == 0 || until <= self.micros()
    }

    /// The thread for files.
    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    /// A file that nobody has written yet.
    pub(super) fn new_file(&self) -> Arc<SpillFile> {
        Arc::new(SpillFile::new(self.next_number(), self.dir.lock().clone()))
    }

    /// A chunk has been written. On a full disk that is so wherever another chunk has been before; as long as writing
    /// is paused it means nothing.
    pub(super) fn disk_works(&self) {
        if self.is_troubled.load(Ordering::Relaxed) && self.may_write() {
            self.is_troubled.store(false, Ordering::Relaxed);
            self.trouble.lock().why = None;
        }
    }

    /// A chunk could not be written: for a while none is, and the log is told now and then.
    pub(super) fn disk_fails(&self, trouble: &Trouble) {
        let now = self.micros();
        self.paused_until.store(now.saturating_add(micros_of(DISK_PAUSE)), Ordering::Relaxed);
        self.is_troubled.store(true, Ordering::Relaxed);
        let mut known = self.trouble.lock();
        known.why = Some(trouble.to_string());
        if known.told.is_none_or(|told| now.saturating_sub(told) >= micros_of(TROUBLE_INTERVAL)) {
            known.told = Some(now);
            tracing::warn!(
                "spill: no temporary file can be written, results go into memory only: {trouble} (spill_dir)"
            );
        }
    }

    /// A server waits for its reader since a budget is used up.
    pub(crate) fn note_full(&self, lack: Lack) {
        let (now, last) = (self.micros(), self.full_told.load(Ordering::Relaxed));
        if last != NEVER && now.saturating_sub(last) < micros_of(FULL_INTERVAL) {
            return;
        }
        if self.full_told.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another worker tells it just now.
            return;
        }
        let ((memory, memory_max), (disk, disk_max)) = (self.memory.load(), self.disk.load());
        let spills = self.records.lock().len();
        let what = match lack {
            Lack::Client => format!("spill_per_client ({} bytes) is used up for a client", self.client_max()),
            Lack::Memory | Lack::Disk | Lack::Terms => "the budgets are used up".to_string(),
        };
        tracing::warn!(
            "spill: {what}: its server waits for its reader (spills: {spills}, memory: {memory} of {memory_max}, disk: \
             {disk} of {disk_max} bytes); SHOW SPILLS tells who does not read"
        );
    }

    /// A spill begins.
    pub(super) fn enter(&self, origin: Origin) -> Arc<Record> {
        let record = Arc::new(Record::new(self.next_number(), origin));
        self.records.lock().insert(record.number, record.clone());
        record
    }

    /// A spill is over.
    pub(super) fn leave(&self, record: &Record) {
        self.records.lock().remove(&record.number);
        let over = self.log_over.load(Ordering::Relaxed) as u64;
        let (total, taken) = (record.total(), record.taken());
        if over > 0 && total > over {
            let left = total - taken.min(total);
            let how = if left == 0 { String::new() } else { format!(", {left} bytes of it unread") };
            tracing::info!(
                "{}spilled {total} bytes of a result in {} ms{how}",
                record.origin.client.log_prefix(),
                record.since.elapsed().as_millis()
            );
        }
    }

    /// All spills, the oldest first.
    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        self.records.lock().values().cloned().collect()
    }

    /// Whether nobody spills.
    pub(crate) fn is_idle(&self) -> bool {
        self.records.lock().is_empty()
    }

    /// Whether this client does.
    pub(crate) fn has(&self, client: ClientId) -> bool {
        self.records.lock().values().any(|record| record.origin.client.id == client)
    }

    /// Budgets and their use.
    pub(crate) fn view(&self) -> StoreView {
        let records = self.records();
        StoreView {
            memory: self.memory.load(),
            disk: self.disk.load(),
            client_max: self.client_max() as u64,
            spills: records.len(),
            full: records.iter().filter(|record| record.lack().is_some_and(Lack::is_of_budget)).count(),
            trouble: self.trouble.lock().why.clone(),
        }
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn micros(&self) -> u64 {
        micros_of(self.start.elapsed())
    }
}
