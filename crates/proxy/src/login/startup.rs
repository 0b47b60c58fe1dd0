//! What a startup packet asks for (PostgreSQL manual, "Message Formats", StartupMessage; reference 3.2, 3.6).

use std::sync::Arc;

use plimsoll_config::Plan;
use plimsoll_session::{Params, Tracked};
use plimsoll_types::Cause;
use plimsoll_wire::startup;

use crate::entry::Peer;
use crate::options;
use crate::replication::{Kind, NotAValue, Wishes};

/// Longest user name, bytes (PgBouncer's `MAX_USERNAME` leaves room for a zero).
const USER_BYTES_MAX: usize = 127;

/// Name under which application_name is tracked.
const APPLICATION_NAME: &[u8] = b"application_name";

/// The startup parameter that asks for replication.
const REPLICATION: &[u8] = b"replication";

/// What a client that sends no application_name is called where its address is to be in it.
const NAMELESS: &str = "app";

/// What a client asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Login user.
    pub(super) user: String,
    /// Database: the user's name if it gave none.
    pub(super) database: String,
    /// Minor protocol version.
    pub(super) minor: u16,
    /// Names of protocol options (`_pq_.`): none of them is known to us.
    pub(super) unknown_options: Vec<Vec<u8>>,
    /// Tracked parameters it gave.
    pub(super) params: Params,
    /// What it asks the server for, if it wants replication.
    pub(super) wishes: Option<Arc<Wishes>>,
}

/// Why not, and what the log says besides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    pub(super) log: Option<String>,
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Refusal {
        Refusal { cause, log: None }
    }
}

/// Takes a startup packet apart.
pub(super) fn read(
    minor: u16,
    params: startup::Params<'_>,
    tracked: &Tracked,
    plan: &Plan,
    peer: &Peer,
) -> Result<Wanted, Refusal> {
    let mut reading = Reading {
        tracked,
        ignored: &plan.general.ignore_startup_parameters,
        user: None,
        database: None,
        unknown_options: Vec::new(),
        params: Params::none(tracked),
        wishes: wishes(params)?,
    };
    for (name, value) in params.iter() {
        reading.pair(name, value)?;
    }
    if plan.general.application_name_add_host {
        reading.add_host(peer);
    }
    let Reading { user, database, unknown_options, params, wishes, .. } = reading;
    let user = user.filter(|user| !user.is_empty()).ok_or(Cause::NoUser)?;
    if user.len() > USER_BYTES_MAX {
        return Err(Cause::UserTooLong.into());
    }
    let database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone());
    Ok(Wanted { user, database, minor, unknown_options, params, wishes: wishes.map(Arc::new) })
}

/// What is asked for in the way of replication: it decides how the other parameters are read.
fn wishes(params: startup::Params<'_>) -> Result<Option<Wishes>, Refusal> {
    let mut kind = None;
    for (_, value) in params.iter().filter(|(name, _)| *name == REPLICATION) {
        kind = Kind::parse(value).map_err(|NotAValue| unsupported(REPLICATION, value))?;
    }
    Ok(kind.map(|kind| Wishes { kind, startup: Vec::new() }))
}

fn unsupported(name: &[u8], value: &[u8]) -> Refusal {
    let (name, value) = (text(name), text(value));
    let log = Some(format!("unsupported startup parameter: {name}={value}"));
    Refusal { cause: Cause::UnsupportedStartupParameter { name: name.into() }, log }
}

struct Reading<'a> {
    tracked: &'a Tracked,
    ignored: &'a [String],
    user: Option<String>,
    database: Option<String>,
    unknown_options: Vec<Vec<u8>>,
    params: Params,
    wishes: Option<Wishes>,
}

impl Reading<'_> {
    fn pair(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name {
            b"user" => self.user = Some(text(value)),
            b"database" => self.database = Some(text(value)),
            REPLICATION => {}
            _ if name.starts_with(b"_pq_.") => self.unknown_options.push(name.to_vec()),
            _ if self.wishes.is_some() => {
                // The server knows what it can take. What we track is only for who looks.
                self.track(name, value);
                self.wish(name, value);
            }
            b"options" => self.options(value)?,
            _ if self.track(name, value) => {}
            _ if self.ignores(name) => {}
            _ => return Err(unsupported(name, value)),
        }
        Ok(())
    }

    /// Something for the server.
    fn wish(&mut self, name: &[u8], value: &[u8]) {
        if let Some(wishes) = &mut self.wishes {
            wishes.startup.push((name.into(), value.into()));
        }
    }

    fn options(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let ignore_all = self.ignores(b"options");
        for setting in options::settings(value) {
            let (name, value) = match setting {
                Ok(setting) => setting,
                Err(options::NotASetting) if ignore_all => return Ok(()),
                Err(options::NotASetting) => return Err(Cause::UnsupportedOptions.into()),
            };
            if self.track(&name, &value) || ignore_all || self.ignores(&name) {
                continue;
            }
            let (name, value) = (text(&name), text(&value));
            let log = Some(format!("unsupported startup parameter in options: {name}={value}"));
            return Err(Refusal { cause: Cause::UnsupportedOption { name: name.into() }, log });
        }
        Ok(())
    }

    /// Takes the value of a tracked parameter. False: it is none.
    fn track(&mut self, name: &[u8], value: &[u8]) -> bool {
        let Some(index) = self.tracked.index(name) else { return false };
        self.params.values[index] = Some(text(value).into());
        true
    }

    fn ignores(&self, name: &[u8]) -> bool {
        self.ignored.iter().any(|ignored| ignored.as_bytes().eq_ignore_ascii_case(name))
    }

    /// `application_name_add_host`: where the client is goes into its name.
    fn add_host(&mut self, peer: &Peer) {
        if let Some(index) = self.tracked.index(APPLICATION_NAME) {
            let given = self.params.values[index].take();
            let name = format!("{} - {peer}", given.as_deref().unwrap_or(NAMELESS));
            // Of two the server takes the later one.
            self.wish(APPLICATION_NAME, name.as_bytes());
            self.params.values[index] = Some(Arc::from(name));
        }
    }
}

/// Names and values are text; what is not UTF-8 matches nothing that is configured, and never more than that.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
