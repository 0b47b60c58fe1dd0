//! One data folder with our roles and databases, made once and copied for each PostgreSQL: initdb takes a second, a
//! copy a tenth of that. It stays in the folder for temporary files for the next run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Postgres, program, superuser};
use crate::process::{Process, Signal, unprivileged, unprivileged_ids};
use crate::{Client, Outcome, TempDir, eventually_ok, free_port, temp};

/// Counts up when what is in the template changes.
const GENERATION: u32 = 1;

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The template's data folder, made if it is not there yet. Other test processes wait meanwhile.
///
/// # Panics
/// It cannot be made.
pub(super) fn ready() -> PathBuf {
    let base = temp::base();
    let lock = File::options().create(true).append(true).open(base.join("template.lock"));
    let lock = lock.expect("the folder is ours");
    lock.lock().expect("a local file can be locked");
    let path = base.join(format!("template-{}-{GENERATION}", version()));
    if !path.exists() {
        let work = TempDir::new("initdb");
        let (uid, gid) = unprivileged_ids();
        std::os::unix::fs::chown(work.path(), Some(uid), Some(gid)).expect("root may, and we own ours");
        make(work.path());
        fs::rename(work.path().join("data"), &path).expect("both are in the same folder");
    }
    path
}

fn version() -> String {
    let output = Command::new(program("postgres")).arg("--version").output().expect("postgres runs");
    let text = String::from_utf8_lossy(&output.stdout);
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' }).collect()
}

fn make(work: &Path) {
    let data = work.join("data");
    let output = unprivileged(&program("initdb"))
        .args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"])
        .args(["--wal-segsize=1", "-D"])
        .arg(&data)
        .stdin(Stdio::null())
        .output()
        .expect("initdb runs");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    let log = File::create(work.join("log")).expect("the folder is ours");
    let port = free_port();
    let mut command = unprivileged(&program("postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(work);
    command.args(["-p", &port.to_string(), "-c", "listen_addresses=", "-c", "fsync=off"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut process = Process::start(&mut command);
    let login = superuser(work, port);
    let mut client = eventually_ok("the template to start", PATIENCE, || {
        login.try_client().map_err(|failure| failure.to_string())
    });
    fill(&mut client).unwrap_or_else(|failure| panic!("the template: {failure}"));
    client.leave();
    process.signal(Signal::Interrupt);
    process.wait(PATIENCE);
}

fn fill(client: &mut Client) -> Outcome<()> {
    for (role, password) in Postgres::PASSWORDS {
        let kind = if role == "md5er" { "md5" } else { "scram-sha-256" };
        let rights = if role == "boss" { "SUPERUSER" } else { "NOSUPERUSER" };
        client.try_query(&format!("SET password_encryption = '{kind}'"))?;
        client.try_query(&format!("CREATE ROLE {role} LOGIN {rights} PASSWORD '{password}'"))?;
    }
    client.try_query("GRANT other TO app")?;
    client.try_query("GRANT pg_signal_backend TO app")?;
    // Since PostgreSQL 15 only a database's owner may make tables in its schema public.
    for database in ["p0", "p1", "p2"] {
        client.try_query(&format!("CREATE DATABASE {database} OWNER app STRATEGY file_copy"))?;
    }
    Ok(())
}
