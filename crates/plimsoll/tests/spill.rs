//! Results that nobody reads come off the server at once, with a real PostgreSQL: every byte, in order, within budgets.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::certificates::{Maker, with_tls};
use common::{BINARY, SOON, backend, house, pooler, wait_for_pool};
use plimsoll_testkit::{
    Batch, Client, Ini, Message, Plimsoll, Postgres, ServerError, Signal, Table, TempDir, eventually,
    eventually_ok,
};

/// Rows of 1 MB, each of them different.
const ROWS: &str = "SELECT i, repeat(md5(i::text), 31250) FROM generate_series(1, 8) i";

/// What such a result has at least, bytes.
const ROWS_BYTES: u64 = 8_000_000;

/// Small buffers in the kernel: what is not read is not in there.
fn small(ini: Ini) -> Ini {
    ini.set("tcp_socket_buffer", "16384").set("pool_mode", "transaction").set("default_pool_size", "2")
}

/// A folder everybody may write to, on the disk the system keeps temporary files on.
fn folder(what: &str) -> TempDir {
    let dir = TempDir::new(what);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

fn spill_dir(ini: Ini, dir: &Path) -> Ini {
    ini.own("spill_dir", &dir.display().to_string())
}

/// How many cycles, messages and bytes a client reads, and what they hash to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Digest {
    cycles: u32,
    messages: u32,
    bytes: usize,
    hash: u64,
}

fn digest(client: &mut Client, cycles: u32) -> Digest {
    let (mut digest, mut hasher) = (Digest::default(), DefaultHasher::new());
    while digest.cycles < cycles {
        let Message { tag, body } = client.read().unwrap();
        (tag, &body).hash(&mut hasher);
        digest.messages += 1;
        digest.bytes += body.len();
        digest.cycles += u32::from(tag == b'Z');
    }
    digest.hash = hasher.finish();
    digest
}

/// What PostgreSQL itself answers.
fn direct(postgres: &Postgres, batch: &Batch, cycles: u32) -> Digest {
    let mut client = postgres.login("app", "p0").client();
    client.send(batch.bytes()).unwrap();
    digest(&mut client, cycles)
}

fn ask(plimsoll: &Plimsoll, sql: &str) -> Client {
    let mut client = plimsoll.client("app", "p0");
    client.send(Batch::new().query(sql).bytes()).unwrap();
    client
}

/// Waits until so many results are off their servers.
#[track_caller]
fn wait_for_draining(plimsoll: &Plimsoll, wanted: usize) -> Table {
    eventually_ok(&format!("{wanted} spills without a server"), SOON * 3, || {
        let spills = plimsoll.show("SPILLS");
        let draining = (0..spills.rows.len()).filter(|row| spills.cell(*row, "state") == "draining");
        if draining.count() == wanted { Ok(spills) } else { Err(format!("{:?}", spills.rows)) }
    })
}

/// Waits until nothing is kept: neither memory nor disk.
#[track_caller]
fn wait_for_nothing(plimsoll: &Plimsoll) {
    eventually_ok("budgets that are all free", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        let used = ["spills", "full", "memory_bytes", "disk_bytes"].map(|name| store.number(0, name));
        if used == [0; 4] { Ok(()) } else { Err(format!("{used:?}")) }
    });
    assert!(plimsoll.show("SPILLS").rows.is_empty());
}

fn stat(plimsoll: &Plimsoll, name: &str) -> u64 {
    let stats = plimsoll.show("STATS");
    let row = stats.find(&[("database", "p0")]).unwrap();
    stats.number(row, name)
}

