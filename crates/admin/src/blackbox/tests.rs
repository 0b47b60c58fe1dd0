use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use plimsoll_ledger::snapshot::{Head, Recorded, SNAPSHOT_BYTES_MAX};

use super::folder::{Trouble, for_room, surplus};
use super::*;

/// How long anything may take here.
const SOON: Duration = Duration::from_secs(20);

/// A folder that goes away.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("plimsoll-blackbox-{}-{number}", std::process::id()));
        // A leftover of an earlier process with the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("it is ours");
        Scratch(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("readable").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next run removes it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn plan(folder: &Path, interval: Duration) -> Plan {
    let mut plan = Plan::default();
    plan.own.snapshot_dir = SnapshotDir::Folder(folder.to_path_buf());
    plan.own.snapshot_interval = Some(interval);
    plan.own.snapshot_keep = Some(3);
    plan
}

/// A snapshot, each a second after the one before.
fn source() -> Box<Source> {
    let taken = AtomicU32::new(0);
    Box::new(move |why| {
        let second = i64::from(taken.fetch_add(1, Ordering::Relaxed));
        Snapshot {
            head: Head {
                instance: "aa".to_string(),
                version: "0".to_string(),
                why: why.as_str().to_string(),
                taken: Wall::from_micros(1_795_269_723_000_000 + second * 1_000_000),
                started: Wall::from_micros(0),
                listen: Vec::new(),
                ledger: Recorded::On,
                holds_left_out: 0,
                sites_left_out: 0,
            },
            pools: Vec::new(),
            sites: Vec::new(),
            holds: Vec::new(),
        }
    })
}

const DAY: Duration = Duration::from_secs(86_400);

fn started(folder: &Path, interval: Duration) -> BlackBox {
    let black_box = BlackBox::new(&plan(folder, interval), Surroundings::default());
    black_box.start(source()).expect("threads");
    black_box
}

/// Waits until the shelf is as wanted.
fn until(black_box: &BlackBox, what: &str, fits: impl Fn(&Result<Vec<KeptView>, String>) -> bool) {
    let end = Instant::now() + SOON;
    while !fits(&black_box.kept()) {
        assert!(Instant::now() < end, "no {what}: {:?}", black_box.kept());
        thread::yield_now();
    }
}

fn reasons(black_box: &BlackBox) -> Vec<&'static str> {
    black_box.kept().expect("they are kept").iter().map(|kept| kept.reason.as_str()).collect()
}

fn key() -> Key {
    Key::of(&Plan::default(), None)
}

fn name(millis: i64, reason: Reason) -> Name {
    Name::new(&key(), Wall::from_micros(1_795_269_723_000_000 + millis * 1000 + 999), reason)
}

#[test]
fn names_say_whose_when_and_why_and_can_be_asked_for() {
    let key = key();
    for reason in Reason::ALL {
        let name = name(7, reason);
        assert!(
            name.text.ends_with(&format!(".20261121T140203.007Z.{}.json", reason.as_str())),
            "{}",
            name.text
        );
        assert!(name.text.len() <= 63, "the console reads no longer word");
        assert_eq!(Name::parse(&key, &name.text), Some(name));
    }
    let good = name(7, Reason::Interval).text;
    let mut elsewhere = Plan::default();
    elsewhere.general.listen_port = 1;
    let other = Key::of(&elsewhere, None);
    assert_eq!(Name::parse(&other, &good), None);
    for bad in [
        good.replace("interval", "../../x"),
        good.replace("20261121", "20261321"),
        good.replace(".json", ""),
        good.replace("Z.", "X."),
        format!("{good}/"),
        format!("../{good}"),
        good[..20].to_string(),
        "ü".repeat(30),
    ] {
        assert_eq!(Name::parse(&key, &bad), None, "{bad}");
    }
    assert!(key.is_part(&name(7, Reason::Panic).part("aa")) && !key.is_part(&good) && !other.is_part(&good));
}

#[test]
fn who_shares_a_port_has_a_name_of_its_own() {
    let (one, other) = (Some(Path::new("/etc/one.ini")), Some(Path::new("/etc/other.ini")));
    let mut plan = Plan::default();
    assert_eq!(
        Key::of(&plan, one),
        Key::of(&plan, other),
        "a file that has moved is still of the same pooler"
    );
    plan.general.so_reuseport = true;
    let first = Key::of(&plan, one);
    assert_eq!(first, Key::of(&plan.clone(), one));
    assert_ne!(first, Key::of(&plan, other));
    let mut changed = plan.clone();
    changed.general.pidfile = Some(PathBuf::from("/run/other.pid"));
    assert_ne!(first, Key::of(&changed, one));
    let mut changed = plan.clone();
    changed.shown.push(plimsoll_config::Shown {
        key: "peer_id",
        value: Some("2".to_string()),
        default: Some("0"),
        changeable: true,
    });
    assert_ne!(first, Key::of(&changed, one));
    // What is at the end of one is not the beginning of the next.
    let mut shifted = plan.clone();
    shifted.general.pidfile = Some(PathBuf::from("/etc/one.ini"));
    assert_ne!(first, Key::of(&shifted, None));
}

