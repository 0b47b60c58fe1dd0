//! A program we started: signals, memory, descriptors, its end.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use crate::{eventually_ok, sys};

/// The signals tests send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGQUIT.
    Quit,
    /// SIGTERM.
    Terminate,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

impl Signal {
    pub(crate) fn number(self) -> i32 {
        match self {
            Signal::Hangup => libc::SIGHUP,
            Signal::Interrupt => libc::SIGINT,
            Signal::Quit => libc::SIGQUIT,
            Signal::Terminate => libc::SIGTERM,
            Signal::User1 => libc::SIGUSR1,
            Signal::User2 => libc::SIGUSR2,
            Signal::Kill => libc::SIGKILL,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        }
    }
}

/// A child process, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts a command.
    ///
    /// # Panics
    /// It cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Process {
        match command.spawn() {
            Ok(child) => Process { child, status: None },
            Err(error) => panic!("cannot start {command:?}: {error}"),
        }
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            sys::kill(self.pid(), signal.number());
        }
    }

    /// Its exit status once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("it is our child");
        }
        self.status
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It goes on for longer than `bound`.
    #[track_caller]
    pub fn wait(&mut self, bound: Duration) -> ExitStatus {
        eventually_ok("the process to end", bound, || self.ended().ok_or_else(|| String::from("it runs")))
    }

    /// Proportional share of memory (PSS) in bytes, page tables not included.
    ///
    /// # Panics
    /// It has ended.
    pub fn pss_bytes(&self) -> u64 {
        self.kib_of("smaps_rollup", "Pss:") * 1024
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// It has ended.
    pub fn rss_bytes(&self) -> u64 {
        self.kib_of("status", "VmRSS:") * 1024
    }

    /// The most resident memory there ever was, in bytes.
    ///
    /// # Panics
    /// It has ended.
    pub fn rss_peak_bytes(&self) -> u64 {
        self.kib_of("status", "VmHWM:") * 1024
    }

    /// Open file descriptors.
    ///
    /// # Panics
    /// It has ended.
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.pid());
        fs::read_dir(&path).unwrap_or_else(|error| panic!("{path}: {error}")).count()
    }

    /// CPU time used so far, user and system, in clock ticks (100 a second).
    ///
    /// # Panics
    /// It has ended.
    pub fn cpu_ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.pid());
        let stat = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        // The name in brackets may hold blanks; utime and stime are the 12th and 13th field after it.
        let after = stat.rsplit_once(") ").expect("a name in brackets").1;
        after.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
    }

    fn kib_of(&self, file: &str, key: &str) -> u64 {
        let path = format!("/proc/{}/{file}", self.pid());
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = text.lines().find(|line| line.starts_with(key));
        let number = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("{path} has no {key}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            sys::kill(self.pid(), libc::SIGKILL);
            // Bounded by the kernel: a killed process ends.
            self.status = self.child.wait().ok();
        }
    }
}

/// Waits until a process that is not our child is gone.
///
/// # Panics
/// It goes on for longer than `bound`.
#[track_caller]
pub(crate) fn wait_gone(pid: u32, bound: Duration) {
    let path = format!("/proc/{pid}");
    let end = Instant::now() + bound;
    eventually_ok("a process to be gone", end - Instant::now(), || {
        if fs::metadata(&path).is_err() { Ok(()) } else { Err(format!("{pid} is there")) }
    });
}

/// A command that runs as an unprivileged user where we are root, and dies with us in any case. `PLIMSOLL_TEST_USER`
/// names the user, else `postgres`.
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    // SIGQUIT ends PostgreSQL and the pooler at once, and lets them remove what they made.
    command.args(["--pdeathsig", "QUIT"]);
    if sys::uid() == 0 {
        let user = user();
        command.args([format!("--reuid={user}"), format!("--regid={user}")]).arg("--init-groups");
    }
    command.arg(program);
    command
}

/// User and group ids of who [`unprivileged`] commands run as.
///
/// # Panics
/// There is no such user.
pub fn unprivileged_ids() -> (u32, u32) {
    let id = |flag: &str| -> u32 {
        let mut command = Command::new("id");
        command.arg(flag);
        if sys::uid() == 0 {
            command.arg(user());
        }
        let output = command.output().expect("id is everywhere");
        let text = String::from_utf8_lossy(&output.stdout);
        text.trim().parse().unwrap_or_else(|_| panic!("no such user: {}", user()))
    };
    (id("-u"), id("-g"))
}

fn user() -> String {
    std::env::var("PLIMSOLL_TEST_USER").unwrap_or_else(|_| String::from("postgres"))
}
