//! Carries out what the machine wants done, and compares its books with ours after every step.

use plimsoll_pool::{Action, Grant, Moves, SlotState};
use plimsoll_types::{DatabaseId, PoolId, SlotId, TargetId, UserId, WorkerId};

use crate::world::{Connection, Doing, World};

impl World {
    /// Carries out what the machine wants done, and compares its books with ours.
    pub(crate) fn settle(&mut self) {
        while let Some(action) = self.pools.poll_action() {
            self.act(action);
        }
        if let Err(difference) = self.pools.check() {
            panic!("{difference}");
        }
        self.compare();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Grant { ticket, client, grant } => {
                let waits = self.waiting.remove(&ticket).expect("granted to somebody who waits");
                assert_eq!(waits.client, client);
                self.assert_turn(&waits, grant.slot);
                self.unshare(waits.pool);
                self.granted(waits.pool, waits.worker, grant);
            }
            Action::Refuse { ticket, client, .. } => {
                let waits = self.waiting.remove(&ticket).expect("refused to somebody who waits");
                assert_eq!(waits.client, client);
                self.unshare(waits.pool);
            }
            Action::Open { slot, pool, target, worker } => self.open(slot, pool, target, worker),
            Action::Check { slot } => self.begin(slot, Doing::Checking),
            Action::Clean { slot } => self.begin(slot, Doing::Cleaning),
            Action::Close { slot, .. } => {
                assert!(matches!(self.connection(slot).doing, Doing::Idle { .. }), "closed while in use");
                self.set(slot, Doing::Closing);
            }
        }
    }

    fn begin(&mut self, slot: SlotId, doing: Doing) {
        let connection = self.connection(slot);
        assert!(matches!(connection.doing, Doing::Idle { .. }) && connection.cancels == 0, "{connection:?}");
        connection.doing = doing;
    }

    pub(crate) fn granted(&mut self, pool: PoolId, worker: WorkerId, grant: Grant) {
        let now = self.now;
        let spec = self.specs.get(&pool).expect("a removed pool gives nothing out").clone();
        assert!(!self.is_paused(spec.database), "granted while paused");
        assert!(self.holds.insert(grant.hold), "{:?} used twice", grant.hold);
        let connection = self.connection(grant.slot);
        let Doing::Idle { since } = connection.doing else { panic!("granted {connection:?}") };
        assert_eq!((connection.pool, connection.database, connection.user), (pool, spec.database, spec.user));
        assert_eq!(connection.cancels, 0, "a cancel would hit the next client");
        assert!(spec.targets.contains(&connection.target), "of a target that is not listed");
        let unchecked =
            spec.limits.check_delay.filter(|delay| !delay.is_zero() && now.since(since) >= *delay);
        assert_eq!(unchecked, None, "granted unchecked");
        assert_eq!(grant.moves == Moves::Moves, connection.home != worker);
        connection.home = worker;
        connection.doing = Doing::Held { hold: grant.hold };
        self.moves += u64::from(grant.moves == Moves::Moves);
    }

    pub(crate) fn is_paused(&self, database: DatabaseId) -> bool {
        self.paused.contains(&None) || self.paused.contains(&Some(database.0))
    }

    /// Invariant 1, counted by us: a new connection passes no limit.
    fn open(&mut self, slot: SlotId, pool: PoolId, target: TargetId, home: WorkerId) {
        let spec = self.specs.get(&pool).expect("a removed pool opens nothing").clone();
        assert!(!self.is_paused(spec.database) && spec.targets.contains(&target));
        let (database, user) = (spec.database, spec.user);
        let streams = self.is_stream(pool);
        let opened =
            Connection { pool, target, database, user, home, doing: Doing::Opening, cancels: 0, streams };
        assert!(
            !self.gone.contains(&slot) && self.connections.insert(slot, opened).is_none(),
            "{slot:?} again"
        );
        let within = |max: Option<u32>, used: u32| max.is_none_or(|max| used <= max);
        let budget = self.targets.iter().find(|(id, _)| *id == target).and_then(|(_, budget)| *budget);
        let walsenders = self.count(|other| other.target == target && other.streams);
        if streams {
            let max = self.walsenders.get(&target).copied().flatten();
            assert!(within(max, walsenders), "over max_wal_senders");
            let ticket = self.pools.opened_for(slot).expect("a connection for one client");
            assert!(self.waiting.contains_key(&ticket), "for nobody");
        } else {
            assert!(within(budget, self.pools.target_used(target)), "over the budget");
            assert_eq!(self.pools.opened_for(slot), None);
        }
        let database_max = self.databases.get(&database.0).copied().flatten();
        assert!(within(database_max, self.pools.database_used(database)), "over max_db_connections");
        let user_max = self.users.get(&user.0).copied().flatten();
        assert!(within(user_max, self.pools.user_used(user)), "over max_user_connections");
        let size = spec.limits.size + spec.limits.reserve_size;
        let beside = self.beside(pool);
        let counts = |other: &Connection| other.pool == pool || Some(other.pool) == beside;
        assert!(self.count(|other| counts(other) && other.doing != Doing::Lost) <= size, "over the size");
    }

    fn count(&self, is: impl Fn(&Connection) -> bool) -> u32 {
        self.connections.values().filter(|connection| is(connection)).count() as u32
    }

    fn compare(&self) {
        for (target, _) in &self.targets {
            let ordinary = self.count(|other| other.target == *target && !other.streams);
            assert_eq!(ordinary, self.pools.target_used(*target));
            let view = self.pools.target_view(*target).expect("a target");
            let streams = self.count(|other| other.target == *target && other.streams);
            assert_eq!(streams, view.walsenders);
        }
        for id in 0..3 {
            let of_database = |other: &Connection| other.database.0 == id && other.doing != Doing::Lost;
            assert_eq!(self.count(of_database), self.pools.database_used(DatabaseId(id)));
            let of_user = |other: &Connection| other.user.0 == id && other.doing != Doing::Lost;
            assert_eq!(self.count(of_user), self.pools.user_used(UserId(id)));
        }
        for view in self.pools.slots() {
            let ours = self.connections.get(&view.id).expect("a connection we know");
            let agree = match (ours.doing, view.state) {
                (Doing::Opening, SlotState::Opening)
                | (Doing::Cleaning, SlotState::Cleaning)
                | (Doing::Checking, SlotState::Checking)
                | (Doing::Closing, SlotState::Closing)
                | (Doing::Lost, SlotState::Lost)
                | (Doing::Idle { .. }, SlotState::Idle) => true,
                (Doing::Idle { .. }, SlotState::BeingCanceled) => ours.cancels > 0,
                (Doing::Held { hold }, SlotState::Held) => view.holder.is_some_and(|(_, held)| held == hold),
                _ => false,
            };
            assert!(agree, "{ours:?} is {view:?} in the machine");
        }
        assert_eq!(self.pools.slots().count(), self.connections.len());
        for pool in self.specs.keys() {
            let waiting = self.waiting.values().filter(|waits| waits.pool == *pool).count();
            assert_eq!(waiting as u32, self.pools.counts(*pool, self.now).waiting);
        }
        assert_eq!(self.moves, self.pools.moves());
    }
}
