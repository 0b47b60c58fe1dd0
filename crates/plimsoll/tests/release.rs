//! Server connections are taken back by hand: what the client sees next, in every state of a hold, and that nothing it says
//! runs outside the transaction it believed in.

#![allow(clippy::unwrap_used)]

mod common;

use common::lost::{ASLEEP, INSERT, SLEEP, half_batch, new, pooled, send};
use common::taken::{app, believes_in_a_failed_transaction, error_of, hold_in, house_of_one, nothing_stands};
use common::{BINARY, backend, wait_for_pool};
use plimsoll_testkit::{Client, Failure, Plimsoll, binary_of, run_beside, tags};

/// `RELEASE HOLD n …`: what has come of it.
#[track_caller]
fn release(plimsoll: &Plimsoll, hold: &str, how: &str) -> String {
    plimsoll.console().query(&format!("RELEASE HOLD {hold} {how}")).cell(0, "result").to_string()
}

/// Somebody else has the very same connection at once.
#[track_caller]
fn the_next_one_has_it(plimsoll: &Plimsoll, pid: u32, what: &str) {
    assert_eq!(backend(&mut app(plimsoll, "next")), pid, "{what}");
}

#[test]
fn a_transaction_is_taken_and_stays_failed_for_its_client() {
    for mode in ["transaction", "session"] {
        let (postgres, plimsoll) = house_of_one(mode, |ini| ini);
        let pid = pooled(&plimsoll);
        type Begin = fn(&mut Client);
        let cases: [(&str, &str, Begin); 2] = [
            ("idle in transaction", "in a transaction", |client| {
                client.query("BEGIN");
                client.query(INSERT);
            }),
            ("aborted transaction", "in a failed one", |client| {
                client.query("BEGIN");
                client.query(INSERT);
                client.fail("SELECT nonsense");
            }),
        ];
        for (state, what, begin) in cases {
            let what = format!("{mode}: {what}");
            let mut client = app(&plimsoll, "keeper");
            begin(&mut client);
            let hold = hold_in(&plimsoll, state);
            assert_eq!(release(&plimsoll, &hold, ""), "taken", "{what}");
            the_next_one_has_it(&plimsoll, pid, &what);
            nothing_stands(&postgres, &what);
            believes_in_a_failed_transaction(&mut client, "RELEASE by admin", &what);
            client.leave();
            wait_for_pool(&plimsoll, "p0", &[("sv_active", 0), ("cl_waiting", 0), ("sv_tested", 0)]);
            nothing_stands(&postgres, &what);
        }
        let history = plimsoll.show("HISTORY");
        let ended =
            (0..history.rows.len()).filter(|row| history.cell(*row, "ended").contains("taken by RELEASE"));
        assert_eq!(ended.count(), 2, "{mode}: {history:?}");
        let actions = plimsoll.show("ACTIONS");
        assert_eq!(actions.rows.len(), 2, "{mode}");
        assert_eq!((actions.cell(0, "what"), actions.cell(0, "application_name")), ("taken", "keeper"));
    }
}

#[test]
fn half_a_batch_and_a_copy_are_cancelled() {
    let (postgres, plimsoll) = house_of_one("transaction", |ini| ini.own("batch_hold_bytes", "0"));
    let pid = pooled(&plimsoll);
    for opened in ["", "BEGIN"] {
        let status = if opened.is_empty() { 'I' } else { 'E' };
        let what = format!("half a batch after '{opened}'");
        let mut client = app(&plimsoll, "keeper");
        if !opened.is_empty() {
            client.query(opened);
        }
        send(&mut client, &half_batch().flush());
        for tag in *b"12C" {
            assert_eq!(client.read().unwrap().tag, tag);
        }
        let hold = hold_in(&plimsoll, "client not sending");
        assert_eq!(release(&plimsoll, &hold, ""), "taken", "{what}");
        the_next_one_has_it(&plimsoll, pid, &what);
        let heard = client.run(&half_batch().query(INSERT).sync());
        assert_eq!((tags(&heard).as_str(), heard[1].status()), ("EZ", status), "{what}");
        assert_eq!(error_of(&heard).sqlstate, "57014", "{what}");
        if status == 'E' {
            believes_in_a_failed_transaction(&mut client, "RELEASE by admin", &what);
        }
        assert_eq!(client.value("SELECT 2"), "2", "{what}");
        client.leave();

        let what = format!("COPY after '{opened}'");
        let mut client = app(&plimsoll, "keeper");
        if !opened.is_empty() {
            client.query(opened);
        }
        send(&mut client, &new().query("COPY marks FROM STDIN"));
        assert_eq!(client.read().unwrap().tag, b'G');
        send(&mut client, &new().copy_data(b"cut\n"));
        let hold = hold_in(&plimsoll, "client not sending");
        assert_eq!(release(&plimsoll, &hold, ""), "taken", "{what}");
        the_next_one_has_it(&plimsoll, pid, &what);
        let heard = client.cycle().unwrap();
        assert_eq!((tags(&heard).as_str(), heard[1].status()), ("EZ", status), "{what}");
        assert_eq!(error_of(&heard).sqlstate, "57014", "{what}");
        send(&mut client, &new().copy_data(b"late\n").copy_done());
        if status == 'E' {
            believes_in_a_failed_transaction(&mut client, "RELEASE by admin", &what);
        }
        assert_eq!(client.value("SELECT 2"), "2", "{what}");
        client.leave();
        nothing_stands(&postgres, &what);
    }
}

