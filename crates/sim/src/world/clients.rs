//! What clients do: come, ask, take up, hold, give back, vanish.

use std::time::Duration;

use plimsoll_pool::{Request, Requested, Returned, WaitCause};
use plimsoll_types::{Cause, ClientId, HoldId, Moment, PoolId, Side, SlotId, WorkerId};

use super::{Client, ClientDoing, Doing, Event, Kept, Used, Wait, World, ensure, nth};
use crate::history::{Arrival, Back};
use crate::server::Condition;

/// How long the shell waits until the place of a connection that it has cut off is free.
const CUT_OFF_US: u64 = 3_000_000;

/// How long the end of a connection stays unseen that is with nobody.
const UNSEEN_US: u64 = 200;

impl World {
    pub(crate) fn arrive(&mut self, plan: Arrival) -> Kept {
        self.come(plan).map_or(Ok(()), |client| self.ask(client))
    }

    /// A client comes, and has not asked yet.
    pub(super) fn come(&mut self, plan: Arrival) -> Option<ClientId> {
        let pools: Vec<PoolId> = self.pools.keys().copied().collect();
        let pool = nth(&pools, plan.pool)?;
        let client = ClientId(self.number());
        let worker = WorkerId(plan.worker % self.shape.workers.max(1));
        let rounds = plan.rounds.max(1);
        self.clients.insert(client, Client { plan, pool, worker, rounds, doing: ClientDoing::Thinks });
        self.count_clients(pool, 1);
        if let Some(leave_us) = plan.leave_us {
            self.enter(leave_us, Event::Leaves(client));
        }
        Some(client)
    }

    fn count_clients(&mut self, pool: PoolId, change: i32) {
        let Some(model) = self.pools.get_mut(&pool) else { return };
        model.clients = model.clients.saturating_add_signed(change);
        let clients = model.clients;
        self.driver.set_clients(pool, clients, self.now);
    }

    /// A client asks for a connection.
    pub(crate) fn ask(&mut self, id: ClientId) -> Kept {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        if client.doing != ClientDoing::Thinks {
            return Ok(());
        }
        client.rounds = client.rounds.saturating_sub(1);
        let Client { pool, worker, plan, .. } = *client;
        self.tally.requests += 1;
        let (class, weight) = self.class_of(plan.application);
        let wait_max = Duration::from_micros(plan.wait_us);
        let wait_cause = WaitCause::QueryWaitTimeout;
        let request = Request { pool, client: id, worker, wait_max, wait_cause, class, weight };
        match self.driver.request(request, self.now) {
            Requested::Granted(grant) => {
                let waits = self.waits_of(pool).count();
                ensure(waits == 0, "3: nobody overtakes", || format!("{id:?} overtook {waits} in {pool:?}"))?;
                self.granted(id, grant)?;
                self.take(id, grant.hold)
            }
            Requested::Queued(ticket) => {
                let turn = self.number();
                let ends = (plan.wait_us > 0).then(|| Moment(self.now.0 + plan.wait_us));
                let application = plan.application;
                let wait = Wait { ticket, since: self.now, turn, application, ends };
                self.client(id).doing = ClientDoing::Waits(wait);
                self.share(pool, application);
                let fresh = self.waiting.insert(ticket, id).is_none();
                ensure(fresh, "3: a ticket is one client's", || format!("{ticket:?} twice"))
            }
            Requested::Refused(cause) => {
                self.refused(id, &cause);
                Ok(())
            }
        }
    }

    /// Those who wait in a pool.
    pub(crate) fn waits_of(&self, pool: PoolId) -> impl Iterator<Item = (WorkerId, Wait)> {
        self.waiting.values().filter_map(move |id| {
            let client = self.clients.get(id)?;
            match client.doing {
                ClientDoing::Waits(wait) if client.pool == pool => Some((client.worker, wait)),
                _ => None,
            }
        })
    }

    pub(crate) fn refused(&mut self, id: ClientId, cause: &Cause) {
        self.tell(|| format!("{id:?} is refused: {}", cause.message()));
        self.tally.refusals += 1;
        self.digest(1, id.0);
        self.next_round(id);
    }

    /// A client has been answered: it asks again, or goes.
    fn next_round(&mut self, id: ClientId) {
        if self.talks.is_speaker(id) {
            // It has been told why, and is closed.
            return self.forget_client(id);
        }
        let client = self.client(id);
        client.doing = ClientDoing::Thinks;
        let (rounds, think_us) = (client.rounds, client.plan.think_us);
        if rounds > 0 {
            self.enter(think_us, Event::Asks(id));
        } else {
            self.forget_client(id);
        }
    }

    pub(super) fn forget_client(&mut self, id: ClientId) {
        self.talks.forget_client(id);
        if let Some(client) = self.clients.remove(&id) {
            self.count_clients(client.pool, -1);
        }
    }

