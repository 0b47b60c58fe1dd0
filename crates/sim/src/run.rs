//! Runs a history from its beginning to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::driver::Sabotage;
use crate::history::History;
use crate::world::{Broken, Tally, World};

/// The rule that a panic breaks.
const NO_PANIC: &str = "6: nothing panics";

/// How a history went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was done, until the end or until a rule was broken.
    pub tally: Tally,
    /// The rule that was broken.
    pub broken: Option<Broken>,
    /// What happened, line by line, if that was asked for.
    pub trace: Vec<String>,
}

/// Whether it is written down what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// No.
    Silent,
    /// Line by line.
    Lines,
}

/// Runs a history.
pub fn run(history: &History, sabotage: Option<Sabotage>, telling: Telling) -> Outcome {
    let mut world = World::new(&history.shape, sabotage);
    world.trace = (telling == Telling::Lines).then(Vec::new);
    let ran = catch_unwind(AssertUnwindSafe(|| {
        world.settle()?;
        for step in &history.steps {
            world.step(step)?;
        }
        world.end()
    }));
    let broken = match ran {
        Ok(kept) => kept.err(),
        Err(panic) => Some(Broken { rule: NO_PANIC, what: message(panic.as_ref()) }),
    };
    Outcome { tally: world.tally, broken, trace: world.trace.unwrap_or_default() }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
