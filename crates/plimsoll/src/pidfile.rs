//! `pidfile`: one process for each, and gone when the process ends.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::sys;

/// What this process has of it.
#[derive(Debug)]
pub(crate) enum Mark {
    /// There is to be none.
    Nowhere,
    /// The file.
    Own(Pidfile),
    /// The file will be ours when everything has been taken over from the process that has it.
    Beside(Claim),
}

impl Mark {
    /// Writes it; or, where another process is to be taken over, beside it.
    ///
    /// # Errors
    /// It is there already, or cannot be written.
    pub(crate) fn set(path: Option<&Path>, old: Option<u32>) -> Result<Mark, String> {
        Ok(match (path, old) {
            (None, _) => Mark::Nowhere,
            (Some(path), None) => Mark::Own(Pidfile::write(path)?),
            (Some(path), Some(_)) => Mark::Beside(Claim::write(path)?),
        })
    }

    /// Everything has been taken over: from here on the file names this process.
    pub(crate) fn taken(self) -> Mark {
        let Mark::Beside(claim) = self else { return self };
        match claim.take() {
            Ok(pidfile) => Mark::Own(pidfile),
            Err(why) => {
                // There is no way back.
                tracing::warn!("{why}");
                Mark::Nowhere
            }
        }
    }

    /// Another process has taken everything over, and writes `its`: the same file is left to it.
    pub(crate) fn leave_to(self, its: Option<&Path>) {
        match self {
            // Even if it still names this process: the other one may write it at any moment.
            Mark::Own(pidfile) if its.is_some_and(|its| is_same(its, &pidfile.0)) => {
                std::mem::forget(pidfile)
            }
            Mark::Own(_) | Mark::Beside(_) | Mark::Nowhere => {}
        }
    }
}

/// A pidfile that is ours. Removes itself when dropped.
#[derive(Debug)]
pub(crate) struct Pidfile(PathBuf);

impl Pidfile {
    /// Writes it.
    fn write(path: &Path) -> Result<Pidfile, String> {
        write_new(path, path)?;
        Ok(Pidfile(path.to_path_buf()))
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if !is_ours(&self.0) && self.0.exists() {
            // Another process has taken over.
            return;
        }
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!("could not remove pidfile '{}': {error}", self.0.display());
        }
    }
}

/// A file beside the pidfile, which has our id already. Removes itself when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    fresh: PathBuf,
    path: PathBuf,
}

impl Claim {
    /// Writes it. What lies there is of a process that did not get to its end.
    fn write(path: &Path) -> Result<Claim, String> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let fresh = PathBuf::from(fresh);
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(format!("could not remove '{}': {error}", fresh.display()));
            }
            Ok(()) | Err(_) => {}
        }
        write_new(&fresh, path)?;
        Ok(Claim { fresh, path: path.to_path_buf() })
    }

    /// Puts it in the place of the file: at no moment there is none.
    fn take(self) -> Result<Pidfile, String> {
        fs::rename(&self.fresh, &self.path)
            .map_err(|error| format!("could not write pidfile '{}': {error}", self.path.display()))?;
        Ok(Pidfile(self.path.clone()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if is_ours(&self.fresh)
            && let Err(error) = fs::remove_file(&self.fresh)
        {
            tracing::warn!("could not remove '{}': {error}", self.fresh.display());
        }
    }
}

/// Writes our id into a file that is not there yet: a link that somebody has put there is not followed.
fn write_new(file: &Path, pidfile: &Path) -> Result<(), String> {
    let named = |error: io::Error| format!("could not write pidfile '{}': {error}", pidfile.display());
    let mut opened = File::options().write(true).create_new(true).open(file).map_err(named)?;
    writeln!(opened, "{}", std::process::id()).map_err(|error| {
        // It is of no use, and in the way of whoever tries again.
        let _ = fs::remove_file(file);
        named(error)
    })
}

fn is_ours(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.trim().parse() == Ok(std::process::id()))
}

/// Whether both name the same file, by whatever way.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| {
        let path = std::path::absolute(path).ok()?;
        Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?))
    };
    one == other || place(one).is_some_and(|place_of_one| Some(place_of_one) == place(other))
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
