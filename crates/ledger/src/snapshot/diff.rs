//! What two snapshots have in common, and the three-snapshot method of heap profilers.
//!
//! A hold survives if both snapshots have it: the same number in the same run of the pooler. Of two runs nothing can
//! survive. Sites and pools are compared by name, which is the same in every run.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Head, Held, SiteState, Snapshot, Wall};

/// A process's clock may be ahead of the one on the wall by so much, microseconds: what it says of its start and of a
/// snapshot is wrong by no more.
const AHEAD_US: i64 = 2_000_000;

/// Whether two snapshots are of one run of the pooler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// They are.
    Same,
    /// The pooler was restarted in between: everything is new in the later one.
    Restarted,
    /// They are of two poolers, or a clock was set: what one of them holds says nothing of the other.
    Strangers,
}

impl Runs {
    /// Of two snapshots in the order of their times.
    pub(super) fn of(earlier: &Head, later: &Head) -> Runs {
        if earlier.instance == later.instance {
            return Runs::Same;
        }
        let ran_at_once = later.started.plus(AHEAD_US) < earlier.taken;
        if ran_at_once || is_elsewhere(earlier, later) { Runs::Strangers } else { Runs::Restarted }
    }
}

/// Whether both say where they listen, and it is not the same place.
pub(super) fn is_elsewhere(one: &Head, other: &Head) -> bool {
    !one.listen.is_empty() && !other.listen.is_empty() && one.listen != other.listen
}

/// What became of holds between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Held at the time of the earlier one, whether or not it had recorded them.
    pub before: u32,
    /// Held in the later one.
    pub after: u32,
    /// In the later one only.
    pub new: u32,
    /// In the earlier one only.
    pub released: u32,
    /// In both, and used in between.
    pub used: u32,
    /// In both, and not used in between.
    pub unused: u32,
    /// In the later one only, though granted before the earlier one was taken, which had not recorded them.
    pub unrecorded: u32,
}

impl Counts {
    /// How many more are held.
    pub fn growth(&self) -> i64 {
        i64::from(self.after) - i64::from(self.before)
    }

    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::New => {
                self.after += 1;
                self.new += 1;
            }
            Fate::Released => {
                self.before += 1;
                self.released += 1;
            }
            Fate::Used => {
                self.before += 1;
                self.after += 1;
                self.used += 1;
            }
            Fate::Unused => {
                self.before += 1;
                self.after += 1;
                self.unused += 1;
            }
            Fate::Unrecorded => {
                self.before += 1;
                self.after += 1;
                self.unrecorded += 1;
            }
        }
    }
}

/// What became of one hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    New,
    Released,
    Used,
    Unused,
    Unrecorded,
}

/// A pool in two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolChange {
    /// Configured database.
    pub database: String,
    /// Server login role.
    pub role: String,
    /// Its size in the later one; in the earlier one if it has gone.
    pub size: u32,
    /// Those of its holds that are compared.
    pub counts: Counts,
    /// Held connections before and after, whether or not their holds are compared.
    pub held: (u32, u32),
    /// Free connections before and after.
    pub idle: (u32, u32),
    /// Clients that wait, before and after.
    pub waiting: (u32, u32),
    /// How long the oldest of those in the later one has waited, microseconds.
    pub oldest_wait_us: u64,
}

/// A site in two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteChange {
    /// Its number.
    pub site: String,
    /// Application, as claimed.
    pub application: String,
    /// Comment tags.
    pub tags: BTreeMap<String, String>,
    /// Its first statement without literals, where it may be seen.
    pub statement: Option<String>,
    /// When it was seen first, by all that the snapshots know.
    pub first_seen: Option<Wall>,
    /// Its holds.
    pub counts: Counts,
    /// When the oldest of those in the later snapshot was granted.
    pub oldest: Option<Wall>,
}

/// The difference of two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Whether they are of one run.
    pub runs: Runs,
    /// All holds.
    pub total: Counts,
    /// Pools, the one that grew most first.
    pub pools: Vec<PoolChange>,
    /// Sites that hold in one of them, the one that grew most first.
    pub sites: Vec<SiteChange>,
}

