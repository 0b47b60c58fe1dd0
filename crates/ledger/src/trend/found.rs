//! What is found out about a series.

use plimsoll_types::Moment;

use super::judge::BLOCKS_MIN;
use super::statistics::Rate;

/// Whether it rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Course {
    /// Nobody can tell yet.
    #[default]
    TooShort,
    /// No rise is seen.
    Flat,
    /// More and more.
    Rising,
}

impl Course {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Course::TooShort => "too short",
            Course::Flat => "flat",
            Course::Rising => "rising",
        }
    }
}

/// Why it is taken for that; of several windows the one that came nearest to a rise. The later ones passed the tests of
/// the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// So many blocks are complete.
    TooShort {
        /// Complete.
        have: usize,
    },
    /// There are no more unused connections than there were.
    NoMore,
    /// There are more, as there may be by chance.
    Chance,
    /// There are more, in a few steps, as there may be by chance.
    FewSteps,
    /// In a part of the window there were no more.
    Step,
    /// As many came back.
    ComeBack,
    /// Sessions rest, and there are no more of them.
    NotMoreSessions,
    /// Sessions rest, and the load rises as well.
    WithLoad,
    /// Sessions rest, and there is no day to compare with.
    NoDay,
    /// Sessions rest, and there were as many on another day at this hour.
    AsOtherDays,
    /// It rises.
    Rises,
}

impl Why {
    /// In words.
    pub fn text(self) -> String {
        match self {
            Why::TooShort { have } => format!("{have} of {BLOCKS_MIN} intervals seen"),
            Why::NoMore => "no more of them are left unused than before".to_string(),
            Why::Chance => "no more unused ones than there may be by chance".to_string(),
            Why::FewSteps => "more unused ones, in too few steps to tell".to_string(),
            Why::Step => "more unused ones at once and no more since".to_string(),
            Why::ComeBack => "unused ones come back".to_string(),
            Why::NotMoreSessions => "more sessions rest, but there are not more of them".to_string(),
            Why::WithLoad => "more sessions rest while the load rises".to_string(),
            Why::NoDay => "more sessions rest; no day before to compare with".to_string(),
            Why::AsOtherDays => "as many sessions as on another day at this hour".to_string(),
            Why::Rises => "more and more are left unused".to_string(),
        }
    }
}

/// When a cap is reached, microseconds from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// At the highest rate that is plausible.
    pub earliest_us: u64,
    /// At the rate that is seen.
    pub likely_us: u64,
    /// At the lowest; `None`: perhaps never.
    pub latest_us: Option<u64>,
}

/// The trend of a series: what is shown of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trend {
    /// Whether it rises.
    pub course: Course,
    /// Held now.
    pub held: u32,
    /// Unused among them, for an interval at least.
    pub unused: u32,
    /// Fewest held in the last complete interval.
    pub floor: Option<u32>,
    /// Most that may be held.
    pub cap: Option<u32>,
    /// Unused connections that are added, per hour.
    pub rate: Rate,
    /// How likely such a rise is by chance.
    pub p: f64,
    /// The time that was looked at, microseconds.
    pub window_us: u64,
    /// How long a connection had to be unused to count, microseconds.
    pub unused_us: u64,
    /// By how many unused connections it rose in that time.
    pub rise: u32,
    /// How many unused ones came back in it.
    pub returned: u32,
    /// When the floor reaches the cap; `None`: it does not rise, or there is no cap.
    pub reached: Option<Reached>,
    /// How long it has been rising at least, microseconds; `None`: it does not.
    pub since_us: Option<u64>,
    /// Why.
    pub why: Why,
}

/// What the last judgement said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) course: Course,
    pub(super) why: Why,
    pub(super) p: f64,
    pub(super) window_us: u64,
    pub(super) unused_us: u64,
    pub(super) rise: u32,
    pub(super) returned: u32,
    pub(super) rate: Rate,
    pub(super) reached: Option<Reached>,
    pub(super) began: Option<Moment>,
}

impl Found {
    pub(super) fn too_short(have: usize) -> Found {
        Found {
            course: Course::TooShort,
            why: Why::TooShort { have },
            p: 1.0,
            window_us: 0,
            unused_us: 0,
            rise: 0,
            returned: 0,
            rate: Rate::default(),
            reached: None,
            began: None,
        }
    }
}
