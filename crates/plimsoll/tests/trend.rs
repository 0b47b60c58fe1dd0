//! More and more connections that nobody uses: what console, log, doctor and command line say, with a real PostgreSQL.
//! The history's interval is a second here, so that what takes a quarter of an hour is seen in half a minute.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::{BINARY, SOON, house_with};
use plimsoll_testkit::{
    Client, Ini, Plimsoll, Postgres, PostgresOptions, Table, binary_of, eventually, eventually_ok, run_beside,
};
use serde_json::Value;

/// A statement as a framework tags it.
const EXPORT: &str = "BEGIN /*route='/orders/export'*/";

/// How many may leak before it has to be seen.
const LEAKED_MAX: usize = 40;

fn trend_house(change: impl FnOnce(Ini) -> Ini) -> (Postgres, Plimsoll) {
    let options = PostgresOptions { max_connections: 100, ..PostgresOptions::default() };
    let ini = |ini: Ini| {
        ini.own("trend_interval", "1s").set("default_pool_size", "60").set("pool_mode", "transaction")
    };
    house_with(options, |given| change(ini(given)))
}

fn app(plimsoll: &Plimsoll, name: &str) -> Client {
    app_of(plimsoll, "p0", name)
}

fn app_of(plimsoll: &Plimsoll, database: &str, name: &str) -> Client {
    plimsoll.login("app", database).parameter("application_name", name).client()
}

/// SHOW TREND and the row of the pool.
fn pool(plimsoll: &Plimsoll) -> Option<(Table, usize)> {
    let trends = plimsoll.show("TREND");
    let row = trends.find(&[("what", "pool"), ("name", "p0/app")])?;
    Some((trends, row))
}

/// Waits until the pool's row has so many in this column.
fn wait_for(plimsoll: &Plimsoll, column: &str, wanted: u64) -> String {
    eventually_ok(&format!("{wanted} {column}"), SOON, || {
        let (trends, row) = pool(plimsoll).ok_or("no such pool")?;
        match trends.number(row, column) >= wanted {
            true => Ok(trends.cell(row, "verdict").to_owned()),
            false => Err(format!("{:?}", trends.rows)),
        }
    })
}

/// Leaks one connection after the other, each in a look of its own, until that is called a rise.
fn leak(plimsoll: &Plimsoll, beside: &mut Client) -> Vec<Client> {
    let mut leaked: Vec<Client> = Vec::new();
    loop {
        let mut client = app(plimsoll, "orders-api");
        client.query(EXPORT);
        leaked.push(client);
        beside.query("SELECT 1");
        if wait_for(plimsoll, "unused", leaked.len() as u64) == "rising" {
            return leaked;
        }
        assert!(leaked.len() < LEAKED_MAX, "{:?}", plimsoll.show("TREND").rows);
    }
}

#[test]
fn a_leak_is_called_rising_and_its_end_foretold() {
    let (_postgres, plimsoll) = trend_house(|ini| ini);
    let mut beside = app(&plimsoll, "web");
    beside.query("SELECT 1");
    let mut first = None;
    eventually("the pool's row", SOON, || {
        first = pool(&plimsoll);
        first.is_some()
    });
    let (trends, row) = first.unwrap();
    assert_eq!(trends.cell(row, "verdict"), "too short");
    assert!(trends.cell(row, "why").ends_with("of 8 intervals seen"), "{}", trends.cell(row, "why"));
    let leaked = leak(&plimsoll, &mut beside);
    let (trends, row) = pool(&plimsoll).unwrap();
    assert!(leaked.len() >= 8, "not by chance: {}", leaked.len());
    assert_eq!((trends.cell(row, "verdict"), trends.number(row, "cap")), ("rising", 60));
    assert!(trends.number(row, "held") >= leaked.len() as u64);
    let number = |column: &str| trends.cell(row, column).parse::<f64>().unwrap();
    assert!(number("p") < 0.001 && number("since_us") >= 8e6, "{:?}", trends.rows);
    assert!(number("per_hour_least") <= number("per_hour") && number("per_hour") <= number("per_hour_most"));
    // About one in a second or two, and the pool is not yet full.
    assert!((600.0..8000.0).contains(&number("per_hour")), "{:?}", trends.rows);
    let seconds = number("reached_in_us") / 1e6;
    assert!((5.0..300.0).contains(&seconds), "{:?}", trends.rows);
    assert!(number("reached_earliest_us") <= number("reached_in_us"));
    // The pool with its site, or the site alone where that was certain a look earlier.
    let log = plimsoll.wait_for_log("rising: ", SOON);
    let rises: Vec<&str> = log.lines().filter(|line| line.contains("rising: ")).collect();
    let is_told = |line: &&str| line.contains("WARNING") && line.contains("orders-api route=/orders/export");
    let warning = rises.iter().find(|line| is_told(line)).unwrap_or(&"");
    assert!(warning.contains("plimsoll diff --since 1h, plimsoll leaks"), "{rises:?}");
    let site = trends.find(&[("what", "site"), ("name", "orders-api route=/orders/export")]);
    assert_eq!(trends.cell(site.expect("the site's row"), "pools"), "p0/app");
    assert!(trends.find(&[("what", "target"), ("pools", "p0/app")]).is_some(), "{:?}", trends.rows);
    is_told_everywhere(&plimsoll);
    caps_follow_a_set(&plimsoll);
    drop(leaked);
    eventually("the end of the rise", SOON, || {
        pool(&plimsoll).is_some_and(|(trends, row)| trends.cell(row, "verdict") == "flat")
    });
    let rises = plimsoll.log().matches("rising: ").count();
    assert!(
        (1..6).contains(&rises),
        "one rise is told once, and when it is twice as near: {}",
        plimsoll.log()
    );
}

