//! The program under test: started with files of its own in a folder of its own, its log captured.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::process::{Process, Signal, unprivileged, unprivileged_ids};
use crate::{Address, Client, Ini, Login, PATIENCE, Table, TempDir, eventually_ok, free_port};

/// Names another program than the one cargo built.
const TEST_BINARY: &str = "PLIMSOLL_TEST_BINARY";

/// Bytes of the log shown when a test fails.
const LOG_SHOWN_BYTES: usize = 12_000;

/// The program to test: `PLIMSOLL_TEST_BINARY`, or what cargo built.
pub fn binary_of(built: &str) -> PathBuf {
    std::env::var_os(TEST_BINARY).map_or_else(|| PathBuf::from(built), PathBuf::from)
}

/// A running pooler, killed when dropped.
#[derive(Debug)]
pub struct Plimsoll {
    process: Process,
    program: PathBuf,
    port: u16,
    // Last: the folder goes after the process.
    dir: TempDir,
}

impl Plimsoll {
    /// Starts the program and waits until its port accepts.
    ///
    /// # Panics
    /// It ends instead.
    #[track_caller]
    pub fn start(built: &str, ini: &Ini) -> Plimsoll {
        Plimsoll::start_limited(built, ini, None)
    }

    /// The same with at most so many file descriptors.
    ///
    /// # Panics
    /// It ends instead.
    #[track_caller]
    pub fn start_limited(built: &str, ini: &Ini, files_max: Option<u32>) -> Plimsoll {
        for _ in 0..5 {
            let mut plimsoll = Plimsoll::launch(built, ini, files_max);
            if plimsoll.accepts() {
                return plimsoll;
            }
            let log = plimsoll.log();
            assert!(log.contains("in use"), "the pooler ended with {:?}:\n{log}", plimsoll.process.ended());
        }
        panic!("five free ports were all taken by others")
    }

    /// Starts the program with files that must make it end.
    ///
    /// # Panics
    /// It goes on.
    #[track_caller]
    pub fn start_and_fail(built: &str, ini: &Ini) -> (ExitStatus, String) {
        let mut plimsoll = Plimsoll::launch(built, ini, None);
        let status = plimsoll.process.wait(PATIENCE);
        (status, plimsoll.log())
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts another process with these arguments before the file, in the same folder and with the same log: it is
    /// not this one's, yet.
    pub fn second(&self, arguments: &[&str]) -> Process {
        self.second_with(arguments, |_| {})
    }

    /// The same with more to it.
    ///
    /// # Panics
    /// The log cannot be opened.
    pub fn second_with(&self, arguments: &[&str], configure: impl FnOnce(&mut Command)) -> Process {
        let log = File::options().append(true).create(true).open(self.dir.path().join("log"));
        let mut command = unprivileged(&self.program);
        command.args(arguments).arg(self.dir.path().join("plimsoll.ini")).current_dir(self.dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("the folder is ours"));
        configure(&mut command);
        Process::start(&mut command)
    }

    /// Has another process take over (`-R`), which is this one from here on, and waits until it has. The process before
    /// it, which ends when it carries nothing any more.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn take_over(&mut self) -> Process {
        self.take_over_with(|_| {})
    }

    /// The same with more to the command.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn take_over_with(&mut self, configure: impl FnOnce(&mut Command)) -> Process {
        let mark = self.log_mark();
        let mut new = self.second_with(&["-R"], configure);
        eventually_ok("the new process to take over", PATIENCE, || {
            let log = self.log_since(mark);
            if let Some(status) = new.ended() {
                panic!("the new process ended with {status}:\n{log}");
            }
            match log.contains(&format!("[{}] LOG process up: ", new.pid())) {
                true => Ok(()),
                false => Err(log),
            }
        });
        std::mem::replace(&mut self.process, new)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address on 127.0.0.1.
    pub fn address(&self) -> Address {
        Address::v4(self.port)
    }

    /// Its Unix socket.
    pub fn unix_address(&self) -> Address {
        Address::Unix(self.dir.path().join(format!(".s.PGSQL.{}", self.port)))
    }

    /// The folder of its files and its Unix socket.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The ini file.
    pub fn ini_path(&self) -> PathBuf {
        self.dir.path().join("plimsoll.ini")
    }

    /// A login over TCP.
    pub fn login(&self, user: &str, database: &str) -> Login {
        Login::new(self.address(), user, database)
    }

    /// A client over TCP.
    ///
    /// # Panics
    /// Not let in.
    #[track_caller]
    pub fn client(&self, user: &str, database: &str) -> Client {
        self.login(user, database).client()
    }

    /// The admin on the console.
    ///
    /// # Panics
    /// Not let in.
    #[track_caller]
    pub fn console(&self) -> Client {
        let login = self.login("admin", "pgbouncer").password("admin-secret");
        match login.try_client() {
            // Where TLS is a must, it is one over TCP only.
            Err(failure) if failure.to_string().contains("SSL required") => {
                login.at(self.unix_address()).client()
            }
            Ok(client) => client,
            Err(failure) => panic!("the console: {failure}"),
        }
    }

