//! Ids. All are small and `Copy`; none is ever reused for something else while somebody may still hold it.

/// A client connection, unique for the life of the process (`SHOW CLIENTS` column `id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// One assignment of a server connection to a client, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoldId(pub u64);

/// A pool: configured database, server login role, startup options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolId(pub u32);

/// A physical server: one resolved address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(pub u32);

/// A configured database, the name clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseId(pub u32);

/// A server login role as far as limits are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(pub u32);

/// A worker thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// A place in a pool. The generation makes an id of a slot that is gone never name its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId {
    /// Position in the table of slots.
    pub index: u32,
    /// Counts the slots that have been at this position.
    pub generation: u32,
}

/// A waiter's place in the queue. The generation makes a stale ticket harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// Position in the table of waiters.
    pub index: u32,
    /// Counts the waiters that have been at this position.
    pub generation: u32,
}
