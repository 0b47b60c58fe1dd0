//! The number of a site.

/// A site: application, comment tags and shape of the first statement, as a number that is the same in every run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteId(pub u64);

impl SiteId {
    /// All sites for which there was no room.
    pub const OTHER: SiteId = SiteId(1);

    /// Not looked at yet.
    pub const UNKNOWN: SiteId = SiteId(0);
}
