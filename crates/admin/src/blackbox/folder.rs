//! The folder of the black box: files in it are whole or not there, ours or not touched.
//!
//! Everything happens relative to the open folder, and no symbolic link in it is ever followed. A file is written under
//! another name, made durable, renamed, and the rename made durable: whoever kills the process at any moment leaves the
//! files that were there, and at most one unfinished one that the next start sweeps away.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use plimsoll_ledger::snapshot::SNAPSHOT_BYTES_MAX;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

use super::name::{Group, Key, Name};

/// Only its owner reads or writes a snapshot.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A folder we make.
const FOLDER_MODE: Mode = Mode::RWXU;

/// Bits of a mode that let others write.
const OTHERS_WRITE: u32 = 0o022;

/// What a file system gives at once, bytes, for most of them.
const BLOCK_BYTES: u64 = 4096;

/// How often a file is begun again that somebody swept away: a process with the same name that has just started.
const TRIES: usize = 2;

/// Why nothing can be kept there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Somebody else could put files there, or take ours away.
    #[error("{} belongs to another user", .0.display())]
    NotOurs(PathBuf),
    /// Others may write there.
    #[error("others may write to {} (chmod go-w)", .0.display())]
    Shared(PathBuf),
    /// The system says no.
    #[error("{}: {source}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A kept snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: Name,
    pub(super) bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    dir: OwnedFd,
}

/// Whether a folder that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

impl Trouble {
    /// Whether there would be none if there were less in the folder.
    pub(super) fn is_want_of_room(&self) -> bool {
        match self {
            Trouble::NotOurs(_) | Trouble::Shared(_) => false,
            Trouble::System { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
        }
    }
}

impl Folder {
    /// Opens it, if it is ours.
    pub(super) fn open(path: &Path, missing: Missing) -> Result<Folder, Trouble> {
        let system =
            |source: rustix::io::Errno| Trouble::System { path: path.to_path_buf(), source: source.into() };
        let open = || {
            rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        };
        let dir = match (open(), missing) {
            (Err(rustix::io::Errno::NOENT), Missing::Make) => {
                rustix::fs::mkdirat(CWD, path, FOLDER_MODE).map_err(system)?;
                open()
            }
            (opened, _) => opened,
        };
        let dir = dir.map_err(system)?;
        let stat = rustix::fs::fstat(&dir).map_err(system)?;
        if stat.st_uid != our_id() {
            return Err(Trouble::NotOurs(path.to_path_buf()));
        }
        if stat.st_mode & OTHERS_WRITE != 0 {
            return Err(Trouble::Shared(path.to_path_buf()));
        }
        Ok(Folder { path: path.to_path_buf(), dir })
    }

    /// Whether files can be made in it.
    pub(super) fn is_writable(&self) -> bool {
        rustix::fs::accessat(&self.dir, ".", rustix::fs::Access::WRITE_OK, AtFlags::EACCESS).is_ok()
    }

    /// Puts a whole file there, durably. `instance` tells unfinished files of two processes apart.
    pub(super) fn put(&self, name: &Name, instance: &str, text: &[u8]) -> Result<(), Trouble> {
        let part = name.part(instance);
        let mut last = Ok(());
        for _ in 0..TRIES {
            last = self.put_once(&part, &name.text, text);
            match &last {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Ok(()) | Err(_) => break,
            }
        }
        if last.is_err() {
            // A full disk has room again for the next one.
            let _ = rustix::fs::unlinkat(&self.dir, part.as_str(), AtFlags::empty());
        }
        last.map_err(|source| self.trouble(source))
    }

