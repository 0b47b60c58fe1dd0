//! A few questions to a PostgreSQL server itself, for `plimsoll check`: log in as a pool would, read some rows, leave.
//!
//! A password goes out in clear text only over TLS, or where the caller says it may.

use std::path::PathBuf;

use plimsoll_auth::Stored;
use plimsoll_types::Secret;

use crate::failure::{Failure, error_text};
use crate::link::{Address, Knock, Link, Password};
pub use crate::link::{ClearText, ServerTls, Visit, WithoutTls};
use crate::text::harmless;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAt {
    /// Name or address, and port.
    Tcp(String, u16),
    /// The socket's file.
    Unix(PathBuf),
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct ServerKnock {
    /// The role.
    pub user: String,
    /// Its secret as it stands in a file: a password, or the MD5 of one.
    pub secret: Option<Secret>,
}

/// Why there is no answer. Never has a secret in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAnswer {
    /// The server's SQLSTATE; empty when it did not say one.
    pub sqlstate: String,
    /// In words, safe to be printed.
    pub why: String,
    /// Whether another role could fare better.
    pub next: TryNext,
}

/// Whether to go on with another login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryNext {
    /// Another role may be let in.
    Yes,
    /// Nobody is there, or nobody is let in now.
    No,
}

/// An open session on a server.
#[derive(Debug)]
pub struct ServerLink(Link);

/// The values of a row; `None` is NULL.
pub type ServerRow = Vec<Option<String>>;

impl ServerLink {
    /// Connects and logs in; every wait is bounded.
    ///
    /// # Errors
    /// Nobody there, or not let in.
    pub fn open(at: &ServerAt, knock: &ServerKnock, visit: &Visit) -> Result<ServerLink, NoAnswer> {
        let address = match at {
            ServerAt::Tcp(host, port) => Address::Tcp(host.clone(), *port),
            ServerAt::Unix(path) => Address::Unix(path.clone()),
        };
        let stored = knock.secret.as_ref().and_then(Secret::expose_text).filter(|text| !text.is_empty());
        let password = stored.map_or(Password::None, |text| Password::AuthFile(Stored::parse(text)));
        let knock = Knock { user: knock.user.clone(), password };
        Link::visit(&address, &knock, visit).map(ServerLink).map_err(no_answer)
    }

    /// Runs a statement that gives rows.
    ///
    /// # Errors
    /// It failed, or the connection broke.
    pub fn ask(&mut self, sql: &str) -> Result<Vec<ServerRow>, NoAnswer> {
        self.0.ask(sql).map(|table| table.rows).map_err(no_answer)
    }

    /// The parameters that the server reported at login (ParameterStatus), by name.
    pub fn reported(&self) -> &[String] {
        self.0.reported()
    }
}

fn no_answer(failure: Failure) -> NoAnswer {
    let plain =
        |why: String, next| NoAnswer { sqlstate: String::new(), why: harmless(&why).into_owned(), next };
    match failure {
        Failure::Unreachable { error, .. } => plain(error_text(&error), TryNext::No),
        Failure::Broken { what, .. } => plain(what, TryNext::Yes),
        Failure::Password { said, .. }
        | Failure::NotAdmin { said, .. }
        | Failure::NotAConsole { said, .. }
        | Failure::Refused { said, .. } => NoAnswer {
            why: harmless(&said.message).into_owned(),
            // Too many connections, or the server starts or stops: true for every role.
            next: if matches!(said.sqlstate.as_str(), "53300" | "57P03" | "57P01") {
                TryNext::No
            } else {
                TryNext::Yes
            },
            sqlstate: harmless(&said.sqlstate).into_owned(),
        },
        other @ (Failure::Ini { .. }
        | Failure::NoPlace { .. }
        | Failure::Url(_)
        | Failure::NoAdmin(_)
        | Failure::NoCommand { .. }
        | Failure::File { .. }
        | Failure::Snapshot { .. }
        | Failure::NoneKept
        | Failure::Output(_)) => plain(other.to_string(), TryNext::No),
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_testkit::{FakeServer, Packet, error_response, free_port};

    use super::*;

    fn open(port: u16, clear_text: ClearText, secret: Option<&str>) -> Result<ServerLink, NoAnswer> {
        let at = ServerAt::Tcp("127.0.0.1".to_string(), port);
        let knock = ServerKnock { user: "app".to_string(), secret: secret.map(Secret::from_text) };
        let visit = Visit { database: "shop".into(), application: "test".into(), clear_text, tls: None };
        ServerLink::open(&at, &knock, &visit)
    }

    #[test]
    fn the_database_is_the_one_that_was_named_and_parameters_are_heard() {
        let server = FakeServer::start(|_, peer| {
            let (_, parameters) = peer.startup()?;
            let database = parameters.iter().find(|(name, _)| name == "database");
            assert_eq!(database.map(|(_, value)| value.as_str()), Some("shop"));
            peer.send(&Packet::typed(b'R').int32(0).bytes())?;
            peer.send(&Packet::typed(b'S').text("TimeZone").text("UTC").bytes())?;
            peer.send(&Packet::typed(b'Z').raw(b"I").bytes())
        });
        let link = open(server.port(), ClearText::Withheld, None).expect("let in");
        assert_eq!(link.reported(), ["TimeZone"]);
        drop(link);
        assert_eq!(server.failures(), Vec::<String>::new());
    }

    #[test]
    fn a_password_goes_out_in_clear_text_only_where_it_may() {
        let server = FakeServer::start(|_, peer| {
            peer.startup()?;
            peer.send(&Packet::typed(b'R').int32(3).bytes())?;
            // Whoever withholds the password leaves.
            if peer.read().is_ok_and(|message| message.tag == b'p') {
                peer.send(&Packet::typed(b'R').int32(0).bytes())?;
                peer.send(&Packet::typed(b'Z').raw(b"I").bytes())?;
            }
            Ok(())
        });
        assert!(open(server.port(), ClearText::Sent, Some("secret")).is_ok());
        let withheld = open(server.port(), ClearText::Withheld, Some("secret")).expect_err("withheld");
        assert!(withheld.why.contains("clear text") && !withheld.why.contains("secret,"), "{withheld:?}");
    }

    #[test]
    fn what_holds_for_every_role_is_told_from_what_does_not() {
        for (sqlstate, next) in [("53300", TryNext::No), ("28P01", TryNext::Yes), ("3D000", TryNext::Yes)] {
            let server = FakeServer::start(move |_, peer| {
                peer.startup()?;
                peer.send(&error_response("FATAL", sqlstate, "no\x1b[2J"))
            });
            let failure = open(server.port(), ClearText::Sent, None).expect_err("refused");
            assert_eq!((failure.sqlstate.as_str(), failure.next), (sqlstate, next));
            assert_eq!(failure.why, "no\\x1b[2J");
        }
        let gone = open(free_port(), ClearText::Sent, None).expect_err("nobody there");
        assert_eq!((gone.why.as_str(), gone.next), ("nobody listens there", TryNext::No));
    }
}
