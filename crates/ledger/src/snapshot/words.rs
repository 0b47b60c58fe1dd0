//! The difference in sentences: what grew, by how much, held by whom, since which deploy.

use std::collections::{BTreeMap, HashMap};

use super::diff::{Fate, fates, known_sites};
use super::place::{Deploy, label};
use super::{Diff, Head, Held, Leftovers, Recorded, Runs, SiteState, Snapshot, Wall};

/// Most places that are told of.
const PLACES_MAX: usize = 10;

/// Most users, hosts and pools of a place that are named.
const NAMES_MAX: usize = 3;

/// A new hold that has said nothing for longer is told of as unused, microseconds: `leak_idle_threshold`'s default.
const UNUSED_US: i64 = 10_000_000;

/// A site that was seen so early in the life of the process may be older than that, microseconds.
const START_US: i64 = 60_000_000;

/// A time for people: `300 ms`, `12 s`, `45 min`, `2 h 5 min`, `3 d 2 h`.
pub fn span(micros: i64) -> String {
    let micros = micros.max(0);
    let seconds = micros / 1_000_000;
    match seconds {
        0 => format!("{} ms", micros / 1000),
        1..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// What is to be said of two snapshots: from when to when, what is doubtful about them, each place that grew, each pool
/// in which somebody waits.
pub fn sentences(before: &Snapshot, after: &Snapshot, diff: &Diff) -> Vec<String> {
    let mut out = vec![head(before, after, diff)];
    out.extend(doubts(&[before, after]));
    let places = places(before, after);
    let grown: Vec<&Place<'_>> = places.iter().filter(|place| place.growth() > 0).collect();
    out.extend(grown.iter().take(PLACES_MAX).map(|place| place.sentence(before, after, diff)));
    if grown.len() > PLACES_MAX {
        out.push(format!("{} other places hold more, too.", grown.len() - PLACES_MAX));
    }
    if grown.is_empty() {
        out.push("No place in the applications holds more connections than before.".to_string());
    }
    let waited = diff.pools.iter().filter(|pool| pool.waiting.1 > 0);
    out.extend(waited.map(|pool| {
        let (now, oldest) = (pool.waiting.1, span(i64::try_from(pool.oldest_wait_us).unwrap_or(i64::MAX)));
        format!(
            "{now} wait for pool {}/{}, the oldest for {oldest}: {} of {} are held ({} before).",
            pool.database, pool.role, pool.counts.after, pool.size, pool.counts.before
        )
    }));
    out
}

fn head(before: &Snapshot, after: &Snapshot, diff: &Diff) -> String {
    let (from, to) = (&before.head, &after.head);
    let (start, end, apart) =
        (from.taken.to_second(), to.taken.to_second(), span(to.taken.micros_since(from.taken)));
    let total = diff.total;
    match diff.runs {
        Runs::Same => format!(
            "{apart}, from {start} to {end}: {} -> {} held; {} new, {} released, {} kept ({} of them used in between).",
            total.before,
            total.after,
            total.new,
            total.released,
            total.used + total.unused,
            total.used
        ),
        Runs::Different => format!(
            "{apart}, from {start} to {end}: {} -> {} held. The pooler was restarted in between (the later process \
             started {}): every hold is new, and sites are compared by name.",
            total.before,
            total.after,
            to.started.to_second()
        ),
    }
}

/// What makes them say less than they seem to.
fn doubts(snapshots: &[&Snapshot]) -> Vec<String> {
    let mut out = Vec::new();
    for Snapshot { head, .. } in snapshots {
        let when = head.taken.to_second();
        match head.ledger {
            Recorded::On => {}
            Recorded::Off => out.push(format!("The ledger was off at {when}: no holds were recorded.")),
        }
        if head.holds_left_out > 0 {
            let left_out = head.holds_left_out;
            out.push(format!("The snapshot of {when} had no room for {left_out} holds, the youngest."));
        }
    }
    out
}

/// A place in an application: its sites of all deploys.
struct Place<'a> {
    label: String,
    before: u32,
    after: Vec<(Fate, &'a Held)>,
    sites: HashMap<&'a str, (&'a SiteState, Wall)>,
}

/// Those that hold in one of the two, the one that grew most first.
fn places<'a>(before: &'a Snapshot, after: &'a Snapshot) -> Vec<Place<'a>> {
    let known = known_sites(&[before, after]);
    let mut places: BTreeMap<String, Place<'a>> = BTreeMap::new();
    for (fate, held) in fates(before, after) {
        let site = known.get(held.site.as_str());
        let label = match site {
            Some((site, _)) => label(&site.application, &site.tags, site.statement.as_deref()),
            None => label(&held.application, &BTreeMap::new(), held.statement.as_deref()),
        };
        let place = places.entry(label.clone()).or_insert_with(|| Place {
            label,
            before: 0,
            after: Vec::new(),
            sites: HashMap::new(),
        });
        if let Some(found) = site {
            place.sites.insert(&held.site, *found);
        }
        match fate {
            Fate::Released => place.before += 1,
            Fate::New => place.after.push((fate, held)),
            Fate::Used | Fate::Unused => {
                place.before += 1;
                place.after.push((fate, held));
            }
        }
    }
    let mut places: Vec<Place<'a>> = places.into_values().collect();
    places.sort_by_key(|place| std::cmp::Reverse((place.growth(), place.after.len())));
    places
}

impl<'a> Place<'a> {
    fn growth(&self) -> i64 {
        count(self.after.len()) - i64::from(self.before)
    }

    fn new_holds(&self) -> impl Iterator<Item = &'a Held> {
        self.after.iter().filter(|(fate, _)| *fate == Fate::New).map(|(_, held)| *held)
    }

    fn sentence(&self, before: &Snapshot, after: &Snapshot, diff: &Diff) -> String {
        let (growth, now) = (self.growth(), self.after.len());
        let connections = if growth == 1 { "connection" } else { "connections" };
        let ago = span(after.head.taken.micros_since(before.head.taken));
        let mut pools = top(self.after.iter().map(|(_, held)| held.pool()));
        pools.truncate(NAMES_MAX);
        let is_one_of = |pool: &&super::PoolChange| {
            let name = format!("{}/{}", pool.database, pool.role);
            pools.iter().any(|(known, _)| *known == name)
        };
        let size: u32 = diff.pools.iter().filter(is_one_of).map(|pool| pool.size).sum();
        let names: Vec<&str> = pools.iter().map(|(name, _)| name.as_str()).collect();
        let of = match size {
            0 => format!("of pool {}", names.join(", ")),
            size => format!("of {size} of pool {}", names.join(", ")),
        };
        let label = &self.label;
        let users = top(self.after.iter().map(|(_, held)| held.user.clone()));
        let hosts = top(self.after.iter().map(|(_, held)| held.host.clone()));
        let (users, hosts) = (named(&users), named(&hosts));
        format!(
            "{label} holds {growth} {connections} more than {ago} ago ({} -> {now} {of}), as user {users} from \
             {hosts}{}{}.",
            self.before,
            self.unused(&after.head),
            self.since(&after.head)
        )
    }

    /// How many of them nobody uses.
    fn unused(&self, head: &Head) -> String {
        let idle = |held: &Held| head.taken.micros_since(held.used);
        let unused: Vec<i64> = self
            .new_holds()
            .filter(|held| held.is_resting())
            .map(idle)
            .filter(|us| *us >= UNUSED_US)
            .collect();
        let mut out = match unused.iter().min() {
            Some(least) => {
                format!("; {} of the new ones unused for {} or longer", unused.len(), span(*least))
            }
            None => String::new(),
        };
        let kept =
            self.after.iter().filter(|(fate, held)| *fate == Fate::Unused && held.is_resting()).count();
        if kept > 0 {
            out.push_str(&format!("; {kept} of those from before unused since"));
        }
        out
    }

    /// Since when there is this place, and which deploy brought it: of its sites the one with most new holds.
    fn since(&self, head: &Head) -> String {
        let mut sites: HashMap<&str, Vec<&Held>> = HashMap::new();
        for held in self.new_holds() {
            sites.entry(&held.site).or_default().push(held);
        }
        let most = sites.into_iter().max_by_key(|(site, holds)| (holds.len(), std::cmp::Reverse(*site)));
        let Some((site, holds)) = most else { return String::new() };
        let Some((site, first_seen)) = self.sites.get(site) else { return String::new() };
        let mut out = format!("; first seen {}", first_seen.to_second());
        if let Some(Deploy { key, value }) = Deploy::of(&site.tags) {
            out.push_str(&format!(" ({key} {value})"));
        }
        if *first_seen == site.first_seen && head.own_us(*first_seen) < START_US {
            out.push_str(", when this pooler had just started, so perhaps earlier");
        }
        let Some(first) = holds.iter().map(|held| held.granted).min() else { return out };
        let lead = first.micros_since(*first_seen);
        // A site is entered with the first look at one of its holds, which is a moment after that was granted.
        match lead < 1_000_000 {
            true => out.push_str(", with the first of them"),
            false => out.push_str(&format!(", {} before the first of them", span(lead))),
        }
        out
    }
}

