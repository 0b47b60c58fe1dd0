//! What a client has not read yet, taken off the server: first in memory, then in a temporary file.
//!
//! One queue for each client that does not keep up, in chunks; nothing of it exists for the others. The relay appends
//! what the server sends and takes what the client's socket takes. Files are written and read by a thread of their own
//! ([`io`]), which wakes the client's task; no worker ever waits for a disk.

mod chunk;
mod file;
mod gauge;
mod health;
mod io;
mod policy;
mod record;
mod seal;
mod store;

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;

use plimsoll_types::Cause;

pub(crate) use policy::{Medium, Terms};
pub(crate) use record::{Origin, Record};
pub use store::StoreView;
pub(crate) use store::{Behind, Lack, Store};

use chunk::{Buffer, CHUNK_BYTES, Chunk, SLOT_BYTES, Sealed};
use file::SpillFile;
use gauge::Charge;
use io::{Desk, Done, Job, Task};

/// Chunks behind the one that is being sent which are read back before they are wanted.
const AHEAD: usize = 2;

/// Chunks at the end of the queue that are looked at when memory is short: one that found no room in the queue of the
/// thread for files gets another chance.
const BEHIND: usize = 8;

/// Free slots of one spill that are worth giving back before its end.
const FREE_MAX: usize = 64;

/// The queue of one client. When it is dropped, memory is free at once, and so is its part of the file as soon as the
/// thread for files gets to it.
pub(crate) struct Spill {
    store: Arc<Store>,
    record: Arc<Record>,
    desk: Arc<Desk>,
    medium: Medium,
    /// Whether the first chunk is being sent.
    place: Place,
    chunks: VecDeque<Chunk>,
    /// The number of the first chunk: chunks are numbered for the life of the spill.
    first: u64,
    /// Bytes of the first chunk that have been sent.
    sent: usize,
    /// Bytes that have not been sent, wherever they are.
    bytes: usize,
    /// Those of them that are in the file only.
    on_disk: usize,
    /// Chunks in memory.
    here: usize,
    /// Memory for the next chunk, as long as the server is read: with it the next read finds room.
    spare: Option<Charge>,
    slots: Slots,
    /// Bytes that have gone to the file since somebody asked.
    written: u64,
    begun: Begun,
}

/// Whether other bytes for the same client are sent before those of the spill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Yes: all of the spill can be on the disk. Next: `Front`.
    Behind,
    /// No: its first chunk is in memory, or on its way there.
    Front,
}

/// Whether there has ever been something in the spill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// No: a budget is used up. Next: `Unsaid`.
    No,
    /// Yes, and nobody has asked. Next: `Said`.
    Unsaid,
    Said,
}

/// What a spill has of the file.
#[derive(Default)]
struct Slots {
    file: Option<Arc<SpillFile>>,
    free: Vec<u32>,
    /// Those that are not free.
    taken: usize,
}

impl Spill {
    /// An empty queue behind other bytes. `waker` is woken when something has been read or written, or memory is needed.
    pub(crate) fn begin(store: &Arc<Store>, medium: Medium, origin: Origin, waker: &Waker) -> Spill {
        Spill {
            record: store.enter(origin, waker.clone()),
            store: store.clone(),
            desk: Desk::new(waker.clone()),
            medium,
            place: Place::Behind,
            chunks: VecDeque::new(),
            first: 0,
            sent: 0,
            bytes: 0,
            on_disk: 0,
            here: 0,
            spare: None,
            slots: Slots::default(),
            written: 0,
            begun: Begun::No,
        }
    }

    /// Bytes that have not been sent.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Makes sure that as much as one read from a server brings can be kept.
    ///
    /// # Errors
    /// Which budget is used up: the server must not be read now.
    pub(crate) fn make_room(&mut self) -> Result<(), Lack> {
        if self.bytes + CHUNK_BYTES > self.store.client_max() {
            self.rest();
            return Err(Lack::Client);
        }
        if self.spare.is_none() {
            if self.store.is_tight() {
                self.store.ask_holders();
                self.write_out();
            }
            self.spare = self.store.memory().reserve(SLOT_BYTES);
            if self.spare.is_none() {
                self.give_way();
            }
            self.note();
        }
        match &self.spare {
            Some(_) => Ok(()),
            None if self.store.is_clearing() => Err(Lack::Disk),
            None => Err(Lack::Memory),
        }
    }

    /// The server is not read any more, for a while at least: what is kept for the next read is free.
    pub(crate) fn rest(&mut self) {
        if self.spare.take().is_some() {
            self.note();
        }
    }

    /// Nothing is sent before its bytes any more.
    pub(crate) fn come_forward(&mut self) {
        if self.place == Place::Behind {
            self.place = Place::Front;
            self.look_ahead();
            self.note();
        }
    }

