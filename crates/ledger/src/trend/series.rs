//! The history of one pool, of one target, or of one site in a pool, in fixed memory.

use std::collections::VecDeque;
use std::ops::Range;

use plimsoll_types::{Moment, TargetId};

use super::Sight;
use super::found::{Course, Found, Trend};
use super::judge;
use super::week::Week;
use crate::holds::HoldState;

/// Blocks of each ring.
pub const BLOCKS: usize = 48;

/// How long the blocks of each ring are, in intervals.
pub(super) const SCALES: [u64; 4] = [1, 8, 60, 360];

/// After how many intervals without a word a resting connection is unused, for the first ring, the second, and the
/// others.
pub(super) const LEVELS: [u64; 3] = [1, 8, 60];

/// So many blocks of the first ring without a rise, and the next one is told anew: a day, as a leak may pause for a night.
const CALM_BLOCKS: u32 = 1440;

/// A block of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Block {
    /// Which, from the beginning of the history.
    pub(super) number: u64,
    /// Fewest unused connections at any look.
    pub(super) unused: u32,
    /// Fewest held.
    pub(super) held: u32,
    /// Unused ones that came back.
    pub(super) returned: u32,
    /// Held and not unused, on average.
    pub(super) load: f32,
}

/// A block that is not complete yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    block: Block,
    load: f64,
    looks: u32,
}

/// Blocks of one length.
#[derive(Debug, Default)]
pub(super) struct Ring {
    open: Option<Open>,
    pub(super) blocks: VecDeque<Block>,
}

impl Ring {
    /// The block that is not complete yet.
    pub(super) fn open(&self) -> Option<Block> {
        self.open.map(|open| open.block)
    }

    /// One look more. Whether a block has been completed by it.
    fn add(&mut self, look: Block) -> bool {
        let complete = self.open.filter(|open| open.block.number != look.number);
        if let Some(open) = complete {
            if self.blocks.len() == BLOCKS {
                self.blocks.pop_front();
            }
            self.blocks
                .push_back(Block { load: (open.load / f64::from(open.looks.max(1))) as f32, ..open.block });
            self.open = None;
        }
        let open =
            self.open.get_or_insert(Open { block: Block { returned: 0, ..look }, load: 0.0, looks: 0 });
        open.block.unused = open.block.unused.min(look.unused);
        open.block.held = open.block.held.min(look.held);
        open.block.returned = open.block.returned.saturating_add(look.returned);
        open.load += f64::from(look.load);
        open.looks += 1;
        complete.is_some()
    }
}

/// What the last warning said.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// When the cap was to be reached, microseconds.
    reached_us: Option<u64>,
    /// Blocks without a rise since.
    calm: u32,
    /// Unused connections then. With less than half of them it is over.
    unused: u32,
}

/// What has been seen in the look that is under way.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    held: u32,
    unused: [u32; LEVELS.len()],
    returned: [u32; LEVELS.len()],
    /// The load of the pool where that is not its own: of a site's holds the young ones are not known.
    load: Option<u32>,
}

