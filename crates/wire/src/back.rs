//! What servers send: type bytes, and the parts of the messages a pooler has to look into.

use crate::WireError;

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
    let _ = message;
    todo!()
}

/// Name and value of a whole ParameterStatus message.
///
/// # Errors
/// The body does not fit.
pub fn parameter_status(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let _ = message;
    todo!()
}

/// The tag of a whole CommandComplete message.
///
/// # Errors
/// No terminating zero.
pub fn command_tag(message: &[u8]) -> Result<&[u8], WireError> {
    let _ = message;
    todo!()
}

/// The key (process id and secret, 8 bytes in protocol 3.0) of a whole BackendKeyData message.
///
/// # Errors
/// Fewer than 8 bytes.
pub fn backend_key(message: &[u8]) -> Result<&[u8], WireError> {
    let _ = message;
    todo!()
}

/// The fields of a whole ErrorResponse or NoticeResponse: (field type, text). Ends quietly at the first field that
/// does not fit.
pub fn error_fields(message: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let _ = message;
    std::iter::empty()
}