    /// Appends. What [`make_room`](Spill::make_room) has not seen coming is kept all the same: the session machine may
    /// add a little to what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !matches!(self.chunks.back(), Some(Chunk::Memory(tail)) if tail.room() > 0) {
                let memory = self.store.memory();
                let charge = self.spare.take().unwrap_or_else(|| memory.charge(SLOT_BYTES));
                self.chunks.push_back(Chunk::Memory(Buffer::new(charge)));
                self.here += 1;
                self.look_ahead();
            }
            let Some(Chunk::Memory(tail)) = self.chunks.back_mut() else { return };
            rest = tail.fill(rest);
            if tail.room() == 0 && self.store.is_tight() {
                self.store.ask_holders();
                self.write_out();
            }
        }
        if self.begun == Begun::No {
            self.begun = Begun::Unsaid;
        }
        self.bytes += bytes.len();
        self.record.add(bytes.len());
        self.note();
    }

    /// What is to be sent next: empty if there is nothing, or if it has to be read from the file first.
    pub(crate) fn pending(&self) -> &[u8] {
        match self.chunks.front() {
            Some(Chunk::Memory(buffer)) => &buffer.bytes[self.sent..],
            Some(Chunk::Writing { .. } | Chunk::OnDisk(_) | Chunk::Reading(_)) | None => &[],
        }
    }

    /// So many bytes of [`pending`](Spill::pending) have been sent.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        self.bytes -= n;
        self.record.take(n);
        if let Some(Chunk::Memory(front)) = self.chunks.front()
            && self.sent >= front.bytes.len()
        {
            if let Some(copy) = front.copy {
                self.slots.put(copy.slot, &self.store);
            }
            self.chunks.pop_front();
            self.here -= 1;
            self.first += 1;
            self.sent = 0;
            self.look_ahead();
        }
        self.note();
    }

    /// Takes in what the thread for files has done.
    ///
    /// # Errors
    /// A part of the answer is lost: it could not be read back, or not as it was written.
    pub(crate) fn take_in(&mut self) -> Result<(), Cause> {
        if self.record.take_asked() {
            self.give_way();
            self.note();
        }
        let done = self.desk.take();
        if done.is_empty() {
            return Ok(());
        }
        for (number, done) in done {
            self.take_in_one(number, done)?;
        }
        self.look_ahead();
        self.note();
        Ok(())
    }

    fn take_in_one(&mut self, number: u64, done: Done) -> Result<(), Cause> {
        // A chunk leaves the queue only when it is in memory, so one that was away is still there.
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let Some(chunk) = index.and_then(|index| self.chunks.get_mut(index)) else { return Ok(()) };
        match (done, &*chunk) {
            (Done::Written { nonce }, Chunk::Writing { slot, len }) => {
                let (slot, len) = (*slot, *len);
                *chunk = Chunk::OnDisk(Sealed { slot, len, nonce });
                self.on_disk += len;
                self.written += len as u64;
                self.store.disk_works();
            }
            (Done::NotWritten { buffer, trouble }, Chunk::Writing { slot, .. }) => {
                self.slots.put(*slot, &self.store);
                *chunk = Chunk::Memory(buffer);
                self.here += 1;
                self.store.disk_fails(&trouble);
            }
            (Done::Read(mut buffer), Chunk::Reading(sealed)) => {
                self.on_disk -= sealed.len;
                buffer.copy = Some(*sealed);
                *chunk = Chunk::Memory(buffer);
                self.here += 1;
            }
            (Done::Lost { reason }, _) => return Err(Cause::SpillLost { reason }),
            (Done::Written { .. } | Done::NotWritten { .. } | Done::Read(_), _) => {
                return Err(Cause::SpillLost { reason: "chunks are mixed up".into() });
            }
        }
        Ok(())
    }

    /// Whether there has been something in it, once it is so for the first time.
    pub(crate) fn take_begun(&mut self) -> bool {
        let is_new = self.begun == Begun::Unsaid;
        if is_new {
            self.begun = Begun::Said;
        }
        is_new
    }

    /// Bytes that have gone to the file since this was last asked.
    pub(crate) fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// The server waits for the reader again, or does not.
    pub(crate) fn note_full(&self, lack: Option<Lack>) {
        self.record.set_full(lack);
    }

    /// Memory is short: has chunks written that came last. Those at the front stay as long as others have some to give:
    /// they would be read back at once.
    fn write_out(&mut self) {
        let end = self.chunks.len();
        for index in (end.saturating_sub(BEHIND).max(1 + AHEAD)..end).rev() {
            let is_full = matches!(&self.chunks[index], Chunk::Memory(buffer) if buffer.room() == 0);
            if is_full && !self.move_out(index) {
                return;
            }
        }
    }

    /// Memory is short: gives up what can be had again from the file, the last chunks first, until it is not short any
    /// more or the thread for files takes no more.
    fn give_way(&mut self) {
        // A long answer is nearly all in the file: nobody walks through that.
        let mut here = self.here;
        for index in (self.first_movable()..self.chunks.len()).rev() {
            if here == 0 {
                return;
            }
            let is_due = match &self.chunks[index] {
                // The server still adds to the last one.
                Chunk::Memory(buffer) => {
                    here -= 1;
                    buffer.room() == 0 || self.spare.is_none() || index + 1 < self.chunks.len()
                }
                Chunk::Writing { .. } | Chunk::OnDisk(_) | Chunk::Reading(_) => false,
            };
            if is_due && !(self.store.is_tight() && self.move_out(index)) {
                return;
            }
        }
    }

    /// The first chunk that can do without memory.
    fn first_movable(&self) -> usize {
        match self.place {
            Place::Behind => 0,
            Place::Front => 1,
        }
    }

    /// Has a chunk that is in memory in the file only. False: neither this one nor another can be, just now.
    fn move_out(&mut self, index: usize) -> bool {
        let Chunk::Memory(buffer) = &mut self.chunks[index] else { return true };
        if let Some(copy) = buffer.copy {
            self.chunks[index] = Chunk::OnDisk(copy);
            self.on_disk += copy.len;
            self.here -= 1;
            return true;
        }
        match self.medium {
            Medium::Memory => return false,
            Medium::Disk => {}
        }
        if !self.store.may_write() || self.store.io().room() == 0 {
            return false;
        }
        let Some((file, slot)) = self.slots.take(&self.store) else { return false };
        let len = buffer.bytes.len();
        let buffer = std::mem::take(buffer);
        self.chunks[index] = Chunk::Writing { slot, len };
        self.here -= 1;
        self.submit(file, index, buffer, Task::Write { slot });
        true
    }

    /// Has the chunk in memory that is to be sent, and those behind it if there is room.
    fn look_ahead(&mut self) {
        match self.place {
            Place::Behind => return,
            Place::Front => {}
        }
        if let Some(Chunk::Memory(front)) = self.chunks.front_mut() {
            front.turn_to_sending(self.store.memory());
        }
        let ahead = if self.store.is_roomy() { AHEAD } else { 0 };
        for index in 0..self.chunks.len().min(1 + ahead) {
            let (Chunk::OnDisk(sealed), Some(file)) = (&self.chunks[index], &self.slots.file) else {
                continue;
            };
            let (sealed, file) = (*sealed, file.clone());
            // Without the first one its client would wait for ever.
            let charge = match index {
                0 => Some(self.store.memory().charge_sending(SLOT_BYTES)),
                _ => self.store.memory().reserve(SLOT_BYTES),
            };
            let Some(charge) = charge else { return };
            self.chunks[index] = Chunk::Reading(sealed);
            self.submit(file, index, Buffer::new(charge), Task::Read(sealed));
        }
    }

    /// Hands a chunk to the thread for files.
    fn submit(&self, file: Arc<SpillFile>, index: usize, buffer: Buffer, task: Task) {
        let (spill, number) = (self.record.number, self.first + index as u64);
        self.store.io().submit(Job { file, spill, number, buffer, desk: self.desk.clone(), task });
    }

    /// Tells others how much there is, and how much of its memory they could have.
    fn note(&self) {
        self.record.set_bytes(self.bytes - self.on_disk, self.on_disk);
        let is_front_here =
            self.place == Place::Front && matches!(self.chunks.front(), Some(Chunk::Memory(_)));
        let is_filling = self.spare.is_some()
            && self.chunks.len() > self.first_movable()
            && matches!(self.chunks.back(), Some(Chunk::Memory(tail)) if tail.room() > 0);
        let kept = usize::from(is_front_here) + usize::from(is_filling);
        self.record.set_movable(match self.medium {
            Medium::Memory => 0,
            Medium::Disk => self.here.saturating_sub(kept),
        });
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        // First: nothing is done in slots that may be somebody else's.
        self.desk.leave();
        let taken = self.chunks.iter().filter_map(Chunk::slot);
        self.slots.free.extend(taken);
        self.slots.hand_in(&self.store);
        self.store.leave(&self.record);
    }
}

