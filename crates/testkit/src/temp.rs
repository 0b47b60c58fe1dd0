//! Folders that go away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys;

/// A folder of its own below the system's folder for temporary files, removed when dropped. Everybody may enter it:
/// as root the programs under test run as another user.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one; `what` is part of its name.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn new(what: &str) -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = base().join(format!("{what}-{}-{number}", std::process::id()));
        // A leftover of an earlier process with the same number.
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        TempDir(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nobody can be told; the next run of the same number removes it.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The folder of all our folders, one per user.
///
/// # Panics
/// It cannot be made, or belongs to somebody else.
pub(crate) fn base() -> PathBuf {
    let path = std::env::temp_dir().join(format!("plimsoll-tests-{}", sys::uid()));
    if let Err(error) = fs::create_dir(&path) {
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "cannot make {}", path.display());
    }
    let found = fs::symlink_metadata(&path).expect("it was just made");
    assert!(found.is_dir(), "{} is not a folder", path.display());
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&found), sys::uid(), "{} is not ours", path.display());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}
