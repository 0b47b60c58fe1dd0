use clap::Parser;

use super::*;
use crate::table::made as table;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    ask: Ask,
}

fn question(line: &Line) -> Question<'_> {
    match Task::of(&line.ask) {
        Task::Ask(question) => question,
        other => panic!("no single question: {other:?}"),
    }
}

const PLAIN: Canvas = Canvas { columns: None, colours: Colours::Off, margin: Margin::None };

fn shown(line: &str, table: Table, canvas: Canvas) -> Vec<String> {
    let line = Line::try_parse_from(format!("plimsoll {line}").split(' ')).expect("a good line");
    let question = question(&line);
    let (table, counts) = chosen(&question, table);
    laid_out(&made(&question, &table, counts), &question, canvas)
}

fn holds() -> Table {
    table(
        &[
            ("hold", 20),
            ("client", 20),
            ("database", 25),
            ("application_name", 25),
            ("age_us", 20),
            ("verdict", 25),
        ],
        &["1|7|shop|web|200000000|leak", "2|8|shop|cron|1000|ok"],
    )
}

#[test]
fn a_table_is_chosen_and_counted() {
    assert_eq!(
        shown("holds", holds(), PLAIN),
        [
            "client  database  app     age  verdict",
            "     7  shop      web   3m20s  leak",
            "     8  shop      cron    1ms  ok"
        ]
    );
    assert_eq!(shown("holds --limit 1", holds(), PLAIN).last().map(String::as_str), Some("… 1 of 2 holds"));
    assert_eq!(shown("holds --app w*", holds(), PLAIN).len(), 2);
    assert_eq!(shown("holds --app x", holds(), PLAIN), ["no holds: none of 2 fits the filters"]);
    assert_eq!(shown("leaks", table(&[("site", 20)], &[]), PLAIN), ["no suspects and leaks"]);
    assert_eq!(
        shown("clients --by app", holds(), PLAIN)[1],
        "cron        1        0        0     1ms             -"
    );
}

#[test]
fn lines_stand_under_their_sections() {
    let doctor = table(
        &[("section", 25), ("line", 25)],
        &["clients|12 of 100", "clients|none refused", "pools|p0: 1 leak\x1b[2J among two", "|behind"],
    );
    assert_eq!(
        shown("doctor", doctor.clone(), PLAIN),
        ["clients", "  12 of 100", "  none refused", "pools", "  p0: 1 leak\\x1b[2J among two", "  behind"]
    );
    let narrow = Canvas { columns: Some(20), ..PLAIN };
    assert!(shown("doctor", doctor, narrow).iter().all(|line| crate::text::width(line) <= 20));
    assert_eq!(shown("why 7", table(&[("why", 25)], &["It holds one."]), PLAIN), ["  It holds one."]);
    assert_eq!(shown("why 7", Table::default(), PLAIN), ["nothing to tell"]);
}

#[test]
fn verdicts_in_lines_stand_out() {
    let canvas = Canvas { colours: Colours::On, ..PLAIN };
    let why = |text: &str| shown("why 7", table(&[("why", 25)], &[text]), canvas).remove(0);
    assert_eq!(why("a leak: b"), "  \x1b[31ma leak: b\x1b[0m");
    assert_eq!(why("SUSPECT by rule"), "  \x1b[33mSUSPECT by rule\x1b[0m");
    assert_eq!(why("no leakage"), "  no leakage");
}

#[test]
fn only_a_leak_fails_a_check() {
    assert!(has_leak(&holds()));
    assert!(!has_leak(&table(&[("verdict", 25)], &["suspect", "-"])));
    assert!(has_leak(&table(&[("site", 20)], &["1"])));
    assert!(!has_leak(&table(&[("site", 20)], &[])));
}

#[test]
fn every_question_is_one_command() {
    let commands = [
        ("doctor", "SHOW DOCTOR"),
        ("holds", "SHOW HOLDS"),
        ("holds --join", "SHOW HOLDS JOIN"),
        ("holds --full", "SHOW HOLDS FULL"),
        ("waiters", "SHOW WAITERS"),
        ("sites", "SHOW SITES"),
        ("leaks --check", "SHOW LEAKS"),
        ("pins", "SHOW PINS"),
        ("history", "SHOW HISTORY"),
        ("snapshots", "SHOW SNAPSHOTS"),
        ("trend", "SHOW TREND"),
        ("backends", "SHOW BACKENDS"),
        ("clients", "SHOW VISITORS"),
        ("clients --by user,database", "SHOW VISITORS"),
        ("why 0x2a", "SHOW WHY 0x2a"),
        ("explain", "EXPLAIN ADMISSION"),
        ("explain shop", "EXPLAIN ADMISSION \"shop\""),
        ("explain shop my\"app", "EXPLAIN ADMISSION \"shop\" \"my\"\"app\""),
    ];
    for (words, command) in commands {
        let line = Line::try_parse_from(format!("plimsoll {words}").split(' ')).expect(words);
        assert_eq!(question(&line).command, command, "{words}");
    }
}
