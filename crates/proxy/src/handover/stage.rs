//! Standing still. A client's task that looks here between two turns leaves its [`Relay`] in a seat and waits: it gets it
//! back, or never runs again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use plimsoll_types::SlotId;
use tokio::sync::watch;

use super::carry::Carrier;
use crate::control_thread::ConsoleClient;
use crate::listener::Fresh;
use crate::relay::Relay;

/// How far the process is with handing over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not at all. Next: `Closed`.
    Running,
    /// Nobody is accepted any more; clients are served. Next: `Still`, or `Running`.
    Closed,
    /// Nothing moves. Next: `Given`, or `Running`.
    Still,
    /// Everything belongs to another process. Next: the end.
    Given,
}

/// What has come to rest.
#[derive(Default)]
pub(crate) struct Resting {
    /// Clients.
    pub(crate) relays: Vec<Seated>,
    /// Sockets of which nobody has been told anything yet.
    pub(crate) fresh: Vec<Fresh>,
    /// Clients of the console.
    pub(crate) consoles: Vec<ConsoleClient>,
}

/// A client at rest.
pub(crate) struct Seated {
    pub(crate) relay: Box<Relay>,
    pub(crate) seat: Arc<Seat>,
}

/// Where a client's task waits.
pub(crate) struct Seat(Mutex<Waiting>);

enum Waiting {
    /// For word.
    Asleep(Waker),
    /// It has come.
    Told(Fate),
}

/// What becomes of a client's task.
pub(crate) enum Fate {
    /// It goes on.
    GoOn(Box<Relay>),
    /// Its socket stays, and its bytes go to and from another process.
    Carry(Box<Carrier>),
    /// It is over.
    End,
}

impl Seat {
    fn new(waker: Waker) -> Seat {
        Seat(Mutex::new(Waiting::Asleep(waker)))
    }

    /// A seat from which a client gets up at once.
    pub(crate) fn left(relay: Box<Relay>) -> Arc<Seat> {
        Arc::new(Seat(Mutex::new(Waiting::Told(Fate::GoOn(relay)))))
    }

    /// A seat in which nobody sits.
    pub(crate) fn nowhere() -> Arc<Seat> {
        Arc::new(Seat(Mutex::new(Waiting::Told(Fate::End))))
    }

    /// Tells the task.
    pub(crate) fn tell(&self, fate: Fate) {
        let before = std::mem::replace(&mut *self.0.lock(), Waiting::Told(fate));
        if let Waiting::Asleep(waker) = before {
            waker.wake();
        }
    }

    /// Waits for word.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Fate> {
        let mut waiting = self.0.lock();
        match std::mem::replace(&mut *waiting, Waiting::Asleep(waker.clone())) {
            Waiting::Asleep(_) => Poll::Pending,
            Waiting::Told(fate) => Poll::Ready(fate),
        }
    }
}

/// See the module.
pub(crate) struct Stillness {
    /// The same as the stage, for those who look with each turn.
    still: AtomicBool,
    stage: watch::Sender<Stage>,
    /// Clients' relays there are, wherever.
    relays: AtomicUsize,
    /// Tasks that accept.
    acceptors: AtomicUsize,
    /// Logins under way.
    logins: AtomicUsize,
    /// Connections that are carried.
    carried: AtomicUsize,
    resting: Mutex<Resting>,
    changed: Condvar,
    /// Server connections that were left and have ended.
    ended: Mutex<Vec<SlotId>>,
}

