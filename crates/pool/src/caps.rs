//! Temporary caps: an application, or a host, has at most so many server connections at once, over all pools.
//!
//! A gate in front of the queues: whoever is over a cap waits there, and joins the queue of its pool when it has a place
//! under each cap that it is subject to. A place is kept from then until the connection is given back, so that what
//! waits in the queues is never more than what may be held. Who held one when a cap was made counts as well, until it
//! gives that back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use plimsoll_types::{ClientId, HoldId, Moment};

/// Whom a cap is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CapOf {
    /// Clients that call themselves so (application_name).
    Application(String),
    /// Clients from this address.
    Host(String),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its number.
    pub client: ClientId,
    /// What it calls itself.
    pub application: &'a str,
    /// Where it comes from.
    pub host: &'a str,
}

/// Whether a client may join the queue of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may, and no cap is for it.
    Free,
    /// It may, and has a place under each cap that is for it: [`Caps::leave`] gives it back.
    Admitted,
    /// It waits until it is among those that [`Caps`] admits.
    Shut,
}

/// A cap as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapView {
    /// Whom it is for.
    pub of: CapOf,
    /// How many at once.
    pub max: u32,
    /// Places that are taken: held, or about to be.
    pub used: u32,
    /// Clients that wait for one.
    pub waiting: u32,
    /// When it ends; `None`: with the process, or by hand.
    pub until: Option<Moment>,
    /// Who made it.
    pub by: String,
}

#[derive(Debug)]
struct Cap {
    max: u32,
    until: Option<Moment>,
    by: String,
    /// Those that have a place.
    inside: BTreeSet<ClientId>,
    /// Those that held a connection when the cap was made, and still do.
    before: BTreeMap<ClientId, HoldId>,
}

impl Cap {
    fn used(&self) -> usize {
        self.inside.len() + self.before.len()
    }

    fn has_room(&self) -> bool {
        self.used() < self.max as usize
    }
}

/// Somebody who waits at the gate.
#[derive(Debug)]
struct Waiting {
    client: ClientId,
    /// Which caps would be for it: there may be others now than when it came.
    names: [CapOf; 2],
}

/// See the module.
#[derive(Debug, Default)]
pub struct Caps {
    caps: BTreeMap<CapOf, Cap>,
    /// In the order in which they came.
    waiting: VecDeque<Waiting>,
}

impl Caps {
    /// Whether there is any cap, or anybody who still has something of one.
    pub fn is_empty(&self) -> bool {
        self.caps.is_empty() && self.waiting.is_empty()
    }

    /// Makes a cap, or changes one. `holders`: who holds a connection now that it is for, and which hold that is. Gives
    /// those that are admitted by it.
    pub fn set(
        &mut self,
        of: CapOf,
        max: u32,
        until: Option<Moment>,
        by: &str,
        holders: impl IntoIterator<Item = (ClientId, HoldId)>,
    ) -> Vec<ClientId> {
        let holders: Vec<_> = holders.into_iter().collect();
        match self.caps.get_mut(&of) {
            Some(cap) => (cap.max, cap.until, cap.by) = (max, until, by.to_string()),
            None => {
                let before = holders.into_iter().collect();
                let cap = Cap { max, until, by: by.to_string(), inside: BTreeSet::new(), before };
                self.caps.insert(of, cap);
            }
        }
        self.admit()
    }

    /// Takes a cap away; gives those that are admitted by that. `None`: there is none of the kind.
    pub fn remove(&mut self, of: &CapOf) -> Option<Vec<ClientId>> {
        self.caps.remove(of)?;
        Some(self.admit())
    }

    /// Takes those away whose time is over; gives them, and those that are admitted by that.
    pub fn expire(&mut self, now: Moment) -> (Vec<CapOf>, Vec<ClientId>) {
        let is_over = |cap: &Cap| cap.until.is_some_and(|until| until <= now);
        let over: Vec<CapOf> =
            self.caps.iter().filter(|(_, cap)| is_over(cap)).map(|(of, _)| of.clone()).collect();
        self.caps.retain(|_, cap| !is_over(cap));
        let admitted = if over.is_empty() { Vec::new() } else { self.admit() };
        (over, admitted)
    }

    /// A client asks to join the queue of its pool.
    pub fn enter(&mut self, subject: Subject<'_>) -> Gate {
        let application = CapOf::Application(subject.application.to_string());
        let names = [application, CapOf::Host(subject.host.to_string())];
        let caps = self.known(&names);
        if caps.is_empty() {
            return Gate::Free;
        }
        let client = subject.client;
        let is_inside = |of: &CapOf| self.caps.get(of).is_some_and(|cap| cap.inside.contains(&client));
        if caps.iter().all(is_inside) {
            return Gate::Admitted;
        }
        // Nobody overtakes who waits for the same.
        let is_before = |waiting: &Waiting| caps.iter().any(|of| waiting.names.contains(of));
        if self.waiting.iter().any(is_before) || !self.has_room(&caps) {
            self.waiting.push_back(Waiting { client, names });
            return Gate::Shut;
        }
        self.take(client, &caps);
        Gate::Admitted
    }

