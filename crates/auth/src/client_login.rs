//! The pooler's side of a client's login.

use plimsoll_types::{Cause, Secret};

use crate::job::{Done, Job};
use crate::policy::{Policy, Random};
use crate::scram::server::{ClientFinal, ClientFirst, Exchange};
use crate::scram::{self, Keys};
use crate::stored::{ScramKeys, Stored, Verifier};
use crate::{ITERATIONS_MAX, md5};

#[cfg(test)]
mod tests;

/// Longest `p` message worth collecting, header not counted: PostgreSQL's own limit for a password
/// (PG_MAX_AUTH_TOKEN_LENGTH). Longer ones are refused.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 65_535;

const LOG_PASSWORD: &str = "password authentication failed";
const LOG_MD5_SECRET: &str = "SCRAM authentication failed: user has MD5 secret";
const LOG_NO_DATA: &str = "malformed SCRAM message (no data in SASLInitialResponse)";
const LOG_MALFORMED: &str = "malformed SASLInitialResponse";

/// How clients are asked to prove who they are (`auth_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Anybody who is listed in auth_file.
    Trust,
    /// Anybody at all; the server is entered as the forced user.
    Any,
    /// Password in clear text.
    Plain,
    /// MD5 challenge, or SCRAM where the stored secret is a SCRAM secret.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
}

/// Message to send to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// AuthenticationCleartextPassword.
    Cleartext,
    /// AuthenticationMD5Password.
    Md5([u8; 4]),
    /// AuthenticationSASL offering SCRAM-SHA-256.
    Sasl,
    /// AuthenticationSASLContinue.
    SaslContinue(Vec<u8>),
    /// AuthenticationSASLFinal; acceptance follows at once.
    SaslFinal(Vec<u8>),
}

/// What a client-side dialogue wants next.
#[derive(Debug)]
pub enum ClientReply {
    /// Send this and wait for the client's next `p` message.
    Ask(Ask),
    /// Run the job somewhere else and give its result to [`ClientLogin::handle_done`].
    Compute(Job),
    /// The client is who it says. `last` is sent before AuthenticationOk (SASLFinal).
    Accept {
        /// A last message before AuthenticationOk.
        last: Option<Ask>,
        /// Keys captured from the proof; only where the verifier is the stored SCRAM secret itself.
        keys: Option<ScramKeys>,
    },
    /// The client is refused. `log` is what only the log may say.
    Refuse {
        /// What the client is told.
        cause: Cause,
        /// What the log says besides.
        log: Option<&'static str>,
    },
}

/// The pooler's side of a client's login.
pub struct ClientLogin {
    user: Box<str>,
    subject: Subject,
    policy: Policy,
    random: Random,
    state: State,
}

/// Against what the client's answer is held.
enum Subject {
    /// A secret that a password can match.
    Known(Stored),
    /// No such user, or a secret that nothing matches: the exchange goes its way and fails at its end.
    Mock,
}

/// Where the dialogue is. Every message or result takes the state out; what is not put back is `Over`.
enum State {
    /// Asked for a password: to `Hashing` or `Over`.
    Cleartext,
    /// Asked for an MD5 answer: to `Over`.
    Md5([u8; 4]),
    /// Offered SCRAM: to `ScramFinal` or `Over`.
    ScramFirst,
    /// Sent salt and nonce: to `Hashing` or `Over`.
    ScramFinal(Exchange, Basis),
    /// A job is out: to `Over`.
    Hashing(Verdict),
    /// Accepted or refused; nothing leads out of it.
    Over,
}

/// What a SCRAM proof is held against.
enum Basis {
    /// The stored SCRAM secret.
    Stored(Verifier),
    /// A verifier to be made of a stored password.
    AdHoc { password: Secret, salt: Box<[u8]> },
    /// One that no proof fits.
    Mock(Verifier),
}

