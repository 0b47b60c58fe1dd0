//! The hold ledger: who holds every server connection, since when, doing what, where in which application, and why.
//!
//! No I/O, no clock, no locks. A [`Record`] is what is written down of one server connection's hold: beginning, noting
//! and ending one is cheap, since it lies on every query's way; nothing is parsed there. [`Book`] is one for the process: sites and what is
//! usual for them, verdicts, and the holds that were worth remembering; it hears of a hold now and then (a sample, all
//! that were long) and looks at the open ones once a second.
//!
//! All text that comes from applications is claimed, hostile and bounded: [`text`] takes it apart.

mod book;
mod holds;
pub mod policy;
mod site;
pub mod snapshot;
pub mod text;
mod trend;

pub use book::{
    APPLICATION_BYTES_MAX, Book, BookEvent, DEEDS_MAX, Deed, FLOOR_MINUTES, HISTORY_MAX, Histogram, How,
    Identified, Level, Live, Need, Owner, Past, Pressure, Rule, SITES_MAX, Site, Thresholds, Verdict, What,
    Who, is_own_words, is_sleeping,
};
pub use holds::{
    Ended, Hear, HoldCopy, HoldState, Kept, Opening, Progress, Provenance, Record, Said, SaidKind, Text,
    WhyKept,
};
pub use site::SiteId;
pub use trend::{
    BLOCKS, Caps, Course, POOLS_MAX, Rate, Reached, Rise, Sight, Subject, TARGETS_MAX, TREND_SITES_MAX,
    Trend, Trends, Why,
};
