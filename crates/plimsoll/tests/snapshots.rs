//! Snapshots, their differences and the black box, with a real PostgreSQL.

#![allow(clippy::unwrap_used)]

mod common;
mod snapshot_house;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{BINARY, SOON, house, pooler, wait_for_pool};
use plimsoll_testkit::{
    Batch, Client, Ini, Plimsoll, PostgresOptions, Process, Signal, Table, TempDir, binary_of, eventually_ok,
};
use snapshot_house::{
    Freezer, TinyDisk, app, box_folder, by_config, document, names, objects, of_reason, run, snapshot,
};

fn kept_in(ini: Ini, dir: &Path) -> Ini {
    ini.own("snapshot_dir", &dir.display().to_string())
}

fn reading_folder() -> TempDir {
    TempDir::new("documents")
}

#[test]
fn three_snapshots_find_exactly_what_leaks_among_a_thousand() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "30"));
    let dir = reading_folder();
    // Held before the first snapshot, and for good reason.
    let mut old: Vec<Client> = (0..3).map(|_| app(&plimsoll, "worker")).collect();
    old.iter_mut().for_each(|client| drop(client.query("BEGIN /*action='work'*/")));
    let first = snapshot(&plimsoll, dir.path(), "a.json");
    let mut leaked: Vec<Client> = Vec::new();
    let mut busy = app(&plimsoll, "web");
    let mut pids = BTreeSet::new();
    for turn in 0..1000 {
        if turn % 100 == 50 && leaked.len() < 7 {
            let mut leak = app(&plimsoll, "shop-api");
            leak.query("BEGIN /*route='/orders',version='4f2a1c'*/");
            pids.insert(leak.value("SELECT pg_backend_pid()").parse::<u64>().unwrap());
            leaked.push(leak);
        }
        busy.query("SELECT 1 /*route='/cart'*/");
    }
    // These are held in the second one and come back before the third.
    let mut passing: Vec<Client> = (0..5).map(|_| app(&plimsoll, "web")).collect();
    passing.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/slow'*/")));
    let second = snapshot(&plimsoll, dir.path(), "b.json");
    passing.iter_mut().for_each(|client| drop(client.query("COMMIT")));
    let mut late: Vec<Client> = (0..4).map(|_| app(&plimsoll, "web")).collect();
    late.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/late'*/")));
    leaked[0].query("SELECT 2");
    let third = snapshot(&plimsoll, dir.path(), "c.json");
    let (code, output) = run(&["diff", &first, &second, &third, "--json"]);
    assert_eq!(code, 0, "{output}");
    let found: BTreeSet<u64> =
        objects(&output, "leftover_hold").iter().map(|hold| hold["pid"].as_u64().unwrap()).collect();
    assert_eq!(found, pids, "{output}");
    let groups = objects(&output, "leftover");
    assert_eq!(groups.len(), 1, "{output}");
    let group = &groups[0];
    assert_eq!((group["application_name"].as_str(), group["count"].as_u64()), (Some("shop-api"), Some(7)));
    assert_eq!((group["used"].as_u64(), group["unused"].as_u64()), (Some(1), Some(6)));
    assert_eq!(
        (group["states"].as_str(), group["deploy"].as_str()),
        (Some("idle in transaction"), Some("4f2a1c"))
    );
    // In any order, for people, and only some of it.
    let (code, output) = run(&["diff", &third, &first, &second]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("not in the order of their times"), "{output}");
    assert!(output.contains("7 holds, all granted after"), "{output}");
    let (_, output) = run(&["diff", &first, &second, &third, "--app", "web", "--json"]);
    assert!(objects(&output, "leftover").is_empty(), "{output}");
}