#[test]
fn lazy_readers_hold_no_server_and_get_every_byte() {
    let dir = folder("spill");
    let (postgres, mut plimsoll) = house(|ini| {
        spill_dir(small(ini), dir.path()).own("spill_memory", "8MiB").own("log_spill_over", "1MiB")
    });
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    plimsoll.still_works(&["p0"]);
    let before = plimsoll.process().rss_bytes();
    let mut readers: Vec<Client> = (0..6).map(|_| ask(&plimsoll, ROWS)).collect();
    let spills = wait_for_draining(&plimsoll, readers.len());
    assert_eq!(spills.cell(0, "statement"), "SELECT i, repeat(md5(i::text), ?) FROM generate_series(?, ?) i");
    assert_eq!((spills.cell(0, "user"), spills.cell(0, "database")), ("app", "p0"));
    // They hold nothing, and others are served at once.
    assert!(plimsoll.show("HOLDS").rows.is_empty());
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0)]);
    for _ in 0..20 {
        assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    }
    let store = plimsoll.show("SPILL_STORE");
    assert!(store.number(0, "memory_bytes") <= 8 << 20, "{:?}", store.rows);
    assert!(store.number(0, "disk_bytes") > ROWS_BYTES * 3, "{:?}", store.rows);
    let grown = plimsoll.process().rss_peak_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    // A file of this kind has no name.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(stat(&plimsoll, "total_spill_count") >= 6);
    assert!(stat(&plimsoll, "total_spill_bytes") > ROWS_BYTES * 5);
    assert!(stat(&plimsoll, "total_spill_file_bytes") > ROWS_BYTES * 3);
    for reader in &mut readers {
        assert_eq!(digest(reader, 1), wanted);
        assert_eq!(reader.value("SELECT 8"), "8");
    }
    wait_for_nothing(&plimsoll);
    plimsoll.wait_for_log("bytes of a result in", SOON);
}

#[test]
fn pipelines_arrive_as_from_the_server_itself() {
    let (postgres, plimsoll) = house(|ini| small(ini).own("spill_memory", "1MiB").own("spill_after", "0"));
    let (mut batch, mut cycles) = (Batch::new(), 0);
    for i in 0..100 {
        batch = match i {
            50 => batch.query("SELECT repeat('x', 100000), 1 / 0"),
            51 => batch.query("SET extra_float_digits = 1; SET DateStyle = 'SQL, DMY'"),
            52 => batch.query("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$"),
            53 => batch.query("SET DateStyle = 'ISO, MDY'"),
            _ => batch
                .parse(
                    "",
                    &format!("SELECT i, repeat(md5((i + {i})::text), 1000) FROM generate_series(1, $1) i"),
                )
                .bind("", "", &[Some("5")])
                .describe_portal("")
                .execute("", 0)
                .sync(),
        };
        cycles += 1;
    }
    // One batch with an error in its middle, and what is skipped behind it.
    for i in 0..20 {
        let sql = if i == 10 { "SELECT 1 / 0" } else { "SELECT repeat('y', 100000)" };
        batch = batch.parse("", sql).bind("", "", &[]).execute("", 0);
    }
    (batch, cycles) = (batch.sync().query("SELECT 'last'"), cycles + 2);
    let wanted = direct(&postgres, &batch, cycles);
    let mut clients: Vec<Client> = (0..4).map(|_| plimsoll.client("app", "p0")).collect();
    for client in &mut clients {
        client.send(batch.bytes()).unwrap();
    }
    eventually("a spill", SOON, || !plimsoll.show("SPILLS").rows.is_empty());
    for client in &mut clients {
        assert_eq!(digest(client, cycles), wanted);
    }
    wait_for_nothing(&plimsoll);
}

