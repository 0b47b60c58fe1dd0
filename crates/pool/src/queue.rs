//! Who waits: FIFO per pool and worker, so that a worker's oldest waiter and the oldest of all are found in
//! O(workers) and a waiter that leaves costs O(1). With `queue_fairness = application`, or where grants have weights, also
//! by class, at O(log n).

use std::time::Duration;

use plimsoll_types::{ClientId, Moment, PoolId, Ticket, WorkerId};

use crate::classes::{Classes, Place};
use crate::list::{Chain, Link, Linked, List};
use crate::nouns::{Class, Fairness, Request, USUAL_WEIGHT, WaitCause};
use crate::table::Table;

/// A client in a queue.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) pool: PoolId,
    pub(crate) client: ClientId,
    pub(crate) worker: WorkerId,
    /// When it came.
    pub(crate) since: Moment,
    /// Who came first, also within one microsecond.
    pub(crate) turn: u64,
    /// When its wait ends; `None`: never.
    pub(crate) deadline: Option<Moment>,
    pub(crate) wait_cause: WaitCause,
    /// Whose turns it takes.
    class: Class,
    /// How many there are of them.
    weight: u32,
    link: Link,
}

impl Linked for Waiter {
    fn link(&self, _chain: Chain) -> Link {
        self.link
    }

    fn link_mut(&mut self, _chain: Chain) -> &mut Link {
        &mut self.link
    }
}

/// The queue of one pool.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    by_worker: Vec<List>,
    len: u32,
    fairness: Fairness,
    /// With [`Fairness::Application`]; else from the moment when somebody whose weight is not usual joins until nobody waits.
    classes: Option<Box<Classes>>,
}

impl Queue {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The classes, where they share the queue.
    pub(crate) fn classes(&self) -> Option<&Classes> {
        self.classes.as_deref()
    }

    pub(crate) fn lists(&self) -> impl Iterator<Item = (WorkerId, &List)> {
        (0..).map(WorkerId).zip(self.by_worker.iter())
    }
}

/// All waiters of all pools.
#[derive(Debug)]
pub(crate) struct Waiters {
    table: Table<Waiter>,
    turns: u64,
}

impl Waiters {
    pub(crate) fn new() -> Waiters {
        Waiters { table: Table::new(), turns: 0 }
    }

    pub(crate) fn table(&self) -> &Table<Waiter> {
        &self.table
    }

    pub(crate) fn find(&self, ticket: Ticket) -> Option<&Waiter> {
        self.table.find(ticket.index, ticket.generation)
    }

    pub(crate) fn row(&self, index: u32) -> &Waiter {
        self.table.row(index)
    }

    pub(crate) fn ticket(&self, index: u32) -> Ticket {
        Ticket { index, generation: self.table.generation(index) }
    }

    /// Appends a client to the queue of its pool.
    pub(crate) fn push(&mut self, queue: &mut Queue, request: &Request, now: Moment) -> Ticket {
        self.turns += 1;
        let (index, generation) = self.table.insert(Waiter {
            pool: request.pool,
            client: request.client,
            worker: request.worker,
            since: now,
            turn: self.turns,
            deadline: deadline(now, request.wait_max),
            wait_cause: request.wait_cause,
            class: request.class,
            weight: request.weight,
            link: Link::LOOSE,
        });
        if queue.classes.is_none() && request.weight != USUAL_WEIGHT {
            self.divide(queue);
        }
        if let Some(classes) = &mut queue.classes {
            classes.enter(request.class, request.weight, self.turns, index);
        }
        let worker = usize::from(request.worker.0);
        if queue.by_worker.len() <= worker {
            queue.by_worker.resize(worker + 1, List::new(Chain::Worker));
        }
        queue.by_worker[worker].push(&mut self.table, index);
        queue.len += 1;
        Ticket { index, generation }
    }

    /// A waiter waits no longer than this, counted from when it came.
    pub(crate) fn set_wait(&mut self, index: u32, wait_max: Duration, cause: WaitCause) {
        let waiter = self.table.row_mut(index);
        waiter.deadline = deadline(waiter.since, wait_max);
        waiter.wait_cause = cause;
    }