#[test]
fn what_grew_since_when_and_by_which_deploy_in_a_sentence() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "26"));
    let dir = reading_folder();
    let mut old: Vec<Client> = (0..3).map(|_| app(&plimsoll, "shop-api")).collect();
    old.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/orders',version='1c9d00'*/")));
    let before = snapshot(&plimsoll, dir.path(), "a.json");
    let mut new: Vec<Client> = (0..14).map(|_| app(&plimsoll, "shop-api")).collect();
    new.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/orders',version='4f2a1c'*/")));
    let (code, output) = by_config(&plimsoll, &["diff", &before, "--json"]);
    assert_eq!(code, 0, "{output}");
    let said = objects(&output, "sentence");
    let grew: Vec<&str> = said
        .iter()
        .filter_map(|line| line["text"].as_str())
        .filter(|text| text.contains(" holds 14 "))
        .collect();
    assert_eq!(grew.len(), 1, "{output}");
    let sentence = grew[0];
    assert!(sentence.starts_with("shop-api route=/orders holds 14 connections more than "), "{sentence}");
    assert!(
        sentence.contains("ago (3 -> 17 of 26 of pool p0/app), as user app from 127.0.0.1"),
        "{sentence}"
    );
    assert!(sentence.contains("3 of those from before unused since"), "{sentence}");
    assert!(sentence.contains("; first seen 20") && sentence.contains("(version 4f2a1c)"), "{sentence}");
    assert!(sentence.ends_with("with the first of them."), "{sentence}");
    let sites = objects(&output, "site");
    assert_eq!(sites.len(), 2, "a deploy is a site of its own: {output}");
    let counts = |name: &str| sites.iter().map(|site| site[name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!((counts("new"), counts("kept_unused")), (vec![14, 0], vec![0, 3]));
    let pool = &objects(&output, "pool")[0];
    assert_eq!(
        (pool["before"].as_u64(), pool["after"].as_u64(), pool["size"].as_u64()),
        (Some(3), Some(17), Some(26))
    );
    // Text is redacted, and hostile names stay text.
    old[0].query("SELECT 'secret'");
    let mut hostile = app(&plimsoll, "a\u{1b}[2J\u{202e}");
    hostile.query("BEGIN; SELECT 'secret'");
    let (_, output) = by_config(&plimsoll, &["snapshot"]);
    assert!(
        !output.contains("secret") && !output.contains('\u{1b}') && !output.contains('\u{202e}'),
        "{output}"
    );
    let (_, output) = by_config(&plimsoll, &["diff", &before]);
    assert!(
        !output.contains('\u{1b}') && !output.contains('\u{202e}') && output.contains("Sites"),
        "{output}"
    );
}

#[test]
fn what_began_while_the_ledger_was_off_is_not_new_later() {
    let (_postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "20"));
    let dir = reading_folder();
    let begun = |name: &str, count: usize| -> Vec<Client> {
        let mut clients: Vec<Client> = (0..count).map(|_| app(&plimsoll, name)).collect();
        clients.iter_mut().for_each(|client| drop(client.query("BEGIN")));
        clients
    };
    let _seen = begun("seen", 4);
    let first = snapshot(&plimsoll, dir.path(), "a.json");
    let mut console = plimsoll.console();
    console.query("SET ledger = 'off'");
    let mut dark = begun("dark", 3);
    console.query("SET ledger = 'on'");
    let second = eventually_ok("three that are not recorded", SOON, || {
        let second = snapshot(&plimsoll, dir.path(), "b.json");
        let pool = document(Path::new(&second))["pools"][0].clone();
        if pool["unrecorded"] == 3 { Ok(second) } else { Err(pool.to_string()) }
    });
    let (_, output) = run(&["diff", &first, &second]);
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.contains("Pool p0/app held 7 connections at"), "{output}");
    assert!(output.contains("3 of them were not recorded.") && !output.contains("No place"), "{output}");
    // Now they are seen as well.
    dark.iter_mut().for_each(|client| drop(client.query("SELECT 1")));
    let third = snapshot(&plimsoll, dir.path(), "c.json");
    let fourth = snapshot(&plimsoll, dir.path(), "d.json");
    let (_, output) = run(&["diff", &second, &third]);
    assert!(output.contains("7 -> 7 held; 0 new, 0 released, 4 kept"), "{output}");
    assert!(output.contains("3 holds of") && output.contains("not recorded before"), "{output}");
    assert!(!output.contains(" more than "), "{output}");
    let (_, output) = run(&["diff", &second, &third, &fourth, "--json"]);
    assert!(objects(&output, "leftover").is_empty(), "{output}");
    assert_eq!(objects(&output, "pool")[0]["unrecorded"], 3, "{output}");
}

