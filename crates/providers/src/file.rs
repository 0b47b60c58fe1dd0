//! A secret in a file, as secret stores mount them. Who opens a connection looks at the file; nobody polls it.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_types::Secret;
use rustix::fs::OFlags;

use crate::fetch::{Failure, SECRET_BYTES_MAX};
use crate::lease::Fetched;

/// How long a look may take: the file may be on another machine.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Reads the file. It is small and in the page cache, so reading it costs no more than asking whether it has changed: and
/// a file that is replaced twice within one tick of the file system's clock is seen, too.
pub(crate) async fn fetch(path: PathBuf) -> Result<Fetched, Failure> {
    let reading = tokio::task::spawn_blocking(move || read(&path));
    match tokio::time::timeout(TIMEOUT, reading).await {
        Ok(Ok(secret)) => Ok(Fetched { secret: secret?, life: None }),
        Ok(Err(_broken)) => Err(Failure("the task that read it broke down".to_string())),
        Err(_elapsed) => Err(Failure(format!("not read within {} s", TIMEOUT.as_secs()))),
    }
}

/// The content without the end of its line.
fn read(path: &Path) -> Result<Secret, Failure> {
    let failed = |error: std::io::Error| Failure(format!("cannot read {}: {error}", path.display()));
    // A pipe that nobody writes to would keep us for ever.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Failure(format!("{} is not a regular file", path.display())));
    }
    let mut bytes = Vec::new();
    // One more than fits, so that what is too long shows as that.
    let most = u64::try_from(SECRET_BYTES_MAX).unwrap_or(u64::MAX) + 3;
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Ok(Secret::new(text))
}