/// Compares two snapshots; `before` is the earlier one.
pub fn diff(before: &Snapshot, after: &Snapshot) -> Diff {
    let runs = Runs::of(&before.head, &after.head);
    let mut total = Counts::default();
    let mut pools: BTreeMap<(&str, &str), PoolChange> = BTreeMap::new();
    let mut sites: BTreeMap<&str, SiteChange> = BTreeMap::new();
    let known = known_sites(&[before, after]);
    for (fate, held) in fates(before, after) {
        total.add(fate);
        let pool =
            pools.entry((&held.database, &held.role)).or_insert_with(|| pool_of(&held.database, &held.role));
        pool.counts.add(fate);
        let site = sites.entry(&held.site).or_insert_with(|| site_of(held, &known));
        site.counts.add(fate);
        if fate != Fate::Released {
            site.oldest = Some(site.oldest.map_or(held.granted, |oldest| oldest.min(held.granted)));
        }
    }
    for pool in &before.pools {
        let change =
            pools.entry((&pool.database, &pool.role)).or_insert_with(|| pool_of(&pool.database, &pool.role));
        change.size = pool.size;
        change.held.0 = change.held.0.saturating_add(pool.held);
        change.idle.0 = change.idle.0.saturating_add(pool.idle);
        change.waiting.0 = change.waiting.0.saturating_add(pool.waiting);
    }
    for pool in &after.pools {
        let change =
            pools.entry((&pool.database, &pool.role)).or_insert_with(|| pool_of(&pool.database, &pool.role));
        change.size = pool.size;
        change.held.1 = change.held.1.saturating_add(pool.held);
        change.idle.1 = change.idle.1.saturating_add(pool.idle);
        change.waiting.1 = change.waiting.1.saturating_add(pool.waiting);
        change.oldest_wait_us = change.oldest_wait_us.max(pool.oldest_wait_us);
    }
    let mut pools: Vec<PoolChange> = pools.into_values().collect();
    pools.sort_by_key(|pool| std::cmp::Reverse((pool.counts.growth(), pool.counts.after)));
    let mut sites: Vec<SiteChange> = sites.into_values().collect();
    sites.sort_by_key(|site| std::cmp::Reverse((site.counts.growth(), site.counts.after)));
    Diff { runs, total, pools, sites }
}

/// Every hold of two snapshots once, and what became of it.
pub(super) fn fates<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<(Fate, &'a Held)> {
    let runs = Runs::of(&before.head, &after.head);
    let mut earlier: HashMap<u64, &Held> = match runs {
        Runs::Same => before.holds.iter().map(|held| (held.hold, held)).collect(),
        Runs::Restarted | Runs::Strangers => HashMap::new(),
    };
    let mut fate = |now: &Held| match earlier.remove(&now.hold) {
        None if runs == Runs::Same && was_there(now, &after.head, &before.head) => Fate::Unrecorded,
        None => Fate::New,
        Some(then) if is_used(then, &before.head, now, &after.head) => Fate::Used,
        Some(_) => Fate::Unused,
    };
    let mut fates: Vec<(Fate, &Held)> = after.holds.iter().map(|now| (fate(now), now)).collect();
    let gone = before.holds.iter().filter(|held| match runs {
        Runs::Same => earlier.contains_key(&held.hold),
        Runs::Restarted | Runs::Strangers => true,
    });
    fates.extend(gone.map(|held| (Fate::Released, held)));
    fates
}

/// Whether a hold of a snapshot had been granted when an earlier one of the same run was taken. One that is not in that
/// was not recorded then: the ledger was off, or there was no room.
fn was_there(held: &Held, of: &Head, earlier: &Head) -> bool {
    of.own_us(held.granted) <= earlier.own_us(earlier.taken)
}

fn is_used(then: &Held, before: &Head, now: &Held, after: &Head) -> bool {
    before.own_us(then.used) < after.own_us(now.used) || then.statements < now.statements
}

fn pool_of(database: &str, role: &str) -> PoolChange {
    PoolChange { database: database.to_string(), role: role.to_string(), ..PoolChange::default() }
}

