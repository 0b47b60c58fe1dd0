//! Whether the disk takes what is written.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::file::Trouble;

/// How long nothing is written after a failure.
const DISK_PAUSE: Duration = Duration::from_secs(10);

/// How often at most the log is told of a disk that fails.
const TROUBLE_INTERVAL: Duration = Duration::from_secs(600);

/// What the workers, the thread for files and the control thread know of the disk.
#[derive(Debug)]
pub(super) struct Health {
    start: Instant,
    /// Until when nothing is written, microseconds after the start.
    paused_until: AtomicU64,
    is_troubled: AtomicBool,
    trouble: Mutex<Troubled>,
}

/// What is known of a disk that fails.
#[derive(Debug, Default)]
struct Troubled {
    /// Why nothing is written.
    why: Option<String>,
    /// When the log was told, microseconds after the start.
    told: Option<u64>,
}

impl Health {
    pub(super) fn new() -> Health {
        Health {
            start: Instant::now(),
            paused_until: AtomicU64::new(0),
            is_troubled: AtomicBool::new(false),
            trouble: Mutex::default(),
        }
    }

    /// Whether the disk has not failed lately.
    pub(super) fn may_write(&self) -> bool {
        let until = self.paused_until.load(Ordering::Relaxed);
        until == 0 || until <= self.micros()
    }

    /// Whether it has failed, and may have come back.
    pub(super) fn is_due(&self) -> bool {
        self.is_troubled.load(Ordering::Relaxed) && self.may_write()
    }

    /// A chunk has been written. On a full disk that is so wherever another chunk has been before; as long as writing
    /// is paused it means nothing.
    pub(super) fn works(&self) {
        if self.is_due() {
            self.recovers();
        }
    }

    /// It takes new files again.
    pub(super) fn recovers(&self) {
        self.is_troubled.store(false, Ordering::Relaxed);
        self.paused_until.store(0, Ordering::Relaxed);
        self.trouble.lock().why = None;
    }

    /// A chunk could not be written: for a while none is, and the log is told now and then.
    pub(super) fn fails(&self, trouble: &Trouble) {
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

    /// From now on it is another disk.
    pub(super) fn forget(&self) {
        self.recovers();
        *self.trouble.lock() = Troubled::default();
    }

    /// Why nothing is written, if that is so.
    pub(super) fn why(&self) -> Option<String> {
        self.trouble.lock().why.clone()
    }

    fn micros(&self) -> u64 {
        micros_of(self.start.elapsed())
    }
}

pub(super) fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
