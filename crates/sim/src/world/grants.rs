//! Carries out what the pool wants done, and holds each decision against the model.

use plimsoll_pool::{Action, Grant, Moves};
use plimsoll_types::{Cause, ClientId, PoolId, SlotId, TargetId, Ticket, WorkerId};

use super::{ClientDoing, Connection, Doing, Event, Kept, PoolModel, Used, Wait, World, broken, ensure};
use crate::history::Place;
use crate::server::Condition;

/// What an uncapped pool may have: the model wants a number.
const NO_CAP: u32 = u32::MAX;

impl World {
    pub(crate) fn act(&mut self, action: Action) -> Kept {
        self.tell(|| format!("{action:?}"));
        match action {
            Action::Grant { ticket, client, grant } => {
                let wait = self.end_wait(ticket, client)?;
                self.ensure_turn(client, &wait, grant.slot)?;
                self.ensure_applications_take_turns(client, wait.application)?;
                let pool = self.client(client).pool;
                self.ensure_proportion(pool, &wait)?;
                self.granted(client, grant)?;
                self.unshare(pool);
                let take_us = self.client(client).plan.take_us;
                self.enter(take_us, Event::Takes(client, grant.hold));
                Ok(())
            }
            Action::Refuse { ticket, client, cause } => {
                let wait = self.end_wait(ticket, client)?;
                let over = wait.ends.is_some_and(|ends| self.now.0 + self.shape.skew_us >= ends.0);
                ensure(over || cause != Cause::QueryWaitTimeout, "3: told why not", || {
                    format!("{client:?} timed out before {wait:?} was over")
                })?;
                let pool = self.client(client).pool;
                self.refused(client, &cause);
                self.unshare(pool);
                Ok(())
            }
            Action::Open { slot, pool, target, worker } => self.open(slot, pool, target, worker),
            Action::Check { slot } => self.begin(slot, Doing::Checking),
            Action::Clean { slot } => self.begin(slot, Doing::Cleaning),
            Action::Close { slot, .. } => match self.known(slot)?.doing {
                Doing::Idle => {
                    self.begin_close(slot);
                    Ok(())
                }
                // It was cut off: there is nothing left to be closed.
                Doing::Lost => Ok(()),
                other => broken("2: one state", format!("{slot:?} closed while {other:?}")),
            },
        }
    }

    /// A connection that the pool speaks of.
    fn known(&self, slot: SlotId) -> Result<Connection, super::Broken> {
        let Some(connection) = self.connections.get(&slot) else {
            return broken("2: one state", format!("{slot:?} is not there"));
        };
        Ok(*connection)
    }

    /// The wait behind a ticket is over.
    fn end_wait(&mut self, ticket: Ticket, client: ClientId) -> Result<Wait, super::Broken> {
        let waiter = self.waiting.remove(&ticket);
        let doing = self.clients.get(&client).map(|client| client.doing);
        match doing {
            Some(ClientDoing::Waits(wait)) if waiter == Some(client) && wait.ticket == ticket => Ok(wait),
            _ => broken(
                "3: only who waits is answered",
                format!("{ticket:?} {client:?}: {waiter:?} {doing:?}"),
            ),
        }
    }

    /// First come, first served, where the queue is shared of each application: nobody older waits, unless on another
    /// worker and by no more than the slack.
    fn ensure_turn(&self, client: ClientId, wait: &Wait, slot: SlotId) -> Kept {
        let Some(granted) = self.clients.get(&client) else { return Ok(()) };
        let home = self.known(slot)?.home;
        let slack_us = self.slack_us + self.shape.skew_us;
        let in_turn = self.is_shared(granted.pool);
        let rivals =
            |other: &Wait| other.turn < wait.turn && (!in_turn || other.application == wait.application);
        for (worker, older) in self.waits_of(granted.pool).filter(|(_, other)| rivals(other)) {
            let by_home = home == granted.worker && worker != granted.worker;
            let within = wait.since.micros_since(older.since) <= slack_us;
            ensure(by_home && within, "3: the oldest waiter comes first", || {
                format!(
                    "{client:?} {wait:?} overtook {older:?} on {worker:?}, connection at home on {home:?}"
                )
            })?;
        }
        Ok(())
    }

    /// Where applications take turns, each is served once in a round: none comes a third time before one that waited
    /// the first time.
    fn ensure_applications_take_turns(&mut self, client: ClientId, application: u32) -> Kept {
        let Some(pool) = self.clients.get(&client).map(|client| client.pool) else { return Ok(()) };
        if !self.take_turns(pool) || !self.all_weigh_the_same() {
            return Ok(());
        }
        let served = |application| self.turns.get(&(pool, application)).copied();
        let (last_but_one, last) = served(application).unwrap_or_default();
        if last_but_one > 0 {
            let passed_over = self.waits_of(pool).map(|(_, wait)| wait).find(|wait| {
                wait.application != application
                    && wait.turn <= last_but_one
                    && served(wait.application).is_none_or(|(_, served)| served < last_but_one)
            });
            ensure(passed_over.is_none(), "3: applications take turns", || {
                format!("{client:?} of application {application} comes again before {passed_over:?}")
            })?;
        }
        self.turns.insert((pool, application), (last, self.numbers));
        Ok(())
    }

