//! What comes of a check.

/// What comes of a check.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The password is good.
    Good,
    /// It is not, or there is no such user: why, for the log.
    Bad(String),
    /// Nobody can tell: why, for the log.
    Unknown(String),
}
