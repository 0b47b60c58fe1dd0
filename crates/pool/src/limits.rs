//! Limits that span pools: the budget of a target, `max_db_connections`, `max_user_connections`.
//!
//! All three are groups of slots with a count and a cap, and a slot is in exactly one group of each kind. They differ
//! only in whether a lost connection counts: it takes a place at the server until it has been seen to end, so it
//! counts against the target; PgBouncer's two limits know only connections that are ours.

use std::collections::BTreeMap;
use std::time::Duration;

use plimsoll_types::{DatabaseId, Moment, TargetId, UserId};

use crate::nouns::{Standing, Walsenders};

/// Position of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(u32);

/// A slot's groups: its target, its database, its user, in this order.
pub(crate) type Groups = [GroupId; 3];

/// Where in [`Groups`] the target is: the one in which lost connections count.
pub(crate) const TARGET: usize = 0;

/// How a slot weighs in its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Takes a place, and one of those who log in.
    Opening,
    /// Takes a place.
    Used,
    /// Takes a place that will be free soon.
    Closing,
    /// Takes a place at its target only.
    Lost,
}

/// Slots under one cap.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Group {
    /// The cap; `None` is no cap.
    pub(crate) max: Option<u32>,
    /// Places taken.
    pub(crate) used: u32,
    /// Those of them that are being closed.
    pub(crate) closing: u32,
    /// Those of them that are logging in.
    pub(crate) opening: u32,
}

impl Group {
    /// Whether one more fits beside `claimed` places that are spoken for.
    pub(crate) fn has_room(&self, claimed: u32) -> bool {
        self.max.is_none_or(|max| self.used.saturating_add(claimed) < max)
    }

    /// Whether one more will fit when what is closing has closed.
    pub(crate) fn will_have_room(&self, claimed: u32) -> bool {
        self.max.is_none_or(|max| (self.used - self.closing).saturating_add(claimed) < max)
    }

    /// Whether more connections stay than the cap allows (it has been lowered).
    fn is_over(&self) -> bool {
        self.max.is_some_and(|max| self.used - self.closing > max)
    }
}

/// What is known of the places at a target. The smallest number counts.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) group: GroupId,
    /// `target_budget = N`.
    pub(crate) configured: Option<u32>,
    /// What the server has for us, by what it says itself.
    pub(crate) said: Said,
    /// What it refused to give more than.
    pub(crate) learned: Option<Learned>,
    /// Replication connections there.
    pub(crate) walsenders: GroupId,
    /// Where they count.
    pub(crate) counted: Walsenders,
}

/// What a server has said of the places it has for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    /// What counts while nobody can ask it.
    Presumed(u32),
    /// Its limits alone: others may have all of these, and only refusals tell that they have.
    Limit(u32),
    /// Its limits less the sessions of others: a place that is seen free is free.
    Seen(u32),
}

impl Said {
    /// The cap that comes of it.
    pub(crate) fn places(self) -> Option<u32> {
        match self {
            Said::Nothing => None,
            Said::Presumed(places) | Said::Limit(places) | Said::Seen(places) => Some(places),
        }
    }

    /// What it has said itself.
    pub(crate) fn asked(self) -> Option<u32> {
        match self {
            Said::Nothing | Said::Presumed(_) => None,
            Said::Limit(places) | Said::Seen(places) => Some(places),
        }
    }
}

/// The server has said no (53300).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Learned {
    /// As many as there were when it refused one more, or as it has given since.
    pub(crate) given: u32,
    /// As many as there may be for now: those, or one more that is tried.
    pub(crate) max: u32,
    /// When it said so last.
    pub(crate) refused: Moment,
    /// When one more is tried; `None`: as soon as somebody wants it, or only when a place is seen free.
    pub(crate) probe: Option<Moment>,
    /// How long the wait for that was.
    pub(crate) wait: Duration,
}

impl Target {
    fn max(&self) -> Option<u32> {
        let learned = self.learned.map(|learned| learned.max);
        [self.configured, self.said.places(), learned].into_iter().flatten().min()
    }
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    groups: Vec<Group>,
    targets: Vec<Target>,
    databases: BTreeMap<DatabaseId, GroupId>,
    users: BTreeMap<UserId, GroupId>,
    /// How many groups are over their cap: one look on the query's way instead of three.
    over: u32,
    /// How many groups have no room for one more.
    full: u32,
}

impl Limits {
    fn add(&mut self) -> GroupId {
        self.groups.push(Group::default());
        GroupId((self.groups.len() - 1) as u32)
    }

    pub(crate) fn add_target(&mut self, max: Option<u32>) -> TargetId {
        let (group, walsenders) = (self.add(), self.add());
        let counted = Walsenders::Apart(None);
        self.targets.push(Target {
            group,
            configured: max,
            said: Said::Nothing,
            learned: None,
            walsenders,
            counted,
        });
        self.set_max(group, max);
        TargetId((self.targets.len() - 1) as u32)
    }

    pub(crate) fn target(&self, target: TargetId) -> Option<GroupId> {
        Some(self.targets.get(target.0 as usize)?.group)
    }

