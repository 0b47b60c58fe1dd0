//! Where log lines go.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::syslog::Syslog;

/// Whether the log is written to standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// It is.
    Shown,
    /// It is not (`-q`, `-d`).
    Quiet,
}

/// Standard error, the log file and the system's log.
#[derive(Debug)]
pub(super) struct Sink {
    terminal: Terminal,
    file: Mutex<Option<File>>,
    syslog: Mutex<Option<Syslog>>,
}

impl Sink {
    pub(super) fn open(terminal: Terminal, file: Option<&Path>) -> io::Result<Sink> {
        Ok(Sink { terminal, file: Mutex::new(file.map(append).transpose()?), syslog: Mutex::new(None) })
    }

    /// Whether, and how, lines go to the system's log from now on.
    pub(super) fn set_syslog(&self, syslog: Option<Syslog>) {
        *self.syslog.lock().unwrap_or_else(PoisonError::into_inner) = syslog;
    }

    /// Opens the file anew, because it was moved away or has another name now. Keeps the old one when that fails.
    pub(super) fn reopen(&self, file: Option<&Path>) -> io::Result<()> {
        let new = file.map(append).transpose()?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    let file = File::options().append(true).create(true).open(path);
    file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl Write for &Sink {
    /// Takes a whole line. That it cannot be written anywhere must not disturb anybody, so there are no errors.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.terminal {
            Terminal::Shown => {
                let _ = io::stderr().write_all(line);
            }
            Terminal::Quiet => {}
        }
        if let Some(file) = self.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let _ = file.write_all(line);
        }
        if let Some(syslog) = self.syslog.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            syslog.send(&String::from_utf8_lossy(line));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
