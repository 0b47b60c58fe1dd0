use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use plimsoll_config::Plan;
use plimsoll_types::{Cause, ClientId, Moment};

use super::chunk::{CHUNK_BYTES, Chunk, SLOT_BYTES};
use super::{Lack, Medium, Origin, Spill, Store};
use crate::entry::{ClientEntry, Identity, Peer};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn store(memory: usize, disk: usize, client: usize, dir: &Path) -> Arc<Store> {
    let mut plan = Plan::default();
    plan.own.spill_memory = Some(memory);
    plan.own.spill_disk = Some(disk);
    plan.own.spill_per_client = Some(client);
    plan.own.spill_dir = Some(dir.to_path_buf());
    let store = Store::new();
    store.renew(&plan);
    store
}

fn origin() -> Origin {
    let peer = Peer::Unix { pid: 0, port: 1 };
    let identity = Identity {
        user: "u".into(),
        database: "d".into(),
        peer: peer.clone(),
        local: peer,
        secured: None,
        credential: 0,
        proved: None,
        socket: std::sync::Weak::new(),
        replication: None,
    };
    let client = Arc::new(ClientEntry::new(ClientId(1), [0; 8], identity, Moment(1)));
    Origin { client, statement: None }
}

fn spill(store: &Arc<Store>, medium: Medium) -> Spill {
    let mut spill = Spill::begin(store, medium, origin(), &Waker::from(Arc::new(Woken::default())));
    spill.come_forward();
    spill
}

/// Bytes that tell where they belong.
fn bytes(from: usize, count: usize) -> Vec<u8> {
    (from..from + count).map(|at| (at.wrapping_mul(31) >> 3) as u8).collect()
}

/// Looks again until there is something to look at.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

/// Fills as long as there is room; how many bytes that took.
fn fill(spill: &mut Spill, most: usize) -> usize {
    let mut at = spill.len();
    while at < most && spill.make_room().is_ok() {
        spill.push(&bytes(at, 50_000));
        at += 50_000;
        spill.take_in().expect("nothing is lost");
    }
    at
}

/// Reads all of it and looks at every byte.
fn drain(spill: &mut Spill) {
    let mut at = 0;
    while spill.len() > 0 {
        until("the next chunk", || {
            spill.take_in().expect("nothing is lost");
            !spill.pending().is_empty()
        });
        let n = spill.pending().len().min(40_000);
        assert!(spill.pending()[..n] == bytes(at, n), "bytes at {at} are others");
        spill.advance(n);
        at += n;
    }
}

fn used(store: &Store) -> (u64, u64, usize) {
    let view = store.view();
    (view.memory.0, view.disk.0, view.spills)
}

/// A folder on a disk, if this machine has one at the usual place.
fn disk() -> Option<&'static Path> {
    let dir = Path::new("/var/tmp");
    super::probe_spill_dir(dir).is_ok().then_some(dir)
}

#[test]
fn memory_is_bounded_and_given_back() {
    let store = store(8 * SLOT_BYTES, 0, usize::MAX >> 1, Path::new("/"));
    let mut one = spill(&store, Medium::Memory);
    let filled = fill(&mut one, usize::MAX);
    assert!(filled >= 7 * CHUNK_BYTES, "{filled}");
    assert!(store.view().memory.0 <= 8 * SLOT_BYTES as u64);
    assert_eq!(one.make_room(), Err(Lack::Memory));
    let mut other = spill(&store, Medium::Memory);
    assert_eq!(other.make_room(), Err(Lack::Memory));
    drain(&mut one);
    assert_eq!(other.make_room(), Ok(()));
    assert_eq!(store.view().spills, 2);
    drop((one, other));
    assert_eq!(used(&store), (0, 0, 0));
}

#[test]
fn one_client_has_a_limit_of_its_own() {
    let store = store(1 << 30, 0, 4 * CHUNK_BYTES, Path::new("/"));
    let mut spill = spill(&store, Medium::Memory);
    let filled = fill(&mut spill, usize::MAX);
    assert!(filled <= 4 * CHUNK_BYTES && filled > 2 * CHUNK_BYTES, "{filled}");
    assert_eq!(spill.make_room(), Err(Lack::Client));
    // What the session machine adds is kept all the same.
    spill.push(b"more");
    assert_eq!(spill.len(), filled + 4);
}

