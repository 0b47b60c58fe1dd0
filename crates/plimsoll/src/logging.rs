//! The log, in PgBouncer's format: `2026-11-20 16:01:45.240 UTC [778] LOG message`.
//!
//! Nothing is buffered: a line is one write, and it is out before whatever it tells of can be seen by a client. It
//! goes to standard error, unless that is switched off, to `logfile`, and with `syslog = 1` to the system's log.

mod sink;
mod storm;
mod syslog;

use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Zoned;
use plimsoll_admin::Applied;
use plimsoll_config::{General, Plan};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use sink::Sink;
pub(crate) use sink::Terminal;
use storm::{Fate, Storm};
use syslog::Syslog;

/// Target of an event after which the process ends: it is written as FATAL.
pub(crate) const FATAL: &str = "fatal";

/// The log of the process.
pub(crate) struct Log {
    sink: Arc<Sink>,
    filter: reload::Handle<LevelFilter, tracing_subscriber::Registry>,
    verbose: u32,
}

impl Log {
    /// Opens the log and makes it the one of the process. `verbose` is what the command line asked for.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(terminal: Terminal, file: Option<&Path>, verbose: u32) -> std::io::Result<Log> {
        let sink = Arc::new(Sink::open(terminal, file)?);
        let (layer, filter) = reload::Layer::new(level(verbose));
        let lines = tracing_subscriber::fmt::layer()
            .event_format(Lines::default())
            .with_writer(sink.clone())
            .log_internal_errors(false);
        let subscriber = tracing_subscriber::registry().with(layer).with(filter_fn(is_ours)).with(lines);
        tracing::subscriber::set_global_default(subscriber).map_err(std::io::Error::other)?;
        Ok(Log { sink, filter, verbose })
    }

    /// Follows a plan that came into force.
    pub(crate) fn follow(&self, plan: &Plan, applied: Applied) {
        match applied {
            Applied::Reloaded => {
                if let Err(error) = self.sink.reopen(plan.general.logfile.as_deref()) {
                    tracing::error!("cannot open the log file, writing to the old one: {error}");
                }
            }
            Applied::Set => {}
        }
        self.set_verbose(plan.general.log.verbose);
        self.set_syslog(&plan.general);
    }

    /// Writes to the system's log too, or not, as the plan says.
    pub(crate) fn set_syslog(&self, general: &General) {
        self.sink.set_syslog(Syslog::of(general));
    }

    /// Takes the higher one of the command line's and the file's word.
    pub(crate) fn set_verbose(&self, verbose: u32) {
        // It can only fail when the subscriber is gone, and then there is no log.
        let _ = self.filter.reload(level(verbose.max(self.verbose)));
    }
}

/// What libraries say is theirs: it may repeat what was given to them, a URL with a password for one.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == FATAL || metadata.target().starts_with("plimsoll")
}

fn level(verbose: u32) -> LevelFilter {
    match verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    }
}

/// A line, its end included.
pub(crate) fn line(now: &Zoned, pid: u32, word: &str, message: &str) -> String {
    let mut out = format!("{} [{pid}] {word} ", now.strftime("%Y-%m-%d %H:%M:%S%.3f %Z"));
    for character in message.chars() {
        match character {
            '\n' => out.push_str("\n\t"),
            '\t' => out.push('\t'),
            // Names come from outside; what a terminal would obey is shown instead.
            other if other.is_control() => out.extend(other.escape_default()),
            other => out.push(other),
        }
    }
    out.push('\n');
    out
}

/// A line written before there is a log, now.
pub(crate) fn early(word: &str, message: &str) {
    use std::io::Write as _;
    let line = line(&Zoned::now(), std::process::id(), word, message);
    // With nowhere to write to there is still the exit status.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// PgBouncer's word for a level.
fn word(metadata: &Metadata<'_>) -> &'static str {
    if metadata.target() == FATAL {
        return "FATAL";
    }
    match *metadata.level() {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "LOG",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "NOISE",
    }
}

/// Writes lines, and holds back the many of a storm.
#[derive(Default)]
struct Lines(Mutex<Storm>);

impl Lines {
    fn storm(&self) -> MutexGuard<'_, Storm> {
        // A panic while counting leaves nothing that could be wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        let (metadata, message, now) = (event.metadata(), text.finish(), Instant::now());
        let (over, fate) = match *metadata.level() {
            Level::ERROR | Level::WARN if metadata.target() != FATAL => {
                self.storm().handle_line(&message, now)
            }
            _ => (self.storm().take_over(now), Fate::Write),
        };
        let (time, pid) = (Zoned::now(), std::process::id());
        for told in over {
            writer.write_str(&line(&time, pid, "WARNING", &told))?;
        }
        match fate {
            Fate::Write => writer.write_str(&line(&time, pid, word(metadata), &message)),
            Fate::HoldBack => Ok(()),
        }
    }
}

/// The message of an event, and its other fields behind it.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests;
