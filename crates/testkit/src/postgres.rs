//! A throw-away PostgreSQL: real, on a free loopback port, gone when dropped.
//!
//! `PLIMSOLL_PG_BIN` names the folder with `initdb` and `postgres`; else the newest one below `/usr/lib/postgresql`.

mod template;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::process::{Process, Signal, unprivileged, unprivileged_ids, wait_gone};
use crate::{Address, Client, Login, Table, TempDir, Watch, eventually_ok, free_port, sys};

/// How a client over TCP proves who it is. The superuser over the Unix socket is always let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerAuth {
    /// Not at all.
    #[default]
    Trust,
    /// Password in clear text.
    Password,
    /// MD5, for the role whose secret is one; SCRAM for the others.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// Nobody is let in.
    Reject,
}

impl ServerAuth {
    fn word(self) -> &'static str {
        match self {
            ServerAuth::Trust => "trust",
            ServerAuth::Password => "password",
            ServerAuth::Md5 => "md5",
            ServerAuth::Scram => "scram-sha-256",
            ServerAuth::Reject => "reject",
        }
    }
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Sessions are told 57P01 (SIGINT).
    Fast,
    /// Sessions are cut off (SIGQUIT).
    Immediate,
}

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// `max_connections`, of which 3 are for superusers.
    pub max_connections: u32,
    /// Who is let in over TCP.
    pub auth: ServerAuth,
    /// More settings.
    pub settings: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> PostgresOptions {
        PostgresOptions { max_connections: 60, auth: ServerAuth::Trust, settings: Vec::new() }
    }
}

/// Name under which the kit itself connects, and which its counts leave out.
const OURSELVES: &str = "plimsoll-testkit";

/// How long PostgreSQL may take to start or stop on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running PostgreSQL with the databases `p0` to `p2` and the roles of [`Postgres::PASSWORDS`].
#[derive(Debug)]
pub struct Postgres {
    process: Option<Process>,
    admin: Mutex<Option<Client>>,
    port: u16,
    options: PostgresOptions,
    // Last: the folder goes after the process.
    dir: TempDir,
}

impl Postgres {
    /// The roles and their passwords: `app` and `other` (SCRAM), `md5er` (MD5), and the superuser `boss` (SCRAM).
    /// `app` may SET ROLE other.
    pub const PASSWORDS: [(&str, &str); 4] = [
        ("app", "app-secret"),
        ("other", "other-secret"),
        ("md5er", "md5er-secret"),
        ("boss", "boss-secret"),
    ];

    /// Starts one that trusts everybody.
    ///
    /// # Panics
    /// It cannot be started.
    #[track_caller]
    pub fn start() -> Postgres {
        Postgres::start_with(PostgresOptions::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// It cannot be started.
    #[track_caller]
    pub fn start_with(options: PostgresOptions) -> Postgres {
        let template = template::ready();
        let dir = TempDir::new("postgres");
        let (uid, gid) = unprivileged_ids();
        std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid))
            .expect("root may, and we already own ours");
        let copied = unprivileged(Path::new("cp"))
            .args(["-a", "--reflink=auto"])
            .args([&template, &dir.path().join("data")])
            .status()
            .expect("cp is everywhere");
        assert!(copied.success(), "cannot copy {}", template.display());
        let mut postgres = Postgres { process: None, admin: Mutex::new(None), port: 0, options, dir };
        postgres.write_hba();
        postgres.launch_on_free_port();
        postgres
    }

    /// A program of its installation: `pg_basebackup` and the like.
    ///
    /// # Panics
    /// PostgreSQL is not installed.
    pub fn tool(name: &str) -> PathBuf {
        program(name)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its address on 127.0.0.1.
    pub fn address(&self) -> Address {
        Address::v4(self.port)
    }

    /// A direct login over TCP.
    pub fn login(&self, user: &str, database: &str) -> Login {
        Login::new(self.address(), user, database).parameter("application_name", "direct")
    }

    /// Runs SQL as the superuser, in database `postgres`, over the Unix socket; the last result.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> Table {
        let mut guard = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        let client = guard.get_or_insert_with(|| self.superuser());
        match client.try_query(sql) {
            Ok(tables) => tables.into_iter().next_back().unwrap_or_default(),
            Err(failure) => {
                *guard = None;
                panic!("{sql}: {failure}")
            }
        }
    }

