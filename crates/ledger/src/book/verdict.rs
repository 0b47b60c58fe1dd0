//! What is thought of a hold: rules, the most certain first, each with its evidence.
//!
//! A leak is a connection that is kept and not used, and that somebody misses. So what works is never called a leak,
//! what rests is one only if it is more than is usual at its site, and `leak` is said only when others wait or when
//! there are more and more of them.

use std::time::Duration;

use plimsoll_types::{Moment, Pin};

use super::{Live, Owner, Pressure, Site, is_sleeping};
use crate::holds::HoldState;

/// Above which a rule speaks. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// `leak_idle_threshold`: idle for longer while others wait. Default 10 s.
    pub idle_us: u64,
    /// `leak_age_floor`: a younger hold is never beyond a habit. Default 30 s.
    pub age_floor_us: u64,
    /// k: so many times the p99.9 of its site is beyond its habit. Default 8.
    pub habit_factor: u64,
    /// With fewer holds a site has no habit. Default 50.
    pub habit_samples: u64,
    /// `leak_unread_threshold`: a result that is not being read for longer. Default 30 s.
    pub unread_us: u64,
    /// Unused for longer: two intervals of 15 minutes.
    pub unused_us: u64,
    /// Others that wait for less than this do not count as waiting. Default 1 s.
    pub waiting_us: u64,
    /// Growth has to last so long. Default 20 s.
    pub growth_us: u64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        const SECOND: u64 = 1_000_000;
        Thresholds {
            idle_us: 10 * SECOND,
            age_floor_us: 30 * SECOND,
            habit_factor: 8,
            habit_samples: 50,
            unread_us: 30 * SECOND,
            unused_us: 2 * 900 * SECOND,
            waiting_us: SECOND,
            growth_us: 20 * SECOND,
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing wrong.
    #[default]
    Ok,
    /// Idle, as connections of a client's pool are.
    Parked,
    /// Works for unusually long.
    Slow,
    /// Perhaps a leak.
    Suspect,
    /// A leak.
    Leak,
}

/// By which rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rule {
    /// None.
    #[default]
    None,
    /// The client's socket is dead.
    OwnerGone,
    /// Idle while others wait.
    IdleWhileOthersWait,
    /// Far beyond what is usual at its site.
    BeyondHabit,
    /// Unused through two intervals of 15 minutes.
    Unused,
    /// Its result is not being read.
    NotRead,
}

impl Rule {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::None => "",
            Rule::OwnerGone => "owner gone",
            Rule::IdleWhileOthersWait => "idle while others wait",
            Rule::BeyondHabit => "beyond its habit",
            Rule::Unused => "unused",
            Rule::NotRead => "not read",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How bad.
    pub level: Level,
    /// By which rule.
    pub rule: Rule,
    /// Why, with figures.
    pub evidence: String,
}

/// All that a verdict is formed of.
pub(super) struct Case<'a> {
    pub(super) live: &'a Live,
    pub(super) site: Option<&'a Site>,
    pub(super) pressure: Pressure,
    /// When others last waited for long.
    pub(super) missed: Option<Moment>,
    /// Since when it has been a suspect.
    pub(super) suspect_since: Option<Moment>,
    /// The longest pause after which it was used again, microseconds.
    pub(super) pause_us: u64,
    pub(super) now: Moment,
}

