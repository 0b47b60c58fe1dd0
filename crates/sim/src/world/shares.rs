//! What grants with weights may expect of a queue, and applications that take turns: which pools' queues are shared, and
//! that hand-outs are in proportion to weights.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_pool::{Class, USUAL_WEIGHT};
use plimsoll_types::PoolId;

use super::{Kept, Wait, World, ensure};
use crate::history::Turns;

/// What has been handed out in queues that are shared.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// Pools in whose queue somebody with a weight has been since somebody waits there.
    weighed: BTreeSet<PoolId>,
    /// How often two applications of a pool were served since both have been waiting; the smaller number first.
    served: BTreeMap<(PoolId, u32, u32), (u64, u64)>,
}

impl World {
    /// By what a client of an application is here: the first has no grant, each of the others one of its own.
    pub(crate) fn class_of(&self, application: u32) -> (Class, u32) {
        let weight = self.weight_of(application);
        match application {
            0 => (Class::Everybody, weight),
            number => (Class::Grant(number.into()), weight),
        }
    }

    fn weight_of(&self, application: u32) -> u32 {
        self.shape.weights.get(application as usize).copied().unwrap_or(USUAL_WEIGHT)
    }

    /// Whether the queue of a pool is shared now.
    pub(crate) fn is_shared(&self, pool: PoolId) -> bool {
        self.shares.weighed.contains(&pool) || self.take_turns(pool)
    }

    /// Whether applications take turns in it, whatever they weigh.
    pub(crate) fn take_turns(&self, pool: PoolId) -> bool {
        self.pools.get(&pool).is_some_and(|model| model.shape.limits.turns == Turns::Application)
    }

    /// Whether nobody weighs more than others.
    pub(crate) fn all_weigh_the_same(&self) -> bool {
        self.shape.weights.iter().all(|weight| *weight == USUAL_WEIGHT)
    }

    /// Somebody waits from now on.
    pub(crate) fn share(&mut self, pool: PoolId, application: u32) {
        if self.weight_of(application) != USUAL_WEIGHT {
            self.shares.weighed.insert(pool);
        }
    }

    /// Somebody does not wait any more: who is not there has no claims.
    pub(crate) fn unshare(&mut self, pool: PoolId) {
        let waiting: BTreeSet<u32> = self.waits_of(pool).map(|(_, wait)| wait.application).collect();
        let stays = |(of, one, other): &(PoolId, u32, u32)| {
            *of != pool || waiting.contains(one) && waiting.contains(other)
        };
        self.shares.served.retain(|key, _| stays(key));
        if waiting.is_empty() {
            self.shares.weighed.remove(&pool);
        }
    }

    /// Who is served how has changed: it begins anew.
    pub(crate) fn share_anew(&mut self, pool: PoolId) {
        self.shares.served.retain(|(of, ..), _| *of != pool);
        let applications: Vec<u32> = self.waits_of(pool).map(|(_, wait)| wait.application).collect();
        self.shares.weighed.remove(&pool);
        applications.into_iter().for_each(|application| self.share(pool, application));
    }

    /// Of two that wait all the time none is ahead by more than one hand-out of each.
    pub(crate) fn ensure_proportion(&mut self, pool: PoolId, wait: &Wait) -> Kept {
        if !self.is_shared(pool) {
            return Ok(());
        }
        let ours = wait.application;
        let rivals: BTreeSet<u32> = self.waits_of(pool).map(|(_, other)| other.application).collect();
        for theirs in rivals.into_iter().filter(|theirs| *theirs != ours) {
            let weights = (u64::from(self.weight_of(ours)), u64::from(self.weight_of(theirs)));
            let served = self.shares.served.entry((pool, ours.min(theirs), ours.max(theirs))).or_default();
            let (mine, other) =
                if ours < theirs { (&mut served.0, served.1) } else { (&mut served.1, served.0) };
            *mine += 1;
            let mine = *mine;
            ensure(
                mine * weights.1 <= other * weights.0 + weights.0 + weights.1,
                "3: hand-outs by weight",
                || {
                    format!(
                        "{ours} of weight {} was served {mine} times, {theirs} of weight {} {other} times",
                        weights.0, weights.1
                    )
                },
            )?;
        }
        Ok(())
    }
}
