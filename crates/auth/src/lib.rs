//! Who may enter, in both directions: dialogues as state machines, no sockets, no clock, no randomness of their own.
//!
//! [`ClientLogin`] is the pooler's side towards a client, [`ServerLogin`] its side towards PostgreSQL. Hashing that
//! costs milliseconds (PBKDF2) is handed back as a [`Job`], to be run wherever the caller likes.
//!
//! Sources: PostgreSQL manual, "SASL Authentication" and "Message Flow / Start-up"; RFC 5802, RFC 7677.

use plimsoll_types::{Cause, Secret};

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

/// A secret as written in auth_file or handed over by auth_query.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A password in clear text (may be empty: never matches, fine for trust).
    Plain(Secret),
    /// `md5` and 32 hex digits.
    Md5(Secret),
    /// `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    Scram(Verifier),
}

/// A SCRAM secret.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// PBKDF2 rounds.
    pub iterations: u32,
    /// The salt.
    pub salt: Box<[u8]>,
    /// H(ClientKey).
    pub stored_key: Secret,
    /// ServerKey.
    pub server_key: Secret,
}

/// What lets the pooler log in by SCRAM without knowing the password.
#[derive(Clone, Debug)]
pub struct ScramKeys {
    /// ClientKey, as recovered from a client's proof, or computed from a password.
    pub client_key: Secret,
    /// ServerKey.
    pub server_key: Secret,
}

impl Stored {
    /// Recognises the three kinds by their shape, as PostgreSQL and PgBouncer do; what fits neither md5 nor SCRAM is
    /// a password.
    pub fn parse(text: &str) -> Stored {
        let _ = text;
        todo!()
    }
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

/// Costly hashing, detached from the dialogue that needs it. `Send`, so that it can run on another thread.
#[derive(Debug)]
pub struct Job {
    // password, salt, iterations
    _private: (),
}

/// The result of a [`Job`].
#[derive(Debug)]
pub struct Done {
    _private: (),
}

impl Job {
    /// Does the work: some milliseconds.
    pub fn run(self) -> Done {
        todo!()
    }
}

/// Random bytes for one dialogue, drawn by the caller.
#[derive(Clone, Copy)]
pub struct Random {
    /// For the nonce, the MD5 salt, an ad-hoc SCRAM salt.
    pub bytes: [u8; 40],
}

/// What is the same for all dialogues of a process.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Drawn once per process: salts of users that do not exist are derived from it, so that they stay the same.
    pub mock_secret: Secret,
    /// `scram_iterations`: for verifiers made from plain passwords, and for users that do not exist.
    pub scram_iterations: u32,
}

/// The pooler's side of a client's login.
#[derive(Debug)]
pub struct ClientLogin {
    _private: (),
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
        let _ = (method, user, stored, policy, random);
        todo!()
    }

    /// The client sent a `p` message; `body` is what comes after its header, any terminating zero included. What the
    /// body means (PasswordMessage, SASLInitialResponse, SASLResponse) depends on what was asked.
    pub fn handle_message(&mut self, body: &[u8]) -> ClientReply {
        let _ = body;
        todo!()
    }

    /// A job has been run.
    pub fn handle_done(&mut self, done: Done) -> ClientReply {
        let _ = done;
        todo!()
    }
}

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
#[derive(Debug)]
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

/// The pooler's side of its own login at a server.
#[derive(Debug)]
pub struct ServerLogin {
    _private: (),
}

impl ServerLogin {
    /// Begins; the server speaks first.
    pub fn new(user: &str, credential: Credential, random: Random) -> ServerLogin {
        let _ = (user, credential, random);
        todo!()
    }

    /// The server sent an Authentication message.
    pub fn handle_challenge(&mut self, challenge: Challenge<'_>) -> ServerReply {
        let _ = challenge;
        todo!()
    }

    /// A job has been run.
    pub fn handle_done(&mut self, done: Done) -> ServerReply {
        let _ = done;
        todo!()
    }
}
