//! One value for everything that can go wrong, carried through all layers.
//!
//! Log line, client error, console and ledger are views of a [`Cause`]. The message heads are PgBouncer's, to the
//! letter, so that whoever matches on them goes on matching; SQLSTATE, DETAIL and HINT are what we add.

use std::borrow::Cow;

use crate::{Evidence, SqlState};

/// On which side of the pooler something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client connection.
    Client,
    /// The server connection.
    Server,
}

/// Severity field of an ErrorResponse or NoticeResponse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The connection ends.
    Fatal,
    /// The statement failed, the connection goes on.
    Error,
    /// For information.
    Notice,
}

impl Severity {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Fatal => "FATAL",
            Severity::Error => "ERROR",
            Severity::Notice => "NOTICE",
        }
    }
}

/// What a client is shown of a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The SQLSTATE.
    pub sqlstate: SqlState,
    /// What happened.
    pub message: Cow<'a, str>,
    /// Why, with figures.
    pub detail: Option<Cow<'a, str>>,
    /// What to do.
    pub hint: Option<&'static str>,
}

macro_rules! causes {
    ($( $(#[doc = $doc:literal])* $name:ident $( { $($field:ident : $ty:ty),* } )? =>
        $side:ident, $state:ident, $message:expr, $hint:expr; )*) => {
        /// Why something was refused, ended or closed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Cause {
            $( $(#[doc = $doc])* $name $( { $(#[doc = "See the message."] $field: $ty),* } )?, )*
            /// An ErrorResponse of the server, passed on.
            Server {
                /// Its SQLSTATE.
                sqlstate: SqlState,
                /// Its message.
                message: Box<str>,
            },
            /// The server ended the connection, and this is the FATAL it left behind.
            ServerEnded {
                /// Its SQLSTATE.
                sqlstate: SqlState,
                /// Its message.
                message: Box<str>,
            },
        }

        impl Cause {
            /// Whose fault it is.
            pub fn side(&self) -> Side {
                match self {
                    $( Cause::$name $( { $($field: _),* } )? => Side::$side, )*
                    Cause::Server { .. } | Cause::ServerEnded { .. } => Side::Server,
                }
            }

            /// The true SQLSTATE.
            pub fn sqlstate(&self) -> SqlState {
                match self {
                    $( Cause::$name $( { $($field: _),* } )? => SqlState::$state, )*
                    Cause::Server { sqlstate, .. } | Cause::ServerEnded { sqlstate, .. } => *sqlstate,
                }
            }

            /// What happened: PgBouncer's words where PgBouncer has any.
            pub fn message(&self) -> Cow<'_, str> {
                #[allow(unused_variables)]
                match self {
                    $( Cause::$name $( { $($field),* } )? => $message.into(), )*
                    Cause::Server { message, .. } => Cow::Borrowed(message),
                    Cause::ServerEnded { sqlstate, message } => {
                        format!("server ended the connection: FATAL: {message} ({})", sqlstate.as_str()).into()
                    }
                }
            }

            /// What to do about it.
            pub fn hint(&self) -> Option<&'static str> {
                let hint: &'static str = match self {
                    $( Cause::$name $( { $($field: _),* } )? => $hint, )*
                    Cause::Server { .. } => "",
                    Cause::ServerEnded { .. } => {
                        "The statement under way, if any, may or may not have been carried out."
                    }
                };
                (!hint.is_empty()).then_some(hint)
            }
        }
    };
}

