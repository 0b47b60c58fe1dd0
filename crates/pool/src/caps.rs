//! Caps: an application, a host, or whoever is here by one grant has at most so many server connections at once, over all
//! pools. Those of applications and hosts are temporary; those of grants are limits of the grant.
//!
//! A gate in front of the queues: whoever is over a cap waits there, and joins the queue of its pool when it has a place
//! under each cap that it is subject to. A place is kept from then until the connection is given back, so that what
//! waits in the queues is never more than what may be held. Who held one when a cap was made counts as well, until it
//! gives that back.
//!
//! Who waits has no place, and stands in the queue of one cap that is full. What comes free is looked at by those who
//! stand there, and by nobody else.

mod name;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use plimsoll_types::{ClientId, Moment};

use name::canonical;

/// Whom a cap is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CapOf {
    /// Clients that call themselves so (application_name), however that is spelled: see [`CapOf::covers`].
    Application(String),
    /// Clients from this address.
    Host(String),
    /// Clients that are here by the grant with this id.
    Grant(String),
}

impl CapOf {
    /// Whom it can be for at most.
    pub fn reach(&self) -> Reach {
        match self {
            CapOf::Application(_) | CapOf::Host(_) => Reach::Everybody,
            CapOf::Grant(_) => Reach::Grants,
        }
    }

    /// Whether a cap of this is for a client. What it calls itself is compared as PostgreSQL has it: a client is known
    /// by what it said itself, or by what a server has made of that (in printable ASCII, 63 bytes).
    pub fn covers(&self, application: &str, host: &str, grant: Option<&str>) -> bool {
        match self {
            CapOf::Application(name) => canonical(name) == canonical(application),
            CapOf::Host(address) => address == host,
            CapOf::Grant(id) => grant == Some(id),
        }
    }

    fn key(&self) -> Cow<'_, str> {
        match self {
            CapOf::Application(name) => canonical(name),
            CapOf::Host(address) => Cow::Borrowed(address),
            CapOf::Grant(id) => Cow::Borrowed(id),
        }
    }
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
    /// The grant by which it is here, if it came by a key or a token.
    pub grant: Option<&'a str>,
    /// Since when it waits for a server connection: who waits longest is the first to come in.
    pub since: Moment,
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

/// Whom a set of caps can be for; each one is for all that those before it are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Nobody: there is none.
    Nobody,
    /// Those who are here by a grant.
    Grants,
    /// Anybody.
    Everybody,
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

/// Never used twice, so that a place under a cap that is gone is just none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct CapId(u64);

/// Where somebody stands: since when it waits, and when it came to the gate.
type Turn = (Moment, u64);

#[derive(Debug)]
struct Cap {
    of: CapOf,
    max: u32,
    until: Option<Moment>,
    by: String,
    /// Places that are taken.
    used: usize,
    /// Those that wait for one; nobody as long as there is room.
    queue: BTreeMap<Turn, ClientId>,
}

impl Cap {
    fn has_room(&self) -> bool {
        self.used < self.max as usize
    }

    fn view(&self) -> CapView {
        CapView {
            of: self.of.clone(),
            max: self.max,
            used: u32::try_from(self.used).unwrap_or(u32::MAX),
            waiting: u32::try_from(self.queue.len()).unwrap_or(u32::MAX),
            until: self.until,
            by: self.by.clone(),
        }
    }
}

/// Which caps are for a client: that of its application, that of its host, and that of its grant.
type Three = [Option<CapId>; 3];

/// Somebody whom the gate knows.
#[derive(Debug)]
enum Member {
    /// It has places under these; some of them may be gone.
    Inside(Vec<CapId>),
    Waits(Waiting),
}

/// Somebody who waits at the gate.
#[derive(Debug)]
struct Waiting {
    turn: Turn,
    /// In whose queue.
    at: CapId,
    /// Which caps are for it: there may be others now than when it came.
    application: Box<str>,
    host: Box<str>,
    grant: Option<Box<str>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Caps {
    caps: BTreeMap<CapId, Cap>,
    /// By name, as PostgreSQL would have it.
    applications: HashMap<String, CapId>,
    hosts: HashMap<String, CapId>,
    grants: HashMap<String, CapId>,
    members: HashMap<ClientId, Member>,
    last_cap: u64,
    last_turn: u64,
}

impl Caps {
    /// Makes a cap, or changes one. `holders`: who holds a connection now that it is for. Gives those that are admitted
    /// by it.
    pub fn set(
        &mut self,
        of: CapOf,
        max: u32,
        until: Option<Moment>,
        by: &str,
        holders: impl IntoIterator<Item = ClientId>,
    ) -> Vec<ClientId> {
        let by = by.to_string();
        let id = match self.find(&of) {
            Some(id) => id,
            None => {
                self.last_cap += 1;
                CapId(self.last_cap)
            }
        };
        match self.caps.get_mut(&id) {
            Some(cap) => (cap.max, cap.until, cap.by) = (max, until, by),
            None => {
                let key = of.key().into_owned();
                self.kind(&of).insert(key, id);
                self.caps.insert(id, Cap { of, max, until, by, used: 0, queue: BTreeMap::new() });
            }
        }
        for client in holders {
            self.take(client, &[Some(id)]);
        }
        self.admit(&[id])
    }

