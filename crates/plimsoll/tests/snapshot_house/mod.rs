//! Snapshots on the command line, and folders and disks for the black box: of the pooler's user, full, frozen.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use plimsoll_testkit::{Client, Plimsoll, TempDir, binary_of, run_beside};
use serde_json::Value;

use crate::common::BINARY;

/// Names of files in a folder.
pub(crate) fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Those that were taken for a reason, by their time.
pub(crate) fn of_reason(dir: &Path, reason: &str) -> Vec<PathBuf> {
    let end = format!(".{reason}.json");
    names(dir).iter().filter(|name| name.ends_with(&end)).map(|name| dir.join(name)).collect()
}

/// A whole document.
#[track_caller]
pub(crate) fn document(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap();
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(value["plimsoll_snapshot"], 1);
    value
}

/// The command line; its status and output.
pub(crate) fn run(words: &[&str]) -> (i32, String) {
    let program = binary_of(BINARY).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(words).current_dir("/");
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "HOME", "COLUMNS"] {
            command.env_remove(name);
        }
    });
    (status.code().unwrap_or(-1), output)
}

/// The same of this pooler.
pub(crate) fn by_config(plimsoll: &Plimsoll, words: &[&str]) -> (i32, String) {
    let path = plimsoll.ini_path().display().to_string();
    run(&[words, &["--config", &path]].concat())
}

/// Takes a snapshot into a file.
#[track_caller]
pub(crate) fn snapshot(plimsoll: &Plimsoll, dir: &Path, name: &str) -> String {
    let (code, output) = by_config(plimsoll, &["snapshot"]);
    assert_eq!(code, 0, "{output}");
    let path = dir.join(name);
    fs::write(&path, output).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path.display().to_string()
}

/// Objects of this kind, of `--json`.
pub(crate) fn objects(output: &str, kind: &str) -> Vec<Value> {
    let values = output
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    values.filter(|value| value["kind"] == kind).collect()
}

/// A client that calls itself so.
pub(crate) fn app(plimsoll: &Plimsoll, name: &str) -> Client {
    plimsoll.login("app", "p0").parameter("application_name", name).client()
}

/// Gives a folder to whoever owns another one.
fn own(dir: &Path, like: &Path) {
    let owner = fs::metadata(like).unwrap();
    std::os::unix::fs::chown(dir, Some(owner.uid()), Some(owner.gid())).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A folder for whoever the programs under test run as.
pub(crate) fn box_folder() -> TempDir {
    let (_, id) = run_beside("sh", |command| {
        command.args(["-c", "id -u; id -g"]);
    });
    let mut ids = id.lines().map(|line| line.parse::<u32>().unwrap());
    let dir = TempDir::new("snapshots");
    std::os::unix::fs::chown(dir.path(), ids.next(), ids.next()).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    dir
}

/// A small file system; unmounted when dropped.
pub(crate) struct TinyDisk(TempDir);

impl TinyDisk {
    /// `None` where nobody may mount anything, which is said.
    pub(crate) fn mount(like: &Path) -> Option<TinyDisk> {
        let dir = TempDir::new("tiny");
        let mounted = dir.path().join("disk");
        fs::create_dir(&mounted).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&mounted)
            .output()
            .unwrap();
        if !done.status.success() {
            let why = String::from_utf8_lossy(&done.stderr).into_owned();
            let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
            let required = std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!(required && is_root), "no file system can be mounted: {why}");
            tell_passed_over(&why);
            return None;
        }
        own(&mounted, like);
        Some(TinyDisk(dir))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }
}

fn tell_passed_over(why: &str) {
    use std::io::Write;
    // If stderr is closed there is nobody to tell.
    drop(writeln!(std::io::stderr(), "passed over, as no file system can be mounted here: {why}"));
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // Nobody has a file open there any more; if somebody has, the mount goes with the last one.
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}

/// A file system that can be frozen; let go and unmounted when dropped.
pub(crate) struct Freezer {
    dir: TempDir,
    /// Lets it go if this process does not come to it.
    thawing: Option<Child>,
}

impl Freezer {
    /// `None` where nobody may mount anything, which is said.
    pub(crate) fn mount(like: &Path) -> Option<Freezer> {
        let dir = TempDir::new("freezer");
        let (image, mounted) = (dir.path().join("image"), dir.path().join("disk"));
        fs::create_dir(&mounted).unwrap();
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let made =
            Command::new("mkfs.ext4").arg("-q").arg(&image).status().is_ok_and(|status| status.success());
        let mount = || Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mounted).status();
        if !made || !mount().is_ok_and(|status| status.success()) {
            let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
            let required = std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!(required && is_root), "no file system can be mounted");
            tell_passed_over("mkfs.ext4 or mount -o loop failed");
            return None;
        }
        own(&mounted, like);
        Some(Freezer { dir, thawing: None })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    pub(crate) fn freeze(&mut self) {
        let mut thawing = Command::new("setsid");
        thawing.args(["sh", "-c", "sleep 60; exec fsfreeze --unfreeze \"$0\""]).arg(self.path());
        thawing.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.thawing = Some(thawing.spawn().unwrap());
        assert!(Command::new("fsfreeze").arg("--freeze").arg(self.path()).status().unwrap().success());
    }

    pub(crate) fn thaw(&mut self) {
        let Some(mut thawing) = self.thawing.take() else { return };
        drop(Command::new("fsfreeze").arg("--unfreeze").arg(self.path()).status());
        // All of its session, which has its number.
        drop(Command::new("kill").args(["-KILL", "--", &format!("-{}", thawing.id())]).status());
        drop(thawing.wait());
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        drop(Command::new("umount").arg("-l").arg(self.path()).status());
    }
}