    /// A client takes up what it was granted.
    pub(crate) fn take(&mut self, id: ClientId, hold: HoldId) -> Kept {
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        match client.doing {
            ClientDoing::Granted(slot, granted) if granted == hold => {
                client.doing = ClientDoing::Holds(slot, hold);
                let (pool, hold_us) = (client.pool, client.plan.hold_us);
                self.set_condition(slot, Condition::Busy);
                self.ledger.begin(slot, hold, id, pool, self.now)?;
                if self.talks.is_speaker(id) {
                    return self.take_up(id, slot, hold);
                }
                self.enter(hold_us, Event::Returns(id, hold));
            }
            ClientDoing::GoneWhileGranted(slot, granted) if granted == hold => {
                self.forget_client(id);
                self.hand_over(slot, Back::Clean);
            }
            _ => {}
        }
        Ok(())
    }

    /// A client is done with its connection.
    pub(crate) fn give_back(&mut self, id: ClientId, hold: HoldId) -> Kept {
        let Some(client) = self.clients.get(&id).copied() else { return Ok(()) };
        match client.doing {
            // What the server would have answered does not come: the end of the connection will be noticed.
            ClientDoing::Holds(slot, held)
                if held == hold && self.is_alive(slot) && !self.talks.is_speaker(id) =>
            {
                self.end_hold(id, slot, client.plan.back)?;
                self.next_round(id);
            }
            _ => {}
        }
        Ok(())
    }

    /// The connection of a client broke.
    pub(crate) fn hold_breaks(&mut self, id: ClientId, slot: SlotId) -> Kept {
        let Some(client) = self.clients.get(&id).copied() else { return Ok(()) };
        if let ClientDoing::GoneWhileGranted(..) = client.doing {
            // It is on its way back unseen: whoever has it next finds out.
            self.enter(UNSEEN_US, Event::Notice(slot));
            return Ok(());
        }
        if let ClientDoing::Holds(..) = client.doing
            && self.talks.is_speaker(id)
        {
            return self.break_wire(id);
        }
        if let ClientDoing::Granted(..) = client.doing {
            self.hand_over(slot, Back::Unusable);
        } else {
            self.end_hold(id, slot, Back::Unusable)?;
        }
        self.next_round(id);
        Ok(())
    }

    pub(super) fn end_hold(&mut self, id: ClientId, slot: SlotId, back: Back) -> Kept {
        self.set_condition(
            slot,
            match back {
                Back::Clean => Condition::Clean,
                Back::Dirty => Condition::Dirty,
                Back::Unusable | Back::CutOff => Condition::Busy,
            },
        );
        self.tell(|| format!("{id:?} gives {slot:?} back, {back}"));
        self.ledger.end(slot, self.now)?;
        self.hand_over(slot, back);
        Ok(())
    }

    /// The shell tells the pool that a connection is back.
    fn hand_over(&mut self, slot: SlotId, back: Back) {
        let now = self.now;
        self.set(slot, Doing::Idle);
        self.connection(slot).used = Used::Since;
        let returned = match back {
            Back::Clean => Returned::Clean,
            Back::Dirty => Returned::Dirty,
            Back::Unusable | Back::CutOff => Returned::Unusable(Cause::ServerStateUnknown),
        };
        self.driver.returned(slot, returned, now);
        if back == Back::CutOff {
            self.set(slot, Doing::Lost);
            self.driver.lost(slot, now);
            self.end_backend(slot, 0);
            self.enter(CUT_OFF_US, Event::SeenClosed(slot));
        }
    }

    /// One of the clients goes away without a word.
    pub(crate) fn vanish(&mut self, n: u32) -> Kept {
        let there: Vec<ClientId> = self.clients.keys().copied().collect();
        nth(&there, n).map_or(Ok(()), |id| self.leave(id))
    }

    pub(crate) fn leave(&mut self, id: ClientId) -> Kept {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&id) else { return Ok(()) };
        match client.doing {
            ClientDoing::Thinks => self.forget_client(id),
            ClientDoing::Waits(wait) => {
                let pool = client.pool;
                self.waiting.remove(&wait.ticket);
                self.driver.withdrawn(wait.ticket, now);
                self.forget_client(id);
                self.unshare(pool);
            }
            ClientDoing::Granted(slot, hold) => client.doing = ClientDoing::GoneWhileGranted(slot, hold),
            ClientDoing::GoneWhileGranted(..) => {}
            ClientDoing::Holds(..) if self.talks.is_speaker(id) => {
                return self.close_client(id, Side::Client, &Cause::ClientEof);
            }
            ClientDoing::Holds(slot, _) => {
                // One that rests between statements can be cleaned; one that works cannot be used again.
                let back = if client.plan.back == Back::Dirty { Back::Dirty } else { Back::Unusable };
                let back = if self.is_alive(slot) { back } else { Back::Unusable };
                self.end_hold(id, slot, back)?;
                self.forget_client(id);
            }
        }
        self.tell(|| format!("{id:?} is gone"));
        Ok(())
    }

    pub(crate) fn client(&mut self, id: ClientId) -> &mut Client {
        self.clients.get_mut(&id).expect("the model speaks of clients that are there")
    }
}