#[test]
fn on_a_full_disk_the_oldest_make_room_and_some_stay() {
    let kept = |millis: i64, bytes| Kept { name: name(millis, Reason::Interval), bytes };
    let mut all: Vec<Kept> = (0..7).map(|at| kept(at, 10_000)).collect();
    all.push(Kept { name: name(0, Reason::Shutdown), bytes: 1_000_000 });
    let base = name(0, Reason::Interval).taken;
    let gone = |new: i64, bytes, least| -> Vec<i64> {
        let new = name(new, Reason::QueueTimeout);
        for_room(&all, &new, bytes, least)
            .iter()
            .map(|kept| kept.name.taken.micros_since(base) / 1000)
            .collect()
    };
    assert_eq!(gone(9, 1, 4), [0]);
    assert_eq!(gone(9, 5_000, 4), [0]);
    assert_eq!(gone(9, 10_000, 4), [0, 1]);
    assert_eq!(gone(9, 1_000_000, 4), [0, 1, 2], "four stay");
    assert_eq!(gone(9, 1_000_000, 7), [0; 0]);
    // What is of the future goes first here, too.
    assert_eq!(gone(4, 10_000, 4), [5, 6]);
}

#[test]
fn what_comes_often_does_not_push_out_what_is_rare_nor_the_reverse() {
    let kept = |millis: i64, reason| Kept { name: name(millis, reason), bytes: 1 };
    let mut all: Vec<Kept> = (0..5).map(|at| kept(at, Reason::Interval)).collect();
    all.extend((10..14).map(|at| kept(at, Reason::QueueTimeout)));
    let gone = |new: &Name| -> Vec<i64> {
        let base = name(0, Reason::Interval).taken;
        surplus(&all, new, 3, 2).iter().map(|kept| kept.name.taken.micros_since(base) / 1000).collect()
    };
    assert_eq!(gone(&name(13, Reason::QueueTimeout)), [0, 1, 10, 11]);
    // The clock was set back: what is of the future goes first, the new one never.
    assert_eq!(gone(&name(2, Reason::Interval)), [3, 4, 10, 11]);
    assert_eq!(gone(&name(0, Reason::Interval)), [1, 2, 10, 11]);
}

#[test]
fn a_file_is_whole_ours_and_for_nobody_else() {
    let scratch = Scratch::new();
    let folder = Folder::open(&scratch.0, Missing::Leave).expect("it is ours");
    let name = name(7, Reason::Interval);
    folder.put(&name, "aa", b"text").expect("there is room");
    assert_eq!(scratch.names(), [name.text.as_str()]);
    let mode = fs::metadata(scratch.0.join(&name.text)).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(folder.read(&name).expect("it is ours"), b"text");
    folder.put(&name, "aa", b"other").expect("it is replaced as a whole");
    assert_eq!(folder.read(&name).expect("it is ours"), b"other");
    // A name that is taken by something else is refused, and nothing unfinished stays.
    let taken = super::tests::name(8, Reason::Interval);
    fs::create_dir(scratch.0.join(&taken.text)).expect("a folder");
    assert!(folder.put(&taken, "aa", b"text").is_err());
    assert_eq!(scratch.names().len(), 2);
    let huge = super::tests::name(9, Reason::Interval);
    let file = fs::File::create(scratch.0.join(&huge.text)).expect("a file");
    file.set_len(SNAPSHOT_BYTES_MAX as u64 * 1000).expect("it is sparse");
    assert_eq!(folder.read(&huge).expect("read up to the limit").len(), SNAPSHOT_BYTES_MAX + 1);
}

#[test]
fn what_is_not_ours_is_neither_followed_nor_removed() {
    let (scratch, elsewhere) = (Scratch::new(), Scratch::new());
    let folder = Folder::open(&scratch.0, Missing::Leave).expect("it is ours");
    let precious = elsewhere.0.join("precious");
    fs::write(&precious, "text").expect("a file");
    let name = name(7, Reason::Interval);
    symlink(&precious, scratch.0.join(&name.text)).expect("a link");
    symlink(&precious, scratch.0.join(name.part("bb"))).expect("a link");
    fs::write(scratch.0.join(name.part("cc")), "half").expect("a file");
    assert_eq!(folder.list(&key()).expect("readable"), []);
    assert!(folder.read(&name).is_err());
    folder.remove(&name.text);
    folder.sweep(&key()).expect("readable");
    let mut left = vec![name.part("bb"), name.text.clone()];
    left.sort();
    assert_eq!(scratch.names(), left, "only what was unfinished and a file has gone");
    assert!(folder.put(&name, "bb", b"new").is_err(), "the unfinished name is a link");
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "text");
}