impl Case<'_> {
    fn age_us(&self) -> u64 {
        self.now.0.saturating_sub(self.live.hold.opening.granted.0)
    }

    fn idle_us(&self) -> u64 {
        self.now.0.saturating_sub(self.live.hold.progress.used.0)
    }

    /// Whether others wait for a connection of the pool, or waited a moment ago.
    fn others_wait(&self) -> bool {
        self.missed.is_some()
    }

    /// Who misses it, in words.
    fn missed(&self) -> String {
        let Pressure { waiting, oldest_wait_us, .. } = self.pressure;
        match (waiting, self.missed) {
            (0, Some(at)) => format!("others had to wait {} ago", text(self.now.0.saturating_sub(at.0))),
            (waiting, _) => format!("{waiting} wait, the oldest for {}", text(oldest_wait_us)),
        }
    }

    fn factor(&self) -> u64 {
        self.site.map_or(1, Site::factor)
    }

    /// Whether it was used again after a pause, or for a long time: what a client's pool does, and seldom who forgets
    /// a connection.
    fn is_proven(&self, thresholds: &Thresholds) -> bool {
        let opening = &self.live.hold.opening;
        let in_use_us = self.live.hold.progress.used.0.saturating_sub(opening.granted.0);
        self.pause_us >= thresholds.idle_us || in_use_us >= IN_USE_US
    }

    /// For how long it may rest, microseconds, even if others wait.
    ///
    /// In a session where connections are used again now and then, twice as long as is usual, since a client's pool is
    /// no leak; one that was used again itself through a night, as long as there are not more and more of them.
    /// In a transaction never longer than the floor.
    fn rest_us(&self, thresholds: &Thresholds) -> u64 {
        let least = thresholds.idle_us.saturating_mul(self.factor());
        let pause = self.site.map_or(0, Site::pause_us).max(self.pause_us).saturating_mul(2);
        if self.live.hold.progress.state != HoldState::IdleInSession {
            return least.max(pause.min(thresholds.age_floor_us));
        }
        let rises = self.site.is_some_and(Site::floor_rises);
        let patience = match (self.is_proven(thresholds), rises) {
            // Jobs that forget a connection an hour have used it before.
            (true, false) if self.site.is_some_and(Site::rises_for_hours) => pause,
            (true, false) => pause.max(NIGHT_US),
            (true, true) => pause,
            (false, false) => pause.min(NIGHT_US),
            (false, true) => pause.min(thresholds.idle_us.saturating_mul(3)),
        };
        least.max(patience)
    }

    fn grows(&self, thresholds: &Thresholds) -> bool {
        self.site.is_some_and(|site| site.grows(thresholds, self.now))
    }

    /// Where nobody waits, idling in a session is what a client's pool does: only a site whose connections are never
    /// kept and used again says something else.
    fn may_idle(&self, thresholds: &Thresholds) -> bool {
        let site = self.site.filter(|site| site.has_habit(thresholds));
        self.live.hold.progress.state == HoldState::IdleInSession
            && site.is_none_or(|site| {
                site.times.percentile_us(999) >= thresholds.age_floor_us
                    || site.pause_us() >= thresholds.idle_us
            })
    }
}

/// Whoever is used for so long after it was granted is no one that was opened and forgotten, microseconds.
const IN_USE_US: u64 = 300_000_000;

/// For so long the connections of a client's pool may rest at night, microseconds.
const NIGHT_US: u64 = 12 * 3_600_000_000;

pub(super) fn judge(case: &Case<'_>, thresholds: &Thresholds) -> Verdict {
    let state = case.live.hold.progress.state;
    if case.live.owner == Owner::Gone {
        return verdict(Level::Leak, Rule::OwnerGone, "the client's socket is dead".to_string());
    }
    if case.live.hold.progress.pins.has(Pin::Replication) {
        // Kept for as long as its client is there, and by design.
        return Verdict::default();
    }
    if !is_sleeping(state) {
        return working(case, thresholds);
    }
    let found = idle_while_others_wait(case, thresholds)
        .or_else(|| not_read(case, thresholds))
        .or_else(|| beyond_habit(case, thresholds))
        .or_else(|| unused(case, thresholds));
    found.unwrap_or_else(|| resting(case, thresholds))
}

fn verdict(level: Level, rule: Rule, evidence: String) -> Verdict {
    Verdict { level, rule, evidence }
}

/// What works is slow at worst.
fn working(case: &Case<'_>, thresholds: &Thresholds) -> Verdict {
    let (idle, habit) = (case.idle_us(), case.site.map_or(u64::MAX, |site| site.habit_us(thresholds)));
    if case.live.hold.progress.state == HoldState::Executing && idle > habit {
        let evidence = format!("one statement for {}; usual here is up to {}", text(idle), text(habit));
        return verdict(Level::Slow, Rule::BeyondHabit, evidence);
    }
    Verdict::default()
}

