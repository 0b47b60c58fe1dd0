//! A history from a seed.

mod talks;

use plimsoll_pool::USUAL_WEIGHT;

use crate::history::{
    Answer, Arrival, Back, Backoff, Cancel, Course, Ending, Farewell, History, Limits, Login, Minimum, Mood,
    Newcomers, Order, Picks, Place, PoolShape, Pooling, Shape, Step, TargetShape, Turns, What,
};
use crate::rng::Rng;

const MS: u64 = 1_000;
const S: u64 = 1_000_000;

/// So many pools in a hundred have a place of their own. None, as long as such a pool storms servers with logins and
/// keeps others' idle connections above the limits that it passes: with 10 here, seeds 86, 91 and 114 show it.
const GUARANTEED_PERCENT: u32 = 10;

/// What kind of day it is: what there is much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Day {
    /// Traffic, and hardly anything else.
    Quiet,
    /// Some of everything.
    Mixed,
    /// Servers that fail.
    Stormy,
    /// Somebody at the console and in the configuration.
    Busy,
}

/// Who plays in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// Clients that hold connections for a time and say nothing.
    Silent,
    /// Some that speak the protocol among them, through the session machine.
    Speaking,
    /// The one with even seeds, the other with odd ones.
    Both,
}

/// The history of a seed: `steps` things happen in it, or somewhat fewer where clients speak.
pub fn draw(seed: u64, steps: u32, cast: Cast) -> History {
    let mut rng = Rng::new(seed);
    let day = rng.pick(&[Day::Quiet, Day::Mixed, Day::Mixed, Day::Stormy, Day::Busy]);
    let shape = Shape { weights: weights(seed), ..shape(&mut rng) };
    let pace = rng.pick(&[0, 1, 2, 3]);
    let steps = (0..steps).map(|_| step(&mut rng, day, pace, &shape)).collect();
    let mut history = History { shape, steps };
    match cast {
        Cast::Speaking => talks::dress(&mut history, seed),
        Cast::Both if seed & 1 == 1 => talks::dress(&mut history, seed),
        Cast::Silent | Cast::Both => {}
    }
    history
}

/// By chance of their own, so that seeds that were written down before there were weights draw what they drew.
fn weights(seed: u64) -> [u32; 3] {
    let mut rng = Rng::new(seed.rotate_left(32) ^ 0x5745_4947);
    if rng.chance(50) {
        return [USUAL_WEIGHT; 3];
    }
    let mut weight = || rng.pick(&[USUAL_WEIGHT, 2, 3, 10]);
    [USUAL_WEIGHT, weight(), weight()]
}

fn shape(rng: &mut Rng) -> Shape {
    let targets = rng.pick(&[1, 1, 2, 3]);
    let pools = rng.between(1, 6);
    Shape {
        workers: rng.pick(&[1, 2, 2, 3, 4]),
        slack_us: rng.pick(&[0, 5 * MS, 5 * MS, 100 * MS]),
        skew_us: rng.pick(&[0, 0, 0, 20]),
        logins_max: rng.pick(&[1, 2, 4, 4, 100]),
        tick_us: rng.pick(&[0, 0, 100 * MS]),
        weights: [USUAL_WEIGHT; 3],
        targets: (0..targets).map(|_| target(rng)).collect(),
        pools: (0..pools).map(|_| pool(rng)).collect(),
        remodels: false,
        ending: rng.pick(&[Ending::Dismantle, Ending::Dismantle, Ending::Shutdown]),
    }
}

fn target(rng: &mut Rng) -> TargetShape {
    let reserved = rng.below(3);
    TargetShape {
        places: reserved + rng.between(1, 10),
        reserved,
        budget: rng.unless(25, |rng| rng.between(1, 7)),
        mood: mood(rng, 5),
    }
}

