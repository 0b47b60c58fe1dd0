//! `--watch`: the same question again and again, with what changed since the last look.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use jiff::Zoned;

use crate::draw::{Canvas, Margin};
use crate::failure::Failure;
use crate::fleet::{Answered, Fleet, Silent};
use crate::json;
use crate::place::{Place, World};
use crate::question::Question;
use crate::report::{self, Answer};
use crate::sheet::{Mark, Pace, Sheet};
use crate::sys::{Event, hear_signals, terminal_size};
use crate::table::Table;
use crate::text::{cut, harmless};

#[cfg(test)]
mod tests;

/// Alternate screen on, cursor off; the way back (xterm's private modes 1049 and 25).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// To the upper left corner; to the end of the line is blank; to the end of the screen is blank.
const HOME: &str = "\x1b[H";
const BLANK_LINE: &str = "\x1b[K";
const BLANK_REST: &str = "\x1b[J";
/// Exit status of a process that a signal ended, less the signal's number.
const SIGNALLED: i32 = 128;

/// What was seen at the last look: by key of a row, its cells that are no times.
#[derive(Debug, Default)]
struct Seen(Option<HashMap<String, Vec<String>>>);

/// What is different from the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Changes {
    new: usize,
    changed: usize,
    gone: usize,
}

/// Looks until somebody stops it.
///
/// # Errors
/// The first look fails, or nothing can be written.
pub(crate) fn watch(
    question: &Question<'_>,
    place: &Place,
    every: Duration,
    world: &dyn World,
) -> Result<(), Failure> {
    let mut looker =
        Looker { question, fleet: Fleet::new(place, world), silent: Vec::new(), seen: Seen::default() };
    let first = looker.look()?;
    if question.look.json {
        return in_objects(looker, first, every);
    }
    let canvas = Canvas { margin: Margin::Marks, ..report::canvas(question, world) };
    if io::stdout().is_terminal() {
        on_screen(looker, first, every, world, canvas)
    } else {
        in_blocks(looker, first, every, canvas)
    }
}

/// Who asks.
struct Looker<'a> {
    question: &'a Question<'a>,
    fleet: Fleet<'a>,
    /// Who did not answer at the last look.
    silent: Vec<Silent>,
    seen: Seen,
}

impl Looker<'_> {
    fn look(&mut self) -> Result<Table, Failure> {
        let Answered { table, silent } = self.fleet.ask(self.question)?;
        self.silent = silent;
        Ok(table)
    }

    /// The next look; a pooler that is away for a moment is waited for.
    fn again(&mut self) -> Result<Result<Table, String>, Failure> {
        match self.look() {
            Ok(table) => Ok(Ok(table)),
            Err(why @ (Failure::Unreachable { .. } | Failure::Broken { .. } | Failure::Refused { .. })) => {
                Ok(Err(harmless(&why.to_string()).into_owned()))
            }
            Err(why) => Err(why),
        }
    }

    /// The head line and the lines of an answer.
    fn block(&mut self, table: Table, every: Duration, canvas: Canvas) -> Vec<String> {
        let (table, counts) = report::chosen(self.question, table);
        let mut answer = report::made(self.question, &table, counts);
        let changes = match &mut answer {
            Answer::Sheet(sheet, _) => self.seen.mark(sheet),
            Answer::Lines(_) => Changes::default(),
        };
        let count = match &answer {
            Answer::Sheet(..) => format!("  {} {}{}", counts.wanted, self.question.noun, changes.text()),
            Answer::Lines(_) => String::new(),
        };
        let silent: Vec<&str> = self.silent.iter().map(|silent| &*silent.id).collect();
        let silent = match silent.is_empty() {
            true => String::new(),
            false => format!("  no answer of instance {}", harmless(&silent.join(", "))),
        };
        let head = format!("{}  every {}s{count}{silent}", now(), every.as_secs_f64());
        let head = canvas.columns.map_or(head.clone(), |columns| cut(&head, columns).into_owned());
        let mut lines = vec![canvas.bold(&head)];
        lines.extend(report::laid_out(&answer, self.question, canvas));
        lines
    }
}

impl Seen {
    /// Marks the rows of a sheet and remembers them.
    fn mark(&mut self, sheet: &mut Sheet) -> Changes {
        let mut changes = Changes::default();
        let still: Vec<bool> = sheet.heads.iter().map(|head| head.pace == Pace::Still).collect();
        let mut now = HashMap::new();
        for line in &mut sheet.lines {
            let cells = line.cells.iter().zip(&still).filter(|(_, still)| **still);
            let cells: Vec<String> = cells.map(|((text, _), _)| text.clone()).collect();
            if let Some(before) = &self.0 {
                line.mark = match before.get(&line.key) {
                    None => Mark::New,
                    Some(before) if *before != cells => Mark::Changed,
                    Some(_) => Mark::None,
                };
            }
            match line.mark {
                Mark::New => changes.new += 1,
                Mark::Changed => changes.changed += 1,
                Mark::None => {}
            }
            now.insert(line.key.clone(), cells);
        }
        if let Some(before) = &self.0 {
            changes.gone = before.keys().filter(|key| !now.contains_key(*key)).count();
        }
        self.0 = Some(now);
        changes
    }
}

