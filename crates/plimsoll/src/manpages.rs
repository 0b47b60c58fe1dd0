//! `plimsoll manpages FOLDER`: a page for each command, made from the same description as `--help`, and `plimsoll.ini(5)`,
//! made from the tables of keys.

mod ini;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use plimsoll_admin::version;
use plimsoll_config::Compat;

use crate::args::{self, ManPagesArgs};

/// The name of the manual, at the foot of each page.
const MANUAL: &str = "Plimsoll";

/// What the page of the program says beside its options.
const SIGNALS: [(&str, &str); 6] = [
    ("SIGHUP", "Reads the configuration again."),
    ("SIGINT", "Ends when the transactions that run now have ended."),
    ("SIGTERM", "Ends when all clients have left."),
    ("SIGQUIT", "Ends at once."),
    ("SIGUSR1", "Pauses all databases, like PAUSE on the console."),
    ("SIGUSR2", "Resumes them, like RESUME."),
];

const FILES: [(&str, &str); 2] = [
    ("/etc/plimsoll/plimsoll.ini", "The configuration that the commands look for; see plimsoll.ini(5)."),
    (
        "/etc/pgbouncer/pgbouncer.ini",
        "What they look for where that is missing. PgBouncer's file works as it is.",
    ),
];

/// Writes all pages.
pub(crate) fn write(args: &ManPagesArgs) -> ExitCode {
    let mut command = args::command().disable_help_subcommand(true);
    command.build();
    let written = pages(&command).and_then(|mut pages| {
        pages.push(("plimsoll.ini.5".to_string(), ini::page(&source())));
        pages.iter().try_for_each(|(name, page)| put(&args.folder, name, page))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With nowhere to write to there is still the exit status.
            let _ = writeln!(io::stderr(), "plimsoll: {}: {error}", args.folder.display());
            ExitCode::FAILURE
        }
    }
}

fn put(folder: &Path, name: &str, page: &str) -> io::Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, page).map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))
}

/// What the foot of each page says it belongs to.
fn source() -> String {
    version(Compat::Plimsoll)
}

/// The page of a built command and those of the commands in it, by file name.
fn pages(command: &Command) -> io::Result<Vec<(String, String)>> {
    let man = Man::new(command.clone()).source(source()).manual(MANUAL);
    let mut all = vec![(man.get_filename(), page(command, &man)?)];
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        all.extend(pages(inner)?);
    }
    Ok(all)
}

fn page(command: &Command, man: &Man) -> io::Result<String> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|inner| !inner.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(after) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        examples(&mut rest, &after.to_string());
    }
    // Only the program itself has no name of another in front of its own.
    if command.get_display_name().is_none_or(|name| name == command.get_name()) {
        program(&mut rest);
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text([bold("plimsoll"), roman("(1), "), bold("plimsoll.ini"), roman("(5)")]);
    rest.to_writer(&mut page)?;
    String::from_utf8(page).map_err(io::Error::other)
}

/// What stands below the options in `--help`: its lines stay as they are.
fn examples(roff: &mut Roff, after: &str) {
    let mut lines = after.lines();
    let title = lines.next().unwrap_or_default().trim_end_matches(':').to_uppercase();
    roff.control("SH", [title.as_str()]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    roff.control("fi", []);
}

fn program(roff: &mut Roff) {
    roff.control("SH", ["UNDER THE NAME PGBOUNCER"]);
    roff.text([roman(
        "Started under the name pgbouncer (a link is enough) the program has PgBouncer's command line and no commands: \
         FILE.ini and the options above. What clients and administrators see is PgBouncer's then, as with the key compat \
         of plimsoll.ini(5).",
    )]);
    list(roff, "SIGNALS", &SIGNALS);
    list(roff, "FILES", &FILES);
}

fn list(roff: &mut Roff, title: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [title]);
    for (term, words) in rows {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*words)]);
    }
}
