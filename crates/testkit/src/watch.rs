//! A witness that counts without a pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Client;

/// Asks PostgreSQL the same count again and again on a thread of its own, and keeps the highest answer.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, u64)>,
}

/// Pause between two questions: the witness must not eat the machine.
const PAUSE: Duration = Duration::from_millis(2);

impl Watch {
    /// Starts to ask `sql`, which must give one number.
    pub(crate) fn start(mut client: Client, sql: String) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut highest, mut samples) = (0, 0);
            while !told.load(Ordering::Relaxed) {
                let count: u64 = client.value(&sql).parse().expect("a count is a number");
                highest = highest.max(count);
                samples += 1;
                thread::sleep(PAUSE);
            }
            (highest, samples)
        });
        Watch { stop, thread }
    }

    /// Ends the watch; the highest count there was.
    ///
    /// # Panics
    /// It never saw anything.
    #[track_caller]
    pub fn highest(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let (highest, samples) = self.thread.join().expect("the watch lost its connection");
        assert!(samples > 0, "the watch never looked");
        highest
    }
}
