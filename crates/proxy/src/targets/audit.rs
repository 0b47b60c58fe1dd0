//! Whether what we count as open on a target is what the target sees from us (invariant 9 of architecture.md).
//!
//! A connection that opens or closes between the look and the count is no difference: one has to last for
//! [`LOOKS_MIN`] looks.

use std::sync::Arc;

use plimsoll_types::TargetId;

use super::Counted;
use crate::entry::TargetAddr;
use crate::hub::Hub;

/// How many looks in a row a difference has to be in.
const LOOKS_MIN: u32 = 3;

/// Connections of ours that the server does not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Process ids of the server that we count and it does not list, in the last look.
    pub(crate) missing: Vec<u32>,
    /// For how many looks in a row the same ones.
    pub(crate) looks: u32,
    /// How many differences have lasted, since the start.
    pub(crate) differences: u64,
}

impl Audit {
    /// Nobody looks any more.
    pub(super) fn rest(&mut self) {
        (self.looks, self.missing) = (0, Vec::new());
    }

    /// Takes in a look. True: a difference has lasted, and has not been told yet.
    fn note(&mut self, missing: Vec<u32>) -> bool {
        let lasting: Vec<u32> = missing.iter().filter(|pid| self.missing.contains(pid)).copied().collect();
        if lasting.is_empty() {
            (self.looks, self.missing) = (u32::from(!missing.is_empty()), missing);
            return false;
        }
        (self.looks, self.missing) = (self.looks + 1, lasting);
        let told = self.looks == LOOKS_MIN;
        self.differences += u64::from(told);
        told
    }
}

/// Compares, and says so where there is a difference that lasts.
pub(super) fn compare(hub: &Arc<Hub>, target: TargetId, addr: &TargetAddr) {
    let Some(look) = hub.targets.known(target).look.filter(|look| look.counted == Counted::Exactly) else {
        return;
    };
    let ours = hub.settled_pids_at(target, look.at);
    let missing: Vec<u32> = ours.iter().filter(|pid| !look.pids.contains(pid)).copied().collect();
    let mut lasting = Vec::new();
    hub.targets.note(target, |known| {
        if known.audit.note(missing) {
            lasting.clone_from(&known.audit.missing);
        }
    });
    if !lasting.is_empty() {
        tracing::error!(
            "target {}: {} connections of ours are not seen there: we count the processes {ours:?}, it has {:?}, \
             missing are {lasting:?}",
            addr.peer(),
            lasting.len(),
            look.pids
        );
    }
    debug_assert!(lasting.is_empty(), "what we count is not what the server sees");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_is_told_and_only_once() {
        let mut audit = Audit::default();
        assert!(!audit.note(vec![1, 2]));
        assert!(!audit.note(vec![2, 3]));
        assert!(audit.note(vec![2]));
        assert!(!audit.note(vec![2]));
        assert!(!audit.note(Vec::new()));
        assert_eq!((audit.looks, audit.differences), (0, 1));
    }
}
