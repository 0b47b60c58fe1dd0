//! Real drivers through every pool mode: each script of `tests/drivers`, and pgbench in its three protocols.
//!
//! Where the drivers are is said by `PLIMSOLL_PYTHON`, `PLIMSOLL_NODE_PATH`, `PLIMSOLL_JDBC` and `PLIMSOLL_RUBY`, as
//! `./dev test` sets them. A driver that is not there is passed over, or a failure with `PLIMSOLL_REQUIRE_ALL=1`.

mod common;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{MODES, pooler};
use plimsoll_testkit::{Ini, Plimsoll, Postgres, PostgresOptions, ServerAuth};

/// Servers in each pool; every script has a crowd of 20 clients.
const POOL_SIZE: usize = 3;

/// How long a script may take. Each of its cases has a bound of its own, which names the case.
const SCRIPT_SECONDS_MAX: u32 = 200;

/// Lines of a failed script's output that are shown.
const LINES_SHOWN: usize = 120;

/// What runs a script, and where its drivers are.
#[derive(Clone, Copy, Debug)]
enum Runner {
    Python,
    Node,
    Ruby,
    Java,
}

impl Runner {
    /// The command that runs a script, or what is missing.
    fn command(self, script: &Path) -> Result<Command, String> {
        match self {
            Runner::Python => {
                let python = variable("PLIMSOLL_PYTHON")?;
                works(&python, &["-c", "import psycopg, asyncpg, sqlalchemy"])?;
                Ok(bounded(&python, &[script.as_os_str().to_owned()]))
            }
            Runner::Node => {
                let packages = variable("PLIMSOLL_NODE_PATH")?;
                works("node".as_ref(), &["--version"])?;
                let mut command = bounded("node".as_ref(), &[script.as_os_str().to_owned()]);
                command.env("NODE_PATH", packages);
                Ok(command)
            }
            Runner::Ruby => {
                let ruby = variable("PLIMSOLL_RUBY")?;
                works(&ruby, &["-e", "require 'pg'"])?;
                Ok(bounded(&ruby, &[script.as_os_str().to_owned()]))
            }
            Runner::Java => {
                let jar = variable("PLIMSOLL_JDBC")?;
                works("java".as_ref(), &["-version"])?;
                let arguments = [OsString::from("-cp"), jar, script.as_os_str().to_owned()];
                Ok(bounded("java".as_ref(), &arguments))
            }
        }
    }
}

/// A variable of the environment, or that it is missing.
fn variable(name: &str) -> Result<OsString, String> {
    std::env::var_os(name).ok_or_else(|| format!("{name} is not set"))
}

/// Whether a program runs with these arguments.
fn works(program: &std::ffi::OsStr, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// A command that is ended when it takes too long.
fn bounded(program: &std::ffi::OsStr, arguments: &[OsString]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &SCRIPT_SECONDS_MAX.to_string()]).arg(program).args(arguments);
    command
}

/// A PostgreSQL and a pooler that both ask for passwords by SCRAM, one database for each pool mode.
fn house(pool_size: usize) -> (Postgres, Plimsoll) {
    let options = PostgresOptions { auth: ServerAuth::Scram, ..PostgresOptions::default() };
    let postgres = Postgres::start_with(options);
    let ini = Ini::new(&postgres)
        .set("auth_type", "scram-sha-256")
        .set("default_pool_size", &pool_size.to_string())
        // Whoever is idle hears something now and then, as a server's messages may come at any time.
        .own("client_heartbeat", "1s")
        // JDBC and sqlx send it at every start.
        .set("ignore_startup_parameters", "extra_float_digits");
    let plimsoll = pooler(common::by_mode(ini, &postgres));
    (postgres, plimsoll)
}

/// Runs a script through a pool of [`POOL_SIZE`] servers in this mode.
#[track_caller]
fn drive(runner: Runner, script: &str, mode: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/drivers").join(script);
    let Some(mut command) = found_or_passed_over(runner.command(&script)) else { return };
    let (postgres, plimsoll) = house(POOL_SIZE);
    let watch = postgres.watch("true");
    let port = plimsoll.port().to_string();
    command.args(["127.0.0.1", &port, mode, "app", "app-secret", mode]);
    let output = run(&mut command);
    assert!(output.lines().any(|line| line.starts_with("ok ")), "no case was run:\n{output}");
    let highest = watch.highest();
    assert!(highest <= 3, "PostgreSQL saw {highest} sessions of a pool of {POOL_SIZE}");
    is_whole(&postgres, &plimsoll);
}

/// Runs a command to its end; its output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if !output.status.success() {
        let lines: Vec<&str> = text.lines().collect();
        let shown = lines.len().saturating_sub(LINES_SHOWN);
        let what = if output.status.code() == Some(124) { "took too long" } else { "failed" };
        panic!("{command:?} {what} ({}):\n{}", output.status, lines[shown..].join("\n"));
    }
    text
}

