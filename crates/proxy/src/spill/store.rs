//! What all spills share: the budgets of memory and disk, where the files are, and who spills.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plimsoll_config::Plan;
use plimsoll_types::ClientId;

use super::chunk::SLOT_BYTES;
use super::file::{self, SpillFile, Trouble};
use super::gauge::{Charge, Gauge, Memory};
use super::health::{Health, micros_of};
use super::io::{Io, Probe};
use super::record::{Origin, Record};

/// How often at most the holders of memory are asked for some of it.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// How long the thread for files may be busy with one chunk until the disk is taken for one that fails.
const SILENCE_MAX: Duration = Duration::from_secs(5);

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

/// See the module.
pub(crate) struct Store {
    start: Instant,
    memory: Memory,
    disk: Arc<Gauge>,
    client_max: AtomicUsize,
    log_over: AtomicUsize,
    /// Where the spills go that begin now; none before there is a plan.
    file: Mutex<Option<Arc<SpillFile>>>,
    health: Arc<Health>,
    /// When holders of memory were last asked, microseconds after the start; whether any of them has some to give; and
    /// after which spill the next one is asked.
    asked: AtomicU64,
    is_giving: AtomicBool,
    asked_up_to: AtomicU64,
    /// When the log was last told of a budget that is used up, microseconds after the start.
    full_told: AtomicU64,
    numbers: AtomicU64,
    records: Mutex<BTreeMap<u64, Arc<Record>>>,
    /// Clients that have not taken all of an answer whose server has been given back, without a spill.
    behind: Mutex<BTreeSet<ClientId>>,
    io: Io,
}

impl Store {
    /// Nothing is kept yet.
    pub(crate) fn new() -> Arc<Store> {
        Arc::new(Store {
            start: Instant::now(),
            memory: Memory::default(),
            disk: Arc::default(),
            client_max: AtomicUsize::new(0),
            log_over: AtomicUsize::new(0),
            file: Mutex::default(),
            health: Arc::new(Health::new()),
            asked: AtomicU64::new(NEVER),
            is_giving: AtomicBool::new(false),
            asked_up_to: AtomicU64::new(0),
            full_told: AtomicU64::new(NEVER),
            numbers: AtomicU64::new(0),
            records: Mutex::default(),
            behind: Mutex::default(),
            io: Io::new(),
        })
    }

    /// Takes the limits of a plan over; what is kept already stays. A folder that cannot be used is told in the log: with
    /// the first plan before this returns, later by the thread for files, since a disk may be anything but quick.
    pub(crate) fn renew(&self, plan: &Plan) {
        let own = &plan.own;
        self.memory.set_max(own.spill_memory());
        self.disk.set_max(own.spill_disk());
        self.client_max.store(own.spill_per_client(), Ordering::Relaxed);
        self.log_over.store(own.log_spill_over.unwrap_or(16 << 20), Ordering::Relaxed);
        let dir = own.spill_dir();
        let (is_first, is_other) = {
            let mut file = self.file.lock();
            let is_first = file.is_none();
            let is_other = file.as_ref().is_none_or(|file| file.dir() != dir);
            if is_other {
                *file = Some(SpillFile::new(dir));
            }
            (is_first, is_other)
        };
        let is_wanted = plan.spills_to_disk() && own.spill_disk() > 0;
        if is_other || !is_wanted {
            self.health.forget();
        }
        match (is_wanted, is_first) {
            (false, _) => {}
            (true, true) => {
                file::sweep(dir);
                if let Err(trouble) = file::open(dir) {
                    self.disk_fails(&trouble);
                }
            }
            (true, false) => self.probe(),
        }
    }

    /// Looks after the disk: one that has failed is tried again, and one that does not answer has failed. Does no I/O.
    pub(crate) fn tend(&self) {
        let silence = self.io.silence();
        if silence >= SILENCE_MAX {
            self.disk_fails(&Trouble::Silent { seconds: silence.as_secs() });
        } else if self.health.is_due() {
            self.probe();
        }
    }

    fn probe(&self) {
        if let Some(file) = &*self.file.lock() {
            self.io.probe(Probe { dir: file.dir().into(), health: self.health.clone() });
        }
    }