/// What the result of a job decides.
enum Verdict {
    /// A password in clear text against a stored SCRAM secret.
    Password { server_key: Secret },
    /// A proof against a password stored in clear text.
    Proof(ClientFinal),
    /// Nothing: the refusal is certain, and comes as late as one that is not.
    Refuse(Cause),
}

impl ClientLogin {
    /// Begins. `stored` is `None` for a user that does not exist: the whole exchange is gone through (mock) and fails
    /// at its end. The first reply is part of the result.
    pub fn start(
        method: Method,
        user: &str,
        stored: Option<&Stored>,
        policy: &Policy,
        random: Random,
    ) -> (ClientLogin, ClientReply) {
        let subject = match stored {
            Some(stored) if stored.can_match() => Subject::Known(stored.clone()),
            Some(_) | None => Subject::Mock,
        };
        let (state, reply) = match method {
            Method::Any => (State::Over, accept()),
            Method::Trust if stored.is_some() => (State::Over, accept()),
            Method::Trust => (State::Over, refuse(Cause::TrustFailed)),
            Method::Plain => (State::Cleartext, ClientReply::Ask(Ask::Cleartext)),
            Method::Md5 => match &subject {
                Subject::Known(Stored::Scram(_)) => (State::ScramFirst, ClientReply::Ask(Ask::Sasl)),
                Subject::Known(Stored::Plain(_) | Stored::Md5(_)) | Subject::Mock => {
                    let salt = random.md5_salt();
                    (State::Md5(salt), ClientReply::Ask(Ask::Md5(salt)))
                }
            },
            Method::Scram => (State::ScramFirst, ClientReply::Ask(Ask::Sasl)),
        };
        let login = ClientLogin { user: user.into(), subject, policy: policy.clone(), random, state };
        (login, reply)
    }

    /// The client sent a `p` message; `body` is what comes after its header, any terminating zero included. What the
    /// body means (PasswordMessage, SASLInitialResponse, SASLResponse) depends on what was asked.
    pub fn handle_message(&mut self, body: &[u8]) -> ClientReply {
        let state = std::mem::replace(&mut self.state, State::Over);
        if body.len() > CLIENT_MESSAGE_BYTES_MAX {
            return refuse(Cause::BadLoginPacket);
        }
        match state {
            State::Cleartext => match password_text(body) {
                Ok(password) => self.on_cleartext(password),
                Err(cause) => refuse(cause),
            },
            State::Md5(salt) => match password_text(body) {
                Ok(answer) => self.on_md5(answer, salt),
                Err(cause) => refuse(cause),
            },
            State::ScramFirst => match initial_response(body) {
                Ok(data) => self.on_scram_first(data),
                Err(reply) => reply,
            },
            State::ScramFinal(exchange, basis) => match exchange.read_final(body) {
                Ok(proof) => self.on_scram_final(proof, basis),
                Err(log) => refuse_sasl(log),
            },
            State::Hashing(_) | State::Over => refuse(Cause::BadLoginPacket),
        }
    }