    /// Those of which there is a cap.
    fn known(&self, names: &[CapOf]) -> Vec<CapOf> {
        names.iter().filter(|of| self.caps.contains_key(of)).cloned().collect()
    }

    fn has_room(&self, caps: &[CapOf]) -> bool {
        caps.iter().filter_map(|of| self.caps.get(of)).all(Cap::has_room)
    }

    fn take(&mut self, client: ClientId, caps: &[CapOf]) {
        for of in caps {
            if let Some(cap) = self.caps.get_mut(of) {
                cap.inside.insert(client);
            }
        }
    }

    /// A client has given its connection back, left the queue of its pool, or left altogether; gives those that are
    /// admitted by that.
    pub fn leave(&mut self, client: ClientId) -> Vec<ClientId> {
        self.waiting.retain(|waiting| waiting.client != client);
        for cap in self.caps.values_mut() {
            cap.inside.remove(&client);
            cap.before.remove(&client);
        }
        self.admit()
    }

    /// Those that held a connection when a cap was made are looked at again: one that was given back while the cap was
    /// being made has nobody who would say so.
    pub fn recount(&mut self, holds: impl Fn(ClientId, HoldId) -> bool) -> Vec<ClientId> {
        for cap in self.caps.values_mut() {
            cap.before.retain(|client, hold| holds(*client, *hold));
        }
        self.admit()
    }

    /// Whom the caps have room for now, in the order in which they came. Who waits for one cap does not keep those from
    /// their places who wait for others.
    fn admit(&mut self) -> Vec<ClientId> {
        let mut admitted = Vec::new();
        let mut full: BTreeSet<CapOf> = BTreeSet::new();
        let mut left = VecDeque::new();
        for waiting in std::mem::take(&mut self.waiting) {
            let caps = self.known(&waiting.names);
            let is_behind = caps.iter().any(|of| full.contains(of));
            if !is_behind && self.has_room(&caps) {
                self.take(waiting.client, &caps);
                admitted.push(waiting.client);
            } else {
                full.extend(caps);
                left.push_back(waiting);
            }
        }
        self.waiting = left;
        admitted
    }

    /// All caps.
    pub fn views(&self) -> Vec<CapView> {
        let waiting = |of: &CapOf| self.waiting.iter().filter(|waiting| waiting.names.contains(of)).count();
        let view = |(of, cap): (&CapOf, &Cap)| CapView {
            of: of.clone(),
            max: cap.max,
            used: cap.used() as u32,
            waiting: waiting(of) as u32,
            until: cap.until,
            by: cap.by.clone(),
        };
        self.caps.iter().map(view).collect()
    }

