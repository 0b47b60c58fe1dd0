//! The console: what an administrator may ask and do on the database `pgbouncer`; and `/metrics`.
//!
//! [`AdminConsole`] implements the proxy's [`Console`]: a line goes through `grammar` and comes back as whole protocol
//! messages. What it shows is a table of columns and one function for the rows of each (`show`); what it does is in
//! `commands` and `reload`; what it refuses is in `failure`, in PgBouncer's words. It runs on the control thread and
//! never on the way of a query. Beside it, on a thread of its own, `http` answers scrapers with `metrics`.

mod answer;
mod blackbox;
mod commands;
mod doctor;
mod explain;
mod failure;
mod grammar;
mod help;
mod http;
mod identities;
mod issuers;
mod metrics;
mod pooler;
mod release;
mod reload;
mod show;
mod table;
mod version;
mod why;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Zoned;
use plimsoll_config::Plan;
use plimsoll_ledger::snapshot::{Reason, Snapshot};
use plimsoll_proxy::{Console, Control, Level, Reply, ServerFacts, Visitor};

pub use blackbox::{BlackBox, ReadyBox, Source, Surroundings};
pub use http::{HttpDoor, HttpError, OpenDoor, http_descriptors};
pub use identities::Identities;
pub use issuers::Issuers;
pub use reload::{Applied, Follow, Load};
use version::server_version;
pub use version::{COMPAT_VERSION, PGBOUNCER_VERSION, version};

use commands::{Act, Verb};
use doctor::Patient;
use failure::Failure;
use grammar::Line;
use pooler::Pooler;
use reload::{Settings, TLS_STAYS, Tls};
use show::{Figures, Scene};

/// How long a kept snapshot may take to be read.
const FETCH_MAX: Duration = Duration::from_secs(15);

/// The console.
pub struct AdminConsole {
    settings: Settings,
    black_box: BlackBox,
    commands: AtomicU64,
    logins: AtomicU64,
}

impl AdminConsole {
    /// A console that reloads by `load` and tells `follow` of every new plan.
    pub fn new(load: Box<Load>, follow: Box<Follow>) -> AdminConsole {
        AdminConsole {
            settings: Settings::new(load, follow),
            black_box: BlackBox::new(&Plan::default(), Surroundings::default()),
            commands: AtomicU64::new(0),
            logins: AtomicU64::new(0),
        }
    }

    /// The same with the black box whose snapshots it shows, and which it tells what happens.
    #[must_use]
    pub fn with_black_box(mut self, black_box: BlackBox) -> AdminConsole {
        self.black_box = black_box;
        self
    }

