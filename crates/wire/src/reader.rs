//! Bounded reading out of a message body.

/// What is wrong with bytes from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A length that no message can have.
    BadLength,
    /// Longer than the limit.
    TooLong,
    /// The body ends before its content does, or has more than its content.
    BadBody,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WireError::BadLength => "impossible message length",
            WireError::TooLong => "message longer than the limit",
            WireError::BadBody => "message body does not fit its type",
        })
    }
}

impl std::error::Error for WireError {}
