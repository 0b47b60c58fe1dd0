//! `plimsoll run URL`: one database, no file.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use plimsoll_config::Plan;
use plimsoll_proxy::StartError;

use crate::args::RunArgs;
use crate::boot::{Ended, Start, live, report};
use crate::logging::Terminal;
use crate::source::Source;

/// Pools the database until the process is told to end.
pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let source = Source::Url(args.clone());
    let verbose = u32::from(args.verbose);
    let how = Start { terminal: Terminal::Shown, verbose, ready: invite, explain };
    match source.load().map_err(|mistakes| report(&mistakes)).and_then(|plan| live(plan, source, how)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended) => ExitCode::FAILURE,
    }
}

fn explain(error: &StartError) -> String {
    match error {
        StartError::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse => {
            format!("{error}; choose another port with --port N")
        }
        StartError::Listen { .. }
        | StartError::UnixSocketInUse
        | StartError::NothingToListenOn
        | StartError::Thread(_) => error.to_string(),
    }
}

/// Prints how to connect.
fn invite(plan: &Plan) {
    // With nowhere to print to the pooler works all the same.
    let _ = writeln!(
        std::io::stdout(),
        "psql {}\n(the same user and secret as in the URL; Ctrl-C ends it)",
        url(plan)
    );
}

/// Where to connect to, without the secret.
fn url(plan: &Plan) -> String {
    let name = plan.databases.first().map_or("", |database| &database.name);
    let user = plan.logins.keys().next().map_or("", String::as_str);
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("postgres://{}@127.0.0.1:{}/{}", encoded(user), plan.general.listen_port, encoded(name))
}
