//! What tells that a peer is gone.

/// Why we hold a peer for gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Evidence {
    /// TCP keepalive found no answer (or TCP_USER_TIMEOUT ran out).
    Keepalive,
    /// What was sent has not been acknowledged.
    Unacknowledged,
    /// Its window was closed, and it does not answer the question whether it still is.
    Window,
    /// It answered with a reset: the flow is known to nobody any more.
    Reset,
    /// The network says that it cannot be reached.
    Unreachable,
}

impl Evidence {
    /// All of them, in the order of their numbers.
    pub const ALL: [Evidence; 5] = [
        Evidence::Keepalive,
        Evidence::Unacknowledged,
        Evidence::Window,
        Evidence::Reset,
        Evidence::Unreachable,
    ];

    /// The word of the console.
    pub fn as_str(self) -> &'static str {
        match self {
            Evidence::Keepalive => "keepalive",
            Evidence::Unacknowledged => "unacknowledged",
            Evidence::Window => "window",
            Evidence::Reset => "reset",
            Evidence::Unreachable => "unreachable",
        }
    }

    /// In words, for a sentence that says who does not answer.
    pub fn words(self) -> &'static str {
        match self {
            Evidence::Keepalive => "TCP keepalive found no answer",
            Evidence::Unacknowledged => "what was sent has not been acknowledged",
            Evidence::Window => "its window is closed and probes of it stay unanswered",
            Evidence::Reset => "the connection is not known any more (RST)",
            Evidence::Unreachable => "the network cannot reach it",
        }
    }
}
