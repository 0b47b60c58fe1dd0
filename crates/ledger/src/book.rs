//! One book for the process: sites and what is usual for them, verdicts, and the holds worth remembering.

mod deeds;
mod flow;
mod histogram;
mod history;
mod site;
mod verdict;

use std::collections::HashMap;

use plimsoll_types::{HoldId, Moment, PoolId};

pub use deeds::{DEEDS_MAX, Deed, What};
pub use flow::Need;
pub use histogram::Histogram;
pub use history::{HISTORY_MAX, How, Identified, Past, Who};
pub use site::{FLOOR_MINUTES, Site};
pub use verdict::{Level, Rule, Thresholds, Verdict};

use crate::holds::{Ended, HoldCopy, HoldState, Provenance, Text};
use crate::site::SiteId;
use deeds::Deeds;
use flow::Flows;
use history::History;

/// Most sites that are told apart.
pub const SITES_MAX: usize = 10_000;

/// Most bytes of an application's name that tell sites apart.
pub const APPLICATION_BYTES_MAX: usize = 64;

/// Most events that wait to be taken; what comes then is dropped.
const EVENTS_MAX: usize = 256;

/// Whether the client of a hold is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// As far as anybody can tell.
    #[default]
    Alive,
    /// Its socket is dead.
    Gone,
}

/// An open hold as it is looked at once a second.
#[derive(Clone, Debug)]
pub struct Live {
    /// The hold.
    pub hold: HoldCopy,
    /// application_name of its client, as claimed.
    pub application: String,
    /// Whether its client is there.
    pub owner: Owner,
}

/// How a pool is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Its size.
    pub size: u32,
    /// Connections held.
    pub held: u32,
    /// Clients that wait.
    pub waiting: u32,
    /// How long the oldest has waited, microseconds.
    pub oldest_wait_us: u64,
}

/// How long a pool is remembered as one in which others had to wait, microseconds: whoever looks after the first errors
/// has come in must not be told that nobody waits.
const MISSED_US: u64 = 60_000_000;

/// Something to be told once.
#[derive(Clone, Debug, PartialEq)]
pub enum BookEvent {
    /// Holds of a site look like leaks.
    Suspected {
        /// The site.
        site: SiteId,
        /// How many of its holds do.
        holds: u32,
        /// What is thought of the worst.
        verdict: Verdict,
    },
    /// A suspect came back by itself.
    Unleaked {
        /// The site.
        site: SiteId,
        /// How long it had been held, microseconds.
        held_us: u64,
    },
}

/// What is remembered of an open hold between two looks.
#[derive(Clone, Copy, Debug)]
struct Known {
    used: Moment,
    level: Level,
    since: Moment,
    /// The longest pause after which it was used again, microseconds.
    pause_us: u64,
    round: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Book {
    thresholds: Thresholds,
    sites: HashMap<SiteId, Site>,
    known: HashMap<HoldId, Known>,
    pressure: HashMap<PoolId, Pressure>,
    /// When others last waited for long, by pool.
    missed: HashMap<PoolId, Moment>,
    flows: Flows,
    history: History,
    deeds: Deeds,
    events: Vec<BookEvent>,
    round: u32,
}

impl Book {
    /// An empty book.
    pub fn new(thresholds: Thresholds) -> Book {
        Book {
            thresholds,
            sites: HashMap::new(),
            known: HashMap::new(),
            pressure: HashMap::new(),
            missed: HashMap::new(),
            flows: Flows::default(),
            history: History::default(),
            deeds: Deeds::default(),
            events: Vec::new(),
            round: 0,
        }
    }

    /// After a reload.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// The site of a hold whose first statement this is; a new one is entered, as long as there is room.
    pub fn site_of(&mut self, application: &str, first: Option<&Text>, now: Moment) -> SiteId {
        let id = site::id_of(application, first);
        if let Some(site) = self.sites.get_mut(&id) {
            site.seen = now;
            return id;
        }
        if self.sites.len() >= SITES_MAX {
            self.sites.entry(SiteId::OTHER).or_insert_with(|| Site::other(now)).seen = now;
            return SiteId::OTHER;
        }
        self.sites.insert(id, Site::new(application, first, now));
        id
    }

