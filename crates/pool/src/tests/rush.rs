//! Streams of clients that never end: how pools share what is scarce, and how often they log in for it.

use std::collections::BTreeMap;

use super::*;

/// Clients of one pool.
#[derive(Clone, Copy)]
struct Crowd {
    /// As many wait at any time.
    waiting: usize,
    weight: u32,
    floor: u32,
}

/// So many without weight or floor.
fn crowd(waiting: usize) -> Crowd {
    Crowd { waiting, weight: 1, floor: 0 }
}

fn with_floor(waiting: usize, floor: u32) -> Crowd {
    Crowd { floor, ..crowd(waiting) }
}

/// What ends at some time.
#[derive(Clone, Copy)]
enum End {
    Transaction,
    Login,
    Refusal,
    Closing,
}

/// Each pool always has as many waiting as asked for, each transaction takes as long as asked for, each login and
/// closing 5 ms.
struct Rush {
    bench: Bench,
    transaction_ms: u64,
    pools: Vec<(PoolId, usize)>,
    ends: BTreeMap<(u64, SlotId), End>,
    waits: BTreeMap<Ticket, (PoolId, u64)>,
    /// Transactions and longest wait in ms of each pool.
    served: BTreeMap<PoolId, (u64, u64)>,
    /// Free places at the server.
    places: u32,
    /// Logins that have been begun, and those of them that the server has refused.
    logins: (u64, u64),
    now_ms: u64,
}

impl Rush {
    /// On a server without limits.
    fn new(budget: u32, crowds: &[Crowd], transaction_ms: u64) -> Rush {
        Rush::at_server(u32::MAX, Some(budget), crowds, transaction_ms)
    }

    fn at_server(places: u32, budget: Option<u32>, crowds: &[Crowd], transaction_ms: u64) -> Rush {
        let mut bench = Bench::new();
        let target = bench.pools.add_target(budget);
        let mut pools = Vec::new();
        for (crowd, n) in crowds.iter().zip(0..) {
            let (weight, guaranteed) = (crowd.weight, crowd.floor);
            let limits = PoolLimits { weight, guaranteed, ..limits(budget.unwrap_or(20).max(5)) };
            pools.push((bench.add_pool(n, n, &[target], limits), crowd.waiting));
        }
        let (ends, waits, served) = Default::default();
        let (logins, now_ms) = ((0, 0), 0);
        Rush { bench, transaction_ms, pools, ends, waits, served, places, logins, now_ms }
    }

    /// Lets time go by; transactions and longest wait of each pool in it.
    fn run(&mut self, for_ms: u64) -> Vec<(u64, u64)> {
        let end_ms = self.now_ms + for_ms;
        self.served = self.pools.iter().map(|(pool, _)| (*pool, (0, 0))).collect();
        self.logins = (0, 0);
        for ms in self.now_ms..end_ms {
            while let Some(entry) = self.ends.first_entry().filter(|entry| entry.key().0 <= ms) {
                let ((_, slot), end) = entry.remove_entry();
                self.end(slot, end, ms);
                self.act(ms);
            }
            self.arrive(ms);
            if ms % 100 == 0 {
                self.bench.pools.handle_timeout(at(ms));
                self.act(ms);
            }
        }
        for (pool, since) in self.waits.values() {
            let (_, longest) = self.served.entry(*pool).or_default();
            *longest = (*longest).max(end_ms - since);
        }
        self.now_ms = end_ms;
        self.served.values().copied().collect()
    }

    fn end(&mut self, slot: SlotId, end: End, ms: u64) {
        match end {
            End::Transaction => self.bench.give_back(slot, ms),
            End::Login => self.bench.pools.handle_opened(slot, HOME, at(ms)),
            End::Refusal => self.bench.fail(slot, Failure::Full(Cause::MaxClientConn), ms),
            End::Closing => {
                self.places += 1;
                self.bench.pools.handle_closed(slot, at(ms));
            }
        }
    }

    fn arrive(&mut self, ms: u64) {
        for (pool, crowd) in self.pools.clone() {
            while (self.bench.pools.counts(pool, at(ms)).waiting as usize) < crowd {
                match self.bench.request(pool, HOME, ms) {
                    Requested::Granted(grant) => {
                        self.enter(ms + self.transaction_ms, grant.slot, End::Transaction);
                    }
                    Requested::Queued(ticket) => drop(self.waits.insert(ticket, (pool, ms))),
                    Requested::Refused(cause) => panic!("{cause:?}"),
                }
                self.act(ms);
            }
        }
    }

    fn enter(&mut self, at_ms: u64, slot: SlotId, end: End) {
        self.ends.insert((at_ms, slot), end);
    }

