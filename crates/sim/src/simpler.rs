//! What could be simpler about a step or a world. Each proposal is smaller than what it replaces, so that trying comes
//! to an end.

use crate::history::{
    Answer, Arrival, Back, Backoff, Cancel, Course, Ending, Farewell, Leaving, Limits, Login, Minimum, Mood,
    Newcomers, Order, Picks, Place, PoolShape, Pooling, Reload, Shape, Step, Talk, Turns, Visit, What,
};

/// Proposals: changed copies that differ from the original.
struct Proposals<'a, T> {
    of: &'a T,
    list: Vec<T>,
}

impl<T: Clone + PartialEq> Proposals<'_, T> {
    fn of(of: &T) -> Proposals<'_, T> {
        Proposals { of, list: Vec::new() }
    }

    fn propose(&mut self, change: impl FnOnce(&mut T)) {
        let mut changed = self.of.clone();
        change(&mut changed);
        if changed != *self.of {
            self.list.push(changed);
        }
    }
}

/// A rounder and smaller time.
fn less(us: u64) -> u64 {
    match us {
        0..10 => 0,
        _ => 10u64.pow(us.ilog10() - u32::from(us == 10u64.pow(us.ilog10()))),
    }
}

/// Simpler steps.
pub(crate) fn simpler_steps(step: &Step) -> Vec<Step> {
    let mut proposals = Proposals::of(step);
    proposals.propose(|step| step.after_us = 0);
    proposals.propose(|step| step.after_us = less(step.after_us));
    let whats = match &step.what {
        What::Arrive(plan) => simpler_arrivals(plan).into_iter().map(What::Arrive).collect(),
        What::Cancel { nth, cancel } => {
            let simple = Cancel { connect_us: 0, strike_us: cancel.strike_us, course: Course::Proper };
            let simplest = Cancel { strike_us: 0, ..simple };
            vec![
                What::Cancel { nth: 0, cancel: *cancel },
                What::Cancel { nth: *nth, cancel: simplest },
                What::Cancel { nth: *nth, cancel: simple },
                What::Cancel { nth: *nth, cancel: Cancel { strike_us: 0, ..*cancel } },
                What::Cancel { nth: *nth, cancel: Cancel { connect_us: 0, ..*cancel } },
            ]
        }
        What::Mood { target, mood } => simpler_moods(mood)
            .into_iter()
            .map(|mood| What::Mood { target: *target, mood })
            .chain([What::Mood { target: 0, mood: *mood }])
            .collect(),
        What::SetPool { nth, shape } => simpler_pools(shape)
            .into_iter()
            .map(|shape| What::SetPool { nth: *nth, shape })
            .chain([What::SetPool { nth: 0, shape: shape.clone() }])
            .collect(),
        What::AddPool(shape) => simpler_pools(shape).into_iter().map(What::AddPool).collect(),
        What::Visit(visit) => simpler_visits(visit).into_iter().map(What::Visit).collect(),
        What::Notify { .. } => vec![What::Notify { channel: 1 }],
        What::Vanish { .. } => vec![What::Vanish { nth: 0 }],
        What::Die { notice_us, .. } => {
            vec![What::Die { nth: 0, notice_us: *notice_us }, What::Die { nth: 0, notice_us: 0 }]
        }
        What::Crash { target, .. } => vec![What::Crash { target: *target, notice_us: 0 }],
        What::Reload { nth, reload } => {
            let line = reload.line.clone();
            let bare = Box::new(Reload { line, general: None });
            vec![What::Reload { nth: 0, reload: reload.clone() }, What::Reload { nth: *nth, reload: bare }]
        }
        What::RemovePool { .. } => vec![What::RemovePool { nth: 0 }],
        What::Pause { .. } => vec![What::Pause { database: None }],
        What::Resume { .. } => vec![What::Resume { database: None }],
        What::Reconnect { .. } => vec![What::Reconnect { database: None }],
        What::RefuseWaiters { .. } => vec![What::RefuseWaiters { database: None }],
        What::SecretChanged { .. } => vec![What::SecretChanged { nth: 0 }],
        What::Look { .. }
        | What::Foreign { .. }
        | What::Budget { .. }
        | What::DatabaseMax { .. }
        | What::UserMax { .. }
        | What::Allotted { .. }
        | What::Slack { .. }
        | What::RenewWaits { .. }
        | What::Stale { .. } => Vec::new(),
    };
    for what in whats {
        // What has been proposed before must not come back.
        let smaller = rank(&what) < rank(&step.what);
        proposals.propose(|step| {
            if smaller {
                step.what = what;
            }
        });
    }
    proposals.list
}