impl Default for Stillness {
    fn default() -> Stillness {
        Stillness {
            still: AtomicBool::new(false),
            stage: watch::Sender::new(Stage::Running),
            relays: AtomicUsize::new(0),
            acceptors: AtomicUsize::new(0),
            logins: AtomicUsize::new(0),
            carried: AtomicUsize::new(0),
            resting: Mutex::default(),
            changed: Condvar::new(),
            ended: Mutex::default(),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Clients' relays.
    Relays,
    /// Tasks that accept.
    Acceptors,
    /// Logins under way.
    Logins,
    /// Connections that are carried.
    Carried,
}

impl Stillness {
    /// Whether a client's task is to leave what it has here.
    #[inline]
    pub(crate) fn is_still(&self) -> bool {
        self.still.load(Ordering::Relaxed)
    }

    /// Whether what comes to rest now is handed over: nothing may change hands meanwhile.
    #[inline]
    pub(crate) fn is_taking(&self) -> bool {
        self.is_still() && self.stage() == Stage::Still
    }

    /// How far the process is.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// For those who wait for a stage.
    pub(crate) fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// A new stage begins.
    pub(crate) fn enter(&self, stage: Stage) {
        self.still.store(matches!(stage, Stage::Still | Stage::Given), Ordering::SeqCst);
        self.stage.send_replace(stage);
    }

    fn counter(&self, of: Count) -> &AtomicUsize {
        match of {
            Count::Relays => &self.relays,
            Count::Acceptors => &self.acceptors,
            Count::Logins => &self.logins,
            Count::Carried => &self.carried,
        }
    }

    /// How many there are.
    pub(crate) fn count(&self, of: Count) -> usize {
        self.counter(of).load(Ordering::SeqCst)
    }

    /// One more.
    pub(crate) fn add(&self, of: Count) {
        self.counter(of).fetch_add(1, Ordering::SeqCst);
    }

    /// One less.
    pub(crate) fn remove(&self, of: Count) {
        self.counter(of).fetch_sub(1, Ordering::SeqCst);
        if self.stage() != Stage::Running {
            let _resting = self.resting.lock();
            self.changed.notify_all();
        }
    }

    /// A client comes to rest: where its task waits. Whether it does is settled under the lock: who comes after those that
    /// rest have been taken would never be told.
    pub(crate) fn rest(&self, relay: Box<Relay>, waker: &Waker) -> Arc<Seat> {
        let mut resting = self.resting.lock();
        match self.stage() {
            Stage::Running | Stage::Closed => Seat::left(relay),
            Stage::Still => {
                let seat = Arc::new(Seat::new(waker.clone()));
                resting.relays.push(Seated { relay, seat: seat.clone() });
                drop(resting);
                self.changed.notify_all();
                seat
            }
            Stage::Given => {
                drop(resting);
                // It has been told nothing by the new process: it comes again.
                relay.let_go_of();
                Seat::nowhere()
            }
        }
    }

    /// Something else comes to rest; given back where nobody takes it any more.
    pub(crate) fn put<T>(&self, what: T, put: impl FnOnce(&mut Resting, T)) -> Result<(), T> {
        let mut resting = self.resting.lock();
        match self.stage() {
            Stage::Running | Stage::Closed | Stage::Given => return Err(what),
            Stage::Still => put(&mut resting, what),
        }
        drop(resting);
        self.changed.notify_all();
        Ok(())
    }

    /// All that rests.
    pub(crate) fn take(&self) -> Resting {
        std::mem::take(&mut *self.resting.lock())
    }

    /// Waits until all clients rest. False: not all do in time.
    pub(crate) fn all_rest(&self, until: Instant) -> bool {
        self.wait(until, |resting| resting.relays.len() >= self.count(Count::Relays))
    }

    /// Waits until so many clients of the console rest. False: not so many do in time.
    pub(crate) fn consoles_rest(&self, consoles: u32, until: Instant) -> bool {
        let consoles = usize::try_from(consoles).unwrap_or(usize::MAX);
        self.wait(until, |resting| resting.consoles.len() >= consoles)
    }

    /// Waits until there is none. False: there still is one.
    pub(crate) fn none_left(&self, of: Count, until: Instant) -> bool {
        self.wait(until, |_| self.count(of) == 0)
    }

    /// A server connection that came back too late has ended.
    pub(crate) fn note_ended(&self, slot: SlotId) {
        self.ended.lock().push(slot);
    }

    /// Whether it has.
    pub(crate) fn has_ended(&self, slot: SlotId) -> bool {
        self.ended.lock().contains(&slot)
    }

    fn wait(&self, until: Instant, done: impl Fn(&Resting) -> bool) -> bool {
        let mut resting = self.resting.lock();
        while !done(&resting) {
            if self.changed.wait_until(&mut resting, until).timed_out() {
                return done(&resting);
            }
        }
        true
    }
}
