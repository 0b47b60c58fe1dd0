//! Budgets, and what is used of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that is used up to a limit.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    used: AtomicUsize,
    max: AtomicUsize,
}

impl Gauge {
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// Bytes within the limit.
    pub(super) fn reserve(self: &Arc<Gauge>, bytes: usize) -> Option<Charge> {
        self.reserve_beside(bytes, 0)
    }

    /// The same, with so many bytes of the limit used by others.
    fn reserve_beside(self: &Arc<Gauge>, bytes: usize, beside: usize) -> Option<Charge> {
        let max = self.max().saturating_sub(beside);
        let more = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= max);
        let reserved = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        reserved.then(|| Charge { gauge: self.clone(), bytes })
    }

    /// Bytes whatever the limit is.
    fn charge(self: &Arc<Gauge>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { gauge: self.clone(), bytes }
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// What is used, and the limit.
    pub(super) fn load(&self) -> (u64, u64) {
        (self.used() as u64, self.max() as u64)
    }

    /// Whether so many bytes more are within the limit.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.used().saturating_add(bytes) <= self.max()
    }
}

/// Bytes of a budget. They are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    gauge: Arc<Gauge>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gauge.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The memory of all spills: what is kept, within the limit, and what is being sent.
///
/// A chunk that is being sent cannot go to the disk, so with enough readers such chunks alone would use the limit up, and
/// nothing would come off a server any more although the disk is empty. They take half of it at most: beyond that each
/// slow reader has one chunk more, as it would have without spills.
#[derive(Debug, Default)]
pub(super) struct Memory {
    kept: Arc<Gauge>,
    sending: Arc<Gauge>,
}

impl Memory {
    pub(super) fn set_max(&self, max: usize) {
        self.kept.set_max(max);
    }

    /// Within the limit.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Charge> {
        self.kept.reserve_beside(bytes, self.beside())
    }

    /// Needed in any case: the caller bounds it.
    pub(super) fn charge(&self, bytes: usize) -> Charge {
        self.kept.charge(bytes)
    }

    /// For a chunk that is being sent, or is to be at once.
    pub(super) fn charge_sending(&self, bytes: usize) -> Charge {
        self.sending.charge(bytes)
    }

    /// The chunk of this charge is being sent from now on.
    pub(super) fn turn_to_sending(&self, charge: &mut Charge) {
        if !Arc::ptr_eq(&charge.gauge, &self.sending) {
            *charge = self.sending.charge(charge.bytes);
        }
    }

    /// Bytes that count against the limit.
    pub(super) fn counted(&self) -> usize {
        self.kept.used() + self.beside()
    }

    pub(super) fn max(&self) -> usize {
        self.kept.max()
    }

    /// All that is used, and the limit.
    pub(super) fn load(&self) -> (u64, u64) {
        ((self.kept.used() + self.sending.used()) as u64, self.kept.max() as u64)
    }

    fn beside(&self) -> usize {
        self.sending.used().min(self.kept.max() / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn what_is_being_sent_leaves_half_of_the_limit() {
        let memory = Memory::default();
        memory.set_max(100);
        let mut first = memory.reserve(90).expect("there is room");
        assert!(memory.reserve(20).is_none());
        memory.turn_to_sending(&mut first);
        let sending = memory.charge_sending(200);
        assert_eq!((memory.load(), memory.counted()), ((290, 100), 50));
        let kept = memory.reserve(50).expect("half of it is for what is kept");
        assert!(memory.reserve(1).is_none());
        drop((first, sending));
        assert_eq!(memory.counted(), 50);
        drop(kept);
        assert_eq!(memory.load(), (0, 100));
    }
}
