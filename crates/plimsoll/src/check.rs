//! `plimsoll check FILE.ini`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use plimsoll_config::Compat;

use crate::source::Source;

/// Prints every mistake and warning. Status 0 when there is no mistake.
pub(crate) fn check(file: &Path) -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    // With nowhere to print to there is still the exit status.
    match (Source::File { path: file.to_path_buf(), name: Compat::Plimsoll }).load() {
        Ok(plan) => {
            for warning in &plan.warnings {
                let _ = writeln!(err, "{}: warning: {warning}", file.display());
            }
            let _ = writeln!(out, "{}: no mistakes, databases: {}", file.display(), plan.databases.len());
            ExitCode::SUCCESS
        }
        Err(mistakes) => {
            for mistake in &mistakes {
                let _ = writeln!(err, "{mistake}");
            }
            ExitCode::FAILURE
        }
    }
}
