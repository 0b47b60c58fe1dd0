//! Who waits: FIFO per pool and worker, so that a worker's oldest waiter and the oldest of all are found in
//! O(workers) and a waiter that leaves costs O(1). With `queue_fairness = application` also by application, at
//! O(log n).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plimsoll_types::{ClientId, Moment, PoolId, Ticket, WorkerId};

use crate::list::{Chain, Link, Linked, List};
use crate::nouns::{Fairness, Request, WaitCause};
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
    /// Its application.
    class: u32,
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
    /// For [`Fairness::Application`].
    classes: Option<Box<Classes>>,
}

/// Waiters by application. Each application is served once in a round; one that comes anew joins the round that is on,
/// or the next if it has been served in this one (start-time fair queueing with equal costs: Goyal, Vin, Cheng 1996).
#[derive(Debug, Default)]
struct Classes {
    /// By application: the round it is due in, and its waiters by turn. Also those without waiters that have been
    /// served in the round that is on, as long as anybody else waits.
    rows: BTreeMap<u32, Class>,
    /// Round, oldest turn and application, of all that have waiters.
    order: BTreeSet<(u64, u64, u32)>,
    round: u64,
}

#[derive(Debug)]
struct Class {
    due: u64,
    waiters: BTreeMap<u64, u32>,
}

impl Class {
    fn key(&self, class: u32) -> Option<(u64, u64, u32)> {
        self.waiters.first_key_value().map(|(turn, _)| (self.due, *turn, class))
    }
}

impl Classes {
    fn change(&mut self, class: u32, change: impl FnOnce(&mut Class)) {
        let due = self.round;
        let row = self.rows.entry(class).or_insert_with(|| Class { due, waiters: BTreeMap::new() });
        if let Some(key) = row.key(class) {
            self.order.remove(&key);
        }
        if row.waiters.is_empty() {
            row.due = row.due.max(due);
        }
        change(row);
        match row.key(class) {
            Some(key) => {
                self.order.insert(key);
            }
            None if self.order.is_empty() => self.rows.clear(),
            None if row.due > due => {}
            None => {
                self.rows.remove(&class);
            }
        }
    }

    fn next(&self) -> Option<u32> {
        let (_, turn, class) = self.order.first()?;
        self.rows.get(class)?.waiters.get(turn).copied()
    }

    /// A waiter of the application has been served.
    fn served(&mut self, class: u32) {
        let due = self.rows.get(&class).map_or(self.round, |row| row.due);
        if due > self.round {
            self.round = due;
            // At most those that were served in the round before.
            self.rows.retain(|_, row| row.due > due || !row.waiters.is_empty());
        }
        self.change(class, |row| row.due += 1);
    }
}

impl Queue {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
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
            link: Link::LOOSE,
        });
        if let Some(classes) = &mut queue.classes {
            classes.change(request.class, |class| {
                class.waiters.insert(self.turns, index);
            });
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
        let worker = usize::from(self.row(index).worker.0);
        queue.by_worker[worker].remove(&mut self.table, index);
        queue.len -= 1;
        let waiter = self.table.remove(index);
        if let Some(classes) = &mut queue.classes {
            classes.change(waiter.class, |class| {
                class.waiters.remove(&waiter.turn);
            });
        }
        waiter
    }

    /// The same for one that gets what it waited for.
    pub(crate) fn serve(&mut self, queue: &mut Queue, index: u32) -> Waiter {
        let class = self.row(index).class;
        if let Some(classes) = &mut queue.classes {
            classes.served(class);
        }
        self.remove(queue, index)
    }

    /// In which order the waiters of a queue are served from now on.
    pub(crate) fn set_fairness(&self, queue: &mut Queue, fairness: Fairness) {
        match fairness {
            Fairness::Fifo => queue.classes = None,
            Fairness::Application if queue.classes.is_some() => {}
            Fairness::Application => {
                let mut classes = Classes::default();
                for index in queue.by_worker.iter().flat_map(|list| list.iter(&self.table)) {
                    let waiter = self.row(index);
                    classes.change(waiter.class, |class| {
                        class.waiters.insert(waiter.turn, index);
                    });
                }
                queue.classes = Some(Box::new(classes));
            }
        }
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
    /// older by more than `slack`. Between applications the worker does not matter.
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