    /// A client is given a connection.
    pub(crate) fn granted(&mut self, client: ClientId, grant: Grant) -> Kept {
        let slot = grant.slot;
        self.tally.grants += 1;
        self.digest(3, u64::from(slot.index) ^ (client.0 << 32));
        let connection = self.known(slot)?;
        let (pool, worker) = (self.client(client).pool, self.client(client).worker);
        let Some(model) = self.pools.get(&pool) else {
            return broken("3: a removed pool gives nothing out", format!("{pool:?}"));
        };
        self.ensure_fit(slot, &connection, pool, model)?;
        ensure(!self.holds.contains(&grant.hold), "2: one holder", || format!("{:?} twice", grant.hold))?;
        ensure((grant.moves == Moves::Moves) == (connection.home != worker), "2: home", || {
            format!("{slot:?} at home on {:?} {:?} to {worker:?}", connection.home, grant.moves)
        })?;
        self.holds.insert(grant.hold);
        self.moves += u64::from(grant.moves == Moves::Moves);
        self.set(slot, Doing::Held(client, grant.hold));
        self.connection(slot).home = worker;
        self.client(client).doing = ClientDoing::Granted(slot, grant.hold);
        Ok(())
    }

    /// Whether a connection is one that clients of the pool may have now.
    fn ensure_fit(&self, slot: SlotId, connection: &Connection, pool: PoolId, model: &PoolModel) -> Kept {
        let shape = &model.shape;
        let what = || format!("{slot:?} {connection:?}, {pool:?}");
        ensure(!self.is_paused(shape.database), "3: nothing is granted while paused", what)?;
        ensure(connection.doing == Doing::Idle, "2: one holder", what)?;
        let ours = (connection.pool, connection.database, connection.user);
        ensure(ours == (pool, shape.database, shape.user), "5: of the right pool", what)?;
        ensure(model.targets.contains(&connection.target), "5: of a target that is listed", what)?;
        ensure(connection.cancels == 0, "cancel: none is under way", what)?;
        match self.condition(slot) {
            // Dead and not noticed yet.
            None | Some(Condition::Clean) => {}
            Some(condition) => {
                let rule = match condition {
                    Condition::Dirty => "5: no state of one client reaches another",
                    _ => "4: no unfinished answer",
                };
                return broken(rule, format!("{condition:?}: {}", what()));
            }
        }
        let Some(check_us) = shape.limits.check_us else { return Ok(()) };
        let stale = self.now.micros_since(connection.since) >= check_us + self.shape.skew_us;
        let unchecked = if check_us == 0 { connection.used == Used::Since } else { stale };
        ensure(!unchecked, "7: checked when that is due", what)
    }

    pub(crate) fn is_paused(&self, database: u32) -> bool {
        self.paused.contains(&None) || self.paused.contains(&Some(database))
    }

    /// Invariant 1: a new connection passes no limit, by the model's count.
    fn open(&mut self, slot: SlotId, pool: PoolId, target: TargetId, home: WorkerId) -> Kept {
        self.tally.opens += 1;
        self.digest(4, u64::from(slot.index) ^ (u64::from(pool.0) << 32));
        let known = self.connections.contains_key(&slot) || self.gone_slots.contains(&slot);
        ensure(!known, "2: one state", || format!("{slot:?} again"))?;
        let Some(model) = self.pools.get(&pool).cloned() else {
            return broken("3: a removed pool opens nothing", format!("{pool:?}"));
        };
        let shape = &model.shape;
        ensure(!self.is_paused(shape.database), "3: nothing is opened while paused", || format!("{pool:?}"))?;
        ensure(model.targets.contains(&target), "5: of a target that is listed", || format!("{target:?}"))?;
        let first = self.count(|other| other.pool == pool && other.doing != Doing::Lost) == 0;
        self.connect(slot, pool, target, home);
        let within = |rule, used: u32, max: Option<u32>| {
            ensure(used <= max.unwrap_or(NO_CAP), rule, || {
                format!("{used} of {max:?} at {target:?} for {pool:?}")
            })
        };
        let budget = self.budgets[target.0 as usize];
        within("1: budget", self.count(|other| other.target == target), budget)?;
        within("1: budget, as the server sees it", self.servers[target.0 as usize].ours(), budget)?;
        if !first || shape.place == Place::Ordinary {
            let of_database =
                |other: &Connection| other.database == shape.database && other.doing != Doing::Lost;
            let max = self.databases.get(&shape.database).copied().flatten();
            within("1: max_db_connections", self.count(of_database), max)?;
            let of_user = |other: &Connection| other.user == shape.user && other.doing != Doing::Lost;
            let max = self.users.get(&shape.user).copied().flatten();
            within("1: max_user_connections", self.count(of_user), max)?;
        }
        let size = shape.limits.size + shape.limits.reserve_size;
        let sized = self.count(|other| other.pool == pool && other.doing != Doing::Lost);
        within("1: pool_size and reserve_pool_size", sized, Some(size))?;
        within("1: what CONNECTION LIMITs leave", sized, model.allotted)
    }

    fn begin(&mut self, slot: SlotId, doing: Doing) -> Kept {
        let connection = self.known(slot)?;
        ensure(connection.doing == Doing::Idle && connection.cancels == 0, "2: one state", || {
            format!("{doing:?} of {slot:?} {connection:?}")
        })?;
        self.query(slot, doing);
        Ok(())
    }
}
