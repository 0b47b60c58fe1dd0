//! The difference in sentences: what grew, by how much, held by whom, since which deploy.

use std::collections::{BTreeMap, HashMap};

use super::diff::{Fate, fates, is_elsewhere, known_sites};
use super::place::{Deploy, label};
use super::{Counts, Diff, Head, Held, Leftovers, PoolChange, Runs, SiteState, Snapshot, Wall};

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

/// How much is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All there is.
    #[default]
    All,
    /// The snapshots have chosen holds only; their pools are as they were.
    Chosen,
}

/// What has to be known of snapshots besides what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caveats {
    /// How much of them is compared.
    pub scope: Scope,
    /// What is to be said against them: see [`super::doubts`].
    pub doubts: Vec<String>,
}

/// What is to be said of two snapshots: from when to when, what is doubtful about them, each place that grew, each pool
/// in which somebody waits.
pub fn sentences(before: &Snapshot, after: &Snapshot, diff: &Diff, caveats: &Caveats) -> Vec<String> {
    let mut out = vec![head(before, after, diff)];
    out.extend(not_recorded(&before.head, &after.head, diff.total));
    out.extend(caveats.doubts.iter().cloned());
    let places = places(before, after);
    let grown: Vec<&Place<'_>> = places.iter().filter(|place| place.growth() > 0).collect();
    out.extend(grown.iter().take(PLACES_MAX).map(|place| place.sentence(before, after, diff)));
    match grown.len().saturating_sub(PLACES_MAX) {
        0 => {}
        1 => out.push("1 other place holds more, too.".to_string()),
        more => out.push(format!("{more} other places hold more, too.")),
    }
    // Of what was not recorded nobody knows whose it is.
    if grown.is_empty() && caveats.doubts.is_empty() {
        out.push("No place in the applications holds more connections than before.".to_string());
    }
    let waited = diff.pools.iter().filter(|pool| pool.waiting.1 > 0);
    out.extend(waited.map(|pool| wait(pool, diff.runs, caveats.scope)));
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
        Runs::Restarted => format!(
            "{apart}, from {start} to {end}: {} -> {} held. The pooler was restarted in between (the later process \
             started {}): every hold is new, and sites are compared by name.",
            total.before,
            total.after,
            to.started.to_second()
        ),
        Runs::Strangers => format!(
            "{apart}, from {start} to {end}: {} held at the one time, {} at the other. The snapshots are of {}: no \
             hold can be in both, and sites are compared by name.",
            total.before,
            total.after,
            strangers(from, to)
        ),
    }
}

/// Of whom two snapshots are that are not of one pooler.
fn strangers(earlier: &Head, later: &Head) -> String {
    match is_elsewhere(earlier, later) {
        true => {
            let [one, other] = [earlier, later].map(|head| head.listen.join(", "));
            format!("two poolers ({one} and {other})")
        }
        false => format!(
            "two poolers, or a clock was set (the later process started {}, before the earlier snapshot was taken)",
            later.started.to_second()
        ),
    }
}

/// Holds of which the earlier snapshot should have known.
fn not_recorded(before: &Head, after: &Head, total: Counts) -> Option<String> {
    let (start, end) = (before.taken.to_second(), after.taken.to_second());
    match total.unrecorded {
        0 => None,
        1 => Some(format!(
            "1 hold of {end} was granted before {start} and not recorded before: it counts as held at both times, and \
             not as new."
        )),
        many => Some(format!(
            "{many} holds of {end} were granted before {start} and not recorded before: they count as held at both \
             times, and not as new."
        )),
    }
}

/// Clients wait for a pool: that it is full, or not, does not depend on what was chosen.
fn wait(pool: &PoolChange, runs: Runs, scope: Scope) -> String {
    let (now, oldest) = (pool.waiting.1, span(i64::try_from(pool.oldest_wait_us).unwrap_or(i64::MAX)));
    let waits = if now == 1 { "waits" } else { "wait" };
    let (held, was) = (pool.held.1, pool.held.0);
    let are = if held == 1 { "is" } else { "are" };
    let before = match runs {
        Runs::Same | Runs::Restarted => "before",
        Runs::Strangers => "in the earlier snapshot",
    };
    let chosen = match scope {
        Scope::All => String::new(),
        Scope::Chosen => {
            format!("; {} of them by what was chosen ({} {before})", pool.counts.after, pool.counts.before)
        }
    };
    format!(
        "{now} {waits} for pool {}/{}, the oldest for {oldest}: {held} of {} {are} held ({was} {before}){chosen}.",
        pool.database, pool.role, pool.size
    )
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
            Fate::Used | Fate::Unused | Fate::Unrecorded => {
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
        let ago = match diff.runs {
            Runs::Same | Runs::Restarted => {
                format!("{} ago", span(after.head.taken.micros_since(before.head.taken)))
            }
            Runs::Strangers => "in the earlier snapshot".to_string(),
        };
        let mut pools = top(self.after.iter().map(|(_, held)| held.pool()));
        pools.truncate(NAMES_MAX);
        let is_one_of = |pool: &&PoolChange| {
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
        let more = match diff.runs {
            Runs::Same | Runs::Restarted => self.unused(&after.head) + &self.since(&after.head),
            // What is new and since when it is so cannot be told.
            Runs::Strangers => String::new(),
        };
        format!(
            "{label} holds {growth} {connections} more than {ago} ({} -> {now} {of}), as user {users} from \
             {hosts}{more}.",
            self.before
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
    let mut out = Vec::new();
    match (left.runs, left.first) {
        (Runs::Restarted, _) => out.push(format!(
            "The pooler was restarted between {} and {}: no hold can be in both, so nothing can be told.",
            times[1], times[2]
        )),
        (Runs::Strangers, _) => out.push(format!(
            "The snapshots of {} and {} are of {}: no hold can be in both, so nothing can be told.",
            times[1],
            times[2],
            strangers(&second.head, &third.head)
        )),
        (Runs::Same, Runs::Restarted) => out.push(format!(
            "The pooler was restarted after {}: that snapshot excludes nothing, and what follows is everything that \
             was held at {} and still is at {}.",
            times[0], times[1], times[2]
        )),
        (Runs::Same, Runs::Strangers) => out.push(format!(
            "The snapshots of {} and {} are of {}: the first one excludes nothing, and what follows is everything that \
             was held at {} and still is at {}.",
            times[0],
            times[2],
            strangers(&first.head, &third.head),
            times[1],
            times[2]
        )),
        (Runs::Same, Runs::Same) => {}
    }
    let all: usize = left.sites.iter().map(|left| left.holds.len()).sum();
    match (left.runs, all) {
        (Runs::Restarted | Runs::Strangers, _) => {}
        (Runs::Same, 0) => out.push(format!(
            "Nothing that came after {} was held at {} and at {}.",
            times[0], times[1], times[2]
        )),
        (Runs::Same, _) => {
            let holds = if all == 1 { "hold" } else { "holds" };
            let granted = match (left.first, all) {
                (Runs::Strangers, _) => ",".to_string(),
                (Runs::Same | Runs::Restarted, 1) => format!(", granted after {} and", times[0]),
                (Runs::Same | Runs::Restarted, _) => format!(", all granted after {} and", times[0]),
            };
            let lasted = span(third.head.taken.micros_since(second.head.taken));
            out.push(format!(
                "{all} {holds}{granted} held at {} and at {}: longer than {lasted}.",
                times[1], times[2]
            ));
        }
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
                1 => format!("{} and 1 other", first.join(", ")),
                more => format!("{} and {more} others", first.join(", ")),
            }
        }
    }
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}