    /// Takes a cap away; gives those that are admitted by that. `None`: there is none of the kind.
    pub fn remove(&mut self, of: &CapOf) -> Option<Vec<ClientId>> {
        let id = self.find(of)?;
        let mut admitted = Vec::new();
        self.end(id, &mut admitted);
        Some(admitted)
    }

    /// Takes those away whose time is over; gives them, and those that are admitted by that.
    pub fn expire(&mut self, now: Moment) -> (Vec<CapOf>, Vec<ClientId>) {
        let is_over = |(id, cap): (&CapId, &Cap)| cap.until.is_some_and(|until| until <= now).then_some(*id);
        let over: Vec<CapId> = self.caps.iter().filter_map(is_over).collect();
        let mut admitted = Vec::new();
        let ended = over.into_iter().filter_map(|id| self.end(id, &mut admitted)).collect();
        (ended, admitted)
    }

    /// A client asks to join the queue of its pool, or whether it may take a connection that it is granted. Also gives
    /// those that are admitted since it has given up places that it had: who waits keeps none.
    pub fn enter(&mut self, subject: Subject<'_>) -> (Gate, Vec<ClientId>) {
        let Subject { client, application, host, grant, since } = subject;
        let application = canonical(application);
        let caps = self.of_client(&application, host, grant);
        let places: &[CapId] = match self.members.get(&client) {
            Some(Member::Waits(_)) => return (Gate::Shut, Vec::new()),
            Some(Member::Inside(places)) => places,
            None => &[],
        };
        if caps == [None; 3] && places.is_empty() {
            return (Gate::Free, Vec::new());
        }
        // Where it has a place it does not need another.
        let wanted = caps.map(|cap| cap.filter(|id| !places.contains(id)));
        let Some(at) = self.full_one(wanted) else {
            self.take(client, &wanted);
            return (Gate::Admitted, Vec::new());
        };
        let freed = self.forget(client);
        self.last_turn += 1;
        let turn = (since, self.last_turn);
        let (application, host, grant) = (application.into(), host.into(), grant.map(Into::into));
        let waiting = Waiting { turn, at, application, host, grant };
        self.wait(client, waiting);
        (Gate::Shut, self.admit(&freed))
    }

    /// A client has a connection that no cap keeps it from: it counts all the same. False: no cap is for it.
    pub fn hold(&mut self, subject: Subject<'_>) -> bool {
        let caps = self.of_client(&canonical(subject.application), subject.host, subject.grant);
        self.take(subject.client, &caps);
        caps != [None; 3]
    }

    /// A client has given its connection back, left the queue of its pool, or left altogether; gives those that are
    /// admitted by that.
    pub fn leave(&mut self, client: ClientId) -> Vec<ClientId> {
        let freed = self.forget(client);
        self.admit(&freed)
    }

    /// Whom there are caps for.
    pub fn reach(&self) -> Reach {
        self.caps.values().map(|cap| cap.of.reach()).max().unwrap_or(Reach::Nobody)
    }

    /// The grants that there are caps for.
    pub fn grants(&self) -> impl Iterator<Item = &str> {
        self.grants.keys().map(String::as_str)
    }

    /// How many at once a cap allows; `None`: there is none of the kind.
    pub fn max_of(&self, of: &CapOf) -> Option<u32> {
        let kind = match of {
            CapOf::Application(_) => &self.applications,
            CapOf::Host(_) => &self.hosts,
            CapOf::Grant(_) => &self.grants,
        };
        kind.get(&*of.key()).and_then(|id| self.caps.get(id)).map(|cap| cap.max)
    }

    /// All caps: of applications, then of hosts, then of grants, by name.
    pub fn views(&self) -> Vec<CapView> {
        let mut views: Vec<_> = self.caps.values().map(Cap::view).collect();
        views.sort_by(|a, b| a.of.cmp(&b.of));
        views
    }