/// Nobody is left in the pool, and it still serves as many as it can.
#[track_caller]
fn is_whole(postgres: &Postgres, plimsoll: &Plimsoll) {
    postgres.wait_for_sessions("state <> 'idle'", 0);
    for mode in MODES {
        let login = plimsoll.login("app", mode).password("app-secret");
        let mut clients: Vec<_> = (0..POOL_SIZE).map(|_| login.client()).collect();
        for client in &mut clients {
            assert_eq!(client.value("SELECT 1"), "1", "{mode}");
        }
        for client in clients {
            client.leave();
        }
    }
}

/// The command, or nothing if its driver may be missing; then says why.
#[track_caller]
fn found_or_passed_over(command: Result<Command, String>) -> Option<Command> {
    match command {
        Ok(command) => Some(command),
        Err(missing) => {
            let required = std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!required, "a driver is missing: {missing}");
            // If stderr is closed there is nobody to tell.
            drop(writeln!(std::io::stderr(), "passed over, as a driver is missing: {missing}"));
            None
        }
    }
}

/// A test for each pool mode.
macro_rules! in_every_mode {
    ($name:ident, $runner:ident, $script:literal) => {
        mod $name {
            #[test]
            fn session() {
                super::drive(super::Runner::$runner, $script, "session");
            }

            #[test]
            fn transaction() {
                super::drive(super::Runner::$runner, $script, "transaction");
            }

            #[test]
            fn statement() {
                super::drive(super::Runner::$runner, $script, "statement");
            }
        }
    };
}

in_every_mode!(psycopg, Python, "python/psycopg_sync.py");
in_every_mode!(psycopg_async, Python, "python/psycopg_async.py");
in_every_mode!(asyncpg, Python, "python/asyncpg_driver.py");
in_every_mode!(sqlalchemy, Python, "python/sqlalchemy_pools.py");
in_every_mode!(node_pg, Node, "node/pg_driver.js");
in_every_mode!(postgres_js, Node, "node/postgres_js.js");
in_every_mode!(ruby_pg, Ruby, "ruby/ruby_pg.rb");
in_every_mode!(jdbc, Java, "java/Jdbc.java");

/// pgbench: `PLIMSOLL_PG_BIN` names its folder, else it is on the PATH.
fn pgbench(port: u16, database: &str, arguments: &[&str]) -> Command {
    let program = std::env::var_os("PLIMSOLL_PG_BIN")
        .map_or_else(|| PathBuf::from("pgbench"), |folder| PathBuf::from(folder).join("pgbench"));
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let mut command = bounded(program.as_os_str(), &arguments);
    command.envs([("PGHOST", "127.0.0.1"), ("PGPORT", &port.to_string()), ("PGDATABASE", database)]);
    command.envs([("PGUSER", "app"), ("PGPASSWORD", "app-secret")]);
    command
}

/// 50 clients over a pool of 5, in each protocol: no transaction fails, and PostgreSQL never sees a sixth session.
#[track_caller]
fn pgbench_in(mode: &str, script: &str) {
    let (postgres, plimsoll) = house(5);
    let server_port = postgres.port();
    run(&mut pgbench(server_port, "p0", &["--initialize", "--scale=5", "--quiet"]));
    let watch = postgres.watch("true");
    for protocol in ["simple", "extended", "prepared"] {
        let protocol_option = format!("--protocol={protocol}");
        // A thread for each client: pgbench prepares with a call that blocks its thread, and with it all clients of
        // that thread that have a server and would give it back.
        let load = ["--no-vacuum", "--client=50", "--jobs=50", "--transactions=60", script, &protocol_option];
        let report = run(&mut pgbench(plimsoll.port(), mode, &load));
        let mut wanted = String::new();
        writeln!(wanted, "number of transactions actually processed: 3000/3000").expect("text grows");
        writeln!(wanted, "number of failed transactions: 0 (0.000%)").expect("text grows");
        assert!(report.contains(&wanted), "{mode}, {protocol}: wanted\n{wanted}saw\n{report}");
    }
    let highest = watch.highest();
    assert!(highest <= 5, "PostgreSQL saw {highest} sessions of a pool of 5");
    is_whole(&postgres, &plimsoll);
}

#[test]
fn pgbench_in_session_mode() {
    pgbench_in("session", "--builtin=tpcb-like");
}

#[test]
fn pgbench_in_transaction_mode() {
    pgbench_in("transaction", "--builtin=tpcb-like");
}

#[test]
fn pgbench_in_statement_mode() {
    pgbench_in("statement", "--builtin=select-only");
}