#[test]
fn what_goes_to_disk_comes_back_in_order() {
    let Some(dir) = disk() else { return };
    let store = store(16 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    let mut spill = spill(&store, Medium::Disk);
    let (mut filled, wanted) = (0, 8 << 20);
    until("the disk to take everything", || {
        filled = fill(&mut spill, wanted);
        filled >= wanted
    });
    assert!(spill.take_written() > 4 << 20);
    let (memory, disk, _) = used(&store);
    assert!(memory <= 16 * SLOT_BYTES as u64 && disk > 4 << 20, "{memory} {disk}");
    drain(&mut spill);
    // An empty file takes no room, although the spill goes on.
    until("the file to be closed", || store.view().disk.0 == 0);
    spill.push(b"end");
    assert_eq!(spill.pending(), b"end");
    drop(spill);
    until("everything to be free", || used(&store) == (0, 0, 0));
}

#[test]
fn a_spill_that_is_dropped_in_the_middle_leaves_nothing() {
    let Some(dir) = disk() else { return };
    let store = store(16 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    let mut spills: Vec<Spill> = (0..4).map(|_| spill(&store, Medium::Disk)).collect();
    for spill in &mut spills {
        fill(spill, 2 << 20);
    }
    drop(spills);
    until("everything to be free", || used(&store) == (0, 0, 0));
}

#[test]
fn a_disk_that_fails_loses_nothing() {
    let store = store(16 * SLOT_BYTES, 1 << 30, 1 << 30, Path::new("/nowhere/at/all"));
    assert!(store.view().trouble.is_some_and(|why| why.contains("No such file")));
    assert!(!store.may_write(), "it is left alone for a while");
    // As if that while were over.
    let again = Store::new();
    let mut plan = Plan::default();
    plan.own.spill = plimsoll_config::Spill::Off;
    (plan.own.spill_memory, plan.own.spill_dir) = (Some(16 * SLOT_BYTES), Some("/nowhere/at/all".into()));
    again.renew(&plan);
    let mut spill = spill(&again, Medium::Disk);
    let filled = fill(&mut spill, usize::MAX);
    assert!(filled >= 11 * CHUNK_BYTES, "{filled}");
    until("every chunk to be back", || {
        spill.take_in().expect("nothing is lost");
        spill.chunks.iter().all(|chunk| matches!(chunk, Chunk::Memory(_)))
    });
    assert!(again.view().trouble.is_some() && !again.may_write());
    drain(&mut spill);
    drop(spill);
    until("everything to be free", || used(&again) == (0, 0, 0));
}

#[test]
fn what_is_not_what_was_written_is_not_sent() {
    let Some(dir) = disk() else { return };
    let store = store(8 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    let mut spill = spill(&store, Medium::Disk);
    until("chunks in the file", || {
        fill(&mut spill, 2 << 20);
        spill.on_disk > 1 << 20
    });
    let file = spill.slots.file.clone().expect("a file");
    for slot in spill.chunks.iter().filter_map(Chunk::slot) {
        file.write(slot, b"something else").expect("written");
    }
    drop(file);
    let lost = loop {
        match spill.take_in() {
            Ok(()) => spill.advance(spill.pending().len()),
            Err(cause) => break cause,
        }
        std::thread::yield_now();
    };
    assert!(
        matches!(&lost, Cause::SpillLost { reason } if reason.contains("not what was written")),
        "{lost:?}"
    );
    drop(spill);
    until("everything to be free", || used(&store) == (0, 0, 0));
}

/// Takes in what has been done until this one has room.
fn until_room(spill: &mut Spill, others: &mut [Spill]) {
    until("room for another spill", || {
        others.iter_mut().for_each(|other| other.take_in().expect("nothing is lost"));
        spill.take_in().expect("nothing is lost");
        spill.make_room().is_ok()
    });
}

#[test]
fn who_holds_memory_and_reads_slowly_gives_way_to_others() {
    let Some(dir) = disk() else { return };
    let store = store(32 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    // As many as fill the memory without a file: nobody is short of it as long as they come.
    let woken = Arc::new(Woken::default());
    let mut holders: Vec<Spill> = (0..8)
        .map(|_| {
            let mut spill = Spill::begin(&store, Medium::Disk, origin(), &Waker::from(woken.clone()));
            for piece in 0..4 {
                spill.push(&bytes(piece * CHUNK_BYTES, CHUNK_BYTES));
            }
            spill.come_forward();
            spill.rest();
            spill
        })
        .collect();
    assert!(store.is_tight());
    let mut other = spill(&store, Medium::Disk);
    for piece in 0..200 {
        until_room(&mut other, &mut holders);
        other.push(&bytes(piece * CHUNK_BYTES, CHUNK_BYTES));
        assert!(store.memory().counted() <= 32 * SLOT_BYTES, "beyond the limit");
    }
    assert!(woken.0.load(Ordering::Relaxed) > 0, "nobody was woken");
    other.rest();
    drain(&mut other);
    holders.iter_mut().for_each(drain);
    drop((other, holders));
    until("everything to be free", || used(&store) == (0, 0, 0));
}

#[test]
fn chunks_that_are_being_sent_do_not_keep_others_from_the_disk() {
    let Some(dir) = disk() else { return };
    // Each reader has one chunk that is being sent: three times as many as there may be in memory.
    let store = store(16 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    let mut readers: Vec<Spill> = Vec::new();
    for _ in 0..48 {
        let mut reader = spill(&store, Medium::Disk);
        for piece in 0..3 {
            until_room(&mut reader, &mut readers);
            reader.push(&bytes(piece * CHUNK_BYTES, CHUNK_BYTES));
        }
        reader.advance(100);
        reader.rest();
        readers.push(reader);
    }
    for (index, reader) in readers.iter_mut().enumerate() {
        let mut at = 100;
        while reader.len() > 0 {
            until("the next chunk", || {
                reader.take_in().expect("nothing is lost");
                !reader.pending().is_empty()
            });
            let n = reader.pending().len();
            assert!(reader.pending() == bytes(at, n), "bytes of reader {index} at {at} are others");
            reader.advance(n);
            at += n;
        }
    }
    drop(readers);
    until("everything to be free", || used(&store) == (0, 0, 0));
}

#[test]
fn nothing_is_written_twice() {
    let Some(dir) = disk() else { return };
    let store = store(16 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    let mut spills: Vec<Spill> = (0..8).map(|_| spill(&store, Medium::Disk)).collect();
    let (mut filled, mut taken, mut written) = ([0; 8], [0; 8], 0);
    let whole = 64 * CHUNK_BYTES;
    until("all of it", || {
        for (index, spill) in spills.iter_mut().enumerate() {
            spill.take_in().expect("nothing is lost");
            if filled[index] < whole && spill.make_room().is_ok() {
                spill.push(&bytes(filled[index], CHUNK_BYTES));
                filled[index] += CHUNK_BYTES;
            }
            // A reader that is half as quick as its server.
            let n = spill.pending().len().min(CHUNK_BYTES / 2);
            assert!(spill.pending()[..n] == bytes(taken[index], n), "bytes are others");
            spill.advance(n);
            taken[index] += n;
            written += spill.take_written();
        }
        taken.iter().all(|taken| *taken == whole)
    });
    assert!(written > 0 && written <= 8 * whole as u64, "{written} bytes written of {}", 8 * whole);
}

#[test]
fn another_folder_is_tried_beside_and_a_disk_that_works_again_is_used() {
    let Some(dir) = disk() else { return };
    let store = store(16 * SLOT_BYTES, 1 << 30, 1 << 30, dir);
    assert_eq!(store.view().trouble, None);
    let with = |dir: &str| {
        let mut plan = Plan::default();
        plan.own.spill_dir = Some(dir.into());
        plan
    };
    store.renew(&with("/nowhere/at/all"));
    until("the other folder to be tried", || store.view().trouble.is_some());
    store.renew(&with("/var/tmp"));
    until("the first one to be tried again", || store.view().trouble.is_none() && store.may_write());
    // One that is full for a while is found out to work without anybody who writes.
    store.disk_fails(&super::file::Trouble::Seal);
    store.tend();
    assert!(store.view().trouble.is_some(), "it is left alone for a while");
}
