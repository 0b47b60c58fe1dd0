//! The console as a client sees it.

mod still;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plimsoll_config::{Compat, Mistake};
use plimsoll_proxy::{Console, ControlError, Level, Reply, Until, Visitor};

use super::AdminConsole;
use crate::pooler::Pooler;
use crate::reload::Applied;
pub(crate) use still::Still;
use still::plan;
pub(crate) use still::plan as plan_of;

/// A console whose files hold `plan(compat)`.
pub(crate) fn console(compat: Compat) -> AdminConsole {
    AdminConsole::new(Box::new(move || Ok(plan(compat))), Box::new(|_, _| {}))
}

/// Messages of a reply: type and content.
pub(crate) fn messages(bytes: &[u8]) -> Vec<(char, Vec<u8>)> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [tag, a, b, c, d, tail @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
        out.push((char::from(*tag), tail[..length].to_vec()));
        rest = &tail[length..];
    }
    assert_eq!(rest, b"", "bytes behind the last message");
    out
}

/// Fields of an ErrorResponse or NoticeResponse: `S=ERROR C=08P01 M=…`.
pub(crate) fn fields(body: &[u8]) -> String {
    let texts = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let fields: Vec<String> =
        texts.map(|f| format!("{}={}", char::from(f[0]), String::from_utf8_lossy(&f[1..]))).collect();
    fields.join(" ")
}

pub(crate) const ADMIN: Visitor<'_> = Visitor { level: Level::Admin, user: "admin", from: "127.0.0.1:1" };

fn reply(console: &AdminConsole, still: &Still, level: Level, text: &str) -> Reply {
    console.answer(still, Visitor { level, user: "tester", from: "127.0.0.1:1" }, text.as_bytes())
}

/// What an admin is told at once, as text: one line per message, `Z` left out after checking that it is the last.
pub(crate) fn said(console: &AdminConsole, still: &Still, text: &str) -> Vec<String> {
    said_to(console, still, Level::Admin, text)
}

fn said_to(console: &AdminConsole, still: &Still, level: Level, text: &str) -> Vec<String> {
    match reply(console, still, level, text) {
        Reply::Now(bytes) => spell(&bytes),
        Reply::Ask(reply) => spell(&reply(Vec::new())),
        Reply::When(_, reply) => spell(&reply()),
        Reply::Fetch(_) => vec!["fetch".to_string()],
        Reply::Exit => vec!["exit".to_string()],
    }
}

fn spell(bytes: &[u8]) -> Vec<String> {
    let mut messages = messages(bytes);
    assert_eq!(messages.pop(), Some(('Z', b"I".to_vec())), "every reply ends in ReadyForQuery");
    messages
        .into_iter()
        .map(|(tag, body)| match tag {
            'E' | 'N' => format!("{tag} {}", fields(&body)),
            'C' => format!("C {}", String::from_utf8_lossy(&body[..body.len() - 1])),
            _ => tag.to_string(),
        })
        .collect()
}

#[test]
fn every_command_reaches_the_pooler_and_is_answered_with_its_word() {
    for (line, told, tag) in [
        ("RESUME", "resume None", "RESUME"),
        ("resume app;", "resume Some(\"app\")", "RESUME"),
        ("RECONNECT", "reconnect None", "RECONNECT"),
        ("RECONNECT \"app\"", "reconnect Some(\"app\")", "RECONNECT"),
        ("KILL app", "kill app", "KILL"),
        ("KILL_CLIENT 12", "kill_client 12", "KILL_CLIENT"),
        ("KILL_CLIENT 0xAbc", "kill_client 2748", "KILL_CLIENT"),
        ("DISABLE app", "disable app", "DISABLE"),
        ("Enable app", "enable app", "ENABLE"),
        ("RELOAD", "reload", "RELOAD"),
        ("SHUTDOWN WAIT_FOR_CLIENTS", "shutdown WaitForClients", "SHUTDOWN"),
        ("shutdown wait_for_servers", "shutdown WaitForServers", "SHUTDOWN"),
    ] {
        let still = Still::new(Compat::Pgbouncer);
        assert_eq!(said(&console(Compat::Pgbouncer), &still, line), [format!("C {tag}")], "{line}");
        assert_eq!(*still.told.borrow(), [told], "{line}");
    }
}