#[test]
fn small_budgets_are_kept_and_nothing_is_lost() {
    let dir = folder("spill");
    let (postgres, plimsoll) = house(|ini| {
        spill_dir(small(ini).set("default_pool_size", "50"), dir.path())
            .own("spill_memory", "1MiB")
            .own("spill_disk", "2MiB")
            .own("spill_per_client", "256KiB")
    });
    let sql = "SELECT i, repeat(md5(i::text), 3125) FROM generate_series(1, 20) i";
    let wanted = direct(&postgres, &Batch::new().query(sql), 1);
    let mut clients: Vec<Client> = (0..50).map(|_| ask(&plimsoll, sql)).collect();
    eventually_ok("budgets that are used up", SOON, || {
        let store = plimsoll.show("SPILL_STORE");
        if store.number(0, "full") > 10 { Ok(()) } else { Err(format!("{:?}", store.rows)) }
    });
    let store = plimsoll.show("SPILL_STORE");
    assert!(store.number(0, "memory_bytes") <= 1 << 20, "{:?}", store.rows);
    assert!(store.number(0, "disk_bytes") <= 2 << 20, "{:?}", store.rows);
    // Who waits for its reader is shown as ever.
    let holds = plimsoll.show("HOLDS");
    let waits = |row: &usize| holds.cell(*row, "state") == "client not reading";
    assert!((0..holds.rows.len()).filter(waits).count() > 10, "{:?}", holds.rows);
    for client in &mut clients {
        assert_eq!(digest(client, 1), wanted);
    }
    wait_for_nothing(&plimsoll);
    assert!(stat(&plimsoll, "total_spill_stop_count") > 0);
    assert_eq!(plimsoll.log().matches("its server waits for its reader").count(), 1);
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
        assert_eq!(plimsoll.log().matches("no temporary file can be written").count(), 1, "{dir}");
    }
}

