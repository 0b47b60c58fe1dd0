//! When a thousand clients hear the same bad news in one second, the log says it a few times and then how often.
//!
//! Lines are of one kind if they differ only in numbers and in whose line it is. Only warnings and errors are counted
//! together: connections that come and go are logged one by one, as scripts that read the log expect.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lines of one kind that are written within [`WINDOW`].
const LINES_MAX: u32 = 20;

const WINDOW: Duration = Duration::from_secs(1);

/// Kinds that are kept apart; with more, nothing is held back.
const KINDS_MAX: usize = 256;

/// Characters that make the kind of a line.
const KIND_CHARS_MAX: usize = 160;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Storm(HashMap<String, Kind>);

#[derive(Debug)]
struct Kind {
    since: Instant,
    lines: u32,
    held_back: u32,
    last: String,
}

/// What to do with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is written.
    Write,
    /// It is counted.
    HoldBack,
}

impl Storm {
    /// A line comes. What is to be written before it, and whether it is written itself.
    pub(super) fn handle_line(&mut self, message: &str, now: Instant) -> (Vec<String>, Fate) {
        let over = self.take_over(now);
        if self.0.len() >= KINDS_MAX {
            return (over, Fate::Write);
        }
        let kind = self.0.entry(kind(message)).or_insert_with(|| Kind {
            since: now,
            lines: 0,
            held_back: 0,
            last: String::new(),
        });
        kind.lines += 1;
        if kind.lines <= LINES_MAX {
            return (over, Fate::Write);
        }
        kind.held_back += 1;
        kind.last = message.to_string();
        (over, Fate::HoldBack)
    }

    /// What is to be told of kinds whose time is over.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        self.0.retain(|_, kind| {
            let goes_on = now.saturating_duration_since(kind.since) < WINDOW;
            if !goes_on && kind.held_back > 0 {
                told.push(format!(
                    "{} more lines like this in a second, the last: {}",
                    kind.held_back, kind.last
                ));
            }
            goes_on
        });
        told
    }
}

/// A message without its numbers and without whose line it is (`C-0x…: database/user@address `).
fn kind(message: &str) -> String {
    let text = match message.split_once(": ") {
        Some((who, rest)) if who.starts_with("C-0x") || who.starts_with("S-0x") => {
            rest.split_once(' ').map_or(rest, |(_, rest)| rest)
        }
        _ => message,
    };
    let mut out = String::new();
    for character in text.chars().take(KIND_CHARS_MAX) {
        match character {
            digit if digit.is_ascii_digit() => {
                if !out.ends_with('#') {
                    out.push('#');
                }
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_told_in_a_few_lines_and_a_number() {
        let (mut storm, begin) = (Storm::default(), Instant::now());
        let line = |number: u32| {
            format!(
                "C-0x{number:x}: db/user@10.0.0.1:{number} pooler error: query_wait_timeout; {number} wait"
            )
        };
        let fates: Vec<_> = (0..1000).map(|number| storm.handle_line(&line(number), begin).1).collect();
        assert_eq!(fates.iter().filter(|fate| **fate == Fate::Write).count(), 20);
        // Something else goes by untouched.
        assert_eq!(storm.handle_line("another thing", begin), (Vec::new(), Fate::Write));
        let (told, fate) = storm.handle_line("a third", begin + WINDOW);
        assert_eq!(fate, Fate::Write);
        assert_eq!(told, [format!("980 more lines like this in a second, the last: {}", line(999))]);
        assert_eq!(storm.handle_line(&line(1), begin + WINDOW).1, Fate::Write, "and it begins anew");
    }

    #[test]
    fn hostile_kinds_do_not_fill_the_memory() {
        let (mut storm, begin) = (Storm::default(), Instant::now());
        for number in 0_u32..10_000 {
            let letters: String = number.to_string().bytes().map(|digit| char::from(digit + 20)).collect();
            storm.handle_line(&letters, begin);
        }
        assert!(storm.0.len() <= KINDS_MAX);
    }
}
