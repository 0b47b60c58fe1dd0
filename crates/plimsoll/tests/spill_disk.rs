//! Temporary files of results that nobody reads, on disks that are full, slow, gone or not wanted.

#![allow(clippy::unwrap_used)]

mod common;
mod spill_house;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{BINARY, SOON, house};
use plimsoll_testkit::{Batch, Client, Ini, Plimsoll, Postgres, Signal, TempDir, eventually, eventually_ok};
use spill_house::{ROWS, ask, digest, direct, folder, small, spill_dir, wait_for_draining, wait_for_nothing};

/// A file system of a few megabytes; unmounted when dropped.
struct TinyDisk {
    dir: TempDir,
    /// Lets it go again, if it is frozen and this process does not come to it.
    thawing: Option<Child>,
}

impl TinyDisk {
    /// `None` where nobody may mount anything, which is said; a failure where everything is required and it is root who
    /// could not.
    fn mount() -> Option<TinyDisk> {
        let dir = TempDir::new("tiny");
        let (image, mounted) = (dir.path().join("image"), dir.path().join("disk"));
        fs::create_dir(&mounted).unwrap();
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let made = run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()]).and_then(|()| {
            run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), mounted.as_os_str()])
        });
        if let Err(why) = made {
            let required = std::env::var_os("PLIMSOLL_REQUIRE_ALL").is_some_and(|value| value == "1");
            assert!(!(required && may_mount()), "no file system can be mounted: {why}");
            // If stderr is closed there is nobody to tell.
            drop(writeln!(std::io::stderr(), "passed over, as no file system can be mounted here: {why}"));
            return None;
        }
        fs::set_permissions(&mounted, fs::Permissions::from_mode(0o777)).unwrap();
        Some(TinyDisk { dir, thawing: None })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Nothing that is written or made there comes to an end from now on.
    fn freeze(&mut self) {
        let script = "sleep 60; exec fsfreeze --unfreeze \"$0\"";
        let mut thawing = Command::new("setsid");
        thawing.args(["sh", "-c", script]).arg(self.path());
        thawing.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.thawing = Some(thawing.spawn().unwrap());
        run("fsfreeze", &["--freeze".as_ref(), self.path().as_os_str()]).unwrap();
    }

    /// Lets it go. What that comes to does not matter to who only wants it to be over.
    fn thaw(&mut self) -> Result<(), String> {
        let Some(mut thawing) = self.thawing.take() else { return Ok(()) };
        let done = run("fsfreeze", &["--unfreeze".as_ref(), self.path().as_os_str()]);
        // All of its session, which has its number.
        let session = format!("-{}", thawing.id());
        run("kill", &["-KILL".as_ref(), "--".as_ref(), session.as_ref()])?;
        thawing.wait().map_err(|error| error.to_string())?;
        done
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        drop(self.thaw());
        // Nobody has a file open there any more; if somebody has, the mount goes with the last one.
        drop(run("umount", &["-l".as_ref(), self.path().as_os_str()]));
    }
}

/// Runs a program to its end; what it said if that is a failure.
fn run(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{program}: {error}")),
    }
}

/// Whether this process may mount: CAP_SYS_ADMIN is number 21 (capabilities(7)).
fn may_mount() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap().trim();
    u64::from_str_radix(effective, 16).unwrap() >> 21 & 1 == 1
}

#[test]
fn a_full_disk_loses_nothing_and_is_used_again_when_it_is_not_full() {
    let Some(disk) = TinyDisk::mount() else { return };
    let (postgres, plimsoll) =
        house(|ini| spill_dir(small(ini), &disk.path()).own("spill_memory", "1MiB").own("workers", "1"));
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut clients: Vec<Client> = (0..2).map(|_| ask(&plimsoll, ROWS)).collect();
    let told = plimsoll.wait_for_log("no temporary file can be written", SOON);
    assert!(told.contains("No space left on device"), "{told}");
    let store = plimsoll.show("SPILL_STORE");
    assert!(store.cell(0, "disk_trouble").contains("No space left"), "{:?}", store.rows);
    for client in &mut clients {
        assert_eq!(digest(client, 1), wanted);
    }
    wait_for_nothing(&plimsoll);
    assert_eq!(plimsoll.log().matches("no temporary file can be written").count(), 1);
    // Nobody writes, and it is found out all the same that there is room again.
    eventually_ok("a disk without trouble", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        if store.cell(0, "disk_trouble").is_empty() { Ok(()) } else { Err(format!("{:?}", store.rows)) }
    });
}

#[test]
fn a_disk_that_does_not_answer_stops_nobody_who_does_not_need_it() {
    let Some(mut disk) = TinyDisk::mount() else { return };
    let dir = disk.path();
    let ini =
        |ini: Ini| spill_dir(small(ini), &dir).own("spill_memory", "1MiB").set("default_pool_size", "4");
    let (postgres, plimsoll) = house(ini);
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    disk.freeze();
    // A reload tries the folder, and the control thread goes on.
    plimsoll.reload(&ini(Ini::new(&postgres)).user("other", "client_idle_timeout=1").login("other", ""));
    let mut idle = plimsoll.client("other", "p0");
    plimsoll.wait_for_log("client_idle_timeout", SOON);
    idle.expect_closed();
    // Chunks that are on their way keep their client only, and the disk is known not to work.
    let mut reader = ask(&plimsoll, ROWS);
    eventually_ok("a disk that is known not to answer", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        let is_known = store.cell(0, "disk_trouble").contains("has not answered");
        if is_known { Ok(()) } else { Err(format!("{:?}", store.rows)) }
    });
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    disk.thaw().unwrap();
    assert_eq!(digest(&mut reader, 1), wanted);
    wait_for_nothing(&plimsoll);
}

