//! What each command asks the console, and which part of the answer matters to people.

use crate::args::{
    Ask, By, CapArgs, DiffArgs, LineArgs, LookArgs, PickArgs, ReleaseArgs, SnapshotArgs, TableArgs,
    WhereArgs, WhoseArgs,
};
use crate::fleet;

/// A column that people see without `--wide`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    /// Its name without unit; the first one that there is.
    pub(crate) names: &'static [&'static str],
    /// What stands above it.
    pub(crate) head: &'static str,
    /// How early it is left out where there is no room: the highest first.
    pub(crate) rank: u8,
}

const fn shown(names: &'static [&'static str], head: &'static str, rank: u8) -> Shown {
    Shown { names, head, rank }
}

/// What the answer is made into.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape<'a> {
    /// A table with these columns.
    Table(&'static [Shown], Rows<'a>),
    /// A table of groups.
    Groups(&'a [By], Rows<'a>),
    /// Sections of lines.
    Sections,
    /// Sentences.
    Sentences,
}

/// Which rows, and how wide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) pick: &'a PickArgs,
    pub(crate) width: Width,
}

/// How much of a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// What matters, as wide as the terminal.
    Fitted,
    /// Everything.
    Whole,
}

/// Whether the answer decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// No.
    No,
    /// A leak does.
    Leaks,
}

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The pooler that was named.
    One,
    /// Its peers as well.
    Peers,
}

/// A question.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    /// The command on the console.
    pub(crate) command: String,
    /// What is counted in the answer, in the plural.
    pub(crate) noun: &'static str,
    pub(crate) shape: Shape<'a>,
    pub(crate) judge: Judge,
    pub(crate) reach: Reach,
    pub(crate) place: &'a WhereArgs,
    pub(crate) look: &'a LookArgs,
}

/// Only there where several poolers were asked.
const INSTANCE: Shown = shown(&[fleet::INSTANCE], "instance", 1);
const DATABASE: Shown = shown(&["database"], "database", 4);
const USER: Shown = shown(&["user"], "user", 5);
const APP: Shown = shown(&["application_name", "application", "app"], "app", 2);
const HOST: Shown = shown(&["host", "addr"], "host", 6);
const CLIENT: Shown = shown(&["client", "client_id", "id"], "client", 1);
const PID: Shown = shown(&["pid", "backend_pid", "remote_pid"], "pid", 3);
const STATE: Shown = shown(&["state"], "state", 1);
const AGE: Shown = shown(&["age", "held"], "age", 0);
const IDLE: Shown = shown(&["idle"], "idle", 2);
const PINS: Shown = shown(&["pins"], "pins", 7);
const VERDICT: Shown = shown(&["verdict", "level"], "verdict", 1);
const TAGS: Shown = shown(&["last_tags", "tags", "first_tags"], "tags", 4);
const SITE: Shown = shown(&["site"], "site", 8);
const LAST: Shown = shown(&["last_statement", "last", "statement", "query"], "last statement", 3);

const HOLDS: &[Shown] =
    &[INSTANCE, CLIENT, PID, DATABASE, USER, APP, HOST, STATE, AGE, IDLE, PINS, VERDICT, SITE, TAGS, LAST];
