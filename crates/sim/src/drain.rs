//! The end of a history. The faults are over: servers are well, others have gone, pauses are lifted, limits leave
//! everybody a place, whoever holds gives back. Then everybody must be answered, nothing may stay half done, and
//! after everything is dismantled nothing may be left.

use plimsoll_types::{ClientId, Moment, PoolId};

use crate::driver::BACKOFF;
use crate::history::{Answer, Ending, Farewell, Login, Mood};
use crate::world::{ClientDoing, Connection, Doing, Event, Kept, LOST_MAX_US, World, broken, ensure};

const S: u64 = 1_000_000;

/// Whoever holds gives back within this, microseconds.
const HOLD_US: u64 = S / 2;

/// Nothing under way takes longer than this with servers that are well, microseconds.
const UNDER_WAY_US: u64 = 5 * S;

/// With more clients than this nobody asks on and on.
const LOAD_MAX: usize = 24;

/// Clients that ask on and on think for so long in between at least, microseconds.
const THINK_US: u64 = 50_000;

/// Each waiter may take so long to be served beside others who ask on and on, microseconds.
const LOADED_US: u64 = S;

/// A server that is well.
const WELL: Mood = Mood {
    login: Login::Accept,
    login_us: 1_000,
    answer: Answer::Well,
    answer_us: 200,
    farewell: Farewell::Seen,
    close_us: 300,
};

impl World {
    pub(crate) fn end(&mut self) -> Kept {
        self.heal();
        self.settle()?;
        self.serve_under_load()?;
        self.stop_asking();
        self.answer_everybody()?;
        self.let_things_end()?;
        if self.shape.ending == Ending::Shutdown {
            self.driver.refuse_all(self.now);
            self.settle()?;
        }
        self.dismantle()
    }

    /// The faults are over. Where limits are as they should be they are left alone: a change would wake up who has
    /// been forgotten.
    fn heal(&mut self) {
        self.hurry = true;
        for server in &mut self.servers {
            server.mood = WELL;
            server.host(0, 0);
        }
        for scope in self.paused.clone() {
            self.resume(scope);
        }
        for target in self.asked.clone() {
            self.look_at(target);
        }
        self.lift_limits();
        self.shorten_holds();
    }

    fn shorten_holds(&mut self) {
        let clients: Vec<ClientId> = self.clients.keys().copied().collect();
        for id in clients {
            let client = self.client(id);
            client.plan.hold_us = client.plan.hold_us.min(HOLD_US);
            if let ClientDoing::Holds(_, hold) = client.doing {
                self.enter(HOLD_US, Event::Returns(id, hold));
            }
        }
    }

    fn stop_asking(&mut self) {
        for client in self.clients.values_mut() {
            client.rounds = 0;
        }
    }

    /// Whoever waits now is served although everybody else goes on asking: no pool starves another. (One that is kept
    /// out by two limits at once may have to wait until the load is over: so only where budgets are all there is.)
    fn serve_under_load(&mut self) -> Kept {
        let limits = self.databases.values().chain(self.users.values());
        if limits.flatten().next().is_some() || self.clients.len() > LOAD_MAX {
            return Ok(());
        }
        let newest = self.number();
        // Where weights share a queue so many come between two of the lightest.
        let heaviest = u64::from(self.shape.weights.into_iter().max().unwrap_or(1));
        let loaded_us = self.waiting.len() as u64 * LOADED_US * heaviest;
        let end = Moment(self.now.0 + self.patience_us() + loaded_us);
        loop {
            let mut unserved = 0;
            for client in self.clients.values_mut() {
                client.rounds = u8::MAX;
                client.plan.think_us = client.plan.think_us.max(THINK_US);
                unserved += u32::from(matches!(client.doing, ClientDoing::Waits(wait) if wait.turn < newest));
            }
            if unserved == 0 || self.now >= end {
                return ensure(unserved == 0, "liveness: no pool starves another", || {
                    let waiting: Vec<_> = self.waiting.values().map(|id| (id, &self.clients[id])).collect();
                    format!("{unserved} of {waiting:?}")
                });
            }
            self.run_until(Moment(self.now.0 + S / 10))?;
        }
    }

    /// Nobody is without an answer for longer if there is nothing in the way.
    fn patience_us(&self) -> u64 {
        let retry_us = self.pools.values().map(|model| model.shape.limits.login_retry_us).max().unwrap_or(0);
        LOST_MAX_US + 2 * BACKOFF * retry_us + UNDER_WAY_US
    }

