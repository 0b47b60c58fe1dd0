//! Cuts a history that breaks a rule down to the few steps that matter: first chunks of steps, then single ones, then
//! what is in them, then the world; as long as the same rule is broken, for a limited number of runs.

use crate::driver::Sabotage;
use crate::history::History;
use crate::run::{Telling, run};
use crate::simpler::{simpler_shapes, simpler_steps};
use crate::world::Broken;

/// A history that cannot easily be cut further.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// It.
    pub history: History,
    /// The rule it breaks.
    pub broken: Broken,
    /// How many runs that took.
    pub runs: u32,
}

struct Shrinker {
    best: History,
    broken: Broken,
    sabotage: Option<Sabotage>,
    runs: u32,
    runs_max: u32,
}

/// Cuts down a history that breaks a rule.
pub fn shrink(history: &History, broken: &Broken, sabotage: Option<Sabotage>, runs_max: u32) -> Shrunk {
    let best = history.clone();
    let mut shrinker = Shrinker { best, broken: broken.clone(), sabotage, runs: 0, runs_max };
    while shrinker.cut_steps() | shrinker.simplify() {
        if shrinker.is_tired() {
            break;
        }
    }
    Shrunk { history: shrinker.best, broken: shrinker.broken, runs: shrinker.runs }
}

impl Shrinker {
    fn is_tired(&self) -> bool {
        self.runs >= self.runs_max
    }

    /// Takes `candidate` if it breaks the same rule.
    fn try_out(&mut self, candidate: History) -> bool {
        if self.is_tired() {
            return false;
        }
        self.runs += 1;
        match run(&candidate, self.sabotage, Telling::Silent).broken {
            Some(broken) if broken.rule == self.broken.rule => {
                self.best = candidate;
                self.broken = broken;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Leaves out steps, many at a time at first; whether any could be left out.
    fn cut_steps(&mut self) -> bool {
        let before = self.best.steps.len();
        let mut chunk = before.max(1);
        while chunk > 0 && !self.is_tired() {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(chunk);
                self.cut(start, end);
                end = start.min(self.best.steps.len());
            }
            chunk /= 2;
        }
        self.best.steps.len() < before
    }

    /// Leaves out some steps; if that does not do it, their time is left to go by.
    fn cut(&mut self, start: usize, end: usize) {
        let mut candidate = self.best.clone();
        let gone_us: u64 = candidate.steps.drain(start..end).map(|step| step.after_us).sum();
        if self.try_out(candidate.clone()) {
            return;
        }
        if let Some(next) = candidate.steps.get_mut(start)
            && gone_us > 0
        {
            next.after_us += gone_us;
            self.try_out(candidate);
        }
    }

    /// Tries simpler steps and worlds; whether any did it.
    fn simplify(&mut self) -> bool {
        let mut any = false;
        for at in 0..self.best.steps.len() {
            let mut again = true;
            while again && !self.is_tired() {
                let simpler = simpler_steps(&self.best.steps[at]);
                again = simpler.into_iter().any(|step| {
                    let mut candidate = self.best.clone();
                    candidate.steps[at] = step;
                    self.try_out(candidate)
                });
                any |= again;
            }
        }
        let mut again = true;
        while again && !self.is_tired() {
            let simpler = simpler_shapes(&self.best.shape);
            again = simpler.into_iter().any(|shape| {
                let steps = self.best.steps.clone();
                self.try_out(History { shape, steps })
            });
            any |= again;
        }
        any
    }
}
