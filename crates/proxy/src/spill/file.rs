//! Temporary files without a name: nothing is left of them when the process ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::chunk::SLOT_BYTES;
use super::store::Charge;

/// File systems that are memory (`linux/magic.h`): tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Only its owner reads such a file while it has a name.
const MODE: u32 = 0o600;

/// Why a folder takes no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It is in memory, which a spill to disk is to spare.
    #[error("{} is in memory (tmpfs), which is not a disk", .0.display())]
    InMemory(PathBuf),
    /// The system says no.
    #[error("{}: {source}", dir.display())]
    System {
        /// Where.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The chunk cannot be encrypted.
    #[error("a chunk cannot be encrypted")]
    Seal,
}

/// The file of one spill. Only the thread for files opens, writes, reads and closes it.
pub(super) struct SpillFile {
    /// Unique in the process.
    pub(super) number: u64,
    dir: Arc<Path>,
    file: Mutex<Option<File>>,
    /// What its slots take of the budget, until it is closed.
    charges: Mutex<Vec<Charge>>,
}

impl SpillFile {
    /// One that is opened when it is first written.
    pub(super) fn new(number: u64, dir: Arc<Path>) -> SpillFile {
        SpillFile { number, dir, file: Mutex::new(None), charges: Mutex::default() }
    }

    /// It has one slot more.
    pub(super) fn keep(&self, charge: Charge) {
        self.charges.lock().push(charge);
    }

    pub(super) fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), Trouble> {
        let mut file = self.file.lock();
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(open(&self.dir)?),
        };
        file.write_all_at(bytes, offset(slot))
            .map_err(|source| Trouble::System { dir: self.dir.to_path_buf(), source })
    }

    /// Fills `bytes`.
    pub(super) fn read(&self, slot: u32, bytes: &mut [u8]) -> io::Result<()> {
        match &*self.file.lock() {
            Some(file) => file.read_exact_at(bytes, offset(slot)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn offset(slot: u32) -> u64 {
    u64::from(slot) * SLOT_BYTES as u64
}

/// A file without a name, on something that is not memory.
pub(super) fn open(dir: &Path) -> Result<File, Trouble> {
    let system = |source| Trouble::System { dir: dir.to_path_buf(), source };
    let file = nameless(dir).map_err(system)?;
    let stat = rustix::fs::fstatfs(&file).map_err(|errno| system(errno.into()))?;
    // A magic number of 32 bits, whatever the width of the field.
    let kind = stat.f_type as u64 & 0xffff_ffff;
    if IN_MEMORY.contains(&kind) { Err(Trouble::InMemory(dir.to_path_buf())) } else { Ok(file) }
}

fn nameless(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(MODE);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        // File systems and kernels that do not know how to (open(2)).
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {
            unlinked(dir, &mut options)
        }
        other => other,
    }
}

/// The same in two steps.
fn unlinked(dir: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let name = format!(".plimsoll-spill-{:016x}", u64::from_le_bytes(crate::random::bytes()));
    let path = dir.join(name);
    let file = options.create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;

    use super::{MODE, Trouble, open, unlinked};

    #[test]
    fn memory_is_not_a_disk() {
        let shm = Path::new("/dev/shm");
        if shm.is_dir() {
            assert!(matches!(open(shm), Err(Trouble::InMemory(dir)) if dir == shm));
        }
        let trouble = open(Path::new("/nowhere/at/all")).expect_err("there is no such folder");
        assert!(trouble.to_string().starts_with("/nowhere/at/all: No such file"), "{trouble}");
    }

    #[test]
    fn no_name_is_left_behind() {
        let dir = std::env::temp_dir().join(format!("plimsoll-spill-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let mut options = OpenOptions::new();
        let mut file = unlinked(&dir, options.read(true).write(true).mode(MODE)).expect("a file");
        file.write_all(b"text").expect("written");
        assert_eq!(std::fs::read_dir(&dir).expect("readable").count(), 0);
        std::fs::remove_dir(&dir).expect("empty");
    }
}