    fn put_once(&self, part: &str, name: &str, text: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.dir, part, flags, FILE_MODE)?);
        file.write_all(text)?;
        file.sync_all()?;
        drop(file);
        rustix::fs::renameat(&self.dir, part, &self.dir, name)?;
        rustix::fs::fsync(&self.dir)?;
        Ok(())
    }

    /// The snapshots of one pooler, in the order of their times.
    pub(super) fn list(&self, key: &Key) -> Result<Vec<Kept>, Trouble> {
        let mut kept: Vec<Kept> = Vec::new();
        for name in self.names()? {
            let Some(name) = Name::parse(key, &name) else { continue };
            if let Some(bytes) = self.own_file(&name.text) {
                kept.push(Kept { name, bytes });
            }
        }
        kept.sort_by(|one, other| one.name.text.cmp(&other.name.text));
        Ok(kept)
    }

    /// Removes what an earlier process has left unfinished.
    pub(super) fn sweep(&self, key: &Key) -> Result<(), Trouble> {
        for name in self.names()?.into_iter().filter(|name| key.is_part(name)) {
            self.remove(&name);
        }
        Ok(())
    }

    /// Removes a file, if it is ours.
    pub(super) fn remove(&self, name: &str) {
        if self.own_file(name).is_some() {
            // It may be gone already; what cannot be removed is found again the next time.
            let _ = rustix::fs::unlinkat(&self.dir, name, AtFlags::empty());
        }
    }

    /// A file's content.
    pub(super) fn read(&self, name: &Name) -> Result<Vec<u8>, Trouble> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.dir, name.text.as_str(), flags, Mode::empty());
        let file = file.map_err(|errno| self.trouble(errno.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.trouble(errno.into()))?;
        if stat.st_uid != our_id() || !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Trouble::NotOurs(self.path.join(&name.text)));
        }
        let mut bytes = Vec::new();
        // One byte more than there may be: whoever reads it sees that it is too long.
        let read = File::from(file).take(SNAPSHOT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|source| self.trouble(source))?;
        Ok(bytes)
    }

    fn names(&self) -> Result<Vec<String>, Trouble> {
        let dir = Dir::read_from(&self.dir).map_err(|errno| self.trouble(errno.into()))?;
        let mut names = Vec::new();
        for entry in dir {
            let entry = entry.map_err(|errno| self.trouble(errno.into()))?;
            if let Ok(name) = entry.file_name().to_str() {
                names.push(name.to_string());
            }
        }
        Ok(names)
    }

    /// Bytes of a file that is a file and ours.
    fn own_file(&self, name: &str) -> Option<u64> {
        let stat = rustix::fs::statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_ours = stat.st_uid == our_id() && FileType::from_raw_mode(stat.st_mode).is_file();
        is_ours.then(|| u64::try_from(stat.st_size).unwrap_or(0))
    }

    fn trouble(&self, source: io::Error) -> Trouble {
        Trouble::System { path: self.path.clone(), source }
    }
}

fn our_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Which of these are too many: of those that the time made all but the newest `periodic`, of the others all but the
/// newest `special`; never `new`.
pub(super) fn surplus<'a>(kept: &'a [Kept], new: &Name, periodic: usize, special: usize) -> Vec<&'a Kept> {
    let choose = |group: Group, max: usize| {
        let mut these = by_age(kept, new, group);
        these.truncate(these.len().saturating_sub(max));
        these.retain(|kept| kept.name != *new);
        these
    };
    [choose(Group::Periodic, periodic), choose(Group::Special, special)].concat()
}

/// Which of those that the time made go, the oldest first, so that there is room for so many bytes of `new`; the newest
/// `least` stay.
pub(super) fn for_room<'a>(kept: &'a [Kept], new: &Name, bytes: u64, least: usize) -> Vec<&'a Kept> {
    let mut these = by_age(kept, new, Group::Periodic);
    these.truncate(these.len().saturating_sub(least));
    let mut freed = 0_u64;
    // The folder's own entries take some room, too.
    let wanted = bytes.saturating_add(BLOCK_BYTES);
    these.retain(|kept| {
        let is_needed = freed < wanted;
        if is_needed {
            freed = freed.saturating_add(kept.bytes);
        }
        is_needed
    });
    these
}

/// The oldest first. Those that say they are of the future are older than all others: whoever sets the clock back must
/// not lose what is taken from then on.
fn by_age<'a>(kept: &'a [Kept], new: &Name, group: Group) -> Vec<&'a Kept> {
    let mut these: Vec<&Kept> = kept.iter().filter(|kept| kept.name.group() == group).collect();
    these.sort_by_key(|kept| (kept.name.taken <= new.taken, kept.name.taken));
    these
}
