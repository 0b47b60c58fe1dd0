//! SQLSTATE codes (PostgreSQL manual, "PostgreSQL Error Codes").

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// Everything is well (notices).
    pub const OK: SqlState = SqlState(*b"00000");
    /// sqlclient_unable_to_establish_sqlconnection.
    pub const UNABLE_TO_CONNECT: SqlState = SqlState(*b"08001");
    /// sqlserver_rejected_establishment_of_sqlconnection.
    pub const CONNECTION_REJECTED: SqlState = SqlState(*b"08004");
    /// connection_failure.
    pub const CONNECTION_FAILURE: SqlState = SqlState(*b"08006");
    /// protocol_violation: what PgBouncer says of everything.
    pub const PROTOCOL_VIOLATION: SqlState = SqlState(*b"08P01");
    /// feature_not_supported.
    pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState(*b"0A000");
    /// invalid_sql_statement_name: no such prepared statement.
    pub const INVALID_STATEMENT_NAME: SqlState = SqlState(*b"26000");
    /// invalid_authorization_specification.
    pub const INVALID_AUTHORIZATION: SqlState = SqlState(*b"28000");
    /// invalid_password.
    pub const INVALID_PASSWORD: SqlState = SqlState(*b"28P01");
    /// invalid_catalog_name: no such database.
    pub const INVALID_CATALOG: SqlState = SqlState(*b"3D000");
    /// duplicate_prepared_statement.
    pub const DUPLICATE_STATEMENT: SqlState = SqlState(*b"42P05");
    /// syntax_error.
    pub const SYNTAX_ERROR: SqlState = SqlState(*b"42601");
    /// undefined_object.
    pub const UNDEFINED_OBJECT: SqlState = SqlState(*b"42704");
    /// insufficient_privilege.
    pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState(*b"42501");
    /// out_of_memory.
    pub const OUT_OF_MEMORY: SqlState = SqlState(*b"53200");
    /// `io_error`.
    pub const IO_ERROR: SqlState = SqlState(*b"58030");
    /// too_many_connections.
    pub const TOO_MANY_CONNECTIONS: SqlState = SqlState(*b"53300");
    /// program_limit_exceeded.
    pub const PROGRAM_LIMIT: SqlState = SqlState(*b"54000");
    /// object_not_in_prerequisite_state.
    pub const NOT_IN_STATE: SqlState = SqlState(*b"55000");
    /// query_canceled.
    pub const QUERY_CANCELED: SqlState = SqlState(*b"57014");
    /// admin_shutdown.
    pub const ADMIN_SHUTDOWN: SqlState = SqlState(*b"57P01");
    /// crash_shutdown.
    pub const CRASH_SHUTDOWN: SqlState = SqlState(*b"57P02");
    /// cannot_connect_now.
    pub const CANNOT_CONNECT_NOW: SqlState = SqlState(*b"57P03");
    /// idle_session_timeout.
    pub const IDLE_SESSION_TIMEOUT: SqlState = SqlState(*b"57P05");
    /// idle_in_transaction_session_timeout.
    pub const IDLE_IN_TRANSACTION_TIMEOUT: SqlState = SqlState(*b"25P03");
    /// transaction_timeout.
    pub const TRANSACTION_TIMEOUT: SqlState = SqlState(*b"25P04");
    /// config_file_error.
    pub const CONFIG_FILE: SqlState = SqlState(*b"F0000");
    /// internal_error.
    pub const INTERNAL: SqlState = SqlState(*b"XX000");

    /// Reads a code off the wire: five digits or upper-case letters.
    pub fn parse(bytes: &[u8]) -> Option<SqlState> {
        let code: [u8; 5] = bytes.try_into().ok()?;
        code.iter().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()).then_some(SqlState(code))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
