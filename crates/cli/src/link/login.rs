//! Startup packet and password dialogue.

use plimsoll_auth::{Challenge, Credential, Random, ServerLogin, ServerReply, Stored, credential_for};
use plimsoll_types::Secret;
use plimsoll_wire::back::{self, Authentication};
use plimsoll_wire::encode;

use super::{Link, ServerTls, answer};
use crate::failure::{Failure, Said};

/// The database that is the console.
const CONSOLE: &str = "pgbouncer";
/// What we say we are.
const APPLICATION: &str = "plimsoll cli";
/// The only SASL mechanism we speak.
const MECHANISM: &str = "SCRAM-SHA-256";
/// Most parameters that are remembered; PostgreSQL reports about 15.
const REPORTED_MAX: usize = 256;

/// Whether there is a password, and where it is from.
#[derive(Clone, Debug)]
pub(crate) enum Password {
    /// None.
    None,
    /// As it stands in auth_file: a plain one, or the MD5 of one.
    AuthFile(Stored),
    /// From PGPASSWORD.
    Environment(Secret),
    /// From ~/.pgpass or PGPASSFILE.
    Pgpass(Secret),
}

impl Password {
    /// Where it is from, in the words of a hint.
    fn origin(&self) -> &'static str {
        match self {
            Password::None => "not given",
            Password::AuthFile(_) => "the one in auth_file",
            Password::Environment(_) => "the one in PGPASSWORD",
            Password::Pgpass(_) => "the one in the pgpass file",
        }
    }

    fn credential(&self) -> Credential {
        match self {
            Password::None => Credential::None,
            Password::AuthFile(stored) => credential_for(Some(stored), None),
            Password::Environment(secret) | Password::Pgpass(secret) => {
                Credential::Stored(Stored::Plain(secret.clone()))
            }
        }
    }
}

/// Who knocks.
#[derive(Clone, Debug)]
pub(crate) struct Knock {
    /// The user.
    pub(crate) user: String,
    /// What the user can prove.
    pub(crate) password: Password,
}

/// What is asked for at the door.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The database.
    pub database: String,
    /// What we say we are: `application_name`.
    pub application: String,
    /// Whether a password may go out as it is, where there is no TLS.
    pub clear_text: ClearText,
    /// TLS, if it is wanted.
    pub tls: Option<ServerTls>,
}

/// What to do when a password is asked for in clear text, on a connection that is not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearText {
    /// It is sent.
    Sent,
    /// It is not: give up.
    Withheld,
}

impl Visit {
    /// The console of a pooler.
    pub(super) fn console() -> Visit {
        Visit {
            database: CONSOLE.to_string(),
            application: APPLICATION.to_string(),
            clear_text: ClearText::Sent,
            tls: None,
        }
    }
}

/// Logs in on a fresh connection, up to the first ReadyForQuery.
pub(super) fn enter(link: &mut Link, knock: &Knock, visit: &Visit) -> Result<(), Failure> {
    let mut bytes = [0; 40];
    getrandom::fill(&mut bytes).map_err(|error| link.broken(error))?;
    let mut dialogue = ServerLogin::new(&knock.user, knock.password.credential(), Random { bytes });
    let mut out = Vec::new();
    let startup: [(&[u8], &[u8]); 3] = [
        (b"user", knock.user.as_bytes()),
        (b"database", visit.database.as_bytes()),
        (b"application_name", visit.application.as_bytes()),
    ];
    encode::startup(&mut out, &startup);
    link.send(&out)?;
    loop {
        let message = link.read()?;
        match message.first() {
            Some(&back::AUTHENTICATION) => answer_challenge(link, knock, visit, &mut dialogue, &message)?,
            Some(&back::READY_FOR_QUERY) => return Ok(()),
            Some(&back::ERROR_RESPONSE) => return Err(refused(link, knock, answer::said(&message))),
            Some(&back::PARAMETER_STATUS) => {
                let name = back::parameter_status(&message)
                    .ok()
                    .map(|(name, _)| String::from_utf8_lossy(name).into_owned());
                link.reported.extend(name.filter(|_| link.reported.len() < REPORTED_MAX));
            }
            Some(&(back::BACKEND_KEY_DATA | back::NOTICE_RESPONSE | back::NEGOTIATE_PROTOCOL_VERSION)) => {}
            _ => return Err(link.broken("a message that has no place in a login")),
        }
    }
}

fn answer_challenge(
    link: &mut Link,
    knock: &Knock,
    visit: &Visit,
    dialogue: &mut ServerLogin,
    message: &[u8],
) -> Result<(), Failure> {
    let asked = back::authentication(message).map_err(|error| link.broken(error))?;
    let challenge = match asked {
        Authentication::Ok => Challenge::Ok,
        Authentication::Cleartext => match (link.stream.is_encrypted(), visit.clear_text) {
            (true, _) | (false, ClearText::Sent) => Challenge::Cleartext,
            (false, ClearText::Withheld) => {
                return Err(link.broken("it wants a password in clear text, which is not sent without TLS"));
            }
        },
        Authentication::Md5 { salt } => Challenge::Md5(salt),
        Authentication::Sasl { mechanisms } => Challenge::Sasl(mechanisms),
        Authentication::SaslContinue { data } => Challenge::SaslContinue(data),
        Authentication::SaslFinal { data } => Challenge::SaslFinal(data),
        Authentication::Other(_) => Challenge::Other,
    };
    let mut reply = dialogue.handle_challenge(challenge);
    let mut out = Vec::new();
    loop {
        match reply {
            ServerReply::Password(text) => encode::password(&mut out, &text),
            ServerReply::SaslInitial(data) => encode::sasl_initial_response(&mut out, MECHANISM, &data),
            ServerReply::SaslResponse(data) => encode::sasl_response(&mut out, &data),
            ServerReply::Compute(job) => {
                reply = dialogue.handle_done(job.run());
                continue;
            }
            ServerReply::Wait | ServerReply::Accepted => {}
            ServerReply::Refuse(cause) => {
                let said = Said {
                    sqlstate: cause.sqlstate().as_str().to_string(),
                    message: match knock.password {
                        Password::None => "it asks for a password".to_string(),
                        Password::AuthFile(_) | Password::Environment(_) | Password::Pgpass(_) => {
                            cause.message().into_owned()
                        }
                    },
                    hint: String::new(),
                };
                return Err(password_failure(link, knock, Box::new(said)));
            }
        }
        break;
    }
    if out.is_empty() { Ok(()) } else { link.send(&out) }
}

/// What an ErrorResponse in a login means. PgBouncer has one SQLSTATE for everything, so that its words have to do.
fn refused(link: &Link, knock: &Knock, said: Said) -> Failure {
    let said = Box::new(said);
    let words = said.message.as_str();
    let is = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    if said.sqlstate.starts_with("28") || is(&["authentication failed", "no such user"]) {
        password_failure(link, knock, said)
    } else if said.sqlstate == "42501" || is(&["not allowed"]) {
        Failure::NotAdmin { at: link.at.clone(), user: knock.user.clone(), said }
    } else if said.sqlstate == "3D000" || is(&["no such database"]) {
        Failure::NotAConsole { at: link.at.clone(), said }
    } else {
        Failure::Refused { at: link.at.clone(), said }
    }
}

fn password_failure(link: &Link, knock: &Knock, said: Box<Said>) -> Failure {
    Failure::Password { at: link.at.clone(), user: knock.user.clone(), said, origin: knock.password.origin() }
}
