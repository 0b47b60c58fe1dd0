//! `plimsoll-sim --seed N | --seeds A..B [--steps M] [--verbose]`: runs histories; a seed that breaks a rule is cut down
//! and printed.

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;

use plimsoll_sim::{Cast, History, Tally, Telling, draw, run, shrink};

const USAGE: &str = "usage: plimsoll-sim [--seed N | --seeds A..B] [--steps M] [--cast WHO] [--shrink RUNS] [--verbose]\n
  --seed N       the history of one seed (0)
  --seeds A..B   those of all seeds from A to B, B not included
  --steps M      so many things happen in each (400)
  --cast WHO     silent: clients that hold and say nothing; speaking: some that speak the protocol, through the\n\
                 \x20session machine; both: the one with even seeds, the other with odd ones (both)
  --shrink RUNS  most runs to cut a history down that breaks a rule (4000)
  --verbose      prints the history of each seed, and what happens in it\n
status 0: no rule was broken; 1: one was; 2: this text\n";

/// How many seeds may break rules before the rest is left alone.
const BROKEN_MAX: u32 = 5;

/// Lines of what happened that are printed of a history cut down.
const TRACE_LINES_MAX: usize = 120;

struct Options {
    seeds: Range<u64>,
    steps: u32,
    cast: Cast,
    shrink_runs: u32,
    telling: Telling,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&arguments) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    if run_all(&options) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(arguments: &[String]) -> Option<Options> {
    let mut options =
        Options { seeds: 0..1, steps: 400, cast: Cast::Both, shrink_runs: 4000, telling: Telling::Silent };
    let mut words = arguments.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--seed" => {
                let seed: u64 = words.next()?.parse().ok()?;
                options.seeds = seed..seed.checked_add(1)?;
            }
            "--seeds" => {
                let (first, end) = words.next()?.split_once("..")?;
                options.seeds = first.parse().ok()?..end.parse().ok()?;
            }
            "--steps" => options.steps = words.next()?.parse().ok()?,
            "--cast" => {
                options.cast = match words.next()? {
                    "silent" => Cast::Silent,
                    "speaking" => Cast::Speaking,
                    "both" => Cast::Both,
                    _ => return None,
                };
            }
            "--shrink" => options.shrink_runs = words.next()?.parse().ok()?,
            "--verbose" => options.telling = Telling::Lines,
            _ => return None,
        }
    }
    (!options.seeds.is_empty()).then_some(options)
}

/// Runs all seeds; how many broke a rule.
fn run_all(options: &Options) -> u32 {
    // A panic in a history is a finding and is told once, cut down, not for each run.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut total, mut broken, mut ran) = (Tally::default(), 0, 0u64);
    for seed in options.seeds.clone() {
        let history = draw(seed, options.steps, options.cast);
        let outcome = run(&history, None, options.telling);
        ran += 1;
        add(&mut total, &outcome.tally);
        if options.telling == Telling::Lines {
            say(&format!("seed {seed}\n{history}\n{}\n", outcome.trace.join("\n")));
        }
        if let Some(rule) = outcome.broken {
            broken += 1;
            say(&format!("seed {seed}, {} steps: {}: {}\n", options.steps, rule.rule, rule.what));
            let shrunk = shrink(&history, &rule, None, options.shrink_runs);
            tell_shrunk(&shrunk.history, shrunk.runs);
        }
        if broken >= BROKEN_MAX {
            say(&format!("{broken} seeds broke a rule: the rest is left alone\n"));
            break;
        }
    }
    std::panic::set_hook(hook);
    say(&format!(
        "sim: {ran} seeds of {} steps: {} events, {} requests, {} grants, {} opens, {} refusals, {} closes, \
         {} cancels, {} logins refused (53300); {} said, {} messages heard, {} settled, {} reused ({} with leftovers), \
         {} rounds of our own; digest {:016x}; {broken} broke a rule\n",
        options.steps,
        total.events,
        total.requests,
        total.grants,
        total.opens,
        total.refusals,
        total.closes,
        total.cancels,
        total.full,
        total.said,
        total.heard,
        total.settled,
        total.reused,
        total.reused_with_leftovers,
        total.rounds,
        total.digest
    ));
    broken
}

fn tell_shrunk(history: &History, runs: u32) {
    say(&format!("\ncut down in {runs} runs to {} steps:\n{history}\n", history.steps.len()));
    let outcome = run(history, None, Telling::Lines);
    let skipped = outcome.trace.len().saturating_sub(TRACE_LINES_MAX);
    say(&format!(
        "what happens in it ({skipped} lines left out):\n{}\n",
        outcome.trace[skipped..].join("\n")
    ));
    if let Some(rule) = outcome.broken {
        say(&format!("{}: {}\n\n", rule.rule, rule.what));
    }
}

fn add(total: &mut Tally, tally: &Tally) {
    total.events += tally.events;
    total.requests += tally.requests;
    total.grants += tally.grants;
    total.opens += tally.opens;
    total.refusals += tally.refusals;
    total.closes += tally.closes;
    total.cancels += tally.cancels;
    total.full += tally.full;
    total.said += tally.said;
    total.heard += tally.heard;
    total.settled += tally.settled;
    total.reused += tally.reused;
    total.reused_with_leftovers += tally.reused_with_leftovers;
    total.rounds += tally.rounds;
    total.digest = total.digest.rotate_left(5) ^ tally.digest;
}

/// Nobody to tell if even that fails.
fn say(text: &str) {
    drop(std::io::stdout().write_all(text.as_bytes()));
}
