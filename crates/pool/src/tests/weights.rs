//! Grants with weights share a queue; where nobody has one it is first come, first served.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One connection, and who waits for it.
struct Share {
    bench: Bench,
    pool: PoolId,
    held: SlotId,
    clients: u64,
    /// Who is behind a client's number.
    classes: BTreeMap<ClientId, Class>,
    tickets: BTreeMap<ClientId, Ticket>,
}

impl Share {
    fn new() -> Share {
        let (mut bench, pool) = Bench::with_pool(limits(1));
        let held = bench.hold(pool, HOME, 1).slot;
        let (classes, tickets) = Default::default();
        Share { bench, pool, held, clients: 0, classes, tickets }
    }

    /// `count` clients of a class come.
    fn ask(&mut self, class: Class, weight: u32, count: u32) {
        for _ in 0..count {
            self.ask_on(HOME, class, weight);
        }
    }

    fn ask_on(&mut self, worker: WorkerId, class: Class, weight: u32) {
        self.clients += 1;
        let (pool, client, wait_max) = (self.pool, ClientId(self.clients), secs(120));
        let wait_cause = WaitCause::QueryWaitTimeout;
        let request = Request { pool, client, worker, wait_max, wait_cause, class, weight };
        let Requested::Queued(ticket) = self.bench.pools.handle_request(request, at(2)) else {
            panic!("there is nothing to be had")
        };
        self.bench.check();
        self.classes.insert(client, class);
        self.tickets.insert(client, ticket);
    }

    fn withdraw(&mut self, client: ClientId) {
        let ticket = self.tickets.remove(&client).expect("it waits");
        self.bench.pools.handle_withdrawn(ticket, at(3));
        self.bench.nothing();
    }

    /// The connection comes back; who has it next.
    fn next(&mut self) -> (ClientId, Class) {
        self.bench.give_back(self.held, 3);
        let [Action::Grant { client, .. }] = self.bench.done()[..] else { panic!("a grant") };
        self.tickets.remove(&client);
        (client, self.classes[&client])
    }

    /// So many hand-outs: how often each class was served.
    fn serve(&mut self, count: u32) -> BTreeMap<Class, u32> {
        let mut served = BTreeMap::new();
        for _ in 0..count {
            *served.entry(self.next().1).or_default() += 1;
        }
        served
    }

    /// The order in which all are served.
    fn told(&self) -> Vec<ClientId> {
        let mut turns = self.bench.pools.turns(self.pool);
        turns.sort_unstable();
        turns.iter().map(crate::Turn::client).collect()
    }
}

const GOLD: Class = Class::Grant(1);
const TIN: Class = Class::Grant(2);

#[test]
fn grants_are_served_by_their_weights() {
    let mut share = Share::new();
    // The one that came first, with as many as anybody, has no more than its part.
    share.ask(TIN, USUAL_WEIGHT, 40);
    share.ask(GOLD, 3, 40);
    share.ask(Class::Everybody, USUAL_WEIGHT, 40);
    let served = share.serve(50);
    assert_eq!(served, BTreeMap::from([(GOLD, 30), (TIN, 10), (Class::Everybody, 10)]));
}

