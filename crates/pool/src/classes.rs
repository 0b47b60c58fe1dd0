//! Waiters of one queue by class: hand-outs in proportion to weights.
//!
//! Start-time fair queueing with equal costs (Goyal, Vin, Cheng: SFQ, 1996). A class is *due* at a point of virtual time;
//! the one that is due first is served, of equal ones the one whose waiter came first. Serving moves its due point on by
//! [`ROUND`] / weight. The virtual time is that at which the class that was served last was due. A class that comes, or
//! comes back, is due now, or when it would have been due anyway: being away earns nothing, and coming back at once saves
//! nothing. Of two classes that both wait all the time, neither is ever ahead by more than one hand-out of each.
//!
//! Only classes with waiters are kept, and those that have been served before their time while somebody waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::nouns::Class;

/// Virtual time between two hand-outs of a class of weight 1. Divided by each weight up to 16 without a rest; by larger
/// ones, up to 1,000, with an error of less than 0.15 percent. 64 bits last for 25 million million of them.
const ROUND: u64 = 720_720;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    rows: BTreeMap<Class, Row>,
    /// Due, turn of the oldest waiter, class: of all that have waiters.
    order: BTreeSet<(u64, u64, Class)>,
    /// Due and class of those without waiters; all of them are due after now.
    resting: BTreeSet<(u64, Class)>,
    /// The virtual time.
    now: u64,
}

#[derive(Debug)]
struct Row {
    due: u64,
    weight: u32,
    /// By turn.
    waiters: BTreeMap<u64, u32>,
}

impl Row {
    fn key(&self, class: Class) -> Option<(u64, u64, Class)> {
        self.waiters.first_key_value().map(|(turn, _)| (self.due, *turn, class))
    }

    /// Virtual time between two of its hand-outs.
    fn stride(&self) -> u64 {
        ROUND / u64::from(self.weight.max(1))
    }
}

/// A waiter's place in the order in which a queue is served if nobody comes and nobody leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    due: u64,
    turn: u64,
    pub(crate) class: Class,
    pub(crate) weight: u32,
    pub(crate) waiter: u32,
}

impl Classes {
    /// Somebody of a class has come. The class has this weight from now on.
    pub(crate) fn enter(&mut self, class: Class, weight: u32, turn: u64, waiter: u32) {
        let now = self.now;
        let row =
            self.rows.entry(class).or_insert_with(|| Row { due: now, weight, waiters: BTreeMap::new() });
        match row.key(class) {
            Some(key) => self.order.remove(&key),
            None => self.resting.remove(&(row.due, class)),
        };
        row.weight = weight;
        row.waiters.insert(turn, waiter);
        self.order.extend(row.key(class));
    }

    /// Somebody of a class has left without having been served.
    pub(crate) fn leave(&mut self, class: Class, turn: u64) {
        let Some(row) = self.rows.get_mut(&class) else { return };
        if let Some(key) = row.key(class) {
            self.order.remove(&key);
        }
        row.waiters.remove(&turn);
        match row.key(class) {
            Some(key) => {
                self.order.insert(key);
            }
            // Nobody is left whom anybody could be ahead of.
            None if self.order.is_empty() => *self = Classes::default(),
            None if row.due > self.now => {
                self.resting.insert((row.due, class));
            }
            None => {
                self.rows.remove(&class);
            }
        }
    }

    /// Somebody of a class has been served.
    pub(crate) fn serve(&mut self, class: Class, turn: u64) {
        let Some(row) = self.rows.get_mut(&class) else { return };
        if let Some(key) = row.key(class) {
            self.order.remove(&key);
        }
        self.now = self.now.max(row.due);
        row.due += row.stride();
        while let Some((due, rested)) = self.resting.first().copied().filter(|(due, _)| *due <= self.now) {
            self.resting.remove(&(due, rested));
            self.rows.remove(&rested);
        }
        self.leave(class, turn);
    }

    /// Who is served next.
    pub(crate) fn next(&self) -> Option<u32> {
        let (_, turn, class) = self.order.first()?;
        self.rows.get(class)?.waiters.get(turn).copied()
    }

    /// The places of all waiters, in no order.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.rows.iter().flat_map(|(class, row)| {
            let dues = std::iter::successors(Some(row.due), |due| Some(due + row.stride()));
            dues.zip(&row.waiters).map(|(due, (turn, waiter))| Place {
                due,
                turn: *turn,
                class: *class,
                weight: row.weight,
                waiter: *waiter,
            })
        })
    }

    /// Compares what is kept twice.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn check(&self) -> Result<(), String> {
        let keys: BTreeSet<_> = self.rows.iter().filter_map(|(class, row)| row.key(*class)).collect();
        let resting = self.rows.iter().filter(|(_, row)| row.waiters.is_empty());
        let resting: BTreeSet<_> = resting.map(|(class, row)| (row.due, *class)).collect();
        if keys != self.order || resting != self.resting {
            return Err(format!("{self:?} is not in order"));
        }
        match resting.first() {
            Some((due, class)) if *due <= self.now => Err(format!("{class:?} rests for nothing")),
            Some(_) if keys.is_empty() => Err(format!("{self:?} remembers while nobody waits")),
            Some(_) | None => Ok(()),
        }
    }
}