    /// No limit is nothing.
    fn lift_limits(&mut self) {
        let now = self.now;
        for target in 0..self.budgets.len() {
            if self.budgets[target] == Some(0) {
                self.budgets[target] = Some(1);
                self.driver.set_budget(plimsoll_types::TargetId(target as u32), Some(1), now);
            }
        }
        for id in 0..3 {
            if self.databases.get(&id) == Some(&Some(0)) {
                self.databases.insert(id, Some(1));
                self.driver.set_database_max(id, Some(1), now);
            }
            if self.users.get(&id) == Some(&Some(0)) {
                self.users.insert(id, Some(1));
                self.driver.set_user_max(id, Some(1), now);
            }
        }
        for pool in self.pools.keys().copied().collect::<Vec<PoolId>>() {
            if self.pools[&pool].allotted == Some(0) {
                self.set_allotted(pool, Some(1));
            }
            let mut shape = self.pools[&pool].shape.clone();
            shape.limits.size = shape.limits.size.max(1);
            if self.targets_of(&shape).is_empty() {
                shape.targets = 1;
            }
            if shape != self.pools[&pool].shape {
                self.set_pool(pool, &shape);
            }
        }
    }

    /// Invariant 3, in the end: nobody is forgotten.
    fn answer_everybody(&mut self) -> Kept {
        let patience_us = self.patience_us();
        let (mut waiting, mut answered) = (self.waiting.len(), self.now);
        while !self.waiting.is_empty() && self.now.micros_since(answered) < patience_us {
            self.run_until(Moment(self.now.0 + S / 10))?;
            if self.waiting.len() < waiting {
                (waiting, answered) = (self.waiting.len(), self.now);
            }
        }
        let forgotten: Vec<_> = self.waiting.values().map(|id| (id, &self.clients[id])).collect();
        if forgotten.is_empty() {
            return Ok(());
        }
        let slots: Vec<_> = self.driver.slots().map(|view| (view.pool, view.state)).collect();
        let what = format!("nobody was answered in {} s: {forgotten:?}, slots: {slots:?}", patience_us / S);
        broken("liveness: every waiter is answered", what)
    }

    /// Nothing is under way for ever; who is still there goes.
    fn let_things_end(&mut self) -> Kept {
        // Who was thinking when everybody else was answered asks once more.
        self.run_until(Moment(self.now.0 + S))?;
        self.answer_everybody()?;
        self.run_until(Moment(self.now.0 + LOST_MAX_US + S))?;
        // And who thinks for longer than that, where logins have failed and are not tried again at once.
        self.answer_everybody()?;
        let stuck = |connection: &&Connection| {
            connection.doing != Doing::Idle && self.now.micros_since(connection.since) > UNDER_WAY_US
        };
        let stuck: Vec<_> = self.connections.values().filter(stuck).collect();
        ensure(stuck.is_empty(), "liveness: nothing is under way for ever", || format!("{stuck:?}"))?;
        let there: Vec<_> = self.clients.values().collect();
        ensure(there.is_empty(), "liveness: everybody has gone", || format!("{there:?}"))?;
        ensure(self.cancels.is_empty(), "liveness: cancels end", || format!("{:?}", self.cancels))?;
        let idle = self.connections.iter().filter(|(_, connection)| connection.doing == Doing::Idle);
        let dead: Vec<_> = idle.filter(|(slot, _)| !self.is_alive(**slot)).collect();
        ensure(dead.is_empty(), "9: what the server sees, at rest", || format!("it has not {dead:?}"))?;
        Ok(())
    }

    /// All pools go: nothing may be left of them.
    fn dismantle(&mut self) -> Kept {
        for pool in self.pools.keys().copied().collect::<Vec<PoolId>>() {
            self.remove_pool(pool);
            self.settle()?;
        }
        self.run_until(Moment(self.now.0 + UNDER_WAY_US))?;
        let slots: Vec<_> = self.driver.slots().collect();
        ensure(slots.is_empty(), "the end: nothing is left", || format!("{slots:?}"))?;
        let due = self.driver.due();
        ensure(due.is_none(), "the end: nothing is left", || format!("something is due at {due:?}"))?;
        let seen: u32 = self.servers.iter().map(crate::server::Server::ours).sum();
        ensure(seen == 0, "the end: nothing is left", || format!("servers see {seen} of us"))
    }
}
