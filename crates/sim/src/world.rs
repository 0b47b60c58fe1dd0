//! The world around the pool: clients, connections and servers as the model knows them, kept apart from the pool's
//! books, on a virtual clock.

mod admin;
mod books;
mod cancels;
mod clients;
mod connections;
mod faults;
mod grants;
mod reloads;
mod shares;
mod speakers;
mod talks;
mod wires;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plimsoll_session::Settings;
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, WorkerId};

use crate::agenda::Agenda;
use crate::driver::{Driver, Sabotage};
use crate::history::{Arrival, Course, PoolShape, Shape, Step, What};
use crate::ledger::Ledger;
use crate::server::{BackendId, Server};
pub(crate) use connections::LOST_MAX_US;
use reloads::Configuration;
use shares::Shares;
use talks::Talks;

/// A history begins then, microseconds.
const BEGINS: u64 = 1_000_000;

/// No history here needs as many events; one that does goes round in circles.
const EVENTS_MAX: u64 = 300_000;

/// No more attempts to connect than this, beyond those that served a client, come in a second: eight pools that may
/// retry every 10 ms make 800.
const FRUITLESS_MAX: u64 = 1_200;

/// No more logins than this are refused by a server for want of a place within a second: one of each of eight pools
/// before it is known, then one after 100 ms, 200 ms, 400 ms; and the same again when others have come or gone.
const FULL_MAX: u64 = 24;

/// An invariant that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub rule: &'static str,
    /// What is wrong.
    pub what: String,
}

/// Whether all invariants have been kept.
pub(crate) type Kept = Result<(), Broken>;

/// Breaks a rule.
pub(crate) fn broken<T>(rule: &'static str, what: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { rule, what: what.into() })
}

/// The rule is kept if it `holds`.
pub(crate) fn ensure(holds: bool, rule: &'static str, what: impl FnOnce() -> String) -> Kept {
    if holds { Ok(()) } else { broken(rule, what()) }
}

/// What was done in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events and steps.
    pub events: u64,
    /// Requests of clients.
    pub requests: u64,
    /// Grants.
    pub grants: u64,
    /// Attempts to connect.
    pub opens: u64,
    /// Requests refused.
    pub refusals: u64,
    /// Connections closed.
    pub closes: u64,
    /// Cancel requests that struck.
    pub cancels: u64,
    /// Logins refused with 53300.
    pub full: u64,
    /// What clients that speak have said, in units.
    pub said: u64,
    /// Messages they have received, each the right one.
    pub heard: u64,
    /// Rounds of parameters before a client's own messages.
    pub settled: u64,
    /// Connections that came back from clients that speak, to be used again.
    pub reused: u64,
    /// The same, with something left behind.
    pub reused_with_leftovers: u64,
    /// Reset and check queries that were answered.
    pub rounds: u64,
    /// Everything, folded into one number: two runs of one history agree in it.
    pub digest: u64,
}

/// A pool as the configuration has it.
#[derive(Clone, Debug)]
pub(crate) struct PoolModel {
    pub(crate) shape: PoolShape,
    pub(crate) targets: Vec<TargetId>,
    /// What CONNECTION LIMITs leave it.
    pub(crate) allotted: Option<u32>,
    pub(crate) clients: u32,
    pub(crate) settings: Arc<Settings>,
}

/// A client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) plan: Arrival,
    pub(crate) pool: PoolId,
    pub(crate) worker: WorkerId,
    pub(crate) rounds: u8,
    pub(crate) doing: ClientDoing,
}

/// What a client is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientDoing {
    /// It will ask.
    Thinks,
    /// It is in the queue.
    Waits(Wait),
    /// It has been granted a connection and has not taken it up.
    Granted(SlotId, HoldId),
    /// The same, but it has gone meanwhile.
    GoneWhileGranted(SlotId, HoldId),
    /// It uses it.
    Holds(SlotId, HoldId),
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) ticket: Ticket,
    pub(crate) since: Moment,
    pub(crate) turn: u64,
    pub(crate) application: u32,
    /// When it ends; `None`: never.
    pub(crate) ends: Option<Moment>,
}

