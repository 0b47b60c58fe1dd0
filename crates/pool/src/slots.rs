//! The slots: one table, one state each, and ONE function that changes a state and keeps every counter and list.

use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId, TargetId, Ticket, WorkerId};

use crate::limits::{GroupId, Groups, Limits, Weight};
use crate::list::{Chain, Link, Linked, List};
use crate::nouns::SlotState;
use crate::table::Table;

/// What is due when the last cancel connection of a returned slot has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing: hand it on.
    HandOn,
    /// The reset query.
    Clean,
}

/// Whether a connection may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Goes on to the next client.
    Reuse,
    /// RECONNECT, or its target is no longer listed: closed as soon as it comes back.
    CloseNeeded,
    /// What it logged in with has ended: likewise.
    Retired,
}

/// Out of which part of the pool's size a slot was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `pool_size`.
    Size,
    /// `reserve_pool_size`.
    Reserve,
}

/// A server connection.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) pool: PoolId,
    pub(crate) target: TargetId,
    pub(crate) groups: Groups,
    /// Changed by [`Slots::change`] only.
    state: SlotState,
    /// Worker whose runtime owns the socket. Changed while in no list only.
    home: WorkerId,
    pub(crate) fate: Fate,
    pub(crate) due: Due,
    pub(crate) origin: Origin,
    /// Who it is opened for, if for nobody else.
    pub(crate) own: Option<Ticket>,
    /// Cancel connections under way for it.
    pub(crate) cancels: u32,
    /// When opening began.
    pub(crate) opened: Moment,
    /// When it was granted or came back last.
    pub(crate) used: Moment,
    holder: Option<(ClientId, HoldId)>,
    in_pool: Link,
    in_worker: Link,
}

impl Slot {
    /// A slot whose connection is about to be opened.
    pub(crate) fn opening(
        pool: PoolId,
        target: TargetId,
        groups: Groups,
        home: WorkerId,
        now: Moment,
    ) -> Slot {
        Slot {
            pool,
            target,
            groups,
            state: SlotState::Opening,
            home,
            fate: Fate::Reuse,
            due: Due::HandOn,
            origin: Origin::Size,
            own: None,
            cancels: 0,
            opened: now,
            used: now,
            holder: None,
            in_pool: Link::LOOSE,
            in_worker: Link::LOOSE,
        }
    }

    pub(crate) fn state(&self) -> SlotState {
        self.state
    }

    pub(crate) fn home(&self) -> WorkerId {
        self.home
    }

    pub(crate) fn holder(&self) -> Option<(ClientId, HoldId)> {
        self.holder
    }
}

impl Linked for Slot {
    fn link(&self, chain: Chain) -> Link {
        match chain {
            Chain::Pool => self.in_pool,
            Chain::Worker => self.in_worker,
        }
    }

    fn link_mut(&mut self, chain: Chain) -> &mut Link {
        match chain {
            Chain::Pool => &mut self.in_pool,
            Chain::Worker => &mut self.in_worker,
        }
    }
}

/// The slots of one pool: how many are in each state, and the idle ones, least recently used first.
#[derive(Debug)]
pub(crate) struct Shelf {
    by_state: [u32; 8],
    /// How many of those that stay count in which group.
    staying_in: Vec<(GroupId, u32)>,
    idle: List,
    idle_at: Vec<List>,
}

impl Shelf {
    fn new() -> Shelf {
        Shelf { by_state: [0; 8], staying_in: Vec::new(), idle: List::new(Chain::Pool), idle_at: Vec::new() }
    }

    pub(crate) fn count(&self, state: SlotState) -> u32 {
        self.by_state[state as usize]
    }

    fn sum(&self, states: &[SlotState]) -> u32 {
        states.iter().map(|state| self.count(*state)).sum()
    }

    /// Every slot.
    pub(crate) fn total(&self) -> u32 {
        self.by_state.iter().sum()
    }

    /// What counts against the pool's size: all but the lost.
    pub(crate) fn sized(&self) -> u32 {
        self.total() - self.count(SlotState::Lost)
    }

    /// What is there to stay: neither closing nor lost.
    pub(crate) fn staying(&self) -> u32 {
        self.sized() - self.count(SlotState::Closing)
    }

    /// What is there to stay of what counts in a group.
    pub(crate) fn staying_in(&self, group: GroupId) -> u32 {
        self.staying_in.iter().find(|(known, _)| *known == group).map_or(0, |(_, count)| *count)
    }

    /// One more that stays counts in `group`.
    fn add(&mut self, group: GroupId) {
        match self.staying_in.iter_mut().find(|(known, _)| *known == group) {
            Some((_, count)) => *count += 1,
            None => self.staying_in.push((group, 1)),
        }
    }