#[test]
fn a_kill_without_a_name_is_for_every_database_that_has_a_pool() {
    let (console, still) = (console(Compat::Pgbouncer), Still::new(Compat::Pgbouncer));
    assert_eq!(said(&console, &still, "KILL"), ["C KILL"]);
    assert_eq!(*still.told.borrow(), ["kill app", "kill zeta"]);
}

#[test]
fn what_takes_its_time_is_answered_when_it_is_done() {
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    let app = || Some("app".to_string());
    for (line, until, tag) in [
        ("PAUSE", Until::Quiet(None), "C PAUSE"),
        ("PAUSE app", Until::Quiet(app()), "C PAUSE"),
        ("SUSPEND;", Until::Flushed, "C SUSPEND"),
        ("WAIT_CLOSE", Until::Renewed(None), "C WAIT_CLOSE"),
        ("wait_close \"app\"", Until::Renewed(app()), "C WAIT_CLOSE"),
    ] {
        match reply(&console, &still, Level::Admin, line) {
            Reply::When(waits_for, reply) => {
                assert_eq!(waits_for, until, "{line}");
                assert_eq!(spell(&reply()), [tag]);
            }
            other => panic!("{line}: {other:?}"),
        }
    }
    let told =
        ["pause None", "pause Some(\"app\")", "suspend", "wait_close None", "wait_close Some(\"app\")"];
    assert_eq!(*still.told.borrow(), told);
}

#[test]
fn nothing_can_be_paused_while_everything_is() {
    for (paused, suspended) in [(true, false), (false, true)] {
        let still = Still { paused, suspended, ..Still::new(Compat::Pgbouncer) };
        for line in ["PAUSE", "PAUSE app", "KILL", "KILL app"] {
            let expected = "E S=ERROR C=08P01 M=already suspended/paused";
            assert_eq!(said(&console(Compat::Pgbouncer), &still, line), [expected], "{line}");
        }
        assert_eq!(*still.told.borrow(), [] as [&str; 0]);
    }
}

#[test]
fn the_shutdown_that_ends_at_once_is_not_answered() {
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    assert!(matches!(reply(&console, &still, Level::Admin, "SHUTDOWN"), Reply::Exit));
    assert_eq!(*still.told.borrow(), ["shutdown Immediate"]);
}

