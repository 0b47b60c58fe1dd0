//! A site: where in an application connections are used, and what is usual there.

use plimsoll_types::Moment;

use super::verdict::{Level, Thresholds, Verdict};
use super::{APPLICATION_BYTES_MAX, Histogram, is_own_words, is_sleeping};
use crate::holds::{HoldCopy, Kept, Text};
use crate::site::SiteId;
use crate::text::{self, Tags};

/// Minutes whose smallest number of held connections is kept.
pub const FLOOR_MINUTES: usize = 16;

/// The same for hours.
const FLOOR_HOURS: usize = 5;

/// Bytes of the statement that is shown for the site.
const SAMPLE_BYTES: usize = 256;

/// A raised threshold is not raised further than so many times.
const FACTOR_MAX: u32 = 8;

/// Suspects that come back together raise the threshold once; it is raised again after so long, microseconds.
const RAISE_AGAIN_US: u64 = 600_000_000;

/// After so long without a suspect that came back a raised threshold is lowered again, microseconds.
const LOWER_US: u64 = 86_400_000_000;

/// With fewer holds that were heard of (a sample stands for many) a site has no habit.
const HEARD_MIN: u32 = 8;

/// With fewer pauses a site is not known to use its connections again.
const RETURNS_MIN: u32 = 8;

const MINUTE_US: u64 = 60_000_000;

const HOUR_US: u64 = 60 * MINUTE_US;

/// How many of a site's connections are held now, and how.
#[derive(Clone, Debug, Default)]
pub struct Now {
    /// Held.
    pub held: u32,
    /// Held and doing nothing.
    pub sleeping: u32,
    /// Suspects among them.
    pub suspects: u32,
    /// When the oldest was granted; zero when none is held.
    pub oldest: Moment,
    /// Their idle times together, microseconds.
    pub idle_us: u64,
    /// The worst verdict.
    pub worst: Verdict,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Site {
    /// The application, as claimed (bounded, raw).
    pub application: Box<str>,
    /// Tags that name the place in its code.
    pub tags: Tags,
    /// The tags of its statements were left out: they belong to whoever prepared them.
    pub tags_from_prepare: bool,
    /// The beginning of the first statement that was seen; raw.
    pub statement: Option<Text>,
    /// Seen first.
    pub entered: Moment,
    /// Seen last.
    pub seen: Moment,
    /// Holds that have ended, estimated from the sample.
    pub holds: u64,
    /// Their times together, microseconds.
    pub held_us: u64,
    /// Their times; without suspects.
    pub times: Histogram,
    /// Times between two uses of a connection that was kept, longer than a second. Each counts as often as it has
    /// seconds: so a percentile tells how long the pause is in which a connection is found that rests.
    pub gaps: Histogram,
    /// How many such times there were.
    pub returns: u32,
    /// Holds that were heard of.
    pub heard: u32,
    /// When a kept connection was last used again, or one was given back.
    pub used: Moment,
    /// Suspects that came back by themselves.
    pub unleaked: u32,
    /// Most connections that were held at the end of a look.
    pub peak: u32,
    /// How it is now.
    pub now: Now,
    /// As of the last complete look.
    last: Now,
    /// Smallest number held in each of the last minutes; the newest last.
    floors: Vec<u32>,
    floor: u32,
    minute: u64,
    /// The same for the last hours.
    hours: Vec<u32>,
    hour_floor: u32,
    hour: u64,
    /// Suspects when the first of them were seen; zero when there are none.
    suspects_first: u32,
    suspects_since: Moment,
    told: Level,
    factor: u32,
    /// When its threshold was last raised or lowered.
    raised: Option<Moment>,
    /// When a suspect last came back.
    came_back: Option<Moment>,
}

impl Site {
    pub(super) fn new(application: &str, first: Option<&Text>, now: Moment) -> Site {
        let (tags, tags_from_prepare) = tags_of(first);
        let mut statement = first.cloned();
        if let Some(text) = &mut statement {
            text.bytes.truncate(SAMPLE_BYTES);
            text.bytes.shrink_to_fit();
            text.tail = Vec::new();
        }
        Site {
            application: bounded(application).into(),
            tags,
            tags_from_prepare,
            statement,
            entered: now,
            seen: now,
            holds: 0,
            held_us: 0,
            times: Histogram::default(),
            gaps: Histogram::default(),
            returns: 0,
            heard: 0,
            used: now,
            unleaked: 0,
            peak: 0,
            now: Now::default(),
            last: Now::default(),
            floors: Vec::new(),
            floor: u32::MAX,
            minute: 0,
            hours: Vec::new(),
            hour_floor: u32::MAX,
            hour: 0,
            suspects_first: 0,
            suspects_since: Moment(0),
            told: Level::Ok,
            factor: 1,
            raised: None,
            came_back: None,
        }
    }