/// What the three-snapshot method has found, in sentences.
pub fn leftover_sentences(snapshots: [&Snapshot; 3], left: &Leftovers) -> Vec<String> {
    let [first, second, third] = snapshots;
    let times = [first, second, third].map(|snapshot| snapshot.head.taken.to_second());
    let mut out = doubts(&snapshots);
    match (left.runs, left.first) {
        (Runs::Different, _) => out.push(format!(
            "The pooler was restarted between {} and {}: no hold can be in both, so nothing can be told.",
            times[1], times[2]
        )),
        (Runs::Same, Runs::Different) => out.push(format!(
            "The pooler was restarted after {}: that snapshot excludes nothing, and what follows is everything that \
             was held at {} and still is at {}.",
            times[0], times[1], times[2]
        )),
        (Runs::Same, Runs::Same) => {}
    }
    let all: usize = left.sites.iter().map(|left| left.holds.len()).sum();
    match (all, left.runs) {
        (_, Runs::Different) => {}
        (0, Runs::Same) => out.push(format!(
            "Nothing that came after {} was held at {} and at {}.",
            times[0], times[1], times[2]
        )),
        (_, Runs::Same) => out.push(format!(
            "{all} {} after {} and held at {} and at {}: longer than {}.",
            if all == 1 { "hold, granted" } else { "holds, all granted" },
            times[0],
            times[1],
            times[2],
            span(third.head.taken.micros_since(second.head.taken))
        )),
    }
    out
}

/// Names and how often each comes, the most common first.
fn top(names: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// `app`, or `app (9), cron (5) and 2 others`.
fn named(counts: &[(String, usize)]) -> String {
    match counts {
        [(only, _)] => only.clone(),
        many => {
            let first: Vec<String> =
                many.iter().take(NAMES_MAX).map(|(name, count)| format!("{name} ({count})")).collect();
            match many.len().saturating_sub(NAMES_MAX) {
                0 => first.join(", "),
                more => format!("{} and {more} others", first.join(", ")),
            }
        }
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
