//! The command line.
//!
//! Under the name `plimsoll` there are commands, and a file alone means `serve`. Under the name `pgbouncer` (a link is
//! enough) the command line is PgBouncer's and nothing else.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use plimsoll_admin::COMPAT_VERSION;
use plimsoll_cli::{Ask, Manage, StatusArgs};
use plimsoll_config::Compat;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Pool what an ini file says.
    Serve(Serve),
    /// Pool one database, without a file.
    Run(RunArgs),
    /// Look at an ini file and say what is wrong with it.
    Check(CheckArgs),
    /// Ask a running pooler.
    Ask(Ask),
    /// Look after identities, over their API.
    Manage(Manage),
    /// Begin with identities.
    Identity(IdentityVerb),
    /// Print what a shell needs to complete command lines.
    Completions(Shell),
    /// Write the manual pages.
    ManPages(ManPagesArgs),
}

/// How to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serve {
    /// Options of the command line.
    pub(crate) options: ServeArgs,
    /// Whose name the program was started under.
    pub(crate) name: Compat,
}

/// Options of `serve`: PgBouncer's.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServeArgs {
    /// Configuration file in PgBouncer's ini format
    #[arg(value_name = "FILE.ini")]
    pub(crate) file: PathBuf,
    /// Run in the background (needs pidfile)
    #[arg(short = 'd', long)]
    pub(crate) daemon: bool,
    /// Write no log to the terminal
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
    /// Take over from the running process: its clients and server connections go on undisturbed; with none, just start
    #[arg(short = 'R', long)]
    pub(crate) reboot: bool,
    /// Switch to this user when started as root
    #[arg(short = 'u', long, value_name = "USERNAME")]
    pub(crate) user: Option<String>,
    /// Log more; twice for much more
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Options of `run`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunArgs {
    /// The database: postgres://user:secret@host:port/name
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    /// Port to listen on, on 127.0.0.1
    #[arg(long, value_name = "N", default_value_t = 6432, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// Server connections of the pool
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pool_size: Option<u32>,
    /// Most server connections ever, over all pools
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) budget: Option<u32>,
    /// Log more; twice for much more
    #[arg(short = 'v', long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Options of `check`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckArgs {
    /// Configuration file in PgBouncer's ini format
    #[arg(value_name = "FILE.ini")]
    pub(crate) file: PathBuf,
    /// Print the [plimsoll] section that would help, and keys of PgBouncer as comments; the report goes to standard error
    #[arg(long, conflicts_with = "json")]
    pub(crate) suggest: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    pub(crate) json: bool,
    /// Ask no server and no name service
    #[arg(long)]
    pub(crate) offline: bool,
}

/// What `identity` can do.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdentityVerb {
    /// Make the store and the first administrator key, which is printed once
    ///
    /// It opens the store itself, so it needs no running pooler; it runs on the machine and as the user that may.
    #[command(
        after_help = "Examples:\n  plimsoll identity init --store /etc/plimsoll/plimsoll.ini\n  plimsoll identity init --store sqlite:/var/lib/plimsoll/identity.db --organisation acme"
    )]
    Init(InitArgs),
    /// Whether the API answers, whether the key is good, and how much there is
    #[command(after_help = "Example:\n  plimsoll identity status")]
    Status(StatusArgs),
}

/// Options of `identity init`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct InitArgs {
    /// The store, or the configuration that names it (identity_store in [plimsoll]): a password in a URL is better
    /// there, since everybody on the machine can read arguments
    #[arg(long, value_name = "sqlite:PATH|postgres://…|FILE.ini")]
    pub(crate) store: String,
    /// The organisation that the key belongs to
    #[arg(long, value_name = "NAME", default_value = "plimsoll")]
    pub(crate) organisation: String,
    /// Make another administrator key in a store that there is already
    #[arg(long)]
    pub(crate) again: bool,
}

/// Options of `completions`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompletionsArgs {
    /// Whose script
    pub(crate) shell: Shell,
}

/// A shell that we have completions for.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Options of `manpages`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManPagesArgs {
    /// An existing folder; pages of the same names in it are replaced
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

