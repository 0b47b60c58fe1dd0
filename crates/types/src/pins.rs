//! Reasons why a session must keep its server connection.

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pin {
    /// A transaction is open (or failed and not ended).
    Transaction,
    /// A portal is suspended, or a batch has not been ended by Sync.
    Portal,
    /// A COPY is under way.
    Copy,
    /// A temporary table, sequence or view exists.
    TempTable,
    /// The session listens on a channel.
    Listen,
    /// A session-level advisory lock may be held.
    AdvisoryLock,
    /// A setting was changed that is not one of those which are replayed.
    Setting,
    /// A statement was prepared by SQL (`PREPARE`).
    Prepare,
    /// A cursor that outlives its transaction (`WITH HOLD`).
    HeldCursor,
    /// A replication connection.
    Replication,
    /// Something was done of which nobody can say what it left behind.
    Unknown,
}

impl Pin {
    /// All of them, in their order.
    pub const ALL: [Pin; 11] = [
        Pin::Transaction,
        Pin::Portal,
        Pin::Copy,
        Pin::TempTable,
        Pin::Listen,
        Pin::AdvisoryLock,
        Pin::Setting,
        Pin::Prepare,
        Pin::HeldCursor,
        Pin::Replication,
        Pin::Unknown,
    ];

    /// The words for it, as the console shows them.
    pub fn as_str(self) -> &'static str {
        match self {
            Pin::Transaction => "transaction",
            Pin::Portal => "portal",
            Pin::Copy => "copy",
            Pin::TempTable => "temp table",
            Pin::Listen => "listen",
            Pin::AdvisoryLock => "advisory lock",
            Pin::Setting => "setting",
            Pin::Prepare => "prepare",
            Pin::HeldCursor => "held cursor",
            Pin::Replication => "replication",
            Pin::Unknown => "unknown",
        }
    }

    fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// A set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pins(u16);

impl Pins {
    /// No reason.
    pub const NONE: Pins = Pins(0);

    /// With this one too.
    #[must_use]
    pub fn with(self, pin: Pin) -> Pins {
        Pins(self.0 | pin.bit())
    }

    /// Without this one.
    #[must_use]
    pub fn without(self, pin: Pin) -> Pins {
        Pins(self.0 & !pin.bit())
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Pins) -> Pins {
        Pins(self.0 | other.0)
    }

    /// Whether it is among them.
    pub fn has(self, pin: Pin) -> bool {
        self.0 & pin.bit() != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in their order.
    pub fn iter(self) -> impl Iterator<Item = Pin> {
        Pin::ALL.into_iter().filter(move |pin| self.has(*pin))
    }
}