impl Tally {
    fn load(&self) -> u32 {
        self.load.unwrap_or(self.held.saturating_sub(self.unused[0]))
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Series {
    interval_us: u64,
    started: Moment,
    pub(super) cap: Option<u32>,
    /// The last look that knew of it.
    pub(super) look: u32,
    tally: Tally,
    /// As of the last complete look.
    last: Tally,
    /// When it last had an unused connection.
    pub(super) unused_at: Moment,
    /// When a session at rest was last among its holds.
    session_at: Option<Moment>,
    /// Of a pool: where its last hold was.
    pub(super) target: Option<TargetId>,
    pub(super) rings: [Ring; SCALES.len()],
    pub(super) week: Week,
    found: Found,
    told: Option<Told>,
}

impl Series {
    pub(super) fn new(interval_us: u64, now: Moment) -> Series {
        Series {
            interval_us,
            started: now,
            cap: None,
            look: 0,
            tally: Tally::default(),
            last: Tally::default(),
            unused_at: now,
            session_at: None,
            target: None,
            rings: Default::default(),
            week: Week::default(),
            found: Found::too_short(0),
            told: None,
        }
    }

    /// Whether nothing is lost with it: no unused connection now or of late.
    pub(super) fn is_empty(&self) -> bool {
        self.last.unused[0] == 0 && self.rings[1].blocks.iter().all(|block| block.unused == 0)
    }

    pub(super) fn begin(&mut self, cap: Option<u32>, look: u32) {
        self.cap = cap;
        self.look = look;
        self.tally = Tally::default();
    }

    /// One of its holds, unused for the first `level` levels.
    pub(super) fn count(&mut self, sight: &Sight, level: usize, now: Moment) {
        self.tally.held += 1;
        self.tally.unused.iter_mut().take(level).for_each(|count| *count += 1);
        if level > 0 {
            self.unused_at = now;
        }
        if sight.state == HoldState::IdleInSession {
            self.session_at = Some(now);
        }
    }

    /// One was unused for these levels and is not any more.
    pub(super) fn came_back(&mut self, levels: Range<usize>) {
        self.tally.returned[levels].iter_mut().for_each(|count| *count += 1);
    }

    /// Held and in use, in this look.
    pub(super) fn load(&self) -> u32 {
        self.tally.load()
    }

    /// The load of its pool, for a part of one.
    pub(super) fn set_load(&mut self, load: u32) {
        self.tally.load = Some(load);
    }

    /// The look is complete. Whether there is something new to judge.
    pub(super) fn end(&mut self, now: Moment) -> bool {
        let tally = std::mem::take(&mut self.tally);
        let gone_by_us = now.micros_since(self.started);
        let load = tally.load();
        let mut is_complete = false;
        for (scale, ring) in self.rings.iter_mut().enumerate() {
            let level = level_of(scale);
            let complete = ring.add(Block {
                number: gone_by_us / (self.interval_us.saturating_mul(SCALES[scale])).max(1),
                unused: tally.unused[level],
                held: tally.held,
                returned: tally.returned[level],
                load: load as f32,
            });
            is_complete |= scale == 0 && complete;
        }
        self.week.add(tally.held, load, now);
        self.last = tally;
        is_complete
    }

    /// Thinks anew, after a block of the first ring has been completed.
    pub(super) fn judge(&mut self, now: Moment) {
        self.found = judge::judge(self, now);
        let calm = match self.found.course {
            Course::Rising => 0,
            Course::Flat | Course::TooShort => self.told.map_or(0, |told| told.calm + 1),
        };
        let unused = self.last.unused[0];
        let lasts = |told: &Told| told.calm < CALM_BLOCKS && unused >= told.unused / 2;
        self.told = self.told.map(|told| Told { calm, ..told }).filter(lasts);
    }

    /// How long a block of a ring is, microseconds.
    pub(super) fn block_us(&self, scale: usize) -> u64 {
        self.interval_us.saturating_mul(SCALES[scale])
    }

    /// For how long a connection is unused that counts in a ring, microseconds.
    pub(super) fn unused_us(&self, scale: usize) -> u64 {
        self.interval_us.saturating_mul(LEVELS[level_of(scale)])
    }

    /// Whether sessions rested in the last so many microseconds.
    pub(super) fn has_sessions(&self, window_us: u64, now: Moment) -> bool {
        self.session_at.is_some_and(|at| now.micros_since(at) <= window_us)
    }

    /// The floor of held connections in the last complete block of the first ring.
    pub(super) fn floor(&self) -> Option<u32> {
        self.rings[0].blocks.back().map(|block| block.held)
    }

    pub(super) fn is_rising(&self) -> bool {
        self.found.course == Course::Rising
    }

    /// Whether a rise is to be told: once, and again when it is twice as near to the cap. What is asked is taken for
    /// told.
    pub(super) fn is_to_be_told(&mut self) -> bool {
        if !self.is_rising() {
            return false;
        }
        let reached_us = self.found.reached.map(|reached| reached.likely_us);
        let told = Told { reached_us, calm: 0, unused: self.last.unused[0] };
        self.tell(told)
    }

    /// A part of it is being told of: that counts for the whole. Whether that is news there.
    pub(super) fn take_for_told(&mut self, part: &Series) -> bool {
        part.told.is_some_and(|told| self.tell(told))
    }

    /// Takes it for told from here on if it is news.
    fn tell(&mut self, new: Told) -> bool {
        let is_news = match self.told {
            None => true,
            Some(told) => match (told.reached_us, new.reached_us) {
                (Some(before), Some(now)) => now <= before / 2 && before > self.interval_us,
                (None, Some(_)) => true,
                (_, None) => false,
            },
        };
        if is_news {
            self.told = Some(new);
        }
        is_news
    }

    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    pub(super) fn trend(&self, now: Moment) -> Trend {
        let floor = self.floor();
        Trend {
            course: self.found.course,
            held: self.last.held,
            unused: self.last.unused[0],
            floor,
            cap: self.cap,
            rate: self.found.rate,
            p: self.found.p,
            window_us: self.found.window_us,
            unused_us: self.found.unused_us,
            rise: self.found.rise,
            returned: self.found.returned,
            reached: self.found.reached,
            since_us: self.found.began.map(|began| now.micros_since(began)),
            why: self.found.why,
        }
    }
}

/// Which of the levels counts in a ring.
fn level_of(scale: usize) -> usize {
    scale.min(LEVELS.len() - 1)
}
