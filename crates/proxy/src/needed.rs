//! Host names that somebody is about to connect to, on their way to the control thread, which looks them up.

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

/// A name, and who waits for what becomes of it: told when the sender is gone.
#[derive(Debug)]
pub(crate) struct Needed {
    /// The name.
    pub(crate) name: String,
    /// Dropped when the name has been looked up.
    pub(crate) done: oneshot::Sender<()>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct NeededNames {
    asked: Mutex<Vec<Needed>>,
    rung: Notify,
}

impl NeededNames {
    /// Asks for a name to be looked up unless what is known of it is fresh; the receiver ends when that is done.
    pub(crate) fn ask(&self, name: String) -> oneshot::Receiver<()> {
        let (done, heard) = oneshot::channel();
        self.asked.lock().push(Needed { name, done });
        self.rung.notify_one();
        heard
    }

    /// What has been asked for; waits until something is. Cancel safe.
    pub(crate) async fn taken(&self) -> Vec<Needed> {
        loop {
            let asked = std::mem::take(&mut *self.asked.lock());
            if !asked.is_empty() {
                return asked;
            }
            self.rung.notified().await;
        }
    }
}
