//! The pooler's side of its own login at a server.

use plimsoll_types::{Cause, Secret};

use crate::job::{Done, Job};
use crate::md5;
use crate::policy::Random;
use crate::scram::client::{Opening, ServerFirst, read_server_final};
use crate::scram::{self, Key, Keys};
use crate::stored::{ScramKeys, Stored};

#[cfg(test)]
mod tests;

/// What the pooler can prove itself with at a server.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing at all.
    None,
    /// A stored secret: a plain password does everything, an md5 secret does MD5, a SCRAM secret does nothing.
    Stored(Stored),
    /// Captured SCRAM keys (SCRAM only).
    Keys(ScramKeys),
}

/// What to log in with when a user's secret and the keys captured at its own login are known: a password or md5
/// secret first, then the keys; a SCRAM secret alone opens nothing.
pub fn credential_for(stored: Option<&Stored>, keys: Option<&ScramKeys>) -> Credential {
    match (stored, keys) {
        (Some(stored @ (Stored::Plain(_) | Stored::Md5(_))), _) => Credential::Stored(stored.clone()),
        (Some(Stored::Scram(_)) | None, Some(keys)) => Credential::Keys(keys.clone()),
        (Some(stored @ Stored::Scram(_)), None) => Credential::Stored(stored.clone()),
        (None, None) => Credential::None,
    }
}

/// What the server asked for, as read off the wire.
#[derive(Clone, Copy, Debug)]
pub enum Challenge<'a> {
    /// AuthenticationCleartextPassword.
    Cleartext,
    /// AuthenticationMD5Password.
    Md5([u8; 4]),
    /// AuthenticationSASL: zero-separated mechanisms.
    Sasl(&'a [u8]),
    /// AuthenticationSASLContinue.
    SaslContinue(&'a [u8]),
    /// AuthenticationSASLFinal.
    SaslFinal(&'a [u8]),
    /// AuthenticationOk. Refused if it comes in the middle of a SCRAM exchange.
    Ok,
    /// Any other.
    Other,
}

/// What a server-side dialogue wants next.
pub enum ServerReply {
    /// PasswordMessage with this text (no zero).
    Password(Vec<u8>),
    /// SASLInitialResponse for SCRAM-SHA-256.
    SaslInitial(Vec<u8>),
    /// SASLResponse.
    SaslResponse(Vec<u8>),
    /// Run the job and give the result to [`ServerLogin::handle_done`].
    Compute(Job),
    /// Nothing to send; wait for the next message.
    Wait,
    /// Logged in.
    Accepted,
    /// Cannot go on.
    Refuse(Cause),
}

impl std::fmt::Debug for ServerReply {
    /// Shows no password and no proof.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ServerReply::Password(_) => f.write_str("Password(***)"),
            ServerReply::SaslInitial(_) => f.write_str("SaslInitial(***)"),
            ServerReply::SaslResponse(_) => f.write_str("SaslResponse(***)"),
            ServerReply::Compute(job) => f.debug_tuple("Compute").field(job).finish(),
            ServerReply::Wait => f.write_str("Wait"),
            ServerReply::Accepted => f.write_str("Accepted"),
            ServerReply::Refuse(cause) => f.debug_tuple("Refuse").field(cause).finish(),
        }
    }
}

/// The pooler's side of its own login at a server.
pub struct ServerLogin {
    user: Box<str>,
    credential: Credential,
    random: Random,
    state: State,
}

/// Where the dialogue is. Every message or result takes the state out; what is not put back is `Over`.
enum State {
    /// Nothing heard yet: to `Answered`, `Opened` or `Over`.
    Fresh,
    /// A password or MD5 answer is out: only AuthenticationOk may come.
    Answered,
    /// The client-first message is out: to `Hashing`, `Proved` or `Over`.
    Opened(Opening, Means),
    /// A job is out: to `Proved`.
    Hashing(ServerFirst),
    /// Our proof is out; the server's must be this: to `Verified` or `Over`.
    Proved(Secret),
    /// The server has proved itself: only AuthenticationOk may come.
    Verified,
    /// Accepted or refused; nothing leads out of it.
    Over,
}

/// By what a SCRAM exchange is answered.
enum Means {
    /// A password, to be hashed with the salt the server names.
    Password(Secret),
    /// Keys that fit the server's secret.
    Keys(Keys),
}

impl ServerLogin {
    /// Begins; the server speaks first.
    pub fn new(user: &str, credential: Credential, random: Random) -> ServerLogin {
        ServerLogin { user: user.into(), credential, random, state: State::Fresh }
    }