/// What all snapshots together know of each site: the last one's words, the first time it was seen.
pub(super) fn known_sites<'a>(snapshots: &[&'a Snapshot]) -> HashMap<&'a str, (&'a SiteState, Wall)> {
    let mut known: HashMap<&str, (&SiteState, Wall)> = HashMap::new();
    for site in snapshots.iter().flat_map(|snapshot| &snapshot.sites) {
        let first = known.get(site.site.as_str()).map_or(site.first_seen, |(_, first)| *first);
        known.insert(&site.site, (site, first.min(site.first_seen)));
    }
    known
}

fn site_of(held: &Held, known: &HashMap<&str, (&SiteState, Wall)>) -> SiteChange {
    let known = known.get(held.site.as_str());
    SiteChange {
        site: held.site.clone(),
        application: known.map_or(&held.application, |(site, _)| &site.application).clone(),
        tags: known.map(|(site, _)| site.tags.clone()).unwrap_or_default(),
        statement: known.map_or(&held.statement, |(site, _)| &site.statement).clone(),
        first_seen: known.map(|(_, first)| *first),
        counts: Counts::default(),
        oldest: None,
    }
}

/// Holds of one site that were left over, as the three-snapshot method finds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The site.
    pub site: SiteChange,
    /// How many were used between the last two snapshots.
    pub used: u32,
    /// In what state how many are, the most common first.
    pub states: Vec<(String, u32)>,
    /// Their numbers, the oldest first.
    pub holds: Vec<u64>,
}

/// What the three-snapshot method finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftovers {
    /// Whether the last two are of one run: where they are not, nothing can be in both.
    pub runs: Runs,
    /// Whether the first one is of the run of the last one: where it is not, it excludes nothing.
    pub first: Runs,
    /// By site, the most first.
    pub sites: Vec<Left>,
}

/// The three-snapshot method: what came after `first` and was there in `second` and `third` has outlived a whole
/// interval. The snapshots are in the order of their times.
pub fn leftovers(first: &Snapshot, second: &Snapshot, third: &Snapshot) -> Leftovers {
    let since_first = Runs::of(&first.head, &third.head);
    let excluded: HashSet<u64> = match since_first {
        Runs::Same => first.holds.iter().map(|held| held.hold).collect(),
        Runs::Restarted | Runs::Strangers => HashSet::new(),
    };
    let is_old = |held: &Held| {
        let is_unrecorded = since_first == Runs::Same && was_there(held, &third.head, &first.head);
        is_unrecorded || excluded.contains(&held.hold)
    };
    let known = known_sites(&[first, second, third]);
    let mut sites: BTreeMap<&str, Left> = BTreeMap::new();
    let mut states: HashMap<&str, BTreeMap<&str, u32>> = HashMap::new();
    for (fate, held) in fates(second, third) {
        let is_in_both = match fate {
            Fate::Used | Fate::Unused => true,
            Fate::New | Fate::Released | Fate::Unrecorded => false,
        };
        if !is_in_both || is_old(held) {
            continue;
        }
        let left = sites.entry(&held.site).or_insert_with(|| Left {
            site: site_of(held, &known),
            used: 0,
            states: Vec::new(),
            holds: Vec::new(),
        });
        left.site.counts.add(fate);
        left.used += u32::from(fate == Fate::Used);
        left.site.oldest = Some(left.site.oldest.map_or(held.granted, |oldest| oldest.min(held.granted)));
        left.holds.push(held.hold);
        *states.entry(&held.site).or_default().entry(&held.state).or_default() += 1;
    }
    for (site, left) in &mut sites {
        let counts = states.remove(site).unwrap_or_default();
        left.states = counts.into_iter().map(|(state, count)| (state.to_string(), count)).collect();
        left.states.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    }
    let mut sites: Vec<Left> = sites.into_values().collect();
    sites.sort_by_key(|left| std::cmp::Reverse(left.holds.len()));
    Leftovers { runs: Runs::of(&second.head, &third.head), first: since_first, sites }
}
