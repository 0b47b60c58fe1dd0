//! The client's side of a SCRAM exchange, as it runs towards PostgreSQL.
//!
//! A reading error says what is wrong with the server's message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plimsoll_types::Secret;

use super::{
    Key, MESSAGE_BYTES_MAX, SALT_BYTES_MAX, decode_key, hmac, is_nonce, parse_iterations, sha256, xor,
};

const MALFORMED: &str = "malformed SCRAM message";
const TOO_LONG: &str = "SCRAM message too long";
const OTHER_NONCE: &str = "SCRAM nonce does not extend ours";
const BAD_SALT: &str = "malformed SCRAM salt";
const BAD_ITERATIONS: &str = "SCRAM iteration count out of range";
const ERROR: &str = "error reported in SCRAM exchange";

#[cfg(test)]
mod tests;

/// What stands before the bare first message: no channel binding, no authorization identity.
const HEADER: &str = "n,,";

/// The beginning of an exchange: our nonce is out, the server has not answered.
#[derive(Debug)]
pub(crate) struct Opening {
    nonce: String,
    /// The client-first message without its header.
    bare: String,
}

impl Opening {
    /// Begins with a nonce that nobody has seen yet. The user name is empty: PostgreSQL takes it from the startup
    /// packet.
    pub(crate) fn new(nonce: String) -> Opening {
        let bare = format!("n=,r={nonce}");
        Opening { nonce, bare }
    }

    /// The client-first message.
    pub(crate) fn message(&self) -> Vec<u8> {
        format!("{HEADER}{}", self.bare).into_bytes()
    }

    /// Reads the server-first message.
    pub(crate) fn read_server_first(self, data: &[u8]) -> Result<ServerFirst, &'static str> {
        if data.len() > MESSAGE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        let mut attributes = data.split(|b| *b == b',');
        let (
            Some([b'r', b'=', nonce @ ..]),
            Some([b's', b'=', salt @ ..]),
            Some([b'i', b'=', iterations @ ..]),
            None,
        ) = (attributes.next(), attributes.next(), attributes.next(), attributes.next())
        else {
            return Err(MALFORMED);
        };
        let extended = nonce.strip_prefix(self.nonce.as_bytes()).is_some_and(is_nonce);
        if !extended {
            return Err(OTHER_NONCE);
        }
        let salt = STANDARD.decode(salt).map_err(|_| BAD_SALT)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(BAD_SALT);
        }
        let iterations = parse_iterations(iterations).ok_or(BAD_ITERATIONS)?;
        let mut without_proof = b"c=biws,r=".to_vec();
        without_proof.extend_from_slice(nonce);
        let auth_message = [self.bare.as_bytes(), data, &without_proof].join(&b',');
        Ok(ServerFirst { salt: salt.into(), iterations, without_proof, auth_message })
    }
}

/// The server's answer, which awaits our proof.
#[derive(Debug)]
pub(crate) struct ServerFirst {
    /// The salt of the server's secret.
    pub(crate) salt: Box<[u8]>,
    /// The rounds of the server's secret.
    pub(crate) iterations: u32,
    without_proof: Vec<u8>,
    auth_message: Vec<u8>,
}

impl ServerFirst {
    /// The client-final message, and the signature by which the server will prove itself.
    pub(crate) fn answer(self, client_key: &Key, server_key: &Key) -> (Vec<u8>, Secret) {
        let signature = hmac(&sha256(client_key), &[&self.auth_message]);
        let proof = xor(client_key, &signature);
        let mut message = self.without_proof;
        message.extend_from_slice(format!(",p={}", STANDARD.encode(proof)).as_bytes());
        (message, Secret::new(hmac(server_key, &[&self.auth_message])))
    }
}

/// Reads the server-final message: the server's signature, still to be compared.
pub(crate) fn read_server_final(data: &[u8]) -> Result<Key, &'static str> {
    match data {
        [b'v', b'=', signature @ ..] => decode_key(signature).ok_or(MALFORMED),
        [b'e', b'=', ..] => Err(ERROR),
        _ => Err(MALFORMED),
    }
}
