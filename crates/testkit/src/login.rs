//! How a client comes in: startup packet and password dialogue.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use crate::client::{Client, PATIENCE};
use crate::crypto::{Scram, md5_answer};
use crate::message::{Message, Packet};
use crate::{Address, Failure, Outcome, ServerError};

/// What the other side asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Nothing.
    #[default]
    Trust,
    /// The password in clear text.
    Plain,
    /// MD5 with a salt.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
}

/// Who wants in, where, with what.
#[derive(Clone, Debug)]
pub struct Login {
    address: Address,
    version: u32,
    parameters: Vec<(String, String)>,
    user: String,
    password: Option<String>,
    patience: Duration,
}

impl Login {
    /// Protocol 3.0, no password.
    pub fn new(address: Address, user: &str, database: &str) -> Login {
        Login {
            address,
            version: 0x0003_0000,
            parameters: vec![pair("user", user), pair("database", database)],
            user: String::from(user),
            password: None,
            patience: PATIENCE,
        }
    }

    /// Answers with this password when asked.
    pub fn password(mut self, password: &str) -> Login {
        self.password = Some(String::from(password));
        self
    }

    /// One more startup parameter.
    pub fn parameter(mut self, name: &str, value: &str) -> Login {
        self.parameters.push(pair(name, value));
        self
    }

    /// Protocol 3.`minor`.
    pub fn minor(mut self, minor: u16) -> Login {
        self.version = 0x0003_0000 | u32::from(minor);
        self
    }

    /// Another address.
    pub fn at(mut self, address: Address) -> Login {
        self.address = address;
        self
    }

    /// How long each answer may take.
    pub fn patience(mut self, patience: Duration) -> Login {
        self.patience = patience;
        self
    }

    /// The startup packet.
    pub fn startup_packet(&self) -> Vec<u8> {
        let mut packet = Packet::untyped(self.version);
        for (name, value) in &self.parameters {
            packet = packet.text(name).text(value);
        }
        packet.raw(&[0]).bytes()
    }

    /// A socket to the address, nothing said yet.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn knock(&self) -> Outcome<Client> {
        Client::knock(&self.address, self.patience)
    }

    /// Comes in, up to the first ReadyForQuery.
    ///
    /// # Errors
    /// The other side's refusal, or what the socket did.
    pub fn try_client(&self) -> Outcome<Client> {
        let mut client = self.knock()?;
        client.send(&self.startup_packet())?;
        self.finish(&mut client)?;
        Ok(client)
    }

    /// Comes in.
    ///
    /// # Panics
    /// Refused.
    #[track_caller]
    pub fn client(&self) -> Client {
        match self.try_client() {
            Ok(client) => client,
            Err(failure) => panic!("login as {:?}: {failure}", self.parameters),
        }
    }

    /// Is refused.
    ///
    /// # Panics
    /// Let in, or something else than an ErrorResponse came.
    #[track_caller]
    pub fn refusal(&self) -> ServerError {
        match self.try_client() {
            Ok(_) => panic!("login as {:?} was let in", self.parameters),
            Err(failure) => failure.server(),
        }
    }

    /// What comes after the startup packet: passwords, then the welcome up to ReadyForQuery.
    ///
    /// # Errors
    /// As [`Login::try_client`].
    pub fn finish(&self, client: &mut Client) -> Outcome<()> {
        let mut scram = None;
        let mut welcome = Vec::new();
        loop {
            let message = client.read()?;
            match message.tag {
                b'R' => self.answer(client, &message, &mut scram)?,
                b'E' => return Err(Failure::Server(Box::new(ServerError::of(&message)))),
                b'Z' => break,
                b'S' | b'K' | b'N' | b'v' => {}
                _ => return Err(Failure::Strange(format!("{message:?} in a login"))),
            }
            welcome.push(message);
        }
        client.welcome = welcome;
        Ok(())
    }

    fn answer(&self, client: &mut Client, message: &Message, scram: &mut Option<Scram>) -> Outcome<()> {
        let strange = || Failure::Strange(format!("{message:?} in a login"));
        let (code, data) = message.body.split_first_chunk::<4>().ok_or_else(strange)?;
        let password = self.password.as_deref().unwrap_or("");
        match u32::from_be_bytes(*code) {
            0 => Ok(()),
            3 => {
                client.method = Method::Plain;
                client.send(&Packet::typed(b'p').text(password).bytes())
            }
            5 => {
                client.method = Method::Md5;
                client.send(&Packet::typed(b'p').text(&md5_answer(&self.user, password, data)).bytes())
            }
            10 => {
                client.method = Method::Scram;
                let dialogue = scram.insert(Scram::new(password, &nonce()));
                let first = dialogue.first();
                let packet = Packet::typed(b'p').text("SCRAM-SHA-256").value(Some(first.as_bytes()));
                client.send(&packet.bytes())
            }
            11 => {
                let answer = scram.as_mut().ok_or_else(strange)?.answer(data)?;
                client.send(&Packet::typed(b'p').raw(answer.as_bytes()).bytes())
            }
            12 => scram.as_ref().ok_or_else(strange)?.check(data),
            _ => Err(strange()),
        }
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (String::from(name), String::from(value))
}

/// Different for every exchange; it need not be secret in a test.
fn nonce() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