const JOINED: &[Shown] = &[
    INSTANCE,
    CLIENT,
    PID,
    DATABASE,
    APP,
    STATE,
    AGE,
    IDLE,
    VERDICT,
    shown(&["server_state", "pg_state"], "server says", 1),
    shown(&["wait_event", "server_wait"], "waits for", 2),
    shown(&["blocked_by", "blocked"], "blocked by", 1),
    shown(&["locks", "locks_held"], "locks", 3),
    shown(&["not_asked"], "not asked", 2),
];
const WAITERS: &[Shown] = &[
    INSTANCE,
    CLIENT,
    DATABASE,
    USER,
    APP,
    HOST,
    shown(&["waiting", "waited", "wait"], "waiting", 0),
    shown(&["place"], "place", 2),
    shown(&["why", "reason"], "why", 1),
];
const SITES: &[Shown] = &[
    INSTANCE,
    shown(&["site"], "site", 1),
    APP,
    TAGS,
    shown(&["held", "count"], "held", 0),
    shown(&["pool_size"], "of", 2),
    shown(&["share", "share_percent"], "share", 5),
    shown(&["clients"], "clients", 6),
    shown(&["oldest"], "oldest", 1),
    shown(&["idle", "total_idle"], "idle", 4),
    shown(&["held_seconds", "connection_seconds"], "conn seconds", 5),
    shown(&["p99"], "p99", 7),
    VERDICT,
    LAST,
];
const LEAKS: &[Shown] = &[
    INSTANCE,
    VERDICT,
    shown(&["rule"], "rule", 3),
    APP,
    TAGS,
    shown(&["held", "count"], "held", 0),
    shown(&["pool_size"], "of", 1),
    shown(&["oldest", "age"], "oldest", 0),
    shown(&["idle", "total_idle"], "idle", 2),
    HOST,
    shown(&["site"], "site", 4),
    shown(&["evidence", "why"], "evidence", 1),
    LAST,
];
const PIN_COLUMNS: &[Shown] = &[
    CLIENT,
    PID,
    DATABASE,
    USER,
    APP,
    shown(&["pin", "pins"], "pins", 0),
    shown(&["count", "holds"], "holds", 0),
    AGE,
    IDLE,
    shown(&["unknown_by", "because", "statement", "why"], "because of", 1),
];
const HISTORY: &[Shown] = &[
    shown(&["ended_ago"], "ended ago", 1),
    CLIENT,
    PID,
    DATABASE,
    USER,
    APP,
    HOST,
    shown(&["age", "lasted", "held"], "lasted", 0),
    shown(&["waited"], "waited", 3),
    VERDICT,
    shown(&["ended", "cause"], "ended by", 1),
    TAGS,
    LAST,
];
const ACTIONS: &[Shown] = &[
    shown(&["ago"], "ago", 0),
    shown(&["what"], "what", 0),
    shown(&["by"], "by", 1),
    shown(&["hold"], "hold", 2),
    APP,
    HOST,
    DATABASE,
    USER,
    STATE,
    shown(&["idle"], "unused", 2),
    SITE,
];
const RELEASE: &[Shown] = &[
    shown(&["hold"], "hold", 0),
    CLIENT,
    APP,
    HOST,
    DATABASE,
    STATE,
    AGE,
    IDLE,
    PINS,
    shown(&["result"], "result", 0),
];
const CAPS: &[Shown] = &[
    shown(&["of"], "of", 0),
    shown(&["name"], "name", 0),
    shown(&["max"], "max", 0),
    shown(&["used"], "used", 0),
    shown(&["waiting"], "waiting", 0),
    shown(&["left"], "left", 1),
    shown(&["by"], "by", 2),
];
const TREND: &[Shown] = &[
    shown(&["what"], "what", 2),
    shown(&["name"], "name", 0),
    shown(&["verdict"], "trend", 0),
    shown(&["held"], "held", 1),
    shown(&["unused"], "unused", 3),
    shown(&["floor"], "floor", 5),
    shown(&["cap"], "of", 1),
    shown(&["per_hour"], "per hour", 1),
    shown(&["reached_in"], "all held in", 0),
    shown(&["p"], "p", 6),
    shown(&["window"], "window", 4),
    shown(&["since"], "since", 4),
    shown(&["pools"], "pools", 1),
    shown(&["why"], "why", 2),
];
const BACKENDS: &[Shown] = &[
    shown(&["target", "server"], "target", 5),
    PID,
    shown(&["whose", "owner", "ours"], "whose", 0),
    DATABASE,
    shown(&["user", "role", "usename"], "user", 4),
    APP,
    STATE,
    shown(&["age", "state_age", "idle", "connected"], "age", 1),
    shown(&["wait_event"], "waits for", 3),
    shown(&["blocked_by"], "blocked by", 2),
    CLIENT,
    shown(&["not_asked"], "not asked", 2),
];
const SNAPSHOTS: &[Shown] = &[
    shown(&["name"], "name", 0),
    shown(&["taken"], "taken", 2),
    shown(&["age"], "age", 1),
    shown(&["reason"], "reason", 1),
    shown(&["run"], "run", 4),
    shown(&["bytes"], "bytes", 3),
];
const CLIENTS: &[Shown] = &[
    INSTANCE,
    CLIENT,
    shown(&["ptr"], "ptr", 7),
    DATABASE,
    USER,
    APP,
    HOST,
    shown(&["connected", "age"], "connected", 0),
    IDLE,
    shown(&["holds", "holding", "holds_server"], "holds", 1),
    shown(&["waits", "waiting"], "waits", 2),
    shown(&["uses"], "uses", 5),
    shown(&["site_text", "site"], "site", 3),
];