#[test]
fn nothing_is_left_of_a_spill_whose_client_goes() {
    let dir = folder("spill");
    let ini = |ini: Ini| spill_dir(small(ini), dir.path()).own("spill_memory", "1MiB");
    let (postgres, plimsoll) = house(ini);
    let leave = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    leave.reset();
    wait_for_nothing(&plimsoll);
    let mut killed = ask(&plimsoll, ROWS);
    let spills = wait_for_draining(&plimsoll, 1);
    plimsoll.console().query(&format!("KILL_CLIENT {}", spills.cell(0, "client")));
    wait_for_nothing(&plimsoll);
    // Nothing was said in the middle of a message.
    assert_eq!(killed.expect_closed(), None);
    plimsoll.reload(&ini(Ini::new(&postgres)).user("app", "client_idle_timeout=1"));
    let mut idle = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    plimsoll.wait_for_log("client_idle_timeout", SOON);
    wait_for_nothing(&plimsoll);
    assert_eq!(idle.expect_closed(), None);
    plimsoll.still_works(&["p0"]);
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
fn what_frees_no_server_is_not_spilled() {
    let (postgres, plimsoll) = house(|ini| small(ini).own("spill_after", "1ms"));
    let wanted = direct(&postgres, &Batch::new().query("BEGIN").query(ROWS).query("COMMIT"), 3);
    let batch = Batch::new().query("BEGIN").query(ROWS).query("COMMIT");
    let held = |plimsoll: &Plimsoll| {
        eventually("a reader that holds", SOON, || {
            let holds = plimsoll.show("HOLDS");
            holds.rows.len() == 1 && holds.cell(0, "state") == "client not reading"
        });
    };
    let mut client = plimsoll.client("app", "p0");
    client.send(batch.bytes()).unwrap();
    held(&plimsoll);
    assert!(plimsoll.show("SPILLS").rows.is_empty());
    assert_eq!(digest(&mut client, 3), wanted);
    // In a session nothing is won either.
    let session = pooler(small(Ini::new(&postgres)).own("spill_after", "1ms").set("pool_mode", "session"));
    let mut client = ask(&session, ROWS);
    held(&session);
    assert!(session.show("SPILLS").rows.is_empty());
    digest(&mut client, 1);
    // A pipeline that opens one waits where it does.
    let batch = Batch::new().query(ROWS).query("BEGIN").query(ROWS).query("COMMIT").query("SELECT 1");
    let wanted = direct(&postgres, &batch, 5);
    let mut client = plimsoll.client("app", "p0");
    client.send(batch.bytes()).unwrap();
    eventually("a spill that waits", SOON, || {
        let spills = plimsoll.show("SPILLS");
        !spills.rows.is_empty() && spills.cell(0, "state") == "waiting: transaction"
    });
    held(&plimsoll);
    assert_eq!(digest(&mut client, 5), wanted);
    wait_for_nothing(&plimsoll);
    // Unless somebody asks for it, so that the statement comes to its end.
    let ini = small(Ini::new(&postgres)).own("spill_in_transaction", "on");
    let asked = pooler(ini);
    let mut client = asked.client("app", "p0");
    client.query("BEGIN");
    client.send(Batch::new().query(ROWS).bytes()).unwrap();
    eventually("a statement at its end", SOON, || {
        let holds = asked.show("HOLDS");
        !asked.show("SPILLS").rows.is_empty() && holds.cell(0, "state") == "idle in transaction"
    });
    let one = direct(&postgres, &Batch::new().query(ROWS), 1);
    assert_eq!(digest(&mut client, 1).messages, one.messages);
    client.query("COMMIT");
    wait_for_nothing(&asked);
}

#[test]
fn copy_out_is_spilled_and_databases_and_users_have_their_word() {
    let (postgres, plimsoll) = house(|ini| {
        small(ini)
            .own("spill", "off")
            .user("app", "spill=memory")
            .login("other", "")
            .user("other", "pool_size=2")
    });
    let sql = "COPY (SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 1000) i) TO STDOUT";
    let wanted = direct(&postgres, &Batch::new().query(sql), 1);
    let mut client = ask(&plimsoll, sql);
    wait_for_draining(&plimsoll, 1);
    assert_eq!(digest(&mut client, 1), wanted);
    wait_for_nothing(&plimsoll);
}

#[test]
fn the_next_query_and_a_late_cancel_find_everything_in_order() {
    let (_postgres, plimsoll) = house(small);
    let mut client = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    client.send(Batch::new().query("SELECT 'next'").bytes()).unwrap();
    // The statement is over: there is nothing to cancel, and nobody else is hit.
    client.cancel_key().cancel().unwrap();
    assert_eq!(plimsoll.client("app", "p0").value("SELECT 7"), "7");
    let rows = client.cycle().unwrap();
    assert_eq!(rows.iter().filter(|message| message.tag == b'D').count(), 8);
    let next = client.cycle().unwrap();
    assert_eq!(next[1].columns(), [Some("next".to_string())]);
    wait_for_nothing(&plimsoll);
}

#[test]
fn a_server_that_dies_is_heard_of_behind_what_it_said() {
    let (postgres, plimsoll) = house(small);
    let sql = "SELECT i, repeat(md5(i::text), 31250), CASE WHEN i = 4 THEN pg_sleep(600)::text END \
               FROM generate_series(1, 5) i";
    let mut client = plimsoll.client("app", "p0");
    let pid = backend(&mut client);
    client.send(Batch::new().query(sql).bytes()).unwrap();
    eventually("a spill", SOON, || {
        let spills = plimsoll.show("SPILLS");
        !spills.rows.is_empty() && postgres.count_sessions("wait_event = 'PgSleep'") == 1
    });
    postgres.terminate_sessions(&format!("pid = {pid}"));
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
    let mut rows = 0;
    let error = loop {
        let message = client.read().unwrap();
        match message.tag {
            b'D' => rows += 1,
            b'E' => break ServerError::of(&message),
            _ => {}
        }
    };
    assert_eq!((rows, error.sqlstate.as_str()), (3, "57P01"));
    client.expect_closed();
    wait_for_nothing(&plimsoll);
}

#[test]
fn an_encrypted_client_gets_every_byte() {
    let maker = Maker::new();
    maker.root("root");
    maker.signed("root", "server", "localhost");
    let (postgres, plimsoll) = house(|ini| {
        with_tls(small(ini), "client", "prefer", &maker, "server")
            .own("spill_after", "0")
            .own("spill_memory", "512KiB")
    });
    let psql = |port: u16, mode: &str| {
        let sql = "COPY (SELECT i, repeat(md5(i::text), 300) FROM generate_series(1, 1000) i) TO STDOUT";
        let connection = format!("host=localhost port={port} dbname=p0 user=app connect_timeout=20");
        let child = Command::new("psql")
            .args(["-XAtq", "-d", &connection, "-c", sql])
            .envs([("PGSSLMODE", mode), ("PGSSLCERT", "none"), ("PGSSLROOTCERT", "none")])
            .stdout(Stdio::piped())
            .spawn();
        child.expect("psql is there")
    };
    let wanted = psql(postgres.port(), "disable").wait_with_output().unwrap().stdout;
    assert!(wanted.len() > 9_000_000);
    // Nobody reads what it writes, so it does not read either.
    let lazy = psql(plimsoll.port(), "require");
    wait_for_draining(&plimsoll, 1);
    assert!(lazy.wait_with_output().unwrap().stdout == wanted, "bytes are others");
    wait_for_nothing(&plimsoll);
}

#[test]
fn an_answer_that_one_read_brings_holds_no_server_while_it_is_written() {
    let (_postgres, plimsoll) = house(|ini| small(ini).own("spill", "off"));
    let mut client = plimsoll.client("app", "p0");
    let mut console = plimsoll.console();
    let mut queries = move || {
        let stats = console.query("SHOW STATS");
        stats.find(&[("database", "p0")]).map_or(0, |row| stats.number(row, "total_query_count"))
    };
    // One at a time, and none of the answers is read: at some point the socket takes no more, and the next query, which
    // has been sent, is not read.
    let mut asked = 0;
    let is_read = |asked: u64, queries: &mut dyn FnMut() -> u64| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            if queries() >= asked {
                return true;
            }
        }
        false
    };
    loop {
        client.send(Batch::new().query("SELECT repeat('x', 1500)").bytes()).unwrap();
        asked += 1;
        if !is_read(asked, &mut queries) {
            break;
        }
        assert!(asked < 2000, "the client's socket takes everything");
    }
    // The last answer waits for its reader, and its server does not.
    assert_eq!(queries(), asked - 1);
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
    assert!(plimsoll.show("HOLDS").rows.is_empty());
    for _ in 0..asked {
        assert_eq!(client.cycle().unwrap()[1].body.len(), 1506);
    }
}

