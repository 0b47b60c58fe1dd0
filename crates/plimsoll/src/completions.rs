//! `plimsoll completions SHELL`: made from the same description of the command line as `--help`.

use std::io::Write;
use std::process::ExitCode;

use clap_complete::{Shell as Kind, generate};

use crate::args::{self, Shell};

/// The name that is completed.
const PROGRAM: &str = "plimsoll";

/// Prints the script of a shell.
pub(crate) fn print(shell: Shell) -> ExitCode {
    let kind = match shell {
        Shell::Bash => Kind::Bash,
        Shell::Zsh => Kind::Zsh,
        Shell::Fish => Kind::Fish,
    };
    let mut script = Vec::new();
    generate(kind, &mut args::command(), PROGRAM, &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough; there is nobody to tell.
        Err(_) => ExitCode::FAILURE,
    }
}
