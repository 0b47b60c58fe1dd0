//! `pidfile`: one process for each, and gone when the process ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys;

/// A pidfile that is ours. Removes itself when dropped.
#[derive(Debug)]
pub(crate) struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes it.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub(crate) fn write(path: &Path) -> Result<Pidfile, String> {
        let named = |error: io::Error| format!("could not write pidfile '{}': {error}", path.display());
        let mut file = File::options().write(true).create_new(true).open(path).map_err(named)?;
        let pidfile = Pidfile(path.to_path_buf());
        writeln!(file, "{}", std::process::id()).map_err(named)?;
        Ok(pidfile)
    }
}

impl Pidfile {
    /// Takes it over from the process before this one: it names this one from here on, and at no moment none.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn take_over(path: &Path) -> Result<Pidfile, String> {
        let named = |error: io::Error| format!("could not write pidfile '{}': {error}", path.display());
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        fs::write(&fresh, format!("{}\n", std::process::id())).map_err(named)?;
        fs::rename(&fresh, path).map_err(named)?;
        Ok(Pidfile(path.to_path_buf()))
    }

    fn is_ours(&self) -> bool {
        fs::read_to_string(&self.0).is_ok_and(|text| text.trim().parse() == Ok(std::process::id()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if !self.is_ours() && self.0.exists() {
            // Another process has taken over.
            return;
        }
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!("could not remove pidfile '{}': {error}", self.0.display());
        }
    }
}

/// Makes sure that no other process has the pidfile, and removes one that was left behind.
///
/// # Errors
/// Another process has it, or it cannot be told.
pub(crate) fn free(path: &Path) -> Result<(), String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("could not read pidfile '{}': {error}", path.display())),
    };
    match text.trim().parse() {
        // In a container the process that was killed had the same id as this one.
        Ok(pid) if pid == std::process::id() || !sys::is_alive(pid) => fs::remove_file(path)
            .map_err(|error| format!("could not remove stale pidfile '{}': {error}", path.display())),
        Ok(_) | Err(_) => Err(format!("pidfile '{}' exists, another instance running?", path.display())),
    }
}

#[cfg(test)]
mod tests;
