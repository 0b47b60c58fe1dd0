//! Messages of our own, appended to a buffer. Every length is filled in by [`message`]; strings are cut at an inner
//! zero, which the protocol cannot carry.

use crate::startup::{CANCEL_CODE, SSL_CODE};
use crate::{back, front};

/// Writes one typed message: `body` appends the content, the length is filled in afterwards.
pub fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    fill_length(out, at);
}

/// A string and its zero.
pub fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    out.extend_from_slice(&text[..end]);
    out.push(0);
}

/// Fields of an ErrorResponse or NoticeResponse, in the order they are sent: S, C, M, D, H. There is no V,
/// because PgBouncer sends none.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    /// S: `FATAL`, `ERROR`, `NOTICE`.
    pub severity: &'a str,
    /// C: the SQLSTATE.
    pub sqlstate: &'a str,
    /// M: the message.
    pub message: &'a str,
    /// D: the detail.
    pub detail: Option<&'a str>,
    /// H: the hint.
    pub hint: Option<&'a str>,
}

/// A column of a RowDescription in text format.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// OID of its type.
    pub type_oid: u32,
}

/// Protocol version 3.0, as a StartupMessage and a NegotiateProtocolVersion carry it.
const VERSION_3_0: u32 = 3 << 16;

/// A packet without a type byte, as they are sent before the login.
fn untyped(out: &mut Vec<u8>, code: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&code.to_be_bytes());
    body(out);
    fill_length(out, at);
}

/// Fills in the length word at `at`: all bytes from it to the end.
fn fill_length(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at).expect("our own messages are far below 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// An Int16 that counts what follows.
fn count16(out: &mut Vec<u8>, count: usize) {
    let count = u16::try_from(count).expect("our own rows have a handful of columns");
    out.extend_from_slice(&count.to_be_bytes());
}

/// An Int32 that counts what follows.
fn count32(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("our own messages are far below 4 GiB");
    out.extend_from_slice(&count.to_be_bytes());
}

/// A message that is only its header.
fn empty(out: &mut Vec<u8>, tag: u8) {
    message(out, tag, |_| {});
}

/// An Authentication message.
fn authentication(out: &mut Vec<u8>, code: u32, data: &[u8]) {
    message(out, back::AUTHENTICATION, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(data);
    });
}

// ---- As a server, towards clients.

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0, &[]);
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3, &[]);
}

/// AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, 5, &salt);
}

/// AuthenticationSASL with the one mechanism SCRAM-SHA-256.
pub fn authentication_sasl(out: &mut Vec<u8>) {
    authentication(out, 10, b"SCRAM-SHA-256\0\0");
}

/// AuthenticationSASL offering OAUTHBEARER (PostgreSQL 18).
pub fn authentication_sasl_bearer(out: &mut Vec<u8>) {
    authentication(out, 10, b"OAUTHBEARER\0\0");
}

/// AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 11, data);
}

/// AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 12, data);
}

/// NegotiateProtocolVersion: newest version 3.0 and the options we do not know. The version is sent whole, as
/// PostgreSQL sends and libpq reads it, though the manual speaks of the minor version only.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, unknown: &[&[u8]]) {
    message(out, back::NEGOTIATE_PROTOCOL_VERSION, |out| {
        out.extend_from_slice(&VERSION_3_0.to_be_bytes());
        count32(out, unknown.len());
        for name in unknown {
            cstr(out, name);
        }
    });
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    // A login has a dozen of them: room is made once for each.
    out.reserve(name.len() + value.len() + 7);
    message(out, back::PARAMETER_STATUS, |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// BackendKeyData with the 8 bytes of process id and secret.
pub fn backend_key_data(out: &mut Vec<u8>, key: [u8; 8]) {
    message(out, back::BACKEND_KEY_DATA, |out| out.extend_from_slice(&key));
}

/// ReadyForQuery; the status byte is `I`, `T` or `E`.
pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    message(out, back::READY_FOR_QUERY, |out| out.push(status));
}

/// ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, fields: &Fields<'_>) {
    report(out, back::ERROR_RESPONSE, fields);
}

/// NoticeResponse.
pub fn notice_response(out: &mut Vec<u8>, fields: &Fields<'_>) {
    report(out, back::NOTICE_RESPONSE, fields);
}

/// What ErrorResponse and NoticeResponse share.
fn report(out: &mut Vec<u8>, tag: u8, fields: &Fields<'_>) {
    let Fields { severity, sqlstate, message: text, detail, hint } = *fields;
    let fields =
        [(b'S', Some(severity)), (b'C', Some(sqlstate)), (b'M', Some(text)), (b'D', detail), (b'H', hint)];
    message(out, tag, |out| {
        for (field, text) in fields {
            let Some(text) = text else { continue };
            out.push(field);
            cstr(out, text.as_bytes());
        }
        out.push(0);
    });
}

/// ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    empty(out, back::PARSE_COMPLETE);
}

/// BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    empty(out, back::BIND_COMPLETE);
}

/// CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    empty(out, back::CLOSE_COMPLETE);
}

