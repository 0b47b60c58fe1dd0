//! The server's side of a SCRAM exchange: what a client sends is read and its proof is checked.
//!
//! A reading error is what the log says of it; the client only hears that the authentication failed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Key, MESSAGE_BYTES_MAX, decode_key, hmac, is_attribute, is_nonce, same, sha256, xor};

const MALFORMED: &str = "malformed SCRAM message";
const TOO_LONG: &str = "malformed SCRAM message (too long)";
const CHANNEL_BINDING: &str = "client requires SCRAM channel binding, but it is not supported";
const AUTHZID: &str = "client uses authorization identity, but it is not supported";
const EXTENSION: &str = "client requires an unsupported SCRAM extension";
const OTHER_BINDING: &str = "unexpected SCRAM channel-binding attribute in client-final-message";
const OTHER_NONCE: &str = "invalid SCRAM response (nonce does not match)";
const BAD_PROOF: &str = "malformed SCRAM message (malformed proof in client-final-message)";

#[cfg(test)]
mod tests;

/// What a client says about channel binding in its first message, and must say again in its final one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChannelBinding {
    /// `n`: the client has none.
    Unsupported,
    /// `y`: the client has it, and thinks the server has not.
    Unused,
}

impl ChannelBinding {
    /// `c=` and the base64 form of the header `n,,` or `y,,`.
    fn attribute(self) -> &'static [u8] {
        match self {
            ChannelBinding::Unsupported => b"c=biws",
            ChannelBinding::Unused => b"c=eSws",
        }
    }
}

/// The client-first message, as far as anything depends on it.
#[derive(Clone, Debug)]
pub(crate) struct ClientFirst {
    binding: ChannelBinding,
    /// The message without its header.
    bare: Box<[u8]>,
    nonce: Box<[u8]>,
}

impl ClientFirst {
    /// Reads a client-first message. The user name in it is ignored: the startup packet has said who it is.
    pub(crate) fn read(data: &[u8]) -> Result<ClientFirst, &'static str> {
        if data.len() > MESSAGE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        let (binding, rest) = match data {
            [b'n', b',', rest @ ..] => (ChannelBinding::Unsupported, rest),
            [b'y', b',', rest @ ..] => (ChannelBinding::Unused, rest),
            [b'p', b'=', ..] => return Err(CHANNEL_BINDING),
            _ => return Err(MALFORMED),
        };
        let bare = match rest {
            [b',', bare @ ..] => bare,
            [b'a', b'=', ..] => return Err(AUTHZID),
            _ => return Err(MALFORMED),
        };
        let mut attributes = bare.split(|b| *b == b',');
        match attributes.next() {
            Some([b'n', b'=', ..]) => {}
            Some([b'm', b'=', ..]) => return Err(EXTENSION),
            _ => return Err(MALFORMED),
        }
        let nonce = match attributes.next() {
            Some([b'r', b'=', nonce @ ..]) if is_nonce(nonce) => nonce,
            _ => return Err(MALFORMED),
        };
        if !attributes.all(is_attribute) {
            return Err(MALFORMED);
        }
        Ok(ClientFirst { binding, bare: bare.into(), nonce: nonce.into() })
    }
}

/// An exchange whose server-first message is out.
#[derive(Debug)]
pub(crate) struct Exchange {
    binding: ChannelBinding,
    /// The client's nonce and ours.
    nonce: Vec<u8>,
    /// client-first-message-bare `,` server-first-message `,`: where every AuthMessage begins.
    first_messages: Vec<u8>,
}

impl Exchange {
    /// Begins, and returns the server-first message.
    pub(crate) fn begin(
        first: ClientFirst,
        server_nonce: &str,
        salt: &[u8],
        iterations: u32,
    ) -> (Exchange, Vec<u8>) {
        let mut nonce = Vec::from(first.nonce);
        nonce.extend_from_slice(server_nonce.as_bytes());
        let mut message = b"r=".to_vec();
        message.extend_from_slice(&nonce);
        message.extend_from_slice(format!(",s={},i={iterations}", STANDARD.encode(salt)).as_bytes());
        let mut first_messages = Vec::from(first.bare);
        first_messages.push(b',');
        first_messages.extend_from_slice(&message);
        first_messages.push(b',');
        (Exchange { binding: first.binding, nonce, first_messages }, message)
    }

    /// Reads a client-final message. Nothing in here depends on a secret but the nonce, which is compared in
    /// constant time.
    pub(crate) fn read_final(mut self, data: &[u8]) -> Result<ClientFinal, &'static str> {
        const PROOF: &[u8] = b",p=";
        if data.len() > MESSAGE_BYTES_MAX {
            return Err(TOO_LONG);
        }
        let at = data.windows(PROOF.len()).position(|window| window == PROOF).ok_or(MALFORMED)?;
        let (without_proof, proof) = (&data[..at], &data[at + PROOF.len()..]);
        let mut attributes = without_proof.split(|b| *b == b',');
        if attributes.next() != Some(self.binding.attribute()) {
            return Err(OTHER_BINDING);
        }
        match attributes.next() {
            Some([b'r', b'=', nonce @ ..]) if same(nonce, &self.nonce) => {}
            Some([b'r', b'=', ..]) => return Err(OTHER_NONCE),
            _ => return Err(MALFORMED),
        }
        if !attributes.all(is_attribute) {
            return Err(MALFORMED);
        }
        let proof = decode_key(proof).ok_or(BAD_PROOF)?;
        self.first_messages.extend_from_slice(without_proof);
        Ok(ClientFinal { auth_message: self.first_messages, proof })
    }
}

/// A client's proof and what it is a proof about. No Debug: with the stored secret it gives the key.
pub(crate) struct ClientFinal {
    auth_message: Vec<u8>,
    proof: Key,
}

impl ClientFinal {
    /// The ClientKey, if the proof was made with the one that belongs to `stored_key`.
    pub(crate) fn client_key(&self, stored_key: &[u8]) -> Option<Key> {
        let signature = hmac(stored_key, &[&self.auth_message]);
        let client_key = xor(&self.proof, &signature);
        same(&sha256(&client_key), stored_key).then_some(client_key)
    }

    /// The server-final message: our own proof.
    pub(crate) fn server_final(&self, server_key: &[u8]) -> Vec<u8> {
        let signature = hmac(server_key, &[&self.auth_message]);
        format!("v={}", STANDARD.encode(signature)).into_bytes()
    }
}