/// A connection as the shell knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) pool: PoolId,
    pub(crate) target: TargetId,
    pub(crate) database: u32,
    pub(crate) user: u32,
    pub(crate) home: WorkerId,
    pub(crate) doing: Doing,
    /// When it began to do that.
    pub(crate) since: Moment,
    /// Counts what it did, so that a late event finds it changed.
    pub(crate) epoch: u32,
    pub(crate) used: Used,
    pub(crate) cancels: u32,
    pub(crate) backend: Option<BackendId>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Opening(Attempt),
    Idle,
    Held(ClientId, HoldId),
    Cleaning,
    Checking,
    Closing,
    Lost,
}

/// What will become of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    In,
    InAndDead,
    NoAnswer,
    Refused,
    Full,
    WrongPassword,
    RoleFull,
}

/// Whether a connection has been used since it was last known to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// Opened or checked since.
    NotSince,
    /// Used since.
    Since,
}

/// A cancel request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CancelModel {
    pub(crate) slot: SlotId,
    pub(crate) hold: HoldId,
    pub(crate) pool: PoolId,
    pub(crate) stage: Stage,
    pub(crate) strike_us: u64,
    pub(crate) course: Course,
}

/// How far a cancel request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its connection is being made.
    Connecting,
    /// The key has been sent.
    Sent,
    /// Nobody waits for it any more, and it may still strike.
    Late,
}

/// What is going to happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    LoginEnds(SlotId, u32),
    QueryEnds(SlotId, u32),
    CloseTimeout(SlotId),
    SeenClosed(SlotId),
    BackendEnds(TargetId, BackendId),
    Notice(SlotId),
    Asks(ClientId),
    Takes(ClientId, HoldId),
    Returns(ClientId, HoldId),
    Leaves(ClientId),
    Cancel(u64),
    Looks,
    /// A client says what it says next.
    Speaks(ClientId),
    /// Bytes of a client arrive.
    Arrives(ClientId),
    /// A limit of a client's time may be over.
    Limit(ClientId),
    /// Bytes of a server arrive.
    Answers(SlotId),
    /// A statement that takes time has ended: the how manieth of its connection.
    Wakes(SlotId, u32),
}

/// A second: until when it lasts, and what had been counted when it began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    ends: Moment,
    opens: u64,
    grants: u64,
    full: u64,
}

/// The world.
pub(crate) struct World {
    pub(crate) driver: Driver,
    pub(crate) now: Moment,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) shape: Shape,
    pub(crate) slack_us: u64,
    pub(crate) servers: Vec<Server>,
    pub(crate) budgets: Vec<Option<u32>>,
    /// Servers that were looked at.
    pub(crate) asked: BTreeSet<TargetId>,
    pub(crate) databases: BTreeMap<u32, Option<u32>>,
    pub(crate) users: BTreeMap<u32, Option<u32>>,
    pub(crate) pools: BTreeMap<PoolId, PoolModel>,
    pub(crate) paused: BTreeSet<Option<u32>>,
    pub(crate) clients: BTreeMap<ClientId, Client>,
    pub(crate) waiting: BTreeMap<Ticket, ClientId>,
    pub(crate) connections: BTreeMap<SlotId, Connection>,
    pub(crate) cancels: BTreeMap<u64, CancelModel>,
    /// Slots that are gone, in the order in which they went, and looked up.
    pub(crate) gone: Vec<SlotId>,
    pub(crate) gone_slots: BTreeSet<SlotId>,
    pub(crate) holds: BTreeSet<HoldId>,
    pub(crate) ledger: Ledger,
    pub(crate) talks: Talks,
    pub(crate) configuration: Configuration,
    /// Whether nobody pauses to think any more.
    pub(crate) hurry: bool,
    pub(crate) tally: Tally,
    pub(crate) moves: u64,
    /// Up to which number everybody had come when an application was granted something from a queue: the last time but
    /// one, and the last time.
    pub(crate) turns: BTreeMap<(PoolId, u32), (u64, u64)>,
    pub(crate) shares: Shares,
    /// Counts clients, turns and cancels.
    pub(crate) numbers: u64,
    /// The second that has begun.
    pub(crate) second: Second,
    /// When timeouts were looked at last.
    pub(crate) looked: Moment,
    pub(crate) trace: Option<Vec<String>>,
}

