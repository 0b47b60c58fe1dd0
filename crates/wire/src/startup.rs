//! The packets before the first typed message: startup, SSLRequest, GSSENCRequest, CancelRequest.

use crate::back::KEY_BYTES;
use crate::reader::until_zero;

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
    /// The length is impossible (below 8, over the limit, or not that of the SSLRequest or GSSENCRequest that the code
    /// names): not our protocol. Carries the first eight bytes as far as they are there; at least four.
    BadHeader(Vec<u8>),
    /// A CancelRequest whose length is not that of one.
    BadCancel,
    /// The list of parameters has no terminator as its last byte, or a name without a value.
    BadLayout,
}

/// Bytes of the length word and the code: what every first packet begins with.
const HEAD_BYTES: usize = 8;

/// Major version of the one protocol we speak.
const MAJOR_3: u16 = 3;

/// Major version of the protocol before it.
const MAJOR_2: u16 = 2;

/// Code of a CancelRequest.
pub(crate) const CANCEL_CODE: u32 = 80_877_102;

/// Code of an SSLRequest.
pub(crate) const SSL_CODE: u32 = 80_877_103;

/// Code of a GSSENCRequest.
pub(crate) const GSSENC_CODE: u32 = 80_877_104;

/// Reads a first packet at the start of `input`: `Ok(None)` while it is incomplete, else the packet and its bytes.
///
/// What can never become a packet is answered as soon as it shows: an impossible length after four bytes (so HTTP and
/// TLS are recognised by their first word), a version or code we do not speak after eight, which is then also the
/// number of bytes given back.
///
/// # Errors
/// See [`StartupError`].
pub fn parse(input: &[u8]) -> Result<Option<(Packet<'_>, usize)>, StartupError> {
    let Some(&length) = input.first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(length);
    let bad_header = || StartupError::BadHeader(input[..input.len().min(HEAD_BYTES)].to_vec());
    let total = usize::try_from(length).map_err(|_| bad_header())?;
    if total < HEAD_BYTES || length > STARTUP_BYTES_MAX {
        return Err(bad_header());
    }
    let Some(&head) = input.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [_, _, _, _, code @ ..] = head;
    let code = u32::from_be_bytes(code);
    let body = input.get(HEAD_BYTES..total);
    match code {
        CANCEL_CODE if KEY_BYTES.contains(&(total - HEAD_BYTES)) => {
            Ok(body.map(|key| (Packet::Cancel { key }, total)))
        }
        SSL_CODE if total == HEAD_BYTES => Ok(Some((Packet::Ssl, total))),
        GSSENC_CODE if total == HEAD_BYTES => Ok(Some((Packet::GssEnc, total))),
        CANCEL_CODE => Err(StartupError::BadCancel),
        SSL_CODE | GSSENC_CODE => Err(bad_header()),
        version => {
            let [major_high, major_low, minor @ ..] = version.to_be_bytes();
            match u16::from_be_bytes([major_high, major_low]) {
                MAJOR_2 => Ok(Some((Packet::Version2, HEAD_BYTES))),
                MAJOR_3 => {
                    let Some(body) = body else { return Ok(None) };
                    let minor = u16::from_be_bytes(minor);
                    Ok(Some((Packet::Startup { minor, params: params(body)? }, total)))
                }
                _ => Ok(Some((Packet::Unknown { head }, HEAD_BYTES))),
            }
        }
    }
}

/// Checks the layout: names that are not empty, each with its value, both ended by a zero, and one zero more as the
/// very last byte, which is left out of what is given back.
fn params(body: &[u8]) -> Result<Params<'_>, StartupError> {
    let (terminator, pairs) = body.split_last().ok_or(StartupError::BadLayout)?;
    let mut left = pairs;
    while !left.is_empty() {
        let name = until_zero(left).filter(|name| !name.is_empty()).ok_or(StartupError::BadLayout)?;
        left = &left[name.len() + 1..];
        let value = until_zero(left).ok_or(StartupError::BadLayout)?;
        left = &left[value.len() + 1..];
    }
    if *terminator == 0 { Ok(Params(pairs)) } else { Err(StartupError::BadLayout) }
}

#[cfg(test)]
mod tests;
