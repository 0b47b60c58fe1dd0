//! What clients send: type bytes, and the parts of the messages a pooler has to look into.

use crate::reader::{Reader, until_zero};
use crate::{HEADER_BYTES, WireError};

/// Query (simple protocol).
pub const QUERY: u8 = b'Q';
/// Parse.
pub const PARSE: u8 = b'P';
/// Bind.
pub const BIND: u8 = b'B';
/// Describe.
pub const DESCRIBE: u8 = b'D';
/// Execute.
pub const EXECUTE: u8 = b'E';
/// Close.
pub const CLOSE: u8 = b'C';
/// Sync.
pub const SYNC: u8 = b'S';
/// Flush.
pub const FLUSH: u8 = b'H';
/// FunctionCall.
pub const FUNCTION_CALL: u8 = b'F';
/// CopyData (both directions).
pub const COPY_DATA: u8 = b'd';
/// CopyDone (both directions).
pub const COPY_DONE: u8 = b'c';
/// CopyFail.
pub const COPY_FAIL: u8 = b'f';
/// PasswordMessage, SASLInitialResponse, SASLResponse.
pub const PASSWORD: u8 = b'p';
/// Terminate.
pub const TERMINATE: u8 = b'X';

/// A Parse message taken apart (whole message given, header included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parse<'a> {
    /// Statement name; empty for the unnamed one.
    pub name: &'a [u8],
    /// Everything after the name: query text, its zero, count and types of parameters. Equal bytes mean equal
    /// statements.
    pub text_and_types: &'a [u8],
}

/// Takes a whole Parse message (header included) apart.
///
/// # Errors
/// The body does not fit.
pub fn parse(message: &[u8]) -> Result<Parse<'_>, WireError> {
    let mut body = Reader::over_body(message)?;
    let name = body.cstr()?;
    let text_and_types = body.rest();
    let _text = body.cstr()?;
    let types = body.int16()?;
    if body.rest().len() != usize::from(types) * 4 {
        return Err(WireError::BadBody);
    }
    Ok(Parse { name, text_and_types })
}

/// The names at the start of a Bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindNames<'a> {
    /// Portal name.
    pub portal: &'a [u8],
    /// Statement name.
    pub statement: &'a [u8],
    /// Bytes from the start of the message (type byte) to the end of the second name, its zero included.
    pub end: usize,
}

/// Reads the names of a Bind of which only a beginning may be there. `Ok(None)`: more bytes are needed.
/// `message` starts at the type byte and is cut at `total` if longer.
///
/// # Errors
/// The message (`total` bytes long) ends inside the names.
pub fn bind_names(message: &[u8], total: usize) -> Result<Option<BindNames<'_>>, WireError> {
    let there = &message[..message.len().min(total)];
    let unfinished = if there.len() < total { Ok(None) } else { Err(WireError::BadBody) };
    let Some(body) = there.get(HEADER_BYTES..) else { return unfinished };
    let Some(portal) = until_zero(body) else { return unfinished };
    let Some(statement) = until_zero(&body[portal.len() + 1..]) else { return unfinished };
    let end = HEADER_BYTES + portal.len() + 1 + statement.len() + 1;
    Ok(Some(BindNames { portal, statement, end }))
}

/// What Describe and Close are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// `S`: a prepared statement.
    Statement(&'a [u8]),
    /// `P`: a portal.
    Portal(&'a [u8]),
}

/// Takes a whole Describe or Close message (header included) apart.
///
/// # Errors
/// The body does not fit.
pub fn subject(message: &[u8]) -> Result<Subject<'_>, WireError> {
    let mut body = Reader::over_body(message)?;
    let kind = body.byte()?;
    let name = body.last_cstr()?;
    match kind {
        b'S' => Ok(Subject::Statement(name)),
        b'P' => Ok(Subject::Portal(name)),
        _ => Err(WireError::BadBody),
    }
}

/// The text of a whole PasswordMessage (header included in `message`). The body of a SASLResponse has no terminating
/// zero: it is read with [`sasl_response`].
///
/// # Errors
/// No terminating zero, or bytes after it.
pub fn password(message: &[u8]) -> Result<&[u8], WireError> {
    Reader::over_body(message)?.last_cstr()
}

/// The data of a whole SASLResponse (header included in `message`): all of its body.
///
/// # Errors
/// There is no whole header.
pub fn sasl_response(message: &[u8]) -> Result<&[u8], WireError> {
    Reader::over_body(message).map(Reader::rest)
}

/// The length word of a SASLInitialResponse that brings no data: -1.
const SASL_NO_DATA: u32 = u32::MAX;

/// A SASLInitialResponse taken apart: mechanism and client-first message. The latter is empty when the client sends
/// none (length -1).
///
/// # Errors
/// The body does not fit.
pub fn sasl_initial(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut body = Reader::over_body(message)?;
    let mechanism = body.cstr()?;
    let length = body.int32()?;
    let data = body.rest();
    let whole = match length {
        SASL_NO_DATA => data.is_empty(),
        length => usize::try_from(length).is_ok_and(|length| length == data.len()),
    };
    if whole { Ok((mechanism, data)) } else { Err(WireError::BadBody) }
}

/// The text of a whole Query message, without its zero.
///
/// # Errors
/// No terminating zero, or bytes after it.
pub fn query(message: &[u8]) -> Result<&[u8], WireError> {
    Reader::over_body(message)?.last_cstr()
}

#[cfg(test)]
mod tests;