/// The `n`th of some, going round.
pub(crate) fn nth<T: Copy>(some: &[T], n: u32) -> Option<T> {
    some.get((n as usize).checked_rem(some.len())?).copied()
}

impl World {
    pub(crate) fn new(shape: &Shape, sabotage: Option<Sabotage>) -> World {
        let mut world = World {
            driver: Driver::new(shape, sabotage),
            now: Moment(BEGINS),
            agenda: Agenda::new(),
            shape: shape.clone(),
            slack_us: shape.slack_us,
            servers: Vec::new(),
            budgets: Vec::new(),
            asked: BTreeSet::new(),
            databases: BTreeMap::new(),
            users: BTreeMap::new(),
            pools: BTreeMap::new(),
            paused: BTreeSet::new(),
            clients: BTreeMap::new(),
            waiting: BTreeMap::new(),
            connections: BTreeMap::new(),
            cancels: BTreeMap::new(),
            gone: Vec::new(),
            gone_slots: BTreeSet::new(),
            holds: BTreeSet::new(),
            ledger: Ledger::new(),
            talks: Talks::new(),
            configuration: Configuration::default(),
            hurry: false,
            tally: Tally::default(),
            moves: 0,
            turns: BTreeMap::new(),
            shares: Shares::default(),
            numbers: 0,
            second: Second::default(),
            looked: Moment(0),
            trace: None,
        };
        for target in &shape.targets {
            world.driver.add_target(target.budget);
            world.budgets.push(target.budget);
            world.servers.push(Server::new(target));
        }
        for pool in &shape.pools {
            world.add_pool(pool);
        }
        world.enter(1_000_000, Event::Looks);
        world
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn enter(&mut self, after_us: u64, event: Event) {
        self.agenda.enter(Moment(self.now.0 + after_us), event);
    }

    /// Writes down what happens, if anybody wants to read it.
    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now.0 - BEGINS;
            trace.push(format!("{:>10}.{:03} ms  {}", at / 1000, at % 1000, line()));
        }
    }

    /// Folds something that was decided into the digest.
    pub(crate) fn digest(&mut self, what: u64, index: u64) {
        let mixed = (self.tally.digest ^ what.rotate_left(48) ^ index ^ self.now.0.rotate_left(17))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.tally.digest = mixed ^ (mixed >> 29);
    }

    /// Time goes by until the step, and it happens.
    pub(crate) fn step(&mut self, step: &Step) -> Kept {
        self.run_until(Moment(self.now.0 + step.after_us))?;
        self.tell(|| format!("** {}", step.what));
        self.happen(&step.what)?;
        self.settle()
    }

    /// Lets everything happen that is due until then.
    pub(crate) fn run_until(&mut self, end: Moment) -> Kept {
        loop {
            let timeout = self.next_timeout();
            let event = self.agenda.due();
            let Some(next) = timeout.into_iter().chain(event).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if event.is_some_and(|event| timeout.is_none_or(|timeout| event <= timeout)) {
                if let Some(event) = self.agenda.next() {
                    self.take_place(event)?;
                }
            } else {
                self.look_at_timeouts()?;
                self.settle()?;
            }
        }
        self.now = self.now.max(end);
        Ok(())
    }

    /// An event, and what follows from it.
    fn take_place(&mut self, event: Event) -> Kept {
        let before = self.driver.times_told();
        self.come_true(event)?;
        let bytes_only = matches!(
            event,
            Event::Speaks(_) | Event::Arrives(_) | Event::Limit(_) | Event::Answers(_) | Event::Wakes(..)
        );
        if bytes_only && before == self.driver.times_told() {
            // The pool has heard nothing: its books are as they were.
            self.count_event()?;
            return self.compare_wires();
        }
        self.settle()
    }

    /// When the shell looks at the pool's timeouts next.
    fn next_timeout(&self) -> Option<Moment> {
        let due = self.driver.due()?.0.max(self.looked.0 + 1);
        let tick_us = self.shape.tick_us;
        Some(Moment(if tick_us == 0 { due } else { due.div_ceil(tick_us) * tick_us }))
    }

    fn look_at_timeouts(&mut self) -> Kept {
        let now = self.now;
        self.driver.timeout(now);
        self.looked = now;
        let due = self.driver.due();
        ensure(due.is_none_or(|due| due > now), "a timeout ends", || {
            format!("{due:?} is due again at {now:?}")
        })
    }

    fn come_true(&mut self, event: Event) -> Kept {
        match event {
            Event::LoginEnds(slot, epoch) => self.login_ends(slot, epoch),
            Event::QueryEnds(slot, epoch) => self.query_ends(slot, epoch)?,
            Event::CloseTimeout(slot) => self.close_timeout(slot),
            Event::SeenClosed(slot) => self.seen_closed(slot),
            Event::BackendEnds(target, backend) => self.servers[target.0 as usize].end(backend),
            Event::Notice(slot) => self.notice(slot)?,
            Event::Asks(client) => self.ask(client)?,
            Event::Takes(client, hold) => self.take(client, hold)?,
            Event::Returns(client, hold) => self.give_back(client, hold)?,
            Event::Leaves(client) => self.leave(client)?,
            Event::Cancel(number) => self.cancel_proceeds(number)?,
            Event::Speaks(client) => self.speak(client)?,
            Event::Arrives(client) => self.arrive_bytes(client)?,
            Event::Limit(client) => self.limit(client)?,
            Event::Answers(slot) => self.answer_bytes(slot)?,
            Event::Wakes(slot, naps) => self.wake(slot, naps)?,
            Event::Looks => {
                self.look()?;
                // Whoever asks a server once goes on asking: the pool counts on it.
                for target in self.asked.clone() {
                    self.look_at(target);
                }
                self.enter(1_000_000, Event::Looks);
            }
        }
        Ok(())
    }

    fn happen(&mut self, what: &What) -> Kept {
        match what {
            What::Arrive(plan) => self.arrive(*plan),
            What::Visit(visit) => self.visit(visit),
            What::Reload { nth, reload } => {
                self.reload(*nth, reload)?;
                self.post_reload()
            }
            What::Notify { channel } => {
                self.notify(&format!("ch{channel}"));
                Ok(())
            }
            What::Vanish { nth } => self.vanish(*nth),
            What::Cancel { nth, cancel } => self.begin_cancel(*nth, *cancel),
            What::Stale { nth } => self.try_stale(*nth),
            What::Mood { .. } | What::Crash { .. } | What::Die { .. } | What::Foreign { .. } => {
                self.fault(what);
                Ok(())
            }
            What::Look { .. }
            | What::SecretChanged { .. }
            | What::Budget { .. }
            | What::DatabaseMax { .. }
            | What::UserMax { .. }
            | What::Allotted { .. }
            | What::Slack { .. }
            | What::RenewWaits { .. }
            | What::AddPool(_)
            | What::SetPool { .. }
            | What::RemovePool { .. }
            | What::Pause { .. }
            | What::Resume { .. }
            | What::Reconnect { .. }
            | What::RefuseWaiters { .. } => {
                self.administer(what);
                self.post_reload()
            }
        }
    }

    /// Carries out what the pool wants done, and compares the books.
    pub(crate) fn settle(&mut self) -> Kept {
        self.count_event()?;
        let now = self.now;
        while let Some(action) = self.driver.next_action(now) {
            self.act(action)?;
        }
        self.ensure_calm()?;
        self.compare()
    }

    fn count_event(&mut self) -> Kept {
        self.tally.events += 1;
        let (events, now) = (self.tally.events, self.now);
        ensure(events < EVENTS_MAX, "a history ends", || format!("{events} events at {now:?}"))
    }

    /// Servers are not stormed with logins that serve nobody, nor with such as they refuse for want of a place.
    fn ensure_calm(&mut self) -> Kept {
        let Tally { opens, grants, full, .. } = self.tally;
        let before = self.second;
        if self.now >= before.ends {
            self.second = Second { ends: Moment(self.now.0 + 1_000_000), opens, grants, full };
            return Ok(());
        }
        let (opens, grants, full) = (opens - before.opens, grants - before.grants, full - before.full);
        ensure(opens <= grants + FRUITLESS_MAX, "liveness: no storm of logins", || {
            format!("{opens} opens for {grants} grants within a second")
        })?;
        ensure(full <= FULL_MAX * self.servers.len() as u64, "liveness: no storm of refused logins", || {
            format!("{full} logins refused for want of a place within a second")
        })
    }
}
