//! A conversation with the console: connect, log in, ask. Blocking sockets, every wait bounded.
//!
//! Protocol: PostgreSQL manual, "Message Flow" (start-up, simple query) and "Message Formats". The console is
//! asked without encryption, from the machine it runs on; a server is asked as the caller wants it.

mod answer;
mod login;
mod stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

use plimsoll_wire::{back, encode};

use crate::failure::{Failure, Said};
use crate::table::Table;
pub use login::{ClearText, Visit};
pub(crate) use login::{Knock, Password};
pub(crate) use stream::{Address, connect_tcp};
pub use stream::{ServerTls, WithoutTls};
use stream::{Stream, StreamError};

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long the other side may say nothing: a login may wait for hashing, an answer for what servers say.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// An open session on the console.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    at: String,
    /// Names of the parameters that were reported at login.
    reported: Vec<String>,
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Nobody there, or not let in.
    pub(crate) fn open(address: &Address, knock: &Knock) -> Result<Link, Failure> {
        Link::visit(address, knock, &Visit::console())
    }

    /// The same with a database of the caller's choice.
    ///
    /// # Errors
    /// Nobody there, or not let in.
    pub(crate) fn visit(address: &Address, knock: &Knock, visit: &Visit) -> Result<Link, Failure> {
        let at = address.to_string();
        let stream = Stream::connect(address, CONNECT_MAX, SILENCE_MAX)
            .map_err(|error| Failure::Unreachable { at: at.clone(), error })?;
        let stream = match &visit.tls {
            Some(tls) => stream.secured(tls).map_err(|what| Failure::Broken { at: at.clone(), what })?,
            None => stream,
        };
        let mut link = Link { stream, at, reported: Vec::new() };
        login::enter(&mut link, knock, visit)?;
        Ok(link)
    }

    /// Names of the parameters that were reported at login.
    pub(crate) fn reported(&self) -> &[String] {
        &self.reported
    }

    /// Asks for a table.
    ///
    /// # Errors
    /// A refusal, or the connection broke.
    pub(crate) fn ask(&mut self, command: &str) -> Result<Table, Failure> {
        let answer = self.query(command)?;
        match answer {
            Ok(table) => Ok(table),
            Err(said) if is_unknown_command(&said) => {
                // What it is only matters now; an answer that is none is as good as an empty one.
                let version = self.query("SHOW VERSION")?.ok().and_then(first_value).unwrap_or_default();
                Err(Failure::NoCommand { at: self.at.clone(), version, command: command.to_string() })
            }
            Err(said) => Err(Failure::Refused { at: self.at.clone(), said: Box::new(said) }),
        }
    }

    /// A question and everything up to ReadyForQuery.
    fn query(&mut self, command: &str) -> Result<Result<Table, Said>, Failure> {
        let mut out = Vec::new();
        encode::query(&mut out, command.as_bytes());
        self.send(&out)?;
        let mut answer = answer::Answer::default();
        loop {
            let message = self.read()?;
            match message.first() {
                Some(&back::READY_FOR_QUERY) => return Ok(answer.finish()),
                // The pooler goes away: nothing comes behind it.
                Some(&back::ERROR_RESPONSE) if answer::is_fatal(&message) => {
                    return Ok(Err(answer::said(&message)));
                }
                _ => answer.take(&message).map_err(|what| self.broken(what))?,
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stream.send(bytes).map_err(|error| self.failed(error))
    }

    fn read(&mut self) -> Result<Vec<u8>, Failure> {
        self.stream.read().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: StreamError) -> Failure {
        match error {
            StreamError::Io(error) => Failure::Unreachable { at: self.at.clone(), error },
            StreamError::Ended => self.broken("it closed the connection"),
            StreamError::Wire(error) => self.broken(error),
        }
    }

    fn broken(&self, what: impl ToString) -> Failure {
        Failure::Broken { at: self.at.clone(), what: what.to_string() }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut out = Vec::new();
        encode::terminate(&mut out);
        // Politeness: the pooler also sees that the socket is closed.
        let _ = self.stream.send(&out);
    }
}

/// The words of every console, PgBouncer's first, for a command that it does not have.
fn is_unknown_command(said: &Said) -> bool {
    said.message.starts_with("invalid command") || said.message == "bad arguments"
}

fn first_value(table: Table) -> Option<String> {
    table.rows.into_iter().next()?.into_iter().next()?
}
