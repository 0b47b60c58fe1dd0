//! What clients are in the middle of when they are lost.

use plimsoll_testkit::{Batch, Client};

/// Nothing of it may stand when its client was lost before its end.
pub(crate) const INSERT: &str = "INSERT INTO marks VALUES ('cut')";

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
