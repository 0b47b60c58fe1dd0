//! Places for connections. Where all are taken, a new one gets that of the one which keeps its place for least: whoever opens
//! a connection and says nothing, or does not take its answer, keeps nobody out for long.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Its request, up to the end of its headers, has not come yet.
    Asking,
    /// Its answer has been made: it is under way, or has been taken, and the next request has not come.
    Told,
    /// Its answer is being made.
    Answered,
}

impl Stage {
    /// How long a connection may be at this stage before it has to make room for another one; `None`: for ever.
    fn patience(self) -> Option<Duration> {
        match self {
            // A request that came at once with its connection has to be read first.
            Stage::Asking => Some(Duration::from_millis(50)),
            Stage::Told => Some(Duration::from_millis(500)),
            Stage::Answered => None,
        }
    }
}

/// What became of somebody who wants a place.
#[derive(Debug)]
enum Answer {
    Taken(u64, Arc<Notify>),
    /// None is free; another look is worth it when something has changed, or after this time.
    Full(Option<Duration>),
}

#[derive(Debug)]
struct Seat {
    stage: Stage,
    since: Instant,
    /// Tells the connection to go.
    go: Arc<Notify>,
    is_going: bool,
}

/// Who sits where; the clock comes from outside.
#[derive(Debug, Default)]
struct Seats {
    taken: BTreeMap<u64, Seat>,
    last: u64,
}

impl Seats {
    /// A seat if one of `max` is free. If not, somebody is told to go where that is due and nobody goes already.
    fn take(&mut self, max: usize, now: Instant) -> Answer {
        if self.taken.len() < max {
            self.last += 1;
            let go = Arc::new(Notify::new());
            let seat = Seat { stage: Stage::Asking, since: now, go: go.clone(), is_going: false };
            self.taken.insert(self.last, seat);
            return Answer::Taken(self.last, go);
        }
        if self.taken.values().any(|seat| seat.is_going) {
            return Answer::Full(None);
        }
        let left = |seat: &Seat| {
            Some(seat.stage.patience()?.saturating_sub(now.saturating_duration_since(seat.since)))
        };
        let due = self.taken.values_mut().filter(|seat| left(seat) == Some(Duration::ZERO));
        match due.min_by_key(|seat| (seat.stage, seat.since)) {
            Some(seat) => {
                seat.is_going = true;
                seat.go.notify_one();
                Answer::Full(None)
            }
            None => Answer::Full(self.taken.values().filter_map(left).min()),
        }
    }

    fn enter(&mut self, number: u64, stage: Stage, now: Instant) {
        if let Some(seat) = self.taken.get_mut(&number) {
            (seat.stage, seat.since) = (stage, now);
        }
    }
}

/// See the module. All clones are the same places.
#[derive(Clone, Debug)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    seats: Mutex<Seats>,
    /// Somebody has gone, or is at another stage.
    changed: Notify,
}

impl Places {
    /// So many.
    pub(super) fn new(max: usize) -> Places {
        Places(Arc::new(Shared { max, seats: Mutex::default(), changed: Notify::new() }))
    }

    /// A place for a new connection, which has not said anything yet. Waits until there is one. Cancel safe.
    pub(super) async fn take(&self) -> Place {
        let shared = &self.0;
        loop {
            let mut changed = pin!(shared.changed.notified());
            changed.as_mut().enable();
            let answer = shared.seats().take(shared.max, Instant::now());
            match answer {
                Answer::Taken(number, go) => return Place { shared: shared.clone(), number, go },
                Answer::Full(None) => changed.await,
                // When the time is over is as good as a change.
                Answer::Full(Some(time)) => drop(timeout(time, changed).await),
            }
        }
    }
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nothing in it is half done where somebody could panic.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
    go: Arc<Notify>,
}

impl Place {
    /// The connection is at this stage now.
    pub(super) fn enter(&self, stage: Stage) {
        self.shared.seats().enter(self.number, stage, Instant::now());
        self.shared.changed.notify_waiters();
    }

    /// Does this, or ends before that is done: when another connection is to have the place.
    pub(super) async fn keep<F: Future>(&self, work: F) -> Option<F::Output> {
        tokio::select! {
            done = work => Some(done),
            () = self.go.notified() => None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.seats().taken.remove(&self.number);
        self.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