    /// Reads the configuration again, as RELOAD and SIGHUP do.
    ///
    /// # Errors
    /// How many mistakes there are; each has been logged, and the old configuration stays in force.
    pub fn reload(&self, control: &Control) -> Result<(), usize> {
        match self.settings.reload(control) {
            Err(Failure::ReloadFailed(mistakes)) => Err(mistakes),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The process is told to end: the last snapshot is of now.
    pub fn note_end(&self) {
        self.black_box.note_end();
    }

    fn answer(&self, pooler: &dyn Pooler, visitor: Visitor<'_>, text: &[u8]) -> Reply {
        self.commands.fetch_add(1, Ordering::Relaxed);
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        tracing::debug!("got admin query: {text}");
        let plan = pooler.plan();
        self.run(pooler, &plan, visitor, &text).unwrap_or_else(|failure| {
            tracing::error!("{}", failure.message());
            Reply::Now(answer::error(&failure.told(plan.own.compat)))
        })
    }

    fn run(
        &self,
        pooler: &dyn Pooler,
        plan: &Arc<Plan>,
        visitor: Visitor<'_>,
        text: &str,
    ) -> Result<Reply, Failure> {
        let level = visitor.level;
        let (command, argument) = match grammar::parse(text)? {
            Line::Set { key, value } => return self.set(pooler, level, &key, &value),
            Line::Show { what, of } => {
                let reply = self.show_of(pooler, plan, level, &what, &of)?;
                return reply.ok_or_else(|| Failure::InvalidCommand(text.to_string()));
            }
            Line::Explain { database, user } => {
                let lines = explain::answer(pooler, visitor, database.as_deref(), user.as_deref())?;
                return Ok(Reply::Now(answer::table(&show::sentences(lines))));
            }
            Line::Words { command, words } => {
                require_admin(level)?;
                return match command.eq_ignore_ascii_case("cap") {
                    true => release::cap(pooler, visitor, &words),
                    false => release::release(pooler, visitor, &words),
                };
            }
            Line::Call { command, argument } => (command, argument),
        };
        let reply = match Verb::find(&command) {
            Some(Verb::Show) => self.show(pooler, plan, level, &argument)?,
            Some(Verb::Act(act)) if act.takes(&argument) => Some(self.act(pooler, act, level, &argument)?),
            Some(Verb::Act(_)) | None => None,
        };
        reply.ok_or_else(|| Failure::InvalidCommand(text.to_string()))
    }

    /// `SHOW what`; `None` when there is nothing of this name.
    fn show(
        &self,
        pooler: &dyn Pooler,
        plan: &Arc<Plan>,
        level: Level,
        what: &str,
    ) -> Result<Option<Reply>, Failure> {
        if what.eq_ignore_ascii_case("help") {
            let usage = help::usage(plan.own.compat);
            return Ok(Some(Reply::Now(answer::notice("Console usage", Some(&usage), "SHOW"))));
        }
        if what.eq_ignore_ascii_case("doctor") {
            let patient = Patient::of(pooler, level);
            let reply = move |facts: Vec<ServerFacts>| answer::table(&show::sections(patient.lines(&facts)));
            return Ok(Some(Reply::Ask(Box::new(reply))));
        }
        if what.eq_ignore_ascii_case("backends") {
            let holds = pooler.holds();
            let reply = move |facts: Vec<ServerFacts>| answer::table(&show::backends(&facts, &holds));
            return Ok(Some(Reply::Ask(Box::new(reply))));
        }
        if what.eq_ignore_ascii_case("snapshot") {
            let snapshot = show::seen(pooler.snapshot(Reason::Asked), level);
            return Ok(Some(Reply::Now(answer::table(&show::sentences(snapshot.lines())))));
        }
        if what.eq_ignore_ascii_case("snapshots") {
            let kept = self.black_box.kept().map_err(Failure::NoSnapshots)?;
            return Ok(Some(Reply::Now(answer::table(&show::snapshots(&kept)))));
        }
        let scene = self.scene(pooler, plan, level);
        if what.eq_ignore_ascii_case("fds") {
            require_admin(level)?;
        }
        Ok(show::find(what, &scene).map(|table| Reply::Now(answer::table(&table))))
    }

    /// What `/metrics` answers.
    fn metrics(&self, pooler: &dyn Pooler, format: metrics::Format) -> String {
        metrics::text(&self.scene(pooler, &pooler.plan(), Level::Stats), format)
    }

    fn scene<'a>(&self, pooler: &'a dyn Pooler, plan: &Arc<Plan>, level: Level) -> Scene<'a> {
        let figures = Figures {
            commands: self.commands.load(Ordering::Relaxed),
            logins: self.logins.load(Ordering::Relaxed),
        };
        Scene { pooler, plan: plan.clone(), figures, now: Zoned::now(), level }
    }

    /// `SHOW what of`; `None` when there is nothing of this name.
    fn show_of(
        &self,
        pooler: &dyn Pooler,
        plan: &Arc<Plan>,
        level: Level,
        what: &str,
        of: &str,
    ) -> Result<Option<Reply>, Failure> {
        if what.eq_ignore_ascii_case("snapshot") {
            return self.kept_snapshot(plan, level, of).map(Some);
        }
        if what.eq_ignore_ascii_case("why") {
            let Some(number) = why::number(of) else { return Ok(None) };
            let lines = why::story(pooler, number, show::words(level));
            return Ok(Some(Reply::Now(answer::table(&show::sentences(lines)))));
        }
        if !what.eq_ignore_ascii_case("holds") {
            return Ok(None);
        }
        if of.eq_ignore_ascii_case("full") {
            let table = show::holds_in_full(&self.scene(pooler, plan, level));
            return Ok(Some(Reply::Now(answer::table(&table))));
        }
        Ok(of.eq_ignore_ascii_case("join").then(|| {
            let holds = pooler.holds();
            Reply::Ask(Box::new(move |facts| answer::table(&show::joined(&facts, &holds))))
        }))
    }

