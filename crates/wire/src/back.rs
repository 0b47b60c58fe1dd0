//! What servers send: type bytes, and the parts of the messages a pooler has to look into.

use std::ops::RangeInclusive;

use crate::WireError;
use crate::reader::Reader;

/// Authentication*.
pub const AUTHENTICATION: u8 = b'R';
/// ParameterStatus.
pub const PARAMETER_STATUS: u8 = b'S';
/// BackendKeyData.
pub const BACKEND_KEY_DATA: u8 = b'K';
/// ReadyForQuery.
pub const READY_FOR_QUERY: u8 = b'Z';
/// ErrorResponse.
pub const ERROR_RESPONSE: u8 = b'E';
/// NoticeResponse.
pub const NOTICE_RESPONSE: u8 = b'N';
/// NotificationResponse.
pub const NOTIFICATION_RESPONSE: u8 = b'A';
/// NegotiateProtocolVersion.
pub const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
/// RowDescription.
pub const ROW_DESCRIPTION: u8 = b'T';
/// DataRow.
pub const DATA_ROW: u8 = b'D';
/// CommandComplete.
pub const COMMAND_COMPLETE: u8 = b'C';
/// EmptyQueryResponse.
pub const EMPTY_QUERY_RESPONSE: u8 = b'I';
/// ParseComplete.
pub const PARSE_COMPLETE: u8 = b'1';
/// BindComplete.
pub const BIND_COMPLETE: u8 = b'2';
/// CloseComplete.
pub const CLOSE_COMPLETE: u8 = b'3';
/// ParameterDescription.
pub const PARAMETER_DESCRIPTION: u8 = b't';
/// NoData.
pub const NO_DATA: u8 = b'n';
/// PortalSuspended.
pub const PORTAL_SUSPENDED: u8 = b's';
/// CopyInResponse.
pub const COPY_IN_RESPONSE: u8 = b'G';
/// CopyOutResponse.
pub const COPY_OUT_RESPONSE: u8 = b'H';
/// CopyBothResponse.
pub const COPY_BOTH_RESPONSE: u8 = b'W';
/// FunctionCallResponse.
pub const FUNCTION_CALL_RESPONSE: u8 = b'V';

/// What an Authentication message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Logged in.
    Ok,
    /// Password in clear text.
    Cleartext,
    /// MD5 with this salt.
    Md5 {
        /// The salt.
        salt: [u8; 4],
    },
    /// SASL; the mechanisms, each ended by a zero.
    Sasl {
        /// The list as on the wire, without its last zero.
        mechanisms: &'a [u8],
    },
    /// A SASL challenge.
    SaslContinue {
        /// The challenge.
        data: &'a [u8],
    },
    /// The SASL outcome.
    SaslFinal {
        /// The server's last message.
        data: &'a [u8],
    },
    /// Something we do not speak (Kerberos, GSS, SSPI, …).
    Other(u32),
}

/// Takes a whole Authentication message (header included) apart.
///
/// # Errors
/// The body does not fit.
pub fn authentication(message: &[u8]) -> Result<Authentication<'_>, WireError> {
    let mut body = Reader::over_body(message)?;
    let code = body.int32()?;
    let asked = match code {
        0 => Authentication::Ok,
        3 => Authentication::Cleartext,
        5 => Authentication::Md5 { salt: *body.array()? },
        10 => return Ok(Authentication::Sasl { mechanisms: mechanisms(body)? }),
        11 => return Ok(Authentication::SaslContinue { data: body.rest() }),
        12 => return Ok(Authentication::SaslFinal { data: body.rest() }),
        // Of those we do not know the layout either.
        other => return Ok(Authentication::Other(other)),
    };
    body.end()?;
    Ok(asked)
}

/// The list of mechanisms without the zero that ends it: names, each ended by its own zero.
fn mechanisms(body: Reader<'_>) -> Result<&[u8], WireError> {
    let list = body.rest();
    let mut names = body;
    while !names.cstr()?.is_empty() {}
    names.end()?;
    Ok(&list[..list.len() - 1])
}

/// Name and value of a whole ParameterStatus message.
///
/// # Errors
/// The body does not fit.
pub fn parameter_status(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let mut body = Reader::over_body(message)?;
    let name = body.cstr()?;
    Ok((name, body.last_cstr()?))
}

/// The tag of a whole CommandComplete message.
///
/// # Errors
/// No terminating zero, or bytes after it.
pub fn command_tag(message: &[u8]) -> Result<&[u8], WireError> {
    Reader::over_body(message)?.last_cstr()
}

/// Bytes of a key: a process id of 4 and a secret of 4 (protocol 3.0) to 256 (protocol 3.2).
pub(crate) const KEY_BYTES: RangeInclusive<usize> = 8..=260;

/// The key (process id and secret, 8 bytes in protocol 3.0) of a whole BackendKeyData message.
///
/// # Errors
/// Fewer than 8 bytes, or more than 260.
pub fn backend_key(message: &[u8]) -> Result<&[u8], WireError> {
    let key = Reader::over_body(message)?.rest();
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err(WireError::BadBody) }
}

/// The fields of a whole ErrorResponse or NoticeResponse: (field type, text). Ends quietly at the first field that
/// does not fit.
pub fn error_fields(message: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut body = Reader::over_body(message);
    std::iter::from_fn(move || {
        let body = body.as_mut().ok()?;
        let field = body.byte().ok().filter(|field| *field != 0)?;
        Some((field, body.cstr().ok()?))
    })
    .fuse()
}

/// The values of a whole DataRow message, `None` for NULL. Ends quietly at the first value that does not fit.
pub fn data_row(message: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let body = Reader::over_body(message).and_then(|mut body| body.int16().map(|count| (body, count)));
    let (mut body, mut left) = body.map_or((None, 0), |(body, count)| (Some(body), count));
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let body = body.as_mut()?;
        match body.int32().ok()? {
            u32::MAX => Some(None),
            length => body.bytes(usize::try_from(length).ok()?).ok().map(Some),
        }
    })
    .fuse()
}

#[cfg(test)]
mod tests;
