//! Identities from the command line: `plimsoll org`, `app`, `key`, `user`, `dataset`, `grant`, `audit`, `authorize`, and
//! `identity status`. All of it goes over the HTTP API, as anybody else's program would.
//!
//! `args` is the command line, `choose` makes fields of it; `http` and `desk` talk to the API; `noun` says what there is,
//! `look` how it looks; `tend`, `keys`, `audit` and `ask` do the work, and `cut` asks before access is taken away.

mod args;
mod ask;
mod audit;
mod choose;
mod cut;
mod desk;
mod fault;
mod hidden;
mod http;
mod keys;
mod look;
mod noun;
mod random;
mod tend;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;

pub use args::{Manage, StatusArgs};
use ask::Verdict;
pub use desk::MakeTls;
use fault::Fault;
pub use http::ApiTls;
use noun::Noun;
use tend::Ways;

use crate::place::System;
use crate::text::harmless;

/// Exit status of a command line that makes no sense.
const USAGE: u8 = 2;
/// Exit status of `authorize` when it is not allowed.
const DENIED: u8 = 3;

/// Does it: 0 when it is done, 1 when it failed, 2 when the command line is to be blamed, 3 when `authorize` says no.
pub fn manage(manage: &Manage, tls: MakeTls) -> ExitCode {
    ended(carry_out(manage, Ways { world: &System, tls }))
}

/// `plimsoll identity status`: 0 when the API answers, 1 when not.
pub fn identity_status(args: &StatusArgs, tls: MakeTls) -> ExitCode {
    ended(ask::status(args, Ways { world: &System, tls }).map(|()| Verdict::Allowed))
}

fn carry_out(manage: &Manage, ways: Ways<'_>) -> Result<Verdict, Fault> {
    match manage {
        Manage::Org(verb) => tend::tend(Noun::Org, verb, ways),
        Manage::App(verb) => tend::tend(Noun::App, verb, ways),
        Manage::Key(verb) => keys::tend_keys(verb, ways),
        Manage::User(verb) => keys::tend_users(verb, ways),
        Manage::Dataset(verb) => tend::tend(Noun::Dataset, verb, ways),
        Manage::Grant(verb) => tend::tend(Noun::Grant, verb, ways),
        Manage::Audit(args) => audit::audit(args, ways),
        Manage::Authorize(args) => return ask::authorize(args, ways),
    }
    .map(|()| Verdict::Allowed)
}

fn ended(result: Result<Verdict, Fault>) -> ExitCode {
    match result {
        Ok(Verdict::Allowed) => ExitCode::SUCCESS,
        Ok(Verdict::Denied) => ExitCode::from(DENIED),
        // Whoever read it has seen enough: `plimsoll audit | head`.
        Err(Fault::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(fault) => {
            tell(&fault);
            if fault.is_usage() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

fn tell(fault: &Fault) {
    let mut err = io::stderr().lock();
    // With nowhere to print to there is still the exit status.
    let _ = writeln!(err, "plimsoll: {}", harmless(&fault.to_string()));
    if let Some(hint) = fault.hint() {
        let _ = writeln!(err, "  hint: {}", harmless(&hint));
    }
}