impl Slots {
    /// A free place. `None`: the budget of the disk is used up.
    fn take(&mut self, store: &Store) -> Option<(Arc<SpillFile>, u32)> {
        if self.file.is_none() {
            self.file = store.file();
        }
        let file = self.file.as_ref()?;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => file.take(store.reserve_disk(SLOT_BYTES)?),
        };
        self.taken += 1;
        Some((file.clone(), slot))
    }

    /// Nothing is in this one any more.
    fn put(&mut self, slot: u32, store: &Store) {
        self.free.push(slot);
        self.taken -= 1;
        if self.taken == 0 || self.free.len() >= FREE_MAX {
            self.hand_in(store);
        }
    }

    /// Others may have the free ones.
    fn hand_in(&mut self, store: &Store) {
        let free = std::mem::take(&mut self.free);
        if let Some(file) = &self.file
            && !free.is_empty()
        {
            store.io().close(file.clone(), free);
        }
        if self.taken == 0 {
            // The next one may be where a reload says.
            self.file = None;
        }
    }
}

/// Whether a folder can take temporary files of spills, which are made and gone again at once.
///
/// # Errors
/// Why not, for people.
pub fn probe_spill_dir(dir: &std::path::Path) -> Result<(), String> {
    file::open(dir).map(drop).map_err(|trouble| trouble.to_string())
}

#[cfg(test)]
mod tests;
