//! Counting those who are here, so that nobody is forgotten who leaves in the middle.

use std::sync::atomic::{AtomicU32, Ordering};

/// One of those that a counter counts; dropped, it counts itself out.
pub(crate) struct Count<'a>(&'a AtomicU32);

impl<'a> Count<'a> {
    /// One more is here.
    pub(crate) fn one_more(counter: &'a AtomicU32) -> Count<'a> {
        counter.fetch_add(1, Ordering::Relaxed);
        Count(counter)
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