/// NoData.
pub fn no_data(out: &mut Vec<u8>) {
    empty(out, back::NO_DATA);
}

/// ParameterDescription without parameters.
pub fn parameter_description_empty(out: &mut Vec<u8>) {
    message(out, back::PARAMETER_DESCRIPTION, |out| count16(out, 0));
}

/// EmptyQueryResponse.
pub fn empty_query_response(out: &mut Vec<u8>) {
    empty(out, back::EMPTY_QUERY_RESPONSE);
}

/// RowDescription, all columns in text format and of no table.
///
/// # Panics
/// More than 65,535 columns.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) {
    message(out, back::ROW_DESCRIPTION, |out| {
        count16(out, columns.len());
        for column in columns {
            cstr(out, column.name.as_bytes());
            // No table: OID 0, column 0.
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&column.type_oid.to_be_bytes());
            out.extend_from_slice(&type_bytes(column.type_oid).to_be_bytes());
            // No type modifier: -1. Text format: 0.
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            out.extend_from_slice(&[0; 2]);
        }
    });
}

/// Size of a value of a built-in type as `pg_type.typlen` has it; -1 where it varies.
fn type_bytes(type_oid: u32) -> i16 {
    match type_oid {
        // bool, "char"
        16 | 18 => 1,
        // int2
        21 => 2,
        // int4, oid, float4, date
        23 | 26 | 700 | 1082 => 4,
        // int8, float8, timestamp, timestamptz
        20 | 701 | 1114 | 1184 => 8,
        _ => -1,
    }
}

/// DataRow; `None` is NULL.
///
/// # Panics
/// More than 65,535 values.
pub fn data_row(out: &mut Vec<u8>, values: &[Option<&[u8]>]) {
    message(out, back::DATA_ROW, |out| {
        count16(out, values.len());
        for value in values {
            match value {
                Some(value) => {
                    count32(out, value.len());
                    out.extend_from_slice(value);
                }
                None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
            }
        }
    });
}

/// CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, back::COMMAND_COMPLETE, |out| cstr(out, tag.as_bytes()));
}

// ---- As a client, towards servers.

/// StartupMessage of protocol 3.0. A name must not be empty: it would end the list.
pub fn startup(out: &mut Vec<u8>, params: &[(&[u8], &[u8])]) {
    untyped(out, VERSION_3_0, |out| {
        for (name, value) in params {
            debug_assert!(name.first().is_some_and(|first| *first != 0), "an empty name ends the list");
            cstr(out, name);
            cstr(out, value);
        }
        out.push(0);
    });
}

/// SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    untyped(out, SSL_CODE, |_| {});
}

/// CancelRequest with a key as got in BackendKeyData.
pub fn cancel_request(out: &mut Vec<u8>, key: &[u8]) {
    untyped(out, CANCEL_CODE, |out| out.extend_from_slice(key));
}

/// PasswordMessage.
pub fn password(out: &mut Vec<u8>, text: &[u8]) {
    message(out, front::PASSWORD, |out| cstr(out, text));
}

/// SASLInitialResponse.
pub fn sasl_initial_response(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    message(out, front::PASSWORD, |out| {
        cstr(out, mechanism.as_bytes());
        count32(out, data.len());
        out.extend_from_slice(data);
    });
}

/// SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    message(out, front::PASSWORD, |out| out.extend_from_slice(data));
}

/// Query.
pub fn query(out: &mut Vec<u8>, text: &[u8]) {
    message(out, front::QUERY, |out| cstr(out, text));
}

/// Parse: `text_and_types` as in [`crate::front::Parse`].
pub fn parse(out: &mut Vec<u8>, name: &[u8], text_and_types: &[u8]) {
    message(out, front::PARSE, |out| {
        cstr(out, name);
        out.extend_from_slice(text_and_types);
    });
}

/// The beginning of a Bind of `total` bytes: header and the two names; the caller sends the rest.
pub fn bind_head(out: &mut Vec<u8>, total: usize, portal: &[u8], statement: &[u8]) {
    out.push(front::BIND);
    // A client's Bind with a longer name of ours cannot pass 4 GiB, since headers are accepted to 2 GiB only. If it
    // did, the server refuses the largest length there is, and nothing is misread.
    let length = u32::try_from(total.saturating_sub(1)).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    cstr(out, portal);
    cstr(out, statement);
}

/// Describe of a statement.
pub fn describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    of_statement(out, front::DESCRIBE, name);
}

/// Close of a statement.
pub fn close_statement(out: &mut Vec<u8>, name: &[u8]) {
    of_statement(out, front::CLOSE, name);
}

/// What Describe and Close share.
fn of_statement(out: &mut Vec<u8>, tag: u8, name: &[u8]) {
    message(out, tag, |out| {
        out.push(b'S');
        cstr(out, name);
    });
}

/// Sync.
pub fn sync(out: &mut Vec<u8>) {
    empty(out, front::SYNC);
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    empty(out, front::FLUSH);
}

/// CopyFail.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    message(out, front::COPY_FAIL, |out| cstr(out, reason.as_bytes()));
}

/// Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    empty(out, front::TERMINATE);
}

#[cfg(test)]
mod tests;
