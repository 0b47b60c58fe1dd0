//! What happens in a history. Numbers choose among what is there at that moment, modulo how much there is.

use std::ops::Range;
use std::time::Duration;

use plimsoll_pool::{Fairness, PoolLimits, Retry, USUAL_WEIGHT, Unreachable};
use proptest::prelude::*;
use proptest::sample::select;

use crate::shares::Grants;

/// How the world begins.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) budgets: Vec<Option<u32>>,
    pub(crate) pools: Vec<PoolShape>,
    pub(crate) slack_ms: u64,
}

/// A pool.
#[derive(Clone, Debug)]
pub(crate) struct PoolShape {
    pub(crate) database: u32,
    pub(crate) user: u32,
    /// Bits choose targets.
    pub(crate) targets: u8,
    pub(crate) until_failure: bool,
    pub(crate) limits: PoolLimits,
    /// Whether one for replication stands beside it.
    pub(crate) replicates: bool,
}

/// How a client gives its connection back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Back {
    Clean,
    Dirty,
    Unusable,
}

/// How something fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fail {
    Connect,
    Login,
    Full,
    Lost,
}

/// One event.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Request {
        pool: usize,
        worker: u16,
        wait_ms: u64,
    },
    Withdraw(usize),
    Return(usize, Back),
    Opened(usize, u16),
    Failed(usize, Fail),
    Cleaned(usize),
    Closed(usize),
    Lost(usize),
    IdleBroken(usize),
    Cancel(usize),
    CancelEnded(usize),
    /// Time goes by; `handle_timeout` is called at its end.
    Wait(u64),
    /// Time goes by unnoticed.
    Drift(u64),
    Budget(usize, Option<u32>),
    Walsenders(usize, Option<u32>),
    DatabaseLimit(u32, Option<u32>),
    UserLimit(u32, Option<u32>),
    AddPool(PoolShape),
    SetPool(usize, PoolShape),
    RemovePool(usize),
    Clients(usize, u32),
    Pause(Option<u32>),
    Resume(Option<u32>),
    Reconnect(Option<u32>),
    RefuseWaiters(Option<u32>),
    /// Everything that can be done to a slot, done to one that is gone.
    Stale(usize),
}

fn cap(range: Range<u32>) -> impl Strategy<Value = Option<u32>> + Clone {
    prop_oneof![1 => Just(None), 3 => range.prop_map(Some)]
}

fn ms(choices: &'static [u64]) -> impl Strategy<Value = Duration> {
    select(choices).prop_map(Duration::from_millis)
}

fn limits() -> impl Strategy<Value = PoolLimits> {
    let sizes = (0u32..5, 0u32..3, any::<bool>(), 0u32..3);
    let times = (
        ms(&[0, 50, 1000]),
        ms(&[0, 300, 3_600_000, 3_600_000]),
        ms(&[0, 200, 60_000]),
        prop_oneof![Just(None), ms(&[0, 20, 500, 30_000]).prop_map(Some)],
        ms(&[0, 100, 2000]),
        ms(&[0, 400]),
    );
    let shares = (0u32..3, 1u32..4, any::<bool>());
    let all = (sizes, times, shares, prop::bool::weighted(0.2));
    all.prop_map(|(sizes, times, (guaranteed, weight, doubling), round_robin)| PoolLimits {
        size: sizes.0,
        min_size: sizes.1,
        min_always: sizes.2,
        reserve_size: sizes.3,
        reserve_timeout: times.0,
        lifetime: times.1,
        idle_timeout: times.2,
        check_delay: times.3,
        retry: match doubling {
            true => Retry::Doubling { min: times.4, max: times.4 * 4, refused: times.4 * 8 },
            false => Retry::Fixed(times.4),
        },
        unreachable: if doubling { Unreachable::Wait } else { Unreachable::Refuse },
        guaranteed,
        weight,
        fairness: Fairness::Fifo,
        pool_idle_timeout: times.5,
        round_robin,
    })
}