#[test]
fn suspension_and_shutdown_wait_for_who_still_reads() {
    let (postgres, mut plimsoll) = house(small);
    let wanted = direct(&postgres, &Batch::new().query(ROWS), 1);
    let mut client = ask(&plimsoll, ROWS);
    wait_for_draining(&plimsoll, 1);
    let mut console = plimsoll.console();
    console.send(Batch::new().query("SUSPEND").bytes()).unwrap();
    assert!(!console.hears_within(Duration::from_millis(300)), "a client has not taken its answer");
    assert_eq!(digest(&mut client, 1), wanted);
    console.cycle().unwrap();
    console.query("RESUME");
    client.send(Batch::new().query(ROWS).bytes()).unwrap();
    wait_for_draining(&plimsoll, 1);
    console.query("SHUTDOWN WAIT_FOR_SERVERS");
    assert!(!console.hears_within(Duration::from_millis(300)), "a client has not taken its answer");
    assert_eq!(digest(&mut client, 1), wanted);
    assert!(plimsoll.wait_exit(SOON).success());
}

/// A file system of a few megabytes; unmounted when dropped.
struct TinyDisk {
    dir: TempDir,
}

impl TinyDisk {
    /// `None` where we may not mount anything.
    fn mount() -> Option<TinyDisk> {
        let dir = TempDir::new("tiny");
        let (image, mounted) = (dir.path().join("image"), dir.path().join("disk"));
        fs::create_dir(&mounted).unwrap();
        fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
        let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
            Command::new(program).args(arguments).output().is_ok_and(|done| done.status.success())
        };
        let made = run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()])
            && run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), mounted.as_os_str()]);
        if !made {
            return None;
        }
        fs::set_permissions(&mounted, fs::Permissions::from_mode(0o777)).unwrap();
        Some(TinyDisk { dir })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // Nobody has a file open there any more; if somebody has, the mount goes with the last one.
        drop(Command::new("umount").arg("-l").arg(self.path()).output());
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some(disk) = TinyDisk::mount() else {
        writeln!(std::io::stderr(), "passed over: no file system can be mounted here").unwrap();
        return;
    };
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
