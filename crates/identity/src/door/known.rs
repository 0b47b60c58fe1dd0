//! What is known of keys and subjects until something changes.

use std::collections::HashMap;
use std::sync::Arc;

use super::Visitor;
use crate::id::Id;
use crate::model::Audit;
use crate::store::{KeyFacts, SubjectFacts};

/// Most keys, and most subjects, that are known at a time. Only such as there are get in, so nobody fills it with
/// inventions.
const KNOWN_MAX: usize = 100_000;

/// For more changes at once nothing is compared: everything is forgotten.
const CHANGES_MAX: usize = 100;

/// Whether what is known of a subject depends on what has changed: on itself, its organisation, or something it was granted.
fn depends(facts: &SubjectFacts, change: &Audit) -> bool {
    let object = change.object.as_str();
    let is = |id: &Id| id.as_str() == object;
    // A grant that is new names whom it is for.
    let is_granted = change.detail.get("subject").and_then(|subject| subject.as_str());
    is(facts.holder.id())
        || is(&facts.org.id)
        || is_granted == Some(facts.holder.id().as_str())
        || facts
            .grants
            .iter()
            .any(|fact| is(&fact.grant.id) || is(&fact.dataset.id) || is(&fact.dataset.data.org))
}

/// The SHA-256 of a certificate, the database, the user.
type Crowded = (Box<str>, Arc<str>, Arc<str>);

fn crowded(sha256: &str, visitor: &Visitor) -> Crowded {
    (sha256.into(), visitor.database.clone(), visitor.user.clone())
}

/// See the module.
#[derive(Default)]
pub(super) struct Known {
    keys: HashMap<Box<str>, Arc<KeyFacts>>,
    subjects: HashMap<Id, Arc<SubjectFacts>>,
    /// Users by their logins.
    logins: HashMap<Box<str>, Id>,
    /// Active credentials by the SHA-256 of their certificates; none: it is known that there is none.
    certificates: HashMap<Box<str>, Arc<[String]>>,
    /// The same where there are too many of a certificate, by what was asked for: those whose application was granted it.
    crowded: HashMap<Crowded, Arc<[String]>>,
    generation: u64,
}

impl Known {
    /// Counts how often everything was forgotten: what was read before that is not kept after it.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// These have changed: what depends on them is forgotten, everything else goes on, also while the store is silent.
    pub(super) fn note(&mut self, changes: &[Audit]) {
        if changes.len() > CHANGES_MAX {
            return self.clear();
        }
        self.generation += 1;
        // There are few of them, and they depend on credentials, applications, grants, and data sets.
        self.crowded.clear();
        for change in changes {
            self.keys.retain(|key_id, facts| **key_id != *change.object && !depends(&facts.subject, change));
            self.subjects.retain(|_, facts| !depends(facts, change));
            self.logins.retain(|_, user| user.as_str() != change.object);
            // Also one that is new.
            if change.action.starts_with("key.") {
                self.certificates.clear();
            }
        }
    }

    /// Nothing is known any more.
    pub(super) fn clear(&mut self) {
        self.generation += 1;
        self.keys.clear();
        self.subjects.clear();
        self.logins.clear();
        self.certificates.clear();
        self.crowded.clear();
    }

    /// Key ids of a certificate, for somebody who shows it.
    pub(super) fn certificate(&self, sha256: &str, visitor: &Visitor) -> Option<Arc<[String]>> {
        let all = self.certificates.get(sha256);
        all.or_else(|| self.crowded.get(&crowded(sha256, visitor))).cloned()
    }

    pub(super) fn login(&self, login: &str) -> Option<Id> {
        self.logins.get(login).cloned()
    }

    pub(super) fn key(&self, key_id: &str) -> Option<Arc<KeyFacts>> {
        self.keys.get(key_id).cloned()
    }

    pub(super) fn subject(&self, subject: &Id) -> Option<Arc<SubjectFacts>> {
        self.subjects.get(subject).cloned()
    }

    /// Keeps what was read when `generation` was in force, of the key's application as well.
    pub(super) fn put_key(&mut self, key_id: &str, facts: Arc<KeyFacts>, generation: u64) {
        if generation != self.generation {
            return;
        }
        self.put_subject(facts.subject.holder.id(), facts.subject.clone(), generation);
        if self.keys.len() >= KNOWN_MAX {
            self.keys.clear();
        }
        self.keys.insert(key_id.into(), facts);
    }

    /// The same for a user's login.
    pub(super) fn put_login(&mut self, login: &str, user: Id, generation: u64) {
        if generation != self.generation {
            return;
        }
        if self.logins.len() >= KNOWN_MAX {
            self.logins.clear();
        }
        self.logins.insert(login.into(), user);
    }

    /// The same for a certificate. Those that are shown are signed by an authority of ours, so nobody fills it with
    /// inventions.
    pub(super) fn put_certificate(&mut self, sha256: &str, key_ids: Arc<[String]>, generation: u64) {
        if generation != self.generation {
            return;
        }
        if self.certificates.len() >= KNOWN_MAX {
            self.certificates.clear();
        }
        self.certificates.insert(sha256.into(), key_ids);
    }

    /// The same for one that too many have written down. That nobody was granted something is not kept: what there is can
    /// be counted, what is asked for cannot.
    pub(super) fn put_crowded(
        &mut self,
        sha256: &str,
        visitor: &Visitor,
        key_ids: Arc<[String]>,
        generation: u64,
    ) {
        if generation != self.generation || key_ids.is_empty() {
            return;
        }
        if self.crowded.len() >= KNOWN_MAX {
            self.crowded.clear();
        }
        self.crowded.insert(crowded(sha256, visitor), key_ids);
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
