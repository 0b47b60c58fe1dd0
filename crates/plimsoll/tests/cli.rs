//! `plimsoll holds` and the like: the console from the command line.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{BINARY, backend, house};
use plimsoll_testkit::{Batch, Ini, Plimsoll, binary_of, free_port, run_beside};
use serde_json::Value;

/// Words of a command, as the pooler's system user, without anything of our environment that says where a pooler is.
fn run(words: &[&str], vars: &[(&str, &str)]) -> (i32, String) {
    let program = binary_of(BINARY).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(words).current_dir("/");
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGPASSFILE", "HOME", "COLUMNS"] {
            command.env_remove(name);
        }
        command.envs(vars.iter().copied());
    });
    (status.code().unwrap_or(-1), output)
}

/// The same with the pooler's configuration.
fn by_config(plimsoll: &Plimsoll, words: &str) -> (i32, String) {
    let path = plimsoll.ini_path().display().to_string();
    let words: Vec<&str> = words.split(' ').chain(["--config", &path]).collect();
    run(&words, &[])
}

/// The same over TCP.
fn by_url(plimsoll: &Plimsoll, user: &str, password: &str, words: &str) -> (i32, String) {
    let url = format!("postgres://{user}@127.0.0.1:{}/pgbouncer", plimsoll.port());
    let words: Vec<&str> = words.split(' ').chain(["--url", &url]).collect();
    run(&words, &[("PGPASSWORD", password)])
}

fn scram(ini: Ini) -> Ini {
    ini.set("auth_type", "scram-sha-256")
}

fn objects(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_question_is_answered_over_both_sockets() {
    let (_postgres, plimsoll) = house(scram);
    let mut client = plimsoll.login("app", "p0").password("app-secret").client();
    client.query("BEGIN");
    for words in [
        "holds",
        "holds --join",
        "waiters",
        "sites",
        "leaks",
        "pins",
        "history",
        "backends",
        "doctor",
        "clients",
        "clients --by app,host,site,user,database",
    ] {
        let (code, output) = by_config(&plimsoll, words);
        assert_eq!(code, 0, "{words} over the Unix socket: {output}");
        let (code, output) = by_url(&plimsoll, "admin", "admin-secret", words);
        assert_eq!(code, 0, "{words} over TCP: {output}");
        let (code, output) = by_config(&plimsoll, &format!("{words} --json"));
        assert_eq!(code, 0, "{words} --json: {output}");
        objects(&output);
    }
    let log = plimsoll.log();
    assert!(log.contains("pgbouncer access from unix socket"), "the system user needs no password: {log}");
}

#[test]
fn a_hold_is_shown_and_told() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let login = plimsoll.login("app", "p0").parameter("application_name", "till\u{1b}[2J");
    let mut client = login.client();
    client.query("BEGIN");
    let pid = backend(&mut client);
    let (code, output) = by_config(&plimsoll, "holds");
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("idle in transaction") && output.contains("p0"), "{output}");
    assert!(!output.contains('\u{1b}'), "{output}");
    let (_, output) = by_config(&plimsoll, "holds --json");
    let holds = objects(&output);
    assert_eq!(holds.len(), 1, "{output}");
    assert_eq!(holds[0]["database"], "p0");
    assert_eq!(holds[0]["pid"], pid);
    let (_, output) = by_config(&plimsoll, "holds --app till* --database p* --user app --json");
    assert_eq!(objects(&output).len(), 1, "{output}");
    for filter in ["--database p1", "--user other", "--app till", "--site none"] {
        let (code, output) = by_config(&plimsoll, &format!("holds {filter}"));
        assert_eq!((code, output.trim()), (0, "no holds: none of 1 fits the filters"), "{filter}");
    }
    let (code, output) = by_config(&plimsoll, &format!("why {pid}"));
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("p0"), "{output}");
    let client_id = holds[0]["client"].as_u64().unwrap();
    let (code, output) = by_config(&plimsoll, &format!("why {client_id}"));
    assert_eq!(code, 0, "{output}");
    client.query("COMMIT");
    let (code, output) = by_config(&plimsoll, "holds");
    assert_eq!((code, output.trim()), (0, "no holds"));
}

#[test]
fn clients_are_counted_in_groups() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let login = |name: &str| plimsoll.login("app", "p0").parameter("application_name", name).client();
    let mut clients = [login("web"), login("web"), login("cron")];
    clients[0].query("BEGIN");
    let (code, output) = by_config(&plimsoll, "clients --by app --user app --json");
    assert_eq!(code, 0, "{output}");
    let groups: Vec<_> = objects(&output)
        .iter()
        .map(|group| {
            (group["app"].as_str().unwrap().to_owned(), group["clients"].clone(), group["holding"].clone())
        })
        .collect();
    assert_eq!(groups, [("web".into(), 2.into(), 1.into()), ("cron".into(), 1.into(), 0.into())]);
    drop(clients);
}