#[test]
fn a_folder_that_takes_no_file_is_told_once_and_memory_is_used() {
    for (dir, why) in
        [("/proc", "/proc: "), ("/dev/shm", "is in memory (tmpfs)"), ("/nowhere", "No such file")]
    {
        let (postgres, plimsoll) = house(|ini| small(ini).own("spill_dir", dir).own("spill_memory", "2MiB"));
        let told = plimsoll.wait_for_log("no temporary file can be written", SOON);
        assert!(told.contains(why) && told.contains("WARNING"), "{told}");
        let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
        let mut client = ask(&plimsoll, ROWS);
        eventually("used up", SOON, || plimsoll.show("SPILL_STORE").number(0, "full") == 1);
        assert_eq!(plimsoll.show("SPILL_STORE").number(0, "disk_bytes"), 0);
        assert_eq!(digest(&mut client, 1), wanted);
        wait_for_nothing(&plimsoll);
        // A reload tries it again, and says nothing that has been said.
        plimsoll.console().query("RELOAD");
        assert!(!plimsoll.show("SPILL_STORE").cell(0, "disk_trouble").is_empty());
        assert_eq!(plimsoll.log().matches("no temporary file can be written").count(), 1, "{dir}");
    }
}

#[test]
fn no_file_is_left_behind_by_a_pooler_that_is_killed() {
    let dir = folder("spill");
    let (_postgres, mut plimsoll) =
        house(|ini| spill_dir(small(ini), dir.path()).own("spill_memory", "1MiB"));
    let _client = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    assert!(plimsoll.show("SPILL_STORE").number(0, "disk_bytes") > 0);
    plimsoll.signal(Signal::Kill);
    plimsoll.wait_exit(SOON);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn without_a_descriptor_for_its_file_nothing_is_lost() {
    let postgres = Postgres::start();
    let ini = small(Ini::new(&postgres)).own("spill_memory", "1MiB").set("max_client_conn", "200");
    let plimsoll = Plimsoll::start_limited(BINARY, &ini, Some(48));
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut client = plimsoll.client("app", "p0");
    client.query("SELECT 1");
    let login = plimsoll.login("app", "p0");
    let others: Vec<Client> = std::iter::from_fn(|| login.try_client().ok()).collect();
    // Connections that say little take what is left.
    let mark = plimsoll.log_mark();
    let more: Vec<Client> = (0..8)
        .map(|_| {
            let mut silent = Client::knock(&plimsoll.address(), SOON).unwrap();
            silent.send(&[0]).unwrap();
            silent
        })
        .collect();
    plimsoll.wait_for_log_since(mark, "accept() failed: Too many open files", SOON);
    client.send(Batch::new().query(ROWS).bytes()).unwrap();
    let told = plimsoll.wait_for_log("no temporary file can be written", SOON);
    assert!(told.contains("Too many open files"), "{told}");
    assert_eq!(digest(&mut client, 1), wanted);
    drop((others, more));
    wait_for_nothing(&plimsoll);
}

/// Open files of a process that have no name any more.
fn nameless_files(pid: u32) -> usize {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let names = files.filter_map(|file| fs::read_link(file.path()).ok());
    names.filter(|name| name.to_string_lossy().ends_with(" (deleted)")).count()
}

#[test]
fn all_spills_share_one_descriptor() {
    let dir = folder("spill");
    let (postgres, mut plimsoll) = house(|ini| spill_dir(small(ini), dir.path()).own("spill_memory", "1MiB"));
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut readers: Vec<Client> = (0..6).map(|_| ask(&plimsoll, ROWS)).collect();
    wait_for_draining(&plimsoll, readers.len());
    let spills = plimsoll.show("SPILLS");
    assert!((0..spills.rows.len()).all(|row| spills.number(row, "disk_bytes") > 0), "{:?}", spills.rows);
    let pid = plimsoll.process().pid();
    assert_eq!(nameless_files(pid), 1);
    // What one of them gives back another one may have; none gets the other's bytes.
    for reader in readers.drain(..3) {
        reader.reset();
    }
    readers.extend((0..3).map(|_| ask(&plimsoll, ROWS)));
    wait_for_draining(&plimsoll, readers.len());
    for reader in &mut readers {
        assert_eq!(digest(reader, 1), wanted);
    }
    wait_for_nothing(&plimsoll);
    assert_eq!(nameless_files(pid), 0);
}

#[test]
fn what_a_killed_pooler_has_left_goes_with_the_next_start() {
    let dir = folder("spill");
    let left = dir.path().join(".plimsoll-spill-0123456789abcdef");
    fs::write(&left, "text").unwrap();
    let (_postgres, plimsoll) = house(|ini| spill_dir(small(ini), dir.path()));
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    assert!(!left.exists());
}
