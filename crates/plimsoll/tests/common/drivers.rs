//! Scripts of real drivers. Where the drivers are is said by `PLIMSOLL_PYTHON`, `PLIMSOLL_NODE_PATH` and `PLIMSOLL_JDBC`, as
//! `./dev test` sets them. A driver that is not there is passed over, or a failure with `PLIMSOLL_REQUIRE_ALL=1`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How long a script may take.
const SCRIPT_SECONDS_MAX: &str = "120";

/// A program that is ended when it takes too long.
fn bounded(program: OsString) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", SCRIPT_SECONDS_MAX]).arg(program);
    command
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(name)
}

/// A script of Python.
pub(crate) fn python(name: &str) -> Option<Command> {
    let mut command = bounded(std::env::var_os("PLIMSOLL_PYTHON")?);
    command.arg(script("python").join(name));
    Some(command)
}

/// A script of node that needs this package.
pub(crate) fn node(name: &str, package: &str) -> Option<Command> {
    let packages = std::env::var_os("PLIMSOLL_NODE_PATH")?;
    Path::new(&packages).join(package).is_dir().then_some(())?;
    let mut command = bounded("node".into());
    command.env("NODE_PATH", packages).arg(script("node").join(name));
    Some(command)
}

/// A class of Java, from its source.
pub(crate) fn java(name: &str) -> Option<Command> {
    let jar = std::env::var_os("PLIMSOLL_JDBC")?;
    let mut command = bounded("java".into());
    command.arg("-cp").arg(jar).arg(script("java").join(name));
    Some(command)
}

/// A driver is not there.
///
/// # Panics
/// All of them have to be.
#[track_caller]
pub(crate) fn pass_over(driver: &str) {
    let required = std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "{driver} is missing");
    // If stderr is closed there is nobody to tell.
    drop(writeln!(std::io::stderr(), "passed over, as {driver} is missing"));
}