    /// One that counts in `group` does not stay.
    fn take(&mut self, group: GroupId) {
        if let Some((_, count)) = self.staying_in.iter_mut().find(|(known, _)| *known == group) {
            *count -= 1;
        }
        self.staying_in.retain(|(_, count)| *count > 0);
    }

    /// Logged in at the server and not being let go.
    pub(crate) fn connected(&self) -> u32 {
        self.staying() - self.count(SlotState::Opening)
    }

    /// Slots that will be free for a waiter before long without anybody's doing.
    pub(crate) fn coming(&self) -> u32 {
        self.sum(&[SlotState::Opening, SlotState::Cleaning, SlotState::Checking])
    }

    pub(crate) fn idle(&self) -> &List {
        &self.idle
    }

    pub(crate) fn idle_at(&self, worker: WorkerId) -> Option<&List> {
        self.idle_at.get(usize::from(worker.0))
    }

    pub(crate) fn idle_lists(&self) -> impl Iterator<Item = (WorkerId, &List)> {
        (0..).map(WorkerId).zip(self.idle_at.iter())
    }
}

/// All slots with everything that is counted of them.
#[derive(Debug)]
pub(crate) struct Slots {
    table: Table<Slot>,
    /// By pool id; `None` for a pool that is gone.
    shelves: Vec<Option<Box<Shelf>>>,
    pub(crate) limits: Limits,
}

impl Slots {
    pub(crate) fn new() -> Slots {
        Slots { table: Table::new(), shelves: Vec::new(), limits: Limits::default() }
    }

    pub(crate) fn add_shelf(&mut self) {
        self.shelves.push(Some(Box::new(Shelf::new())));
    }

    /// Forgets a pool that has no slot any more.
    pub(crate) fn remove_shelf(&mut self, pool: PoolId) {
        self.shelves[pool.0 as usize] = None;
    }

    /// The shelf of a pool that is known to exist: as long as it has a slot, a waiter or a place in the table of pools.
    pub(crate) fn shelf(&self, pool: PoolId) -> &Shelf {
        self.shelves[pool.0 as usize].as_deref().expect("a pool that exists has a shelf")
    }

    pub(crate) fn shelves(&self) -> impl Iterator<Item = (PoolId, &Shelf)> {
        (0..).map(PoolId).zip(self.shelves.iter()).filter_map(|(pool, shelf)| Some((pool, shelf.as_deref()?)))
    }

    pub(crate) fn table(&self) -> &Table<Slot> {
        &self.table
    }

    /// Position of a slot, unless the id is stale or the slot is in another state.
    pub(crate) fn in_state(&self, id: SlotId, state: SlotState) -> Option<u32> {
        (self.find(id)?.state == state).then_some(id.index)
    }

    pub(crate) fn find(&self, id: SlotId) -> Option<&Slot> {
        self.table.find(id.index, id.generation)
    }

    pub(crate) fn row(&self, index: u32) -> &Slot {
        self.table.row(index)
    }

    /// For what is neither counted nor listed.
    pub(crate) fn row_mut(&mut self, index: u32) -> &mut Slot {
        self.table.row_mut(index)
    }

    pub(crate) fn id(&self, index: u32) -> SlotId {
        SlotId { index, generation: self.table.generation(index) }
    }

    /// Adds a slot in state [`SlotState::Opening`].
    pub(crate) fn insert(&mut self, slot: Slot) -> SlotId {
        let (pool, groups) = (slot.pool, slot.groups);
        let (index, generation) = self.table.insert(slot);
        self.count(pool, groups, None, Some(SlotState::Opening));
        SlotId { index, generation }
    }

    /// Takes out a slot whose connection is gone.
    pub(crate) fn remove(&mut self, index: u32) -> Slot {
        let state = self.row(index).state;
        debug_assert!(
            !matches!(state, SlotState::Idle | SlotState::Held | SlotState::BeingCanceled),
            "a connection in state {state:?} cannot just be gone"
        );
        self.leave(index, state);
        let slot = self.table.remove(index);
        self.count(slot.pool, slot.groups, Some(state), None);
        slot
    }

    /// THE function that changes a state: counters, lists, holder and times follow.
    pub(crate) fn change(&mut self, index: u32, to: SlotState, now: Moment) {
        let slot = self.table.row_mut(index);
        let (from, pool, groups) = (slot.state, slot.pool, slot.groups);
        debug_assert!(leads_to(from, to), "no way from {from:?} to {to:?}");
        self.leave(index, from);
        self.table.row_mut(index).state = to;
        self.count(pool, groups, Some(from), Some(to));
        self.enter(index, to, now);
    }