    /// The site of a hold, entered anew if it was forgotten.
    fn site_of_hold(&mut self, hold: &HoldCopy, application: &str, now: Moment) -> SiteId {
        if self.sites.contains_key(&hold.site) {
            return hold.site;
        }
        self.site_of(application, hold.first.as_ref(), now)
    }

    /// A hold has ended that was heard of. `who` is asked only if it is worth remembering.
    pub fn ended(
        &mut self,
        ended: &Ended,
        application: &str,
        how: &How,
        who: impl FnOnce() -> Who,
    ) -> SiteId {
        let hold = &ended.hold;
        let id = self.site_of_hold(hold, application, ended.at);
        let held_us = ended.at.0.saturating_sub(hold.opening.granted.0);
        let waited_us = hold.opening.granted.0.saturating_sub(hold.opening.asked.0);
        self.flows.ended(hold.opening.pool, held_us, ended.weight, ended.at);
        let known = self.known.remove(&hold.opening.hold);
        let suspected = known.is_some_and(|known| known.level >= Level::Suspect);
        let thresholds = &self.thresholds;
        let Some(site) = self.sites.get_mut(&id) else { return id };
        let unusual = held_us > site.habit_us(thresholds);
        site.learn(held_us, ended.weight, ended.at);
        let short = held_us.saturating_mul(thresholds.habit_factor) <= thresholds.age_floor_us;
        if short || !suspected && !site.has_suspects() {
            site.learn_habit(held_us, ended.weight);
        }
        // A session that idles comes back when its client closes it.
        let closed = *how == How::ClientLeft && hold.progress.state == HoldState::IdleInSession;
        if suspected && (closed || *how == How::Returned) {
            site.unleak(ended.at);
            self.tell(BookEvent::Unleaked { site: id, held_us });
        }
        let acted_upon = match how {
            How::Returned | How::ClientLeft => false,
            How::Cut(_) => true,
        };
        if acted_upon || unusual || history::is_memorable(held_us, waited_us) {
            let level = known.map_or(Level::Ok, |known| known.level);
            let (hold, how) = (hold.clone(), how.clone());
            self.history.push(Past { hold, at: ended.at, site: id, who: who(), how, level });
        }
        id
    }

    /// Begins a look at all open holds. `pressure`: all pools.
    pub fn begin_round(&mut self, pressure: impl IntoIterator<Item = (PoolId, Pressure)>, now: Moment) {
        self.round = self.round.wrapping_add(1);
        self.pressure = pressure.into_iter().collect();
        self.missed.retain(|_, at| now.0.saturating_sub(at.0) < MISSED_US);
        for (pool, pressure) in &self.pressure {
            if pressure.waiting > 0 && pressure.oldest_wait_us >= self.thresholds.waiting_us {
                self.missed.insert(*pool, now);
            }
        }
        for site in self.sites.values_mut() {
            site.begin_round();
        }
    }

    /// Looks at one of them; its site.
    pub fn look(&mut self, live: &Live, now: Moment) -> SiteId {
        let hold = &live.hold;
        let id = self.site_of_hold(hold, &live.application, now);
        let before = self.known.get(&hold.opening.hold).copied();
        let verdict = self.judge(live, id, now);
        let Some(site) = self.sites.get_mut(&id) else { return id };
        let mut pause_us = before.map_or(0, |before| before.pause_us);
        if let Some(before) = before
            && before.used < hold.progress.used
        {
            let gap_us = hold.progress.used.0.saturating_sub(before.used.0);
            pause_us = pause_us.max(gap_us);
            site.used_again(gap_us, hold.progress.used);
            if before.level >= Level::Suspect && verdict.level < Level::Suspect {
                site.unleak(now);
                let held_us = now.0.saturating_sub(hold.opening.granted.0);
                self.tell(BookEvent::Unleaked { site: id, held_us });
            }
        }
        let Some(site) = self.sites.get_mut(&id) else { return id };
        site.count(hold, &verdict, now);
        let since = match before {
            Some(before) if before.level >= Level::Suspect && verdict.level >= Level::Suspect => before.since,
            _ => now,
        };
        let used = hold.progress.used;
        let known = Known { used, level: verdict.level, since, pause_us, round: self.round };
        self.known.insert(hold.opening.hold, known);
        id
    }