    /// A SHOW on a console session of its own.
    ///
    /// # Panics
    /// It failed.
    #[track_caller]
    pub fn show(&self, what: &str) -> Table {
        let mut console = self.console();
        let table = console.query(&format!("SHOW {what}"));
        console.leave();
        table
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes logged so far, for [`Plimsoll::log_since`].
    pub fn log_mark(&self) -> usize {
        fs::metadata(self.dir.path().join("log")).map_or(0, |found| usize::try_from(found.len()).unwrap_or(0))
    }

    /// What it logged since a mark.
    pub fn log_since(&self, mark: usize) -> String {
        let bytes = fs::read(self.dir.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(mark..).unwrap_or_default()).into_owned()
    }

    /// Waits for a line that contains `part`, and gives it.
    ///
    /// # Panics
    /// It does not come within `bound`.
    #[track_caller]
    pub fn wait_for_log(&self, part: &str, bound: Duration) -> String {
        self.wait_for_log_since(0, part, bound)
    }

    /// The same, after a mark.
    ///
    /// # Panics
    /// It does not come within `bound`.
    #[track_caller]
    pub fn wait_for_log_since(&self, mark: usize, part: &str, bound: Duration) -> String {
        eventually_ok(&format!("{part:?} in the log"), bound, || {
            let log = self.log_since(mark);
            let found = log.lines().find(|line| line.contains(part)).map(String::from);
            found.ok_or_else(|| format!("{} lines without it", log.lines().count()))
        })
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It goes on.
    #[track_caller]
    pub fn wait_exit(&mut self, bound: Duration) -> ExitStatus {
        self.process.wait(bound)
    }

    /// Writes the files anew; what is running does not know yet.
    ///
    /// # Panics
    /// They cannot be written.
    pub fn rewrite(&self, ini: &Ini) {
        let ini = with_places(ini.clone(), self.dir.path(), self.port);
        write_files(&ini, self.dir.path());
    }

    /// Writes the files anew and tells the console RELOAD.
    ///
    /// # Panics
    /// RELOAD fails.
    #[track_caller]
    pub fn reload(&self, ini: &Ini) {
        self.rewrite(ini);
        let mut console = self.console();
        console.query("RELOAD");
        console.leave();
    }

    /// `SELECT 1` as `app` through every named database: the pooler goes on.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn still_works(&self, databases: &[&str]) {
        for database in databases {
            let mut client = self.client("app", database);
            assert_eq!(client.value("SELECT 1"), "1");
            client.leave();
        }
    }

    fn launch(built: &str, ini: &Ini, files_max: Option<u32>) -> Plimsoll {
        let binary = binary_of(built);
        let dir = TempDir::new("pooler");
        let (uid, gid) = unprivileged_ids();
        std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid))
            .expect("root may, and we already own ours");
        let port = free_port();
        write_files(&with_places(ini.clone(), dir.path(), port), dir.path());
        let log = File::options().append(true).create(true).open(dir.path().join("log"));
        let program = reachable(&binary, dir.path());
        let mut command = match files_max {
            Some(count) => {
                let mut command = unprivileged(Path::new("prlimit"));
                command.arg(format!("--nofile={count}:{count}")).arg(&program);
                command
            }
            None => unprivileged(&program),
        };
        command.arg(dir.path().join("plimsoll.ini")).current_dir(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("the folder is ours"));
        Plimsoll { process: Process::start(&mut command), program, port, dir }
    }

    /// Waits until somebody accepts on the port; `false` if the program ended.
    #[track_caller]
    fn accepts(&mut self) -> bool {
        let port = self.port;
        let process = &mut self.process;
        eventually_ok("the pooler to accept", PATIENCE, || match TcpStream::connect(("127.0.0.1", port)) {
            Ok(_) => Ok(true),
            Err(_) if process.ended().is_some() => Ok(false),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Plimsoll {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let mut start = log.len().saturating_sub(LOG_SHOWN_BYTES);
            while !log.is_char_boundary(start) {
                start += 1;
            }
            // Shown beside the panic message; if stderr is closed there is nobody to tell.
            drop(writeln!(std::io::stderr(), "---- log of the pooler\n{}\n----", &log[start..]));
        }
    }
}

fn with_places(ini: Ini, dir: &Path, port: u16) -> Ini {
    let dir = dir.display().to_string();
    let ini = ini
        .set("listen_port", &port.to_string())
        .set("unix_socket_dir", &dir)
        .set("auth_file", &format!("{dir}/userlist.txt"));
    // Many poolers at once would all want the default port; another program than ours knows no [plimsoll].
    if std::env::var_os(TEST_BINARY).is_none() && !ini.says_http() {
        // Behind everything else, so that no line of the test is another one.
        ini.extra("\n[plimsoll]\nhttp_listen = off\n")
    } else {
        ini
    }
}

fn write_files(ini: &Ini, dir: &Path) {
    for (name, text) in [("plimsoll.ini", ini.text()), ("userlist.txt", ini.userlist())] {
        let path = dir.join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// The binary, or a copy of it where the unprivileged user cannot reach it (a home folder of root's, say).
fn reachable(binary: &Path, dir: &Path) -> PathBuf {
    let test = unprivileged(Path::new("test")).arg("-x").arg(binary).status();
    if test.is_ok_and(|status| status.success()) {
        return binary.to_path_buf();
    }
    let copy = dir.join("program");
    if fs::hard_link(binary, &copy).is_err() {
        fs::copy(binary, &copy).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    }
    copy
}

/// A program that is no pooler, started by the same user as the pooler; its output goes to this file.
///
/// # Panics
/// It cannot be started.
#[track_caller]
pub fn start_beside(program: &Path, output: &Path, configure: impl FnOnce(&mut Command)) -> Process {
    let mut command = unprivileged(program);
    configure(&mut command);
    let file = File::create(output).unwrap_or_else(|error| panic!("{}: {error}", output.display()));
    let errors = file.try_clone().expect("a descriptor to spare");
    Process::start(command.stdin(Stdio::null()).stdout(file).stderr(errors))
}

/// A program that is no pooler, run to its end by the same user as the pooler: its exit status and output.
///
/// # Panics
/// It cannot be started.
#[track_caller]
pub fn run_beside(program: &str, configure: impl FnOnce(&mut Command)) -> (ExitStatus, String) {
    let mut command = unprivileged(Path::new(program));
    configure(&mut command);
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8_lossy(&text).into_owned())
}
