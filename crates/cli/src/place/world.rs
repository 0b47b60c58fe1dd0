//! What is looked at outside: environment, files, who owns a socket.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bits of a mode that let group and others in.
const OTHERS: u32 = 0o077;

/// The outside, as far as it says where the pooler is.
pub(crate) trait World {
    /// A variable of the environment; an empty one is none.
    fn var(&self, name: &str) -> Option<String>;
    /// A file's text.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Whether there is such a file.
    fn exists(&self, path: &Path) -> bool;
    /// Whether the file belongs to the user we run as.
    fn owns(&self, path: &Path) -> bool;
    /// Whether nobody but its owner may read the file.
    fn is_private(&self, path: &Path) -> bool;
}

/// The real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System;

impl World for System {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn owns(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw())
    }

    fn is_private(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|found| found.mode() & OTHERS == 0)
    }
}

/// The pgpass file: PGPASSFILE, else the one in the home folder.
pub(super) fn pgpass_path(world: &dyn World) -> Option<PathBuf> {
    let named = world.var("PGPASSFILE").map(PathBuf::from);
    named.or_else(|| world.var("HOME").map(|home| Path::new(&home).join(".pgpass")))
}