fn idle_while_others_wait(case: &Case<'_>, thresholds: &Thresholds) -> Option<Verdict> {
    let (idle, limit) = (case.idle_us(), case.rest_us(thresholds));
    if idle <= limit || !case.others_wait() {
        return None;
    }
    let Pressure { held, size, .. } = case.pressure;
    let evidence = format!(
        "{} for {} while {}; {held} of {size} held",
        words(case.live.hold.progress.state),
        text(idle),
        case.missed()
    );
    // A pause of a healthy application is over soon.
    let lasting = idle > limit.saturating_mul(2) || case.grows(thresholds);
    let level = if lasting { Level::Leak } else { Level::Suspect };
    Some(verdict(level, Rule::IdleWhileOthersWait, evidence))
}

fn not_read(case: &Case<'_>, thresholds: &Thresholds) -> Option<Verdict> {
    let progress = &case.live.hold.progress;
    if progress.state != HoldState::ClientNotReading || progress.unread_since == Moment(0) {
        return None;
    }
    let since = progress.client_took.max(progress.unread_since);
    let unread = case.now.0.saturating_sub(since.0);
    (unread > thresholds.unread_us.saturating_mul(case.factor())).then(|| {
        let evidence = format!(
            "the client has taken nothing for {}, {} bytes wait here and the rest at the server",
            text(unread),
            progress.unread_bytes
        );
        let level = if case.others_wait() { Level::Leak } else { Level::Suspect };
        verdict(level, Rule::NotRead, evidence)
    })
}

fn beyond_habit(case: &Case<'_>, thresholds: &Thresholds) -> Option<Verdict> {
    let site = case.site?;
    let (age, idle, habit) = (case.age_us(), case.idle_us(), site.habit_us(thresholds));
    if age <= habit || idle <= case.rest_us(thresholds) || case.may_idle(thresholds) {
        return None;
    }
    let usual = match site.has_habit(thresholds) {
        true => format!(
            "99.9 % of {} holds of this site ended within {}",
            site.times.total(),
            text(site.times.percentile_us(999))
        ),
        false => "this site has no habit yet".to_string(),
    };
    let evidence = format!(
        "{} for {}, held for {}; {usual}",
        words(case.live.hold.progress.state),
        text(idle),
        text(age)
    );
    let level = if case.others_wait() || case.grows(thresholds) { Level::Leak } else { Level::Suspect };
    Some(verdict(level, Rule::BeyondHabit, evidence))
}

fn unused(case: &Case<'_>, thresholds: &Thresholds) -> Option<Verdict> {
    let idle = case.idle_us();
    if idle <= thresholds.unused_us.saturating_mul(case.factor()) {
        return None;
    }
    let evidence = format!("unused for {}, through two intervals of 15 minutes", text(idle));
    let rises = case.site.is_some_and(Site::floor_rises) && idle > case.rest_us(thresholds);
    // A client's pool that grows in the morning has more every minute, too: it is a leak when more and more are unused.
    Some(match (rises, case.suspect_since.is_some() && case.grows(thresholds)) {
        (true, true) => verdict(Level::Leak, Rule::Unused, format!("{evidence}; more every minute")),
        (true, false) => verdict(Level::Suspect, Rule::Unused, format!("{evidence}; more every minute")),
        // The same number as ever: a client's pool over night.
        (false, _) => verdict(Level::Parked, Rule::Unused, evidence),
    })
}

fn resting(case: &Case<'_>, thresholds: &Thresholds) -> Verdict {
    let idle = case.idle_us();
    if case.live.hold.progress.state == HoldState::IdleInSession && idle > thresholds.idle_us {
        let mut evidence = format!("idle in its session for {}", text(idle));
        if case.others_wait() {
            let rest = text(case.rest_us(thresholds));
            evidence
                .push_str(&format!(" while {}; no leak before {rest}: it is a client's pool", case.missed()));
        }
        return verdict(Level::Parked, Rule::None, evidence);
    }
    Verdict::default()
}

/// A state in words.
fn words(state: HoldState) -> &'static str {
    state.as_str()
}

/// A time for people.
fn text(us: u64) -> String {
    let time = Duration::from_micros(us);
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
