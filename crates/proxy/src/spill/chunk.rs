//! Pieces of a spill.

use super::gauge::{Charge, Memory};
use super::seal::TAG_BYTES;

/// Bytes of a chunk: as much as one read from a server brings at most.
pub(crate) const CHUNK_BYTES: usize = crate::worker::SCRATCH_BYTES;

/// Bytes of a chunk in its file, and in memory with room for its tag.
pub(super) const SLOT_BYTES: usize = CHUNK_BYTES + TAG_BYTES;

/// A chunk in memory, with the memory it is accounted for.
#[derive(Default)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    /// Given back with the buffer; `None` only in what is left behind when a buffer is taken.
    charge: Option<Charge>,
    /// Where the same bytes are in the file: it has been read back, and need not be written again.
    pub(super) copy: Option<Sealed>,
}

impl Buffer {
    /// An empty one.
    pub(super) fn new(charge: Charge) -> Buffer {
        Buffer { bytes: Vec::with_capacity(SLOT_BYTES), charge: Some(charge), copy: None }
    }

    /// How many bytes more it takes.
    pub(super) fn room(&self) -> usize {
        match (&self.charge, &self.copy) {
            (Some(_), None) => CHUNK_BYTES.saturating_sub(self.bytes.len()),
            (Some(_) | None, _) => 0,
        }
    }

    /// It is being sent from now on.
    pub(super) fn turn_to_sending(&mut self, memory: &Memory) {
        if let Some(charge) = &mut self.charge {
            memory.turn_to_sending(charge);
        }
    }

    /// Appends as much as there is room for; what is left over.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(self.room().min(bytes.len()));
        self.bytes.extend_from_slice(taken);
        rest
    }
}

/// Where a chunk is.
pub(super) enum Chunk {
    /// Here. Next: `Writing`, `OnDisk` if it has come from there, or it is sent.
    Memory(Buffer),
    /// On its way to the file. Next: `OnDisk`, or `Memory` again if it could not be written.
    Writing {
        /// Its place in the file.
        slot: u32,
        /// Its bytes.
        len: usize,
    },
    /// In the file. Next: `Reading`.
    OnDisk(Sealed),
    /// On its way back. Next: `Memory`.
    Reading(Sealed),
}

impl Chunk {
    /// Its place in the file, if it has one.
    pub(super) fn slot(&self) -> Option<u32> {
        match self {
            Chunk::Memory(buffer) => buffer.copy.map(|copy| copy.slot),
            Chunk::Writing { slot, .. } => Some(*slot),
            Chunk::OnDisk(sealed) | Chunk::Reading(sealed) => Some(sealed.slot),
        }
    }
}

/// What has to be known of a chunk to get it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    /// Its place in the file.
    pub(super) slot: u32,
    /// Its bytes, without the tag.
    pub(super) len: usize,
    /// The number it was encrypted with.
    pub(super) nonce: u64,
}
