//! The temporary file without a name: nothing is left of it when the process ends, however it ends.
//!
//! All spills share one, each with slots of its own, so that however many there are, they take one file descriptor: the
//! others are for connections.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};

use super::chunk::SLOT_BYTES;
use super::gauge::Charge;

/// File systems that are memory (`linux/magic.h`): tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Only its owner reads such a file while it has a name.
const MODE: u32 = 0o600;

/// What the names begin with which files have for a moment where the file system cannot do without.
const PREFIX: &str = ".plimsoll-spill-";

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
    /// The system says nothing.
    #[error("the disk has not answered for {seconds} s")]
    Silent {
        /// For how long so far.
        seconds: u64,
    },
    /// The chunk cannot be encrypted.
    #[error("a chunk cannot be encrypted")]
    Seal,
}

/// The file of all spills that began since its folder was named. Only the thread for files opens, writes, reads and
/// closes it.
pub(super) struct SpillFile {
    dir: Arc<Path>,
    file: Mutex<Option<File>>,
    slots: Mutex<Slots>,
}

/// The places of a file, each of them for one chunk.
#[derive(Default)]
struct Slots {
    free: Vec<u32>,
    /// How many there are, free or not.
    count: u32,
    /// What those that are not free take of the budget, one for each.
    charges: Vec<Charge>,
}

impl SpillFile {
    /// One that is opened when it is first written.
    pub(super) fn new(dir: &Path) -> Arc<SpillFile> {
        Arc::new(SpillFile { dir: dir.into(), file: Mutex::new(None), slots: Mutex::default() })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A place nobody has.
    pub(super) fn take(&self, charge: Charge) -> u32 {
        let mut slots = self.slots.lock();
        slots.charges.push(charge);
        slots.free.pop().unwrap_or_else(|| {
            slots.count += 1;
            slots.count - 1
        })
    }

    /// These places are free again, and so is what they take of the disk. Blocks; nothing may be on its way to or from
    /// them.
    pub(super) fn give(&self, mut given: Vec<u32>) {
        given.sort_unstable();
        if let Some(file) = &*self.file.lock() {
            for run in given.chunk_by(|one, next| *next == one + 1) {
                let bytes = run.len() as u64 * SLOT_BYTES as u64;
                // A file system that cannot has its room back when the last spill of the file is over.
                let _ = fallocate(
                    file,
                    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    offset(run[0]),
                    bytes,
                );
            }
        }
        let mut slots = self.slots.lock();
        let left = slots.charges.len().saturating_sub(given.len());
        slots.charges.truncate(left);
        slots.free.append(&mut given);
        let unused = if left == 0 {
            *slots = Slots::default();
            self.file.lock().take()
        } else {
            None
        };
        // A worker that wants a place does not wait for the system to close the file.
        drop(slots);
        drop(unused);
    }

    pub(super) fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), Trouble> {
        let mut file = self.file.lock();
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(open(&self.dir)?),
        };
        file.write_all_at(bytes, offset(slot)).map_err(|source| system(&self.dir, source))
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

fn system(dir: &Path, source: io::Error) -> Trouble {
    Trouble::System { dir: dir.to_path_buf(), source }
}

/// Whether a chunk can be written to a file there.
pub(super) fn try_out(dir: &Path) -> Result<(), Trouble> {
    open(dir)?.write_all_at(&vec![0; SLOT_BYTES], 0).map_err(|source| system(dir, source))
}

/// A file without a name, on something that is not memory.
pub(super) fn open(dir: &Path) -> Result<File, Trouble> {
    let file = nameless(dir).map_err(|source| system(dir, source))?;
    let stat = rustix::fs::fstatfs(&file).map_err(|errno| system(dir, errno.into()))?;
    // A magic number of 32 bits, whatever the width of the field.
    let kind = stat.f_type as u64 & 0xffff_ffff;
    if IN_MEMORY.contains(&kind) { Err(Trouble::InMemory(dir.to_path_buf())) } else { Ok(file) }
}

/// Removes what a process has left that was killed between making a file and taking its name away. One that is about to
/// do that just now does not mind.
pub(super) fn sweep(dir: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // Other users' files stay.
            let _ = std::fs::remove_file(entry.path());
        }
    }
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
    let name = format!("{PREFIX}{:016x}", u64::from_le_bytes(crate::random::bytes()));
    let path = dir.join(name);
    let file = options.create_new(true).open(&path)?;
    match std::fs::remove_file(&path) {
        // A process that has just started has swept it away.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(file),
        removed => removed.map(|()| file),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::path::Path;
    use std::sync::Arc;

    use super::super::chunk::SLOT_BYTES;
    use super::super::gauge::Gauge;
    use super::{MODE, PREFIX, SpillFile, Trouble, open, sweep, unlinked};

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

    #[test]
    fn what_a_killed_process_has_left_is_swept_away() {
        let dir = std::env::temp_dir().join(format!("plimsoll-sweep-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        for name in [format!("{PREFIX}0123456789abcdef"), "other".to_string()] {
            std::fs::write(dir.join(name), b"text").expect("written");
        }
        sweep(&dir);
        let left: Vec<_> =
            std::fs::read_dir(&dir).expect("readable").flatten().map(|e| e.file_name()).collect();
        assert_eq!(left, ["other"]);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[test]
    fn places_that_are_given_back_take_no_room() {
        let dir = Path::new("/var/tmp");
        open(dir).expect("/var/tmp takes files and is not in memory");
        let gauge = Arc::new(Gauge::default());
        gauge.set_max(4 * SLOT_BYTES);
        let file = SpillFile::new(dir);
        let slots: Vec<u32> =
            (0..4).map(|_| file.take(gauge.reserve(SLOT_BYTES).expect("there is room"))).collect();
        assert!(gauge.reserve(1).is_none());
        for slot in &slots {
            file.write(*slot, &[7; SLOT_BYTES]).expect("written");
        }
        let blocks = |file: &SpillFile| {
            file.file.lock().as_ref().map(|file| file.metadata().expect("it is open").blocks())
        };
        let full = blocks(&file).expect("it is open");
        file.give(vec![slots[2], slots[0], slots[1]]);
        assert_eq!(gauge.load().0, SLOT_BYTES as u64);
        assert!(blocks(&file).is_some_and(|left| left < full / 2));
        let mut kept = [0; SLOT_BYTES];
        file.read(slots[3], &mut kept).expect("it is there");
        assert_eq!(kept, [7; SLOT_BYTES]);
        file.give(vec![slots[3]]);
        assert_eq!((gauge.load().0, blocks(&file)), (0, None));
    }
}
