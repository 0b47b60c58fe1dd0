//! What clients are in the middle of when they are lost.

use plimsoll_testkit::{Batch, Client, Plimsoll};

use super::backend;

/// Nothing of it may stand when its client was lost before its end.
pub(crate) const INSERT: &str = "INSERT INTO marks VALUES ('cut')";

/// What somebody is in the middle of for as long as it takes.
pub(crate) const SLEEP: &str = "SELECT pg_sleep(600)";

/// A condition on pg_stat_activity that holds then.
pub(crate) const ASLEEP: &str = "state = 'active' AND wait_event = 'PgSleep'";

pub(crate) fn new() -> Batch {
    Batch::new()
}

#[track_caller]
pub(crate) fn send(client: &mut Client, batch: &Batch) {
    client.send(batch.bytes()).expect("the pooler takes it");
}

/// A batch without its Sync.
pub(crate) fn half_batch() -> Batch {
    new().parse("", INSERT).bind("", "", &[]).execute("", 0)
}

/// Which backend the pool of one has.
pub(crate) fn pooled(plimsoll: &Plimsoll) -> u32 {
    let mut client = plimsoll.client("app", "p0");
    let pid = backend(&mut client);
    client.leave();
    pid
}
