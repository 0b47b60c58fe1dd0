//! What a client has not read yet, taken off the server: first in memory, then in a temporary file.
//!
//! One queue for each client that does not keep up, in chunks; nothing of it exists for the others. The relay appends
//! what the server sends and takes what the client's socket takes. Files are written and read by a thread of their own
//! ([`io`]), which wakes the client's task; no worker ever waits for a disk.

mod chunk;
mod file;
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
use store::Charge;
pub use store::StoreView;
pub(crate) use store::{Lack, Store};

use chunk::{Buffer, CHUNK_BYTES, Chunk, SLOT_BYTES, Sealed};
use file::SpillFile;
use io::{Desk, Done, Job, Task};

/// Chunks behind the one that is being sent which are read back before they are wanted.
const AHEAD: usize = 2;

/// Chunks at the end of the queue that are looked at when memory is short: one that found no room in the queue of the
/// thread for files gets another chance.
const BEHIND: usize = 8;

/// The queue of one client. When it is dropped, memory is free at once, and so is the file as soon as the thread for
/// files has closed it.
pub(crate) struct Spill {
    store: Arc<Store>,
    record: Arc<Record>,
    desk: Arc<Desk>,
    medium: Medium,
    chunks: VecDeque<Chunk>,
    /// The number of the first chunk: chunks are numbered for the life of the spill.
    first: u64,
    /// Bytes of the first chunk that have been sent.
    sent: usize,
    /// Bytes that have not been sent, wherever they are.
    bytes: usize,
    /// Those of them that are in the file only.
    on_disk: usize,
    /// Memory for the next chunk: with it the next read from the server finds room.
    spare: Option<Charge>,
    /// Chunks on their way to the file.
    writing: usize,
    slots: Slots,
    /// Bytes that have gone to the file since somebody asked.
    written: u64,
}

/// The places of a file, each of them for one chunk.
#[derive(Default)]
struct Slots {
    file: Option<Arc<SpillFile>>,
    free: Vec<u32>,
    /// How many there are.
    count: u32,
}

impl Spill {
    /// An empty queue. `waker` is woken when something has been read or written.
    pub(crate) fn begin(store: &Arc<Store>, medium: Medium, origin: Origin, waker: &Waker) -> Spill {
        Spill {
            record: store.enter(origin),
            store: store.clone(),
            desk: Desk::new(waker.clone()),
            medium,
            chunks: VecDeque::new(),
            first: 0,
            sent: 0,
            bytes: 0,
            on_disk: 0,
            spare: None,
            writing: 0,
            slots: Slots::default(),
            written: 0,
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
            return Err(Lack::Client);
        }
        if self.spare.is_none() {
            self.write_out();
            self.spare = self.store.reserve_memory(SLOT_BYTES);
        }
        match &self.spare {
            Some(_) => Ok(()),
            None if self.writing > 0 || self.store.io().is_writing() => Err(Lack::Disk),
            None => Err(Lack::Memory),
        }
    }