    /// The server sent an Authentication message.
    pub fn handle_challenge(&mut self, challenge: Challenge<'_>) -> ServerReply {
        let state = std::mem::replace(&mut self.state, State::Over);
        match (state, challenge) {
            (State::Fresh | State::Answered | State::Verified, Challenge::Ok) => ServerReply::Accepted,
            // Whoever lets us in without a proof of its own need not be our server.
            (State::Opened(..) | State::Hashing(_) | State::Proved(_), Challenge::Ok) => {
                ServerReply::Refuse(Cause::BadServerSignature)
            }
            (State::Fresh, Challenge::Cleartext) => self.on_cleartext(),
            (State::Fresh, Challenge::Md5(salt)) => self.on_md5(salt),
            (State::Fresh, Challenge::Sasl(mechanisms)) => self.on_sasl(mechanisms),
            (State::Opened(opening, means), Challenge::SaslContinue(data)) => {
                match opening.read_server_first(data) {
                    Ok(first) => self.on_server_first(first, means),
                    Err(what) => ServerReply::Refuse(Cause::ServerProtocol { what }),
                }
            }
            (State::Proved(expected), Challenge::SaslFinal(data)) => self.on_server_final(&expected, data),
            (_, Challenge::Other) => refuse("unsupported authentication request"),
            (
                State::Fresh
                | State::Answered
                | State::Opened(..)
                | State::Hashing(_)
                | State::Proved(_)
                | State::Verified
                | State::Over,
                _,
            ) => refuse("authentication request out of turn"),
        }
    }

    /// A job has been run.
    pub fn handle_done(&mut self, done: Done) -> ServerReply {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Hashing(first) => self.prove(first, &Keys::of(done.salted_password.expose())),
            State::Fresh
            | State::Answered
            | State::Opened(..)
            | State::Proved(_)
            | State::Verified
            | State::Over => refuse("authentication out of turn"),
        }
    }

    fn on_cleartext(&mut self) -> ServerReply {
        match &self.credential {
            Credential::Stored(Stored::Plain(password)) => {
                self.state = State::Answered;
                ServerReply::Password(password.expose().to_vec())
            }
            Credential::Stored(Stored::Md5(_) | Stored::Scram(_))
            | Credential::Keys(_)
            | Credential::None => ServerReply::Refuse(Cause::WrongPasswordType),
        }
    }

    fn on_md5(&mut self, salt: [u8; 4]) -> ServerReply {
        let answer = match &self.credential {
            Credential::Stored(Stored::Plain(password)) => {
                md5::answer(&md5::secret_of(password.expose(), &self.user), salt)
            }
            Credential::Stored(Stored::Md5(secret)) => md5::answer(secret, salt),
            Credential::Stored(Stored::Scram(_)) | Credential::Keys(_) | Credential::None => None,
        };
        match answer {
            Some(answer) => {
                self.state = State::Answered;
                ServerReply::Password(answer.expose().to_vec())
            }
            None => ServerReply::Refuse(Cause::WrongPasswordType),
        }
    }

    fn on_sasl(&mut self, mechanisms: &[u8]) -> ServerReply {
        if !mechanisms.split(|b| *b == 0).any(|name| name == scram::MECHANISM) {
            return ServerReply::Refuse(Cause::NoServerMechanism);
        }
        let means = match &self.credential {
            Credential::Stored(Stored::Plain(password)) => Some(Means::Password(password.clone())),
            Credential::Keys(keys) => keys_of(keys).map(Means::Keys),
            Credential::Stored(Stored::Md5(_) | Stored::Scram(_)) | Credential::None => None,
        };
        let Some(means) = means else {
            return ServerReply::Refuse(Cause::WrongPasswordType);
        };
        let opening = Opening::new(self.random.nonce());
        let message = opening.message();
        self.state = State::Opened(opening, means);
        ServerReply::SaslInitial(message)
    }

    fn on_server_first(&mut self, first: ServerFirst, means: Means) -> ServerReply {
        match means {
            Means::Password(password) => {
                let job = Job::new(password.expose(), first.salt.clone(), first.iterations);
                self.state = State::Hashing(first);
                ServerReply::Compute(job)
            }
            Means::Keys(keys) => self.prove(first, &keys),
        }
    }

    fn prove(&mut self, first: ServerFirst, keys: &Keys) -> ServerReply {
        let (message, expected) = first.answer(&keys.client_key, &keys.server_key);
        self.state = State::Proved(expected);
        ServerReply::SaslResponse(message)
    }

    fn on_server_final(&mut self, expected: &Secret, data: &[u8]) -> ServerReply {
        match read_server_final(data) {
            Ok(signature) if expected.matches(&signature) => {
                self.state = State::Verified;
                ServerReply::Wait
            }
            Ok(_) => ServerReply::Refuse(Cause::BadServerSignature),
            Err(what) => ServerReply::Refuse(Cause::ServerProtocol { what }),
        }
    }
}

impl std::fmt::Debug for ServerLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Fresh => "fresh",
            State::Answered => "answered",
            State::Opened(..) => "opened",
            State::Hashing(_) => "hashing",
            State::Proved(_) => "proved",
            State::Verified => "verified",
            State::Over => "over",
        };
        f.debug_struct("ServerLogin").field("user", &self.user).field("state", &state).finish_non_exhaustive()
    }
}

/// Captured keys in the form the exchange works on; `None` if they are not of SCRAM-SHA-256's length.
fn keys_of(keys: &ScramKeys) -> Option<Keys> {
    let client_key: Key = keys.client_key.expose().try_into().ok()?;
    let server_key: Key = keys.server_key.expose().try_into().ok()?;
    Some(Keys { client_key, server_key })
}

fn refuse(what: &'static str) -> ServerReply {
    ServerReply::Refuse(Cause::ServerProtocol { what })
}
