//! Everything that can go wrong, in words that tell what to do about it.

use std::path::PathBuf;

use plimsoll_ledger::snapshot::Unreadable;

use crate::text::harmless;

/// An ErrorResponse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its SQLSTATE.
    pub(crate) sqlstate: String,
    /// Its message.
    pub(crate) message: String,
    /// Its hint; empty when it has none.
    pub(crate) hint: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The configuration cannot be read.
    #[error("{}: {first}{}", path.display(), more(*mistakes))]
    Ini {
        /// The file.
        path: PathBuf,
        /// The first mistake.
        first: String,
        /// How many there are.
        mistakes: usize,
    },
    /// No file, no URL, nothing in the environment.
    #[error("no configuration found: there is no {searched}")]
    NoPlace {
        /// The files that were looked for.
        searched: String,
    },
    /// The URL is none.
    #[error("--url: {0}")]
    Url(String),
    /// The console has no users that this program could be.
    #[error("{}: admin_users is empty, so that nobody may use the console", .0.display())]
    NoAdmin(PathBuf),
    /// Nobody is there, or nobody answers.
    #[error("cannot reach the pooler at {at}: {}", error_text(error))]
    Unreachable {
        /// Where.
        at: String,
        /// Why.
        error: std::io::Error,
    },
    /// The connection broke, or what came is not the protocol.
    #[error("the pooler at {at} did not answer as one: {what}")]
    Broken {
        /// Where.
        at: String,
        /// How.
        what: String,
    },
    /// The password was refused, or there is none to give.
    #[error("{at} did not let {user:?} in: {}", harmless(&said.message))]
    Password {
        /// Where.
        at: String,
        /// Who.
        user: String,
        /// The answer.
        said: Box<Said>,
        /// Whether and where from there was a password.
        origin: &'static str,
    },
    /// Known, but not to the console.
    #[error("{user:?} may not use the console at {at}: {}", harmless(&said.message))]
    NotAdmin {
        /// Where.
        at: String,
        /// Who.
        user: String,
        /// The answer.
        said: Box<Said>,
    },
    /// What answers is a PostgreSQL, or a pooler's database.
    #[error("{at} is not the console of a pooler: {}", harmless(&said.message))]
    NotAConsole {
        /// Where.
        at: String,
        /// The answer.
        said: Box<Said>,
    },
    /// A pooler that does not have this.
    #[error("the pooler at {at} ({}) has no {command}", harmless(version))]
    NoCommand {
        /// Where.
        at: String,
        /// What it says it is.
        version: String,
        /// What was asked.
        command: String,
    },
    /// Any other refusal.
    #[error("the pooler at {at} says: {}", harmless(&said.message))]
    Refused {
        /// Where.
        at: String,
        /// The answer.
        said: Box<Said>,
    },
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What was to be a snapshot is none.
    #[error("{name}: {why}")]
    Snapshot {
        /// The file, or what it was asked of.
        name: String,
        /// What is wrong, and where.
        why: Unreadable,
    },
    /// The pooler has kept nothing yet.
    #[error("the pooler has kept no snapshot yet")]
    NoneKept,
    /// Nothing can be written.
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
}

fn more(mistakes: usize) -> String {
    if mistakes > 1 { format!(" (and {} more)", mistakes - 1) } else { String::new() }
}

/// The system's words without its number.
pub(crate) fn error_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "nobody listens there".to_string(),
        std::io::ErrorKind::NotFound => "there is no such socket".to_string(),
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "no answer in time".to_string(),
        _ => error.to_string(),
    }
}

impl Failure {
    /// What to do about it; nothing where the words say it all.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Failure::Ini { path, .. } => format!("plimsoll check {} lists what is wrong with it", path.display()),
            Failure::NoPlace { .. } => {
                "name one with --config FILE.ini, or say where the pooler is: --url postgres://USER@HOST:PORT/pgbouncer \
                 (or PGHOST, PGPORT and PGUSER)"
                    .to_string()
            }
            Failure::NoAdmin(_) => {
                "run this as the system user of the pooler, or add a user: admin_users = NAME".to_string()
            }
            Failure::Unreachable { error, .. } => match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "run this as a user who may open the socket, or use --url".to_string()
                }
                _ => "is the pooler running, and is this its configuration? --config FILE.ini or --url name another"
                    .to_string(),
            },
            Failure::Password { origin, user, .. } => format!(
                "the password was {origin}; PGPASSWORD or ~/.pgpass give another, the system user of the pooler needs \
                 none over the Unix socket, and {user:?} must be in auth_file"
            ),
            Failure::NotAdmin { .. } => {
                "the user must be in admin_users or stats_users; PGUSER or the URL name another".to_string()
            }
            Failure::NotAConsole { .. } => {
                "this looks like a PostgreSQL server: give the port of the pooler (listen_port)".to_string()
            }
            Failure::NoCommand { version, .. } if version.contains("PgBouncer") => {
                "this is PgBouncer, or a Plimsoll that keeps its shape (compat = pgbouncer, or started under its name): \
                 what it shows is SHOW POOLS, SHOW CLIENTS, SHOW SERVERS"
                    .to_string()
            }
            Failure::NoCommand { .. } => {
                format!("it is another version than this program ({}): bring it up to date", env!("CARGO_PKG_VERSION"))
            }
            Failure::Refused { said, .. } if !said.hint.is_empty() => harmless(&said.hint).into_owned(),
            Failure::File { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                "plimsoll snapshot > FILE makes one; plimsoll snapshots lists those that the pooler has kept".to_string()
            }
            Failure::Snapshot { why: Unreadable::CutOff { .. } | Unreadable::Empty, .. } => {
                "was it copied while it was being written, or is the disk full? Take another one: plimsoll snapshot > FILE"
                    .to_string()
            }
            Failure::NoneKept => {
                "the first one comes after snapshot_interval; until then compare files: plimsoll snapshot > a.json, later \
                 plimsoll diff a.json"
                    .to_string()
            }
            Failure::File { .. } | Failure::Snapshot { .. } => return None,
            Failure::Url(_) | Failure::Broken { .. } | Failure::Refused { .. } | Failure::Output(_) => return None,
        };
        Some(hint)
    }
}