    /// How many client sessions there are for which `filter` (a condition on pg_stat_activity) holds, our own not
    /// counted.
    ///
    /// # Panics
    /// PostgreSQL does not answer.
    #[track_caller]
    pub fn count_sessions(&self, filter: &str) -> usize {
        let count = self.sql(&count_sql(filter)).rows[0][0].clone();
        count.and_then(|text| text.parse().ok()).expect("a count is a number")
    }

    /// Waits until exactly `wanted` such sessions are there.
    ///
    /// # Panics
    /// It does not happen in time.
    #[track_caller]
    pub fn wait_for_sessions(&self, filter: &str, wanted: usize) {
        eventually_ok(&format!("{wanted} sessions with {filter}"), crate::PATIENCE, || {
            match self.count_sessions(filter) {
                seen if seen == wanted => Ok(()),
                seen => Err(format!("{seen} sessions")),
            }
        });
    }

    /// Counts such sessions without a pause until told to end.
    #[track_caller]
    pub fn watch(&self, filter: &str) -> Watch {
        Watch::start(self.superuser(), count_sql(filter))
    }

    /// Kills one backend with SIGKILL. PostgreSQL then ends all others and recovers.
    pub fn kill_backend(&self, pid: u32) {
        sys::kill(pid, libc::SIGKILL);
    }