#[test]
fn two_poolers_are_told_apart_and_a_full_pool_is_full_for_all() {
    let (postgres, plimsoll) = house(|ini| ini.set("default_pool_size", "5"));
    let other = pooler(Ini::new(&postgres));
    let dir = reading_folder();
    let before = snapshot(&plimsoll, dir.path(), "a.json");
    let mut held: Vec<Client> =
        ["hog", "hog", "hog", "hog", "small"].into_iter().map(|name| app(&plimsoll, name)).collect();
    held.iter_mut().for_each(|client| drop(client.query("BEGIN")));
    let mut waiting = app(&plimsoll, "small");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    wait_for_pool(&plimsoll, "p0", &[("cl_waiting", 1)]);
    let (_, output) = by_config(&plimsoll, &["diff", &before, "--app", "small"]);
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.contains("1 waits for pool p0/app, the oldest for"), "{output}");
    assert!(
        output.contains(": 5 of 5 are held (0 before); 1 of them by what was chosen (0 before)."),
        "{output}"
    );
    let (_, output) = by_config(&other, &["diff", &before]);
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.contains("The snapshots are of two poolers (127.0.0.1:"), "{output}");
    assert!(!output.contains("restarted"), "{output}");
}

#[test]
fn statements_are_not_for_stats_users() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = app(&plimsoll, "shop");
    client.query("BEGIN");
    let seen = |user: &str| {
        let mut console = plimsoll.login(user, "pgbouncer").client();
        format!("{:?}", console.query("SHOW SNAPSHOT").rows)
    };
    assert!(seen("admin").contains("BEGIN"));
    assert!(!seen("stats").contains("BEGIN") && seen("stats").contains("shop"));
}

#[test]
fn wrong_files_are_answered_in_words() {
    let dir = reading_folder();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path.display().to_string()
    };
    let other = path("other.json", "{\"a\": 1}");
    let cut = path("cut.json", "{\"plimsoll_snapshot\":1,\n\"head\":{");
    let newer = path("newer.json", "{\"plimsoll_snapshot\":7}");
    for (file, words) in [
        ("/nowhere/a.json", "No such file"),
        (other.as_str(), "it is not a snapshot"),
        (cut.as_str(), "it is cut off: it ends in line 2"),
        (newer.as_str(), "it is a snapshot of format 7"),
        ("/", "Is a directory"),
    ] {
        let (code, output) = run(&["diff", file, &other]);
        assert_eq!(code, 1, "{output}");
        assert!(output.contains(file) && output.contains(words), "{file}: {output}");
    }
}