/// A PostgreSQL connection pooler that cannot be leaked dry
#[derive(Parser)]
#[command(name = "plimsoll", version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Own {
    #[command(flatten)]
    serve: Option<ServeArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Pool the databases of an ini file (also: plimsoll FILE.ini)
    Serve(ServeArgs),
    /// Pool one database on 127.0.0.1, without a file
    Run(RunArgs),
    /// Say everything that is wrong or doubtful in an ini file, and beside its servers
    ///
    /// Exit status 0 when all is well, 1 for mistakes, 2 for warnings only.
    #[command(
        after_help = "Examples:\n  plimsoll check /etc/plimsoll/plimsoll.ini\n  plimsoll check --suggest pgbouncer.ini"
    )]
    Check(CheckArgs),
    #[command(flatten)]
    Ask(Ask),
    /// Begin with identities: who may enter, and by which keys
    #[command(subcommand)]
    Identity(IdentityVerb),
    #[command(flatten)]
    Manage(Manage),
    /// Print the script by which a shell completes command lines of plimsoll
    #[command(
        after_help = "Example:\n  plimsoll completions bash > ~/.local/share/bash-completion/completions/plimsoll"
    )]
    Completions(CompletionsArgs),
    /// Write the manual pages into a folder: one for each command, and plimsoll.ini(5)
    #[command(
        name = "manpages",
        after_help = "Example:\n  plimsoll manpages /usr/local/share/man/man1\n  mv /usr/local/share/man/man1/plimsoll.ini.5 /usr/local/share/man/man5/"
    )]
    ManPages(ManPagesArgs),
}

/// A connection pooler for PostgreSQL
#[derive(Parser)]
#[command(name = "PgBouncer", bin_name = "pgbouncer", version = COMPAT_VERSION)]
struct Pgbouncer {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Nothing to do: help or version was asked for, or the command line is wrong.
#[derive(Debug)]
pub(crate) struct Refusal {
    text: clap::Error,
    name: Compat,
}

impl Refusal {
    /// Prints it, and gives the exit status: PgBouncer has no other than 1.
    pub(crate) fn print(&self) -> ExitCode {
        // With nowhere to print to there is nobody to tell.
        let _ = self.text.print();
        match (self.text.exit_code(), self.name) {
            (0, _) => ExitCode::SUCCESS,
            (_, Compat::Pgbouncer) => ExitCode::FAILURE,
            (code, Compat::Plimsoll) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        }
    }
}

/// Reads the command line, program name included.
///
/// # Errors
/// What is to be printed instead.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Asked, Refusal> {
    let args: Vec<OsString> = args.into_iter().collect();
    let name = name(args.first().map(OsString::as_os_str));
    let asked = match name {
        Compat::Plimsoll => own(args),
        Compat::Pgbouncer => Pgbouncer::try_parse_from(args)
            .map(|pgbouncer| Asked::Serve(Serve { options: pgbouncer.serve, name: Compat::Pgbouncer })),
    };
    asked.map_err(|text| Refusal { text, name })
}

/// The command line under our own name, for what is written about it.
pub(crate) fn command() -> clap::Command {
    Own::command()
}

fn own(args: Vec<OsString>) -> Result<Asked, clap::Error> {
    let serve = |options| Asked::Serve(Serve { options, name: Compat::Plimsoll });
    let mut command = Own::command();
    let own = Own::from_arg_matches(&command.try_get_matches_from_mut(args)?)?;
    if let (None, Some(options)) = (&own.command, &own.serve)
        && let Some(meant) = mistyped(&command, &options.file)
    {
        let words = format!("there is no file {}; did you mean: plimsoll {meant}", options.file.display());
        return Err(command.error(clap::error::ErrorKind::InvalidSubcommand, words));
    }
    match (own.command, own.serve) {
        (Some(Command::Serve(options)), _) | (None, Some(options)) => Ok(serve(options)),
        (Some(Command::Run(options)), _) => Ok(Asked::Run(options)),
        (Some(Command::Check(check)), _) => Ok(Asked::Check(check)),
        (Some(Command::Ask(ask)), _) => Ok(Asked::Ask(ask)),
        (Some(Command::Identity(verb)), _) => Ok(Asked::Identity(verb)),
        (Some(Command::Manage(manage)), _) => Ok(Asked::Manage(manage)),
        (Some(Command::Completions(completions)), _) => Ok(Asked::Completions(completions.shell)),
        (Some(Command::ManPages(pages)), _) => Ok(Asked::ManPages(pages)),
        (None, None) => Err(command.error(
            clap::error::ErrorKind::MissingRequiredArgument,
            "give a configuration file, or a command",
        )),
    }
}

/// The command that begins like a word which is no file: `hold` for `holds`.
fn mistyped(command: &clap::Command, file: &Path) -> Option<String> {
    let word =
        file.to_str().filter(|word| word.len() >= 3 && word.chars().all(|c| c.is_ascii_lowercase()))?;
    let begins = |name: &str| name.get(..3) == word.get(..3);
    let meant = command.get_subcommands().map(clap::Command::get_name).find(|name| begins(name))?;
    (!file.exists()).then(|| meant.to_string())
}

/// Whose name the program was started under.
fn name(program: Option<&OsStr>) -> Compat {
    let file = program.and_then(|program| Path::new(program).file_name());
    if file == Some(OsStr::new("pgbouncer")) { Compat::Pgbouncer } else { Compat::Plimsoll }
}

#[cfg(test)]
mod tests;