impl Changes {
    fn text(self) -> String {
        let parts = [(self.new, "+ new"), (self.changed, "~ changed"), (self.gone, "gone")];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if parts.is_empty() { String::new() } else { format!("  ({})", parts.join(", ")) }
    }
}

fn now() -> String {
    Zoned::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Objects, each with the time of its look.
fn in_objects(mut looker: Looker<'_>, first: Table, every: Duration) -> Result<(), Failure> {
    let mut table: Result<Table, String> = Ok(first);
    loop {
        match table {
            Ok(table) => {
                let (table, _) = report::chosen(looker.question, table);
                let at = Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
                report::print(&json::lines(&table, Some(("at", &at))))?;
            }
            Err(why) => complain(&why),
        }
        std::thread::sleep(every);
        table = looker.again()?;
    }
}

/// One block after another, with an empty line between them.
fn in_blocks(mut looker: Looker<'_>, first: Table, every: Duration, canvas: Canvas) -> Result<(), Failure> {
    let mut table: Result<Table, String> = Ok(first);
    loop {
        match table {
            Ok(table) => {
                let mut lines = looker.block(table, every, canvas);
                lines.push(String::new());
                report::print(&lines)?;
            }
            Err(why) => complain(&why),
        }
        std::thread::sleep(every);
        table = looker.again()?;
    }
}

fn complain(why: &str) {
    // Whoever does not read it sees that nothing comes any more.
    let _ = writeln!(io::stderr(), "plimsoll: {} {why}", now());
}

/// In place on the terminal, on the alternate screen, until a signal comes.
fn on_screen(
    mut looker: Looker<'_>,
    first: Table,
    every: Duration,
    world: &dyn World,
    canvas: Canvas,
) -> Result<(), Failure> {
    let (resized, wakes) = channel();
    hear_signals(move |event| match event {
        Event::Resized => {
            // Nobody listens any more when the process ends.
            let _ = resized.send(());
        }
        Event::Interrupted => end(0),
        Event::Terminated(signal) => end(SIGNALLED + signal),
    })?;
    let _screen = Screen::enter()?;
    let mut lines = looker.block(first, every, canvas);
    loop {
        draw(&lines)?;
        wait(&wakes, every);
        let canvas = Canvas { margin: Margin::Marks, ..report::canvas(looker.question, world) };
        match looker.again()? {
            Ok(table) => lines = looker.block(table, every, canvas),
            Err(why) => {
                if let Some(head) = lines.first_mut() {
                    *head = canvas.bold(&format!("{}  {why} (below: as it was)", now()));
                }
            }
        }
    }
}

/// Waits for the next look; a new size makes it come at once, so that it fits again.
fn wait(wakes: &Receiver<()>, every: Duration) {
    match wakes.recv_timeout(every) {
        // All sizes that a dragged corner went through are one.
        Ok(()) => while wakes.try_recv().is_ok() {},
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => std::thread::sleep(every),
    }
}

/// Leaves the screen clean and ends: called from the thread of signals, while the other one may wait for the pooler.
fn end(status: i32) {
    // The lock keeps half a drawing from following.
    let mut out = io::stdout().lock();
    let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    std::process::exit(status);
}

/// The alternate screen, left when dropped.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Screen> {
        let mut out = io::stdout().lock();
        out.write_all(ENTER.as_bytes())?;
        out.flush()?;
        Ok(Screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // A terminal that is gone needs no cleaning.
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

fn draw(lines: &[String]) -> io::Result<()> {
    let rows = terminal_size().map_or(24, |(_, rows)| rows);
    let mut out = io::stdout().lock();
    out.write_all(frame(lines, rows).as_bytes())?;
    out.flush()
}

/// The bytes of one drawing: as many lines as the terminal has, each overwriting what was there.
fn frame(lines: &[String], rows: usize) -> String {
    let shown = if lines.len() > rows { rows.saturating_sub(1) } else { lines.len() };
    let hidden = lines.len() - shown;
    let more = (hidden > 0).then(|| format!("… {hidden} more lines"));
    let lines: Vec<String> =
        lines.iter().take(shown).chain(&more).map(|line| format!("{line}{BLANK_LINE}")).collect();
    format!("{HOME}{}{BLANK_REST}", lines.join("\r\n"))
}