/// `bad`: so many times in a hundred it is a bad one, for each part.
fn mood(rng: &mut Rng, bad: u32) -> Mood {
    let login = if rng.chance(bad) {
        rng.pick(&[
            Login::AcceptAndDie,
            Login::Nobody,
            Login::StartingUp,
            Login::WrongPassword,
            Login::RoleFull,
            Login::HangOutside,
            Login::HangInside,
        ])
    } else {
        Login::Accept
    };
    Mood {
        login,
        login_us: rng.pick(&[0, 200, MS, MS, 5 * MS, 100 * MS, S]),
        answer: if rng.chance(bad) { Answer::Fails } else { Answer::Well },
        answer_us: if rng.chance(bad) { rng.pick(&[S, 5 * S]) } else { rng.pick(&[0, 100, 300, 2 * MS]) },
        farewell: if rng.chance(bad) { Farewell::Unseen } else { Farewell::Seen },
        close_us: if rng.chance(bad) {
            rng.pick(&[500 * MS, 5 * S, 30 * S])
        } else {
            rng.pick(&[0, 100, MS, 20 * MS])
        },
    }
}

fn pool(rng: &mut Rng) -> PoolShape {
    PoolShape {
        database: rng.below(3),
        user: rng.below(3),
        targets: if rng.chance(5) { 0 } else { rng.between(1, 7) as u8 },
        picks: if rng.chance(30) { Picks::UntilFailure } else { Picks::InTurn },
        place: if rng.chance(GUARANTEED_PERCENT) { Place::Guaranteed } else { Place::Ordinary },
        limits: limits(rng),
        pooling: Pooling::PLAIN,
    }
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        size: rng.pick(&[0, 1, 1, 2, 2, 3, 3, 5, 8]),
        min_size: rng.pick(&[0, 0, 0, 1, 2]),
        min: if rng.chance(20) { Minimum::Always } else { Minimum::WithClients },
        reserve_size: rng.pick(&[0, 0, 1, 2]),
        reserve_us: rng.pick(&[0, 30 * MS, 5 * S]),
        lifetime_us: rng.pick(&[0, 300 * MS, 10 * S, 3600 * S, 3600 * S, 3600 * S]),
        idle_us: rng.pick(&[0, 200 * MS, 60 * S]),
        check_us: rng.unless(40, |rng| rng.pick(&[0, 20 * MS, 500 * MS, 30 * S])),
        login_retry_us: rng.pick(&[0, 100 * MS, 100 * MS, 2 * S, 2 * S, 15 * S]),
        backoff: rng.pick(&[Backoff::Fixed, Backoff::Doubling]),
        newcomers: rng.pick(&[Newcomers::Wait, Newcomers::AreRefused]),
        guaranteed: rng.pick(&[0, 0, 0, 1, 2]),
        weight: rng.pick(&[1, 1, 1, 2, 5]),
        turns: rng.pick(&[Turns::Arrival, Turns::Arrival, Turns::Application]),
        pool_idle_us: rng.pick(&[0, 0, 400 * MS]),
        order: if rng.chance(20) { Order::Oldest } else { Order::Newest },
    }
}

fn step(rng: &mut Rng, day: Day, pace: u32, shape: &Shape) -> Step {
    let after_us = match (rng.below(100), pace) {
        (0..30, _) => 0,
        (30..60, 0) => rng.pick(&[1, 10, 100]),
        (30..60, _) => rng.pick(&[10, 200, MS]),
        (60..90, 0 | 1) => rng.pick(&[200, MS, 3 * MS]),
        (60..90, _) => rng.pick(&[MS, 10 * MS, 40 * MS]),
        (90..98, 0 | 1) => rng.pick(&[20 * MS, 110 * MS]),
        (90..98, _) => rng.pick(&[110 * MS, 300 * MS, 1100 * MS]),
        (98.., 0..=2) => rng.pick(&[S, 3 * S]),
        _ => rng.pick(&[3 * S, 16 * S, 70 * S]),
    };
    let (faults, admin) = match day {
        Day::Quiet => (2, 1),
        Day::Mixed => (10, 6),
        Day::Stormy => (25, 2),
        Day::Busy => (4, 20),
    };
    let roll = rng.below(100);
    let what = if roll < faults {
        fault(rng)
    } else if roll < faults + admin {
        administer(rng)
    } else {
        traffic(rng, shape)
    };
    Step { after_us, what }
}

