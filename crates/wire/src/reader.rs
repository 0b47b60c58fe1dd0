//! Bounded reading out of a message body.

use std::ffi::CStr;

use crate::HEADER_BYTES;

/// What is wrong with bytes from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// A length that no message can have.
    BadLength,
    /// Longer than the limit.
    TooLong,
    /// The body ends before its content does, or has more than its content.
    BadBody,
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WireError::BadLength => "impossible message length",
            WireError::TooLong => "message longer than the limit",
            WireError::BadBody => "message body does not fit its type",
        })
    }
}

impl std::error::Error for WireError {}

/// Reads a message body from front to back. Every read says whether the bytes are there; none can go past the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Over the body of a whole message: what follows its type byte and length word.
    pub(crate) fn over_body(message: &'a [u8]) -> Result<Reader<'a>, WireError> {
        message.get(HEADER_BYTES..).map(Reader).ok_or(WireError::BadBody)
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Result<u8, WireError> {
        let &[byte] = self.array()?;
        Ok(byte)
    }

    /// An Int16, read as unsigned: where the protocol has a count it is never negative.
    pub(crate) fn int16(&mut self) -> Result<u16, WireError> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// An Int32, read as unsigned.
    pub(crate) fn int32(&mut self) -> Result<u32, WireError> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], WireError> {
        let (head, tail) = self.0.split_first_chunk().ok_or(WireError::BadBody)?;
        self.0 = tail;
        Ok(head)
    }

    /// So many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(WireError::BadBody)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A String, without the zero that ends it.
    pub(crate) fn cstr(&mut self) -> Result<&'a [u8], WireError> {
        let text = until_zero(self.0).ok_or(WireError::BadBody)?;
        self.0 = &self.0[text.len() + 1..];
        Ok(text)
    }

    /// A String that is the last thing in the body.
    pub(crate) fn last_cstr(mut self) -> Result<&'a [u8], WireError> {
        let text = self.cstr()?;
        self.end()?;
        Ok(text)
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::BadBody) }
    }
}

/// The bytes before the first zero; `None` without one. `CStr` is used because it searches a word at a time, and
/// query texts are long.
pub(crate) fn until_zero(bytes: &[u8]) -> Option<&[u8]> {
    CStr::from_bytes_until_nul(bytes).ok().map(CStr::to_bytes)
}