#[test]
fn the_box_keeps_some_and_shows_them() {
    let dir = box_folder();
    let (_postgres, plimsoll) =
        house(|ini| kept_in(ini, dir.path()).own("snapshot_interval", "50ms").own("snapshot_keep", "3"));
    let told = plimsoll.wait_for_log("snapshots: one every 50 ms, the last 3 are kept in", SOON);
    assert!(told.contains(" LOG "), "{told}");
    let mut client = app(&plimsoll, "shop");
    client.query("BEGIN");
    let first = eventually_ok("three kept", SOON, || {
        let kept = kept_by(&plimsoll)?;
        if kept.rows.len() == 3 {
            Ok(kept.cell(2, "name").to_string())
        } else {
            Err(format!("{:?}", kept.rows))
        }
    });
    eventually_ok("the next three", SOON, || {
        let kept = of_reason(dir.path(), "interval");
        let is_gone = !kept.iter().any(|path| path.ends_with(&first));
        if is_gone && kept.len() == 3 { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    // Without hurry, so that what is shown can be read before it goes.
    plimsoll.console().query("SET snapshot_interval = '1h'");
    plimsoll.wait_for_log("snapshots: one every 60 min", SOON);
    let kept = plimsoll.show("SNAPSHOTS");
    assert_eq!((kept.rows.len(), kept.cell(0, "reason"), kept.cell(0, "run")), (3, "interval", "this"));
    let newest = kept.cell(0, "name").to_string();
    let path = dir.path().join(&newest);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = document(&path);
    assert_eq!(kept["holds"][0]["application"], "shop");
    assert_eq!(kept["head"]["listen"][0], format!("127.0.0.1:{}", plimsoll.port()));
    let (code, output) = by_config(&plimsoll, &["snapshot", &newest]);
    assert_eq!(code, 0, "{output}");
    assert_eq!(output, fs::read_to_string(&path).unwrap());
    for words in [&["snapshots"][..], &["snapshots", "--json"], &["diff", "--since", "1s"]] {
        let (code, output) = by_config(&plimsoll, words);
        assert_eq!(code, 0, "{output}");
    }
    let (code, output) = by_config(&plimsoll, &["diff", "--since", "1h"]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("Nothing is kept of 60 min ago: the oldest snapshot is of"), "{output}");
    let (code, output) = by_config(&plimsoll, &["snapshot", "none.json"]);
    assert_eq!(code, 1);
    assert!(output.contains("no such snapshot: none.json") && output.contains("SHOW SNAPSHOTS"), "{output}");
}

/// `SHOW SNAPSHOTS`, which is refused for a moment after the start.
fn kept_by(plimsoll: &Plimsoll) -> Result<Table, String> {
    let answers = plimsoll.console().try_query("SHOW SNAPSHOTS").map_err(|failure| failure.to_string())?;
    answers.into_iter().next().ok_or_else(|| String::from("no answer"))
}

#[test]
fn without_a_folder_it_is_said_once_and_when_asked() {
    let (_postgres, plimsoll) = house(|ini| ini.own("snapshot_dir", "off"));
    plimsoll.wait_for_log("snapshots: none are kept: snapshot_dir is off", SOON);
    let (code, output) = by_config(&plimsoll, &["diff", "--since", "1h"]);
    assert_eq!(code, 1);
    assert!(output.contains("no snapshots are kept: snapshot_dir is off"), "{output}");
    assert!(output.contains("snapshot_dir = /var/lib/plimsoll"), "{output}");
    let error = plimsoll.console().fail("SHOW SNAPSHOTS");
    assert_eq!(error.sqlstate, "55000");
}

/// The pooler of the same files and sockets again, after it has ended.
fn again(plimsoll: &Plimsoll) -> Process {
    let dir = plimsoll.dir();
    let log = fs::File::options().append(true).open(dir.join("log")).unwrap();
    let owner = fs::metadata(dir).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command
            .args([format!("--reuid={}", owner.uid()), format!("--regid={}", owner.gid())])
            .arg("--clear-groups");
    }
    command.arg(binary_of(BINARY)).arg(plimsoll.ini_path()).current_dir(dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let process = Process::start(&mut command);
    eventually_ok("the pooler to accept again", SOON, || {
        std::net::TcpStream::connect(("127.0.0.1", plimsoll.port()))
            .map(drop)
            .map_err(|error| error.to_string())
    });
    process
}

#[test]
fn since_works_after_a_restart_and_says_so() {
    let dir = box_folder();
    let (_postgres, mut plimsoll) = house(|ini| kept_in(ini, dir.path()));
    let mut clients: Vec<Client> = (0..2).map(|_| app(&plimsoll, "shop")).collect();
    clients.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/cart'*/")));
    plimsoll.signal(Signal::Terminate);
    eventually_ok("the snapshot of the end", SOON, || {
        let kept = of_reason(dir.path(), "shutdown");
        if kept.len() == 1 { Ok(()) } else { Err(format!("{:?}", names(dir.path()))) }
    });
    let last = document(&of_reason(dir.path(), "shutdown")[0]);
    assert_eq!(last["holds"].as_array().unwrap().len(), 2, "taken before anybody is sent away");
    drop(clients);
    plimsoll.wait_exit(SOON);
    let _again = again(&plimsoll);
    let mut clients: Vec<Client> = (0..5).map(|_| app(&plimsoll, "shop")).collect();
    clients.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/cart'*/")));
    let output = eventually_ok("the kept one", SOON, || {
        let (code, output) = by_config(&plimsoll, &["diff", "--since", "1h"]);
        if code == 0 { Ok(output) } else { Err(output) }
    });
    assert!(output.contains("The pooler was restarted in between"), "{output}");
    assert!(output.contains("shop route=/cart holds 3 connections more than"), "{output}");
    assert!(output.contains("(2 -> 5 of 20 of pool p0/app)"), "{output}");
}

#[test]
fn a_shutdown_on_the_console_leaves_one() {
    let dir = box_folder();
    let (_postgres, mut plimsoll) = house(|ini| kept_in(ini, dir.path()));
    let mut client = app(&plimsoll, "shop");
    client.query("BEGIN");
    plimsoll.console().send(Batch::new().query("SHUTDOWN").bytes()).unwrap();
    plimsoll.wait_exit(SOON);
    let kept = of_reason(dir.path(), "shutdown");
    assert_eq!(kept.len(), 1, "{:?}", names(dir.path()));
    assert_eq!(document(&kept[0])["holds"].as_array().unwrap().len(), 1);
}

#[test]
fn the_first_wait_in_vain_leaves_one() {
    let dir = box_folder();
    let (_postgres, plimsoll) =
        house(|ini| kept_in(ini, dir.path()).set("default_pool_size", "2").set("query_wait_timeout", "1"));
    let mut leaked: Vec<Client> = (0..2).map(|_| app(&plimsoll, "leaky")).collect();
    leaked.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/leak'*/")));
    let mut victims: Vec<Client> = (0..5).map(|_| app(&plimsoll, "victim")).collect();
    for victim in &mut victims {
        victim.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    }
    for victim in &mut victims {
        assert_eq!(victim.expect_closed().unwrap().message, "query_wait_timeout");
    }
    let kept = eventually_ok("a snapshot", SOON, || {
        let kept = kept_by(&plimsoll)?;
        if kept.rows.is_empty() { Err(String::from("none")) } else { Ok(kept) }
    });
    assert_eq!((kept.rows.len(), kept.cell(0, "reason")), (1, "queue_timeout"), "one for all of them");
    let found = document(&of_reason(dir.path(), "queue_timeout")[0]);
    let holds = found["holds"].as_array().unwrap();
    assert_eq!(holds.len(), 2, "{found}");
    assert!(holds.iter().all(|hold| hold["application"] == "leaky"), "{found}");
}

#[test]
fn a_pooler_that_is_killed_leaves_whole_files() {
    let dir = box_folder();
    let postgres = plimsoll_testkit::Postgres::start_with(PostgresOptions::default());
    let ini = |keep: &str| {
        kept_in(Ini::new(&postgres), dir.path())
            .own("snapshot_interval", "10ms")
            .own("snapshot_keep", keep)
            .set("default_pool_size", "10")
    };
    let mut plimsoll = pooler(ini("1000"));
    let mut process = None;
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut parts = 0;
    for round in 0..25 {
        let mut clients: Vec<Client> = (0..10).map(|_| app(&plimsoll, &"x".repeat(200))).collect();
        clients.iter_mut().for_each(|client| drop(client.query("BEGIN /*route='/long/long/long'*/")));
        let wanted = known.len() + 2 + round % 3;
        eventually_ok("more snapshots", SOON, || {
            let count = of_reason(dir.path(), "interval").len();
            if count >= wanted { Ok(()) } else { Err(format!("{count}")) }
        });
        match &mut process {
            None => {
                plimsoll.signal(Signal::Kill);
                plimsoll.wait_exit(SOON);
            }
            Some(process) => {
                let process: &mut Process = process;
                process.signal(Signal::Kill);
                process.wait(SOON);
            }
        }
        let now = names(dir.path());
        parts += now.iter().filter(|name| name.ends_with(".part")).count();
        assert!(known.is_subset(&now), "none is lost");
        known = now.into_iter().filter(|name| name.ends_with(".json")).collect();
        for name in &known {
            document(&dir.path().join(name));
        }
        process = Some(again(&plimsoll));
        // What was left unfinished is swept away by the next one, but for what that is writing itself.
        eventually_ok("a sweep", SOON, || {
            let left = names(dir.path()).into_iter().filter(|name| name.ends_with(".part")).count();
            if left <= 1 { Ok(()) } else { Err(format!("{left}")) }
        });
    }
    assert!(parts <= 25, "at most one is unfinished at each end");
    assert!(known.len() >= 50, "{}", known.len());
}

#[test]
fn a_full_disk_is_one_warning_and_harms_nobody() {
    let like = box_folder();
    let Some(disk) = TinyDisk::mount(like.path()) else { return };
    let ballast = disk.path().join("ballast");
    // Until there is no room, not for a byte.
    let full =
        Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", ballast.display())).output().unwrap();
    assert!(!full.status.success(), "it is full now");
    let (_postgres, plimsoll) = house(|ini| kept_in(ini, &disk.path()).own("snapshot_interval", "20ms"));
    let told = plimsoll.wait_for_log("snapshots: none can be kept", SOON);
    assert!(told.contains("WARNING") && told.contains("No space left on device"), "{told}");
    let mut client = app(&plimsoll, "shop");
    for _ in 0..200 {
        assert_eq!(client.value("SELECT 7"), "7");
    }
    assert!(plimsoll.show("SNAPSHOTS").rows.is_empty());
    assert_eq!(plimsoll.log().matches("snapshots: none can be kept").count(), 1);
    assert!(!names(&disk.path()).iter().any(|name| name.ends_with(".json")), "{:?}", names(&disk.path()));
    fs::remove_file(&ballast).unwrap();
    plimsoll.wait_for_log("snapshots: they can be kept again", SOON);
    // It is full of snapshots soon: then the oldest go, and new ones are kept all the same.
    let told = plimsoll.wait_for_log("the disk is full: the oldest", SOON);
    assert!(told.contains("WARNING") && told.contains("had to go early for a new one"), "{told}");
    let newest = kept_by(&plimsoll).unwrap().cell(0, "name").to_string();
    eventually_ok("ten more", SOON, || {
        let kept = names(&disk.path());
        let newer = kept.range(newest.clone()..).filter(|name| name.ends_with(".json")).count();
        if newer > 10 { Ok(()) } else { Err(format!("{kept:?}")) }
    });
    assert_eq!(plimsoll.log().matches("the disk is full").count(), 1);
    assert_eq!(plimsoll.log().matches("snapshots: none can be kept").count(), 1);
    wait_for_pool(&plimsoll, "p0", &[("sv_active", 0)]);
}

#[test]
fn of_a_folder_that_fails_only_that_is_said() {
    let dir = box_folder();
    let (_postgres, plimsoll) = house(|ini| kept_in(ini, dir.path()));
    plimsoll.wait_for_log("the last 96 are kept in", SOON);
    plimsoll.console().query("SET snapshot_dir = '/nowhere/at/all'");
    plimsoll.wait_for_log("snapshots: none can be kept: /nowhere/at/all", SOON);
    assert!(!plimsoll.log().contains("are kept in /nowhere"), "{}", plimsoll.log());
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    let dir = box_folder();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let (_postgres, plimsoll) = house(|ini| kept_in(ini, dir.path()).own("snapshot_interval", "10ms"));
    plimsoll.wait_for_log("others may write to", SOON);
    plimsoll.still_works(&["p0"]);
    assert!(names(dir.path()).is_empty());
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    plimsoll.wait_for_log("they can be kept again", SOON);
    let of_another = TempDir::new("of-another");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let mut console = plimsoll.console();
        console.query(&format!("SET snapshot_dir = '{}'", of_another.path().display()));
        plimsoll.wait_for_log("belongs to another user", Duration::from_secs(20));
    }
}

#[test]
fn a_disk_that_does_not_answer_keeps_nobody_waiting() {
    let like = box_folder();
    let Some(mut disk) = Freezer::mount(like.path()) else { return };
    let (_postgres, plimsoll) = house(|ini| kept_in(ini, &disk.path()).own("snapshot_interval", "50ms"));
    let name = eventually_ok("a snapshot", SOON, || {
        let kept = kept_by(&plimsoll)?;
        if kept.rows.is_empty() { Err(String::from("none")) } else { Ok(kept.cell(0, "name").to_string()) }
    });
    disk.freeze();
    let told = plimsoll.wait_for_log("snapshots: none can be kept: the disk has not answered for 10 s", SOON);
    assert!(told.contains("WARNING"), "{told}");
    let mut client = app(&plimsoll, "shop");
    assert_eq!(client.value("SELECT 7"), "7");
    // What is known without the disk is shown, what is not is refused at once.
    assert!(!plimsoll.show("SNAPSHOTS").rows.is_empty());
    let error = plimsoll.console().fail(&format!("SHOW SNAPSHOT '{name}'"));
    assert!(error.message.contains("the disk has not answered for"), "{}", error.message);
    disk.thaw();
    plimsoll.wait_for_log("snapshots: they can be kept again", SOON);
    assert_eq!(plimsoll.log().matches("snapshots: none can be kept").count(), 1);
}
