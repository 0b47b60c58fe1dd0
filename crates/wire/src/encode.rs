//! Messages of our own, appended to a buffer. Every length is filled in by [`message`]; strings are cut at an inner
//! zero, which the protocol cannot carry.

/// Writes one typed message: `body` appends the content, the length is filled in afterwards.
pub fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).expect("our own messages are far below 4 GiB");
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// A string and its zero.
pub fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
    out.extend_from_slice(&text[..end]);
    out.push(0);
}

/// Fields of an ErrorResponse or NoticeResponse, in the order they are sent: S, (V), C, M, D, H.
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

macro_rules! signatures {
    ($( $(#[doc = $doc:literal])* fn $name:ident($($arg:ident : $ty:ty),*); )*) => {
        $( $(#[doc = $doc])* pub fn $name(out: &mut Vec<u8>, $($arg: $ty),*) { let _ = (out, $($arg),*); todo!() } )*
    };
}

signatures! {
    // ---- as a server, towards clients
    /// AuthenticationOk.
    fn authentication_ok();
    /// AuthenticationCleartextPassword.
    fn authentication_cleartext();
    /// AuthenticationMD5Password.
    fn authentication_md5(salt: [u8; 4]);
    /// AuthenticationSASL with the one mechanism SCRAM-SHA-256.
    fn authentication_sasl();
    /// AuthenticationSASLContinue.
    fn authentication_sasl_continue(data: &[u8]);
    /// AuthenticationSASLFinal.
    fn authentication_sasl_final(data: &[u8]);
    /// NegotiateProtocolVersion: newest version 3.0 and the options we do not know.
    fn negotiate_protocol_version(unknown: &[&[u8]]);
    /// ParameterStatus.
    fn parameter_status(name: &[u8], value: &[u8]);
    /// BackendKeyData with the 8 bytes of process id and secret.
    fn backend_key_data(key: [u8; 8]);
    /// ReadyForQuery; the status byte is `I`, `T` or `E`.
    fn ready_for_query(status: u8);
    /// ErrorResponse.
    fn error_response(fields: &Fields<'_>);
    /// NoticeResponse.
    fn notice_response(fields: &Fields<'_>);
    /// ParseComplete.
    fn parse_complete();
    /// BindComplete.
    fn bind_complete();
    /// CloseComplete.
    fn close_complete();
    /// NoData.
    fn no_data();
    /// ParameterDescription without parameters.
    fn parameter_description_empty();
    /// EmptyQueryResponse.
    fn empty_query_response();
    /// RowDescription, all columns in text format.
    fn row_description(columns: &[Column<'_>]);
    /// DataRow; `None` is NULL.
    fn data_row(values: &[Option<&[u8]>]);
    /// CommandComplete.
    fn command_complete(tag: &str);

    // ---- as a client, towards servers
    /// StartupMessage of protocol 3.0.
    fn startup(params: &[(&[u8], &[u8])]);
    /// SSLRequest.
    fn ssl_request();
    /// CancelRequest with a key as got in BackendKeyData.
    fn cancel_request(key: &[u8]);
    /// PasswordMessage.
    fn password(text: &[u8]);
    /// SASLInitialResponse.
    fn sasl_initial_response(mechanism: &str, data: &[u8]);
    /// SASLResponse.
    fn sasl_response(data: &[u8]);
    /// Query.
    fn query(text: &[u8]);
    /// Parse: `text_and_types` as in [`crate::front::Parse`].
    fn parse(name: &[u8], text_and_types: &[u8]);
    /// The beginning of a Bind of `total` bytes: header and the two names; the caller sends the rest.
    fn bind_head(total: usize, portal: &[u8], statement: &[u8]);
    /// Describe of a statement.
    fn describe_statement(name: &[u8]);
    /// Close of a statement.
    fn close_statement(name: &[u8]);
    /// Sync.
    fn sync();
    /// CopyFail.
    fn copy_fail(reason: &str);
    /// Terminate.
    fn terminate();
}
