//! The five bytes before every message: type and length.

use crate::WireError;

/// Bytes of a header: one of type, four of length.
pub const HEADER_BYTES: usize = 5;

/// The longest message we accept by default, in bytes with the type byte (PgBouncer's `max_packet_size`).
pub const MESSAGE_BYTES_MAX: u32 = 2_147_483_647;

/// A message's type and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type byte.
    pub tag: u8,
    /// Bytes of the whole message, type byte and length word included.
    pub total: usize,
}

/// Reads the header at the start of `input`. `Ok(None)`: fewer than five bytes are there.
///
/// # Errors
/// The length is below four, or the message is longer than `total_max` bytes.
#[inline]
pub fn header(input: &[u8], total_max: u32) -> Result<Option<Header>, WireError> {
    let &[tag, a, b, c, d, ..] = input else { return Ok(None) };
    let length = u32::from_be_bytes([a, b, c, d]);
    if length < 4 {
        return Err(WireError::BadLength);
    }
    if length >= total_max {
        return Err(WireError::TooLong);
    }
    Ok(Some(Header { tag, total: length as usize + 1 }))
}

#[cfg(test)]
mod tests;