/// What a command comes to.
#[derive(Clone, Debug)]
pub(crate) enum Task<'a> {
    /// One question and its answer.
    Ask(Question<'a>),
    /// A document.
    Snapshot(&'a SnapshotArgs),
    /// Documents that are compared.
    Diff(&'a DiffArgs),
    /// Connections are taken back; how that is shown.
    Release(Question<'a>, &'a ReleaseArgs),
    /// Caps; likewise.
    Cap(Question<'a>, &'a CapArgs),
}

impl<'a> Task<'a> {
    /// What it is.
    pub(crate) fn of(ask: &'a Ask) -> Task<'a> {
        Task::Ask(match ask {
            Ask::Snapshot(args) => return Task::Snapshot(args),
            Ask::Diff(args) => return Task::Diff(args),
            Ask::Release(args) => {
                return Task::Release(of_act("SHOW HOLDS", "holds", RELEASE, &args.place), args);
            }
            Ask::Cap(args) => return Task::Cap(of_act("CAP", "caps", CAPS, &args.place), args),
            Ask::Snapshots(table) => of_table("SNAPSHOTS", "kept snapshots", SNAPSHOTS, table),
            Ask::Doctor(lines) => of_lines("SHOW DOCTOR".to_string(), Shape::Sections, lines).with_peers(),
            Ask::Explain { database, user, lines } => {
                let named = [database, user].into_iter().flatten();
                let names: String = named.map(|name| format!(" {}", quoted(name))).collect();
                let command = format!("EXPLAIN ADMISSION{names}");
                of_lines(command, Shape::Sentences, lines)
            }
            Ask::Why { who, lines } => of_lines(format!("SHOW WHY {who}"), Shape::Sentences, lines),
            Ask::Holds { join: true, table, .. } => {
                of_table("HOLDS JOIN", "holds", JOINED, table).with_peers()
            }
            Ask::Holds { full: true, table, .. } => {
                of_table("HOLDS FULL", "holds", HOLDS, table).with_peers()
            }
            Ask::Holds { table, .. } => of_table("HOLDS", "holds", HOLDS, table).with_peers(),
            Ask::Waiters(table) => of_table("WAITERS", "waiters", WAITERS, table).with_peers(),
            Ask::Sites(table) => of_table("SITES", "sites", SITES, table).with_peers(),
            Ask::Leaks { check, table } => {
                let judge = if *check { Judge::Leaks } else { Judge::No };
                Question { judge, ..of_table("LEAKS", "suspects and leaks", LEAKS, table).with_peers() }
            }
            Ask::Pins(table) => of_table("PINS", "pins", PIN_COLUMNS, table),
            Ask::History(table) => of_table("HISTORY", "ended holds", HISTORY, table),
            Ask::Actions(table) => of_table("ACTIONS", "actions", ACTIONS, table),
            Ask::Trend(table) => of_table("TREND", "trends", TREND, table),
            Ask::Backends(table) => of_table("BACKENDS", "backends", BACKENDS, table),
            Ask::Clients { by, table } if by.is_empty() => {
                of_table("VISITORS", "clients", CLIENTS, table).with_peers()
            }
            Ask::Clients { by, table } => {
                let question = of_table("VISITORS", "groups of clients", CLIENTS, table).with_peers();
                Question { shape: Shape::Groups(by, rows(table)), ..question }
            }
        })
    }
}

/// Nothing is filtered or watched here.
static ALL: PickArgs = PickArgs { whose: EVERYBODY, limit: None };
const EVERYBODY: WhoseArgs = WhoseArgs { database: None, user: None, app: None, site: None };
static ONCE: LookArgs = LookArgs { json: false, watch: None, alone: true };

fn of_act<'a>(
    command: &str,
    noun: &'static str,
    columns: &'static [Shown],
    place: &'a WhereArgs,
) -> Question<'a> {
    let shape = Shape::Table(columns, Rows { pick: &ALL, width: Width::Fitted });
    Question {
        command: command.to_string(),
        noun,
        shape,
        judge: Judge::No,
        reach: Reach::One,
        place,
        look: &ONCE,
    }
}

impl Question<'_> {
    /// For the peers as well, unless the pooler that was named is to answer alone.
    fn with_peers(self) -> Self {
        let reach = if self.look.alone { Reach::One } else { Reach::Peers };
        Question { reach, ..self }
    }
}

/// A name as the console reads it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn of_lines<'a>(command: String, shape: Shape<'a>, args: &'a LineArgs) -> Question<'a> {
    Question {
        command,
        noun: "lines",
        shape,
        judge: Judge::No,
        reach: Reach::One,
        place: &args.place,
        look: &args.look,
    }
}

fn of_table<'a>(
    what: &str,
    noun: &'static str,
    columns: &'static [Shown],
    args: &'a TableArgs,
) -> Question<'a> {
    Question {
        command: format!("SHOW {what}"),
        noun,
        shape: Shape::Table(columns, rows(args)),
        judge: Judge::No,
        reach: Reach::One,
        place: &args.place,
        look: &args.look,
    }
}

fn rows(args: &TableArgs) -> Rows<'_> {
    let width = if args.wide { Width::Whole } else { Width::Fitted };
    Rows { pick: &args.pick, width }
}