/// Of each of these columns the sites' rows.
fn sites(plimsoll: &Plimsoll) -> Vec<(String, u64, Option<u64>)> {
    let trends = plimsoll.show("TREND");
    let row = |row: usize| {
        (
            trends.cell(row, "pools").to_owned(),
            trends.number(row, "held"),
            trends.cell(row, "cap").parse().ok(),
        )
    };
    (0..trends.rows.len()).filter(|row| trends.cell(*row, "what") == "site").map(row).collect()
}

#[test]
fn a_site_that_leaks_in_several_pools_has_a_row_and_a_size_in_each() {
    let (_postgres, plimsoll) = trend_house(|ini| ini.set("default_pool_size", "20"));
    let mut leaked: Vec<Client> = Vec::new();
    let warned = |plimsoll: &Plimsoll| {
        let log = plimsoll.log();
        log.lines().filter(|line| line.contains("rising: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let is_of_pool = |line: &String| line.contains("pool p0/app") || line.contains("pool p1/app");
    while !warned(&plimsoll).iter().any(is_of_pool) {
        assert!(leaked.len() < 38, "{:?}", plimsoll.show("TREND").rows);
        for database in ["p0", "p1"] {
            let mut client = app_of(&plimsoll, database, "orders-api");
            client.query(EXPORT);
            leaked.push(client);
        }
        let wanted = leaked.len() as u64;
        eventually_ok("the sites' rows", SOON, || {
            let rows = sites(&plimsoll);
            match rows.iter().map(|(_, held, _)| held).sum::<u64>() == wanted {
                true => Ok(()),
                false => Err(format!("{wanted} wanted: {rows:?}")),
            }
        });
    }
    let mut rows = sites(&plimsoll);
    rows.sort();
    let pools: Vec<_> = rows.iter().map(|(pool, ..)| pool.as_str()).collect();
    assert_eq!(pools, ["p0/app", "p1/app"]);
    assert!(rows.iter().all(|(_, held, cap)| *cap == Some(20) && *held <= 20), "{rows:?}");
    // Nothing is said of more connections than there are places, nor of a time that is over.
    let target = |line: &&String| line.contains("rising: server ");
    for line in warned(&plimsoll).iter().filter(|line| !target(line)) {
        assert!(line.contains(" of 20 connections are held"), "{line}");
    }
    // Once the pools have been told of, their server is not told of as well.
    let lines = warned(&plimsoll);
    let first = lines.iter().position(is_of_pool).unwrap();
    assert!(!lines[first..].iter().any(|line| target(&line)), "{lines:?}");
}

/// The doctor and the command line.
fn is_told_everywhere(plimsoll: &Plimsoll) {
    let doctor = plimsoll.show("DOCTOR");
    let line = (0..doctor.rows.len()).find(|row| doctor.cell(*row, "section") == "trend");
    let line = doctor.cell(line.expect("a line about the trend"), "line");
    assert!(line.starts_with("RISING: ") && line.contains("p0/app"), "{line}");
    let (code, output) = by_config(plimsoll, "trend --json --database p0 --user app");
    assert_eq!(code, 0, "{output}");
    let rows: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = rows.iter().find(|row| row["what"] == "pool").expect("the pool");
    assert_eq!((&row["verdict"], &row["cap"]), (&Value::from("rising"), &Value::from(60)));
    assert!(row["reached_in_us"].as_u64().is_some(), "{row}");
    let (code, output) = by_config(plimsoll, "trend --app orders-api");
    assert!(code == 0 && output.contains("all held in") && output.contains("/orders/export"), "{output}");
    assert!(!output.contains("pool "), "a pool is no application: {output}");
    // Statements are for administrators only.
    let mut stats = plimsoll.login("stats", "pgbouncer").client();
    let shown = format!("{:?}", stats.query("SHOW TREND").rows);
    assert!(shown.contains("/orders/export") && !shown.contains("BEGIN"), "{shown}");
}

fn caps_follow_a_set(plimsoll: &Plimsoll) {
    plimsoll.console().query("SET default_pool_size = 70");
    wait_for(plimsoll, "cap", 70);
}

fn by_config(plimsoll: &Plimsoll, words: &str) -> (i32, String) {
    let path = plimsoll.ini_path().display().to_string();
    let program = binary_of(BINARY).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(words.split(' ')).args(["--config", &path]).current_dir("/").env_remove("COLUMNS");
    });
    (status.code().unwrap_or(-1), output)
}

#[test]
fn connections_in_use_do_not_rise_however_many() {
    let (_postgres, plimsoll) = trend_house(|ini| ini);
    let mut busy: Vec<Client> = Vec::new();
    while busy.len() < 25 {
        let mut client = app(&plimsoll, "web");
        client.query("BEGIN");
        busy.push(client);
        let wanted = busy.len() as u64;
        eventually("so many are held", SOON, || {
            busy.iter_mut().for_each(|client| drop(client.query("SELECT 1")));
            pool(&plimsoll).is_some_and(|(trends, row)| trends.number(row, "held") >= wanted)
        });
    }
    let (trends, row) = pool(&plimsoll).unwrap();
    assert_eq!(trends.cell(row, "verdict"), "flat", "{:?}", trends.rows);
    assert_eq!(trends.number(row, "held"), 25);
    assert!(!plimsoll.log().contains("rising: "), "{}", plimsoll.log());
}

#[test]
fn another_interval_begins_anew_and_pgbouncers_shape_has_it_too() {
    let (_postgres, plimsoll) = trend_house(|ini| ini.own("compat", "pgbouncer"));
    app(&plimsoll, "web").query("SELECT 1");
    let verdict = |wanted: &str| {
        eventually_ok(wanted, Duration::from_secs(30), || {
            let (trends, row) = pool(&plimsoll).ok_or("no such pool")?;
            let verdict = trends.cell(row, "verdict");
            if verdict == wanted { Ok(()) } else { Err(verdict.to_owned()) }
        });
    };
    verdict("flat");
    plimsoll.console().query("SET trend_interval = '2s'");
    verdict("too short");
}

#[test]
fn in_pgbouncers_shape_the_log_has_no_line_that_pgbouncer_does_not_have() {
    let (_postgres, plimsoll) = trend_house(|ini| {
        ini.own("compat", "pgbouncer").own("leak_idle_threshold", "1s").set("query_wait_timeout", "60")
    });
    let mut beside = app(&plimsoll, "web");
    let mut victim = app(&plimsoll, "victim");
    let mut leaked = leak(&plimsoll, &mut beside);
    // A leak as well, which others wait for.
    plimsoll.console().query(&format!("SET default_pool_size = {}", leaked.len()));
    plimsoll.console().query("RECONNECT");
    victim.send(plimsoll_testkit::Batch::new().query("SELECT 1").bytes()).unwrap();
    eventually("a leak", SOON, || {
        let leaks = plimsoll.show("SITES");
        (0..leaks.rows.len()).any(|row| leaks.cell(row, "verdict") == "leak")
    });
    let said = |plimsoll: &Plimsoll| {
        let log = plimsoll.log();
        let ours = |line: &&str| ["rising: ", "leak: ", "unleaked: "].iter().any(|word| line.contains(word));
        log.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(said(&plimsoll), [""; 0]);
    // They are there for whoever asks for them.
    plimsoll.console().query("SET verbose = 1");
    leaked[0].query("COMMIT");
    let log = plimsoll.wait_for_log("unleaked: a suspect of orders-api", SOON);
    let line = log.lines().find(|line| line.contains("unleaked: ")).unwrap();
    assert!(line.contains("DEBUG"), "{line}");
}