    /// The caps that are for a client that waits here, first the one in whose queue it is; nothing if it does not.
    pub fn waits_for(&self, client: ClientId) -> Vec<CapView> {
        let Some(Member::Waits(waiting)) = self.members.get(&client) else { return Vec::new() };
        let caps = self.of_client(&waiting.application, &waiting.host, waiting.grant.as_deref());
        let others = caps.into_iter().flatten().filter(|id| *id != waiting.at);
        std::iter::once(waiting.at).chain(others).filter_map(|id| self.caps.get(&id)).map(Cap::view).collect()
    }

    fn kind(&mut self, of: &CapOf) -> &mut HashMap<String, CapId> {
        match of {
            CapOf::Application(_) => &mut self.applications,
            CapOf::Host(_) => &mut self.hosts,
            CapOf::Grant(_) => &mut self.grants,
        }
    }

    fn find(&mut self, of: &CapOf) -> Option<CapId> {
        self.kind(of).get(&*of.key()).copied()
    }

    /// `application`: canonical.
    fn of_client(&self, application: &str, host: &str, grant: Option<&str>) -> Three {
        let of_grant = grant.and_then(|grant| self.grants.get(grant));
        [self.applications.get(application).copied(), self.hosts.get(host).copied(), of_grant.copied()]
    }

    fn full_one(&self, caps: Three) -> Option<CapId> {
        let is_full = |id: &CapId| self.caps.get(id).is_some_and(|cap| !cap.has_room());
        caps.into_iter().flatten().find(is_full)
    }

    /// A client has places under these from here on, unless it waits: then it holds nothing any more.
    fn take(&mut self, client: ClientId, caps: &[Option<CapId>]) {
        let member = self.members.entry(client).or_insert_with(|| Member::Inside(Vec::new()));
        let Member::Inside(places) = member else { return };
        for id in caps.iter().flatten() {
            if let Some(cap) = self.caps.get_mut(id).filter(|_| !places.contains(id)) {
                cap.used += 1;
                places.push(*id);
            }
        }
    }

    fn wait(&mut self, client: ClientId, waiting: Waiting) {
        if let Some(cap) = self.caps.get_mut(&waiting.at) {
            cap.queue.insert(waiting.turn, client);
        }
        self.members.insert(client, Member::Waits(waiting));
    }

    /// Takes from a client what it has; gives the caps that have a place more.
    fn forget(&mut self, client: ClientId) -> Vec<CapId> {
        match self.members.remove(&client) {
            Some(Member::Inside(places)) => {
                for id in &places {
                    if let Some(cap) = self.caps.get_mut(id) {
                        cap.used = cap.used.saturating_sub(1);
                    }
                }
                places
            }
            Some(Member::Waits(waiting)) => {
                if let Some(cap) = self.caps.get_mut(&waiting.at) {
                    cap.queue.remove(&waiting.turn);
                }
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// A cap is no more; those that stood in its queue come in, or go to that of another.
    fn end(&mut self, id: CapId, admitted: &mut Vec<ClientId>) -> Option<CapOf> {
        let cap = self.caps.remove(&id)?;
        let key = cap.of.key().into_owned();
        self.kind(&cap.of).remove(&key);
        cap.queue.into_values().for_each(|client| self.move_on(client, admitted));
        Some(cap.of)
    }

    /// Whom these caps have room for now, in the order in which they came. Who waits for one cap does not keep those
    /// from their places who wait for others.
    fn admit(&mut self, caps: &[CapId]) -> Vec<ClientId> {
        let mut admitted = Vec::new();
        while let Some(client) = self.pop_next(caps) {
            self.move_on(client, &mut admitted);
        }
        admitted
    }

    /// Takes out who waits longest for those of these caps that have room.
    fn pop_next(&mut self, caps: &[CapId]) -> Option<ClientId> {
        let first = |id: &CapId| {
            let cap = self.caps.get(id).filter(|cap| cap.has_room())?;
            cap.queue.first_key_value().map(|(turn, _)| (*turn, *id))
        };
        let (turn, id) = caps.iter().filter_map(first).min()?;
        self.caps.get_mut(&id)?.queue.remove(&turn)
    }

    /// Somebody who was in the queue of a cap that has room, or is no more.
    fn move_on(&mut self, client: ClientId, admitted: &mut Vec<ClientId>) {
        let Some(Member::Waits(waiting)) = self.members.remove(&client) else { return };
        let caps = self.of_client(&waiting.application, &waiting.host, waiting.grant.as_deref());
        match self.full_one(caps) {
            Some(at) => self.wait(client, Waiting { at, ..waiting }),
            None => {
                self.take(client, &caps);
                admitted.push(client);
            }
        }
    }
}