    /// Most bytes of one spill.
    pub(super) fn client_max(&self) -> usize {
        self.client_max.load(Ordering::Relaxed)
    }

    /// What is used of `spill_memory`.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Room on the disk within the limit.
    pub(super) fn reserve_disk(&self, bytes: usize) -> Option<Charge> {
        self.disk.reserve(bytes)
    }

    /// Whether so much memory is in use that chunks go to the disk, those not counted that are on their way there. A
    /// quarter is left for those and for what comes back.
    pub(super) fn is_tight(&self) -> bool {
        let max = self.memory.max();
        self.memory.counted() >= (max - max / 4).saturating_add(self.io.writing() * SLOT_BYTES)
    }

    /// Whether there is memory for chunks that are read back before they are wanted. Far enough from being tight that
    /// nothing goes back and forth.
    pub(super) fn is_roomy(&self) -> bool {
        self.memory.counted() < self.memory.max() / 2
    }

    /// Whether the disk has not failed lately.
    pub(super) fn may_write(&self) -> bool {
        self.health.may_write()
    }

    /// Memory is short: wakes spills that have chunks which can go to the disk, the next ones in turn, as many as the
    /// thread for files takes chunks. Now and then at most, whoever calls it.
    pub(super) fn ask_holders(&self) {
        let (now, last) = (self.micros(), self.asked.load(Ordering::Relaxed));
        if last != NEVER && now.saturating_sub(last) < micros_of(ASK_INTERVAL) {
            return;
        }
        if self.asked.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another worker does it just now.
            return;
        }
        let mut chunks = self.io.room();
        let mut chosen = Vec::new();
        if self.may_write() && self.disk.has_room(SLOT_BYTES) {
            let up_to = self.asked_up_to.load(Ordering::Relaxed);
            let records = self.records.lock();
            let later = records.range(up_to.saturating_add(1)..);
            for record in later.chain(records.range(..=up_to)).map(|(_, record)| record) {
                if chunks == 0 {
                    break;
                }
                let movable = record.movable();
                if movable > 0 {
                    chunks = chunks.saturating_sub(movable);
                    chosen.push(record.clone());
                }
            }
        }
        self.is_giving.store(!chosen.is_empty(), Ordering::Relaxed);
        if let Some(last) = chosen.last() {
            self.asked_up_to.store(last.number, Ordering::Relaxed);
        }
        chosen.iter().for_each(|record| record.ask());
    }

    /// Whether memory is being freed: chunks are on their way to a disk that works, or somebody has been asked for some.
    pub(super) fn is_clearing(&self) -> bool {
        self.may_write() && (self.io.writing() > 0 || self.is_giving.load(Ordering::Relaxed))
    }

    /// The thread for files.
    pub(super) fn io(&self) -> &Io {
        &self.io
    }

    /// Where a spill goes that writes its first chunk now.
    pub(super) fn file(&self) -> Option<Arc<SpillFile>> {
        self.file.lock().clone()
    }

    /// A chunk has been written.
    pub(super) fn disk_works(&self) {
        self.health.works();
    }

    /// A chunk could not be written.
    pub(super) fn disk_fails(&self, trouble: &Trouble) {
        self.health.fails(trouble);
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
    pub(super) fn enter(&self, origin: Origin, waker: Waker) -> Arc<Record> {
        let record = Arc::new(Record::new(self.next_number(), origin, waker));
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

    /// A client has not taken all of its answer, and its server has been given back: it is among
    /// [`unserved`](Store::unserved) until this is dropped.
    pub(crate) fn fall_behind(self: &Arc<Store>, client: ClientId) -> Behind {
        self.behind.lock().insert(client);
        Behind { store: self.clone(), client }
    }

    /// Clients that would lose a part of their answer if the process ended now, although no server has any of it.
    pub(crate) fn unserved(&self) -> BTreeSet<ClientId> {
        let mut clients = self.behind.lock().clone();
        clients.extend(self.records.lock().values().map(|record| record.origin.client.id));
        clients
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
            trouble: self.health.why(),
        }
    }

    fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn micros(&self) -> u64 {
        micros_of(self.start.elapsed())
    }
}

/// See [`Store::fall_behind`].
pub(crate) struct Behind {
    store: Arc<Store>,
    client: ClientId,
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.store.behind.lock().remove(&self.client);
    }
}