    fn act(&mut self, ms: u64) {
        for action in self.bench.done() {
            match action {
                Action::Open { slot, .. } => {
                    self.logins.0 += 1;
                    if self.places == 0 {
                        self.logins.1 += 1;
                        self.enter(ms + 5, slot, End::Refusal);
                    } else {
                        self.places -= 1;
                        self.enter(ms + 5, slot, End::Login);
                    }
                }
                Action::Close { slot, .. } => self.enter(ms + 5, slot, End::Closing),
                Action::Grant { ticket, grant, .. } => {
                    let (pool, since) = self.waits.remove(&ticket).expect("it waits");
                    let (count, longest) = self.served.entry(pool).or_default();
                    (*count, *longest) = (*count + 1, (*longest).max(ms - since));
                    self.enter(ms + self.transaction_ms, grant.slot, End::Transaction);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Connections each pool has.
    fn shares(&self) -> Vec<u32> {
        let counts = self.pools.iter().map(|(pool, _)| self.bench.pools.counts(*pool, at(self.now_ms)));
        counts.map(|counts| counts.idle + counts.held).collect()
    }
}

#[test]
fn two_busy_pools_on_a_budget_of_one_take_turns() {
    let served = Rush::new(1, &[crowd(5), crowd(5)], 2).run(5000);
    for (count, longest) in &served {
        assert!(*longest <= 150, "{longest} ms");
        assert!(*count >= 1000, "{count} transactions: connecting must not eat up the time");
    }
}

#[test]
fn many_busy_pools_on_a_small_budget_all_get_on() {
    let served = Rush::new(3, &[1, 2, 4, 8, 2, 1].map(crowd), 2).run(5000);
    for (count, longest) in &served {
        assert!(*longest <= 200 && *count > 0, "{count}, {longest} ms");
    }
}

#[test]
fn pools_share_by_their_weights_however_many_wait() {
    let served = Rush::new(8, &[crowd(2), crowd(200)], 20).run(5000);
    let [(few, _), (many, _)] = served[..] else { panic!("{served:?}") };
    assert!(few * 10 > many * 9 && many * 10 > few * 9, "{served:?}");
    let served = Rush::new(8, &[crowd(2), Crowd { weight: 3, ..crowd(200) }], 20).run(5000);
    let [(light, _), (heavy, _)] = served[..] else { panic!("{served:?}") };
    assert!(heavy * 10 > light * 27 && heavy * 10 < light * 33, "{served:?}");
}

#[test]
fn a_floor_that_fills_the_budget_leaves_one_place() {
    // Was: 39 logins a second, and the pool without a floor had 33 transactions in 14 seconds.
    let mut rush = Rush::new(4, &[with_floor(8, 4), crowd(8)], 5);
    rush.run(1000);
    assert_eq!(rush.shares(), [3, 1]);
    let served = rush.run(5000);
    assert_eq!(rush.logins, (0, 0), "that is where it ends");
    assert!(served[1].0 >= 800 && served[1].1 <= 100, "{served:?}");
    assert!(served[0].0 >= 2400, "{served:?}");
}

#[test]
fn who_has_no_floor_takes_turns_at_what_floors_leave() {
    // Was: 51 logins a second, and the pool with the floor had three connections.
    let mut rush = Rush::new(5, &[with_floor(8, 4), crowd(8), crowd(8)], 5);
    rush.run(1000);
    let served = rush.run(5000);
    assert!(rush.logins.0 <= 50, "{:?}: one each 100 ms", rush.logins);
    assert_eq!(rush.shares()[0], 4, "{:?}", rush.shares());
    assert!(served[0].0 >= 3900, "{served:?}");
    for (count, longest) in &served[1..] {
        assert!(*count >= 300 && *longest <= 250, "{served:?}");
    }
}

#[test]
fn several_floors_that_fill_the_budget_leave_one_place() {
    let floors = [with_floor(8, 2), with_floor(8, 2), with_floor(8, 2), crowd(8), crowd(8)];
    let mut rush = Rush::new(6, &floors, 5);
    rush.run(1000);
    let served = rush.run(5000);
    assert!(rush.logins.0 <= 50, "{:?}", rush.logins);
    for (count, longest) in &served[..3] {
        assert!(*count >= 900 && *longest <= 100, "{served:?}");
    }
    for (count, longest) in &served[3..] {
        assert!(*count >= 300 && *longest <= 250, "{served:?}");
    }
}

#[test]
fn floors_that_are_more_than_the_budget_are_shared_like_everything_else() {
    // The one that came first has all of it.
    let mut rush = Rush::new(6, &[with_floor(8, 6), with_floor(0, 6)], 5);
    rush.run(1000);
    assert_eq!(rush.shares(), [6, 0]);
    rush.pools[1].1 = 8;
    rush.run(1000);
    assert_eq!(rush.shares(), [3, 3]);
    rush.run(5000);
    assert_eq!(rush.logins, (0, 0));
    // Fewer places than floors: turns for all, and nobody's are longer.
    let mut rush = Rush::new(3, &[1, 1, 1, 1, 1, 0].map(|floor| with_floor(4, floor)), 5);
    rush.run(1000);
    let served = rush.run(6000);
    for (count, longest) in &served {
        assert!(*count >= 400 && *longest <= 400, "{served:?}");
    }
}

#[test]
fn a_floor_is_reached_where_there_is_room_for_it() {
    let mut rush = Rush::new(6, &[crowd(8), crowd(8), with_floor(8, 3)], 5);
    rush.run(1000);
    assert_eq!(rush.shares()[2], 3, "{:?}", rush.shares());
    rush.run(5000);
    assert!(rush.logins.0 <= 5, "{:?}", rush.logins);
}

#[test]
fn a_full_server_is_asked_for_more_at_longer_and_longer_intervals() {
    // Was: 45 to 61 refused logins a second, for ever, and twice as many that were not.
    let mut rush = Rush::at_server(27, None, &[crowd(8); 6], 25);
    rush.run(4000);
    assert!(rush.logins.1 <= 12, "{:?}", rush.logins);
    let served = rush.run(8000);
    let (logins, refused) = rush.logins;
    assert!(refused <= 6, "{refused}: one each 2 s, a little less by chance");
    assert_eq!(logins, refused, "and nothing else is opened");
    assert!(rush.shares().iter().all(|share| [4, 5].contains(share)), "{:?}", rush.shares());
    for (count, longest) in &served {
        assert!(*count >= 1200 && *longest <= 200, "{served:?}");
    }
    // What others leave is found soon.
    rush.places += 3;
    rush.run(4000);
    assert_eq!(rush.shares(), [5; 6]);
}
