//! Everything the console refuses, with PgBouncer's words and, in our own shape, a true SQLSTATE and a hint.

use std::borrow::Cow;

use plimsoll_config::Compat;
use plimsoll_proxy::ControlError;
use plimsoll_types::SqlState;

/// Longest part of a line that is repeated in an error, bytes.
const ECHO_BYTES_MAX: usize = 900;

/// invalid_parameter_value.
const INVALID_PARAMETER_VALUE: SqlState = SqlState(*b"22023");

/// io_error.
const IO_ERROR: SqlState = SqlState(*b"58030");

/// What may not be done to the console's own database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Pause,
    WaitClose,
    Reconnect,
    Disable,
    Enable,
    Kill,
}

impl Deed {
    fn as_str(self) -> &'static str {
        match self {
            Deed::Pause => "pause",
            Deed::WaitClose => "wait in",
            Deed::Reconnect => "reconnect",
            Deed::Disable => "disable",
            Deed::Enable => "enable",
            Deed::Kill => "kill",
        }
    }
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The line is none that we know.
    InvalidCommand(String),
    /// A word of the line is too long.
    BadArguments,
    /// A stats user wants to change something.
    AdminNeeded,
    /// DISABLE and ENABLE without a name.
    DatabaseRequired,
    /// The console's own database cannot be paused, killed, …
    AdminDatabase(Deed, String),
    /// KILL_CLIENT with something that is not a number.
    InvalidClientId,
    /// A command of ours with words it does not have: how it is written.
    Usage(&'static str),
    /// CAP … OFF where there is none.
    NoSuchCap,
    /// SET with an unknown key or a bad value; the reason is logged.
    SetFailed(String),
    /// RELOAD with mistakes in the files; the mistakes are logged. How many there are.
    ReloadFailed(usize),
    /// No snapshots are kept, and why.
    NoSnapshots(String),
    /// SHOW SNAPSHOT with a name that none has.
    NoSuchSnapshot(String),
    /// A kept snapshot cannot be read: its name, and why.
    LostSnapshot(String, String),
    /// The pooler refused.
    Control(ControlError),
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Failure {
        Failure::Control(error)
    }
}

/// What the client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) sqlstate: SqlState,
    pub(crate) message: Cow<'static, str>,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<&'static str>,
}

impl Failure {
    /// What the client is told: PgBouncer's three fields, or ours.
    pub(crate) fn told(&self, compat: Compat) -> Told {
        let message = self.message();
        match compat {
            Compat::Pgbouncer => Told { sqlstate: self.flat_sqlstate(), message, detail: None, hint: None },
            Compat::Plimsoll => {
                Told { sqlstate: self.sqlstate(), message, detail: self.detail(), hint: self.hint() }
            }
        }
    }