#[test]
fn what_executes_is_released_by_force_alone() {
    for mode in ["transaction", "session"] {
        let (postgres, plimsoll) = house_of_one(mode, |ini| ini);
        let pid = pooled(&plimsoll);
        let mut client = app(&plimsoll, "worker");
        client.query("BEGIN");
        client.query(INSERT);
        send(&mut client, &new().query(SLEEP));
        postgres.wait_for_sessions(ASLEEP, 1);
        let hold = hold_in(&plimsoll, "executing");
        assert_eq!(release(&plimsoll, &hold, ""), "nothing: the server is not done with it");
        assert_eq!(release(&plimsoll, &hold, "CLOSE"), "nothing: the server is not done with it");
        assert_eq!(postgres.count_sessions(ASLEEP), 1, "{mode}: it goes on");
        assert_eq!(release(&plimsoll, &hold, "FORCE"), "taken");
        let heard = client.cycle().unwrap();
        assert_eq!(
            (error_of(&heard).sqlstate.as_str(), heard.last().unwrap().status()),
            ("57014", 'E'),
            "{mode}"
        );
        the_next_one_has_it(&plimsoll, pid, mode);
        believes_in_a_failed_transaction(&mut client, "RELEASE by admin", mode);
        nothing_stands(&postgres, mode);
        // And a client that is closed by force.
        send(&mut client, &new().query(SLEEP));
        postgres.wait_for_sessions(ASLEEP, 1);
        let hold = hold_in(&plimsoll, "executing");
        assert_eq!(release(&plimsoll, &hold, "CLOSE FORCE"), "client closed");
        let told = client.expect_closed().expect("a reason");
        assert!(told.detail.is_some_and(|detail| detail.contains("RELEASE by admin")), "{mode}");
        postgres.wait_for_sessions(ASLEEP, 0);
    }
}

#[test]
fn a_session_gives_up_what_it_does_not_need() {
    let (_postgres, plimsoll) = house_of_one("session", |ini| ini);
    let pid = pooled(&plimsoll);
    let mut client = app(&plimsoll, "idler");
    client.query("SET TimeZone = 'Asia/Tokyo'");
    client.query("SELECT 1");
    let hold = hold_in(&plimsoll, "idle in session");
    assert_eq!(release(&plimsoll, &hold, "IDLE 3600"), "nothing: it was used again or given back meanwhile");
    assert_eq!(release(&plimsoll, &hold, ""), "taken");
    the_next_one_has_it(&plimsoll, pid, "session");
    // It notices nothing.
    assert_eq!(client.value("SHOW TimeZone"), "Asia/Tokyo");
    assert_eq!(client.value("SELECT 3"), "3");
    for (state, pin) in
        [("CREATE TEMP TABLE mine (a int)", "temp table"), ("PREPARE mine AS SELECT 1", "prepare")]
    {
        client.query(state);
        let hold = hold_in(&plimsoll, "idle in session");
        assert_eq!(
            release(&plimsoll, &hold, ""),
            "nothing: the session would lose what it has at the server",
            "{pin}"
        );
        client.query("BEGIN");
        let hold = hold_in(&plimsoll, "idle in transaction");
        assert_eq!(
            release(&plimsoll, &hold, ""),
            "nothing: the session would lose what it has at the server",
            "{pin}"
        );
        client.query("COMMIT");
    }
    let hold = hold_in(&plimsoll, "idle in session");
    assert_eq!(release(&plimsoll, &hold, "CLOSE"), "client closed");
    let told = client.expect_closed().expect("a reason");
    assert_eq!((told.severity.as_str(), told.sqlstate.as_str()), ("FATAL", "57P05"));
    assert!(told.detail.is_some_and(|detail| detail.starts_with("RELEASE by admin")));
    the_next_one_has_it(&plimsoll, pid, "closed");
    let gone = plimsoll.console().fail(&format!("RELEASE HOLD {hold}"));
    assert_eq!((gone.sqlstate.as_str(), gone.message), ("42704", format!("no such hold: {hold}")));
}

