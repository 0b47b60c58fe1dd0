//! A witness that counts without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::Client;

/// Asks PostgreSQL the same count again and again on a thread of its own, and keeps the highest answer.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    highest: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

/// Pause between two questions: the witness must not eat the machine.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a count may take to be seen before it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

impl Watch {
    /// Starts to ask `sql`, which must give one number.
    pub(crate) fn start(mut client: Client, sql: String) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let highest = Arc::new(AtomicU64::new(0));
        let (told, seen) = (Arc::clone(&stop), Arc::clone(&highest));
        let thread = thread::spawn(move || {
            let mut samples = 0;
            while !told.load(Ordering::Relaxed) {
                let count: u64 = client.value(&sql).parse().expect("a count is a number");
                seen.fetch_max(count, Ordering::Relaxed);
                samples += 1;
                thread::sleep(PAUSE);
            }
            samples
        });
        Watch { stop, highest, thread }
    }

    /// Waits until the watch itself has counted `count` or more: what another session saw it may not have seen yet.
    ///
    /// # Panics
    /// It has not within half a minute.
    #[track_caller]
    pub fn wait_until(&self, count: u64) {
        let until = Instant::now() + PATIENCE;
        while self.highest.load(Ordering::Relaxed) < count {
            assert!(Instant::now() < until, "the watch did not come to {count}");
            thread::sleep(PAUSE);
        }
    }

    /// Ends the watch; the highest count there was.
    ///
    /// # Panics
    /// It never saw anything.
    #[track_caller]
    pub fn highest(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let samples = self.thread.join().expect("the watch lost its connection");
        assert!(samples > 0, "the watch never looked");
        self.highest.load(Ordering::Relaxed)
    }
}
