//! What is known of keys and subjects until something changes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id::Id;
use crate::store::{KeyFacts, SubjectFacts};

/// Most keys, and most subjects, that are known at a time. Only such as there are get in, so nobody fills it with
/// inventions.
const KNOWN_MAX: usize = 100_000;

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    keys: HashMap<Box<str>, Arc<KeyFacts>>,
    subjects: HashMap<Id, Arc<SubjectFacts>>,
    generation: u64,
}

impl Known {
    /// Counts how often everything was forgotten: what was read before that is not kept after it.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Something has changed.
    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.keys.clear();
        self.subjects.clear();
    }

    pub(super) fn key(&self, key_id: &str) -> Option<Arc<KeyFacts>> {
        self.keys.get(key_id).cloned()
    }

    pub(super) fn subject(&self, subject: &Id) -> Option<Arc<SubjectFacts>> {
        self.subjects.get(subject).cloned()
    }

    /// Keeps what was read when `generation` was in force.
    pub(super) fn put_key(&mut self, key_id: &str, facts: Arc<KeyFacts>, generation: u64) {
        if generation != self.generation {
            return;
        }
        if self.keys.len() >= KNOWN_MAX {
            self.keys.clear();
        }
        self.keys.insert(key_id.into(), facts);
    }

    /// The same for a subject.
    pub(super) fn put_subject(&mut self, subject: &Id, facts: Arc<SubjectFacts>, generation: u64) {
        if generation != self.generation {
            return;
        }
        if self.subjects.len() >= KNOWN_MAX {
            self.subjects.clear();
        }
        self.subjects.insert(subject.clone(), facts);
    }
}
