//! The console seen from the command line: `plimsoll holds`, `plimsoll doctor` and the like.
//!
//! [`Ask`] is what the program's command line takes in, [`ask`] answers it. `place` finds the console, `link` talks to
//! it, `fleet` to its peers as well, `question` says what is asked and what matters to people in the answer; `sheet` and `draw` make a table of it,
//! `json` makes objects, `watch` does it again and again. `server` puts a few
//! questions to a PostgreSQL server instead, for `plimsoll check`; `identity` speaks to the identity API. What comes back is taken by the names of its columns, as far
//! as they are needed, so that a console with more or fewer of them can be read as well.

mod act;
mod age;
mod args;
mod diff;
mod draw;
mod failure;
mod filter;
mod fleet;
mod glob;
mod group;
mod identity;
mod json;
mod link;
mod place;
mod question;
mod report;
mod server;
mod sheet;
mod snapshot;
mod sys;
mod table;
mod text;
mod watch;

use std::io::{self, Write};
use std::process::ExitCode;

pub use args::Ask;
use failure::Failure;
pub use identity::{ApiTls, MakeTls, Manage, StatusArgs, identity_status, manage};
use place::System;
use report::Ends;
pub use server::{
    ClearText, NoAnswer, ServerAt, ServerKnock, ServerLink, ServerRow, ServerTls, TryNext, Visit, WithoutTls,
};
pub use text::harmless;

/// Exit status of `leaks --check` when there is a leak.
const LEAKS: u8 = 3;

/// Answers: 0 when all is well, 1 for a failure or a peer that does not answer, 3 for a leak that `--check` found.
pub fn ask(ask: &Ask) -> ExitCode {
    match report::report(ask, &System) {
        Ok(Ends::Well) => ExitCode::SUCCESS,
        Ok(Ends::Leaks) => ExitCode::from(LEAKS),
        // What is missing has been said.
        Ok(Ends::Partly) => ExitCode::FAILURE,
        // Whoever read it has seen enough: `plimsoll holds | head`.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            tell(&failure);
            ExitCode::FAILURE
        }
    }
}

fn tell(failure: &Failure) {
    let mut err = io::stderr().lock();
    // With nowhere to print to there is still the exit status.
    let _ = writeln!(err, "plimsoll: {}", harmless(&failure.to_string()));
    if let Some(hint) = failure.hint() {
        let _ = writeln!(err, "  hint: {}", harmless(&hint));
    }
}
