//! A secret that a program prints: `{"secret": "...", "expires_at": ...}`.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use plimsoll_types::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::expiry::Written;
use crate::fetch::Failure;
use crate::lease::Fetched;
use crate::source::Login;

/// How long the program may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most that it may print, bytes.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;
/// How much is read of what it complains about, bytes, and how much of that is told, characters.
const COMPLAINT_BYTES_MAX: u64 = 4 * 1024;
const COMPLAINT_CHARS_MAX: usize = 200;

/// What it prints.
#[derive(Deserialize)]
struct Printed {
    secret: String,
    expires_at: Option<Written>,
}

/// Runs it once. It finds host, port and role in its environment (`PLIMSOLL_HOST`, `PLIMSOLL_PORT`, `PLIMSOLL_USER`).
/// Killed, it takes along whatever it has started.
pub(crate) async fn fetch(program: &Path, args: &[String], login: &Login) -> Result<Fetched, Failure> {
    fetch_within(TIMEOUT, program, args, login).await
}

async fn fetch_within(
    limit: Duration,
    program: &Path,
    args: &[String],
    login: &Login,
) -> Result<Fetched, Failure> {
    let child = Command::new(program)
        .args(args)
        .env("PLIMSOLL_HOST", &login.host)
        .env("PLIMSOLL_PORT", login.port.to_string())
        .env("PLIMSOLL_USER", &login.role)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure(format!("cannot be started: {error}")))?;
    let mut run = Run(child);
    match tokio::time::timeout(limit, run.ended()).await {
        Ok(Ok(done)) => done.judge(SystemTime::now()),
        Ok(Err(error)) => Err(Failure(format!("cannot be listened to: {error}"))),
        Err(_elapsed) => Err(Failure(format!("did not end within {} s", limit.as_secs_f32()))),
    }
}

/// A program under way. Dropped before it has ended, it is killed with all it has started.
struct Run(Child);

/// How it ended.
struct Done {
    status: ExitStatus,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

impl Run {
    async fn ended(&mut self) -> std::io::Result<Done> {
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let output = read(stdout, OUTPUT_BYTES_MAX + 1);
        let complaint = read(stderr, COMPLAINT_BYTES_MAX);
        let (output, complaint) = tokio::try_join!(output, complaint)?;
        let status = self.0.wait().await?;
        Ok(Done { status, output, complaint })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // None when it has been waited for: its number may be somebody else's by now.
        let group = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            // One that ends just now needs no killing.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads so much and throws the rest away, lest the program wait for a reader.
async fn read(pipe: Option<impl AsyncRead + Unpin>, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(bytes_max).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

impl Done {
    fn judge(self, wall: SystemTime) -> Result<Fetched, Failure> {
        let Done { status, output, complaint } = self;
        if !status.success() {
            return Err(Failure(format!("ended with {status}{}", complained(&complaint))));
        }
        if u64::try_from(output.len()).is_ok_and(|bytes| bytes > OUTPUT_BYTES_MAX) {
            return Err(Failure(format!("printed more than {OUTPUT_BYTES_MAX} bytes")));
        }
        // What the parser says would repeat parts of the text, and that may be the secret.
        let printed: Printed = serde_json::from_slice(&output).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let wanted = "{\"secret\": \"...\", \"expires_at\": ...}";
            Failure(format!("printed something else than {wanted}: line {line}, column {column}"))
        })?;
        let life = printed.expires_at.map(|at| at.life_at(wall)).transpose().map_err(|_| {
            Failure("printed an expires_at that is neither RFC 3339 nor seconds since 1970".to_string())
        })?;
        Ok(Fetched { secret: Secret::new(printed.secret.into_bytes()), life })
    }
}

/// The first line on its standard error, without what a terminal would obey.
fn complained(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line: String = line.chars().filter(|c| !c.is_control()).take(COMPLAINT_CHARS_MAX).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

#[cfg(test)]
mod tests;