    /// The message, PgBouncer's to the letter where it has one.
    pub(crate) fn message(&self) -> Cow<'static, str> {
        match self {
            Failure::InvalidCommand(line) => {
                format!("invalid command '{}', use SHOW HELP;", echo(line)).into()
            }
            Failure::BadArguments => "bad arguments".into(),
            Failure::AdminNeeded => "admin access needed".into(),
            Failure::DatabaseRequired => "a database is required".into(),
            Failure::AdminDatabase(deed, name) => format!("cannot {} admin db: {name}", deed.as_str()).into(),
            Failure::InvalidClientId => "invalid client pointer supplied".into(),
            Failure::Usage(usage) => format!("write it so: {usage}").into(),
            Failure::NoSuchCap => "there is no such cap".into(),
            Failure::SetFailed(_) => "SET failed".into(),
            Failure::ReloadFailed(_) => "RELOAD failed, see logs for additional details".into(),
            Failure::NoSnapshots(why) => format!("no snapshots are kept: {why}").into(),
            Failure::NoSuchSnapshot(name) => format!("no such snapshot: {}", echo(name)).into(),
            Failure::LostSnapshot(name, why) => format!("cannot read snapshot {}: {why}", echo(name)).into(),
            Failure::Control(error) => control_message(error),
        }
    }

    /// PgBouncer's SQLSTATE: one for everything, except a failed RELOAD.
    fn flat_sqlstate(&self) -> SqlState {
        match self {
            Failure::ReloadFailed(_) => SqlState::CONFIG_FILE,
            Failure::InvalidCommand(_)
            | Failure::BadArguments
            | Failure::AdminNeeded
            | Failure::DatabaseRequired
            | Failure::AdminDatabase(..)
            | Failure::InvalidClientId
            | Failure::Usage(_)
            | Failure::NoSuchCap
            | Failure::SetFailed(_)
            | Failure::NoSnapshots(_)
            | Failure::NoSuchSnapshot(_)
            | Failure::LostSnapshot(..)
            | Failure::Control(_) => SqlState::PROTOCOL_VIOLATION,
        }
    }

    fn sqlstate(&self) -> SqlState {
        match self {
            Failure::InvalidCommand(_)
            | Failure::BadArguments
            | Failure::DatabaseRequired
            | Failure::Usage(_) => SqlState::SYNTAX_ERROR,
            Failure::NoSuchCap => SqlState::UNDEFINED_OBJECT,
            Failure::AdminNeeded => SqlState::INSUFFICIENT_PRIVILEGE,
            Failure::AdminDatabase(..) => SqlState::FEATURE_NOT_SUPPORTED,
            Failure::InvalidClientId | Failure::SetFailed(_) => INVALID_PARAMETER_VALUE,
            Failure::ReloadFailed(_) => SqlState::CONFIG_FILE,
            Failure::NoSnapshots(_) => SqlState::NOT_IN_STATE,
            Failure::NoSuchSnapshot(_) => SqlState::UNDEFINED_OBJECT,
            Failure::LostSnapshot(..) => IO_ERROR,
            Failure::Control(error) => control_sqlstate(error),
        }
    }

    fn detail(&self) -> Option<String> {
        match self {
            Failure::SetFailed(reason) => Some(reason.clone()),
            Failure::ReloadFailed(1) => Some("1 mistake; the old configuration stays in force.".to_string()),
            Failure::ReloadFailed(count) => {
                Some(format!("{count} mistakes; the old configuration stays in force."))
            }
            Failure::InvalidCommand(_)
            | Failure::BadArguments
            | Failure::AdminNeeded
            | Failure::DatabaseRequired
            | Failure::AdminDatabase(..)
            | Failure::InvalidClientId
            | Failure::Usage(_)
            | Failure::NoSuchCap
            | Failure::NoSnapshots(_)
            | Failure::NoSuchSnapshot(_)
            | Failure::LostSnapshot(..)
            | Failure::Control(_) => None,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::InvalidCommand(_) => {
                Some("The console is not PostgreSQL: one command at a time, no SQL.")
            }
            Failure::BadArguments => Some("Names have at most 63 bytes, values of SET at most 255."),
            Failure::AdminNeeded => {
                Some("The user must be in admin_users; stats_users may only SHOW, and EXPLAIN themselves.")
            }
            Failure::DatabaseRequired => {
                Some("Write the name of a database after the command: SHOW DATABASES.")
            }
            Failure::InvalidClientId => Some("Write the id or ptr of a client: SHOW CLIENTS."),
            Failure::SetFailed(_) => Some("SHOW CONFIG lists all keys."),
            Failure::Control(error) => control_hint(error),
            Failure::NoSuchCap => Some("CAP lists all caps."),
            Failure::NoSnapshots(_) => {
                Some("Give the pooler a folder of its own: [plimsoll] snapshot_dir = /var/lib/plimsoll.")
            }
            Failure::NoSuchSnapshot(_) => Some("SHOW SNAPSHOTS lists the names."),
            Failure::AdminDatabase(..)
            | Failure::ReloadFailed(_)
            | Failure::LostSnapshot(..)
            | Failure::Usage(_) => None,
        }
    }
}

fn control_message(error: &ControlError) -> Cow<'static, str> {
    match error {
        ControlError::NoSuchDatabase(name) => format!("no such database: {name}").into(),
        ControlError::NotPaused(name) => format!("database {name} is not paused").into(),
        ControlError::PoolerNotPaused => "pooler is not paused/suspended".into(),
        ControlError::AlreadyPaused => "already suspended/paused".into(),
        ControlError::DatabasesPaused => "cannot suspend with paused databases".into(),
        ControlError::ShuttingDown => "pooler is shutting down".into(),
        ControlError::ClientNotFound => "client not found".into(),
        ControlError::NoSuchHold(hold) => format!("no such hold: {hold}").into(),
    }
}

fn control_sqlstate(error: &ControlError) -> SqlState {
    match error {
        ControlError::NoSuchDatabase(_) => SqlState::INVALID_CATALOG,
        ControlError::NotPaused(_)
        | ControlError::PoolerNotPaused
        | ControlError::AlreadyPaused
        | ControlError::DatabasesPaused => SqlState::NOT_IN_STATE,
        ControlError::ShuttingDown => SqlState::ADMIN_SHUTDOWN,
        ControlError::ClientNotFound | ControlError::NoSuchHold(_) => SqlState::UNDEFINED_OBJECT,
    }
}

fn control_hint(error: &ControlError) -> Option<&'static str> {
    match error {
        ControlError::NoSuchDatabase(_) => Some("SHOW DATABASES lists the names."),
        ControlError::AlreadyPaused => Some("RESUME ends a pause of the whole pooler, or a suspension."),
        ControlError::DatabasesPaused => {
            Some("RESUME each database that is paused by its name first: SHOW DATABASES.")
        }
        ControlError::ClientNotFound => Some("SHOW CLIENTS lists the ids."),
        ControlError::NoSuchHold(_) => {
            Some("SHOW HOLDS lists those that are open; SHOW HISTORY some of those that have ended.")
        }
        ControlError::PoolerNotPaused => {
            Some("PAUSE and KILL of a database end with RESUME and its name: SHOW DATABASES.")
        }
        ControlError::NotPaused(_) => Some("RESUME without a name ends a pause of the whole pooler."),
        ControlError::ShuttingDown => None,
    }
}

/// The beginning of a line, cut between two characters.
fn echo(line: &str) -> &str {
    &line[..line.floor_char_boundary(ECHO_BYTES_MAX)]
}