    /// Appends. What [`make_room`](Spill::make_room) has not seen coming is kept all the same: the session machine may
    /// add a little to what was read.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if !matches!(self.chunks.back(), Some(Chunk::Memory(tail)) if tail.room() > 0) {
                let charge = self.spare.take().unwrap_or_else(|| self.store.charge_memory(SLOT_BYTES));
                self.chunks.push_back(Chunk::Memory(Buffer::new(charge)));
            }
            let Some(Chunk::Memory(tail)) = self.chunks.back_mut() else { return };
            rest = tail.fill(rest);
            if tail.room() == 0 {
                self.write_out();
            }
        }
        self.bytes += bytes.len();
        self.record.add(bytes.len());
        self.note();
    }

    /// What is to be sent next: empty if there is nothing, or if it has to be read from the file first.
    pub(crate) fn pending(&self) -> &[u8] {
        match self.chunks.front() {
            Some(Chunk::Memory(buffer)) => &buffer.bytes[self.sent..],
            Some(Chunk::Writing { .. } | Chunk::OnDisk(_) | Chunk::Reading { .. }) | None => &[],
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
            self.chunks.pop_front();
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
        let done = self.desk.take();
        if done.is_empty() {
            return Ok(());
        }
        for (number, done) in done {
            // A chunk leaves the queue only when it is in memory, so one that was away is still there.
            let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
            let Some(chunk) = index.and_then(|index| self.chunks.get_mut(index)) else { continue };
            match (done, &*chunk) {
                (Done::Written { nonce }, Chunk::Writing { slot, len }) => {
                    let (slot, len) = (*slot, *len);
                    self.writing -= 1;
                    *chunk = Chunk::OnDisk(Sealed { slot, len, nonce });
                    self.on_disk += len;
                    self.written += len as u64;
                    self.store.disk_works();
                }
                (Done::NotWritten { buffer, trouble }, Chunk::Writing { slot, .. }) => {
                    self.writing -= 1;
                    self.slots.free.push(*slot);
                    *chunk = Chunk::Memory(buffer);
                    self.store.disk_fails(&trouble);
                }
                (Done::Read(buffer), Chunk::Reading { slot, len }) => {
                    self.slots.free.push(*slot);
                    self.on_disk -= len;
                    *chunk = Chunk::Memory(buffer);
                }
                (Done::Lost { reason }, _) => return Err(Cause::SpillLost { reason }),
                (Done::Written { .. } | Done::NotWritten { .. } | Done::Read(_), _) => {
                    return Err(Cause::SpillLost { reason: "chunks are mixed up".into() });
                }
            }
        }
        self.slots.close_unused(&self.store);
        self.look_ahead();
        self.note();
        Ok(())
    }

    /// Bytes that have gone to the file since this was last asked.
    pub(crate) fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// The server waits for the reader again, or does not.
    pub(crate) fn note_full(&self, lack: Option<Lack>) {
        self.record.set_full(lack);
    }

    /// Has chunks written that are not wanted soon, if memory is short. Those at the front stay: they would be read
    /// back at once.
    fn write_out(&mut self) {
        match self.medium {
            Medium::Memory => return,
            Medium::Disk => {}
        }
        if !self.store.is_tight() || !self.store.may_write() {
            return;
        }
        let end = self.chunks.len();
        for index in (end.saturating_sub(BEHIND).max(AHEAD)..end).rev() {
            let is_full = matches!(&self.chunks[index], Chunk::Memory(buffer) if buffer.room() == 0);
            if is_full && !self.write(index) {
                return;
            }
        }
    }

    /// Hands a chunk to the thread for files; whether there was room for it, there and on the disk.
    fn write(&mut self, index: usize) -> bool {
        if !self.store.io().has_room() {
            return false;
        }
        let Some((file, slot)) = self.slots.take(&self.store) else { return false };
        let Chunk::Memory(buffer) = &mut self.chunks[index] else { return false };
        let len = buffer.bytes.len();
        let buffer = std::mem::take(buffer);
        self.chunks[index] = Chunk::Writing { slot, len };
        self.writing += 1;
        let number = self.first + index as u64;
        self.store.io().submit(Job {
            file,
            slot,
            number,
            buffer,
            desk: self.desk.clone(),
            task: Task::Write,
        });
        true
    }

    /// Has the next chunks read back.
    fn look_ahead(&mut self) {
        for index in 0..self.chunks.len().min(1 + AHEAD) {
            let (Chunk::OnDisk(sealed), Some(file)) = (&self.chunks[index], &self.slots.file) else {
                continue;
            };
            let Sealed { slot, len, nonce } = *sealed;
            // Without the first one its client would wait for ever; it is as much as is kept of every slow reader.
            let charge = match index {
                0 => Some(self.store.charge_memory(SLOT_BYTES)),
                _ => self.store.reserve_memory(SLOT_BYTES),
            };
            let Some(charge) = charge else { return };
            let (number, desk) = (self.first + index as u64, self.desk.clone());
            let (buffer, task) = (Buffer::new(charge), Task::Read { len, nonce });
            self.store.io().submit(Job { file: file.clone(), slot, number, buffer, desk, task });
            self.chunks[index] = Chunk::Reading { slot, len };
        }
    }

    fn note(&self) {
        self.record.set_bytes(self.bytes - self.on_disk, self.on_disk);
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.slots.close(&self.store);
        self.store.leave(&self.record);
    }
}

impl Slots {
    /// A free place, in a file that is made with the first one. `None`: the budget of the disk is used up.
    fn take(&mut self, store: &Arc<Store>) -> Option<(Arc<SpillFile>, u32)> {
        if let (Some(file), Some(slot)) = (&self.file, self.free.pop()) {
            return Some((file.clone(), slot));
        }
        let charge = store.reserve_disk(SLOT_BYTES)?;
        let file = self.file.get_or_insert_with(|| store.new_file());
        file.keep(charge);
        let slot = self.count;
        self.count += 1;
        Some((file.clone(), slot))
    }

    /// A file that holds nothing gives its room on the disk back.
    fn close_unused(&mut self, store: &Store) {
        if self.free.len() == self.count as usize {
            self.close(store);
        }
    }

    fn close(&mut self, store: &Store) {
        let Slots { file, .. } = std::mem::take(self);
        if let Some(file) = file {
            store.io().close(file);
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