fn pool() -> impl Strategy<Value = PoolShape> + Clone {
    let chances = (prop::bool::weighted(0.3), prop::bool::weighted(0.4));
    let parts = (0u32..3, 0u32..3, 0u8..8, chances, limits().boxed());
    parts.prop_map(|(database, user, targets, (until_failure, replicates), limits)| PoolShape {
        database,
        user,
        targets,
        until_failure,
        limits,
        replicates,
    })
}

pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let budgets = prop::collection::vec(cap(0..5), 1..4);
    let parts = (budgets, prop::collection::vec(pool(), 1..6), select(&[0u64, 5, 100][..]));
    parts.prop_map(|(budgets, pools, slack_ms)| Shape { budgets, pools, slack_ms })
}

pub(crate) fn grants() -> impl Strategy<Value = Grants> {
    let weight = || select(&[1u32, 2, 3, 7, 1000][..]);
    (weight(), weight()).prop_map(|(one, other)| Grants { weights: [USUAL_WEIGHT, one, other] })
}

fn back() -> impl Strategy<Value = Back> {
    prop_oneof![6 => Just(Back::Clean), 2 => Just(Back::Dirty), 1 => Just(Back::Unusable)]
}

fn fail() -> impl Strategy<Value = Fail> {
    select(&[Fail::Connect, Fail::Login, Fail::Full, Fail::Lost][..])
}

fn busy() -> impl Strategy<Value = Op> {
    let n = 0usize..64;
    prop_oneof![
        12 => (n.clone(), 0u16..3, select(&[0u64, 0, 0, 100, 3000][..]))
            .prop_map(|(pool, worker, wait_ms)| Op::Request { pool, worker, wait_ms }),
        1 => n.clone().prop_map(Op::Withdraw),
        10 => (n.clone(), back()).prop_map(|(n, back)| Op::Return(n, back)),
        7 => (n.clone(), 0u16..3).prop_map(|(n, worker)| Op::Opened(n, worker)),
        2 => (n.clone(), fail()).prop_map(|(n, fail)| Op::Failed(n, fail)),
        4 => n.clone().prop_map(Op::Cleaned),
        6 => n.clone().prop_map(Op::Closed),
        1 => n.clone().prop_map(Op::Lost),
        1 => n.clone().prop_map(Op::IdleBroken),
        1 => n.clone().prop_map(Op::Cancel),
        2 => n.prop_map(Op::CancelEnded),
        4 => select(&[1u64, 20, 110, 1100][..]).prop_map(Op::Wait),
        2 => select(&[1u64, 30, 600][..]).prop_map(Op::Drift),
    ]
}

fn scope() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![Just(None), (0u32..3).prop_map(Some)]
}

fn rare() -> impl Strategy<Value = Op> {
    let n = 0usize..64;
    prop_oneof![
        2 => (n.clone(), cap(0..5)).prop_map(|(n, max)| Op::Budget(n, max)),
        1 => (n.clone(), cap(0..3)).prop_map(|(n, max)| Op::Walsenders(n, max)),
        2 => (0u32..3, cap(0..4)).prop_map(|(database, max)| Op::DatabaseLimit(database, max)),
        2 => (0u32..3, cap(0..4)).prop_map(|(user, max)| Op::UserLimit(user, max)),
        1 => pool().prop_map(Op::AddPool),
        2 => (n.clone(), pool()).prop_map(|(n, pool)| Op::SetPool(n, pool)),
        1 => n.clone().prop_map(Op::RemovePool),
        2 => (n.clone(), 0u32..3).prop_map(|(n, clients)| Op::Clients(n, clients)),
        1 => scope().prop_map(Op::Pause),
        2 => scope().prop_map(Op::Resume),
        1 => scope().prop_map(Op::Reconnect),
        1 => scope().prop_map(Op::RefuseWaiters),
        1 => n.prop_map(Op::Stale),
    ]
}

pub(crate) fn history(len: Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(prop_oneof![4 => busy(), 1 => rare()], len)
}

pub(crate) fn traffic(len: Range<usize>) -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(prop_oneof![40 => busy(), 1 => rare()], len)
}
