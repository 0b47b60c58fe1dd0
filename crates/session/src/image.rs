//! What the machine knows, as plain values: so that another process can go on where this one stopped, in the middle of
//! whatever is under way.
//!
//! What many share (statements, sets of parameters) is written once and named by number: [`Packing`] collects it,
//! [`Unpacking`] has it again. What comes back is looked at as anything from outside: numbers that lead nowhere and
//! values no machine of ours would have are an [`ImageError`].

mod halves;
mod shared;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Deref;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use halves::{LinkImage, SessionImage};
pub use shared::{Packing, SharedImage, StatementImage, Unpacking};

/// Most of anything that is counted: far above what there is, far below where counting would overflow.
pub(crate) const COUNT_MAX: u64 = 1 << 62;

/// An image that no machine of ours has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageError(
    /// What is wrong with it.
    pub &'static str,
);

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for ImageError {}

/// Bytes that are written as bytes, and not as a list of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bytes(
    /// They.
    pub Box<[u8]>,
);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes.into())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        deserializer.deserialize_byte_buf(ReadBytes)
    }
}

struct ReadBytes;

impl<'de> Visitor<'de> for ReadBytes {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}