#[test]
fn a_client_that_does_not_read_in_the_middle_of_an_answer_can_only_be_closed() {
    let (postgres, plimsoll) = house_of_one("session", |ini| ini.own("spill", "off"));
    let mut client = app(&plimsoll, "lazy");
    send(&mut client, &new().query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"));
    postgres.wait_for_sessions("wait_event = 'ClientWrite'", 1);
    let hold = hold_in(&plimsoll, "client not reading");
    assert_eq!(release(&plimsoll, &hold, ""), "nothing: the server is not done with it");
    assert_eq!(release(&plimsoll, &hold, "CLOSE"), "client closed");
    assert_eq!(app(&plimsoll, "next").value("SELECT 1"), "1");
}

/// The status of the last ReadyForQuery says nothing of what a batch has begun or done since.
#[test]
fn what_the_client_has_not_been_told_is_never_taken_for_rolled_back() {
    let (postgres, plimsoll) = house_of_one("transaction", |ini| ini.own("batch_hold_bytes", "0"));
    let done = |sql: &str| new().parse("", sql).bind("", "", &[]).execute("", 0);
    // A transaction that a batch has begun: what comes behind its Sync belongs to it.
    let mut client = app(&plimsoll, "begins");
    send(&mut client, &done("BEGIN").flush());
    for tag in *b"12C" {
        assert_eq!(client.read().unwrap().tag, tag);
    }
    let hold = hold_in(&plimsoll, "client not sending");
    assert_eq!(release(&plimsoll, &hold, ""), "nothing: the server is not done with it");
    assert_eq!(tags(&client.run(&half_batch().sync())), "12CZ");
    client.query("ROLLBACK");
    client.leave();
    // A COMMIT that has been executed and not been answered.
    let mut client = app(&plimsoll, "commits");
    client.query("BEGIN");
    client.query(INSERT);
    send(&mut client, &done("COMMIT"));
    let hold = hold_in(&plimsoll, "executing");
    assert_eq!(release(&plimsoll, &hold, ""), "nothing: the server is not done with it");
    let heard = client.run(&new().sync());
    assert_eq!((tags(&heard).as_str(), heard[3].status()), ("12CZ", 'I'));
    let rows = postgres.login("app", "p0").client().value("SELECT count(*) FROM marks");
    assert_eq!(rows, "1", "what was told is what is there");
}

/// What was ordered is ordered of what was going on then.
#[test]
fn an_order_never_strikes_what_comes_later() {
    let (postgres, plimsoll) = house_of_one("session", |ini| ini);
    let mut client = app(&plimsoll, "worker");
    client.query("CREATE TEMP TABLE mine (a int)");
    send(&mut client, &new().query(SLEEP));
    postgres.wait_for_sessions(ASLEEP, 1);
    let hold = hold_in(&plimsoll, "executing");
    let keeps = "nothing: the session would lose what it has at the server";
    assert_eq!(release(&plimsoll, &hold, "FORCE"), keeps, "nothing is cancelled for nothing");
    assert_eq!(postgres.count_sessions(ASLEEP), 1);
    assert_eq!(
        release(&plimsoll, &hold, "IDLE 1 FORCE"),
        "nothing: it was used again or given back meanwhile"
    );
    client.cancel_key().cancel().unwrap();
    assert_eq!(error_of(&client.cycle().unwrap()).sqlstate, "57014");
    client.leave();
    let mut client = app(&plimsoll, "worker");
    send(&mut client, &new().query(SLEEP).query("SELECT 1"));
    postgres.wait_for_sessions(ASLEEP, 1);
    let hold = hold_in(&plimsoll, "executing");
    // A cancel could strike the one behind it.
    assert_eq!(release(&plimsoll, &hold, "FORCE"), "nothing: the server is not done with it");
    client.cancel_key().cancel().unwrap();
    assert_eq!(error_of(&client.cycle().unwrap()).sqlstate, "57014");
    assert_eq!(tags(&client.cycle().unwrap()), "TDCZ");
    client.query("BEGIN");
    client.query(INSERT);
    assert_eq!(tags(&client.run(&new().query("COMMIT"))), "CZ");
}

/// `plimsoll WORDS --config …`, as the pooler's system user.
fn command(plimsoll: &Plimsoll, words: &str) -> (i32, String) {
    let path = plimsoll.ini_path().display().to_string();
    let words: Vec<&str> = words.split(' ').chain(["--config", &path]).collect();
    let program = binary_of(BINARY).display().to_string();
    let (status, output) = run_beside(&program, |command| {
        command.args(&words).current_dir("/").env_remove("PGHOST").env_remove("COLUMNS");
    });
    (status.code().unwrap_or(-1), output)
}

#[test]
fn by_command_nothing_is_done_without_yes() {
    let (postgres, plimsoll) = house_of_one("transaction", |ini| ini.set("default_pool_size", "5"));
    let mut mine = app(&plimsoll, "web-1");
    mine.query("BEGIN");
    let mut other = app(&plimsoll, "job");
    other.query("BEGIN");
    let (status, output) = command(&plimsoll, "release --app web-*");
    assert_eq!(status, 0, "{output}");
    assert!(output.contains("would roll back and take the connection"), "{output}");
    assert!(output.contains("nothing was done; with --yes it is") && !output.contains("job"), "{output}");
    assert_eq!(mine.value("SELECT 1"), "1");
    let (_, output) = command(&plimsoll, "release --app web-* --idle-over 1h --yes");
    assert!(output.contains("no holds"), "{output}");
    let (status, output) = command(&plimsoll, "release --app web-* --yes --json");
    assert_eq!(status, 0, "{output}");
    assert!(output.contains("\"result\":\"taken\""), "{output}");
    believes_in_a_failed_transaction(&mut mine, "RELEASE by", "by command");
    nothing_stands(&postgres, "by command");
    assert_eq!(other.value("SELECT 1"), "1");
    let (_, output) = command(&plimsoll, "actions");
    assert!(output.contains("taken") && output.contains("web-1"), "{output}");

    let (status, output) = command(&plimsoll, "cap --app job 1 --for 1h");
    assert_eq!(status, 0, "{output}");
    assert!(
        output.contains(
            "application \"job\" would be capped at 1 server connections for 1h00m; it holds 1 now"
        )
    );
    assert!(plimsoll.console().query("CAP").rows.is_empty());
    let (_, output) = command(&plimsoll, "cap --app job 1 --for 1h --yes");
    assert!(output.contains("job") && output.contains("CAP by"), "{output}");
    let (_, output) = command(&plimsoll, "cap");
    assert!(output.contains("job"), "{output}");
    let (_, output) = command(&plimsoll, "cap --app job off --yes");
    assert!(output.contains("no caps"), "{output}");
    for wrong in [
        "release",
        "release x",
        "cap 5",
        "cap --app a",
        "cap --app a -1",
        "cap --app a 5 --for 0",
        "release 1 --idle-over 5x",
    ] {
        let (status, output) = command(&plimsoll, wrong);
        assert_eq!(status, 2, "{wrong}: {output}");
    }
}

#[test]
fn at_the_very_moment_when_the_client_speaks_either_comes_first() {
    let (postgres, plimsoll) = house_of_one("transaction", |ini| ini);
    let mut console = plimsoll.console();
    for round in 0..200 {
        let mut client = app(&plimsoll, "racer");
        client.query("BEGIN");
        let hold = hold_in(&plimsoll, "idle in transaction");
        send(&mut client, &new().query(INSERT).query("ROLLBACK"));
        // By then it may be over.
        match console.try_query(&format!("RELEASE HOLD {hold}")) {
            Ok(_) => {}
            Err(Failure::Server(error)) if error.sqlstate == "42704" => {}
            Err(failure) => panic!("round {round}: {failure}"),
        }
        let first = client.cycle().unwrap();
        let ran = tags(&first) == "CZ";
        assert_eq!(first.last().unwrap().status(), if ran { 'T' } else { 'E' }, "round {round}");
        if !ran {
            assert_eq!(error_of(&first).sqlstate, "25P02", "round {round}");
        }
        let second = client.cycle().unwrap();
        assert_eq!((tags(&second).as_str(), second[1].status()), ("CZ", 'I'), "round {round}");
        assert_eq!(client.value("SELECT 1"), "1");
        client.leave();
    }
    nothing_stands(&postgres, "races");
}