    /// A job has been run.
    pub fn handle_done(&mut self, done: Done) -> ClientReply {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Hashing(verdict) => decide(verdict, &done),
            State::Cleartext | State::Md5(_) | State::ScramFirst | State::ScramFinal(..) | State::Over => {
                refuse(Cause::BadLoginPacket)
            }
        }
    }

    fn on_cleartext(&mut self, password: &[u8]) -> ClientReply {
        let matches = match &self.subject {
            Subject::Known(Stored::Plain(stored)) => stored.matches(password),
            Subject::Known(Stored::Md5(stored)) => {
                stored.matches(md5::secret_of(password, &self.user).expose())
            }
            Subject::Known(Stored::Scram(verifier)) if verifier.iterations <= ITERATIONS_MAX => {
                let job = Job::new(password, verifier.salt.clone(), verifier.iterations);
                let server_key = verifier.server_key.clone();
                return self.compute(job, Verdict::Password { server_key });
            }
            Subject::Known(Stored::Scram(_)) | Subject::Mock => false,
        };
        if matches { accept() } else { self.refuse_late(password, Cause::PasswordFailed) }
    }

    fn on_md5(&mut self, answer: &[u8], salt: [u8; 4]) -> ClientReply {
        // Made of what nobody can know, and made in every case, so that it shows in no time.
        let mock = md5::secret_of(self.policy.mock_verifier(&self.user).stored_key.expose(), &self.user);
        let secret = match &self.subject {
            Subject::Known(Stored::Md5(secret)) => secret.clone(),
            Subject::Known(Stored::Plain(password)) => md5::secret_of(password.expose(), &self.user),
            Subject::Known(Stored::Scram(_)) | Subject::Mock => mock,
        };
        match md5::answer(&secret, salt) {
            Some(expected) if expected.matches(answer) => accept(),
            Some(_) | None => refuse(Cause::PasswordFailed),
        }
    }

    fn on_scram_first(&mut self, data: &[u8]) -> ClientReply {
        let first = match ClientFirst::read(data) {
            Ok(first) => first,
            Err(log) => return refuse_sasl(log),
        };
        let mock = self.policy.mock_verifier(&self.user);
        let basis = match &self.subject {
            Subject::Known(Stored::Md5(_)) => return refuse_sasl(LOG_MD5_SECRET),
            Subject::Known(Stored::Scram(verifier)) => Basis::Stored(verifier.clone()),
            Subject::Known(Stored::Plain(password)) => {
                Basis::AdHoc { password: password.clone(), salt: self.random.scram_salt() }
            }
            Subject::Mock => Basis::Mock(mock),
        };
        let (salt, iterations) = match &basis {
            Basis::Stored(verifier) | Basis::Mock(verifier) => (&verifier.salt, verifier.iterations),
            Basis::AdHoc { salt, .. } => (salt, self.policy.iterations()),
        };
        let (exchange, message) = Exchange::begin(first, &self.random.nonce(), salt, iterations);
        self.state = State::ScramFinal(exchange, basis);
        ClientReply::Ask(Ask::SaslContinue(message))
    }

    fn on_scram_final(&mut self, proof: ClientFinal, basis: Basis) -> ClientReply {
        match basis {
            Basis::Stored(verifier) => match proof.client_key(verifier.stored_key.expose()) {
                Some(client_key) => {
                    let last = Some(Ask::SaslFinal(proof.server_final(verifier.server_key.expose())));
                    let client_key = Secret::new(client_key);
                    let keys = ScramKeys { client_key, server_key: verifier.server_key };
                    ClientReply::Accept { last, keys: Some(keys) }
                }
                None => self.refuse_late(verifier.server_key.expose(), Cause::SaslFailed),
            },
            Basis::AdHoc { password, salt } => {
                let job = Job::new(password.expose(), salt, self.policy.iterations());
                self.compute(job, Verdict::Proof(proof))
            }
            Basis::Mock(verifier) => {
                // The same work as for a stored secret; its outcome does not count.
                std::hint::black_box(proof.client_key(verifier.stored_key.expose()));
                self.refuse_late(verifier.server_key.expose(), Cause::SaslFailed)
            }
        }
    }

    /// Refuses after the hashing that a refusal of any other user costs. Who has the right password is let in at
    /// once and learns nothing by that; who has not cannot tell by the time what is stored, or whether anything is.
    fn refuse_late(&mut self, password: &[u8], cause: Cause) -> ClientReply {
        let job = Job::new(password, self.random.scram_salt(), self.policy.iterations());
        self.compute(job, Verdict::Refuse(cause))
    }

    fn compute(&mut self, job: Job, verdict: Verdict) -> ClientReply {
        self.state = State::Hashing(verdict);
        ClientReply::Compute(job)
    }
}

