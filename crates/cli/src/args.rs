//! The part of the command line that is about asking a running pooler.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

#[cfg(test)]
mod tests;

/// How often `--watch` looks when it is not told.
const WATCH_SECONDS: &str = "2";
/// The shortest and the longest time between two looks, seconds.
const WATCH_RANGE: std::ops::RangeInclusive<f64> = 0.1..=86_400.0;

/// A question to a running pooler.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The one command of a bad night: the whole house on one screen
    ///
    /// Works over the reserved slot too: when max_client_conn is reached, or everything is paused.
    #[command(after_help = "Example:\n  plimsoll doctor --config /etc/plimsoll/plimsoll.ini")]
    Doctor(LineArgs),
    /// Who holds every server connection, since when, doing what, and why
    #[command(
        after_help = "Examples:\n  plimsoll holds --database shop --watch\n  plimsoll holds --app 'web-*' --json"
    )]
    Holds {
        /// Add what the server says of each one: state, wait event, blocked by, locks
        #[arg(long, conflicts_with = "full")]
        join: bool,
        /// Statements with their literals (needs ledger_statements = full)
        #[arg(long)]
        full: bool,
        /// What every table takes
        #[command(flatten)]
        table: TableArgs,
    },
    /// Who waits for a server connection, and for what
    #[command(after_help = "Example:\n  plimsoll waiters --watch 1")]
    Waiters(TableArgs),
    /// Places in the applications, by the connection-seconds they hold
    #[command(after_help = "Example:\n  plimsoll sites --limit 10")]
    Sites(TableArgs),
    /// Sites that leak connections, or may, and the evidence
    #[command(after_help = "Examples:\n  plimsoll leaks\n  plimsoll leaks --check || page-somebody")]
    Leaks {
        /// Exit with status 3 when there is a leak
        #[arg(long, conflicts_with = "watch")]
        check: bool,
        /// What every table takes
        #[command(flatten)]
        table: TableArgs,
    },
    /// What ties sessions to their server connection
    #[command(after_help = "Example:\n  plimsoll pins --user app")]
    Pins(TableArgs),
    /// Holds that have ended and were long, waited for or acted upon
    #[command(after_help = "Example:\n  plimsoll history --limit 20")]
    History(TableArgs),
    /// Whether unused connections become more and more, how fast, and when the cap is reached
    ///
    /// A day's load curve does not count, and in the first minutes it says that they are too few.
    #[command(after_help = "Examples:\n  plimsoll trend\n  plimsoll trend --app 'web-*' --watch 60")]
    Trend(TableArgs),
    /// What runs at the servers: ours and foreign
    #[command(after_help = "Example:\n  plimsoll backends --database shop")]
    Backends(TableArgs),
    /// Every client connection, held or not; --by counts them in groups
    #[command(
        after_help = "Examples:\n  plimsoll clients --by app,host\n  plimsoll clients --by site --watch"
    )]
    Clients {
        /// Count by these, separated by commas
        #[arg(long, value_name = "KEYS", value_enum, value_delimiter = ',')]
        by: Vec<By>,
        /// What every table takes
        #[command(flatten)]
        table: TableArgs,
    },
    /// What would happen to a new client, what stops it, and where that is set
    #[command(
        after_help = "Examples:\n  plimsoll explain             each pool in one line\n  plimsoll explain shop        all who have a pool of it\n  plimsoll explain shop app"
    )]
    Explain {
        /// The database it would ask for [default: each pool there is]
        database: Option<String>,
        /// As whom [default: each user who has a pool of it]
        user: Option<String>,
        /// What every answer in lines takes
        #[command(flatten)]
        lines: LineArgs,
    },
    /// One client's story in sentences
    #[command(
        after_help = "Examples:\n  plimsoll why 1234      a client's id, or a pid of pg_stat_activity\n  plimsoll why 0x2a01    its ptr of SHOW CLIENTS"
    )]
    Why {
        /// Client id, ptr (0x…), or backend pid of pg_stat_activity
        #[arg(value_name = "CLIENT_OR_PID", value_parser = who)]
        who: String,
        /// What every answer in lines takes
        #[command(flatten)]
        lines: LineArgs,
    },
}

/// What clients are counted by.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// application_name
    App,
    /// Address
    Host,
    /// Site of the last hold
    Site,
    /// Login user
    User,
    /// Database
    Database,
}

/// Where the pooler is.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WhereArgs {
    /// The pooler's configuration [default: the first that is there of ./plimsoll.ini, ./pgbouncer.ini,
    /// /etc/plimsoll/plimsoll.ini, /etc/pgbouncer/pgbouncer.ini; then PGHOST, PGPORT, PGUSER]
    #[arg(long, value_name = "FILE.ini")]
    pub(crate) config: Option<PathBuf>,
    /// The console: postgres://USER@HOST:PORT/pgbouncer (password: PGPASSWORD or ~/.pgpass)
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    pub(crate) url: Option<String>,
}

/// How the answer looks.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LookArgs {
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Look again every so many seconds [default: 2]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = WATCH_SECONDS, value_parser = seconds)]
    pub(crate) watch: Option<Duration>,
}

/// Of a question that is answered in lines.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct LineArgs {
    #[command(flatten)]
    pub(crate) place: WhereArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
}

/// Of a question that is answered by a table.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct TableArgs {
    #[command(flatten)]
    pub(crate) place: WhereArgs,
    #[command(flatten)]
    pub(crate) look: LookArgs,
    /// All columns, nothing cut
    #[arg(long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) pick: PickArgs,
}

/// Which rows. A value is exact; * stands for any part.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PickArgs {
    /// Only this database (* for any part)
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) database: Option<String>,
    /// Only this login user (* for any part)
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) user: Option<String>,
    /// Only this application_name (* for any part)
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<String>,
    /// Only this site: its number, or its words (* for any part)
    #[arg(long, value_name = "SITE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) site: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| WATCH_RANGE.contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        format!("a number of seconds from {} to {}", WATCH_RANGE.start(), WATCH_RANGE.end())
    })?;
    Ok(Duration::from_secs_f64(seconds))
}

/// A number, decimal or `0x…`: anything else would be another command on the console.
fn who(text: &str) -> Result<String, String> {
    let is_number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).is_ok() && !hex.starts_with('+'),
        None => text.parse::<u64>().is_ok() && !text.starts_with('+'),
    };
    match is_number {
        true => Ok(text.to_string()),
        false => Err("a client's id or ptr (plimsoll clients), or a pid of pg_stat_activity".to_string()),
    }
}