    /// All sites for which there is no room.
    pub(super) fn other(now: Moment) -> Site {
        Site::new("(other)", None, now)
    }

    /// A hold of it has ended.
    pub(super) fn learn(&mut self, held_us: u64, weight: u32, now: Moment) {
        self.seen = now;
        self.used = self.used.max(now);
        self.holds += u64::from(weight);
        self.held_us = self.held_us.saturating_add(held_us.saturating_mul(u64::from(weight)));
        if weight > 0 {
            self.heard = self.heard.saturating_add(1);
        }
    }

    /// The time of a hold. Not to be called for one that was a suspect, or was long while others of its site were: what
    /// has been taken for a leak raises the threshold by a factor that has a bound, and is no habit.
    pub(super) fn learn_habit(&mut self, held_us: u64, weight: u32) {
        if weight > 0 {
            self.times.add(held_us, weight);
        }
    }

    /// Whether some of its holds were suspects in the last look.
    pub(super) fn has_suspects(&self) -> bool {
        self.last.suspects > 0
    }

    /// A kept connection was used again after so long.
    pub(super) fn used_again(&mut self, gap_us: u64, at: Moment) {
        self.used = self.used.max(at);
        if gap_us > 1_000_000 {
            self.gaps.add(gap_us, u32::try_from(gap_us / 1_000_000).unwrap_or(u32::MAX));
            self.returns = self.returns.saturating_add(1);
        }
    }

    /// A pause that is usual here, microseconds: of the time in which its connections rest and are used again after
    /// all, 99 % is in shorter ones. 0: they are not known to be used again.
    pub(super) fn pause_us(&self) -> u64 {
        if self.returns < RETURNS_MIN { 0 } else { self.gaps.percentile_us(990) }
    }

    /// A suspect came back: what was taken for a leak is a habit. Many that come back together are one mistake, and
    /// raise the threshold once.
    pub(super) fn unleak(&mut self, now: Moment) {
        self.unleaked = self.unleaked.saturating_add(1);
        self.came_back = Some(now);
        let again =
            |raised: Moment| raised < self.suspects_since || now.0.saturating_sub(raised.0) >= RAISE_AGAIN_US;
        if self.raised.is_none_or(again) {
            self.factor = (self.factor * 2).min(FACTOR_MAX);
            self.raised = Some(now);
        }
    }

    fn lower(&mut self, now: Moment) {
        if self.factor > 1 && self.raised.is_none_or(|raised| now.0.saturating_sub(raised.0) >= LOWER_US) {
            self.factor /= 2;
            self.raised = Some(now);
        }
    }

    /// By how much its thresholds are raised.
    pub fn factor(&self) -> u64 {
        self.factor.into()
    }

    /// Beyond this a hold is unusual here, microseconds: the larger of the floor and k times the p99.9.
    pub fn habit_us(&self, thresholds: &Thresholds) -> u64 {
        let floor = thresholds.age_floor_us;
        let habit = match self.has_habit(thresholds) {
            true => self.times.percentile_us(999).saturating_mul(thresholds.habit_factor),
            false => 0,
        };
        floor.max(habit).saturating_mul(self.factor())
    }

    /// Whether enough of its holds have ended to tell what is usual.
    pub fn has_habit(&self, thresholds: &Thresholds) -> bool {
        self.heard >= HEARD_MIN && self.times.total() >= thresholds.habit_samples
    }

    /// How much would be lost with it: what was heard of once may be a single statement that never comes again.
    pub(super) fn worth(&self) -> u32 {
        self.heard.saturating_add(self.returns).saturating_add(self.unleaked).min(HEARD_MIN)
    }

    pub(super) fn begin_round(&mut self) {
        self.now = Now::default();
    }

    /// One of its holds, as it is now.
    pub(super) fn count(&mut self, hold: &HoldCopy, verdict: &Verdict, now: Moment) {
        self.seen = now;
        let mine = &mut self.now;
        mine.held += 1;
        if mine.oldest == Moment(0) || hold.opening.granted < mine.oldest {
            mine.oldest = hold.opening.granted;
        }
        if is_sleeping(hold.progress.state) {
            mine.sleeping += 1;
            mine.idle_us += now.0.saturating_sub(hold.progress.used.0);
        }
        if verdict.level >= Level::Suspect {
            mine.suspects += 1;
        }
        if verdict.level > mine.worst.level {
            mine.worst = verdict.clone();
        }
    }