#[test]
fn refusals_have_pgbouncers_words_and_three_fields() {
    let (console, still) = (console(Compat::Pgbouncer), Still::new(Compat::Pgbouncer));
    for (line, message) in [
        ("", "invalid command '', use SHOW HELP;"),
        (";", "invalid command ';', use SHOW HELP;"),
        ("foo", "invalid command 'foo', use SHOW HELP;"),
        ("show foo", "invalid command 'show foo', use SHOW HELP;"),
        ("show", "invalid command 'show', use SHOW HELP;"),
        ("select 1", "invalid command 'select 1', use SHOW HELP;"),
        ("set x", "invalid command 'set x', use SHOW HELP;"),
        ("show version;;", "invalid command 'show version;;', use SHOW HELP;"),
        ("show pools p0", "invalid command 'show pools p0', use SHOW HELP;"),
        ("reload zz", "invalid command 'reload zz', use SHOW HELP;"),
        ("suspend zz", "invalid command 'suspend zz', use SHOW HELP;"),
        ("shutdown foo", "invalid command 'shutdown foo', use SHOW HELP;"),
        ("show moves", "invalid command 'show moves', use SHOW HELP;"),
        ("pause pgbouncer", "cannot pause admin db: pgbouncer"),
        ("resume pgbouncer", "database pgbouncer is not paused"),
        ("kill pgbouncer", "cannot kill admin db: pgbouncer"),
        ("reconnect pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("disable pgbouncer", "cannot disable admin db: pgbouncer"),
        ("enable pgbouncer", "cannot enable admin db: pgbouncer"),
        ("disable", "a database is required"),
        ("enable", "a database is required"),
        ("kill_client", "invalid client pointer supplied"),
        ("kill_client x", "invalid client pointer supplied"),
        ("kill_client 0xg", "invalid client pointer supplied"),
        ("set foo=1", "SET failed"),
        ("set pool_mode=nope", "SET failed"),
        ("wait_close pgbouncer", "cannot wait in admin db: pgbouncer"),
        ("suspend app", "invalid command 'suspend app', use SHOW HELP;"),
        ("show fds zz", "invalid command 'show fds zz', use SHOW HELP;"),
    ] {
        let expected = format!("E S=ERROR C=08P01 M={message}");
        assert_eq!(said(&console, &still, line), [expected], "{line}");
    }
    assert_eq!(*still.told.borrow(), [] as [&str; 0], "nothing was done");
}

#[test]
fn refusals_of_the_pooler_are_passed_on() {
    for (error, line, message) in [
        (ControlError::NoSuchDatabase("zz".to_string()), "kill zz", "no such database: zz"),
        (ControlError::NotPaused("app".to_string()), "resume app", "database app is not paused"),
        (ControlError::PoolerNotPaused, "resume", "pooler is not paused/suspended"),
        (ControlError::AlreadyPaused, "pause", "already suspended/paused"),
        (ControlError::AlreadyPaused, "suspend", "already suspended/paused"),
        (ControlError::DatabasesPaused, "suspend", "cannot suspend with paused databases"),
        (ControlError::NoSuchDatabase("zz".to_string()), "wait_close zz", "no such database: zz"),
        (ControlError::ShuttingDown, "resume", "pooler is shutting down"),
        (ControlError::ClientNotFound, "kill_client 9", "client not found"),
    ] {
        let still = Still { refusal: Some(error), ..Still::new(Compat::Pgbouncer) };
        let expected = format!("E S=ERROR C=08P01 M={message}");
        assert_eq!(said(&console(Compat::Pgbouncer), &still, line), [expected], "{line}");
    }
}

#[test]
fn in_our_own_shape_a_refusal_has_its_sqlstate_and_a_hint() {
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    for (line, sqlstate) in [
        ("foo", "42601"),
        ("disable", "42601"),
        ("pause pgbouncer", "0A000"),
        ("resume pgbouncer", "55000"),
        ("kill_client x", "22023"),
        ("set foo=1", "22023"),
    ] {
        let said = said(&console, &still, line);
        assert!(said[0].starts_with(&format!("E S=ERROR C={sqlstate} M=")), "{line}: {said:?}");
    }
    let said = said(&console, &still, "set foo=1");
    assert!(said[0].contains(" D=") && said[0].contains(" H="), "{said:?}");
}

#[test]
fn a_key_of_our_own_is_set_like_any_other() {
    for compat in [Compat::Plimsoll, Compat::Pgbouncer] {
        let (console, still) = (console(compat), Still::new(compat));
        assert_eq!(said(&console, &still, "SET target_budget = 5"), ["C SET target_budget=5"]);
        assert_eq!(still.plan().own.target_budget.fixed(), Some(5));
        assert_eq!(said(&console, &still, "SET workers = 3"), ["C SET workers=3"]);
        assert_eq!(still.plan().own.workers, None, "only a restart changes it");
    }
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    for (line, why) in [
        ("SET target_budget = 0", "D=invalid value \"0\" for parameter target_budget: expected auto, off,"),
        ("SET target_budge = 5", "(did you mean \"target_budget\"?)"),
        ("SET connect_backoff_max = 5", ""),
        ("SET connect_backoff_min = '6s'", "connect_backoff_max (5s) is less than connect_backoff_min (6s)"),
    ] {
        let said = said(&console, &still, line);
        assert!(said[0].contains(why), "{line}: {said:?}");
    }
}

#[test]
fn who_resumes_the_wrong_thing_is_told_the_right_one() {
    for (error, line, hint) in [
        (ControlError::PoolerNotPaused, "resume", "RESUME and its name"),
        (ControlError::NotPaused("app".to_string()), "resume app", "RESUME without a name"),
    ] {
        let still = Still { refusal: Some(error), ..Still::new(Compat::Plimsoll) };
        let said = said(&console(Compat::Plimsoll), &still, line);
        assert!(said[0].contains(hint), "{line}: {said:?}");
    }
}

#[test]
fn while_everything_is_paused_nothing_is_paused_or_killed() {
    let still = Still { paused: true, ..Still::new(Compat::Pgbouncer) };
    for line in ["pause", "pause app", "kill", "kill app"] {
        let expected = "E S=ERROR C=08P01 M=already suspended/paused";
        assert_eq!(said(&console(Compat::Pgbouncer), &still, line), [expected], "{line}");
    }
    assert_eq!(*still.told.borrow(), [] as [&str; 0]);
}

#[test]
fn a_stats_user_may_look_and_no_more() {
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    for line in
        ["PAUSE", "RESUME", "RELOAD", "SHUTDOWN", "KILL", "KILL_CLIENT 1", "DISABLE app", "SET verbose=1"]
    {
        let said = said_to(&console, &still, Level::Stats, line);
        assert!(said[0].starts_with("E S=ERROR C=42501 M=admin access needed"), "{line}: {said:?}");
    }
    assert_eq!(*still.told.borrow(), [] as [&str; 0]);
    assert_eq!(said_to(&console, &still, Level::Stats, "SHOW VERSION"), ["T", "D", "C SHOW"]);
    let heard_out = said_to(&console, &still, Level::Stats, "SET datestyle = 'ISO'");
    assert_eq!(heard_out, ["N S=NOTICE C=00000 M=SET ignored", "C SET"]);
}

#[test]
fn settings_of_postgresql_are_heard_out() {
    let (console, still) = (console(Compat::Pgbouncer), Still::new(Compat::Pgbouncer));
    for key in
        ["client_encoding", "DateStyle", "timezone", "standard_conforming_strings", "extra_float_digits"]
    {
        let said = said(&console, &still, &format!("SET {key} TO 'x'"));
        assert_eq!(said, ["N S=NOTICE C=00000 M=SET ignored", "C SET"], "{key}");
    }
    assert_eq!(said(&console, &still, "SHOW datestyle"), ["T", "D", "C SHOW"]);
}

#[test]
fn help_is_a_notice_that_names_only_what_is_there() {
    for compat in [Compat::Plimsoll, Compat::Pgbouncer] {
        let (console, still) = (console(compat), Still::new(compat));
        let help = said(&console, &still, "SHOW HELP");
        assert_eq!(help.len(), 2);
        assert!(
            help[0].starts_with("N S=NOTICE C=00000 M=Console usage D=\n\tSHOW HELP|CONFIG|"),
            "{help:?}"
        );
        assert_eq!(help[1], "C SHOW");
        let shows = help[0].lines().filter_map(|line| line.strip_prefix("\tSHOW "));
        for name in shows.flat_map(|names| names.split('|')) {
            let name = name.replace("<client_id>", "1");
            let said = said(&console, &still, &format!("SHOW {name}"));
            let is_kept = name.starts_with("SNAPSHOT") && name != "SNAPSHOT";
            match is_kept {
                true => assert!(said[0].contains("M=no snapshots are kept"), "{name}: {said:?}"),
                false => assert_eq!(said.last().map(String::as_str), Some("C SHOW"), "{name}: {said:?}"),
            }
        }
    }
}

#[test]
fn a_snapshot_is_for_everybody_and_its_statements_for_admins() {
    for compat in [Compat::Plimsoll, Compat::Pgbouncer] {
        let (console, still) = (console(compat), Still::new(compat));
        for (level, sees) in [(Level::Admin, true), (Level::Stats, false)] {
            let Reply::Now(bytes) = reply(&console, &still, level, "SHOW SNAPSHOT") else {
                panic!("at once")
            };
            let rows: Vec<Vec<u8>> =
                messages(&bytes).into_iter().filter(|(tag, _)| *tag == 'D').map(|(_, body)| body).collect();
            let text = String::from_utf8_lossy(&rows.concat()).into_owned();
            assert!(text.contains("plimsoll_snapshot") && text.contains("0000000000000007"), "{text}");
            assert_eq!(text.contains("SELECT ?"), sees, "{level:?}: {text}");
        }
    }
}

#[test]
fn without_a_black_box_it_is_said_why() {
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    for line in ["SHOW SNAPSHOTS", "SHOW SNAPSHOT 'p6432-1a2b3c4d.20261121T140203.123Z.interval.json'"] {
        let said = said(&console, &still, line);
        assert!(said[0].starts_with("E S=ERROR C=55000 M=no snapshots are kept: "), "{said:?}");
        assert!(said[0].contains("snapshot_dir = /var/lib/plimsoll"), "{said:?}");
    }
}

#[test]
fn set_is_answered_with_key_and_value_and_comes_into_force() {
    let followed = Arc::new(AtomicUsize::new(0));
    let seen = followed.clone();
    let console = AdminConsole::new(
        Box::new(|| Ok(plan(Compat::Plimsoll))),
        Box::new(move |plan, applied| {
            assert_eq!((plan.general.default_pool_size, applied), (33, Applied::Set));
            seen.fetch_add(1, Ordering::Relaxed);
        }),
    );
    let still = Still::new(Compat::Plimsoll);
    assert_eq!(said(&console, &still, "set default_pool_size = '33';"), ["C SET default_pool_size=33"]);
    assert_eq!(still.plan().general.default_pool_size, 33);
    assert_eq!(followed.load(Ordering::Relaxed), 1);
}

#[test]
fn a_reload_with_mistakes_changes_nothing_and_says_so() {
    let mistake = |line| Mistake { file: "a.ini".into(), line, message: "unknown parameter: x".to_string() };
    let load = move || Err(vec![mistake(3), mistake(4)]);
    for (compat, expected) in [
        (Compat::Pgbouncer, "E S=ERROR C=F0000 M=RELOAD failed, see logs for additional details"),
        (
            Compat::Plimsoll,
            "E S=ERROR C=F0000 M=RELOAD failed, see logs for additional details \
             D=2 mistakes; the old configuration stays in force.",
        ),
    ] {
        let (load, still) = (load, Still::new(compat));
        let console = AdminConsole::new(Box::new(load), Box::new(|_, _| {}));
        assert_eq!(said(&console, &still, "RELOAD"), [expected]);
        assert_eq!(*still.told.borrow(), [] as [&str; 0]);
    }
}

#[test]
fn a_reload_keeps_what_only_a_restart_changes() {
    let port = |port: &str| {
        let mut plan = plan(Compat::Plimsoll);
        plan.general.listen_port = port.parse().expect("a port");
        for line in &mut plan.shown {
            if line.key == "listen_port" {
                line.value = Some(port.to_string());
            }
        }
        plan.general.default_pool_size = 5;
        plan
    };
    let console = AdminConsole::new(Box::new(move || Ok(port("7777"))), Box::new(|_, _| {}));
    let still = Still { plan: RefCell::new(Arc::new(port("6543"))), ..Still::new(Compat::Plimsoll) };
    assert_eq!(said(&console, &still, "RELOAD"), ["C RELOAD"]);
    assert_eq!(still.plan().general.listen_port, 6543);
    assert_eq!(still.plan().general.default_pool_size, 5);
}

#[test]
fn bytes_that_are_no_text_are_refused_and_repeated_in_bounds() {
    let (console, still) = (console(Compat::Pgbouncer), Still::new(Compat::Pgbouncer));
    let long = "ü".repeat(100_000);
    for text in [b"\xff\xfe".as_slice(), b"SHOW\0VERSION", long.as_bytes()] {
        match console.answer(&still, ADMIN, text) {
            Reply::Now(bytes) => {
                let said = spell(&bytes);
                assert!(said[0].starts_with("E S=ERROR C=08P01 M=invalid command '"), "{said:?}");
                assert!(bytes.len() < 1100, "{} bytes", bytes.len());
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_welcome_is_pgbouncers() {
    let expected = [
        ("server_version", "1.25.2/bouncer"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
    ];
    let welcome = console(Compat::Pgbouncer).welcome();
    assert_eq!(welcome, expected.map(|(name, value)| (name, value.to_string())));
}

#[test]
fn release_and_cap_are_for_administrators_and_say_who_they_were() {
    let (console, still) = (console(Compat::Plimsoll), Still::new(Compat::Plimsoll));
    let refused = said_to(&console, &still, Level::Stats, "RELEASE HOLD 1");
    assert!(refused[0].contains("admin access needed"), "{refused:?}");
    assert_eq!(said(&console, &still, "CAP APP 'web \"1\"' 5 FOR 3600"), ["T", "C SHOW"]);
    assert_eq!(said(&console, &still, "cap host known off;"), ["T", "C SHOW"]);
    let told = said(&console, &still, "CAP HOST unknown OFF");
    assert!(told[0].contains("there is no such cap"), "{told:?}");
    let told = said(&console, &still, "release hold 12 force");
    assert!(told[0].contains("no such hold: 12"), "{told:?}");
    for wrong in
        ["RELEASE", "RELEASE 12", "CAP APP", "CAP APP a", "CAP SITE a 5", "CAP APP a 5 FOR", "CAP APP a -1"]
    {
        let told = said(&console, &still, wrong);
        assert!(told[0].starts_with('E'), "{wrong}: {told:?}");
    }
    assert_eq!(
        *still.told.borrow(),
        [
            "cap Application(\"web \\\"1\\\"\") 5 Some(3600s) CAP by tester (127.0.0.1:1)",
            "uncap Host(\"known\") CAP by tester (127.0.0.1:1)",
            "uncap Host(\"unknown\") CAP by tester (127.0.0.1:1)",
            "release 12 RELEASE by tester (127.0.0.1:1)",
        ]
    );
}