    /// Ends one backend politely (57P01).
    ///
    /// # Panics
    /// PostgreSQL does not answer.
    #[track_caller]
    pub fn terminate_sessions(&self, filter: &str) {
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {}",
            condition(filter)
        ));
    }

    /// Stops it; [`Postgres::start_again`] starts it on the same port with the same data.
    ///
    /// # Panics
    /// It does not end in time.
    #[track_caller]
    pub fn stop(&mut self, mode: StopMode) {
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(mut process) = self.process.take() {
            process.signal(match mode {
                StopMode::Fast => Signal::Interrupt,
                StopMode::Immediate => Signal::Quit,
            });
            process.wait(PATIENCE);
        }
    }

    /// Starts it again after [`Postgres::stop`].
    ///
    /// # Panics
    /// It does not start.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "stop it first");
        let port = self.port;
        assert!(self.launch(port), "PostgreSQL does not start again:\n{}", self.log());
    }

    /// Stops and starts it.
    ///
    /// # Panics
    /// As the two.
    #[track_caller]
    pub fn restart(&mut self, mode: StopMode) {
        self.stop(mode);
        self.start_again();
    }

    /// Lets other people in over TCP from now on.
    ///
    /// # Panics
    /// PostgreSQL does not answer.
    #[track_caller]
    pub fn set_auth(&mut self, auth: ServerAuth) {
        self.options.auth = auth;
        self.write_hba();
        self.sql("SELECT pg_reload_conf()");
        eventually_ok("the new pg_hba.conf", PATIENCE, || {
            let sql = "SELECT auth_method FROM pg_hba_file_rules WHERE type = 'host' LIMIT 1";
            let seen = self.sql(sql).cell(0, "auth_method").to_owned();
            if seen == auth.word() { Ok(()) } else { Err(seen) }
        });
    }

    /// Freezes one backend (or the postmaster, which answers no login then).
    pub fn freeze(&self, pid: u32) {
        sys::kill(pid, libc::SIGSTOP);
    }

    /// Thaws what [`Postgres::freeze`] froze.
    pub fn thaw(&self, pid: u32) {
        sys::kill(pid, libc::SIGCONT);
    }

    /// The postmaster's process id.
    ///
    /// # Panics
    /// It is stopped.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("PostgreSQL is stopped").pid()
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A direct session of the superuser, not counted by [`Postgres::count_sessions`].
    ///
    /// # Panics
    /// Not let in.
    #[track_caller]
    pub fn superuser(&self) -> Client {
        superuser(self.dir.path(), self.port).client()
    }

    /// Waits until a backend is gone.
    ///
    /// # Panics
    /// It stays.
    #[track_caller]
    pub fn wait_backend_gone(&self, pid: u32) {
        wait_gone(pid, PATIENCE);
    }

    fn write_hba(&self) {
        let word = self.options.auth.word();
        let text = format!(
            "local all all trust\nhost all all 127.0.0.1/32 {word}\nhost all all ::1/128 {word}\n\
             host replication all 127.0.0.1/32 {word}\n"
        );
        let path = self.dir.path().join("data/pg_hba.conf");
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    #[track_caller]
    fn launch_on_free_port(&mut self) {
        for _ in 0..5 {
            if self.launch(free_port()) {
                return;
            }
            assert!(self.log().contains("in use"), "PostgreSQL does not start:\n{}", self.log());
        }
        panic!("five free ports were all taken by others:\n{}", self.log());
    }

    /// Starts it and waits until it answers. Whether it did; it did not if somebody has the port.
    fn launch(&mut self, port: u16) -> bool {
        let log = File::options().append(true).create(true).open(self.dir.path().join("log"));
        let mut command = unprivileged(&program("postgres"));
        command.arg("-D").arg(self.dir.path().join("data")).arg("-k").arg(self.dir.path());
        command.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1,::1"]);
        command.args(["-c", &format!("max_connections={}", self.options.max_connections)]);
        for setting in QUICK {
            command.args(["-c", setting]);
        }
        for (name, value) in &self.options.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("the folder is ours"));
        let mut process = Process::start(&mut command);
        let login = superuser(self.dir.path(), port);
        let up = eventually_ok("PostgreSQL to start", PATIENCE, || match login.try_client() {
            Ok(client) => Ok(Some(client)),
            Err(_) if process.ended().is_some() => Ok(None),
            Err(failure) => Err(failure.to_string()),
        });
        let Some(client) = up else { return false };
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = Some(client);
        self.process = Some(process);
        self.port = port;
        true
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::Quit);
            // A second chance before the kill by Process: an immediate stop removes shared memory.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| process.wait(PATIENCE))));
        }
    }
}

/// Settings that make it quick and small; nothing it holds is worth keeping.
const QUICK: [&str; 7] = [
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "autovacuum=off",
    "shared_buffers=16MB",
    "jit=off",
    "log_line_prefix=%m [%p] %q%u@%d/%a ",
];

fn superuser(socket_dir: &Path, port: u16) -> Login {
    let socket = socket_dir.join(format!(".s.PGSQL.{port}"));
    Login::new(Address::Unix(socket), "postgres", "postgres").parameter("application_name", OURSELVES)
}

fn condition(filter: &str) -> String {
    format!(
        "backend_type IN ('client backend', 'walsender') AND application_name <> '{OURSELVES}' AND ({filter})"
    )
}

fn count_sql(filter: &str) -> String {
    format!("SELECT count(*) FROM pg_stat_activity WHERE {}", condition(filter))
}

/// A program of PostgreSQL's.
///
/// # Panics
/// PostgreSQL is not installed.
fn program(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("PLIMSOLL_PG_BIN") {
        return PathBuf::from(dir).join(name);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let path = entry.path().join("bin").join(name);
            path.exists().then_some((version, path))
        })
        .max();
    let (_, path) = found.unwrap_or_else(|| {
        panic!("no {name} below /usr/lib/postgresql: install PostgreSQL, or set PLIMSOLL_PG_BIN to its bin folder")
    });
    path
}