    /// `SHOW SNAPSHOT 'name'`.
    fn kept_snapshot(&self, plan: &Arc<Plan>, level: Level, name: &str) -> Result<Reply, Failure> {
        self.black_box.kept().map_err(Failure::NoSnapshots)?;
        let fetched = self.black_box.fetch(name).ok_or_else(|| Failure::NoSuchSnapshot(name.to_string()))?;
        let (compat, name) = (plan.own.compat, name.to_string());
        Ok(Reply::Fetch(Box::pin(async move {
            let read: Result<Snapshot, String> = match tokio::time::timeout(FETCH_MAX, fetched).await {
                Ok(Ok(read)) => read,
                Ok(Err(_)) => Err("the thread for snapshots has broken down".to_string()),
                Err(_) => Err("the disk does not answer".to_string()),
            };
            match read {
                Ok(snapshot) => answer::table(&show::sentences(show::seen(snapshot, level).lines())),
                Err(why) => answer::error(&Failure::LostSnapshot(name, why).told(compat)),
            }
        })))
    }

    fn set(&self, pooler: &dyn Pooler, level: Level, key: &str, value: &str) -> Result<Reply, Failure> {
        if show::is_session_setting(key) {
            return Ok(Reply::Now(answer::notice("SET ignored", None, "SET")));
        }
        require_admin(level)?;
        let tag = format!("SET {key}={value}");
        Ok(Reply::Now(match self.settings.set(pooler, key, value)? {
            Tls::AsWanted => answer::done(&tag),
            Tls::AsBefore => answer::notice(TLS_STAYS, None, &tag),
        }))
    }

    fn act(&self, pooler: &dyn Pooler, act: Act, level: Level, argument: &str) -> Result<Reply, Failure> {
        require_admin(level)?;
        match act {
            Act::Disable => commands::disable(pooler, argument),
            Act::Enable => commands::enable(pooler, argument),
            Act::Kill => commands::kill(pooler, argument),
            Act::KillClient => commands::kill_client(pooler, argument),
            Act::Pause => commands::pause(pooler, argument),
            Act::Reconnect => commands::reconnect(pooler, argument),
            Act::Reload => {
                tracing::info!("RELOAD command issued");
                self.settings.reload(pooler)?;
                Ok(Reply::Now(answer::done("RELOAD")))
            }
            Act::Resume => commands::resume(pooler, argument),
            Act::Shutdown => {
                // The last snapshot is of before the end begins.
                commands::shutdown(pooler, argument, &self.black_box)
            }
            Act::Suspend => commands::suspend(pooler),
            Act::WaitClose => commands::wait_close(pooler, argument),
        }
    }
}

fn require_admin(level: Level) -> Result<(), Failure> {
    match level {
        Level::Admin => Ok(()),
        Level::Stats => Err(Failure::AdminNeeded),
    }
}

impl Console for AdminConsole {
    fn command(&self, control: &Control, visitor: Visitor<'_>, text: &[u8]) -> Reply {
        self.answer(control, visitor, text)
    }

    fn welcome(&self) -> Vec<(&'static str, String)> {
        self.logins.fetch_add(1, Ordering::Relaxed);
        let fixed = [
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("DateStyle", "ISO"),
            ("TimeZone", "GMT"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "on"),
        ];
        let version = ("server_version", server_version());
        let fixed = fixed.into_iter().map(|(name, value)| (name, value.to_string()));
        std::iter::once(version).chain(fixed).collect()
    }

    fn note_vain_wait(&self) {
        self.black_box.note_vain_wait();
    }
}

#[cfg(test)]
mod tests;