/// The longer it takes to say, the less simple it is; of two that are said alike, the one with the smaller numbers.
fn rank(what: &What) -> (usize, String) {
    let text = format!("{what:?}");
    (text.len(), text)
}

fn simpler_arrivals(plan: &Arrival) -> Vec<Arrival> {
    let mut proposals = Proposals::of(plan);
    proposals.propose(|plan| plan.leave_us = None);
    proposals.propose(|plan| plan.rounds = 1);
    proposals.propose(|plan| plan.think_us = 0);
    proposals.propose(|plan| plan.wait_us = 0);
    proposals.propose(|plan| plan.take_us = 0);
    proposals.propose(|plan| plan.hold_us = 0);
    proposals.propose(|plan| plan.hold_us = less(plan.hold_us));
    proposals.propose(|plan| plan.back = Back::Clean);
    proposals.propose(|plan| plan.worker = 0);
    proposals.propose(|plan| plan.application = 0);
    proposals.propose(|plan| plan.pool = 0);
    proposals.list
}

fn simpler_visits(visit: &Visit) -> Vec<Visit> {
    let mut proposals = Proposals::of(visit);
    for arrival in simpler_arrivals(&visit.arrival) {
        proposals.propose(|visit| visit.arrival = arrival);
    }
    for talk in simpler_talks(&visit.talk) {
        proposals.propose(|visit| visit.talk = talk);
    }
    proposals.list
}

fn simpler_talks(talk: &Talk) -> Vec<Talk> {
    let mut proposals = Proposals::of(talk);
    proposals.propose(|talk| talk.units.truncate(talk.units.len() / 2));
    for at in (0..talk.units.len()).rev() {
        proposals.propose(|talk| drop(talk.units.remove(at)));
    }
    proposals.propose(|talk| (talk.style, talk.application) = (0, 0));
    proposals.propose(|talk| talk.leaving = Leaving::Vanish);
    for dice in 0..talk.dice.min(8) {
        proposals.propose(|talk| talk.dice = dice);
    }
    proposals.list
}

fn simpler_moods(mood: &Mood) -> Vec<Mood> {
    let mut proposals = Proposals::of(mood);
    proposals.propose(|mood| {
        *mood = Mood {
            login: Login::Accept,
            login_us: 0,
            answer: Answer::Well,
            answer_us: 0,
            farewell: Farewell::Seen,
            close_us: 0,
        };
    });
    proposals.propose(|mood| (mood.login, mood.login_us) = (Login::Accept, 0));
    proposals.propose(|mood| (mood.answer, mood.answer_us) = (Answer::Well, 0));
    proposals.propose(|mood| (mood.farewell, mood.close_us) = (Farewell::Seen, 0));
    proposals.propose(|mood| mood.login_us = 0);
    proposals.propose(|mood| mood.answer_us = 0);
    proposals.propose(|mood| mood.close_us = 0);
    proposals.list
}

