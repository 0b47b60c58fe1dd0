//! Pieces of a spill.

use super::seal::TAG_BYTES;
use super::store::Charge;

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
}

impl Buffer {
    /// An empty one.
    pub(super) fn new(charge: Charge) -> Buffer {
        Buffer { bytes: Vec::with_capacity(SLOT_BYTES), charge: Some(charge) }
    }

    /// How many bytes more it takes.
    pub(super) fn room(&self) -> usize {
        match self.charge {
            Some(_) => CHUNK_BYTES.saturating_sub(self.bytes.len()),
            None => 0,
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
    /// Here. Next: `Writing`, or it is sent.
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
    Reading {
        /// Its place in the file.
        slot: u32,
        /// Its bytes.
        len: usize,
    },
}

/// What has to be known of a chunk to get it back.
#[derive(Clone, Copy)]
pub(super) struct Sealed {
    /// Its place in the file.
    pub(super) slot: u32,
    /// Its bytes, without the tag.
    pub(super) len: usize,
    /// The number it was encrypted with.
    pub(super) nonce: u64,
}
