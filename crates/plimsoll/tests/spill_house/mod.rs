//! What tests of results that nobody reads begin with.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use plimsoll_testkit::{Batch, Client, Ini, Message, Plimsoll, Postgres, Table, TempDir, eventually_ok};

use crate::common::SOON;

/// Rows of 1 MB, each of them different.
pub(crate) const ROWS: &str = "SELECT i, repeat(md5(i::text), 31250) FROM generate_series(1, 8) i";

/// What such a result has at least, bytes.
pub(crate) const ROWS_BYTES: u64 = 8_000_000;

/// Small buffers in the kernel: what is not read is not in there.
pub(crate) fn small(ini: Ini) -> Ini {
    ini.set("tcp_socket_buffer", "16384").set("pool_mode", "transaction").set("default_pool_size", "2")
}

/// A folder everybody may write to, on the disk the system keeps temporary files on.
pub(crate) fn folder(what: &str) -> TempDir {
    let dir = TempDir::new(what);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

pub(crate) fn spill_dir(ini: Ini, dir: &Path) -> Ini {
    ini.own("spill_dir", &dir.display().to_string())
}

/// How many cycles, messages and bytes a client reads, and what they hash to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) cycles: u32,
    pub(crate) messages: u32,
    pub(crate) bytes: usize,
    pub(crate) hash: u64,
}

/// What a client has read so far.
#[derive(Default)]
pub(crate) struct Reading {
    digest: Digest,
    hasher: DefaultHasher,
}

impl Reading {
    /// One message more; how many cycles are over.
    pub(crate) fn read(&mut self, client: &mut Client) -> u32 {
        let Message { tag, body } = client.read().unwrap();
        (tag, &body).hash(&mut self.hasher);
        self.digest.messages += 1;
        self.digest.bytes += body.len();
        self.digest.cycles += u32::from(tag == b'Z');
        self.digest.cycles
    }

    pub(crate) fn end(self) -> Digest {
        Digest { hash: self.hasher.finish(), ..self.digest }
    }
}

pub(crate) fn digest(client: &mut Client, cycles: u32) -> Digest {
    let mut reading = Reading::default();
    while reading.read(client) < cycles {}
    reading.end()
}

/// What PostgreSQL itself answers.
pub(crate) fn direct(postgres: &Postgres, batch: &Batch, cycles: u32) -> Digest {
    let mut client = postgres.login("app", "p0").client();
    client.send(batch.bytes()).unwrap();
    digest(&mut client, cycles)
}

pub(crate) fn ask(plimsoll: &Plimsoll, sql: &str) -> Client {
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query(sql).bytes()).unwrap();
    client
}

/// Waits until so many results are off their servers.
#[track_caller]
pub(crate) fn wait_for_draining(plimsoll: &Plimsoll, wanted: usize) -> Table {
    eventually_ok(&format!("{wanted} spills without a server"), SOON * 3, || {
        let spills = plimsoll.show("SPILLS");
        let draining = (0..spills.rows.len()).filter(|row| spills.cell(*row, "state") == "draining");
        if draining.count() == wanted { Ok(spills) } else { Err(format!("{:?}", spills.rows)) }
    })
}

/// Waits until nothing is kept: neither memory nor disk.
#[track_caller]
pub(crate) fn wait_for_nothing(plimsoll: &Plimsoll) {
    eventually_ok("budgets that are all free", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        let used = ["spills", "full", "memory_bytes", "disk_bytes"].map(|name| store.number(0, name));
        if used == [0; 4] { Ok(()) } else { Err(format!("{used:?}")) }
    });
    assert!(plimsoll.show("SPILLS").rows.is_empty());
}

pub(crate) fn stat(plimsoll: &Plimsoll, name: &str) -> u64 {
    let stats = plimsoll.show("STATS");
    let row = stats.find(&[("database", "p0")]).unwrap();
    stats.number(row, name)
}