fn simpler_pools(pool: &PoolShape) -> Vec<PoolShape> {
    let mut proposals = Proposals::of(pool);
    proposals.propose(|pool| (pool.database, pool.user) = (0, 0));
    proposals.propose(|pool| pool.database = 0);
    proposals.propose(|pool| pool.user = 0);
    proposals.propose(|pool| pool.targets = pool.targets.min(1));
    proposals.propose(|pool| pool.targets &= 1);
    proposals.propose(|pool| pool.picks = Picks::InTurn);
    proposals.propose(|pool| pool.place = Place::Ordinary);
    let Pooling { mode, cleaning, prepared_max, .. } = pool.pooling;
    proposals.propose(|pool| pool.pooling = Pooling { mode, cleaning, prepared_max, ..Pooling::PLAIN });
    proposals.propose(|pool| pool.pooling = Pooling { mode, cleaning, ..Pooling::PLAIN });
    let plain = Limits {
        size: pool.limits.size,
        min_size: 0,
        min: Minimum::WithClients,
        reserve_size: 0,
        reserve_us: 0,
        lifetime_us: 3_600_000_000,
        idle_us: 0,
        check_us: None,
        login_retry_us: 0,
        backoff: Backoff::Fixed,
        newcomers: Newcomers::Wait,
        guaranteed: 0,
        weight: 1,
        turns: Turns::Arrival,
        pool_idle_us: 0,
        order: Order::Newest,
    };
    let old = pool.limits.clone();
    let limits = [
        plain.clone(),
        Limits { min_size: 0, min: Minimum::WithClients, ..old.clone() },
        Limits { reserve_size: 0, reserve_us: 0, ..old.clone() },
        Limits { lifetime_us: plain.lifetime_us, ..old.clone() },
        Limits { idle_us: 0, ..old.clone() },
        Limits { check_us: None, ..old.clone() },
        Limits { login_retry_us: 0, ..old.clone() },
        Limits { backoff: Backoff::Fixed, ..old.clone() },
        Limits { newcomers: Newcomers::Wait, ..old.clone() },
        Limits { guaranteed: 0, ..old.clone() },
        Limits { weight: 1, ..old.clone() },
        Limits { turns: Turns::Arrival, ..old.clone() },
        Limits { pool_idle_us: 0, ..old.clone() },
        Limits { order: Order::Newest, ..old.clone() },
        Limits { size: 1.min(old.size), ..old.clone() },
        Limits { size: old.size.saturating_sub(1).max(1), ..old },
    ];
    for limits in limits {
        proposals.propose(|pool| pool.limits = limits);
    }
    proposals.list
}

/// Simpler worlds.
pub(crate) fn simpler_shapes(shape: &Shape) -> Vec<Shape> {
    let mut proposals = Proposals::of(shape);
    proposals.propose(|shape| shape.workers = 1);
    proposals.propose(|shape| shape.slack_us = 0);
    proposals.propose(|shape| shape.logins_max = 100);
    proposals.propose(|shape| shape.skew_us = 0);
    proposals.propose(|shape| shape.tick_us = 0);
    proposals.propose(|shape| shape.weights = [1; 3]);
    proposals.propose(|shape| shape.ending = Ending::Dismantle);
    if shape.pools.len() > 1 {
        for at in (0..shape.pools.len()).rev() {
            proposals.propose(|shape| {
                shape.pools.remove(at);
            });
        }
    }
    if shape.targets.len() > 1 {
        proposals.propose(|shape| {
            shape.targets.pop();
        });
    }
    for at in 0..shape.targets.len() {
        proposals.propose(|shape| shape.targets[at].budget = None);
        proposals.propose(|shape| (shape.targets[at].reserved, shape.targets[at].places) = (0, 20));
        for mood in simpler_moods(&shape.targets[at].mood) {
            proposals.propose(|shape| shape.targets[at].mood = mood);
        }
    }
    for at in 0..shape.pools.len() {
        for pool in simpler_pools(&shape.pools[at]) {
            proposals.propose(|shape| shape.pools[at] = pool);
        }
    }
    proposals.list
}
