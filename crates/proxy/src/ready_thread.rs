//! Threads that are made before there is work for them: what begins once everything has been taken over from another
//! process must not fail.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// A thread that waits for its work. Dropped, it ends.
#[derive(Debug)]
pub struct ReadyThread(Sender<Work>);

type Work = Box<dyn FnOnce() + Send>;

impl ReadyThread {
    /// Makes one.
    ///
    /// # Errors
    /// The system gives none.
    pub fn new(name: &str) -> io::Result<ReadyThread> {
        let (sender, inbox) = channel::<Work>();
        let wait = move || {
            if let Ok(work) = inbox.recv() {
                work();
            }
        };
        thread::Builder::new().name(name.to_string()).spawn(wait)?;
        Ok(ReadyThread(sender))
    }

    /// Gives it its work.
    pub fn begin(self, work: impl FnOnce() + Send + 'static) {
        // It waits for nothing else, and so is there.
        let _ = self.0.send(Box::new(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_is_done_on_the_thread_that_was_made_for_it() {
        let (tell, heard) = channel();
        let ready = ReadyThread::new("a name").expect("a thread");
        ready.begin(move || tell.send(thread::current().name().map(ToString::to_string)).expect("heard"));
        assert_eq!(heard.recv().expect("it tells"), Some("a name".to_string()));
    }
}