#[test]
fn a_folder_of_others_is_refused_and_one_that_is_missing_is_made() {
    let scratch = Scratch::new();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o777)).expect("it is ours");
    assert!(matches!(Folder::open(&scratch.0, Missing::Make), Err(Trouble::Shared(_))));
    let inside = scratch.0.join("new");
    assert!(Folder::open(&inside, Missing::Leave).is_err());
    assert!(Folder::open(&inside, Missing::Make).expect("it is made").is_writable());
    assert_eq!(fs::metadata(&inside).expect("it is there").permissions().mode() & 0o777, 0o700);
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(Folder::open(Path::new("/"), Missing::Make), Err(Trouble::NotOurs(_))));
    }
}

#[test]
fn the_time_makes_snapshots_and_the_newest_are_kept() {
    let scratch = Scratch::new();
    let black_box = started(&scratch.0, Duration::from_millis(1));
    let fifth = Wall::from_micros(1_795_269_728_000_000);
    until(&black_box, "fifth snapshot", |kept| {
        kept.as_ref().is_ok_and(|kept| kept.first().is_some_and(|kept| kept.taken >= fifth))
    });
    let kept = black_box.kept().expect("they are kept");
    assert!(kept.len() == 3 && kept.is_sorted_by_key(|kept| std::cmp::Reverse(kept.taken)), "{kept:?}");
    assert_eq!(reasons(&black_box), ["interval"; 3]);
}

#[test]
fn what_comes_in_storms_is_kept_once_and_the_end_once() {
    let scratch = Scratch::new();
    let black_box = started(&scratch.0, DAY);
    for _ in 0..100 {
        black_box.note_vain_wait();
        black_box.note_panic();
        black_box.note_end();
        black_box.settle(SOON);
    }
    let mut reasons = reasons(&black_box);
    reasons.sort_unstable();
    assert_eq!(reasons, ["panic", "queue_timeout", "shutdown"]);
    assert_eq!(scratch.names().len(), 3);
}

/// The thread that decides, without being one.
fn keeper(black_box: &BlackBox) -> Keeper {
    let settings = black_box.0.state.lock().settings.take().expect("it has not been started");
    let mut keeper = Keeper::new(black_box.0.clone(), source(), Files::start().expect("a thread"));
    keeper.renew(settings);
    keeper
}

#[test]
fn one_that_could_not_be_kept_does_not_count() {
    let scratch = Scratch::new();
    let folder = scratch.0.join("a/b");
    let black_box = BlackBox::new(&plan(&folder, DAY), Surroundings::default());
    let mut keeper = keeper(&black_box);
    assert!(keeper.trouble.is_some(), "there is no folder");
    keeper.retry = Duration::ZERO;
    keeper.take_if_new(Reason::QueueTimeout);
    fs::create_dir(scratch.0.join("a")).expect("a folder");
    keeper.take_if_new(Reason::QueueTimeout);
    assert_eq!(reasons(&black_box), ["queue_timeout"]);
    // This one counts.
    keeper.take_if_new(Reason::QueueTimeout);
    assert_eq!(reasons(&black_box), ["queue_timeout"]);
    keeper.take_if_new(Reason::Panic);
    assert_eq!(reasons(&black_box), ["panic", "queue_timeout"]);
}

#[test]
fn a_storm_on_a_disk_that_fails_is_one_try() {
    let scratch = Scratch::new();
    let black_box = BlackBox::new(&plan(&scratch.0.join("a/b"), DAY), Surroundings::default());
    let mut keeper = keeper(&black_box);
    keeper.take_if_new(Reason::QueueTimeout);
    fs::create_dir(scratch.0.join("a")).expect("a folder");
    keeper.take_if_new(Reason::QueueTimeout);
    assert!(black_box.kept().is_err(), "it is too early");
}

#[test]
fn of_which_process_a_kept_one_is_can_be_seen() {
    let scratch = Scratch::new();
    let folder = Folder::open(&scratch.0, Missing::Leave).expect("it is ours");
    folder.put(&name(-5000, Reason::Interval), "bb", b"text").expect("there is room");
    let black_box = started(&scratch.0, DAY);
    black_box.note_end();
    black_box.settle(SOON);
    let kept = black_box.kept().expect("they are kept");
    let runs: Vec<_> = kept.iter().map(|kept| (kept.reason, kept.run)).collect();
    assert_eq!(runs, [(Reason::Shutdown, Run::This), (Reason::Interval, Run::Other)]);
}