    /// What is to be told of it now, once: how many suspects, and what is thought of the worst.
    pub(super) fn end_round(&mut self, now: Moment) -> Option<(u32, Verdict)> {
        self.keep_floor(now);
        self.lower(now);
        self.peak = self.peak.max(self.now.held);
        self.last = self.now.clone();
        if self.now.suspects == 0 {
            self.suspects_first = 0;
            self.told = Level::Ok;
            return None;
        }
        if self.suspects_first == 0 {
            self.suspects_first = self.now.suspects;
            self.suspects_since = now;
        }
        // Growth is counted from where there were fewest.
        self.suspects_first = self.suspects_first.min(self.now.suspects);
        let level = self.now.worst.level;
        if level <= self.told {
            return None;
        }
        self.told = level;
        Some((self.now.suspects, self.now.worst.clone()))
    }

    fn keep_floor(&mut self, now: Moment) {
        let (minute, hour) = (now.0 / MINUTE_US, now.0 / HOUR_US);
        if minute != self.minute {
            keep(&mut self.floors, FLOOR_MINUTES, &mut self.floor);
            self.minute = minute;
        }
        if hour != self.hour {
            keep(&mut self.hours, FLOOR_HOURS, &mut self.hour_floor);
            self.hour = hour;
        }
        self.floor = self.floor.min(self.now.held);
        self.hour_floor = self.hour_floor.min(self.now.held);
    }

    /// Smallest number held in each of the last minutes, the oldest first.
    pub fn floors(&self) -> &[u32] {
        &self.floors
    }

    /// As of the last complete look.
    pub fn lately(&self) -> &Now {
        &self.last
    }

    /// Whether more and more of its connections look like leaks, and none of these came back meanwhile. Where others
    /// are used and given back as they should be it takes two more to say so.
    pub(super) fn grows(&self, thresholds: &Thresholds, now: Moment) -> bool {
        let lasting = now.0.saturating_sub(self.suspects_since.0) >= thresholds.growth_us;
        if self.suspects_first == 0 || !lasting {
            return false;
        }
        let enough = if self.used < self.suspects_since { 1 } else { 2 };
        let more = self.last.suspects >= self.suspects_first.saturating_add(enough);
        let none_back = self.came_back.is_none_or(|at| at < self.suspects_since);
        more && none_back || self.last.suspects >= 2 && self.floor_rises()
    }

    /// Whether the floor has risen again and again in the last minutes and never fallen. Once is no sign: another
    /// process of a healthy application opens its connections.
    pub(super) fn floor_rises(&self) -> bool {
        rises(&self.floors[self.floors.len().saturating_sub(5)..])
    }

    /// The same over the last hours.
    pub(super) fn rises_for_hours(&self) -> bool {
        rises(&self.hours)
    }
}

/// A floor is complete, and the next one begins; there is none before the first look.
fn keep(floors: &mut Vec<u32>, max: usize, floor: &mut u32) {
    let floor = std::mem::replace(floor, u32::MAX);
    if floor == u32::MAX {
        return;
    }
    if floors.len() == max {
        floors.remove(0);
    }
    floors.push(floor);
}

fn rises(floors: &[u32]) -> bool {
    let steps = floors.windows(2).filter(|pair| pair[0] < pair[1]).count();
    steps >= 2 && floors.is_sorted()
}

/// The number of the site a hold belongs to: FNV-1a over application, tags and shape.
pub(super) fn id_of(application: &str, first: Option<&Text>) -> SiteId {
    let mut hash = Fnv::default();
    hash.add(bounded(application).as_bytes());
    let (tags, _) = tags_of(first);
    for (key, value) in tags.for_site() {
        hash.add(key.as_bytes());
        hash.add(value.as_bytes());
    }
    if let Some(text) = first {
        match text.kept {
            Kept::Text => hash.add(&text::shape(&text.bytes).0.to_le_bytes()),
            Kept::Credentials => hash.add(b"credentials"),
            Kept::Nothing => {}
        }
    }
    // 0 and 1 have a meaning of their own.
    SiteId(hash.0.max(2))
}

/// Tags that may name the site, and whether there are others that may not.
fn tags_of(first: Option<&Text>) -> (Tags, bool) {
    let Some(text) = first.filter(|text| text.kept == Kept::Text) else { return (Tags::default(), false) };
    let tags = match text.is_cut() {
        true => text::tags_of_ends(&text.bytes, &text.tail),
        false => text::tags(&text.bytes),
    };
    if is_own_words(text.provenance) { (tags, false) } else { (Tags::default(), !tags.is_empty()) }
}

fn bounded(application: &str) -> &str {
    &application[..application.floor_char_boundary(APPLICATION_BYTES_MAX)]
}

struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    /// Bytes with an end, so that two fields never run together.
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
