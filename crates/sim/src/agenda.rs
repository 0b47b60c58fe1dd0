//! What is going to happen, in the order of time; in one instant, in the order in which it was entered.

use std::collections::BTreeMap;

use plimsoll_types::Moment;

/// Things to come.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    entries: BTreeMap<(Moment, u64), T>,
    entered: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Agenda<T> {
        Agenda { entries: BTreeMap::new(), entered: 0 }
    }

    pub(crate) fn enter(&mut self, at: Moment, what: T) {
        self.entered += 1;
        self.entries.insert((at, self.entered), what);
    }

    /// When the next thing is due.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn next(&mut self) -> Option<T> {
        self.entries.pop_first().map(|(_, what)| what)
    }
}