#[test]
fn a_kept_one_can_be_read_and_another_name_is_none() {
    let scratch = Scratch::new();
    let black_box = started(&scratch.0, DAY);
    black_box.note_end();
    black_box.settle(SOON);
    let name = black_box.kept().expect("they are kept")[0].name.clone();
    let read = black_box.fetch(&name).expect("there is one").blocking_recv().expect("an answer");
    assert_eq!(read.expect("it is whole").head.why, "shutdown");
    assert!(black_box.fetch("../../etc/passwd").is_none() && black_box.fetch("").is_none());
    fs::write(scratch.0.join(&name), "{\"plimsoll_snapshot\":1").expect("it is ours");
    let read = black_box.fetch(&name).expect("there is one").blocking_recv().expect("an answer");
    assert_eq!(read.expect_err("it is cut off"), "it is cut off: it ends in line 1, and more was to come");
    fs::remove_file(scratch.0.join(&name)).expect("it is ours");
    let read = black_box.fetch(&name).expect("it had this name").blocking_recv().expect("an answer");
    assert!(read.expect_err("it has gone").contains("No such file"));
}

#[test]
fn a_folder_that_fails_is_used_again_when_it_works() {
    let scratch = Scratch::new();
    let folder = scratch.0.join("a/b");
    let black_box = started(&folder, Duration::from_millis(5));
    until(&black_box, "trouble", |kept| kept.as_ref().is_err_and(|why| why.contains("No such file")));
    fs::create_dir(scratch.0.join("a")).expect("a folder");
    until(&black_box, "snapshot", |kept| kept.as_ref().is_ok_and(|kept| !kept.is_empty()));
}

#[test]
fn a_reload_moves_the_box_and_switches_it_off() {
    let (one, other) = (Scratch::new(), Scratch::new());
    let black_box = started(&one.0, DAY);
    black_box.note_end();
    black_box.settle(SOON);
    black_box.follow(&plan(&other.0, DAY));
    until(&black_box, "new folder", |kept| kept.as_ref().is_ok_and(Vec::is_empty));
    let mut off = plan(&other.0, DAY);
    off.own.snapshot_dir = SnapshotDir::Off;
    black_box.follow(&off);
    until(&black_box, "end", |kept| kept.as_ref().is_err_and(|why| why == "snapshot_dir is off"));
    black_box.note_vain_wait();
    black_box.settle(SOON);
    assert_eq!((one.names().len(), other.names().len()), (1, 0));
    black_box.follow(&plan(&one.0, DAY));
    until(&black_box, "the old folder", |kept| kept.as_ref().is_ok_and(|kept| kept.len() == 1));
}

#[test]
fn a_source_that_breaks_down_is_asked_again() {
    let scratch = Scratch::new();
    let good = source();
    let asked = AtomicU32::new(0);
    let black_box = BlackBox::new(&plan(&scratch.0, Duration::from_millis(5)), Surroundings::default());
    let breaks_once = move |why| {
        assert!(asked.fetch_add(1, Ordering::Relaxed) > 0, "the first time it breaks down");
        good(why)
    };
    black_box.start(Box::new(breaks_once)).expect("threads");
    until(&black_box, "snapshot", |kept| kept.as_ref().is_ok_and(|kept| !kept.is_empty()));
}

#[test]
fn the_folder_of_the_system_is_the_first_of_its_list() {
    let plan = Plan::default();
    let settings = settings(&plan, Some(Path::new("/run/state")), None);
    assert_eq!(settings.place.expect("a place").folder, Path::new("/run/state"));
    let black_box =
        BlackBox::new(&plan, Surroundings { state_directory: Some("relative:/var/a:/var/b"), config: None });
    assert_eq!(black_box.0.state_directory.as_deref(), Some(Path::new("/var/a")));
}

#[test]
fn the_end_waits_for_no_longer_than_it_wants_to() {
    let scratch = Scratch::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let (held, good) = (std::sync::Mutex::new(held), source());
    let black_box = BlackBox::new(&plan(&scratch.0, DAY), Surroundings::default());
    let stuck = move |why| {
        // Until the test lets it go.
        let _ = held.lock().expect("nobody panics with it").recv();
        good(why)
    };
    black_box.start(Box::new(stuck)).expect("threads");
    black_box.note_end();
    black_box.settle(Duration::from_millis(20));
    assert!(scratch.names().is_empty(), "it was not waited for");
    release.send(()).expect("it waits");
    black_box.settle(SOON);
    assert_eq!(reasons(&black_box), ["shutdown"]);
}
