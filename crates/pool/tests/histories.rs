//! Random histories against a reference model of who owns what, with the recount after every step.

#[path = "histories/books.rs"]
mod books;
#[path = "histories/drain.rs"]
mod drain;
#[path = "histories/ops.rs"]
mod ops;
#[path = "histories/shares.rs"]
mod shares;
#[path = "histories/world.rs"]
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};

use crate::ops::{Op, Shape};
use crate::shares::Grants;
use crate::world::World;

/// Fixed seeds, so that a run says the same tomorrow; `PROPTEST_CASES` makes it longer.
fn config(seed: u64) -> Config {
    let regressions = FileFailurePersistence::Direct("tests/histories/regressions.txt");
    Config {
        failure_persistence: Some(Box::new(regressions)),
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}

fn run(shape: &Shape, grants: Grants, history: &[Op]) {
    let mut world = World::new(shape, grants);
    for op in history {
        world.step(op);
    }
    world.drain();
    world.dismantle();
}

proptest! {
    #![proptest_config(config(1))]

    /// Many pools, targets and workers under small limits, with everything that can go wrong.
    #[test]
    fn any_history_keeps_the_invariants(shape in ops::shape(), history in ops::history(1..160)) {
        run(&shape, Grants::NONE, &history);
    }
}

proptest! {
    #![proptest_config(config(2))]

    /// The same with few changes of the configuration: longer stretches of traffic.
    #[test]
    fn traffic_keeps_the_invariants(shape in ops::shape(), history in ops::traffic(1..400)) {
        run(&shape, Grants::NONE, &history);
    }
}

proptest! {
    #![proptest_config(config(3))]

    /// The same with grants that have weights.
    #[test]
    fn grants_share_queues_by_their_weights(
        shape in ops::shape(),
        grants in ops::grants(),
        history in ops::history(1..300),
    ) {
        run(&shape, grants, &history);
    }
}
