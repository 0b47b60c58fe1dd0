//! What clients send: type bytes, and the parts of the messages a pooler has to look into.

use crate::WireError;

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
    let _ = message;
    todo!()
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
    let _ = (message, total);
    todo!()
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
    let _ = message;
    todo!()
}

/// The text of a whole PasswordMessage, or the body of a SASL response (header included in `message`).
///
/// # Errors
/// No terminating zero.
pub fn password(message: &[u8]) -> Result<&[u8], WireError> {
    let _ = message;
    todo!()
}

/// A SASLInitialResponse taken apart: mechanism and client-first message.
///
/// # Errors
/// The body does not fit.
pub fn sasl_initial(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let _ = message;
    todo!()
}

/// The text of a whole Query message, without its zero.
///
/// # Errors
/// No terminating zero.
pub fn query(message: &[u8]) -> Result<&[u8], WireError> {
    let _ = message;
    todo!()
}