impl std::fmt::Debug for ClientLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match &self.state {
            State::Cleartext => "cleartext",
            State::Md5(_) => "md5",
            State::ScramFirst => "scram first",
            State::ScramFinal(..) => "scram final",
            State::Hashing(_) => "hashing",
            State::Over => "over",
        };
        f.debug_struct("ClientLogin").field("user", &self.user).field("state", &state).finish_non_exhaustive()
    }
}

/// What the result of a job means.
fn decide(verdict: Verdict, done: &Done) -> ClientReply {
    let keys = Keys::of(done.salted_password.expose());
    match verdict {
        Verdict::Password { server_key } if server_key.matches(&keys.server_key) => accept(),
        Verdict::Password { .. } => refuse(Cause::PasswordFailed),
        Verdict::Proof(proof) => match proof.client_key(&scram::sha256(&keys.client_key)) {
            Some(_) => {
                // An ad-hoc verifier is nobody's but ours: its keys open no server and are not handed out.
                ClientReply::Accept {
                    last: Some(Ask::SaslFinal(proof.server_final(&keys.server_key))),
                    keys: None,
                }
            }
            None => refuse_sasl(LOG_PASSWORD),
        },
        Verdict::Refuse(Cause::SaslFailed) => refuse_sasl(LOG_PASSWORD),
        Verdict::Refuse(cause) => refuse(cause),
    }
}

/// The password in the body of a PasswordMessage, for whoever else is to look at it.
///
/// # Errors
/// It is none, or empty: with an empty one some would let in anybody (RFC 4513, 5.1.2).
pub fn cleartext_password(body: &[u8]) -> Result<Secret, Cause> {
    if body.len() > CLIENT_MESSAGE_BYTES_MAX {
        return Err(Cause::BadLoginPacket);
    }
    password_text(body).map(Secret::new)
}

/// The text of a PasswordMessage: everything before its one zero, which is its last byte.
pub(crate) fn password_text(body: &[u8]) -> Result<&[u8], Cause> {
    match body {
        [text @ .., 0] if text.contains(&0) => Err(Cause::BadLoginPacket),
        [0] => Err(Cause::EmptyPassword),
        [text @ .., 0] => Ok(text),
        _ => Err(Cause::BadLoginPacket),
    }
}

fn initial_response(body: &[u8]) -> Result<&[u8], ClientReply> {
    match sasl_initial_response(body, scram::MECHANISM) {
        Ok(Some(data)) => Ok(data),
        Ok(None) => Err(refuse_sasl(LOG_NO_DATA)),
        Err(None) => Err(refuse(Cause::BadSaslMechanism)),
        Err(Some(log)) => Err(refuse_sasl(log)),
    }
}

/// The data of a SASLInitialResponse: mechanism, zero, length of the data (-1: none), data.
///
/// # Errors
/// `None`: it is for another mechanism. Otherwise what is wrong with it, for the log.
pub(crate) fn sasl_initial_response<'a>(
    body: &'a [u8],
    mechanism: &[u8],
) -> Result<Option<&'a [u8]>, Option<&'static str>> {
    let end = body.iter().position(|b| *b == 0).ok_or(Some(LOG_MALFORMED))?;
    if &body[..end] != mechanism {
        return Err(None);
    }
    let (length, data) = body[end + 1..].split_first_chunk().ok_or(Some(LOG_MALFORMED))?;
    match usize::try_from(i32::from_be_bytes(*length)) {
        Ok(length) if length == data.len() => Ok(Some(data)),
        Ok(_) => Err(Some(LOG_MALFORMED)),
        Err(_) => Ok(None),
    }
}

fn accept() -> ClientReply {
    ClientReply::Accept { last: None, keys: None }
}

fn refuse(cause: Cause) -> ClientReply {
    ClientReply::Refuse { cause, log: None }
}

fn refuse_sasl(log: &'static str) -> ClientReply {
    ClientReply::Refuse { cause: Cause::SaslFailed, log: Some(log) }
}