    /// Ends the look: what has become of each site.
    pub fn end_round(&mut self, now: Moment) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        let mut events = Vec::new();
        for (id, site) in &mut self.sites {
            if let Some((holds, verdict)) = site.end_round(now) {
                events.push(BookEvent::Suspected { site: *id, holds, verdict });
            }
        }
        for event in events {
            self.tell(event);
        }
        self.forget(now);
    }

    /// What is thought of a hold now.
    pub fn judge(&self, live: &Live, site: SiteId, now: Moment) -> Verdict {
        let known = self.known.get(&live.hold.opening.hold);
        let pressure = self.pressure.get(&live.hold.opening.pool).copied().unwrap_or_default();
        let case = verdict::Case {
            live,
            site: self.sites.get(&site),
            pressure,
            missed: self.missed.get(&live.hold.opening.pool).copied(),
            suspect_since: known.filter(|known| known.level >= Level::Suspect).map(|known| known.since),
            pause_us: known.map_or(0, |known| known.pause_us),
            now,
        };
        verdict::judge(&case, &self.thresholds)
    }

    /// Sites that nobody has seen for a day and that hold nothing make room, when room is getting short. When it is
    /// nearly gone those make room that were heard of least: whoever makes a site of every statement hides nobody.
    fn forget(&mut self, now: Moment) {
        const DAY_US: u64 = 86_400_000_000;
        if self.sites.len() > SITES_MAX / 2 {
            self.sites.retain(|_, site| site.now.held > 0 || now.0.saturating_sub(site.seen.0) < DAY_US);
        }
        if self.sites.len() < SITES_MAX / 10 * 9 {
            return;
        }
        let empty = self.sites.iter().filter(|(_, site)| site.now.held == 0);
        let mut poor: Vec<_> = empty.map(|(id, site)| (site.worth(), site.seen, *id)).collect();
        poor.sort_unstable();
        let surplus = self.sites.len().saturating_sub(SITES_MAX / 4 * 3);
        for (_, _, id) in poor.into_iter().take(surplus) {
            self.sites.remove(&id);
        }
    }

    fn tell(&mut self, event: BookEvent) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        }
    }

    /// What is to be told, in its order.
    pub fn take_events(&mut self) -> Vec<BookEvent> {
        std::mem::take(&mut self.events)
    }

    /// A site.
    pub fn site(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(&id)
    }

    /// All sites.
    pub fn sites(&self) -> impl Iterator<Item = (SiteId, &Site)> {
        self.sites.iter().map(|(id, site)| (*id, site))
    }

    /// Holds worth remembering that have ended, the newest first.
    pub fn history(&self) -> impl Iterator<Item = &Past> {
        self.history.iter()
    }

    /// Something was done about a hold.
    pub fn note_deed(&mut self, deed: Deed) {
        self.deeds.push(deed);
    }

    /// How often that has come of what was done about a hold.
    pub fn deed_count(&self, what: What) -> u64 {
        self.deeds.count(what)
    }

    /// What was done about holds, the newest first.
    pub fn deeds(&self) -> impl Iterator<Item = &Deed> {
        self.deeds.iter()
    }

    /// What a pool needs by what went through it in the last minutes.
    pub fn need(&self, pool: PoolId, now: Moment) -> Need {
        self.flows.need(pool, now)
    }
}

/// Whether a hold does nothing now: nobody works for it at the server.
pub fn is_sleeping(state: HoldState) -> bool {
    match state {
        HoldState::InTransaction
        | HoldState::InFailedTransaction
        | HoldState::IdleInSession
        | HoldState::ClientNotReading
        | HoldState::ClientNotSending => true,
        HoldState::Executing | HoldState::Cleaning | HoldState::Draining => false,
    }
}

/// Whether the comment in a text belongs to the code that says it: not if somebody else's code prepared it.
pub fn is_own_words(provenance: Provenance) -> bool {
    matches!(provenance, Provenance::Here | Provenance::Parsed { executions: 0 })
}

#[cfg(test)]
mod tests;