fn traffic(rng: &mut Rng, shape: &Shape) -> What {
    match rng.below(100) {
        0..4 => What::Vanish { nth: rng.below(64) },
        4..10 => What::Cancel { nth: rng.below(64), cancel: cancel(rng) },
        10..12 => What::Stale { nth: rng.below(64) },
        _ => What::Arrive(arrival(rng, shape)),
    }
}

fn arrival(rng: &mut Rng, shape: &Shape) -> Arrival {
    let stalls = rng.chance(3);
    Arrival {
        pool: rng.below(shape.pools.len() as u32 + 1),
        worker: rng.below(u32::from(shape.workers)) as u16,
        application: rng.below(3),
        wait_us: rng.pick(&[0, 0, 0, 100 * MS, 3 * S]),
        take_us: rng.pick(&[0, 0, 20, 500]),
        hold_us: if stalls {
            rng.pick(&[5 * S, 600 * S])
        } else {
            rng.pick(&[50, 300, MS, MS, 10 * MS, 200 * MS])
        },
        back: match rng.below(100) {
            0..70 => Back::Clean,
            70..90 => Back::Dirty,
            90..98 => Back::Unusable,
            _ => Back::CutOff,
        },
        rounds: rng.pick(&[1, 1, 1, 2, 5]),
        think_us: rng.pick(&[0, 100, 5 * MS]),
        leave_us: if rng.chance(8) { Some(rng.pick(&[0, 20, 500, MS, 50 * MS])) } else { None },
    }
}

fn cancel(rng: &mut Rng) -> Cancel {
    Cancel {
        connect_us: rng.pick(&[0, 200, 5 * MS]),
        strike_us: rng.pick(&[0, 100, 10 * MS]),
        course: if rng.chance(10) { Course::Late } else { Course::Proper },
    }
}

fn fault(rng: &mut Rng) -> What {
    let target = rng.below(3);
    match rng.below(100) {
        0..20 => What::Mood { target, mood: mood(rng, 40) },
        20..45 => What::Mood { target, mood: mood(rng, 0) },
        45..55 => What::Crash { target, notice_us: notice(rng) },
        55..75 => What::Die { nth: rng.below(64), notice_us: notice(rng) },
        75..85 => What::Look { target },
        85..88 => What::SecretChanged { nth: rng.below(8) },
        _ => What::Foreign {
            target,
            ordinary: rng.pick(&[0, 0, 1, 3, 10]),
            superusers: rng.pick(&[0, 0, 1, 3]),
        },
    }
}

fn notice(rng: &mut Rng) -> u64 {
    rng.pick(&[0, 50, MS, 200 * MS])
}

fn administer(rng: &mut Rng) -> What {
    let max = |rng: &mut Rng, last| rng.unless(25, |rng| rng.between(0, last));
    match rng.below(100) {
        0..14 => What::Budget { target: rng.below(3), max: max(rng, 5) },
        14..26 => What::DatabaseMax { database: rng.below(3), max: max(rng, 4) },
        26..38 => What::UserMax { user: rng.below(3), max: max(rng, 4) },
        38..43 => What::AddPool(pool(rng)),
        43..55 => What::SetPool { nth: rng.below(8), shape: pool(rng) },
        55..60 => What::RemovePool { nth: rng.below(8) },
        60..68 => What::Pause { database: scope(rng) },
        68..83 => What::Resume { database: scope(rng) },
        83..89 => What::Reconnect { database: scope(rng) },
        89..93 => What::RefuseWaiters { database: scope(rng) },
        93..97 => What::RenewWaits { wait_us: rng.pick(&[0, 50 * MS, 2 * S]) },
        97..99 => What::Slack { slack_us: rng.pick(&[0, 5 * MS, 50 * MS]) },
        _ => {
            // One throw of the dice, as for the slack that used to be here: the rest of the history stays as it was.
            let thrown = rng.below(8 * 5);
            What::Allotted { nth: thrown / 5, max: (thrown % 5 < 4).then_some(thrown % 5) }
        }
    }
}

fn scope(rng: &mut Rng) -> Option<u32> {
    rng.unless(40, |rng| rng.below(3))
}