#[test]
fn without_weights_who_came_first_is_served_first() {
    let mut share = Share::new();
    share.ask(GOLD, USUAL_WEIGHT, 3);
    share.ask(Class::Everybody, USUAL_WEIGHT, 1);
    share.ask(TIN, USUAL_WEIGHT, 2);
    assert_eq!(share.told(), [], "it is not shared");
    let served: Vec<u64> = (0..6).map(|_| share.next().0.0).collect();
    assert_eq!(served, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_queue_is_shared_until_nobody_waits() {
    let mut share = Share::new();
    share.ask(TIN, USUAL_WEIGHT, 3);
    share.ask(GOLD, 5, 1);
    share.ask(Class::Everybody, USUAL_WEIGHT, 1);
    assert_eq!(share.told().len(), 5);
    assert_eq!(share.next().1, TIN, "of equal ones the one that came first");
    assert_eq!(share.next().1, GOLD);
    assert_eq!(share.next().1, Class::Everybody);
    share.serve(2);
    share.ask(TIN, USUAL_WEIGHT, 2);
    share.ask(Class::Everybody, USUAL_WEIGHT, 1);
    assert_eq!(share.told(), []);
    assert_eq!([share.next().1, share.next().1], [TIN; 2]);
}

#[test]
fn being_away_earns_nothing_and_coming_back_saves_nothing() {
    let mut share = Share::new();
    share.ask(TIN, USUAL_WEIGHT, 100);
    share.ask(GOLD, 2, 4);
    assert_eq!(share.serve(7)[&GOLD], 4);
    share.serve(20);
    // As from the beginning, not with what it could have had meanwhile.
    share.ask(GOLD, 2, 50);
    let served = share.serve(30);
    assert!((19..=21).contains(&served[&GOLD]), "{served:?}");
    // One client that comes anew at once has no more than the other kind.
    let mut share = Share::new();
    share.ask(TIN, 2, 100);
    let mut ours = 0;
    share.ask(GOLD, USUAL_WEIGHT, 1);
    for _ in 0..30 {
        if share.next().1 == GOLD {
            ours += 1;
            share.ask(GOLD, USUAL_WEIGHT, 1);
        }
    }
    assert_eq!(ours, 10);
}

#[test]
fn who_leaves_costs_its_class_nothing() {
    let mut share = Share::new();
    share.ask(GOLD, 3, 20);
    share.ask(TIN, USUAL_WEIGHT, 20);
    share.serve(4);
    let gold: Vec<ClientId> =
        share.told().into_iter().filter(|client| share.classes[client] == GOLD).collect();
    for client in gold.iter().step_by(2) {
        share.withdraw(*client);
    }
    let served = share.serve(8);
    assert_eq!(served, BTreeMap::from([(GOLD, 6), (TIN, 2)]));
    for client in share.told() {
        share.withdraw(client);
    }
    assert_eq!(share.told(), []);
}

#[test]
fn the_weight_that_was_given_last_counts() {
    let mut share = Share::new();
    share.ask(TIN, USUAL_WEIGHT, 50);
    share.ask(GOLD, 9, 50);
    share.serve(1);
    share.ask(GOLD, USUAL_WEIGHT, 1);
    let served = share.serve(21);
    assert!(served[&TIN].abs_diff(served[&GOLD]) <= 3, "{served:?}");
}

#[test]
fn applications_take_turns_beside_grants_with_weights() {
    let mut share = Share::new();
    let mut fair = PoolLimits { fairness: Fairness::Application, ..limits(1) };
    let specs = [fair.clone(), {
        fair.fairness = Fairness::Fifo;
        fair
    }];
    let [with, without] = specs.map(|limits| Bench::spec(0, 0, &[TargetId(0)], limits));
    share.ask(Class::Application(1), USUAL_WEIGHT, 10);
    share.ask(Class::Application(2), USUAL_WEIGHT, 10);
    share.bench.pools.set_pool(share.pool, with, at(2));
    share.ask(GOLD, 2, 10);
    assert_eq!(share.serve(8)[&GOLD], 4);
    // Its weight counts when applications do not take turns any more.
    share.bench.pools.set_pool(share.pool, without, at(2));
    assert_eq!(share.serve(4)[&GOLD], 2);
    share.bench.check();
}

/// A class of a strategy.
fn class(n: u8) -> (Class, u32) {
    match n {
        0 => (Class::Everybody, USUAL_WEIGHT),
        1 => (GOLD, 3),
        2 => (TIN, 1),
        n => (Class::Grant(n.into()), 40),
    }
}

proptest! {
    /// Whatever was before: who is said to be next is next.
    #[test]
    fn the_order_that_is_told_is_the_order_of_service(
        steps in prop::collection::vec((0u8..4, 0u8..8), 1..120),
    ) {
        let mut share = Share::new();
        share.ask(GOLD, 3, 1);
        for (kind, step) in steps {
            let told = share.told();
            match (step, told.first()) {
                (0..=4, _) | (_, None) => {
                    let (class, weight) = class(kind);
                    share.ask_on(if step % 2 == 0 { HOME } else { AWAY }, class, weight);
                }
                (5, Some(_)) => share.withdraw(told[usize::from(kind) % told.len()]),
                (_, Some(first)) => prop_assert_eq!(share.next().0, *first),
            }
        }
        for client in share.told() {
            prop_assert_eq!(share.next().0, client);
        }
    }
}
