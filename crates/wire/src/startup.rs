//! The packets before the first typed message: startup, SSLRequest, GSSENCRequest, CancelRequest.

use crate::WireError;

/// Longest startup packet, in bytes (PostgreSQL's own limit, `MAX_STARTUP_PACKET_LENGTH`).
pub const STARTUP_BYTES_MAX: u32 = 10_000;

/// What a client's first packet is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// SSLRequest (80877103).
    Ssl,
    /// GSSENCRequest (80877104).
    GssEnc,
    /// CancelRequest (80877102); the key is the bytes after the code: 8 for protocol 3.0, up to 260 for 3.2.
    Cancel {
        /// Process id and secret as sent in BackendKeyData.
        key: &'a [u8],
    },
    /// StartupMessage of protocol 3.x.
    Startup {
        /// Minor version.
        minor: u16,
        /// The name/value pairs; read with [`Params`].
        params: Params<'a>,
    },
    /// A protocol version 2.
    Version2,
    /// Some other code.
    Unknown {
        /// The first eight bytes, for the error message.
        head: [u8; 8],
    },
}

/// The name/value pairs of a startup message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params<'a>(pub &'a [u8]);

impl<'a> Params<'a> {
    /// Iterates over the pairs as raw bytes. The layout has been checked by [`parse`].
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut parts = self.0.split(|b| *b == 0);
        std::iter::from_fn(move || {
            let name = parts.next()?;
            if name.is_empty() {
                return None;
            }
            Some((name, parts.next()?))
        })
    }
}

/// Why a first packet cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartupError {
    /// The length is impossible (below 8, or over the limit): not our protocol. Carries the first eight bytes as
    /// far as they are there.
    BadHeader(Vec<u8>),
    /// The list of parameters has no terminator as its last byte, or a name without a value.
    BadLayout,
}

/// Reads a first packet at the start of `input`: `Ok(None)` while it is incomplete, else the packet and its bytes.
///
/// # Errors
/// See [`StartupError`].
pub fn parse(input: &[u8]) -> Result<Option<(Packet<'_>, usize)>, StartupError> {
    let _ = (input, WireError::BadBody);
    todo!()
}