    /// The slot goes to a client, and its socket to the client's worker.
    pub(crate) fn give(&mut self, index: u32, holder: (ClientId, HoldId), worker: WorkerId, now: Moment) {
        self.change(index, SlotState::Held, now);
        let slot = self.table.row_mut(index);
        slot.holder = Some(holder);
        slot.home = worker;
    }

    /// The connection that was being opened lives on `worker`.
    pub(crate) fn settle_on(&mut self, index: u32, worker: WorkerId) {
        let slot = self.table.row_mut(index);
        debug_assert!(slot.state == SlotState::Opening, "only an opening connection is in no list for sure");
        slot.home = worker;
    }

    fn shelf_mut(&mut self, pool: PoolId) -> Option<&mut Shelf> {
        self.shelves.get_mut(pool.0 as usize)?.as_deref_mut()
    }

    fn leave(&mut self, index: u32, from: SlotState) {
        match from {
            SlotState::Idle => self.unlist(index),
            SlotState::Held => self.table.row_mut(index).holder = None,
            SlotState::Opening
            | SlotState::BeingCanceled
            | SlotState::Cleaning
            | SlotState::Checking
            | SlotState::Closing
            | SlotState::Lost => {}
        }
    }

    fn enter(&mut self, index: u32, to: SlotState, now: Moment) {
        match to {
            SlotState::Idle => self.list(index, now),
            SlotState::Held | SlotState::BeingCanceled | SlotState::Cleaning => {
                self.table.row_mut(index).used = now;
            }
            SlotState::Opening | SlotState::Checking | SlotState::Closing | SlotState::Lost => {}
        }
    }

    fn list(&mut self, index: u32, now: Moment) {
        let slot = self.table.row_mut(index);
        slot.used = now;
        let (pool, worker) = (slot.pool, usize::from(slot.home.0));
        let Some(shelf) = self.shelves[pool.0 as usize].as_deref_mut() else { return };
        if shelf.idle_at.len() <= worker {
            shelf.idle_at.resize(worker + 1, List::new(Chain::Worker));
        }
        shelf.idle.push(&mut self.table, index);
        shelf.idle_at[worker].push(&mut self.table, index);
    }

    fn unlist(&mut self, index: u32) {
        let slot = self.table.row(index);
        let (pool, worker) = (slot.pool, usize::from(slot.home.0));
        let Some(shelf) = self.shelves[pool.0 as usize].as_deref_mut() else { return };
        shelf.idle.remove(&mut self.table, index);
        shelf.idle_at[worker].remove(&mut self.table, index);
    }

    fn count(&mut self, pool: PoolId, groups: Groups, from: Option<SlotState>, to: Option<SlotState>) {
        if let Some(shelf) = self.shelf_mut(pool) {
            if let Some(from) = from {
                shelf.by_state[from as usize] -= 1;
            }
            if let Some(to) = to {
                shelf.by_state[to as usize] += 1;
            }
            match (from.is_some_and(stays), to.is_some_and(stays)) {
                (false, true) => groups.into_iter().for_each(|group| shelf.add(group)),
                (true, false) => groups.into_iter().for_each(|group| shelf.take(group)),
                (false, false) | (true, true) => {}
            }
        }
        self.limits.weigh(groups, from.map(weight), to.map(weight));
    }
}

/// How a state weighs against limits that span pools.
pub(crate) fn weight(state: SlotState) -> Weight {
    match state {
        SlotState::Opening => Weight::Opening,
        SlotState::Idle
        | SlotState::Held
        | SlotState::BeingCanceled
        | SlotState::Cleaning
        | SlotState::Checking => Weight::Used,
        SlotState::Closing => Weight::Closing,
        SlotState::Lost => Weight::Lost,
    }
}

/// Whether a connection in that state is there to stay.
fn stays(state: SlotState) -> bool {
    match weight(state) {
        Weight::Opening | Weight::Used => true,
        Weight::Closing | Weight::Lost => false,
    }
}

/// The ways of a slot's life ([`SlotState`] tells them in words); only used to notice mistakes of ours.
fn leads_to(from: SlotState, to: SlotState) -> bool {
    use SlotState::{BeingCanceled, Checking, Cleaning, Closing, Held, Idle, Lost, Opening};
    match from {
        Opening => matches!(to, Idle | Held | Closing | Lost),
        Idle => matches!(to, Held | Checking | Closing),
        Held => matches!(to, Idle | Held | BeingCanceled | Cleaning | Checking | Closing),
        BeingCanceled => matches!(to, Idle | Held | Cleaning | Checking | Closing),
        Cleaning => matches!(to, Idle | Held | Checking | Closing | Lost),
        Checking => matches!(to, Idle | Held | Closing | Lost),
        Closing => matches!(to, Lost),
        Lost => false,
    }
}