causes! {
    /// A startup parameter nobody can honour.
    UnsupportedStartupParameter { name: Box<str> } => Client, FEATURE_NOT_SUPPORTED,
        format!("unsupported startup parameter: {name}"),
        "Remove the parameter from the connection string, or add its name to ignore_startup_parameters.";
    /// `options` that are not settings.
    UnsupportedOptions => Client, FEATURE_NOT_SUPPORTED,
        "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
        "Write every option as -c name=value.";
    /// `options` with a setting that is not tracked.
    UnsupportedOption { name: Box<str> } => Client, FEATURE_NOT_SUPPORTED,
        format!("unsupported startup parameter in options: {name}"),
        "Add the name to track_extra_parameters or ignore_startup_parameters, or set it in a transaction.";
    /// No user in the startup packet.
    NoUser => Client, INVALID_AUTHORIZATION, "no username supplied", "Give a user in the connection string.";
    /// A user name of 128 bytes or more.
    UserTooLong => Client, INVALID_AUTHORIZATION, "username too long", "";
    /// A startup packet whose list of parameters has no end.
    BadStartupLayout => Client, PROTOCOL_VIOLATION,
        "invalid startup packet layout: expected terminator as last byte", "";
    /// Protocol 2.
    OldProtocol => Client, FEATURE_NOT_SUPPORTED, "old V2 protocol not supported", "Use a driver made after 2003.";
    /// Something that is not a startup packet.
    BadPacketHeader { hex: Box<str> } => Client, PROTOCOL_VIOLATION, format!("bad packet header: '{hex}'"),
        "This port speaks the PostgreSQL protocol.";
    /// A startup packet in a session.
    StartupAgain => Client, PROTOCOL_VIOLATION, "client re-sent startup pkt", "";
    /// A password before the startup packet.
    PasswordBeforeStartup => Client, PROTOCOL_VIOLATION, "client password pkt before startup packet", "";
    /// Bytes after an SSLRequest.
    DataAfterSslRequest => Client, PROTOCOL_VIOLATION, "received unencrypted data after SSL request", "";
    /// Bytes after a GSSENCRequest.
    DataAfterGssRequest => Client, PROTOCOL_VIOLATION,
        "received unencrypted data after GSSAPI encryption request", "";
    /// A header of the PROXY protocol is cut, too long, or says what it must not.
    BadProxyHeader { why: &'static str } => Client, PROTOCOL_VIOLATION, format!("bad PROXY header: {why}"),
        "Compare the load balancer's settings with proxy_protocol.";
    /// A balancer that must say for whom it connects does not.
    NoProxyHeader => Client, PROTOCOL_VIOLATION, "PROXY header expected",
        "Switch the PROXY protocol on at the load balancer, or take its address out of proxy_protocol_from.";
    /// Somebody says for whom he connects who may not.
    UnexpectedProxyHeader => Client, PROTOCOL_VIOLATION, "PROXY header from an address that may not send one",
        "Add the load balancer's address to proxy_protocol_from, if it is one.";
    /// The login took too long.
    LoginTimeout => Client, PROTOCOL_VIOLATION, "client_login_timeout", "";
    /// Logged in, but no server connection came.
    LoginTimeoutServerDown => Server, CANNOT_CONNECT_NOW, "client_login_timeout (server down)", "";
    /// A message that is not for this moment of the login.
    BadLoginPacket => Client, PROTOCOL_VIOLATION, "bad packet", "";
    /// Silent: a cancel request of the wrong shape.
    BadCancelRequest => Client, PROTOCOL_VIOLATION, "bad cancel request", "";
    /// Silent: a cancel request with nobody's key.
    CancelFailed => Client, PROTOCOL_VIOLATION, "failed cancel request", "";
    /// Silent: a cancel request for a client without a server.
    CancelIdle => Client, PROTOCOL_VIOLATION, "cancel request for idle client", "";
    /// Silent: a cancel request for a client of the console.
    CancelConsole => Client, PROTOCOL_VIOLATION, "cancel request for console client", "";
    /// Silent: a cancel request that was not passed on, as what it was meant for is over.
    CancelTooLate => Client, PROTOCOL_VIOLATION, "cancel request came too late", "";
    /// Silent: a cancel request that did not reach the server.
    CancelUndelivered => Server, UNABLE_TO_CONNECT, "cancel request could not be delivered", "";
    /// Silent: a cancel request for a peer that `[peers]` does not name.
    CancelNoPeer => Client, PROTOCOL_VIOLATION, "could not find peer to forward request to", "";
    /// Silent: a cancel request that has gone from peer to peer.
    CancelHops => Client, PROTOCOL_VIOLATION, "failed to forward cancel request because its TTL was exhausted", "";
    /// Silent: a cancel request that the server has dealt with.
    CancelSent => Client, PROTOCOL_VIOLATION, "successfully sent cancel request", "";

    /// Silent: a request for TLS inside TLS.
    SslInsideSsl => Client, PROTOCOL_VIOLATION, "SSL req inside SSL", "";
    /// Silent: the client's TLS handshake failed.
    ClientTlsFailed { reason: Box<str> } => Client, PROTOCOL_VIOLATION,
        format!("TLS handshake failed: {reason}"), "";
    /// Plain, and client_tls_sslmode wants TLS.
    SslRequired => Client, INVALID_AUTHORIZATION, "SSL required", "Connect with sslmode=require.";

    /// No line of the HBA file fits.
    NoAuthMethod => Client, INVALID_AUTHORIZATION, "no authentication method is found",
        "Add a line for this database, user and address to auth_hba_file.";
    /// The line of the HBA file that fits says reject.
    LoginRejected => Client, INVALID_AUTHORIZATION, "login rejected", "";
    /// peer, and the system user may not log in as this one.
    PeerFailed => Client, INVALID_AUTHORIZATION, "unix socket login rejected", "";
    /// cert, and the certificate is not this user's.
    CertFailed => Client, INVALID_AUTHORIZATION, "certificate authentication failed", "";
    /// ldap, and the LDAP server does not take the password, or does not know the user.
    LdapFailed => Client, INVALID_AUTHORIZATION, "LDAP authentication failed",
        "User or password may be mistyped, or unknown to the LDAP server; the pooler's log says what it answered.";
    /// ldap, and no LDAP server can tell.
    LdapUnavailable { why: Box<str> } => Client, CANNOT_CONNECT_NOW, "LDAP authentication failed",
        "Try again later; the pooler's log says which LDAP server was asked and what became of it.";
    /// ldap, and options that cannot be used.
    LdapMisconfigured => Client, CONFIG_FILE, "LDAP authentication failed",
        "An administrator has to correct the LDAP options; plimsoll check names the mistake and its line.";
    /// pam, and PAM does not take the password, or does not let this user in now.
    PamFailed => Client, INVALID_AUTHORIZATION, "PAM authentication failed",
        "User or password may be mistyped, or the account may be locked or expired; the pooler's log says what PAM answered.";
    /// pam, and PAM cannot tell, or not in time.
    PamUnavailable { why: Box<str> } => Client, CANNOT_CONNECT_NOW, "PAM authentication failed",
        "Try again later; the pooler's log says what became of PAM, and /etc/pam.d which modules are asked.";
    /// key, jwt or oauth over a connection that can be overheard.
    BearerNeedsTls { method: &'static str } => Client, INVALID_AUTHORIZATION,
        format!("\"{method}\" authentication needs TLS"),
        "Connect with sslmode=require: without TLS, keys and tokens are taken from this machine only.";
    /// key, jwt or oauth, and no identity_store.
    NoIdentities => Client, CONFIG_FILE, "logins by key, jwt and oauth need identity_store",
        "An administrator has to set identity_store in [plimsoll].";
    /// A key or token that is none of ours, or does not hold any more. Why is for the log only.
    BearerFailed { method: &'static str } => Client, INVALID_PASSWORD,
        format!("\"{method}\" authentication failed"),
        "The key or token may be mistyped, unknown, expired, disabled or revoked; the pooler's log says which.";
    /// A good key or token, and no right to what was asked for.
    NotGranted { why: Box<str> } => Client, INVALID_AUTHORIZATION, "not granted",
        "Ask who administers identities for a grant; plimsoll grant list shows those there are.";
    /// Identities cannot be asked, and this one is not known from before.
    IdentityUnavailable { why: Box<str> } => Client, CANNOT_CONNECT_NOW, "identities cannot be checked now",
        "Try again later; the pooler's log says what is wrong with identity_store.";
    /// The keys of a token's issuer cannot be had, so nobody can say whether it is good.
    IssuerUnavailable { issuer: Box<str>, why: Box<str> } => Client, CANNOT_CONNECT_NOW,
        format!("tokens of issuer \"{issuer}\" cannot be checked now"),
        "Try again later; the pooler's log says what is wrong with its keys (jwks= of its line in [issuers]).";
    /// A grant has as many clients as it may.
    GrantClients { name: Box<str>, max: u32 } => Client, TOO_MANY_CONNECTIONS,
        format!("client connections exceeded: the grant of \"{name}\" allows {max}"),
        "Close connections that are not used, or have the limit of the grant raised.";
    /// The right by which a session is here has ended.
    IdentityEnded { why: Box<str> } => Client, INVALID_AUTHORIZATION, "authorisation has ended",
        "Connect again with a key or token that holds.";
    /// A key or token where a name should be.
    SecretAsName => Client, INVALID_AUTHORIZATION, "a key or token was given as the user or database",
        "Give it as the password. It has been sent in the open if the connection is not encrypted: make a new one.";
    /// auth_query found nobody.
    NoSuchUser => Client, INVALID_AUTHORIZATION, "no such user", "";
    /// auth_query cannot be asked, or gave no answer of use.
    AuthConfig => Client, CONFIG_FILE, "bouncer config error",
        "The pooler's log says what became of auth_query; the server may have ended it, or auth_query, auth_user or auth_dbname may need a look.";
    /// auth_dbname is disabled.
    AuthDatabaseDisabled { name: Box<str> } => Client, CANNOT_CONNECT_NOW,
        format!("authentication database \"{name}\" is disabled"), "An administrator has to ENABLE it.";
    /// trust, and no such user.
    TrustFailed => Client, INVALID_AUTHORIZATION, "\"trust\" authentication failed", "";
    /// Password wrong or no such user.
    PasswordFailed => Client, INVALID_PASSWORD, "password authentication failed", "";
    /// SCRAM exchange failed or no such user.
    SaslFailed => Client, INVALID_PASSWORD, "SASL authentication failed", "";
    /// Empty password message.
    EmptyPassword => Client, INVALID_PASSWORD, "empty password returned by client", "";
    /// A mechanism we did not offer.
    BadSaslMechanism => Client, PROTOCOL_VIOLATION,
        "client selected an invalid SASL authentication mechanism", "";
    /// Console, but neither admin nor stats user.
    NotAllowed => Client, INSUFFICIENT_PRIVILEGE, "not allowed",
        "The user must be in admin_users or stats_users.";
    /// No such database.
    NoSuchDatabase { name: Box<str> } => Client, INVALID_CATALOG, format!("no such database: {name}"),
        "Add the database to the [databases] section, or a * line for all others.";
    /// Database disabled.
    DatabaseDisabled { name: Box<str> } => Client, CANNOT_CONNECT_NOW, format!("database \"{name}\" is disabled"),
        "An administrator has to ENABLE it.";
    /// Shutting down.
    ShuttingDown => Client, ADMIN_SHUTDOWN, "pooler is shutting down", "";
    /// Shutting down, and a server is needed.
    ServerShuttingDown => Client, ADMIN_SHUTDOWN, "server shutting down", "";
    /// An online restart has come while the client was logging in.
    Restarting => Client, CANNOT_CONNECT_NOW, "pooler is restarting", "Connect again: the new process is there already.";
    /// An online restart, and the client's connection could not be moved.
    Restarted => Client, ADMIN_SHUTDOWN, "pooler was restarted",
        "Connect again. Nothing was under way, so nothing is lost.";
    /// The same, and its time is over.
    RestartedLate => Client, ADMIN_SHUTDOWN, "pooler was restarted (restart_tls_timeout)",
        "Connect again. What was under way may or may not have been carried out.";

    /// max_client_conn.
    MaxClientConn => Client, TOO_MANY_CONNECTIONS, "no more connections allowed (max_client_conn)",
        "Raise max_client_conn, or find the clients that are never closed: SHOW CLIENTS.";
    /// max_db_client_connections.
    MaxDbClients => Client, TOO_MANY_CONNECTIONS, "client connections exceeded (max_db_client_connections)", "";
    /// max_user_client_connections.
    MaxUserClients => Client, TOO_MANY_CONNECTIONS, "client connections exceeded (max_user_client_connections)", "";
    /// No memory for messages that must be kept whole.
    CollectExhausted => Client, OUT_OF_MEMORY, "too much memory in use for messages that must be kept whole",
        "Retry later; send smaller prepared statements.";
    /// One message that must be kept whole is too large.
    CollectTooLarge { bytes_max: usize } => Client, PROGRAM_LIMIT,
        format!("message too large: a named statement or name may have at most {bytes_max} bytes"),
        "Use an unnamed statement for a text of this size.";
    /// max_packet_size.
    PacketTooLarge => Client, PROGRAM_LIMIT, "packet too large",
        "Raise max_packet_size if messages of this size are wanted.";
    /// A part of a result that was taken off the server cannot be read back.
    SpillLost { reason: Box<str> } => Client, IO_ERROR, format!("the rest of the result is lost: {reason}"),
        "The statement has been carried out; look at the disk of spill_dir.";
    /// File descriptors used up.
    NoFileDescriptors => Client, TOO_MANY_CONNECTIONS, "no more file descriptors", "Raise the limit: ulimit -n.";

    /// Cannot answer the server's request for a password.
    WrongPasswordType => Server, INVALID_AUTHORIZATION, "server login failed: wrong password type",
        "The server wants a kind of password that the stored secret cannot give; put a plain password or the same SCRAM secret into auth_file.";
    /// What gives us the secret to log in with has none: which provider, and why.
    NoCredential { provider: Box<str>, why: Box<str> } => Server, INVALID_AUTHORIZATION,
        format!("server login failed: no credential from {provider}"),
        "Server connections that are open go on; look at what credential= of this database, user or target names.";
    /// A token that anybody could use who reads it, and a server that wants it in the clear.
    CredentialInTheClear { provider: Box<str> } => Server, INVALID_AUTHORIZATION,
        format!("server login failed: a token from {provider} is not sent without TLS"),
        "Set server_tls_sslmode = verify-full, and switch TLS on at the server.";
    /// The server offers no SCRAM-SHA-256.
    NoServerMechanism => Server, INVALID_AUTHORIZATION,
        "server login failed: none of the server's SASL authentication mechanisms are supported", "";
    /// The server could not prove that it knows the secret.
    BadServerSignature => Server, INVALID_AUTHORIZATION, "server login failed: invalid server signature", "";
    /// No server, and the last login failed.
    ServerLoginFailing { reason: Box<str> } => Server, UNABLE_TO_CONNECT,
        format!("server login has been failing, cached error: {reason} (server_login_retry)"),
        "The pooler goes on trying; see its log for the server's answer.";
    /// The server did not let a replication connection in; only its own client hears of it.
    ReplicationRefused { said: Box<str> } => Server, CONNECTION_REJECTED, "login failed",
        "The server has its own rules for replication: REPLICATION of the role, pg_hba.conf, max_wal_senders.";
    /// TCP or Unix connect failed.
    ConnectFailed => Server, UNABLE_TO_CONNECT, "connect failed", "";
    /// Name resolution failed.
    DnsFailed => Server, UNABLE_TO_CONNECT, "server DNS lookup failed", "";
    /// The server has no TLS, and server_tls_sslmode wants it.
    ServerRefusedSsl => Server, UNABLE_TO_CONNECT, "server refused SSL",
        "Switch TLS on at the server (ssl = on), or set server_tls_sslmode = prefer.";
    /// The TLS handshake with the server failed.
    ServerTlsFailed { reason: Box<str> } => Server, UNABLE_TO_CONNECT, format!("TLS handshake failed: {reason}"),
        "Compare server_tls_ca_file and the name of the host with the server's certificate.";
    /// Connect and login took longer than server_connect_timeout.
    ConnectTimeout => Server, UNABLE_TO_CONNECT, "connect timeout", "";
    /// The server closed the connection and said nothing.
    ServerEof => Server, CONNECTION_FAILURE, "server closed the connection without saying why",
        "Look into the server's log; the statement may or may not have been carried out.";
    /// The connection was reset.
    ServerReset => Server, CONNECTION_FAILURE, "server connection was reset, by the server's machine or on the way",
        "Look into the server's log and at what lies between; the statement may or may not have been carried out.";
    /// No answer to keepalive or to data.
    ServerTimedOut => Server, CONNECTION_FAILURE, "server does not answer any more: TCP keepalive or data expired",
        "Look at the network and at the server's machine; the statement may or may not have been carried out.";
    /// The server has been found dead: by what.
    ServerGone { evidence: Evidence } => Server, CONNECTION_FAILURE,
        format!("server does not answer any more: {}", evidence.words()),
        "Look at the network and at the server's machine; the statement may or may not have been carried out.";
    /// Network or machine cannot be reached.
    ServerUnreachable => Server, CONNECTION_FAILURE, "server cannot be reached any more: no route",
        "Look at the network; the statement may or may not have been carried out.";
    /// Another error of the socket.
    ServerIo { error: Box<str> } => Server, CONNECTION_FAILURE, format!("server connection broke: {error}"),
        "Look into the server's log; the statement may or may not have been carried out.";
    /// The server says what the protocol does not know.
    ServerProtocol { what: &'static str } => Server, PROTOCOL_VIOLATION,
        format!("bad packet from server: {what}"), "";
    /// A tracked parameter could not be set.
    InvalidServerParameter => Server, PROTOCOL_VIOLATION, "invalid server parameter",
        "A parameter of the connection string has a value the server refuses.";
    /// A query of our own had no answer in server_check_timeout.
    ServerSilent => Server, CONNECTION_FAILURE, "server does not answer: server_check_timeout",
        "Look at the server's machine: its process may be stopped, or too busy to answer.";
    /// Cleaning or checking failed.
    CleaningFailed => Server, CONNECTION_FAILURE, "test query failed", "";

    /// Statement pooling, and a transaction.
    TransactionInStatementMode => Client, FEATURE_NOT_SUPPORTED,
        "transaction blocks not allowed in statement pooling mode", "Use pool_mode = transaction.";
    /// Bind or Describe of a name never parsed.
    NoSuchStatement => Client, INVALID_STATEMENT_NAME, "prepared statement did not exist", "";
    /// Parse of a name in use.
    StatementExists => Client, DUPLICATE_STATEMENT, "prepared statement name is already in use", "";
    /// A message type the protocol does not have.
    UnknownPacket => Client, PROTOCOL_VIOLATION, "unknown pkt", "";
    /// A message whose length or content is impossible.
    BadPacket => Client, PROTOCOL_VIOLATION, "bad packet", "";
    /// Running longer than query_timeout.
    QueryTimeout => Server, QUERY_CANCELED, "query timeout", "";
    /// Waiting longer than query_timeout.
    QueryTimeoutWaiting => Client, QUERY_CANCELED, "query_timeout", "";
    /// Waiting longer than query_wait_timeout.
    QueryWaitTimeout => Client, TOO_MANY_CONNECTIONS, "query_wait_timeout",
        "All server connections of the pool stayed in use: SHOW POOLS and SHOW SERVERS tell by whom.";
    /// client_idle_timeout.
    ClientIdleTimeout => Client, IDLE_SESSION_TIMEOUT, "client_idle_timeout", "";
    /// idle_transaction_timeout.
    IdleTransactionTimeout => Client, IDLE_IN_TRANSACTION_TIMEOUT, "idle transaction timeout",
        "Commit or roll back soon after the last statement.";
    /// transaction_timeout.
    TransactionTimeout => Client, TRANSACTION_TIMEOUT, "transaction timeout", "";
    /// Stopped in the middle of a message or of a batch, for longer than client_stall_timeout.
    ClientStalled => Client, IDLE_SESSION_TIMEOUT, "client_stall_timeout",
        "The client sent half a message, or a batch without Sync, and nothing more, while it kept a server connection.";
    /// KILL, or the database left the file.
    DatabaseRemoved => Client, ADMIN_SHUTDOWN, "database removed", "";
    /// The database line was changed.
    DatabaseChanged => Server, ADMIN_SHUTDOWN, "database configuration changed", "";
    /// SUSPEND could not deal with it in `suspend_timeout`.
    SuspendTimeout => Client, ADMIN_SHUTDOWN, "suspend_timeout", "";
    /// KILL_CLIENT.
    AdminDisconnect => Client, ADMIN_SHUTDOWN, "admin forced disconnect", "";

    /// A policy, or an administrator, has ended a client that kept its server connection in a transaction: why.
    TransactionRevoked { why: Box<str> } => Client, IDLE_IN_TRANSACTION_TIMEOUT,
        "server connection held in a transaction and not used",
        "End transactions as soon as they are done, and close connections that are not used any more.";
    /// The same outside a transaction.
    SessionRevoked { why: Box<str> } => Client, IDLE_SESSION_TIMEOUT, "server connection held and not used",
        "Close connections that are not used any more, or use pool_mode = transaction.";

    /// Client said Terminate.
    ClientClose => Client, OK, "client close request", "";
    /// Client's end of file.
    ClientEof => Client, OK, "client unexpected eof", "";
    /// The client has been found dead: by what.
    ClientGone { evidence: Evidence } => Client, CONNECTION_FAILURE,
        format!("client does not answer any more: {}", evidence.words()),
        "Look at the client's machine and at what lies between: SHOW SOCKETS tells what is known of each connection.";
    /// Client left in the middle of something.
    ClientLeftBusy => Client, OK, "client disconnect while server was not ready", "";
    /// The client of a replication connection has left: nobody else can use it.
    ReplicationEnded => Client, OK, "replication client was closed", "";
    /// Idle longer than server_idle_timeout.
    ServerIdleTimeout => Server, OK, "server idle timeout", "";
    /// Its credential has ended, and session_not_after is on.
    CredentialEnded => Server, OK, "credential has ended", "";
    /// Older than server_lifetime.
    ServerLifetime => Server, OK, "server lifetime over", "";
    /// Made room for another pool.
    Evicted => Server, OK, "evicted", "";
    /// Opened for a client that is gone, and there is no place for it.
    Unneeded => Server, OK, "unneeded", "";
    /// The state of the connection cannot be known any more.
    ServerStateUnknown => Server, OK, "server state unknown", "";
    /// RECONNECT or a change of the configuration.
    CloseNeeded => Server, OK, "close_needed", "";
    /// PAUSE.
    PauseMode => Server, OK, "pause mode", "";
    /// The pool has been without a client for pool_idle_timeout.
    PoolIdleTimeout => Server, OK, "pool idle timeout", "";
    /// The process ends.
    Exiting => Client, ADMIN_SHUTDOWN, "server shutting down", "";
}

impl Cause {
    /// Whether the server connection broke off by itself: what PgBouncer can only ask ("server conn crashed?").
    pub fn is_crash(&self) -> bool {
        matches!(
            self,
            Cause::ServerEof
                | Cause::ServerReset
                | Cause::ServerTimedOut
                | Cause::ServerGone { .. }
                | Cause::ServerUnreachable
                | Cause::ServerIo { .. }
                | Cause::ServerEnded { .. }
        )
    }

    /// Whether the client is not there any more: there is nobody who could be told anything.
    pub fn is_departure(&self) -> bool {
        matches!(self, Cause::ClientClose | Cause::ClientEof | Cause::ClientGone { .. })
    }

    /// What told that a client or server is dead, where that is the cause.
    pub fn evidence(&self) -> Option<Evidence> {
        match self {
            Cause::ClientGone { evidence } | Cause::ServerGone { evidence } => Some(*evidence),
            Cause::ServerTimedOut => Some(Evidence::Keepalive),
            Cause::ServerUnreachable => Some(Evidence::Unreachable),
            _ => None,
        }
    }

    /// What happened, in PgBouncer's words.
    pub fn compat_message(&self) -> Cow<'_, str> {
        match self {
            _ if self.is_crash() => "server conn crashed?".into(),
            Cause::ClientGone { .. } => Cause::ClientEof.message(),
            Cause::PamFailed | Cause::PamUnavailable { .. } => "auth failed".into(),
            _ => self.message(),
        }
    }

    /// What a client is shown: PgBouncer's shape (08P01 and nothing but the message, except what the server
    /// itself said) or ours.
    pub fn view(&self, compat: bool) -> View<'_> {
        let from_server = matches!(self, Cause::Server { .. });
        View {
            sqlstate: if compat && !from_server { SqlState::PROTOCOL_VIOLATION } else { self.sqlstate() },
            message: if compat { self.compat_message() } else { self.message() },
            detail: match self {
                Cause::TransactionRevoked { why }
                | Cause::SessionRevoked { why }
                | Cause::NotGranted { why }
                | Cause::IdentityUnavailable { why }
                | Cause::IssuerUnavailable { why, .. }
                | Cause::LdapUnavailable { why }
                | Cause::PamUnavailable { why }
                | Cause::IdentityEnded { why }
                    if !compat =>
                {
                    Some(Cow::Borrowed(why))
                }
                Cause::ReplicationRefused { said } if !compat => {
                    Some(format!("The server said: {said}").into())
                }
                Cause::NoCredential { provider, why } if !compat => Some(format!("{provider}: {why}").into()),
                _ => None,
            },
            hint: if compat { None } else { self.hint() },
        }
    }

    /// Whether the same request may succeed when it is made again later.
    pub fn retry_helps(&self) -> bool {
        let state = self.sqlstate();
        matches!(&state.0[..2], b"53" | b"57" | b"08") && state != SqlState::PROTOCOL_VIOLATION
    }
}
