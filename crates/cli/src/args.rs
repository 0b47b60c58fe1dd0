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
    /// What policies and administrators have done about holds
    #[command(after_help = "Example:\n  plimsoll actions --limit 20")]
    Actions(TableArgs),
    /// Take server connections back from those who keep them
    ///
    /// What they have begun is rolled back; their clients stay, and hear that their transaction has failed until they
    /// end it. A dry run unless --yes.
    #[command(
        after_help = "Examples:\n  plimsoll release 1234                                what would be done\n  plimsoll release 1234 --yes\n  plimsoll release --app 'web-*' --idle-over 60s --yes"
    )]
    Release(ReleaseArgs),
    /// At most so many server connections at once for an application or a host, for a while
    ///
    /// Others of it wait until one comes back. Without arguments: the caps there are. A dry run unless --yes.
    #[command(
        after_help = "Examples:\n  plimsoll cap --app report 5 --for 1h --yes\n  plimsoll cap --host 10.0.0.7 off --yes\n  plimsoll cap"
    )]
    Cap(CapArgs),
    /// All that is held now, as a document for plimsoll diff
    #[command(
        after_help = "Examples:\n  plimsoll snapshot > a.json\n  plimsoll snapshot p6432-1a2b3c4d.20261121T140203.123Z.interval.json > b.json"
    )]
    Snapshot(SnapshotArgs),
    /// The snapshots that the pooler has kept by itself
    #[command(after_help = "Example:\n  plimsoll snapshots --limit 10")]
    Snapshots(TableArgs),
    /// What grew, by how much, held by whom, since when: two snapshots compared
    ///
    /// With three, by the method of heap profilers: what came after the first and is in the second and in the third.
    #[command(
        after_help = "Examples:\n  plimsoll diff --since 1h           now with what was kept an hour ago\n  plimsoll diff a.json               now with a file\n  plimsoll diff a.json b.json\n  plimsoll diff a.json b.json c.json --app 'web-*'"
    )]
    Diff(DiffArgs),
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

/// Of `release`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseArgs {
    /// The hold: its number in plimsoll holds --wide
    #[arg(required_unless_present_any = ["site", "app", "host", "user", "database"])]
    pub(crate) hold: Option<u64>,
    #[command(flatten)]
    pub(crate) whose: WhoseArgs,
    /// Only clients from this address (* for any part)
    #[arg(long, value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) host: Option<String>,
    /// Only those that have not been used for so long: 60s, 5min, 1h
    #[arg(long, value_name = "TIME", value_parser = lasting)]
    pub(crate) idle_over: Option<Duration>,
    /// Close the clients
    #[arg(long)]
    pub(crate) close: bool,
    /// Those too that are executing: their statement is cancelled
    #[arg(long)]
    pub(crate) force: bool,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: WhereArgs,
}

/// Of `cap`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct CapArgs {
    /// How many at once, or off
    #[arg(value_name = "NUMBER|off", value_parser = cap_number, requires = "whom")]
    pub(crate) number: Option<CapNumber>,
    /// Clients that call themselves so
    #[arg(long, value_name = "NAME", group = "whom", requires = "number")]
    pub(crate) app: Option<String>,
    /// Clients from this address
    #[arg(long, value_name = "ADDRESS", group = "whom", requires = "number", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) host: Option<String>,
    /// For so long: 60s, 5min, 1h [default: until the pooler ends]
    #[arg(long = "for", value_name = "TIME", value_parser = lasting, requires = "number")]
    pub(crate) lasting: Option<Duration>,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: WhereArgs,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CapNumber {
    /// At most so many.
    Max(u32),
    /// As many as they like.
    Off,
}

fn cap_number(text: &str) -> Result<CapNumber, String> {
    if text == "off" {
        return Ok(CapNumber::Off);
    }
    text.parse().map(CapNumber::Max).map_err(|_| "a whole number, 0 or more, or off".to_string())
}

/// Of `snapshot`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotArgs {
    /// One that the pooler has kept: a name of plimsoll snapshots [default: now]
    #[arg(value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) place: WhereArgs,
}

/// Of `diff`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffArgs {
    /// Files of plimsoll snapshot, in any order; one alone is compared with now
    #[arg(value_name = "FILE", num_args = 1..=3, required_unless_present = "since")]
    pub(crate) files: Vec<PathBuf>,
    /// Now with what the pooler has kept of so long ago: 90s, 15min, 1h, 2d
    #[arg(long, value_name = "TIME", value_parser = lasting, conflicts_with = "files")]
    pub(crate) since: Option<Duration>,
    #[command(flatten)]
    pub(crate) place: WhereArgs,
    /// One JSON object per line
    #[arg(long)]
    pub(crate) json: bool,
    /// All columns, nothing cut
    #[arg(long)]
    pub(crate) wide: bool,
    #[command(flatten)]
    pub(crate) pick: PickArgs,
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
    /// Which of several poolers behind one address
    Instance,
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
    /// Ask this instance only: doctor, holds, waiters, sites, leaks and clients ask its peers as well
    #[arg(long)]
    pub(crate) alone: bool,
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

/// Which rows.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PickArgs {
    #[command(flatten)]
    pub(crate) whose: WhoseArgs,
    /// At most so many rows
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,
}

/// Whose rows or holds are meant. A value is exact; * stands for any part.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WhoseArgs {
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
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| WATCH_RANGE.contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        format!("a number of seconds from {} to {}", WATCH_RANGE.start(), WATCH_RANGE.end())
    })?;
    Ok(Duration::from_secs_f64(seconds))
}

/// A time with a unit, none is seconds.
pub(crate) fn lasting(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 9] = [
        ("seconds", 1),
        ("min", 60),
        ("m", 60),
        ("hours", 3_600),
        ("h", 3_600),
        ("days", 86_400),
        ("d", 86_400),
        ("s", 1),
        ("", 1),
    ];
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = UNITS.into_iter().find(|(name, _)| *name == unit.trim()).and_then(|(_, each)| {
        let count = number.parse::<u64>().ok().filter(|count| *count > 0)?;
        count.checked_mul(each)
    });
    seconds.map(Duration::from_secs).ok_or_else(|| "a time like 90s, 15min, 1h or 2d".to_string())
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