#[test]
fn what_is_wrong_is_told_with_a_status() {
    let (_postgres, plimsoll) = house(scram);
    let (code, output) = by_url(&plimsoll, "admin", "wrong-secret", "holds");
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("did not let \"admin\" in") && output.contains("PGPASSWORD"), "{output}");
    assert!(!output.contains("wrong-secret"), "{output}");
    let (code, output) = by_url(&plimsoll, "app", "app-secret", "holds");
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("may not use the console") && output.contains("admin_users"), "{output}");
    let nowhere = format!("postgres://admin@127.0.0.1:{}/pgbouncer", free_port());
    let (code, output) = run(&["doctor", "--url", &nowhere], &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("nobody listens there"), "{output}");
    let (code, output) = run(&["holds", "--config", "/none/such.ini"], &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("/none/such.ini"), "{output}");
    let secret = "postgres://admin:hidden-secret@127.0.0.1/pgbouncer";
    let (code, output) = run(&["holds", "--url", secret], &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("PGPASSWORD") && !output.contains("hidden-secret"), "{output}");
    let wrong: [&[&str]; 5] =
        [&["why"], &["why", "me"], &["holds", "--limit", "0"], &["clients", "--by", "colour"], &["hold"]];
    for words in wrong {
        let (code, output) = run(words, &[]);
        assert_eq!(code, 2, "{words:?}: {output}");
    }
}

#[test]
fn other_servers_are_named() {
    let (postgres, plimsoll) = house(|ini| ini.own("compat", "pgbouncer"));
    // In PgBouncer's shape, too: nobody meets it by accident.
    let (code, output) = by_config(&plimsoll, "holds");
    assert_eq!((code, output.trim()), (0, "no holds"));
    let url = format!("postgres://app@127.0.0.1:{}/pgbouncer", postgres.port());
    let (code, output) = run(&["holds", "--url", &url], &[]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("is not the console of a pooler"), "{output}");
}

#[test]
fn a_check_fails_for_a_leak_only() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    for words in ["leaks", "leaks --check", "leaks --check --json"] {
        let (code, output) = by_config(&plimsoll, words);
        assert_eq!(code, 0, "{words}: {output}");
    }
}

#[test]
fn the_doctor_comes_when_the_house_is_full_or_paused() {
    let (_postgres, plimsoll) = house(|ini| ini.set("max_client_conn", "2"));
    let clients: Vec<_> = (0..2).map(|_| plimsoll.client("app", "p0")).collect();
    assert!(plimsoll.login("app", "p0").refusal().message.contains("max_client_conn"));
    let (code, output) = by_config(&plimsoll, "doctor");
    assert_eq!(code, 0, "{output}");
    let (code, output) = by_url(&plimsoll, "admin", "admin-secret", "doctor");
    assert_eq!(code, 0, "{output}");
    drop(clients);
    let mut console = plimsoll.console();
    console.query("PAUSE");
    let mut waiting = plimsoll.client("app", "p0");
    waiting.send(Batch::new().query("SELECT 1").bytes()).unwrap();
    let (code, output) = by_config(&plimsoll, "doctor");
    assert_eq!(code, 0, "{output}");
    console.query("RESUME");
}

#[test]
fn watching_goes_on_block_after_block() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let mut child = Command::new(binary_of(BINARY))
        .args(["holds", "--watch", "0.1", "--url"])
        .arg(format!("postgres://admin@127.0.0.1:{}/pgbouncer", plimsoll.port()))
        .env("PGPASSWORD", "admin-secret")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("every 0.1s  0 holds"));
    assert_eq!(lines.next().unwrap(), "no holds");
    let mut client = plimsoll.client("app", "p0");
    client.query("BEGIN");
    let marked = lines.take(10_000).find(|line| line.starts_with("+ ")).expect("a new hold");
    assert!(marked.contains("p0") && !marked.contains('\u{1b}'), "{marked}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_terminal_is_left_as_it_was() {
    let (_postgres, plimsoll) = house(|ini| ini);
    let watch = format!(
        "timeout --foreground --preserve-status -s INT 1 {} holds --watch 0.1 --config {}",
        binary_of(BINARY).display(),
        plimsoll.ini_path().display()
    );
    let (status, output) = run_beside("script", |command| {
        command.args(["-q", "-e", "-c", &watch, "/dev/null"]).env("TERM", "xterm").current_dir("/");
    });
    assert_eq!(status.code(), Some(0), "{output:?}");
    assert!(output.contains("\u{1b}[?1049h") && output.contains("no holds"), "{output:?}");
    assert!(output.trim_end().ends_with("\u{1b}[?25h\u{1b}[?1049l"), "{output:?}");
}

#[test]
fn a_file_named_like_a_command_can_be_served() {
    let (_postgres, plimsoll) = house(|ini| ini);
    std::fs::write(plimsoll.dir().join("holds"), "[pgbouncer]\nlisten_prt = 1\n").unwrap();
    let program = binary_of(BINARY).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(["serve", "holds"]).current_dir(plimsoll.dir());
    });
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains("listen_prt"), "{output}");
    // A file that is there is no mistyped command.
    std::fs::rename(plimsoll.dir().join("holds"), plimsoll.dir().join("hold")).unwrap();
    let (_, output) = run_beside(&program, |command| {
        command.arg("hold").current_dir(plimsoll.dir());
    });
    assert!(output.contains("listen_prt"), "{output}");
}
