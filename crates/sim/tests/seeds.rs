//! Histories that must not break a rule: a couple of thousand, and each that ever did.

use plimsoll_sim::{Cast, Tally, Telling, draw, run, shrink};

/// Steps of each history here; `./dev soak --sim` runs longer ones.
const STEPS: u32 = 250;

/// Runs a seed; a rule that is broken is told with the history cut down.
fn run_seed(seed: u64, steps: u32, cast: Cast) -> Tally {
    let history = draw(seed, steps, cast);
    let outcome = run(&history, None, Telling::Silent);
    if let Some(broken) = outcome.broken {
        let shrunk = shrink(&history, &broken, None, 2000);
        panic!(
            "seed {seed}, {steps} steps, {cast:?}: {}: {}\ncut down:\n{}\n{}: {}",
            broken.rule, broken.what, shrunk.history, shrunk.broken.rule, shrunk.broken.what
        );
    }
    outcome.tally
}

/// Runs a range; in each, everything that is to be looked at does happen.
fn run_range(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let tallies: Vec<Tally> = seeds.map(|seed| run_seed(seed, STEPS, Cast::Both)).collect();
    let sum = |part: fn(&Tally) -> u64| tallies.iter().map(part).sum::<u64>();
    assert!(sum(|tally| tally.grants) > 20 * count, "hardly anybody is granted anything");
    assert!(sum(|tally| tally.refusals) > count, "hardly anybody is refused");
    assert!(sum(|tally| tally.opens) > 10 * count, "hardly anything is opened");
    assert!(sum(|tally| tally.closes) > count, "hardly anything is closed");
    assert!(sum(|tally| tally.cancels) > count / 2, "hardly anything is cancelled");
    assert!(sum(|tally| tally.full) > count, "servers are hardly ever full");
    // Of every second seed.
    assert!(sum(|tally| tally.said) > 40 * count, "hardly anybody says anything");
    assert!(sum(|tally| tally.heard) > 100 * count, "hardly anybody is answered");
    assert!(sum(|tally| tally.settled) > count, "hardly any parameters are set");
    assert!(sum(|tally| tally.reused) > 10 * count, "hardly anything comes back clean");
    assert!(sum(|tally| tally.reused_with_leftovers) > count, "hardly anything is left behind");
    assert!(sum(|tally| tally.rounds) > count, "hardly anything is cleaned");
}

#[test]
fn seeds_from_0_to_500() {
    run_range(0..500);
}

#[test]
fn seeds_from_500_to_1000() {
    run_range(500..1000);
}

#[test]
fn seeds_from_1000_to_1500() {
    run_range(1000..1500);
}

#[test]
fn seeds_from_1500_to_2000() {
    run_range(1500..2000);
}

/// `seeds.txt`: seed, steps, who plays, what was found.
#[test]
fn seeds_that_once_broke_a_rule() {
    let lines = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#'));
    let mut ran = 0;
    for line in lines {
        let mut words = line.split_whitespace();
        let seed = words.next().and_then(|word| word.parse().ok()).expect("a seed");
        let steps = words.next().and_then(|word| word.parse().ok()).expect("a number of steps");
        let cast = match words.next() {
            Some("silent") => Cast::Silent,
            Some("speaking") => Cast::Speaking,
            other => panic!("{line}: nobody is {other:?}"),
        };
        assert!(words.next().is_some(), "{line}: says what was found");
        run_seed(seed, steps, cast);
        ran += 1;
    }
    assert!(ran > 0, "there are seeds");
}

#[test]
fn a_seed_is_the_same_history_and_the_same_run_every_time() {
    for seed in [3, 4, 5] {
        let history = draw(seed, 200, Cast::Speaking);
        assert_eq!(history, draw(seed, 200, Cast::Speaking));
        let (once, again) = (run(&history, None, Telling::Lines), run(&history, None, Telling::Lines));
        assert_eq!(once, again);
        assert!(once.trace.len() > 200, "a history of 200 steps tells little");
        let silent = run(&history, None, Telling::Silent);
        assert_eq!(once.tally, silent.tally, "being told of it changes nothing");
        assert_ne!(history, draw(seed + 100, 200, Cast::Speaking));
    }
}