    /// It has waited since then.
    pub(crate) fn set_since(&mut self, ticket: Ticket, since: Moment) {
        if self.find(ticket).is_some() {
            self.table.row_mut(ticket.index).since = since;
        }
    }

    /// Takes a waiter out of the queue of its pool.
    pub(crate) fn remove(&mut self, queue: &mut Queue, index: u32) -> Waiter {
        if let Some(classes) = &mut queue.classes {
            let waiter = self.table.row(index);
            classes.leave(waiter.class, waiter.turn);
        }
        self.unlink(queue, index)
    }

    /// The same for one that gets what it waited for.
    pub(crate) fn serve(&mut self, queue: &mut Queue, index: u32) -> Waiter {
        if let Some(classes) = &mut queue.classes {
            let waiter = self.table.row(index);
            classes.serve(waiter.class, waiter.turn);
        }
        self.unlink(queue, index)
    }

    fn unlink(&mut self, queue: &mut Queue, index: u32) -> Waiter {
        let worker = usize::from(self.row(index).worker.0);
        queue.by_worker[worker].remove(&mut self.table, index);
        queue.len -= 1;
        if queue.len == 0 && queue.fairness == Fairness::Fifo {
            queue.classes = None;
        }
        self.table.remove(index)
    }

    /// In which order the waiters of a queue are served from now on.
    pub(crate) fn set_fairness(&self, queue: &mut Queue, fairness: Fairness) {
        if queue.fairness == fairness {
            return;
        }
        queue.fairness = fairness;
        queue.classes = None;
        let is_weighed = || self.all(queue).any(|index| self.row(index).weight != USUAL_WEIGHT);
        if fairness == Fairness::Application || is_weighed() {
            self.divide(queue);
        }
    }

    /// From now on the waiters of a queue are served by classes.
    #[cold]
    fn divide(&self, queue: &mut Queue) {
        let mut classes = Classes::default();
        for index in self.all(queue) {
            let Waiter { class, weight, turn, .. } = *self.row(index);
            classes.enter(class, weight, turn, index);
        }
        queue.classes = Some(Box::new(classes));
    }

    fn all(&self, queue: &Queue) -> impl Iterator<Item = u32> {
        queue.by_worker.iter().flat_map(|list| list.iter(&self.table))
    }

    /// The places of the waiters of a queue that classes share, in no order; nothing where it is served as they came.
    pub(crate) fn places(&self, queue: &Queue) -> impl Iterator<Item = Place> {
        queue.classes().into_iter().flat_map(Classes::places)
    }

    /// Who is served next, on whatever worker.
    pub(crate) fn next(&self, queue: &Queue) -> Option<u32> {
        match &queue.classes {
            Some(classes) => classes.next(),
            None => self.oldest(queue),
        }
    }

    /// The oldest waiter of a queue.
    pub(crate) fn oldest(&self, queue: &Queue) -> Option<u32> {
        if queue.is_empty() {
            return None;
        }
        queue.by_worker.iter().filter_map(List::oldest).min_by_key(|index| self.row(*index).turn)
    }

    /// Whose turn it is for a connection that lives on `home`: the oldest waiter there, unless another worker's is
    /// older by more than `slack`. Between classes the worker does not matter.
    pub(crate) fn next_for(&self, queue: &Queue, home: WorkerId, slack: Duration) -> Option<u32> {
        if let Some(classes) = &queue.classes {
            return classes.next();
        }
        let oldest = self.oldest(queue)?;
        let at_home = queue.by_worker.get(usize::from(home.0)).and_then(List::oldest);
        let Some(at_home) = at_home else { return Some(oldest) };
        let behind = self.row(at_home).since.since(self.row(oldest).since);
        Some(if behind > slack { oldest } else { at_home })
    }
}

/// When a wait ends that began then; zero is for ever.
fn deadline(since: Moment, wait_max: Duration) -> Option<Moment> {
    (!wait_max.is_zero()).then(|| since + wait_max)
}
