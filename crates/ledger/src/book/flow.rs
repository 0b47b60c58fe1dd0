//! What goes through a pool: holds a second and how long they last, over the last minutes (Little's law: connections
//! needed = holds a second x time of a hold).

use std::collections::HashMap;

use plimsoll_types::{Moment, PoolId};

/// Minutes that count.
const MINUTES: usize = 5;

const MINUTE_US: u64 = 60_000_000;

/// What a pool needs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Need {
    /// Holds per second.
    pub holds_per_second: f64,
    /// Mean time of a hold, microseconds.
    pub hold_mean_us: f64,
}

impl Need {
    /// Connections that are busy on average.
    pub fn connections(&self) -> f64 {
        self.holds_per_second * self.hold_mean_us / 1e6
    }
}

/// One minute of a pool.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    number: u64,
    holds: u64,
    held_us: u64,
}

/// All pools.
#[derive(Debug, Default)]
pub(super) struct Flows(HashMap<PoolId, [Minute; MINUTES]>);

impl Flows {
    pub(super) fn ended(&mut self, pool: PoolId, held_us: u64, weight: u32, now: Moment) {
        let number = now.0 / MINUTE_US;
        if !self.0.contains_key(&pool) {
            self.forget(number);
        }
        let minutes = self.0.entry(pool).or_default();
        let minute = &mut minutes[(number % MINUTES as u64) as usize];
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute.holds = minute.holds.saturating_add(weight.into());
        minute.held_us = minute.held_us.saturating_add(held_us.saturating_mul(weight.into()));
    }

    /// Pools through which nothing went for so long that it counts no more: they may not exist any longer.
    fn forget(&mut self, number: u64) {
        let counts = |minute: &Minute| minute.number + MINUTES as u64 > number;
        self.0.retain(|_, minutes| minutes.iter().any(counts));
    }

    pub(super) fn need(&self, pool: PoolId, now: Moment) -> Need {
        let Some(minutes) = self.0.get(&pool) else { return Need::default() };
        let number = now.0 / MINUTE_US;
        let recent = minutes.iter().filter(|minute| minute.number + MINUTES as u64 > number);
        let (mut holds, mut held_us, mut first) = (0, 0, number);
        for minute in recent.filter(|minute| minute.holds > 0) {
            holds += minute.holds;
            held_us = minute.held_us.saturating_add(held_us);
            first = first.min(minute.number);
        }
        if holds == 0 {
            return Need::default();
        }
        let seconds = now.0.saturating_sub(first * MINUTE_US).max(1_000_000) as f64 / 1e6;
        Need { holds_per_second: holds as f64 / seconds, hold_mean_us: held_us as f64 / holds as f64 }
    }
}
