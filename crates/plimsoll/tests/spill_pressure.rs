//! Many results that nobody reads at once, and budgets that are too small for them.

#![allow(clippy::unwrap_used)]

mod common;
mod spill_house;

use common::{SOON, house, house_with};
use plimsoll_testkit::{Batch, Client, PostgresOptions, eventually_ok};
use spill_house::{
    ROWS, Reading, ask, digest, direct, folder, small, spill_dir, stat, wait_for_draining, wait_for_nothing,
};

/// 1.6 MB in rows of 32 kB.
const MANY: &str = "SELECT i, repeat(md5(i::text), 1000) FROM generate_series(1, 50) i";

/// What a chunk takes of the memory, bytes.
const CHUNK_BYTES: u64 = 65_552;

#[test]
fn many_small_readers_and_a_large_one_leave_room_as_long_as_the_disk_has_some() {
    let dir = folder("spill");
    let (postgres, plimsoll) = house(|ini| {
        spill_dir(small(ini).set("max_client_conn", "200"), dir.path()).own("spill_memory", "4MiB")
    });
    let wanted = direct(&postgres, &Batch::new().query(MANY), 1);
    let large = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut first = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    let mut readers: Vec<Client> = (0..80).map(|_| ask(&plimsoll, MANY)).collect();
    wait_for_draining(&plimsoll, 1 + readers.len());
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    let store = plimsoll.show("SPILL_STORE");
    // Beyond the limit each of them has the chunk that is being sent, and no more.
    assert!(store.number(0, "memory_bytes") <= (4 << 20) + 81 * CHUNK_BYTES, "{:?}", store.rows);
    assert!(store.number(0, "disk_bytes") > 80 << 20, "{:?}", store.rows);
    // All read a little, so that each of them has a chunk half sent, and again there is room.
    readers.iter_mut().for_each(|reader| assert_eq!(reader.read().unwrap().tag, b'T'));
    readers.iter_mut().for_each(|reader| (0..12).for_each(|_| assert_eq!(reader.read().unwrap().tag, b'D')));
    let mut late: Vec<Client> = (0..20).map(|_| ask(&plimsoll, MANY)).collect();
    // With one short query before them. Some of the first may have all of their answer in the kernel by now.
    let asked = 2 + readers.len() + late.len();
    eventually_ok("the last results off their servers", SOON, || {
        let answered = stat(&plimsoll, "total_query_count");
        if answered >= asked as u64 { Ok(()) } else { Err(format!("{answered} of {asked}")) }
    });
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    for reader in &mut late {
        assert_eq!(digest(reader, 1), wanted);
    }
    for reader in &mut readers {
        assert_eq!(digest(reader, 1).messages, wanted.messages - 13);
    }
    assert_eq!(digest(&mut first, 1), large);
    wait_for_nothing(&plimsoll);
}

#[test]
fn two_hundred_spills_keep_small_budgets_and_lose_nothing() {
    let dir = folder("spill");
    let options = PostgresOptions { max_connections: 220, ..PostgresOptions::default() };
    let (postgres, plimsoll) = house_with(options, |ini| {
        spill_dir(small(ini).set("default_pool_size", "200").set("max_client_conn", "300"), dir.path())
            .own("spill_memory", "1MiB")
            .own("spill_disk", "2MiB")
            .own("spill_per_client", "256KiB")
    });
    let sql = "SELECT i, repeat(md5(i::text), 3125) FROM generate_series(1, 8) i";
    let wanted = direct(&postgres, &Batch::new().query(sql), 1);
    let mut clients: Vec<Client> = (0..200).map(|_| ask(&plimsoll, sql)).collect();
    eventually_ok("budgets that are used up", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        if store.number(0, "full") > 150 { Ok(()) } else { Err(format!("{:?}", store.rows)) }
    });
    let store = plimsoll.show("SPILL_STORE");
    let spills = plimsoll.show("SPILLS");
    let kept = (0..spills.rows.len()).filter(|row| spills.number(*row, "total_bytes") > 0).count() as u64;
    assert!(store.number(0, "memory_bytes") <= (1 << 20) + kept * CHUNK_BYTES, "{:?}", store.rows);
    assert!(store.number(0, "disk_bytes") <= 2 << 20, "{:?}", store.rows);
    // Who waits for its reader is shown as ever.
    let holds = plimsoll.show("HOLDS");
    let waits = |row: &usize| holds.cell(*row, "state") == "client not reading";
    assert!((0..holds.rows.len()).filter(waits).count() > 150, "{:?}", holds.rows);
    for client in &mut clients {
        assert_eq!(digest(client, 1), wanted);
    }
    wait_for_nothing(&plimsoll);
    assert!(stat(&plimsoll, "total_spill_stop_count") > 0);
    assert_eq!(plimsoll.log().matches("its server waits for its reader").count(), 1);
}

#[test]
fn readers_that_read_have_nothing_written_twice() {
    let dir = folder("spill");
    let (postgres, plimsoll) = house(|ini| {
        spill_dir(small(ini).set("default_pool_size", "8"), dir.path())
            .own("spill_memory", "512KiB")
            .own("spill_after", "0")
    });
    let batch = || (0..10).fold(Batch::new(), |batch, _| batch.query(MANY));
    let wanted = direct(&postgres, &batch(), 10);
    let mut readers: Vec<(Client, Reading)> = (0..8)
        .map(|_| {
            let mut client = plimsoll.client("app", "p0");
            client.send(batch().bytes()).unwrap();
            (client, Reading::default())
        })
        .collect();
    // A row of each in turn: all of them read all the time, and no one as fast as its server sends.
    while readers.iter_mut().map(|(client, reading)| reading.read(client)).max() < Some(10) {}
    for (_, reading) in readers {
        assert_eq!(reading.end(), wanted);
    }
    wait_for_nothing(&plimsoll);
    let (spilled, written) =
        (stat(&plimsoll, "total_spill_bytes"), stat(&plimsoll, "total_spill_file_bytes"));
    assert!(spilled > 8 << 20 && written > 0, "{spilled} bytes spilled, {written} written");
    assert!(written <= spilled, "{spilled} bytes spilled, {written} written");
}

#[test]
fn a_spill_that_never_had_room_is_none() {
    // Less than a chunk takes.
    let (postgres, plimsoll) = house(|ini| small(ini).own("spill_memory", "64KiB"));
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut client = ask(&plimsoll, ROWS);
    eventually_ok("a server that waits", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        if store.number(0, "full") == 1 { Ok(()) } else { Err(format!("{:?}", store.rows)) }
    });
    assert_eq!(digest(&mut client, 1), wanted);
    wait_for_nothing(&plimsoll);
    let stats = ["total_spill_count", "total_spill_bytes"].map(|name| stat(&plimsoll, name));
    assert_eq!(stats, [0, 0]);
    assert!(stat(&plimsoll, "total_spill_stop_count") > 0);
}
