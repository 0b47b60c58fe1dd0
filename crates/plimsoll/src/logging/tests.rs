use std::io::Write;

use super::*;

fn moment() -> Zoned {
    let civil = jiff::civil::date(2026, 11, 20).at(16, 1, 45, 240_000_000);
    civil.to_zoned(jiff::tz::TimeZone::UTC).expect("a time")
}

#[test]
fn a_line_is_pgbouncers() {
    let message = "C-0x560aaf5e3118: p3/bouncer@127.0.0.1:59692 closing because: database removed (age=0s)";
    assert_eq!(
        line(&moment(), 778, "LOG", message),
        format!("2026-11-20 16:01:45.240 UTC [778] LOG {message}\n")
    );
}

#[test]
fn a_line_stays_one_entry_whatever_is_in_it() {
    let text = line(&moment(), 1, "ERROR", "a\nb\tc\r\x1b[31md\u{9b}é");
    assert_eq!(text, "2026-11-20 16:01:45.240 UTC [1] ERROR a\n\tb\tc\\r\\u{1b}[31md\\u{9b}é\n");
}

#[test]
fn levels_have_pgbouncers_words() {
    let folder = Folder::new("words");
    let log = folder.log();
    let sink = Arc::new(Sink::open(Terminal::Quiet, Some(&log)).expect("a file"));
    let lines = tracing_subscriber::fmt::layer().event_format(Lines::default()).with_writer(sink);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
        tracing::error!(target: FATAL, "zero");
        tracing::error!("one {}", 1);
        tracing::warn!(count = 2, "two");
        tracing::info!("three\nmore");
        tracing::debug!("four");
        tracing::trace!("five");
    });
    let text = std::fs::read_to_string(&log).expect("a log");
    let pid = format!("[{}] ", std::process::id());
    let said: Vec<&str> =
        text.lines().map(|line| line.split_once(&pid).map_or(line, |(_, said)| said)).collect();
    let expected = [
        "FATAL zero",
        "ERROR one 1",
        "WARNING two count=2",
        "LOG three",
        "\tmore",
        "DEBUG four",
        "NOISE five",
    ];
    assert_eq!(said, expected);
}

#[test]
fn verbosity_is_a_level() {
    assert_eq!(
        [0, 1, 2, 9].map(level),
        [LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE, LevelFilter::TRACE]
    );
}

#[test]
fn a_log_file_is_appended_to_and_can_be_moved_away() {
    let folder = Folder::new("moved");
    let (log, old) = (folder.log(), folder.0.join("old"));
    std::fs::write(&log, "before\n").expect("written");
    let sink = Sink::open(Terminal::Quiet, Some(&log)).expect("a file");
    (&sink).write_all(b"one\n").expect("no error");
    std::fs::rename(&log, &old).expect("renamed");
    (&sink).write_all(b"two\n").expect("no error");
    sink.reopen(Some(&log)).expect("a file");
    (&sink).write_all(b"three\n").expect("no error");
    assert_eq!(std::fs::read_to_string(&old).expect("a log"), "before\none\ntwo\n");
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), "three\n");
    let error = sink.reopen(Some(&folder.0.join("no/such/folder"))).expect_err("there is no folder");
    assert!(error.to_string().contains("no/such/folder"), "{error}");
    (&sink).write_all(b"four\n").expect("no error");
    assert_eq!(std::fs::read_to_string(&log).expect("a log"), "three\nfour\n");
}

/// A folder that goes when the test is over.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("plimsoll-log-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Folder(path)
    }

    fn log(&self) -> std::path::PathBuf {
        self.0.join("log")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