    /// Where the connections of a pool with this standing count at a target.
    pub(crate) fn place(&self, target: TargetId, standing: Standing) -> Option<GroupId> {
        let row = self.targets.get(target.0 as usize)?;
        Some(match (standing, row.counted) {
            (Standing::Replication { .. }, Walsenders::Apart(_)) => row.walsenders,
            (Standing::Replication { .. }, Walsenders::Among)
            | (Standing::Ordinary | Standing::Guaranteed, _) => row.group,
        })
    }

    /// What a server has for replication; what is open stays where it counts.
    pub(crate) fn set_walsenders(&mut self, target: TargetId, walsenders: Walsenders) {
        let Some(row) = self.targets.get_mut(target.0 as usize) else { return };
        row.counted = walsenders;
        let group = row.walsenders;
        let max = match walsenders {
            Walsenders::Apart(max) => max,
            Walsenders::Among => None,
        };
        self.set_max(group, max);
    }

    /// What is known of the places at a target.
    pub(crate) fn places(&self, target: TargetId) -> Option<&Target> {
        self.targets.get(target.0 as usize)
    }

    pub(crate) fn targets(&self) -> impl Iterator<Item = (TargetId, &Target)> {
        (0..).map(TargetId).zip(self.targets.iter())
    }

    /// Something was learned of the places at a target; its cap follows.
    pub(crate) fn change_target(&mut self, target: TargetId, change: impl FnOnce(&mut Target, &Group)) {
        let Some(row) = self.targets.get_mut(target.0 as usize) else { return };
        change(row, &self.groups[row.group.0 as usize]);
        let (group, max) = (row.group, row.max());
        self.set_max(group, max);
    }

    /// The group of a database, made if there is none.
    pub(crate) fn database(&mut self, database: DatabaseId) -> GroupId {
        if let Some(group) = self.databases.get(&database) {
            return *group;
        }
        let group = self.add();
        self.databases.insert(database, group);
        group
    }

    /// The group of a user, made if there is none.
    pub(crate) fn user(&mut self, user: UserId) -> GroupId {
        if let Some(group) = self.users.get(&user) {
            return *group;
        }
        let group = self.add();
        self.users.insert(user, group);
        group
    }

    pub(crate) fn known_database(&self, database: DatabaseId) -> Option<GroupId> {
        self.databases.get(&database).copied()
    }

    pub(crate) fn known_user(&self, user: UserId) -> Option<GroupId> {
        self.users.get(&user).copied()
    }

    pub(crate) fn database_used(&self, database: DatabaseId) -> u32 {
        self.databases.get(&database).map_or(0, |group| self.group(*group).used)
    }

    pub(crate) fn user_used(&self, user: UserId) -> u32 {
        self.users.get(&user).map_or(0, |group| self.group(*group).used)
    }

    pub(crate) fn target_used(&self, target: TargetId) -> u32 {
        self.target(target).map_or(0, |group| self.group(group).used)
    }

    pub(crate) fn group(&self, group: GroupId) -> &Group {
        &self.groups[group.0 as usize]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        (0..).map(GroupId).zip(self.groups.iter())
    }

    pub(crate) fn is_over(&self, group: GroupId) -> bool {
        self.group(group).is_over()
    }

    pub(crate) fn over(&self) -> u32 {
        self.over
    }

    pub(crate) fn full(&self) -> u32 {
        self.full
    }

    /// Whether a slot of these groups is in one that is over its cap. One comparison when none is.
    pub(crate) fn any_over(&self, groups: &Groups) -> bool {
        self.over > 0 && groups.iter().any(|group| self.is_over(*group))
    }

    pub(crate) fn set_max(&mut self, group: GroupId, max: Option<u32>) {
        self.change(group, |group| group.max = max);
    }

    /// A slot goes from one weight to another; `None` is a slot that is not there.
    pub(crate) fn weigh(&mut self, groups: Groups, from: Option<Weight>, to: Option<Weight>) {
        if from == to {
            return;
        }
        for (kind, group) in groups.into_iter().enumerate() {
            self.change(group, |group| {
                let (used, closing) = weights(kind, from);
                group.used -= used;
                group.closing -= closing;
                group.opening -= u32::from(from == Some(Weight::Opening));
                let (used, closing) = weights(kind, to);
                group.used += used;
                group.closing += closing;
                group.opening += u32::from(to == Some(Weight::Opening));
            });
        }
    }

    fn change(&mut self, group: GroupId, change: impl FnOnce(&mut Group)) {
        let group = &mut self.groups[group.0 as usize];
        self.over -= u32::from(group.is_over());
        self.full -= u32::from(!group.has_room(0));
        change(group);
        self.over += u32::from(group.is_over());
        self.full += u32::from(!group.has_room(0));
    }
}

/// What a weight adds to `used` and `closing` of a group of that kind.
pub(crate) fn weights(kind: usize, weight: Option<Weight>) -> (u32, u32) {
    match weight {
        None => (0, 0),
        Some(Weight::Opening | Weight::Used) => (1, 0),
        Some(Weight::Closing) => (1, 1),
        Some(Weight::Lost) => (u32::from(kind == TARGET), 0),
    }
}