    /// The caps that a client waits for; nothing if it does not wait here.
    pub fn waits_for(&self, client: ClientId) -> Vec<CapView> {
        let Some(waiting) = self.waiting.iter().find(|waiting| waiting.client == client) else {
            return Vec::new();
        };
        self.views().into_iter().filter(|view| waiting.names.contains(&view.of)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn app(name: &str) -> CapOf {
        CapOf::Application(name.to_string())
    }

    fn host(name: &str) -> CapOf {
        CapOf::Host(name.to_string())
    }

    fn enter(caps: &mut Caps, client: u64, application: &str, host: &str) -> Gate {
        caps.enter(Subject { client: ClientId(client), application, host })
    }

    fn ids(numbers: &[u64]) -> Vec<ClientId> {
        numbers.iter().copied().map(ClientId).collect()
    }

    #[test]
    fn whoever_is_over_the_cap_waits_and_comes_in_when_a_place_is_free() {
        let mut caps = Caps::default();
        assert!(caps.set(app("a"), 2, None, "root", []).is_empty());
        assert_eq!(enter(&mut caps, 1, "a", "h"), Gate::Admitted);
        assert_eq!(enter(&mut caps, 2, "a", "h"), Gate::Admitted);
        assert_eq!(enter(&mut caps, 3, "a", "h"), Gate::Shut);
        assert_eq!(enter(&mut caps, 4, "b", "h"), Gate::Free);
        assert_eq!(enter(&mut caps, 5, "a", "h"), Gate::Shut);
        assert_eq!(caps.leave(ClientId(4)), []);
        assert_eq!(caps.leave(ClientId(1)), ids(&[3]));
        // One that waits leaves.
        assert_eq!(caps.leave(ClientId(5)), []);
        assert_eq!(caps.leave(ClientId(2)), []);
        let view = &caps.views()[0];
        assert_eq!((view.used, view.waiting, view.max), (1, 0, 2));
    }

    #[test]
    fn who_held_before_counts_until_it_gives_back() {
        let mut caps = Caps::default();
        let holders = [(ClientId(1), HoldId(7)), (ClientId(2), HoldId(8))];
        caps.set(host("h"), 1, None, "root", holders);
        assert_eq!(enter(&mut caps, 3, "a", "h"), Gate::Shut);
        assert_eq!(caps.leave(ClientId(1)), []);
        assert_eq!(caps.recount(|client, hold| client == ClientId(2) && hold == HoldId(8)), []);
        assert_eq!(caps.recount(|_, _| false), ids(&[3]));
    }

    #[test]
    fn both_caps_have_to_have_room() {
        let mut caps = Caps::default();
        caps.set(app("a"), 2, None, "root", []);
        caps.set(host("h"), 1, None, "root", []);
        assert_eq!(enter(&mut caps, 1, "a", "h"), Gate::Admitted);
        assert_eq!(enter(&mut caps, 2, "a", "h"), Gate::Shut);
        // Nobody overtakes who waits for the same cap, though it has room.
        assert_eq!(enter(&mut caps, 3, "a", "other"), Gate::Shut);
        assert_eq!(caps.waits_for(ClientId(2)).len(), 2);
        assert_eq!(caps.leave(ClientId(1)), ids(&[2, 3]));
    }

    #[test]
    fn caps_change_end_and_go() {
        let mut caps = Caps::default();
        caps.set(app("a"), 1, Some(Moment(100)), "root", []);
        for client in 1..=4 {
            enter(&mut caps, client, "a", "h");
        }
        assert_eq!(caps.set(app("a"), 2, Some(Moment(100)), "ann", []), ids(&[2]));
        assert_eq!(caps.expire(Moment(99)), (vec![], vec![]));
        assert_eq!(caps.expire(Moment(100)), (vec![app("a")], ids(&[3, 4])));
        assert!(caps.is_empty());
        assert_eq!(caps.remove(&app("a")), None);
        caps.set(app("a"), 0, None, "root", []);
        assert_eq!(enter(&mut caps, 9, "a", "h"), Gate::Shut);
        assert_eq!(caps.remove(&app("a")), Some(ids(&[9])));
    }

    proptest! {
        /// Never more inside than the cap, and nobody waits while there is room for it.
        #[test]
        fn no_cap_is_passed_and_nobody_is_forgotten(
            steps in prop::collection::vec((0_u8..4, 0_u64..12, 0_u32..4), 1..200)
        ) {
            let mut caps = Caps::default();
            let mut asking: BTreeMap<ClientId, (bool, &str, &str)> = BTreeMap::new();
            for (step, client, number) in steps {
                let (name, place) = (["a", "b"][client as usize % 2], ["h", "i"][number as usize % 2]);
                let mut admitted = Vec::new();
                match step {
                    0 if !asking.contains_key(&ClientId(client)) => {
                        let gate = enter(&mut caps, client, name, place);
                        asking.insert(ClientId(client), (gate != Gate::Shut, name, place));
                    }
                    1 => {
                        asking.remove(&ClientId(client));
                        admitted = caps.leave(ClientId(client));
                    }
                    2 => {
                        let of = if client % 2 == 0 { app(name) } else { host(place) };
                        // Those that are inside already were there before.
                        let holders: Vec<_> = asking
                            .iter()
                            .filter(|(_, (inside, a, h))| *inside && (of == app(a) || of == host(h)))
                            .map(|(client, _)| (*client, HoldId(1)))
                            .collect();
                        admitted = caps.set(of, number, None, "x", holders);
                    }
                    3 => admitted = caps.remove(&app(name)).unwrap_or_default(),
                    _ => {}
                }
                for client in admitted {
                    let row = asking.get_mut(&client).expect("who is admitted has asked");
                    prop_assert!(!row.0, "admitted twice");
                    row.0 = true;
                }
                for view in caps.views() {
                    let inside = asking.values().filter(|(inside, a, h)| {
                        *inside && (view.of == app(a) || view.of == host(h))
                    });
                    let inside = inside.count() as u32;
                    prop_assert!(inside <= view.used, "{view:?}: {inside} are inside");
                }
                let waiting: Vec<_> = asking.iter().filter(|(_, (inside, ..))| !inside).collect();
                if let Some((client, _)) = waiting.first() {
                    prop_assert!(
                        caps.views().iter().any(|view| view.used >= view.max && view.waiting > 0)
                            || caps.waits_for(**client).is_empty(),
                        "{client:?} waits for nothing"
                    );
                }
            }
        }
    }
}
