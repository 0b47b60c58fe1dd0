//! The ledger beside the pool: every grant that is taken up opens a hold, every return closes it, and the book sees
//! those that are open.

use std::collections::BTreeMap;

use plimsoll_ledger::{
    Book, Hear, How, Live, Owner, Pressure, Provenance, Record, Said, SaidKind, Thresholds, Who,
};
use plimsoll_types::{ClientId, HoldId, Moment, PoolId, SlotId};

use crate::world::{Kept, World, broken, ensure};

/// Bytes of a statement that are kept.
const TEXT_BYTES: usize = 64;

/// Records of all connections, and the book.
pub(crate) struct Ledger {
    records: BTreeMap<SlotId, Record>,
    book: Book,
    begun: u64,
    ended: u64,
    opened: u64,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger {
            records: BTreeMap::new(),
            book: Book::new(Thresholds::default()),
            begun: 0,
            ended: 0,
            opened: 0,
        }
    }

    /// A connection has logged in.
    pub(crate) fn open(&mut self, slot: SlotId, now: Moment) {
        self.opened += 1;
        self.records.insert(slot, Record::new(slot, self.opened, self.opened as u32, now));
    }

    /// A connection is gone.
    pub(crate) fn close(&mut self, slot: SlotId) {
        self.records.remove(&slot);
    }

    /// A hold begins, with a statement.
    pub(crate) fn begin(
        &mut self,
        slot: SlotId,
        hold: HoldId,
        client: ClientId,
        pool: PoolId,
        now: Moment,
    ) -> Kept {
        let Some(record) = self.records.get_mut(&slot) else {
            return broken("ledger: no hold without a slot", format!("{hold:?} of {slot:?}"));
        };
        let open = record.copy().map(|copy| copy.opening.hold);
        ensure(open.is_none(), "ledger: one hold for each slot", || format!("{hold:?} beside {open:?}"))?;
        record.begin(hold, client, pool, now, now);
        let text: &[u8] = match client.0 % 3 {
            0 => b"SELECT 1 /*route='/login'*/",
            1 => b"UPDATE account SET balance = 12 WHERE id = 7",
            _ => b"COMMIT",
        };
        let provenance = Provenance::Here;
        let said = Said { text, bytes: text.len(), tail: b"", provenance, kind: SaidKind::Plain };
        record.say(&said, TEXT_BYTES);
        self.begun += 1;
        Ok(())
    }

    /// A hold ends.
    pub(crate) fn end(&mut self, slot: SlotId, now: Moment) -> Kept {
        let Some(record) = self.records.get_mut(&slot).filter(|record| record.is_open()) else {
            return broken("ledger: each hold has one end", format!("{slot:?} is not held"));
        };
        if let Some(ended) = record.end(Hear::IfRemarkable, now) {
            self.book.ended(&ended, "sim", &How::Returned, Who::default);
        }
        self.ended += 1;
        let twice = record.end(Hear::Always, now).is_some();
        ensure(!twice, "ledger: each hold has one end", || format!("{slot:?} ended twice"))
    }

    /// What is open is what is held, and by whom.
    pub(crate) fn compare(&self, holding: impl Iterator<Item = (SlotId, HoldId)>) -> Kept {
        let mut held = 0;
        for (slot, hold) in holding {
            held += 1;
            let open = self.records.get(&slot).is_some_and(Record::is_open);
            ensure(open, "ledger: each hold is open", || format!("{hold:?} of {slot:?} is not"))?;
        }
        let open = self.records.values().filter(|record| record.is_open()).count() as u64;
        ensure(open == held && self.begun == self.ended + open, "ledger: each hold has one end", || {
            format!("{} begun, {} ended, {open} open, {held} held", self.begun, self.ended)
        })
    }
}

impl World {
    /// Once a second: the book looks at all open holds.
    pub(crate) fn look(&mut self) -> Kept {
        let now = self.now;
        let pressure = self.pools.keys().map(|pool| {
            let counts = self.driver.counts(*pool, now);
            let oldest_wait_us = counts.oldest_wait.as_micros() as u64;
            let pressure = Pressure {
                size: self.pools[pool].shape.limits.size,
                held: counts.held,
                waiting: counts.waiting,
                oldest_wait_us,
            };
            (*pool, pressure)
        });
        let Ledger { records, book, .. } = &mut self.ledger;
        book.begin_round(pressure, now);
        let mut held = 0;
        for record in records.values_mut() {
            let Some(hold) = record.copy() else { continue };
            held += 1;
            let id = hold.opening.hold;
            let site = book.look(&Live { hold, application: "sim".to_owned(), owner: Owner::Alive }, now);
            record.set_site(id, site);
        }
        book.end_round(now);
        drop(book.take_events());
        let seen: u32 = book.sites().map(|(_, site)| site.now.held).sum();
        ensure(seen == held, "ledger: the book sees each hold", || format!("{seen} of {held}"))
    }
}
